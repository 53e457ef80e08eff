/* Every decoder of lapse.v1, and what is made of its messages: a byte that says which, then the message. What was taken
 * must survive being encoded and decoded again. */
#include <stdlib.h>

#include "base/check.h"
#include "proto/codec.h"
#include "proto/convert.h"
#include "proto/encode.h"
#include "proto/lapse/v1/enforcement.pb.h"
#include "proto/reflection.h"
#include "tests/fuzz/fuzz_messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_grant(const lapse_v1_Grant *message)
{
    struct grant grant;
    struct buf bytes;
    if (!lapse_is_ok(proto_grant_borrow(message, &grant, NULL)))
        return;
    /* As a codec writes it, up to fields that we don't know. */
    lapse_v1_Grant *again = mem_alloc(sizeof *again);
    struct grant back;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(proto_encode_grant(&grant, &bytes)));
    lapse_result result = proto_decode_grant(buf_slice(&bytes), again, &back, NULL);
    CHECK(lapse_is_ok(result));
    CHECK(slice_equal(grant.subject, back.subject) && grant.deadline_ms == back.deadline_ms &&
          grant.n_labels == back.n_labels);
    buf_free(&bytes);
    free(again);
}

static void use_request(const lapse_v1_RequestRequest *message)
{
    struct command command;
    if (!lapse_is_ok(proto_request_borrow(message, &command, NULL)))
        return;
    for (uint32_t i = 1; i < command.terms.n_actions; i++)
        CHECK(slice_compare(command.terms.actions[i - 1], command.terms.actions[i]) < 0);
}

static void use_list(const lapse_v1_ListRequest *message)
{
    struct store_filter filter;
    if (message->has_filter && lapse_is_ok(proto_filter_borrow(&message->filter, &filter, NULL)))
        CHECK(filter.states < 1u << (GRANT_LAPSED + 1));
}

static void use_watch(const lapse_v1_WatchResponse *message)
{
    if (message->which_kind == lapse_v1_WatchResponse_event_tag && message->kind.event.has_grant)
        use_grant(&message->kind.event.grant);
    if (message->which_kind == lapse_v1_WatchResponse_snapshot_grant_tag)
        use_grant(&message->kind.snapshot_grant);
}

static void use_roles(const lapse_v1_SetRolesRequest *message)
{
    uint32_t roles = 0;
    if (message->has_binding && lapse_is_ok(proto_roles_borrow(&message->binding, &roles, NULL)))
        CHECK(roles <= ROLE_ALL);
}

struct decoder {
    const pb_msgdesc_t *type;
    size_t size;
};

static const struct decoder decoders[FUZZ_MESSAGE_KINDS] = {
#define DECODER(name) [FUZZ_##name] = {lapse_v1_##name##_fields, sizeof(lapse_v1_##name)},
    FUZZ_MESSAGES(DECODER)
#undef DECODER
};

static void use(enum fuzz_message which, const void *message)
{
    if (which == FUZZ_Grant)
        use_grant(message);
    else if (which == FUZZ_RequestRequest)
        use_request(message);
    else if (which == FUZZ_ListRequest)
        use_list(message);
    else if (which == FUZZ_WatchResponse)
        use_watch(message);
    else if (which == FUZZ_SetRolesRequest)
        use_roles(message);
}

/* Encoding what was decoded, and decoding that, changes nothing more. */
static void round_trip(const struct decoder *decoder, const void *message)
{
    struct buf once, twice;
    void *again = mem_alloc(decoder->size);
    buf_init(&once, LIMIT_MESSAGE_OUT);
    buf_init(&twice, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(proto_encode(decoder->type, message, &once)));
    CHECK(lapse_is_ok(proto_decode(decoder->type, buf_slice(&once), again, NULL)));
    CHECK(lapse_is_ok(proto_encode(decoder->type, again, &twice)));
    CHECK(slice_equal(buf_slice(&once), buf_slice(&twice)));
    buf_free(&once);
    buf_free(&twice);
    free(again);
}

static void try_decoder(enum fuzz_message which, struct slice bytes)
{
    const struct decoder *decoder = &decoders[which];
    void *message = mem_alloc(decoder->size);
    struct lapse_error error = {0};
    if (lapse_is_ok(proto_decode(decoder->type, bytes, message, &error))) {
        round_trip(decoder, message);
        use(which, message);
    } else {
        CHECK(error.code == LAPSE_INVALID_ARGUMENT && error.message[0] != '\0');
    }
    free(message);
}

static bool visit_grant(void *arg, const struct grant *grant)
{
    (void)arg;
    return grant->n_actions <= LIMIT_ACTIONS;
}

static bool visit_binding(void *arg, struct slice member, uint32_t roles)
{
    (void)arg, (void)member;
    return roles <= ROLE_ALL;
}

/* Those with callbacks, and the ones written by hand. */
static void try_others(struct slice bytes)
{
    lapse_v1_ListResponse list;
    lapse_v1_ListRolesResponse roles;
    struct buf answer;
    (void)proto_decode_list(bytes, &list, visit_grant, NULL, NULL).code;
    (void)proto_decode_list_roles(bytes, &roles, visit_binding, NULL, NULL).code;
    buf_init(&answer, LIMIT_MESSAGE_OUT);
    (void)reflection_answer(bytes, &answer, NULL).code;
    buf_free(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *exact = mem_alloc(size - 1); /* the sanitizer sees a read past its end */
    memcpy(exact, data + 1, size - 1);
    enum fuzz_message which = (enum fuzz_message)(data[0] % FUZZ_MESSAGE_KINDS);
    if (which == FUZZ_OTHERS)
        try_others(slice_of(exact, size - 1));
    else
        try_decoder(which, slice_of(exact, size - 1));
    free(exact);
    return 0;
}
