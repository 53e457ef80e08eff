/* lapse_guard_*: an enforcement point against nodes that revoke, lag, lie, fall silent and die (fake_enforcement.h).
 * What must hold in each case: it never permits what ended, it confirms only what it enforces, and it comes back by
 * itself. */
#include "tests/unit/guard_fixture.h"

/* ---- Beginning */

Test(guard, denies_everything_until_its_cache_is_complete_and_promised)
{
    struct fixture f;
    prepare(&f);
    f.edge->mute = true;
    f.edge->holds_snapshots = true;
    open_guard(&f);
    WAIT_FOR(f.edge, f.edge->words.n_pings > 0);
    cr_assert_str_eq(verdict(&f), "STARTING");
    cr_assert_eq(ask(&f, "read").staleness_ms, -1);
    fake_edge_cut(f.node);
    pthread_mutex_lock(&f.edge->lock);
    f.edge->mute = f.edge->holds_snapshots = false;
    pthread_mutex_unlock(&f.edge->lock);
    ready(&f);
    cr_assert(permits(&f));
    end(&f);
}

Test(guard, decides_as_the_nodes_do_and_says_how_long_it_holds)
{
    struct fixture f;
    begin(&f);
    struct lapse_guard_decision decision = ask(&f, "read");
    cr_assert(decision.permit);
    cr_assert_str_eq(decision.grant, fake_edge_id(1));
    cr_assert_eq(decision.epoch, 1);
    cr_assert_eq(decision.revision, 11);
    cr_assert(decision.valid_for_ms > 0 && decision.valid_for_ms <= 3000);
    cr_assert(decision.staleness_ms >= 0);
    decision = ask(&f, "write");
    cr_assert_str_eq(decision.verdict, "OTHER_ACTION");
    cr_assert_str_eq(decision.grant, fake_edge_id(1));
    struct lapse_guard_query other = {
        .subject = "user:dev2@example.com", .resource = "db/prod/orders", .action = "read"};
    cr_assert_not(lapse_guard_check(f.guard, &other, &decision));
    cr_assert_str_eq(decision.verdict, "NO_GRANT");
    cr_assert_str_eq(decision.grant, "");
    end(&f);
}

Test(guard, registers_with_its_terms_and_says_goodbye)
{
    struct fixture f;
    prepare(&f);
    f.options.lease_ms = 2500;
    open_guard(&f);
    ready(&f);
    WAIT_FOR(f.edge, f.edge->words.received == 11 && f.edge->words.enforced == 11);
    cr_assert_eq(f.edge->words.registrations[0].lease_ms, 2500);
    cr_assert_str_eq(f.edge->words.registrations[0].scope, "db/*");
    cr_assert_eq(f.edge->words.registrations[0].epoch, 0);
    lapse_guard_close(f.guard);
    cr_assert_eq(f.edge->words.n_goodbyes, 1);
    fake_edge_free(f.edge);
}

Test(guard, refuses_options_that_no_cluster_would_take)
{
    struct fixture f;
    struct lapse_error error;
    prepare(&f);
    struct lapse_guard_options bad = f.options;
    bad.id = "";
    cr_assert_eq(lapse_guard_open(&bad, NULL, NULL, &f.guard, &error).code, LAPSE_INVALID_ARGUMENT);
    bad = f.options;
    bad.lease_ms = 999;
    cr_assert_eq(lapse_guard_open(&bad, NULL, NULL, &f.guard, &error).code, LAPSE_INVALID_ARGUMENT);
    bad = f.options;
    bad.n_scope = 9;
    cr_assert_eq(lapse_guard_open(&bad, NULL, NULL, &f.guard, &error).code, LAPSE_INVALID_ARGUMENT);
    const char *step[1] = {"db/../hr"};
    bad = f.options;
    bad.scope = step;
    cr_assert_eq(lapse_guard_open(&bad, NULL, NULL, &f.guard, &error).code, LAPSE_INVALID_ARGUMENT);
    bad = f.options;
    bad.client.endpoints = "nowhere";
    cr_assert_eq(lapse_guard_open(&bad, NULL, NULL, &f.guard, &error).code, LAPSE_INVALID_ARGUMENT);
    open_guard(&f); /* at once closed again */
    end(&f);
}

/* ---- Ends */

Test(guard, a_revocation_is_denied_before_it_is_confirmed)
{
    struct fixture f;
    begin(&f);
    cr_assert(permits(&f));
    uint64_t revision = fake_edge_put(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    WAIT_FOR(f.edge, f.edge->words.received >= revision);
    cr_assert_str_eq(verdict(&f), "NO_GRANT");
    WAIT_FOR(f.edge, f.edge->words.enforced >= revision);
    WAIT_FOR(&f.seen, f.seen.n_grants == 1);
    end(&f);
}

Test(guard, marks_are_confirmed_too)
{
    struct fixture f;
    begin(&f);
    fake_edge_progress(f.edge, 5000);
    WAIT_FOR(f.edge, f.edge->words.enforced == 5000);
    cr_assert(permits(&f));
    end(&f);
}

Test(guard, what_is_below_an_ended_grant_is_denied_with_it)
{
    struct fixture f;
    begin(&f);
    fake_edge_put(f.edge, &(struct fake_grant){.number = 3, .parent = 2, .action = "write", .state = GRANT_ACTIVE});
    fake_edge_put(f.edge, &(struct fake_grant){.number = 4, .parent = 3, .action = "drop", .state = GRANT_ACTIVE});
    uint64_t revision =
        fake_edge_put(f.edge, &(struct fake_grant){.number = 5, .action = "see", .state = GRANT_ACTIVE});
    wait_revision(&f, revision);
    cr_assert_str_eq(ask(&f, "write").verdict, "OTHER_ACTION", "its parent is not there");
    revision = fake_edge_put(f.edge, &(struct fake_grant){.number = 2, .action = "stat", .state = GRANT_ACTIVE});
    wait_revision(&f, revision);
    cr_assert(ask(&f, "write").permit && ask(&f, "drop").permit);
    cr_assert_eq(status_of(&f).grants, 5);
    revision = fake_edge_put(f.edge, &(struct fake_grant){.number = 2, .action = "stat", .state = GRANT_REVOKED});
    WAIT_FOR(f.edge, f.edge->words.received >= revision);
    cr_assert_not(ask(&f, "write").permit || ask(&f, "drop").permit || ask(&f, "stat").permit);
    cr_assert(ask(&f, "see").permit && ask(&f, "read").permit);
    end(&f);
}

Test(guard, G3_a_deadline_needs_no_network)
{
    struct fixture f;
    struct lapse_guard_decision decision;
    struct lapse_guard_query query = {
        .subject = "user:dev1@example.com", .resource = "db/prod/short", .action = "read"};
    begin(&f);
    struct fake_grant grant = {.number = 2, .state = GRANT_ACTIVE, .resource = "db/prod/short"};
    grant.deadline_ms = fake_edge_time_ms(f.edge) + 700;
    wait_revision(&f, fake_edge_put(f.edge, &grant));
    fake_edge_stop(f.node);
    do {
        int64_t time_ms = fake_edge_time_ms(f.edge);
        bool permit = lapse_guard_check(f.guard, &query, &decision);
        cr_assert(!permit || time_ms < grant.deadline_ms);
    } while (decision.permit);
    cr_assert(strcmp(decision.verdict, "PAST_DEADLINE") == 0 || strcmp(decision.verdict, "STALE") == 0);
    lapse_guard_close(f.guard);
    fake_edge_free(f.edge);
}

Test(guard, without_cluster_time_nothing_with_a_deadline_is_permitted)
{
    struct fixture f;
    prepare(&f);
    f.edge->no_time = true;
    open_guard(&f);
    ready(&f);
    cr_assert_str_eq(verdict(&f), "PAST_DEADLINE");
    end(&f);
}

/* ---- Connections */

Test(guard, goes_on_deciding_while_its_promise_lasts_and_resumes_where_it_was)
{
    struct fixture f;
    begin(&f);
    uint16_t port = fake_edge_port(f.node);
    wait_revision(&f,
                  fake_edge_put(f.edge, &(struct fake_grant){.number = 2, .state = GRANT_ACTIVE, .action = "write"}));
    fake_edge_stop(f.node);
    cr_assert(permits(&f) || strcmp(verdict(&f), "STALE") == 0);
    WAIT_UNTIL(strcmp(verdict(&f), "STALE") == 0);
    WAIT_FOR(&f.seen, f.seen.state == LAPSE_GUARD_STALE);
    f.node = fake_edge_start(f.edge, port);
    ready(&f);
    cr_assert(permits(&f));
    struct fake_words *words = &f.edge->words;
    cr_assert_eq(words->registrations[words->n_registrations - 1].epoch, 1);
    cr_assert_eq(words->registrations[words->n_registrations - 1].revision, 12);
    cr_assert_arr_eq(words->registrations[0].instance, words->registrations[words->n_registrations - 1].instance, 16);
    cr_assert_eq(status_of(&f).resyncs, 0);
    cr_assert_eq(status_of(&f).reconnects, 1);
    end(&f);
}

Test(guard, sees_on_the_next_stream_what_ended_meanwhile)
{
    struct fixture f;
    begin(&f);
    SET(f.edge, holds_registrations, true);
    fake_edge_cut(f.node);
    WAIT_FOR(f.edge, f.edge->words.n_registrations == 2);
    uint64_t revision = fake_edge_put(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    SET(f.edge, holds_registrations, false);
    WAIT_FOR(f.edge, f.edge->words.enforced >= revision);
    ready(&f);
    cr_assert_str_eq(verdict(&f), "NO_GRANT");
    end(&f);
}

Test(guard, a_snapshot_takes_the_place_of_the_cache_at_once)
{
    struct fixture f;
    begin(&f);
    fake_edge_put_silently(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    fake_edge_put_silently(f.edge, &(struct fake_grant){.number = 2, .state = GRANT_ACTIVE, .action = "write"});
    fake_edge_resync(f.edge, 1, 500);
    wait_revision(&f, 500);
    cr_assert_str_eq(verdict(&f), "OTHER_ACTION");
    cr_assert(ask(&f, "write").permit);
    WAIT_FOR(f.edge, f.edge->words.enforced == 500);
    cr_assert_eq(status_of(&f).resyncs, 1);
    end(&f);
}

Test(guard, decides_from_the_old_cache_until_a_snapshot_is_complete)
{
    struct fixture f;
    begin(&f);
    SET(f.edge, holds_snapshots, true);
    fake_edge_put_silently(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    fake_edge_put_silently(f.edge, &(struct fake_grant){.number = 2, .state = GRANT_ACTIVE, .action = "write"});
    fake_edge_resync(f.edge, 1, 500);
    WAIT_UNTIL(status_of(&f).resyncs == 1);
    cr_assert(permits(&f));
    cr_assert_not(ask(&f, "write").permit);
    cr_assert_eq(ask(&f, "read").revision, 11);
    end(&f);
}

Test(guard, another_epoch_begins_with_a_snapshot)
{
    struct fixture f;
    begin(&f);
    fake_edge_resync(f.edge, 2, 3);
    WAIT_UNTIL(status_of(&f).epoch == 2);
    cr_assert_eq(ask(&f, "read").revision, 3);
    WAIT_FOR(f.edge, f.edge->words.enforced == 3);
    end(&f);
}

Test(guard, leaves_a_node_that_makes_no_promises)
{
    struct fixture f;
    prepare(&f);
    struct fake_edge_node *other = fake_edge_start(f.edge, 0);
    f.options.client.endpoints = fake_edge_endpoints(f.edge);
    f.options.lease_ms = 1500;
    open_guard(&f);
    ready(&f);
    struct fake_edge_node *used = fake_edge_streams(f.node) > 0 ? f.node : other;
    struct fake_edge_node *unused = used == other ? f.node : other;
    fake_edge_mute(used, true);
    WAIT_UNTIL(fake_edge_streams(unused) > 0);
    cr_assert(permits(&f) || strcmp(verdict(&f), "STALE") == 0);
    ready(&f);
    end(&f);
}

Test(guard, a_suspended_machine_wakes_up_denying)
{
    struct fixture f;
    begin(&f);
    cr_assert(permits(&f));
    atomic_fetch_add(&f.guard->clock_shift_us, 3600LL * 1000000);
    cr_assert_str_eq(verdict(&f), "STALE"); /* the first check, before anything else has run */
    guard_wake(f.guard);
    ready(&f);
    cr_assert(permits(&f));
    end(&f);
}

/* ---- The cluster's word about the instance */

Test(guard, an_instance_that_was_waited_out_begins_anew_with_nothing)
{
    struct fixture f;
    begin(&f);
    SET(f.edge, holds_registrations, true);
    fake_edge_end(f.edge, 1, LAPSE_ABORTED);
    WAIT_FOR(f.edge, f.edge->words.n_registrations == 2);
    cr_assert_str_eq(verdict(&f), "STARTING");
    cr_assert_eq(status_of(&f).grants, 0);
    cr_assert_eq(f.edge->words.registrations[1].epoch, 0);
    cr_assert_arr_neq(f.edge->words.registrations[0].instance, f.edge->words.registrations[1].instance, 16);
    SET(f.edge, holds_registrations, false);
    fake_edge_cut(f.node);
    ready(&f);
    ready(&f);
    cr_assert(permits(&f));
    end(&f);
}

Test(guard, a_fenced_one_denies_for_good)
{
    struct fixture f;
    begin(&f);
    fake_edge_end(f.edge, 2, LAPSE_FAILED_PRECONDITION);
    WAIT_FOR(&f.seen, f.seen.state == LAPSE_GUARD_FENCED);
    cr_assert_str_eq(verdict(&f), "FENCED");
    struct lapse_error error = {0};
    cr_assert_eq(lapse_guard_wait_ready(f.guard, 60000, &error).code, LAPSE_UNAVAILABLE);
    cr_assert_not_null(strstr(error.message, "another process"));
    usleep(300000); /* a reconnect would come within 50 ms */
    cr_assert_eq(f.edge->words.n_registrations, 1);
    end(&f);
}

Test(guard, what_waiting_will_not_mend_is_named)
{
    struct fixture f;
    prepare(&f);
    f.edge->refuses = LAPSE_PERMISSION_DENIED;
    open_guard(&f);
    WAIT_FOR(&f.seen, f.seen.state == LAPSE_GUARD_FAILED);
    cr_assert_str_eq(verdict(&f), "FAILED");
    cr_assert_not_null(strstr(status_of(&f).message, "not this one"));
    usleep(300000);
    cr_assert_eq(f.edge->words.n_registrations, 1, "it tries slowly");
    end(&f);
}

Test(guard, a_history_that_the_cluster_lost_is_begun_anew)
{
    struct fixture f;
    begin(&f);
    SET(f.edge, refuses, LAPSE_FAILED_PRECONDITION);
    fake_edge_cut(f.node);
    WAIT_FOR(f.edge, f.edge->words.n_registrations >= 3);
    pthread_mutex_lock(&f.edge->lock);
    f.edge->refuses = LAPSE_OK;
    cr_assert_eq(f.edge->words.registrations[1].revision, 11);
    cr_assert_eq(f.edge->words.registrations[2].revision, 0);
    cr_assert_arr_neq(f.edge->words.registrations[1].instance, f.edge->words.registrations[2].instance, 16);
    pthread_mutex_unlock(&f.edge->lock);
    ready(&f);
    end(&f);
}

/* ---- Hostile nodes */

/* After what the test does, the stream is left, and grant 1 is still what the cache knows. */
static void expect_left(struct fixture *f)
{
    WAIT_FOR(f->edge, f->edge->words.n_registrations >= 2);
    cr_assert_not(ask(f, "write").permit);
}

Test(guard, an_event_of_the_past_ends_the_stream)
{
    struct fixture f;
    begin(&f);
    uint64_t revision =
        fake_edge_put(f.edge, &(struct fake_grant){.number = 2, .state = GRANT_REVOKED, .action = "write"});
    wait_revision(&f, revision);
    fake_edge_event(f.edge, 1, revision, &(struct fake_grant){.number = 2, .state = GRANT_ACTIVE, .action = "write"});
    expect_left(&f);
    cr_assert(permits(&f));
    end(&f);
}

Test(guard, a_mark_of_the_past_ends_the_stream)
{
    struct fixture f;
    begin(&f);
    fake_edge_progress(f.edge, 4);
    expect_left(&f);
    cr_assert_eq(ask(&f, "read").revision, 11);
    end(&f);
}

Test(guard, an_event_of_another_epoch_ends_the_stream)
{
    struct fixture f;
    begin(&f);
    fake_edge_event(f.edge, 9, 5000, &(struct fake_grant){.number = 2, .state = GRANT_ACTIVE, .action = "write"});
    expect_left(&f);
    cr_assert_eq(ask(&f, "read").epoch, 1);
    end(&f);
}

Test(guard, a_snapshot_of_the_past_is_not_taken)
{
    struct fixture f;
    begin(&f);
    fake_edge_put_silently(f.edge, &(struct fake_grant){.number = 2, .state = GRANT_ACTIVE, .action = "write"});
    fake_edge_resync(f.edge, 1, 5);
    expect_left(&f);
    end(&f);
}

Test(guard, bytes_that_are_no_message_end_the_stream)
{
    struct fixture f;
    begin(&f);
    fake_edge_raw(f.edge, "\xFF\xFF\xFF\xFF", 4);
    expect_left(&f);
    end(&f);
}

Test(guard, a_grant_that_can_not_be_empties_the_cache)
{
    struct fixture f;
    char subject[600];
    begin(&f);
    memset(subject, 'x', sizeof subject - 1);
    subject[sizeof subject - 1] = '\0';
    fake_edge_event(f.edge, 1, 12, &(struct fake_grant){.number = 2, .state = GRANT_ACTIVE, .subject = subject});
    WAIT_FOR(f.edge, f.edge->words.n_registrations >= 2);
    cr_assert_eq(f.edge->words.registrations[1].revision, 0);
    ready(&f);
    end(&f);
}

/* ---- Renewed certificates */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

Test(guard, goes_over_to_a_renewed_certificate_and_decides_meanwhile)
{
    struct fixture f;
    struct lapse_error error = {0};
    begin(&f);
    cr_assert_eq(unlink(f.options.client.certificate), 0);
    cr_assert_eq(unlink(f.options.client.key), 0);
    fixture_issue(f.edge->pki, "edge/eu-1", "edge");
    cr_assert(lapse_is_ok(lapse_guard_reload(f.guard, &error)), "%s", error.message);
    WAIT_FOR(f.edge, f.edge->words.n_registrations == 2);
    cr_assert_arr_eq(f.edge->words.registrations[0].instance, f.edge->words.registrations[1].instance, 16);
    cr_assert_eq(f.edge->words.registrations[1].revision, 11, "it goes on where it was");
    ready(&f);
    cr_assert(permits(&f));
    uint64_t revision = fake_edge_put(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    WAIT_FOR(f.edge, f.edge->words.enforced >= revision);
    cr_assert_not(permits(&f));
    end(&f);
}

Test(guard, keeps_the_certificate_that_it_has_when_the_renewed_one_is_none)
{
    struct fixture f;
    struct lapse_error error = {0};
    begin(&f);
    write_file(f.options.client.certificate, "-----BEGIN CERTIFICATE-----\n");
    lapse_result result = lapse_guard_reload(f.guard, &error);
    cr_assert_not(lapse_is_ok(result));
    cr_assert_not_null(strstr(error.message, f.options.client.certificate), "%s", error.message);
    fake_edge_progress(f.edge, 5000);
    WAIT_FOR(f.edge, f.edge->words.enforced == 5000);
    cr_assert_eq(f.edge->words.n_registrations, 1, "the stream is still the first");
    fake_edge_cut(f.node); /* also a new connection goes by the one that was good */
    WAIT_FOR(f.edge, f.edge->words.n_registrations == 2);
    ready(&f);
    cr_assert(permits(&f));
    end(&f);
}
