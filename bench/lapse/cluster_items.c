/* Items: their numbers in tickets, what their grants are about, and the ids that the cluster gave them. Ids lie in
 * chunks that never move, so that loops may use some while others are reserved. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "bench/lapse/cluster_internal.h"

/* As many people and things as a company has: what a store indexes should neither be all one nor all different. */
#define SUBJECTS 1000u
#define RESOURCES 200u

lapse_result cluster_reserve(struct system *system, uint32_t n, struct lapse_error *error)
{
    struct cluster *cluster = cluster_of(system);
    uint32_t chunks = (n + CLUSTER_ITEMS_CHUNK - 1) / CLUSTER_ITEMS_CHUNK;
    if (chunks > CLUSTER_CHUNKS_MAX)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "more than %u items",
                          CLUSTER_CHUNKS_MAX * CLUSTER_ITEMS_CHUNK);
    for (uint32_t i = 0; i < chunks; i++)
        if (cluster->ids[i] == NULL)
            cluster->ids[i] = mem_calloc(CLUSTER_ITEMS_CHUNK, sizeof(cluster_id));
    cluster->n_items = n > cluster->n_items ? n : cluster->n_items;
    return lapse_ok();
}

void cluster_items_free(struct cluster *cluster)
{
    for (uint32_t i = 0; i < CLUSTER_CHUNKS_MAX; i++)
        free(cluster->ids[i]);
}

char *cluster_id_of(struct cluster *cluster, uint32_t item)
{
    CHECK(item < cluster->n_items);
    return cluster->ids[item / CLUSTER_ITEMS_CHUNK][item % CLUSTER_ITEMS_CHUNK];
}

const char *cluster_item_id(const struct system *system, uint32_t item)
{
    return cluster_id_of((struct cluster *)(uintptr_t)system, item);
}

void cluster_item_subject(uint32_t item, char subject[CLUSTER_TEXT_SIZE])
{
    snprintf(subject, CLUSTER_TEXT_SIZE, "spiffe://bench.lapse/user/u%u", item % SUBJECTS);
}

void cluster_item_resource(uint32_t item, char resource[CLUSTER_TEXT_SIZE])
{
    snprintf(resource, CLUSTER_TEXT_SIZE, "db/prod/table-%u", item % RESOURCES);
}

void cluster_ticket(const struct cluster *cluster, uint32_t item, char ticket[CLUSTER_TEXT_SIZE])
{
    snprintf(ticket, CLUSTER_TEXT_SIZE, "%s-%" PRIu32, cluster->run, item);
}

bool cluster_ticket_parse(const struct cluster *cluster, struct slice ticket, uint32_t *item)
{
    uint32_t number = 0;
    size_t at = sizeof cluster->run; /* behind the dash */
    if (ticket.len <= at || memcmp(ticket.data, cluster->run, at - 1) != 0)
        return false;
    for (; at < ticket.len; at++) {
        if (ticket.data[at] < '0' || ticket.data[at] > '9')
            return false;
        number = number * 10 + (uint32_t)(ticket.data[at] - '0');
    }
    *item = number;
    return true;
}
