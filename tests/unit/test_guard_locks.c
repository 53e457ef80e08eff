/* Locks at a guard: which they are, what they deny, what of it is confirmed and when. First the set alone, then a whole
 * guard (guard_fixture.h). */
#include "client/guard_locks.h"
#include "tests/unit/guard_fixture.h"

/* ---- The set alone */

static struct lapse_lock make(enum lapse_lock_kind kind, const char *target, uint64_t revision)
{
    return (struct lapse_lock){.name = target, .kind = kind, .target = target, .revision = revision};
}

static bool put(struct guard_locks *locks, enum lapse_lock_kind kind, const char *target, uint64_t revision)
{
    struct lapse_lock lock = make(kind, target, revision);
    return guard_locks_put(locks, &lock);
}

static bool denies(const struct guard_locks *locks, const struct grant_query *query)
{
    struct guard_lock_set *set = guard_locks_set(locks);
    bool denied = set != NULL && guard_lock_set_denies(set, query);
    guard_lock_set_free(set);
    return denied;
}

static const char *const principals[] = {"user:dev1",
                                         "user:dev2",
                                         "spiffe://example.org/user/dev1",
                                         "spiffe://example.net/user/dev1",
                                         "spiffe://example.org/ci/dev1",
                                         "spiffe://example.org/user/a/b",
                                         "user:a/b",
                                         "b",
                                         ""};
static const char *const resources[] = {"*", "db/*", "db/prod/*", "db/prod/orders",    "db/prod", "db",
                                        "d", "d/*",  "db/test/*", "db/prod/orders/eu", "web/*",   "web"};

static uint32_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

/* Each lock by itself says whether it denies: lock_denies(). */
static bool any_denies(const struct lapse_lock *from, size_t n, const struct grant_query *query)
{
    bool denied = false;
    for (size_t i = 0; i < n; i++) {
        const struct lock lock = {.kind = (enum lock_kind)from[i].kind, .target = slice_str(from[i].target)};
        denied = denied || lock_denies(&lock, query, 0);
    }
    return denied;
}

Test(guard_locks, say_what_lock_denies_says_of_each_of_them)
{
    uint64_t random = 88172645463325252;
    uint32_t n_denied = 0;
    for (int round = 0; round < 3000; round++) {
        struct guard_locks *locks = guard_locks_new();
        struct lapse_lock made[6];
        size_t n = next_random(&random) % ARRAY_LEN(made);
        for (size_t i = 0; i < n; i++) {
            bool subject = next_random(&random) % 2 == 0;
            made[i] = subject ? make(LAPSE_LOCK_SUBJECT, principals[next_random(&random) % 8], 1)
                              : make(LAPSE_LOCK_RESOURCE, resources[next_random(&random) % ARRAY_LEN(resources)], 1);
            cr_assert(guard_locks_put(locks, &made[i]));
        }
        for (int ask = 0; ask < 10; ask++) {
            const struct grant_query query = {
                .subject = slice_str(principals[next_random(&random) % ARRAY_LEN(principals)]),
                .spiffe_id = slice_str(principals[next_random(&random) % ARRAY_LEN(principals)]),
                .resource = slice_str(resources[next_random(&random) % ARRAY_LEN(resources)])};
            bool expected = any_denies(made, n, &query);
            n_denied += expected;
            cr_assert_eq(denies(locks, &query), expected, "subject %.*s, resource %.*s, %zu locks",
                         (int)query.subject.len, (const char *)query.subject.data, (int)query.resource.len,
                         (const char *)query.resource.data, n);
        }
        guard_locks_free(locks);
    }
    cr_assert_gt(n_denied, 3000);
}

Test(guard_locks, what_is_older_than_what_is_known_changes_nothing)
{
    struct guard_locks *locks = guard_locks_new();
    const struct grant_query query = {.subject = slice_str("user:dev1")};
    cr_assert(put(locks, LAPSE_LOCK_SUBJECT, "user:dev1", 7));
    guard_locks_lift(locks, "user:dev1", 6);
    cr_assert(denies(locks, &query), "lifted before it was locked again");
    cr_assert(put(locks, LAPSE_LOCK_SUBJECT, "user:dev1", 5));
    guard_locks_lift(locks, "user:dev1", 6);
    cr_assert(denies(locks, &query));
    guard_locks_lift(locks, "user:dev2", 9);
    cr_assert_eq(guard_locks_count(locks), 1);
    guard_locks_lift(locks, "user:dev1", 8);
    cr_assert_not(denies(locks, &query));
    cr_assert_null(guard_locks_set(locks));
    guard_locks_free(locks);
}

Test(guard_locks, what_is_none_is_refused_and_what_is_not_for_guards_is_left_out)
{
    struct guard_locks *locks = guard_locks_new();
    char longer[LIMIT_OBJECT_NAME + 2];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    cr_assert_not(put(locks, LAPSE_LOCK_SUBJECT, "", 1));
    cr_assert_not(put(locks, LAPSE_LOCK_SUBJECT, "user:dev1\n", 1));
    cr_assert_not(put(locks, LAPSE_LOCK_RESOURCE, "db//prod", 1));
    cr_assert_not(put(locks, LAPSE_LOCK_RESOURCE, longer, 1));
    cr_assert(put(locks, LAPSE_LOCK_POINT, "edge-1", 1));
    cr_assert(put(locks, (enum lapse_lock_kind)77, "?", 1));
    cr_assert_eq(guard_locks_count(locks), 0);
    for (unsigned i = 0; i < LIMIT_LOCKS; i++) {
        snprintf(longer, sizeof longer, "db/%u", i);
        cr_assert(put(locks, LAPSE_LOCK_RESOURCE, longer, 1));
    }
    cr_assert_not(put(locks, LAPSE_LOCK_RESOURCE, "db/more", 1), "a cluster has no more");
    cr_assert(put(locks, LAPSE_LOCK_RESOURCE, "db/7", 2), "but one may be replaced");
    const struct grant_query query = {.resource = slice_str("db/7")}, other = {.resource = slice_str("db/7000")};
    cr_assert(denies(locks, &query));
    cr_assert_not(denies(locks, &other));
    guard_locks_free(locks);
}

/* ---- A guard */

static void wait_acknowledged(struct fixture *f, uint64_t revision)
{
    WAIT_FOR(f->edge, f->edge->words.received >= revision);
}

Test(guard_locks, a_locked_subject_is_denied_before_it_is_confirmed_and_allowed_when_it_is_lifted)
{
    struct fixture f;
    begin(&f);
    cr_assert(permits(&f));
    wait_acknowledged(&f, fake_edge_lock(f.edge, LOCK_SUBJECT, "spiffe://example.org/user/dev1@example.com"));
    cr_assert_str_eq(verdict(&f), "LOCKED");
    cr_assert_str_eq(ask(&f, "read").grant, "", "whatever grants there are");
    cr_assert_eq(status_of(&f).grants, 1, "they stay");
    wait_revision(&f, fake_edge_unlock(f.edge, "spiffe://example.org/user/dev1@example.com"));
    WAIT_UNTIL(permits(&f));
    end(&f);
}

Test(guard_locks, a_locked_resource_is_denied_to_everybody_and_others_are_not)
{
    struct fixture f;
    begin(&f);
    wait_revision(&f, fake_edge_put(f.edge, &(struct fake_grant){.number = 2,
                                                                 .state = GRANT_ACTIVE,
                                                                 .subject = "user:dev2@example.com",
                                                                 .resource = "db/test/a"}));
    wait_acknowledged(&f, fake_edge_lock(f.edge, LOCK_RESOURCE, "db/prod/*"));
    cr_assert_str_eq(verdict(&f), "LOCKED");
    struct lapse_guard_query query = {.subject = "user:dev2@example.com", .resource = "db/test/a", .action = "read"};
    struct lapse_guard_decision decision;
    cr_assert(lapse_guard_check(f.guard, &query, &decision));
    query.spiffe_id = "spiffe://example.org/ci/stolen";
    wait_acknowledged(&f, fake_edge_lock(f.edge, LOCK_SUBJECT, "spiffe://example.org/ci/stolen"));
    cr_assert_not(lapse_guard_check(f.guard, &query, &decision), "who presents it is locked");
    cr_assert_str_eq(decision.verdict, "LOCKED");
    end(&f);
}

Test(guard_locks, come_with_a_snapshot_and_go_with_the_next_one)
{
    struct fixture f;
    prepare(&f);
    fake_edge_lock(f.edge, LOCK_RESOURCE, "db/prod/orders");
    open_guard(&f);
    ready(&f);
    cr_assert_str_eq(verdict(&f), "LOCKED", "with the first view that decides");
    SET(f.edge, n_locks, 0);
    SET(f.edge, ring, 1000000);
    fake_edge_cut(f.node);
    WAIT_UNTIL(permits(&f));
    end(&f);
}

Test(guard_locks, G5_a_sessions_end_is_waited_for_before_a_lock_is_confirmed)
{
    struct fixture f;
    struct lapse_guard_session *session, *refused;
    struct lapse_error error;
    begin(&f);
    cr_assert(lapse_is_ok(lapse_guard_session_begin(f.guard, fake_edge_id(1), "sshd", &f.seen, &session, &error)));
    uint64_t revision = fake_edge_lock(f.edge, LOCK_SUBJECT, "user:dev1@example.com");
    WAIT_FOR(&f.seen, f.seen.n_ends == 1);
    cr_assert_str_eq(f.seen.reason, "LOCKED");
    wait_acknowledged(&f, revision);
    cr_assert_lt(f.edge->words.enforced, revision);
    cr_assert_eq(lapse_guard_session_begin(f.guard, fake_edge_id(1), "sshd", NULL, &refused, &error).code,
                 LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(error.message, "locked"));
    lapse_guard_session_ended(session, NULL);
    WAIT_FOR(f.edge, f.edge->words.enforced == revision);
    end(&f);
}

Test(guard_locks, sessions_under_a_grant_that_holds_what_is_locked_end_and_others_stay)
{
    struct fixture f;
    struct lapse_guard_session *wide, *other;
    struct lapse_error error;
    begin(&f);
    fake_edge_put(f.edge, &(struct fake_grant){.number = 2, .state = GRANT_ACTIVE, .resource = "db/prod/*"});
    wait_revision(
        &f, fake_edge_put(f.edge, &(struct fake_grant){.number = 3, .state = GRANT_ACTIVE, .resource = "db/test/a"}));
    cr_assert(lapse_is_ok(lapse_guard_session_begin(f.guard, fake_edge_id(2), "", &f.seen, &wide, &error)));
    cr_assert(lapse_is_ok(lapse_guard_session_begin(f.guard, fake_edge_id(3), "", &f.seen, &other, &error)));
    wait_acknowledged(&f, fake_edge_lock(f.edge, LOCK_RESOURCE, "db/prod/orders"));
    WAIT_FOR(&f.seen, f.seen.n_ends == 1);
    cr_assert_eq(f.seen.last, wide);
    lapse_guard_session_ended(wide, NULL);
    uint64_t revision = fake_edge_lock(f.edge, LOCK_RESOURCE, "db/none");
    WAIT_FOR(f.edge, f.edge->words.enforced == revision);
    cr_assert_eq(f.seen.n_ends, 1);
    lapse_guard_session_ended(other, NULL);
    end(&f);
}

Test(guard_locks, a_session_that_outlives_its_lock_is_reported_again_when_its_grant_is_revoked)
{
    struct fixture f;
    struct lapse_guard_session *session;
    struct lapse_error error;
    prepare(&f);
    f.options.session_end_ms = 50;
    open_guard(&f);
    ready(&f);
    cr_assert(lapse_is_ok(lapse_guard_session_begin(f.guard, fake_edge_id(1), "", &f.seen, &session, &error)));
    uint64_t locked = fake_edge_lock(f.edge, LOCK_SUBJECT, "user:dev1@example.com");
    WAIT_FOR(f.edge, f.edge->words.enforced == locked);
    cr_assert_eq(f.edge->words.n_failures, 1);
    uint64_t revoked = fake_edge_put(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    WAIT_FOR(f.edge, f.edge->words.enforced == revoked);
    cr_assert_eq(f.edge->words.n_failures, 2);
    cr_assert_eq(f.edge->words.failure_revision, revoked);
    lapse_guard_session_ended(session, NULL);
    end(&f);
}

Test(guard_locks, one_that_can_not_be_makes_the_guard_deny_until_a_snapshot_has_come)
{
    struct fixture f;
    begin(&f);
    SET(f.edge, mute, true);
    uint64_t before = status_of(&f).registrations;
    fake_edge_lock(f.edge, LOCK_RESOURCE, "db//prod");
    WAIT_UNTIL(!permits(&f));
    cr_assert_str_eq(verdict(&f), "STARTING");
    cr_assert_lt(f.edge->words.received, f.edge->revision, "what can't be kept isn't confirmed");
    SET(f.edge, n_locks, 0);
    SET(f.edge, mute, false);
    WAIT_UNTIL(permits(&f));
    cr_assert_gt(status_of(&f).registrations, before);
    end(&f);
}

static void *crowd_main(void *arg)
{
    struct fixture *f = arg;
    const char *said = "";
    while (strcmp(said, "FENCED") != 0) {
        said = verdict(f);
        cr_assert(strcmp(said, "ALLOWS") == 0 || strcmp(said, "LOCKED") == 0 || strcmp(said, "FENCED") == 0, "%s",
                  said);
    }
    return NULL;
}

Test(guard_locks, come_and_go_under_many_readers)
{
    struct fixture f;
    pthread_t threads[4];
    char target[64][32];
    begin(&f);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, crowd_main, &f), 0);
    for (unsigned round = 0; round < 200; round++) {
        snprintf(target[round % 64], sizeof target[0], "db/other-%u", round);
        fake_edge_lock(f.edge, LOCK_RESOURCE, target[round % 64]);
        uint64_t locked = fake_edge_lock(f.edge, LOCK_SUBJECT, "user:dev1@example.com");
        wait_acknowledged(&f, locked);
        cr_assert_str_eq(verdict(&f), "LOCKED");
        fake_edge_unlock(f.edge, target[round % 64]);
        wait_revision(&f, fake_edge_unlock(f.edge, "user:dev1@example.com"));
    }
    fake_edge_end(f.edge, GUARD_END_FENCED, LAPSE_FAILED_PRECONDITION);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    end(&f);
}

/* ---- Heads of the audit log */

Test(guard_heads, the_newest_is_kept_and_brought_along)
{
    struct fixture f;
    begin(&f);
    cr_assert_eq(f.edge->words.registrations[0].head_revision, 0);
    fake_edge_head(f.edge, f.edge->epoch, 5);
    WAIT_FOR(&f.seen, f.seen.n_heads == 1);
    fake_edge_head(f.edge, f.edge->epoch, 4);
    fake_edge_head(f.edge, f.edge->epoch, 6);
    WAIT_FOR(&f.seen, f.seen.n_heads == 2);
    uint32_t before = f.edge->words.n_registrations;
    fake_edge_cut(f.node);
    WAIT_FOR(f.edge, f.edge->words.n_registrations > before);
    cr_assert_eq(f.edge->words.registrations[before].head_revision, 6);
    cr_assert_eq(f.edge->words.registrations[before].head_epoch, f.edge->epoch);
    end(&f);
}

Test(guard_heads, what_an_earlier_process_kept_is_brought_along)
{
    struct fixture f;
    struct buf head;
    prepare(&f);
    fake_head(f.edge->epoch, 9, &head);
    f.options.head = (struct lapse_bytes){head.data, head.len};
    open_guard(&f);
    ready(&f);
    cr_assert_eq(f.edge->words.registrations[0].head_revision, 9);
    fake_edge_head(f.edge, f.edge->epoch, 8);
    fake_edge_head(f.edge, f.edge->epoch + 1, 1);
    WAIT_FOR(&f.seen, f.seen.n_heads == 1);
    struct guard_head kept;
    cr_assert(guard_head_read(slice_of(f.seen.head, f.seen.head_len), &kept));
    cr_assert_eq(kept.epoch, f.edge->epoch + 1, "another epoch is newer by its number");
    buf_free(&head);
    end(&f);
}

Test(guard_heads, a_cluster_that_has_lost_what_it_signed_is_believed_nothing_any_more)
{
    struct fixture f;
    begin(&f);
    fake_edge_head(f.edge, f.edge->epoch, 5);
    WAIT_FOR(&f.seen, f.seen.n_heads == 1);
    SET(f.edge, refuses, LAPSE_DATA_LOSS);
    fake_edge_cut(f.node);
    WAIT_UNTIL(status_of(&f).state == LAPSE_GUARD_FAILED);
    cr_assert_not(permits(&f), "the promise is worth nothing, either");
    cr_assert_str_eq(verdict(&f), "FAILED");
    uint32_t tried = f.edge->words.n_registrations;
    SET(f.edge, refuses, LAPSE_OK);
    fake_edge_cut(f.node);
    struct lapse_error error;
    cr_assert_eq(lapse_guard_wait_ready(f.guard, 500, &error).code, LAPSE_UNAVAILABLE);
    cr_assert_not_null(strstr(error.message, "not this one"), "%s", error.message);
    cr_assert_eq(f.edge->words.n_registrations, tried, "it doesn't ask again");
    end(&f);
}

Test(guard_heads, what_is_none_is_refused)
{
    static const uint8_t garbage[] = {0xff, 0xff, 0xff};
    struct fixture f;
    struct lapse_error error;
    prepare(&f);
    f.options.head = (struct lapse_bytes){garbage, sizeof garbage};
    cr_assert_eq(lapse_guard_open(&f.options, &guard_callbacks, &f.seen, &f.guard, &error).code,
                 LAPSE_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(error.message, "head"));
    f.options.head = (struct lapse_bytes){NULL, 0};
    open_guard(&f);
    ready(&f);
    static const uint8_t message[] = {0x6a, 0x03, 0xff, 0xff, 0xff}; /* field 13 */
    uint64_t before = status_of(&f).reconnects;
    fake_edge_raw(f.edge, message, sizeof message);
    WAIT_UNTIL(status_of(&f).reconnects > before);
    end(&f);
}
