/* lapse offboard: one step, then its evidence, read back from the events as they were committed.
 *
 *   LOCKED  OFFBOARDED  ROLES_CHANGED...  ELIGIBILITY_ENDED...  SWEEP_BEGAN  REVOKED, CANCELLED ...  SWEEP_ENDED
 *   '------------- one command: all of them -------------'      '---- among other events: only the grants' ends
 *
 * The lock's revision is where the events begin; the outcome names the sweep, whose end is the last of them. Callbacks
 * print on the client's thread while the main thread waits. */
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "client/cli/enforcement.h"
#include "client/cli/output.h"
#include "client/lapse_governance.h"
#include "client/schema.h"
#include "store/lock.h"

struct evidence {
    struct cli *cli;
    uint64_t sweep; /* the revision of SWEEP_BEGAN */
    char by[LIMIT_PRINCIPAL + 1];
    uint64_t revoked, cancelled;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
    struct lapse_error why; /* code OK: all of it was printed */
};

static void done(struct evidence *evidence, enum lapse_code code, const char *message)
{
    pthread_mutex_lock(&evidence->lock);
    if (!evidence->done) {
        evidence->done = true;
        evidence->why.code = code;
        snprintf(evidence->why.message, sizeof evidence->why.message, "%s", message);
        pthread_cond_signal(&evidence->ended);
    }
    pthread_mutex_unlock(&evidence->lock);
}

static bool is_done(struct evidence *evidence)
{
    pthread_mutex_lock(&evidence->lock);
    bool ended = evidence->done;
    pthread_mutex_unlock(&evidence->lock);
    return ended;
}

/* Behind the beginning of the sweep other commands' events come, too. */
static bool belongs(const struct evidence *evidence, const struct lapse_event *event)
{
    if (event->revision <= evidence->sweep || event->sweep.id == evidence->sweep)
        return true;
    bool ended = event->type == LAPSE_EVENT_REVOKED || event->type == LAPSE_EVENT_CANCELLED;
    return ended && strcmp(event->grant.ended_by, evidence->by) == 0;
}

static void print(struct evidence *evidence, uint64_t epoch, const struct lapse_event *event)
{
    FILE *out = evidence->cli->out;
    if (cli_output(evidence->cli) == CLI_JSON) {
        json_t *line = json_pack("{s:I, s:o}", "epoch", (json_int_t)epoch, "event", output_json(&schema_event, event));
        output_json_line(out, line);
    } else if (cli_output(evidence->cli) == CLI_TABLE) {
        output_event(out, event);
    } else if (*event->grant.id != '\0') {
        fprintf(out, "%s\n", event->grant.id);
    }
}

static void on_event(void *arg, uint64_t epoch, const struct lapse_event *event)
{
    struct evidence *evidence = arg;
    if (is_done(evidence) || !belongs(evidence, event))
        return;
    print(evidence, epoch, event);
    evidence->revoked += event->type == LAPSE_EVENT_REVOKED;
    evidence->cancelled += event->type == LAPSE_EVENT_CANCELLED;
    if (event->type == LAPSE_EVENT_SWEEP_ENDED && event->sweep.id == evidence->sweep)
        done(evidence, LAPSE_OK, "");
}

static void on_resync(void *arg, const char *reason)
{
    (void)reason;
    done(arg, LAPSE_UNAVAILABLE,
         "it is offboarded, but its events are not in the nodes' memory any more: read them with `lapse audit query`");
}

static void on_end(void *arg, const struct lapse_error *why)
{
    done(arg, why->code, why->message);
}

static const struct lapse_watch_callbacks callbacks = {.on_event = on_event, .on_resync = on_resync, .on_end = on_end};

static void wait_until_done(struct evidence *evidence, uint32_t timeout_ms)
{
    struct timespec until = clock_moment_after(timeout_ms);
    int waited = 0;
    pthread_mutex_lock(&evidence->lock);
    while (!evidence->done && waited == 0)
        waited = pthread_cond_timedwait(&evidence->ended, &evidence->lock, &until);
    pthread_mutex_unlock(&evidence->lock);
    done(evidence, LAPSE_DEADLINE_EXCEEDED,
         "it is offboarded; its grants are still being ended, and count as ended: `lapse watch` tells each");
}

/* `since`: the revision of the lock. */
static int collect(struct evidence *evidence, uint64_t epoch, uint64_t since)
{
    struct cli *cli = evidence->cli;
    const struct lapse_watch_options options = {.epoch = epoch, .revision = since - 1};
    struct lapse_watch *watch;
    struct lapse_error error;
    pthread_mutex_init(&evidence->lock, NULL);
    clock_condition_init(&evidence->ended);
    if (!lapse_is_ok(lapse_watch_start(cli->client, &options, &callbacks, evidence, &watch, &error)))
        return cli_fail(&error);
    wait_until_done(evidence, cli->timeout_ms);
    lapse_watch_stop(watch);
    /* Callbacks use `evidence` until the client is gone. */
    lapse_client_free(cli->client);
    cli->client = NULL;
    return evidence->why.code == LAPSE_OK ? CLI_OK : cli_fail(&evidence->why);
}

/* The lock that the offboarding has put. */
static lapse_result find_lock(struct cli *cli, struct evidence *evidence, uint64_t *since, struct lapse_error *error)
{
    char name[LOCK_NAME_SIZE + 1];
    struct lapse_list_objects_args args = {.page_size = 1, .prefix = name};
    struct lapse_lock_list list;
    snprintf(name, sizeof name, "subject:%s", cli->operands[0]);
    lapse_result result = lapse_list_locks(cli->client, &args, cli->timeout_ms, &list, error);
    if (!lapse_is_ok(result))
        return result;
    /* The name itself is the first of those that begin with it. */
    if (list.n_locks == 1 && strcmp(list.locks[0].name, name) == 0 && list.locks[0].revision < evidence->sweep) {
        *since = list.locks[0].revision;
        snprintf(evidence->by, sizeof evidence->by, "%s", list.locks[0].locked_by);
    } else {
        result = lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                            "it was offboarded, and somebody has lifted the lock since: see `lapse audit query`");
    }
    lapse_lock_list_free(&list);
    return result;
}

static void conclude(const struct evidence *evidence, const struct lapse_change *change)
{
    FILE *out = evidence->cli->out;
    if (cli_output(evidence->cli) == CLI_JSON) {
        output_json_message(out, &schema_change, change);
    } else if (cli_output(evidence->cli) == CLI_TABLE) {
        fputc('\n', out);
        output_text(out, evidence->cli->operands[0]);
        fprintf(out, " is offboarded: %" PRIu64 " grants revoked, %" PRIu64 " requests cancelled\n", evidence->revoked,
                evidence->cancelled);
        if (change->barrier.points > 0)
            enforcement_print_barrier(out, &change->barrier);
    }
}

int cmd_offboard(struct cli *cli)
{
    const struct lapse_offboard_args args = {.request_id = cli_text(cli, "request-id"),
                                             .subject = cli->operands[0],
                                             .reason = cli_text(cli, "reason"),
                                             .wait = enforcement_wait(cli)};
    struct evidence evidence = {.cli = cli};
    struct lapse_change change;
    struct lapse_error error;
    uint64_t since = 0;
    if (!lapse_is_ok(lapse_offboard(cli->client, &args, cli->timeout_ms, &change, &error)))
        return cli_fail(&error);
    evidence.sweep = change.revision;
    int code = lapse_is_ok(find_lock(cli, &evidence, &since, &error)) ? CLI_OK : cli_fail(&error);
    if (code == CLI_OK)
        code = collect(&evidence, change.epoch, since);
    if (code == CLI_OK)
        conclude(&evidence, &change);
    lapse_change_free(&change);
    return code;
}
