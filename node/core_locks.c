/* The core's answer about the locks that enforcement points keep: a snapshot of them, slice by slice. */
#include "base/check.h"
#include "base/wire.h"
#include "node/core_internal.h"
#include "proto/lapse/v1/enforcement.pb.h"
#include "store/lock.h"

/* As of a slice of grants; one lock more always fits. */
#define SLICE_BYTES_MAX (64u * 1024)

/* In room of the call's own, where the one before stood. */
static void keep_place(struct core_call *call, struct slice name)
{
    uint8_t *at = call->place != NULL ? call->place : core_call_room(call, LIMIT_OBJECT_NAME);
    CHECK(name.len <= LIMIT_OBJECT_NAME);
    memcpy(at, name.data, name.len);
    call->place = at;
    call->after = slice_of(at, name.len);
}

/* A point's own lock denies no query: the point is ended. */
static bool is_for_points(const struct object *object)
{
    struct lock lock;
    return !lapse_is_ok(lock_decode(object->value, &lock, NULL)) || lock.kind != LOCK_POINT;
}

/* A SubscribeResponse, as field 1 of a list that the edge takes apart again. */
static lapse_result add_lock(struct core_call *call, const struct object *object)
{
    struct wire_writer writer = wire_writer(&call->response);
    size_t mark = wire_begin(&writer, 1);
    wire_put_uint(&writer, lapse_v1_SubscribeResponse_epoch_tag, call->epoch);
    wire_put_bytes(&writer, lapse_v1_SubscribeResponse_snapshot_lock_tag, object->value);
    wire_end(&writer, mark);
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

/* Locks come and go between two slices, so a place is a name, not a number. */
static uint32_t first_behind(const struct store *store, struct slice name)
{
    uint32_t i = name.len == 0 ? 0 : store_object_from(store, OBJECT_LOCK, name);
    const struct object *object = store_object_at(store, OBJECT_LOCK, i);
    return i + (name.len > 0 && object != NULL && slice_equal(object->name, name));
}

void core_locks_scan(struct core_call *call)
{
    const struct store *store = core_call_store(call);
    const struct object *object;
    lapse_result result = lapse_ok();
    uint32_t i = first_behind(store, call->after);
    while ((object = store_object_at(store, OBJECT_LOCK, i)) != NULL && call->response.len < SLICE_BYTES_MAX &&
           lapse_is_ok(result)) {
        if (is_for_points(object))
            result = add_lock(call, object);
        keep_place(call, object->name);
        i++;
    }
    call->more = object != NULL;
    core_call_finish(call, result);
}
