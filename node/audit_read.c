/* The reader thread: questions of clients and ranges for other nodes, on a connection of its own.
 *
 * A question is answered when the database has what it is about: until then it stays in line, and others pass it. */
#include "node/audit_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"

/* How often deadlines are looked at. */
#define LOOK_MS 50u

/* --- the line ----------------------------------------------------------------------------------------------------- */

static bool is_over(const struct audit *audit, const struct audit_job *job, int64_t now_us)
{
    return audit->closing || atomic_load(&job->abandoned) || now_us >= job->deadline_us;
}

static bool is_new_head(const struct audit *audit, const struct audit_job *job)
{
    uint64_t head = audit_head_revision(audit);
    return head != job->head_seen && head < job->cursor;
}

/* Under the lock. */
static bool is_runnable(const struct audit *audit, const struct audit_job *job, int64_t now_us)
{
    const struct audit_book *book = &audit->published;
    if (is_over(audit, job, now_us))
        return true;
    if (job->op == AUDIT_HEAD)
        return audit_book_whole(book) > 0 && book->newest >= job->upto && audit->head != NULL;
    if (job->op == AUDIT_TAIL)
        return (book->newest >= job->cursor || is_new_head(audit, job)) && book->newest >= job->upto;
    return book->newest >= job->upto && book->newest > 0;
}

static struct audit_job *take_job(struct audit *audit, int64_t now_us)
{
    for (struct audit_job **at = &audit->jobs; *at != NULL; at = &(*at)->next) {
        struct audit_job *job = *at;
        if (!is_runnable(audit, job, now_us))
            continue;
        *at = job->next;
        if (job->next == NULL)
            audit->jobs_last = at;
        audit->n_jobs--;
        return job;
    }
    return NULL;
}

struct turn {
    struct audit_inbox_frame *frame;
    struct audit_job *job;
    struct audit_book book;
};

/* False at the end. */
static bool wait_turn(struct audit *audit, struct turn *turn)
{
    CHECK(pthread_mutex_lock(&audit->lock) == 0);
    for (;;) {
        turn->frame = audit->closing ? NULL : audit_inbox_take(&audit->for_reader);
        turn->job = take_job(audit, clock_boot_us());
        if (turn->frame != NULL || turn->job != NULL || audit->closing)
            break;
        struct timespec until = clock_moment_after(LOOK_MS);
        int status = audit->jobs == NULL ? pthread_cond_wait(&audit->asked, &audit->lock)
                                         : pthread_cond_timedwait(&audit->asked, &audit->lock, &until);
        CHECK(status == 0 || status == ETIMEDOUT);
    }
    turn->book = audit->published;
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
    return turn->frame != NULL || turn->job != NULL;
}

/* --- answering ---------------------------------------------------------------------------------------------------- */

static lapse_result run(struct audit *audit, struct audit_db *db, const struct audit_book *book, struct audit_job *job)
{
    switch (job->op) {
    case AUDIT_QUERY:
        return audit_query_run(db, book, job);
    case AUDIT_TAIL:
        return audit_tail_run(audit, db, book, job);
    case AUDIT_EVIDENCE:
        return audit_evidence_run(audit, db, book, job);
    case AUDIT_HEAD:
        return audit_head_run(audit, db, book, job);
    case AUDIT_CHECK:
        return audit_check_run(audit, db, book, job);
    }
    CHECK(!"an audit job of a known kind");
    return lapse_failed(LAPSE_INTERNAL);
}

/* The error that a client sees says what to do. */
static lapse_result translate(lapse_result result, struct lapse_error *error)
{
    if (result.code == LAPSE_DEADLINE_EXCEEDED)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED,
                          "this takes the audit database too long: ask for a shorter time, or by grant or subject");
    if (result.code == LAPSE_DATA_LOSS || (result.code == LAPSE_RESOURCE_EXHAUSTED && error->message[0] == '\0'))
        return lapse_fail(error, LAPSE_UNAVAILABLE, "this node's audit database can't be read now: ask another node");
    return result;
}

static lapse_result with_database(struct audit *audit, const struct turn *turn, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    CHECK(pthread_mutex_lock(&audit->file) == 0);
    if (audit->reading == NULL)
        result = audit_db_open(audit->dir, AUDIT_DB_READ, &audit->reading, error);
    if (lapse_is_ok(result)) {
        audit_db_limit(audit->reading, clock_boot_us() + LIMIT_AUDIT_STATEMENT_MS * 1000, &audit->reader_stops);
        if (turn->job != NULL) {
            result = run(audit, audit->reading, &turn->book, turn->job);
        } else {
            struct audit_frame frame;
            CHECK(lapse_is_ok(audit_frame_decode(slice_of(turn->frame->bytes, turn->frame->len), &frame, NULL)));
            audit_serve_range(audit, audit->reading, turn->frame->from, &frame);
        }
    } else if (turn->job != NULL) {
        (void)lapse_fail(error, LAPSE_UNAVAILABLE, "this node's audit database can't be opened now: ask another node");
        result = lapse_failed(LAPSE_UNAVAILABLE);
    }
    CHECK(pthread_mutex_unlock(&audit->file) == 0);
    return result;
}

static lapse_result answer_late(const struct audit *audit, struct audit_job *job)
{
    if (atomic_load(&job->abandoned))
        return lapse_fail(&job->error, LAPSE_CANCELLED, "nobody waits for it");
    if (audit->closing)
        return lapse_fail(&job->error, LAPSE_UNAVAILABLE, "this node is stopping: ask another one");
    return lapse_fail(&job->error, LAPSE_UNAVAILABLE,
                      "this node's audit database is behind (it has everything up to revision %llu): ask another node",
                      (unsigned long long)atomic_load(&audit->whole));
}

static void answer(struct audit *audit, const struct turn *turn)
{
    struct audit_job *job = turn->job;
    lapse_result result;
    job->error = (struct lapse_error){.code = LAPSE_OK};
    if (job->op == AUDIT_CHECK && !audit->closing && !atomic_load(&job->abandoned))
        result = with_database(audit, turn, &job->error); /* being behind is an answer, too */
    else if (is_over(audit, job, clock_boot_us()))
        result = answer_late(audit, job);
    else
        result = with_database(audit, turn, &job->error);
    result = lapse_is_ok(result) ? result : translate(result, &job->error);
    job->error.code = result.code;
    mailbox_answer(job->reply_to, &job->mail);
}

void *audit_read_main(void *arg)
{
    struct audit *audit = arg;
    struct turn turn;
    while (wait_turn(audit, &turn)) {
        if (turn.frame != NULL) {
            const struct turn serve = {.frame = turn.frame, .book = turn.book};
            struct lapse_error error;
            (void)with_database(audit, &serve, &error).code;
            free(turn.frame);
        }
        if (turn.job != NULL)
            answer(audit, &turn);
    }
    audit_db_close(audit->reading);
    audit->reading = NULL;
    return NULL;
}
