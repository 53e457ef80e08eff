/* What the store costs: memory a grant, commands a second, and the longest pauses. One core, no I/O.
 *
 *   store-bench [--grants N]
 *
 * Grants have about 120 bytes of strings, half of them shared with other grants (subject, requester, resource, action,
 * policy), half their own (a justification). Each is requested with a request key, so that the idempotency table is as
 * full as it gets. Commands are made in batches outside of what is measured, as they come out of the decoder; what is
 * measured is store_apply alone, with a callback for its events: the thread's processor time, and the instructions it
 * retired where the kernel lets us count them. Whole passes are timed by the clock. An expiry is no command: what
 * ADVANCE ends is reported beside them, not among them. */
#include <linux/perf_event.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "store/policy.h"
#include "store/store.h"

#define START_MS 1767225600000LL
#define DEADLINE_MS (START_MS + 3600 * 1000)
#define SUBJECTS 20000u
#define RESOURCES 2000u

static int64_t read_ns(clockid_t clock)
{
    struct timespec now;
    CHECK(clock_gettime(clock, &now) == 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t clock_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

/* This thread's processor time: what others do on a shared machine is not counted. */
static int64_t cpu_ns(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* What reading that clock twice adds to each measurement. */
static int64_t cpu_clock_ns;

static void calibrate(void)
{
    int64_t start = cpu_ns();
    for (int i = 0; i < 100000; i++)
        (void)cpu_ns();
    cpu_clock_ns = (cpu_ns() - start) / 100000;
}

/* Counts this thread's instructions in user mode; -1 when the kernel doesn't allow it. */
static int instructions_fd = -1;

static void count_instructions(void)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof attr,
                                   .config = PERF_COUNT_HW_INSTRUCTIONS,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1};
    instructions_fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static uint64_t instructions(void)
{
    uint64_t n = 0;
    if (instructions_fd >= 0 && read(instructions_fd, &n, sizeof n) != (ssize_t)sizeof n)
        n = 0;
    return n;
}

static uint64_t resident_bytes(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmRSS: %llu kB", &kib) == 1)
            break;
    fclose(file);
    return kib * 1024;
}

/* What a command's slices point to. */
struct texts {
    char subject[40], resource[40], justification[80];
};

static struct grant_id id_of(uint64_t i)
{
    uint8_t random[10];
    /* A bijection of i: random to look at, the same when asked again. */
    uint64_t mixed = i * 0x9E3779B97F4A7C15ULL;
    memcpy(random, &mixed, 8);
    random[8] = random[9] = 0;
    return grant_id_make(START_MS + (int64_t)(i / 1000), random);
}

static struct request_key key_of(uint64_t i, uint64_t kind)
{
    struct request_key key;
    uint64_t words[2] = {i * 0xD6E8FEB86659FD93ULL + 1, kind + (i << 8)};
    memcpy(key.bytes, words, sizeof key.bytes);
    return key;
}

static struct command request(uint64_t i, struct texts *texts, int64_t deadline_ms)
{
    struct command command;
    memset(&command, 0, offsetof(struct command, terms));
    memset(&command.terms, 0, sizeof command.terms);
    (void)snprintf(texts->subject, sizeof texts->subject, "user:dev%05u@example.com", (unsigned)(i * 7919 % SUBJECTS));
    (void)snprintf(texts->resource, sizeof texts->resource, "db/prod/orders-%04u", (unsigned)(i * 104729 % RESOURCES));
    (void)snprintf(texts->justification, sizeof texts->justification,
                   "restore order %09llu for a customer, see the ticket", (unsigned long long)i);
    command.type = COMMAND_REQUEST;
    command.key = key_of(i, COMMAND_REQUEST);
    command.principal = slice_str(texts->subject);
    command.grant = id_of(i);
    command.text = (struct slice){0};
    command.count = command.roles = 0;
    command.member = command.cluster = (struct slice){0};
    command.epoch = 0;
    command.terms.subject = command.principal;
    command.terms.resource = slice_str(texts->resource);
    command.terms.actions[0] = slice_str("read");
    command.terms.n_actions = 1;
    command.terms.justification = slice_str(texts->justification);
    command.terms.policy = slice_str("prod-read");
    command.terms.deadline_ms = deadline_ms;
    return command;
}

struct timing {
    int64_t total_ns, longest_ns;
    uint64_t n, events, instructions;
};

static void on_event(void *arg, const struct store_event *event)
{
    (void)event;
    ++*(uint64_t *)arg;
}

static struct store_outcome apply(struct store *store, const struct command *command, int64_t time_ms,
                                  struct timing *timing)
{
    struct store_outcome outcome;
    int64_t start = cpu_ns();
    store_apply(store, command, time_ms, on_event, &timing->events, &outcome);
    int64_t took = cpu_ns() - start - cpu_clock_ns;
    timing->n++;
    timing->total_ns += took;
    if (took > timing->longest_ns)
        timing->longest_ns = took;
    if (outcome.error.code != LAPSE_OK)
        fprintf(stderr, "refused: %s\n", outcome.error.message);
    CHECK(outcome.error.code == LAPSE_OK);
    return outcome;
}

static void set_roles(struct store *store, const char *member, uint32_t roles)
{
    struct timing unused = {0};
    struct command command = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:root"), .roles = roles};
    command.member = slice_str(member);
    apply(store, &command, START_MS, &unused);
}

/* A policy of one rule, which takes everything. */
static void open_policy(struct store *store, const char *name)
{
    struct timing unused = {0};
    struct slice all = slice_str("*");
    struct policy_rule rule = {
        .name = slice_str("all"), .requesters = {&all, 1}, .subjects = {&all, 1}, .resources = {&all, 1}};
    struct policy policy = {.name = slice_str(name), .rules = &rule, .n_rules = 1};
    struct command command = {.type = COMMAND_APPLY_POLICY, .principal = slice_str("user:root")};
    struct buf bytes;
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    CHECK(lapse_is_ok(policy_encode(&policy, &bytes)));
    command.value = buf_slice(&bytes);
    apply(store, &command, START_MS, &unused);
    buf_free(&bytes);
}

static struct store *new_store(void)
{
    struct timing unused = {0};
    struct store *store = store_new(&(struct store_options){.ended_grants_max = 4000000});
    struct command init = {.type = COMMAND_INIT, .epoch = 1, .cluster = slice_str("bench")};
    init.member = slice_str("user:root");
    apply(store, &init, START_MS, &unused);
    set_roles(store, "user:dev*", ROLE_REQUESTER);
    set_roles(store, "user:oncall", ROLE_APPROVER);
    open_policy(store, "prod-read");
    return store;
}

static struct command about(enum command_type type, uint64_t i, const char *principal)
{
    struct command command = {.type = type, .grant = id_of(i), .principal = slice_str(principal)};
    return command;
}

/* Commands made ahead, so that only store_apply is timed: one reading of the clock for all of them. */
#define BATCH 64u

struct batch {
    struct command commands[BATCH];
    struct texts texts[BATCH];
    uint32_t n;
};

static void apply_batch(struct store *store, struct batch *batch, int64_t time_ms, struct timing *timing)
{
    struct store_outcome outcome;
    uint64_t before = instructions();
    int64_t start = cpu_ns();
    for (uint32_t i = 0; i < batch->n; i++) {
        store_apply(store, &batch->commands[i], time_ms, on_event, &timing->events, &outcome);
        CHECK(outcome.error.code == LAPSE_OK);
    }
    timing->total_ns += cpu_ns() - start;
    timing->instructions += instructions() - before;
    timing->n += batch->n;
    batch->n = 0;
}

static void fill(struct store *store, uint64_t n, struct timing *requests, struct timing *approvals)
{
    struct batch *batch = calloc(1, sizeof *batch);
    CHECK(batch != NULL);
    for (uint64_t i = 0; i < n; i++) {
        batch->commands[batch->n] = request(i, &batch->texts[batch->n], DEADLINE_MS);
        if (++batch->n == BATCH || i + 1 == n)
            apply_batch(store, batch, START_MS + (int64_t)(i / 1000), requests);
    }
    for (uint64_t i = 0; i < n; i++) {
        batch->commands[batch->n++] = about(COMMAND_APPROVE, i, "user:oncall");
        if (batch->n == BATCH || i + 1 == n)
            apply_batch(store, batch, START_MS + (int64_t)(n / 1000), approvals);
    }
    free(batch);
}

static void report(const char *what, const struct timing *timing)
{
    printf("%-34s %9.0f /s, %8.0f ns each", what, (double)timing->n * 1e9 / (double)timing->total_ns,
           (double)timing->total_ns / (double)timing->n);
    if (timing->instructions > 0)
        printf(", %6.0f instructions", (double)timing->instructions / (double)timing->n);
    if (timing->longest_ns > 0)
        printf(", longest %.3f ms", (double)timing->longest_ns / 1e6);
    printf(", %llu events\n", (unsigned long long)timing->events);
}

/* A full store in steady flow: requests, approvals, and ends, half by revocation, half by their deadline. */
static void bench_mix(struct store *store, uint64_t first, uint64_t rounds)
{
    struct timing mix = {0};
    struct batch *batch = calloc(1, sizeof *batch);
    struct command advance = {.type = COMMAND_ADVANCE, .count = LIMIT_ADVANCE_BATCH};
    CHECK(batch != NULL);
    for (uint64_t i = first; i + BATCH / 4 <= first + rounds; i += BATCH / 4) {
        int64_t now_ms = START_MS + (int64_t)(i / 1000);
        for (uint64_t k = i; k < i + BATCH / 4; k++, batch->n++)
            batch->commands[batch->n] = request(k, &batch->texts[batch->n], now_ms + 300);
        for (uint64_t k = i; k < i + BATCH / 4; k++)
            batch->commands[batch->n++] = about(COMMAND_APPROVE, k, "user:oncall");
        for (uint64_t k = i; k < i + BATCH / 4; k += 2)
            batch->commands[batch->n++] = about(COMMAND_REVOKE, k, "user:root");
        batch->commands[batch->n++] = advance;
        apply_batch(store, batch, now_ms, &mix);
    }
    free(batch);
    report("request, approve, revoke, advance", &mix);
    /* Two events for an approval, one for each of the others but ADVANCE, and what is left are expiries. */
    uint64_t advances = rounds / (BATCH / 4), others = (mix.n - advances) + rounds / (BATCH / 4) * (BATCH / 4);
    mix.n += mix.events - others;
    report("  the same with each expiry as one", &mix);
}

struct reader {
    struct store_view *view;
    _Atomic(bool) done;
    uint64_t bytes;
    int64_t took_ns;
    struct buf snapshot;
};

static void *read_view(void *arg)
{
    struct reader *reader = arg;
    bool done = false;
    int64_t start = clock_ns();
    while (!done) {
        lapse_result result = store_view_read(reader->view, LIMIT_SNAPSHOT_CHUNK, &reader->snapshot, &done);
        CHECK(lapse_is_ok(result));
    }
    reader->took_ns = clock_ns() - start;
    atomic_store(&reader->done, true);
    return NULL;
}

static void start_view(struct store *store, struct reader *reader)
{
    int64_t start = cpu_ns();
    reader->view = store_freeze(store);
    printf("%-34s %9.3f ms\n", "freeze", (double)(cpu_ns() - start) / 1e6);
    buf_init(&reader->snapshot, 1ULL << 32);
    atomic_store(&reader->done, false);
}

static void end_view(struct reader *reader)
{
    int64_t start = cpu_ns();
    store_view_free(reader->view);
    printf("%-34s %9.3f ms\n", "view free", (double)(cpu_ns() - start) / 1e6);
}

static void restore(struct reader *reader, const struct store *like)
{
    struct lapse_error error;
    struct store *restored = NULL;
    int64_t start = clock_ns(), start_cpu = cpu_ns();
    struct store_restore *run = store_restore_begin(&(struct store_options){.ended_grants_max = 4000000});
    lapse_result result = store_restore_feed(run, buf_slice(&reader->snapshot), &error);
    CHECK(lapse_is_ok(result));
    result = store_restore_end(run, &restored, &error);
    CHECK(lapse_is_ok(result));
    printf("%-34s %9.0f ms, %.0f ms of processor time\n", "restore", (double)(clock_ns() - start) / 1e6,
           (double)(cpu_ns() - start_cpu) / 1e6);
    struct store_digest a = store_digest(restored), b = store_digest(like);
    CHECK(a.words[0] == b.words[0] && a.words[1] == b.words[1]);
    store_free(restored);
}

/* Nothing else running. */
static void bench_restore(struct store *store)
{
    struct reader reader = {0};
    struct store_counts counts;
    store_counts(store, &counts);
    start_view(store, &reader);
    (void)read_view(&reader);
    printf("%-34s %9.0f ms, %.1f MB, %llu live and %llu ended grants\n", "snapshot", (double)reader.took_ns / 1e6,
           (double)reader.snapshot.len / 1e6, (unsigned long long)counts.live, (unsigned long long)counts.ended);
    end_view(&reader);
    restore(&reader, store);
    buf_free(&reader.snapshot);
}

/* All deadlines are the same moment; a view is being read meanwhile in the second half. */
static void bench_expiry(struct store *store)
{
    struct timing quiet = {0}, viewed = {0};
    struct reader reader = {0};
    pthread_t thread;
    struct store_counts counts;
    struct command advance = {.type = COMMAND_ADVANCE, .count = LIMIT_ADVANCE_BATCH};
    store_counts(store, &counts);
    uint64_t half = counts.live / 2;
    while (counts.live > half) {
        apply(store, &advance, DEADLINE_MS, &quiet);
        store_counts(store, &counts);
    }
    start_view(store, &reader);
    CHECK(pthread_create(&thread, NULL, read_view, &reader) == 0);
    while (counts.live > 0) {
        apply(store, &advance, DEADLINE_MS, &viewed);
        store_counts(store, &counts);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    end_view(&reader);
    buf_free(&reader.snapshot);
    report("ADVANCE of 1000", &quiet);
    report("ADVANCE of 1000, view being read", &viewed);
}

static void bench_snapshot(struct store *store, uint64_t first, uint64_t n)
{
    struct reader reader = {0};
    struct timing viewed = {0};
    struct texts texts;
    pthread_t thread;
    start_view(store, &reader);
    CHECK(pthread_create(&thread, NULL, read_view, &reader) == 0);
    for (uint64_t i = first; i < first + n || !atomic_load(&reader.done); i++) {
        struct command command = about(COMMAND_REVOKE, (i - first) * 7919 % first, "user:root");
        if (i % 2 == 0)
            command = request(i, &texts, DEADLINE_MS);
        struct store_outcome outcome;
        int64_t begin = cpu_ns();
        store_apply(store, &command, START_MS + (int64_t)(first / 1000), on_event, &viewed.events, &outcome);
        int64_t took = cpu_ns() - begin - cpu_clock_ns;
        viewed.n++;
        viewed.total_ns += took;
        viewed.longest_ns = took > viewed.longest_ns ? took : viewed.longest_ns;
        if (i - first > 20 * n)
            break;
    }
    CHECK(pthread_join(thread, NULL) == 0);
    report("applies while a view is read", &viewed);
    printf("%-34s %9.0f ms, %.1f MB\n", "snapshot (other core busy)", (double)reader.took_ns / 1e6,
           (double)reader.snapshot.len / 1e6);
    end_view(&reader);
    buf_free(&reader.snapshot);
    bench_restore(store);
}

/* One revocation of many among `n` live grants: its command and the ADVANCEs that follow until it is over. */
static void sweep(struct store *store, const char *what, struct store_filter filter, int64_t now_ms)
{
    struct timing timing = {0};
    struct command command = {.type = COMMAND_REVOKE_MATCHING, .principal = slice_str("user:root"), .filter = filter};
    struct command advance = {.type = COMMAND_ADVANCE, .count = LIMIT_ADVANCE_BATCH};
    apply(store, &command, now_ms, &timing);
    while (store_next_due_ms(store) <= now_ms)
        apply(store, &advance, now_ms, &timing);
    printf("%-34s %9.1f ms in %llu slices, longest %.3f ms, %llu grants\n", what, (double)timing.total_ns / 1e6,
           (unsigned long long)timing.n, (double)timing.longest_ns / 1e6, (unsigned long long)timing.events - 2);
}

/* A store of its own, whose grants belong to ten policies and, in another order, to ten subtrees. */
static void bench_sweeps(uint64_t n)
{
    struct timing unused = {0};
    struct store *store = new_store();
    struct texts texts;
    char policy[16];
    int64_t now_ms = START_MS + (int64_t)(n / 1000);
    for (unsigned i = 0; i < 10; i++) {
        (void)snprintf(policy, sizeof policy, "policy-%u", i);
        open_policy(store, policy);
    }
    for (uint64_t i = 0; i < n; i++) {
        struct command command = request(i, &texts, DEADLINE_MS), approval = about(COMMAND_APPROVE, i, "user:oncall");
        (void)snprintf(policy, sizeof policy, "policy-%u", (unsigned)(i % 10));
        (void)snprintf(texts.resource, sizeof texts.resource, "db/area-%u/orders-%04u", (unsigned)(i / 10 % 10),
                       (unsigned)(i * 104729 % RESOURCES));
        command.terms.policy = slice_str(policy);
        command.terms.resource = slice_str(texts.resource);
        apply(store, &command, now_ms, &unused);
        apply(store, &approval, now_ms, &unused);
    }
    sweep(store, "revoke a policy (by its index)", (struct store_filter){.policy = slice_str("policy-3")}, now_ms);
    sweep(store, "revoke a subtree (by a scan)", (struct store_filter){.resource = slice_str("db/area-5/*")}, now_ms);
    sweep(store, "revoke a requester (by a scan)",
          (struct store_filter){.requester = slice_str("user:dev00001@example.com")}, now_ms);
    sweep(store, "revoke a subject (at once)", (struct store_filter){.subject = slice_str("user:dev00003@example.com")},
          now_ms);
    sweep(store, "revoke all that is left", (struct store_filter){.resource = slice_str("*")}, now_ms);
    store_free(store);
}

static void report_memory(const struct store *store, uint64_t before)
{
    struct store_counts counts;
    malloc_trim(0);
    uint64_t bytes = resident_bytes() - before;
    store_counts(store, &counts);
    uint64_t grants = counts.live + counts.ended;
    printf("%-34s %9.1f resident, %.1f accounted (%llu grants, %llu request keys)\n", "bytes a grant",
           (double)bytes / (double)grants, (double)counts.bytes / (double)grants, (unsigned long long)grants,
           (unsigned long long)counts.request_ids);
}

int main(int argc, char **argv)
{
    uint64_t n = 1000000;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--grants") == 0 && i + 1 < argc) {
            n = strtoull(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "usage: %s [--grants N]\n", argv[0]);
            return 2;
        }
    }
    if (n < 1000 || n > 3000000) {
        fprintf(stderr, "%s: --grants takes 1000 to 3000000\n", argv[0]);
        return 2;
    }
    struct timing requests = {0}, approvals = {0};
    calibrate();
    count_instructions();
    uint64_t before = resident_bytes();
    struct store *store = new_store();
    fill(store, n, &requests, &approvals);
    report_memory(store, before);
    report("request", &requests);
    report("approve", &approvals);
    bench_restore(store);
    bench_mix(store, n, n);
    bench_snapshot(store, 2 * n, n / 2);
    bench_expiry(store);
    store_free(store);
    bench_sweeps(n);
    return 0;
}
