/* Break-glass: at once, short, and somebody else looks at it in time, or requester and subject are barred. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/check.h"
#include "governed_fixture.h"
#include "store/review.h"

#define WITHIN 10000

static void refused(struct store_outcome outcome, enum lapse_code code, const char *says)
{
    cr_assert_eq(outcome.error.code, code, "%s: %s", lapse_code_name(outcome.error.code), outcome.error.message);
    cr_assert_not_null(strstr(outcome.error.message, says), "\"%s\" lacks \"%s\"", outcome.error.message, says);
}

/* Break-glass that needs nobody, reviewed by user:b*, beside a rule for everything else. */
static struct store *glass_store(bool automatic)
{
    struct policy_rule rules[] = {governed_rule("glass", "db/*"), governed_rule("normal", "db/*")};
    rules[0].break_glass = true;
    rules[0].automatic = automatic;
    rules[0].review_within_ms = WITHIN;
    governed_reviewers(&rules[0], "user:b* spiffe://example.org/user/b*");
    return governed_store(rules, 2);
}

static struct command glass(uint64_t number)
{
    struct command command = fixture_request(number);
    command.terms.break_glass = true;
    return command;
}

/* By one of so many requesters that none of them has too many. */
static struct command glass_of_many(uint64_t number)
{
    static char who[32];
    struct command command = glass(number);
    (void)snprintf(who, sizeof who, "user:req%llu", (unsigned long long)number / LIMIT_REVIEWS_PER_REQUESTER + 2);
    command.principal = slice_str(who);
    return command;
}

static void let_many_request(struct store *store)
{
    struct command command = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = ROLE_REQUESTER};
    command.member = slice_str("user:req*");
    fixture_must(store, command, T0);
}

static struct command closing(uint64_t number, const char *who)
{
    struct command command = fixture_about(COMMAND_CLOSE_REVIEW, number, who);
    command.count = REVIEW_JUSTIFIED;
    command.text = slice_str("the orders were lost indeed");
    return command;
}

static struct review review_of(const struct store *store, uint64_t number)
{
    char id[GRANT_ID_TEXT_SIZE];
    struct review review;
    grant_id_format(fixture_id(number), id);
    const struct object *object = store_object(store, OBJECT_REVIEW, slice_str(id));
    cr_assert_not_null(object);
    cr_assert_null(review_decode(object->value, &review));
    return review;
}

static uint64_t n_reviews(const struct store *store)
{
    struct store_counts counts;
    store_counts(store, &counts);
    return counts.objects[OBJECT_REVIEW];
}

struct told {
    enum store_event_type types[16];
    struct review last;
    uint32_t n;
};

static void on_event(void *arg, const struct store_event *event)
{
    static uint8_t bytes[REVIEW_BYTES_MAX];
    struct told *told = arg;
    if (told->n < 16)
        told->types[told->n] = event->type;
    told->n++;
    if (event->object == NULL)
        return;
    memcpy(bytes, event->object->value.data, event->object->value.len);
    cr_assert_null(review_decode(slice_of(bytes, event->object->value.len), &told->last));
    cr_assert_eq(told->last.revision, event->revision);
}

static void tell(struct store *store, struct command command, int64_t time_ms, struct told *told)
{
    struct store_outcome outcome;
    store_apply(store, &command, time_ms, on_event, told, &outcome);
    cr_assert_eq(outcome.error.code, LAPSE_OK, "%s", outcome.error.message);
}

Test(store_reviews, a_break_glass_grant_is_active_at_once_and_opens_its_review)
{
    struct store *store = glass_store(true);
    struct told told = {.n = 0};
    tell(store, glass(1), T0, &told);
    cr_assert_eq(fixture_state(store, 1), GRANT_ACTIVE);
    cr_assert_eq(told.n, 4);
    cr_assert_eq(told.types[2], STORE_EVENT_ACTIVATED);
    cr_assert_eq(told.types[3], STORE_EVENT_REVIEW_OPENED);
    struct review review = review_of(store, 1);
    cr_assert(slice_equal(review.subject, slice_str("user:dev1")));
    cr_assert(slice_equal(review.requester, slice_str("user:req1")));
    cr_assert(slice_equal(review.justification, slice_str("restore one order")));
    cr_assert(slice_equal(review.rule, slice_str("glass")));
    cr_assert_eq(review.opened_ms, T0);
    cr_assert_eq(review.due_ms, T0 + WITHIN);
    cr_assert_not(review.overdue);
    store_free(store);
}

Test(store_reviews, a_review_opens_when_the_grant_becomes_active_and_not_before)
{
    struct store *store = glass_store(false);
    struct told told = {.n = 0};
    tell(store, glass(1), T0, &told);
    cr_assert_eq(n_reviews(store), 0);
    tell(store, fixture_about(COMMAND_APPROVE, 1, "user:b1"), T0 + 5, &told);
    cr_assert_eq(told.types[told.n - 1], STORE_EVENT_REVIEW_OPENED);
    cr_assert_eq(review_of(store, 1).opened_ms, T0 + 5);
    cr_assert(slice_equal(review_of(store, 1).approvers, slice_str("user:b1")));
    store_free(store);
}

Test(store_reviews, a_grant_without_break_glass_has_no_review)
{
    struct store *store = glass_store(true);
    fixture_must(store, fixture_request(1), T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "user:a1"), T0);
    cr_assert_eq(fixture_state(store, 1), GRANT_ACTIVE);
    cr_assert_eq(n_reviews(store), 0);
    store_free(store);
}

Test(store_reviews, break_glass_is_for_now)
{
    struct store *store = glass_store(true);
    struct command later = glass(1);
    later.terms.not_before_ms = T0 + 1;
    refused(fixture_apply(store, later, T0), LAPSE_OUT_OF_RANGE, "break-glass is for now");
    fixture_must(store, later, T0 + 1);
    store_free(store);
}

Test(store_reviews, a_closed_review_is_gone_and_its_event_has_the_verdict)
{
    struct store *store = glass_store(true);
    struct told told = {.n = 0};
    fixture_must(store, glass(1), T0);
    struct command command = closing(1, "user:b1");
    command.count = REVIEW_MISUSED;
    tell(store, command, T0 + 7, &told);
    cr_assert_eq(told.types[0], STORE_EVENT_REVIEW_CLOSED);
    cr_assert_eq(told.last.verdict, (uint32_t)REVIEW_MISUSED);
    cr_assert(slice_equal(told.last.closed_by, slice_str("user:b1")));
    cr_assert(slice_equal(told.last.comment, command.text));
    cr_assert_eq(told.last.closed_ms, T0 + 7);
    cr_assert_eq(n_reviews(store), 0);
    refused(fixture_apply(store, closing(1, "user:b1"), T0 + 8), LAPSE_NOT_FOUND, "no review of grant");
    fixture_must(store, fixture_advance(10), T0 + WITHIN);
    fixture_must(store, glass(2), T0 + WITHIN);
    store_free(store);
}

Test(store_reviews, only_a_reviewer_who_had_no_part_in_it_closes_it)
{
    struct store *store = glass_store(false);
    struct command bind = {.type = COMMAND_SET_ROLES,
                           .principal = slice_str("user:ops"),
                           .member = slice_str("user:b3"),
                           .roles = ROLE_REQUESTER | ROLE_APPROVER};
    fixture_must(store, bind, T0);
    struct command request = glass(1);
    request.principal = slice_str("user:b3");
    request.terms.subject = slice_str("user:b4");
    fixture_must(store, request, T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "user:b1"), T0);
    static const char *const own[] = {"user:b3",
                                      "user:b4",
                                      "user:b1",
                                      "spiffe://example.org/user/b3",
                                      "spiffe://example.org/user/b4",
                                      "spiffe://example.org/user/b1"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        refused(fixture_apply(store, closing(1, own[i]), T0), LAPSE_PERMISSION_DENIED, "doesn't review it");
    refused(fixture_apply(store, closing(1, "user:a1"), T0), LAPSE_PERMISSION_DENIED, "reviewed by one of user:b*");
    refused(fixture_apply(store, closing(1, "user:ops"), T0), LAPSE_PERMISSION_DENIED, "only an approver");
    fixture_must(store, closing(1, "user:b2"), T0);
    store_free(store);
}

Test(store_reviews, an_approver_of_the_grant_is_refused_after_the_grant_has_left)
{
    struct store *store = glass_store(false);
    fixture_must(store, glass(1), T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "user:b1"), T0);
    fixture_must(store, fixture_advance(10), T0 + 60000);
    fixture_must(store, fixture_advance(10), T0 + 60000 + LIMIT_ENDED_RETENTION_MS);
    cr_assert_eq(fixture_state(store, 1), 0);
    int64_t now = store_time_ms(store);
    refused(fixture_apply(store, closing(1, "user:b1"), now), LAPSE_PERMISSION_DENIED, "doesn't review it");
    /* Nor is its id free for another one. */
    struct command again = glass(1);
    again.principal = slice_str("user:req2");
    again.terms.subject = slice_str("user:dev2");
    refused(fixture_apply(store, again, now), LAPSE_ALREADY_EXISTS, "new id");
    fixture_must(store, closing(1, "user:b2"), now);
    store_free(store);
}

Test(store_reviews, an_overdue_review_bars_requester_and_subject_until_it_is_closed)
{
    struct store *store = glass_store(true);
    struct told told = {.n = 0};
    fixture_must(store, glass(1), T0);
    cr_assert_eq(store_next_due_ms(store), T0 + WITHIN);
    fixture_must(store, fixture_request(2), T0 + WITHIN - 1);
    tell(store, fixture_advance(10), T0 + WITHIN, &told);
    cr_assert_eq(told.types[0], STORE_EVENT_REVIEW_OVERDUE);
    cr_assert(review_of(store, 1).overdue);
    int64_t now = T0 + WITHIN;
    /* The requester for anybody, the subject by anybody; also by break-glass, also under other names. */
    struct command requests[] = {fixture_request(3), fixture_request(4), glass(5), fixture_request(6)};
    requests[0].terms.subject = slice_str("user:dev2");
    requests[1].principal = slice_str("user:req2");
    requests[3].principal = slice_str("user:req2");
    requests[3].terms.subject = slice_str("spiffe://example.org/user/dev1");
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        refused(fixture_apply(store, requests[i], now), LAPSE_FAILED_PRECONDITION, "is barred: the review of");
    struct command other = fixture_request(7);
    other.principal = slice_str("user:req2");
    other.terms.subject = slice_str("user:dev2");
    fixture_must(store, other, now);
    fixture_must(store, closing(1, "user:b1"), now);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        fixture_must(store, requests[i], now);
    store_free(store);
}

Test(store_reviews, a_restored_store_knows_who_is_barred_and_what_is_due)
{
    struct lapse_error error = {0};
    struct store *store = glass_store(true);
    fixture_must(store, glass(1), T0);
    fixture_must(store, fixture_advance(10), T0 + WITHIN);
    struct command second = glass(2);
    second.principal = slice_str("user:req2");
    second.terms.subject = slice_str("user:dev2");
    fixture_must(store, second, T0 + WITHIN);
    struct buf bytes = fixture_snapshot(store, 500);
    struct store *restored = fixture_restore(buf_slice(&bytes), 500, NULL, &error);
    cr_assert_not_null(restored, "%s", error.message);
    struct store *both[] = {store, restored};
    for (int i = 0; i < 2; i++) {
        refused(fixture_apply(both[i], glass(3), T0 + WITHIN), LAPSE_FAILED_PRECONDITION, "is barred");
        cr_assert_eq(store_next_due_ms(both[i]), T0 + 2 * WITHIN);
        fixture_must(both[i], fixture_advance(10), T0 + 2 * WITHIN);
        cr_assert(review_of(both[i], 2).overdue);
        fixture_must(both[i], closing(1, "user:b1"), T0 + 2 * WITHIN);
        fixture_must(both[i], closing(2, "user:b1"), T0 + 2 * WITHIN);
        fixture_must(both[i], glass(3), T0 + 2 * WITHIN);
    }
    cr_assert(fixture_same_digest(store, restored));
    buf_free(&bytes);
    store_free(store);
    store_free(restored);
}

Test(store_reviews, one_more_break_glass_request_than_can_be_reviewed_is_refused)
{
    struct store *store = glass_store(true);
    let_many_request(store);
    for (uint64_t i = 1; i <= LIMIT_REVIEWS; i++)
        fixture_must(store, glass_of_many(i), T0);
    cr_assert_eq(n_reviews(store), LIMIT_REVIEWS);
    refused(fixture_apply(store, glass_of_many(LIMIT_REVIEWS + 1), T0), LAPSE_RESOURCE_EXHAUSTED, "reviews are open");
    fixture_must(store, fixture_request(LIMIT_REVIEWS + 2), T0);
    fixture_must(store, closing(1, "user:b1"), T0);
    fixture_must(store, glass_of_many(LIMIT_REVIEWS + 1), T0);
    store_free(store);
}

Test(store_reviews, one_requester_takes_break_glass_from_nobody_else)
{
    struct store *store = glass_store(true);
    let_many_request(store);
    struct command other = glass(LIMIT_REVIEWS_PER_REQUESTER + 1), same = other;
    other.principal = slice_str("user:req2");
    same.principal = slice_str("spiffe://example.org/user/req1");
    for (uint64_t i = 1; i <= LIMIT_REVIEWS_PER_REQUESTER; i++)
        fixture_must(store, glass(i), T0);
    refused(fixture_apply(store, glass(LIMIT_REVIEWS_PER_REQUESTER + 1), T0), LAPSE_RESOURCE_EXHAUSTED,
            "reviews of user:req1 are open");
    struct command role = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = ROLE_REQUESTER};
    role.member = same.principal;
    fixture_must(store, role, T0);
    refused(fixture_apply(store, same, T0), LAPSE_RESOURCE_EXHAUSTED, "are open");
    fixture_must(store, other, T0);
    fixture_must(store, closing(1, "user:b1"), T0);
    fixture_must(store, glass(LIMIT_REVIEWS_PER_REQUESTER + 2), T0);
    store_free(store);
}

Test(store_reviews, an_approval_without_room_for_the_review_is_refused)
{
    struct policy_rule rules[] = {governed_rule("asked", "db/prod/*"), governed_rule("glass", "db/*")};
    rules[0].break_glass = rules[1].break_glass = true;
    rules[1].automatic = true;
    struct store *store = governed_store(rules, 2);
    let_many_request(store);
    fixture_must(store, glass(1), T0);
    for (uint64_t i = 2; i <= LIMIT_REVIEWS + 1; i++) {
        struct command command = glass_of_many(i);
        command.terms.resource = slice_str("db/test/orders");
        fixture_must(store, command, T0);
    }
    refused(fixture_apply(store, fixture_about(COMMAND_APPROVE, 1, "user:a1"), T0), LAPSE_RESOURCE_EXHAUSTED,
            "reviews are open");
    fixture_must(store, closing(2, "user:b1"), T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "user:a1"), T0);
    cr_assert_eq(review_of(store, 1).due_ms, T0 + LIMIT_REVIEW_MS_DEFAULT);
    store_free(store);
}

Test(store_reviews, a_close_without_verdict_or_comment_is_refused)
{
    struct store *store = glass_store(true);
    fixture_must(store, glass(1), T0);
    struct command command = closing(1, "user:b1");
    command.count = 0;
    refused(fixture_apply(store, command, T0), LAPSE_INVALID_ARGUMENT, "verdict");
    command.count = 3;
    refused(fixture_apply(store, command, T0), LAPSE_INVALID_ARGUMENT, "verdict");
    command = closing(1, "user:b1");
    command.text = (struct slice){0};
    refused(fixture_apply(store, command, T0), LAPSE_INVALID_ARGUMENT, "comment");
    store_free(store);
}

/* Strict: fields that are empty, out of order, unknown or cut are none. */
Test(store_reviews, bytes_that_no_store_wrote_are_no_review)
{
    struct store *store = glass_store(false);
    fixture_must(store, glass(1), T0);
    fixture_must(store, fixture_about(COMMAND_APPROVE, 1, "user:b1"), T0);
    struct review review = review_of(store, 1), decoded;
    struct buf bytes;
    buf_init(&bytes, REVIEW_BYTES_MAX);
    review_encode(&review, &bytes);
    cr_assert_null(review_decode(buf_slice(&bytes), &decoded));
    /* Whole, it has its names and times; cut within the required ones it has not. */
    for (size_t len = 0; len < 100; len++)
        cr_assert_not_null(review_decode(slice_of(bytes.data, len), &decoded), "cut at %zu", len);
    lapse_result result = buf_append(&bytes, "\x0a\x00", 2);
    cr_assert(lapse_is_ok(result));
    cr_assert_not_null(review_decode(buf_slice(&bytes), &decoded), "a field out of order");
    review.due_ms = review.opened_ms;
    review_encode(&review, &bytes);
    cr_assert_not_null(review_decode(buf_slice(&bytes), &decoded), "no time to review");
    buf_free(&bytes);
    store_free(store);
}
