/* G5, G6, G3 at enforcement points, and what the cluster writes down about them, by a model that knows
 * docs/decisions/0010-enforcement-leases.md and nothing of node/lease_*.
 *
 *   points -------- says it received, enforced, failed; what it would permit --------.
 *   nodes --------- promises, as they are made                                       |
 *   history ------- points registered and ended, barriers, receipts                  v
 *   callers ------- "barrier B is enforced" ------> from now on nobody permits what B ended, nor anything below it
 *
 * It sees true time: when a promise to a point really ends, on that point's own clock. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/node.h"
#include "tests/sim/oracle_points_internal.h"

/* A node lease rests on evidence of a majority at most so old, and lasts so long; clocks may be wrong by 1 % each. */
#define EVIDENCE_US (100 * SIM_MILLISECOND)
#define NODE_LEASE_US (500 * SIM_MILLISECOND)

struct points_model *points_model_new(struct sim *sim, const struct clock_model *clock)
{
    struct points_model *model = mem_calloc(1, sizeof(*model));
    model->sim = sim;
    model->clock = clock;
    model->n_slots = 1024;
    model->slots = mem_calloc(model->n_slots, sizeof(*model->slots));
    return model;
}

void points_model_free(struct points_model *model)
{
    for (uint32_t i = 0; i < model->n_barriers; i++) {
        free(model->barriers[i].grants);
        free(model->barriers[i].expected);
    }
    free(model->grants);
    free(model->slots);
    free(model->instances);
    free(model->barriers);
    free(model->locks);
    free(model->elected_us);
    free(model);
}

/* Room for one more. */
void *model_grown(void *array, uint32_t n, uint32_t *max, size_t size)
{
    if (n < *max) {
        return array;
    }
    *max = *max == 0 ? 64 : 2 * *max;
    return mem_realloc(array, *max * size);
}

/* --- Grants --- */

static uint32_t *slot_of(const struct points_model *model, struct grant_id id)
{
    uint32_t at = (uint32_t)sim_hash_bytes(3, slice_of(id.bytes, sizeof(id.bytes))) & (model->n_slots - 1);
    while (model->slots[at] != 0 && grant_id_compare(model->grants[model->slots[at] - 1].id, id) != 0) {
        at = (at + 1) & (model->n_slots - 1);
    }
    return &model->slots[at];
}

struct known_grant *model_find_grant(const struct points_model *model, struct grant_id id)
{
    uint32_t slot = *slot_of(model, id);
    return slot == 0 ? NULL : &model->grants[slot - 1];
}

static void grow_slots(struct points_model *model)
{
    free(model->slots);
    model->n_slots *= 2;
    model->slots = mem_calloc(model->n_slots, sizeof(*model->slots));
    for (uint32_t i = 0; i < model->n_grants; i++) {
        *slot_of(model, model->grants[i].id) = i + 1;
    }
}

static struct known_grant *add_grant(struct points_model *model, const struct grant *grant)
{
    if (2 * model->n_grants >= model->n_slots) {
        grow_slots(model);
    }
    model->grants = model_grown(model->grants, model->n_grants, &model->grants_max, sizeof(*model->grants));
    struct known_grant *known = &model->grants[model->n_grants++];
    *known = (struct known_grant){.id = grant->id, .parent = grant->parent};
    *slot_of(model, grant->id) = model->n_grants;
    bool fits = slice_to_cstr(grant->subject, known->subject, sizeof(known->subject)) &&
                slice_to_cstr(grant->resource, known->resource, sizeof(known->resource)) &&
                slice_to_cstr(grant->requester, known->requester, sizeof(known->requester));
    CHECK(fits);
    return known;
}

static void grant_event(struct points_model *model, const struct store_event *event)
{
    const struct grant *grant = event->grant;
    struct known_grant *known = model_find_grant(model, grant->id);
    if (known == NULL) {
        known = add_grant(model, grant);
    }
    known->deadline_ms = grant->deadline_ms;
    known->pending_until_ms = grant->pending_until_ms;
    if (known->state == GRANT_ACTIVE || grant->state == GRANT_ACTIVE) {
        known->revision = event->revision;
    }
    known->state = grant->state;
    known->ended = grant_state_is_ended(grant->state) ? event->revision : 0;
}

/* Whether a caller was told that this grant, or one above it, is denied everywhere. */
static bool is_told(const struct points_model *model, struct grant_id id)
{
    const struct known_grant *known = model_find_grant(model, id);
    while (known != NULL && !known->told) {
        known = grant_id_is_zero(known->parent) ? NULL : model_find_grant(model, known->parent);
    }
    return known != NULL;
}

/* Whether `id` is `above` or below it. */
bool model_is_below(const struct points_model *model, struct grant_id id, struct grant_id above)
{
    while (grant_id_compare(id, above) != 0) {
        const struct known_grant *known = model_find_grant(model, id);
        if (known == NULL || grant_id_is_zero(known->parent)) {
            return false;
        }
        id = known->parent;
    }
    return true;
}

/* --- Instances --- */

struct known_instance *model_find_instance(const struct points_model *model, struct random_id id)
{
    for (uint32_t i = model->n_instances; i-- > 0;) {
        if (memcmp(&model->instances[i].id, &id, sizeof(id)) == 0) {
            return &model->instances[i];
        }
    }
    return NULL;
}

void points_model_instance(struct points_model *model, const struct sim_point *point)
{
    model->instances =
        model_grown(model->instances, model->n_instances, &model->instances_max, sizeof(*model->instances));
    model->instances[model->n_instances++] = (struct known_instance){.id = point->instance, .point = point};
}

/* Registered, and not ended. */
bool model_is_live(const struct known_instance *instance)
{
    return instance->registered != 0 && instance->ended == 0;
}

void points_model_said(struct points_model *model, struct random_id id, uint64_t received, uint64_t enforced)
{
    struct known_instance *instance = model_find_instance(model, id);
    if (received < instance->received || enforced < instance->enforced) {
        sim_fail(model->sim, "G5", "point %u takes back what it confirmed", instance->point->number);
    }
    instance->received = received;
    instance->enforced = enforced;
}

void points_model_failed(struct points_model *model, struct random_id id, const struct point_session *session)
{
    struct known_instance *instance = model_find_instance(model, id);
    if (instance->n_failed < ARRAY_LEN(instance->failed)) {
        instance->failed[instance->n_failed++] =
            (struct known_failure){session->grant, session->by_lock, session->revision, session->last};
    }
}

void points_model_left(struct points_model *model, struct random_id id)
{
    model_find_instance(model, id)->left = true;
}

/* --- Promises --- */

void points_model_led(struct points_model *model, uint64_t term)
{
    if (term >= model->terms_max) {
        uint64_t max = 2 * term + 64;
        model->elected_us = mem_realloc(model->elected_us, max * sizeof(*model->elected_us));
        memset(model->elected_us + model->terms_max, 0, (max - model->terms_max) * sizeof(*model->elected_us));
        model->terms_max = max;
    }
    if (model->elected_us[term] == 0) {
        model->elected_us[term] = model->sim->now_us;
    }
}

int64_t model_superseded_us(const struct points_model *model, uint64_t term)
{
    int64_t first_us = INT64_MAX;
    for (uint64_t later = term + 1; later < model->terms_max; later++) {
        int64_t elected_us = model->elected_us[later];
        if (elected_us != 0 && elected_us < first_us) {
            first_us = elected_us;
        }
    }
    return first_us;
}

/* By 1 % on each of two clocks. */
static int64_t at_most(int64_t us)
{
    return us + us / 48 + 1;
}

static void check_promise(struct points_model *model, const struct known_instance *instance, uint64_t term,
                          uint32_t ttl_ms)
{
    struct sim *sim = model->sim;
    int64_t superseded = model_superseded_us(model, term);
    if (ttl_ms > instance->point->lease_ms) {
        sim_fail(sim, "G6", "point %u has a lease of %u ms, and is promised %u ms", instance->point->number,
                 instance->point->lease_ms, ttl_ms);
    } else if (superseded != INT64_MAX && sim->now_us > superseded + at_most(EVIDENCE_US + NODE_LEASE_US)) {
        sim_fail(sim, "G6", "a node promises in term %" PRIu64 " %" PRId64 " ms after a later one had a leader", term,
                 (sim->now_us - superseded) / 1000);
    } else if (instance->ended != 0 && !instance->left) {
        sim_fail(sim, "G5", "point %u gets a promise after its instance has ended at revision %" PRIu64,
                 instance->point->number, instance->ended);
    }
}

void points_model_promised(struct points_model *model, struct random_id id, uint64_t term, int64_t sent_us,
                           uint32_t ttl_ms)
{
    struct known_instance *instance = model_find_instance(model, id);
    int64_t until_us = sent_us + ttl_ms * SIM_MILLISECOND * 1000000 / (1000000 + instance->point->drift_ppm) + 2;
    model->counts.promises++;
    check_promise(model, instance, term, ttl_ms);
    if (until_us > instance->promised_until_us) {
        instance->promised_until_us = until_us;
    }
}

/* --- The history --- */

static void point_registered(struct points_model *model, const struct store_event *event)
{
    struct known_instance *instance = model_find_instance(model, event->point->instance);
    if (instance == NULL || instance->registered != 0) {
        sim_fail(model->sim, "G5", "a point is registered %s", instance == NULL ? "that does not exist" : "twice");
        return;
    }
    const struct known_lock *lock = model_find_lock(model, LOCK_POINT, event->point->id);
    if (lock != NULL && lock->since != 0 && (lock->until_ms == 0 || event->time_ms < lock->until_ms)) {
        sim_fail(model->sim, "G5", "point %u is registered while its id is locked", instance->point->number);
    }
    instance->registered = event->revision;
    model->counts.registrations++;
}

static void point_ended(struct points_model *model, const struct store_event *event)
{
    struct known_instance *instance = model_find_instance(model, event->point->instance);
    if (!model_is_live(instance)) {
        sim_fail(model->sim, "G5", "a point ends that is not there");
        return;
    }
    instance->ended = event->revision;
    if (!instance->left) {
        model_check_waited_out(model, instance);
    }
    for (uint32_t i = 0; i < model->n_barriers; i++) {
        if (!model->barriers[i].done) {
            model_note_level(model, &model->barriers[i], instance, instance->left ? RECEIPT_LEFT : RECEIPT_LAPSED);
        }
    }
}

void points_model_event(struct points_model *model, const struct store_event *event)
{
    if (event->grant != NULL && event->type != STORE_EVENT_ENFORCED) {
        grant_event(model, event);
    }
    switch (event->type) {
    case STORE_EVENT_POINT_REGISTERED:
        point_registered(model, event);
        break;
    case STORE_EVENT_POINT_ENDED:
        point_ended(model, event);
        break;
    case STORE_EVENT_SWEEP_BEGAN:
        model_sweep_begins(model, event->sweep);
        break;
    case STORE_EVENT_SWEEP_ENDED:
        model_sweep_ends(model, event->sweep, event);
        break;
    case STORE_EVENT_ENFORCED:
        model_barrier_closes(model, event);
        break;
    case STORE_EVENT_LOCKED:
    case STORE_EVENT_UNLOCKED:
        model_lock_event(model, event);
        break;
    default:
        break;
    }
}

/* --- What points permit --- */

/* Cluster time as the oracle knows it: its leader's, to the millisecond, where nothing ever goes wrong; else what the
 * history proves. */
static int64_t cluster_time_ms(const struct points_model *model)
{
    const struct sim_node *leader = model->sim->profile->fault_gap_us == 0 ? nodes_leader(model->sim) : NULL;
    struct replica_status status;
    if (leader == NULL) {
        return clock_model_low_ms(model->clock, model->sim->now_us);
    }
    replica_get_status(leader->replica, &status);
    return status.time_ms;
}

void points_model_permitted(struct points_model *model, const struct sim_point *point, const struct point_grant *grant)
{
    struct sim *sim = model->sim;
    const struct known_instance *instance = model_find_instance(model, point->instance);
    const struct known_grant *known = model_find_grant(model, grant->id);
    int64_t low_ms = cluster_time_ms(model);
    model->counts.permits++;
    if (is_told(model, grant->id)) {
        sim_fail(sim, "G5", "point %u permits a grant after a caller was told that nobody does", point->number);
    } else if (instance->promised_until_us <= sim->now_us) {
        sim_fail(sim, "G6", "point %u permits %" PRId64 " ms after its last promise", point->number,
                 (sim->now_us - instance->promised_until_us) / 1000);
    } else if (known == NULL || known->deadline_ms != grant->deadline_ms) {
        sim_fail(sim, "G3", "point %u permits a grant with another deadline than it has", point->number);
    } else if (grant->deadline_ms <= low_ms) {
        sim_fail(sim, "G3", "point %u permits a grant %" PRId64 " ms after its deadline", point->number,
                 low_ms - grant->deadline_ms);
    } else {
        model_check_locks(model, instance, known);
    }
}

/* True when the cache is as new as the history and equal to it. Fails the run when it is new, and not equal. */
bool points_model_cached(struct points_model *model, const struct sim_point *point)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < model->n_grants; i++) {
        const struct known_grant *grant = &model->grants[i];
        bool concerns = grant->revision != 0 && scope_overlaps(slice_str(point->scope), slice_str(grant->resource));
        if (concerns && grant->revision > point->state.revision) {
            return false;
        }
        n += concerns && grant->state == GRANT_ACTIVE;
    }
    if (!point->state.complete || point->state.resyncing || model_locks_follow(model, point->state.revision)) {
        return false;
    }
    bool equal = point->cache.n == n && model_locks_equal(model, &point->locks);
    for (uint32_t i = 0; i < point->cache.n; i++) {
        const struct known_grant *grant = model_find_grant(model, point->cache.grants[i].id);
        equal = equal && grant != NULL && grant->state == GRANT_ACTIVE;
    }
    if (!equal && model->sim->broken != BREAK_ACK && model->sim->broken != BREAK_CACHE_BACK) {
        sim_fail(model->sim, "G7",
                 "point %u at revision %" PRIu64 " holds %u grants and %u locks, and not those of the history (%u "
                 "active in its scope)",
                 point->number, point->state.revision, point->cache.n, point->locks.n, n);
    }
    model->counts.compared++;
    return equal;
}

/* --- The end --- */

void points_model_counts(const struct points_model *model, struct oracle_point_counts *counts)
{
    *counts = model->counts;
}
