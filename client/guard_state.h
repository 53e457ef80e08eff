/* What an enforcement point knows about its own right to decide: lease, revisions, cluster time. Pure: no I/O, no
 * clock, no cache; used by the guard (client/guard.c) and by the simulator's enforcement points.
 *
 *            registered, snapshot complete, a promise
 *   STARTING ---------------------------------------> DECIDING <--------------------------+
 *      ^                                                | the promise runs out             | a promise again
 *      |                                                v                                  |
 *      |                                              STALE (denies everything) -----------+
 *      |  new instance: LAPSED, UNKNOWN                  |
 *      '------------------------------------------------+--FENCED--> FENCED (for good)
 *
 * Times are microseconds of this machine's boot clock. The rules (docs/decisions/0010-enforcement-leases.md): a promise
 * counts from the sending of the ping; what was seen is never gone back behind (an older event, snapshot or epoch is
 * refused); cluster time is taken from pongs by its upper bound, and runs on faster than this clock by what two clocks
 * may differ. */
#ifndef LAPSE_CLIENT_GUARD_STATE_H
#define LAPSE_CLIENT_GUARD_STATE_H

#include <stdbool.h>
#include <stdint.h>

enum guard_phase { GUARD_STARTING, GUARD_DECIDING, GUARD_STALE, GUARD_FENCED };

#define GUARD_PINGS 8u /* under way; a pong to an older one says nothing any more */

/* Readable by anyone, written only here. */
struct guard_state {
    bool connected; /* a stream is admitted */
    bool complete;  /* the cache holds a whole snapshot and everything after it up to `revision` */
    bool resyncing; /* the cache is complete, and the snapshot that will replace it is being received */
    bool fenced;
    uint64_t epoch, revision;    /* of the cache; where a new stream resumes */
    uint64_t received, enforced; /* may be acknowledged, on this stream and on later ones */
    int64_t valid_until_us;      /* the promise: decides before it, not at it; 0: none */
    int64_t heard_us;            /* the sending of the newest ping that was answered by a promise; 0: never */
    int64_t time_us, time_at_us; /* cluster time had not passed time_us at time_at_us; 0: not known */
    uint64_t next_ping;
    struct {
        uint64_t sequence; /* 0: answered, or of a stream that is lost */
        int64_t sent_us;
    } pings[GUARD_PINGS];
};

void guard_state_init(struct guard_state *state);
/* A stream was admitted, or is lost: a snapshot that was under way counts for nothing, and so do pongs that are still
 * to come; the promise goes on until it runs out. Losing it twice is harmless. */
void guard_state_connected(struct guard_state *state);
void guard_state_disconnected(struct guard_state *state);
/* This instance is over: a new one begins with nothing, a fenced one never. Call it with an emptied cache. */
void guard_state_ended(struct guard_state *state, bool fenced);

/* Returns the sequence for a ping; the clock was read before it is handed to the network. */
uint64_t guard_state_ping(struct guard_state *state, int64_t now_us);
/* `ttl_ms` and `time_us` as the pong says. Unknown and repeated sequences are ignored. */
void guard_state_pong(struct guard_state *state, uint64_t sequence, uint32_t ttl_ms, int64_t time_us);

/* What the stream brings. False: it contradicts what was seen (an older revision, a snapshot that nobody announced, an
 * event within one, another epoch without a resync): nothing has changed; end the stream. */
bool guard_state_event(struct guard_state *state, uint64_t epoch, uint64_t revision);
bool guard_state_progress(struct guard_state *state, uint64_t epoch, uint64_t revision);
/* What is in the cache goes on being decided from until the snapshot is complete, and then the new one replaces it. */
void guard_state_resync(struct guard_state *state);
bool guard_state_snapshot_end(struct guard_state *state, uint64_t epoch, uint64_t revision);

/* The cache has been changed by all that guard_state_event, _progress and _snapshot_end have taken, and every thread
 * that decides sees it: `received` follows `revision`. Does nothing while there is no complete cache. */
void guard_state_receive(struct guard_state *state);
/* All sessions under grants that ended up to `revision` are ended. Never beyond `received`, never back. */
void guard_state_enforce(struct guard_state *state, uint64_t revision);

/* Where a decision stands at `now_us`, which was read when the check had begun. */
enum guard_phase guard_state_phase(const struct guard_state *state, int64_t now_us);
/* Cluster time is not past this at `now_us`, in milliseconds, rounded up; INT64_MAX when not known (so every deadline
 * has passed). */
int64_t guard_state_time_ms(const struct guard_state *state, int64_t now_us);
int64_t guard_state_staleness_ms(const struct guard_state *state, int64_t now_us); /* since heard_us; -1: never */
int64_t guard_state_valid_for_ms(const struct guard_state *state, int64_t now_us); /* 0: may not decide */

#endif
