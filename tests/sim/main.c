/* lapse-sim: runs seeds, reports what they violate and the one command that replays it. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/sim/commit.h"
#include "tests/sim/sim.h"

#define JOBS_MAX 64

struct settings {
    uint64_t first, count;
    const struct profile *profile; /* NULL: all, in turn */
    const char *guarantee;         /* only the profiles that serve it; NULL: all */
    int64_t virtual_us;
    enum sim_break broken;
    bool trace, twice, verbose, expect_caught;
    uint32_t jobs;
    const char *program;
};

struct totals {
    uint64_t runs, failures, unequal, first_caught;
    uint64_t events, commands, acknowledged, reads, elections, early_elections, wrong_hints, snapshots, resyncs;
    uint64_t promises, permits, barriers, told, lapsed, failed_receipts;
    struct governance_counts governance;
    int64_t virtual_us;
};

static const char usage[] =
    "usage: lapse-sim [options]\n"
    "  --seeds N            run N seeds (default 100)\n"
    "  --first N            from this seed on (default 1)\n"
    "  --seed N             run this seed only\n"
    "  --profile NAME       calm, crashy, partitions, elections, disks, clocks, failover, "
    "snapshots, datagrams, members, everything, points, points-chaos,\n"
    "                       governance\n"
    "  --guarantee NAME     the profiles that serve G1, G2, G3, G4, G5, G6, G7 or G9 first\n"
    "  --virtual-seconds N  length of the eventful part (default: 5 to 15, by the seed)\n"
    "  --jobs N             processes (default 1)\n"
    "  --trace              print what happens\n"
    "  --verbose            print a line for each seed\n"
    "  --twice              run each seed twice: both runs must be equal\n"
    "  --break NAME         durable, vote, order, ring, expiry, read, lease-point, lease-node,\n"
    "                       lease-term, lease-life, admission, ack, cache-back, chain, lock: break that on purpose\n"
    "  --expect-caught      succeed when a violation is found, and fail when none is\n";

/* --- A crash inside of a run is a finding, too --- */

static char crash_note[512];

static void on_crash(int signal_number)
{
    /* Only what is safe in a handler; the length was bounded by snprintf. */
    if (write(STDOUT_FILENO, crash_note, strlen(crash_note)) < 0) {
        _exit(3);
    }
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void replay_command(const struct settings *settings, uint64_t seed, const char *profile, char *out, size_t size)
{
    char extra[96] = "";
    size_t n = 0;
    if (settings->virtual_us != 0) {
        n += (size_t)snprintf(extra, sizeof(extra), " --virtual-seconds %" PRId64, settings->virtual_us / SIM_SECOND);
    }
    if (settings->broken != BREAK_NOTHING) {
        snprintf(extra + n, sizeof(extra) - n, " --break %s", sim_break_name(settings->broken));
    }
    snprintf(out, size, "%s --seed %" PRIu64 " --profile %s%s --trace", settings->program, seed, profile, extra);
}

static void prepare_crash_note(const struct settings *settings, uint64_t seed, const struct profile *profile)
{
    char replay[256];
    replay_command(settings, seed, profile->name, replay, sizeof(replay));
    snprintf(crash_note, sizeof(crash_note), "CRASHED seed %" PRIu64 " profile %s commit %s\n  replay: %s\n", seed,
             profile->name, SIM_COMMIT, replay);
}

/* --- Runs --- */

/* Nothing but counters. */
static void add_governance(struct governance_counts *into, const struct governance_counts *from)
{
    uint64_t counters[sizeof(*into) / sizeof(uint64_t)], more[sizeof(*into) / sizeof(uint64_t)];
    memcpy(counters, into, sizeof(counters));
    memcpy(more, from, sizeof(more));
    for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
        counters[i] += more[i];
    }
    memcpy(into, counters, sizeof(counters));
}

/* The seed's profile among those asked for: in turn, so that each gets its share. */
static const struct profile *choose_profile(const struct settings *settings, uint64_t seed)
{
    if (settings->profile != NULL) {
        return settings->profile;
    }
    const struct profile *fitting[32];
    size_t n = 0;
    for (size_t i = 0; i < profile_count(); i++) {
        const struct profile *profile = profile_at(i);
        if (settings->guarantee == NULL || strcmp(profile->guarantee, settings->guarantee) == 0) {
            CHECK(n < ARRAY_LEN(fitting));
            fitting[n++] = profile;
        }
    }
    return n == 0 ? NULL : fitting[seed % n];
}

static void add_up(struct totals *totals, const struct sim_result *result)
{
    totals->runs++;
    totals->events += result->n_events;
    totals->commands += result->commands;
    totals->acknowledged += result->acknowledged;
    totals->reads += result->reads;
    totals->elections += result->elections;
    totals->early_elections += result->early_elections;
    totals->wrong_hints += result->wrong_hints;
    totals->snapshots += result->snapshots;
    totals->resyncs += result->resyncs;
    totals->promises += result->promises;
    totals->permits += result->permits;
    totals->barriers += result->barriers;
    totals->told += result->told;
    totals->lapsed += result->lapsed;
    totals->failed_receipts += result->failed_receipts;
    totals->virtual_us += result->virtual_us;
    add_governance(&totals->governance, &result->governance);
}

static void print_failure(const struct settings *settings, uint64_t seed, const struct sim_result *result)
{
    char replay[256];
    replay_command(settings, seed, result->profile, replay, sizeof(replay));
    printf("FAILED seed %" PRIu64 " profile %s commit %s\n  %s\n  replay: %s\n", seed, result->profile, SIM_COMMIT,
           result->failure, replay);
}

static void run_seed(const struct settings *settings, uint64_t seed, struct totals *totals)
{
    struct sim_options options = {.seed = seed,
                                  .profile = choose_profile(settings, seed),
                                  .virtual_us = settings->virtual_us,
                                  .broken = settings->broken,
                                  .trace = settings->trace};
    struct sim_result result, again;
    prepare_crash_note(settings, seed, options.profile);
    sim_run(&options, &result);
    add_up(totals, &result);
    if (settings->twice) {
        sim_run(&options, &again);
        if (again.trace_hash != result.trace_hash) {
            totals->unequal++;
            printf("FAILED seed %" PRIu64 " profile %s: two runs differ\n", seed, result.profile);
        }
    }
    if (settings->verbose) {
        printf("seed %" PRIu64 " %s: %" PRId64 " virtual ms, %" PRIu64 " events, %" PRIu64 " commands, %" PRIu64
               " acknowledged, %" PRIu64 " reads, %" PRIu64 " terms, %" PRIu64 " snapshots, hash %016" PRIx64 "%s\n",
               seed, result.profile, result.virtual_us / 1000, result.n_events, result.commands, result.acknowledged,
               result.reads, result.elections, result.snapshots, result.trace_hash, result.failed ? " FAILED" : "");
    }
    if (result.failed) {
        totals->failures++;
        if (totals->first_caught == 0) {
            totals->first_caught = seed;
        }
        if (!settings->expect_caught || settings->verbose) {
            print_failure(settings, seed, &result);
        }
    }
    fflush(stdout);
}

static struct totals run_share(const struct settings *settings, uint32_t job)
{
    struct totals totals = {0};
    for (uint64_t i = job; i < settings->count; i += settings->jobs) {
        run_seed(settings, settings->first + i, &totals);
        if (settings->expect_caught && totals.failures > 0) {
            break;
        }
    }
    return totals;
}

/* A child's totals come through a pipe; a child that dies counts as a failure. */
static void run_child(const struct settings *settings, uint32_t job, int out)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody runs on when the command is interrupted */
    struct totals totals = run_share(settings, job);
    ssize_t written = write(out, &totals, sizeof(totals));
    _exit(written == (ssize_t)sizeof(totals) ? 0 : 3);
}

static void merge(struct totals *into, const struct totals *from)
{
    into->runs += from->runs;
    into->failures += from->failures;
    into->unequal += from->unequal;
    into->events += from->events;
    into->commands += from->commands;
    into->acknowledged += from->acknowledged;
    into->reads += from->reads;
    into->elections += from->elections;
    into->early_elections += from->early_elections;
    into->wrong_hints += from->wrong_hints;
    into->snapshots += from->snapshots;
    into->resyncs += from->resyncs;
    into->promises += from->promises;
    into->permits += from->permits;
    into->barriers += from->barriers;
    into->told += from->told;
    into->lapsed += from->lapsed;
    into->failed_receipts += from->failed_receipts;
    into->virtual_us += from->virtual_us;
    add_governance(&into->governance, &from->governance);
    if (from->first_caught != 0 && (into->first_caught == 0 || from->first_caught < into->first_caught)) {
        into->first_caught = from->first_caught;
    }
}

static struct totals run_jobs(const struct settings *settings)
{
    struct totals totals = {0};
    int pipes[JOBS_MAX];
    pid_t children[JOBS_MAX];
    for (uint32_t job = 0; job < settings->jobs; job++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        children[job] = fork();
        CHECK(children[job] >= 0);
        if (children[job] == 0) {
            run_child(settings, job, ends[1]);
        }
        close(ends[1]);
        pipes[job] = ends[0];
    }
    for (uint32_t job = 0; job < settings->jobs; job++) {
        struct totals share = {.failures = 1};
        if (read(pipes[job], &share, sizeof(share)) != (ssize_t)sizeof(share)) {
            share = (struct totals){.failures = 1};
        }
        close(pipes[job]);
        waitpid(children[job], NULL, 0);
        merge(&totals, &share);
    }
    return totals;
}

/* --- Options --- */

static enum sim_break parse_break(const char *name)
{
    for (uint32_t i = 1; i < BREAK_COUNT; i++) {
        if (strcmp(sim_break_name(i), name) == 0) {
            return i;
        }
    }
    return BREAK_COUNT;
}

static bool parse(int argc, char **argv, struct settings *settings)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
                                            {"first", required_argument, NULL, 'f'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"profile", required_argument, NULL, 'p'},
                                            {"guarantee", required_argument, NULL, 'g'},
                                            {"virtual-seconds", required_argument, NULL, 'l'},
                                            {"jobs", required_argument, NULL, 'j'},
                                            {"trace", no_argument, NULL, 't'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {"twice", no_argument, NULL, '2'},
                                            {"break", required_argument, NULL, 'b'},
                                            {"expect-caught", no_argument, NULL, 'e'},
                                            {NULL, 0, NULL, 0}};
    int option;
    bool good = true;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'n':
            settings->count = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            settings->first = strtoull(optarg, NULL, 10);
            break;
        case 's':
            settings->first = strtoull(optarg, NULL, 10);
            settings->count = 1;
            break;
        case 'p':
            settings->profile = profile_find(optarg);
            good = good && settings->profile != NULL;
            break;
        case 'g':
            settings->guarantee = optarg;
            good = good && choose_profile(settings, 0) != NULL;
            break;
        case 'l':
            settings->virtual_us = (int64_t)strtoul(optarg, NULL, 10) * SIM_SECOND;
            break;
        case 'j':
            settings->jobs = (uint32_t)strtoul(optarg, NULL, 10);
            good = good && settings->jobs >= 1 && settings->jobs <= JOBS_MAX;
            break;
        case 't':
            settings->trace = true;
            break;
        case 'v':
            settings->verbose = true;
            break;
        case '2':
            settings->twice = true;
            break;
        case 'b':
            settings->broken = parse_break(optarg);
            good = good && settings->broken != BREAK_COUNT;
            break;
        case 'e':
            settings->expect_caught = true;
            break;
        default:
            good = false;
        }
    }
    return good && optind == argc && settings->count > 0;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void print_totals(const struct totals *totals, double seconds)
{
    printf("%" PRIu64 " runs, %" PRIu64 " failed, in %.1f s: %" PRId64 " virtual s, %" PRIu64 " events, %" PRIu64
           " commands, %" PRIu64 " acknowledged, %" PRIu64 " reads, %" PRIu64 " terms (%" PRIu64
           " early elections, %" PRIu64 " wrong hints), %" PRIu64 " snapshots installed, %" PRIu64 " resyncs\n  points: %" PRIu64 " promises, %" PRIu64 " permits, %" PRIu64
           " barriers done, %" PRIu64 " callers told, receipts: %" PRIu64 " lapsed, %" PRIu64 " failed\n",
           totals->runs, totals->failures, seconds, totals->virtual_us / SIM_SECOND, totals->events, totals->commands,
           totals->acknowledged, totals->reads, totals->elections, totals->early_elections, totals->wrong_hints,
           totals->snapshots, totals->resyncs, totals->promises,
           totals->permits, totals->barriers, totals->told, totals->lapsed, totals->failed_receipts);
    const struct governance_counts *counts = &totals->governance;
    printf("  governance: %" PRIu64 " requests, %" PRIu64 " approvals (%" PRIu64 " after others, %" PRIu64
           " automatic), %" PRIu64 " break-glass, %" PRIu64 " reviews (%" PRIu64 " overdue), %" PRIu64
           " policies, %" PRIu64 " locks, %" PRIu64 " looks at what is locked, %" PRIu64 " offboarded, %" PRIu64
           " eligibilities, %" PRIu64 " campaigns, %" PRIu64 " tokens, %" PRIu64 " allowed by token, %" PRIu64
           " sweeps for policies\n",
           counts->requests, counts->approvals, counts->several, counts->automatic, counts->break_glass,
           counts->reviews, counts->overdue, counts->policies, counts->locks, counts->denied, counts->offboarded,
           counts->eligibilities, counts->campaigns, counts->tokens, counts->token_checks, counts->disallowed);
}

int main(int argc, char **argv)
{
    struct settings settings = {.first = 1, .count = 100, .jobs = 1, .program = argv[0]};
    if (!parse(argc, argv, &settings)) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    double begun = seconds_now();
    struct totals totals = settings.jobs > 1 ? run_jobs(&settings) : run_share(&settings, 0);
    print_totals(&totals, seconds_now() - begun);
    if (settings.expect_caught) {
        printf("--break %s: %s\n", sim_break_name(settings.broken), totals.failures > 0 ? "caught" : "NOT caught");
        return totals.failures > 0 ? 0 : 1;
    }
    return totals.failures + totals.unequal > 0 ? 1 : 0;
}
