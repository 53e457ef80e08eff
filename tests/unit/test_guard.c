/* lapse_guard_*: an enforcement point against nodes that revoke, lag, lie, fall silent and die (fake_enforcement.h).
 * What must hold in each case: it never permits what ended, it confirms only what it enforces, and it comes back by
 * itself. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "client/guard_internal.h"
#include "tests/unit/fake_enforcement.h"
#include "tests/unit/tls_fixture.h"

/* What the callbacks saw. */
struct seen {
    pthread_mutex_t lock;
    enum lapse_guard_state state;
    uint32_t n_states, n_grants, n_ends;
    char reason[32], ended_grant[27];
    bool ends_at_once; /* on_end_session ends them */
    const char *failure;
    struct lapse_guard_session *last;
};

struct fixture {
    struct fake_edge *edge;
    struct fake_edge_node *node;
    struct lapse_guard *guard;
    struct lapse_guard_options options;
    const char *scope[1];
    char *certificate, *key, *authorities;
    struct seen seen;
};

static void on_state(void *arg, enum lapse_guard_state state, const char *message)
{
    struct seen *seen = arg;
    cr_assert_not_null(message);
    pthread_mutex_lock(&seen->lock);
    seen->state = state;
    seen->n_states++;
    pthread_mutex_unlock(&seen->lock);
}

static void on_grant(void *arg, const struct lapse_grant *grant)
{
    struct seen *seen = arg;
    cr_assert_neq(*grant->id, '\0');
    pthread_mutex_lock(&seen->lock);
    seen->n_grants++;
    pthread_mutex_unlock(&seen->lock);
}

static void on_end_session(void *arg, struct lapse_guard_session *session, const char *grant_id, const char *reason)
{
    struct seen *seen = arg;
    pthread_mutex_lock(&seen->lock);
    seen->n_ends++;
    seen->last = session;
    snprintf(seen->reason, sizeof seen->reason, "%s", reason);
    snprintf(seen->ended_grant, sizeof seen->ended_grant, "%s", grant_id);
    bool ends = seen->ends_at_once;
    pthread_mutex_unlock(&seen->lock);
    cr_assert_eq(lapse_guard_session_data(session), arg);
    if (ends)
        lapse_guard_session_ended(session, seen->failure);
}

static const struct lapse_guard_callbacks callbacks = {on_state, on_end_session, on_grant};

#define WAIT_FOR(where, condition)                                                                                     \
    do {                                                                                                               \
        bool met_;                                                                                                     \
        do {                                                                                                           \
            pthread_mutex_lock(&(where)->lock);                                                                        \
            met_ = (condition);                                                                                        \
            pthread_mutex_unlock(&(where)->lock);                                                                      \
            if (!met_)                                                                                                 \
                usleep(1000);                                                                                          \
        } while (!met_);                                                                                               \
    } while (0)
#define SET(edge, member, value)                                                                                       \
    do {                                                                                                               \
        pthread_mutex_lock(&(edge)->lock);                                                                             \
        (edge)->member = (value);                                                                                      \
        pthread_mutex_unlock(&(edge)->lock);                                                                           \
    } while (0)
#define WAIT_UNTIL(condition)                                                                                          \
    while (!(condition))                                                                                               \
    usleep(1000)

/* A cluster of one node, where grant 1 is active. */
static void prepare(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->seen.lock, NULL);
    f->edge = fake_edge_new();
    f->node = fake_edge_start(f->edge, 0);
    fake_edge_put(f->edge, &(struct fake_grant){.number = 1, .state = GRANT_ACTIVE});
    f->scope[0] = "db/*";
    struct tls_files files = fixture_files(f->edge->pki, "edge");
    f->options = (struct lapse_guard_options){
        .client = {.endpoints = fake_edge_endpoints(f->edge),
                   .certificate = files.certificate,
                   .key = files.key,
                   .authorities = files.authorities,
                   .backoff_max_ms = 50},
        .id = "edge-eu-1",
        .scope = f->scope,
        .n_scope = 1,
    };
}

static void open_guard(struct fixture *f)
{
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(lapse_guard_open(&f->options, &callbacks, &f->seen, &f->guard, &error)), "%s", error.message);
}

static void ready(struct fixture *f)
{
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(lapse_guard_wait_ready(f->guard, 60000, &error)), "%s", error.message);
}

static void begin(struct fixture *f)
{
    prepare(f);
    open_guard(f);
    ready(f);
}

static void end(struct fixture *f)
{
    lapse_guard_close(f->guard);
    fake_edge_free(f->edge);
}

static struct lapse_guard_decision ask(struct fixture *f, const char *action)
{
    struct lapse_guard_query query = {"user:dev1@example.com", "db/prod/orders", action, NULL, {NULL, 0}, NULL};
    struct lapse_guard_decision decision;
    cr_assert_eq(lapse_guard_check(f->guard, &query, &decision), decision.permit);
    cr_assert_eq(decision.permit, strcmp(decision.verdict, "ALLOWS") == 0);
    cr_assert(decision.permit || decision.valid_for_ms == 0);
    cr_assert_geq(decision.valid_for_ms, 0);
    return decision;
}

static bool permits(struct fixture *f)
{
    return ask(f, "read").permit;
}

static const char *verdict(struct fixture *f)
{
    return ask(f, "read").verdict;
}

static void wait_revision(struct fixture *f, uint64_t revision)
{
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(lapse_guard_wait_revision(f->guard, revision, 60000, &error)), "%s", error.message);
}

static struct lapse_guard_status status_of(struct fixture *f)
{
    struct lapse_guard_status status;
    lapse_guard_get_status(f->guard, &status);
    return status;
}

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

Test(guard, a_session_is_reported_and_holds_back_the_confirmation)
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

Test(guard, sessions_below_an_ended_grant_end_too)
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

Test(guard, a_session_that_does_not_end_is_reported_as_failed)
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

Test(guard, the_application_can_say_why_a_session_would_not_end)
{
    struct fixture f;
    begin(&f);
    f.seen.ends_at_once = true;
    f.seen.failure = "kill: no such process";
    (void)enter(&f, 1);
    uint64_t revision = fake_edge_put(f.edge, &(struct fake_grant){.number = 1, .state = GRANT_REVOKED});
    WAIT_FOR(f.edge, f.edge->words.enforced == revision);
    cr_assert_str_eq(f.edge->words.failure, "kill: no such process");
    end(&f);
}

Test(guard, sessions_end_at_the_deadline_without_a_network)
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

Test(guard, a_session_that_a_snapshot_does_not_know_is_ended_before_anything_above_it_is_confirmed)
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

Test(guard, open_sessions_are_told_again_on_the_next_stream)
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

Test(guard, stale_sessions_are_ended_if_asked_for)
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

Test(guard, each_use_of_a_counted_grant_is_spent_at_the_cluster)
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

Test(guard, a_share_of_uses_costs_one_round_trip)
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

Test(guard, a_use_is_repeated_until_its_outcome_is_known)
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

Test(guard, a_grant_without_a_count_needs_no_round_trip)
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

/* ---- Bounds and crowds */

Test(guard, grants_beyond_its_bound_are_denied_and_it_says_so)
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

Test(guard, G5_no_check_that_begins_after_the_confirmation_permits)
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

Test(guard, checks_and_sessions_of_many_threads_go_on_while_snapshots_come)
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
