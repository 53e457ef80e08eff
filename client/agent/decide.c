#include "client/agent/decide.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "client/agent/tally.h"

struct agent_decider {
    struct lapse_guard *guard;
    pthread_rwlock_t lock; /* guards `maps` */
    struct agent_maps maps;
    struct tally tally;
};

struct agent_decider *agent_decider_new(struct lapse_guard *guard, struct agent_maps *maps)
{
    struct agent_decider *decider = mem_calloc(1, sizeof *decider);
    decider->guard = guard;
    CHECK(pthread_rwlock_init(&decider->lock, NULL) == 0);
    agent_decider_set_maps(decider, maps);
    return decider;
}

void agent_decider_free(struct agent_decider *decider)
{
    if (decider == NULL)
        return;
    CHECK(pthread_rwlock_destroy(&decider->lock) == 0);
    agent_maps_free(&decider->maps);
    free(decider);
}

void agent_decider_set_maps(struct agent_decider *decider, struct agent_maps *maps)
{
    struct agent_maps old;
    CHECK(pthread_rwlock_wrlock(&decider->lock) == 0);
    old = decider->maps;
    decider->maps = *maps;
    CHECK(pthread_rwlock_unlock(&decider->lock) == 0);
    *maps = (struct agent_maps){0};
    agent_maps_free(&old);
}

struct lapse_guard *agent_decider_guard(const struct agent_decider *decider)
{
    return decider->guard;
}

/* ---- Answers */

/* Who has to show another credential hears which one: RFC 6750 for tokens. NULL: nothing would help but another grant.
 */
static const char *challenge_of(const struct agent_question *question, const char *reason)
{
    bool bad = strcmp(reason, "BAD_TOKEN") == 0 || strcmp(reason, "UNKNOWN_TOKEN") == 0 ||
               (question->has_token && strcmp(reason, "PAST_DEADLINE") == 0);
    if (bad)
        return "Bearer realm=\"lapse\", error=\"invalid_token\"";
    if (strcmp(reason, "NO_SUBJECT") != 0)
        return NULL;
    return question->takes_token ? "Bearer realm=\"lapse\"" : "Lapse realm=\"lapse\"";
}

/* The one place where an answer becomes final. */
static void settle(struct agent_decider *decider, const struct agent_question *question, struct agent_answer *answer,
                   bool permit, const char *reason)
{
    int64_t now_us = clock_boot_us();
    answer->permit = answer->decision.permit = permit;
    answer->waits = false;
    answer->reason = reason;
    answer->challenge = permit ? NULL : challenge_of(question, reason);
    answer->status = permit ? 200 : answer->challenge != NULL ? 401 : 403;
    if (!question->has_token)
        memcpy(answer->decision.subject, question->subject, sizeof answer->decision.subject);
    if (!permit)
        answer->decision.valid_for_ms = 0;
    bool logged = tally_count(&decider->tally, reason, now_us - answer->began_us, now_us);
    if (permit)
        log_debug("permitted", LOG_STR("subject", answer->decision.subject), LOG_STR("resource", question->resource),
                  LOG_STR("action", question->action), LOG_STR("grant", answer->decision.grant));
    else if (logged)
        log_info("denied", LOG_STR("reason", reason), LOG_STR("detail", answer->detail),
                 LOG_STR("subject", answer->decision.subject), LOG_STR("resource", question->resource),
                 LOG_STR("action", question->action), LOG_STR("grant", answer->decision.grant));
}

static void begin(struct agent_answer *answer)
{
    *answer = (struct agent_answer){.reason = "OTHER", .status = 403, .began_us = clock_boot_us()};
    answer->decision.staleness_ms = -1;
}

static const char *refusal_name(enum agent_refusal refusal)
{
    static const char *const names[] = {
        "", "BAD_REQUEST", "NO_MAP", "NO_SUBJECT", "NO_VALUE", "UNCLEAR_VALUE", "BAD_VALUE", "NO_ACTION", "BAD_TOKEN"};
    CHECK(refusal != AGENT_ASKS && (size_t)refusal < ARRAY_LEN(names));
    return names[refusal];
}

static struct lapse_guard_query query_of(const struct agent_question *question)
{
    struct lapse_guard_query query = {.subject = question->subject,
                                      .resource = question->resource,
                                      .action = question->action,
                                      .spiffe_id = question->spiffe_id,
                                      .address = question->address};
    if (question->has_certificate)
        query.certificate_sha256 =
            (struct lapse_bytes){question->certificate_sha256, sizeof question->certificate_sha256};
    if (question->has_token)
        query.token_sha256 = (struct lapse_bytes){question->token_sha256, sizeof question->token_sha256};
    return query;
}

/* `question` was checked. */
static void check(struct agent_decider *decider, const struct agent_question *question, struct agent_answer *answer)
{
    struct lapse_guard_query query = query_of(question);
    bool permit = lapse_guard_check(decider->guard, &query, &answer->decision);
    bool behind = answer->decision.revision < question->revision;
    bool uses = !permit && strcmp(answer->decision.verdict, "USES") == 0;
    answer->waits = behind || uses;
    if (!answer->waits)
        settle(decider, question, answer, permit, answer->decision.verdict);
}

void agent_decide(struct agent_decider *decider, const struct agent_request *request, struct agent_question *question,
                  struct agent_answer *answer)
{
    begin(answer);
    CHECK(pthread_rwlock_rdlock(&decider->lock) == 0);
    enum agent_refusal refusal = agent_maps_ask(&decider->maps, request, question, answer->detail);
    CHECK(pthread_rwlock_unlock(&decider->lock) == 0);
    if (refusal == AGENT_ASKS)
        check(decider, question, answer);
    else
        settle(decider, question, answer, false, refusal_name(refusal));
}

void agent_decide_question(struct agent_decider *decider, const struct agent_question *question,
                           struct agent_answer *answer)
{
    begin(answer);
    enum agent_refusal refusal = agent_question_check(question, answer->detail);
    if (refusal == AGENT_ASKS)
        check(decider, question, answer);
    else
        settle(decider, question, answer, false, refusal_name(refusal));
}

static void deny(struct agent_decider *decider, const struct agent_question *question, struct agent_answer *answer,
                 const char *reason, const struct lapse_error *why)
{
    (void)snprintf(answer->detail, sizeof answer->detail, "%.*s", AGENT_DETAIL_SIZE - 1, why->message);
    settle(decider, question, answer, false, reason);
}

void agent_decide_waiting(struct agent_decider *decider, const struct agent_question *question,
                          struct agent_answer *answer)
{
    struct lapse_error error;
    struct lapse_guard_query query = query_of(question);
    if (question->revision > 0 &&
        !lapse_is_ok(lapse_guard_wait_revision(decider->guard, question->revision, LIMIT_AGENT_WAIT_MS, &error))) {
        deny(decider, question, answer, "BEHIND", &error);
        return;
    }
    if (lapse_is_ok(lapse_guard_use(decider->guard, &query, LIMIT_AGENT_WAIT_MS, &answer->decision, &error)))
        settle(decider, question, answer, answer->decision.permit, answer->decision.verdict);
    else
        deny(decider, question, answer, "NOT_KNOWN", &error);
}

void agent_decide_busy(struct agent_decider *decider, const struct agent_question *question,
                       struct agent_answer *answer)
{
    settle(decider, question, answer, false, "BUSY");
}

/* ---- Metrics */

lapse_result agent_metrics_render(struct agent_decider *decider, struct buf *out)
{
    struct lapse_guard_status status;
    lapse_guard_get_status(decider->guard, &status);
    const struct {
        const char *name, *type, *help;
        int64_t value;
    } rows[] = {
        {"deciding", "gauge", "1 while the guard decides; 0: it denies everything",
         status.state == LAPSE_GUARD_DECIDING},
        {"state", "gauge", "1 starting, 2 deciding, 3 stale, 4 fenced, 5 failed", status.state},
        {"staleness_milliseconds", "gauge", "Since the cluster was last heard; -1: never", status.staleness_ms},
        {"valid_for_milliseconds", "gauge", "How long the guard may still decide", status.valid_for_ms},
        {"revision", "gauge", "Revision of the cache", (int64_t)status.revision},
        {"grants", "gauge", "Grants in the cache", (int64_t)status.grants},
        {"sessions", "gauge", "Open sessions", (int64_t)status.sessions},
        {"resyncs_total", "counter", "Snapshots taken again", (int64_t)status.resyncs},
        {"reconnects_total", "counter", "Connections to the cluster lost", (int64_t)status.reconnects},
        {"registrations_total", "counter", "Instances registered", (int64_t)status.registrations},
    };
    lapse_result result = tally_render(&decider->tally, out);
    for (size_t i = 0; i < ARRAY_LEN(rows) && lapse_is_ok(result); i++)
        result =
            buf_printf(out, "# HELP lapse_agent_%s %s\n# TYPE lapse_agent_%s %s\nlapse_agent_%s %lld\n", rows[i].name,
                       rows[i].help, rows[i].name, rows[i].type, rows[i].name, (long long)rows[i].value);
    return result;
}
