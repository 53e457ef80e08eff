/* Who may have how much: caps on connections, calls in flight and requests per second of each principal (guarantee G8).
 *
 * One table for all edges; any thread. A principal's entry lives while it has connections or holds memory. */
#ifndef LAPSE_NODE_ADMISSION_H
#define LAPSE_NODE_ADMISSION_H

#include "base/result.h"

#include <stdint.h>

struct admission;
struct admission_entry;

struct admission_limits {
    uint32_t connections_max; /* of all principals, handshakes under way included */
    uint32_t connections_per_principal;
    uint32_t calls_per_principal; /* in flight, watches included */
    uint64_t held_max; /* bytes of long answers, of all principals; and of one: */
    uint64_t held_per_principal;
    uint32_t requests_per_second; /* per principal; a burst of one second's worth is let through */
};

struct admission *admission_new(const struct admission_limits *limits);
void admission_free(struct admission *admission);

/* Before the handshake, when nobody knows yet who it is. False: refuse. Each true is given back by admission_hang_up.
 */
bool admission_answer(struct admission *admission);
void admission_hang_up(struct admission *admission);

/* After the handshake. RESOURCE_EXHAUSTED with a message that names the limit. Given back by admission_leave. */
lapse_result admission_enter(struct admission *admission, const char *principal, struct admission_entry **entry,
                             struct lapse_error *error) LAPSE_MUST_USE;
void admission_leave(struct admission *admission, struct admission_entry *entry);

/* One request more at `now_ms` (any monotonic clock). RESOURCE_EXHAUSTED: too many in this second. */
lapse_result admission_request(struct admission *admission, struct admission_entry *entry, int64_t now_ms,
                               struct lapse_error *error) LAPSE_MUST_USE;
/* One call in flight more; given back by admission_end. */
lapse_result admission_begin(struct admission *admission, struct admission_entry *entry,
                             struct lapse_error *error) LAPSE_MUST_USE;
void admission_end(struct admission *admission, struct admission_entry *entry);

/* Memory for an answer that may be long, before it is computed. RESOURCE_EXHAUSTED: the principal, or all together, have
 * not read enough of what they asked for. Given back, in parts if need be, by admission_unhold, which may come after the
 * principal's last connection is gone. */
lapse_result admission_hold(struct admission *admission, struct admission_entry *entry, uint64_t bytes,
                            struct lapse_error *error) LAPSE_MUST_USE;
void admission_unhold(struct admission *admission, struct admission_entry *entry, uint64_t bytes);

#endif
