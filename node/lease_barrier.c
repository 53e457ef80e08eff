/* Open barriers, and receipts on their way into the log.
 *
 *   ack --> settle: a receipt for each barrier that waits for the point --> [ready] --proposed--> [in the log]
 * --applied-->
 *
 * In the good case every point acknowledges within milliseconds: each of its words costs a look at the barriers it
 * covers and nothing else. Only a barrier that is still open after BARRIER_LOOK_US makes us walk through the points to
 * see who is missing (lease_decide.c waits for those). The store decides what a receipt means; one too many is ignored
 * there. */
#include "node/lease_leader_internal.h"

#include <stdlib.h>

#include "base/check.h"

/* Receipts in one command; the rest of it is small. */
#define RECEIPTS_BYTES_MAX (LIMIT_COMMAND_BYTES - 2048u)

static void receipts_clear(struct lease_leader *leader)
{
    for (uint32_t i = leader->first_receipt; i < leader->n_receipts; i++)
        free(leader->receipts[i].reason);
    free(leader->receipts);
    leader->receipts = NULL;
    leader->first_receipt = leader->n_proposed = leader->n_receipts = leader->receipts_capacity = 0;
    leader->barrier_complete = false;
    leader->not_before_us = NEVER;
}

void lease_barriers_clear(struct lease_leader *leader)
{
    receipts_clear(leader);
    free(leader->barriers);
    leader->barriers = NULL;
    leader->n_barriers = leader->barriers_capacity = 0;
    leader->seen_barrier = leader->seen_revision = 0;
    leader->n_sweeps = 0;
    leader->look_due_us = INT64_MAX;
}

/* --- Barriers --- */

static void open_barrier(struct lease_leader *leader, const struct barrier *from, int64_t now_us)
{
    uint32_t given = from->enforced + from->failed + from->lapsed + from->left;
    leader->barriers =
        lease_grow(leader->barriers, leader->n_barriers, &leader->barriers_capacity, sizeof *leader->barriers);
    leader->barriers[leader->n_barriers++] = (struct lease_barrier){
        .id = from->id, .revision = from->revision, .opened_us = now_us, .needed = from->points - given};
    int64_t due_us = leader->points.n <= FEW_POINTS ? now_us : now_us + BARRIER_LOOK_US;
    if (due_us < leader->look_due_us)
        leader->look_due_us = due_us;
}

static int by_revision(const void *a, const void *b)
{
    const struct lease_barrier *x = a, *y = b;
    return x->revision < y->revision ? -1 : x->revision > y->revision;
}

/* Sweeps that have come to their end got their revision only now. */
static void open_sweeps(struct lease_leader *leader, int64_t now_us)
{
    struct barrier barrier;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < leader->n_sweeps; i++) {
        if (!store_barrier_get(leader->store, leader->sweeps[i], &barrier) || barrier.done)
            continue;
        if (barrier.revision == 0)
            leader->sweeps[kept++] = leader->sweeps[i];
        else
            open_barrier(leader, &barrier, now_us);
    }
    leader->n_sweeps = kept;
}

static void open_new(struct lease_leader *leader, int64_t now_us)
{
    struct barrier barrier;
    uint32_t before = leader->n_barriers;
    open_sweeps(leader, now_us);
    while (store_barrier_next_open(leader->store, leader->seen_barrier, &barrier)) {
        leader->seen_barrier = barrier.id;
        if (barrier.revision > 0)
            open_barrier(leader, &barrier, now_us);
        else if (leader->n_sweeps < LIMIT_SWEEPS)
            leader->sweeps[leader->n_sweeps++] = barrier.id;
    }
    /* The store lists them by id. */
    if (leader->n_barriers - before > 1)
        qsort(leader->barriers + before, leader->n_barriers - before, sizeof *leader->barriers, by_revision);
}

/* Receipts enter the store in the order in which they were proposed. */
static void drop_applied_receipts(struct lease_leader *leader)
{
    while (leader->first_receipt < leader->n_proposed) {
        struct lease_receipt *receipt = &leader->receipts[leader->first_receipt];
        if (store_barrier_waits_for(leader->store, receipt->barrier, receipt->instance))
            return;
        free(receipt->reason);
        leader->first_receipt++;
    }
    uint32_t n = leader->n_receipts - leader->first_receipt;
    if (leader->first_receipt <= n)
        return;
    memmove(leader->receipts, leader->receipts + leader->first_receipt, n * sizeof *leader->receipts);
    leader->n_proposed -= leader->first_receipt;
    leader->n_receipts = n;
    leader->first_receipt = 0;
}

void lease_barriers_look(struct lease_leader *leader, int64_t now_us)
{
    if (leader->seen_revision != store_revision(leader->store)) {
        leader->seen_revision = store_revision(leader->store);
        open_new(leader, now_us);
    }
    /* A receipt that leaves its barrier open is no event: the revision stays. */
    drop_applied_receipts(leader);
}

static void drop_done(struct lease_leader *leader)
{
    struct barrier barrier;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < leader->n_barriers; i++) {
        struct lease_barrier *at = &leader->barriers[i];
        if (store_barrier_get(leader->store, at->id, &barrier) && !barrier.done)
            leader->barriers[kept++] = *at;
    }
    leader->n_barriers = kept;
}

/* The first barrier with a revision above this one. */
static uint32_t first_above(const struct lease_leader *leader, uint64_t revision)
{
    uint32_t low = 0, high = leader->n_barriers;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (leader->barriers[middle].revision <= revision)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool waits(const struct lease_leader *leader, const struct lease_barrier *barrier,
                  const struct lease_point *point)
{
    return store_barrier_waits_for(leader->store, barrier->id, point->link.id);
}

/* Barriers to look at: those that are old enough, up to the first one that isn't. */
static uint32_t old_enough(const struct lease_leader *leader, int64_t now_us)
{
    int64_t age_us = leader->points.n <= FEW_POINTS ? 0 : BARRIER_LOOK_US;
    uint32_t end = leader->n_barriers;
    while (end > 0 && leader->barriers[end - 1].opened_us + age_us > now_us)
        end--;
    return end;
}

static void find_missing(struct lease_leader *leader, struct lease_point *point, uint32_t end, int64_t now_us)
{
    uint64_t known = point->settled > point->blocks ? point->settled : point->blocks;
    for (uint32_t i = end; i-- > 0 && leader->barriers[i].revision > known;) {
        if (leader->barriers[i].scanned || !waits(leader, &leader->barriers[i], point))
            continue;
        point->blocks = leader->barriers[i].revision;
        lease_watch(leader, point, now_us);
        return;
    }
}

static void scan(struct lease_leader *leader, int64_t now_us)
{
    struct lease_point *point;
    uint32_t end = old_enough(leader, now_us);
    bool any = false;
    for (uint32_t i = 0; i < end; i++)
        any |= !leader->barriers[i].scanned;
    if (!any)
        return;
    if (now_us - leader->synced_us >= SYNC_SOON_US)
        lease_table_sync(leader, now_us);
    TAILQ_FOREACH(point, &leader->all, all)
    find_missing(leader, point, end, now_us);
    /* Points that were registered shortly before may be missing in the table until its next sync. */
    for (uint32_t i = 0; i < end; i++)
        leader->barriers[i].scanned = leader->barriers[i].opened_us <= leader->synced_us;
}

void lease_barriers_tick(struct lease_leader *leader, int64_t now_us)
{
    if (now_us < leader->look_due_us)
        return;
    drop_done(leader);
    scan(leader, now_us);
    /* Not oftener than what a walk over all of them is worth. */
    leader->look_due_us = leader->n_barriers > 0 ? now_us + BARRIER_LOOK_US + leader->n_barriers : INT64_MAX;
}

struct lease_barrier *lease_barrier_blocked_by(const struct lease_leader *leader, const struct lease_point *point)
{
    for (uint32_t i = first_above(leader, point->received); i < leader->n_barriers; i++) {
        if (waits(leader, &leader->barriers[i], point))
            return &leader->barriers[i];
    }
    return NULL;
}

uint64_t lease_barriers_overdue(const struct lease_leader *leader, int64_t now_us)
{
    uint64_t revision = 0;
    for (uint32_t i = 0; i < leader->n_barriers; i++) {
        if (leader->barriers[i].opened_us + LEASE_NODE_US > now_us)
            break;
        revision = leader->barriers[i].revision;
    }
    return revision;
}

/* --- Receipts --- */

void lease_receipt_add(struct lease_leader *leader, struct lease_barrier *barrier, const struct lease_point *point,
                       enum receipt_level level, const char *reason, int64_t now_us)
{
    leader->receipts =
        lease_grow(leader->receipts, leader->n_receipts, &leader->receipts_capacity, sizeof *leader->receipts);
    leader->receipts[leader->n_receipts++] = (struct lease_receipt){.barrier = barrier->id,
                                                                    .instance = point->link.id,
                                                                    .level = level,
                                                                    .time_ms = leader->io.time_ms(leader->arg),
                                                                    .ready_us = now_us,
                                                                    .reason = reason ? mem_strdup(reason) : NULL};
    leader->decided_levels[level]++;
    leader->barrier_complete |= ++barrier->ready >= barrier->needed;
}

static const struct leader_failure *failure_in(const struct lease_point *point, const struct lease_barrier *barrier)
{
    const struct leader_failure *failure;
    STAILQ_FOREACH(failure, &point->failures, next)
    {
        if (failure->first <= barrier->revision && barrier->revision <= failure->last)
            return failure;
    }
    return NULL;
}

void lease_settle(struct lease_leader *leader, struct lease_point *point, uint64_t upto, enum receipt_level level,
                  int64_t now_us)
{
    const char *reason = level == RECEIPT_FAILED ? "its sessions were not ended within its lease" : NULL;
    /* Of what we have not applied yet we don't know the barriers. */
    if (upto > leader->seen_revision)
        upto = leader->seen_revision;
    if (upto <= point->settled)
        return;
    for (uint32_t i = first_above(leader, point->settled); i < leader->n_barriers; i++) {
        struct lease_barrier *barrier = &leader->barriers[i];
        if (barrier->revision > upto)
            break;
        if (!waits(leader, barrier, point))
            continue;
        const struct leader_failure *failure = failure_in(point, barrier);
        lease_receipt_add(leader, barrier, point, failure ? RECEIPT_FAILED : level, failure ? failure->reason : reason,
                          now_us);
    }
    point->settled = upto;
}

/* FAILED says that it denies: of what it has not received yet lease_settle tells later. */
void lease_settle_failure(struct lease_leader *leader, struct lease_point *point, const struct leader_failure *failure,
                          uint64_t received, int64_t now_us)
{
    uint64_t upto = failure->last < received ? failure->last : received;
    uint64_t from = failure->first > point->settled + 1 ? failure->first : point->settled + 1;
    for (uint32_t i = first_above(leader, from - 1); i < leader->n_barriers; i++) {
        struct lease_barrier *barrier = &leader->barriers[i];
        if (barrier->revision > upto)
            break;
        if (waits(leader, barrier, point))
            lease_receipt_add(leader, barrier, point, RECEIPT_FAILED, failure->reason, now_us);
    }
}

/* One command with as many as fit; returns the index behind them. */
static uint32_t propose_some(struct lease_leader *leader, uint32_t i)
{
    struct buf bytes;
    buf_init(&bytes, RECEIPTS_BYTES_MAX);
    uint32_t end = i;
    for (; end < leader->n_receipts && end - i < LIMIT_RECEIPTS_PER_COMMAND; end++) {
        const struct lease_receipt *from = &leader->receipts[end];
        struct receipt receipt = {from->barrier, from->instance, from->level, from->time_ms, slice_str(from->reason)};
        if (bytes.len + LIMIT_RECEIPT_REASON + 128u > RECEIPTS_BYTES_MAX)
            break;
        lapse_result result = receipts_add(&bytes, &receipt);
        CHECK(lapse_is_ok(result));
    }
    struct command command = {.type = COMMAND_RECEIPTS, .receipts = buf_slice(&bytes)};
    leader->io.propose(leader->arg, &command);
    buf_free(&bytes);
    return end;
}

static bool is_time_to_propose(const struct lease_leader *leader, int64_t now_us)
{
    uint32_t n = leader->n_receipts - leader->n_proposed;
    return n > 0 && now_us >= leader->not_before_us &&
           (leader->barrier_complete || n >= LIMIT_RECEIPTS_PER_COMMAND ||
            now_us - leader->receipts[leader->n_proposed].ready_us >= RECEIPTS_WAIT_US);
}

void lease_receipts_propose(struct lease_leader *leader, int64_t now_us)
{
    if (leader->first_receipt < leader->n_proposed && now_us - leader->proposed_us >= PROPOSE_AGAIN_US)
        lease_receipts_refused(leader, now_us);
    if (!is_time_to_propose(leader, now_us))
        return;
    while (leader->n_proposed < leader->n_receipts)
        leader->n_proposed = propose_some(leader, leader->n_proposed);
    leader->proposed_us = now_us;
    leader->barrier_complete = false;
}

void lease_receipts_refused(struct lease_leader *leader, int64_t now_us)
{
    leader->n_proposed = leader->first_receipt;
    leader->not_before_us = now_us + REFUSED_US;
}

int64_t lease_barriers_due_us(const struct lease_leader *leader)
{
    int64_t due = leader->look_due_us;
    if (leader->n_proposed < leader->n_receipts) {
        int64_t ready_us = leader->receipts[leader->n_proposed].ready_us;
        int64_t at_us = leader->barrier_complete ? ready_us : ready_us + RECEIPTS_WAIT_US;
        at_us = at_us > leader->not_before_us ? at_us : leader->not_before_us;
        due = at_us < due ? at_us : due;
    }
    if (leader->first_receipt < leader->n_proposed && leader->proposed_us + PROPOSE_AGAIN_US < due)
        due = leader->proposed_us + PROPOSE_AGAIN_US;
    return due;
}
