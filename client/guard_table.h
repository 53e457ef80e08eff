/* Inside of the cache: what its reader (guard_find.c) and its writer (guard_cache.c) share. Nobody else includes this.
 */
#ifndef LAPSE_CLIENT_GUARD_TABLE_H
#define LAPSE_CLIENT_GUARD_TABLE_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "client/guard_cache.h"

/* 16 bytes, so that none lies across two cache lines. */
struct guard_bucket {
    _Atomic(uint64_t) filter; /* a bit for each hash that may be chained here; bits of former ones stay */
    _Atomic(struct guard_entry *) head;
};

struct guard_table {
    struct guard_garbage garbage;
    uint64_t mask;
    uint32_t links; /* which of an entry's links chain it here */
    struct guard_bucket buckets[];
};

struct guard_record;

struct guard_cache {
    uint64_t seed;
    _Atomic(struct guard_table *) table;
    /* The writer's. */
    struct guard_reaper *reaper;
    bool shared;
    struct guard_record **by_id; /* chains */
    uint32_t id_mask;
    uint32_t n_records; /* names of absent parents included */
    uint32_t n_known, n_seen, grants_max;
    uint64_t refused;
    struct guard_garbage garbage;
};

static inline uint64_t guard_hash_subject(uint64_t seed, struct slice subject)
{
    return XXH3_64bits_withSeed(subject.data, subject.len, seed);
}

/* A resource that is a path, and one that is a pattern: the prefix up to its last slash, which may be empty. */
static inline uint64_t guard_hash_path(uint64_t subject, struct slice path)
{
    return XXH3_64bits_withSeed(path.data, path.len, subject);
}

static inline uint64_t guard_hash_below(uint64_t subject, struct slice prefix)
{
    return XXH3_64bits_withSeed(prefix.data, prefix.len, ~subject);
}

static inline uint64_t guard_hash_token(uint64_t seed, struct slice sha256)
{
    return XXH3_64bits_withSeed(sha256.data, sha256.len, ~seed);
}

static inline uint32_t guard_hash_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static inline uint64_t guard_filter_bit(uint64_t hash)
{
    return 1ULL << (hash >> 58);
}

#endif
