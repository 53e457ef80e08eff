/* What enforcement points cost in the store: revocations with none and with many of them, receipts, ends, sessions, and
 * the pauses of a freeze with as much of it all as there may be. One core, no I/O.
 *
 *   store-points-bench
 *
 * What is measured is store_apply alone, with a callback for its events: the thread's processor time. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "store/store.h"

#define START_MS 1767225600000LL
#define POINTS 10000u
#define REVOCATIONS 100000u

static uint64_t next_grant;

static int64_t now_ns(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void on_event(void *arg, const struct store_event *event)
{
    *(uint64_t *)arg += event->revision;
}

static uint64_t apply(struct store *store, const struct command *command)
{
    struct store_outcome outcome;
    uint64_t sum = 0;
    store_apply(store, command, START_MS, on_event, &sum, &outcome);
    if (outcome.error.code != LAPSE_OK)
        check_failed(outcome.error.message, __FILE__, __LINE__);
    return outcome.revision;
}

static struct random_id id_of(uint64_t number)
{
    struct random_id id = {{0}};
    memcpy(id.bytes, &number, sizeof number);
    return id;
}

static struct grant_id grant_of(uint64_t number)
{
    struct grant_id id = {{1}};
    memcpy(id.bytes + 8, &number, sizeof number);
    return id;
}

static struct store *new_store(void)
{
    static const char *const members[] = {"user:req", "user:app", "user:e*"};
    static const uint32_t roles[] = {ROLE_REQUESTER, ROLE_APPROVER, ROLE_ENFORCER};
    struct store *store = store_new(NULL);
    struct command init = {.type = COMMAND_INIT, .epoch = 1, .cluster = slice_str("bench")};
    init.member = slice_str("user:ops");
    (void)apply(store, &init);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        struct command bind = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = roles[i]};
        bind.member = slice_str(members[i]);
        (void)apply(store, &bind);
    }
    return store;
}

static struct grant_id activate(struct store *store)
{
    struct command request = {.type = COMMAND_REQUEST, .principal = slice_str("user:req")};
    request.grant = grant_of(++next_grant);
    request.terms.subject = slice_str("user:dev");
    request.terms.resource = slice_str("db/prod/orders");
    request.terms.actions[0] = slice_str("read");
    request.terms.n_actions = 1;
    request.terms.justification = slice_str("restore one order");
    request.terms.duration_ms = 3600000;
    (void)apply(store, &request);
    struct command approve = {.type = COMMAND_APPROVE, .principal = slice_str("user:app"), .grant = request.grant};
    (void)apply(store, &approve);
    return request.grant;
}

static uint64_t revoke(struct store *store, struct grant_id grant)
{
    struct command command = {.type = COMMAND_REVOKE, .principal = slice_str("user:ops"), .grant = grant};
    return apply(store, &command);
}

/* All in scope of the grants; `own` gives each a scope of its own. */
static void add_points(struct store *store, uint32_t n, bool own)
{
    for (uint32_t i = 0; i < n; i++) {
        char id[32], principal[32], scope[64];
        (void)snprintf(id, sizeof id, "edge-%u", i);
        (void)snprintf(principal, sizeof principal, "user:e%u", i / LIMIT_POINTS_PER_PRINCIPAL);
        (void)snprintf(scope, sizeof scope, own ? "db/prod/* web/shop/%u/*" : "db/prod/*", i);
        struct command command = {.type = COMMAND_REGISTER,
                                  .principal = slice_str(principal),
                                  .text = slice_str(id),
                                  .instance = id_of(i + 1),
                                  .scope = slice_str(scope),
                                  .lease_ms = 3000};
        (void)apply(store, &command);
    }
}

static void measure_revocations(const char *what, struct store *store, uint32_t n)
{
    struct grant_id *grants = mem_alloc(n * sizeof grants[0]);
    int64_t longest = 0, all = 0;
    for (uint32_t i = 0; i < n; i++)
        grants[i] = activate(store);
    for (uint32_t i = 0; i < n; i++) {
        int64_t from = now_ns();
        (void)revoke(store, grants[i]);
        int64_t took = now_ns() - from;
        all += took;
        longest = took > longest ? took : longest;
    }
    printf("%-38s %9lld ns each, longest %.3f ms\n", what, (long long)(all / n), (double)longest / 1e6);
    free(grants);
}

/* Closes one barrier after the other, as many receipts in a command as there may be. */
static void measure_receipts(struct store *store)
{
    struct barrier barrier;
    struct buf bytes;
    int64_t all = 0, longest = 0;
    uint32_t n = 0;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    while (store_barrier_next_open(store, 0, &barrier))
        for (uint32_t i = 0; i < POINTS;) {
            buf_clear(&bytes);
            for (uint32_t k = 0; k < LIMIT_RECEIPTS_PER_COMMAND && i < POINTS; k++, i++, n++) {
                struct receipt receipt = {barrier.id, id_of(i + 1), RECEIPT_ENFORCED, START_MS, {0}};
                CHECK(lapse_is_ok(receipts_add(&bytes, &receipt)));
            }
            struct command command = {.type = COMMAND_RECEIPTS, .receipts = buf_slice(&bytes)};
            int64_t from = now_ns();
            (void)apply(store, &command);
            int64_t took = now_ns() - from;
            all += took;
            longest = took > longest ? took : longest;
        }
    printf("%-38s %9lld ns each, longest command %.3f ms\n", "a receipt", (long long)(all / n), (double)longest / 1e6);
    buf_free(&bytes);
}

static void measure_end(const char *what, struct store *store, uint64_t instance)
{
    struct command command = {.type = COMMAND_END_POINT, .instance = id_of(instance), .count = POINT_END_LAPSED};
    int64_t from = now_ns();
    (void)apply(store, &command);
    printf("%-38s %9.3f ms\n", what, (double)(now_ns() - from) / 1e6);
}

static void add_sessions(struct store *store, uint32_t n, uint64_t instance, struct grant_id grant)
{
    for (uint32_t i = 0; i < n; i++) {
        struct command command = {.type = COMMAND_SESSION_BEGIN,
                                  .principal = slice_str("user:e0"),
                                  .text = slice_str("sshd pts/3"),
                                  .grant = grant,
                                  .instance = id_of(instance),
                                  .session = id_of(instance << 32 | (i + 1))};
        (void)apply(store, &command);
    }
}

static void measure_freeze(struct store *store)
{
    struct store_counts counts;
    struct buf bytes;
    bool done = false;
    store_counts(store, &counts);
    buf_init(&bytes, 1u << 30);
    int64_t t0 = now_ns();
    struct store_view *view = store_freeze(store);
    int64_t t1 = now_ns();
    while (!done)
        CHECK(lapse_is_ok(store_view_read(view, 65536, &bytes, &done)));
    int64_t t2 = now_ns();
    store_view_free(view);
    int64_t t3 = now_ns();
    struct store *restored = NULL;
    struct store_restore *restore = store_restore_begin(NULL);
    CHECK(lapse_is_ok(store_restore_feed(restore, buf_slice(&bytes), NULL)));
    CHECK(lapse_is_ok(store_restore_end(restore, &restored, NULL)));
    int64_t t4 = now_ns();
    printf(
        "%llu points, %llu open barriers, %llu sessions: freeze %.3f ms, read %.0f ms (%.1f MB), free %.3f ms, restore "
        "%.0f ms\n",
        (unsigned long long)counts.points, (unsigned long long)counts.barriers, (unsigned long long)counts.sessions,
        (double)(t1 - t0) / 1e6, (double)(t2 - t1) / 1e6, (double)bytes.len / 1e6, (double)(t3 - t2) / 1e6,
        (double)(t4 - t3) / 1e6);
    buf_free(&bytes);
    store_free(restored);
}

static void with_no_points(void)
{
    struct store *store = new_store();
    measure_revocations("revoke, no point registered", store, REVOCATIONS);
    store_free(store);
}

static void with_points(bool own)
{
    struct store *store = new_store();
    add_points(store, POINTS, own);
    measure_revocations(own ? "revoke, 10,000 points, 10,000 scopes" : "revoke, 10,000 points, one scope", store, 90);
    if (own)
        measure_freeze(store);
    measure_receipts(store);
    store_free(store);
}

static void with_few_points(void)
{
    struct store *store = new_store();
    add_points(store, 15, false);
    measure_revocations("revoke, 15 points", store, 60000);
    measure_end("end of a point, 60,000 open barriers", store, 1);
    struct grant_id grant = activate(store);
    for (uint64_t i = 2; i < 6; i++)
        add_sessions(store, LIMIT_SESSIONS_PER_POINT, i, grant);
    measure_freeze(store);
    measure_end("the same, and 65,536 sessions", store, 2);
    store_free(store);
}

int main(void)
{
    with_no_points();
    with_points(false);
    with_points(true);
    with_few_points();
    return 0;
}
