/* Locks and offboarding: what is denied at once, what a locked principal may still do, and what one step of offboarding
 * takes. The rules: docs/decisions/0012-governance.md. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/check.h"
#include "points_fixture.h"
#include "store/lock.h"

/* Values and names stay until a few commands later. */
static struct slice keep(const void *data, size_t len)
{
    static uint8_t bytes[16][2048];
    static unsigned next;
    CHECK(len <= sizeof bytes[0]);
    uint8_t *to = bytes[next++ % ARRAY_LEN(bytes)];
    return slice_of(memcpy(to, data, len), len);
}

static struct command lock_with(struct lock lock)
{
    struct buf value;
    buf_init(&value, 2048);
    CHECK(lapse_is_ok(lock_encode(&lock, &value)));
    struct command command = {.type = COMMAND_LOCK, .principal = slice_str("user:ops")};
    command.value = keep(value.data, value.len);
    buf_free(&value);
    return command;
}

static struct command lock_of(enum lock_kind kind, const char *target, int64_t until_ms)
{
    return lock_with((struct lock){
        .kind = kind, .target = slice_str(target), .reason = slice_str("laptop stolen"), .until_ms = until_ms});
}

static struct command unlock_of(const char *name)
{
    return (struct command){.type = COMMAND_UNLOCK,
                            .principal = slice_str("user:ops"),
                            .name = slice_str(name),
                            .text = slice_str("found again")};
}

static struct command offboard_of(const char *subject)
{
    return (struct command){.type = COMMAND_OFFBOARD,
                            .principal = slice_str("user:ops"),
                            .member = slice_str(subject),
                            .text = slice_str("left the company")};
}

static enum grant_verdict check(const struct store *store, const char *subject, const char *resource, int64_t now_ms)
{
    struct grant grant;
    bool found;
    const struct grant_query query = {
        .subject = slice_str(subject), .resource = slice_str(resource), .action = slice_str("read")};
    return store_check(store, &query, now_ms, &grant, &found);
}

static enum grant_verdict check_dev1(const struct store *store)
{
    return check(store, "user:dev1", "db/prod/orders", store_time_ms(store));
}

static void expect_refused(struct store *store, struct command command, enum lapse_code code, const char *word)
{
    struct store_outcome outcome = fixture_apply(store, command, T0);
    cr_assert_eq(outcome.error.code, code, "%s: %s", word, outcome.error.message);
    cr_assert_not_null(strstr(outcome.error.message, word), "%s", outcome.error.message);
}

/* What a lock denies */

Test(locks, a_locked_subject_is_denied_at_once_under_all_its_names_and_allowed_again_when_it_is_lifted)
{
    struct store *store = fixture_store(NULL);
    points_activate(store, 1);
    cr_assert_eq(check_dev1(store), GRANT_ALLOWS);
    fixture_must(store, lock_of(LOCK_SUBJECT, "spiffe://example.org/user/dev1", 0), T0);
    cr_assert_eq(check_dev1(store), GRANT_LOCKED);
    cr_assert_eq(check(store, "spiffe://example.org/user/dev1", "db/prod/orders", T0), GRANT_LOCKED);
    cr_assert_eq(check(store, "user:dev2", "db/prod/orders", T0), GRANT_NOT_ACTIVE);
    cr_assert_eq(fixture_state(store, 1), GRANT_ACTIVE, "the grant stays as it is");
    fixture_must(store, unlock_of("subject:spiffe://example.org/user/dev1"), T0);
    cr_assert_eq(check_dev1(store), GRANT_ALLOWS);
    points_finish(store);
}

Test(locks, who_presents_a_grant_is_denied_when_they_are_locked)
{
    struct store *store = fixture_store(NULL);
    struct grant grant;
    bool found;
    points_activate(store, 1);
    fixture_must(store, lock_of(LOCK_SUBJECT, "spiffe://example.org/ci/deploy", 0), T0);
    struct grant_query query = {.subject = slice_str("user:dev1"),
                                .resource = slice_str("db/prod/orders"),
                                .action = slice_str("read"),
                                .spiffe_id = slice_str("spiffe://example.org/ci/deploy")};
    cr_assert_eq(store_check(store, &query, T0, &grant, &found), GRANT_LOCKED);
    cr_assert(store_locked(store, &query, T0));
    query.spiffe_id = slice_str("spiffe://example.org/ci/test");
    cr_assert_eq(store_check(store, &query, T0, &grant, &found), GRANT_ALLOWS);
    points_finish(store);
}

Test(locks, a_locked_resource_denies_what_overlaps_it_and_nothing_beside)
{
    struct store *store = fixture_store(NULL);
    points_activate_on(store, 1, "db/*");
    fixture_must(store, lock_of(LOCK_RESOURCE, "db/prod/*", 0), T0);
    cr_assert_eq(check_dev1(store), GRANT_LOCKED);
    cr_assert_eq(check(store, "user:dev1", "db/prod/a/b/c", T0), GRANT_LOCKED);
    cr_assert_eq(check(store, "user:dev1", "db/prod", T0), GRANT_ALLOWS);
    cr_assert_eq(check(store, "user:dev1", "db/product", T0), GRANT_ALLOWS);
    cr_assert_eq(check(store, "user:dev1", "db/test/orders", T0), GRANT_ALLOWS);
    fixture_must(store, lock_of(LOCK_RESOURCE, "*", 0), T0);
    cr_assert_eq(check(store, "user:dev1", "db/test/orders", T0), GRANT_LOCKED);
    points_finish(store);
}

Test(locks, requests_for_a_subtree_that_holds_a_locked_resource_are_refused)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, lock_of(LOCK_RESOURCE, "db/prod/orders", 0), T0);
    struct command request = fixture_request(1);
    request.terms.resource = slice_str("db/prod/*");
    expect_refused(store, request, LAPSE_FAILED_PRECONDITION, "db/prod/orders is locked (laptop stolen)");
    request.terms.resource = slice_str("*");
    expect_refused(store, request, LAPSE_FAILED_PRECONDITION, "is locked");
    request.terms.resource = slice_str("db/test/*");
    fixture_must(store, request, T0);
    points_finish(store);
}

Test(locks, what_makes_access_for_a_locked_subject_is_refused_with_the_lock_and_its_reason)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_register("edge", 1, SCOPE), T0);
    points_activate(store, 1);
    fixture_must(store, fixture_request(2), T0);
    fixture_must(store, lock_of(LOCK_SUBJECT, "user:dev1", 0), T0);
    expect_refused(store, fixture_request(3), LAPSE_FAILED_PRECONDITION, "user:dev1 is locked (laptop stolen)");
    expect_refused(store, fixture_about(COMMAND_APPROVE, 2, "user:app1"), LAPSE_FAILED_PRECONDITION,
                   "user:dev1 is locked");
    expect_refused(store, fixture_about(COMMAND_USE, 1, "user:ep"), LAPSE_FAILED_PRECONDITION, "user:dev1 is locked");
    expect_refused(store, points_session(COMMAND_SESSION_BEGIN, 7, 1, 1), LAPSE_FAILED_PRECONDITION,
                   "user:dev1 is locked");
    /* Ends are fine. */
    fixture_must(store, fixture_about(COMMAND_DENY, 2, "user:app1"), T0);
    fixture_must(store, fixture_about(COMMAND_REVOKE, 1, "user:req1"), T0);
    points_finish(store);
}

Test(locks, a_locked_principal_has_no_role_but_may_end_what_is_its_own)
{
    struct store *store = fixture_store(NULL);
    points_activate(store, 1);
    fixture_must(store, fixture_request(2), T0);
    points_activate(store, 3);
    fixture_must(store, lock_of(LOCK_SUBJECT, "user:req1", 0), T0);
    fixture_must(store, lock_of(LOCK_SUBJECT, "user:app1", 0), T0);
    cr_assert_eq(store_roles_of(store, slice_str("user:req1")), 0);
    cr_assert_eq(store_roles_bound(store, slice_str("user:req1")), ROLE_REQUESTER);
    expect_refused(store, fixture_request(4), LAPSE_PERMISSION_DENIED, "user:req1 is locked (laptop stolen)");
    expect_refused(store, fixture_about(COMMAND_APPROVE, 2, "user:app1"), LAPSE_PERMISSION_DENIED,
                   "user:app1 is locked");
    fixture_must(store, fixture_about(COMMAND_CANCEL, 2, "user:req1"), T0);
    fixture_must(store, fixture_about(COMMAND_COMPLETE, 1, "user:req1"), T0);
    fixture_must(store, fixture_about(COMMAND_REVOKE, 3, "user:app1"), T0);
    points_finish(store);
}

Test(locks, a_locked_enforcer_reports_nothing)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, lock_of(LOCK_SUBJECT, "user:ep", 0), T0);
    expect_refused(store, fixture_register("edge", 1, SCOPE), LAPSE_PERMISSION_DENIED, "user:ep is locked");
    points_finish(store);
}

/* How it ends */

Test(locks, a_lock_for_a_time_ends_by_the_clock_with_an_event)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    points_activate(store, 1);
    fixture_must(store, lock_of(LOCK_SUBJECT, "user:dev1", T0 + 1000), T0);
    cr_assert_eq(store_next_due_ms(store), T0 + 1000);
    cr_assert_eq(check(store, "user:dev1", "db/prod/orders", T0 + 999), GRANT_LOCKED);
    cr_assert_eq(check(store, "user:dev1", "db/prod/orders", T0 + 1000), GRANT_ALLOWS, "the clock alone ends it");
    fixture_must(store, fixture_advance(10), T0 + 999);
    cr_assert_not_null(store_object(store, OBJECT_LOCK, slice_str("subject:user:dev1")));
    points_told(store, fixture_advance(10), T0 + 1000, &log);
    cr_assert_eq(log.n, 1);
    cr_assert_eq(log.types[0], STORE_EVENT_UNLOCKED);
    cr_assert_null(store_object(store, OBJECT_LOCK, slice_str("subject:user:dev1")));
    points_finish(store);
}

struct shown {
    struct lock lock;
    char lifted[64], by[64], actor[64];
};

static void show(void *arg, const struct store_event *event)
{
    struct shown *shown = arg;
    if (event->object == NULL)
        return;
    CHECK(lapse_is_ok(lock_decode(event->object->value, &shown->lock, NULL)));
    snprintf(shown->lifted, sizeof shown->lifted, "%.*s", (int)shown->lock.lifted.len,
             (const char *)shown->lock.lifted.data);
    snprintf(shown->by, sizeof shown->by, "%.*s", (int)shown->lock.locked_by.len,
             (const char *)shown->lock.locked_by.data);
    snprintf(shown->actor, sizeof shown->actor, "%.*s", (int)event->actor.len, (const char *)event->actor.data);
}

static struct shown shown_by(struct store *store, struct command command)
{
    struct store_outcome outcome;
    struct shown shown = {0};
    store_apply(store, &command, T0, show, &shown, &outcome);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    return shown;
}

Test(locks, its_events_say_who_locked_it_who_lifted_it_and_why)
{
    struct store *store = fixture_store(NULL);
    struct shown shown = shown_by(store, lock_of(LOCK_SUBJECT, "user:dev1", 0));
    cr_assert_str_eq(shown.by, "user:ops");
    cr_assert_str_eq(shown.lifted, "");
    cr_assert_eq(shown.lock.locked_ms, T0);
    cr_assert_eq(shown.lock.revision, store_revision(store));
    shown = shown_by(store, unlock_of("subject:user:dev1"));
    cr_assert_str_eq(shown.by, "user:ops");
    cr_assert_str_eq(shown.actor, "user:ops");
    cr_assert_str_eq(shown.lifted, "found again");
    expect_refused(store, unlock_of("subject:user:dev1"), LAPSE_NOT_FOUND, "no lock of that name");
    points_finish(store);
}

Test(locks, locking_again_replaces_the_lock_and_its_end)
{
    struct store *store = fixture_store(NULL);
    struct store_counts counts;
    points_activate(store, 1);
    fixture_must(store, lock_of(LOCK_SUBJECT, "user:dev1", T0 + 1000), T0);
    fixture_must(store, lock_of(LOCK_SUBJECT, "user:dev1", T0 + 30000), T0);
    store_counts(store, &counts);
    cr_assert_eq(counts.objects[OBJECT_LOCK], 1);
    fixture_must(store, fixture_advance(10), T0 + 1000);
    cr_assert_eq(check_dev1(store), GRANT_LOCKED);
    points_finish(store);
}

Test(locks, two_locks_on_two_names_of_a_subject_are_lifted_one_by_one)
{
    struct store *store = fixture_store(NULL);
    points_activate(store, 1);
    fixture_must(store, lock_of(LOCK_SUBJECT, "user:dev1", 0), T0);
    fixture_must(store, lock_of(LOCK_SUBJECT, "spiffe://example.org/user/dev1", 0), T0);
    fixture_must(store, unlock_of("subject:user:dev1"), T0);
    cr_assert_eq(check_dev1(store), GRANT_LOCKED);
    fixture_must(store, unlock_of("subject:spiffe://example.org/user/dev1"), T0);
    cr_assert_eq(check_dev1(store), GRANT_ALLOWS);
    points_finish(store);
}

/* Who may */

Test(locks, nobody_locks_themselves_under_any_name)
{
    struct store *store = fixture_store(NULL);
    expect_refused(store, lock_of(LOCK_SUBJECT, "user:ops", 0), LAPSE_FAILED_PRECONDITION, "nobody locks themselves");
    expect_refused(store, lock_of(LOCK_SUBJECT, "spiffe://example.org/user/ops", 0), LAPSE_FAILED_PRECONDITION,
                   "nobody locks themselves");
    expect_refused(store, offboard_of("spiffe://example.org/user/ops"), LAPSE_FAILED_PRECONDITION,
                   "nobody locks themselves");
    points_finish(store);
}

Test(locks, only_an_operator_locks_lifts_and_offboards)
{
    struct store *store = fixture_store(NULL);
    struct command commands[] = {lock_of(LOCK_SUBJECT, "user:dev1", 0), unlock_of("subject:user:dev1"),
                                 offboard_of("user:dev1")};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        commands[i].principal = slice_str("user:app1");
        expect_refused(store, commands[i], LAPSE_PERMISSION_DENIED, "only an operator may");
    }
    points_finish(store);
}

Test(locks, a_locked_operator_does_not_count_as_the_last_one)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, points_bind("user:ops2", ROLE_OPERATOR, ""), T0);
    fixture_must(store, lock_of(LOCK_SUBJECT, "user:ops2", 0), T0);
    expect_refused(store, points_bind("user:ops", 0, ""), LAPSE_FAILED_PRECONDITION, "last operator");
    struct command own = lock_of(LOCK_SUBJECT, "user:ops", 0);
    own.principal = slice_str("user:ops2");
    expect_refused(store, own, LAPSE_PERMISSION_DENIED, "user:ops2 is locked");
    fixture_must(store, unlock_of("subject:user:ops2"), T0);
    fixture_must(store, points_bind("user:ops", 0, ""), T0);
    points_finish(store);
}

Test(locks, a_lock_that_cannot_be_is_refused_with_what_is_wrong)
{
    const struct lock good = {
        .kind = LOCK_SUBJECT, .target = slice_str("user:dev1"), .reason = slice_str("laptop stolen")};
    struct store *store = fixture_store(NULL);
    struct lock lock = good;
    lock.reason = slice_str("");
    expect_refused(store, lock_with(lock), LAPSE_INVALID_ARGUMENT, "reason is missing");
    lock = good;
    lock.target = slice_str("user:dev1 or so");
    expect_refused(store, lock_with(lock), LAPSE_INVALID_ARGUMENT, "target");
    lock = good;
    lock.target = slice_str("");
    expect_refused(store, lock_with(lock), LAPSE_INVALID_ARGUMENT, "target is missing");
    lock.kind = LOCK_RESOURCE;
    lock.target = slice_str("db/../prod");
    expect_refused(store, lock_with(lock), LAPSE_INVALID_ARGUMENT, "resource");
    lock = good;
    lock.kind = 0;
    expect_refused(store, lock_with(lock), LAPSE_INVALID_ARGUMENT, "kind is missing");
    lock.kind = 4;
    expect_refused(store, lock_with(lock), LAPSE_INVALID_ARGUMENT, "field 2");
    lock = good;
    lock.until_ms = T0;
    expect_refused(store, lock_with(lock), LAPSE_OUT_OF_RANGE, "has passed");
    lock.until_ms = T0 + LIMIT_LOCK_MS_MAX + 1;
    expect_refused(store, lock_with(lock), LAPSE_OUT_OF_RANGE, "366 days");
    lock = good;
    lock.offboarded = true;
    expect_refused(store, lock_with(lock), LAPSE_INVALID_ARGUMENT, "are the store's");
    lock = good;
    lock.locked_by = slice_str("user:oncall");
    expect_refused(store, lock_with(lock), LAPSE_INVALID_ARGUMENT, "are the store's");
    struct command command = lock_with(good);
    command.value.len--;
    expect_refused(store, command, LAPSE_INVALID_ARGUMENT, "malformed");
    struct command offboard = offboard_of("user:dev1");
    offboard.text = slice_str("");
    expect_refused(store, offboard, LAPSE_INVALID_ARGUMENT, "reason is missing");
    expect_refused(store, offboard_of("user:*"), LAPSE_INVALID_ARGUMENT, "subject");
    expect_refused(store, unlock_of(""), LAPSE_INVALID_ARGUMENT, "name is missing");
    points_finish(store);
}

/* Enforcement points */

Test(locks, a_locked_point_is_fenced_and_cannot_register_until_it_is_lifted)
{
    struct store *store = fixture_store(NULL);
    struct points_log log;
    struct point point;
    fixture_must(store, fixture_register("edge", 1, SCOPE), T0);
    fixture_must(store, fixture_register("other", 2, SCOPE), T0);
    struct store_outcome outcome = points_told(store, lock_of(LOCK_POINT, "edge", 0), T0, &log);
    cr_assert_eq(log.n, 2);
    cr_assert_eq(log.types[0], STORE_EVENT_LOCKED);
    cr_assert_eq(log.revisions[0], outcome.revision);
    cr_assert_eq(log.types[1], STORE_EVENT_POINT_FENCED);
    cr_assert(store_point_get(store, fixture_random_id(1), &point) && point.fenced);
    cr_assert(store_point_get(store, fixture_random_id(2), &point) && !point.fenced);
    cr_assert_eq(store_barriers_open(store), 0, "its last promise runs out within its lease");
    expect_refused(store, fixture_register("edge", 3, SCOPE), LAPSE_PERMISSION_DENIED,
                   "edge is locked (laptop stolen)");
    expect_refused(store, fixture_register("edge", 1, SCOPE), LAPSE_PERMISSION_DENIED, "edge is locked");
    fixture_must(store, unlock_of("point:edge"), T0);
    fixture_must(store, fixture_register("edge", 3, SCOPE), T0);
    points_finish(store);
}

Test(locks, the_lock_of_a_subject_waits_for_every_point)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_register("edge", 1, SCOPE), T0);
    fixture_must(store, fixture_register("web", 2, "web/*"), T0);
    uint64_t id = fixture_must(store, lock_of(LOCK_SUBJECT, "user:dev1", 0), T0).revision;
    struct barrier barrier = points_barrier(store, id);
    cr_assert_eq(barrier.points, 2);
    cr_assert_eq(barrier.revision, id, "what they acknowledge is the lock's event");
    fixture_must(store, fixture_receipt(id, 1, RECEIPT_ENFORCED, T0), T0);
    cr_assert(!points_barrier(store, id).done);
    fixture_must(store, fixture_receipt(id, 2, RECEIPT_ENFORCED, T0), T0);
    cr_assert(points_barrier(store, id).done);
    points_finish(store);
}

Test(locks, the_lock_of_a_resource_waits_for_the_points_that_guard_it)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, fixture_register("edge", 1, SCOPE), T0);
    fixture_must(store, fixture_register("web", 2, "web/*"), T0);
    uint64_t id = fixture_must(store, lock_of(LOCK_RESOURCE, "db/prod/*", 0), T0).revision;
    cr_assert_eq(points_barrier(store, id).points, 1);
    uint64_t none = fixture_must(store, lock_of(LOCK_RESOURCE, "k8s/prod/*", 0), T0).revision;
    cr_assert(points_barrier(store, none).done, "nobody guards it");
    points_finish(store);
}

/* Offboarding */

static uint32_t count_of(const struct points_log *log, enum store_event_type type)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < log->n; i++)
        n += log->types[i] == type;
    return n;
}

/* user:req1 is about to leave: an active grant of its own, one for another, a request, and two bindings beside the
 * prefix that it falls under. */
static struct store *before_offboarding(void)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, points_bind("spiffe://example.org/user/req1", ROLE_REQUESTER | ROLE_APPROVER, ""), T0);
    fixture_must(store, points_bind("user:req1", ROLE_AUDITOR, ""), T0);
    fixture_must(store, points_bind("spiffe://example.org/user/req11", ROLE_REQUESTER, ""), T0);
    struct command own = fixture_request(1);
    own.terms.subject = slice_str("spiffe://example.org/user/req1");
    fixture_must(store, own, T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "user:app1"), T0);
    points_activate(store, 2);
    fixture_must(store, fixture_request(3), T0);
    struct command other = fixture_request(4);
    other.principal = slice_str("user:req2");
    fixture_must(store, other, T0);
    return store;
}

Test(offboarding, is_one_step_that_locks_ends_grants_cancels_requests_and_takes_roles)
{
    struct store *store = before_offboarding();
    struct points_log log;
    struct store_outcome outcome = points_told(store, offboard_of("user:req1"), T0, &log);
    cr_assert_eq(fixture_state(store, 1), GRANT_REVOKED);
    cr_assert_eq(fixture_state(store, 2), GRANT_REVOKED, "what it requested for others goes, too");
    cr_assert_eq(fixture_state(store, 3), GRANT_CANCELLED);
    cr_assert_eq(fixture_state(store, 4), GRANT_PENDING, "another's request for the same subject stays");
    cr_assert_eq(log.types[0], STORE_EVENT_LOCKED);
    cr_assert_eq(log.types[1], STORE_EVENT_OFFBOARDED);
    cr_assert_eq(count_of(&log, STORE_EVENT_ROLES_CHANGED), 2);
    cr_assert_eq(count_of(&log, STORE_EVENT_SWEEP_BEGAN), 1);
    cr_assert_eq(count_of(&log, STORE_EVENT_SWEEP_ENDED), 1);
    cr_assert_eq(store_roles_bound(store, slice_str("spiffe://example.org/user/req1")), 0);
    cr_assert_eq(store_roles_bound(store, slice_str("user:req1")), ROLE_REQUESTER, "a prefix is others', too");
    cr_assert_eq(store_roles_of(store, slice_str("user:req1")), 0, "but it is locked");
    cr_assert_eq(store_roles_of(store, slice_str("spiffe://example.org/user/req11")), ROLE_REQUESTER);
    cr_assert_eq(points_barrier(store, outcome.revision).id, outcome.revision, "the outcome names the sweep's barrier");
    points_finish(store);
}

Test(offboarding, has_no_end_and_is_not_shortened_by_a_lock)
{
    struct store *store = before_offboarding();
    fixture_must(store, offboard_of("user:req1"), T0);
    expect_refused(store, lock_of(LOCK_SUBJECT, "user:req1", T0 + 1000), LAPSE_FAILED_PRECONDITION, "offboarded");
    expect_refused(store, fixture_request(9), LAPSE_PERMISSION_DENIED, "user:req1 is offboarded (left the company)");
    fixture_must(store, fixture_advance(100), T0 + 1000LL * 3600 * 24 * 400);
    cr_assert_not_null(store_object(store, OBJECT_LOCK, slice_str("subject:user:req1")));
    fixture_must(store, offboard_of("user:req1"), T0);
    fixture_must(store, unlock_of("subject:user:req1"), T0);
    points_finish(store);
}

Test(offboarding, waits_for_all_points_in_one_barrier)
{
    struct store *store = before_offboarding();
    fixture_must(store, fixture_register("edge", 1, SCOPE), T0);
    uint64_t id = fixture_must(store, offboard_of("user:req1"), T0).revision;
    struct barrier barrier = points_barrier(store, id);
    cr_assert_eq(barrier.points, 1);
    cr_assert_eq(barrier.grants, 3);
    cr_assert_eq(barrier.revision, store_revision(store), "behind everything that the offboarding did");
    points_finish(store);
}

/* At its size */

static bool any_denies(const struct store *store, const struct grant_query *query, int64_t now_ms)
{
    const struct object *object;
    struct lock lock;
    for (uint32_t i = 0; (object = store_object_at(store, OBJECT_LOCK, i)) != NULL; i++) {
        CHECK(lapse_is_ok(lock_decode(object->value, &lock, NULL)));
        if (lock_denies(&lock, query, now_ms))
            return true;
    }
    return false;
}

static void draw_subject(struct fixture_random *random, char *text, size_t size)
{
    static const char *const forms[] = {"user:u%u", "spiffe://a/user/u%u", "spiffe://b/user/u%u", "spiffe://a/ci/u%u"};
    snprintf(text, size, forms[fixture_pick(random, 4)], fixture_pick(random, 12));
}

static void draw_resource(struct fixture_random *random, char *text, size_t size)
{
    static const char *const forms[] = {"a%u/b%u/c%u", "a%u/b%u/*", "a%u/b%u", "a%u/*", "*"};
    uint32_t form = fixture_pick(random, 40);
    snprintf(text, size, forms[form < 39 ? form % 4 : 4], fixture_pick(random, 3), fixture_pick(random, 3),
             fixture_pick(random, 3));
}

static struct command draw_lock(struct fixture_random *random)
{
    char target[64];
    bool subject = fixture_pick(random, 2) == 0;
    if (subject)
        draw_subject(random, target, sizeof target);
    else
        draw_resource(random, target, sizeof target);
    int64_t until_ms = fixture_pick(random, 2) == 0 ? 0 : T0 + 1 + fixture_pick(random, 1000);
    return lock_of(subject ? LOCK_SUBJECT : LOCK_RESOURCE, target, until_ms);
}

Test(locks, the_lookups_say_what_asking_each_lock_says)
{
    struct fixture_random random = {7};
    for (uint32_t round = 0; round < 300; round++) {
        struct store *store = fixture_store(NULL);
        for (uint32_t i = fixture_pick(&random, 12); i > 0; i--)
            fixture_must(store, draw_lock(&random), T0);
        for (uint32_t i = 0; i < 100; i++) {
            char subject[64], spiffe_id[64], resource[64];
            draw_subject(&random, subject, sizeof subject);
            draw_subject(&random, spiffe_id, sizeof spiffe_id);
            draw_resource(&random, resource, sizeof resource);
            const struct grant_query query = {.subject = slice_str(subject),
                                              .resource = slice_str(resource),
                                              .spiffe_id = slice_str(i % 3 == 0 ? spiffe_id : "")};
            int64_t now_ms = T0 + fixture_pick(&random, 1100);
            cr_assert_eq(store_locked(store, &query, now_ms), any_denies(store, &query, now_ms), "round %u: %s %s %s",
                         round, subject, spiffe_id, resource);
        }
        store_free(store);
    }
}

static void fill_locks(struct store *store, struct command (*make)(const char *), uint32_t from, uint32_t to)
{
    char target[64];
    for (uint32_t i = from; i < to; i++) {
        snprintf(target, sizeof target, "user:locked%u", i);
        fixture_must(store, make(target), T0);
    }
}

static struct command lock_subject(const char *target)
{
    return lock_of(LOCK_SUBJECT, target, 0);
}

Test(locks, their_number_is_bounded_and_replacing_one_needs_no_room)
{
    struct store *store = fixture_store(NULL);
    fill_locks(store, lock_subject, 0, LIMIT_LOCKS - LIMIT_LOCKS_KEPT);
    expect_refused(store, lock_subject("user:one-more"), LAPSE_RESOURCE_EXHAUSTED, "3584 locks");
    fixture_must(store, lock_subject("user:locked17"), T0);
    fixture_must(store, offboard_of("user:locked18"), T0);
    points_finish(store);
}

Test(offboarding, goes_through_when_locks_have_reached_their_limit)
{
    struct store *store = fixture_store(NULL);
    fill_locks(store, lock_subject, 0, LIMIT_LOCKS - LIMIT_LOCKS_KEPT);
    fill_locks(store, offboard_of, LIMIT_LOCKS - LIMIT_LOCKS_KEPT, LIMIT_LOCKS);
    expect_refused(store, offboard_of("user:one-more"), LAPSE_RESOURCE_EXHAUSTED, "4096 locks");
    fixture_must(store, offboard_of("user:locked18"), T0);
    points_finish(store);
}
