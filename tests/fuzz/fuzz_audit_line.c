/* A line of an export, of kept heads or of keys, which somebody else has written. Whatever comes: it is refused with a
 * message, or what was read is written as a line that reads as the same; and the verifier takes it without harm. */
#include <stdlib.h>

#include "base/check.h"
#include "client/audit_verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *written(const struct audit_line *line)
{
    switch (line->kind) {
    case AUDIT_LINE_HEADER:
        return audit_header_line(&line->header);
    case AUDIT_LINE_RECORD:
        return audit_record_line(&line->record, json_deep_copy(line->readable));
    case AUDIT_LINE_HEAD:
        return audit_head_line(&line->head);
    case AUDIT_LINE_TRAILER:
        return audit_trailer_line(&line->trailer);
    case AUDIT_LINE_KEY:
        return audit_key_line(&line->key);
    }
    CHECK(!"a known kind");
    return NULL;
}

static void check_round_trip(const struct audit_line *line)
{
    json_t *again = written(line);
    CHECK(again != NULL && json_equal(again, line->json));
    json_decref(again);
}

/* Behind a header that fits it, and on its own. */
static void check_verifier(const uint8_t *data, size_t size, const struct audit_line *line)
{
    static const uint8_t zeros[LAPSE_AUDIT_HASH_BYTES];
    struct audit_header header = {"test", line->record.epoch, 1, 1, {(uint8_t *)zeros, sizeof zeros}, 0};
    struct lapse_error error = {.message = ""};
    struct audit_keys *keys = audit_keys_new();
    struct audit_verify *verify = audit_verify_new(keys, NULL, NULL);
    lapse_result result = lapse_ok();
    if (line->kind != AUDIT_LINE_HEADER)
        result = audit_verify_begin(verify, &header, &error);
    if (lapse_is_ok(result))
        result = audit_verify_line(verify, (const char *)data, size, &error);
    CHECK(lapse_is_ok(result) || error.message[0] != '\0');
    audit_verify_free(verify);
    audit_keys_free(keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lapse_error error = {.message = ""};
    struct audit_line line;
    if (!lapse_is_ok(audit_line_parse((const char *)data, size, &line, &error))) {
        CHECK(error.message[0] != '\0');
        return 0;
    }
    check_round_trip(&line);
    check_verifier(data, size, &line);
    audit_line_release(&line);
    return 0;
}
