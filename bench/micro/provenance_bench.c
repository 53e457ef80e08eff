/* What revoking by provenance costs: 100,000 grants of 1,000,000, found by each of the ways in which grants come about.
 *
 *   provenance-bench [--grants N] [WAY...]
 *
 * Each way gets a store of its own, in which each tenth grant bears its mark. A slice is one command, as the leader
 * proposes it; others' commands get their turn between any two. Times are this thread's processor time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "store/policy.h"
#include "store/store.h"

#define START_MS 1767225600000LL

enum way {
    BY_SUBJECT,
    BY_SUBTREE,
    BY_APPROVER,
    BY_TICKET,
    BY_VERSION,
    BY_BINDING,
    BY_PARENT,
    BY_LABEL,
    BY_PERSON,
    BY_CHANGE,
    WAYS
};
static const char *const way_names[WAYS] = {"subject", "subtree", "approver", "ticket", "policy-version",
                                            "binding", "parent",  "label",    "person", "end-disallowed"};

static int64_t cpu_ns(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct grant_id id_of(uint64_t i)
{
    uint8_t random[10] = {0};
    uint64_t mixed = (i + 1) * 0x9E3779B97F4A7C15ULL;
    memcpy(random, &mixed, sizeof mixed);
    return grant_id_make(START_MS, random);
}

struct slices {
    uint64_t n;
    int64_t total_ns, longest_ns;
};

static struct store_outcome apply(struct store *store, const struct command *command, struct slices *slices)
{
    struct store_outcome outcome;
    int64_t begin = cpu_ns();
    store_apply(store, command, START_MS, NULL, NULL, &outcome);
    int64_t took = cpu_ns() - begin;
    slices->n++;
    slices->total_ns += took;
    slices->longest_ns = took > slices->longest_ns ? took : slices->longest_ns;
    if (outcome.error.code != LAPSE_OK)
        fprintf(stderr, "provenance-bench: %s\n", outcome.error.message);
    CHECK(outcome.error.code == LAPSE_OK);
    return outcome;
}

static struct command by(enum command_type type, const char *principal)
{
    return (struct command){.type = type, .principal = slice_str(principal)};
}

static struct store *new_store(void)
{
    const struct store_options options = {.live_grants_max = 3000000, .ended_grants_max = 3000000};
    struct store *store = store_new(&options);
    struct slices unused = {0};
    struct command command = {.type = COMMAND_INIT,
                              .member = slice_str("user:root"),
                              .roles = ROLE_ALL,
                              .epoch = 1,
                              .cluster = slice_str("bench")};
    apply(store, &command, &unused);
    for (int i = 0; i < 10; i++) {
        char member[32];
        (void)snprintf(member, sizeof member, "user:oncall%d", i);
        command = by(COMMAND_SET_ROLES, "user:root");
        command.member = slice_str(member);
        command.roles = ROLE_APPROVER;
        apply(store, &command, &unused);
    }
    return store;
}

/* A policy of 20 rules, of which the last one allows: what end_disallowed asks for each grant. */
static void apply_policy(struct store *store, int64_t max_duration_ms, bool end_disallowed, struct slices *slices)
{
    struct slice everybody = slice_str("*"), resources[20];
    struct policy_rule rules[20];
    struct policy policy = {
        .name = slice_str("bench"), .rules = rules, .n_rules = ARRAY_LEN(rules), .end_disallowed = end_disallowed};
    char texts[ARRAY_LEN(rules)][2][32];
    for (uint32_t i = 0; i < ARRAY_LEN(rules); i++) {
        bool last = i + 1 == ARRAY_LEN(rules);
        (void)snprintf(texts[i][0], sizeof texts[i][0], "rule-%u", i);
        (void)snprintf(texts[i][1], sizeof texts[i][1], last ? "db/*" : "other-%u/*", i);
        resources[i] = slice_str(texts[i][1]);
        rules[i] = (struct policy_rule){.name = slice_str(texts[i][0]),
                                        .requesters = {&everybody, 1},
                                        .subjects = {&everybody, 1},
                                        .resources = {&resources[i], 1},
                                        .automatic = true,
                                        .max_duration_ms = max_duration_ms};
    }
    struct buf bytes;
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    CHECK(lapse_is_ok(policy_encode(&policy, &bytes)));
    struct command command = by(COMMAND_APPLY_POLICY, "user:root");
    command.value = buf_slice(&bytes);
    apply(store, &command, slices);
    buf_free(&bytes);
}

/* What a request's slices point to. */
struct texts {
    char subject[48], resource[48], ticket[24], binding[64], team[24];
};

/* Grant `i`: each differs from the others in every member, and each tenth has the mark of `way`. */
static struct command request(enum way way, uint64_t i, struct texts *texts)
{
    bool marked = i % 10 == 3;
    struct command command = by(COMMAND_REQUEST, "user:root");
    struct grant *terms = &command.terms;
    (void)snprintf(texts->subject, sizeof texts->subject, "spiffe://bench/user/dev%llu",
                   (unsigned long long)(i * 7919 % 50000));
    (void)snprintf(texts->resource, sizeof texts->resource, "db/area-%u/orders-%llu",
                   way == BY_SUBTREE && marked ? 11 : (unsigned)(i % 10), (unsigned long long)(i * 104729 % 5000));
    (void)snprintf(texts->ticket, sizeof texts->ticket, "INC-%llu", (unsigned long long)(i / 20));
    (void)snprintf(texts->binding, sizeof texts->binding, "spiffe://bench/ci/job%llu",
                   (unsigned long long)(i * 31 % 100000));
    (void)snprintf(texts->team, sizeof texts->team, "team-%llu", (unsigned long long)i);
    command.grant = id_of(i);
    terms->subject =
        slice_str(marked && (way == BY_SUBJECT || way == BY_PERSON) ? "spiffe://bench/user/leaver" : texts->subject);
    terms->resource = slice_str(texts->resource);
    terms->actions[0] = slice_str("read");
    terms->n_actions = 1;
    terms->justification = slice_str("measure it");
    terms->ticket = slice_str(way == BY_TICKET && marked ? "INC-LEAK" : texts->ticket);
    terms->duration_ms = 3600000;
    if (way == BY_BINDING)
        terms->binding.spiffe_id = slice_str(marked ? "spiffe://bench/ci/leaked" : texts->binding);
    if (way == BY_LABEL) {
        terms->labels[0] = (struct grant_label){slice_str("team"), slice_str(marked ? "leaver" : texts->team)};
        terms->n_labels = 1;
    }
    if (way == BY_CHANGE && marked)
        terms->duration_ms = 3600000 * 2;
    if (way == BY_PARENT && marked)
        terms->parent = id_of(UINT32_MAX);
    return command;
}

static bool needs_policy(enum way way)
{
    return way == BY_VERSION || way == BY_CHANGE;
}

static void approve(struct store *store, uint64_t i, struct slices *slices)
{
    char approver[32];
    (void)snprintf(approver, sizeof approver, "user:oncall%llu", (unsigned long long)(i % 10));
    struct command command = by(COMMAND_APPROVE, approver);
    command.grant = id_of(i);
    apply(store, &command, slices);
}

static void add_parent(struct store *store, struct slices *slices)
{
    struct texts texts;
    struct command command = request(BY_PARENT, 0, &texts);
    command.grant = id_of(UINT32_MAX);
    command.terms.subject = slice_str("user:root");
    command.terms.resource = slice_str("db/*");
    apply(store, &command, slices);
    approve(store, UINT32_MAX, slices);
}

static uint64_t version_of(const struct store *store, uint64_t i)
{
    struct grant grant;
    CHECK(store_get(store, id_of(i), &grant));
    return grant.policy_version;
}

static struct store *fill(enum way way, uint64_t n)
{
    struct store *store = new_store();
    struct slices unused = {0};
    struct texts texts;
    if (way == BY_PARENT)
        add_parent(store, &unused);
    if (needs_policy(way))
        apply_policy(store, 2 * 3600000, false, &unused);
    for (uint64_t i = 0; i < n; i++) {
        struct command command = request(way, i, &texts);
        /* A tenth came about under the first version. */
        if (way == BY_VERSION && i == n / 10)
            apply_policy(store, 3 * 3600000, false, &unused);
        apply(store, &command, &unused);
        if (!needs_policy(way))
            approve(store, i, &unused);
    }
    return store;
}

static struct store_filter filter_of(const struct store *store, enum way way)
{
    switch (way) {
    case BY_SUBJECT:
        return (struct store_filter){.subject = slice_str("spiffe://bench/user/leaver")};
    case BY_SUBTREE:
        return (struct store_filter){.resource = slice_str("db/area-11/*")};
    case BY_APPROVER:
        return (struct store_filter){.approver = slice_str("user:oncall3")};
    case BY_TICKET:
        return (struct store_filter){.ticket = slice_str("INC-LEAK")};
    case BY_VERSION:
        return (struct store_filter){.policy = slice_str("bench"), .policy_version = version_of(store, 0)};
    case BY_BINDING:
        return (struct store_filter){.binding = slice_str("spiffe://bench/ci/leaked")};
    case BY_PARENT:
        return (struct store_filter){.parent = id_of(UINT32_MAX)};
    case BY_LABEL:
        return (struct store_filter){.label = slice_str("team=leaver")};
    default:
        return (struct store_filter){.person = slice_str("user:leaver")};
    }
}

static void measure(enum way way, uint64_t n)
{
    struct store *store = fill(way, n);
    struct slices slices = {0};
    struct store_counts before, after;
    struct command command = by(COMMAND_REVOKE_MATCHING, "user:root");
    command.filter = filter_of(store, way);
    store_counts(store, &before);
    if (way == BY_CHANGE)
        apply_policy(store, 3600000, true, &slices);
    else
        apply(store, &command, &slices);
    command = (struct command){.type = COMMAND_ADVANCE, .count = LIMIT_ADVANCE_BATCH};
    while (store_next_due_ms(store) <= START_MS)
        apply(store, &command, &slices);
    store_counts(store, &after);
    printf("%-15s %8llu of %llu revoked in %5llu slices, %8.1f ms in all, longest %6.3f ms\n", way_names[way],
           (unsigned long long)(before.live - after.live), (unsigned long long)before.live,
           (unsigned long long)slices.n, (double)slices.total_ns / 1e6, (double)slices.longest_ns / 1e6);
    (void)fflush(stdout);
    store_free(store);
}

int main(int argc, char **argv)
{
    uint64_t n = 1000000;
    bool chosen[WAYS] = {false}, any = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--grants") == 0 && i + 1 < argc) {
            n = strtoull(argv[++i], NULL, 10);
            continue;
        }
        int way = 0;
        while (way < WAYS && strcmp(argv[i], way_names[way]) != 0)
            way++;
        if (way == WAYS) {
            fprintf(stderr, "usage: %s [--grants N] [WAY...]; unknown way %s\n", argv[0], argv[i]);
            return 2;
        }
        chosen[way] = any = true;
    }
    if (n < 1000 || n > 2900000) {
        fprintf(stderr, "%s: --grants takes 1000 to 2900000\n", argv[0]);
        return 2;
    }
    for (int way = 0; way < WAYS; way++)
        if (chosen[way] || !any)
            measure((enum way)way, n);
    return 0;
}
