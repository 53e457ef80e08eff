/* What the leader says. Its frames may come late, twice and in any order: a lease counts from the ping that it answers,
 * an admission only for the want that it names, an older session's answer not at all. */
#include "node/lease_node_internal.h"

#include <stdlib.h>

static void take_lease(struct lease_node *node, const struct lease_frame *frame, int64_t now_us)
{
    int64_t sent_us = (int64_t)frame->sent_us;
    if (frame->lease && sent_us <= now_us && sent_us + LEASE_NODE_US > node->lease_until_us)
        node->lease_until_us = sent_us + LEASE_NODE_US;
}

static void take_admissions(struct lease_node *node, const struct lease_frame *frame, int64_t now_us)
{
    struct slice list = frame->list;
    struct lease_admission admission;
    while (lease_admission_next(&list, &admission)) {
        struct lease_seat *seat = lease_index_find(&node->seats, &admission.instance);
        if (seat == NULL || seat->state != LEASE_WANTED || seat->want != admission.want)
            continue;
        lease_seat_set(node, seat, LEASE_ADMITTED);
        seat->revision = frame->applied;
        lease_note_admitted(node, seat->stream, seat->served);
        seat->served = true;
        lease_cut_admitted(node, seat, now_us);
    }
}

static void take_ends(struct lease_node *node, const struct lease_frame *frame)
{
    struct slice list = frame->list;
    struct lease_ending end;
    while (lease_end_next(&list, &end)) {
        struct lease_seat *seat = lease_index_find(&node->seats, &end.instance);
        if (seat != NULL && seat->stream != NULL)
            lease_seat_end(node, seat, end.why);
    }
}

static void take_answer(struct lease_node *node, const struct lease_frame *frame, int64_t now_us)
{
    if (frame->life != node->life || frame->session < node->session)
        return;
    if (frame->session > node->session) {
        lease_report_restart(node, frame->session);
        return;
    }
    take_lease(node, frame, now_us);
    take_admissions(node, frame, now_us);
    take_ends(node, frame);
}

static void take_progress(struct lease_node *node, const struct lease_frame *frame)
{
    struct lease_progress progress = {.barrier = frame->barrier, .omitted = frame->omitted};
    struct slice list = frame->list;
    struct lease_waiting waiting;
    progress.points = mem_calloc(LEASE_PROGRESS_MAX, sizeof *progress.points);
    while (progress.n < LEASE_PROGRESS_MAX && lease_waiting_next(&list, &waiting)) {
        struct lease_progress_point *at = &progress.points[progress.n++];
        at->instance = waiting.instance;
        at->level = waiting.level;
        at->left_ms = waiting.left_ms;
        (void)slice_to_cstr(waiting.point, at->point, sizeof at->point);
        (void)slice_to_cstr(waiting.reason, at->reason, sizeof at->reason);
    }
    node->io.on_progress(node->arg, &progress);
    free(progress.points);
}

static bool is_followed(const struct lease_node *node, uint64_t barrier)
{
    const struct follow *follow;
    TAILQ_FOREACH(follow, &node->follows, all)
    {
        if (follow->barrier == barrier)
            return !follow->told;
    }
    return false;
}

void lease_node_receive(struct lease_node *node, uint64_t from, uint64_t term, struct slice bytes, int64_t now_us)
{
    struct lease_frame frame;
    if (term != node->term || from != node->leader || !lease_frame_decode(bytes, &frame))
        return;
    if (frame.kind == LEASE_ANSWER)
        take_answer(node, &frame, now_us);
    else if (frame.kind == LEASE_PROGRESS && is_followed(node, frame.barrier))
        take_progress(node, &frame);
    lease_node_applied(node, now_us);
}
