/* Locks by name, and the set that checks look at. See guard_locks.h.
 *
 * Whether a lock denies a query is decided by lock_denies (store/lock.h) and by nothing else; hashes only choose whom
 * to ask. So what one lock can deny must have its hash: a principal is known by the end of its name, which is the same
 * in all of its spellings ("user:dev1", "spiffe://example.org/user/dev1"), a path by itself and by each pattern above
 * it. */
#include "client/guard_locks.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "client/lapse.h"

/* ---- What is known */

struct known_lock {
    enum lock_kind kind;
    uint64_t revision;
    size_t target_len;
    char *target; /* behind the name */
    char name[];
};

struct guard_locks {
    struct known_lock **known;
    uint32_t n, capacity, n_subjects;
    size_t text; /* bytes of all targets */
};

struct guard_locks *guard_locks_new(void)
{
    return mem_calloc(1, sizeof(struct guard_locks));
}

void guard_locks_free(struct guard_locks *locks)
{
    if (locks == NULL)
        return;
    for (uint32_t i = 0; i < locks->n; i++)
        free(locks->known[i]);
    free(locks->known);
    free(locks);
}

uint32_t guard_locks_count(const struct guard_locks *locks)
{
    return locks->n;
}

/* The place of that name; `n` when it isn't there. */
static uint32_t place_of(const struct guard_locks *locks, const char *name)
{
    uint32_t i = 0;
    while (i < locks->n && strcmp(locks->known[i]->name, name) != 0)
        i++;
    return i;
}

static void take_out(struct guard_locks *locks, uint32_t place)
{
    struct known_lock *lock = locks->known[place];
    locks->n_subjects -= lock->kind == LOCK_SUBJECT;
    locks->text -= lock->target_len;
    locks->known[place] = locks->known[--locks->n];
    free(lock);
}

static void put_in(struct guard_locks *locks, struct known_lock *lock)
{
    if (locks->n == locks->capacity) {
        locks->capacity = locks->capacity == 0 ? 16 : locks->capacity * 2;
        locks->known = mem_realloc(locks->known, locks->capacity * sizeof(struct known_lock *));
    }
    locks->known[locks->n++] = lock;
    locks->n_subjects += lock->kind == LOCK_SUBJECT;
    locks->text += lock->target_len;
}

static struct known_lock *known_new(const struct lapse_lock *lock)
{
    size_t name = strlen(lock->name) + 1, target = strlen(lock->target);
    struct known_lock *known = mem_alloc(sizeof *known + name + target + 1);
    known->kind = (enum lock_kind)lock->kind;
    known->revision = lock->revision;
    known->target_len = target;
    known->target = known->name + name;
    memcpy(known->name, lock->name, name);
    memcpy(known->target, lock->target, target + 1);
    return known;
}

static bool is_well_formed(const struct lapse_lock *lock)
{
    struct slice target = slice_str(lock->target);
    if (*lock->name == '\0' || strlen(lock->name) > LIMIT_OBJECT_NAME)
        return false;
    return lapse_is_ok(lock->kind == LAPSE_LOCK_SUBJECT ? principal_validate(target, "target", NULL)
                                                        : resource_validate(target, true, NULL));
}

bool guard_locks_put(struct guard_locks *locks, const struct lapse_lock *lock)
{
    if (lock->kind != LAPSE_LOCK_SUBJECT && lock->kind != LAPSE_LOCK_RESOURCE)
        return true;
    uint32_t place = place_of(locks, lock->name);
    if (!is_well_formed(lock) || (place == locks->n && locks->n == LIMIT_LOCKS))
        return false;
    if (place < locks->n && locks->known[place]->revision > lock->revision)
        return true;
    if (place < locks->n)
        take_out(locks, place);
    put_in(locks, known_new(lock));
    return true;
}

void guard_locks_lift(struct guard_locks *locks, const char *name, uint64_t revision)
{
    uint32_t place = place_of(locks, name);
    if (place < locks->n && locks->known[place]->revision <= revision)
        take_out(locks, place);
}

/* ---- Hashes */

enum { SALT_PRINCIPAL = 1, SALT_PATH, SALT_BELOW };

static uint64_t hash_principal(struct slice principal)
{
    size_t from = principal.len;
    while (from > 0 && principal.data[from - 1] != '/' && principal.data[from - 1] != ':')
        from--;
    return XXH3_64bits_withSeed(principal.data + from, principal.len - from, SALT_PRINCIPAL);
}

static uint64_t hash_resource(struct slice resource)
{
    bool pattern = resource.data[resource.len - 1] == '*';
    return XXH3_64bits_withSeed(resource.data, pattern ? resource.len - 1 : resource.len,
                                pattern ? SALT_BELOW : SALT_PATH);
}

/* ---- The set */

struct guard_set_lock {
    uint64_t hash;
    struct lock lock; /* its kind and target only: what ends a lock is an event */
};

static struct guard_lock_set *set_alloc(const struct guard_locks *locks, uint8_t **text)
{
    uint32_t slots = 8;
    while (slots < locks->n * 2)
        slots *= 2;
    size_t held = locks->n * sizeof(struct guard_set_lock), found = slots * sizeof(uint32_t);
    struct guard_lock_set *set = mem_calloc(1, sizeof *set + held + found + locks->text);
    set->locks = (struct guard_set_lock *)(void *)(set + 1);
    set->slots = (uint32_t *)(void *)((uint8_t *)set->locks + held);
    set->mask = slots - 1;
    *text = (uint8_t *)set->slots + found;
    return set;
}

static void add(struct guard_lock_set *set, const struct known_lock *known, uint8_t **text)
{
    struct guard_set_lock *held = &set->locks[set->n++];
    memcpy(*text, known->target, known->target_len);
    held->lock.kind = known->kind;
    held->lock.target = slice_of(*text, known->target_len);
    held->hash = known->kind == LOCK_SUBJECT ? hash_principal(held->lock.target) : hash_resource(held->lock.target);
    *text += known->target_len;
    uint32_t slot = (uint32_t)held->hash & set->mask;
    while (set->slots[slot] != 0)
        slot = (slot + 1) & set->mask;
    set->slots[slot] = set->n;
}

struct guard_lock_set *guard_locks_set(const struct guard_locks *locks)
{
    uint8_t *text;
    if (locks->n == 0)
        return NULL;
    struct guard_lock_set *set = set_alloc(locks, &text);
    for (uint32_t i = 0; i < locks->n; i++)
        if (locks->known[i]->kind == LOCK_SUBJECT)
            add(set, locks->known[i], &text);
    set->n_subjects = set->n;
    for (uint32_t i = 0; i < locks->n; i++)
        if (locks->known[i]->kind == LOCK_RESOURCE)
            add(set, locks->known[i], &text);
    CHECK(set->n == locks->n && set->n_subjects == locks->n_subjects);
    return set;
}

void guard_lock_set_free(struct guard_lock_set *set)
{
    free(set);
}

void guard_lock_set_release(struct guard_garbage *garbage)
{
    guard_lock_set_free(CONTAINER_OF(garbage, struct guard_lock_set, garbage));
}

/* ---- Looking */

static bool denied_at(const struct guard_lock_set *set, uint64_t hash, const struct grant_query *query)
{
    uint32_t slot = (uint32_t)hash & set->mask;
    for (; set->slots[slot] != 0; slot = (slot + 1) & set->mask) {
        const struct guard_set_lock *held = &set->locks[set->slots[slot] - 1];
        if (held->hash == hash && lock_denies(&held->lock, query, 0))
            return true;
    }
    return false;
}

static bool denied_by_subject(const struct guard_lock_set *set, const struct grant_query *query)
{
    return (query->subject.len > 0 && denied_at(set, hash_principal(query->subject), query)) ||
           (query->spiffe_id.len > 0 && denied_at(set, hash_principal(query->spiffe_id), query));
}

/* By a lock on the path itself, or on a pattern above it. */
static bool denied_by_path(const struct guard_lock_set *set, const struct grant_query *query)
{
    struct slice path = query->resource;
    bool denied = denied_at(set, XXH3_64bits_withSeed(path.data, path.len, SALT_PATH), query);
    for (size_t len = path.len; len > 0 && !denied; len--)
        if (path.data[len - 1] == '/')
            denied = denied_at(set, XXH3_64bits_withSeed(path.data, len, SALT_BELOW), query);
    return denied || denied_at(set, XXH3_64bits_withSeed(path.data, 0, SALT_BELOW), query);
}

/* A subtree may also hold what is locked, anywhere below: all are looked at. No check asks for one. */
static bool denied_by_subtree(const struct guard_lock_set *set, const struct grant_query *query)
{
    bool denied = false;
    for (uint32_t i = set->n_subjects; i < set->n && !denied; i++)
        denied = lock_denies(&set->locks[i].lock, query, 0);
    return denied;
}

bool guard_lock_set_denies(const struct guard_lock_set *set, const struct grant_query *query)
{
    if (set->n_subjects > 0 && denied_by_subject(set, query))
        return true;
    if (set->n == set->n_subjects || query->resource.len == 0)
        return false;
    return query->resource.data[query->resource.len - 1] == '*' ? denied_by_subtree(set, query)
                                                                : denied_by_path(set, query);
}
