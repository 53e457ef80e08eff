/* A subscriber keeps what an enforcement point keeps: the live grants, by id.
 *
 *   moved --> streaming --(RESYNC)--> asking --> reading the snapshot --> streaming
 *
 * After each event its table must have the combined hash that the oracle's model has at that revision; events must be
 * the very next ones. A snapshot is taken behind a linearizable read, so that it is never older than what the
 * subscriber has seen elsewhere. */
#include "tests/sim/subscriber.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/node.h"
#include "tests/sim/oracle.h"

#define SUBSCRIBERS 4u
#define BATCH 32u

/* What is published: enough to follow the model. */
struct published {
    uint64_t revision;
    uint64_t hash;
    struct grant_id grant;
    uint64_t live_hash;
    struct point_grant shown;
    struct point_lock lock; /* of a lock's event */
};

struct entry {
    struct grant_id grant;
    uint64_t live_hash;
};

struct subscriber {
    struct subscribers *all;
    struct sim_node *node;
    uint64_t incarnation;
    uint64_t epoch, revision;
    int64_t pace_us;
    struct entry *table;
    uint32_t n, max;
    uint64_t hash;
    bool asking; /* a read for a snapshot is under way */
    uint64_t attempt;
    struct replica_read read;
};

struct subscribers {
    struct sim *sim;
    struct subscriber each[SUBSCRIBERS];
    bool settled;
    uint64_t resyncs;
};

void subscribers_show_grant(const struct grant *grant, struct point_grant *out)
{
    *out = (struct point_grant){.id = grant->id,
                                .parent = grant->parent,
                                .active = grant->state == GRANT_ACTIVE,
                                .deadline_ms = grant->deadline_ms};
    bool fits = slice_to_cstr(grant->subject, out->subject, sizeof(out->subject)) &&
                slice_to_cstr(grant->resource, out->resource, sizeof(out->resource));
    CHECK(fits);
}

void subscribers_show_lock(const struct object *object, bool lifted, struct point_lock *out)
{
    struct lock lock;
    lapse_result decoded = lock_decode(object->value, &lock, NULL);
    CHECK(lapse_is_ok(decoded));
    *out = (struct point_lock){.kind = lock.kind, .lifted = lifted, .revision = lock.revision};
    CHECK(slice_to_cstr(lock.target, out->target, sizeof(out->target)));
}

void subscribers_publish(struct sim_node *node, const struct store_event *event)
{
    struct published published = {.revision = event->revision, .hash = oracle_hash_event(event)};
    if (event->grant != NULL) {
        published.grant = event->grant->id;
        published.live_hash = oracle_hash_live(event->grant);
        subscribers_show_grant(event->grant, &published.shown);
    }
    if (event->object != NULL && event->object->kind == OBJECT_LOCK) {
        subscribers_show_lock(event->object, event->type == STORE_EVENT_UNLOCKED, &published.lock);
        published.lock.revision = event->revision;
    }
    ring_append(node->ring, ring_event_new(event, blob_new(slice_of(&published, sizeof(published)))));
}

void subscribers_grant(const struct ring_event *event, struct point_grant *out)
{
    struct published published;
    memcpy(&published, event->payload->data, sizeof(published));
    *out = published.shown;
}

void subscribers_lock(const struct ring_event *event, struct point_lock *out)
{
    struct published published;
    memcpy(&published, event->payload->data, sizeof(published));
    *out = published.lock;
}

/* --- The table --- */

static void table_set(struct subscriber *subscriber, struct grant_id grant, uint64_t live_hash)
{
    uint32_t i = 0;
    while (i < subscriber->n && grant_id_compare(subscriber->table[i].grant, grant) != 0) {
        i++;
    }
    if (i < subscriber->n) {
        subscriber->hash ^= subscriber->table[i].live_hash;
        subscriber->table[i] = subscriber->table[--subscriber->n];
    }
    if (live_hash == 0) {
        return;
    }
    if (subscriber->n == subscriber->max) {
        subscriber->max = subscriber->max == 0 ? 64 : subscriber->max * 2;
        subscriber->table = mem_realloc(subscriber->table, subscriber->max * sizeof(*subscriber->table));
    }
    subscriber->table[subscriber->n++] = (struct entry){grant, live_hash};
    subscriber->hash ^= live_hash;
}

static bool table_add(void *arg, const struct grant *grant)
{
    table_set(arg, grant->id, oracle_hash_live(grant));
    return true;
}

static void check_table(struct subscriber *subscriber, const char *how)
{
    struct sim *sim = subscriber->all->sim;
    if (subscriber->hash != oracle_live_hash(sim->oracle, subscriber->revision)) {
        sim_fail(sim, "G7",
                 "a subscriber that got %s on node %" PRIu64 " has another state at revision %" PRIu64
                 " than the cluster",
                 how, subscriber->node->id, subscriber->revision);
    }
}

/* --- Snapshots --- */

static void on_snapshot(struct replica_read *read, lapse_result result, int64_t time_ms)
{
    (void)time_ms;
    struct subscriber *subscriber = read->owner;
    struct sim *sim = subscriber->all->sim;
    subscriber->asking = false;
    if (subscriber->node->ending || !lapse_is_ok(result)) {
        return;
    }
    const struct store *store = replica_store(subscriber->node->replica);
    if (store_revision(store) < subscriber->revision) {
        sim_fail(sim, "G7", "a subscriber that has seen revision %" PRIu64 " gets a snapshot of %" PRIu64,
                 subscriber->revision, store_revision(store));
    }
    subscriber->n = 0;
    subscriber->hash = 0;
    struct store_filter filter = {0};
    uint64_t cursor = 0;
    while (store_list(store, &filter, &cursor, 1000, table_add, subscriber)) {
    }
    subscriber->epoch = store_epoch(store);
    subscriber->revision = store_revision(store);
    sim_trace(sim, subscriber->node->id, "resynced", subscriber->revision, subscriber->n, subscriber->hash);
    check_table(subscriber, "a snapshot");
}

static void ask_snapshot(struct sim_node *node, void *arg, uint64_t tag)
{
    struct subscriber *subscriber = arg;
    if (tag != subscriber->attempt || subscriber->asking) {
        return;
    }
    subscriber->asking = true;
    subscriber->read = (struct replica_read){.done = on_snapshot, .owner = subscriber};
    replica_read(node->replica, &subscriber->read, 500);
}

static void resync(struct subscriber *subscriber)
{
    struct sim *sim = subscriber->all->sim;
    uint64_t epoch, oldest, newest;
    ring_bounds(subscriber->node->ring, &epoch, &oldest, &newest);
    if (epoch == subscriber->epoch && oldest <= subscriber->revision && subscriber->revision <= newest) {
        sim_fail(sim, "G7", "a cursor at %" PRIu64 " is refused by a ring that holds %" PRIu64 " to %" PRIu64,
                 subscriber->revision, oldest, newest);
    }
    subscriber->all->resyncs++;
    subscriber->attempt++;
    (void)node_call(subscriber->node, ask_snapshot, subscriber, subscriber->attempt);
}

/* --- The stream --- */

static void take(struct subscriber *subscriber, struct slice payload)
{
    struct sim *sim = subscriber->all->sim;
    struct published published;
    CHECK(payload.len == sizeof(published));
    memcpy(&published, payload.data, sizeof(published));
    if (published.revision != subscriber->revision + 1) {
        sim_fail(sim, "G7", "a subscriber at revision %" PRIu64 " is given %" PRIu64, subscriber->revision,
                 published.revision);
    }
    if (published.hash != oracle_event_hash(sim->oracle, published.revision)) {
        sim_fail(sim, "G7", "a subscriber is given another event of revision %" PRIu64 " than was applied",
                 published.revision);
    }
    subscriber->revision = published.revision;
    if (!grant_id_is_zero(published.grant)) {
        table_set(subscriber, published.grant, published.live_hash);
    }
    check_table(subscriber, "an event");
}

static void pull(struct subscriber *subscriber)
{
    struct sim *sim = subscriber->all->sim;
    struct ring_event *events[BATCH];
    uint32_t n = 0;
    uint64_t begin = subscriber->revision, cursor = begin;
    uint32_t max = 1 + (uint32_t)sim_below(sim, BATCH);
    if (ring_read(subscriber->node->ring, subscriber->epoch, &cursor, events, max, &n) == RING_RESYNC) {
        resync(subscriber);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!(sim->broken == BREAK_RING && sim_chance(sim, 2000))) {
            take(subscriber, blob_slice(events[i]->payload));
        }
        ring_event_unref(events[i]);
    }
    if (cursor != begin + n) {
        sim_fail(sim, "G7", "a ring moves a cursor from %" PRIu64 " to %" PRIu64 " with %u events", begin, cursor, n);
    }
}

/* Leaves its node for another one, with its cursor in hand. */
static void move(struct subscriber *subscriber)
{
    struct sim *sim = subscriber->all->sim;
    if (subscriber->asking && subscriber->node->up && subscriber->node->incarnation == subscriber->incarnation) {
        replica_cancel_read(subscriber->node->replica, &subscriber->read);
    }
    subscriber->asking = false;
    subscriber->attempt++;
    subscriber->node = sim->nodes[sim_below(sim, sim->n_nodes)];
    subscriber->incarnation = subscriber->node->incarnation;
}

static void turn(void *arg, uint64_t tag)
{
    struct subscriber *subscriber = arg;
    struct sim *sim = subscriber->all->sim;
    struct sim_node *node = subscriber->node;
    bool lost =
        !node->up || node->incarnation != subscriber->incarnation || (subscriber->all->settled && !node_votes(node));
    if (lost || (!subscriber->all->settled && sim_chance(sim, 30000))) {
        move(subscriber);
    } else if (!subscriber->asking && !node->paused) {
        pull(subscriber);
    }
    sim_after(sim, sim_around(sim, subscriber->all->settled ? 5 * SIM_MILLISECOND : subscriber->pace_us), turn,
              subscriber, tag);
}

/* --- */

struct subscribers *subscribers_new(struct sim *sim)
{
    struct subscribers *subscribers = mem_calloc(1, sizeof(*subscribers));
    subscribers->sim = sim;
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        struct subscriber *subscriber = &subscribers->each[i];
        *subscriber = (struct subscriber){.all = subscribers, .node = sim->nodes[i % sim->n_nodes]};
        /* The last one is too slow for a small ring. */
        subscriber->pace_us = i + 1 < SUBSCRIBERS ? 5 * SIM_MILLISECOND : 500 * SIM_MILLISECOND;
        sim_after(sim, sim_between(sim, 1, 100000), turn, subscriber, 0);
    }
    return subscribers;
}

void subscribers_free(struct subscribers *subscribers)
{
    if (subscribers == NULL) {
        return;
    }
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        free(subscribers->each[i].table);
    }
    free(subscribers);
}

void subscribers_settle(struct subscribers *subscribers)
{
    subscribers->settled = true;
}

bool subscribers_caught_up(const struct subscribers *subscribers)
{
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        if (subscribers->each[i].revision != oracle_revision(subscribers->sim->oracle)) {
            return false;
        }
    }
    return true;
}

uint64_t subscribers_resyncs(const struct subscribers *subscribers)
{
    return subscribers->resyncs;
}
