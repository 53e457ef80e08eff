/* Grants in bulk: request -> approve, IN_FLIGHT at once, each next step started by the callback of the one before. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bench/lapse_bench.h"

#define IN_FLIGHT 64
#define TIMEOUT_MS 30000

struct making {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct lapse_client *requester, *approver;
    uint32_t n, started, ended;
    bench_id *ids;
    struct lapse_error error; /* the first */
};

struct step {
    struct making *making;
    uint32_t index;
};

static void begin_next(struct making *making);

static void end_step(struct step *step, const struct lapse_error *error)
{
    struct making *making = step->making;
    pthread_mutex_lock(&making->lock);
    if (error->code != LAPSE_OK && making->error.code == LAPSE_OK)
        making->error = *error;
    making->ended++;
    pthread_cond_signal(&making->changed);
    pthread_mutex_unlock(&making->lock);
    free(step);
    if (error->code == LAPSE_OK)
        begin_next(making);
}

static void on_approved(void *arg, const struct lapse_mutation *result, const struct lapse_error *error)
{
    (void)result;
    end_step(arg, error);
}

static void on_requested(void *arg, const struct lapse_mutation *result, const struct lapse_error *error)
{
    struct step *step = arg;
    struct making *making = step->making;
    struct lapse_error failed;
    if (result == NULL) {
        end_step(step, error);
        return;
    }
    snprintf(making->ids[step->index], sizeof making->ids[0], "%s", result->grant.id);
    struct lapse_decision_args args = {.grant_id = making->ids[step->index], .comment = "bench"};
    if (!lapse_is_ok(lapse_approve_async(making->approver, &args, TIMEOUT_MS, on_approved, step, NULL, &failed)))
        end_step(step, &failed);
}

/* Takes the next index, if there is one left and nothing failed. */
static bool take_index(struct making *making, uint32_t *index)
{
    pthread_mutex_lock(&making->lock);
    bool taken = making->started < making->n && making->error.code == LAPSE_OK;
    if (taken)
        *index = making->started++;
    pthread_mutex_unlock(&making->lock);
    return taken;
}

static void begin_next(struct making *making)
{
    static const char *const actions[] = {"connect", "read"};
    struct lapse_error failed;
    uint32_t index;
    if (!take_index(making, &index))
        return;
    struct step *step = mem_calloc(1, sizeof *step);
    *step = (struct step){making, index};
    struct lapse_request_args args = {.subject = CLUSTER_SUBJECT,
                                      .resource = "db/prod/orders",
                                      .actions = actions,
                                      .n_actions = 2,
                                      .justification = "measuring revocation",
                                      .ticket = "BENCH-1",
                                      .duration_ms = 8LL * 3600 * 1000};
    if (!lapse_is_ok(lapse_request_async(making->requester, &args, TIMEOUT_MS, on_requested, step, NULL, &failed)))
        end_step(step, &failed);
}

static void wait_all(struct making *making)
{
    pthread_mutex_lock(&making->lock);
    while (making->ended < making->started || (making->started < making->n && making->error.code == LAPSE_OK))
        pthread_cond_wait(&making->changed, &making->lock);
    pthread_mutex_unlock(&making->lock);
}

lapse_result bench_grants_make(struct cluster *cluster, uint32_t n, bench_id *ids, struct lapse_error *error)
{
    struct making making = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .n = n, .ids = ids};
    lapse_result result = cluster_client(cluster, "dev1", 0, &making.requester, error);
    if (lapse_is_ok(result))
        result = cluster_client(cluster, "oncall", 0, &making.approver, error);
    if (lapse_is_ok(result)) {
        for (int i = 0; i < IN_FLIGHT; i++)
            begin_next(&making);
        wait_all(&making);
        if (making.error.code != LAPSE_OK)
            result = lapse_fail(error, making.error.code, "making grants: %s", making.error.message);
    }
    /* The requester first: its callbacks use the approver. */
    lapse_client_free(making.requester);
    lapse_client_free(making.approver);
    return result;
}
