/* Webhooks: events told to chat, ticket and identity systems, from the leader's audit database, each at least once and in
 * order, while leaders die.
 *
 *            leads                        records                     taken
 *   RESTS ----------> ASKS the database ----------> DELIVERS one ----------+
 *     ^                     ^                          |      ^            |
 *     |                     |  the batch is done       |      '-- waits, doubling, and tries again
 *     '-- leads no more     COMMITS how far it is <----'------- next of the batch
 *
 * The queue is the database; its length is bounded by nothing but what the log keeps, and a webhook that hangs holds one
 * thread and one batch. How far each has come is state of the cluster (COMMAND_HOOK_DONE), so a new leader goes on there:
 * what was delivered and not committed is delivered again, under the same id. On the core loop. */
#ifndef LAPSE_NODE_CORE_HOOKS_H
#define LAPSE_NODE_CORE_HOOKS_H

#include "node/core_internal.h"

/* Reads webhooks.file, if one is set. FAILED_PRECONDITION. */
lapse_result core_hooks_open(struct core *core, struct lapse_error *error) LAPSE_MUST_USE;
/* Every now and then, and when leadership has changed. */
void core_hooks_pulse(struct core *core);
/* Ends the threads; before the database and the mailbox are closed. */
void core_hooks_close(struct core *core);
void core_hooks_free(struct core *core);

#endif
