/* What patterns mean: those of principals, and those of texts. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/limits.h"
#include "tests/unit/policy_fixture.h"

/* --- principals --------------------------------------------------------------------------------------------------- */

struct principal_case {
    const char *pattern, *principal;
    bool matches;
};

static void check_principals(const struct principal_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cr_expect_eq(principal_matches(S(cases[i].pattern), S(cases[i].principal)), cases[i].matches, "%s, %s",
                     cases[i].pattern, cases[i].principal);
        cr_expect_eq(principal_matches_any(S(cases[i].pattern), S(cases[i].principal)),
                     cases[i].matches || cases[i].pattern[0] == '\0', "%s, %s", cases[i].pattern, cases[i].principal);
    }
}

Test(policy, a_person_matches_under_both_names)
{
    static const struct principal_case cases[] = {
        {"user:dev1", "user:dev1", true},
        {"user:dev1", "spiffe://example.org/user/dev1", true},
        {"user:dev1", "spiffe://example.org/user/dev10", false},
        {"user:dev1", "spiffe://example.org/host/dev1", false},
        {"spiffe://example.org/user/dev1", "user:dev1", true},
        {"spiffe://example.org/user/dev1", "user:dev10", false},
        {"spiffe://example.org/user/dev1", "spiffe://example.org/user/dev1", true},
        {"host:dev1", "user:dev1", false},
        {"user:", "user:", true},
    };
    check_principals(cases, sizeof cases / sizeof cases[0]);
}

Test(policy, a_spiffe_id_is_of_its_trust_domain_only)
{
    static const struct principal_case cases[] = {
        {"spiffe://a/user/dev1", "spiffe://b/user/dev1", false}, {"spiffe://a/user/*", "spiffe://b/user/dev1", false},
        {"spiffe://a/*", "spiffe://b/user/dev1", false},         {"spiffe://a/*", "spiffe://ab/user/dev1", false},
        {"spiffe://a/*", "spiffe://a/user/dev1", true},          {"spiffe://a/host/*", "spiffe://a/host/db1", true},
    };
    check_principals(cases, sizeof cases / sizeof cases[0]);
}

Test(policy, a_beginning_is_compared_with_every_name)
{
    static const struct principal_case cases[] = {
        {"user:dev1*", "spiffe://x/user/dev10", true},
        {"user:dev1*", "spiffe://x/user/dev1", true},
        {"user:dev1*", "spiffe://x/user/dev", false},
        {"user:dev1*", "spiffe://x/host/dev10", false},
        {"user:*", "spiffe://x/user/dev1", true},
        {"us*", "spiffe://x/user/dev1", true},
        {"user:dev1*", "user:dev10", true},
        {"spiffe://*", "user:dev1", true},
        {"spif*", "user:dev1", true},
        {"spiffe://x*", "user:dev1", true},
        {"spiffe:///*", "user:dev1", false},
        {"spiffe://x/*", "user:dev1", true},
        {"spiffe://x/us*", "user:dev1", true},
        {"spiffe://x/user/d*", "user:dev1", true},
        {"spiffe://x/user/dev1*", "user:dev10", true},
        {"spiffe://x/user/dev1*", "user:dev", false},
        {"spiffe://x/user/e*", "user:dev1", false},
        {"spiffe://x/host/*", "user:dev1", false},
        {"spiffe://x/usher/*", "user:dev1", false},
        {"spiffe://x/user/*", "host:dev1", false},
        {"spoffe://x/*", "user:dev1", false},
        {"spiffx*", "user:dev1", false},
    };
    check_principals(cases, sizeof cases / sizeof cases[0]);
}

Test(policy, an_asterisk_is_everybody_and_nobody_has_no_name)
{
    static const struct principal_case cases[] = {
        {"*", "user:dev1", true}, {"*", "spiffe://x/host/a", true}, {"*", "", false},
        {"user:dev1", "", false}, {"", "user:dev1", false},
    };
    check_principals(cases, sizeof cases / sizeof cases[0]);
    cr_assert_not(principal_matches_any(S(""), S("")));
}

Test(policy, any_of_several_patterns_is_enough)
{
    struct slice patterns = S("user:a host:* user:b*");
    cr_assert(principal_matches_any(patterns, S("user:a")));
    cr_assert(principal_matches_any(patterns, S("host:x")));
    cr_assert(principal_matches_any(patterns, S("spiffe://x/user/b2")));
    cr_assert_not(principal_matches_any(patterns, S("user:a2")));
    cr_assert_not(principal_matches_any(patterns, S("user:c")));
}

/* --- texts -------------------------------------------------------------------------------------------------------- */

Test(policy, text_patterns_match_the_whole_text)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"", "anything", true},
        {"", "", true},
        {"abc", "abc", true},
        {"abc", "abcd", false},
        {"abc", "xabc", false},
        {"abc", "ab", false},
        {"a.c", "abc", true},
        {"a.c",
         "a\xC3\xA9"
         "c",
         true},
        {"a.c", "ac", false},
        {".", "\xF0\x9F\x94\x92", true},
        {"..", "\xF0\x9F\x94\x92", false},
        {".*", "line one\nline two", true},
        {"[A-Z]+-[0-9]+", "OPS-1234", true},
        {"[A-Z]+-[0-9]+", "OPS-", false},
        {"[A-Z]+-[0-9]+", "ops-1", false},
        {"[A-Z]+-[0-9]+", "OPS-12a", false},
        {"[A-Z]{2,4}-[0-9]{3}", "AB-123", true},
        {"[A-Z]{2,4}-[0-9]{3}", "ABCDE-123", false},
        {"[A-Z]{2,4}-[0-9]{3}", "A-123", false},
        {"[A-Z]{2,4}-[0-9]{3}", "ABCD-12", false},
        {"[A-Z]{2,4}-[0-9]{3}", "ABCD-1234", false},
        {"ab?c", "ac", true},
        {"ab?c", "abc", true},
        {"ab?c", "abbc", false},
        {"ab*c", "ac", true},
        {"ab*c", "abbbbc", true},
        {"ab*", "a", true},
        {"a*a*a*", "", true},
        {"x*y*", "xxyy", true},
        {"x*y*", "yx", false},
        {"a{0,2}b", "b", true},
        {"a{0,2}b", "aab", true},
        {"a{0,2}b", "aaab", false},
        {"[^0-9]*", "no digits", true},
        {"[^0-9]*", "one 1", false},
        {"[^a]", "\xC3\xA9", true},
        {"[\xC3\xA0-\xC3\xBF]", "\xC3\xA9", true},
        {"[\xC3\xA0-\xC3\xBF]", "e", false},
        {"\\.\\*\\[\\]\\\\", ".*[]\\", true},
        {"a\\.b", "axb", false},
        {"[a-]+", "a-a", true},
        {"[-a]+", "-a", true},
        {"[\\]\\-^]+", "]-^", true},
        {"a-b", "a-b", true},
        {"INC[0-9]{7}", "INC0012345", true},
        {".*[a-z].*", "12b34", true},
        {".*ab", "aab", true},
        {".*ab.*ab", "abab", true},
        {".*ab.*ab", "abb", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lapse_error error = {0};
        cr_expect(lapse_is_ok(text_pattern_validate(S(cases[i].pattern), &error)), "%s: %s", cases[i].pattern,
                  error.message);
        cr_expect_eq(text_matches(S(cases[i].pattern), S(cases[i].text)), cases[i].matches, "%s, %s", cases[i].pattern,
                     cases[i].text);
    }
}

/* A chain of items over the letters a, b, c, as text and as what it means. */
struct item {
    bool takes[3];
    uint32_t fewest, most; /* UINT32_MAX: any number */
};

#define ITEMS 6

static uint32_t draw(uint32_t *state, uint32_t n)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 16) % n;
}

static void draw_items(uint32_t *state, struct item items[ITEMS], char *pattern)
{
    static const struct {
        const char *text;
        bool takes[3];
    } kinds[] = {{"a", {1, 0, 0}}, {".", {1, 1, 1}}, {"[bc]", {0, 1, 1}}, {"[^b]", {1, 0, 1}}};
    for (uint32_t i = 0; i < ITEMS; i++) {
        uint32_t kind = draw(state, 4), fewest = draw(state, 3) * draw(state, 25);
        uint32_t most = fewest + draw(state, 2) * draw(state, 30);
        bool open = draw(state, 4) == 0;
        memcpy(items[i].takes, kinds[kind].takes, sizeof items[i].takes);
        items[i].fewest = open ? 0 : fewest;
        items[i].most = open ? UINT32_MAX : most == 0 ? 1 : most;
        pattern += open ? sprintf(pattern, "%s*", kinds[kind].text)
                        : sprintf(pattern, "%s{%u,%u}", kinds[kind].text, fewest, items[i].most);
    }
}

/* Whether the items from `i` on take all of the text: by trying every count of each, place by place from the end. */
static bool naive_matches(const struct item *items, const char *text)
{
    size_t len = strlen(text);
    bool rest[256] = {false}, here[256];
    rest[len] = true;
    for (int i = ITEMS - 1; i >= 0; i--) {
        for (size_t at = 0; at <= len; at++) {
            uint32_t n = 0;
            here[at] = items[i].fewest == 0 && rest[at];
            while (!here[at] && at + n < len && n < items[i].most && items[i].takes[text[at + n] - 'a'])
                here[at] = ++n >= items[i].fewest && rest[at + n];
        }
        memcpy(rest, here, len + 1);
    }
    return rest[0];
}

Test(policy, random_patterns_match_what_trying_every_count_matches)
{
    uint32_t state = 7, matched = 0;
    for (int i = 0; i < 20000; i++) {
        struct item items[ITEMS];
        char pattern[256], text[200];
        draw_items(&state, items, pattern);
        if (!lapse_is_ok(text_pattern_validate(S(pattern), NULL)))
            continue; /* too many states */
        uint32_t len = draw(&state, 2) * draw(&state, 150) + draw(&state, 40), mostly = draw(&state, 3);
        for (uint32_t c = 0; c < len; c++)
            text[c] = (char)('a' + (draw(&state, 20) == 0 ? draw(&state, 3) : mostly));
        text[len] = '\0';
        bool matches = text_matches(S(pattern), S(text));
        cr_assert_eq(matches, naive_matches(items, text), "%s %s", pattern, text);
        matched += matches;
    }
    cr_assert_gt(matched, 500, "both answers are common");
}

Test(policy, a_text_that_is_not_utf8_matches_no_pattern)
{
    cr_assert_not(text_matches(S(".*"), S("a\xC3")));
    cr_assert_not(text_matches(S("[^a]"), S("\xFF")));
}

Test(policy, text_patterns_with_a_mistake_are_refused_with_its_place)
{
    static const struct {
        const char *pattern, *says;
    } cases[] = {
        {"(a|b)", "character 1: \"(\" means nothing here"},
        {"a|b", "character 2: \"|\""},
        {"^a", "\"^\" means nothing here"},
        {"a$", "\"$\" means nothing here"},
        {"*a", "character 1: \"*\" has nothing to repeat"},
        {"a**", "character 3: \"*\" has nothing to repeat"},
        {"a+?", "nothing to repeat"},
        {"{3}", "nothing to repeat"},
        {"a{", "{3} or {2,5}"},
        {"a{3", "{3} or {2,5}"},
        {"a{}", "{3} or {2,5}"},
        {"a{,3}", "{3} or {2,5}"},
        {"a{3,}", "{3} or {2,5}"},
        {"a{5,2}", "{3} or {2,5}"},
        {"a{0}", "{3} or {2,5}"},
        {"a}", "\"}\" means nothing here"},
        {"a]", "\"]\" means nothing here"},
        {"[]", "a class is empty"},
        {"[^]", "a class is empty"},
        {"[a", "has no \"]\""},
        {"[", "has no \"]\""},
        {"[^", "has no \"]\""},
        {"[z-a]", "ends before it begins"},
        {"[[:alpha:]]", "needs a backslash"},
        {"[a-[]", "needs a backslash"},
        {"\\d+", "a backslash stands before one of"},
        {"a\\", "a backslash stands before one of"},
        {"[\\w]", "a backslash stands before one of"},
        {"[a\\", "a backslash stands before one of"},
        {"a{257}", "more than 256 characters"},
        {"a{99999999999999999999}", "more than 256 characters"},
        {"a{200}b{57}", "more than 256 characters"},
        {"a\nb", "one line of UTF-8"},
        {"\xC3", "one line of UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lapse_error error = {0};
        lapse_result result = text_pattern_validate(S(cases[i].pattern), &error);
        cr_expect_eq(result.code, LAPSE_INVALID_ARGUMENT, "%s", cases[i].pattern);
        cr_expect_not_null(strstr(error.message, cases[i].says), "%s: %s", cases[i].pattern, error.message);
    }
}

Test(policy, a_text_pattern_has_a_greatest_length)
{
    char longest[LIMIT_TEXT_PATTERN + 2];
    memset(longest, 'a', sizeof longest);
    cr_assert(lapse_is_ok(text_pattern_validate(slice_of(longest, LIMIT_TEXT_PATTERN), NULL)));
    cr_assert_eq(text_pattern_validate(slice_of(longest, LIMIT_TEXT_PATTERN + 1), NULL).code, LAPSE_INVALID_ARGUMENT);
    cr_assert(lapse_is_ok(text_pattern_validate(S("a{200}b{56}"), NULL)));
}

/* What would take a backtracking matcher longer than the universe lasts. */
Test(policy, the_worst_pattern_takes_time_linear_in_the_text, .timeout = 20)
{
    char text[LIMIT_JUSTIFICATION + 1];
    memset(text, 'a', LIMIT_JUSTIFICATION);
    text[LIMIT_JUSTIFICATION] = '\0';
    struct slice pattern = S("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b");
    for (int i = 0; i < 100; i++)
        cr_assert_not(text_matches(pattern, S(text)));
}
