/* Threads for decisions that have to wait for the cluster, so that no others wait behind them. */
#ifndef LAPSE_CLIENT_AGENT_POOL_H
#define LAPSE_CLIENT_AGENT_POOL_H

#include <stdbool.h>
#include <stdint.h>

/* Embedded in what the owner keeps about the decision; the pool doesn't touch it any more once `run` was called. */
struct agent_job {
    void (*run)(struct agent_job *job); /* on a worker; may block and free the job */
    struct agent_job *next;
};

struct agent_pool;
struct agent_pool *agent_pool_new(uint32_t n_workers);
/* False when LIMIT_AGENT_WAITING jobs wait already, or the pool has ended; `run` is not called then. Any thread. */
bool agent_pool_submit(struct agent_pool *pool, struct agent_job *job);
/* Runs what was submitted and ends the workers; takes no job any more. Once. Accepts NULL. */
void agent_pool_end(struct agent_pool *pool);
/* After its end. Accepts NULL. */
void agent_pool_free(struct agent_pool *pool);

#endif
