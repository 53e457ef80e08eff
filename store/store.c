/* A store's life, and what can be read off it in O(1). */
#include "store/store.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/check.h"
#include "store/governance.h"
#include "store/hash.h"
#include "store/internal.h"

/* Room for the encoding of one command, or of one grant's shared terms. */
#define SCRATCH_BYTES LIMIT_COMMAND_BYTES
/* Of one event: the largest has LIMIT_RECEIPTS_PER_COMMAND receipts with their reasons. */
#define TOLD_BYTES (256u * 1024)

const char *store_event_name(enum store_event_type type)
{
    static const char *const names[] = {
        NULL,           "REQUESTED",   "APPROVED",      "ACTIVATED",     "USED",
        "EXPIRED",      "REVOKED",     "COMPLETED",     "EXHAUSTED",     "DENIED",
        "CANCELLED",    "LAPSED",      "ROLES_CHANGED", "INITIALIZED",   "POINT_REGISTERED",
        "POINT_FENCED", "POINT_ENDED", "ENFORCED",      "SESSION_BEGAN", "SESSION_ENDED",
        "SWEEP_BEGAN",  "SWEEP_ENDED", "POLICY_APPLIED", "POLICY_REMOVED", "LOCKED",
        "UNLOCKED", "ELIGIBILITY_PUT", "ELIGIBILITY_CERTIFIED", "ELIGIBILITY_ENDED", "CAMPAIGN_STARTED",
        "CAMPAIGN_ENDED", "REVIEW_OPENED", "REVIEW_OVERDUE", "REVIEW_CLOSED", "TOKEN_SET", "RECEIPTS", "OFFBOARDED"};
    return type > 0 && (unsigned)type < ARRAY_LEN(names) ? names[type] : "UNKNOWN";
}

static uint64_t hash_slot(const void *owner, uint32_t slot)
{
    const struct store *store = owner;
    return XXH3_64bits_withSeed(store_record(store, slot)->id.bytes, sizeof(struct grant_id), store->seed);
}

static uint32_t *next_slot(const void *owner, uint32_t slot)
{
    return &links_at(owner, slot)->next_id;
}

static const void *key_of_slot(const void *owner, uint32_t slot)
{
    return store_record(owner, slot);
}

static const struct table_ops id_table = {hash_slot, next_slot, key_of_slot};

/* Where things lie in the hash tables is this process's secret. Nothing else depends on the seed: neither order nor
 * digests. */
static uint64_t make_seed(void)
{
    uint64_t seed = 0;
    CHECK(getentropy(&seed, sizeof seed) == 0);
    return seed;
}

struct store *store_new(const struct store_options *options)
{
    static const struct store_options defaults;
    struct store *store = mem_calloc(1, sizeof *store);
    options = options == NULL ? &defaults : options;
    store->live_max = options->live_grants_max != 0 ? options->live_grants_max : LIMIT_LIVE_GRANTS;
    store->ended_max = options->ended_grants_max != 0 ? options->ended_grants_max : LIMIT_ENDED_GRANTS;
    store->retention_ms = options->ended_retention_ms != 0 ? options->ended_retention_ms : LIMIT_ENDED_RETENTION_MS;
    uint32_t keys_max = options->request_ids_max != 0 ? options->request_ids_max : LIMIT_REQUEST_IDS;
    store->seed = make_seed();
    buf_init(&store->scratch, SCRATCH_BYTES);
    buf_init(&store->told, TOLD_BYTES);
    buf_init(&store->receipts, TOLD_BYTES);
    records_init(&store->records);
    strings_init(&store->strings, store->seed);
    keys_init(&store->keys, keys_max, store->seed);
    pool_init(&store->links, sizeof(struct links));
    points_init(&store->points, store->seed);
    barriers_init(&store->barriers);
    sessions_init(&store->sessions, store->seed);
    families_init(store);
    extras_init(store);
    table_init(&store->ids, &id_table, store);
    index_init(store);
    return store;
}

void store_free(struct store *store)
{
    if (store == NULL)
        return;
    CHECK(store->view == NULL);
    timers_free(store);
    sweeps_free(store);
    free(store->live);
    index_free(store);
    table_free(&store->ids);
    families_free(store);
    pool_free(&store->links);
    sessions_free(&store->sessions);
    barriers_free(&store->barriers);
    points_free(&store->points);
    roles_free(&store->roles);
    keys_free(&store->keys);
    strings_free(&store->strings);
    extras_free(store);
    records_free(&store->records);
    buf_free(&store->scratch);
    buf_free(&store->told);
    buf_free(&store->receipts);
    policies_free(store);
    reviews_free(store);
    locks_free(store);
    eligibility_free(store);
    tokens_free(store);
    object_table_free(&store->objects);
    free(store);
}

uint64_t store_revision(const struct store *store)
{
    return store->revision;
}

uint64_t store_epoch(const struct store *store)
{
    return store->epoch;
}

struct slice store_cluster(const struct store *store)
{
    return slice_of(store->cluster, store->cluster_len);
}

int64_t store_time_ms(const struct store *store)
{
    return store->time_ms;
}

int64_t store_next_due_ms(const struct store *store)
{
    int64_t timers = timers_next_due(store);
    const struct object *object = object_next_due(&store->objects);
    if (object != NULL && object->due_ms < timers)
        timers = object->due_ms;
    return store->sweeps.n > 0 && store->time_ms < timers ? store->time_ms : timers;
}

struct store_digest store_digest_of(const struct store_digest *sum, uint64_t revision, uint64_t epoch, int64_t time_ms,
                                    struct slice cluster, const struct chain_head *chain)
{
    uint8_t bytes[3 * 8 + LIMIT_CLUSTER + CHAIN_HASH_BYTES];
    uint64_t numbers[3] = {revision, epoch, (uint64_t)time_ms};
    memcpy(bytes, numbers, sizeof numbers);
    if (cluster.len > 0)
        memcpy(bytes + sizeof numbers, cluster.data, cluster.len);
    memcpy(bytes + sizeof numbers + cluster.len, chain->hash, sizeof chain->hash);
    struct store_digest digest = digest_of(DIGEST_STORE, bytes, sizeof numbers + cluster.len + sizeof chain->hash);
    digest_add(&digest, *sum);
    return digest;
}

struct store_digest store_digest(const struct store *store)
{
    return store_digest_of(&store->sum, store->revision, store->epoch, store->time_ms, store_cluster(store),
                           &store->chain);
}

static uint64_t bytes_held(const struct store *store)
{
    uint64_t bytes = records_bytes(&store->records) + strings_bytes(&store->strings) + keys_bytes(&store->keys);
    bytes += pool_bytes(&store->links) + pool_bytes(&store->list_pool) + families_bytes(store) + extras_bytes(store);
    bytes += table_bytes(&store->ids) + table_bytes(&store->lists);
    bytes += points_bytes(&store->points) + barriers_bytes(&store->barriers) + sessions_bytes(&store->sessions);
    for (int kind = 0; kind < 2; kind++)
        bytes += store->heaps[kind].capacity * sizeof(struct timer);
    bytes += object_table_bytes(&store->objects) + sweeps_bytes(store) + tokens_bytes(store) + eligibility_bytes(store);
    bytes += store->n_live_words * sizeof store->live[0];
    return bytes + sizeof *store;
}

void store_counts(const struct store *store, struct store_counts *counts)
{
    *counts = (struct store_counts){
        .live = store_live(store),
        .ended = store_ended(store),
        .pending = store->states[GRANT_PENDING],
        .active = store->states[GRANT_ACTIVE],
        .request_ids = store->keys.n,
        .roles = store->roles.n,
        .points = store->points.n,
        .barriers = store->barriers.open.n,
        .sessions = store->sessions.n,
        .bytes = bytes_held(store),
    };
    for (int kind = OBJECT_POLICY; kind < OBJECT_KINDS; kind++)
        counts->objects[kind] = store->objects.kinds[kind].n;
}

uint32_t store_roles_bound(const struct store *store, struct slice principal)
{
    return principal.len == 0 ? 0 : roles_of(&store->roles, principal);
}

uint32_t store_roles_of(const struct store *store, struct slice principal)
{
    uint32_t roles = store_roles_bound(store, principal);
    return roles != 0 && locks_of_principal(store, principal, store->time_ms) != NULL ? 0 : roles;
}

bool store_role_at(const struct store *store, uint32_t i, struct store_role_binding *binding)
{
    if (i >= store->roles.n)
        return false;
    binding->member = role_member(&store->roles.entries[i]);
    binding->roles = store->roles.entries[i].roles;
    binding->scope = role_scope(&store->roles.entries[i]);
    return true;
}

const struct chain_head *store_chain_head(const struct store *store)
{
    return &store->chain;
}

const struct object *store_object(const struct store *store, enum object_kind kind, struct slice name)
{
    return object_find(&store->objects, kind, name);
}

const struct object *store_object_at(const struct store *store, enum object_kind kind, uint32_t i)
{
    return object_at(&store->objects, kind, i);
}

uint32_t store_object_from(const struct store *store, enum object_kind kind, struct slice name)
{
    return object_lower_bound(&store->objects, kind, name);
}

bool store_locked(const struct store *store, const struct grant_query *query, int64_t now_ms)
{
    return locks_deny(store, query, now_ms);
}
