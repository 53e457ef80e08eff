/* Reading the cache: from a question to the grant that allows it, or to the nearest miss.
 *
 *   "db/prod/orders" --> hash(subject, "db/prod/orders"), hash(subject, "db/prod/" below), hash(subject, "db/" below),
 *                        hash(subject, "" below)
 *
 * All hashes are made first and their buckets asked from memory, so that the misses overlap. */
#include "client/guard_locks.h"
#include "client/guard_table.h"

/* A path of LIMIT_RESOURCE bytes has at most this many patterns. */
#define WAYS_MAX (LIMIT_RESOURCE / 2 + 2)

struct ways {
    uint64_t hashes[WAYS_MAX];
    uint32_t n;
};

/* From the most exact pattern to "*". */
static void ways_of(const struct guard_cache *cache, const struct guard_table *table, const struct grant_query *query,
                    struct ways *ways)
{
    uint64_t subject = guard_hash_subject(cache->seed, query->subject);
    ways->hashes[0] = guard_hash_path(subject, query->resource);
    ways->n = 1;
    for (size_t len = query->resource.len; len > 0; len--)
        if (query->resource.data[len - 1] == '/')
            ways->hashes[ways->n++] = guard_hash_below(subject, slice_of(query->resource.data, len));
    ways->hashes[ways->n++] = guard_hash_below(subject, slice_of(query->resource.data, 0));
    for (uint32_t i = 0; i < ways->n; i++)
        __builtin_prefetch(&table->buckets[ways->hashes[i] & table->mask]);
}

static const uint8_t *take_texts(const uint8_t *at, uint8_t n, struct slice *texts)
{
    for (uint8_t i = 0; i < n; i++) {
        texts[i] = slice_of(at + 1, *at);
        at += 1 + *at;
    }
    return at;
}

/* Everything of a grant that grant_allows looks at. What is in sight is active. */
static void grant_of(const struct guard_entry *entry, struct grant *grant)
{
    const uint8_t *at = entry->text;
    grant->state = GRANT_ACTIVE;
    grant->not_before_ms = entry->not_before_ms;
    grant->deadline_ms = entry->deadline_ms;
    grant->max_uses = entry->max_uses;
    grant->uses = entry->uses;
    grant->subject = slice_of(at, entry->subject_len);
    at += entry->subject_len;
    grant->resource = slice_of(at, entry->resource_len);
    at += entry->resource_len;
    grant->binding.spiffe_id = slice_of(at, entry->spiffe_len);
    at += entry->spiffe_len;
    grant->binding.certificate_sha256 = slice_of(at, entry->certificate_len);
    at += entry->certificate_len + entry->token_len;
    grant->n_actions = entry->n_actions;
    at = take_texts(at, entry->n_actions, grant->actions);
    grant->binding.n_networks = entry->n_networks;
    (void)take_texts(at, entry->n_networks, grant->binding.networks);
}

/* Higher is nearer to what was asked for; a later test failed is a nearer miss. */
static int rank_of(const struct guard_entry *entry, enum grant_verdict verdict)
{
    if (verdict != GRANT_ALLOWS)
        return (int)verdict;
    return entry->max_uses == 0 ? INT32_MAX : INT32_MAX - 1;
}

static void consider(const struct guard_entry *entry, const struct grant_query *query, int64_t now_ms,
                     struct grant *grant, struct guard_match *best)
{
    grant_of(entry, grant);
    enum grant_verdict verdict = grant_allows(grant, query, now_ms);
    if (verdict == GRANT_OTHER_SUBJECT || verdict == GRANT_OTHER_RESOURCE)
        return; /* equal hashes of other texts */
    int rank = rank_of(entry, verdict), best_rank = best->entry == NULL ? -1 : rank_of(best->entry, best->verdict);
    if (rank > best_rank || (rank == best_rank && entry->deadline_ms > best->entry->deadline_ms))
        *best = (struct guard_match){entry, verdict};
}

static void walk(const struct guard_table *table, uint64_t hash, const struct grant_query *query, int64_t now_ms,
                 struct grant *grant, struct guard_match *best)
{
    const struct guard_bucket *bucket = &table->buckets[hash & table->mask];
    if ((atomic_load_explicit(&bucket->filter, memory_order_relaxed) & guard_filter_bit(hash)) == 0)
        return;
    const struct guard_entry *entry = atomic_load_explicit(&bucket->head, memory_order_acquire);
    while (entry != NULL) {
        __builtin_prefetch((const char *)entry + GUARD_LINE);
        __builtin_prefetch((const char *)entry + 2 * GUARD_LINE);
        if (entry->tag == guard_hash_tag(hash))
            consider(entry, query, now_ms, grant, best);
        entry = atomic_load_explicit(&entry->next[table->links], memory_order_acquire);
    }
}

/* Nothing of a grant, except its arrays, whose lengths say that they are empty: those are most of its 1.5 KiB. */
static void blank(struct grant *grant)
{
    memset(grant, 0, offsetof(struct grant, actions));
    memset(&grant->n_actions, 0, offsetof(struct grant, approvals) - offsetof(struct grant, n_actions));
    grant->n_approvals = 0;
    grant->binding.n_networks = 0;
    memset(&grant->n_labels, 0, sizeof *grant - offsetof(struct grant, n_labels));
}

static bool is_settled(const struct guard_match *match)
{
    return match->entry != NULL && match->verdict == GRANT_ALLOWS && match->entry->max_uses == 0;
}

/* The question's path is judged before a subtree may cover it: "db/prod/../hr" must not lie below "db/prod". A grant of
 * exactly this path was judged when it was requested. */
struct guard_match guard_cache_find(const struct guard_cache *cache, const struct grant_query *query, int64_t now_ms)
{
    const struct guard_table *table = atomic_load_explicit(&cache->table, memory_order_acquire);
    struct guard_match best = {NULL, GRANT_NOT_ACTIVE};
    struct grant grant;
    struct ways ways;

    if (query->resource.len == 0 || query->resource.len > LIMIT_RESOURCE)
        return best;
    ways_of(cache, table, query, &ways);
    blank(&grant);
    walk(table, ways.hashes[0], query, now_ms, &grant, &best);
    if (is_settled(&best) || !lapse_is_ok(resource_validate(query->resource, false, NULL)))
        return best;
    for (uint32_t i = 1; i < ways.n && !is_settled(&best); i++)
        walk(table, ways.hashes[i], query, now_ms, &grant, &best);
    return best;
}

/* ---- By a token */

static struct slice token_of(const struct guard_entry *entry)
{
    return slice_of(entry->text + entry->subject_len + entry->resource_len + entry->spiffe_len + entry->certificate_len,
                    entry->token_len);
}

static const struct guard_entry *entry_of_token(const struct guard_cache *cache, struct slice sha256)
{
    const struct guard_table *table = atomic_load_explicit(&cache->table, memory_order_acquire);
    uint64_t hash = guard_hash_token(cache->seed, sha256);
    const struct guard_entry *entry =
        atomic_load_explicit(&table->buckets[hash & table->mask].head, memory_order_acquire);
    while (entry != NULL && (entry->tag != guard_hash_tag(hash) || !slice_equal(token_of(entry), sha256)))
        entry = atomic_load_explicit(&entry->next[table->links], memory_order_acquire);
    return entry;
}

struct guard_match guard_cache_find_token(const struct guard_cache *cache, struct grant_query *query, int64_t now_ms)
{
    struct guard_match match = {entry_of_token(cache, query->token_sha256), GRANT_NOT_ACTIVE};
    struct grant grant;
    if (match.entry == NULL)
        return match;
    blank(&grant);
    grant_of(match.entry, &grant);
    if (query->subject.len == 0)
        query->subject = grant.subject;
    match.verdict = grant_allows(&grant, query, now_ms);
    /* As above: what is no proper path lies below nothing. */
    if (match.verdict == GRANT_ALLOWS && !lapse_is_ok(resource_validate(query->resource, false, NULL)))
        match.verdict = GRANT_OTHER_RESOURCE;
    return match;
}

bool guard_entry_locked(const struct guard_entry *entry, const struct guard_lock_set *set)
{
    struct grant grant;
    if (set == NULL)
        return false;
    blank(&grant);
    grant_of(entry, &grant);
    const struct grant_query query = {
        .subject = grant.subject, .spiffe_id = grant.binding.spiffe_id, .resource = grant.resource};
    return guard_lock_set_denies(set, &query);
}
