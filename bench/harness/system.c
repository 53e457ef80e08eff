/* What all systems share: the list of them, and making items in bulk. */
#include "bench/harness/system.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bench/harness/pool.h"
#include "bench/harness/report.h"
#include "bench/lapse/cluster.h"
#include "bench/peers/kinds.h"

#define IN_FLIGHT 64
#define PATIENCE_MS 60000
/* Made in pieces of so many: for progress, and so that what is kept of each write doesn't grow with their number. */
#define PIECE 10000u

const struct system_kind *const system_kinds[] = {&kind_lapse,     &kind_etcd, &kind_redis,
                                                  &kind_zookeeper, &kind_nats, NULL};

const struct system_kind *system_find(const char *name)
{
    for (size_t i = 0; system_kinds[i] != NULL; i++)
        if (strcmp(system_kinds[i]->name, name) == 0)
            return system_kinds[i];
    return NULL;
}

lapse_result system_check(struct system *system, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < system->n_nodes && lapse_is_ok(result); i++)
        result = process_check(&system->nodes[i], error);
    return result;
}

lapse_result system_reserve(struct system *system, uint32_t n, struct lapse_error *error)
{
    return system->kind->reserve == NULL ? lapse_ok() : system->kind->reserve(system, n, error);
}

lapse_result system_make_items(struct system *system, struct bench_loop *loop, uint32_t first, uint32_t n,
                               int64_t ttl_ms, struct lapse_error *error)
{
    struct pool *pool;
    lapse_result result = pool_open(system, loop, &pool, error);
    if (!lapse_is_ok(result))
        return result;
    struct pool_write *writes = mem_calloc(PIECE, sizeof *writes);
    for (uint32_t done = 0; done < n && lapse_is_ok(result); done += PIECE) {
        uint32_t piece = n - done < PIECE ? n - done : PIECE;
        progress("making items", done, n);
        for (uint32_t i = 0; i < piece; i++)
            writes[i] = (struct pool_write){.item = first + done + i, .verb = POOL_MAKE, .ttl_ms = ttl_ms};
        pool_send_closed(pool, writes, piece, IN_FLIGHT, NULL, NULL);
        result = pool_wait(pool, PATIENCE_MS, error);
    }
    progress_end();
    pool_close(pool); /* until then it may still look at them */
    free(writes);
    return result;
}
