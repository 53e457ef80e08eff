#include "node/ring.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "store/lock.h"

struct ring {
    pthread_mutex_t lock; /* guards all below; held for pointer work only */
    struct ring_event **events;
    uint32_t capacity;
    size_t bytes_max;
    size_t bytes;
    uint64_t epoch;
    uint64_t base; /* the revision before the oldest event held */
    uint64_t newest;
};

static struct slice keep_text(uint8_t **at, struct slice text)
{
    if (text.len > 0)
        memcpy(*at, text.data, text.len);
    struct slice kept = slice_of(*at, text.len);
    *at += text.len;
    return kept;
}

static bool is_about_lock(const struct object *object)
{
    struct lock lock;
    return object != NULL && object->kind == OBJECT_LOCK &&
           (!lapse_is_ok(lock_decode(object->value, &lock, NULL)) || lock.kind != LOCK_POINT);
}

struct ring_event *ring_event_new(const struct store_event *event, struct blob *payload)
{
    static const struct grant no_grant;
    const struct grant *grant = event->grant != NULL ? event->grant : &no_grant;
    size_t text = grant->subject.len + grant->resource.len + grant->requester.len;
    struct ring_event *entry = mem_alloc(sizeof *entry + text);
    atomic_init(&entry->refs, 1);
    entry->revision = event->revision;
    entry->type = event->type;
    entry->state = grant->state;
    entry->grant = grant->id;
    entry->parent = grant->parent;
    entry->instance = event->point != NULL ? event->point->instance : (struct random_id){{0}};
    entry->counts_uses = grant->max_uses > 0;
    entry->locks = is_about_lock(event->object);
    entry->payload = payload;
    uint8_t *at = entry->text;
    entry->subject = keep_text(&at, grant->subject);
    entry->resource = keep_text(&at, grant->resource);
    entry->requester = keep_text(&at, grant->requester);
    return entry;
}

void ring_event_unref(struct ring_event *event)
{
    if (event == NULL || atomic_fetch_sub_explicit(&event->refs, 1, memory_order_acq_rel) != 1)
        return;
    blob_unref(event->payload);
    free(event);
}

static size_t event_bytes(const struct ring_event *event)
{
    return sizeof *event + event->subject.len + event->resource.len + event->requester.len + event->payload->len;
}

static struct ring_event **slot_of(struct ring *ring, uint64_t revision)
{
    return &ring->events[revision % ring->capacity];
}

struct ring *ring_new(uint32_t events_max, size_t bytes_max)
{
    CHECK(events_max > 0);
    struct ring *ring = mem_calloc(1, sizeof *ring);
    CHECK(pthread_mutex_init(&ring->lock, NULL) == 0);
    ring->events = mem_calloc(events_max, sizeof(struct ring_event *));
    ring->capacity = events_max;
    ring->bytes_max = bytes_max;
    return ring;
}

static void drop_oldest(struct ring *ring)
{
    struct ring_event **slot = slot_of(ring, ++ring->base);
    ring->bytes -= event_bytes(*slot);
    ring_event_unref(*slot);
    *slot = NULL;
}

static void drop_all(struct ring *ring)
{
    while (ring->base < ring->newest)
        drop_oldest(ring);
}

void ring_free(struct ring *ring)
{
    if (ring == NULL)
        return;
    drop_all(ring);
    CHECK(pthread_mutex_destroy(&ring->lock) == 0);
    free(ring->events);
    free(ring);
}

void ring_reset(struct ring *ring, uint64_t epoch, uint64_t revision)
{
    CHECK(pthread_mutex_lock(&ring->lock) == 0);
    drop_all(ring);
    ring->epoch = epoch;
    ring->base = ring->newest = revision;
    CHECK(pthread_mutex_unlock(&ring->lock) == 0);
}

void ring_set_epoch(struct ring *ring, uint64_t epoch)
{
    CHECK(pthread_mutex_lock(&ring->lock) == 0);
    ring->epoch = epoch;
    CHECK(pthread_mutex_unlock(&ring->lock) == 0);
}

void ring_append(struct ring *ring, struct ring_event *event)
{
    CHECK(pthread_mutex_lock(&ring->lock) == 0);
    CHECK(event->revision == ring->newest + 1);
    if (ring->newest - ring->base == ring->capacity)
        drop_oldest(ring);
    ring->newest = event->revision;
    *slot_of(ring, event->revision) = event;
    ring->bytes += event_bytes(event);
    /* The newest event always stays, whatever its size: messages are bounded elsewhere. */
    while (ring->bytes > ring->bytes_max && ring->base + 1 < ring->newest)
        drop_oldest(ring);
    CHECK(pthread_mutex_unlock(&ring->lock) == 0);
}

enum ring_status ring_read(struct ring *ring, uint64_t epoch, uint64_t *revision, struct ring_event **events,
                           uint32_t max, uint32_t *n)
{
    enum ring_status status = RING_RESYNC;
    uint32_t count = 0;
    CHECK(pthread_mutex_lock(&ring->lock) == 0);
    if (epoch == ring->epoch && *revision >= ring->base && *revision <= ring->newest) {
        status = RING_OK;
        while (count < max && *revision < ring->newest) {
            struct ring_event *event = *slot_of(ring, ++*revision);
            atomic_fetch_add_explicit(&event->refs, 1, memory_order_relaxed);
            events[count++] = event;
        }
    }
    CHECK(pthread_mutex_unlock(&ring->lock) == 0);
    *n = count;
    return status;
}

void ring_bounds(struct ring *ring, uint64_t *epoch, uint64_t *oldest, uint64_t *newest)
{
    CHECK(pthread_mutex_lock(&ring->lock) == 0);
    *epoch = ring->epoch;
    *oldest = ring->base;
    *newest = ring->newest;
    CHECK(pthread_mutex_unlock(&ring->lock) == 0);
}
