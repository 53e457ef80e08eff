/* What happens to enforcement points, each alone; nodes have their own chaos. */
#include "base/check.h"
#include "tests/sim/point.h"

static int64_t draw_length(struct sim *sim)
{
    return sim_around(sim, sim->profile->fault_length_us);
}

static void undo_pause(void *arg, uint64_t tag)
{
    (void)tag;
    point_resume(arg);
}

static void undo_crash(void *arg, uint64_t tag)
{
    struct sim_point *point = arg;
    if (!point->up && point->incarnation == tag && !point->sim->healed) {
        point_start(point);
    }
}

static void undo_slow(void *arg, uint64_t tag)
{
    (void)tag;
    struct sim_point *point = arg;
    point->slow_sessions = false;
}

static void undo_cut(void *arg, uint64_t tag)
{
    struct sim_point *point = arg;
    if (point->link != NULL && point->attempt == tag) {
        link_mend(point->link);
    }
}

/* Sometimes for longer than any lease. */
static void pause(struct sim_point *point)
{
    struct sim *sim = point->sim;
    int64_t length_us = draw_length(sim);
    if (sim_chance(sim, 300000)) {
        length_us += 2 * sim->profile->point_lease_ms * SIM_MILLISECOND;
    }
    point_pause(point);
    sim_after(sim, length_us, undo_pause, point, 0);
}

static void end(struct sim_point *point, bool goodbye)
{
    struct sim *sim = point->sim;
    if (goodbye) {
        point_goodbye(point);
    } else {
        point_crash(point, sim_chance(sim, 500000));
    }
    sim_after(sim, draw_length(sim), undo_crash, point, point->incarnation);
}

/* Both ways, one way, or half-open; held back and delivered late, or lost. */
static void cut(struct sim_point *point)
{
    struct sim *sim = point->sim;
    if (point->link == NULL) {
        return;
    }
    bool hold = sim_chance(sim, 500000);
    uint64_t which = sim_below(sim, 3);
    if (which != 0) {
        link_cut(point->link, SIDE_POINT, hold);
    }
    if (which != 1) {
        link_cut(point->link, SIDE_NODE, hold);
    }
    sim_after(sim, draw_length(sim), undo_cut, point, point->attempt);
}

static void slow_sessions(struct sim_point *point)
{
    point->slow_sessions = true;
    sim_after(point->sim, draw_length(point->sim), undo_slow, point, 0);
}

/* The process that is there already under that name goes on for a while: the newer one fences it. */
static void start_twin(struct sim_points *points)
{
    struct sim_point *first = point_at(points, 0);
    struct sim_point *twin = point_at(points, sim_points_count(points) - 1);
    if (twin != first && strcmp(twin->id, first->id) == 0) {
        struct sim_point *other = twin->up ? first : twin;
        if (!other->up) {
            point_start(other);
        } else if (other->state.fenced) {
            point_crash(other, true);
            point_start(other);
        }
    }
}

void sim_points_strike(struct sim_points *points, enum fault fault)
{
    uint32_t n = sim_points_count(points);
    if (n == 0) {
        return;
    }
    struct sim_point *point = point_at(points, (uint32_t)sim_below(point_at(points, 0)->sim, n));
    switch (fault) {
    case FAULT_POINT_PAUSE:
        pause(point);
        break;
    case FAULT_POINT_CRASH:
        end(point, false);
        break;
    case FAULT_POINT_GOODBYE:
        end(point, true);
        break;
    case FAULT_POINT_CUT:
        cut(point);
        break;
    case FAULT_POINT_MOVE:
        point_move(point, sim_chance(point->sim, 300000));
        break;
    case FAULT_POINT_SLOW:
        slow_sessions(point);
        break;
    default:
        start_twin(points);
    }
}
