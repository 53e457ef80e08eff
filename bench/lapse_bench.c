/* lapse-bench SCENARIO: starts a cluster of real nodes on this machine, measures, prints a table, and writes JSON. */
#include "bench/lapse_bench.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_USAGE 64

static const char usage[] =
    "Usage: lapse-bench SCENARIO [FLAGS]\n"
    "\n"
    "Scenarios:\n"
    "  revocation   from Revoke to the acknowledgement, and to its event at the first and the last subscriber\n"
    "  failover     from kill -9 of the leader to the next acknowledged write\n"
    "\n"
    "Flags:\n"
    "  --nodes N         of the cluster; default 3 (failover: at least 3)\n"
    "  --subscribers N   revocation: spread over the nodes; default 3\n"
    "  --writes N        revocation: how many are measured; default 500\n"
    "  --warmup N        revocation: how many come before that; default 20\n"
    "  --rounds N        failover: default 10\n"
    "  --json FILE       the report; - for standard output\n"
    "  --lapsed FILE     the program to run; otherwise ../node/lapsed beside this one\n"
    "  --node-flag FLAG  for every node, for example --node-flag=--raft-election-timeout-ms=300; may be repeated\n"
    "  --keep            leave the nodes' directory with their logs\n"
    "\n"
    "The nodes are processes of this machine on loopback with mutual TLS, and write their logs to $TMPDIR (or /tmp) "
    "with\n"
    "fsync: what is measured includes that disk. Percentiles are by nearest rank.\n"
    "\n"
    "Examples:\n"
    "  lapse-bench revocation --nodes 3 --subscribers 3 --writes 500 --json revocation.json\n"
    "  lapse-bench failover --rounds 20\n";

#define NODE_FLAGS_MAX 16

struct command_line {
    struct bench_settings settings;
    struct cluster_options cluster;
    const char *json;
    char *node_flags[NODE_FLAGS_MAX + 1];
    int n_node_flags;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

bool bench_interrupted(void)
{
    return interrupted != 0;
}

static bool parse_number(const char *text, uint32_t low, uint32_t high, uint32_t *out)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value < low || value > high) {
        fprintf(stderr, "lapse-bench: \"%s\" is not a number from %u to %u\n", text, low, high);
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

enum { NODES = 1, SUBSCRIBERS, WRITES, WARMUP, ROUNDS, JSON, LAPSED, NODE_FLAG, KEEP, HELP };

static const struct option flags[] = {{"nodes", required_argument, NULL, NODES},
                                      {"subscribers", required_argument, NULL, SUBSCRIBERS},
                                      {"writes", required_argument, NULL, WRITES},
                                      {"warmup", required_argument, NULL, WARMUP},
                                      {"rounds", required_argument, NULL, ROUNDS},
                                      {"json", required_argument, NULL, JSON},
                                      {"lapsed", required_argument, NULL, LAPSED},
                                      {"node-flag", required_argument, NULL, NODE_FLAG},
                                      {"keep", no_argument, NULL, KEEP},
                                      {"help", no_argument, NULL, HELP},
                                      {NULL, 0, NULL, 0}};

static bool take_flag(struct command_line *line, int flag, char *value)
{
    struct bench_settings *s = &line->settings;
    switch (flag) {
    case NODES:
        return parse_number(value, 1, CLUSTER_NODES_MAX, &s->nodes);
    case SUBSCRIBERS:
        return parse_number(value, 1, 4000, &s->subscribers);
    case WRITES:
        return parse_number(value, 1, 1000000, &s->writes);
    case WARMUP:
        return parse_number(value, 0, 100000, &s->warmup);
    case ROUNDS:
        return parse_number(value, 1, 10000, &s->rounds);
    case JSON:
        line->json = value;
        return true;
    case LAPSED:
        line->cluster.lapsed = value;
        return true;
    case NODE_FLAG:
        if (line->n_node_flags == NODE_FLAGS_MAX)
            return false;
        line->node_flags[line->n_node_flags++] = value;
        return true;
    case KEEP:
        line->cluster.keep = true;
        return true;
    default:
        return false;
    }
}

typedef lapse_result (*scenario_run)(struct cluster *, const struct bench_settings *, json_t **, struct lapse_error *);

static int run(struct command_line *line, scenario_run scenario)
{
    struct cluster *cluster = NULL;
    struct lapse_error error;
    json_t *report = NULL;
    bool written = true;
    lapse_result result = cluster_start(&line->cluster, &cluster, &error);
    if (lapse_is_ok(result)) {
        result = scenario(cluster, &line->settings, &report, &error);
        /* A node's death explains better what went wrong than the call that noticed it. */
        struct lapse_error death;
        if (!lapse_is_ok(result) && result.code != LAPSE_CANCELLED && !lapse_is_ok(cluster_check(cluster, &death)))
            error = death;
    }
    cluster_stop(cluster);
    if (!lapse_is_ok(result))
        fprintf(stderr, "lapse-bench: %s (%s)\n", error.message, lapse_code_name(error.code));
    else if (line->json != NULL)
        written = report_write(report, line->json);
    else
        json_decref(report);
    return lapse_is_ok(result) && written ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int usage_error(const char *message)
{
    fprintf(stderr, "lapse-bench: %s\nTry: lapse-bench --help\n", message);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static struct command_line line = {
        .settings = {.nodes = 3, .subscribers = 3, .writes = 500, .warmup = 20, .rounds = 10}};
    int flag;
    while ((flag = getopt_long(argc, argv, "h", flags, NULL)) != -1) {
        if (flag == HELP || flag == 'h') {
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        }
        if (!take_flag(&line, flag, optarg))
            return usage_error("wrong use");
    }
    if (optind + 1 != argc)
        return usage_error("name one scenario: revocation or failover");
    line.cluster.nodes = line.settings.nodes;
    line.cluster.flags = line.node_flags;
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    if (strcmp(argv[optind], "revocation") == 0)
        return run(&line, bench_revocation);
    if (strcmp(argv[optind], "failover") != 0)
        return usage_error("no such scenario: revocation or failover");
    return line.settings.nodes < 3 ? usage_error("failover needs at least 3 nodes") : run(&line, bench_failover);
}
