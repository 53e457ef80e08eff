/* Role bindings: who may do what. Internal to store/.
 *
 * Kept sorted by member. A member that ends in an asterisk is a prefix; each entry knows the next shorter prefix of it
 * in the set (`up`), so that a look-up is one binary search and a walk up that chain, however many bindings there are.
 */
#ifndef LAPSE_STORE_ROLES_H
#define LAPSE_STORE_ROLES_H

#include "store/digest.h"

struct role_entry {
    uint8_t *member; /* owned; with its asterisk */
    uint8_t *scope;  /* owned; what an enforcer may guard. NULL: all */
    uint32_t len, scope_len;
    uint32_t roles;
};

struct role_prefix {
    uint32_t entry; /* index in entries */
    uint32_t up;    /* index in prefixes + 1 of the longest one that this one starts with; 0: none */
    uint32_t roles; /* of this and all above */
};

struct roles {
    struct role_entry *entries;
    uint32_t n, capacity;
    struct role_prefix *prefixes; /* sorted as entries are */
    uint32_t n_prefixes;
};

void roles_free(struct roles *roles);
uint32_t roles_of(const struct roles *roles, struct slice principal);
/* Exactly that member's bits; 0 when there is no binding. */
uint32_t roles_bound(const struct roles *roles, struct slice member);
/* Binds, or removes with `bits` 0. The caller has checked limits. `sum` follows. */
void roles_set(struct roles *roles, struct slice member, uint32_t bits, struct slice scope, struct store_digest *sum);
/* The scope of exactly that member's binding. */
struct slice roles_scope(const struct roles *roles, struct slice member);
/* Whether one of the bindings that make `principal` an enforcer lets it guard all of the pattern. */
bool roles_guard_all(const struct roles *roles, struct slice principal, struct slice pattern);
/* Likewise for a part of it, or more. */
bool roles_guard_some(const struct roles *roles, struct slice principal, struct slice pattern);

/* A copy that owns its texts. */
void role_copy(const struct role_entry *from, struct role_entry *to);

static inline struct slice role_scope(const struct role_entry *entry)
{
    return slice_of(entry->scope, entry->scope_len);
}

static inline struct slice role_member(const struct role_entry *entry)
{
    return slice_of(entry->member, entry->len);
}

#endif
