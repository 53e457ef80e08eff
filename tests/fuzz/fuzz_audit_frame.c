/* What a node says to another about the audit, and signed heads in it. Whatever comes: it is refused, or it is taken,
 * and then walking its records ends within its bytes. A frame without records is written again byte by byte. */
#include "base/check.h"
#include "node/audit_frame.h"
#include "node/audit_sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t walk(const struct audit_frame *frame)
{
    struct slice list = frame->list, event;
    uint64_t epoch, n = 0;
    while (audit_frame_next(&list, &epoch, &event)) {
        CHECK(event.data >= frame->list.data && event.data + event.len <= frame->list.data + frame->list.len);
        n++;
    }
    return n;
}

static void check_again(const struct audit_frame *frame)
{
    struct audit_frame again;
    struct buf bytes;
    buf_init(&bytes, AUDIT_FRAME_MAX);
    CHECK(lapse_is_ok(audit_frame_encode(frame, &bytes)));
    CHECK(lapse_is_ok(audit_frame_decode(buf_slice(&bytes), &again, NULL)));
    CHECK(again.kind == frame->kind && again.sequence == frame->sequence && again.first == frame->first &&
          again.last == frame->last && slice_equal(again.signed_head, frame->signed_head));
    buf_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct audit_frame frame;
    struct audit_claim claim;
    if (lapse_is_ok(audit_head_read(slice_of(data, size), slice_str("test"), &claim, NULL)))
        (void)audit_claim_is_signed(&claim, slice_str("test"));
    if (!lapse_is_ok(audit_frame_decode(slice_of(data, size), &frame, NULL)))
        return 0;
    if (frame.kind == AUDIT_RECORDS)
        CHECK(walk(&frame) == (frame.first == 0 ? 0 : frame.last - frame.first + 1));
    if (frame.list.len == 0)
        check_again(&frame);
    if (frame.kind == AUDIT_HEAD_TOLD &&
        lapse_is_ok(audit_head_read(frame.signed_head, slice_str("test"), &claim, NULL)))
        (void)audit_claim_is_signed(&claim, slice_str("test"));
    return 0;
}
