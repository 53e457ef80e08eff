/* Whom a campaign asks about: members under all their names, prefixes only if all of them are meant. */
#include <criterion/criterion.h>

#include "base/check.h"
#include "store/eligibility.h"

static bool takes(const char *members, const char *member)
{
    struct eligibility eligibility = {.member = slice_str(member), .resources = {slice_str("db/*")}, .n_resources = 1};
    struct campaign campaign = {.members = {slice_str(members)}, .n_members = 1};
    return campaign_takes(&campaign, &eligibility);
}

Test(store_campaigns, a_prefix_is_found_under_the_other_name_of_its_members)
{
    static const struct {
        const char *members, *member;
        bool taken;
    } cases[] = {
        {"user:*", "user:dev*", true},
        {"user:dev*", "user:dev*", true},
        {"user:dev1*", "user:dev*", false},
        {"user:dev", "user:dev*", false},
        {"user:dev2*", "user:dev1*", false},
        {"spiffe://example.org/*", "user:*", true},
        {"spiffe://example.org/user/*", "user:dev*", true},
        {"spiffe://example.org/user/dev*", "user:dev*", true},
        {"spiffe://example.org/user/dev1*", "user:dev*", false},
        {"spiffe://example.org/host/*", "user:dev*", false},
        {"spiffe://example.org/user/*", "user*", false}, /* "users:..." as well */
        {"user:*", "spiffe://example.org/user/dev1*", true},
        {"user:dev*", "spiffe://example.org/user/dev1*", true},
        {"user:dev2*", "spiffe://example.org/user/dev1*", false},
        {"user:*", "spiffe://example.org/*", false}, /* hosts as well */
        {"spiffe://other.org/user/*", "spiffe://example.org/user/dev1*", false},
        {"spiffe://other.org/user/dev*", "user:dev*", true}, /* who is of any domain */
        {"s*", "spiffe://example.org/user/*", true},
        {"user:dev*", "user:dev1", true},
        {"spiffe://example.org/user/dev*", "user:dev1", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_expect_eq(takes(cases[i].members, cases[i].member), cases[i].taken, "%s, %s", cases[i].members,
                     cases[i].member);
}
