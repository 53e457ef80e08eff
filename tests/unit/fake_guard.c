#include "tests/unit/fake_guard.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

void fake_guard_init(struct lapse_guard *guard)
{
    memset(guard, 0, sizeof *guard);
    guard->state = LAPSE_GUARD_DECIDING;
    guard->revision = 7;
}

struct fake_grant *fake_guard_grant(struct lapse_guard *guard, const char *subject, const char *resource,
                                    const char *action)
{
    CHECK(guard->n_grants < FAKE_GUARD_GRANTS);
    struct fake_grant *grant = &guard->grants[guard->n_grants++];
    *grant = (struct fake_grant){subject, resource, action, "01M0000000000000000000TEST", .counts = false};
    return grant;
}

static struct fake_grant *find(struct lapse_guard *guard, const struct lapse_guard_query *query)
{
    for (uint32_t i = 0; i < guard->n_grants; i++) {
        struct fake_grant *grant = &guard->grants[i];
        bool by_token = query->token_sha256.len > 0;
        if (by_token && (grant->token == NULL || memcmp(grant->token, query->token_sha256.data, 32) != 0))
            continue;
        if (by_token && *query->subject == '\0')
            return grant;
        if (strcmp(grant->subject, query->subject) == 0 && strcmp(grant->resource, query->resource) == 0 &&
            strcmp(grant->action, query->action) == 0)
            return grant;
    }
    return NULL;
}

static bool bound_elsewhere(const struct fake_grant *grant, const struct lapse_guard_query *query)
{
    const struct lapse_bytes *shown = &query->certificate_sha256;
    return (grant->spiffe_id != NULL && strcmp(grant->spiffe_id, query->spiffe_id) != 0) ||
           (grant->address != NULL && strcmp(grant->address, query->address) != 0) ||
           (grant->certificate_sha256 != NULL &&
            (shown->len != 32 || memcmp(grant->certificate_sha256, shown->data, 32) != 0));
}

static const char *verdict_of(const struct lapse_guard *guard, const struct fake_grant *grant,
                              const struct lapse_guard_query *query)
{
    if (guard->state != LAPSE_GUARD_DECIDING)
        return lapse_guard_state_name(guard->state);
    if (guard->locked)
        return "LOCKED";
    if (grant == NULL)
        return query->token_sha256.len > 0 ? "UNKNOWN_TOKEN" : "NO_GRANT";
    return bound_elsewhere(grant, query) ? "BINDING_MISSING" : "ALLOWS";
}

static bool decide(struct lapse_guard *guard, const struct lapse_guard_query *query, bool use,
                   struct lapse_guard_decision *decision)
{
    struct fake_grant *grant = find(guard, query);
    const char *verdict = verdict_of(guard, grant, query);
    if (strcmp(verdict, "ALLOWS") == 0 && grant->counts && (!use || grant->uses == 0))
        verdict = use ? "USED_UP" : "USES";
    bool permit = strcmp(verdict, "ALLOWS") == 0;
    if (permit && grant->counts)
        grant->uses--;
    *decision = (struct lapse_guard_decision){.permit = permit,
                                              .verdict = verdict,
                                              .epoch = 1,
                                              .revision = guard->revision,
                                              .staleness_ms = 12,
                                              .valid_for_ms = permit ? 2900 : 0};
    if (grant != NULL)
        (void)snprintf(decision->grant, sizeof decision->grant, "%s", grant->id);
    if (grant != NULL && query->token_sha256.len > 0)
        (void)snprintf(decision->subject, sizeof decision->subject, "%s", grant->subject);
    return permit;
}

bool lapse_guard_check(struct lapse_guard *guard, const struct lapse_guard_query *query,
                       struct lapse_guard_decision *decision)
{
    return decide(guard, query, false, decision);
}

lapse_result lapse_guard_use(struct lapse_guard *guard, const struct lapse_guard_query *query, uint32_t timeout_ms,
                             struct lapse_guard_decision *decision, struct lapse_error *error)
{
    (void)timeout_ms;
    atomic_fetch_add(&guard->holding, 1);
    while (atomic_load(&guard->hold))
        (void)usleep(1000);
    if (guard->use_fails)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "no node answers");
    (void)decide(guard, query, true, decision);
    return lapse_ok();
}

lapse_result lapse_guard_wait_revision(struct lapse_guard *guard, uint64_t revision, uint32_t timeout_ms,
                                       struct lapse_error *error)
{
    (void)timeout_ms;
    if (revision > 1000)
        return lapse_fail(error, LAPSE_DEADLINE_EXCEEDED, "revision %llu was not seen", (unsigned long long)revision);
    guard->revision = revision > guard->revision ? revision : guard->revision;
    return lapse_ok();
}

lapse_result lapse_guard_reload(struct lapse_guard *guard, struct lapse_error *error)
{
    atomic_fetch_add(&guard->reloads, 1);
    return guard->reload_fails ? lapse_fail(error, LAPSE_UNAUTHENTICATED, "as the test says") : lapse_ok();
}

const char *lapse_guard_state_name(enum lapse_guard_state state)
{
    static const char *const names[] = {"", "STARTING", "DECIDING", "STALE", "FENCED", "FAILED"};
    return names[state];
}

void lapse_guard_get_status(struct lapse_guard *guard, struct lapse_guard_status *status)
{
    *status = (struct lapse_guard_status){.state = guard->state,
                                          .message = "as the test says",
                                          .endpoint = "",
                                          .revision = guard->revision,
                                          .grants = guard->n_grants};
}
