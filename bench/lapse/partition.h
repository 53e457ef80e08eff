/* A network that can be cut between any node and the others, while clients reach them all.
 *
 *   this program (a namespace of its own, 10.77.0.254) -- bridge --+-- node 1's namespace, 10.77.0.1
 *                                                                  +-- node 2's namespace, 10.77.0.2 ...
 *
 * Nothing of it is seen outside, and it ends with this program. A cut is silent, as a broken network is: what is sent
 * goes to an address on the wire that nobody has. No error comes back, and connections stay open. */
#ifndef LAPSE_BENCH_LAPSE_PARTITION_H
#define LAPSE_BENCH_LAPSE_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"

/* Moves this program into a network namespace of its own, for good. Before it has any other thread. FAILED_PRECONDITION
 * with what is missing: it needs root (or CAP_NET_ADMIN and CAP_SYS_ADMIN), and `ip` and `nsenter`. */
lapse_result partition_isolate(struct lapse_error *error) LAPSE_MUST_USE;
/* Whether that was done: then the nodes must live in a partition's places. */
bool partition_is_isolated(void);

struct partition;

/* Places for nodes 1 to n. `log`: a file for what the commands say. After partition_isolate. */
lapse_result partition_new(uint32_t n, const char *log, struct partition **partition,
                           struct lapse_error *error) LAPSE_MUST_USE;
/* The places last until their processes have ended. Accepts NULL. */
void partition_free(struct partition *partition);

/* Where everybody reaches a node: "10.77.0.1". `size` from 16. */
void partition_address(uint32_t node, char *address, size_t size);
/* For process_start: partition_prepare with partition_place's argument moves the child into the node's place. */
void partition_prepare(void *place);
void *partition_place(struct partition *partition, uint32_t node);

/* Between the node and all others, both ways; or heals that. */
lapse_result partition_cut(struct partition *partition, uint32_t node, bool cut,
                           struct lapse_error *error) LAPSE_MUST_USE;

#endif
