/* Streams, seats and promises. A seat is what this node knows of an instance; a stream is one connection of it.
 *
 *   seat:  WANTED --admission of this want--> ADMITTED --cut for a while--> CUT --received--> WANTED
 *            |                                   |                           |
 *            '---------------- stream closed or ended -----------------------'--> GONE --promise over, told--> freed
 *   another session or term: all but GONE are WANTED again
 *
 * Every state but ADMITTED is a word that this node gives to its leader: "no promise from me, until you admit the want
 * that I have told you since". A promise needs ADMITTED, the lease of this term, and everything received (lease_cut.c).
 */
#include "node/lease_node_internal.h"

#include <stdlib.h>

#include "base/check.h"

struct lease_node *lease_node_new(uint64_t node_id, uint64_t life, const struct store *store, int64_t now_us,
                                  const struct lease_node_io *io, void *arg)
{
    struct lease_node *node = mem_calloc(1, sizeof *node);
    CHECK(node_id > 0 && life > 0);
    *node = (struct lease_node){.id = node_id,
                                .life = life,
                                .store = store,
                                .io = *io,
                                .arg = arg,
                                .born_us = now_us,
                                .lease_until_us = INT64_MIN,
                                .cut_due_us = INT64_MAX};
    TAILQ_INIT(&node->all);
    TAILQ_INIT(&node->news);
    TAILQ_INIT(&node->noted);
    TAILQ_INIT(&node->follows);
    STAILQ_INIT(&node->follow_news);
    return node;
}

void lease_node_free(struct lease_node *node)
{
    struct lease_stream *stream;
    struct follow *follow;
    if (node == NULL)
        return;
    while ((stream = TAILQ_FIRST(&node->noted)) != NULL) {
        TAILQ_REMOVE(&node->noted, stream, noted);
        if (stream->seat == NULL)
            free(stream);
    }
    while (!TAILQ_EMPTY(&node->all)) {
        struct lease_seat *seat = TAILQ_FIRST(&node->all);
        free(seat->stream);
        lease_seat_free(node, seat);
    }
    while ((follow = TAILQ_FIRST(&node->follows)) != NULL) {
        TAILQ_REMOVE(&node->follows, follow, all);
        free(follow);
    }
    lease_report_free(node);
    lease_index_free(&node->seats);
    free(node);
}

/* --- Seats --- */

void lease_seat_set(struct lease_node *node, struct lease_seat *seat, enum lease_state state)
{
    node->n_in[seat->state]--;
    node->n_in[state]++;
    seat->state = state;
    if (state != LEASE_WANTED)
        seat->want = 0;
}

void lease_seat_news(struct lease_node *node, struct lease_seat *seat, bool urgent)
{
    node->urgent |= urgent;
    if (seat->dirty)
        return;
    seat->dirty = true;
    TAILQ_INSERT_TAIL(&node->news, seat, news);
}

void lease_seat_want(struct lease_node *node, struct lease_seat *seat)
{
    lease_seat_set(node, seat, LEASE_WANTED);
    seat->want = ++node->last_want;
    lease_seat_news(node, seat, true);
}

void lease_seat_free_failures(struct lease_seat *seat)
{
    struct failure *failure;
    while ((failure = STAILQ_FIRST(&seat->failures)) != NULL) {
        STAILQ_REMOVE_HEAD(&seat->failures, next);
        free(failure);
    }
    seat->n_failures = 0;
}

void lease_seat_free(struct lease_node *node, struct lease_seat *seat)
{
    node->n_in[seat->state]--;
    lease_index_remove(&node->seats, &seat->link);
    TAILQ_REMOVE(&node->all, seat, all);
    if (seat->dirty)
        TAILQ_REMOVE(&node->news, seat, news);
    lease_seat_free_failures(seat);
    free(seat);
}

static struct lease_seat *seat_of(struct lease_node *node, struct random_id instance)
{
    struct lease_seat *seat = lease_index_find(&node->seats, &instance);
    if (seat != NULL)
        return seat;
    seat = mem_calloc(1, sizeof *seat);
    seat->link.id = instance;
    seat->state = LEASE_GONE;
    seat->promise_until_us = INT64_MIN;
    STAILQ_INIT(&seat->failures);
    node->n_in[LEASE_GONE]++;
    lease_index_add(&node->seats, &seat->link);
    TAILQ_INSERT_TAIL(&node->all, seat, all);
    return seat;
}

/* --- Streams --- */

static bool is_noted(const struct lease_stream *stream)
{
    return stream->admitted_note || stream->ended != 0;
}

void lease_note_admitted(struct lease_node *node, struct lease_stream *stream, bool again)
{
    if (!is_noted(stream))
        TAILQ_INSERT_TAIL(&node->noted, stream, noted);
    stream->again = again;
    stream->admitted_note = true;
}

/* Takes the stream off its seat, which stays as a record of the promises. */
static void unseat(struct lease_node *node, struct lease_stream *stream)
{
    struct lease_seat *seat = stream->seat;
    stream->seat = NULL;
    seat->stream = NULL;
    node->n_streams--;
    lease_seat_set(node, seat, LEASE_GONE);
    lease_seat_news(node, seat, true);
}

void lease_seat_end(struct lease_node *node, struct lease_seat *seat, enum lease_end why)
{
    struct lease_stream *stream = seat->stream;
    CHECK(stream != NULL && why != 0);
    if (!is_noted(stream))
        TAILQ_INSERT_TAIL(&node->noted, stream, noted);
    stream->admitted_note = false;
    stream->ended = why;
    unseat(node, stream);
}

static void read_registration(struct lease_node *node, struct lease_seat *seat)
{
    struct point point;
    seat->lease_ms = LIMIT_LEASE_MS_MAX;
    if (!store_point_get(node->store, seat->link.id, &point))
        return; /* ended in the meantime: lease_cut_registrations sees to it */
    seat->lease_ms = point.lease_ms;
    seat->registered = point.revision;
    bool fits = slice_to_cstr(point.id, seat->point, sizeof seat->point);
    CHECK(fits);
}

struct lease_stream *lease_node_open(struct lease_node *node, struct random_id instance, void *owner, int64_t now_us)
{
    struct lease_seat *seat = seat_of(node, instance);
    struct lease_stream *stream = mem_calloc(1, sizeof *stream);
    if (seat->stream != NULL)
        lease_seat_end(node, seat, LEASE_END_REPLACED);
    *stream = (struct lease_stream){.seat = seat, .owner = owner};
    seat->stream = stream;
    seat->served = false;
    read_registration(node, seat);
    node->n_streams++;
    node->checked_revision = 0;
    lease_cut_look(node, now_us);
    lease_cut_seat(node, seat, now_us);
    lease_seat_want(node, seat);
    return stream;
}

void lease_node_close(struct lease_node *node, struct lease_stream *stream, int64_t now_us)
{
    (void)now_us;
    if (is_noted(stream))
        TAILQ_REMOVE(&node->noted, stream, noted);
    if (stream->seat != NULL)
        unseat(node, stream);
    free(stream);
}

static bool is_registered(const struct lease_node *node, const struct lease_seat *seat)
{
    struct point point;
    return store_point_get(node->store, seat->link.id, &point) && !point.fenced;
}

uint32_t lease_node_promise(struct lease_node *node, struct lease_stream *stream, int64_t now_us)
{
    struct lease_seat *seat = stream->seat;
    lease_cut_look(node, now_us);
    if (seat == NULL || seat->state != LEASE_ADMITTED || seat->goodbye || now_us >= node->lease_until_us ||
        seat->received < seat->cut || store_revision(node->store) < seat->revision || !is_registered(node, seat)) {
        node->refused_promises++;
        return 0;
    }
    /* Reported as a duration on this clock, and run out on the point's: so it covers both. */
    int64_t until_us = now_us + lease_wait_us(seat->lease_ms * 1000ll);
    if (until_us > seat->promise_until_us)
        seat->promise_until_us = until_us;
    node->promises++;
    return seat->lease_ms;
}

/* --- What points say --- */

void lease_node_ack(struct lease_node *node, struct lease_stream *stream, uint64_t received, uint64_t enforced)
{
    struct lease_seat *seat = stream->seat;
    if (seat == NULL || (received <= seat->received && enforced <= seat->enforced))
        return;
    seat->received = received > seat->received ? received : seat->received;
    seat->enforced = enforced > seat->enforced ? enforced : seat->enforced;
    /* To enforce is to have received. */
    seat->received = seat->enforced > seat->received ? seat->enforced : seat->received;
    lease_seat_news(node, seat, store_barriers_open(node->store) > 0);
    if (seat->state == LEASE_CUT && seat->received >= seat->cut)
        lease_seat_want(node, seat);
}

/* No room: two neighbours become one that covers both. A failure is never forgotten. */
static void merge_oldest(struct lease_seat *seat)
{
    struct failure *first = STAILQ_FIRST(&seat->failures), *second = STAILQ_NEXT(first, next);
    second->first = first->first < second->first ? first->first : second->first;
    second->last = first->last > second->last ? first->last : second->last;
    STAILQ_REMOVE_HEAD(&seat->failures, next);
    free(first);
    seat->n_failures--;
}

void lease_node_fail(struct lease_node *node, struct lease_stream *stream, uint64_t revision, struct slice reason)
{
    struct lease_seat *seat = stream->seat;
    if (seat == NULL || revision == 0)
        return;
    /* Nobody waits for anything any more. */
    if (store_barriers_open(node->store) == 0)
        lease_seat_free_failures(seat);
    if (seat->n_failures == LEASE_FAILURES_MAX)
        merge_oldest(seat);
    struct failure *failure = mem_calloc(1, sizeof *failure);
    /* It may stand for an end that the point has missed, somewhere above `revision`: so it concerns all that is not
     * confirmed yet. */
    failure->first = revision > seat->enforced ? revision : seat->enforced + 1;
    failure->last = store_revision(node->store) > failure->first ? store_revision(node->store) : failure->first;
    if (!slice_is_text(reason, false) || !slice_to_cstr(reason, failure->reason, sizeof failure->reason))
        (void)slice_to_cstr(slice_str("a session could not be ended"), failure->reason, sizeof failure->reason);
    STAILQ_INSERT_TAIL(&seat->failures, failure, next);
    seat->n_failures++;
    lease_seat_news(node, seat, true);
}

void lease_node_goodbye(struct lease_node *node, struct lease_stream *stream)
{
    if (stream->seat == NULL)
        return;
    stream->seat->goodbye = true;
    lease_seat_news(node, stream->seat, true);
}

/* --- Followed barriers --- */

static struct follow *find_follow(struct lease_node *node, uint64_t barrier)
{
    struct follow *follow;
    TAILQ_FOREACH(follow, &node->follows, all)
    {
        if (follow->barrier == barrier)
            break;
    }
    return follow;
}

void lease_node_follow(struct lease_node *node, uint64_t barrier)
{
    struct follow *follow = find_follow(node, barrier);
    if (follow == NULL) {
        follow = mem_calloc(1, sizeof *follow);
        follow->barrier = barrier;
        TAILQ_INSERT_TAIL(&node->follows, follow, all);
        lease_report_follow(node, barrier, true);
    }
    follow->n++;
}

void lease_node_unfollow(struct lease_node *node, uint64_t barrier)
{
    struct follow *follow = find_follow(node, barrier);
    CHECK(follow != NULL);
    if (--follow->n > 0)
        return;
    TAILQ_REMOVE(&node->follows, follow, all);
    free(follow);
    lease_report_follow(node, barrier, false);
}

/* --- Terms and stores --- */

void lease_node_set_term(struct lease_node *node, uint64_t term, uint64_t leader, int64_t now_us)
{
    bool same = term == node->term;
    node->leader = leader;
    if (!same) {
        node->term = term;
        node->lease_until_us = INT64_MIN;
        lease_report_restart(node, 0);
    }
    if (leader != 0)
        node->ping_due_us = now_us;
}

void lease_node_set_store(struct lease_node *node, const struct store *store, int64_t now_us)
{
    node->store = store;
    node->seen_revision = node->seen_barrier = node->checked_revision = 0;
    node->n_sweeps = 0;
    lease_cut_look(node, now_us);
}

/* --- Time --- */

/* Callbacks may open and close streams: the list is looked at anew after each. */
static void deliver(struct lease_node *node)
{
    struct lease_stream *stream;
    while ((stream = TAILQ_FIRST(&node->noted)) != NULL) {
        void *owner = stream->owner;
        enum lease_end why = stream->ended;
        TAILQ_REMOVE(&node->noted, stream, noted);
        stream->admitted_note = false;
        if (stream->seat != NULL) {
            node->io.on_admitted(node->arg, owner, stream->seat->revision, stream->again);
            continue;
        }
        free(stream);
        node->io.on_ended(node->arg, owner, why);
    }
}

/* How a done barrier stands, from the store: nobody has to be asked. */
static void add_receipt(void *arg, const struct receipt *receipt, struct slice point)
{
    struct lease_progress *progress = arg;
    if (receipt->level == RECEIPT_ENFORCED)
        return;
    if (progress->n == LEASE_PROGRESS_MAX) {
        progress->omitted++;
        return;
    }
    struct lease_progress_point *at = &progress->points[progress->n++];
    *at = (struct lease_progress_point){.instance = receipt->instance, .level = (uint8_t)receipt->level};
    (void)slice_to_cstr(point, at->point, sizeof at->point);
    (void)slice_to_cstr(receipt->reason, at->reason, sizeof at->reason);
}

static void tell_done(struct lease_node *node, const struct barrier *barrier)
{
    struct lease_progress progress = {.barrier = barrier->id, .done = true};
    progress.points = mem_calloc(LEASE_PROGRESS_MAX, sizeof *progress.points);
    if (barrier->enforced < barrier->points)
        (void)store_barrier_receipts(node->store, barrier->id, add_receipt, &progress);
    node->io.on_progress(node->arg, &progress);
    free(progress.points);
}

/* A callback may unfollow anything: one at a time. */
static bool tell_one_done(struct lease_node *node)
{
    struct follow *follow;
    struct barrier barrier;
    TAILQ_FOREACH(follow, &node->follows, all)
    {
        if (follow->told || !store_barrier_get(node->store, follow->barrier, &barrier) || !barrier.done)
            continue;
        follow->told = true;
        tell_done(node, &barrier);
        return true;
    }
    return false;
}

static void look_at_follows(struct lease_node *node, int64_t now_us)
{
    if (now_us < node->look_due_us || TAILQ_EMPTY(&node->follows))
        return;
    node->look_due_us = now_us + LOOK_US;
    while (tell_one_done(node))
        ;
}

static void forget_gone(struct lease_node *node, int64_t now_us)
{
    struct lease_seat *next;
    if (node->n_in[LEASE_GONE] == 0)
        return;
    for (struct lease_seat *seat = TAILQ_FIRST(&node->all); seat != NULL; seat = next) {
        next = TAILQ_NEXT(seat, all);
        if (seat->state == LEASE_GONE && (!seat->dirty || node->session == 0) && seat->promise_until_us <= now_us)
            lease_seat_free(node, seat);
    }
}

static void ask_again(struct lease_node *node, int64_t now_us)
{
    struct lease_seat *seat;
    if (node->n_in[LEASE_WANTED] == 0 || node->leader == 0)
        return;
    /* Under a new number: an answer that is still on its way is none to what we say now. */
    TAILQ_FOREACH(seat, &node->all, all)
    {
        if (seat->state == LEASE_WANTED && !seat->dirty && now_us - seat->asked_us >= WANT_AGAIN_US)
            lease_seat_want(node, seat);
    }
}

/* What needs a walk over all streams: at most every REGISTRATIONS_US. */
static void check(struct lease_node *node, int64_t now_us)
{
    if (now_us < node->check_due_us)
        return;
    node->check_due_us = now_us + REGISTRATIONS_US;
    lease_cut_registrations(node);
    lease_cut_lift(node, now_us);
    forget_gone(node, now_us);
    ask_again(node, now_us);
}

void lease_node_applied(struct lease_node *node, int64_t now_us)
{
    lease_cut_look(node, now_us);
    deliver(node);
}

void lease_node_tick(struct lease_node *node, int64_t now_us)
{
    lease_cut_look(node, now_us);
    lease_cut_report(node, now_us);
    check(node, now_us);
    look_at_follows(node, now_us);
    deliver(node);
}

void lease_node_flush(struct lease_node *node, int64_t now_us)
{
    lease_node_tick(node, now_us);
    if (node->leader != 0 && (node->urgent || node->complete_due || now_us >= node->ping_due_us))
        lease_report_send(node, now_us);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t lease_node_next_due_us(const struct lease_node *node)
{
    int64_t due = node->cut_due_us;
    if (!TAILQ_EMPTY(&node->noted))
        return 0;
    if (node->leader != 0)
        due = sooner(due, node->urgent || node->complete_due ? 0 : node->ping_due_us);
    if (!TAILQ_EMPTY(&node->all))
        due = sooner(due, node->check_due_us);
    return TAILQ_EMPTY(&node->follows) ? due : sooner(due, node->look_due_us);
}

void lease_node_get_status(const struct lease_node *node, int64_t now_us, struct lease_node_status *status)
{
    *status = (struct lease_node_status){.holds_lease = now_us < node->lease_until_us,
                                         .streams = node->n_streams,
                                         .admitted = node->n_in[LEASE_ADMITTED],
                                         .promises = node->promises,
                                         .refused_promises = node->refused_promises};
}
