#include "store/roles.h"

#include <stdlib.h>

#include "base/check.h"

void roles_free(struct roles *roles)
{
    for (uint32_t i = 0; i < roles->n; i++) {
        free(roles->entries[i].member);
        free(roles->entries[i].scope);
    }
    free(roles->entries);
    free(roles->prefixes);
    *roles = (struct roles){0};
}

/* The first entry whose member is not less than `member`. */
static uint32_t lower_bound(const struct roles *roles, struct slice member)
{
    uint32_t low = 0, high = roles->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slice_compare(role_member(&roles->entries[middle]), member) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool found_at(const struct roles *roles, uint32_t i, struct slice member)
{
    return i < roles->n && slice_equal(role_member(&roles->entries[i]), member);
}

uint32_t roles_bound(const struct roles *roles, struct slice member)
{
    uint32_t i = lower_bound(roles, member);
    return found_at(roles, i, member) ? roles->entries[i].roles : 0;
}

/* A prefix without its asterisk. */
static struct slice stem(const struct roles *roles, const struct role_prefix *prefix)
{
    struct slice member = role_member(&roles->entries[prefix->entry]);
    return slice_of(member.data, member.len - 1);
}

/* The longest of the first `n` prefixes that `text` starts with, as index + 1. The greatest stem not above `text`
 * either is it, or has it among its own prefixes. */
static uint32_t longest_prefix(const struct roles *roles, uint32_t n, struct slice text)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slice_compare(stem(roles, &roles->prefixes[middle]), text) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (low != 0 && !slice_starts_with(text, stem(roles, &roles->prefixes[low - 1])))
        low = roles->prefixes[low - 1].up;
    return low;
}

uint32_t roles_of(const struct roles *roles, struct slice principal)
{
    uint32_t prefix = longest_prefix(roles, roles->n_prefixes, principal);
    return roles_bound(roles, principal) | (prefix == 0 ? 0 : roles->prefixes[prefix - 1].roles);
}

struct slice roles_scope(const struct roles *roles, struct slice member)
{
    uint32_t i = lower_bound(roles, member);
    return found_at(roles, i, member) ? role_scope(&roles->entries[i]) : (struct slice){0};
}

static bool scope_covers(struct slice scope, struct slice resource)
{
    struct slice pattern;
    while (scope_next(&scope, &pattern))
        if (resource_covers(pattern, resource))
            return true;
    return false;
}

static bool entry_guards(const struct role_entry *entry, struct slice pattern, bool all)
{
    if ((entry->roles & ROLE_ENFORCER) == 0)
        return false;
    if (entry->scope_len == 0)
        return true;
    return all ? scope_covers(role_scope(entry), pattern) : scope_overlaps(role_scope(entry), pattern);
}

static bool guards(const struct roles *roles, struct slice principal, struct slice pattern, bool all)
{
    uint32_t i = lower_bound(roles, principal), prefix = longest_prefix(roles, roles->n_prefixes, principal);
    if (found_at(roles, i, principal) && entry_guards(&roles->entries[i], pattern, all))
        return true;
    for (; prefix != 0; prefix = roles->prefixes[prefix - 1].up)
        if (entry_guards(&roles->entries[roles->prefixes[prefix - 1].entry], pattern, all))
            return true;
    return false;
}

bool roles_guard_all(const struct roles *roles, struct slice principal, struct slice pattern)
{
    return guards(roles, principal, pattern, true);
}

bool roles_guard_some(const struct roles *roles, struct slice principal, struct slice pattern)
{
    return guards(roles, principal, pattern, false);
}

static int compare_stems(const void *a, const void *b, void *arg)
{
    return slice_compare(stem(arg, a), stem(arg, b));
}

static void rebuild_prefixes(struct roles *roles)
{
    roles->n_prefixes = 0;
    roles->prefixes = mem_realloc(roles->prefixes, roles->n * sizeof roles->prefixes[0]);
    for (uint32_t i = 0; i < roles->n; i++)
        if (roles->entries[i].member[roles->entries[i].len - 1] == '*')
            roles->prefixes[roles->n_prefixes++] = (struct role_prefix){.entry = i};
    /* By stem: "ab*" comes before "ab.c*" here although '.' is greater than '*' only by luck. */
    if (roles->n_prefixes > 0)
        qsort_r(roles->prefixes, roles->n_prefixes, sizeof roles->prefixes[0], compare_stems, roles);
    for (uint32_t i = 0; i < roles->n_prefixes; i++) {
        struct role_prefix *prefix = &roles->prefixes[i];
        prefix->up = longest_prefix(roles, i, stem(roles, prefix));
        prefix->roles = roles->entries[prefix->entry].roles;
        if (prefix->up != 0)
            prefix->roles |= roles->prefixes[prefix->up - 1].roles;
    }
}

static struct store_digest entry_digest(const struct role_entry *entry)
{
    struct digest_message message;
    message.len = 0;
    digest_put(&message, &entry->roles, sizeof entry->roles);
    digest_put(&message, &entry->len, sizeof entry->len);
    digest_put(&message, entry->member, entry->len);
    if (entry->scope_len > 0)
        digest_put(&message, entry->scope, entry->scope_len);
    return digest_of_message(DIGEST_ROLE, &message);
}

static uint8_t *copy_of(struct slice text)
{
    return text.len == 0 ? NULL : memcpy(mem_alloc(text.len), text.data, text.len);
}

void role_copy(const struct role_entry *from, struct role_entry *to)
{
    *to = *from;
    to->member = copy_of(role_member(from));
    to->scope = copy_of(role_scope(from));
}

static void insert(struct roles *roles, uint32_t at, struct slice member)
{
    if (roles->n == roles->capacity) {
        roles->capacity = roles->capacity == 0 ? 8 : roles->capacity * 2;
        roles->entries = mem_realloc(roles->entries, roles->capacity * sizeof roles->entries[0]);
    }
    memmove(roles->entries + at + 1, roles->entries + at, (roles->n - at) * sizeof roles->entries[0]);
    roles->entries[at] = (struct role_entry){.member = copy_of(member), .len = (uint32_t)member.len};
    roles->n++;
}

static void erase(struct roles *roles, uint32_t at)
{
    free(roles->entries[at].member);
    free(roles->entries[at].scope);
    roles->n--;
    memmove(roles->entries + at, roles->entries + at + 1, (roles->n - at) * sizeof roles->entries[0]);
}

static void set_entry(struct role_entry *entry, uint32_t bits, struct slice scope)
{
    free(entry->scope);
    entry->scope = copy_of(scope);
    entry->scope_len = (uint32_t)scope.len;
    entry->roles = bits;
}

void roles_set(struct roles *roles, struct slice member, uint32_t bits, struct slice scope, struct store_digest *sum)
{
    uint32_t at = lower_bound(roles, member);
    bool found = found_at(roles, at, member);
    if (found)
        digest_sub(sum, entry_digest(&roles->entries[at]));
    else if (bits != 0)
        insert(roles, at, member);
    if (bits != 0) {
        set_entry(&roles->entries[at], bits, scope);
        digest_add(sum, entry_digest(&roles->entries[at]));
    } else if (found) {
        erase(roles, at);
    }
    rebuild_prefixes(roles);
}
