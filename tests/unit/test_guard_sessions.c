/* What lasts, what is counted, and many threads at once: sessions, uses and crowds at a guard (guard_fixture.h). */
#include "tests/unit/guard_fixture.h"

/* ---- Sessions */

static struct lapse_guard_session *enter(struct fixture *f, uint32_t number)
{
    struct lapse_guard_session *session;
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(
                  lapse_guard_session_begin(f->guard, fake_edge_id(number), "sshd pts/3", &f->seen, &session, &error)),
              "%s", error.message);
    return session;
}

Test(guard_sessions, a_session_is_reported_and_holds_back_the_confirmation)
{
    struct fixture f;
    begin(&f);
    struct lapse_guard_session *session = enter(&f, 1);
    WAIT_FOR(f.edge, f.edge->words.n_began == 1);
    cr_assert_str_eq(f.edge->words.began_grant, fake_edge_id(1));
    cr_assert_str_eq(f.edge->words.description, "sshd pts/3");
    uint64_t revision = fake_edge_put(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    WAIT_FOR(f.edge, f.edge->words.received == revision);
    WAIT_FOR(&f.seen, f.seen.n_ends == 1);
    cr_assert_str_eq(f.seen.reason, "REVOKED");
    cr_assert_str_eq(f.seen.ended_grant, fake_edge_id(1));
    cr_assert_eq(f.seen.last, session);
    cr_assert_lt(f.edge->words.enforced, revision);
    struct lapse_error error;
    struct lapse_guard_session *late;
    cr_assert_eq(lapse_guard_session_begin(f.guard, fake_edge_id(1), NULL, NULL, &late, &error).code,
                 LAPSE_FAILED_PRECONDITION);
    lapse_guard_session_ended(session, NULL);
    WAIT_FOR(f.edge, f.edge->words.enforced == revision && f.edge->words.n_ended == 1);
    cr_assert_eq(f.edge->words.n_failures, 0);
    cr_assert_eq(status_of(&f).sessions, 0);
    end(&f);
}

Test(guard_sessions, sessions_below_an_ended_grant_end_too)
{
    struct fixture f;
    begin(&f);
    f.seen.ends_at_once = true;
    wait_revision(&f, fake_edge_put(f.edge, &(struct fake_grant){.number = 2, .parent = 1, .state = GRANT_ACTIVE}));
    (void)enter(&f, 2);
    uint64_t revision = fake_edge_put(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_EXPIRED});
    WAIT_FOR(f.edge, f.edge->words.enforced == revision);
    cr_assert_eq(f.seen.n_ends, 1);
    cr_assert_str_eq(f.seen.reason, "REVOKED");
    end(&f);
}

Test(guard_sessions, a_session_that_does_not_end_is_reported_as_failed)
{
    struct fixture f;
    prepare(&f);
    f.options.session_end_ms = 50;
    open_guard(&f);
    ready(&f);
    struct lapse_guard_session *session = enter(&f, 1);
    uint64_t revision = fake_edge_put(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    WAIT_FOR(f.edge, f.edge->words.enforced == revision);
    cr_assert_eq(f.edge->words.n_failures, 1);
    cr_assert_eq(f.edge->words.failure_revision, revision);
    cr_assert_lt(f.edge->words.enforced_at_failure, revision, "the failure comes first");
    lapse_guard_session_ended(session, NULL);
    WAIT_FOR(f.edge, f.edge->words.n_ended == 1);
    end(&f);
}

Test(guard_sessions, the_application_can_say_why_a_session_would_not_end)
{
    struct fixture f;
    begin(&f);
    f.seen.ends_at_once = true;
    f.seen.failure = "kill: no such process";
    (void)enter(&f, 1);
    uint64_t revision = fake_edge_put(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    WAIT_FOR(f.edge, f.edge->words.enforced == revision);
    cr_assert_str_eq(f.edge->words.failure, "kill: no such process");
    cr_assert_lt(f.edge->words.enforced_at_failure, revision, "the failure comes first");
    end(&f);
}

Test(guard_sessions, sessions_end_at_the_deadline_without_a_network)
{
    struct fixture f;
    begin(&f);
    struct fake_grant grant = {.number = 2, .state = GRANT_ACTIVE, .action = "write"};
    grant.deadline_ms = fake_edge_time_ms(f.edge) + 1000;
    wait_revision(&f, fake_edge_put(f.edge, &grant));
    (void)enter(&f, 2);
    fake_edge_stop(f.node);
    WAIT_FOR(&f.seen, f.seen.n_ends == 1);
    cr_assert_str_eq(f.seen.reason, "EXPIRED");
    lapse_guard_session_ended(f.seen.last, NULL);
    lapse_guard_close(f.guard);
    fake_edge_free(f.edge);
}

Test(guard_sessions, a_session_that_a_snapshot_does_not_know_is_ended_before_anything_above_it_is_confirmed)
{
    struct fixture f;
    begin(&f);
    WAIT_FOR(f.edge, f.edge->words.enforced == 11);
    struct lapse_guard_session *session = enter(&f, 1);
    fake_edge_put_silently(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    fake_edge_resync(f.edge, 1, 500);
    WAIT_FOR(f.edge, f.edge->words.received == 500);
    WAIT_FOR(&f.seen, f.seen.n_ends == 1);
    cr_assert_eq(f.edge->words.enforced, 11);
    lapse_guard_session_ended(session, NULL);
    WAIT_FOR(f.edge, f.edge->words.enforced == 500);
    end(&f);
}

Test(guard_sessions, open_sessions_are_told_again_on_the_next_stream)
{
    struct fixture f;
    begin(&f);
    struct lapse_guard_session *stays = enter(&f, 1), *goes = enter(&f, 1);
    WAIT_FOR(f.edge, f.edge->words.n_began == 2);
    lapse_guard_session_ended(goes, NULL);
    WAIT_FOR(f.edge, f.edge->words.n_ended == 1);
    fake_edge_cut(f.node);
    WAIT_FOR(f.edge, f.edge->words.n_began == 3);
    lapse_guard_session_ended(stays, NULL);
    WAIT_FOR(f.edge, f.edge->words.n_ended >= 2);
    end(&f);
}

Test(guard_sessions, stale_sessions_are_ended_if_asked_for)
{
    struct fixture f;
    prepare(&f);
    f.options.end_sessions_when_stale = true;
    f.options.lease_ms = 1000;
    f.edge->ttl_ms = 1000;
    open_guard(&f);
    ready(&f);
    (void)enter(&f, 1);
    fake_edge_stop(f.node);
    WAIT_FOR(&f.seen, f.seen.n_ends == 1);
    cr_assert_str_eq(f.seen.reason, "STALE");
    lapse_guard_close(f.guard); /* with a session that is open: its handle goes, too */
    fake_edge_free(f.edge);
}

/* ---- Uses */

static lapse_result use(struct fixture *f, uint32_t timeout_ms, struct lapse_guard_decision *decision)
{
    struct lapse_guard_query query = {.subject = "user:dev1@example.com", .resource = "db/prod/once", .action = "read"};
    struct lapse_error error;
    return lapse_guard_use(f->guard, &query, timeout_ms, decision, &error);
}

static void grant_uses(struct fixture *f, uint32_t max_uses)
{
    struct fake_grant grant = {.number = 7, .state = GRANT_ACTIVE, .resource = "db/prod/once", .max_uses = max_uses};
    wait_revision(f, fake_edge_put(f->edge, &grant));
}

Test(guard_sessions, each_use_of_a_counted_grant_is_spent_at_the_cluster)
{
    struct fixture f;
    struct lapse_guard_decision decision;
    begin(&f);
    grant_uses(&f, 2);
    struct lapse_guard_query query = {.subject = "user:dev1@example.com", .resource = "db/prod/once", .action = "read"};
    cr_assert_not(lapse_guard_check(f.guard, &query, &decision));
    cr_assert_str_eq(decision.verdict, "USES");
    cr_assert(lapse_is_ok(use(&f, 0, &decision)) && decision.permit);
    cr_assert(lapse_is_ok(use(&f, 0, &decision)) && decision.permit, "the last one, too: %s", decision.verdict);
    cr_assert(lapse_is_ok(use(&f, 0, &decision)) && !decision.permit);
    cr_assert_eq(f.edge->words.n_uses, 2);
    end(&f);
}

Test(guard_sessions, a_share_of_uses_costs_one_round_trip)
{
    struct fixture f;
    struct lapse_guard_decision decision;
    prepare(&f);
    f.options.use_share = 4;
    open_guard(&f);
    ready(&f);
    grant_uses(&f, 10);
    for (int i = 0; i < 8; i++)
        cr_assert(lapse_is_ok(use(&f, 0, &decision)) && decision.permit);
    cr_assert_eq(f.edge->words.n_uses, 2);
    cr_assert(lapse_is_ok(use(&f, 0, &decision)) && decision.permit, "with fewer left than a share");
    cr_assert_eq(f.edge->grants[7].uses, 9);
    cr_assert(lapse_is_ok(use(&f, 0, &decision)) && decision.permit);
    cr_assert(lapse_is_ok(use(&f, 0, &decision)) && !decision.permit);
    end(&f);
}

Test(guard_sessions, a_use_is_repeated_until_its_outcome_is_known)
{
    struct fixture f;
    struct lapse_guard_decision decision;
    begin(&f);
    grant_uses(&f, 5);
    SET(f.edge, refuses_uses, LAPSE_UNAVAILABLE);
    cr_assert(lapse_is_ok(use(&f, 0, &decision)) && decision.permit);
    WAIT_FOR(f.edge, f.edge->words.n_uses == 2 && f.edge->grants[7].uses == 1);
    SET(f.edge, holds_uses, true);
    cr_assert_eq(use(&f, 50, &decision).code, LAPSE_DEADLINE_EXCEEDED);
    SET(f.edge, holds_uses, false);
    cr_assert(lapse_is_ok(use(&f, 0, &decision)) && decision.permit);
    end(&f);
}

Test(guard_sessions, a_grant_without_a_count_needs_no_round_trip)
{
    struct fixture f;
    struct lapse_guard_decision decision;
    struct lapse_guard_query query = {
        .subject = "user:dev1@example.com", .resource = "db/prod/orders", .action = "read"};
    begin(&f);
    cr_assert(lapse_is_ok(lapse_guard_use(f.guard, &query, 0, &decision, NULL)));
    cr_assert(decision.permit && f.edge->words.n_uses == 0);
    end(&f);
}

Test(guard_sessions, a_failure_is_said_again_on_the_next_stream)
{
    struct fixture f;
    prepare(&f);
    f.options.lease_ms = 1000; /* so pings come soon */
    open_guard(&f);
    ready(&f);
    f.seen.ends_at_once = true;
    f.seen.failure = "kill: no such process";
    (void)enter(&f, 1);
    uint64_t revision = fake_edge_put(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    WAIT_FOR(f.edge, f.edge->words.enforced == revision);
    /* The node has it, as the answers to later pings show, and dies before it has told anybody. */
    WAIT_FOR(f.edge, f.edge->words.n_ended == 1);
    WAIT_FOR(f.guard, STAILQ_EMPTY(&f.guard->sessions.reports_sent));
    fake_edge_cut(f.node);
    WAIT_FOR(f.edge, f.edge->words.n_failures == 2 && f.edge->words.enforced == revision);
    cr_assert_eq(f.edge->words.failure_revision, revision);
    cr_assert_lt(f.edge->words.enforced_at_failure, revision);
    end(&f);
}

Test(guard_sessions, confirms_nothing_to_a_node_with_another_history)
{
    struct fixture f;
    begin(&f);
    fake_edge_progress(f.edge, 5000);
    WAIT_FOR(f.edge, f.edge->words.enforced == 5000);
    SET(f.edge, epoch, 2);
    SET(f.edge, holds_snapshots, true);
    uint32_t n_pings = f.edge->words.n_pings;
    fake_edge_cut(f.node);
    WAIT_FOR(f.edge, f.edge->words.n_registrations == 2 && f.edge->words.n_pings > n_pings + 1);
    fake_edge_cut(f.node);
    SET(f.edge, holds_snapshots, false);
    WAIT_UNTIL(status_of(&f).epoch == 2);
    WAIT_FOR(f.edge, f.edge->words.enforced == 11);
    end(&f);
}

/* ---- Bounds and crowds */

Test(guard_sessions, grants_beyond_its_bound_are_denied_and_it_says_so)
{
    struct fixture f;
    prepare(&f);
    f.options.grants_max = 3;
    for (uint32_t i = 2; i < 6; i++)
        fake_edge_put_silently(f.edge, &(struct fake_grant){.number = i, .state = GRANT_ACTIVE, .action = "write"});
    open_guard(&f);
    ready(&f);
    cr_assert_eq(status_of(&f).grants, 3);
    cr_assert_not_null(strstr(status_of(&f).message, "grants_max"));
    end(&f);
}

struct crowd {
    struct fixture *f;
    _Atomic uint64_t revoked; /* grant 2 is revoked up to here, and that was confirmed */
    _Atomic bool stop;
};

/* Whoever begins a check after a confirmation gets no permission (G5). */
static void *crowd_main(void *arg)
{
    struct crowd *crowd = arg;
    while (!atomic_load(&crowd->stop)) {
        bool revoked = atomic_load(&crowd->revoked) != 0;
        struct lapse_guard_decision decision = ask(crowd->f, "write");
        if (revoked && atomic_load(&crowd->revoked) != 0)
            cr_assert_not(decision.permit);
    }
    return NULL;
}

Test(guard_sessions, G5_no_check_that_begins_after_the_confirmation_permits)
{
    struct fixture f;
    pthread_t threads[3];
    struct crowd crowd = {.f = &f};
    begin(&f);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_create(&threads[i], NULL, crowd_main, &crowd);
    for (int round = 0; round < 300; round++) {
        struct fake_grant grant = {.number = 2, .state = GRANT_ACTIVE, .action = "write"};
        atomic_store(&crowd.revoked, 0);
        (void)fake_edge_put(f.edge, &grant);
        for (uint32_t i = 10; i < 20; i++)
            (void)fake_edge_put(f.edge, &(struct fake_grant){.number = i + (uint32_t)round % 7,
                                                             .state = i % 2 ? GRANT_ACTIVE : GRANT_EXPIRED});
        grant.state = GRANT_REVOKED;
        uint64_t revision = fake_edge_put(f.edge, &grant);
        WAIT_FOR(f.edge, f.edge->words.received >= revision);
        atomic_store(&crowd.revoked, revision);
        usleep(200);
    }
    atomic_store(&crowd.stop, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    cr_assert_gt(status_of(&f).checks_denied, 0);
    end(&f);
}

Test(guard_sessions, checks_and_sessions_of_many_threads_go_on_while_snapshots_come)
{
    struct fixture f;
    pthread_t threads[3];
    struct crowd crowd = {.f = &f};
    begin(&f);
    f.seen.ends_at_once = true;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_create(&threads[i], NULL, crowd_main, &crowd);
    for (uint64_t round = 1; round <= 50; round++) {
        for (uint32_t i = 10; i < 100; i++)
            fake_edge_put_silently(f.edge, &(struct fake_grant){.number = i, .state = GRANT_ACTIVE});
        (void)enter(&f, 1);
        fake_edge_resync(f.edge, 1, 1000 + round);
        wait_revision(&f, 1000 + round);
    }
    atomic_store(&crowd.stop, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(status_of(&f).sessions, 50);
    fake_edge_put(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_COMPLETED});
    WAIT_UNTIL(status_of(&f).sessions == 0);
    cr_assert_str_eq(f.seen.reason, "COMPLETED");
    end(&f);
}
