/* What core_barrier.c (who waits, and until when) and core_barrier_say.c (what they are told) share. Nobody else
 * includes this. */
#ifndef LAPSE_NODE_CORE_BARRIER_INTERNAL_H
#define LAPSE_NODE_CORE_BARRIER_INTERNAL_H

#include "node/core_barrier.h"

/* Points that a message names; a follower of progress is told all that the leader tells. */
#define NAMED_MAX 8u

/* A barrier that somebody here waits for. */
struct tracked {
    struct tracked *next, *prev; /* all */
    struct tracked *next_in_bucket;
    struct tracked *next_changed;
    bool changed; /* in that list */
    uint64_t barrier;
    struct core_call *waits;
    int64_t idle_us; /* since when nobody waits */
    bool streamed;   /* somebody follows its progress */

    /* What the leader told last. */
    uint64_t version; /* 0: nothing yet */
    int64_t told_us;
    bool all_received;
    uint32_t n_points; /* kept */
    struct lease_progress_point *points;
};

/* Each sets call->error. `barrier` as the store has it; `tracked` may be NULL. */
void say_failed(struct core_call *call, const struct barrier *barrier);
void say_pending(struct core_call *call, const struct barrier *barrier, const struct tracked *tracked, int64_t now_us);
void say_untracked(struct core_call *call);
void say_forgotten(struct core_call *call);
void say_too_many(struct core_call *call);

/* Writes a RevokeProgress to call->response. `barrier` NULL: the store no longer has it. */
lapse_result say_progress(struct core_call *call, const struct barrier *barrier, const struct tracked *tracked,
                          int64_t now_us) LAPSE_MUST_USE;

#endif
