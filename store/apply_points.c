/* Commands about enforcement points: they register, they are over, and what they report in between.
 *
 *   REGISTER --> others of its id are fenced --> POINT_REGISTERED; refused for a locked id
 *   RECEIPTS --> barrier by barrier, in the order given; LAPSED and LEFT end the instance
 *   END_POINT -> POINT_ENDED; a receipt for each barrier that waits for it; its sessions are forgotten
 *
 * A point repeats itself after each loss of its connection: what is so already is a success without an event. */
#include "store/apply_points.h"

#include "base/check.h"
#include "store/command_internal.h"
#include "store/governance.h"

static struct lapse_error *error_of(struct apply *apply)
{
    return &apply->outcome->error;
}

static lapse_result permit(struct apply *apply)
{
    const struct rule *rule = rules_find(apply->command->type, GRANT_NONE);
    return rules_permit(apply->store, rule, apply->command->principal, 0, error_of(apply));
}

/* The state asked for is there, since `revision`. */
static lapse_result unchanged(struct apply *apply, uint64_t revision)
{
    apply->outcome->repeated = true;
    apply->outcome->revision = revision;
    return lapse_ok();
}

static bool is_registered(const struct store *store, uint32_t item)
{
    return item != 0 && points_at(&store->points, item)->state != POINT_OVER;
}

static void tell_point(struct apply *apply, enum store_event_type type, uint32_t item, enum point_end ended)
{
    struct point point;
    point_read(points_at(&apply->store->points, item), apply->store->strings.chunks, &point);
    point.ended = ended;
    const struct store_event event = {.type = type, .point = &point};
    transition_tell(apply, &event);
}

/* REGISTER */

static bool same_terms(const struct store *store, const struct point_item *item, const struct command *command)
{
    return slice_equal(store_string(store, item->id), command->text) &&
           slice_equal(store_string(store, item->principal), command->principal) &&
           slice_equal(store_string(store, item->scope), command->scope) && item->lease_ms == command->lease_ms;
}

static lapse_result check_known(struct apply *apply, uint32_t item)
{
    const struct point_item *point = points_at(&apply->store->points, item);
    if (point->state == POINT_OVER)
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                          "this instance was ended; drop the cache and register with a new instance");
    if (!same_terms(apply->store, point, apply->command))
        return lapse_fail(error_of(apply), LAPSE_ALREADY_EXISTS,
                          "this instance is registered with other terms; draw a new instance to change them");
    return unchanged(apply, u48_get(point->revision));
}

/* Its id is free, or the caller's. */
static lapse_result check_id(struct apply *apply)
{
    const struct store *store = apply->store;
    const struct points *points = &store->points;
    uint8_t *const *chunks = store->strings.chunks;
    uint32_t n = 0;
    for (uint32_t i = points_first_of_id(points, chunks, apply->command->text); i < points->n; i++, n++) {
        const struct point_item *item = points_at(points, points->by_id[i]);
        if (!slice_equal(string_at(chunks, item->id), apply->command->text))
            break;
        if (!slice_equal(string_at(chunks, item->principal), apply->command->principal))
            return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                              "another principal has a point of that id registered; choose another id");
    }
    if (n >= LIMIT_POINT_INSTANCES)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                          "%u instances of that id are not ended yet; wait until their leases have run out", n);
    return lapse_ok();
}

static lapse_result check_points(struct apply *apply)
{
    const struct store *store = apply->store;
    const struct points *points = &store->points;
    string_id principal = strings_find(&store->strings, apply->command->principal);
    uint32_t own = 0;
    if (points->n >= LIMIT_POINTS)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED, "%u points are registered, which is the limit",
                          points->n);
    for (uint32_t i = 0; principal != 0 && i < points->n; i++)
        own += points_at(points, points->by_age[i].item)->principal == principal;
    if (own >= LIMIT_POINTS_PER_PRINCIPAL)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                          "%u points are registered by this principal, which is the limit; use another one", own);
    return lapse_ok();
}

void points_fence(struct apply *apply, struct slice id)
{
    struct store *store = apply->store;
    struct points *points = &store->points;
    uint8_t *const *chunks = store->strings.chunks;
    for (uint32_t i = points_first_of_id(points, chunks, id); i < points->n; i++) {
        const struct point_item *item = points_at(points, points->by_id[i]);
        if (!slice_equal(string_at(chunks, item->id), id))
            break;
        if (item->state == POINT_FENCED)
            continue;
        digest_sub(&store->sum, point_digest(item, chunks));
        ((struct point_item *)slabs_edit(&points->items, points->by_id[i]))->state = POINT_FENCED;
        digest_add(&store->sum, point_digest(points_at(points, points->by_id[i]), chunks));
        tell_point(apply, STORE_EVENT_POINT_FENCED, points->by_id[i], 0);
    }
}

static void insert_point(struct apply *apply)
{
    struct store *store = apply->store;
    const struct command *command = apply->command;
    struct point_item point = {
        .state = POINT_LIVE,
        .instance = command->instance,
        .revision = u48_of(store->revision + 1),
        .registered_ms = u48_of((uint64_t)apply->now_ms),
        .lease_ms = command->lease_ms,
        .id = strings_intern(&store->strings, command->text),
        .principal = strings_intern(&store->strings, command->principal),
        .scope = strings_intern(&store->strings, command->scope),
    };
    uint32_t item = points_insert(&store->points, store->strings.chunks, &point);
    digest_add(&store->sum, point_digest(&point, store->strings.chunks));
    tell_point(apply, STORE_EVENT_POINT_REGISTERED, item, 0);
}

lapse_result apply_register(struct apply *apply)
{
    struct store *store = apply->store;
    const struct command *command = apply->command;
    lapse_result result = permit(apply);
    if (lapse_is_ok(result) && !store_may_guard(store, command->principal, command->scope))
        result = lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                            "the role enforcer doesn't let it guard all of this scope; ask an operator, or name less");
    const struct object *lock = locks_of_point(store, command->text, apply->now_ms);
    if (lapse_is_ok(result) && lock != NULL)
        result = locks_refuse(lock, LAPSE_PERMISSION_DENIED, error_of(apply));
    if (!lapse_is_ok(result))
        return result;
    uint32_t known = points_find(&store->points, &command->instance);
    if (known != 0)
        return check_known(apply, known);
    result = check_id(apply);
    if (lapse_is_ok(result))
        result = check_points(apply);
    if (!lapse_is_ok(result))
        return result;
    points_fence(apply, command->text);
    insert_point(apply);
    return lapse_ok();
}

/* RECEIPTS, END_POINT */

/* It is no longer registered. What receipts name it by stays. */
static void retire_point(struct store *store, uint32_t item)
{
    struct points *points = &store->points;
    uint8_t *const *chunks = store->strings.chunks;
    digest_sub(&store->sum, points_at(points, item)->sessions_sum);
    sessions_leave(&store->sessions, points_at(points, item));
    points_unlist(points, chunks, item);
    struct point_item *point = slabs_edit(&points->items, item);
    digest_sub(&store->sum, point_digest(point, chunks));
    strings_unref(&store->strings, point->principal);
    strings_unref(&store->strings, point->scope);
    point->principal = point->scope = 0;
    point->state = POINT_OVER;
    if (point->named > 0) {
        digest_add(&store->sum, point_digest(point, chunks));
        return;
    }
    strings_unref(&store->strings, point->id);
    points_erase(points, item);
}

static void end_point(struct apply *apply, uint32_t item, enum point_end end, int64_t time_ms)
{
    struct store *store = apply->store;
    tell_point(apply, STORE_EVENT_POINT_ENDED, item, end);
    barriers_give_up(apply, item, end == POINT_END_LEFT ? RECEIPT_LEFT : RECEIPT_LAPSED, time_ms);
    retire_point(store, item);
}

static void take_receipt(struct apply *apply, const struct receipt *receipt)
{
    struct store *store = apply->store;
    uint32_t item = points_find(&store->points, &receipt->instance);
    if (!is_registered(store, item) || !store_barrier_waits_for(store, receipt->barrier, receipt->instance))
        return;
    if (receipt->level == RECEIPT_LAPSED)
        end_point(apply, item, POINT_END_LAPSED, receipt->time_ms);
    else if (receipt->level == RECEIPT_LEFT)
        end_point(apply, item, POINT_END_LEFT, receipt->time_ms);
    else
        barrier_receive(apply, receipt, item);
}

lapse_result apply_receipts(struct apply *apply)
{
    struct slice receipts = apply->command->receipts;
    struct receipt receipt;
    lapse_result result = permit(apply);
    while (lapse_is_ok(result) && receipts_next(&receipts, &receipt))
        take_receipt(apply, &receipt);
    return result;
}

lapse_result apply_end_point(struct apply *apply)
{
    lapse_result result = permit(apply);
    if (!lapse_is_ok(result))
        return result;
    uint32_t item = points_find(&apply->store->points, &apply->command->instance);
    if (!is_registered(apply->store, item))
        return lapse_fail(error_of(apply), LAPSE_NOT_FOUND, "no such instance is registered; there is nothing to end");
    end_point(apply, item, (enum point_end)apply->command->count, apply->now_ms);
    return lapse_ok();
}

/* SESSION_BEGIN, SESSION_END */

/* The registered instance that reports, if it is the caller's. */
static lapse_result find_reporter(struct apply *apply, uint32_t *point)
{
    const struct store *store = apply->store;
    lapse_result result = permit(apply);
    if (!lapse_is_ok(result))
        return result;
    *point = points_find(&store->points, &apply->command->instance);
    if (!is_registered(store, *point))
        return lapse_fail(error_of(apply), LAPSE_NOT_FOUND,
                          "this instance is not registered (any more); register anew");
    if (!slice_equal(store_string(store, points_at(&store->points, *point)->principal), apply->command->principal))
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                          "another principal registered this instance; only it reports its sessions");
    return lapse_ok();
}

static lapse_result check_session_grant(struct apply *apply, uint32_t point)
{
    const struct store *store = apply->store;
    uint32_t slot = slot_find(store, apply->command->grant);
    if (slot == 0)
        return lapse_fail(error_of(apply), LAPSE_NOT_FOUND, "no such grant here; a session needs one that is ACTIVE");
    struct slice scope = store_string(store, points_at(&store->points, point)->scope);
    if (!scope_overlaps(scope, store_string(store, store_record(store, slot)->resource)))
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED, "the grant is for nothing that this point guards");
    enum grant_state state = state_at(store, slot, apply->now_ms);
    if (state != GRANT_ACTIVE)
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                          "the grant is %s; a session needs one that is ACTIVE", grant_state_name(state));
    return locks_permit_grant(apply, slot);
}

static lapse_result check_session_room(struct apply *apply, uint32_t point)
{
    const struct store *store = apply->store;
    if (store->sessions.n >= LIMIT_SESSIONS)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED, "%u sessions are open, which is the limit",
                          LIMIT_SESSIONS);
    if (points_at(&store->points, point)->sessions >= LIMIT_SESSIONS_PER_POINT)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                          "%u sessions are open at this point, which is the limit", LIMIT_SESSIONS_PER_POINT);
    return lapse_ok();
}

static void tell_session(struct apply *apply, enum store_event_type type, uint32_t item)
{
    const struct store *store = apply->store;
    struct session session;
    session_read(&store->sessions, &store->points, item, store->strings.chunks, &session);
    const struct store_event event = {.type = type, .session = &session};
    transition_tell(apply, &event);
}

static lapse_result repeat_session(struct apply *apply, uint32_t item, uint32_t point)
{
    const struct store *store = apply->store;
    const struct session_item *session = session_at(&store->sessions, item);
    if (session->point != point || grant_id_compare(session->grant, apply->command->grant) != 0 ||
        !slice_equal(store_string(store, session->description), apply->command->text))
        return lapse_fail(error_of(apply), LAPSE_ALREADY_EXISTS,
                          "this session has begun with other terms; draw a new id for each");
    return unchanged(apply, store->revision);
}

lapse_result apply_session_begin(struct apply *apply)
{
    struct store *store = apply->store;
    const struct command *command = apply->command;
    uint32_t point;
    lapse_result result = find_reporter(apply, &point);
    if (!lapse_is_ok(result))
        return result;
    uint32_t item = sessions_find(&store->sessions, &store->points, &command->session);
    if (item != 0)
        return repeat_session(apply, item, point);
    result = check_session_grant(apply, point);
    if (lapse_is_ok(result))
        result = check_session_room(apply, point);
    if (!lapse_is_ok(result))
        return result;
    const struct session_item session = {
        .point = point,
        .description = strings_intern(&store->strings, command->text),
        .began_ms = u48_of((uint64_t)apply->now_ms),
        .id = command->session,
        .grant = command->grant,
    };
    struct store_digest digest = session_digest(&session, points_at(&store->points, point), store->strings.chunks);
    item = sessions_insert(&store->sessions, &store->points, &session, digest);
    digest_add(&store->sum, digest);
    tell_session(apply, STORE_EVENT_SESSION_BEGAN, item);
    return lapse_ok();
}

static void drop_session(struct store *store, uint32_t session)
{
    struct sessions *sessions = &store->sessions;
    const struct session_item *item = session_at(sessions, session);
    const struct point_item *point = points_at(&store->points, item->point);
    struct store_digest digest = session_digest(item, point, store->strings.chunks);
    digest_sub(&store->sum, digest);
    strings_unref(&store->strings, item->description);
    sessions_erase(sessions, &store->points, session, digest);
}

lapse_result apply_session_end(struct apply *apply)
{
    struct store *store = apply->store;
    uint32_t point;
    lapse_result result = find_reporter(apply, &point);
    if (!lapse_is_ok(result))
        return result;
    uint32_t item = sessions_find(&store->sessions, &store->points, &apply->command->session);
    if (item == 0 || session_at(&store->sessions, item)->point != point)
        return lapse_fail(error_of(apply), LAPSE_NOT_FOUND, "this instance has no such session open");
    apply->outcome->grant = session_at(&store->sessions, item)->grant;
    tell_session(apply, STORE_EVENT_SESSION_ENDED, item);
    drop_session(store, item);
    return lapse_ok();
}
