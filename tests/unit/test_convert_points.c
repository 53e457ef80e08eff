/* What is said about enforcement points and barriers: the bytes that servers write by hand are those of the schema. */
#include <inttypes.h>
#include <pb_encode.h>
#include <stdio.h>

#include "proto/lapse/v1/enforcement.pb.h"
#include "tests/unit/convert_fixture.h"

TestSuite(convert_points, .init = convert_begin, .fini = convert_end);

struct listed {
    const void *messages;
    size_t n, size;
    const pb_msgdesc_t *type;
};

static bool write_listed(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
    const struct listed *listed = *arg;
    for (size_t i = 0; i < listed->n; i++)
        if (!pb_encode_tag_for_field(stream, field) ||
            !pb_encode_submessage(stream, listed->type, (const uint8_t *)listed->messages + i * listed->size))
            return false;
    return true;
}

static struct proto_receipt some_receipt(lapse_v1_Receipt *message)
{
    struct proto_receipt receipt = {.point = some_text(LIMIT_POINT_ID),
                                    .instance = random_id(),
                                    .level = 1 + (uint32_t)any(6),
                                    .time_ms = number(),
                                    .reason = text(LIMIT_RECEIPT_REASON),
                                    .left_ms = (uint32_t)any(3000)};
    memset(message, 0, sizeof *message);
    FILL_TEXT(receipt.point, message->point);
    fill_bytes(&receipt.instance, message->instance.bytes, &message->instance.size);
    message->level = (lapse_v1_ReceiptLevel)receipt.level;
    message->time_ms = receipt.time_ms;
    FILL_TEXT(receipt.reason, message->reason);
    message->left_ms = receipt.left_ms;
    return receipt;
}

Test(convert_points, what_is_said_about_a_barrier_is_encoded_as_the_schema_says)
{
    const struct proto_point place = {7, 300, 1767225600000};
    lapse_v1_Receipt messages[3];
    struct listed listed = {messages, 3, sizeof messages[0], lapse_v1_Receipt_fields};
    for (int i = 0; i < 100; i++) {
        struct barrier barrier = some_barrier();
        lapse_v1_RevokeProgress progress = {
            .epoch = 7, .revision = 300, .time_ms = place.time_ms, .has_barrier = true, .committed = any(2)};
        progress.last = !progress.committed;
        progress.receipts = (pb_callback_t){.funcs.encode = write_listed, .arg = &listed};
        fill_barrier(&barrier, &progress.barrier);
        lapse_v1_GetBarrierResponse got = {.epoch = 7, .revision = 300, .has_barrier = true};
        got.barrier = progress.barrier;
        got.receipts = progress.receipts;
        got.omitted = any(3);
        struct proto_receipt receipts[3];
        for (size_t k = 0; k < 3; k++)
            receipts[k] = some_receipt(&messages[k]);

        cr_assert(lapse_is_ok(proto_encode_progress_begin(&place, &barrier, &by_hand)));
        for (size_t k = 0; k < 3; k++)
            cr_assert(lapse_is_ok(proto_encode_progress_receipt(&receipts[k], &by_hand)));
        encode(lapse_v1_RevokeProgress_fields, &progress);
        expect_same_bytes(proto_encode_progress_end(progress.committed, progress.last, &by_hand));

        cr_assert(lapse_is_ok(proto_encode_get_barrier_begin(&place, &barrier, &by_hand)));
        for (size_t k = 0; k < 3; k++)
            cr_assert(lapse_is_ok(proto_encode_get_barrier_receipt(&receipts[k], &by_hand)));
        encode(lapse_v1_GetBarrierResponse_fields, &got);
        expect_same_bytes(proto_encode_get_barrier_end(got.omitted, &by_hand));

        const lapse_v1_RevokeMatchingResponse matching = {.epoch = 7,
                                                          .revision = 300,
                                                          .time_ms = place.time_ms,
                                                          .has_barrier = true,
                                                          .barrier = progress.barrier,
                                                          .repeated_call = true};
        encode(lapse_v1_RevokeMatchingResponse_fields, &matching);
        expect_same_bytes(proto_encode_revoke_matching(&place, &barrier, true, &by_hand));
    }
}

Test(convert_points, points_are_encoded_as_the_schema_says)
{
    const struct proto_point place = {7, 300, 0};
    for (int i = 0; i < 100; i++) {
        struct point point = some_point();
        lapse_v1_Point message = lapse_v1_Point_init_zero;
        struct listed listed = {&message, 1, sizeof message, lapse_v1_Point_fields};
        lapse_v1_ListPointsResponse list = {
            .epoch = 7, .revision = 300, .points = {.funcs.encode = write_listed, .arg = &listed}};
        fill_point(&point, &message);
        if (any(2))
            (void)snprintf(list.next_page_token, sizeof list.next_page_token, "%016" PRIx64 "%s", any(1000), message.id);
        cr_assert(lapse_is_ok(proto_encode_list_points_begin(&place, &by_hand)));
        cr_assert(lapse_is_ok(proto_encode_list_points_point(&point, &by_hand)));
        encode(lapse_v1_ListPointsResponse_fields, &list);
        expect_same_bytes(proto_encode_list_points_end(slice_str(list.next_page_token), &by_hand));
    }
}
