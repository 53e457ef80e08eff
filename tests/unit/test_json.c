/* JSON by descriptors: what a webhook is sent. */
#include <criterion/criterion.h>
#include <jansson.h>

#include "base/limits.h"
#include "proto/json.h"
#include "store/store.h"
#include "store/words.h"

static struct buf json, bytes;

static void begin(void)
{
    buf_init(&json, LIMIT_MESSAGE_OUT);
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
}

static void end(void)
{
    buf_free(&json);
    buf_free(&bytes);
}

TestSuite(json, .init = begin, .fini = end);

static json_t *parsed(void)
{
    json_error_t error;
    json_t *value = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(value, "%s: %.*s", error.text, (int)json.len, (const char *)json.data);
    return value;
}

Test(json, an_event_has_the_names_of_its_schema)
{
    struct grant grant = {.id = grant_id_make(1767225600000, (const uint8_t *)"0123456789"),
                          .state = GRANT_REVOKED,
                          .subject = slice_str("user:dev1"),
                          .resource = slice_str("db/prod/orders"),
                          .actions = {slice_str("connect"), slice_str("read")},
                          .n_actions = 2,
                          .justification = slice_str("\"quoted\"\n\\ and \xC3\xA9"),
                          .break_glass = true,
                          .deadline_ms = 1767229200000,
                          .token_sha256 = slice_of("abcd", 4)};
    struct event_words event = {.revision = 9007199254740991,
                                .time_ms = 1767225600001,
                                .type = STORE_EVENT_REVOKED,
                                .grant = &grant,
                                .actor = slice_str("user:ops")};
    cr_assert(lapse_is_ok(words_encode_event(&event, &bytes)));
    cr_assert(lapse_is_ok(json_of_message("lapse.v1.Event", buf_slice(&bytes), &json)));
    json_t *value = parsed();
    json_t *shown = json_object_get(value, "grant");
    cr_expect_eq(json_integer_value(json_object_get(value, "revision")), 9007199254740991);
    cr_expect_str_eq(json_string_value(json_object_get(value, "type")), "EVENT_REVOKED");
    cr_expect_str_eq(json_string_value(json_object_get(value, "actor")), "user:ops");
    cr_expect_str_eq(json_string_value(json_object_get(shown, "state")), "REVOKED");
    cr_expect_str_eq(json_string_value(json_object_get(shown, "justification")), "\"quoted\"\n\\ and \xC3\xA9");
    cr_expect_eq(json_array_size(json_object_get(shown, "actions")), 2);
    cr_expect(json_is_true(json_object_get(shown, "break_glass")));
    cr_expect_str_eq(json_string_value(json_object_get(shown, "token_sha256")), "YWJjZA==");
    cr_expect_null(json_object_get(shown, "ticket"), "what is empty is left out");
    cr_expect_null(json_object_get(value, "point"));
    json_decref(value);
}

Test(json, text_that_is_no_utf8_becomes_the_replacement_character)
{
    cr_assert(lapse_is_ok(json_of_text(slice_str("a\xFF\xC3(b\x01\x7F"), &json)));
    cr_expect(slice_equal(buf_slice(&json), slice_str("\"a\\ufffd\\ufffd(b\\u0001\\u007f\"")));
    buf_clear(&json);
    cr_assert(lapse_is_ok(json_of_text(slice_str("\xE2\x82"), &json)), "cut short");
    cr_expect(slice_equal(buf_slice(&json), slice_str("\"\\ufffd\\ufffd\"")));
}

Test(json, unknown_fields_are_passed_over_and_unknown_values_stay_numbers)
{
    cr_assert(lapse_is_ok(json_of_message("lapse.v1.Event", slice_str("\x18\x7E\xF8\x3F\x05"), &json)));
    cr_expect(slice_equal(buf_slice(&json), slice_str("{\"type\":126}")));
}

Test(json, bytes_that_are_no_such_message_are_refused)
{
    static const char *const cases[] = {"\x0A", "\x0A\x01x", "\x22\x02\x0A\x05", "\x08\x01\x08\x02"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_clear(&json);
        cr_expect_eq(json_of_message("lapse.v1.Event", slice_str(cases[i]), &json).code, LAPSE_INVALID_ARGUMENT,
                     "case %zu", i);
    }
    cr_expect_eq(json_of_message("lapse.v1.Nothing", slice_str(""), &json).code, LAPSE_INVALID_ARGUMENT);
}
