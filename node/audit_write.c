/* The writer thread: takes what the core has told, in batches, and does the audit's other work in between.
 *
 *   wait --> take --> [open] --> write a batch --> frames of peers --> verify a bit --> fetch --> sign --> look at the
 * disk --+ ^ |
 *    +--------------------------------------------------------------------------------------------------------------------+
 *
 * What a failed transaction was about stays in `batch` and is tried again; meanwhile the queue fills up, and what it
 * has no room for is a gap. */
#include "node/audit_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#define IDLE_MS 100u
#define RETRY_US (1000ll * 1000)
#define SPACE_US (1000ll * 1000)

/* --- the reserve -------------------------------------------------------------------------------------------------- */

static void reserve_path(const struct audit *audit, char path[AUDIT_DB_PATH_SIZE])
{
    (void)snprintf(path, AUDIT_DB_PATH_SIZE, "%s/audit.reserve", audit->dir);
}

static bool make_reserve(const struct audit *audit)
{
    char path[AUDIT_DB_PATH_SIZE];
    reserve_path(audit, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool made = posix_fallocate(fd, 0, (off_t)audit->reserve_bytes) == 0;
    (void)close(fd);
    if (!made)
        (void)unlink(path);
    return made;
}

static void set_full(struct audit *audit, bool full)
{
    if (atomic_exchange(&audit->full, full) == full)
        return;
    if (full)
        log_error("the audit database's disk is full: what makes new access is refused until there is room",
                  LOG_STR("directory", audit->dir));
    else
        log_info("the audit database's disk has room again", LOG_STR("directory", audit->dir));
}

static bool has_reserve(const struct audit *audit)
{
    char path[AUDIT_DB_PATH_SIZE];
    struct stat file;
    reserve_path(audit, path);
    return stat(path, &file) == 0 && (uint64_t)file.st_size == audit->reserve_bytes;
}

/* False: there was none any more. */
static bool give_reserve_up(struct audit *audit)
{
    char path[AUDIT_DB_PATH_SIZE];
    bool was_there = audit->writer.reserve_there;
    reserve_path(audit, path);
    (void)unlink(path);
    audit->writer.reserve_there = false;
    set_full(audit, true);
    return was_there;
}

static uint64_t free_bytes(const struct audit *audit)
{
    struct statvfs space;
    return statvfs(audit->dir, &space) == 0 ? (uint64_t)space.f_bavail * space.f_frsize : 0;
}

/* Given up when free space falls below it; made again when there would be twice as much left. */
static void look_at_space(struct audit *audit, int64_t now_us)
{
    struct audit_writer *writer = &audit->writer;
    if (audit->reserve_bytes == 0 || now_us < writer->space_us)
        return;
    writer->space_us = now_us + SPACE_US;
    uint64_t room = free_bytes(audit);
    if (writer->reserve_there && room < audit->reserve_bytes)
        (void)give_reserve_up(audit);
    else if (!writer->reserve_there && room >= 3 * audit->reserve_bytes)
        writer->reserve_there = make_reserve(audit);
    else if (!writer->reserve_there)
        set_full(audit, true);
    if (writer->reserve_there)
        set_full(audit, false);
}

/* --- failures ----------------------------------------------------------------------------------------------------- */

static void close_reader(struct audit *audit)
{
    atomic_store(&audit->reader_stops, true);
    CHECK(pthread_mutex_lock(&audit->file) == 0);
    audit_db_close(audit->reading);
    audit->reading = NULL;
}

static void let_reader_go_on(struct audit *audit)
{
    atomic_store(&audit->reader_stops, false);
    CHECK(pthread_mutex_unlock(&audit->file) == 0);
}

void audit_publish(struct audit *audit)
{
    const struct audit_book *book = &audit->writer.book;
    struct audit_book shown = *book;
    /* What lies behind, from an earlier life, is shown and signed when the log has said it again. */
    if (shown.newest > audit->writer.told.revision)
        shown.newest = audit->writer.told.revision;
    while (shown.n_gaps > 0 && shown.gaps[shown.n_gaps - 1].first > shown.newest)
        shown.n_gaps--;
    CHECK(pthread_mutex_lock(&audit->lock) == 0);
    audit->published = shown;
    CHECK(pthread_cond_broadcast(&audit->asked) == 0);
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
    atomic_store(&audit->whole, audit_book_whole(book));
    atomic_store(&audit->newest, book->newest);
}

void audit_set_aside(struct audit *audit, const struct lapse_error *why)
{
    struct audit_writer *writer = &audit->writer;
    struct lapse_error error;
    int64_t stamp = clock_wall_ms();
    log_error("the audit database does not verify: it is put aside and fetched anew from other nodes",
              LOG_STR("error", why->message), LOG_I64("aside", stamp), LOG_STR("directory", audit->dir));
    close_reader(audit);
    audit_db_close(writer->db);
    writer->db = NULL;
    if (!lapse_is_ok(audit_db_set_aside(audit->dir, stamp, &error)))
        log_error("audit", LOG_STR("error", error.message));
    let_reader_go_on(audit);
    writer->book = (struct audit_book){.newest = 0};
    writer->fetch = (struct audit_fetch){.sequence = 0};
    writer->heads.signed_until = 0;
    atomic_store(&audit->durable, 0);
    audit_publish(audit);
    atomic_fetch_add(&audit->corrupt, 1);
}

static void complain(struct audit *audit, const struct lapse_error *why)
{
    audit->writer.retry_us = clock_boot_us() + RETRY_US;
    atomic_store(&audit->stuck, true);
    if (audit->writer.complained)
        return;
    audit->writer.complained = true;
    log_error("the audit database can't be written; what happens waits for it", LOG_STR("error", why->message));
}

void audit_write_failed(struct audit *audit, const struct lapse_error *why)
{
    struct audit_writer *writer = &audit->writer;
    audit_db_rollback(writer->db);
    if (why->code == LAPSE_DATA_LOSS) {
        audit_set_aside(audit, why);
    } else if (why->code == LAPSE_RESOURCE_EXHAUSTED) {
        if (!give_reserve_up(audit))
            complain(audit, why);
    } else {
        complain(audit, why);
    }
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* Where the core stood when the file was lost: everything before is to be fetched. */
static void tell_again(struct audit *audit)
{
    struct audit_writer *writer = &audit->writer;
    struct audit_item *item = mem_calloc(1, sizeof *item);
    atomic_fetch_add_explicit(&audit->queued_bytes, sizeof *item, memory_order_relaxed);
    item->place = writer->told;
    item->next = writer->batch.first;
    if (writer->batch.first == NULL)
        writer->batch.last = &item->next;
    writer->batch.first = item;
}

static void open_database(struct audit *audit, int64_t now_us)
{
    struct audit_writer *writer = &audit->writer;
    struct lapse_error error;
    if (writer->db != NULL || now_us < writer->retry_us)
        return;
    lapse_result result = audit_db_open(audit->dir, AUDIT_DB_WRITE, &writer->db, &error);
    if (lapse_is_ok(result))
        result = audit_book_load(writer->db, &writer->book, &error);
    if (lapse_is_ok(result)) {
        audit_verify_begin(&writer->verify, writer->book.newest);
        if (writer->told.revision > 0)
            tell_again(audit);
    } else if (result.code == LAPSE_DATA_LOSS) {
        audit_set_aside(audit, &error);
    } else {
        audit_db_close(writer->db);
        writer->db = NULL;
        if (result.code != LAPSE_RESOURCE_EXHAUSTED || !give_reserve_up(audit))
            complain(audit, &error);
    }
}

/* --- batches ------------------------------------------------------------------------------------------------------ */

static bool wants_durable(const struct audit *audit)
{
    uint64_t wanted = atomic_load(&audit->durable_wanted);
    return wanted > atomic_load(&audit->durable) && audit->writer.told.revision >= wanted;
}

static void give_back(struct audit *audit, struct audit_items *written)
{
    CHECK(pthread_mutex_lock(&audit->lock) == 0);
    audit_items_move(&audit->written, written);
    atomic_store_explicit(&audit->gives_back, true, memory_order_relaxed);
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
}

/* Items up to `end` are in the database. */
static void drop_items(struct audit *audit, const struct audit_item *end)
{
    struct audit_items *batch = &audit->writer.batch, written;
    uint64_t bytes = 0;
    audit_items_init(&written);
    while (batch->first != end) {
        struct audit_item *item = batch->first;
        batch->first = item->next;
        item->next = NULL;
        *written.last = item;
        written.last = &item->next;
        bytes += sizeof *item + item->len;
        if (item->place.revision >= audit->writer.told.revision)
            audit->writer.told = item->place;
    }
    if (batch->first == NULL)
        batch->last = &batch->first;
    atomic_fetch_sub_explicit(&audit->queued_bytes, bytes, memory_order_relaxed);
    give_back(audit, &written);
}

/* Into one transaction: `*end` is the first item that is not in it. */
static lapse_result write_items(struct audit *audit, struct audit_book *book, bool durable, struct audit_item **end,
                                struct lapse_error *error)
{
    struct audit_writer *writer = &audit->writer;
    struct audit_item *item = writer->batch.first;
    lapse_result result = audit_db_begin(writer->db, error);
    for (uint32_t n = 0; n < LIMIT_AUDIT_BATCH && item != NULL && lapse_is_ok(result); n++, item = item->next)
        result = audit_book_take(book, writer->db, item, error);
    if (lapse_is_ok(result))
        result = audit_db_commit(writer->db, durable, error);
    *end = item;
    return result;
}

static void note_success(struct audit *audit, const struct audit_book *book)
{
    struct audit_writer *writer = &audit->writer;
    if (book->n_gaps > writer->book.n_gaps)
        atomic_fetch_add(&audit->gaps_total, 1);
    writer->book = *book;
    writer->complained = false;
    atomic_store(&audit->stuck, false);
    audit_publish(audit);
}

static void write_batch(struct audit *audit, int64_t now_us)
{
    struct audit_writer *writer = &audit->writer;
    struct audit_book book = writer->book;
    struct audit_item *end = NULL;
    struct lapse_error error;
    bool durable = wants_durable(audit);
    if (writer->db == NULL || now_us < writer->retry_us || (writer->batch.first == NULL && !durable))
        return;
    if (!lapse_is_ok(write_items(audit, &book, durable, &end, &error))) {
        audit_write_failed(audit, &error);
        return;
    }
    drop_items(audit, end);
    note_success(audit, &book);
    writer->gather_us = now_us + audit->gather_us;
    if (durable)
        atomic_store(&audit->durable, writer->told.revision);
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static void take_frame(struct audit *audit, struct audit_inbox_frame *inbox, int64_t now_us)
{
    struct audit_frame frame;
    if (lapse_is_ok(audit_frame_decode(slice_of(inbox->bytes, inbox->len), &frame, NULL))) {
        if (frame.kind == AUDIT_RECORDS)
            audit_fetch_answer(audit, inbox->from, &frame, now_us);
        else
            audit_heads_told(audit, inbox->from, frame.signed_head);
    }
    free(inbox);
}

/* Under the lock: the reader has a question about what is not written yet, or the log waits to be dropped. */
static bool somebody_waits(const struct audit *audit)
{
    if (atomic_load(&audit->durable_wanted) > atomic_load(&audit->durable))
        return true;
    for (const struct audit_job *job = audit->jobs; job != NULL; job = job->next)
        if (job->upto > audit->published.newest)
            return true;
    return false;
}

/* Under the lock. */
static bool is_gathering(const struct audit *audit, int64_t now_us)
{
    return now_us < audit->writer.gather_us && !audit->closing && !somebody_waits(audit) &&
           atomic_load_explicit(&audit->queued_bytes, memory_order_relaxed) < AUDIT_GATHER_BYTES;
}

/* Whether there is nothing to do at once. Under the lock. */
static bool is_idle(const struct audit *audit, bool gathering)
{
    const struct audit_writer *writer = &audit->writer;
    bool broken = writer->db == NULL || writer->retry_us > clock_boot_us();
    if (audit->for_writer.n > 0)
        return false;
    return broken || ((gathering || audit->queue.first == NULL) && writer->batch.first == NULL &&
                      !wants_durable(audit) && audit_verify_is_over(&writer->verify));
}

/* Until woken, or until something may have fallen due. Under the lock. */
static void sleep_a_while(struct audit *audit, bool gathering)
{
    int64_t left_ms = gathering ? (audit->writer.gather_us - clock_boot_us()) / 1000 + 1 : IDLE_MS;
    left_ms = left_ms < 1 ? 1 : left_ms > IDLE_MS ? IDLE_MS : left_ms;
    struct timespec until = clock_moment_after((uint32_t)left_ms);
    audit->writer_sleeps = gathering ? AUDIT_GATHERING : AUDIT_IDLE;
    int status = pthread_cond_timedwait(&audit->work, &audit->lock, &until);
    CHECK(status == 0 || status == ETIMEDOUT);
    audit->writer_sleeps = AUDIT_AWAKE;
}

/* False at the end: everything is written, or can't be. */
static bool take(struct audit *audit, struct audit_inbox_frame **frame)
{
    struct audit_writer *writer = &audit->writer;
    CHECK(pthread_mutex_lock(&audit->lock) == 0);
    bool gathering = is_gathering(audit, clock_boot_us());
    if (is_idle(audit, gathering) && !audit->closing)
        sleep_a_while(audit, gathering);
    if (writer->batch.first == NULL && !is_gathering(audit, clock_boot_us()))
        audit_items_move(&writer->batch, &audit->queue);
    *frame = audit_inbox_take(&audit->for_writer);
    memcpy(writer->peers, audit->peers, sizeof writer->peers);
    writer->n_peers = audit->n_peers;
    bool over = audit->closing && ((writer->batch.first == NULL && audit->queue.first == NULL) || writer->db == NULL ||
                                   writer->retry_us > clock_boot_us());
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
    return !over;
}

static void verify_a_bit(struct audit *audit)
{
    struct lapse_error error;
    if (audit->writer.db == NULL || audit_verify_is_over(&audit->writer.verify))
        return;
    if (!lapse_is_ok(audit_verify_step(audit, &error)))
        audit_write_failed(audit, &error);
}

void *audit_write_main(void *arg)
{
    struct audit *audit = arg;
    struct audit_inbox_frame *frame = NULL;
    thread_give_way();
    audit->writer.reserve_there = has_reserve(audit);
    while (take(audit, &frame)) {
        int64_t now_us = clock_boot_us();
        open_database(audit, now_us);
        write_batch(audit, now_us);
        if (frame != NULL)
            take_frame(audit, frame, now_us);
        verify_a_bit(audit);
        audit_fetch_step(audit, now_us);
        audit_heads_step(audit, now_us);
        look_at_space(audit, now_us);
    }
    free(frame);
    audit_db_close(audit->writer.db);
    audit->writer.db = NULL;
    return NULL;
}
