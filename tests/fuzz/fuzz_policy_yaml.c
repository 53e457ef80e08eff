/* A policy or its tests as a file, which somebody else may have written. Whatever comes: it is refused with a message,
 * or becomes a policy that, written as a file again, reads as the same policy.
 *
 * The first byte chooses: "t" tests, anything else (a comment's "#", as a rule) a policy. */
#include <stdlib.h>

#include "base/check.h"
#include "client/policy_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const struct policy *policy, struct buf *bytes)
{
    buf_init(bytes, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(policy_encode(policy, bytes)));
}

static void check_round_trip(const struct policy *policy)
{
    struct policy_file again;
    struct lapse_error error;
    struct buf text, bytes, bytes_again;
    buf_init(&text, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(policy_yaml_put(policy, &text)));
    CHECK(lapse_is_ok(policy_yaml_parse(buf_slice(&text), "again", &again, &error)));
    encode(policy, &bytes);
    encode(&again.policy, &bytes_again);
    CHECK(slice_equal(buf_slice(&bytes), buf_slice(&bytes_again)));
    policy_file_free(&again);
    buf_free(&text);
    buf_free(&bytes);
    buf_free(&bytes_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct lapse_error error = {.message = ""};
    struct policy_file file;
    struct policy_tests tests;
    lapse_result result;
    if (size > 0 && data[0] == 't') {
        result = policy_tests_parse(text, "fuzz", &tests, &error);
        if (lapse_is_ok(result))
            policy_tests_free(&tests);
    } else {
        result = policy_yaml_parse(text, "fuzz", &file, &error);
        if (lapse_is_ok(result)) {
            check_round_trip(&file.policy);
            policy_file_free(&file);
        }
    }
    CHECK(lapse_is_ok(result) || strncmp(error.message, "fuzz:", 5) == 0);
    return 0;
}
