#include "node/audit_internal.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"

/* --- lists -------------------------------------------------------------------------------------------------------- */

void audit_items_move(struct audit_items *to, struct audit_items *from)
{
    if (from->first == NULL)
        return;
    *to->last = from->first;
    to->last = from->last;
    audit_items_init(from);
}

void audit_items_free(struct audit_items *items)
{
    while (items->first != NULL) {
        struct audit_item *item = items->first;
        items->first = item->next;
        free(item);
    }
    items->last = &items->first;
}

static void inbox_init(struct audit_inbox *inbox)
{
    *inbox = (struct audit_inbox){.first = NULL};
    inbox->last = &inbox->first;
}

static bool inbox_put(struct audit_inbox *inbox, uint64_t from, struct slice frame)
{
    if (inbox->n >= LIMIT_AUDIT_FRAMES)
        return false; /* asked again, or told again */
    struct audit_inbox_frame *copy = mem_alloc(sizeof *copy + frame.len);
    *copy = (struct audit_inbox_frame){.from = from, .len = (uint32_t)frame.len};
    memcpy(copy->bytes, frame.data, frame.len);
    *inbox->last = copy;
    inbox->last = &copy->next;
    inbox->n++;
    return true;
}

struct audit_inbox_frame *audit_inbox_take(struct audit_inbox *inbox)
{
    struct audit_inbox_frame *frame = inbox->first;
    if (frame == NULL)
        return NULL;
    inbox->first = frame->next;
    if (inbox->first == NULL)
        inbox->last = &inbox->first;
    inbox->n--;
    return frame;
}

static void inbox_free(struct audit_inbox *inbox)
{
    for (struct audit_inbox_frame *frame = audit_inbox_take(inbox); frame != NULL; frame = audit_inbox_take(inbox))
        free(frame);
}

/* --- what the core tells ------------------------------------------------------------------------------------------ */

static void tell(struct audit *audit, const struct audit_place *place, struct slice event)
{
    struct audit_item *item = mem_alloc(sizeof *item + event.len);
    *item = (struct audit_item){.place = *place, .before = audit->last.head, .len = (uint32_t)event.len};
    if (event.len > 0)
        memcpy(item->event, event.data, event.len);
    *audit->telling.last = item;
    audit->telling.last = &item->next;
    atomic_fetch_add_explicit(&audit->queued_bytes, sizeof *item + event.len, memory_order_relaxed);
}

static bool is_full(const struct audit *audit)
{
    return atomic_load_explicit(&audit->queued_bytes, memory_order_relaxed) >= LIMIT_AUDIT_QUEUE_BYTES;
}

/* Half of the queue is empty again, so that a burst makes few gaps (LIMIT_AUDIT_GAPS): what was dropped lies
 * before the place where the chain stands. */
static void tell_of_dropped(struct audit *audit)
{
    if (!audit->dropped ||
        atomic_load_explicit(&audit->queued_bytes, memory_order_relaxed) >= LIMIT_AUDIT_QUEUE_BYTES / 2)
        return;
    audit->dropped = false;
    tell(audit, &audit->last, slice_of(NULL, 0));
}

void audit_event(struct audit *audit, const struct audit_place *place, struct slice event)
{
    CHECK(event.len > 0 && place->revision == audit->last.revision + 1);
    tell_of_dropped(audit);
    if (audit->dropped || is_full(audit))
        audit->dropped = true;
    else
        tell(audit, place, event);
    audit->last = *place;
}

void audit_replaced(struct audit *audit, const struct audit_place *place)
{
    audit->last = *place;
    audit->dropped = true;
}

/* Under the lock. */
static void hand_over(struct audit *audit)
{
    audit_items_move(&audit->queue, &audit->telling);
    bool enough = atomic_load_explicit(&audit->queued_bytes, memory_order_relaxed) >= AUDIT_GATHER_BYTES;
    if (audit->writer_sleeps == AUDIT_IDLE || (audit->writer_sleeps == AUDIT_GATHERING && enough))
        CHECK(pthread_cond_signal(&audit->work) == 0);
}

/* The writer may have been interrupted, for long, with the lock in its hand: then it is left for the next time, which
 * is soon. What it has written comes back to be freed here, since free() takes a lock that our malloc() needs. */
bool audit_flush(struct audit *audit)
{
    struct audit_items written;
    audit_items_init(&written);
    tell_of_dropped(audit);
    if (audit->telling.first == NULL && !atomic_load_explicit(&audit->gives_back, memory_order_relaxed))
        return true;
    if (pthread_mutex_trylock(&audit->lock) != 0)
        return false;
    hand_over(audit);
    audit_items_move(&written, &audit->written);
    atomic_store_explicit(&audit->gives_back, false, memory_order_relaxed);
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
    audit_items_free(&written);
    return true;
}

bool audit_is_durable(struct audit *audit, uint64_t revision)
{
    if (atomic_load(&audit->durable) >= revision)
        return true;
    if (atomic_load(&audit->durable_wanted) < revision) {
        atomic_store(&audit->durable_wanted, revision);
        CHECK(pthread_mutex_lock(&audit->lock) == 0);
        CHECK(pthread_cond_signal(&audit->work) == 0);
        CHECK(pthread_mutex_unlock(&audit->lock) == 0);
    }
    return false;
}

void audit_set_time(struct audit *audit, int64_t time_ms)
{
    atomic_store_explicit(&audit->time_ms, time_ms, memory_order_relaxed);
}

void audit_set_peers(struct audit *audit, const uint64_t *ids, uint32_t n)
{
    CHECK(n <= LIMIT_PEERS);
    CHECK(pthread_mutex_lock(&audit->lock) == 0);
    memcpy(audit->peers, ids, n * sizeof *ids);
    audit->n_peers = n;
    CHECK(pthread_cond_signal(&audit->work) == 0);
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
}

/* The reader answers questions for records, the writer takes the rest: one look at the kind is enough here, the frame
 * is decoded where it is used. */
void audit_receive(struct audit *audit, uint64_t from, struct slice frame)
{
    struct audit_frame decoded;
    if (!lapse_is_ok(audit_frame_decode(frame, &decoded, NULL)))
        return;
    bool is_question = decoded.kind == AUDIT_RANGE;
    CHECK(pthread_mutex_lock(&audit->lock) == 0);
    if (inbox_put(is_question ? &audit->for_reader : &audit->for_writer, from, frame))
        CHECK(pthread_cond_broadcast(is_question ? &audit->asked : &audit->work) == 0);
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
}

/* --- any thread --------------------------------------------------------------------------------------------------- */

void audit_get_status(const struct audit *audit, struct audit_status *status)
{
    *status = (struct audit_status){.revision = atomic_load_explicit(&audit->whole, memory_order_relaxed),
                                    .newest = atomic_load_explicit(&audit->newest, memory_order_relaxed),
                                    .gaps_total = atomic_load_explicit(&audit->gaps_total, memory_order_relaxed),
                                    .corrupt = atomic_load_explicit(&audit->corrupt, memory_order_relaxed),
                                    .full = atomic_load_explicit(&audit->full, memory_order_relaxed)};
}

uint32_t audit_pressure(const struct audit *audit)
{
    uint64_t queued = atomic_load_explicit(&audit->queued_bytes, memory_order_relaxed);
    if (atomic_load_explicit(&audit->stuck, memory_order_relaxed))
        return 0;
    return queued < LIMIT_AUDIT_QUEUE_BYTES ? (uint32_t)(queued * 100 / LIMIT_AUDIT_QUEUE_BYTES) : 100;
}

struct blob *audit_head(struct audit *audit)
{
    CHECK(pthread_mutex_lock(&audit->lock) == 0);
    struct blob *head = audit->head == NULL ? NULL : blob_ref(audit->head);
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
    return head;
}

uint64_t audit_head_revision(const struct audit *audit)
{
    return atomic_load_explicit(&audit->head_revision, memory_order_acquire);
}

void audit_job_init(struct audit_job *job, enum audit_op op)
{
    *job = (struct audit_job){.op = op};
    buf_init(&job->response, LIMIT_MESSAGE_OUT);
}

void audit_job_clear(struct audit_job *job)
{
    buf_free(&job->response);
    free(job->found);
    job->found = NULL;
}

bool audit_ask(struct audit *audit, struct audit_job *job)
{
    CHECK(pthread_mutex_lock(&audit->lock) == 0);
    bool taken = !audit->closing && audit->n_jobs < LIMIT_AUDIT_JOBS;
    if (taken) {
        job->next = NULL;
        *audit->jobs_last = job;
        audit->jobs_last = &job->next;
        audit->n_jobs++;
        CHECK(pthread_cond_broadcast(&audit->asked) == 0);
        if (audit->writer_sleeps == AUDIT_GATHERING)
            CHECK(pthread_cond_signal(&audit->work) == 0);
    }
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
    return taken;
}

void audit_abandon(struct audit *audit, struct audit_job *job)
{
    CHECK(pthread_mutex_lock(&audit->lock) == 0);
    atomic_store(&job->abandoned, true);
    CHECK(pthread_cond_broadcast(&audit->asked) == 0);
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void init_shared(struct audit *audit)
{
    CHECK(pthread_mutex_init(&audit->lock, NULL) == 0);
    CHECK(pthread_mutex_init(&audit->file, NULL) == 0);
    clock_condition_init(&audit->work);
    clock_condition_init(&audit->asked);
    audit_items_init(&audit->telling);
    audit_items_init(&audit->queue);
    audit_items_init(&audit->written);
    audit_items_init(&audit->writer.batch);
    inbox_init(&audit->for_writer);
    inbox_init(&audit->for_reader);
    audit->jobs_last = &audit->jobs;
}

lapse_result audit_open(const struct audit_options *options, const struct audit_handler *handler, void *arg,
                        struct audit **out, struct lapse_error *error)
{
    struct audit *audit = mem_calloc(1, sizeof *audit);
    struct audit_key *key = NULL;
    lapse_result result = audit_key_open(options->dir, &key, error);
    if (!lapse_is_ok(result)) {
        free(audit);
        return result;
    }
    audit->key = key;
    audit->node_id = options->node_id;
    audit->reserve_bytes = options->reserve_bytes;
    audit->gather_us = options->gather_us != 0 ? options->gather_us : AUDIT_GATHER_US;
    audit->handler = *handler;
    audit->handler_arg = arg;
    CHECK(slice_to_cstr(slice_str(options->dir), audit->dir, sizeof audit->dir));
    CHECK(slice_to_cstr(slice_str(options->cluster), audit->cluster, sizeof audit->cluster));
    init_shared(audit);
    audit_replaced(audit, &options->start);
    (void)audit_flush(audit);
    CHECK(pthread_create(&audit->write_thread, NULL, audit_write_main, audit) == 0);
    CHECK(pthread_create(&audit->read_thread, NULL, audit_read_main, audit) == 0);
    *out = audit;
    return lapse_ok();
}

void audit_close(struct audit *audit)
{
    if (audit == NULL)
        return;
    tell_of_dropped(audit);
    CHECK(pthread_mutex_lock(&audit->lock) == 0);
    hand_over(audit);
    audit->closing = true;
    CHECK(pthread_cond_broadcast(&audit->work) == 0);
    CHECK(pthread_cond_broadcast(&audit->asked) == 0);
    CHECK(pthread_mutex_unlock(&audit->lock) == 0);
    CHECK(pthread_join(audit->write_thread, NULL) == 0);
    CHECK(pthread_join(audit->read_thread, NULL) == 0);
    audit_items_free(&audit->telling);
    audit_items_free(&audit->queue);
    audit_items_free(&audit->written);
    audit_items_free(&audit->writer.batch);
    inbox_free(&audit->for_writer);
    inbox_free(&audit->for_reader);
    blob_unref(audit->head);
    audit_key_free(audit->key);
    CHECK(pthread_mutex_destroy(&audit->lock) == 0 && pthread_mutex_destroy(&audit->file) == 0);
    CHECK(pthread_cond_destroy(&audit->work) == 0 && pthread_cond_destroy(&audit->asked) == 0);
    free(audit);
}
