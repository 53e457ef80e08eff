#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/check.h"
#include "store_fixture.h"

static struct command full_request(void)
{
    static const char *const networks[] = {"10.0.0.0/8", "2001:db8::/32"};
    static uint8_t thumb[32] = {7};
    struct command command = fixture_request(5);
    struct grant *terms = &command.terms;
    command.key = fixture_key(9);
    terms->actions[0] = slice_str("connect");
    terms->actions[1] = slice_str("read");
    terms->n_actions = 2;
    terms->ticket = slice_str("OPS-1");
    terms->task = slice_str("task-7");
    terms->policy = slice_str("prod");
    terms->policy_version = 3;
    terms->break_glass = true;
    terms->max_uses = 4;
    terms->not_before_ms = T0 + 1;
    terms->pending_until_ms = T0 + 2;
    terms->parent = fixture_id(4);
    terms->binding.spiffe_id = slice_str("spiffe://example.org/x");
    terms->binding.certificate_sha256 = slice_of(thumb, 32);
    for (int i = 0; i < 2; i++)
        terms->binding.networks[terms->binding.n_networks++] = slice_str(networks[i]);
    terms->labels[0] = (struct grant_label){slice_str("env"), slice_str("prod")};
    terms->labels[1] = (struct grant_label){slice_str("team"), slice_str("")};
    terms->n_labels = 2;
    return command;
}

static struct buf encode(const struct command *command)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    lapse_result result = command_encode(command, &bytes);
    cr_assert(lapse_is_ok(result));
    return bytes;
}

/* Equal bytes again: nothing was lost, nothing added. */
static void survives(const struct command *command)
{
    struct command decoded;
    struct buf first = encode(command);
    lapse_result result = command_decode(buf_slice(&first), &decoded);
    cr_assert(lapse_is_ok(result));
    struct buf second = encode(&decoded);
    cr_assert(slice_equal(buf_slice(&first), buf_slice(&second)));
    buf_free(&first);
    buf_free(&second);
}

Test(command, every_command_survives_its_bytes)
{
    struct command request = full_request();
    survives(&request);
    for (int type = COMMAND_APPROVE; type <= COMMAND_INIT; type++) {
        struct command command = fixture_about((enum command_type)type, 3, "user:app1");
        command.text = slice_str("why\nnot");
        command.count = 12;
        command.member = slice_str("user:*");
        command.roles = 5;
        command.epoch = 1ULL << 40;
        command.cluster = slice_str("c1");
        survives(&command);
    }
}

Test(command, a_decoded_request_has_all_its_terms)
{
    struct command request = full_request(), decoded;
    struct buf bytes = encode(&request);
    lapse_result result = command_decode(buf_slice(&bytes), &decoded);
    cr_assert(lapse_is_ok(result));
    const struct grant *terms = &decoded.terms;
    cr_assert_eq(terms->n_actions, 2);
    cr_assert(slice_equal(terms->actions[1], slice_str("read")));
    cr_assert(terms->break_glass);
    cr_assert_eq(terms->max_uses, 4);
    cr_assert_eq(terms->policy_version, 3);
    cr_assert_eq(terms->binding.n_networks, 2);
    cr_assert_eq(terms->binding.certificate_sha256.len, 32);
    cr_assert(slice_equal(terms->labels[0].value, slice_str("prod")));
    cr_assert(slice_equal(terms->labels[1].key, slice_str("team")));
    cr_assert_eq(grant_id_compare(terms->parent, fixture_id(4)), 0);
    buf_free(&bytes);
}

Test(command, a_full_buffer_is_left_as_it_was)
{
    struct command request = full_request();
    struct buf bytes;
    buf_init(&bytes, 100);
    lapse_result result = buf_append(&bytes, "x", 1);
    cr_assert(lapse_is_ok(result));
    result = command_encode(&request, &bytes);
    cr_assert_eq(result.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_eq(bytes.len, 1);
    buf_free(&bytes);
}

Test(command, bytes_that_are_no_command_are_refused)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"", 0},                                     /* no type */
        {"\x08\x00", 2},                             /* type 0 */
        {"\x08\x11", 2},                             /* an unknown type */
        {"\x08\x02\x78\x01", 4},                     /* an unknown field */
        {"\x08\x02\x08\x02", 4},                     /* twice */
        {"\x30\x01\x08\x08", 4},                     /* out of order */
        {"\x08\x02\x22\x01x", 5},                    /* an id of one byte */
        {"\x08\x02\x3A\x00", 4},                     /* terms, but no request */
        {"\x08\x02\x1A\x05usr", 7},                  /* cut short */
        {"\x08\x08\x32\x01x", 5},                    /* a number as bytes */
        {"\x08\x08\x30\xFF\xFF\xFF\xFF\xFF\x01", 9}, /* a count past 32 bits */
    };
    struct command command;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        lapse_result result = command_decode(slice_of(cases[i].bytes, cases[i].len), &command);
        cr_assert_eq(result.code, LAPSE_DATA_LOSS, "case %zu", i);
    }
}

Test(command, mutated_bytes_never_crash_and_what_is_accepted_is_canonical)
{
    struct command request = full_request();
    struct fixture_random random = {77};
    struct buf original = encode(&request);
    uint32_t accepted = 0;
    for (int round = 0; round < 200000; round++) {
        struct command decoded;
        size_t len = fixture_pick(&random, 10) == 0 ? fixture_pick(&random, (uint32_t)original.len) : original.len;
        /* Exactly sized, so that a sanitizer sees a read past the end. */
        uint8_t *bytes = malloc(len == 0 ? 1 : len);
        memcpy(bytes, original.data, len);
        for (uint32_t i = fixture_pick(&random, 3); len > 0 && i < 3; i++)
            bytes[fixture_pick(&random, (uint32_t)len)] = (uint8_t)fixture_random(&random);
        if (lapse_is_ok(command_decode(slice_of(bytes, len), &decoded))) {
            struct lapse_error error;
            (void)lapse_is_ok(command_validate(&decoded, &error));
            survives(&decoded);
            accepted++;
        }
        free(bytes);
    }
    cr_assert_gt(accepted, 0);
    buf_free(&original);
}

static enum lapse_code validate(const struct command *command)
{
    struct lapse_error error = {0};
    lapse_result result = command_validate(command, &error);
    cr_assert(lapse_is_ok(result) || error.message[0] != '\0');
    return result.code;
}

#define REQUEST_WITH(change)                                                                                           \
    ({                                                                                                                 \
        struct command command = full_request();                                                                       \
        struct grant *terms = &command.terms;                                                                          \
        (void)terms;                                                                                                   \
        change;                                                                                                        \
        validate(&command);                                                                                            \
    })

Test(command, every_limit_of_a_request_is_checked)
{
    static char text[2000];
    memset(text, 'a', sizeof text);
    cr_assert_eq(REQUEST_WITH(), LAPSE_OK);
    cr_assert_eq(REQUEST_WITH(command.principal.len = 0), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(command.principal = slice_of(text, LIMIT_PRINCIPAL + 1)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(memset(&command.grant, 0, 16)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->parent = command.grant), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->subject.len = 0), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->n_actions = 0), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->actions[1] = terms->actions[0]), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->justification.len = 0), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->justification = slice_of(text, LIMIT_JUSTIFICATION + 1)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->justification = slice_str("a\x02")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->justification = slice_of("a\0b", 3)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->ticket = slice_str("a\nb")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->ticket = slice_of(text, LIMIT_TICKET + 1)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->task = slice_of(text, LIMIT_TASK + 1)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->policy = slice_of(text, LIMIT_POLICY + 1)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->labels[1].key = slice_str("env")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->labels[1].key.len = 0), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->labels[0].value = slice_of(text, LIMIT_LABEL_VALUE + 1)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->binding.certificate_sha256.len = 31), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->binding.spiffe_id = slice_str("user:x")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->binding.networks[0] = slice_str("10.0.0.1/8")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->duration_ms = 0), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->deadline_ms = T0 + 5), LAPSE_INVALID_ARGUMENT, "a duration and a deadline");
    cr_assert_eq(REQUEST_WITH(terms->duration_ms = 0; terms->deadline_ms = T0 + 1), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->duration_ms = LIMIT_DURATION_MS_MAX + 1), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(REQUEST_WITH(terms->duration_ms = -1), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(REQUEST_WITH(terms->not_before_ms = LIMIT_TIME_MS_MAX + 1), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(REQUEST_WITH(terms->max_uses = LIMIT_USES_MAX + 1), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(REQUEST_WITH(command.type = (enum command_type)0), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(command.type = (enum command_type)17), LAPSE_INVALID_ARGUMENT);
}

#define WITH(kind, change)                                                                                             \
    ({                                                                                                                 \
        struct command command = fixture_about(kind, 3, "user:app1");                                                  \
        change;                                                                                                        \
        validate(&command);                                                                                            \
    })

Test(command, every_limit_of_the_others_is_checked)
{
    static char text[600];
    memset(text, 'a', sizeof text);
    cr_assert_eq(WITH(COMMAND_APPROVE, ), LAPSE_OK);
    cr_assert_eq(WITH(COMMAND_REVOKE, command.text = slice_of(text, LIMIT_REASON + 1)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(WITH(COMMAND_DENY, command.text = slice_str("\x1B[2J")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(WITH(COMMAND_USE, command.count = 0), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(WITH(COMMAND_USE, command.count = LIMIT_USES_MAX + 1), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(WITH(COMMAND_ADVANCE, command.count = 0), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(WITH(COMMAND_ADVANCE, command.count = 1; command.key = fixture_key(1)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(WITH(COMMAND_SET_ROLES, command.member = slice_str("user:*"); command.roles = 31), LAPSE_OK);
    cr_assert_eq(WITH(COMMAND_SET_ROLES, command.member = slice_str("user:x"); command.roles = 32),
                 LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(WITH(COMMAND_SET_ROLES, command.member = slice_str("*")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(WITH(COMMAND_SET_ROLES, command.member = slice_str("a*b")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(WITH(COMMAND_SET_ROLES, command.member = slice_str("a**")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(WITH(COMMAND_INIT, command.member = slice_str("user:ops"); command.epoch = 1), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(WITH(COMMAND_INIT, command.member = slice_str("user:ops"); command.cluster = slice_str("c")),
                 LAPSE_OUT_OF_RANGE);
}
