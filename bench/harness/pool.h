/* Writers at every node, used as a client with a list of endpoints would: a write that its node does not acknowledge is
 * tried at the next one, again and again.
 *
 *   write --> a node (each in turn) --acknowledged--> done
 *               |--not done, or unknown----------> the next node at once; after a round of all of them, in 10 ms
 *               '--no answer for 100 ms----------> the next node as well; whoever answers first counts
 *
 * Writes are either *paced*: each has the moment at which it is to start, and starts then, whatever became of the
 * earlier ones (an open loop: a stall is seen by every write that should have started in it, so nothing is omitted);
 * or *closed*: so many at a time, the next when one is done. */
#ifndef LAPSE_BENCH_HARNESS_POOL_H
#define LAPSE_BENCH_HARNESS_POOL_H

#include "bench/harness/system.h"

enum pool_verb { POOL_END = 0, POOL_MAKE };

struct pool_write {
    uint32_t item;
    enum pool_verb verb;
    int64_t ttl_ms; /* POOL_MAKE */
    /* Paced: when it is to start, and where its latency counts from. */
    int64_t due_ns;
    /* Of the first attempt; 0: not sent. */
    int64_t sent_ns;
    /* 0: not acknowledged. */
    int64_t acked_ns;
};

struct pool;

/* One connection a node, each open when this returns. */
lapse_result pool_open(struct system *system, struct bench_loop *loop, struct pool **pool,
                       struct lapse_error *error) LAPSE_MUST_USE;
/* What is not acknowledged stays so. Accepts NULL. */
void pool_close(struct pool *pool);

/* Sends in order and returns at once; `writes` are the caller's, and may be read after pool_wait or pool_stop. One set
 * at a time. */
void pool_send_paced(struct pool *pool, struct pool_write *writes, uint32_t n);
/* `prepare` (may be NULL) is called on the loop just before a write is sent: it may set the ttl. */
void pool_send_closed(struct pool *pool, struct pool_write *writes, uint32_t n, uint32_t in_flight,
                      void (*prepare)(void *arg, struct pool_write *write), void *arg);
/* Nothing more is started. Returns how many were sent: those before are acknowledged or still tried. */
uint32_t pool_stop(struct pool *pool);

/* Waits until all that was sent or will be is acknowledged. UNAVAILABLE: not after `patience_ms` without any
 * acknowledgement; or a node that nobody killed has ended; INTERNAL: a write was refused; CANCELLED: by a signal. */
lapse_result pool_wait(struct pool *pool, uint32_t patience_ms, struct lapse_error *error) LAPSE_MUST_USE;
/* Waits for the acknowledgement of a paced write that was due at or after `from_ns`: its moment. Errors as above. */
lapse_result pool_wait_first(struct pool *pool, int64_t from_ns, uint32_t patience_ms, int64_t *acked_ns,
                             struct lapse_error *error) LAPSE_MUST_USE;

#endif
