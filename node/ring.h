/* The event ring: every applied event, encoded once, for any number of subscribers on any thread.
 *
 *        oldest                                   newest
 *   [ 101 | 102 | 103 | ... | 198 | 199 | 200 ]          capacity in events and in bytes
 *              ^ cursor 103: next to read
 *
 * The core appends; edges read batches behind their cursors whenever a connection is writable. Nothing is ever pushed, so a slow or hostile subscriber holds no
 * memory beyond its cursor. A cursor that has fallen off, comes from another epoch, or is ahead of the ring gets RING_RESYNC, never a silent gap
 * (guarantee G7). Any thread may read; one thread appends. */
#ifndef LAPSE_NODE_RING_H
#define LAPSE_NODE_RING_H

#include "base/bytes.h"
#include "store/grant.h"

struct ring;

/* What a scope filter needs to know without decoding the event again. */
struct ring_key {
    struct grant_id grant, parent;
    uint8_t type;  /* enum store_event_type */
    uint8_t state; /* enum grant_state; 0 without a grant */
};

struct ring_event {
    uint64_t revision;
    struct blob *payload; /* an encoded lapse.v1.WatchResponse; one reference, the reader's after ring_read */
    struct blob *subject, *resource, *requester; /* for scopes; may be NULL */
    struct ring_key key;
};

struct ring *ring_new(uint32_t events_max, size_t bytes_max);
void ring_free(struct ring *ring);

/* Starts (again) empty behind (epoch, revision): after start, and when a snapshot replaced the store. Cursors at exactly this point connect. */
void ring_reset(struct ring *ring, uint64_t epoch, uint64_t revision);
/* Appends the event of the next revision (checked: dense); takes over the references. */
void ring_append(struct ring *ring, struct ring_event event);

enum ring_status {
    RING_OK,     /* n >= 1 events were read, or 0: the cursor is at the end */
    RING_RESYNC  /* the cursor does not connect: take a snapshot, then start behind its revision */
};
/* Reads up to `max` events behind `*revision` (the last one seen) and advances it. The caller drops the references with ring_event_release. */
enum ring_status ring_read(struct ring *ring, uint64_t epoch, uint64_t *revision, struct ring_event *events, uint32_t max, uint32_t *n);
void ring_event_release(struct ring_event *event);

/* The newest revision and the epoch; and the revision before the oldest event held (the earliest cursor that connects). */
void ring_bounds(struct ring *ring, uint64_t *epoch, uint64_t *oldest, uint64_t *newest);

#endif
