/* guard-bench: what a decision at an enforcement point costs (bench/micro/guard_checks.h): one thread's latency, what
 * several threads do a second, and both while grants change.
 *
 *   guard-bench [--grants N] [--seconds S] [--threads N] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "bench/micro/guard_checks.h"

struct options {
    uint32_t n_grants, seconds, threads_max;
};

static uint32_t number_of(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end != '\0' || value == 0 || value > 10000000) {
        fprintf(stderr, "guard-bench: \"%s\" is not a number from 1 to 10000000\n", text);
        exit(2);
    }
    return (uint32_t)value;
}

static void parse(struct options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        uint32_t *option = strcmp(argv[i], "--grants") == 0    ? &options->n_grants
                           : strcmp(argv[i], "--seconds") == 0 ? &options->seconds
                           : strcmp(argv[i], "--threads") == 0 ? &options->threads_max
                                                               : NULL;
        if (option == NULL || i + 1 == argc) {
            fprintf(stderr, "usage: guard-bench [--grants N] [--seconds S] [--threads N]\n");
            exit(2);
        }
        *option = number_of(argv[i + 1]);
    }
    if (options->threads_max > GUARD_CHECKS_THREADS_MAX)
        options->threads_max = GUARD_CHECKS_THREADS_MAX;
}

int main(int argc, char **argv)
{
    static const uint32_t rates[] = {0, 1000, 50000};
    struct options options = {.n_grants = 100000, .seconds = 3, .threads_max = 2};
    parse(&options, argc, argv);
    struct guard_checks *checks = guard_checks_new(options.n_grants);
    printf("%u grants, %u a subject, paths of three segments\n", options.n_grants, 4);
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        struct guard_latency latency = guard_checks_latency(checks, rates[i], options.seconds);
        printf("latency     changes/s %6u   p50 %4u ns   p99 %4u ns   p99.9 %5u ns   permitted %2.0f %%\n", rates[i],
               latency.p50, latency.p99, latency.p999, 100 * latency.permitted);
    }
    for (uint32_t threads = 1; threads <= options.threads_max; threads *= 2)
        for (size_t i = 0; i < ARRAY_LEN(rates); i++)
            printf("throughput  changes/s %6u   threads %2u   %6.2f million checks/s\n", rates[i], threads,
                   guard_checks_throughput(checks, rates[i], threads, options.seconds) / 1e6);
    guard_checks_free(checks);
    return 0;
}
