/* The newest signed head of the audit log that this point was told, in a file: so that a cluster which has lost or
 * changed its history is found out by the next process, too. One line, as an export has them (client/audit_line.h), so
 * that it can be given to `lapse audit verify --head`.
 *
 *   on_head (the guard's thread) --newest--> a worker --> FILE.new, fsync --rename--> FILE (0600) */
#ifndef LAPSE_CLIENT_AGENT_HEAD_FILE_H
#define LAPSE_CLIENT_AGENT_HEAD_FILE_H

#include "client/agent/pool.h"
#include "client/lapse_guard.h"

#define HEAD_FILE_NAME "audit-head.json"

struct head_file;

/* `directory` is made when it is not there. With `accept_new` what is kept there is put aside, under a name with the
 * time. FAILED_PRECONDITION: what is there is no head; UNAVAILABLE: can't be read or made. Borrows the pool. */
lapse_result head_file_open(const char *directory, bool accept_new, struct agent_pool *pool, struct head_file **file,
                            struct lapse_error *error) LAPSE_MUST_USE;
/* A lapse.v1.SignedHead, for lapse_guard_options; empty: none is kept. Valid until the first head_file_keep. */
struct lapse_bytes head_file_kept(const struct head_file *file);
/* A newer one: copied, and written soon. Any thread; doesn't block. */
void head_file_keep(struct head_file *file, struct lapse_bytes head);
/* The pool has ended. Accepts NULL. */
void head_file_free(struct head_file *file);

#endif
