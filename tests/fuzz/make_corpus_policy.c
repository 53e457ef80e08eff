/* Seeds of policies: documents by the encoder, and pairs of a pattern and what it is for. */
#include "base/check.h"
#include "tests/fuzz/make_corpus.h"
#include "tests/unit/policy_fixture.h"

enum { DOCUMENT = 0, TEXT = 1, PRINCIPAL = 2 };

static void seed_document(const char *name, const struct policy *policy)
{
    struct buf bytes;
    struct policy *decoded = NULL;
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    CHECK(lapse_is_ok(policy_encode(policy, &bytes)));
    CHECK(lapse_is_ok(policy_decode(buf_slice(&bytes), &decoded, NULL)));
    seed_write("policy", name, DOCUMENT, buf_slice(&bytes));
    policy_free(decoded);
    buf_free(&bytes);
}

static struct policy_rule rule_of_everything(void)
{
    static struct slice approvers[] = {{(const uint8_t *)"user:lead1", 10}, {(const uint8_t *)"user:lead*", 10}};
    static struct slice words[] = {{(const uint8_t *)"user:dev*", 9},
                                   {(const uint8_t *)"*", 1},
                                   {(const uint8_t *)"db/*", 4},
                                   {(const uint8_t *)"read", 4}};
    return (struct policy_rule){
        .name = S("everything"),
        .description = S("text"),
        .requesters = {words, 1},
        .subjects = {words + 1, 1},
        .resources = {words + 2, 1},
        .actions = {words + 3, 1},
        .max_duration_ms = HOURS(4),
        .eligibility = true,
        .self_approval = true,
        .steps = {{.count = 2, .approvers = {approvers, 2}}, {.count = 1}},
        .n_steps = 2,
        .decide_within_ms = HOURS(1),
        .justification = {.min_length = 20},
        .ticket = {.required = true, .min_length = 5, .pattern = S("OPS-[0-9]{1,6}")},
        .bind_spiffe_id = true,
        .bind_certificate = true,
        .bind_network = true,
        .max_uses = 7,
        .limits = {1, 2, 3, .window_ms = MINUTES(5), .cool_down_ms = MINUTES(1), .hold = true},
        .delegation_depth = 2,
        .token = TOKEN_RULE_BOUND,
    };
}

static void seed_documents(void)
{
    struct slice reviewers[] = {S("user:lead*")};
    struct policy_rule rules[3] = {rule_of_everything(), rule_of_everything(), rule_of_everything()};
    struct policy policy = {.name = S("p"), .rules = rules, .n_rules = 1};
    seed_document("document-rule", &policy);
    rules[1] = (struct policy_rule){.name = S("glass"),
                                    .break_glass = true,
                                    .requesters = rules[0].requesters,
                                    .resources = rules[0].resources,
                                    .automatic = true,
                                    .review_within_ms = HOURS(8),
                                    .reviewers = {reviewers, 1}};
    rules[2] = (struct policy_rule){
        .name = S("deny"), .deny = true, .requesters = LIST(S("user:out")), .resources = rules[0].resources};
    policy = (struct policy){.name = S("prod-db"),
                             .version = 12,
                             .description = S("who gets at the database"),
                             .priority = 5,
                             .end_disallowed = true,
                             .source = S("policies 0a1b2c"),
                             .rules = rules,
                             .n_rules = 3,
                             .applied_by = S("user:ops"),
                             .applied_ms = 1767225600000LL,
                             .revision = 12,
                             .removed = S("replaced")};
    seed_document("document-full", &policy);
    rules[0] = (struct policy_rule){.name = S("r"), .requesters = LIST(S("*")), .resources = LIST(S("*"))};
    policy = (struct policy){.name = S("p"), .rules = rules, .n_rules = 1};
    seed_document("document-smallest", &policy);
}

void seed_policies(void)
{
    static const struct {
        const char *name;
        int first;
        const char *text;
        size_t len;
    } pairs[] = {
#define PAIR(name, first, pattern, subject) {name, first, pattern "\0" subject, sizeof(pattern "\0" subject) - 1}
        PAIR("text-ticket", TEXT, "[A-Z]{2,4}-[0-9]+", "OPS-1234"),
        PAIR("text-classes", TEXT, "[^a-c\\]x-]*.?", "hello"),
        PAIR("text-escapes", TEXT, "\\.\\*\\[a\\{+", ".*[a{{"),
        PAIR("text-utf8", TEXT, "[\xC3\xA0-\xC3\xBF]{1,3}.", "\xC3\xA9\xF0\x9F\x94\x92"),
        PAIR("text-worst", TEXT, "a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa"),
        PAIR("text-bad", TEXT, "(a|b)+", "ab"),
        PAIR("principal-user", PRINCIPAL, "user:dev1", "spiffe://example.org/user/dev1"),
        PAIR("principal-beginning", PRINCIPAL, "user:dev*", "spiffe://example.org/user/dev10"),
        PAIR("principal-spiffe", PRINCIPAL, "spiffe://example.org/user/d*", "user:dev1"),
        PAIR("principal-domain", PRINCIPAL, "spiffe://exam*", "user:dev1"),
#undef PAIR
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        seed_write("policy", pairs[i].name, pairs[i].first, slice_of(pairs[i].text, pairs[i].len));
    seed_documents();
}
