/* Receipts on their way from the leader to the stores. A command carries many: one commit closes many barriers. */
#include "store/receipts.h"

#include "base/check.h"
#include "base/wire.h"
#include "store/command_internal.h"
#include "store/identifiers.h"
#include "store/terms.h"

enum { RECEIPTS_RECEIPT = 1 };

enum { RECEIPT_BARRIER = 1, RECEIPT_INSTANCE = 2, RECEIPT_LEVEL = 3, RECEIPT_TIME_MS = 4, RECEIPT_REASON = 5 };

/* The rest of a command of receipts, with room to spare. */
#define COMMAND_REST_BYTES 64u

/* The smallest one: tag and length, barrier, instance, level. */
#define RECEIPT_BYTES_MIN 24u

/* Whether there are as many as a command may have. Those in the buffer are our own, so their lengths can be trusted,
 * and have at most two bytes: the leader does this for each of thousands. */
static bool is_full(const struct buf *receipts)
{
    uint32_t n = 0;
    if (receipts->len < LIMIT_RECEIPTS_PER_COMMAND * RECEIPT_BYTES_MIN)
        return false;
    for (size_t at = 0; at < receipts->len; n++) {
        const uint8_t *bytes = receipts->data + at;
        at += bytes[1] < 0x80 ? 2u + bytes[1] : 3u + (bytes[1] & 0x7F) + ((size_t)bytes[2] << 7);
    }
    return n >= LIMIT_RECEIPTS_PER_COMMAND;
}

lapse_result receipts_add(struct buf *receipts, const struct receipt *receipt)
{
    struct wire_writer writer = wire_writer(receipts);
    size_t start = receipts->len;
    if (receipt->reason.len > LIMIT_RECEIPT_REASON)
        return lapse_failed(LAPSE_INVALID_ARGUMENT);
    if (is_full(receipts))
        return lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
    size_t mark = wire_begin(&writer, RECEIPTS_RECEIPT);
    wire_put_uint(&writer, RECEIPT_BARRIER, receipt->barrier);
    wire_put_bytes(&writer, RECEIPT_INSTANCE, slice_of(receipt->instance.bytes, sizeof receipt->instance.bytes));
    wire_put_uint(&writer, RECEIPT_LEVEL, (uint64_t)receipt->level);
    wire_put_uint(&writer, RECEIPT_TIME_MS, (uint64_t)receipt->time_ms);
    wire_put_bytes(&writer, RECEIPT_REASON, receipt->reason);
    wire_end(&writer, mark);
    if (!writer.failed && receipts->len <= LIMIT_COMMAND_BYTES - COMMAND_REST_BYTES)
        return lapse_ok();
    receipts->len = start;
    return lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
}

static bool decode_field(const struct wire_field *field, struct receipt *receipt)
{
    uint32_t level;
    switch (field->number) {
    case RECEIPT_BARRIER:
        return field_u64(field, &receipt->barrier);
    case RECEIPT_INSTANCE:
        return field_random_id(field, &receipt->instance);
    case RECEIPT_LEVEL:
        if (!field_u32(field, &level) || level > RECEIPT_LEFT)
            return false;
        receipt->level = (enum receipt_level)level;
        return true;
    case RECEIPT_TIME_MS:
        return field_ms(field, &receipt->time_ms);
    case RECEIPT_REASON:
        return field_bytes(field, &receipt->reason);
    default:
        return false;
    }
}

static bool decode(struct slice bytes, struct receipt *receipt)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t last = 0;
    *receipt = (struct receipt){0};
    while (wire_next(&reader, &field)) {
        if (field.number <= last || !decode_field(&field, receipt))
            return false;
        last = field.number;
    }
    return !reader.failed;
}

/* 1: a receipt, 0: the end, -1: malformed. */
static int next(struct slice *receipts, struct receipt *receipt)
{
    struct wire_reader reader = wire_reader(*receipts);
    struct wire_field field;
    if (!wire_next(&reader, &field))
        return reader.failed ? -1 : 0;
    if (field.number != RECEIPTS_RECEIPT || field.type != WIRE_BYTES || !decode(field.bytes, receipt))
        return -1;
    *receipts = slice_of(reader.at, (size_t)(reader.end - reader.at));
    return 1;
}

bool receipts_next(struct slice *receipts, struct receipt *receipt)
{
    int found = next(receipts, receipt);
    CHECK(found >= 0);
    return found == 1;
}

bool receipts_well_formed(struct slice receipts)
{
    struct receipt receipt;
    int found;
    while ((found = next(&receipts, &receipt)) == 1)
        ;
    return found == 0;
}

static lapse_result validate_one(const struct receipt *receipt, struct lapse_error *error)
{
    if (receipt->barrier == 0 || receipt->barrier > INT64_MAX)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "a receipt's barrier must be between 1 and 2^63-1");
    if (random_id_is_zero(&receipt->instance))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a receipt's instance is missing");
    if (receipt->level < RECEIPT_ENFORCED || receipt->level > RECEIPT_LEFT)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a receipt's level must be between 1 and %d", RECEIPT_LEFT);
    if (receipt->time_ms < 0 || receipt->time_ms > LIMIT_TIME_MS_MAX)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "a receipt's time must be between 0 and %lld",
                          (long long)LIMIT_TIME_MS_MAX);
    return text_validate(receipt->reason, LIMIT_RECEIPT_REASON, "a receipt's reason", error);
}

lapse_result receipts_validate(struct slice receipts, struct lapse_error *error)
{
    struct receipt receipt;
    uint32_t n = 0;
    int found;
    while ((found = next(&receipts, &receipt)) == 1) {
        lapse_result result = validate_one(&receipt, error);
        if (!lapse_is_ok(result))
            return result;
        n++;
    }
    if (found < 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "receipts are malformed; add them with receipts_add");
    if (n == 0 || n > LIMIT_RECEIPTS_PER_COMMAND)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "a command has %u receipts; give 1 to %u", n,
                          LIMIT_RECEIPTS_PER_COMMAND);
    return lapse_ok();
}
