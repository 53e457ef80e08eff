/* The core's side of the audit (node/audit.h): what it tells, what it passes on, and what depends on it. On the core
 * loop, but for core_audit() (core.h). */
#ifndef LAPSE_NODE_CORE_AUDIT_H
#define LAPSE_NODE_CORE_AUDIT_H

#include "node/core_internal.h"

lapse_result core_audit_open(struct core *core, const struct store *store, struct lapse_error *error) LAPSE_MUST_USE;
/* Nothing is applied any more. Ends its threads. */
void core_audit_close(struct core *core);
void core_audit_free(struct core *core);

void core_audit_event(struct core *core, const struct store_event *event);
/* A snapshot was installed. */
void core_audit_replaced(struct core *core);
void core_audit_members(struct core *core, const struct replica_member *members, uint32_t n);
void core_audit_frame(struct core *core, uint64_t from, struct slice frame);
bool core_audit_may_drop(struct core *core, uint64_t revision);
/* Once an iteration, after everything was applied. */
void core_audit_flush(struct core *core);
/* Whether its disk is full. */
bool core_audit_is_full(const struct core *core);
void core_audit_set_gauges(struct core *core);
/* CORE_AUDIT_OPEN: may the caller read it, and from which revision on. */
void core_audit_opened(struct core_call *call);

#endif
