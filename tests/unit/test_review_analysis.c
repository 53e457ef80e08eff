/* What `lapse review` finds, from facts made up here. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "client/cli/review_analysis.h"

#define MINUTE 60000LL
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define NOW (1767225600000LL + 30 * DAY)
#define FROM (NOW - 10 * DAY)

static const struct review_limits limits = {.dormant_ms = 30 * DAY,
                                            .ends_ms = 14 * DAY,
                                            .long_ms = 12 * HOUR,
                                            .gap_ms = 10 * MINUTE,
                                            .in_a_row = 3,
                                            .standing_share = 50};

/* What there is of a kind: how many, and the last one. */
static size_t count(const struct review *review, enum review_kind kind, const struct review_finding **last)
{
    size_t n = 0;
    for (size_t i = 0; i < review->n; i++)
        if (review->findings[i].kind == kind) {
            n++;
            if (last != NULL)
                *last = &review->findings[i];
        }
    return n;
}

static struct review of_spans(const struct review_span *spans, size_t n)
{
    struct review review;
    const struct review_facts facts = {.from_ms = FROM, .now_ms = NOW, .spans = spans, .n_spans = n};
    review_analyze(&facts, &limits, &review);
    return review;
}

static struct review of_eligibility(struct lapse_eligibility e)
{
    struct review review;
    const struct review_facts facts = {.from_ms = FROM, .now_ms = NOW, .eligibilities = &e, .n_eligibilities = 1};
    review_analyze(&facts, &limits, &review);
    return review;
}

static const char *const orders[] = {"db/prod/orders"}, *const top[] = {"db/*"}, *const everything[] = {"*"};

static struct lapse_eligibility fine(void)
{
    return (struct lapse_eligibility){.name = "orders",
                                      .member = "user:dev1",
                                      .resources = orders,
                                      .n_resources = 1,
                                      .expires_ms = NOW + 60 * DAY,
                                      .put_ms = NOW - 60 * DAY,
                                      .used_ms = NOW - DAY,
                                      .uses = 3};
}

static struct review_span span(const char *subject, const char *resource, int64_t begin_ms, int64_t length_ms)
{
    return (struct review_span){.subject = subject,
                                .resource = resource,
                                .ticket = "T-1",
                                .begin_ms = begin_ms,
                                .end_ms = begin_ms + length_ms,
                                .length_ms = length_ms};
}

Test(review_analysis, what_is_in_order_is_not_named)
{
    struct review review = of_eligibility(fine());
    cr_assert_eq(review.n, 0);
    review_free(&review);
    struct review_span one = span("user:dev1", "db/prod/orders", NOW - HOUR, HOUR);
    review = of_spans(&one, 1);
    cr_assert_eq(review.n, 0);
    review_free(&review);
}

Test(review_analysis, eligibility_that_was_never_or_long_not_used_is_dormant)
{
    const struct review_finding *found;
    struct lapse_eligibility e = fine();
    e.uses = 0, e.used_ms = 0;
    struct review review = of_eligibility(e);
    cr_assert_eq(count(&review, REVIEW_DORMANT, &found), 1);
    cr_assert_str_eq(found->name, "orders");
    cr_assert_not_null(strstr(found->detail, "never used"));
    review_free(&review);
    e.put_ms = NOW - 29 * DAY;
    review = of_eligibility(e);
    cr_assert_eq(review.n, 0, "too new to be called unused");
    review_free(&review);
    e = fine();
    e.used_ms = NOW - 30 * DAY;
    review = of_eligibility(e);
    cr_assert_eq(count(&review, REVIEW_DORMANT, &found), 1);
    cr_assert_not_null(strstr(found->detail, "30d"), "%s", found->detail);
    cr_assert_eq(found->number, 30 * DAY);
    review_free(&review);
}

Test(review_analysis, eligibility_that_ends_soon_is_named)
{
    struct lapse_eligibility e = fine();
    e.expires_ms = NOW + 14 * DAY;
    struct review review = of_eligibility(e);
    cr_assert_eq(count(&review, REVIEW_ENDS_SOON, NULL), 1);
    review_free(&review);
    e.expires_ms++;
    review = of_eligibility(e);
    cr_assert_eq(review.n, 0);
    review_free(&review);
}

Test(review_analysis, eligibility_is_broad_by_its_resource_or_its_member)
{
    const struct review_finding *found;
    struct lapse_eligibility e = fine();
    e.resources = top;
    struct review review = of_eligibility(e);
    cr_assert_eq(count(&review, REVIEW_BROAD, &found), 1);
    cr_assert_str_eq(found->what, "db/*");
    cr_assert_not_null(strstr(found->detail, "any action"));
    review_free(&review);
    e = fine();
    e.member = "spiffe://example.org/user/*";
    review = of_eligibility(e);
    cr_assert_eq(count(&review, REVIEW_BROAD, NULL), 1);
    review_free(&review);
}

Test(review_analysis, patterns_are_broad_or_wide_where_they_stop_at_the_top)
{
    static const char *const broad[] = {"*", "db/*"}, *const narrow[] = {"db/prod/*", "db", "db/prod/orders", ""};
    static const char *const wide[] = {
        "user:*", "spiffe://example.org/*",  "spiffe://example.org/user/*", "spiffe://exam*",
        "s*",     "spiffe://example.org/us*"};
    static const char *const named[] = {"user:dev*", "user:dev1", "spiffe://example.org/user/dev*",
                                        "spiffe://example.org/ci/deploy/*", ""};
    for (size_t i = 0; i < ARRAY_LEN(broad); i++)
        cr_assert(review_resource_is_broad(broad[i]), "%s", broad[i]);
    for (size_t i = 0; i < ARRAY_LEN(narrow); i++)
        cr_assert_not(review_resource_is_broad(narrow[i]), "%s", narrow[i]);
    for (size_t i = 0; i < ARRAY_LEN(wide); i++)
        cr_assert(review_member_is_wide(wide[i]), "%s", wide[i]);
    for (size_t i = 0; i < ARRAY_LEN(named); i++)
        cr_assert_not(review_member_is_wide(named[i]), "%s", named[i]);
}

Test(review_analysis, broad_and_long_grants_and_such_without_a_ticket_are_counted_by_subject_and_resource)
{
    const struct review_finding *found;
    struct review_span spans[] = {
        span("user:dev1", "db/*", NOW - 4 * DAY, HOUR), span("user:dev1", "db/prod/orders", NOW - 3 * DAY, 13 * HOUR),
        span("user:dev1", "db/*", NOW - 2 * DAY, HOUR), span("user:dev2", "db/prod/orders", NOW - 3 * DAY, 12 * HOUR),
        span("user:dev1", "db/prod/orders", NOW - DAY, 12 * HOUR + MINUTE)};
    spans[3].ticket = "";
    struct review review = of_spans(spans, 5);
    cr_assert_eq(count(&review, REVIEW_BROAD, &found), 1);
    cr_assert_eq(found->number, 2);
    cr_assert_eq(count(&review, REVIEW_LONG, &found), 1);
    cr_assert_str_eq(found->who, "user:dev1");
    cr_assert_eq(found->number, 13 * HOUR);
    cr_assert_eq(count(&review, REVIEW_NO_TICKET, &found), 1);
    cr_assert_str_eq(found->who, "user:dev2");
    review_free(&review);
}

Test(review_analysis, grants_back_to_back_are_a_run_whatever_order_they_come_in)
{
    const struct review_finding *found;
    struct review_span spans[] = {
        span("user:dev1", "db/prod/orders", NOW - 5 * HOUR + 15 * MINUTE, HOUR), /* 10 min after the second */
        span("user:dev1", "db/prod/orders", NOW - 7 * HOUR, HOUR),
        span("user:dev1", "db/prod/orders", NOW - 6 * HOUR + 5 * MINUTE, HOUR),
        span("user:dev1", "db/prod/users", NOW - 4 * HOUR, HOUR),  /* for something else */
        span("user:dev2", "db/prod/orders", NOW - 4 * HOUR, HOUR), /* somebody else */
    };
    struct review review = of_spans(spans, 5);
    cr_assert_eq(count(&review, REVIEW_RENEWED, &found), 1);
    cr_assert_eq(found->number, 3);
    cr_assert_str_eq(found->what, "db/prod/orders");
    review_free(&review);
    spans[0].begin_ms += 1;
    review = of_spans(spans, 5);
    cr_assert_eq(count(&review, REVIEW_RENEWED, NULL), 0, "a longer pause than the gap");
    review_free(&review);
}

Test(review_analysis, a_run_is_told_by_its_longest_grant_not_its_last)
{
    const struct review_finding *found;
    struct review_span spans[] = {span("user:dev1", "a", NOW - 9 * HOUR, 5 * HOUR),
                                  span("user:dev1", "a", NOW - 8 * HOUR, HOUR),
                                  span("user:dev1", "a", NOW - 4 * HOUR, HOUR)};
    struct review review = of_spans(spans, 3);
    cr_assert_eq(count(&review, REVIEW_RENEWED, &found), 1);
    cr_assert_eq(found->number, 3, "the third begins as the first ends");
    review_free(&review);
}

Test(review_analysis, most_of_the_time_is_standing_access_and_overlaps_count_once)
{
    const struct review_finding *found;
    struct review_span spans[] = {
        span("user:dev1", "a", FROM - 5 * DAY, 8 * DAY), /* 3 days of it in the period */
        span("user:dev1", "a", FROM + DAY, 3 * DAY),     /* 1 more */
        span("user:dev1", "a", NOW - DAY, 5 * DAY),      /* 1 of it: 5 of 10 */
    };
    struct review review = of_spans(spans, 3);
    cr_assert_eq(count(&review, REVIEW_STANDING, NULL), 0, "half is not more than half");
    review_free(&review);
    spans[1].end_ms += 3 * HOUR;
    review = of_spans(spans, 3);
    cr_assert_eq(count(&review, REVIEW_STANDING, &found), 1);
    cr_assert_eq(found->number, 51);
    review_free(&review);
}

Test(review_analysis, roles_by_prefix_are_wide)
{
    static const char *const requester[] = {"requester"}, *const power[] = {"requester", "operator"};
    const struct lapse_role_binding roles[] = {
        {.member = "user:dev*", .roles = requester, .n_roles = 1},
        {.member = "user:*", .roles = requester, .n_roles = 1},
        {.member = "user:ops*", .roles = power, .n_roles = 2},
        {.member = "user:ops", .roles = power, .n_roles = 2},
    };
    const struct review_finding *found;
    struct review review;
    const struct review_facts facts = {.from_ms = FROM, .now_ms = NOW, .roles = roles, .n_roles = ARRAY_LEN(roles)};
    review_analyze(&facts, &limits, &review);
    cr_assert_eq(review.n, 2);
    cr_assert_eq(count(&review, REVIEW_WIDE_ROLE, &found), 2);
    cr_assert_str_eq(found->who, "user:ops*");
    cr_assert_str_eq(found->what, "requester,operator");
    review_free(&review);
}

Test(review_analysis, everything_is_broad_too)
{
    struct lapse_eligibility e = fine();
    e.resources = everything;
    struct review review = of_eligibility(e);
    cr_assert_eq(count(&review, REVIEW_BROAD, NULL), 1);
    review_free(&review);
}
