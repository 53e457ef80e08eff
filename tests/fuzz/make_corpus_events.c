/* Seeds of what governs: each command of it, a snapshot with each kind of object, and the events of it all, as the
 * store makes them.
 *
 * One story: a policy, eligibility and a campaign over it, a break-glass grant and its review, a token, points, locks,
 * an offboarding, a webhook. Every command that is told is a seed, by a principal that has all roles in
 * fuzz_command.c's store; so is the first event of each type. */
#include <stdio.h>

#include "base/check.h"
#include "store/eligibility.h"
#include "store/lock.h"
#include "tests/fuzz/make_corpus.h"
#include "tests/unit/governed_fixture.h"

#define HOUR_MS (3600LL * 1000)
#define DAY_MS (24 * HOUR_MS)

struct story {
    struct store *store;
    int64_t now_ms;
    uint64_t told; /* event types that have a seed: bits 1 << type */
};

static void on_event(void *arg, const struct store_event *event)
{
    struct story *story = arg;
    char name[64];
    if (story->told & UINT64_C(1) << event->type)
        return;
    story->told |= UINT64_C(1) << event->type;
    (void)snprintf(name, sizeof name, "event-%s", store_event_name(event->type));
    seed_write("json", name, SEED_NO_PREFIX, event->encoded);
}

static void tell(struct story *story, struct command command)
{
    struct store_outcome outcome;
    store_apply(story->store, &command, story->now_ms, on_event, story, &outcome);
    if (outcome.error.code != LAPSE_OK)
        (void)fprintf(stderr, "make-corpus: %s\n", outcome.error.message);
    CHECK(outcome.error.code == LAPSE_OK);
}

/* The same, and a seed of this name. */
static void tell_seed(struct story *story, const char *name, struct command command)
{
    struct command seed = command;
    struct buf bytes;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    seed.principal = command.principal.len == 0 ? command.principal : slice_str("user:a");
    lapse_result result = command_encode(&seed, &bytes);
    CHECK(lapse_is_ok(result));
    seed_write("command", name, SEED_NO_PREFIX, buf_slice(&bytes));
    buf_free(&bytes);
    tell(story, command);
}

static struct command by_ops(enum command_type type, const char *name, const char *text)
{
    return (struct command){
        .type = type, .principal = slice_str("user:ops"), .name = slice_str(name), .text = slice_str(text)};
}

/* Bytes that stay until the next call. */
static struct slice kept(lapse_result result, struct buf *bytes)
{
    static struct buf last;
    CHECK(lapse_is_ok(result));
    buf_free(&last);
    last = *bytes;
    return buf_slice(&last);
}

static struct command with_value(enum command_type type, struct slice value)
{
    return (struct command){.type = type, .principal = slice_str("user:ops"), .value = value};
}

/* --- chapters ------------------------------------------------------------------------------------------------------
 */

static void put_eligibility(struct story *story, const char *name, const char *member)
{
    struct buf bytes;
    struct eligibility eligibility = {.name = slice_str(name),
                                      .member = slice_str(member),
                                      .resources = {slice_str("db/*")},
                                      .n_resources = 1,
                                      .actions = {slice_str("read")},
                                      .n_actions = 1,
                                      .reason = slice_str("on call"),
                                      .expires_ms = T0 + 30 * DAY_MS};
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    lapse_result result = eligibility_encode(&eligibility, &bytes);
    tell_seed(story, "put-eligibility", with_value(COMMAND_PUT_ELIGIBILITY, kept(result, &bytes)));
}

static void start_campaign(struct story *story, const char *name)
{
    struct buf bytes;
    struct campaign campaign = {.name = slice_str(name),
                                .members = {slice_str("user:dev*")},
                                .n_members = 1,
                                .resources = {slice_str("db/*")},
                                .n_resources = 1,
                                .due_ms = T0 + 20 * DAY_MS,
                                .reason = slice_str("the quarter")};
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    lapse_result result = campaign_encode(&campaign, &bytes);
    tell_seed(story, "start-campaign", with_value(COMMAND_START_CAMPAIGN, kept(result, &bytes)));
}

static void eligibilities(struct story *story)
{
    put_eligibility(story, "orders", "user:dev1");
    put_eligibility(story, "once", "user:dev3");
    start_campaign(story, "quarter");
    start_campaign(story, "short");
    struct command certify = by_ops(COMMAND_CERTIFY, "orders", "still on call");
    certify.until_ms = T0 + 60 * DAY_MS;
    tell_seed(story, "certify", certify);
    tell_seed(story, "close-campaign", by_ops(COMMAND_CLOSE_CAMPAIGN, "short", "a mistake"));
    tell_seed(story, "remove-eligibility", by_ops(COMMAND_REMOVE_ELIGIBILITY, "once", "over"));
}

/* Two break-glass grants: one is reviewed, the other's review becomes overdue. */
static void reviews(struct story *story)
{
    for (uint64_t i = 1; i <= 2; i++) {
        struct command request = fixture_request(i);
        request.terms.break_glass = true;
        request.terms.duration_ms = HOUR_MS;
        tell(story, request);
    }
    struct command set_token = fixture_about(COMMAND_SET_TOKEN, 1, "user:req1");
    set_token.value = slice_str("0123456789abcdef0123456789abcdef");
    tell_seed(story, "set-token", set_token);
    tell(story, fixture_about(COMMAND_REVOKE, 1, "user:ops"));
    struct command close = fixture_about(COMMAND_CLOSE_REVIEW, 1, "user:b1");
    close.count = 1;
    close.text = slice_str("the database was down");
    tell_seed(story, "close-review", close);
    story->now_ms += 31000;
    tell(story, fixture_advance(100));
}

static void put_lock(struct story *story, const char *name, enum lock_kind kind, const char *target, int64_t until_ms)
{
    struct buf bytes;
    struct lock lock = {
        .kind = kind, .target = slice_str(target), .reason = slice_str("incident"), .until_ms = until_ms};
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    lapse_result result = lock_encode(&lock, &bytes);
    tell_seed(story, name, with_value(COMMAND_LOCK, kept(result, &bytes)));
}

static void locks(struct story *story)
{
    tell(story, fixture_register("edge-2", 2, "db/*"));
    put_lock(story, "lock-subject", LOCK_SUBJECT, "user:dev2", 0);
    put_lock(story, "lock-resource", LOCK_RESOURCE, "web/*", T0 + 10 * DAY_MS);
    put_lock(story, "lock-point", LOCK_POINT, "edge-9", 0);
    put_lock(story, "lock-resource-ended", LOCK_RESOURCE, "vm/a", 0);
    tell_seed(story, "unlock", by_ops(COMMAND_UNLOCK, "resource:vm/a", "found again"));
    struct command offboard = by_ops(COMMAND_OFFBOARD, "", "left the company");
    offboard.member = slice_str("user:dev4");
    tell_seed(story, "offboard", offboard);
}

/* The second break-glass grant gets a session, is revoked, and the point says that it denies. */
static void enforcement(struct story *story)
{
    struct command bind = by_ops(COMMAND_SET_ROLES, "", "");
    struct command session = {.type = COMMAND_SESSION_BEGIN,
                              .principal = slice_str("user:ep"),
                              .text = slice_str("sshd pts/3"),
                              .grant = fixture_id(2),
                              .instance = fixture_random_id(1),
                              .session = fixture_random_id(1)};
    bind.member = slice_str("user:new");
    bind.roles = ROLE_ENFORCER;
    bind.scope = slice_str("db/* web/*");
    tell(story, bind);
    tell(story, session);
    session.type = COMMAND_SESSION_END;
    session.text = (struct slice){0};
    session.grant = (struct grant_id){{0}};
    tell(story, session);
    tell(story, fixture_about(COMMAND_REVOKE, 2, "user:ops"));
    tell(story, fixture_receipt(store_revision(story->store), 1, RECEIPT_FAILED, story->now_ms));
    tell(story,
         (struct command){.type = COMMAND_END_POINT, .instance = fixture_random_id(1), .count = POINT_END_LAPSED});
}

static void webhook(struct story *story)
{
    tell_seed(story, "hook-done",
              (struct command){.type = COMMAND_HOOK_DONE, .name = slice_str("chat"), .revision = 3});
}

static void policies(struct story *story, struct policy_rule *rule)
{
    tell_seed(story, "apply-policy", governed_policy(rule, 1));
    struct command remove = by_ops(COMMAND_REMOVE_POLICY, "other", "not needed");
    fixture_open(story->store, "other");
    tell_seed(story, "remove-policy", remove);
}

/* --- */

static void seed_governed_snapshot(struct store *store)
{
    struct buf bytes = fixture_snapshot(store, 4096);
    for (int kind = OBJECT_POLICY; kind < OBJECT_KINDS; kind++)
        CHECK(store_object_at(store, (enum object_kind)kind, 0) != NULL);
    seed_write("snapshot", "objects", SEED_NO_PREFIX, buf_slice(&bytes));
    buf_free(&bytes);
}

void seed_events(void)
{
    struct policy_rule rule = governed_rule("glass", "*");
    rule.break_glass = rule.automatic = true;
    rule.review_within_ms = 30000;
    governed_reviewers(&rule, "user:b*");
    struct story story = {.store = governed_store(&rule, 1), .now_ms = T0};
    rule.review_within_ms = 20000;
    policies(&story, &rule);
    eligibilities(&story);
    reviews(&story);
    tell(&story, fixture_register("edge-1", 1, "db/*"));
    enforcement(&story);
    locks(&story);
    webhook(&story);
    seed_governed_snapshot(story.store);
    /* All that ends by itself. */
    story.now_ms = T0 + 400 * DAY_MS;
    tell(&story, fixture_advance(1000));
    store_free(story.store);
}
