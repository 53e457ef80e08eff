#include "node/core_barrier.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/core_barrier_internal.h"
#include "node/core_lease.h"
#include "node/metrics.h"
#include "proto/lapse/v1/grants.pb.h"

#define BUCKETS 4096u
/* A followed barrier's progress is kept for so long behind its last question: the edge asks again when the client has
 * read. */
#define LINGER_US (2 * 1000 * 1000ll)
/* Messages of one follower are at least so far apart. */
#define FOLLOW_US (20 * 1000ll)

struct core_barriers {
    struct tracked *buckets[BUCKETS]; /* by barrier */
    struct tracked *all;
    struct tracked *changed; /* to be looked at in the next flush */
    uint32_t n_tracked, n_waits;
    uint64_t versions; /* given so far, for all barriers together */
    int64_t due_us;    /* nobody's time is over before */
    bool ended;
    struct mail abandoned;
    _Atomic(bool) abandoned_posted;
};

/* --- the barriers that are waited for ----------------------------------------------------------------------------- */

static struct tracked **bucket_of(struct core_barriers *barriers, uint64_t barrier)
{
    return &barriers->buckets[barrier * 0x9E3779B97F4A7C15u >> 52];
}
_Static_assert(BUCKETS == 1u << (64 - 52), "bucket_of shifts by the table's size");

static struct tracked *find(struct core_barriers *barriers, uint64_t barrier)
{
    struct tracked *tracked = *bucket_of(barriers, barrier);
    while (tracked != NULL && tracked->barrier != barrier)
        tracked = tracked->next_in_bucket;
    return tracked;
}

static void mark_changed(struct core_barriers *barriers, struct tracked *tracked)
{
    if (tracked == NULL || tracked->changed)
        return;
    tracked->changed = true;
    tracked->next_changed = barriers->changed;
    barriers->changed = tracked;
}

static struct tracked *track(struct core *core, uint64_t barrier)
{
    struct core_barriers *barriers = core->barriers;
    struct tracked **bucket = bucket_of(barriers, barrier);
    struct tracked *tracked = mem_calloc(1, sizeof *tracked);
    tracked->barrier = barrier;
    tracked->next_in_bucket = *bucket;
    *bucket = tracked;
    tracked->next = barriers->all;
    if (tracked->next != NULL)
        tracked->next->prev = tracked;
    barriers->all = tracked;
    barriers->n_tracked++;
    lease_node_follow(core_lease_node(core), barrier);
    return tracked;
}

/* Not one that is in the list of changed ones: flush takes it out of there first. */
static void untrack(struct core *core, struct tracked *tracked)
{
    struct core_barriers *barriers = core->barriers;
    struct tracked **link = bucket_of(barriers, tracked->barrier);
    CHECK(!tracked->changed && tracked->waits == NULL);
    while (*link != tracked)
        link = &(*link)->next_in_bucket;
    *link = tracked->next_in_bucket;
    if (tracked->prev != NULL)
        tracked->prev->next = tracked->next;
    else
        barriers->all = tracked->next;
    if (tracked->next != NULL)
        tracked->next->prev = tracked->prev;
    barriers->n_tracked--;
    lease_node_unfollow(core_lease_node(core), tracked->barrier);
    free(tracked->points);
    free(tracked);
}

static void expect(struct core_barriers *barriers, int64_t due_us)
{
    if (due_us < barriers->due_us)
        barriers->due_us = due_us;
}

/* --- who waits ---------------------------------------------------------------------------------------------------- */

static void wait_for(struct tracked *tracked, struct core_call *call)
{
    struct core_barriers *barriers = call->core->barriers;
    call->tracked = tracked;
    call->prev_wait = NULL;
    call->next_wait = tracked->waits;
    if (call->next_wait != NULL)
        call->next_wait->prev_wait = call;
    tracked->waits = call;
    tracked->streamed = tracked->streamed || call->op == CORE_FOLLOW;
    barriers->n_waits++;
    metric_add(METRIC_BARRIER_WAITS, 1);
    expect(barriers, call->wait_until_us);
}

static void stop_waiting(struct core_call *call)
{
    struct tracked *tracked = call->tracked;
    if (tracked == NULL)
        return;
    call->tracked = NULL;
    if (call->prev_wait != NULL)
        call->prev_wait->next_wait = call->next_wait;
    else
        tracked->waits = call->next_wait;
    if (call->next_wait != NULL)
        call->next_wait->prev_wait = call->prev_wait;
    call->core->barriers->n_waits--;
    metric_add(METRIC_BARRIER_WAITS, -1);
    tracked->idle_us = clock_boot_us();
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static lapse_result encode_write(struct core_call *call, const struct barrier *barrier)
{
    struct proto_point point = core_call_point(call);
    struct grant grant;
    if (call->op == CORE_REVOKE_MATCHING)
        return proto_encode_revoke_matching(&point, barrier, call->repeated, &call->response);
    if (call->op == CORE_CHANGE)
        return proto_encode_change(&point, barrier, call->repeated, &call->response);
    bool found = store_get(core_call_store(call), call->grant, &grant);
    return proto_encode_mutation(&point, found ? &grant : NULL, call->repeated, barrier, &call->response);
}

/* The end of the wait, with what call->error says by now. */
static void conclude(struct core_call *call, const struct barrier *barrier, const struct tracked *tracked)
{
    lapse_result encoded = lapse_ok();
    stop_waiting(call);
    if (call->op == CORE_FOLLOW) {
        core_call_set_now(call, core_time_ms(call->core));
        call->last = true;
        encoded = say_progress(call, barrier, tracked, clock_boot_us());
    } else if (call->error.code == LAPSE_OK) {
        encoded = encode_write(call, barrier);
    }
    core_call_finish(call, encoded);
}

static void tell_progress(struct core_call *call, const struct barrier *barrier, const struct tracked *tracked)
{
    int64_t now_us = clock_boot_us();
    stop_waiting(call);
    core_call_set_now(call, core_time_ms(call->core));
    call->version = tracked->version;
    call->not_before_us = now_us + FOLLOW_US;
    core_call_finish(call, say_progress(call, barrier, tracked, now_us));
}

/* --- deciding ----------------------------------------------------------------------------------------------------- */

/* A barrier that is done says of each point that it denies. So do its points' own words, which the leader has passed
 * on. FAILED is about sessions: it denies all the same. */
static bool is_reached(const struct core_call *call, const struct barrier *barrier, const struct tracked *tracked)
{
    return barrier->done || (call->wait == lapse_v1_WaitLevel_RECEIVED && tracked != NULL && tracked->all_received);
}

static bool has_news(const struct core_call *call, const struct tracked *tracked)
{
    return call->op == CORE_FOLLOW && tracked != NULL && tracked->version > call->version;
}

/* Answers a call if there is something to answer. */
static bool decide(struct core_call *call, const struct tracked *tracked, int64_t now_us)
{
    struct barrier barrier;
    if (atomic_load_explicit(&call->abandoned, memory_order_relaxed)) {
        stop_waiting(call);
        core_call_refuse(call, LAPSE_CANCELLED, "nobody waits any more");
        return true;
    }
    if (!store_barrier_get(core_call_store(call), call->barrier, &barrier)) {
        say_forgotten(call); /* it may have been FAILED, or untracked: silence is no success */
        conclude(call, NULL, tracked);
        return true;
    }
    if (has_news(call, tracked) && now_us >= call->not_before_us && !is_reached(call, &barrier, tracked) &&
        now_us < call->wait_until_us) {
        tell_progress(call, &barrier, tracked);
        return true;
    }
    if (is_reached(call, &barrier, tracked)) {
        if (barrier.failed > 0 && call->wait == lapse_v1_WaitLevel_ENFORCED)
            say_failed(call, &barrier);
    } else if (barrier.untracked) {
        say_untracked(call);
    } else if (now_us >= call->wait_until_us) {
        say_pending(call, &barrier, tracked, now_us);
    } else {
        return false;
    }
    conclude(call, &barrier, tracked);
    return true;
}

static void look_at(struct core *core, struct tracked *tracked, int64_t now_us)
{
    struct core_barriers *barriers = core->barriers;
    struct core_call *call = tracked->waits;
    while (call != NULL) {
        struct core_call *next = call->next_wait;
        if (!decide(call, tracked, now_us)) {
            expect(barriers, call->wait_until_us);
            if (has_news(call, tracked))
                expect(barriers, call->not_before_us);
        }
        call = next;
    }
    if (tracked->waits != NULL)
        return;
    if (tracked->streamed && now_us < tracked->idle_us + LINGER_US)
        expect(barriers, tracked->idle_us + LINGER_US);
    else
        untrack(core, tracked);
}

/* Clients go on to another node, where the same request_id finds the same barrier. */
static void refuse_to_wait(struct core_call *call)
{
    core_call_refuse(
        call, LAPSE_UNAVAILABLE,
        "revoked, but this node is stopping: ask another one with the same request_id whether it is enforced");
}

/* --- what comes in ------------------------------------------------------------------------------------------------ */

static void begin_wait(struct core_call *call)
{
    struct core_barriers *barriers = call->core->barriers;
    struct tracked *tracked = find(barriers, call->barrier);
    if (tracked != NULL)
        tracked->idle_us = clock_boot_us();
    if (decide(call, tracked, clock_boot_us()))
        return;
    if (barriers->ended) {
        refuse_to_wait(call);
        return;
    }
    if (barriers->n_waits >= LIMIT_BARRIER_WAITS || (tracked == NULL && barriers->n_tracked >= LIMIT_BARRIER_WAITS)) {
        say_too_many(call);
        conclude(call, NULL, NULL);
        return;
    }
    if (tracked == NULL)
        tracked = track(call->core, call->barrier);
    wait_for(tracked, call);
    if (has_news(call, tracked))
        expect(barriers, call->not_before_us);
}

void core_barrier_committed(struct core_call *call, const struct store_outcome *outcome)
{
    struct barrier barrier;
    call->barrier = outcome->revision;
    call->grant = outcome->grant;
    call->repeated = outcome->repeated;
    bool known = store_barrier_get(core_call_store(call), call->barrier, &barrier);
    if (call->op == CORE_REVOKE_FOLLOW)
        core_call_finish(call, say_progress(call, known ? &barrier : NULL, NULL, clock_boot_us()));
    else if (call->wait == lapse_v1_WaitLevel_COMMITTED)
        core_call_finish(call, encode_write(call, known ? &barrier : NULL));
    else
        begin_wait(call);
}

void core_barrier_follow(struct core_call *call)
{
    call->last = false;
    begin_wait(call);
}

void core_barriers_event(struct core *core, const struct store_event *event)
{
    struct core_barriers *barriers = core->barriers;
    /* A sweep's barrier that no point is in scope of is done with the sweep. */
    if (event->type == STORE_EVENT_ENFORCED)
        mark_changed(barriers, find(barriers, event->barrier->id));
    else if (event->type == STORE_EVENT_SWEEP_ENDED)
        mark_changed(barriers, find(barriers, event->sweep->id));
}

void core_barriers_replaced(struct core *core)
{
    for (struct tracked *tracked = core->barriers->all; tracked != NULL; tracked = tracked->next)
        mark_changed(core->barriers, tracked);
}

/* Points that wait come first, so the first one speaks for those that were omitted, too. None at all means that the
 * receipts are about to be committed: that will be seen. */
static bool all_received(const struct lease_progress *progress)
{
    for (uint32_t i = 0; i < progress->n; i++)
        if (progress->points[i].level == lapse_v1_ReceiptLevel_RECEIPT_WAITING)
            return false;
    return progress->n > 0;
}

void core_barriers_progress(struct core *core, const struct lease_progress *progress)
{
    struct tracked *tracked = find(core->barriers, progress->barrier);
    if (tracked == NULL)
        return;
    uint32_t n_kept = progress->n > NAMED_MAX && !tracked->streamed ? NAMED_MAX : progress->n;
    tracked->version = ++core->barriers->versions;
    tracked->told_us = clock_boot_us();
    tracked->all_received = all_received(progress);
    tracked->points = mem_realloc(tracked->points, (n_kept + 1) * sizeof tracked->points[0]);
    if (n_kept > 0)
        memcpy(tracked->points, progress->points, n_kept * sizeof tracked->points[0]);
    tracked->n_points = n_kept;
    mark_changed(core->barriers, tracked);
}

/* --- nobody waits any more ---------------------------------------------------------------------------------------- */

/* One mail for any number of calls: who is meant is seen by their marks. */
static void run_abandoned(struct mail *mail)
{
    struct core_barriers *barriers = CONTAINER_OF(mail, struct core_barriers, abandoned);
    atomic_store(&barriers->abandoned_posted, false);
    for (struct tracked *tracked = barriers->all; tracked != NULL; tracked = tracked->next)
        for (struct core_call *call = tracked->waits; call != NULL && !tracked->changed; call = call->next_wait)
            if (atomic_load(&call->abandoned))
                mark_changed(barriers, tracked);
}

void core_call_abandon(struct core_call *call)
{
    struct core_barriers *barriers = call->core->barriers;
    atomic_store(&call->abandoned, true);
    if (!atomic_exchange(&barriers->abandoned_posted, true))
        mailbox_answer(core_mailbox(call->core), &barriers->abandoned);
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

void core_barriers_open(struct core *core)
{
    core->barriers = mem_calloc(1, sizeof *core->barriers);
    core->barriers->due_us = INT64_MAX;
    core->barriers->abandoned.run = run_abandoned;
}

static struct tracked *take_changed(struct core_barriers *barriers)
{
    struct tracked *tracked = barriers->changed;
    if (tracked != NULL) {
        barriers->changed = tracked->next_changed;
        tracked->changed = false;
    }
    return tracked;
}

void core_barriers_flush(struct core *core)
{
    struct core_barriers *barriers = core->barriers;
    struct tracked *tracked;
    int64_t now_us = clock_boot_us();
    while ((tracked = take_changed(barriers)) != NULL)
        look_at(core, tracked, now_us);
    if (now_us < barriers->due_us)
        return;
    barriers->due_us = INT64_MAX;
    for (struct tracked *next = NULL, *each = barriers->all; each != NULL; each = next) {
        next = each->next; /* looking may free it */
        look_at(core, each, now_us);
    }
}

int64_t core_barriers_next_due_us(const struct core *core)
{
    return core->barriers->due_us;
}

void core_barriers_end(struct core *core)
{
    struct core_barriers *barriers = core->barriers;
    struct tracked *tracked;
    barriers->ended = true;
    while (take_changed(barriers) != NULL)
        continue;
    while ((tracked = barriers->all) != NULL) {
        while (tracked->waits != NULL) {
            struct core_call *call = tracked->waits;
            stop_waiting(call);
            refuse_to_wait(call);
        }
        untrack(core, tracked);
    }
}

void core_barriers_free(struct core *core)
{
    free(core->barriers);
    core->barriers = NULL;
}
