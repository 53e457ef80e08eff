/* The event ring: every applied event, encoded once, for any number of subscribers on any thread.
 *
 *        oldest                                   newest
 *   [ 101 | 102 | 103 | ... | 198 | 199 | 200 ]          bounded in events and in bytes
 *              ^ cursor 102: 103 is read next
 *
 * The core appends; edges read batches behind their cursors whenever a connection is writable. Nothing is ever pushed,
 * so a slow or hostile subscriber holds no memory beyond its cursor. A cursor that has fallen off, comes from another
 * epoch, or is ahead of the ring gets RING_RESYNC, never a silent gap (guarantee G7). Any thread may read; one thread
 * appends. */
#ifndef LAPSE_NODE_RING_H
#define LAPSE_NODE_RING_H

#include "base/bytes.h"
#include "store/store.h"

/* One event as subscribers get it: immutable and shared; what a scope needs to know stands beside the encoded bytes. */
struct ring_event {
    _Atomic(uint32_t) refs;
    uint64_t revision;
    enum store_event_type type;
    enum grant_state state; /* 0 for events about no grant */
    struct grant_id grant, parent;
    struct random_id instance; /* of events about a point; zero otherwise */
    bool counts_uses;          /* the grant has max_uses */
    bool locks;                /* about a lock on a subject or resource */
    struct slice subject, resource, requester; /* lie in `text` */
    struct blob *payload;                      /* an encoded lapse.v1.WatchResponse */
    uint8_t text[];
};

/* A new event with one reference; takes over the reference of `payload`. */
struct ring_event *ring_event_new(const struct store_event *event, struct blob *payload);
void ring_event_unref(struct ring_event *event);

struct ring;

struct ring *ring_new(uint32_t events_max, size_t bytes_max);
void ring_free(struct ring *ring);

/* Starts (again) empty behind (epoch, revision): after start, and when a snapshot replaced the store. A cursor at
 * exactly this point connects. */
void ring_reset(struct ring *ring, uint64_t epoch, uint64_t revision);
/* INIT gives a cluster its epoch with its first event; it changes no revision. */
void ring_set_epoch(struct ring *ring, uint64_t epoch);
/* Appends the event of the next revision (checked: dense); takes over the reference. */
void ring_append(struct ring *ring, struct ring_event *event);

enum ring_status {
    RING_OK,    /* events were read, or none: the cursor is at the end */
    RING_RESYNC /* the cursor does not connect: take a snapshot, then start behind its revision */
};
/* Reads up to `max` events behind `*revision` (the last one seen) and advances it. The caller drops the references. */
enum ring_status ring_read(struct ring *ring, uint64_t epoch, uint64_t *revision, struct ring_event **events,
                           uint32_t max, uint32_t *n);

/* The epoch, the earliest cursor that connects, and the newest revision. */
void ring_bounds(struct ring *ring, uint64_t *epoch, uint64_t *oldest, uint64_t *newest);

#endif
