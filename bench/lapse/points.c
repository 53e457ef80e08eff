#include "bench/lapse/points.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/lapse/cluster.h"
#include "client/lapse_guard.h"

#define READY_MS 30000

struct lapse_points {
    struct lapse_guard **guards;
    uint32_t n;
};

static lapse_result point_open(struct system *system, uint32_t i, struct lapse_guard **guard, struct lapse_error *error)
{
    static const char *const scope[] = {"db/prod/*"};
    struct lapse_guard_options options = {.scope = scope, .n_scope = ARRAY_LEN(scope)};
    struct cluster_user user;
    char id[32];
    snprintf(id, sizeof id, "bench-%u", i + 1);
    cluster_user(system, "proxy1", 0, &user);
    options.id = id;
    options.client = user.options;
    return lapse_guard_open(&options, NULL, NULL, guard, error);
}

lapse_result lapse_points_open(struct system *system, uint32_t n, struct lapse_points **out, struct lapse_error *error)
{
    struct lapse_points *points = mem_calloc(1, sizeof *points);
    lapse_result result = lapse_ok();
    points->guards = mem_calloc(n, sizeof(struct lapse_guard *));
    while (points->n < n && lapse_is_ok(result)) {
        result = point_open(system, points->n, &points->guards[points->n], error);
        points->n += lapse_is_ok(result);
    }
    for (uint32_t i = 0; i < points->n && lapse_is_ok(result); i++)
        result = lapse_guard_wait_ready(points->guards[i], READY_MS, error);
    if (lapse_is_ok(result))
        *out = points;
    else
        lapse_points_close(points);
    return result;
}

void lapse_points_close(struct lapse_points *points)
{
    if (points == NULL)
        return;
    for (uint32_t i = 0; i < points->n; i++)
        lapse_guard_close(points->guards[i]);
    free(points->guards);
    free(points);
}

bool lapse_points_check(struct lapse_points *points, uint32_t i, uint32_t item)
{
    char subject[CLUSTER_TEXT_SIZE], resource[CLUSTER_TEXT_SIZE];
    struct lapse_guard_query query = {.subject = subject, .resource = resource, .action = CLUSTER_ACTION};
    struct lapse_guard_decision decision;
    cluster_item_subject(item, subject);
    cluster_item_resource(item, resource);
    CHECK(i < points->n);
    return lapse_guard_check(points->guards[i], &query, &decision);
}
