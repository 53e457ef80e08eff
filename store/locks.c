/* Locks: what is denied at once, until lifted or for a time, and offboarding.
 *
 *   LOCK ----> LOCKED, its barrier ----> UNLOCK, or until_ms ----> UNLOCKED
 *              (a point: fenced)
 *
 * A lock changes no grant: it is asked. Those of resources and points are found in the table of objects by their names,
 * which begin with the kind. A subject has several names, so locked subjects are kept here by what these have in
 * common.
 *
 *   query "db/prod/orders":  resource:db/prod/orders, resource:db/prod/..., resource:db/..., resource:*
 *   query for a subtree:     likewise, and all that begin with it */
#include <stdlib.h>

#include "base/check.h"
#include "store/apply_points.h"
#include "store/governance.h"
#include "store/identifiers.h"
#include "store/lock.h"
#include "store/patterns.h"

struct locked_subject {
    struct slice name; /* principal_name() of the target */
    const struct object *object;
    struct lock lock;
};

struct lock_book {
    struct locked_subject *subjects; /* by (name, object's name) */
    uint32_t n, capacity;
    uint32_t n_resources;
};

/* The bytes of a lock that is in the table. */
static struct lock read_lock(const struct object *object)
{
    struct lock lock;
    lapse_result result = lock_decode(object->value, &lock, NULL);
    CHECK(lapse_is_ok(result));
    return lock;
}

/* --- the book ----------------------------------------------------------------------------------------------------- */

static struct lock_book *book_of(struct store *store)
{
    if (store->locks == NULL)
        store->locks = mem_calloc(1, sizeof *store->locks);
    return store->locks;
}

void locks_free(struct store *store)
{
    if (store->locks == NULL)
        return;
    free(store->locks->subjects);
    free(store->locks);
    store->locks = NULL;
}

/* The first one whose names are not less. */
static uint32_t lower_bound(const struct lock_book *book, struct slice name, struct slice object_name)
{
    uint32_t low = 0, high = book->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = slice_compare(book->subjects[middle].name, name);
        if (order == 0)
            order = slice_compare(book->subjects[middle].object->name, object_name);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_subject(struct lock_book *book, const struct object *object, const struct lock *lock)
{
    if (book->n == book->capacity) {
        book->capacity = book->capacity == 0 ? 8 : book->capacity * 2;
        book->subjects = mem_realloc(book->subjects, book->capacity * sizeof book->subjects[0]);
    }
    struct slice name = principal_name(lock->target);
    uint32_t at = lower_bound(book, name, object->name);
    memmove(book->subjects + at + 1, book->subjects + at, (book->n - at) * sizeof book->subjects[0]);
    book->subjects[at] = (struct locked_subject){name, object, *lock};
    book->n++;
}

static void remove_subject(struct lock_book *book, const struct object *object, const struct lock *lock)
{
    uint32_t at = lower_bound(book, principal_name(lock->target), object->name);
    CHECK(at < book->n && slice_equal(book->subjects[at].object->name, object->name));
    book->n--;
    memmove(book->subjects + at, book->subjects + at + 1, (book->n - at) * sizeof book->subjects[0]);
}

static void comes(struct store *store, const struct object *object)
{
    struct lock_book *book = book_of(store);
    struct lock lock = read_lock(object);
    book->n_resources += lock.kind == LOCK_RESOURCE;
    if (lock.kind == LOCK_SUBJECT)
        add_subject(book, object, &lock);
}

static void goes(struct store *store, const struct object *object)
{
    struct lock_book *book = book_of(store);
    struct lock lock = read_lock(object);
    book->n_resources -= lock.kind == LOCK_RESOURCE;
    if (lock.kind == LOCK_SUBJECT)
        remove_subject(book, object, &lock);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

const struct object *locks_of_principal(const struct store *store, struct slice principal, int64_t now_ms)
{
    const struct lock_book *book = store->locks;
    if (book == NULL || book->n == 0 || principal.len == 0)
        return NULL;
    struct slice name = principal_name(principal), none = {0};
    for (uint32_t i = lower_bound(book, name, none); i < book->n && slice_equal(book->subjects[i].name, name); i++)
        if (lock_is_about(&book->subjects[i].lock, principal) && lock_holds(&book->subjects[i].lock, now_ms))
            return book->subjects[i].object;
    return NULL;
}

static const struct object *find(const struct store *store, enum lock_kind kind, struct slice target, int64_t now_ms)
{
    char name[LOCK_NAME_SIZE];
    const struct object *object = object_find(&store->objects, OBJECT_LOCK, lock_name(kind, target, name));
    if (object == NULL)
        return NULL;
    struct lock lock = read_lock(object);
    return lock_holds(&lock, now_ms) ? object : NULL;
}

/* One that lies within the subtree. */
static const struct object *find_below(const struct store *store, struct slice subtree, int64_t now_ms)
{
    char name[LOCK_NAME_SIZE];
    const struct object *object;
    struct slice start = lock_name(LOCK_RESOURCE, slice_of(subtree.data, subtree.len - 1), name);
    uint32_t i = object_lower_bound(&store->objects, OBJECT_LOCK, start);
    for (; (object = object_at(&store->objects, OBJECT_LOCK, i)) != NULL; i++) {
        if (object->name.len < start.len || memcmp(object->name.data, start.data, start.len) != 0)
            return NULL;
        struct lock lock = read_lock(object);
        if (lock_holds(&lock, now_ms))
            return object;
    }
    return NULL;
}

const struct object *locks_of_resource(const struct store *store, struct slice resource, int64_t now_ms)
{
    struct patterns patterns;
    struct slice pattern;
    const struct object *object = NULL;
    if (store->locks == NULL || store->locks->n_resources == 0 || resource.len == 0 || resource.len > LIMIT_RESOURCE)
        return NULL;
    patterns_begin(&patterns, resource);
    while (object == NULL && patterns_next(&patterns, &pattern))
        object = find(store, LOCK_RESOURCE, pattern, now_ms);
    if (object == NULL && resource.data[resource.len - 1] == '*')
        object = find_below(store, resource, now_ms);
    return object;
}

const struct object *locks_of_point(const struct store *store, struct slice id, int64_t now_ms)
{
    return id.len > LIMIT_POINT_ID ? NULL : find(store, LOCK_POINT, id, now_ms);
}

bool locks_deny(const struct store *store, const struct grant_query *query, int64_t now_ms)
{
    return locks_of_principal(store, query->subject, now_ms) != NULL ||
           locks_of_principal(store, query->spiffe_id, now_ms) != NULL ||
           locks_of_resource(store, query->resource, now_ms) != NULL;
}

lapse_result locks_refuse(const struct object *object, enum lapse_code code, struct lapse_error *error)
{
    struct lock lock = read_lock(object);
    /* Cut so that the advice behind it always fits; the whole reason stands in the list of locks. */
    int target = lock.target.len > 100 ? 100 : (int)lock.target.len;
    int reason = lock.reason.len > 100 ? 100 : (int)lock.reason.len;
    return lapse_fail(error, code, "%.*s is %s (%.*s): ask an operator to lift that", target,
                      (const char *)lock.target.data, lock.offboarded ? "offboarded" : "locked", reason,
                      (const char *)lock.reason.data);
}

lapse_result locks_permit(struct apply *apply, struct slice principal, struct slice resource)
{
    const struct object *object = locks_of_principal(apply->store, principal, apply->now_ms);
    if (object == NULL)
        object = locks_of_resource(apply->store, resource, apply->now_ms);
    return object == NULL ? lapse_ok() : locks_refuse(object, LAPSE_FAILED_PRECONDITION, &apply->outcome->error);
}

lapse_result locks_permit_grant(struct apply *apply, uint32_t slot)
{
    const struct record *record = store_record(apply->store, slot);
    return locks_permit(apply, store_string(apply->store, record->subject),
                        store_string(apply->store, record->resource));
}

bool locks_leave_operator(const struct store *store, struct slice member, int64_t now_ms)
{
    struct store_role_binding binding;
    for (uint32_t i = 0; store_role_at(store, i, &binding); i++)
        if ((binding.roles & ROLE_OPERATOR) != 0 && !slice_equal(binding.member, member) &&
            locks_of_principal(store, binding.member, now_ms) == NULL)
            return true;
    return false;
}

/* --- form --------------------------------------------------------------------------------------------------------- */

static lapse_result reason_validate(struct slice reason, struct lapse_error *error)
{
    if (reason.len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "reason is missing; say why");
    return text_validate(reason, LIMIT_REASON, "reason", error);
}

/* What a caller sends: the rest is the store's. */
static lapse_result validate_lock(const struct command *command, struct lapse_error *error)
{
    struct lock lock;
    lapse_result result = lock_decode(command->value, &lock, error);
    if (!lapse_is_ok(result))
        return result;
    if (lock.name.len > 0 || lock.locked_by.len > 0 || lock.locked_ms != 0 || lock.revision != 0 || lock.offboarded ||
        lock.lifted.len > 0)
        return lapse_fail(
            error, LAPSE_INVALID_ARGUMENT,
            "name, locked_by, locked_ms, revision, offboarded and lifted are the store's; leave them out");
    return reason_validate(lock.reason, error);
}

static lapse_result validate_unlock(const struct command *command, struct lapse_error *error)
{
    if (command->name.len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "name is missing; the list of locks has it");
    return token_validate(command->name, LIMIT_OBJECT_NAME, "name", error);
}

static lapse_result validate_offboard(const struct command *command, struct lapse_error *error)
{
    lapse_result result = principal_validate(command->member, "subject", error);
    return lapse_is_ok(result) ? reason_validate(command->text, error) : result;
}

lapse_result locks_validate(const struct command *command, struct lapse_error *error)
{
    if (command->type == COMMAND_LOCK)
        return validate_lock(command, error);
    return command->type == COMMAND_UNLOCK ? validate_unlock(command, error) : validate_offboard(command, error);
}

/* --- LOCK, UNLOCK ------------------------------------------------------------------------------------------------- */

static struct lapse_error *error_of(struct apply *apply)
{
    return &apply->outcome->error;
}

static lapse_result permit(struct apply *apply)
{
    const struct rule *rule = rules_find(apply->command->type, GRANT_NONE);
    return rules_permit(apply->store, rule, apply->command->principal, 0, error_of(apply));
}

static lapse_result check_room(struct apply *apply, uint32_t most)
{
    if (apply->store->objects.kinds[OBJECT_LOCK].n < most)
        return lapse_ok();
    return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                      "%u locks are there, which is the limit; lift some, of people who left long ago, too: once their "
                      "certificates have run out nothing is left to lock",
                      most);
}

/* Nobody locks themselves: so whoever locks, an operator, is left, and there is always one. */
static lapse_result check_target(struct apply *apply, const struct lock *lock)
{
    const struct store *store = apply->store;
    char name[LOCK_NAME_SIZE];
    const struct object *was = object_find(&store->objects, OBJECT_LOCK, lock_name(lock->kind, lock->target, name));
    if (lock_is_about(lock, apply->command->principal))
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                          "nobody locks themselves out; let another operator do it");
    if (was != NULL && read_lock(was).offboarded && !lock->offboarded)
        return lapse_fail(
            error_of(apply), LAPSE_FAILED_PRECONDITION,
            "it was offboarded, which has no end; lift that first if it should be locked for a time only");
    return was != NULL ? lapse_ok()
                       : check_room(apply, lock->offboarded ? LIMIT_LOCKS : LIMIT_LOCKS - LIMIT_LOCKS_KEPT);
}

static lapse_result check_until(struct apply *apply, const struct lock *lock)
{
    if (lock->until_ms != 0 && lock->until_ms <= apply->now_ms)
        return lapse_fail(error_of(apply), LAPSE_OUT_OF_RANGE, "until_ms has passed already");
    if (lock->until_ms > apply->now_ms + LIMIT_LOCK_MS_MAX)
        return lapse_fail(error_of(apply), LAPSE_OUT_OF_RANGE,
                          "until_ms is more than %lld days ahead; leave it out to lock until it is lifted",
                          (long long)(LIMIT_LOCK_MS_MAX / 86400000));
    return lapse_ok();
}

/* Puts the lock, its own members filled, with its event. */
static void put_lock(struct apply *apply, const struct lock *asked)
{
    struct store *store = apply->store;
    char name[LOCK_NAME_SIZE];
    struct lock lock = *asked;
    lock.name = lock_name(lock.kind, lock.target, name);
    lock.locked_by = apply->command->principal;
    lock.locked_ms = apply->now_ms;
    lock.revision = store->revision + 1;
    buf_clear(&store->scratch);
    lapse_result encoded = lock_encode(&lock, &store->scratch);
    CHECK(lapse_is_ok(encoded));
    governance_put(
        apply, STORE_EVENT_LOCKED,
        &(struct object){
            .kind = OBJECT_LOCK, .name = lock.name, .value = buf_slice(&store->scratch), .due_ms = lock.until_ms});
}

static lapse_result apply_lock(struct apply *apply)
{
    struct lock lock;
    lapse_result result = lock_decode(apply->command->value, &lock, error_of(apply));
    if (lapse_is_ok(result))
        result = check_target(apply, &lock);
    if (lapse_is_ok(result))
        result = check_until(apply, &lock);
    if (!lapse_is_ok(result))
        return result;
    put_lock(apply, &lock);
    apply->outcome->revision = apply->store->revision;
    if (lock.kind == LOCK_POINT)
        points_fence(apply, lock.target);
    else
        barrier_open_scope(apply, lock.kind == LOCK_RESOURCE ? lock.target : slice_str("*"));
    return lapse_ok();
}

static void lift(struct apply *apply, const struct object *object, struct slice why)
{
    struct store *store = apply->store;
    struct lock lock = read_lock(object);
    lock.lifted = why;
    buf_clear(&store->scratch);
    lapse_result encoded = lock_encode(&lock, &store->scratch);
    CHECK(lapse_is_ok(encoded));
    const struct object last = {OBJECT_LOCK, object->name, buf_slice(&store->scratch), object->due_ms};
    governance_remove(apply, STORE_EVENT_UNLOCKED, OBJECT_LOCK, object->name, &last);
}

static lapse_result apply_unlock(struct apply *apply)
{
    const struct object *object = object_find(&apply->store->objects, OBJECT_LOCK, apply->command->name);
    if (object == NULL)
        return lapse_fail(error_of(apply), LAPSE_NOT_FOUND, "no lock of that name; look at the list of locks");
    lift(apply, object, apply->command->text);
    return lapse_ok();
}

static void due(struct apply *apply, const struct object *object)
{
    lift(apply, object, (struct slice){0});
}

/* --- OFFBOARD ----------------------------------------------------------------------------------------------------- */

/* Takes the first binding that names the principal exactly, under any of its names; false when there is none left. */
static bool remove_binding(struct apply *apply, struct slice principal)
{
    struct store *store = apply->store;
    struct store_role_binding binding;
    char member[LIMIT_PRINCIPAL];
    for (uint32_t i = 0; store_role_at(store, i, &binding); i++) {
        if (!principal_same(binding.member, principal))
            continue;
        struct slice gone = slice_of(memcpy(member, binding.member.data, binding.member.len), binding.member.len);
        roles_set(&store->roles, gone, 0, (struct slice){0}, &store->sum);
        transition_tell(apply, &(struct store_event){.type = STORE_EVENT_ROLES_CHANGED, .member = gone});
        return true;
    }
    return false;
}

static lapse_result apply_offboard(struct apply *apply)
{
    const struct command *command = apply->command;
    const struct lock lock = {
        .kind = LOCK_SUBJECT, .target = command->member, .reason = command->text, .offboarded = true};
    const struct sweep sweep = {
        .filter = {.person = command->member}, .by = command->principal, .reason = command->text};
    lapse_result result = check_target(apply, &lock);
    if (lapse_is_ok(result))
        result = sweeps_have_room(apply, &sweep.filter, false);
    if (!lapse_is_ok(result))
        return result;
    put_lock(apply, &lock);
    transition_tell(apply, &(struct store_event){.type = STORE_EVENT_OFFBOARDED, .member = command->member});
    while (remove_binding(apply, command->member))
        ;
    (void)eligibility_remove_all(apply, command->member);
    /* Last: what its barrier waits for is behind all of the above. */
    sweeps_begin(apply, &sweep, false);
    return lapse_ok();
}

lapse_result locks_apply(struct apply *apply)
{
    lapse_result result = permit(apply);
    if (!lapse_is_ok(result))
        return result;
    if (apply->command->type == COMMAND_LOCK)
        return apply_lock(apply);
    return apply->command->type == COMMAND_UNLOCK ? apply_unlock(apply) : apply_offboard(apply);
}

/* --- the module --------------------------------------------------------------------------------------------------- */

static bool is_canonical(const struct lock *lock, struct slice value)
{
    struct buf again;
    buf_init(&again, LIMIT_OBJECT_BYTES);
    lapse_result encoded = lock_encode(lock, &again);
    bool same = lapse_is_ok(encoded) && slice_equal(buf_slice(&again), value);
    buf_free(&again);
    return same;
}

/* What put_lock() can have put. */
static const char *check(const struct store *store, const struct object *object)
{
    struct lock lock;
    char name[LOCK_NAME_SIZE];
    if (!lapse_is_ok(lock_decode(object->value, &lock, NULL)) || !is_canonical(&lock, object->value))
        return "bad lock";
    bool good = slice_equal(object->name, lock_name(lock.kind, lock.target, name)) &&
                slice_equal(object->name, lock.name) && object->due_ms == lock.until_ms && lock.lifted.len == 0 &&
                lapse_is_ok(reason_validate(lock.reason, NULL)) &&
                lapse_is_ok(principal_validate(lock.locked_by, "locked_by", NULL));
    good = good && lock.locked_ms <= store->time_ms && lock.revision > 0 && lock.revision <= store->revision &&
           (!lock.offboarded || (lock.kind == LOCK_SUBJECT && lock.until_ms == 0));
    return good ? NULL : "a lock that can't be";
}

const struct object_module lock_module = {.check = check, .comes = comes, .goes = goes, .due = due};
