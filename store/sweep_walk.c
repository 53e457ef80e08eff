/* The way of a sweep to its grants, cut into slices that a loop can bear.
 *
 * What ends when must be the same on every node, so a slice is measured by what all nodes share: members of a list
 * looked at, grants ended, and, where no index helps (a subtree, a requester), a number of collecting slices fixed by
 * the number of live grants. Slots are this process's own, so what is collected is sorted by the revisions of the
 * requests:
 *
 *   lists      in the order of the index (index_order), which a restore rebuilds; `after` is that of the last one seen
 *   collected  a run of matches for each slice, sorted; merged when they are ended
 *
 * A restored store has no runs: it collects what is left of them at once, off the loop. What ended in between by its
 * own clock is in one node's runs and not in another's, hence is passed over and not counted. */
#include "store/sweeps.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/transition.h"

struct sweep_match {
    uint64_t revision; /* of the request */
    uint32_t slot;
};

struct sweep_run {
    struct sweep_match *matches;
    uint32_t n, capacity;
    uint32_t at; /* the first one not dealt with */
};

static uint64_t requested(const struct store *store, uint32_t slot)
{
    return u48_get(store_record(store, slot)->requested_revision);
}

/* Ways */

static struct slice member_of(const struct store_filter *filter, int kind)
{
    const struct slice members[INDEX_KINDS] = {
        [INDEX_SUBJECT] = filter->subject, [INDEX_RESOURCE] = filter->resource, [INDEX_TICKET] = filter->ticket,
        [INDEX_POLICY] = filter->policy,   [INDEX_APPROVER] = filter->approver,
    };
    struct slice member = members[kind];
    bool subtree = kind == INDEX_RESOURCE && member.len > 0 && member.data[member.len - 1] == '*';
    return subtree ? (struct slice){0} : member;
}

/* The way along the shortest list in which all matches are, and its length; false when no index helps. */
static bool shortest_list(const struct store *store, const struct store_filter *filter, uint32_t *way, uint32_t *count)
{
    *count = UINT32_MAX;
    for (int kind = 0; kind < INDEX_KINDS; kind++) {
        struct slice member = member_of(filter, kind);
        const struct index_list *list = member.len == 0 ? NULL : index_find(store, (enum index_kind)kind, member);
        uint32_t n = list == NULL ? 0 : list->count;
        if (member.len == 0 || n >= *count)
            continue;
        *way = SWEEP_ALONG + (uint32_t)kind;
        *count = n;
    }
    return *count != UINT32_MAX;
}

static uint32_t first_child(const struct store *store, struct grant_id parent)
{
    uint32_t slot = slot_find(store, parent);
    return slot == 0 ? 0 : family_next_child(store, slot, 0);
}

static bool has_few_children(const struct store *store, struct grant_id parent)
{
    uint32_t n = 0;
    for (uint32_t child = first_child(store, parent); child != 0 && n <= LIMIT_SWEEP_AT_ONCE; n++)
        child = family_next_child(store, 0, child);
    return n <= LIMIT_SWEEP_AT_ONCE;
}

bool sweep_is_short(const struct store *store, const struct store_filter *filter, bool disallowed)
{
    uint32_t way, count, most = disallowed ? LIMIT_SWEEP_JUDGED : LIMIT_SWEEP_AT_ONCE;
    if (!grant_id_is_zero(filter->parent))
        return has_few_children(store, filter->parent);
    return shortest_list(store, filter, &way, &count) && count <= most;
}

/* Ending one */

struct budget {
    uint32_t grants; /* to be ended still */
    uint32_t below;  /* of those below them; the others follow with the timers of their parents */
};

/* Whether it is still to be ended here: its own clock may have done so, or be about to. */
static bool is_due(const struct store *store, const struct sweep_entry *entry, uint32_t slot, int64_t now_ms)
{
    return store_record(store, slot)->state != GRANT_NONE && !grant_state_is_ended(own_state_at(store, slot, now_ms)) &&
           sweep_takes(store, entry, slot);
}

static void end_one(struct apply *apply, struct sweep_entry *entry, uint32_t slot, struct budget *budget)
{
    uint32_t before = apply->outcome->n_events, below;
    const struct rule *rule = rules_find(COMMAND_REVOKE_MATCHING, store_record(apply->store, slot)->state);
    transition_end(apply, slot, rule, store_string(apply->store, entry->by), store_string(apply->store, entry->reason));
    if (budget->below > 0)
        transition_cascade(apply, slot);
    entry->grants += apply->outcome->n_events - before;
    below = apply->outcome->n_events - before - 1;
    budget->below -= below < budget->below ? below : budget->below;
    budget->grants--;
}

/* Along a list */

/* The string whose list it follows. */
static string_id string_of(const struct sweep_entry *entry)
{
    const string_id strings[INDEX_KINDS] = {
        [INDEX_SUBJECT] = entry->subject, [INDEX_RESOURCE] = entry->resource, [INDEX_TICKET] = entry->ticket,
        [INDEX_POLICY] = entry->policy,   [INDEX_APPROVER] = entry->approver,
    };
    return strings[entry->way - SWEEP_ALONG];
}

static uint64_t order_of(const struct store *store, const struct sweep_entry *entry, uint32_t slot)
{
    if (entry->way == SWEEP_CHILDREN)
        return requested(store, slot);
    return index_order(store, (enum index_kind)(entry->way - SWEEP_ALONG), string_of(entry), slot);
}

static uint32_t next_along(const struct store *store, const struct sweep_entry *entry, uint32_t slot)
{
    if (entry->way == SWEEP_CHILDREN)
        return family_next_child(store, 0, slot);
    return index_next(store, (enum index_kind)(entry->way - SWEEP_ALONG), string_of(entry), slot);
}

static uint32_t first_along(const struct store *store, const struct sweep_entry *entry)
{
    if (entry->way == SWEEP_CHILDREN)
        return first_child(store, entry->parent);
    struct slice text = store_string(store, string_of(entry));
    const struct index_list *list = index_find(store, (enum index_kind)(entry->way - SWEEP_ALONG), text);
    return list == NULL ? 0 : list->head;
}

void sweep_walk_begin(const struct store *store, struct sweep_entry *entry, struct sweep_walk *walk)
{
    struct sweep sweep;
    uint32_t count, live = store_live(store);
    sweep_show(store, entry, &sweep);
    /* A list may be long with ended grants: then the live ones are fewer. But a collecting slice asks too many for a
     * policy to judge each. */
    if (!grant_id_is_zero(entry->parent)) {
        entry->way = SWEEP_CHILDREN;
    } else if (!shortest_list(store, &sweep.filter, &entry->way, &count) || (count > live && !entry->disallowed)) {
        entry->way = SWEEP_COLLECTS;
        entry->left = live / LIMIT_SWEEP_SCAN + 1;
    }
    walk->next = entry->way == SWEEP_COLLECTS ? 1 : first_along(store, entry);
}

/* What comes behind the sweep's own revision was requested, or approved, later. */
static bool is_past_end(const struct store *store, const struct sweep_entry *entry, uint32_t slot)
{
    return slot == 0 || order_of(store, entry, slot) > entry->id;
}

static bool slice_along(struct apply *apply, struct sweep_entry *entry, struct sweep_walk *walk, struct budget *budget)
{
    struct store *store = apply->store;
    uint32_t most = entry->disallowed ? LIMIT_SWEEP_JUDGED : LIMIT_SWEEP_LOOKS;
    for (uint32_t looks = 0; looks < most && budget->grants > 0; looks++) {
        uint32_t slot = walk->next;
        if (is_past_end(store, entry, slot))
            break;
        entry->after = order_of(store, entry, slot);
        walk->next = next_along(store, entry, slot);
        if (walk->next != 0)
            slot_prefetch(store, walk->next);
        if (is_due(store, entry, slot, apply->now_ms))
            end_one(apply, entry, slot, budget);
    }
    return is_past_end(store, entry, walk->next);
}

/* Collecting */

static int compare_matches(const void *a, const void *b)
{
    uint64_t x = ((const struct sweep_match *)a)->revision, y = ((const struct sweep_match *)b)->revision;
    return x < y ? -1 : x > y;
}

static void run_add(struct sweep_run *run, struct sweep_match match)
{
    if (run->n == run->capacity) {
        run->capacity = run->capacity == 0 ? 256 : run->capacity * 2;
        run->matches = mem_realloc(run->matches, run->capacity * sizeof run->matches[0]);
    }
    run->matches[run->n++] = match;
}

/* Looks at the next `count` live grants: one sorted run. */
static void collect(const struct store *store, const struct sweep_entry *entry, struct sweep_walk *walk, uint32_t count)
{
    struct sweep_run run = {0};
    bool ascends = true;
    for (; count > 0 && (walk->next = slot_next_live(store, walk->next)) != 0; count--, walk->next++) {
        uint64_t revision = requested(store, walk->next);
        if (!sweep_takes(store, entry, walk->next))
            continue;
        ascends = ascends && (run.n == 0 || run.matches[run.n - 1].revision < revision);
        run_add(&run, (struct sweep_match){revision, walk->next});
    }
    if (run.n == 0)
        return;
    if (!ascends)
        qsort(run.matches, run.n, sizeof run.matches[0], compare_matches);
    walk->runs = mem_realloc(walk->runs, (walk->n_runs + 1) * sizeof walk->runs[0]);
    walk->runs[walk->n_runs++] = run;
}

/* The number of slices was fixed when this began, so the last one takes what has come since, too. */
static void slice_collect(const struct store *store, struct sweep_entry *entry, struct sweep_walk *walk)
{
    bool last = --entry->left == 0;
    if (walk->next != 0)
        collect(store, entry, walk, last ? UINT32_MAX : LIMIT_SWEEP_SCAN);
    if (last)
        entry->way = SWEEP_ENDS;
}

/* The oldest match of all runs, taken out of its own; false when there is none. */
static bool take_oldest(struct sweep_walk *walk, struct sweep_match *match)
{
    struct sweep_run *oldest = NULL;
    for (uint32_t i = 0; i < walk->n_runs; i++) {
        struct sweep_run *run = &walk->runs[i];
        if (run->at < run->n &&
            (oldest == NULL || run->matches[run->at].revision < oldest->matches[oldest->at].revision))
            oldest = run;
    }
    if (oldest == NULL)
        return false;
    *match = oldest->matches[oldest->at++];
    return true;
}

static bool slice_end(struct apply *apply, struct sweep_entry *entry, struct sweep_walk *walk, struct budget *budget)
{
    struct store *store = apply->store;
    struct sweep_match match;
    while (budget->grants > 0) {
        if (!take_oldest(walk, &match))
            return true;
        /* Should another grant have moved in, it was requested after the sweep began and isn't taken. */
        if (!is_due(store, entry, match.slot, apply->now_ms))
            continue;
        end_one(apply, entry, match.slot, budget);
    }
    return false;
}

/* All of it */

bool sweep_walk_slice(struct apply *apply, struct sweep_entry *entry, struct sweep_walk *walk, uint32_t count)
{
    struct budget budget = {.grants = count, .below = count};
    CHECK(entry->way != SWEEP_WAITS);
    if (entry->way >= SWEEP_CHILDREN)
        return slice_along(apply, entry, walk, &budget);
    if (entry->way == SWEEP_COLLECTS)
        slice_collect(apply->store, entry, walk);
    return entry->way == SWEEP_ENDS && slice_end(apply, entry, walk, &budget);
}

bool sweep_way_fits(const struct store_filter *filter, uint32_t way)
{
    if (way < SWEEP_CHILDREN)
        return way == SWEEP_COLLECTS || way == SWEEP_ENDS;
    if (way == SWEEP_CHILDREN)
        return !grant_id_is_zero(filter->parent);
    return way < SWEEP_ALONG + INDEX_KINDS && member_of(filter, (int)(way - SWEEP_ALONG)).len > 0;
}

void sweep_walk_resume(const struct store *store, struct sweep_entry *entry, struct sweep_walk *walk)
{
    if (entry->way < SWEEP_CHILDREN) {
        walk->next = 1;
        collect(store, entry, walk, UINT32_MAX);
        return;
    }
    walk->next = first_along(store, entry);
    while (walk->next != 0 && order_of(store, entry, walk->next) <= entry->after)
        walk->next = next_along(store, entry, walk->next);
}

void sweep_walk_forget(const struct store *store, const struct sweep_entry *entry, struct sweep_walk *walk,
                       uint32_t slot)
{
    if (entry->way >= SWEEP_CHILDREN && walk->next == slot)
        walk->next = next_along(store, entry, slot);
}

void sweep_walk_free(struct sweep_walk *walk)
{
    for (uint32_t i = 0; i < walk->n_runs; i++)
        free(walk->runs[i].matches);
    free(walk->runs);
    *walk = (struct sweep_walk){0};
}

size_t sweep_walk_bytes(const struct sweep_walk *walk)
{
    size_t bytes = walk->n_runs * sizeof walk->runs[0];
    for (uint32_t i = 0; i < walk->n_runs; i++)
        bytes += walk->runs[i].capacity * sizeof walk->runs[i].matches[0];
    return bytes;
}
