/* The state is one atomic. Who changes it wakes every loop through its uv_async_t, and each loop tells its own Watch
 * calls: no call is ever touched by another thread.
 *
 *   health_set --> atomic, uv_async_send to all --> (each loop) tell_watchers */
#include "proto/health.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/wire.h"
#include "proto/descriptors_index.h"

/* grpc.health.v1.HealthCheckResponse.ServingStatus */
enum serving_status { STATUS_SERVING = 1, STATUS_NOT_SERVING = 2, STATUS_SERVICE_UNKNOWN = 3 };
enum { REQUEST_SERVICE = 1, RESPONSE_STATUS = 1 };

struct watcher {
    struct watcher *next, **link;
    struct grpc_call *call;
    enum serving_status told; /* the last status sent */
};

struct health {
    uv_async_t changed;
    struct watcher *watchers;
    struct health *next; /* in the process's list */
};

static _Atomic bool serving_now;
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct health *list;

void health_set(bool serving)
{
    if (atomic_exchange(&serving_now, serving) == serving)
        return;
    CHECK(pthread_mutex_lock(&list_lock) == 0);
    for (struct health *health = list; health != NULL; health = health->next)
        CHECK(uv_async_send(&health->changed) == 0);
    CHECK(pthread_mutex_unlock(&list_lock) == 0);
}

bool health_is_serving(void)
{
    return atomic_load(&serving_now);
}

static enum serving_status current_status(void)
{
    return health_is_serving() ? STATUS_SERVING : STATUS_NOT_SERVING;
}

/* The service asked about; false when the message is malformed. */
static bool parse_request(struct slice request, struct slice *service)
{
    struct wire_reader reader = wire_reader(request);
    struct wire_field field;
    *service = slice_of(NULL, 0);
    while (wire_next(&reader, &field))
        if (field.number == REQUEST_SERVICE && field.type == WIRE_BYTES)
            *service = field.bytes;
    return !reader.failed;
}

static bool is_served(struct slice service)
{
    return service.len == 0 || descriptor_has_service(service);
}

static struct slice status_message(enum serving_status status, uint8_t out[2])
{
    out[0] = RESPONSE_STATUS << 3 | WIRE_VARINT;
    out[1] = (uint8_t)status;
    return slice_of(out, 2);
}

static void on_check(struct grpc_call *call, struct slice request)
{
    struct slice service;
    uint8_t message[2];
    if (!parse_request(request, &service))
        grpc_call_finish(call, LAPSE_INVALID_ARGUMENT, "the message is no HealthCheckRequest");
    else if (!is_served(service))
        grpc_call_finish(call, LAPSE_NOT_FOUND, "no service of that name is served here");
    else
        grpc_call_reply(call, status_message(current_status(), message));
}

/* A watcher needs the latest state, not each one, so nothing queues up for those who don't read but the changes
 * themselves, which are few. */
static void tell(struct watcher *watcher, enum serving_status status)
{
    uint8_t message[2];
    if (watcher->told == status)
        return;
    watcher->told = status;
    struct blob *blob = blob_new(status_message(status, message));
    if (!grpc_call_send(watcher->call, blob))
        grpc_call_finish(watcher->call, LAPSE_RESOURCE_EXHAUSTED, "read what is sent, then watch again");
    blob_unref(blob);
}

static void on_watch(struct grpc_call *call, struct slice request)
{
    struct health *health = grpc_call_method(call)->data;
    struct slice service;
    if (!parse_request(request, &service)) {
        grpc_call_finish(call, LAPSE_INVALID_ARGUMENT, "the message is no HealthCheckRequest");
        return;
    }
    struct watcher *watcher = mem_calloc(1, sizeof *watcher);
    watcher->call = call;
    grpc_call_set_data(call, watcher);
    if (!is_served(service)) {
        tell(watcher, STATUS_SERVICE_UNKNOWN); /* not in the list: that doesn't change */
        return;
    }
    watcher->next = health->watchers;
    watcher->link = &health->watchers;
    if (watcher->next != NULL)
        watcher->next->link = &watcher->next;
    health->watchers = watcher;
    tell(watcher, current_status());
}

static void on_watch_close(struct grpc_call *call)
{
    struct watcher *watcher = grpc_call_data(call);
    if (watcher == NULL)
        return;
    if (watcher->link != NULL) {
        *watcher->link = watcher->next;
        if (watcher->next != NULL)
            watcher->next->link = watcher->link;
    }
    free(watcher);
}

static void on_changed(uv_async_t *changed)
{
    struct health *health = CONTAINER_OF(changed, struct health, changed);
    for (struct watcher *watcher = health->watchers; watcher != NULL; watcher = watcher->next)
        tell(watcher, current_status());
}

struct health *health_new(uv_loop_t *loop)
{
    struct health *health = mem_calloc(1, sizeof *health);
    CHECK(uv_async_init(loop, &health->changed, on_changed) == 0);
    CHECK(pthread_mutex_lock(&list_lock) == 0);
    health->next = list;
    list = health;
    CHECK(pthread_mutex_unlock(&list_lock) == 0);
    return health;
}

void health_methods(struct health *health, struct grpc_method methods[HEALTH_METHODS])
{
    methods[0] = (struct grpc_method){.path = "/grpc.health.v1.Health/Check", .on_message = on_check, .data = health};
    methods[1] = (struct grpc_method){
        .path = "/grpc.health.v1.Health/Watch", .on_message = on_watch, .on_close = on_watch_close, .data = health};
}

static void on_async_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct health, changed));
}

void health_free(struct health *health)
{
    if (health == NULL)
        return;
    CHECK(health->watchers == NULL); /* its connections are closed */
    CHECK(pthread_mutex_lock(&list_lock) == 0);
    struct health **link = &list;
    while (*link != health)
        link = &(*link)->next;
    *link = health->next;
    CHECK(pthread_mutex_unlock(&list_lock) == 0);
    uv_close((uv_handle_t *)&health->changed, on_async_closed);
}
