/* Whom a pattern of principals means.
 *
 * A person has several names: "user:NAME" and "spiffe://<any domain>/user/NAME" are the same (principal_same in
 * grant.c). A pattern is compared with all of them, so that nobody gets past a deny rule, or out of a limit, by their
 * other name:
 *
 *   pattern                          matches
 *   user:dev1                        user:dev1, spiffe://a/user/dev1, spiffe://b/user/dev1
 *   user:dev1*                       the same, and user:dev10, spiffe://a/user/dev10
 *   spiffe://a/user/dev1             itself and user:dev1, but nobody of another domain
 *   spiffe://a/host/db*              hosts of that domain whose names begin so
 *   *                                everybody
 *
 * Whoever means one trust domain writes the SPIFFE ID. */
#include "store/policy_internal.h"

#define SCHEME "spiffe://"
#define USER_PATH "/user/"

static struct slice behind(struct slice text, size_t n)
{
    return slice_of(text.data + n, text.len - n);
}

/* The path, with its slash, of what begins with "spiffe://"; empty when there is none. */
static struct slice path_of(struct slice text)
{
    size_t at = sizeof SCHEME - 1;
    while (at < text.len && text.data[at] != '/')
        at++;
    return at < text.len ? behind(text, at) : (struct slice){0};
}

struct policy_principal policy_principal_of(struct slice principal)
{
    struct policy_principal parts = {.text = principal, .spiffe = slice_starts_with(principal, slice_str(SCHEME))};
    struct slice name = principal_name(principal);
    if (name.len < principal.len)
        parts.user = name;
    return parts;
}

/* Whether "spiffe://D/user/NAME" begins with `start` for any D. */
static bool some_domain_starts(struct slice start, struct slice name)
{
    struct slice scheme = slice_str(SCHEME), user_path = slice_str(USER_PATH);
    if (start.len <= scheme.len)
        return slice_starts_with(scheme, start);
    if (!slice_starts_with(start, scheme) || start.data[scheme.len] == '/')
        return false;
    struct slice path = path_of(start);
    if (path.len <= user_path.len)
        return slice_starts_with(user_path, path);
    return slice_starts_with(path, user_path) && slice_starts_with(name, behind(path, user_path.len));
}

static bool starts_any_name(struct slice start, const struct policy_principal *principal)
{
    struct slice user = slice_str("user:");
    if (slice_starts_with(principal->text, start))
        return true;
    if (principal->user.len == 0)
        return false;
    if (!principal->spiffe)
        return some_domain_starts(start, principal->user);
    return start.len <= user.len
               ? slice_starts_with(user, start)
               : slice_starts_with(start, user) && slice_starts_with(principal->user, behind(start, user.len));
}

bool policy_principal_is(struct slice pattern, const struct policy_principal *principal)
{
    if (pattern.len == 0 || principal->text.len == 0)
        return false;
    if (pattern.data[pattern.len - 1] == '*')
        return starts_any_name(slice_of(pattern.data, pattern.len - 1), principal);
    if (slice_equal(pattern, principal->text))
        return true;
    return principal->user.len > 0 && principal_same(pattern, principal->text);
}

bool policy_principal_in(const struct policy_patterns *patterns, const struct policy_principal *principal)
{
    for (uint32_t i = 0; i < patterns->n; i++)
        if (policy_principal_is(patterns->items[i], principal))
            return true;
    return false;
}

bool principal_matches(struct slice pattern, struct slice principal)
{
    struct policy_principal parts = policy_principal_of(principal);
    return policy_principal_is(pattern, &parts);
}

bool principal_matches_any(struct slice patterns, struct slice principal)
{
    struct policy_principal parts = policy_principal_of(principal);
    struct slice pattern;
    if (patterns.len == 0)
        return principal.len > 0;
    while (scope_next(&patterns, &pattern))
        if (policy_principal_is(pattern, &parts))
            return true;
    return false;
}
