/* Who gets no promise although admitted: points that have not received a barrier which this node has applied (P5), and
 * instances that the store no longer has or has fenced (P1).
 *
 *   barrier applied --> cut --received within CUT_REPORT_US--> promised to again, the leader never hears of it
 *                        '--else--> CUT: reported, with the end of the last promise; it needs another admission then
 *
 * The second way is what lets a leader wait the point out: its word counts for whatever comes, not only until the point
 * has received this barrier. */
#include "node/lease_node_internal.h"

#define BARRIERS_AT_ONCE 64u

struct batch {
    uint32_t n;
    struct {
        uint64_t id, revision;
    } barriers[BARRIERS_AT_ONCE]; /* by revision */
};

static bool is_cut(const struct lease_seat *seat)
{
    return seat->received < seat->cut;
}

static void due_by(struct lease_node *node, int64_t due_us)
{
    if (due_us < node->cut_due_us)
        node->cut_due_us = due_us;
}

/* An older barrier than the one that it is cut for adds nothing. */
static void cut(struct lease_node *node, struct lease_seat *seat, uint64_t barrier, uint64_t revision, int64_t now_us)
{
    if (revision < seat->cut && store_barrier_waits_for(node->store, seat->cut_barrier, seat->link.id))
        return;
    if (!is_cut(seat))
        seat->cut_us = now_us;
    seat->cut = revision;
    seat->cut_barrier = barrier;
    due_by(node, seat->cut_us + CUT_REPORT_US);
}

static void cut_all(struct lease_node *node, struct batch *batch, int64_t now_us)
{
    struct lease_seat *seat;
    TAILQ_FOREACH(seat, &node->all, all)
    {
        /* The newest one that concerns it says all. */
        for (uint32_t i = seat->stream == NULL ? 0 : batch->n;
             i-- > 0 && batch->barriers[i].revision > seat->received;) {
            if (!store_barrier_waits_for(node->store, batch->barriers[i].id, seat->link.id))
                continue;
            cut(node, seat, batch->barriers[i].id, batch->barriers[i].revision, now_us);
            break;
        }
    }
    batch->n = 0;
}

static void add(struct lease_node *node, struct batch *batch, const struct barrier *barrier, int64_t now_us)
{
    if (batch->n == BARRIERS_AT_ONCE)
        cut_all(node, batch, now_us);
    /* The store lists them by id; a sweep's revision is that of its end. */
    uint32_t at = batch->n++;
    for (; at > 0 && batch->barriers[at - 1].revision > barrier->revision; at--)
        batch->barriers[at] = batch->barriers[at - 1];
    batch->barriers[at].id = barrier->id;
    batch->barriers[at].revision = barrier->revision;
}

/* Those whose sweeps have come to their end since. */
static void add_sweeps(struct lease_node *node, struct batch *batch, int64_t now_us)
{
    struct barrier barrier;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < node->n_sweeps; i++) {
        if (!store_barrier_get(node->store, node->sweeps[i], &barrier) || barrier.done)
            continue;
        if (barrier.revision == 0)
            node->sweeps[kept++] = node->sweeps[i];
        else
            add(node, batch, &barrier, now_us);
    }
    node->n_sweeps = kept;
}

void lease_cut_look(struct lease_node *node, int64_t now_us)
{
    struct batch batch = {.n = 0};
    struct barrier barrier;
    if (store_revision(node->store) == node->seen_revision)
        return;
    node->seen_revision = store_revision(node->store);
    add_sweeps(node, &batch, now_us);
    cut_all(node, &batch, now_us);
    while (store_barrier_next_open(node->store, node->seen_barrier, &barrier)) {
        node->seen_barrier = barrier.id;
        if (barrier.revision > 0)
            add(node, &batch, &barrier, now_us);
        else if (node->n_sweeps < LIMIT_SWEEPS)
            node->sweeps[node->n_sweeps++] = barrier.id;
    }
    if (batch.n > 0)
        cut_all(node, &batch, now_us);
}

void lease_cut_seat(struct lease_node *node, struct lease_seat *seat, int64_t now_us)
{
    struct barrier barrier = {.id = 0};
    uint64_t newest = 0, id = 0;
    while (store_barrier_next_open(node->store, barrier.id, &barrier)) {
        if (barrier.revision > newest && barrier.revision > seat->received &&
            store_barrier_waits_for(node->store, barrier.id, seat->link.id)) {
            newest = barrier.revision;
            id = barrier.id;
        }
    }
    seat->cut = 0;
    if (newest > 0)
        cut(node, seat, id, newest, now_us);
}

void lease_cut_admitted(struct lease_node *node, struct lease_seat *seat, int64_t now_us)
{
    if (!is_cut(seat))
        return;
    seat->cut_us = now_us;
    due_by(node, now_us + CUT_REPORT_US);
}

void lease_cut_lift(struct lease_node *node, int64_t now_us)
{
    struct lease_seat *seat;
    if (node->n_in[LEASE_CUT] == 0)
        return;
    TAILQ_FOREACH(seat, &node->all, all)
    {
        if (seat->state != LEASE_CUT || store_barrier_waits_for(node->store, seat->cut_barrier, seat->link.id))
            continue;
        lease_cut_seat(node, seat, now_us);
        if (!is_cut(seat))
            lease_seat_want(node, seat);
    }
}

static void report_or_lift(struct lease_node *node, struct lease_seat *seat, int64_t now_us)
{
    int64_t since_us = seat->cut_us;
    if (!store_barrier_waits_for(node->store, seat->cut_barrier, seat->link.id))
        lease_cut_seat(node, seat, now_us);
    if (!is_cut(seat))
        return;
    seat->cut_us = since_us;
    if (now_us < since_us + CUT_REPORT_US) {
        due_by(node, since_us + CUT_REPORT_US);
        return;
    }
    lease_seat_set(node, seat, LEASE_CUT);
    lease_seat_news(node, seat, true);
}

void lease_cut_report(struct lease_node *node, int64_t now_us)
{
    struct lease_seat *seat;
    if (now_us < node->cut_due_us)
        return;
    node->cut_due_us = INT64_MAX;
    TAILQ_FOREACH(seat, &node->all, all)
    {
        if (seat->state == LEASE_ADMITTED && is_cut(seat))
            report_or_lift(node, seat, now_us);
    }
}

/* --- Registrations --- */

/* The store lists points by (id, revision). */
static uint32_t first_newer(const struct store *store, struct slice id, uint64_t revision)
{
    struct point point;
    uint32_t low = 0, high = store_points(store);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        bool there = store_point_at(store, middle, &point);
        int order = there ? slice_compare(point.id, id) : 1;
        if (order < 0 || (order == 0 && point.revision <= revision))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool lease_has_successor(const struct store *store, struct slice id, uint64_t revision)
{
    struct point point;
    for (uint32_t i = first_newer(store, id, revision); store_point_at(store, i, &point); i++) {
        if (!slice_equal(point.id, id))
            return false;
        if (!point.fenced)
            return true;
    }
    return false;
}

static enum lease_end why_unregistered(const struct lease_node *node, const struct lease_seat *seat)
{
    if (seat->registered == 0 || seat->goodbye)
        return LEASE_END_UNKNOWN;
    return lease_has_successor(node->store, slice_str(seat->point), seat->registered) ? LEASE_END_FENCED
                                                                                      : LEASE_END_LAPSED;
}

void lease_cut_registrations(struct lease_node *node)
{
    struct lease_seat *seat;
    struct point point;
    if (node->checked_revision == store_revision(node->store))
        return;
    node->checked_revision = store_revision(node->store);
    TAILQ_FOREACH(seat, &node->all, all)
    {
        if (seat->stream == NULL)
            continue;
        if (!store_point_get(node->store, seat->link.id, &point))
            lease_seat_end(node, seat, why_unregistered(node, seat));
        else if (point.fenced)
            lease_seat_end(node, seat, LEASE_END_FENCED);
    }
}
