/* A guard, its application and a cluster of one node (fake_enforcement.h), for the guard's tests. */
#ifndef LAPSE_TESTS_GUARD_FIXTURE_H
#define LAPSE_TESTS_GUARD_FIXTURE_H

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
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
    uint32_t n_states, n_grants, n_ends, n_heads;
    uint8_t head[LAPSE_GUARD_HEAD_MAX]; /* the last one */
    size_t head_len;
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

static inline void on_state(void *arg, enum lapse_guard_state state, const char *message)
{
    struct seen *seen = arg;
    cr_assert_not_null(message);
    pthread_mutex_lock(&seen->lock);
    seen->state = state;
    seen->n_states++;
    pthread_mutex_unlock(&seen->lock);
}

static inline void on_grant(void *arg, const struct lapse_grant *grant)
{
    struct seen *seen = arg;
    cr_assert_neq(*grant->id, '\0');
    pthread_mutex_lock(&seen->lock);
    seen->n_grants++;
    pthread_mutex_unlock(&seen->lock);
}

static inline void on_end_session(void *arg, struct lapse_guard_session *session, const char *grant_id,
                                  const char *reason)
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

static inline void on_head(void *arg, struct lapse_bytes head)
{
    struct seen *seen = arg;
    pthread_mutex_lock(&seen->lock);
    cr_assert_leq(head.len, sizeof seen->head);
    memcpy(seen->head, head.data, head.len);
    seen->head_len = head.len;
    seen->n_heads++;
    pthread_mutex_unlock(&seen->lock);
}

static const struct lapse_guard_callbacks guard_callbacks = {on_state, on_end_session, on_grant, on_head};

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
static inline void prepare(struct fixture *f)
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

static inline void open_guard(struct fixture *f)
{
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(lapse_guard_open(&f->options, &guard_callbacks, &f->seen, &f->guard, &error)), "%s",
              error.message);
}

static inline void ready(struct fixture *f)
{
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(lapse_guard_wait_ready(f->guard, 60000, &error)), "%s", error.message);
}

static inline void begin(struct fixture *f)
{
    prepare(f);
    open_guard(f);
    ready(f);
}

static inline void end(struct fixture *f)
{
    WAIT_FOR(f->edge, true); /* for what the nodes' threads have written */
    cr_assert_eq(f->edge->words.n_false, 0, "it confirmed what it had not been told");
    lapse_guard_close(f->guard);
    fake_edge_free(f->edge);
}

static inline struct lapse_guard_decision ask(struct fixture *f, const char *action)
{
    struct lapse_guard_query query = {
        "user:dev1@example.com", "db/prod/orders", action, NULL, {NULL, 0}, NULL, {NULL, 0}};
    struct lapse_guard_decision decision;
    cr_assert_eq(lapse_guard_check(f->guard, &query, &decision), decision.permit);
    cr_assert_eq(decision.permit, strcmp(decision.verdict, "ALLOWS") == 0);
    cr_assert(decision.permit || decision.valid_for_ms == 0);
    cr_assert_geq(decision.valid_for_ms, 0);
    return decision;
}

static inline bool permits(struct fixture *f)
{
    return ask(f, "read").permit;
}

static inline const char *verdict(struct fixture *f)
{
    return ask(f, "read").verdict;
}

static inline void wait_revision(struct fixture *f, uint64_t revision)
{
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(lapse_guard_wait_revision(f->guard, revision, 60000, &error)), "%s", error.message);
}

static inline struct lapse_guard_status status_of(struct fixture *f)
{
    struct lapse_guard_status status;
    lapse_guard_get_status(f->guard, &status);
    return status;
}

#endif
