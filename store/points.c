/* What can be asked about points and sessions. Barriers: barrier_steps.c. */
#include "store/points.h"

#include "store/internal.h"

static bool is_registered(const struct store *store, uint32_t item)
{
    return item != 0 && points_at(&store->points, item)->state != POINT_OVER;
}

bool store_point_get(const struct store *store, struct random_id instance, struct point *point)
{
    uint32_t item = points_find(&store->points, &instance);
    if (!is_registered(store, item))
        return false;
    point_read(points_at(&store->points, item), store->strings.chunks, point);
    return true;
}

bool store_point_at(const struct store *store, uint32_t i, struct point *point)
{
    if (i >= store->points.n)
        return false;
    point_read(points_at(&store->points, store->points.by_id[i]), store->strings.chunks, point);
    return true;
}

uint32_t store_points(const struct store *store)
{
    return store->points.n;
}

uint32_t store_point_behind(const struct store *store, struct slice id, uint64_t revision)
{
    return points_behind(&store->points, store->strings.chunks, id, revision);
}

bool store_may_guard(const struct store *store, struct slice principal, struct slice scope)
{
    struct slice pattern;
    bool any = false;
    while (scope_next(&scope, &pattern)) {
        if (!roles_guard_all(&store->roles, principal, pattern))
            return false;
        any = true;
    }
    return any;
}

bool store_guards(const struct store *store, struct slice principal, struct slice resource)
{
    return roles_guard_some(&store->roles, principal, resource);
}

bool store_session_get(const struct store *store, struct random_id id, struct session *session)
{
    uint32_t item = sessions_find(&store->sessions, &store->points, &id);
    if (item == 0)
        return false;
    session_read(&store->sessions, &store->points, item, store->strings.chunks, session);
    return true;
}
