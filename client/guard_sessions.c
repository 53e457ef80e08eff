/* Sessions, their groups, and how they end. See guard_sessions.h. */
#include "client/guard_sessions.h"

#include <openssl/rand.h>
#include <stdlib.h>

#include "base/check.h"

void guard_sessions_init(struct guard_sessions *sessions, bool awaited, int64_t end_us)
{
    memset(sessions, 0, sizeof *sessions);
    sessions->awaited = awaited;
    sessions->end_us = end_us;
    TAILQ_INIT(&sessions->calls);
    TAILQ_INIT(&sessions->ending);
    TAILQ_INIT(&sessions->holding);
    session_reports_init(sessions);
}

void guard_sessions_free(struct guard_sessions *sessions)
{
    for (uint32_t i = 0; i < SESSION_BUCKETS; i++)
        while (sessions->buckets[i] != NULL)
            guard_sessions_remove(sessions, TAILQ_FIRST(&sessions->buckets[i]->sessions), NULL);
    session_reports_free(sessions);
    free(sessions->heap);
}

/* ---- The heap of deadlines: the group at [i] is not after those at [2i] and [2i + 1] */

static void heap_put(struct guard_sessions *sessions, size_t place, struct session_group *group)
{
    sessions->heap[place] = group;
    group->place = place;
}

static void sift_up(struct guard_sessions *sessions, size_t place, struct session_group *group)
{
    for (; place > 1 && sessions->heap[place / 2]->deadline_ms > group->deadline_ms; place /= 2)
        heap_put(sessions, place, sessions->heap[place / 2]);
    heap_put(sessions, place, group);
}

static void sift_down(struct guard_sessions *sessions, size_t place, struct session_group *group)
{
    for (;;) {
        size_t child = place * 2;
        if (child > sessions->heap_n)
            break;
        if (child < sessions->heap_n && sessions->heap[child + 1]->deadline_ms < sessions->heap[child]->deadline_ms)
            child++;
        if (sessions->heap[child]->deadline_ms >= group->deadline_ms)
            break;
        heap_put(sessions, place, sessions->heap[child]);
        place = child;
    }
    heap_put(sessions, place, group);
}

static void heap_insert(struct guard_sessions *sessions, struct session_group *group)
{
    if (group->place != 0)
        return;
    if (sessions->heap_n + 1 >= sessions->heap_capacity) {
        sessions->heap_capacity = sessions->heap_capacity == 0 ? 64 : sessions->heap_capacity * 2;
        sessions->heap = mem_realloc(sessions->heap, sessions->heap_capacity * sizeof *sessions->heap);
    }
    sift_up(sessions, ++sessions->heap_n, group);
}

static void heap_remove(struct guard_sessions *sessions, struct session_group *group)
{
    size_t place = group->place;
    if (place == 0)
        return;
    struct session_group *last = sessions->heap[sessions->heap_n--];
    group->place = 0;
    if (last == group)
        return;
    if (place > 1 && sessions->heap[place / 2]->deadline_ms > last->deadline_ms)
        sift_up(sessions, place, last);
    else
        sift_down(sessions, place, last);
}

int64_t guard_sessions_deadline_ms(const struct guard_sessions *sessions)
{
    return sessions->heap_n == 0 ? INT64_MAX : sessions->heap[1]->deadline_ms;
}

/* ---- Groups */

static struct session_group **group_place(struct guard_sessions *sessions, struct grant_id grant)
{
    uint64_t tail; /* random, whoever made the id */
    memcpy(&tail, grant.bytes + 8, sizeof tail);
    struct session_group **place = &sessions->buckets[tail % SESSION_BUCKETS];
    while (*place != NULL && grant_id_compare((*place)->grant, grant) != 0)
        place = &(*place)->next;
    return place;
}

static struct session_group *group_of(struct guard_sessions *sessions, struct grant_id grant, int64_t deadline_ms)
{
    struct session_group **place = group_place(sessions, grant);
    if (*place == NULL) {
        *place = mem_calloc(1, sizeof **place);
        (*place)->grant = grant;
        (*place)->deadline_ms = deadline_ms;
        TAILQ_INIT(&(*place)->sessions);
    }
    return *place;
}

static void group_drop(struct guard_sessions *sessions, struct session_group *group)
{
    struct session_group **place = group_place(sessions, group->grant);
    CHECK(*place == group);
    heap_remove(sessions, group);
    *place = group->next;
    free(group);
}

/* ---- Ending */

static void stop_waiting_for(struct guard_sessions *sessions, struct lapse_guard_session *session)
{
    if (session->phase == SESSION_ENDING)
        TAILQ_REMOVE(&sessions->ending, session, in_ending);
    if (session->holds)
        TAILQ_REMOVE(&sessions->holding, session, in_holding);
    if (session->to_call)
        TAILQ_REMOVE(&sessions->calls, session, in_calls);
    session->holds = session->to_call = false;
}

static void begin_ending(struct guard_sessions *sessions, struct lapse_guard_session *session, const char *reason,
                         int64_t now_us)
{
    if (session->phase != SESSION_OPEN)
        return;
    session->reason = reason;
    session->ending_us = now_us;
    session->phase = SESSION_ENDING;
    TAILQ_INSERT_TAIL(&sessions->ending, session, in_ending);
    session->to_call = true;
    TAILQ_INSERT_TAIL(&sessions->calls, session, in_calls);
}

/* The cluster's word has come: what is still inside holds `enforced` back, or has failed already. A second word (the
 * grant is revoked after a lock has ended the session) is news only of one that has failed: it is still inside. */
static void take_revision(struct guard_sessions *sessions, struct lapse_guard_session *session, uint64_t revision)
{
    bool failed = session->phase == SESSION_FAILED;
    if (revision == 0 || (failed ? session->revision >= revision : session->revision != 0))
        return;
    session->revision = revision;
    if (failed) {
        session_report_failure(sessions, revision, "a session was not ended in time");
    } else {
        session->holds = true;
        TAILQ_INSERT_TAIL(&sessions->holding, session, in_holding);
    }
}

static void end_group(struct guard_sessions *sessions, struct session_group *group, const char *reason,
                      uint64_t revision, int64_t now_us)
{
    struct lapse_guard_session *session;
    heap_remove(sessions, group);
    if (!sessions->awaited)
        return;
    for (session = TAILQ_FIRST(&group->sessions); session != NULL; session = TAILQ_NEXT(session, in_group)) {
        begin_ending(sessions, session, reason, now_us);
        take_revision(sessions, session, revision);
    }
}

void guard_sessions_end_grant(struct guard_sessions *sessions, struct grant_id grant, const char *reason,
                              uint64_t revision, int64_t now_us)
{
    struct session_group *group = *group_place(sessions, grant);
    if (group != NULL)
        end_group(sessions, group, reason, revision, now_us);
}

void guard_sessions_end_those(struct guard_sessions *sessions, bool (*ends)(void *arg, struct grant_id grant),
                              void *arg, const char *reason, uint64_t revision, int64_t now_us)
{
    for (uint32_t i = 0; i < SESSION_BUCKETS; i++)
        for (struct session_group *group = sessions->buckets[i]; group != NULL; group = group->next)
            if (ends(arg, group->grant))
                end_group(sessions, group, reason, revision, now_us);
}

void guard_sessions_end_all(struct guard_sessions *sessions, const char *reason, int64_t now_us)
{
    while (sessions->heap_n > 0)
        end_group(sessions, sessions->heap[1], reason, 0, now_us);
}

void guard_sessions_end_due(struct guard_sessions *sessions, int64_t time_ms, int64_t now_us)
{
    while (sessions->heap_n > 0 && sessions->heap[1]->deadline_ms <= time_ms)
        end_group(sessions, sessions->heap[1], "EXPIRED", 0, now_us);
}

static void fail(struct guard_sessions *sessions, struct lapse_guard_session *session)
{
    stop_waiting_for(sessions, session);
    session->phase = SESSION_FAILED;
    if (session->revision != 0)
        session_report_failure(sessions, session->revision, "a session was not ended in time");
}

int64_t guard_sessions_look(struct guard_sessions *sessions, int64_t now_us)
{
    struct lapse_guard_session *session;
    while ((session = TAILQ_FIRST(&sessions->ending)) != NULL) {
        if (now_us < session->ending_us + sessions->end_us)
            return session->ending_us + sessions->end_us;
        fail(sessions, session);
    }
    return INT64_MAX;
}

uint64_t guard_sessions_enforced(const struct guard_sessions *sessions, uint64_t received)
{
    const struct lapse_guard_session *first = TAILQ_FIRST(&sessions->holding);
    return first == NULL || first->revision > received ? received : first->revision - 1;
}

struct lapse_guard_session *guard_sessions_take_call(struct guard_sessions *sessions)
{
    struct lapse_guard_session *session = TAILQ_FIRST(&sessions->calls);
    if (session != NULL) {
        TAILQ_REMOVE(&sessions->calls, session, in_calls);
        session->to_call = false;
    }
    return session;
}

/* ---- Beginning and leaving */

struct lapse_guard_session *guard_sessions_begin(struct guard_sessions *sessions, struct grant_id grant,
                                                 int64_t deadline_ms, const char *description, void *data)
{
    if (sessions->n >= LIMIT_SESSIONS_PER_POINT || sessions->n_reports >= LIMIT_SESSIONS_PER_POINT)
        return NULL;
    struct lapse_guard_session *session = mem_calloc(1, sizeof *session);
    CHECK(RAND_bytes(session->id, sizeof session->id) == 1);
    memcpy(session->description, description, strlen(description) + 1);
    session->data = data;
    session->group = group_of(sessions, grant, deadline_ms);
    TAILQ_INSERT_TAIL(&session->group->sessions, session, in_group);
    heap_insert(sessions, session->group);
    sessions->n++;
    session_report_begin(sessions, session);
    return session;
}

void guard_sessions_remove(struct guard_sessions *sessions, struct lapse_guard_session *session, const char *failure)
{
    struct session_group *group = session->group;
    if (failure != NULL && session->phase == SESSION_ENDING && session->revision != 0)
        session_report_failure(sessions, session->revision, failure);
    stop_waiting_for(sessions, session);
    session_report_end(sessions, session);
    TAILQ_REMOVE(&group->sessions, session, in_group);
    sessions->n--;
    if (TAILQ_EMPTY(&group->sessions))
        group_drop(sessions, group);
    free(session);
}
