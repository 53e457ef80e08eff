/* lapse-bench SCENARIO: starts a cluster of real nodes on this machine (or uses a running one), measures, prints a
 * table, and writes JSON and plots. Everything that is particular to a scenario or a system is in its own file. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/resource.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/scenario.h"
#include "client/lapse.h"

#define EXIT_USAGE 64
/* How long a node may take to be seen dead. */
#define DEATH_NS 1000000000
#define NODE_FLAGS_MAX 16

static const struct scenario *const scenarios[] = {&scenario_revocation, &scenario_fanout,  &scenario_expiry,
                                                   &scenario_failover,   &scenario_overrun, &scenario_throughput,
                                                   &scenario_memory,     &scenario_restart, &scenario_check,
                                                   &scenario_agent,      &scenario_floor};

struct command_line {
    const struct scenario *scenario;
    const struct system_kind *kind;
    struct bench bench;
    const char *json, *plots;
    char *node_flags[NODE_FLAGS_MAX + 1];
    int n_node_flags;
};

static int usage_error(const char *format, ...) LAPSE_PRINTF(1, 2);
static int usage_error(const char *format, ...)
{
    va_list args;
    fputs("lapse-bench: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\nTry: lapse-bench --help\n", stderr);
    return EXIT_USAGE;
}

/* --- flags -------------------------------------------------------------------------------------------------------- */

/* Numbers go straight to their place. */
struct number_flag {
    const char *name;
    size_t offset; /* in struct bench_settings */
    uint32_t low, high;
    const char *help;
};

#define NUMBER(member) offsetof(struct bench_settings, member)
static const struct number_flag numbers[] = {
    {"nodes", NUMBER(nodes), 1, SYSTEM_NODES_MAX, "of the cluster; default 3"},
    {"subscribers", NUMBER(subscribers), 1, 50000, "watchers, a connection each, spread over the nodes"},
    {"connections", NUMBER(connections), 1, 50000, "floor: readers of the bare fan-out; agent: of the load"},
    {"writes", NUMBER(writes), 1, 10000000, "how many are measured"},
    {"warmup", NUMBER(warmup), 0, 1000000, "how many come before that"},
    {"rounds", NUMBER(rounds), 1, 10000, "how often"},
    {"items", NUMBER(items), 1, 2000000, "grants, keys"},
    {"in-flight", NUMBER(in_flight), 1, 4096, "writes at one time"},
    {"seconds", NUMBER(seconds), 1, 86400, "how long"},
    {"rate", NUMBER(rate), 1, 1000000, "a second, started at even distances whatever became of the earlier ones"},
    {"background", NUMBER(background), 1, 1000000, "other writes a second meanwhile"},
    {"beside", NUMBER(beside), 0, 2000000, "other items with deadlines far away"},
};

enum {
    SYSTEM = 1000,
    TUNING,
    WAIT,
    FAULT,
    VICTIM,
    BRIEF,
    JSON,
    PLOTS,
    PROGRAM,
    ENDPOINTS,
    CREDENTIALS,
    NODE_FLAG,
    KEEP,
    LIST,
    HELP,
    VERSION
};

static const struct {
    const char *name;
    int id;
    const char *argument, *help;
} words[] = {
    {"wait", WAIT, "LEVEL", "what Revoke waits for: committed, received, enforced"},
    {"fault", FAULT, "KIND", "kill, freeze or partition"},
    {"victim", VICTIM, "NODE", "leader or follower"},
    {"brief", BRIEF, NULL, "a short form, for function: its figures mean nothing"},
    {"system", SYSTEM, "NAME", "lapse (default), etcd, redis, zookeeper, nats"},
    {"tuning", TUNING, "NAME", "of the system; see --list"},
    {"program", PROGRAM, "FILE", "the server's; otherwise lapsed of this build, or what PATH has"},
    {"lapsed", PROGRAM, "FILE", "the same"},
    {"node-flag", NODE_FLAG, "FLAG", "for every node, as --node-flag=--raft-election-timeout-ms=300; may be repeated"},
    {"endpoints", ENDPOINTS, "LIST", "a running cluster instead: host:port, separated by commas"},
    {"credentials", CREDENTIALS, "DIR", "for it: ca.pem and the .pem and .key of operator, dev1, oncall and proxy1"},
    {"keep", KEEP, NULL, "leave the nodes' directory with data and logs"},
    {"json", JSON, "FILE", "the report; - for standard output"},
    {"plots", PLOTS, "DIR", "SVG plots (gnuplot)"},
    {"list", LIST, NULL, "the systems, their tunings, and whether they are here"},
    {"version", VERSION, NULL, NULL},
    {"help", HELP, NULL, NULL},
};

static void print_help(void)
{
    puts("Usage: lapse-bench SCENARIO [FLAGS]\n\nScenarios:");
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
        printf("  %-11s  %s\n%15s%s\n", scenarios[i]->name, scenarios[i]->summary, "", scenarios[i]->flags);
    puts("\nFlags of scenarios:");
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        printf("  --%-11s N  %s\n", numbers[i].name, numbers[i].help);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        char name[40];
        snprintf(name, sizeof name, "%s %s", words[i].name, words[i].argument == NULL ? "" : words[i].argument);
        if (words[i].id == SYSTEM)
            puts("\nFlags of all:");
        if (words[i].help != NULL)
            printf("  --%-19s %s\n", name, words[i].help);
    }
    fputs("\nThe nodes are processes of this machine on loopback, and write their logs to $TMPDIR (or /tmp) with "
          "fsync: what\n"
          "is measured includes that disk. Percentiles are by nearest rank. How each scenario measures: "
          "docs/benchmark.md\n"
          "\n"
          "Examples:\n"
          "  lapse-bench revocation --subscribers 300 --writes 500 --json revocation.json\n"
          "  lapse-bench revocation --system etcd --subscribers 300 --writes 500\n"
          "  lapse-bench failover --rounds 20 --plots plots\n",
          stdout);
}

static void print_systems(void)
{
    for (size_t i = 0; system_kinds[i] != NULL; i++) {
        const struct system_kind *kind = system_kinds[i];
        bool here = kind->is_here();
        printf("%-10s %s%s; tunings:", kind->name, here ? "here" : "not here, install ", here ? "" : kind->package);
        for (size_t t = 0; kind->tunings[t] != NULL; t++)
            printf(" %s", kind->tunings[t]);
        putchar('\n');
    }
}

static void options_make(struct option options[ARRAY_LEN(numbers) + ARRAY_LEN(words) + 1])
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        options[n++] = (struct option){numbers[i].name, required_argument, NULL, (int)i + 1};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        options[n++] = (struct option){words[i].name, words[i].argument == NULL ? no_argument : required_argument, NULL,
                                       words[i].id};
    options[n] = (struct option){0};
}

static int take_number(struct bench_settings *settings, const struct number_flag *flag, const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value < flag->low || value > flag->high)
        return usage_error("--%s \"%s\" is not a number from %u to %u", flag->name, text, flag->low, flag->high);
    *(uint32_t *)((char *)settings + flag->offset) = (uint32_t)value;
    return 0;
}

static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(word, *list) == 0)
            return true;
    return false;
}

static int take_choice(const char *flag, const char *value, const char *const *choices, const char **out)
{
    if (!is_one_of(value, choices))
        return usage_error("--%s \"%s\" is none of those in lapse-bench --help", flag, value);
    *out = value;
    return 0;
}

static int take_node_flag(struct command_line *line, char *value)
{
    if (line->n_node_flags == NODE_FLAGS_MAX)
        return usage_error("more than %d --node-flag", NODE_FLAGS_MAX);
    line->node_flags[line->n_node_flags++] = value;
    return 0;
}

static int take_system(struct command_line *line, const char *value)
{
    line->kind = system_find(value);
    return line->kind != NULL ? 0 : usage_error("no system \"%s\"; lapse-bench --list names them", value);
}

/* 0, or the exit code. */
static int take_word(struct command_line *line, int id, char *value)
{
    static const char *const waits[] = {"committed", "received", "enforced", NULL},
                             *const faults[] = {"kill", "freeze", "partition", NULL},
                             *const victims[] = {"leader", "follower", NULL};
    struct bench_settings *settings = &line->bench.settings;
    struct system_options *options = &line->bench.options;
    switch (id) {
    case SYSTEM:
        return take_system(line, value);
    case WAIT:
        return take_choice("wait", value, waits, &settings->wait);
    case FAULT:
        return take_choice("fault", value, faults, &settings->fault);
    case VICTIM:
        return take_choice("victim", value, victims, &settings->victim);
    case NODE_FLAG:
        return take_node_flag(line, value);
    case BRIEF:
        settings->brief = true;
        return 0;
    case KEEP:
        options->keep = true;
        return 0;
    case TUNING:
        options->tuning = value;
        return 0;
    case JSON:
        line->json = value;
        return 0;
    case PLOTS:
        line->plots = value;
        return 0;
    case PROGRAM:
        options->program = value;
        return 0;
    case ENDPOINTS:
        options->endpoints = value;
        return 0;
    case CREDENTIALS:
        options->credentials = value;
        return 0;
    default:
        return usage_error("wrong use");
    }
}

/* -1: goes on; otherwise the exit code. */
static int take_flags(struct command_line *line, int argc, char **argv)
{
    struct option options[ARRAY_LEN(numbers) + ARRAY_LEN(words) + 1];
    int id, failed = 0;
    options_make(options);
    while (failed == 0 && (id = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (id == HELP || id == 'h') {
            print_help();
            return EXIT_SUCCESS;
        }
        if (id == LIST) {
            print_systems();
            return EXIT_SUCCESS;
        }
        if (id == VERSION) {
            printf("lapse-bench %s\n", lapse_version());
            return EXIT_SUCCESS;
        }
        bool number = id >= 1 && (size_t)id <= ARRAY_LEN(numbers);
        failed = number ? take_number(&line->bench.settings, &numbers[id - 1], optarg) : take_word(line, id, optarg);
    }
    return failed != 0 ? failed : -1;
}

/* --- what goes together ------------------------------------------------------------------------------------------- */

static int check_system(const struct command_line *line)
{
    const struct system_kind *kind = line->kind;
    const struct system_options *options = &line->bench.options;
    unsigned needs = line->scenario->needs;
    const char *name = line->scenario->name;
    if ((needs & NEEDS_LAPSE) != 0 && kind != system_kinds[0])
        return usage_error("%s is about Lapse alone", name);
    if (line->bench.settings.wait != NULL && kind != system_kinds[0])
        return usage_error("--wait is about Lapse alone");
    if (((needs & NEEDS_EXPIRY) != 0 && (kind->can & SYSTEM_CAN_EXPIRE) == 0) ||
        ((needs & NEEDS_FAIL_OVER) != 0 && (kind->can & SYSTEM_CAN_FAIL_OVER) == 0) ||
        ((needs & NEEDS_WATCH) != 0 && (kind->can & SYSTEM_CAN_WATCH) == 0))
        return usage_error("%s can't do what %s needs", kind->name, name);
    if ((needs & NEEDS_THREE_NODES) != 0 && options->nodes < 3)
        return usage_error("%s needs at least 3 nodes", name);
    if (!is_one_of(options->tuning, kind->tunings))
        return usage_error("%s has no tuning \"%s\"; lapse-bench --list names them", kind->name, options->tuning);
    if (options->credentials != NULL && options->endpoints == NULL)
        return usage_error("--credentials goes with --endpoints");
    return 0;
}

static int check_all(struct command_line *line)
{
    struct bench *bench = &line->bench;
    struct lapse_error error;
    if (bench->settings.nodes == 0)
        bench->settings.nodes = 3;
    bench->options.nodes = bench->settings.nodes;
    if (bench->options.tuning == NULL)
        bench->options.tuning = line->kind->tunings[0];
    bench->options.flags = line->node_flags;
    int failed = (line->scenario->needs & NEEDS_NO_SYSTEM) != 0 ? 0 : check_system(line);
    if (failed != 0)
        return failed;
    if (line->scenario->check != NULL && !lapse_is_ok(line->scenario->check(&bench->settings, &error)))
        return usage_error("%s", error.message);
    return 0;
}

static const struct scenario *scenario_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
        if (strcmp(scenarios[i]->name, name) == 0)
            return scenarios[i];
    return NULL;
}

/* --- running ------------------------------------------------------------------------------------------------------ */

/* A connection is a descriptor here and one in its node, which inherits the limit. */
static lapse_result descriptors_raise(uint32_t need, struct lapse_error *error)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < need)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "%u file descriptors are needed, %llu allowed: raise the hard limit (ulimit -Hn)", need,
                          (unsigned long long)limit.rlim_cur);
    return lapse_ok();
}

static lapse_result system_start(struct command_line *line, struct lapse_error *error)
{
    struct bench *bench = &line->bench;
    if ((line->scenario->needs & NEEDS_NO_SYSTEM) != 0)
        return lapse_ok();
    if (!line->kind->is_here())
        return lapse_fail(error, LAPSE_NOT_FOUND, "%s is not here: install %s", line->kind->name, line->kind->package);
    progress("starting nodes", 0, 0);
    lapse_result result = line->kind->start(&bench->options, &bench->system, error);
    progress_end();
    return result;
}

/* A node's death explains better what went wrong than the call that noticed it. Its connections are closed before it
 * can be waited for: it gets a moment. */
static bool has_died(struct bench *bench, struct lapse_error *death)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000000};
    for (int64_t until_ns = bench_now_ns() + DEATH_NS; bench_now_ns() < until_ns; nanosleep(&pause, NULL))
        if (!lapse_is_ok(system_check(bench->system, death)))
            return true;
    return false;
}

static lapse_result scenario_run(struct command_line *line, struct lapse_error *error)
{
    struct bench *bench = &line->bench;
    struct lapse_error death;
    if (bench->system != NULL) { /* floor forks, for which it must be alone */
        bench->writers = bench_loop_start("writers");
        bench->watchers = bench_loop_start("watchers");
    }
    lapse_result result = line->scenario->run(bench, error);
    progress_end();
    bench_loop_stop(bench->writers);
    bench_loop_stop(bench->watchers);
    if (!lapse_is_ok(result) && result.code != LAPSE_CANCELLED && bench->system != NULL && has_died(bench, &death))
        *error = death;
    if (!lapse_is_ok(result))
        report_partial(bench->report, error->message);
    return result;
}

static bool outputs_write(struct command_line *line)
{
    struct lapse_error error;
    bool ok = true;
    if (line->json != NULL && !lapse_is_ok(report_write_json(line->bench.report, line->json, &error))) {
        fprintf(stderr, "lapse-bench: %s\n", error.message);
        ok = false;
    }
    if (line->plots != NULL && !lapse_is_ok(report_write_plots(line->bench.report, line->plots, &error))) {
        fprintf(stderr, "lapse-bench: %s\n", error.message);
        ok = false;
    }
    return ok;
}

static int run(struct command_line *line)
{
    struct bench *bench = &line->bench;
    struct lapse_error error;
    bool written = true;
    uint32_t connections = bench->settings.subscribers > bench->settings.connections ? bench->settings.subscribers
                                                                                     : bench->settings.connections;
    lapse_result result = descriptors_raise(connections + 512, &error);
    if (lapse_is_ok(result))
        result = system_start(line, &error);
    if (lapse_is_ok(result)) {
        bench->report = report_new(line->scenario->name, bench->system);
        result = scenario_run(line, &error);
        report_print(bench->report, line->json != NULL && strcmp(line->json, "-") == 0 ? stderr : stdout);
        written = outputs_write(line);
    }
    if (bench->system != NULL)
        line->kind->stop(bench->system);
    report_free(bench->report);
    if (!lapse_is_ok(result))
        fprintf(stderr, "lapse-bench: %s (%s)\n", error.message, lapse_code_name(error.code));
    return lapse_is_ok(result) && written ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static struct command_line line;
    line.kind = system_kinds[0];
    int code = take_flags(&line, argc, argv);
    if (code >= 0)
        return code;
    if (optind + 1 != argc)
        return usage_error("name one scenario");
    line.scenario = scenario_find(argv[optind]);
    if (line.scenario == NULL)
        return usage_error("no scenario \"%s\"", argv[optind]);
    code = check_all(&line);
    if (code != 0)
        return code;
    bench_catch_signals();
    return run(&line);
}
