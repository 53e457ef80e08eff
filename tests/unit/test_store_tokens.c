/* Bearer tokens: who may set one, that it shows its grant and nothing else, and that it is dead when the grant is. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/check.h"
#include "governed_fixture.h"
#include "store/extras.h"
#include "store/governance.h"
#include "store/lock.h"
#include "store_fixture.h"

/* What stands for the SHA-256 of a token. */
struct hash {
    uint8_t bytes[32];
};

static struct hash hash_of(uint64_t number)
{
    struct hash hash = {{0x5a}};
    memcpy(hash.bytes + 8, &number, sizeof number);
    return hash;
}

/* Bytes that stay until the eighth call after it. */
static struct slice token(uint64_t number)
{
    static struct hash hashes[8];
    static unsigned next;
    struct hash *hash = &hashes[next++ % 8];
    *hash = hash_of(number);
    return slice_of(hash->bytes, sizeof hash->bytes);
}

static struct command set_token(uint64_t grant, uint64_t number)
{
    struct command command = fixture_about(COMMAND_SET_TOKEN, grant, "user:req1");
    command.value = token(number);
    return command;
}

static void activate(struct store *store, struct command request)
{
    fixture_must(store, request, T0);
    struct command approve = {.type = COMMAND_APPROVE, .grant = request.grant, .principal = slice_str("user:app1")};
    fixture_must(store, approve, T0);
}

static struct store *store_with_grant(void)
{
    struct store *store = fixture_store(NULL);
    activate(store, fixture_request(1));
    return store;
}

static enum lapse_code code(struct store *store, struct command command)
{
    uint64_t before = store_revision(store);
    struct store_digest digest = store_digest(store);
    struct store_outcome outcome = fixture_apply(store, command, T0);
    if (outcome.error.code != LAPSE_OK) {
        struct store_digest after = store_digest(store);
        cr_assert_eq(store_revision(store), before);
        cr_assert_eq(memcmp(&digest, &after, sizeof digest), 0, "what is refused changes nothing");
    }
    return outcome.error.code;
}

static struct grant_query shows(uint64_t number)
{
    return (struct grant_query){
        .resource = slice_str("db/prod/orders"), .action = slice_str("read"), .token_sha256 = token(number)};
}

static enum grant_verdict verdict(const struct store *store, struct grant_query query, int64_t now_ms)
{
    struct grant grant;
    bool found;
    return store_check(store, &query, now_ms, &grant, &found);
}

static struct store *copy_of(struct store *store)
{
    struct lapse_error error = {0};
    struct buf bytes = fixture_snapshot(store, 10000);
    struct store *copy = fixture_restore(buf_slice(&bytes), 10000, NULL, &error);
    cr_assert_not_null(copy, "%s", error.message);
    buf_free(&bytes);
    cr_assert(fixture_same_digest(store, copy));
    return copy;
}

struct told {
    uint32_t n_events, type;
    struct hash hash;
};

static void on_event(void *arg, const struct store_event *event)
{
    struct told *told = arg;
    told->n_events++;
    told->type = event->type;
    if (event->grant != NULL && event->grant->token_sha256.len == sizeof told->hash.bytes)
        memcpy(told->hash.bytes, event->grant->token_sha256.data, sizeof told->hash.bytes);
}

Test(store_tokens, its_requester_or_subject_sets_it_and_the_event_shows_its_hash)
{
    struct store *store = store_with_grant();
    struct told told = {0};
    struct store_outcome outcome;
    struct command command = set_token(1, 7);
    command.principal = slice_str("spiffe://example.org/user/dev1"); /* the subject's other name */
    store_apply(store, &command, T0, on_event, &told, &outcome);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    cr_assert_eq(told.n_events, 1);
    cr_assert_eq(told.type, STORE_EVENT_TOKEN_SET);
    struct hash expected = hash_of(7);
    cr_assert_eq(memcmp(told.hash.bytes, expected.bytes, sizeof expected.bytes), 0);
    cr_assert_eq(fixture_state(store, 1), GRANT_ACTIVE);
    store_free(store);
}

Test(store_tokens, who_shows_it_is_taken_for_the_subject_within_the_grants_limits)
{
    struct store *store = store_with_grant();
    fixture_must(store, set_token(1, 7), T0);
    struct grant_query query = shows(7);
    cr_assert_eq(verdict(store, query, T0), GRANT_ALLOWS);
    query.subject = slice_str("user:dev1");
    cr_assert_eq(verdict(store, query, T0), GRANT_ALLOWS);
    query.subject = slice_str("user:dev2");
    cr_assert_eq(verdict(store, query, T0), GRANT_OTHER_SUBJECT);
    query = shows(7);
    query.resource = slice_str("db/prod/users");
    cr_assert_eq(verdict(store, query, T0), GRANT_OTHER_RESOURCE);
    query = shows(7);
    query.action = slice_str("write");
    cr_assert_eq(verdict(store, query, T0), GRANT_OTHER_ACTION);
    cr_assert_eq(verdict(store, shows(8), T0), GRANT_NOT_ACTIVE, "nobody's token");
    cr_assert_eq(verdict(store, shows(7), T0 + 60000), GRANT_PAST_DEADLINE);
    store_free(store);
}

Test(store_tokens, only_its_grant_counts_not_what_the_subject_has_besides)
{
    struct store *store = store_with_grant();
    struct command other = fixture_request(2);
    other.terms.resource = slice_str("db/prod/users");
    activate(store, other);
    fixture_must(store, set_token(1, 7), T0);
    struct grant_query query = shows(7);
    query.subject = slice_str("user:dev1");
    query.resource = slice_str("db/prod/users");
    cr_assert_eq(verdict(store, query, T0), GRANT_OTHER_RESOURCE);
    query.token_sha256 = (struct slice){0};
    cr_assert_eq(verdict(store, query, T0), GRANT_ALLOWS, "without the token");
    query.token_sha256 = slice_of("short", 5);
    cr_assert_eq(verdict(store, query, T0), GRANT_NOT_ACTIVE, "what is no hash is nobody's");
    store_free(store);
}

Test(store_tokens, nobody_else_may_set_it_and_32_bytes_are_needed)
{
    struct store *store = store_with_grant();
    struct command command = set_token(1, 7);
    command.principal = slice_str("user:app1");
    cr_assert_eq(code(store, command), LAPSE_PERMISSION_DENIED);
    command.principal = slice_str("user:ops");
    cr_assert_eq(code(store, command), LAPSE_PERMISSION_DENIED);
    command = set_token(1, 7);
    command.value.len = 31;
    cr_assert_eq(code(store, command), LAPSE_INVALID_ARGUMENT);
    command.value.len = 0;
    cr_assert_eq(code(store, command), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(code(store, set_token(9, 7)), LAPSE_NOT_FOUND);
    store_free(store);
}

Test(store_tokens, there_is_one_a_grant_and_one_grant_a_token)
{
    struct store *store = store_with_grant();
    activate(store, fixture_request(2));
    fixture_must(store, set_token(1, 7), T0);
    cr_assert_eq(code(store, set_token(1, 8)), LAPSE_FAILED_PRECONDITION, "no second one");
    cr_assert_eq(code(store, set_token(1, 7)), LAPSE_FAILED_PRECONDITION);
    cr_assert_eq(code(store, set_token(2, 7)), LAPSE_ALREADY_EXISTS, "another grant's");
    fixture_must(store, set_token(2, 8), T0);
    store_free(store);
}

Test(store_tokens, a_call_that_is_repeated_has_the_first_outcome)
{
    struct store *store = store_with_grant();
    struct command command = set_token(1, 7);
    command.key = fixture_key(1);
    struct store_outcome first = fixture_must(store, command, T0), again = fixture_must(store, command, T0);
    cr_assert(again.repeated);
    cr_assert_eq(again.revision, first.revision);
    command.value = token(8);
    cr_assert_eq(code(store, command), LAPSE_ALREADY_EXISTS, "the same request_id with another token");
    store_free(store);
}

Test(store_tokens, only_an_active_grant_has_one)
{
    struct store *store = fixture_store(NULL);
    struct command later = fixture_request(2);
    later.terms.not_before_ms = T0 + 1000;
    fixture_must(store, fixture_request(1), T0);
    activate(store, later);
    cr_assert_eq(code(store, set_token(1, 7)), LAPSE_FAILED_PRECONDITION, "PENDING");
    cr_assert_eq(code(store, set_token(2, 7)), LAPSE_FAILED_PRECONDITION, "APPROVED");
    activate(store, fixture_request(3));
    cr_assert_eq(fixture_apply(store, set_token(3, 7), T0 + 60000).error.code, LAPSE_FAILED_PRECONDITION,
                 "past its deadline, though EXPIRED is still to come");
    store_free(store);
}

Test(store_tokens, it_is_dead_when_the_grant_is_however_it_ends)
{
    static const enum command_type ends[] = {COMMAND_COMPLETE, COMMAND_REVOKE, COMMAND_USE, COMMAND_ADVANCE};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct store *store = fixture_store(NULL);
        struct command request = fixture_request(1);
        request.terms.max_uses = 1;
        activate(store, request);
        fixture_must(store, set_token(1, 7), T0);
        cr_assert_eq(verdict(store, shows(7), T0), GRANT_ALLOWS);
        struct command end = ends[i] == COMMAND_ADVANCE
                                 ? fixture_advance(10)
                                 : fixture_about(ends[i], 1, ends[i] == COMMAND_USE ? "user:ep" : "user:req1");
        fixture_must(store, end, ends[i] == COMMAND_ADVANCE ? T0 + 60000 : T0);
        cr_assert(grant_state_is_ended(fixture_state(store, 1)));
        cr_assert_eq(verdict(store, shows(7), T0), GRANT_NOT_ACTIVE);
        cr_assert_eq(tokens_find(store, token(7)), 0);
        store_free(copy_of(store));
        store_free(store);
    }
}

Test(store_tokens, a_dead_ones_hash_may_be_used_again)
{
    struct store *store = store_with_grant();
    activate(store, fixture_request(2));
    fixture_must(store, set_token(1, 7), T0);
    fixture_must(store, fixture_about(COMMAND_COMPLETE, 1, "user:req1"), T0);
    fixture_must(store, set_token(2, 7), T0);
    cr_assert_eq(verdict(store, shows(7), T0), GRANT_ALLOWS);
    struct store *copy = copy_of(store);
    cr_assert_eq(verdict(copy, shows(7), T0), GRANT_ALLOWS);
    store_free(copy);
    store_free(store);
}

Test(store_tokens, a_parents_end_kills_a_childs)
{
    struct store *store = store_with_grant();
    struct command child = fixture_request(2);
    child.principal = slice_str("user:req1");
    child.terms.parent = fixture_id(1);
    activate(store, child);
    fixture_must(store, set_token(2, 7), T0);
    fixture_must(store, fixture_about(COMMAND_REVOKE, 1, "user:req1"), T0);
    cr_assert_eq(verdict(store, shows(7), T0), GRANT_NOT_ACTIVE);
    store_free(store);
}

/* Policies set these; the command carries them through here. */
static struct store *store_with_rule(enum token_rule rule, bool bound)
{
    struct store *store = fixture_store(NULL);
    struct command request = fixture_request(1);
    request.terms.token_rule = rule;
    if (bound)
        request.terms.binding = (struct grant_binding){.networks = {slice_str("10.0.0.0/8")}, .n_networks = 1};
    activate(store, request);
    return store;
}

Test(store_tokens, a_binding_holds_for_who_shows_the_token_too)
{
    struct store *store = store_with_rule(TOKEN_RULE_ALLOWED, true);
    fixture_must(store, set_token(1, 7), T0);
    struct grant_query query = shows(7);
    cr_assert_eq(verdict(store, query, T0), GRANT_BINDING_MISSING);
    query.address = slice_str("192.0.2.1");
    cr_assert_eq(verdict(store, query, T0), GRANT_BINDING_MISSING);
    query.address = slice_str("10.1.2.3");
    cr_assert_eq(verdict(store, query, T0), GRANT_ALLOWS);
    store_free(store);
}

Test(store_tokens, a_restored_store_finds_them)
{
    struct store *store = fixture_store(NULL);
    for (uint64_t i = 1; i <= 100; i++) {
        activate(store, fixture_request(i));
        fixture_must(store, set_token(i, 1000 + i), T0);
    }
    for (uint64_t i = 1; i <= 100; i += 3)
        fixture_must(store, fixture_about(COMMAND_COMPLETE, i, "user:req1"), T0);
    struct store *copy = copy_of(store);
    for (uint64_t i = 1; i <= 100; i++)
        for (struct store *one = store; one != NULL; one = one == store ? copy : NULL) {
            struct grant grant = {0};
            bool found;
            struct grant_query query = shows(1000 + i);
            enum grant_verdict answer = store_check(one, &query, T0, &grant, &found);
            cr_assert_eq(answer, i % 3 == 1 ? GRANT_NOT_ACTIVE : GRANT_ALLOWS, "grant %d", (int)i);
            cr_assert(answer != GRANT_ALLOWS || grant_id_compare(grant.id, fixture_id(i)) == 0, "its own grant");
        }
    fixture_must(copy, fixture_about(COMMAND_COMPLETE, 2, "user:req1"), T0);
    cr_assert_eq(verdict(copy, shows(1002), T0), GRANT_NOT_ACTIVE);
    store_free(copy);
    store_free(store);
}

/* --- under rules -------------------------------------------------------------------------------------------------- */

/* A child of grant 1 for its own subject. */
static struct command child_request(uint64_t number)
{
    struct command child = fixture_request(number);
    child.terms.parent = fixture_id(1);
    child.terms.duration_ms = 30000;
    return child;
}

/* Grant 1 and its child 2, under a rule with `parent`'s word about tokens and then one with `child`'s. */
static struct store *store_with_child(enum token_rule parent, enum token_rule child)
{
    struct policy_rule rule = governed_rule("all", "*");
    rule.delegation_depth = 1;
    rule.automatic = true;
    rule.token = parent;
    struct store *store = governed_store(&rule, 1);
    fixture_must(store, fixture_request(1), T0);
    rule.token = child;
    fixture_must(store, governed_policy(&rule, 1), T0);
    fixture_must(store, child_request(2), T0);
    return store;
}

Test(store_tokens, a_child_has_the_stricter_word_of_its_parents_rule_and_its_own)
{
    static const enum token_rule rules[][3] = {
        {TOKEN_RULE_ALLOWED, TOKEN_RULE_ALLOWED, TOKEN_RULE_ALLOWED},
        {TOKEN_RULE_FORBIDDEN, TOKEN_RULE_ALLOWED, TOKEN_RULE_FORBIDDEN},
        {TOKEN_RULE_FORBIDDEN, TOKEN_RULE_BOUND, TOKEN_RULE_FORBIDDEN},
        {TOKEN_RULE_BOUND, TOKEN_RULE_ALLOWED, TOKEN_RULE_BOUND},
        {TOKEN_RULE_BOUND, TOKEN_RULE_FORBIDDEN, TOKEN_RULE_FORBIDDEN},
        {TOKEN_RULE_ALLOWED, TOKEN_RULE_BOUND, TOKEN_RULE_BOUND},
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct store *store = store_with_child(rules[i][0], rules[i][1]);
        struct grant child;
        cr_assert(store_get(store, fixture_id(2), &child));
        cr_assert_eq(child.token_rule, rules[i][2], "case %zu", i);
        cr_assert_eq(code(store, set_token(2, 7)),
                     rules[i][2] == TOKEN_RULE_ALLOWED ? LAPSE_OK : LAPSE_FAILED_PRECONDITION, "case %zu", i);
        store_free(store);
    }
}

Test(store_tokens, the_built_in_rule_gives_no_child_the_token_that_its_parents_rule_forbids)
{
    struct store *store = store_with_child(TOKEN_RULE_FORBIDDEN, TOKEN_RULE_ALLOWED);
    struct command remove = {
        .type = COMMAND_REMOVE_POLICY, .principal = slice_str("user:ops"), .name = slice_str("test")};
    fixture_must(store, remove, T0);
    activate(store, child_request(3));
    cr_assert_eq(code(store, set_token(3, 7)), LAPSE_FAILED_PRECONDITION);
    struct store *copy = copy_of(store);
    cr_assert_eq(code(copy, set_token(3, 7)), LAPSE_FAILED_PRECONDITION);
    store_free(copy);
    store_free(store);
}

/* --- locks -------------------------------------------------------------------------------------------------------- */

static void lock(struct store *store, const char *subject)
{
    struct command command = {.type = COMMAND_LOCK, .principal = slice_str("user:ops")};
    const struct lock wanted = {
        .kind = LOCK_SUBJECT, .target = slice_str(subject), .reason = slice_str("stolen laptop")};
    struct buf value;
    buf_init(&value, 256);
    cr_assert(lapse_is_ok(lock_encode(&wanted, &value)));
    command.value = buf_slice(&value);
    fixture_must(store, command, T0);
    buf_free(&value);
}

Test(store_tokens, who_is_locked_sets_none_whether_requester_or_subject)
{
    static const char *const locked[] = {"user:req1", "spiffe://example.org/user/req1", "user:dev1"};
    for (size_t i = 0; i < ARRAY_LEN(locked); i++) {
        struct store *store = store_with_grant();
        lock(store, locked[i]);
        struct command command = set_token(1, 7);
        if (i == 1)
            command.principal = slice_str(locked[i]);
        cr_assert_eq(code(store, command), LAPSE_FAILED_PRECONDITION, "%s", locked[i]);
        store_free(store);
    }
}

/* --- forged snapshots --------------------------------------------------------------------------------------------- */

/* Two grants, of which 2 is pending if `state` says so; with the tokens 7 and `other`, past all checks. */
static void expect_no_restore(enum grant_state state, uint64_t other, const char *why)
{
    struct store *store = store_with_grant();
    struct lapse_error error = {0};
    fixture_must(store, fixture_request(2), T0);
    if (state == GRANT_ACTIVE)
        fixture_must(store, fixture_about(COMMAND_APPROVE, 2, "user:app1"), T0);
    extras_set_token(store, slot_find(store, fixture_id(1)), token(7));
    extras_set_token(store, slot_find(store, fixture_id(2)), token(other));
    struct buf bytes = fixture_snapshot(store, 10000);
    struct store *copy = fixture_restore(buf_slice(&bytes), 10000, NULL, &error);
    cr_assert_null(copy);
    cr_assert_not_null(strstr(error.message, why), "%s", error.message);
    buf_free(&bytes);
    store_free(store);
}

Test(store_tokens, a_snapshot_with_a_token_that_no_command_could_have_set_is_refused)
{
    expect_no_restore(GRANT_ACTIVE, 7, "two live grants with one token");
    expect_no_restore(GRANT_PENDING, 8, "a grant under a rule that is none");
}
