/* Two streams joined in memory, for tests and fuzzers: what one writes the other reads, from the loop. */
#ifndef LAPSE_BASE_STREAM_PAIR_H
#define LAPSE_BASE_STREAM_PAIR_H

#include <uv.h>

#include "base/stream.h"

/* Both are opened from the loop with the given peers (what `a` sees of `b` is `peer_b`). `chunk` > 0 delivers at most
 * so many bytes at a time. A pair at rest doesn't keep the loop alive: uv_run returns when nothing is left to deliver.
 * Never fails. */
void stream_pair(uv_loop_t *loop, const struct stream_peer *peer_a, const struct stream_peer *peer_b, size_t chunk,
                 struct stream **a, struct stream **b);

#endif
