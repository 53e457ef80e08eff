/* Eligibility and campaigns: who may put, certify and end them, what a request finds, and that they end in time. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "store/eligibility.h"
#include "store/governance.h"
#include "store/policy.h"
#include "store_fixture.h"

#define DAY_MS (24LL * 3600 * 1000)
#define END (T0 + 30 * DAY_MS)

static struct slice text(const char *text)
{
    return slice_str(text);
}

static struct command about(enum command_type type, const char *name)
{
    return (struct command){.type = type, .principal = text("user:ops"), .name = text(name)};
}

/* Bytes that stay until the next call. */
static struct slice encoded(const struct eligibility *eligibility)
{
    static struct buf bytes;
    buf_free(&bytes);
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    lapse_result result = eligibility_encode(eligibility, &bytes);
    CHECK(lapse_is_ok(result));
    return buf_slice(&bytes);
}

static struct slice encoded_campaign(const struct campaign *campaign)
{
    static struct buf bytes;
    buf_free(&bytes);
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    lapse_result result = campaign_encode(campaign, &bytes);
    CHECK(lapse_is_ok(result));
    return buf_slice(&bytes);
}

static struct eligibility eligibility_of(const char *name, const char *member, const char *resource)
{
    struct eligibility e = {.name = text(name), .member = text(member), .n_resources = 1};
    e.resources[0] = text(resource);
    e.reason = text("on call for orders");
    e.expires_ms = END;
    return e;
}

static struct command put_of(const struct eligibility *e)
{
    return (struct command){.type = COMMAND_PUT_ELIGIBILITY, .principal = text("user:ops"), .value = encoded(e)};
}

static struct command put(const char *name, const char *member, const char *resource)
{
    struct eligibility e = eligibility_of(name, member, resource);
    return put_of(&e);
}

static struct command certify(const char *name, int64_t until_ms)
{
    struct command command = about(COMMAND_CERTIFY, name);
    command.until_ms = until_ms;
    return command;
}

static struct command start_of(const struct campaign *campaign)
{
    return (struct command){
        .type = COMMAND_START_CAMPAIGN, .principal = text("user:ops"), .value = encoded_campaign(campaign)};
}

static struct command start(const char *name, int64_t due_ms)
{
    struct campaign campaign = {.name = text(name), .due_ms = due_ms, .reason = text("every quarter")};
    return start_of(&campaign);
}

/* What is kept, or NULL. Valid until the next apply. */
static const struct eligibility *kept(const struct store *store, const char *name)
{
    static struct eligibility e;
    const struct object *object = store_object(store, OBJECT_ELIGIBILITY, text(name));
    if (object == NULL)
        return NULL;
    lapse_result result = eligibility_decode(object->value, true, &e, NULL);
    cr_assert(lapse_is_ok(result));
    return &e;
}

static const struct campaign *kept_campaign(const struct store *store, const char *name)
{
    static struct campaign c;
    const struct object *object = store_object(store, OBJECT_CAMPAIGN, text(name));
    if (object == NULL)
        return NULL;
    lapse_result result = campaign_decode(object->value, true, &c, NULL);
    cr_assert(lapse_is_ok(result));
    return &c;
}

/* The last event of each kind, its object's bytes copied. */
struct told {
    uint32_t n[STORE_EVENT_LAST + 1];
    uint8_t bytes[LIMIT_OBJECT_BYTES];
    size_t len;
    enum store_event_type last;
};

static void on_event(void *arg, const struct store_event *event)
{
    struct told *told = arg;
    told->n[event->type]++;
    told->last = event->type;
    if (event->object != NULL) {
        told->len = event->object->value.len;
        memcpy(told->bytes, event->object->value.data, told->len);
    }
}

static struct store_outcome tell(struct store *store, struct command command, int64_t time_ms, struct told *told)
{
    struct store_outcome outcome;
    store_apply(store, &command, time_ms, on_event, told, &outcome);
    return outcome;
}

static bool told_text(const struct told *told, const char *text)
{
    return memmem(told->bytes, told->len, text, strlen(text)) != NULL;
}

static enum lapse_code code(struct store *store, struct command command, int64_t time_ms)
{
    uint64_t before = store_revision(store);
    struct store_outcome outcome = fixture_apply(store, command, time_ms);
    if (outcome.error.code != LAPSE_OK)
        cr_assert_eq(store_revision(store), before, "what is refused changes nothing");
    return outcome.error.code;
}

static struct grant terms_of(const char *resource, const char *action)
{
    struct grant terms = {.resource = text(resource), .n_actions = 1};
    terms.actions[0] = text(action);
    return terms;
}

static bool finds(const struct store *store, const char *principal, const char *resource, const char *name)
{
    struct grant terms = terms_of(resource, "read");
    return slice_equal(eligibility_find(store, text(principal), &terms, store_time_ms(store)), text(name));
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

Test(store_eligibility, an_operator_puts_one_and_its_event_shows_it)
{
    struct store *store = fixture_store(NULL);
    struct told told = {0};
    struct store_outcome outcome = tell(store, put("orders", "user:dev1", "db/prod/*"), T0, &told);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
    cr_assert_eq(told.n[STORE_EVENT_ELIGIBILITY_PUT], 1);
    struct eligibility shown;
    lapse_result result = eligibility_decode(slice_of(told.bytes, told.len), true, &shown, NULL);
    cr_assert(lapse_is_ok(result));
    cr_assert(slice_equal(shown.put_by, text("user:ops")));
    cr_assert_eq(shown.put_ms, T0);
    cr_assert_eq(shown.revision, outcome.revision);
    cr_assert_eq(shown.expires_ms, END);
    cr_assert(slice_equal(kept(store, "orders")->member, text("user:dev1")));
    cr_assert_eq(store_next_due_ms(store), END);
    store_free(store);
}

Test(store_eligibility, only_operators_change_them)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, put("orders", "user:dev1", "db/*"), T0);
    fixture_must(store, start("q1", T0 + DAY_MS), T0);
    struct command commands[] = {put("other", "user:dev2", "db/*"), about(COMMAND_REMOVE_ELIGIBILITY, "orders"),
                                 certify("orders", END), start("q2", T0 + DAY_MS), about(COMMAND_CLOSE_CAMPAIGN, "q1")};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        commands[i].principal = text("user:app1");
        cr_assert_eq(code(store, commands[i], T0), LAPSE_PERMISSION_DENIED, "command %zu", i);
    }
    store_free(store);
}

Test(store_eligibility, an_end_is_needed_and_is_at_most_a_year_away)
{
    struct store *store = fixture_store(NULL);
    struct eligibility e = eligibility_of("orders", "user:dev1", "db/*");
    e.expires_ms = 0;
    cr_assert_eq(code(store, put_of(&e), T0), LAPSE_INVALID_ARGUMENT);
    e.expires_ms = T0;
    cr_assert_eq(code(store, put_of(&e), T0), LAPSE_OUT_OF_RANGE);
    e.expires_ms = T0 + LIMIT_ELIGIBILITY_MS_MAX + 1;
    cr_assert_eq(code(store, put_of(&e), T0), LAPSE_OUT_OF_RANGE);
    e.expires_ms--;
    cr_assert_eq(code(store, put_of(&e), T0), LAPSE_OK);
    cr_assert_eq(code(store, certify("orders", 0), T0), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(code(store, certify("orders", T0), T0), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(code(store, certify("orders", T0 + LIMIT_ELIGIBILITY_MS_MAX + 1), T0), LAPSE_OUT_OF_RANGE);
    store_free(store);
}

static enum lapse_code code_of(struct store *store, struct eligibility e)
{
    return code(store, put_of(&e), T0);
}

Test(store_eligibility, bad_members_of_it_are_refused_by_name)
{
    struct store *store = fixture_store(NULL);
    const struct eligibility good = eligibility_of("orders", "user:dev1", "db/*");
    struct eligibility e = good;
    e.name = text("a b");
    cr_assert_eq(code_of(store, e), LAPSE_INVALID_ARGUMENT);
    e = good, e.name = (struct slice){0};
    cr_assert_eq(code_of(store, e), LAPSE_INVALID_ARGUMENT);
    e = good, e.member = text("*");
    cr_assert_eq(code_of(store, e), LAPSE_INVALID_ARGUMENT);
    e = good, e.n_resources = 0;
    cr_assert_eq(code_of(store, e), LAPSE_INVALID_ARGUMENT);
    e = good, e.resources[0] = text("db//x");
    cr_assert_eq(code_of(store, e), LAPSE_INVALID_ARGUMENT);
    e = good, e.n_actions = 1, e.actions[0] = text("Read");
    cr_assert_eq(code_of(store, e), LAPSE_INVALID_ARGUMENT);
    e = good, e.reason = (struct slice){0};
    cr_assert_eq(code_of(store, e), LAPSE_INVALID_ARGUMENT);
    e = good, e.put_by = text("user:ops");
    cr_assert_eq(code_of(store, e), LAPSE_INVALID_ARGUMENT, "that is the store's");
    e = good, e.ended = text("EXPIRED");
    cr_assert_eq(code_of(store, e), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(code_of(store, good), LAPSE_OK);
    store_free(store);
}

Test(store_eligibility, bytes_that_are_not_exactly_one_are_refused)
{
    struct store *store = fixture_store(NULL);
    struct eligibility e = eligibility_of("orders", "user:dev1", "db/*");
    struct command command = put_of(&e);
    uint8_t bytes[512];
    size_t len = command.value.len;
    memcpy(bytes, command.value.data, len);
    command.value = slice_of(bytes, len - 1);
    cr_assert_eq(code(store, command, T0), LAPSE_INVALID_ARGUMENT, "cut off");
    memcpy(bytes + len, "\x7a\x01x", 3); /* field 15 */
    command.value = slice_of(bytes, len + 3);
    cr_assert_eq(code(store, command, T0), LAPSE_INVALID_ARGUMENT, "unknown");
    memcpy(bytes + len, "\x0a\x01x", 3); /* a second name */
    cr_assert_eq(code(store, command, T0), LAPSE_INVALID_ARGUMENT, "out of order");
    command.value = (struct slice){0};
    cr_assert_eq(code(store, command, T0), LAPSE_INVALID_ARGUMENT, "nothing");
    store_free(store);
}

Test(store_eligibility, a_request_finds_it_by_any_name_of_the_member_and_by_prefixes)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, put("exact", "user:dev1", "db/prod/*"), T0);
    fixture_must(store, put("domain", "spiffe://example.org/user/dev2", "db/prod/*"), T0);
    fixture_must(store, put("people", "spiffe://example.org/user/o*", "db/prod/*"), T0);
    fixture_must(store, put("short", "user:aud*", "db/prod/*"), T0);
    fixture_must(store, put("hosts", "spiffe://example.org/workload/*", "db/prod/*"), T0);
    fixture_must(store, put("any", "s*", "any/*"), T0);
    cr_assert(finds(store, "user:dev1", "db/prod/orders", "exact"));
    cr_assert(finds(store, "spiffe://example.org/user/dev1", "db/prod/orders", "exact"));
    cr_assert(finds(store, "user:dev2", "db/prod/orders", "domain"));
    cr_assert(finds(store, "spiffe://example.org/user/dev2", "db/prod/orders", "domain"));
    cr_assert(finds(store, "spiffe://other.org/user/dev2", "db/prod/orders", ""), "another domain's");
    cr_assert(finds(store, "spiffe://example.org/user/oncall", "db/prod/orders", "people"));
    cr_assert(finds(store, "spiffe://other.org/user/oncall", "db/prod/orders", ""));
    cr_assert(finds(store, "spiffe://example.org/user/auditor", "db/prod/orders", "short"));
    cr_assert(finds(store, "spiffe://example.org/workload/proxy1", "db/prod/orders", "hosts"));
    cr_assert(finds(store, "spiffe://example.org/workload/proxy1", "any/x", "any"));
    cr_assert(finds(store, "user:stranger", "db/prod/orders", ""));
    cr_assert(finds(store, "user:dev10", "db/prod/orders", ""));
    store_free(store);
}

Test(store_eligibility, it_must_cover_the_whole_resource_and_all_actions)
{
    struct store *store = fixture_store(NULL);
    struct eligibility e = eligibility_of("orders", "user:dev1", "db/prod/orders");
    e.resources[e.n_resources++] = text("web/*");
    e.actions[e.n_actions++] = text("read");
    e.actions[e.n_actions++] = text("connect");
    fixture_must(store, put_of(&e), T0);
    struct grant terms = terms_of("web/shop/*", "connect");
    cr_assert(slice_equal(eligibility_find(store, text("user:dev1"), &terms, T0), text("orders")));
    terms.actions[terms.n_actions++] = text("write");
    cr_assert_eq(eligibility_find(store, text("user:dev1"), &terms, T0).len, 0, "not all of its actions");
    cr_assert(finds(store, "user:dev1", "db/prod/orders", "orders"));
    cr_assert(finds(store, "user:dev1", "db/prod/*", ""), "wider than what it covers");
    store_free(store);
}

Test(store_eligibility, of_several_the_first_by_name_is_used_whatever_the_order_they_came_in)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, put("c", "user:dev1", "db/*"), T0);
    fixture_must(store, put("a", "user:d*", "db/*"), T0);
    fixture_must(store, put("b", "user:dev1", "db/*"), T0);
    cr_assert(finds(store, "user:dev1", "db/x", "a"));
    fixture_must(store, about(COMMAND_REMOVE_ELIGIBILITY, "a"), T0);
    cr_assert(finds(store, "user:dev1", "db/x", "b"));
    struct store *copy = copy_of(store);
    cr_assert(finds(copy, "user:dev1", "db/x", "b"));
    store_free(copy);
    store_free(store);
}

Test(store_eligibility, a_use_is_counted_without_an_event)
{
    struct store *store = fixture_store(NULL);
    struct store_outcome outcome = {0};
    struct command command = fixture_request(1);
    struct apply apply = {store, &command, T0 + 5, NULL, NULL, &outcome};
    fixture_must(store, put("orders", "user:dev1", "db/*"), T0);
    uint64_t before = store_revision(store);
    struct store *other = copy_of(store);
    eligibility_used(&apply, text("orders"));
    eligibility_used(&apply, text("orders"));
    cr_assert_eq(kept(store, "orders")->uses, 2);
    cr_assert_eq(kept(store, "orders")->used_ms, T0 + 5);
    cr_assert_eq(store_revision(store), before);
    cr_assert_not(fixture_same_digest(store, other), "it is state");
    cr_assert(finds(store, "user:dev1", "db/x", "orders"));
    store_free(copy_of(store));
    store_free(other);
    store_free(store);
}

Test(store_eligibility, it_ends_by_the_clock_also_before_its_event)
{
    struct store *store = fixture_store(NULL);
    struct told told = {0};
    fixture_must(store, put("orders", "user:dev1", "db/*"), T0);
    struct grant terms = terms_of("db/x", "read");
    cr_assert_gt(eligibility_find(store, text("user:dev1"), &terms, END - 1).len, 0);
    cr_assert_eq(eligibility_find(store, text("user:dev1"), &terms, END).len, 0);
    cr_assert_eq(code(store, certify("orders", END + DAY_MS), END), LAPSE_FAILED_PRECONDITION, "too late");
    cr_assert_eq(code(store, about(COMMAND_REMOVE_ELIGIBILITY, "orders"), END), LAPSE_FAILED_PRECONDITION);
    (void)tell(store, fixture_advance(10), END, &told);
    cr_assert_eq(told.n[STORE_EVENT_ELIGIBILITY_ENDED], 1);
    cr_assert(told_text(&told, "EXPIRED"));
    cr_assert_null(kept(store, "orders"));
    cr_assert_eq(store_next_due_ms(store), INT64_MAX);
    store_free(store);
}

Test(store_eligibility, removing_tells_why)
{
    struct store *store = fixture_store(NULL);
    struct told told = {0};
    struct command command = about(COMMAND_REMOVE_ELIGIBILITY, "orders");
    command.text = text("moved to another team");
    cr_assert_eq(code(store, command, T0), LAPSE_NOT_FOUND);
    fixture_must(store, put("orders", "user:dev1", "db/*"), T0);
    cr_assert_eq(tell(store, command, T0, &told).error.code, LAPSE_OK);
    cr_assert(told_text(&told, "REMOVED"));
    cr_assert(told_text(&told, "moved to another team"));
    cr_assert(finds(store, "user:dev1", "db/x", ""));
    store_free(store);
}

static void second_operator(struct store *store, const char *member)
{
    struct command command = {.type = COMMAND_SET_ROLES, .principal = text("user:ops"), .roles = ROLE_OPERATOR};
    command.member = text(member);
    fixture_must(store, command, T0);
}

Test(store_eligibility, certifying_moves_the_end_and_says_by_whom)
{
    struct store *store = fixture_store(NULL);
    struct told told = {0};
    fixture_must(store, put("orders", "user:dev1", "db/*"), T0);
    struct command command = certify("orders", END + DAY_MS);
    command.text = text("still on call");
    cr_assert_eq(tell(store, command, T0 + DAY_MS, &told).error.code, LAPSE_OK);
    cr_assert_eq(told.n[STORE_EVENT_ELIGIBILITY_CERTIFIED], 1);
    const struct eligibility *e = kept(store, "orders");
    cr_assert_eq(e->expires_ms, END + DAY_MS);
    cr_assert_eq(e->certified_ms, T0 + DAY_MS);
    cr_assert(slice_equal(e->certified_by, text("user:ops")));
    cr_assert(slice_equal(e->reason, text("still on call")));
    cr_assert_eq(store_next_due_ms(store), END + DAY_MS);
    fixture_must(store, certify("orders", T0 + 2 * DAY_MS), T0 + DAY_MS);
    cr_assert_eq(kept(store, "orders")->expires_ms, T0 + 2 * DAY_MS, "an earlier end is one, too");
    cr_assert_eq(code(store, certify("other", END), T0 + DAY_MS), LAPSE_NOT_FOUND);
    store_free(store);
}

Test(store_eligibility, nobody_certifies_or_prolongs_their_own_under_any_name)
{
    struct store *store = fixture_store(NULL);
    second_operator(store, "spiffe://example.org/user/ops2");
    struct command own = put("own", "spiffe://example.org/user/ops", "db/*");
    cr_assert_eq(code(store, own, T0), LAPSE_PERMISSION_DENIED, "put for oneself under another name");
    own = put("own", "user:ops", "db/*");
    own.principal = text("spiffe://example.org/user/ops2");
    fixture_must(store, own, T0);
    fixture_must(store, put("all", "user:*", "db/*"), T0);
    cr_assert_eq(code(store, certify("own", END + 1), T0), LAPSE_PERMISSION_DENIED);
    cr_assert_eq(code(store, certify("all", END + 1), T0), LAPSE_PERMISSION_DENIED, "a prefix takes them in");
    struct eligibility e = eligibility_of("all", "user:*", "db/*");
    e.expires_ms = END + 1;
    cr_assert_eq(code(store, put_of(&e), T0), LAPSE_PERMISSION_DENIED, "nor by another in its place");
    e = eligibility_of("own", "user:o*", "db/*");
    e.expires_ms = END + 1;
    cr_assert_eq(code(store, put_of(&e), T0), LAPSE_PERMISSION_DENIED);
    e.expires_ms = END - 1;
    cr_assert_eq(code(store, put_of(&e), T0), LAPSE_OK, "an earlier end is no gain");
    struct command other = certify("own", END + 1);
    other.principal = text("spiffe://example.org/user/ops2");
    cr_assert_eq(code(store, other, T0), LAPSE_PERMISSION_DENIED, "user:o* takes in ops2 as well");
    store_free(store);
}

Test(store_eligibility, nobody_is_eligible_by_their_own_hand)
{
    struct store *store = fixture_store(NULL);
    second_operator(store, "spiffe://example.org/user/boss");
    fixture_must(store, put("all", "user:op*", "db/*"), T0);
    cr_assert(finds(store, "user:ops", "db/x", ""), "a prefix that takes in oneself is no way around");
    cr_assert(finds(store, "spiffe://example.org/user/ops", "db/x", ""));
    cr_assert(finds(store, "user:op2", "db/x", "all"), "others have it");
    struct command other = certify("all", END);
    other.principal = text("spiffe://example.org/user/boss");
    fixture_must(store, other, T0);
    cr_assert(finds(store, "user:ops", "db/x", "all"), "somebody else has looked at it");
    fixture_must(store, start("q1", T0 + DAY_MS), T0);
    fixture_must(store, put("all", "user:op*", "db/*"), T0 + 1);
    cr_assert(finds(store, "user:ops", "db/x", ""), "nor does putting it anew carry one past a campaign");
    store_free(store);
}

Test(store_eligibility, putting_again_replaces_it_and_forgets_whose_it_was)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, put("orders", "user:dev1", "db/*"), T0);
    fixture_must(store, put("orders", "user:dev2", "db/*"), T0);
    cr_assert(finds(store, "user:dev1", "db/x", ""));
    cr_assert(finds(store, "user:dev2", "db/x", "orders"));
    struct store_counts counts;
    store_counts(store, &counts);
    cr_assert_eq(counts.objects[OBJECT_ELIGIBILITY], 1);
    store_free(store);
}

Test(store_eligibility, one_member_has_a_limited_number_under_all_names)
{
    struct store *store = fixture_store(NULL);
    char name[32];
    for (uint32_t i = 0; i < LIMIT_ELIGIBILITIES_PER_MEMBER; i++) {
        snprintf(name, sizeof name, "e%u", i);
        fixture_must(store, put(name, i % 2 ? "user:dev1" : "spiffe://example.org/user/dev1", "db/*"), T0);
    }
    cr_assert_eq(code(store, put("more", "user:dev1", "db/*"), T0), LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_eq(code(store, put("e7", "user:dev1", "web/*"), T0), LAPSE_OK, "one of them replaced");
    cr_assert_eq(code(store, put("more", "user:dev2", "db/*"), T0), LAPSE_OK);
    store_free(store);
}

Test(store_eligibility, an_offboarding_takes_all_that_is_the_members_alone)
{
    struct store *store = fixture_store(NULL);
    struct told told = {0};
    struct store_outcome outcome = {0};
    struct command command = {.type = COMMAND_OFFBOARD, .principal = text("user:ops"), .text = text("has left")};
    struct apply apply = {store, &command, T0, on_event, &told, &outcome};
    fixture_must(store, put("a", "spiffe://example.org/user/dev1", "web/*"), T0);
    fixture_must(store, put("z", "user:dev1", "db/*"), T0);
    fixture_must(store, put("m", "user:dev1", "host/*"), T0);
    fixture_must(store, put("team", "user:dev*", "db/*"), T0);
    cr_assert_eq(eligibility_remove_all(&apply, text("spiffe://example.org/user/dev1")), 3);
    cr_assert_eq(told.n[STORE_EVENT_ELIGIBILITY_ENDED], 3);
    cr_assert(told_text(&told, "OFFBOARDED"));
    cr_assert(told_text(&told, "db/*"), "in the order of names: the last one is z");
    cr_assert_null(kept(store, "z"));
    cr_assert_null(kept(store, "a"));
    cr_assert_not_null(kept(store, "team"));
    cr_assert_eq(eligibility_remove_all(&apply, text("user:dev1")), 0);
    store_free(store);
}

/* --- campaigns ---------------------------------------------------------------------------------------------------- */

static struct store *store_with_campaign(void)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, put("a", "user:dev1", "db/prod/orders"), T0);
    fixture_must(store, put("b", "user:dev2", "db/*"), T0);
    fixture_must(store, put("c", "user:dev3", "web/*"), T0);
    struct campaign campaign = {
        .name = text("q1"), .n_resources = 1, .due_ms = T0 + 10 * DAY_MS, .reason = text("every quarter")};
    campaign.resources[0] = text("db/prod/*");
    fixture_must(store, start_of(&campaign), T0 + DAY_MS);
    return store;
}

Test(store_campaigns, what_is_in_scope_and_not_certified_in_time_lapses)
{
    struct store *store = store_with_campaign();
    struct told told = {0};
    int64_t due = T0 + 10 * DAY_MS;
    cr_assert_eq(kept_campaign(store, "q1")->items, 2);
    fixture_must(store, certify("a", END), T0 + 2 * DAY_MS);
    fixture_must(store, put("late", "user:dev4", "db/*"), T0 + 2 * DAY_MS);
    cr_assert_eq(store_next_due_ms(store), due);
    cr_assert(finds(store, "user:dev2", "db/x", "b"));
    (void)tell(store, fixture_advance(100), due, &told);
    cr_assert_eq(told.n[STORE_EVENT_ELIGIBILITY_ENDED], 1);
    cr_assert_eq(told.n[STORE_EVENT_CAMPAIGN_ENDED], 1);
    cr_assert_eq(told.last, STORE_EVENT_CAMPAIGN_ENDED);
    struct campaign last;
    lapse_result result = campaign_decode(slice_of(told.bytes, told.len), true, &last, NULL);
    cr_assert(lapse_is_ok(result));
    cr_assert_eq(last.items, 2);
    cr_assert_eq(last.lapsed, 1);
    cr_assert_not_null(kept(store, "a"), "certified");
    cr_assert_null(kept(store, "b"));
    cr_assert_not_null(kept(store, "c"), "out of scope");
    cr_assert_not_null(kept(store, "late"), "put after it began");
    cr_assert_null(kept_campaign(store, "q1"));
    store_free(store);
}

Test(store_campaigns, its_end_holds_by_the_clock_also_before_its_events)
{
    struct store *store = store_with_campaign();
    struct grant terms = terms_of("db/x", "read");
    int64_t due = T0 + 10 * DAY_MS;
    cr_assert_gt(eligibility_find(store, text("user:dev2"), &terms, due - 1).len, 0);
    cr_assert_eq(eligibility_find(store, text("user:dev2"), &terms, due).len, 0);
    cr_assert_eq(code(store, certify("b", END), due), LAPSE_FAILED_PRECONDITION);
    cr_assert_eq(code(store, certify("c", END), due), LAPSE_OK, "not in its scope");
    store_free(store);
}

Test(store_campaigns, closing_it_early_leaves_what_is_there)
{
    struct store *store = store_with_campaign();
    struct told told = {0};
    struct command command = about(COMMAND_CLOSE_CAMPAIGN, "q1");
    command.text = text("begun by mistake");
    cr_assert_eq(tell(store, command, T0 + 2 * DAY_MS, &told).error.code, LAPSE_OK);
    cr_assert_eq(told.n[STORE_EVENT_CAMPAIGN_ENDED], 1);
    cr_assert(told_text(&told, "begun by mistake"));
    cr_assert_eq(code(store, command, T0 + 2 * DAY_MS), LAPSE_NOT_FOUND);
    (void)tell(store, fixture_advance(100), T0 + 10 * DAY_MS, &told);
    cr_assert_eq(told.n[STORE_EVENT_ELIGIBILITY_ENDED], 0);
    cr_assert_not_null(kept(store, "b"));
    store_free(store);
}

Test(store_campaigns, members_restrict_it_and_a_prefix_must_lie_wholly_within)
{
    struct store *store = fixture_store(NULL);
    fixture_must(store, put("dev1", "user:dev1", "db/*"), T0);
    fixture_must(store, put("team", "user:dev*", "db/*"), T0);
    fixture_must(store, put("everybody", "user:*", "db/*"), T0);
    struct campaign campaign = {.name = text("one"), .n_members = 1, .due_ms = T0 + DAY_MS};
    campaign.members[0] = text("spiffe://example.org/user/dev1");
    fixture_must(store, start_of(&campaign), T0);
    cr_assert_eq(kept_campaign(store, "one")->items, 1, "prefixes are others' as well");
    campaign.name = text("many");
    campaign.members[0] = text("user:dev*");
    fixture_must(store, start_of(&campaign), T0);
    cr_assert_eq(kept_campaign(store, "many")->items, 2);
    store_free(store);
}

Test(store_campaigns, wrong_ones_are_refused)
{
    struct store *store = store_with_campaign();
    struct campaign c = {.name = text("q2"), .due_ms = T0 + 20 * DAY_MS};
    cr_assert_eq(code(store, start("q1", T0 + 20 * DAY_MS), T0 + DAY_MS), LAPSE_ALREADY_EXISTS);
    cr_assert_eq(code(store, start("q2", T0 + DAY_MS), T0 + DAY_MS), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(code(store, start("q2", T0 + 2 * LIMIT_ELIGIBILITY_MS_MAX), T0 + DAY_MS), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(code(store, start("q2", 0), T0 + DAY_MS), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(code(store, start("q/2", T0 + 20 * DAY_MS), T0 + DAY_MS), LAPSE_INVALID_ARGUMENT);
    c.items = 3;
    cr_assert_eq(code(store, start_of(&c), T0 + DAY_MS), LAPSE_INVALID_ARGUMENT, "that is the store's");
    cr_assert_eq(code(store, start("q2", T0 + 20 * DAY_MS), T0 + DAY_MS), LAPSE_OK);
    store_free(store);
}

/* --- many --------------------------------------------------------------------------------------------------------- */

#define MANY 5000u

static void put_many(struct store *store, uint32_t n)
{
    char name[32], member[32];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "e%05u", i);
        snprintf(member, sizeof member, "user:dev%u", i);
        fixture_must(store, put(name, member, "db/*"), T0);
    }
}

Test(store_campaigns, many_lapse_in_slices_and_a_restored_store_goes_on_the_same_way)
{
    struct store *store = fixture_store(NULL);
    int64_t due = T0 + DAY_MS;
    put_many(store, MANY);
    fixture_must(store, start("all", due), T0);
    fixture_must(store, certify("e00001", END), T0);
    fixture_must(store, certify("e04999", END), T0);
    struct told told = {0};
    (void)tell(store, fixture_advance(UINT32_MAX), due, &told);
    cr_assert_eq(told.n[STORE_EVENT_ELIGIBILITY_ENDED], LIMIT_ADVANCE_BATCH);
    cr_assert_eq(store_next_due_ms(store), due, "more is due at once");
    cr_assert_eq(kept_campaign(store, "all")->lapsed, LIMIT_ADVANCE_BATCH);
    struct store *copy = copy_of(store);
    for (struct store *one = store; one != NULL; one = one == store ? copy : NULL) {
        memset(&told, 0, sizeof told);
        while (store_next_due_ms(one) <= due)
            (void)tell(one, fixture_advance(UINT32_MAX), due, &told);
        cr_assert_eq(told.n[STORE_EVENT_ELIGIBILITY_ENDED], MANY - LIMIT_ADVANCE_BATCH - 2);
        cr_assert_eq(told.n[STORE_EVENT_CAMPAIGN_ENDED], 1);
    }
    cr_assert(fixture_same_digest(store, copy));
    cr_assert_not_null(kept(store, "e00001"));
    cr_assert_not_null(kept(store, "e04999"));
    store_free(copy);
    store_free(store);
}

/* What is put, certified or removed between two slices neither lapses nor hides another. */
Test(store_campaigns, changes_between_its_slices_skip_nothing)
{
    struct store *store = fixture_store(NULL);
    int64_t due = T0 + DAY_MS;
    put_many(store, 40);
    fixture_must(store, certify("e00000", END), T0);
    fixture_must(store, start("all", due), T0);
    fixture_must(store, certify("e00005", END), T0 + 1);
    (void)fixture_apply(store, fixture_advance(10), due);
    fixture_must(store, put("a-new", "user:new1", "db/*"), due);
    fixture_must(store, about(COMMAND_REMOVE_ELIGIBILITY, "e00005"), due);
    fixture_must(store, put("e00003", "user:new2", "db/*"), due);
    struct store *copy = copy_of(store);
    for (struct store *one = store; one != NULL; one = one == store ? copy : NULL)
        while (store_next_due_ms(one) <= due)
            (void)fixture_apply(one, fixture_advance(7), due);
    struct store_counts counts;
    store_counts(store, &counts);
    cr_assert_eq(counts.objects[OBJECT_ELIGIBILITY], 2);
    cr_assert_not_null(kept(store, "a-new"));
    cr_assert_not_null(kept(store, "e00003"));
    cr_assert(fixture_same_digest(store, copy));
    store_free(copy);
    store_free(store);
}

/* Random changes against a list that is looked through, with restores in between. */
Test(store_eligibility, the_index_finds_what_a_look_through_all_finds)
{
    static const char *const members[] = {"user:dev1",
                                          "user:dev*",
                                          "user:d*",
                                          "spiffe://a/user/dev1",
                                          "spiffe://a/user/d*",
                                          "spiffe://b/*",
                                          "spiffe://b/user/dev2",
                                          "spiffe:*",
                                          "s*",
                                          "workload:x",
                                          "spiffe://a/workload/x",
                                          "u*"};
    static const char *const principals[] = {"user:dev1",
                                             "user:dev2",
                                             "spiffe://a/user/dev1",
                                             "spiffe://b/user/dev1",
                                             "spiffe://b/user/dev2",
                                             "workload:x",
                                             "spiffe://a/workload/x",
                                             "spiffe://b/workload/y",
                                             "other"};
    struct store *store = fixture_store(NULL);
    struct fixture_random random = {7};
    for (int round = 0; round < 300; round++) {
        char name[8];
        snprintf(name, sizeof name, "n%u", fixture_pick(&random, 12));
        if (fixture_pick(&random, 3) == 0)
            (void)fixture_apply(store, about(COMMAND_REMOVE_ELIGIBILITY, name), T0);
        else
            fixture_must(store, put(name, members[fixture_pick(&random, ARRAY_LEN(members))], "db/*"), T0);
        for (size_t p = 0; p < ARRAY_LEN(principals); p++) {
            struct slice best = {0};
            const struct object *object;
            for (uint32_t i = 0; best.len == 0 && (object = store_object_at(store, OBJECT_ELIGIBILITY, i)); i++) {
                struct eligibility e;
                lapse_result result = eligibility_decode(object->value, true, &e, NULL);
                cr_assert(lapse_is_ok(result));
                if (principal_matches(e.member, text(principals[p])))
                    best = object->name;
            }
            struct grant terms = terms_of("db/x", "read");
            struct slice found = eligibility_find(store, text(principals[p]), &terms, T0);
            cr_assert(slice_equal(found, best), "round %d, %s: %.*s, not %.*s", round, principals[p], (int)found.len,
                      (const char *)found.data, (int)best.len, (const char *)best.data);
        }
        if (round % 50 == 49) {
            struct store *copy = copy_of(store);
            store_free(store);
            store = copy;
        }
    }
    store_free(store);
}

static int64_t microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ADVANCE until nothing is due; how long the slowest took. */
static int64_t advance_all(struct store *store, int64_t time_ms)
{
    int64_t worst = 0;
    while (store_next_due_ms(store) <= time_ms) {
        int64_t from = microseconds();
        (void)fixture_apply(store, fixture_advance(UINT32_MAX), time_ms);
        int64_t took = microseconds() - from;
        worst = took > worst ? took : worst;
    }
    return worst;
}

/* LAPSE_MEASURE=1 prints figures, with as many as there may be. */
Test(store_eligibility, all_of_them_may_end_at_one_moment, .timeout = 600)
{
    uint32_t n = getenv("LAPSE_MEASURE") != NULL ? LIMIT_ELIGIBILITIES : 3000;
    struct store *store = fixture_store(NULL);
    struct grant terms = terms_of("db/x", "read");
    put_many(store, n);
    int64_t begin = microseconds();
    fixture_must(store, start("all", T0 + DAY_MS), T0);
    int64_t start_us = microseconds() - begin;
    begin = microseconds();
    for (int i = 0; i < 1000; i++)
        cr_assert_gt(eligibility_find(store, text("spiffe://example.org/user/dev17"), &terms, T0).len, 0);
    int64_t find_ns = microseconds() - begin;
    int64_t lapse_us = advance_all(store, T0 + DAY_MS);
    put_many(store, n);
    int64_t expire_us = advance_all(store, END);
    struct store_counts counts;
    store_counts(store, &counts);
    cr_assert_eq(counts.objects[OBJECT_ELIGIBILITY] + counts.objects[OBJECT_CAMPAIGN], 0);
    if (n == LIMIT_ELIGIBILITIES)
        fprintf(stderr, "%u: START %lld us, find %lld ns, the slowest ADVANCE: %lld us (lapse), %lld us (expire)\n", n,
                (long long)start_us, (long long)find_ns, (long long)lapse_us, (long long)expire_us);
    store_free(store);
}
