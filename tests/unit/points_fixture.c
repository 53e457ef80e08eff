#include "points_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/check.h"

static void on_event(void *arg, const struct store_event *event)
{
    struct points_log *log = arg;
    if (event->type == STORE_EVENT_RECEIPTS) {
        log->evidence[log->n_evidence++] = (struct points_evidence){event->barrier->id, event->receipts.len};
        return;
    }
    cr_assert_lt(log->n, 512);
    log->types[log->n] = event->type;
    log->barriers[log->n] = event->barrier == NULL ? 0 : event->barrier->id;
    log->revisions[log->n++] = event->revision;
    if (event->point != NULL)
        log->point = *event->point;
    if (event->barrier != NULL)
        log->barrier = *event->barrier;
    if (event->grant != NULL)
        log->grant = event->grant->id;
}

struct store_outcome points_told(struct store *store, struct command command, int64_t time_ms, struct points_log *log)
{
    struct store_outcome outcome;
    memset(log, 0, sizeof *log);
    store_apply(store, &command, time_ms, on_event, log, &outcome);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    return outcome;
}

struct command points_bind(const char *member, uint32_t roles, const char *scope)
{
    struct command command = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = roles};
    command.member = slice_str(member);
    command.scope = slice_str(scope);
    return command;
}

void points_activate_on(struct store *store, uint64_t number, const char *resource)
{
    struct command command = fixture_request(number);
    command.terms.resource = slice_str(resource);
    fixture_must(store, command, T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, number, "user:app1"), T0);
}

void points_activate(struct store *store, uint64_t number)
{
    points_activate_on(store, number, "db/prod/orders");
}

/* The barrier's id. */
uint64_t points_revoke(struct store *store, uint64_t number)
{
    return fixture_must(store, fixture_about(COMMAND_REVOKE, number, "user:ops"), T0 + 1).revision;
}

struct barrier points_barrier(const struct store *store, uint64_t id)
{
    struct barrier barrier;
    cr_assert(store_barrier_get(store, id, &barrier));
    return barrier;
}

struct command points_end(uint64_t instance, enum point_end how)
{
    return (struct command){.type = COMMAND_END_POINT, .instance = fixture_random_id(instance), .count = (uint32_t)how};
}

void points_finish(struct store *store)
{
    struct lapse_error error = {0};
    struct buf bytes = fixture_snapshot(store, 1000);
    struct store *restored = fixture_restore(buf_slice(&bytes), 1000, NULL, &error);
    cr_assert_not_null(restored, "%s", error.message);
    cr_assert(fixture_same_digest(store, restored));
    struct buf again = fixture_snapshot(restored, 4096);
    cr_assert(slice_equal(buf_slice(&bytes), buf_slice(&again)));
    buf_free(&bytes);
    buf_free(&again);
    store_free(restored);
    store_free(store);
}

struct command points_session(enum command_type type, uint64_t id, uint64_t instance, uint64_t grant)
{
    return (struct command){.type = type,
                            .principal = slice_str("user:ep"),
                            .grant = grant == 0 ? (struct grant_id){{0}} : fixture_id(grant),
                            .instance = fixture_random_id(instance),
                            .session = fixture_random_id(id),
                            .text = type == COMMAND_SESSION_BEGIN ? slice_str("sshd pts/3") : (struct slice){0}};
}

struct store *points_store(uint32_t n)
{
    struct store *store = fixture_store(NULL);
    char id[32], principal[32];
    fixture_must(store, points_bind("user:e*", ROLE_ENFORCER, ""), T0);
    for (uint32_t i = 0; i < n; i++) {
        struct command command = fixture_register(id, 1000 + i, i % 2 == 0 ? "db/*" : "db/prod/*");
        (void)snprintf(id, sizeof id, "edge-%u", i);
        (void)snprintf(principal, sizeof principal, "user:e%u", i / LIMIT_POINTS_PER_PRINCIPAL);
        command.text = slice_str(id);
        command.principal = slice_str(principal);
        fixture_must(store, command, T0);
    }
    return store;
}
