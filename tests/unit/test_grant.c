#include <criterion/criterion.h>

#include <ctype.h>
#include <stdio.h>

#include "base/check.h"
#include "store/grant.h"

#define OK(result) cr_assert(lapse_is_ok(result))
#define REFUSED(result) cr_assert_eq((result).code, LAPSE_INVALID_ARGUMENT)

Test(grant, each_digit_of_an_id_has_its_value_in_capitals_and_in_small_letters)
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    for (int value = 0; value < 32; value++) {
        char text[] = "00000000000000000000000000";
        struct grant_id id;
        text[25] = digits[value];
        cr_assert(lapse_is_ok(grant_id_parse(slice_str(text), &id)));
        cr_expect_eq(id.bytes[15], value);
        text[25] = (char)tolower(digits[value]);
        cr_assert(lapse_is_ok(grant_id_parse(slice_str(text), &id)));
        cr_expect_eq(id.bytes[15], value);
    }
}

Test(grant, an_id_is_a_ulid)
{
    static const uint8_t random[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    char text[GRANT_ID_TEXT_SIZE];
    struct grant_id id = grant_id_make(1469918176385LL, random), parsed;
    grant_id_format(id, text);
    /* The time part of the specification's own example. */
    cr_assert_eq(strncmp(text, "01ARYZ6S41", 10), 0, "%s", text);
    OK(grant_id_parse(slice_str(text), &parsed));
    cr_assert_eq(grant_id_compare(id, parsed), 0);
    for (char *c = text; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    OK(grant_id_parse(slice_str(text), &parsed));
    cr_assert_eq(grant_id_compare(id, parsed), 0);
}

Test(grant, ids_that_are_none_are_refused)
{
    struct grant_id id = {{9}};
    OK(grant_id_parse(slice_str("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), &id));
    for (int i = 0; i < 16; i++)
        cr_assert_eq(id.bytes[i], 0xFF);
    REFUSED(grant_id_parse(slice_str("8ZZZZZZZZZZZZZZZZZZZZZZZZZ"), &id));
    REFUSED(grant_id_parse(slice_str("01ARYZ6S41TSV4RRFFQ69G5FA"), &id));
    REFUSED(grant_id_parse(slice_str("01ARYZ6S41TSV4RRFFQ69G5FAVV"), &id));
    REFUSED(grant_id_parse(slice_str("01ARYZ6S41TSV4RRFFQ69G5FAI"), &id));
    REFUSED(grant_id_parse(slice_str("01ARYZ6S41TSV4RRFFQ69G5FA-"), &id));
    REFUSED(grant_id_parse(slice_of("01ARYZ6S41TSV4RRFFQ69G5FA\0", 26), &id));
    REFUSED(grant_id_parse((struct slice){0}, &id));
    cr_assert_eq(id.bytes[0], 0xFF, "untouched on failure");
}

Test(grant, ids_sort_by_time)
{
    static const uint8_t low[10] = {0}, high[10] = {255};
    cr_assert(grant_id_compare(grant_id_make(1000, high), grant_id_make(1001, low)) < 0);
    cr_assert(grant_id_is_zero((struct grant_id){{0}}));
    cr_assert_not(grant_id_is_zero(grant_id_make(1, low)));
}

Test(grant, a_pattern_covers_what_lies_strictly_below_it)
{
    static const struct {
        const char *pattern, *path;
        bool covers;
    } cases[] = {
        {"db/prod/orders", "db/prod/orders", true},
        {"db/prod/orders", "db/prod/order", false},
        {"db/prod/orders", "db/prod/orders/x", false},
        {"db/prod/*", "db/prod/orders", true},
        {"db/prod/*", "db/prod/orders/x", true},
        {"db/prod/*", "db/prod", false},
        {"db/prod/*", "db/prod/", false},
        {"db/prod/*", "db/production", false},
        {"db/prod/*", "db/prod/*", true},
        {"db/*", "db/prod/*", true},
        {"db/prod/*", "db/*", false},
        {"*", "anything", true},
        {"*", "", false},
        {"", "", false},
        {"db/prod*", "db/prod/orders", false},
        {"db/*", "*", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_assert_eq(resource_covers(slice_str(cases[i].pattern), slice_str(cases[i].path)), cases[i].covers, "%s %s",
                     cases[i].pattern, cases[i].path);
}

Test(grant, resources_are_clean_paths)
{
    static const char *const good[] = {"db", "db/prod/orders", "k8s/ns-1/pod_2", "a.b/c~d/e+f=g@h:1", "...", "a/.b"};
    static const char *const bad[] = {"",     "/db",   "db/",         "db//x", "db/./x", "db/../x", ".",    "..", "a b",
                                      "a\tb", "a%2fb", "db/\xC3\xA9", "a\\b",  "a*",     "*/a",     "a/*b", "**", "/*"};
    struct lapse_error error;
    char longest[LIMIT_RESOURCE + 2];
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        OK(resource_validate(slice_str(good[i]), false, &error));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        REFUSED(resource_validate(slice_str(bad[i]), true, &error));
        cr_assert_not_null(strstr(error.message, "resource"));
    }
    OK(resource_validate(slice_str("db/*"), true, &error));
    OK(resource_validate(slice_str("*"), true, &error));
    REFUSED(resource_validate(slice_str("db/*"), false, &error));
    REFUSED(resource_validate(slice_str("*"), false, &error));
    memset(longest, 'x', sizeof longest);
    OK(resource_validate(slice_of(longest, LIMIT_RESOURCE), false, &error));
    REFUSED(resource_validate(slice_of(longest, LIMIT_RESOURCE + 1), false, &error));
}

Test(grant, principals_are_printable_and_unmistakable)
{
    static const char *const good[] = {"user:dev1@example.com", "spiffe://example.org/ci/deploy", "user:j\xC3\xB6rg"};
    static const char *const bad[] = {"",
                                      "user dev1",
                                      "user:\"x\"",
                                      "user:'x'",
                                      "user:x\\y",
                                      "user:*",
                                      "user:\x01",
                                      "user:\x7F",
                                      "user:\xFF",
                                      "user:\xC2\xA0x",
                                      "user:x\xE2\x80\x8B",
                                      "user:\xEF\xBB\xBFx",
                                      "user:\xE2\x80\xAEx",
                                      "user:`x`",
                                      "user:\xC0\xAF"};
    struct lapse_error error;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        OK(principal_validate(slice_str(good[i]), "subject", &error));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        REFUSED(principal_validate(slice_str(bad[i]), "subject", &error));
        cr_assert_not_null(strstr(error.message, "subject"));
    }
    REFUSED(principal_validate(slice_of("a\0b", 3), "subject", &error));
}

Test(grant, actions_are_lower_case_words)
{
    struct lapse_error error;
    OK(action_validate(slice_str("read"), &error));
    OK(action_validate(slice_str("x-1.y_2"), &error));
    REFUSED(action_validate(slice_str(""), &error));
    REFUSED(action_validate(slice_str("Read"), &error));
    REFUSED(action_validate(slice_str("1read"), &error));
    REFUSED(action_validate(slice_str("-read"), &error));
    REFUSED(action_validate(slice_str("a/b"), &error));
    REFUSED(action_validate(slice_str("abcdefghijklmnopqrstuvwxyzabcdefg"), &error));
}

Test(grant, networks_are_canonical_cidr)
{
    static const char *const good[] = {"10.0.0.0/8", "0.0.0.0/0", "192.0.2.1/32", "2001:db8::/32", "::/0", "::1/128"};
    static const char *const bad[] = {
        "",       "10.0.0.0",      "10.0.0.0/33",     "10.0.0.1/8",     "10.0.0.0/08", "10.0.0.0/",
        "10.0/8", "2001:DB8::/32", "2001:db8:0::/32", "2001:db8::/129", "10.0.0.0/8 ", "x/8",
        "/8"};
    struct lapse_error error;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        OK(network_validate(slice_str(good[i]), &error));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        REFUSED(network_validate(slice_str(bad[i]), &error));
}

Test(grant, a_user_and_their_spiffe_id_are_the_same)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"user:dev1", "user:dev1", true},
        {"user:dev1", "spiffe://example.org/user/dev1", true},
        {"user:dev1", "spiffe://example.org/user/dev10", false},
        {"user:dev1", "spiffe://example.org/users/dev1", false},
        {"user:dev1", "spiffe:///user/dev1", false},
        {"user:dev1", "spiffe://example.org/a/user/dev1", false},
        {"user:a/b", "spiffe://example.org/user/a/b", true},
        {"spiffe://a.org/user/dev1", "spiffe://b.org/user/dev1", false},
        {"user:", "spiffe://example.org/user/", false},
        {"", "", false},
        {"dev1", "spiffe://example.org/user/dev1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_eq(principal_same(slice_str(cases[i].a), slice_str(cases[i].b)), cases[i].same, "%zu", i);
        cr_assert_eq(principal_same(slice_str(cases[i].b), slice_str(cases[i].a)), cases[i].same, "%zu", i);
    }
}

static struct grant active(void)
{
    struct grant grant = {.state = GRANT_ACTIVE, .not_before_ms = 100, .deadline_ms = 200, .max_uses = 2, .uses = 1};
    grant.subject = slice_str("user:dev1");
    grant.resource = slice_str("db/prod/*");
    grant.actions[0] = slice_str("read");
    grant.n_actions = 1;
    return grant;
}

static struct grant_query question(void)
{
    return (struct grant_query){
        .subject = slice_str("user:dev1"), .resource = slice_str("db/prod/orders"), .action = slice_str("read")};
}

Test(grant, the_first_test_that_fails_is_the_answer)
{
    struct grant grant = active();
    struct grant_query query = question();
    cr_assert_eq(grant_allows(&grant, &query, 100), GRANT_ALLOWS);
    query.action = slice_str("write");
    cr_assert_eq(grant_allows(&grant, &query, 150), GRANT_OTHER_ACTION);
    query.resource = slice_str("db/test");
    cr_assert_eq(grant_allows(&grant, &query, 150), GRANT_OTHER_RESOURCE);
    query.subject = slice_str("user:dev2");
    cr_assert_eq(grant_allows(&grant, &query, 150), GRANT_OTHER_SUBJECT);
    grant.uses = 2;
    cr_assert_eq(grant_allows(&grant, &query, 150), GRANT_USED_UP);
    cr_assert_eq(grant_allows(&grant, &query, 200), GRANT_PAST_DEADLINE);
    cr_assert_eq(grant_allows(&grant, &query, 99), GRANT_NOT_YET);
    for (int state = 0; state <= GRANT_LAPSED; state++) {
        grant.state = (enum grant_state)state;
        cr_assert_eq(grant_allows(&grant, &query, 99) == GRANT_NOT_ACTIVE, state != GRANT_ACTIVE);
    }
}

Test(grant, G3_nothing_is_allowed_at_or_after_the_deadline)
{
    struct grant grant = active();
    struct grant_query query = question();
    cr_assert_eq(grant_allows(&grant, &query, 199), GRANT_ALLOWS);
    cr_assert_eq(grant_allows(&grant, &query, 200), GRANT_PAST_DEADLINE);
    cr_assert_eq(grant_allows(&grant, &query, INT64_MAX), GRANT_PAST_DEADLINE);
    grant.deadline_ms = 0;
    cr_assert_eq(grant_allows(&grant, &query, 150), GRANT_PAST_DEADLINE, "no deadline is no grant");
}

Test(grant, another_name_of_the_subject_is_another_subject)
{
    struct grant grant = active();
    struct grant_query query = question();
    query.subject = slice_str("spiffe://evil.example/user/dev1");
    cr_assert_eq(grant_allows(&grant, &query, 150), GRANT_OTHER_SUBJECT);
}

Test(grant, a_binding_must_be_shown)
{
    struct grant grant = active();
    struct grant_query query = question();
    uint8_t thumb[32] = {1}, other[32] = {2};
    grant.binding.spiffe_id = slice_str("spiffe://example.org/laptop/1");
    cr_assert_eq(grant_allows(&grant, &query, 150), GRANT_BINDING_MISSING);
    query.spiffe_id = grant.binding.spiffe_id;
    cr_assert_eq(grant_allows(&grant, &query, 150), GRANT_ALLOWS);
    grant.binding.certificate_sha256 = slice_of(thumb, 32);
    query.certificate_sha256 = slice_of(other, 32);
    cr_assert_eq(grant_allows(&grant, &query, 150), GRANT_BINDING_MISSING);
    query.certificate_sha256 = slice_of(thumb, 32);
    cr_assert_eq(grant_allows(&grant, &query, 150), GRANT_ALLOWS);
}

Test(grant, an_address_must_lie_in_one_of_the_networks)
{
    static const struct {
        const char *address;
        enum grant_verdict verdict;
    } cases[] = {
        {"10.1.2.3", GRANT_ALLOWS},
        {"::ffff:10.1.2.3", GRANT_ALLOWS},
        {"11.0.0.1", GRANT_BINDING_MISSING},
        {"2001:db8:7f::1", GRANT_ALLOWS},
        {"2001:db8:80::1", GRANT_BINDING_MISSING},
        {"", GRANT_BINDING_MISSING},
        {"nonsense", GRANT_BINDING_MISSING},
        {"10.1.2.3/8", GRANT_BINDING_MISSING},
        {"0.0.0.0", GRANT_BINDING_MISSING},
    };
    struct grant grant = active();
    grant.binding.networks[0] = slice_str("10.0.0.0/8");
    grant.binding.networks[1] = slice_str("2001:db8::/41");
    grant.binding.n_networks = 2;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct grant_query query = question();
        query.address = slice_str(cases[i].address);
        cr_assert_eq(grant_allows(&grant, &query, 150), cases[i].verdict, "%s", cases[i].address);
    }
}

Test(grant, names_of_states_and_verdicts_are_total)
{
    cr_assert_str_eq(grant_state_name(GRANT_PENDING), "PENDING");
    cr_assert_str_eq(grant_state_name(GRANT_LAPSED), "LAPSED");
    cr_assert_str_eq(grant_state_name((enum grant_state)0), "UNKNOWN");
    cr_assert_str_eq(grant_state_name((enum grant_state)11), "UNKNOWN");
    cr_assert_str_eq(grant_verdict_name(GRANT_BINDING_MISSING), "BINDING_MISSING");
    cr_assert_str_eq(grant_verdict_name((enum grant_verdict)99), "UNKNOWN");
    cr_assert_not(grant_state_is_ended(GRANT_ACTIVE));
    cr_assert(grant_state_is_ended(GRANT_EXPIRED));
}
