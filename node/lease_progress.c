/* What nodes that follow a barrier are told: who is still missing, and for how long at most. Those that wait come
 * first, so that a list without any of them says that all have received. That it is done they see in their own stores.
 */
#include "node/lease_leader_internal.h"

#include <stdlib.h>

#include "base/check.h"

void lease_progress_follow(struct lease_leader *leader, uint64_t node, uint64_t barrier)
{
    if (leader->n_followers >= FOLLOWS_MAX * LIMIT_PEERS)
        return;
    struct lease_follower *follower = mem_calloc(1, sizeof *follower);
    *follower = (struct lease_follower){.node = node, .barrier = barrier};
    TAILQ_INSERT_TAIL(&leader->followers, follower, all);
    leader->n_followers++;
    leader->progress_due_us = NEVER;
}

static void drop(struct lease_leader *leader, struct lease_follower *follower)
{
    TAILQ_REMOVE(&leader->followers, follower, all);
    leader->n_followers--;
    free(follower);
}

void lease_progress_unfollow(struct lease_leader *leader, uint64_t node, uint64_t barrier)
{
    struct lease_follower *next;
    for (struct lease_follower *follower = TAILQ_FIRST(&leader->followers); follower != NULL; follower = next) {
        next = TAILQ_NEXT(follower, all);
        if (follower->node == node && (barrier == 0 || follower->barrier == barrier))
            drop(leader, follower);
    }
}

void lease_progress_clear(struct lease_leader *leader)
{
    while (!TAILQ_EMPTY(&leader->followers))
        drop(leader, TAILQ_FIRST(&leader->followers));
}

/* --- One frame --- */

struct listing {
    struct lease_leader *leader;
    struct barrier barrier;
    struct buf *out;
    uint32_t n;
    uint64_t digest;
    int64_t now_us;
};

static void put(struct listing *listing, const struct lease_waiting *waiting)
{
    uint64_t word;
    memcpy(&word, waiting->instance.bytes, sizeof word);
    listing->digest = (listing->digest ^ word ^ waiting->level) * 0x9E3779B97F4A7C15ull;
    listing->n++;
    lease_frame_put_waiting(listing->out, waiting);
}

/* How a point stands that has no receipt yet; 0: it has confirmed, and its receipt is on its way. */
static uint8_t level_of(const struct listing *listing, const struct lease_point *point)
{
    if (point->enforced >= listing->barrier.revision)
        return 0;
    return point->received >= listing->barrier.revision ? LEASE_RECEIVED : LEASE_WAITING;
}

static uint32_t left_ms_of(const struct listing *listing, const struct lease_point *point)
{
    int64_t bound_us = lease_table_bound(listing->leader, point);
    return bound_us <= listing->now_us ? 0 : (uint32_t)((bound_us - listing->now_us + 999) / 1000);
}

static void list_level(struct listing *listing, uint8_t level)
{
    const struct lease_point *point;
    TAILQ_FOREACH(point, &listing->leader->watch, watch)
    {
        if (listing->n == LEASE_PROGRESS_MAX)
            return;
        if (level_of(listing, point) != level ||
            !store_barrier_waits_for(listing->leader->store, listing->barrier.id, point->link.id))
            continue;
        put(listing, &(struct lease_waiting){.instance = point->link.id,
                                             .point = slice_str(point->id),
                                             .level = level,
                                             .left_ms = left_ms_of(listing, point)});
    }
}

static void list_receipt(void *arg, const struct receipt *receipt, struct slice point)
{
    struct listing *listing = arg;
    if (receipt->level != RECEIPT_ENFORCED && listing->n < LEASE_PROGRESS_MAX)
        put(listing, &(struct lease_waiting){.instance = receipt->instance,
                                             .point = point,
                                             .level = (uint8_t)receipt->level,
                                             .reason = receipt->reason});
}

static void list_all(struct listing *listing)
{
    const struct barrier *barrier = &listing->barrier;
    if (barrier->revision == 0)
        return;
    list_level(listing, LEASE_WAITING);
    list_level(listing, LEASE_RECEIVED);
    if (barrier->failed + barrier->lapsed + barrier->left > 0)
        (void)store_barrier_receipts(listing->leader->store, barrier->id, list_receipt, listing);
}

/* Until all points were looked through for it, nobody knows whether one that is not on the list waits. */
static bool is_looked_through(const struct lease_leader *leader, uint64_t id)
{
    for (uint32_t i = 0; i < leader->n_barriers; i++)
        if (leader->barriers[i].id == id)
            return leader->barriers[i].scanned;
    return false;
}

/* What is known is told again only when it has changed; how long it may take is no news. */
static bool tell(struct lease_leader *leader, struct lease_follower *follower, int64_t now_us)
{
    struct buf list, out;
    struct listing listing = {.leader = leader, .out = &list, .now_us = now_us};
    if (!store_barrier_get(leader->store, follower->barrier, &listing.barrier))
        return follower->barrier > store_revision(leader->store); /* the node is ahead of us */
    if (listing.barrier.done)
        return false;
    if (!is_looked_through(leader, follower->barrier))
        return true;
    buf_init(&list, LEASE_FRAME_MAX);
    buf_init(&out, LEASE_FRAME_MAX);
    list_all(&listing);
    if (listing.n > 0 && listing.digest != follower->told) {
        struct lease_frame head = {.kind = LEASE_PROGRESS, .barrier = follower->barrier};
        uint32_t missing = listing.barrier.points - listing.barrier.enforced;
        head.omitted = listing.n == LEASE_PROGRESS_MAX && missing > listing.n ? missing - listing.n : 0;
        lease_frame_begin(&out, &head);
        lapse_result result = buf_append(&out, list.data, list.len);
        CHECK(lapse_is_ok(result));
        follower->told = listing.digest;
        leader->io.send(leader->arg, follower->node, buf_slice(&out));
    }
    buf_free(&list);
    buf_free(&out);
    return true;
}

void lease_progress_tick(struct lease_leader *leader, int64_t now_us)
{
    uint32_t n = leader->n_followers < PROGRESS_AT_ONCE ? leader->n_followers : PROGRESS_AT_ONCE;
    if (now_us < leader->progress_due_us || !leader->ready)
        return;
    for (; n > 0; n--) {
        struct lease_follower *follower = TAILQ_FIRST(&leader->followers);
        if (!tell(leader, follower, now_us)) {
            drop(leader, follower);
            continue;
        }
        TAILQ_REMOVE(&leader->followers, follower, all);
        TAILQ_INSERT_TAIL(&leader->followers, follower, all);
    }
    leader->progress_due_us = now_us + PROGRESS_US;
}
