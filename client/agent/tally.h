/* What was decided and how long it took: counters by reason, a histogram, and the denials that the log gets. Any
 * thread. */
#ifndef LAPSE_CLIENT_AGENT_TALLY_H
#define LAPSE_CLIENT_AGENT_TALLY_H

#include <stdatomic.h>

#include "base/bytes.h"

#define TALLY_REASONS 32
#define TALLY_BUCKETS 13

struct tally {
    struct {
        _Atomic(uint64_t) decisions;
        _Atomic(int64_t) window; /* of LOG_WINDOW_US, by number */
        _Atomic(uint32_t) logged;
    } reasons[TALLY_REASONS];
    _Atomic(uint64_t) buckets[TALLY_BUCKETS]; /* not cumulative; the last one is for all that took longer */
    _Atomic(uint64_t) sum_us;
};

/* Whether a denial with this reason is to be logged: LIMIT_AGENT_DENIALS_LOGGED in ten seconds for each. */
bool tally_count(struct tally *tally, const char *reason, int64_t took_us, int64_t now_us);
lapse_result tally_render(struct tally *tally, struct buf *out) LAPSE_MUST_USE;

#endif
