/* Any bytes as an event that a webhook is told: what json_of_message makes of them is JSON to others, whatever they
 * are, and a delivery is made or refused, never the end of the process. */
#include <jansson.h>
#include <stdlib.h>

#include "base/check.h"
#include "node/hook_body.h"
#include "proto/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY_MAX (1u << 20)

/* Numbers may go beyond 2^63 here, and texts have a NUL: both are JSON. */
static void check_json(struct slice text)
{
    json_error_t error;
    json_t *value = json_loadb((const char *)text.data, text.len,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &error);
    CHECK(value != NULL);
    json_decref(value);
}

static bool try_message(struct slice bytes)
{
    struct buf json;
    buf_init(&json, BODY_MAX);
    lapse_result result = json_of_message("lapse.v1.Event", bytes, &json);
    if (lapse_is_ok(result))
        check_json(buf_slice(&json));
    else
        CHECK(result.code == LAPSE_INVALID_ARGUMENT || result.code == LAPSE_RESOURCE_EXHAUSTED);
    buf_free(&json);
    return lapse_is_ok(result);
}

static const struct hook_options *options(enum hook_kind kind)
{
    static struct hook_options json = {.name = "chat", .secret = "0123456789abcdef01234567", .secret_len = 24};
    static struct hook_options caep = {
        .name = "idp", .kind = HOOK_CAEP, .issuer = "https://a", .audience = "https://b"};
    if (caep.signing_key == NULL)
        caep.signing_key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return kind == HOOK_CAEP ? &caep : &json;
}

static void try_body(struct slice bytes, bool is_message)
{
    const struct hook_record record = {.cluster = "fuzz", .epoch = 1, .revision = 2, .event = bytes};
    struct buf headers, body;
    buf_init(&headers, LIMIT_HEADER_BYTES);
    buf_init(&body, BODY_MAX);
    enum hook_body made = hook_body_make(options(HOOK_JSON), &record, 1767225600, &headers, &body);
    CHECK(made == HOOK_BODY_MADE ? is_message : made == HOOK_BODY_IMPOSSIBLE);
    if (made == HOOK_BODY_MADE)
        check_json(buf_slice(&body));
    made = hook_body_make(options(HOOK_CAEP), &record, 1767225600, &headers, &body);
    CHECK(made == HOOK_BODY_MADE || made == HOOK_BODY_NOTHING || made == HOOK_BODY_IMPOSSIBLE);
    buf_free(&headers);
    buf_free(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = mem_alloc(size + 1); /* the sanitizer sees a read past its end */
    if (size > 0)
        memcpy(exact + 1, data, size);
    try_body(slice_of(exact + 1, size), try_message(slice_of(exact + 1, size)));
    free(exact);
    return 0;
}
