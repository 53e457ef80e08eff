/* What nodes say to each other about the audit, and what a record is found by: bytes from outside. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "node/audit_frame.h"
#include "node/audit_sign.h"
#include "proto/lapse/v1/objects.pb.h"
#include "tests/unit/audit_fixture.h"

static struct buf records_frame(struct made_chain *chain, uint32_t first, uint32_t last)
{
    struct buf out;
    struct audit_frame frame = {
        .kind = AUDIT_RECORDS, .sequence = 5, .first = first, .last = last, .head = chain->places[first - 1].head};
    buf_init(&out, AUDIT_FRAME_MAX);
    cr_assert(lapse_is_ok(audit_frame_encode(&frame, &out)));
    for (uint32_t r = first; r <= last; r++)
        cr_assert(lapse_is_ok(audit_frame_add(AUDIT_EPOCH, blob_slice(chain->events[r - 1]), &out)));
    return out;
}

Test(audit_frame, records_come_back_as_they_were_written)
{
    struct made_chain chain = {.n = 0};
    struct audit_frame frame;
    struct slice event;
    uint64_t epoch = 0;
    uint32_t n = 0;
    chain_grow(&chain, 20);
    struct buf bytes = records_frame(&chain, 5, 14);
    cr_assert(lapse_is_ok(audit_frame_decode(buf_slice(&bytes), &frame, NULL)));
    cr_expect_eq(frame.first, 5);
    cr_expect_eq(frame.last, 14);
    cr_expect(chain_head_equal(&frame.head, &chain.places[4].head));
    while (audit_frame_next(&frame.list, &epoch, &event)) {
        cr_expect_eq(epoch, AUDIT_EPOCH);
        cr_expect(slice_equal(event, blob_slice(chain.events[4 + n++])));
    }
    cr_expect_eq(n, 10);
    buf_free(&bytes);
    chain_free(&chain);
}

Test(audit_frame, what_is_cut_or_changed_is_refused_or_another_frame_and_never_a_crash)
{
    struct made_chain chain = {.n = 0};
    struct audit_frame frame;
    chain_grow(&chain, 3);
    struct buf bytes = records_frame(&chain, 1, 3);
    for (size_t len = 0; len < bytes.len; len++)
        /* Its beginning alone is an answer of "none". */
        if (lapse_is_ok(audit_frame_decode(slice_of(bytes.data, len), &frame, NULL)))
            cr_assert_eq(frame.last, 0, "a cut frame was taken at %zu of %zu", len, bytes.len);
    for (size_t i = 0; i < bytes.len * 8; i++) {
        uint64_t epoch;
        struct slice event;
        struct audit_fields fields;
        bytes.data[i / 8] ^= (uint8_t)(1 << i % 8);
        if (lapse_is_ok(audit_frame_decode(buf_slice(&bytes), &frame, NULL)))
            while (audit_frame_next(&frame.list, &epoch, &event))
                (void)audit_fields_read(event, &fields, NULL).code;
        bytes.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    buf_free(&bytes);
    chain_free(&chain);
}

static bool is_taken(const struct audit_frame *frame)
{
    struct audit_frame decoded;
    struct buf bytes;
    buf_init(&bytes, AUDIT_FRAME_MAX);
    cr_assert(lapse_is_ok(audit_frame_encode(frame, &bytes)));
    bool taken = lapse_is_ok(audit_frame_decode(buf_slice(&bytes), &decoded, NULL));
    buf_free(&bytes);
    return taken;
}

Test(audit_frame, a_question_has_a_range_and_an_answer_as_many_records_as_it_says)
{
    cr_expect(is_taken(&(struct audit_frame){.kind = AUDIT_RANGE, .sequence = 1, .first = 3, .last = 3}));
    cr_expect_not(is_taken(&(struct audit_frame){.kind = AUDIT_RANGE, .sequence = 1, .first = 4, .last = 3}));
    cr_expect_not(is_taken(&(struct audit_frame){.kind = AUDIT_RANGE, .sequence = 1, .last = 3}));
    cr_expect(is_taken(&(struct audit_frame){.kind = AUDIT_RECORDS, .sequence = 1}));
    cr_expect_not(is_taken(&(struct audit_frame){.kind = AUDIT_RECORDS, .sequence = 1, .first = 1, .last = 2}));
    cr_expect_not(is_taken(&(struct audit_frame){.kind = AUDIT_HEAD_TOLD}));
    cr_expect_not(
        is_taken(&(struct audit_frame){.kind = AUDIT_HEAD_TOLD, .sequence = 4, .signed_head = slice_str("x")}));
}

/* --- columns ------------------------------------------------------------------------------------------------------ */

static struct audit_fields fields_of(struct event_words *words, struct buf *bytes)
{
    struct audit_fields fields;
    struct lapse_error error;
    words->revision = 9;
    words->time_ms = 1000;
    buf_init(bytes, LIMIT_MESSAGE_OUT);
    cr_assert(lapse_is_ok(words_encode_event(words, bytes)));
    cr_assert(lapse_is_ok(audit_fields_read(buf_slice(bytes), &fields, &error)), "%s", error.message);
    return fields;
}

#define EXPECT_TEXT(slice, text) cr_expect(slice_equal((slice), slice_str(text)))

Test(audit_frame, a_grants_record_is_found_by_grant_subject_resource_and_actor)
{
    struct buf bytes;
    struct grant_id id = made_grant_id(4);
    const struct grant grant = {.id = id,
                                .state = GRANT_PENDING,
                                .subject = slice_str("user:dev1"),
                                .resource = slice_str("db/prod"),
                                .requester = slice_str("user:dev2")};
    struct event_words words = {.type = 1, .grant = &grant, .actor = slice_str("user:dev2")};
    struct audit_fields fields = fields_of(&words, &bytes);
    cr_expect(fields.has_grant && memcmp(fields.grant, &id, 16) == 0);
    EXPECT_TEXT(fields.subject, "user:dev1");
    EXPECT_TEXT(fields.resource, "db/prod");
    EXPECT_TEXT(fields.actor, "user:dev2");
    cr_expect_eq(fields.revision, 9);
    cr_expect_eq(fields.time_ms, 1000);
    cr_expect_eq(fields.type, 1);
    buf_free(&bytes);
}

Test(audit_frame, receipts_are_found_by_each_barrier_once)
{
    struct buf bytes, receipts;
    struct wire_writer writer = wire_writer(&receipts);
    const uint64_t barriers[] = {7, 7, 3, 12, 3};
    buf_init(&receipts, 4096);
    for (size_t i = 0; i < sizeof barriers / sizeof *barriers; i++) {
        const struct receipt receipt = {.barrier = barriers[i], .level = RECEIPT_ENFORCED};
        words_put_receipt(&writer, 16, slice_str("edge-1"), &receipt);
    }
    struct event_words words = {.type = 35, .receipts = buf_slice(&receipts)};
    struct audit_fields fields = fields_of(&words, &bytes);
    cr_assert_eq(fields.n_links, 3);
    cr_expect_eq(fields.links[0], 3);
    cr_expect_eq(fields.links[1], 7);
    cr_expect_eq(fields.links[2], 12);
    buf_free(&bytes);
    buf_free(&receipts);
}

static struct audit_fields lock_fields(uint32_t kind, const char *target, struct buf *bytes)
{
    static struct buf value;
    struct wire_writer writer = wire_writer(&value);
    buf_init(&value, 4096);
    wire_put_uint(&writer, lapse_v1_Lock_kind_tag, kind);
    wire_put_bytes(&writer, lapse_v1_Lock_target_tag, slice_str(target));
    const struct object object = {.kind = OBJECT_LOCK, .name = slice_str("n"), .value = buf_slice(&value)};
    struct event_words words = {.type = 24, .object = &object};
    struct audit_fields fields = fields_of(&words, bytes);
    buf_free(&value);
    return fields;
}

Test(audit_frame, a_lock_is_found_by_its_subject_or_its_resource)
{
    struct buf bytes;
    struct audit_fields fields = lock_fields(1, "user:dev1", &bytes);
    EXPECT_TEXT(fields.subject, "user:dev1");
    buf_free(&bytes);
    fields = lock_fields(2, "db/prod", &bytes);
    EXPECT_TEXT(fields.resource, "db/prod");
    cr_expect_eq(fields.subject.len, 0);
    buf_free(&bytes);
    fields = lock_fields(3, "edge-1", &bytes);
    cr_expect_eq(fields.subject.len + fields.resource.len, 0);
    buf_free(&bytes);
}

Test(audit_frame, a_review_is_found_by_its_grant)
{
    struct buf bytes, value;
    char text[GRANT_ID_TEXT_SIZE];
    struct grant_id id = made_grant_id(6);
    struct wire_writer writer = wire_writer(&value);
    buf_init(&value, 4096);
    grant_id_format(id, text);
    wire_put_bytes(&writer, lapse_v1_Review_name_tag, slice_str(text));
    wire_put_bytes(&writer, lapse_v1_Review_subject_tag, slice_str("user:dev1"));
    wire_put_bytes(&writer, lapse_v1_Review_resource_tag, slice_str("db/prod"));
    const struct object object = {.kind = OBJECT_REVIEW, .name = slice_str(text), .value = buf_slice(&value)};
    struct event_words words = {.type = 31, .object = &object};
    struct audit_fields fields = fields_of(&words, &bytes);
    cr_expect(fields.has_grant && memcmp(fields.grant, &id, 16) == 0);
    EXPECT_TEXT(fields.subject, "user:dev1");
    EXPECT_TEXT(fields.resource, "db/prod");
    buf_free(&bytes);
    buf_free(&value);
}

Test(audit_frame, an_eligibility_is_found_by_whom_it_is_for)
{
    struct buf bytes, value;
    struct wire_writer writer = wire_writer(&value);
    buf_init(&value, 4096);
    wire_put_bytes(&writer, lapse_v1_Eligibility_member_tag, slice_str("user:dev-*"));
    const struct object object = {.kind = OBJECT_ELIGIBILITY, .name = slice_str("e"), .value = buf_slice(&value)};
    struct event_words words = {.type = 26, .object = &object};
    struct audit_fields fields = fields_of(&words, &bytes);
    EXPECT_TEXT(fields.subject, "user:dev-*");
    buf_free(&bytes);
    buf_free(&value);
}
