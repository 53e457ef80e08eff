/* lapse watch: events as lines, until the count, the grant's end, a signal, or what can't be mended.
 *
 * Callbacks print on the client's thread; the main thread waits for a signal: WAKE from `done`, or one from outside.
 * That ends it with code 0: that is how a watch without an end is meant to end. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/filter.h"
#include "client/cli/output.h"
#include "client/cli/value.h"

#define WAKE SIGUSR1

struct watching {
    struct cli *cli;
    bool counted;
    int64_t left;         /* events to print when counted */
    const char *until_id; /* or NULL */
    pthread_t main;
    pthread_mutex_t lock;
    bool done;
    struct lapse_error why; /* code OK: what was asked for has come */
};

static void done(struct watching *w, const struct lapse_error *why)
{
    pthread_mutex_lock(&w->lock);
    if (!w->done) {
        w->done = true;
        w->why = why == NULL ? (struct lapse_error){.code = LAPSE_OK} : *why;
        pthread_kill(w->main, WAKE);
    }
    pthread_mutex_unlock(&w->lock);
}

/* Nothing is printed after the end, although callbacks may still come. */
static bool is_done(struct watching *w)
{
    pthread_mutex_lock(&w->lock);
    bool ended = w->done;
    pthread_mutex_unlock(&w->lock);
    return ended;
}

static void json_line(struct watching *w, uint64_t epoch, const char *kind, json_t *body)
{
    json_t *line = json_object();
    json_object_set_new(line, "epoch", json_integer((json_int_t)epoch));
    json_object_set_new(line, kind, body);
    output_json_line(w->cli->out, line);
    if (ferror(w->cli->out))
        done(w, &(struct lapse_error){LAPSE_UNKNOWN, "can't write the output"});
}

/* One of what governs: its name, and what was said about it. */
static void print_named(FILE *out, const struct lapse_event *event)
{
    const char *named[][2] = {
        {event->policy.name, ""},
        {event->lock.name, *event->lock.lifted != '\0' ? event->lock.lifted : event->lock.reason},
        {event->eligibility.name, *event->eligibility.ended != '\0' ? event->eligibility.ended : event->eligibility.member},
        {event->campaign.name, event->campaign.reason},
        {event->review.name, event->review.comment}};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        if (*named[i][0] != '\0') {
            output_text(out, named[i][0]);
            fputs("  ", out);
            output_text(out, named[i][1]);
        }
}

/* What an event about no grant is about. */
static void print_object(FILE *out, const struct lapse_event *event)
{
    char words[1100];
    fputc(' ', out);
    if (*event->roles.member != '\0') {
        output_join(event->roles.roles, event->roles.n_roles, words, sizeof words);
        output_text(out, event->roles.member);
        fprintf(out, ": %s", *words == '\0' ? "no roles" : words);
    } else if (*event->point.id != '\0') {
        output_join(event->point.scope, event->point.n_scope, words, sizeof words);
        output_text(out, event->point.id);
        fprintf(out, "  %s%s%s", words, *event->point.ended == '\0' ? "" : "  ", event->point.ended);
    } else if (event->sweep.id != 0) {
        fprintf(out, "revocation %" PRIu64 ", %" PRIu64 " grants ended  ", event->sweep.id, event->sweep.grants);
        output_text(out, event->sweep.reason);
    } else {
        print_named(out, event);
    }
}

/* What happened to a grant's enforcement, behind the grant. */
static void print_enforcement(FILE *out, const struct lapse_event *event)
{
    const struct lapse_barrier *barrier = &event->barrier;
    if (barrier->id != 0)
        fprintf(out,
                "  revocation %" PRIu64 ": %" PRIu32 " enforced, %" PRIu32 " failed, %" PRIu32 " lapsed, %" PRIu32
                " left, after %" PRId64 " ms",
                barrier->id, barrier->enforced, barrier->failed, barrier->lapsed, barrier->left,
                barrier->done_ms - barrier->time_ms);
    if (*event->session.point != '\0') {
        fputs("  at ", out);
        output_text(out, event->session.point);
        fputs("  ", out);
        output_text(out, event->session.description);
    }
}

void output_event(FILE *out, const struct lapse_event *event)
{
    char clock[32], words[512];
    value_format_clock(event->time_ms, clock, sizeof clock);
    fprintf(out, "%s  %8" PRIu64 "  %-16s ", clock, event->revision, lapse_event_type_name(event->type));
    if (*event->grant.id != '\0') {
        output_join(event->grant.actions, event->grant.n_actions, words, sizeof words);
        fprintf(out, " %s  ", event->grant.id);
        output_text(out, event->grant.subject);
        fputs("  ", out);
        output_text(out, event->grant.resource);
        fprintf(out, "  %s", words);
    } else {
        print_object(out, event);
    }
    print_enforcement(out, event);
    if (*event->grant.reason != '\0') {
        fputs("  ", out);
        output_text(out, event->grant.reason);
    }
    fputc('\n', out);
    fflush(out);
}

static void on_event(void *arg, uint64_t epoch, const struct lapse_event *event)
{
    struct watching *w = arg;
    if (is_done(w))
        return;
    if (cli_output(w->cli) == CLI_JSON)
        json_line(w, epoch, "event", output_json(&schema_event, event));
    else if (cli_output(w->cli) == CLI_ID)
        fprintf(w->cli->out, "%s\n", event->grant.id);
    else
        output_event(w->cli->out, event);
    fflush(w->cli->out);
    bool ended = w->until_id != NULL && strcmp(w->until_id, event->grant.id) == 0 &&
                 lapse_grant_state_is_ended(event->grant.state);
    if (ended || (w->counted && --w->left <= 0))
        done(w, NULL);
}

static void on_resync(void *arg, const char *reason)
{
    struct watching *w = arg;
    json_t *body = NULL;
    if (is_done(w))
        return;
    if (cli_output(w->cli) == CLI_JSON) {
        body = json_object();
        json_object_set_new(body, "reason", json_string(reason));
        json_line(w, 0, "resync", body);
    } else if (cli_output(w->cli) == CLI_TABLE) {
        fputs("resync: ", w->cli->out);
        output_text(w->cli->out, reason);
        fputc('\n', w->cli->out);
        fflush(w->cli->out);
    }
}

static void on_snapshot_grant(void *arg, const struct lapse_grant *grant)
{
    struct watching *w = arg;
    if (is_done(w))
        return;
    if (cli_output(w->cli) == CLI_JSON) {
        json_line(w, 0, "snapshot_grant", output_json(&schema_grant, grant));
    } else if (cli_output(w->cli) == CLI_ID) {
        fprintf(w->cli->out, "%s\n", grant->id);
    } else {
        char clock[32], words[512];
        value_format_clock(grant->requested_ms, clock, sizeof clock);
        output_join(grant->actions, grant->n_actions, words, sizeof words);
        fprintf(w->cli->out, "%s  %8" PRIu64 "  is %-11s %s  ", clock, grant->revision,
                lapse_grant_state_name(grant->state), grant->id);
        output_text(w->cli->out, grant->subject);
        fputs("  ", w->cli->out);
        output_text(w->cli->out, grant->resource);
        fprintf(w->cli->out, "  %s\n", words);
    }
}

static json_t *mark_json(uint64_t revision, int64_t time_ms)
{
    json_t *body = json_object();
    json_object_set_new(body, "revision", json_integer((json_int_t)revision));
    json_object_set_new(body, "time_ms", json_integer(time_ms));
    return body;
}

static void on_snapshot_end(void *arg, uint64_t epoch, uint64_t revision, int64_t time_ms)
{
    struct watching *w = arg;
    if (is_done(w))
        return;
    if (cli_output(w->cli) == CLI_JSON)
        json_line(w, epoch, "snapshot_end", mark_json(revision, time_ms));
    else if (cli_output(w->cli) == CLI_TABLE)
        fprintf(w->cli->out, "-- as of %" PRIu64 "/%" PRIu64 " --\n", epoch, revision);
    fflush(w->cli->out);
    if (w->counted && w->left <= 0)
        done(w, NULL);
}

static void on_progress(void *arg, uint64_t epoch, uint64_t revision, int64_t time_ms)
{
    struct watching *w = arg;
    if (!cli_given(w->cli, "progress") || is_done(w))
        return;
    if (cli_output(w->cli) == CLI_JSON)
        json_line(w, epoch, "progress", mark_json(revision, time_ms));
    else if (cli_output(w->cli) == CLI_TABLE)
        fprintf(w->cli->out, "-- at %" PRIu64 "/%" PRIu64 " --\n", epoch, revision);
    fflush(w->cli->out);
}

static void on_status(void *arg, const struct lapse_watch_status *status)
{
    struct watching *w = arg;
    if (!status->connected && !is_done(w))
        fprintf(stderr, "lapse: not connected, trying again: %s\n", status->message);
}

static void on_end(void *arg, const struct lapse_error *why)
{
    done(arg, why);
}

static const struct lapse_watch_callbacks callbacks = {
    on_event, on_resync, on_snapshot_grant, on_snapshot_end, on_progress, on_status, on_end};

static bool parse_point(const char *text, uint64_t *epoch, uint64_t *revision)
{
    char rest;
    return strspn(text, "0123456789/") == strlen(text) &&
           sscanf(text, "%" SCNu64 "/%" SCNu64 "%c", epoch, revision, &rest) == 2 && *epoch > 0;
}

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, WAKE);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

/* Until `done` was called, by a callback (which sends WAKE) or for a signal from outside. The client's own thread takes
 * no signals. */
static void wait_until_done(struct watching *w, const sigset_t *set)
{
    int signal = WAKE;
    while (!is_done(w))
        if (sigwait(set, &signal) == 0 && signal != WAKE)
            done(w, NULL);
}

static int watch_run(struct watching *w, const struct lapse_watch_options *options)
{
    struct lapse_watch *watch;
    struct lapse_error error;
    sigset_t set;
    w->main = pthread_self();
    block_signals(&set);
    if (!lapse_is_ok(lapse_watch_start(w->cli->client, options, &callbacks, w, &watch, &error)))
        return cli_fail(&error);
    wait_until_done(w, &set);
    lapse_watch_stop(watch);
    /* Callbacks use `w` until the client is gone. */
    lapse_client_free(w->cli->client);
    w->cli->client = NULL;
    return w->why.code == LAPSE_OK ? CLI_OK : cli_fail(&w->why);
}

int cmd_watch(struct cli *cli)
{
    struct watching w = {.cli = cli,
                         .counted = cli_given(cli, "count"),
                         .left = cli_number(cli, "count"),
                         .until_id = cli_text(cli, "until-ended"),
                         .lock = PTHREAD_MUTEX_INITIALIZER};
    struct lapse_watch_options options = {.snapshot = cli_given(cli, "snapshot")};
    struct cli_filter filter;
    if (cli_given(cli, "from") && !parse_point(cli_text(cli, "from"), &options.epoch, &options.revision))
        return cli_usage_error(cli, "--from is EPOCH/REVISION, for example 1/42");
    if (cli_given(cli, "from") && options.snapshot)
        return cli_usage_error(cli, "--from and --snapshot exclude each other");
    if (w.counted && w.left == 0 && !options.snapshot)
        return cli_usage_error(cli, "--count 0 makes sense only with --snapshot");
    cli_filter_take(cli, &filter);
    options.scope = filter.filter;
    return watch_run(&w, &options);
}
