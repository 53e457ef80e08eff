/* Reading grants: by id, by filter, and the check whether anything allows a question. */
#include "base/check.h"
#include "store/governance.h"
#include "store/patterns.h"

bool store_get(const struct store *store, struct grant_id id, struct grant *grant)
{
    uint32_t slot = slot_find(store, id);
    if (slot == 0)
        return false;
    slot_read(store, slot, grant);
    return true;
}

static bool member_matches(struct slice wanted, struct slice text)
{
    return wanted.len == 0 || slice_equal(wanted, text);
}

static bool provenance_matches(const struct store_filter *filter, const struct grant *grant)
{
    if (filter->policy_version != 0 && filter->policy_version != grant->policy_version)
        return false;
    if (filter->person.len > 0 && !principal_same(filter->person, grant->subject) &&
        !principal_same(filter->person, grant->requester))
        return false;
    bool labelled = filter->label.len == 0;
    for (uint32_t i = 0; i < grant->n_labels && !labelled; i++)
        labelled = label_is(&grant->labels[i], filter->label);
    return labelled && member_matches(filter->binding, grant->binding.spiffe_id);
}

bool store_filter_matches(const struct store_filter *filter, const struct grant *grant)
{
    if (filter->states != 0 && (filter->states & 1u << grant->state) == 0)
        return false;
    if (!grant_id_is_zero(filter->parent) && grant_id_compare(filter->parent, grant->parent) != 0)
        return false;
    if (filter->resource.len > 0 && !resource_covers(filter->resource, grant->resource))
        return false;
    bool approved = filter->approver.len == 0;
    for (uint32_t i = 0; i < grant->n_approvals && !approved; i++)
        approved = slice_equal(filter->approver, grant->approvals[i].approver);
    return approved && member_matches(filter->subject, grant->subject) &&
           member_matches(filter->requester, grant->requester) && member_matches(filter->ticket, grant->ticket) &&
           member_matches(filter->policy, grant->policy) && provenance_matches(filter, grant);
}

/* Listing
 *
 *   cursor:  way (3 bits) | slot of the last grant looked at (24) | low bits of its order in the list (37)
 *
 * The way is chosen by the first call and kept by the others. Along a list, the slot finds the place again at once; if
 * that grant has left meanwhile, the order does, by walking from the head. A list too long for such a walk is not used:
 * looking at all slots in their order, which needs no place to be found, then costs little more. */
enum way {
    WAY_NONE = 0,
    WAY_SLOTS = 1,
    WAY_CHILDREN = 2,
    WAY_INDEX = 3, /* + enum index_kind */
};
_Static_assert(WAY_INDEX + INDEX_KINDS <= 8, "three bits");

#define INDEX_COUNT_MAX 65536u
#define ORDER_BITS 37
#define SLOT_BITS 24
#define ORDER_MASK ((1ULL << ORDER_BITS) - 1)
#define SLOT_MASK ((1ULL << SLOT_BITS) - 1)

struct walk {
    const struct store *store;
    const struct store_filter *filter;
    uint32_t way;
    const struct index_list *list;
    uint32_t parent; /* slot */
};

static struct slice filter_member(const struct store_filter *filter, enum index_kind kind)
{
    switch (kind) {
    case INDEX_SUBJECT:
        return filter->subject;
    case INDEX_RESOURCE: {
        bool pattern = filter->resource.len > 0 && filter->resource.data[filter->resource.len - 1] == '*';
        return pattern ? (struct slice){0} : filter->resource;
    }
    case INDEX_TICKET:
        return filter->ticket;
    case INDEX_POLICY:
        return filter->policy;
    default:
        return filter->approver;
    }
}

/* Chooses the shortest way; false when it is clear that nothing matches. */
static bool choose_way(struct walk *walk)
{
    uint32_t best = INDEX_COUNT_MAX + 1;
    walk->way = WAY_SLOTS;
    if (!grant_id_is_zero(walk->filter->parent)) {
        walk->way = WAY_CHILDREN;
        return slot_find(walk->store, walk->filter->parent) != 0;
    }
    for (int kind = 0; kind < INDEX_KINDS; kind++) {
        struct slice text = filter_member(walk->filter, (enum index_kind)kind);
        if (text.len == 0)
            continue;
        const struct index_list *list = index_find(walk->store, (enum index_kind)kind, text);
        if (list == NULL)
            return false;
        if (list->count < best) {
            best = list->count;
            walk->way = WAY_INDEX + (uint32_t)kind;
        }
    }
    return true;
}

/* Finds again what the way leads along; false when it has gone. */
static bool enter_way(struct walk *walk)
{
    if (walk->way == WAY_CHILDREN)
        return (walk->parent = slot_find(walk->store, walk->filter->parent)) != 0;
    if (walk->way < WAY_INDEX)
        return walk->way == WAY_SLOTS;
    enum index_kind kind = (enum index_kind)(walk->way - WAY_INDEX);
    if (kind >= INDEX_KINDS)
        return false;
    walk->list = index_find(walk->store, kind, filter_member(walk->filter, kind));
    return walk->list != NULL;
}

static uint64_t order_of(const struct walk *walk, uint32_t slot)
{
    enum index_kind kind = walk->way >= WAY_INDEX ? (enum index_kind)(walk->way - WAY_INDEX) : INDEX_SUBJECT;
    return index_order(walk->store, kind, walk->list == NULL ? 0 : walk->list->string, slot);
}

static uint32_t next_along(const struct walk *walk, uint32_t slot)
{
    if (walk->way == WAY_CHILDREN)
        return family_next_child(walk->store, walk->parent, slot);
    if (slot == 0)
        return walk->list->head;
    return index_next(walk->store, (enum index_kind)(walk->way - WAY_INDEX), walk->list->string, slot);
}

/* Whether the grant in `slot` is the one that the cursor remembers. Its order is a revision of its own, so no other
 * grant of this list has it. */
static bool is_place(const struct walk *walk, uint32_t slot, uint64_t order)
{
    if (slot == 0 || slot >= walk->store->records.n_slots || store_record(walk->store, slot)->state == GRANT_NONE)
        return false;
    if ((order_of(walk, slot) & ORDER_MASK) != order)
        return false;
    if (walk->way == WAY_CHILDREN)
        return family_parent(walk->store, slot) == walk->parent;
    return index_holds(walk->store, (enum index_kind)(walk->way - WAY_INDEX), walk->list->string, slot);
}

static uint32_t resume(const struct walk *walk, uint64_t cursor)
{
    uint64_t order = cursor & ORDER_MASK;
    uint32_t slot = (uint32_t)(cursor >> ORDER_BITS & SLOT_MASK);
    if (is_place(walk, slot, order))
        return next_along(walk, slot);
    /* Revisions closer than 2^36 compare rightly by their low bits. */
    slot = next_along(walk, 0);
    while (slot != 0 && ((order_of(walk, slot) - order - 1) & ORDER_MASK) >> (ORDER_BITS - 1) != 0)
        slot = next_along(walk, slot);
    return slot;
}

static uint64_t cursor_make(uint32_t way, uint64_t slot, uint64_t order)
{
    return (uint64_t)way << (ORDER_BITS + SLOT_BITS) | (slot & SLOT_MASK) << ORDER_BITS | (order & ORDER_MASK);
}

/* Shows the grant to the visitor if it matches; false to stop. */
static bool look_at(const struct walk *walk, uint32_t slot, store_visit_cb visit, void *arg)
{
    struct grant grant;
    const struct record *record = store_record(walk->store, slot);
    if (walk->filter->states != 0 && (walk->filter->states & 1u << record->state) == 0)
        return true;
    slot_read(walk->store, slot, &grant);
    return !store_filter_matches(walk->filter, &grant) || visit(arg, &grant);
}

static bool list_slots(const struct walk *walk, uint64_t *cursor, uint32_t scan_max, store_visit_cb visit, void *arg)
{
    uint32_t n_slots = walk->store->records.n_slots;
    uint64_t slot = (*cursor & ORDER_MASK) + 1; /* the order of slots is their number */
    bool go_on = true;
    for (; go_on && scan_max > 0 && slot < n_slots; slot++, scan_max--)
        if (store_record(walk->store, (uint32_t)slot)->state != GRANT_NONE)
            go_on = look_at(walk, (uint32_t)slot, visit, arg);
    *cursor = cursor_make(WAY_SLOTS, 0, slot - 1);
    return slot < n_slots;
}

static bool list_along(const struct walk *walk, uint64_t *cursor, uint32_t scan_max, store_visit_cb visit, void *arg)
{
    uint32_t slot = (*cursor & ORDER_MASK) == 0 ? next_along(walk, 0) : resume(walk, *cursor);
    bool go_on = true;
    for (; go_on && scan_max > 0 && slot != 0; scan_max--) {
        *cursor = cursor_make(walk->way, slot > SLOT_MASK ? 0 : slot, order_of(walk, slot));
        go_on = look_at(walk, slot, visit, arg);
        slot = next_along(walk, slot);
    }
    return slot != 0;
}

bool store_list(const struct store *store, const struct store_filter *filter, uint64_t *cursor, uint32_t scan_max,
                store_visit_cb visit, void *arg)
{
    struct walk walk = {.store = store, .filter = filter, .way = (uint32_t)(*cursor >> (ORDER_BITS + SLOT_BITS))};
    if (walk.way == WAY_NONE && !choose_way(&walk))
        return false;
    if (!enter_way(&walk))
        return false;
    return walk.way == WAY_SLOTS ? list_slots(&walk, cursor, scan_max, visit, arg)
                                 : list_along(&walk, cursor, scan_max, visit, arg);
}

/* Checking */

struct best {
    enum grant_verdict verdict;
    uint32_t slot; /* 0: none yet */
    int64_t deadline_ms;
};

static void consider(const struct store *store, uint32_t slot, const struct grant_query *query, int64_t now_ms,
                     struct best *best)
{
    struct grant grant;
    enum grant_verdict verdict = GRANT_NOT_ACTIVE;
    const struct record *record = store_record(store, slot);
    /* An ended grant is not active whatever it says, and nor is one below it, though its own end may still be due. */
    if (!grant_state_is_ended((enum grant_state)record->state) && state_at(store, slot, now_ms) != GRANT_REVOKED) {
        slot_read(store, slot, &grant);
        verdict = grant_allows(&grant, query, now_ms);
    }
    int64_t deadline_ms = (int64_t)u48_get(record->deadline_ms);
    /* A later test failed is a nearer miss. */
    int rank = verdict == GRANT_ALLOWS ? INT32_MAX : (int)verdict;
    int best_rank = best->slot == 0 ? -1 : best->verdict == GRANT_ALLOWS ? INT32_MAX : (int)best->verdict;
    if (rank > best_rank || (rank == best_rank && deadline_ms > best->deadline_ms))
        *best = (struct best){verdict, slot, deadline_ms};
}

/* Through the subject's grants. */
static void check_subject(const struct store *store, const struct index_list *list, const struct grant_query *query,
                          int64_t now_ms, struct best *best)
{
    for (uint32_t slot = list->head; slot != 0; slot = index_next(store, INDEX_SUBJECT, list->string, slot))
        consider(store, slot, query, now_ms, best);
}

/* Through the grants whose resource covers the path, of any subject. Returns how many, looking at them only if `best`.
 */
static uint64_t check_resource(const struct store *store, string_id subject, const struct grant_query *query,
                               int64_t now_ms, struct best *best)
{
    struct patterns patterns;
    struct slice text;
    uint64_t n = 0;
    patterns_begin(&patterns, query->resource);
    while (patterns_next(&patterns, &text)) {
        const struct index_list *list = index_find(store, INDEX_RESOURCE, text);
        n += list == NULL ? 0 : list->count;
        for (uint32_t slot = list == NULL || best == NULL ? 0 : list->head; slot != 0;
             slot = index_next(store, INDEX_RESOURCE, list->string, slot))
            if (store_record(store, slot)->subject == subject)
                consider(store, slot, query, now_ms, best);
    }
    return n;
}

/* By a bearer token: its grant, and no other. Who names no subject is taken for the grant's. */
static enum grant_verdict check_token(const struct store *store, const struct grant_query *query, int64_t now_ms,
                                      struct grant *grant, bool *found)
{
    uint32_t slot = tokens_find(store, query->token_sha256);
    struct grant_query asked = *query;
    struct best best = {.verdict = GRANT_NOT_ACTIVE};
    if (slot == 0)
        return GRANT_NOT_ACTIVE;
    if (asked.subject.len == 0)
        asked.subject = store_string(store, store_record(store, slot)->subject);
    if (locks_deny(store, &asked, now_ms))
        return GRANT_LOCKED;
    consider(store, slot, &asked, now_ms, &best);
    slot_read(store, slot, grant);
    *found = true;
    return best.verdict;
}

enum grant_verdict store_check(const struct store *store, const struct grant_query *query, int64_t now_ms,
                               struct grant *grant, bool *found)
{
    /* A subject with many grants (a deploying service) is cheaper to find from the resource's side. */
    static const uint32_t few = 64;
    struct best best = {.verdict = GRANT_NOT_ACTIVE};
    const struct index_list *list = index_find(store, INDEX_SUBJECT, query->subject);
    *found = false;
    /* First of all, so that a locked subject learns nothing else, whatever grants there are. */
    if (locks_deny(store, query, now_ms))
        return GRANT_LOCKED;
    if (query->token_sha256.len > 0)
        return check_token(store, query, now_ms, grant, found);
    if (list == NULL || query->resource.len > LIMIT_RESOURCE)
        return GRANT_NOT_ACTIVE;
    if (list->count <= few || check_resource(store, list->string, query, now_ms, NULL) >= list->count) {
        check_subject(store, list, query, now_ms, &best);
    } else {
        check_resource(store, list->string, query, now_ms, &best);
        if (best.slot == 0)
            best.verdict = GRANT_OTHER_RESOURCE;
    }
    if (best.slot != 0) {
        slot_read(store, best.slot, grant);
        *found = true;
    }
    return best.verdict;
}
