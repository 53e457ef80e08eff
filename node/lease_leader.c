/* The leader's side: reports come in, answers go out. What follows from the reports is in the other lease_*.c of
 * lease_leader_internal.h.
 *
 * Everything belongs to one term: begin() starts with empty tables, and each node tells all it knows under a session
 * number that it gets from here. */
#include "node/lease_leader_internal.h"

#include <stdlib.h>

#include "base/check.h"

/* Promises made before this moment's X + Ln have run out after it. */
#define LONGEST_US lease_wait_us(LEASE_EVIDENCE_US + LEASE_NODE_US + LEASE_POINT_US_MAX)

struct lease_leader *lease_leader_new(const struct store *store, int64_t now_us, enum lease_broken broken,
                                      const struct lease_leader_io *io, void *arg)
{
    struct lease_leader *leader = mem_calloc(1, sizeof *leader);
    *leader = (struct lease_leader){
        .store = store, .io = *io, .arg = arg, .broken = broken, .born_us = now_us, .removed_us = NEVER};
    TAILQ_INIT(&leader->all);
    TAILQ_INIT(&leader->watch);
    TAILQ_INIT(&leader->followers);
    return leader;
}

static void clear(struct lease_leader *leader)
{
    lease_progress_clear(leader);
    lease_barriers_clear(leader);
    lease_table_clear(leader);
    for (uint32_t i = 0; i < LIMIT_PEERS; i++)
        lease_slot_clear(&leader->slots[i]);
    free(leader->wants);
    leader->wants = NULL;
    leader->n_wants = leader->wants_capacity = 0;
    leader->ready = false;
}

void lease_leader_free(struct lease_leader *leader)
{
    if (leader == NULL)
        return;
    clear(leader);
    free(leader);
}

/* --- Members, terms, stores --- */

static bool contains(const uint64_t *ids, uint32_t n, uint64_t id)
{
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

static void retire(struct lease_leader *leader, uint32_t i, int64_t now_us)
{
    leader->removed_us = now_us;
    if (leader->leading)
        lease_table_retire(leader, i);
    leader->slots[i].id = 0;
    lease_slot_clear(&leader->slots[i]);
}

void lease_leader_set_members(struct lease_leader *leader, const uint64_t *ids, uint32_t n, int64_t now_us)
{
    CHECK(n <= LIMIT_PEERS);
    if (leader->store_replaced)
        leader->removed_us = now_us;
    leader->store_replaced = false;
    /* Whoever is registered now may have a promise of a node that goes: it must be in the table. */
    if (leader->leading)
        lease_table_sync(leader, now_us);
    for (uint32_t i = 0; i < LIMIT_PEERS; i++) {
        if (leader->slots[i].id != 0 && !contains(ids, n, leader->slots[i].id))
            retire(leader, i, now_us);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (lease_slot_of(leader, ids[i]) != NULL)
            continue;
        struct lease_slot *slot = lease_slot_of(leader, 0);
        CHECK(slot != NULL);
        slot->id = ids[i];
        lease_slot_clear(slot);
    }
}

void lease_leader_begin(struct lease_leader *leader, uint64_t term, int64_t since_us)
{
    clear(leader);
    leader->leading = true;
    leader->term = term;
    leader->since_us = since_us;
    leader->last_session = 0;
    leader->strangers = leader->store_replaced || since_us < leader->born_us + LONGEST_US ||
                        (leader->removed_us != NEVER && since_us < leader->removed_us + LONGEST_US);
    leader->watch_due_us = INT64_MAX;
    leader->watched_us = leader->synced_us = since_us - SYNC_US;
    leader->sync_due_us = leader->progress_due_us = since_us;
    leader->synced_revision = 0;
}

void lease_leader_end(struct lease_leader *leader)
{
    clear(leader);
    leader->leading = false;
}

void lease_leader_set_store(struct lease_leader *leader, const struct store *store)
{
    /* A process begins without one, and may lead before it has it; leaders don't install snapshots. */
    CHECK(!leader->leading || leader->store == NULL);
    leader->store_replaced = leader->store != NULL;
    leader->store = store;
}

void lease_leader_applied(struct lease_leader *leader, bool ready, int64_t now_us)
{
    leader->ready = leader->leading && ready;
    if (leader->ready)
        lease_barriers_look(leader, now_us);
}

/* --- Reports --- */

static void merge_oldest(struct lease_point *point)
{
    struct leader_failure *first = STAILQ_FIRST(&point->failures), *second = STAILQ_NEXT(first, next);
    second->first = first->first < second->first ? first->first : second->first;
    second->last = first->last > second->last ? first->last : second->last;
    STAILQ_REMOVE_HEAD(&point->failures, next);
    point->n_failures--;
    free(first);
}

static bool knows_failure(const struct lease_point *point, const struct lease_failure *failure)
{
    const struct leader_failure *known;
    /* Said once more on another stream: what it concerned was confirmed up to there, with that failure. */
    if (failure->first <= point->enforced)
        return true;
    STAILQ_FOREACH(known, &point->failures, next)
    {
        if (known->first <= failure->first && failure->last <= known->last)
            return true;
    }
    return false;
}

static void take_failures(struct lease_leader *leader, struct lease_point *point, const struct lease_item *item,
                          int64_t now_us)
{
    struct slice list = item->failure_list;
    struct lease_failure failure;
    uint64_t received = item->received > point->received ? item->received : point->received;
    while (lease_failure_next(&list, &failure)) {
        if (knows_failure(point, &failure))
            continue;
        if (point->n_failures == LEASE_FAILURES_MAX)
            merge_oldest(point);
        struct leader_failure *known = mem_calloc(1, sizeof *known);
        known->first = failure.first;
        known->last = failure.last;
        (void)slice_to_cstr(failure.reason, known->reason, sizeof known->reason);
        STAILQ_INSERT_TAIL(&point->failures, known, next);
        point->n_failures++;
        lease_settle_failure(leader, point, known, received, now_us);
    }
}

/* Since when it has received what it does not confirm. */
static void note_behind(struct lease_point *point, int64_t now_us)
{
    if (point->enforced < point->behind && point->settled < point->behind)
        return;
    point->behind = point->received > point->enforced ? point->received : 0;
    point->behind_us = now_us;
}

static void take_acks(struct lease_leader *leader, struct lease_point *point, const struct lease_item *item,
                      int64_t now_us)
{
    if (item->received <= point->received && item->enforced <= point->enforced)
        return;
    point->received = item->received > point->received ? item->received : point->received;
    point->enforced = item->enforced > point->enforced ? item->enforced : point->enforced;
    lease_settle(leader, point, point->enforced, RECEIPT_ENFORCED, now_us);
    note_behind(point, now_us);
    if (point->watched || point->enforced > point->settled)
        lease_watch(leader, point, now_us);
}

static void add_want(struct lease_leader *leader, const struct lease_item *item, uint32_t slot)
{
    leader->wants = lease_grow(leader->wants, leader->n_wants, &leader->wants_capacity, sizeof *leader->wants);
    leader->wants[leader->n_wants++] = (struct lease_want){item->instance, slot, item->want};
}

static void add_end(struct lease_slot *slot, const struct random_id *instance, enum lease_end why)
{
    slot->ends = lease_grow(slot->ends, slot->n_ends, &slot->ends_capacity, sizeof *slot->ends);
    slot->ends[slot->n_ends++] = (struct lease_ending){*instance, why};
    slot->answer_due = true;
}

static void take_item(struct lease_leader *leader, struct lease_slot *slot, const struct lease_item *item,
                      uint64_t applied, int64_t now_us)
{
    uint32_t i = lease_slot_index(leader, slot);
    struct lease_point *point = lease_table_point(leader, &item->instance, now_us);
    if (point == NULL) {
        /* The node may be ahead of us: then it asks again. */
        if (leader->ready && item->state != LEASE_GONE && store_revision(leader->store) >= applied)
            add_end(slot, &item->instance, LEASE_END_UNKNOWN);
        return;
    }
    lease_table_report(leader, point, i, item, now_us);
    take_failures(leader, point, item, now_us);
    take_acks(leader, point, item, now_us);
    if (item->goodbye && !point->goodbye) {
        point->goodbye = true;
        lease_watch(leader, point, now_us);
    }
    if (item->want > 0)
        add_want(leader, item, i);
}

static void take_lists(struct lease_leader *leader, struct lease_slot *slot, const struct lease_frame *frame,
                       int64_t now_us)
{
    struct slice items = frame->list, follows = frame->list, unfollows = frame->list;
    struct lease_item item;
    uint64_t barrier;
    while (lease_item_next(&items, &item))
        take_item(leader, slot, &item, frame->applied, now_us);
    while (lease_follow_next(&follows, &barrier))
        lease_progress_follow(leader, slot->id, barrier);
    while (lease_unfollow_next(&unfollows, &barrier))
        lease_progress_unfollow(leader, slot->id, barrier);
}

static void take_report(struct lease_leader *leader, struct lease_slot *slot, const struct lease_frame *frame,
                        int64_t now_us)
{
    uint32_t i = lease_slot_index(leader, slot);
    int64_t born_us = now_us - lease_surely_us((int64_t)frame->age_us);
    if (frame->sequence == 1) {
        lease_progress_unfollow(leader, slot->id, 0);
        lease_table_begin_report(leader, i);
        slot->session_born_us = born_us;
    }
    slot->expected++;
    slot->session_born_us = born_us < slot->session_born_us ? born_us : slot->session_born_us;
    take_lists(leader, slot, frame, now_us);
    if (!frame->complete || slot->reported)
        return;
    lease_table_end_report(leader, i, now_us);
    slot->born_us = slot->session_born_us;
    slot->reported = slot->complete = true;
    slot->answer_due = true;
}

/* The newest ping gets the answer. */
static void take_ping(struct lease_slot *slot, const struct lease_frame *frame, int64_t now_us)
{
    bool counts = frame->session == slot->session;
    if (counts == slot->echo_counts && frame->sent_us < slot->echo_us)
        return;
    slot->echo_us = frame->sent_us;
    slot->applied = frame->applied;
    slot->echo_counts = counts;
    if (!counts || slot->answered_us == NEVER || now_us - slot->answered_us >= ANSWER_US)
        slot->answer_due = true;
}

void lease_leader_receive(struct lease_leader *leader, uint64_t from, uint64_t life, uint64_t term, struct slice bytes,
                          int64_t now_us)
{
    struct lease_frame frame;
    struct lease_slot *slot = from == 0 ? NULL : lease_slot_of(leader, from);
    if (!leader->leading || term != leader->term || slot == NULL || life == 0 || !lease_frame_decode(bytes, &frame) ||
        frame.kind != LEASE_REPORT)
        return;
    if (life != slot->life) {
        slot->life = life;
        slot->echo_us = 0;
        lease_slot_new_session(leader, slot);
    } else if (frame.session == slot->session && frame.sequence > slot->expected)
        lease_slot_new_session(leader, slot);
    take_ping(slot, &frame, now_us);
    if (frame.session == slot->session && frame.sequence == slot->expected)
        take_report(leader, slot, &frame, now_us);
}

void lease_leader_refused(struct lease_leader *leader, int64_t now_us)
{
    if (!leader->leading)
        return;
    lease_receipts_refused(leader, now_us);
    lease_decide_refused(leader, now_us);
}

/* --- Admissions --- */

static bool is_broken(const struct lease_leader *leader)
{
    return leader->broken == LEASE_BROKEN_ADMISSION;
}

static void admit(struct lease_leader *leader, struct lease_slot *slot, struct lease_point *point)
{
    uint32_t i = lease_slot_index(leader, slot);
    if (!is_broken(leader))
        point->admitted |= (uint16_t)(1u << i);
    slot->admissions =
        lease_grow(slot->admissions, slot->n_admissions, &slot->admissions_capacity, sizeof *slot->admissions);
    slot->admissions[slot->n_admissions++] = (struct lease_admission){point->link.id, point->want[i]};
    point->granted[i] = point->want[i];
    point->want[i] = 0;
    slot->answer_due = true;
}

/* False when it must wait. */
static bool answer_want(struct lease_leader *leader, const struct lease_want *want, int64_t now_us)
{
    struct lease_slot *slot = &leader->slots[want->slot];
    struct lease_point *point = lease_index_find(&leader->points, &want->instance);
    if (point == NULL || point->want[want->slot] != want->want || slot->id == 0)
        return true;
    if (!slot->reported)
        return false;
    /* Fenced or ended since. */
    if (lease_table_point(leader, &want->instance, now_us) == NULL)
        add_end(slot, &want->instance, LEASE_END_UNKNOWN);
    else if (point->fenced || point->decided == POINT_END_FENCED)
        add_end(slot, &want->instance, LEASE_END_FENCED);
    else if (point->decided != 0 && !is_broken(leader))
        add_end(slot, &want->instance, LEASE_END_LAPSED);
    else
        admit(leader, slot, point);
    return true;
}

static void answer_wants(struct lease_leader *leader, int64_t now_us)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < leader->n_wants; i++) {
        if (!answer_want(leader, &leader->wants[i], now_us))
            leader->wants[kept++] = leader->wants[i];
    }
    leader->n_wants = kept;
}

/* --- Answers --- */

/* P4. */
static bool may_lease(const struct lease_leader *leader, const struct lease_slot *slot, int64_t now_us)
{
    if (!slot->reported || !slot->echo_counts)
        return false;
    int64_t evidence_us = leader->io.evidence_us(leader->arg);
    return evidence_us != INT64_MIN && now_us - evidence_us <= LEASE_EVIDENCE_US &&
           slot->applied >= lease_barriers_overdue(leader, now_us);
}

static void put_lists(struct lease_slot *slot, struct buf *out)
{
    /* From the back: nobody depends on their order. */
    while (slot->n_admissions > 0 && !lease_frame_is_full(out))
        lease_frame_put_admission(out, &slot->admissions[--slot->n_admissions]);
    while (slot->n_admissions == 0 && slot->n_ends > 0 && !lease_frame_is_full(out))
        lease_frame_put_end(out, &slot->ends[--slot->n_ends]);
}

static void answer(struct lease_leader *leader, struct lease_slot *slot, int64_t now_us)
{
    struct lease_frame head = {.kind = LEASE_ANSWER,
                               .sent_us = slot->echo_us,
                               .applied = store_revision(leader->store),
                               .session = slot->session,
                               .life = slot->life,
                               .lease = may_lease(leader, slot, now_us)};
    struct buf out;
    buf_init(&out, LEASE_FRAME_MAX);
    if (head.lease)
        slot->grant_us = now_us;
    do {
        buf_clear(&out);
        lease_frame_begin(&out, &head);
        put_lists(slot, &out);
        leader->io.send(leader->arg, slot->id, buf_slice(&out));
    } while (slot->n_admissions > 0 || slot->n_ends > 0);
    slot->answer_due = false;
    slot->answered_us = now_us;
    buf_free(&out);
}

static bool owes_answer(const struct lease_slot *slot)
{
    return slot->id != 0 && slot->answer_due && slot->echo_us != 0;
}

static void answer_all(struct lease_leader *leader, int64_t now_us)
{
    for (uint32_t i = 0; i < LIMIT_PEERS; i++) {
        if (owes_answer(&leader->slots[i]))
            answer(leader, &leader->slots[i], now_us);
    }
}

/* --- Time --- */

void lease_leader_tick(struct lease_leader *leader, int64_t now_us)
{
    if (!leader->leading || !leader->ready)
        return;
    lease_barriers_look(leader, now_us);
    if (now_us >= leader->sync_due_us)
        lease_table_sync(leader, now_us);
    lease_barriers_tick(leader, now_us);
    lease_decide_tick(leader, now_us);
    lease_progress_tick(leader, now_us);
}

/* Nothing is answered before we are ready: a node reports under the number that the answer gives it, and what it says
 * of a point whose registration we have not applied yet would be lost, with the promise that it may hold. */
void lease_leader_flush(struct lease_leader *leader, int64_t now_us)
{
    if (!leader->leading || !leader->ready)
        return;
    lease_leader_tick(leader, now_us);
    answer_wants(leader, now_us);
    lease_receipts_propose(leader, now_us);
    answer_all(leader, now_us);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t lease_leader_next_due_us(const struct lease_leader *leader)
{
    if (!leader->leading || !leader->ready)
        return INT64_MAX;
    for (uint32_t i = 0; i < LIMIT_PEERS; i++) {
        if (owes_answer(&leader->slots[i]))
            return 0;
    }
    int64_t due = sooner(leader->sync_due_us, lease_barriers_due_us(leader));
    if (!TAILQ_EMPTY(&leader->watch))
        due = sooner(due, leader->watch_due_us);
    return TAILQ_EMPTY(&leader->followers) ? due : sooner(due, leader->progress_due_us);
}

void lease_leader_get_status(const struct lease_leader *leader, int64_t now_us, struct lease_leader_status *status)
{
    const struct lease_point *point;
    *status = (struct lease_leader_status){.points = leader->points.n,
                                           .receipts_enforced = leader->decided_levels[RECEIPT_ENFORCED],
                                           .receipts_failed = leader->decided_levels[RECEIPT_FAILED],
                                           .receipts_lapsed = leader->decided_levels[RECEIPT_LAPSED],
                                           .receipts_left = leader->decided_levels[RECEIPT_LEFT]};
    if (!leader->leading)
        return;
    status->barriers_open = store_barriers_open(leader->store);
    if (leader->n_barriers > 0)
        status->oldest_barrier_ms = (now_us - leader->barriers[0].opened_us) / 1000;
    TAILQ_FOREACH(point, &leader->all, all)
    status->points_absent += point->present == 0;
}
