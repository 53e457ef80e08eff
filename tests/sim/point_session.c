/* Uses of grants that go on when these have ended: quick to end, slow, or not to be ended at all. What is still being
 * ended holds back what the point confirms. */
#include <string.h>

#include "tests/sim/oracle_points.h"

/* The first revision at which a session is still being ended; what lies before it is enforced. */
uint64_t sessions_enforced_to(const struct sim_point *point)
{
    uint64_t to = point->state.received;
    for (uint32_t i = 0; i < point->n_sessions; i++) {
        const struct point_session *session = &point->sessions[i];
        if (session->ending && session->revision <= to) {
            to = session->revision - 1;
        }
    }
    return to;
}

void sessions_begin(struct sim_point *point, struct grant_id grant)
{
    const struct point_grant *known = cache_find(&point->cache, grant);
    if (known == NULL || point_locks_deny(&point->locks, known)) {
        return;
    }
    if (point->n_sessions < POINT_SESSIONS_MAX && sim_chance(point->sim, 300000)) {
        point->sessions[point->n_sessions++] = (struct point_session){.grant = grant};
    }
}

/* It needs a while, or can't be ended at all. */
static void end_session(struct sim_point *point, struct point_session *session, uint64_t revision)
{
    struct sim *sim = point->sim;
    session->ending = true;
    session->revision = session->last = revision;
    session->stuck = point->slow_sessions && sim_chance(sim, 300000);
    int64_t mean_us = point->slow_sessions ? SIM_SECOND : 5 * SIM_MILLISECOND;
    session->ends_at_us = sim->now_us + sim_around(sim, mean_us);
}

void sessions_end(struct sim_point *point, struct grant_id grant, uint64_t revision)
{
    for (uint32_t i = 0; i < point->n_sessions; i++) {
        struct point_session *session = &point->sessions[i];
        if (grant_id_compare(session->grant, grant) != 0) {
            continue;
        }
        session->by_lock = false; /* whatever it was before: now its grant is over */
        if (!session->ending) {
            end_session(point, session, revision);
        }
    }
}

void sessions_end_locked(struct sim_point *point, uint64_t revision, uint64_t last)
{
    for (uint32_t i = 0; i < point->n_sessions; i++) {
        struct point_session *session = &point->sessions[i];
        const struct point_grant *grant = cache_find(&point->cache, session->grant);
        if (session->ending || grant == NULL || !point_locks_deny(&point->locks, grant)) {
            continue;
        }
        end_session(point, session, revision);
        session->by_lock = true;
        session->last = last;
    }
}

static void drop_session(struct sim_point *point, uint32_t i)
{
    point->sessions[i] = point->sessions[--point->n_sessions];
}

void sessions_say_failures(struct sim_point *point, uint32_t from)
{
    for (uint32_t i = from; point->stage == POINT_STREAMING && i < point->n_failures; i++) {
        point_say(point, (struct point_message){.kind = MESSAGE_FAILURE, .revision = point->failures[i].revision});
    }
}

static void fail_session(struct sim_point *point, const struct point_session *session)
{
    if (point->n_failures == POINT_FAILURES_MAX) {
        memmove(point->failures, point->failures + 1, (POINT_FAILURES_MAX - 1) * sizeof(point->failures[0]));
        point->n_failures--;
    }
    point->failures[point->n_failures++] = (struct point_failure){session->grant, session->revision};
    points_model_failed(point->sim->points_oracle, point->instance, session);
    sessions_say_failures(point, point->n_failures - 1);
}

void sessions_tend(struct sim_point *point)
{
    for (uint32_t i = 0; i < point->n_sessions;) {
        struct point_session *session = &point->sessions[i];
        if (!session->ending || point->sim->now_us < session->ends_at_us) {
            i++;
            continue;
        }
        if (session->stuck) {
            fail_session(point, session);
        }
        drop_session(point, i);
    }
}

void sessions_end_missing(struct sim_point *point, uint64_t revision)
{
    for (uint32_t i = 0; i < point->n_sessions; i++) {
        if (cache_find(&point->cache, point->sessions[i].grant) == NULL) {
            sessions_end(point, point->sessions[i].grant, revision);
        }
    }
}
