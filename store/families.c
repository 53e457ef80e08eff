/* Parents and children. A child ends with its parent, so a parent's live children are chained apart from the ended
 * ones: ending them one at a time never has to search. */
#include "base/check.h"
#include "store/hash.h"
#include "store/internal.h"

static struct family *at(const struct store *store, uint32_t family)
{
    return pool_at(&store->families, family);
}

static uint64_t hash_slot(const struct store *store, uint32_t slot)
{
    return XXH3_64bits_withSeed(&slot, sizeof slot, store->seed);
}

static uint64_t hash_item(const void *owner, uint32_t family)
{
    return hash_slot(owner, at(owner, family)->slot);
}

static uint32_t *next_item(const void *owner, uint32_t family)
{
    return &at(owner, family)->next_slot;
}

static const void *key_of_item(const void *owner, uint32_t family)
{
    return at(owner, family);
}

static const struct table_ops table_ops = {hash_item, next_item, key_of_item};

void families_init(struct store *store)
{
    pool_init(&store->families, sizeof(struct family));
    table_init(&store->family_slots, &table_ops, store);
}

void families_free(struct store *store)
{
    table_free(&store->family_slots);
    pool_free(&store->families);
}

size_t families_bytes(const struct store *store)
{
    return pool_bytes(&store->families) + table_bytes(&store->family_slots);
}

/* 0 for the many that have none, without a look into the table. */
static uint32_t family_of(const struct store *store, uint32_t slot)
{
    if (!links_at(store, slot)->has_family)
        return 0;
    uint32_t family = table_first(&store->family_slots, hash_slot(store, slot));
    while (at(store, family)->slot != slot) {
        family = at(store, family)->next_slot;
        CHECK(family != 0);
    }
    return family;
}

static uint32_t make(struct store *store, uint32_t slot)
{
    if (links_at(store, slot)->has_family)
        return family_of(store, slot);
    uint32_t family = pool_take(&store->families);
    at(store, family)->slot = slot;
    table_insert(&store->family_slots, family, hash_slot(store, slot));
    links_at(store, slot)->has_family = 1;
    return family;
}

void family_adopt(struct store *store, uint32_t parent_slot, uint32_t child_slot)
{
    uint32_t parent = make(store, parent_slot), child = make(store, child_slot);
    struct family *mother = at(store, parent), *kid = at(store, child);
    kid->parent = parent;
    kid->prev = mother->last;
    *(mother->last == 0 ? &mother->first : &at(store, mother->last)->next) = child;
    mother->last = child;
    if (grant_state_is_ended((enum grant_state)store_record(store, child_slot)->state))
        return;
    kid->live_prev = mother->live_last;
    *(mother->live_last == 0 ? &mother->live_first : &at(store, mother->live_last)->live_next) = child;
    mother->live_last = child;
}

void family_child_ended(struct store *store, uint32_t slot)
{
    uint32_t child = family_of(store, slot);
    if (child == 0 || at(store, child)->parent == 0)
        return;
    struct family *kid = at(store, child), *mother = at(store, kid->parent);
    *(kid->live_prev == 0 ? &mother->live_first : &at(store, kid->live_prev)->live_next) = kid->live_next;
    *(kid->live_next == 0 ? &mother->live_last : &at(store, kid->live_next)->live_prev) = kid->live_prev;
    kid->live_prev = kid->live_next = 0;
}

uint32_t family_leave(struct store *store, uint32_t slot)
{
    uint32_t child = family_of(store, slot), orphaned = 0;
    if (child == 0)
        return 0;
    struct family *kid = at(store, child);
    CHECK(kid->first == 0);
    if (kid->parent != 0) {
        struct family *mother = at(store, kid->parent);
        *(kid->prev == 0 ? &mother->first : &at(store, kid->prev)->next) = kid->next;
        *(kid->next == 0 ? &mother->last : &at(store, kid->next)->prev) = kid->prev;
        orphaned = mother->first == 0 ? mother->slot : 0;
    }
    links_at(store, slot)->has_family = 0;
    table_remove(&store->family_slots, child, hash_slot(store, slot));
    pool_give(&store->families, child);
    return orphaned;
}

bool family_has_children(const struct store *store, uint32_t slot)
{
    uint32_t family = family_of(store, slot);
    return family != 0 && at(store, family)->first != 0;
}

uint32_t family_live_child(const struct store *store, uint32_t slot)
{
    uint32_t family = family_of(store, slot);
    uint32_t child = family == 0 ? 0 : at(store, family)->live_first;
    return child == 0 ? 0 : at(store, child)->slot;
}

uint32_t family_parent(const struct store *store, uint32_t slot)
{
    uint32_t family = family_of(store, slot);
    uint32_t parent = family == 0 ? 0 : at(store, family)->parent;
    return parent == 0 ? 0 : at(store, parent)->slot;
}

uint32_t family_next_child(const struct store *store, uint32_t parent_slot, uint32_t child_slot)
{
    uint32_t family = family_of(store, child_slot != 0 ? child_slot : parent_slot);
    if (family == 0)
        return 0;
    uint32_t next = child_slot != 0 ? at(store, family)->next : at(store, family)->first;
    return next == 0 ? 0 : at(store, next)->slot;
}
