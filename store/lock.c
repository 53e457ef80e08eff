#include "store/lock.h"

#include "base/check.h"
#include "base/wire.h"
#include "store/identifiers.h"
#include "store/terms.h"

enum {
    LOCK_FIELD_NAME = 1,
    LOCK_FIELD_KIND = 2,
    LOCK_FIELD_TARGET = 3,
    LOCK_FIELD_REASON = 4,
    LOCK_FIELD_UNTIL_MS = 5,
    LOCK_FIELD_LOCKED_BY = 6,
    LOCK_FIELD_LOCKED_MS = 7,
    LOCK_FIELD_REVISION = 8,
    LOCK_FIELD_OFFBOARDED = 9,
    LOCK_FIELD_LIFTED = 10,
};

struct slice lock_name(enum lock_kind kind, struct slice target, char name[LOCK_NAME_SIZE])
{
    static const char *const kinds[] = {
        [LOCK_SUBJECT] = "subject:", [LOCK_RESOURCE] = "resource:", [LOCK_POINT] = "point:"};
    size_t len = strlen(kinds[kind]);
    CHECK(len + target.len <= LOCK_NAME_SIZE);
    memcpy(name, kinds[kind], len);
    memcpy(name + len, target.data, target.len);
    return slice_of(name, len + target.len);
}

bool lock_is_about(const struct lock *lock, struct slice principal)
{
    return lock->kind == LOCK_SUBJECT && principal.len > 0 && principal_same(lock->target, principal);
}

bool lock_denies(const struct lock *lock, const struct grant_query *query, int64_t now_ms)
{
    if (!lock_holds(lock, now_ms))
        return false;
    if (lock->kind == LOCK_RESOURCE)
        return resource_overlaps(lock->target, query->resource);
    return lock_is_about(lock, query->subject) || lock_is_about(lock, query->spiffe_id);
}

static bool decode_field(const struct wire_field *field, struct lock *lock)
{
    uint32_t number = 0;
    switch (field->number) {
    case LOCK_FIELD_NAME:
        return field_bytes(field, &lock->name);
    case LOCK_FIELD_KIND:
        if (!field_u32(field, &number) || number < LOCK_SUBJECT || number > LOCK_POINT)
            return false;
        lock->kind = (enum lock_kind)number;
        return true;
    case LOCK_FIELD_TARGET:
        return field_bytes(field, &lock->target);
    case LOCK_FIELD_REASON:
        return field_bytes(field, &lock->reason);
    case LOCK_FIELD_UNTIL_MS:
        return field_ms(field, &lock->until_ms);
    case LOCK_FIELD_LOCKED_BY:
        return field_bytes(field, &lock->locked_by);
    case LOCK_FIELD_LOCKED_MS:
        return field_ms(field, &lock->locked_ms);
    case LOCK_FIELD_REVISION:
        return field_u64(field, &lock->revision);
    case LOCK_FIELD_OFFBOARDED:
        if (!field_u32(field, &number) || number != 1)
            return false;
        lock->offboarded = true;
        return true;
    case LOCK_FIELD_LIFTED:
        return field_bytes(field, &lock->lifted);
    default:
        return false;
    }
}

static lapse_result validate_target(const struct lock *lock, struct lapse_error *error)
{
    if (lock->target.len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "target is missing; say whom or what to lock");
    if (lock->kind == LOCK_SUBJECT)
        return principal_validate(lock->target, "target", error);
    return lock->kind == LOCK_RESOURCE ? resource_validate(lock->target, true, error)
                                       : point_id_validate(lock->target, error);
}

lapse_result lock_decode(struct slice bytes, struct lock *out, struct lapse_error *error)
{
    struct lock lock = {0};
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t last = 0;
    while (wire_next(&reader, &field)) {
        if (field.number <= last || !decode_field(&field, &lock))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "lock: field %u is unknown, empty, out of order or no such value; see lapse.v1",
                              field.number);
        last = field.number;
    }
    if (reader.failed)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "lock: malformed");
    if (lock.kind == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "lock: kind is missing; subject, resource or point");
    lapse_result result = validate_target(&lock, error);
    if (lapse_is_ok(result))
        result = text_validate(lock.reason, LIMIT_REASON, "reason", error);
    if (lapse_is_ok(result))
        *out = lock;
    return result;
}

lapse_result lock_encode(const struct lock *lock, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, LOCK_FIELD_NAME, lock->name);
    wire_put_uint(&writer, LOCK_FIELD_KIND, lock->kind);
    wire_put_bytes(&writer, LOCK_FIELD_TARGET, lock->target);
    wire_put_bytes(&writer, LOCK_FIELD_REASON, lock->reason);
    wire_put_uint(&writer, LOCK_FIELD_UNTIL_MS, (uint64_t)lock->until_ms);
    wire_put_bytes(&writer, LOCK_FIELD_LOCKED_BY, lock->locked_by);
    wire_put_uint(&writer, LOCK_FIELD_LOCKED_MS, (uint64_t)lock->locked_ms);
    wire_put_uint(&writer, LOCK_FIELD_REVISION, lock->revision);
    wire_put_uint(&writer, LOCK_FIELD_OFFBOARDED, lock->offboarded);
    wire_put_bytes(&writer, LOCK_FIELD_LIFTED, lock->lifted);
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}
