/* What the cluster is to be told about sessions. See guard_sessions.h.
 *
 *   reports --sent--> reports_sent --a later ping is answered--> gone
 *      ^                   |
 *      '---- new stream ---'
 *
 * Reports have no answers of their own. A stream keeps its order, so the answer to a ping proves that the node has read
 * what was sent before it. What the node loses when it dies is told anew on the next stream: all sessions that are
 * open. */
#include <stdlib.h>

#include "base/check.h"
#include "client/guard_sessions.h"

#define FAILURE_KEPT_US 10000000

void session_reports_init(struct guard_sessions *sessions)
{
    STAILQ_INIT(&sessions->reports);
    STAILQ_INIT(&sessions->reports_sent);
    STAILQ_INIT(&sessions->failures);
    STAILQ_INIT(&sessions->failures_sent);
}

static void report_drop(struct guard_sessions *sessions, struct session_reports *list)
{
    struct session_report *report = STAILQ_FIRST(list);
    STAILQ_REMOVE_HEAD(list, entry);
    sessions->n_reports--;
    free(report);
}

static void failure_drop(struct guard_sessions *sessions, struct session_failures *list)
{
    struct session_failure *failure = STAILQ_FIRST(list);
    STAILQ_REMOVE_HEAD(list, entry);
    sessions->n_failures--;
    free(failure);
}

void session_reports_forget(struct guard_sessions *sessions)
{
    while (!STAILQ_EMPTY(&sessions->reports))
        report_drop(sessions, &sessions->reports);
    while (!STAILQ_EMPTY(&sessions->reports_sent))
        report_drop(sessions, &sessions->reports_sent);
    while (!STAILQ_EMPTY(&sessions->failures))
        failure_drop(sessions, &sessions->failures);
    while (!STAILQ_EMPTY(&sessions->failures_sent))
        failure_drop(sessions, &sessions->failures_sent);
    sessions->failed_revision = 0;
}

void session_reports_free(struct guard_sessions *sessions)
{
    session_reports_forget(sessions);
}

static void report_add(struct guard_sessions *sessions, const struct lapse_guard_session *session, bool ended)
{
    size_t size = ended ? 1 : strlen(session->description) + 1;
    struct session_report *report = mem_calloc(1, sizeof *report + size);
    report->ended = ended;
    memcpy(report->session, session->id, sizeof report->session);
    grant_id_format(session->group->grant, report->grant);
    if (!ended)
        memcpy(report->description, session->description, size);
    STAILQ_INSERT_TAIL(&sessions->reports, report, entry);
    sessions->n_reports++;
}

void session_report_begin(struct guard_sessions *sessions, const struct lapse_guard_session *session)
{
    report_add(sessions, session, false);
}

void session_report_end(struct guard_sessions *sessions, const struct lapse_guard_session *session)
{
    report_add(sessions, session, true);
}

/* One for each revision: the receipt has one reason. */
void session_report_failure(struct guard_sessions *sessions, uint64_t revision, const char *reason)
{
    if (sessions->failed_revision == revision)
        return;
    struct session_failure *failure = mem_calloc(1, sizeof *failure);
    size_t len = strnlen(reason, LIMIT_RECEIPT_REASON);
    while (len > 0 && !slice_is_text(slice_of(reason, len), false))
        len--; /* cut within a character, or not text at all */
    memcpy(failure->reason, reason, len);
    failure->revision = sessions->failed_revision = revision;
    STAILQ_INSERT_TAIL(&sessions->failures, failure, entry);
    sessions->n_failures++;
}

const struct session_report *session_reports_next(const struct guard_sessions *sessions)
{
    return STAILQ_FIRST(&sessions->reports);
}

void session_reports_sent(struct guard_sessions *sessions, uint64_t next_ping)
{
    struct session_report *report = STAILQ_FIRST(&sessions->reports);
    CHECK(report != NULL);
    STAILQ_REMOVE_HEAD(&sessions->reports, entry);
    report->ping = next_ping;
    STAILQ_INSERT_TAIL(&sessions->reports_sent, report, entry);
}

const struct session_failure *session_failures_next(const struct guard_sessions *sessions)
{
    return STAILQ_FIRST(&sessions->failures);
}

void session_failures_sent(struct guard_sessions *sessions, uint64_t next_ping, int64_t now_us)
{
    struct session_failure *failure = STAILQ_FIRST(&sessions->failures);
    CHECK(failure != NULL);
    STAILQ_REMOVE_HEAD(&sessions->failures, entry);
    failure->ping = next_ping;
    failure->said_us = now_us;
    STAILQ_INSERT_TAIL(&sessions->failures_sent, failure, entry);
}

/* A node that dies right after it has read a failure has not told the leader: it is kept, and said again, for a while.
 */
static bool is_known(const struct session_failure *failure, uint64_t ping, int64_t now_us)
{
    return failure->ping <= ping && now_us - failure->said_us >= FAILURE_KEPT_US;
}

void session_reports_confirm(struct guard_sessions *sessions, uint64_t ping, int64_t now_us)
{
    while (!STAILQ_EMPTY(&sessions->reports_sent) && STAILQ_FIRST(&sessions->reports_sent)->ping <= ping)
        report_drop(sessions, &sessions->reports_sent);
    while (!STAILQ_EMPTY(&sessions->failures_sent) && is_known(STAILQ_FIRST(&sessions->failures_sent), ping, now_us))
        failure_drop(sessions, &sessions->failures_sent);
}

/* That a session began is told from the sessions themselves; that it ended only the report knows. */
static void keep_ends(struct guard_sessions *sessions)
{
    struct session_reports all = STAILQ_HEAD_INITIALIZER(all);
    struct session_report *report;
    STAILQ_CONCAT(&all, &sessions->reports_sent);
    STAILQ_CONCAT(&all, &sessions->reports);
    while ((report = STAILQ_FIRST(&all)) != NULL)
        if (report->ended) {
            STAILQ_REMOVE_HEAD(&all, entry);
            STAILQ_INSERT_TAIL(&sessions->reports, report, entry);
        } else {
            report_drop(sessions, &all);
        }
}

void session_reports_again(struct guard_sessions *sessions)
{
    keep_ends(sessions);
    STAILQ_CONCAT(&sessions->failures_sent, &sessions->failures);
    STAILQ_CONCAT(&sessions->failures, &sessions->failures_sent);
    for (uint32_t i = 0; i < SESSION_BUCKETS; i++)
        for (struct session_group *group = sessions->buckets[i]; group != NULL; group = group->next) {
            struct lapse_guard_session *session;
            for (session = TAILQ_FIRST(&group->sessions); session != NULL; session = TAILQ_NEXT(session, in_group))
                session_report_begin(sessions, session);
        }
}
