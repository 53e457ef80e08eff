#include "governed_fixture.h"

#include "base/check.h"

#define PATTERNS_MAX 64

/* Each test runs in a process of its own: what it makes of texts stays until its end. */
static struct policy_patterns patterns(const char *texts)
{
    static struct slice items[PATTERNS_MAX];
    static uint32_t used;
    struct policy_patterns list = {.items = items + used};
    struct slice rest = slice_str(texts);
    while (used < PATTERNS_MAX && scope_next(&rest, &items[used])) {
        used++;
        list.n++;
    }
    CHECK(rest.len == 0);
    return list;
}

struct policy_rule governed_rule(const char *name, const char *resources)
{
    return (struct policy_rule){.name = slice_str(name),
                                .requesters = patterns("*"),
                                .subjects = patterns("*"),
                                .resources = patterns(resources)};
}

void governed_step(struct policy_rule *rule, uint32_t count, const char *approvers)
{
    CHECK(rule->n_steps < LIMIT_STEPS);
    rule->steps[rule->n_steps++] = (struct policy_step){count, patterns(approvers)};
}

void governed_reviewers(struct policy_rule *rule, const char *reviewers)
{
    rule->reviewers = patterns(reviewers);
}

struct command governed_policy(struct policy_rule *rules, uint32_t n)
{
    static struct buf bytes;
    struct policy policy = {.name = slice_str("test"), .rules = rules, .n_rules = n};
    buf_free(&bytes);
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    lapse_result result = policy_encode(&policy, &bytes);
    CHECK(lapse_is_ok(result));
    return (struct command){
        .type = COMMAND_APPLY_POLICY, .principal = slice_str("user:ops"), .value = buf_slice(&bytes)};
}

static void bind(struct store *store, const char *member, uint32_t roles)
{
    struct command command = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = roles};
    command.member = slice_str(member);
    fixture_must(store, command, T0);
}

struct store *governed_store(struct policy_rule *rules, uint32_t n)
{
    static const char *const approvers[] = {"user:a*", "user:b*", "user:dev1", "spiffe://example.org/user/*"};
    struct store *store = fixture_store(NULL);
    for (size_t i = 0; i < ARRAY_LEN(approvers); i++)
        bind(store, approvers[i], ROLE_APPROVER);
    bind(store, "user:req1", ROLE_REQUESTER | ROLE_APPROVER);
    fixture_must(store, governed_policy(rules, n), T0);
    return store;
}
