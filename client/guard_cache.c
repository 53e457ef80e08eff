/* Writing the cache: records, families, and what of them is in sight. See guard_cache.h.
 *
 *   a record:   NAMED (as somebody's parent) --its grant comes--> KNOWN --its parent is in sight--> in sight
 *
 * Growing the table while it is read: a new one is chained through the entries' other links and put in place of the
 * old; checks that are still in the old one follow links that nobody changes any more. Before those links are used
 * again, by the next growth, such checks have ended (a grace period). */
#include <stdlib.h>

#include <openssl/rand.h>

#include "base/check.h"
#include "client/guard_table.h"
#include "client/lapse.h"

#define BUCKETS_MIN 1024u

struct guard_record {
    struct guard_record *next_by_id;
    struct guard_record *parent, *first_child, *next_sibling, *prev_sibling;
    struct guard_record *next_work; /* in a list of this file's loops */
    struct guard_entry *entry;      /* NULL: only named */
    struct guard_entry *by_token;   /* NULL: it has no token */
    struct grant_id id;
    bool in_sight;
};

/* ---- The table */

static struct guard_table *table_new(uint64_t n_buckets, uint32_t links)
{
    struct guard_table *table = mem_calloc(1, sizeof *table + n_buckets * sizeof table->buckets[0]);
    table->mask = n_buckets - 1;
    table->links = links;
    return table;
}

static void table_release(struct guard_garbage *garbage)
{
    free(CONTAINER_OF(garbage, struct guard_table, garbage));
}

static struct guard_table *table_of(const struct guard_cache *cache)
{
    return atomic_load_explicit(&cache->table, memory_order_relaxed);
}

/* Complete before it is found: head and filter are the last stores. */
static void chain_in(struct guard_table *table, struct guard_entry *entry)
{
    const uint32_t k = table->links;
    struct guard_back *back = guard_back(entry);
    struct guard_bucket *bucket = &table->buckets[back->hash & table->mask];
    struct guard_entry *next = atomic_load_explicit(&bucket->head, memory_order_relaxed);
    atomic_store_explicit(&entry->next[k], next, memory_order_relaxed);
    back->back[k] = &bucket->head;
    if (next != NULL)
        guard_back(next)->back[k] = &entry->next[k];
    atomic_store_explicit(&bucket->head, entry, memory_order_release);
    uint64_t filter = atomic_load_explicit(&bucket->filter, memory_order_relaxed);
    atomic_store_explicit(&bucket->filter, filter | guard_filter_bit(back->hash), memory_order_release);
}

/* The entry's own link stays: a check that is on it goes on from there. */
static void chain_out(struct guard_table *table, struct guard_entry *entry)
{
    const uint32_t k = table->links;
    struct guard_back *back = guard_back(entry);
    struct guard_bucket *bucket = &table->buckets[back->hash & table->mask];
    struct guard_entry *next = atomic_load_explicit(&entry->next[k], memory_order_relaxed);
    if (next != NULL)
        guard_back(next)->back[k] = back->back[k];
    atomic_store_explicit(back->back[k], next, memory_order_release);
    if (atomic_load_explicit(&bucket->head, memory_order_relaxed) == NULL)
        atomic_store_explicit(&bucket->filter, 0, memory_order_relaxed);
}

/* A grant's entries come and go together. */
static void chain_in_both(struct guard_table *table, const struct guard_record *record)
{
    chain_in(table, record->entry);
    if (record->by_token != NULL)
        chain_in(table, record->by_token);
}

static void chain_out_both(struct guard_table *table, const struct guard_record *record)
{
    chain_out(table, record->entry);
    if (record->by_token != NULL)
        chain_out(table, record->by_token);
}

/* In the old one's very place: put at the head instead, with the old one taken out behind, a check that is between the
 * two would see neither. */
static void chain_instead(struct guard_table *table, struct guard_entry *old, struct guard_entry *entry)
{
    const uint32_t k = table->links;
    struct guard_back *back = guard_back(entry);
    struct guard_entry *next = atomic_load_explicit(&old->next[k], memory_order_relaxed);
    atomic_store_explicit(&entry->next[k], next, memory_order_relaxed);
    back->back[k] = guard_back(old)->back[k];
    if (next != NULL)
        guard_back(next)->back[k] = &entry->next[k];
    atomic_store_explicit(back->back[k], entry, memory_order_release);
}

static void grow(struct guard_cache *cache)
{
    struct guard_table *old = table_of(cache);
    struct guard_table *table = table_new((old->mask + 1) * 2, old->links ^ 1);
    if (cache->shared)
        guard_grace_wait(); /* for checks in the table before the old one, which used these links */
    for (uint32_t i = 0; i <= cache->id_mask; i++)
        for (struct guard_record *record = cache->by_id[i]; record != NULL; record = record->next_by_id)
            if (record->in_sight)
                chain_in_both(table, record);
    atomic_store_explicit(&cache->table, table, memory_order_release);
    if (cache->shared)
        guard_reaper_defer(cache->reaper, &old->garbage, table_release);
    else
        free(old);
}

/* ---- Entries */

static void entry_release(struct guard_garbage *garbage)
{
    free(CONTAINER_OF(garbage, struct guard_back, garbage)->entry);
}

static void entry_drop(struct guard_cache *cache, struct guard_entry *entry)
{
    if (entry != NULL && cache->shared)
        guard_reaper_defer(cache->reaper, &guard_back(entry)->garbage, entry_release);
    else
        free(entry);
}

static uint64_t hash_of(const struct guard_cache *cache, struct slice subject, struct slice resource)
{
    uint64_t hash = guard_hash_subject(cache->seed, subject);
    if (resource.data[resource.len - 1] == '*')
        return guard_hash_below(hash, slice_of(resource.data, resource.len - 1));
    return guard_hash_path(hash, resource);
}

/* The bytes of a list, each behind its length; false when it breaks a limit. */
static bool list_size(const char *const *texts, size_t n, size_t n_max, size_t len_max, size_t *size)
{
    if (n > n_max)
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(texts[i]);
        if (len > len_max)
            return false;
        *size += 1 + len;
    }
    return true;
}

static bool text_size(const struct lapse_grant *grant, size_t *size)
{
    size_t subject = strlen(grant->subject), resource = strlen(grant->resource);
    size_t spiffe = strlen(grant->binding.spiffe_id), certificate = grant->binding.certificate_sha256.len;
    if (subject == 0 || subject > LIMIT_SUBJECT || resource == 0 || resource > LIMIT_RESOURCE ||
        spiffe > LIMIT_PRINCIPAL || (certificate != 0 && certificate != 32) ||
        (grant->token_sha256.len != 0 && grant->token_sha256.len != 32))
        return false;
    *size = subject + resource + spiffe + certificate;
    return list_size(grant->actions, grant->n_actions, LIMIT_ACTIONS, LIMIT_ACTION, size) &&
           list_size(grant->binding.networks, grant->binding.n_networks, LIMIT_NETWORKS, LIMIT_NETWORK, size);
}

static uint8_t *put_text(uint8_t *at, const void *text, size_t len)
{
    if (len > 0)
        memcpy(at, text, len);
    return at + len;
}

static uint8_t *put_list(uint8_t *at, const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(texts[i]);
        *at = (uint8_t)len;
        at = put_text(at + 1, texts[i], len);
    }
    return at;
}

static void fill_texts(struct guard_entry *entry, const struct lapse_grant *grant, struct lapse_bytes token)
{
    const struct lapse_binding *binding = &grant->binding;
    uint8_t *at = entry->text;
    entry->subject_len = (uint16_t)strlen(grant->subject);
    entry->resource_len = (uint16_t)strlen(grant->resource);
    entry->spiffe_len = (uint16_t)strlen(binding->spiffe_id);
    entry->certificate_len = (uint8_t)binding->certificate_sha256.len;
    entry->token_len = (uint8_t)token.len;
    entry->n_actions = (uint8_t)grant->n_actions;
    entry->n_networks = (uint8_t)binding->n_networks;
    at = put_text(at, grant->subject, entry->subject_len);
    at = put_text(at, grant->resource, entry->resource_len);
    at = put_text(at, binding->spiffe_id, entry->spiffe_len);
    at = put_text(at, binding->certificate_sha256.data, entry->certificate_len);
    at = put_text(at, token.data, token.len);
    at = put_list(at, grant->actions, grant->n_actions);
    (void)put_list(at, binding->networks, binding->n_networks);
}

/* With place for `texts` bytes, and zeroed but for them. */
static struct guard_entry *entry_alloc(size_t texts)
{
    size_t size = sizeof(struct guard_entry) + texts + sizeof(struct guard_back);
    size = (size + GUARD_LINE - 1) / GUARD_LINE * GUARD_LINE;
    CHECK(size / GUARD_LINE <= UINT8_MAX);
    struct guard_entry *entry = aligned_alloc(GUARD_LINE, size);
    CHECK(entry != NULL); /* as mem_alloc */
    memset(entry, 0, sizeof *entry);
    entry->lines = (uint8_t)(size / GUARD_LINE);
    *guard_back(entry) = (struct guard_back){.entry = entry};
    return entry;
}

/* `texts` bytes are needed without the token, which is empty but in a token's entry. */
static struct guard_entry *entry_make(const struct lapse_grant *grant, struct grant_id id, size_t texts, uint64_t hash,
                                      struct lapse_bytes token)
{
    struct guard_entry *entry = entry_alloc(texts + token.len);
    guard_back(entry)->hash = hash;
    entry->tag = guard_hash_tag(hash);
    entry->deadline_ms = grant->deadline_ms;
    entry->not_before_ms = grant->not_before_ms;
    entry->max_uses = grant->max_uses;
    entry->uses = grant->uses;
    grant_id_format(id, entry->id);
    fill_texts(entry, grant, token);
    return entry;
}

/* A grant's entries. */
struct entries {
    struct guard_entry *entry, *by_token;
};

/* False: malformed. */
static bool entries_new(const struct guard_cache *cache, const struct lapse_grant *grant, struct grant_id id,
                        struct entries *made)
{
    const struct lapse_bytes none = {NULL, 0}, token = grant->token_sha256;
    size_t size;
    if (!text_size(grant, &size))
        return false;
    uint64_t hash = hash_of(cache, slice_str(grant->subject), slice_str(grant->resource));
    *made = (struct entries){entry_make(grant, id, size, hash, none), NULL};
    if (token.len == 0)
        return true;
    made->by_token = entry_make(grant, id, size, guard_hash_token(cache->seed, slice_of(token.data, token.len)), token);
    guard_back(made->by_token)->primary = made->entry;
    return true;
}

/* ---- Records */

static struct guard_record **place_of(const struct guard_cache *cache, struct grant_id id)
{
    uint64_t hash = XXH3_64bits_withSeed(id.bytes, sizeof id.bytes, cache->seed);
    struct guard_record **place = &cache->by_id[hash & cache->id_mask];
    while (*place != NULL && grant_id_compare((*place)->id, id) != 0)
        place = &(*place)->next_by_id;
    return place;
}

static void grow_ids(struct guard_cache *cache)
{
    struct guard_record **old = cache->by_id, *next;
    uint32_t n = cache->id_mask + 1;
    cache->id_mask = n * 2 - 1;
    cache->by_id = mem_calloc((size_t)n * 2, sizeof *cache->by_id);
    for (uint32_t i = 0; i < n; i++)
        for (struct guard_record *record = old[i]; record != NULL; record = next) {
            next = record->next_by_id;
            record->next_by_id = NULL;
            *place_of(cache, record->id) = record;
        }
    free(old);
}

/* Known, named, or named from now on. */
static struct guard_record *record_of(struct guard_cache *cache, struct grant_id id)
{
    struct guard_record **place = place_of(cache, id);
    if (*place != NULL)
        return *place;
    if (cache->n_records > cache->id_mask) {
        grow_ids(cache);
        place = place_of(cache, id);
    }
    struct guard_record *record = mem_calloc(1, sizeof *record);
    record->id = id;
    *place = record;
    cache->n_records++;
    return record;
}

static void record_free(struct guard_cache *cache, struct guard_record *record)
{
    struct guard_record **place = place_of(cache, record->id);
    CHECK(*place == record && record->first_child == NULL && record->parent == NULL && !record->in_sight);
    *place = record->next_by_id;
    cache->n_records--;
    free(record);
}

static void adopt(struct guard_record *parent, struct guard_record *child)
{
    child->parent = parent;
    child->prev_sibling = NULL;
    child->next_sibling = parent->first_child;
    if (parent->first_child != NULL)
        parent->first_child->prev_sibling = child;
    parent->first_child = child;
}

static void orphan(struct guard_record *child)
{
    struct guard_record *parent = child->parent;
    *(child->prev_sibling == NULL ? &parent->first_child : &child->prev_sibling->next_sibling) = child->next_sibling;
    if (child->next_sibling != NULL)
        child->next_sibling->prev_sibling = child->prev_sibling;
    child->parent = child->next_sibling = child->prev_sibling = NULL;
}

/* A name that nobody needs any more goes. */
static void name_dropped(struct guard_cache *cache, struct guard_record *record)
{
    if (record != NULL && record->entry == NULL && record->first_child == NULL)
        record_free(cache, record);
}

/* ---- In and out of sight */

static void show(struct guard_cache *cache, struct guard_record *record)
{
    if (cache->n_seen > table_of(cache)->mask)
        grow(cache);
    chain_in_both(table_of(cache), record);
    record->in_sight = true;
    cache->n_seen++;
}

static void hide(struct guard_cache *cache, struct guard_record *record)
{
    if (!record->in_sight)
        return;
    chain_out_both(table_of(cache), record);
    record->in_sight = false;
    cache->n_seen--;
}

/* The record and whom its absence kept out of sight. */
static void show_family(struct guard_cache *cache, struct guard_record *work)
{
    work->next_work = NULL;
    while (work != NULL) {
        struct guard_record *record = work;
        work = record->next_work;
        show(cache, record);
        for (struct guard_record *child = record->first_child; child != NULL; child = child->next_sibling)
            if (!child->in_sight) {
                child->next_work = work;
                work = child;
            }
    }
}

/* Takes a whole family out of sight, into a list; parents come before their children. */
static struct guard_record *hide_family(struct guard_cache *cache, struct guard_record *record)
{
    struct guard_record *gone = record, *last = record;
    record->next_work = NULL;
    for (; record != NULL; record = record->next_work) {
        struct guard_record *child;
        hide(cache, record);
        while ((child = record->first_child) != NULL) {
            orphan(child);
            child->next_work = NULL;
            last = last->next_work = child;
        }
    }
    return gone;
}

static void remove_family(struct guard_cache *cache, struct guard_record *record, guard_ended_cb ended, void *arg)
{
    struct guard_record *parent = record->parent, *next;
    if (parent != NULL)
        orphan(record);
    name_dropped(cache, parent);
    for (record = hide_family(cache, record); record != NULL; record = next) {
        next = record->next_work;
        if (ended != NULL)
            ended(arg, record->id);
        entry_drop(cache, record->by_token);
        entry_drop(cache, record->entry);
        cache->n_known--;
        record_free(cache, record);
    }
}

/* ---- The writer's calls */

static bool ids_of(const struct lapse_grant *grant, struct grant_id *id, struct grant_id *parent)
{
    *parent = (struct grant_id){{0}};
    if (!lapse_is_ok(grant_id_parse(slice_str(grant->id), id)))
        return false;
    if (*grant->parent != '\0' && !lapse_is_ok(grant_id_parse(slice_str(grant->parent), parent)))
        return false;
    return grant_id_compare(*id, *parent) != 0;
}

/* A check finds the old entry or the new one. What a grant is found by never changes, but for a token that it gets; a
 * node that changes it all the same moves it. Either may be NULL. */
static void swap_entry(struct guard_cache *cache, struct guard_entry *old, struct guard_entry *entry)
{
    struct guard_table *table = table_of(cache);
    if (old != NULL && entry != NULL && guard_back(old)->hash == guard_back(entry)->hash) {
        chain_instead(table, old, entry);
        return;
    }
    if (entry != NULL)
        chain_in(table, entry);
    if (old != NULL)
        chain_out(table, old);
}

static void replace(struct guard_cache *cache, struct guard_record *record, const struct entries *made)
{
    struct guard_entry *old = record->entry, *old_by_token = record->by_token;
    uint32_t share = atomic_exchange(&guard_back(old)->share, 0);
    atomic_store_explicit(&guard_back(made->entry)->share, share, memory_order_relaxed);
    record->entry = made->entry;
    record->by_token = made->by_token;
    if (record->in_sight) {
        swap_entry(cache, old, made->entry);
        swap_entry(cache, old_by_token, made->by_token);
    }
    entry_drop(cache, old_by_token);
    entry_drop(cache, old);
}

static void insert(struct guard_cache *cache, struct guard_record *record, const struct entries *made,
                   struct grant_id parent)
{
    record->entry = made->entry;
    record->by_token = made->by_token;
    cache->n_known++;
    if (!grant_id_is_zero(parent))
        adopt(record_of(cache, parent), record);
    if (record->parent == NULL || record->parent->in_sight)
        show_family(cache, record);
}

bool guard_cache_put(struct guard_cache *cache, const struct lapse_grant *grant, guard_ended_cb ended, void *arg)
{
    struct grant_id id, parent;
    if (!ids_of(grant, &id, &parent))
        return false;
    if (grant->state != LAPSE_STATE_ACTIVE) {
        struct guard_record *record = *place_of(cache, id);
        if (record != NULL && record->entry != NULL)
            remove_family(cache, record, ended, arg);
        return true;
    }
    struct entries made;
    if (!entries_new(cache, grant, id, &made))
        return false;
    struct guard_record *record = record_of(cache, id);
    if (record->entry != NULL) {
        replace(cache, record, &made);
    } else if (cache->n_known < cache->grants_max) {
        insert(cache, record, &made, parent);
    } else {
        cache->refused++;
        free(made.by_token);
        free(made.entry);
        name_dropped(cache, record);
    }
    return true;
}

struct guard_entry *guard_cache_get(const struct guard_cache *cache, struct grant_id id)
{
    const struct guard_record *record = *place_of(cache, id);
    return record != NULL && record->in_sight ? record->entry : NULL;
}

uint32_t guard_cache_grants(const struct guard_cache *cache)
{
    return cache->n_seen;
}

uint32_t guard_cache_hidden(const struct guard_cache *cache)
{
    return cache->n_known - cache->n_seen;
}

uint64_t guard_cache_refused(const struct guard_cache *cache)
{
    return cache->refused;
}

/* ---- Life */

struct guard_cache *guard_cache_new(struct guard_reaper *reaper, uint32_t grants_max)
{
    struct guard_cache *cache = mem_calloc(1, sizeof *cache);
    CHECK(RAND_bytes((unsigned char *)&cache->seed, sizeof cache->seed) == 1);
    cache->reaper = reaper;
    cache->grants_max = grants_max;
    cache->id_mask = BUCKETS_MIN - 1;
    cache->by_id = mem_calloc(BUCKETS_MIN, sizeof *cache->by_id);
    atomic_init(&cache->table, table_new(BUCKETS_MIN, 0));
    return cache;
}

void guard_cache_free(struct guard_cache *cache)
{
    if (cache == NULL)
        return;
    struct guard_record *next;
    for (uint32_t i = 0; i <= cache->id_mask; i++)
        for (struct guard_record *record = cache->by_id[i]; record != NULL; record = next) {
            next = record->next_by_id;
            free(record->by_token);
            free(record->entry);
            free(record);
        }
    free(cache->by_id);
    free(table_of(cache));
    free(cache);
}

void guard_cache_share(struct guard_cache *cache)
{
    cache->shared = true;
}

static void cache_release(struct guard_garbage *garbage)
{
    guard_cache_free(CONTAINER_OF(garbage, struct guard_cache, garbage));
}

void guard_cache_retire(struct guard_cache *cache)
{
    guard_reaper_defer(cache->reaper, &cache->garbage, cache_release);
}
