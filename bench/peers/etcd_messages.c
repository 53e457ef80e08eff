#include "bench/peers/etcd_messages.h"

#include "base/check.h"
#include "base/wire.h"

enum put_field { PUT_KEY = 1, PUT_VALUE = 2, PUT_LEASE = 3 };
enum delete_field { DELETE_KEY = 1 };
enum lease_field { LEASE_TTL = 1, LEASE_ANSWER_ID = 2 };
enum watch_field { WATCH_CREATE = 1, CREATE_KEY = 1, CREATE_RANGE_END = 2, CREATE_FILTERS = 5 };
enum watch_answer_field { WATCH_CREATED = 3, WATCH_CANCELED = 4, WATCH_CANCEL_REASON = 6, WATCH_EVENTS = 11 };
enum event_field { EVENT_TYPE = 1, EVENT_KV = 2, KV_KEY = 1 };
enum header_field { HEADER_MEMBER = 2, HEADER_REVISION = 3, HEADER_TERM = 4 };
enum status_field { STATUS_HEADER = 1, STATUS_VERSION = 2, STATUS_LEADER = 4 };

#define FILTER_NOPUT 0
#define EVENT_DELETE 1

/* --- requests ----------------------------------------------------------------------------------------------------- */

void etcd_put_request(struct buf *out, struct slice key, struct slice value, uint64_t lease)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, PUT_KEY, key);
    wire_put_bytes(&writer, PUT_VALUE, value);
    wire_put_uint(&writer, PUT_LEASE, lease);
    CHECK(!writer.failed);
}

void etcd_delete_request(struct buf *out, struct slice key)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, DELETE_KEY, key);
    CHECK(!writer.failed);
}

void etcd_lease_request(struct buf *out, uint64_t ttl_s)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, LEASE_TTL, ttl_s);
    CHECK(!writer.failed);
}

void etcd_watch_request(struct buf *out, struct slice from, struct slice to)
{
    static const uint8_t filters[] = {FILTER_NOPUT}; /* packed */
    struct wire_writer writer = wire_writer(out);
    size_t create = wire_begin(&writer, WATCH_CREATE);
    wire_put_bytes(&writer, CREATE_KEY, from);
    wire_put_bytes(&writer, CREATE_RANGE_END, to);
    wire_put_bytes(&writer, CREATE_FILTERS, slice_of(filters, sizeof filters));
    wire_end(&writer, create);
    CHECK(!writer.failed);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static bool is_uint(const struct wire_field *field, uint32_t number)
{
    return field->number == number && field->type == WIRE_VARINT;
}

static bool is_bytes(const struct wire_field *field, uint32_t number)
{
    return field->number == number && field->type == WIRE_BYTES;
}

bool etcd_lease_answer(struct slice message, uint64_t *lease)
{
    struct wire_reader reader = wire_reader(message);
    struct wire_field field;
    uint64_t id = 0;
    while (wire_next(&reader, &field))
        if (is_uint(&field, LEASE_ANSWER_ID))
            id = field.value;
    if (reader.failed || id == 0)
        return false;
    *lease = id;
    return true;
}

static bool take_header(struct slice message, struct etcd_status *status)
{
    struct wire_reader reader = wire_reader(message);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        if (is_uint(&field, HEADER_MEMBER))
            status->member = field.value;
        else if (is_uint(&field, HEADER_REVISION))
            status->revision = field.value;
        else if (is_uint(&field, HEADER_TERM))
            status->term = field.value;
    }
    return !reader.failed;
}

bool etcd_status_answer(struct slice message, struct etcd_status *status)
{
    struct wire_reader reader = wire_reader(message);
    struct wire_field field;
    bool ok = true;
    *status = (struct etcd_status){0};
    while (wire_next(&reader, &field)) {
        if (is_bytes(&field, STATUS_HEADER))
            ok = ok && take_header(field.bytes, status);
        else if (is_bytes(&field, STATUS_VERSION))
            status->version = field.bytes;
        else if (is_uint(&field, STATUS_LEADER))
            status->leader = field.value;
    }
    return ok && !reader.failed && status->member != 0;
}

static bool key_of(struct slice kv, struct slice *key)
{
    struct wire_reader reader = wire_reader(kv);
    struct wire_field field;
    while (wire_next(&reader, &field))
        if (is_bytes(&field, KV_KEY))
            *key = field.bytes;
    return !reader.failed;
}

static bool take_event(struct slice event, const struct etcd_watch_handler *handler, void *arg)
{
    struct wire_reader reader = wire_reader(event);
    struct wire_field field;
    uint64_t type = 0; /* PUT */
    struct slice key = {0};
    while (wire_next(&reader, &field)) {
        if (is_uint(&field, EVENT_TYPE))
            type = field.value;
        else if (is_bytes(&field, EVENT_KV) && !key_of(field.bytes, &key))
            return false;
    }
    if (!reader.failed && type == EVENT_DELETE)
        handler->on_deleted(arg, key);
    return !reader.failed;
}

bool etcd_watch_answer(struct slice message, const struct etcd_watch_handler *handler, void *arg)
{
    struct wire_reader reader = wire_reader(message);
    struct wire_field field;
    bool created = false, canceled = false;
    struct slice reason = {0};
    while (wire_next(&reader, &field)) {
        if (is_uint(&field, WATCH_CREATED))
            created = field.value != 0;
        else if (is_uint(&field, WATCH_CANCELED))
            canceled = field.value != 0;
        else if (is_bytes(&field, WATCH_CANCEL_REASON))
            reason = field.bytes;
        else if (is_bytes(&field, WATCH_EVENTS) && !take_event(field.bytes, handler, arg))
            return false;
    }
    if (reader.failed)
        return false;
    if (canceled) /* a refused creation is marked created, too */
        handler->on_canceled(arg, reason);
    else if (created)
        handler->on_created(arg);
    return true;
}
