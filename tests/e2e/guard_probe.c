/* guard-probe: an enforcement point for tests. It opens a guard by liblapse and asks it the same questions over and
 * over, as fast as it is told to, and leaves a record that survives its own kill -9.
 *
 *   guard-probe --endpoints E --certificate C --key K --authorities A --id ID --scope S... --slots FILE
 *               [--lease-ms N] [--session-end-ms N] [--use-share N] [--pause-us N] [--end-sessions-when-stale]
 *
 * Each question that is asked for good ("watch") has a slot of 64 bytes in FILE, which is mapped: when the latest check
 * that permitted it *began*, and how often it was asked. A revocation that has returned OK is wrong if a slot holds a
 * later beginning. The clock is CLOCK_MONOTONIC, which all processes of a machine share.
 *
 * Commands come on standard input, a line each; every answer and all that happens meanwhile is an object of JSON on a
 * line of standard output, with its kind and "at_ns". Words are separated by one space.
 *
 *   watch NAME SUBJECT RESOURCE ACTION    {"kind": "watch", "slot": N}; from now on "change" when its decision changes
 *   check SUBJECT RESOURCE ACTION         {"kind": "check", "permit": ..., "verdict": ..., ...}
 *   wait REVISION MS                      {"kind": "wait", "code": ..., "message": ...}
 *   session GRANT DESCRIPTION             {"kind": "session", "number": N or 0, "message": ...}
 *   end NUMBER                            ends that session of itself
 *   hold | release [FAILURE]              sessions whose grants end are kept running, until "release" ends them
 *   spend THREADS SUBJECT RESOURCE ACTION begins to spend uses without a pause
 *   rest                                  {"kind": "rest", "permits": N, "denials": N, "unknown": N}
 *   status                                {"kind": "status", ...}
 *   quit                                  closes the guard, with its goodbye, and ends; so does the end of the input */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "client/lapse_guard.h"

#define WATCHES_MAX 4096u
#define SESSIONS_MAX 1024u
#define SPENDERS_MAX 16u
#define WORDS_MAX 6u
#define TEXT_MAX 256u

struct slot {
    _Atomic(int64_t) permit_began_ns, permit_ended_ns; /* of the latest check that permitted */
    _Atomic(int64_t) permit_began_boot_ns;             /* the same by CLOCK_BOOTTIME */
    _Atomic(int64_t) asked_ns;                         /* beginning of the latest check that has returned */
    _Atomic(uint64_t) permits, denials;
    uint64_t unused[2];
};
_Static_assert(sizeof(struct slot) == 64, "tests/e2e/probe.py reads it");

struct question {
    char name[TEXT_MAX], subject[TEXT_MAX], resource[TEXT_MAX], action[TEXT_MAX];
    const char *verdict; /* of the latest check; NULL: none yet */
    bool permit;
};

struct session {
    struct lapse_guard_session *handle; /* NULL: ended */
    bool ending;
};

struct spender {
    struct probe *probe;
    pthread_t thread;
    uint64_t permits, denials, unknown;
};

struct probe {
    struct lapse_guard *guard;
    struct lapse_guard_options options;
    const char *scope[8], *slots_path;
    long pause_us;
    struct slot *slots;
    struct question questions[WATCHES_MAX], spent;
    _Atomic(uint32_t) n_questions;
    _Atomic(bool) stops, rests;
    pthread_t hammer;
    struct spender spenders[SPENDERS_MAX];
    uint32_t n_spenders;
    pthread_mutex_t lock; /* sessions */
    struct session sessions[SESSIONS_MAX];
    uint32_t n_sessions;
    bool holds;
};

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    CHECK(clock_gettime(clock, &now) == 0);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Takes the object. */
static void say(const char *kind, json_t *object)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    CHECK(object != NULL);
    json_object_set_new(object, "kind", json_string(kind));
    json_object_set_new(object, "at_ns", json_integer(clock_ns(CLOCK_MONOTONIC)));
    pthread_mutex_lock(&lock);
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    pthread_mutex_unlock(&lock);
    json_decref(object);
}

static void die(const char *what)
{
    fprintf(stderr, "guard-probe: %s\n", what);
    exit(64);
}

/* ---- Questions that are asked for good */

static struct lapse_guard_query query_of(const struct question *question)
{
    return (struct lapse_guard_query){
        .subject = question->subject, .resource = question->resource, .action = question->action};
}

static json_t *json_decision(const struct lapse_guard_decision *decision)
{
    return json_pack("{s:b, s:s, s:s, s:I, s:I, s:I}", "permit", decision->permit, "verdict", decision->verdict,
                     "grant", decision->grant, "revision", (json_int_t)decision->revision, "staleness_ms",
                     (json_int_t)decision->staleness_ms, "valid_for_ms", (json_int_t)decision->valid_for_ms);
}

static void tell_change(const struct question *question, const struct lapse_guard_decision *decision, int64_t began_ns,
                        int64_t began_boot_ns)
{
    json_t *change = json_decision(decision);
    json_object_set_new(change, "name", json_string(question->name));
    json_object_set_new(change, "began_ns", json_integer(began_ns));
    json_object_set_new(change, "began_boot_ns", json_integer(began_boot_ns));
    say("change", change);
}

static void note(struct slot *slot, bool permit, int64_t began_ns, int64_t began_boot_ns)
{
    if (permit) {
        slot->permit_began_boot_ns = began_boot_ns;
        slot->permit_began_ns = began_ns;
        slot->permit_ended_ns = clock_ns(CLOCK_MONOTONIC);
        slot->permits++;
    } else {
        slot->denials++;
    }
    slot->asked_ns = began_ns;
}

/* The clocks are read before the check: what counts is when it began. */
static void ask(struct probe *probe, uint32_t i)
{
    struct question *question = &probe->questions[i];
    struct lapse_guard_query query = query_of(question);
    struct lapse_guard_decision decision;
    int64_t began_boot_ns = clock_ns(CLOCK_BOOTTIME), began_ns = clock_ns(CLOCK_MONOTONIC);
    bool permit = lapse_guard_check(probe->guard, &query, &decision);
    note(&probe->slots[i], permit, began_ns, began_boot_ns);
    if (question->verdict != NULL && question->permit == permit && strcmp(question->verdict, decision.verdict) == 0)
        return;
    question->verdict = decision.verdict;
    question->permit = permit;
    tell_change(question, &decision, began_ns, began_boot_ns);
}

static void *hammer(void *arg)
{
    struct probe *probe = arg;
    const struct timespec pause = {.tv_sec = probe->pause_us / 1000000, .tv_nsec = probe->pause_us % 1000000 * 1000};
    while (!probe->stops) {
        uint32_t n = probe->n_questions;
        for (uint32_t i = 0; i < n; i++)
            ask(probe, i);
        if (probe->pause_us > 0)
            nanosleep(&pause, NULL);
    }
    return NULL;
}

static void fill(struct question *question, char *const words[])
{
    snprintf(question->subject, TEXT_MAX, "%s", words[0]);
    snprintf(question->resource, TEXT_MAX, "%s", words[1]);
    snprintf(question->action, TEXT_MAX, "%s", words[2]);
}

static void cmd_watch(struct probe *probe, char *const words[])
{
    uint32_t i = probe->n_questions;
    if (i == WATCHES_MAX)
        die("too many questions");
    snprintf(probe->questions[i].name, TEXT_MAX, "%s", words[0]);
    fill(&probe->questions[i], words + 1);
    probe->n_questions = i + 1;
    say("watch", json_pack("{s:i}", "slot", (int)i));
}

static void cmd_check(struct probe *probe, char *const words[])
{
    const struct lapse_guard_query query = {.subject = words[0], .resource = words[1], .action = words[2]};
    struct lapse_guard_decision decision;
    (void)lapse_guard_check(probe->guard, &query, &decision);
    say("check", json_decision(&decision));
}

static void cmd_wait(struct probe *probe, char *const words[])
{
    struct lapse_error error = {.code = LAPSE_OK};
    uint64_t revision = strtoull(words[0], NULL, 10);
    if (lapse_is_ok(lapse_guard_wait_revision(probe->guard, revision, (uint32_t)atol(words[1]), &error)))
        say("wait", json_pack("{s:i}", "code", 0));
    else
        say("wait", json_pack("{s:i, s:s}", "code", (int)error.code, "message", error.message));
}

static void cmd_status(struct probe *probe, char *const words[])
{
    (void)words;
    struct lapse_guard_status status;
    lapse_guard_get_status(probe->guard, &status);
    say("status",
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "state",
                  lapse_guard_state_name(status.state), "message", status.message, "endpoint", status.endpoint,
                  "revision", (json_int_t)status.revision, "staleness_ms", (json_int_t)status.staleness_ms,
                  "valid_for_ms", (json_int_t)status.valid_for_ms, "grants", (json_int_t)status.grants, "sessions",
                  (json_int_t)status.sessions, "resyncs", (json_int_t)status.resyncs, "reconnects",
                  (json_int_t)status.reconnects, "registrations", (json_int_t)status.registrations));
}

/* ---- Sessions */

/* The handle is taken under the lock and ended without it: the guard may wait for its own callback, which takes it. */
static void end_session(struct probe *probe, struct session *session, const char *failure)
{
    pthread_mutex_lock(&probe->lock);
    struct lapse_guard_session *handle = session->handle;
    session->handle = NULL;
    pthread_mutex_unlock(&probe->lock);
    if (handle != NULL)
        lapse_guard_session_ended(handle, failure);
}

static void on_end_session(void *arg, struct lapse_guard_session *handle, const char *grant_id, const char *reason)
{
    struct probe *probe = arg;
    struct session *session = lapse_guard_session_data(handle);
    pthread_mutex_lock(&probe->lock);
    session->handle = handle;
    session->ending = true;
    bool holds = probe->holds;
    pthread_mutex_unlock(&probe->lock);
    say("end_session", json_pack("{s:i, s:s, s:s}", "number", (int)(session - probe->sessions) + 1, "grant", grant_id,
                                 "reason", reason));
    if (!holds)
        end_session(probe, session, NULL);
}

static void cmd_session(struct probe *probe, char *const words[])
{
    struct lapse_guard_session *handle;
    struct lapse_error error;
    if (probe->n_sessions == SESSIONS_MAX)
        die("too many sessions");
    struct session *session = &probe->sessions[probe->n_sessions];
    if (!lapse_is_ok(lapse_guard_session_begin(probe->guard, words[0], words[1], session, &handle, &error))) {
        say("session", json_pack("{s:i, s:s}", "number", 0, "message", error.message));
        return;
    }
    pthread_mutex_lock(&probe->lock);
    if (!session->ending)
        session->handle = handle;
    pthread_mutex_unlock(&probe->lock);
    say("session", json_pack("{s:i}", "number", (int)++probe->n_sessions));
}

static void cmd_end(struct probe *probe, char *const words[])
{
    long number = atol(words[0]);
    if (number < 1 || (uint32_t)number > probe->n_sessions)
        die("no such session");
    end_session(probe, &probe->sessions[number - 1], NULL);
}

static void set_holds(struct probe *probe, bool holds)
{
    pthread_mutex_lock(&probe->lock);
    probe->holds = holds;
    pthread_mutex_unlock(&probe->lock);
}

static void cmd_hold(struct probe *probe, char *const words[])
{
    (void)words;
    set_holds(probe, true);
    say("hold", json_object());
}

static void cmd_release(struct probe *probe, char *const words[])
{
    set_holds(probe, false);
    for (uint32_t i = 0; i < probe->n_sessions; i++) {
        pthread_mutex_lock(&probe->lock);
        bool ending = probe->sessions[i].ending;
        pthread_mutex_unlock(&probe->lock);
        if (ending)
            end_session(probe, &probe->sessions[i], words[0]);
    }
    say("release", json_object());
}

/* ---- Uses */

static void *spend(void *arg)
{
    struct spender *spender = arg;
    const struct lapse_guard_query query = query_of(&spender->probe->spent);
    while (!spender->probe->rests) {
        struct lapse_guard_decision decision;
        struct lapse_error error;
        if (!lapse_is_ok(lapse_guard_use(spender->probe->guard, &query, 5000, &decision, &error)))
            spender->unknown++;
        else if (decision.permit)
            spender->permits++;
        else
            spender->denials++;
    }
    return NULL;
}

static void cmd_spend(struct probe *probe, char *const words[])
{
    long n = atol(words[0]);
    if (probe->n_spenders > 0 || n < 1 || n > (long)SPENDERS_MAX)
        die("spend with 1 to 16 threads, once until rest");
    fill(&probe->spent, words + 1);
    probe->rests = false;
    for (; probe->n_spenders < (uint32_t)n; probe->n_spenders++) {
        struct spender *spender = &probe->spenders[probe->n_spenders];
        *spender = (struct spender){.probe = probe};
        CHECK(pthread_create(&spender->thread, NULL, spend, spender) == 0);
    }
    say("spend", json_object());
}

static void cmd_rest(struct probe *probe, char *const words[])
{
    (void)words;
    uint64_t permits = 0, denials = 0, unknown = 0;
    probe->rests = true;
    for (uint32_t i = 0; i < probe->n_spenders; i++) {
        CHECK(pthread_join(probe->spenders[i].thread, NULL) == 0);
        permits += probe->spenders[i].permits;
        denials += probe->spenders[i].denials;
        unknown += probe->spenders[i].unknown;
    }
    probe->n_spenders = 0;
    say("rest", json_pack("{s:I, s:I, s:I}", "permits", (json_int_t)permits, "denials", (json_int_t)denials, "unknown",
                          (json_int_t)unknown));
}

/* ---- Commands */

static const struct command {
    const char *name;
    uint32_t words; /* that it needs */
    void (*run)(struct probe *probe, char *const words[]);
} commands[] = {
    {"watch", 4, cmd_watch},   {"check", 3, cmd_check},     {"wait", 2, cmd_wait},   {"session", 2, cmd_session},
    {"end", 1, cmd_end},       {"hold", 0, cmd_hold},       {"spend", 4, cmd_spend}, {"rest", 0, cmd_rest},
    {"status", 0, cmd_status}, {"release", 0, cmd_release},
};

/* False: quit. */
static bool obey(struct probe *probe, char *line)
{
    char *words[WORDS_MAX + 1] = {0}, *rest = line;
    uint32_t n = 0;
    line[strcspn(line, "\n")] = '\0';
    while (n < WORDS_MAX && (words[n] = strsep(&rest, " ")) != NULL)
        n++;
    if (strcmp(words[0], "quit") == 0)
        return false;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(words[0], commands[i].name) == 0 && n > commands[i].words) {
            commands[i].run(probe, words + 1);
            return true;
        }
    die("no such command, or words are missing");
    return false;
}

static void on_state(void *arg, enum lapse_guard_state state, const char *message)
{
    (void)arg;
    say("state", json_pack("{s:s, s:s}", "state", lapse_guard_state_name(state), "message", message));
}

static void map_slots(struct probe *probe)
{
    int fd = open(probe->slots_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, WATCHES_MAX * sizeof(struct slot)) != 0)
        die("the file of slots can't be made");
    probe->slots = mmap(NULL, WATCHES_MAX * sizeof(struct slot), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(probe->slots != MAP_FAILED);
    close(fd);
}

static void run(struct probe *probe)
{
    static const struct lapse_guard_callbacks callbacks = {.on_state = on_state, .on_end_session = on_end_session};
    struct lapse_error error;
    char line[WORDS_MAX * TEXT_MAX];
    if (!lapse_is_ok(lapse_guard_open(&probe->options, &callbacks, probe, &probe->guard, &error)))
        die(error.message);
    CHECK(pthread_create(&probe->hammer, NULL, hammer, probe) == 0);
    while (fgets(line, sizeof line, stdin) != NULL && obey(probe, line))
        continue;
    probe->stops = probe->rests = true;
    CHECK(pthread_join(probe->hammer, NULL) == 0);
    for (uint32_t i = 0; i < probe->n_spenders; i++)
        CHECK(pthread_join(probe->spenders[i].thread, NULL) == 0);
    lapse_guard_close(probe->guard);
}

enum {
    OPT_ENDPOINTS = 1,
    OPT_CERTIFICATE,
    OPT_KEY,
    OPT_AUTHORITIES,
    OPT_ID,
    OPT_SCOPE,
    OPT_SLOTS,
    OPT_LEASE,
    OPT_END,
    OPT_SHARE,
    OPT_PAUSE,
    OPT_STALE
};

static const struct option flags[] = {{"endpoints", 1, NULL, OPT_ENDPOINTS},
                                      {"certificate", 1, NULL, OPT_CERTIFICATE},
                                      {"key", 1, NULL, OPT_KEY},
                                      {"authorities", 1, NULL, OPT_AUTHORITIES},
                                      {"id", 1, NULL, OPT_ID},
                                      {"scope", 1, NULL, OPT_SCOPE},
                                      {"slots", 1, NULL, OPT_SLOTS},
                                      {"lease-ms", 1, NULL, OPT_LEASE},
                                      {"session-end-ms", 1, NULL, OPT_END},
                                      {"use-share", 1, NULL, OPT_SHARE},
                                      {"pause-us", 1, NULL, OPT_PAUSE},
                                      {"end-sessions-when-stale", 0, NULL, OPT_STALE},
                                      {0}};

static void take(struct probe *probe, int flag)
{
    struct lapse_guard_options *options = &probe->options;
    switch (flag) {
    case OPT_ENDPOINTS:
        options->client.endpoints = optarg;
        break;
    case OPT_CERTIFICATE:
        options->client.certificate = optarg;
        break;
    case OPT_KEY:
        options->client.key = optarg;
        break;
    case OPT_AUTHORITIES:
        options->client.authorities = optarg;
        break;
    case OPT_ID:
        options->id = optarg;
        break;
    case OPT_SLOTS:
        probe->slots_path = optarg;
        break;
    case OPT_LEASE:
        options->lease_ms = (uint32_t)atol(optarg);
        break;
    case OPT_END:
        options->session_end_ms = (uint32_t)atol(optarg);
        break;
    case OPT_SHARE:
        options->use_share = (uint32_t)atol(optarg);
        break;
    case OPT_PAUSE:
        probe->pause_us = atol(optarg);
        break;
    case OPT_STALE:
        options->end_sessions_when_stale = true;
        break;
    case OPT_SCOPE:
        if (options->n_scope < 8)
            probe->scope[options->n_scope++] = optarg;
        break;
    default:
        die("see the head of tests/e2e/guard_probe.c");
    }
}

int main(int argc, char **argv)
{
    static struct probe probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .pause_us = 200};
    int flag;
    probe.options.scope = probe.scope;
    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1)
        take(&probe, flag);
    if (probe.slots_path == NULL)
        die("--slots is missing");
    map_slots(&probe);
    run(&probe);
    return 0;
}
