/* Random commands about points, barriers and sessions against the rules written once more as plainly as possible:
 * arrays, every question answered by looking at all of it. Scopes are sets of paths here, so that overlaps are bits in
 * common. Snapshots are taken, restored and gone on with all along, and a second store that never was restored must
 * agree. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "store_fixture.h"

#define STEPS 6000u
#define RETENTION_MS 400
#define EVICTED_PER_COMMAND 8

enum { INSTANCES = 60, BARRIERS = 4096, SESSIONS = 24, GRANTS = 8192, EVENTS = 512 };

/* Paths: db/a, db/b, web, x. */
static const struct {
    const char *text;
    uint32_t paths;
} scopes[] = {{"*", 15}, {"db/*", 3}, {"db/a", 1}, {"db/a web", 5}, {"db/b", 2}, {"web x", 12}};
static const struct {
    const char *text;
    uint32_t paths;
} resources[] = {{"db/a", 1}, {"db/b", 2}, {"db/*", 3}, {"web", 4}, {"*", 15}};
static const char *const ids[] = {"a", "b", "c"};
static const struct {
    const char *name;
    uint32_t may_guard; /* 0: not an enforcer */
} principals[] = {{"user:ep", 15}, {"user:ep2", 3}, {"user:app1", 0}};

struct m_point {
    bool registered, fenced;
    uint32_t id, principal, scope, lease_ms;
    uint64_t revision;
};

struct m_barrier {
    uint64_t id;
    uint32_t grant;
    bool in_scope[INSTANCES];
    int level[INSTANCES];
    uint64_t done_place; /* in which order it was done; 0: open */
    int64_t done_ms;
    bool gone;
};

struct m_session {
    bool open;
    uint32_t instance, grant;
};

struct event {
    enum store_event_type type;
    uint64_t barrier;
    int instance;
};

struct world {
    struct store *store, *twin;
    struct fixture_random random;
    int64_t now_ms;
    struct m_point points[INSTANCES];
    struct m_barrier barriers[BARRIERS];
    uint32_t n_barriers;
    struct m_session sessions[SESSIONS];
    bool active[GRANTS];
    uint32_t resource[GRANTS], n_grants;
    uint64_t revision, done_places;
    struct event expected[EVENTS], seen[EVENTS];
    uint32_t n_expected, n_seen;
};

static uint32_t pick(struct world *world, uint32_t n)
{
    return fixture_pick(&world->random, n);
}

/* --- the model ---------------------------------------------------------------------------------------------------- */

static void expect(struct world *world, enum store_event_type type, uint64_t barrier, int instance)
{
    cr_assert_lt(world->n_expected, EVENTS);
    world->expected[world->n_expected++] = (struct event){type, barrier, instance};
    world->revision++;
}

static bool waits(const struct m_barrier *barrier, uint32_t instance)
{
    return !barrier->gone && barrier->done_place == 0 && barrier->in_scope[instance] && barrier->level[instance] == 0;
}

static void done_if_all(struct world *world, struct m_barrier *barrier)
{
    for (uint32_t i = 0; i < INSTANCES; i++)
        if (waits(barrier, i))
            return;
    barrier->done_place = ++world->done_places;
    barrier->done_ms = world->now_ms;
    expect(world, STORE_EVENT_RECEIPTS, barrier->id, -1);
    expect(world, STORE_EVENT_ENFORCED, barrier->id, -1);
}

static void m_end(struct world *world, uint32_t instance, enum receipt_level level)
{
    world->points[instance].registered = false;
    expect(world, STORE_EVENT_POINT_ENDED, 0, (int)instance);
    for (uint32_t i = 0; i < world->n_barriers; i++)
        if (waits(&world->barriers[i], instance)) {
            world->barriers[i].level[instance] = (int)level;
            done_if_all(world, &world->barriers[i]);
        }
    for (uint32_t i = 0; i < SESSIONS; i++)
        if (world->sessions[i].instance == instance)
            world->sessions[i].open = false;
}

static bool remembered(const struct world *world, uint32_t instance)
{
    for (uint32_t i = 0; i < world->n_barriers; i++)
        if (!world->barriers[i].gone && world->barriers[i].in_scope[instance])
            return true;
    return false;
}

static enum lapse_code m_register(struct world *world, const struct m_point *wanted, uint32_t instance)
{
    struct m_point *point = &world->points[instance];
    uint32_t n = 0;
    if (principals[wanted->principal].may_guard == 0 ||
        (scopes[wanted->scope].paths & ~principals[wanted->principal].may_guard) != 0)
        return LAPSE_PERMISSION_DENIED;
    if (point->registered)
        return point->id == wanted->id && point->principal == wanted->principal && point->scope == wanted->scope &&
                       point->lease_ms == wanted->lease_ms
                   ? LAPSE_OK
                   : LAPSE_ALREADY_EXISTS;
    if (remembered(world, instance))
        return LAPSE_FAILED_PRECONDITION;
    for (uint32_t i = 0; i < INSTANCES; i++) {
        const struct m_point *other = &world->points[i];
        if (!other->registered || other->id != wanted->id)
            continue;
        if (other->principal != wanted->principal)
            return LAPSE_PERMISSION_DENIED;
        n++;
    }
    if (n >= LIMIT_POINT_INSTANCES)
        return LAPSE_RESOURCE_EXHAUSTED;
    for (uint32_t i = 0; i < INSTANCES; i++) {
        struct m_point *other = &world->points[i];
        if (other->registered && !other->fenced && other->id == wanted->id) {
            other->fenced = true;
            expect(world, STORE_EVENT_POINT_FENCED, 0, (int)i);
        }
    }
    expect(world, STORE_EVENT_POINT_REGISTERED, 0, (int)instance);
    *point = *wanted;
    point->registered = true;
    point->revision = world->revision;
    return LAPSE_OK;
}

static void m_receipt(struct world *world, uint64_t barrier, uint32_t instance, enum receipt_level level)
{
    for (uint32_t i = 0; i < world->n_barriers; i++) {
        struct m_barrier *found = &world->barriers[i];
        if (found->id != barrier || !world->points[instance].registered || !waits(found, instance))
            continue;
        if (level == RECEIPT_LAPSED || level == RECEIPT_LEFT) {
            m_end(world, instance, level);
        } else {
            found->level[instance] = (int)level;
            done_if_all(world, found);
        }
        return;
    }
}

static void m_revoke(struct world *world, uint32_t grant)
{
    struct m_barrier *barrier = &world->barriers[world->n_barriers++];
    bool any = false;
    CHECK(world->n_barriers < BARRIERS);
    world->active[grant] = false;
    expect(world, STORE_EVENT_REVOKED, 0, -1);
    *barrier = (struct m_barrier){.id = world->revision, .grant = grant};
    for (uint32_t i = 0; i < INSTANCES; i++) {
        barrier->in_scope[i] = world->points[i].registered &&
                               (scopes[world->points[i].scope].paths & resources[world->resource[grant]].paths) != 0;
        any = any || barrier->in_scope[i];
    }
    if (any)
        return;
    barrier->done_place = ++world->done_places;
    barrier->done_ms = world->now_ms;
}

/* With each command a few of those without points leave, and a few of the others, in the order in which they were done.
 */
static void m_evict(struct world *world, bool empty)
{
    for (int n = 0; n < EVICTED_PER_COMMAND; n++) {
        struct m_barrier *oldest = NULL;
        for (uint32_t i = 0; i < world->n_barriers; i++) {
            struct m_barrier *barrier = &world->barriers[i];
            bool has_none = true;
            for (uint32_t k = 0; k < INSTANCES; k++)
                has_none = has_none && !barrier->in_scope[k];
            if (!barrier->gone && barrier->done_place != 0 && has_none == empty &&
                (oldest == NULL || barrier->done_place < oldest->done_place))
                oldest = barrier;
        }
        if (oldest == NULL || oldest->done_ms + RETENTION_MS > world->now_ms)
            return;
        oldest->gone = true;
    }
}

static enum lapse_code m_session(struct world *world, bool begin, uint32_t session, uint32_t principal,
                                 uint32_t instance, uint32_t grant)
{
    struct m_session *found = &world->sessions[session];
    const struct m_point *point = &world->points[instance];
    if (principals[principal].may_guard == 0)
        return LAPSE_PERMISSION_DENIED;
    if (!point->registered)
        return LAPSE_NOT_FOUND;
    if (point->principal != principal)
        return LAPSE_PERMISSION_DENIED;
    if (!begin) {
        if (!found->open || found->instance != instance)
            return LAPSE_NOT_FOUND;
        found->open = false;
        expect(world, STORE_EVENT_SESSION_ENDED, 0, -1);
        return LAPSE_OK;
    }
    if (found->open)
        return found->instance == instance && found->grant == grant ? LAPSE_OK : LAPSE_ALREADY_EXISTS;
    if ((scopes[point->scope].paths & resources[world->resource[grant]].paths) == 0)
        return LAPSE_PERMISSION_DENIED;
    if (!world->active[grant])
        return LAPSE_FAILED_PRECONDITION;
    *found = (struct m_session){true, instance, grant};
    expect(world, STORE_EVENT_SESSION_BEGAN, 0, -1);
    return LAPSE_OK;
}

/* --- the store ---------------------------------------------------------------------------------------------------- */

static struct random_id instance_id(uint32_t instance)
{
    return fixture_random_id(1000 + instance);
}

static void on_event(void *arg, const struct store_event *event)
{
    struct world *world = arg;
    struct event *seen = &world->seen[world->n_seen++];
    cr_assert_leq(world->n_seen, EVENTS);
    *seen = (struct event){event->type, event->barrier == NULL ? 0 : event->barrier->id, -1};
    for (uint32_t i = 0; event->point != NULL && i < INSTANCES; i++) {
        struct random_id id = instance_id(i);
        if (memcmp(id.bytes, event->point->instance.bytes, sizeof id.bytes) == 0)
            seen->instance = (int)i;
    }
}

static void apply(struct world *world, const struct command *command, enum lapse_code expected)
{
    struct store_outcome outcome, twin;
    world->n_seen = 0;
    store_apply(world->store, command, world->now_ms, on_event, world, &outcome);
    store_apply(world->twin, command, world->now_ms, NULL, NULL, &twin);
    cr_assert_eq(outcome.error.code, expected, "command %d: %s", (int)command->type, outcome.error.message);
    cr_assert_eq(world->n_seen, world->n_expected);
    for (uint32_t i = 0; i < world->n_seen; i++) {
        cr_assert_eq(world->seen[i].type, world->expected[i].type);
        cr_assert_eq(world->seen[i].barrier, world->expected[i].barrier);
        cr_assert_eq(world->seen[i].instance, world->expected[i].instance);
    }
    cr_assert_eq(store_revision(world->store), world->revision);
    cr_assert(fixture_same_digest(world->store, world->twin));
}

static void begin(struct world *world)
{
    world->n_expected = 0;
    m_evict(world, true);
    m_evict(world, false);
}

static void do_grant(struct world *world)
{
    uint32_t grant = world->n_grants++;
    struct command command = fixture_request(grant);
    CHECK(world->n_grants < GRANTS);
    world->resource[grant] = pick(world, ARRAY_LEN(resources));
    world->active[grant] = true;
    command.terms.resource = slice_str(resources[world->resource[grant]].text);
    command.terms.duration_ms = LIMIT_DURATION_MS_MAX;
    begin(world);
    expect(world, STORE_EVENT_REQUESTED, 0, -1);
    apply(world, &command, LAPSE_OK);
    command = fixture_about(COMMAND_APPROVE, grant, "user:app1");
    begin(world);
    expect(world, STORE_EVENT_APPROVED, 0, -1);
    expect(world, STORE_EVENT_ACTIVATED, 0, -1);
    apply(world, &command, LAPSE_OK);
}

/* One of the last grants. */
static uint32_t some_grant(struct world *world)
{
    uint32_t among = world->n_grants < 20 ? world->n_grants : 20;
    return world->n_grants - 1 - pick(world, among);
}

static void do_revoke(struct world *world)
{
    uint32_t grant = some_grant(world);
    struct command command = fixture_about(COMMAND_REVOKE, grant, "user:ops");
    if (!world->active[grant])
        return;
    begin(world);
    m_revoke(world, grant);
    apply(world, &command, LAPSE_OK);
}

static void do_register(struct world *world)
{
    uint32_t instance = pick(world, INSTANCES);
    struct m_point wanted = {.id = pick(world, ARRAY_LEN(ids)),
                             .principal = pick(world, 10) == 0 ? 2 : pick(world, 2),
                             .scope = pick(world, ARRAY_LEN(scopes)),
                             .lease_ms = 3000};
    if (world->points[instance].registered && pick(world, 2) == 0)
        wanted = world->points[instance];
    struct command command = fixture_register(ids[wanted.id], 1000 + instance, scopes[wanted.scope].text);
    command.principal = slice_str(principals[wanted.principal].name);
    begin(world);
    enum lapse_code expected = m_register(world, &wanted, instance);
    apply(world, &command, expected);
}

/* An instance that is registered, if the dice find one. */
static uint32_t some_instance(struct world *world)
{
    uint32_t instance = pick(world, INSTANCES);
    for (int i = 0; i < 20 && !world->points[instance].registered; i++)
        instance = pick(world, INSTANCES);
    return instance;
}

static void do_receipts(struct world *world)
{
    struct buf bytes;
    uint32_t n = 1 + pick(world, 6), among = world->n_barriers < 12 ? world->n_barriers : 12;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    begin(world);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t instance = some_instance(world);
        struct receipt receipt = {.barrier = 1 + pick(world, (uint32_t)world->revision),
                                  .instance = instance_id(instance),
                                  .level = RECEIPT_ENFORCED,
                                  .time_ms = world->now_ms};
        if (among > 0 && pick(world, 10) > 0)
            receipt.barrier = world->barriers[world->n_barriers - 1 - pick(world, among)].id;
        if (pick(world, 8) == 0)
            receipt.level = (enum receipt_level)(1 + pick(world, 4));
        if (receipt.level == RECEIPT_FAILED)
            receipt.reason = slice_str("still there");
        lapse_result result = receipts_add(&bytes, &receipt);
        cr_assert(lapse_is_ok(result));
        m_receipt(world, receipt.barrier, instance, receipt.level);
    }
    struct command command = {.type = COMMAND_RECEIPTS, .receipts = buf_slice(&bytes)};
    apply(world, &command, LAPSE_OK);
    buf_free(&bytes);
}

static void do_end(struct world *world)
{
    uint32_t instance = some_instance(world), how = 1 + pick(world, 3);
    struct command command = {.type = COMMAND_END_POINT, .instance = instance_id(instance), .count = how};
    bool registered = world->points[instance].registered;
    begin(world);
    if (registered)
        m_end(world, instance, how == POINT_END_LEFT ? RECEIPT_LEFT : RECEIPT_LAPSED);
    apply(world, &command, registered ? LAPSE_OK : LAPSE_NOT_FOUND);
}

static void do_session(struct world *world)
{
    uint32_t session = pick(world, SESSIONS), instance = some_instance(world), grant = some_grant(world);
    uint32_t principal = pick(world, 5) == 0 ? pick(world, 3) : world->points[instance].principal;
    bool begins = pick(world, 3) > 0;
    if (world->sessions[session].open && pick(world, 3) > 0) {
        instance = world->sessions[session].instance;
        grant = world->sessions[session].grant;
        principal = world->points[instance].principal;
    }
    struct command command = {.type = begins ? COMMAND_SESSION_BEGIN : COMMAND_SESSION_END,
                              .principal = slice_str(principals[principal].name),
                              .instance = instance_id(instance),
                              .session = fixture_random_id(1 + session)};
    command.grant = begins ? fixture_id(grant) : command.grant;
    begin(world);
    enum lapse_code expected = m_session(world, begins, session, principal, instance, grant);
    apply(world, &command, expected);
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

static void compare_points(struct world *world)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < INSTANCES; i++) {
        const struct m_point *expected = &world->points[i];
        struct point point;
        cr_assert_eq(store_point_get(world->store, instance_id(i), &point), expected->registered);
        if (!expected->registered)
            continue;
        n++;
        cr_assert_eq(point.fenced, expected->fenced);
        cr_assert_eq(point.revision, expected->revision);
        cr_assert(slice_equal(point.scope, slice_str(scopes[expected->scope].text)));
        uint32_t sessions = 0;
        for (uint32_t k = 0; k < SESSIONS; k++)
            sessions += world->sessions[k].open && world->sessions[k].instance == i;
        cr_assert_eq(point.sessions, sessions);
    }
    cr_assert_eq(store_points(world->store), n);
}

static void compare_barrier(struct world *world, const struct m_barrier *expected)
{
    struct barrier barrier;
    uint32_t counts[RECEIPT_LEFT + 1] = {0}, points = 0;
    cr_assert_eq(store_barrier_get(world->store, expected->id, &barrier), !expected->gone);
    if (expected->gone)
        return;
    for (uint32_t i = 0; i < INSTANCES; i++) {
        points += expected->in_scope[i];
        counts[expected->level[i]] += expected->in_scope[i];
        cr_assert_eq(store_barrier_waits_for(world->store, expected->id, instance_id(i)), waits(expected, i));
    }
    cr_assert_eq(barrier.points, points);
    cr_assert_eq(barrier.enforced, counts[RECEIPT_ENFORCED]);
    cr_assert_eq(barrier.failed, counts[RECEIPT_FAILED]);
    cr_assert_eq(barrier.lapsed, counts[RECEIPT_LAPSED]);
    cr_assert_eq(barrier.left, counts[RECEIPT_LEFT]);
    cr_assert_eq(barrier.done, expected->done_place != 0);
    cr_assert_eq(barrier.done_ms, expected->done_ms);
    if (store_get(world->store, fixture_id(expected->grant), &(struct grant){0}))
        cr_assert(store_barrier_of(world->store, fixture_id(expected->grant), &barrier) && barrier.id == expected->id);
}

static void compare(struct world *world)
{
    struct barrier open;
    uint64_t after = 0;
    compare_points(world);
    for (uint32_t i = 0; i < world->n_barriers; i++)
        compare_barrier(world, &world->barriers[i]);
    for (uint32_t i = 0; i < world->n_barriers; i++)
        if (!world->barriers[i].gone && world->barriers[i].done_place == 0) {
            cr_assert(store_barrier_next_open(world->store, after, &open));
            after = world->barriers[i].id;
            cr_assert_eq(open.id, after);
        }
    cr_assert_not(store_barrier_next_open(world->store, after, &open));
    for (uint32_t i = 0; i < SESSIONS; i++)
        cr_assert_eq(store_session_get(world->store, fixture_random_id(1 + i), &(struct session){0}),
                     world->sessions[i].open);
}

static void swap_for_restored(struct world *world)
{
    static const struct store_options options = {.ended_retention_ms = RETENTION_MS};
    struct lapse_error error = {0};
    struct buf bytes = fixture_snapshot(world->store, 1 + pick(world, 5000));
    struct store *restored = fixture_restore(buf_slice(&bytes), 1 + pick(world, 5000), &options, &error);
    cr_assert_not_null(restored, "%s", error.message);
    struct buf again = fixture_snapshot(restored, 100000);
    cr_assert(slice_equal(buf_slice(&bytes), buf_slice(&again)));
    buf_free(&bytes);
    buf_free(&again);
    store_free(world->store);
    world->store = restored;
}

static struct store *new_store(void)
{
    static const struct store_options options = {.ended_retention_ms = RETENTION_MS};
    struct store *store = fixture_store(&options);
    struct command bind = {.type = COMMAND_SET_ROLES,
                           .principal = slice_str("user:ops"),
                           .member = slice_str("user:ep2"),
                           .roles = ROLE_ENFORCER,
                           .scope = slice_str("db/*")};
    fixture_must(store, bind, T0);
    return store;
}

static void step(struct world *world)
{
    uint32_t dice = pick(world, 100);
    world->now_ms += pick(world, 4) == 0 ? pick(world, 20) : 0;
    if (world->n_grants == 0 || dice < 8)
        do_grant(world);
    else if (dice < 18)
        do_revoke(world);
    else if (dice < 33)
        do_register(world);
    else if (dice < 75)
        do_receipts(world);
    else if (dice < 79)
        do_end(world);
    else
        do_session(world);
}

Test(store_points_model, random_runs_agree_with_the_naive_model, .timeout = 600)
{
    const char *from = getenv("STORE_MODEL_SEED");
    uint64_t seed = from == NULL ? 1 : strtoull(from, NULL, 10);
    for (uint64_t i = 0; i < 4; i++) {
        struct world *world = mem_calloc(1, sizeof *world);
        world->random.state = seed + i;
        world->store = new_store();
        world->twin = new_store();
        world->now_ms = T0;
        world->revision = store_revision(world->store);
        for (uint32_t n = 0; n < STEPS; n++) {
            step(world);
            if (n % 20 == 0)
                compare(world);
            if (pick(world, 100) == 0)
                swap_for_restored(world);
        }
        cr_assert_gt(world->done_places, 100, "the run must get somewhere");
        store_free(world->store);
        store_free(world->twin);
        free(world);
    }
}
