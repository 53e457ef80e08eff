#include "client/agent/pool.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"

struct agent_pool {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t wake;
    struct agent_job *first, **last;
    uint32_t waiting;
    bool ending;
    uint32_t n_workers;
    pthread_t workers[];
};

/* The next job; NULL at the end. */
static struct agent_job *take(struct agent_pool *pool)
{
    CHECK(pthread_mutex_lock(&pool->lock) == 0);
    while (pool->first == NULL && !pool->ending)
        CHECK(pthread_cond_wait(&pool->wake, &pool->lock) == 0);
    struct agent_job *job = pool->first;
    if (job != NULL) {
        pool->first = job->next;
        pool->last = pool->first == NULL ? &pool->first : pool->last;
        pool->waiting--;
    }
    CHECK(pthread_mutex_unlock(&pool->lock) == 0);
    return job;
}

static void *work(void *arg)
{
    struct agent_job *job = NULL;
    while ((job = take(arg)) != NULL)
        job->run(job);
    return NULL;
}

struct agent_pool *agent_pool_new(uint32_t n_workers)
{
    struct agent_pool *pool = mem_calloc(1, sizeof *pool + n_workers * sizeof pool->workers[0]);
    CHECK(pthread_mutex_init(&pool->lock, NULL) == 0);
    CHECK(pthread_cond_init(&pool->wake, NULL) == 0);
    pool->last = &pool->first;
    pool->n_workers = n_workers;
    for (uint32_t i = 0; i < n_workers; i++)
        CHECK(pthread_create(&pool->workers[i], NULL, work, pool) == 0);
    return pool;
}

bool agent_pool_submit(struct agent_pool *pool, struct agent_job *job)
{
    CHECK(pthread_mutex_lock(&pool->lock) == 0);
    bool taken = !pool->ending && pool->waiting < LIMIT_AGENT_WAITING;
    if (taken) {
        job->next = NULL;
        *pool->last = job;
        pool->last = &job->next;
        pool->waiting++;
    }
    CHECK(pthread_cond_signal(&pool->wake) == 0);
    CHECK(pthread_mutex_unlock(&pool->lock) == 0);
    return taken;
}

void agent_pool_end(struct agent_pool *pool)
{
    if (pool == NULL)
        return;
    CHECK(pthread_mutex_lock(&pool->lock) == 0);
    pool->ending = true;
    CHECK(pthread_cond_broadcast(&pool->wake) == 0);
    CHECK(pthread_mutex_unlock(&pool->lock) == 0);
    for (uint32_t i = 0; i < pool->n_workers; i++)
        CHECK(pthread_join(pool->workers[i], NULL) == 0);
}

void agent_pool_free(struct agent_pool *pool)
{
    if (pool == NULL)
        return;
    CHECK(pool->ending && pool->first == NULL);
    CHECK(pthread_cond_destroy(&pool->wake) == 0);
    CHECK(pthread_mutex_destroy(&pool->lock) == 0);
    free(pool);
}
