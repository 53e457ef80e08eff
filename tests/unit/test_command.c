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

static struct command full_register(void)
{
    return fixture_register("edge-1", 7, "db/* web/shop");
}

static struct command full_receipts(void)
{
    return fixture_receipt(1ULL << 40, 7, RECEIPT_FAILED, T0);
}

static struct command full_session(enum command_type type)
{
    struct command command = fixture_about(type, 3, "user:ep");
    command.instance = fixture_random_id(7);
    command.session = fixture_random_id(8);
    command.text = slice_str("sshd pts/3");
    return command;
}

static struct command full_sweep(void)
{
    struct command command = {.type = COMMAND_REVOKE_MATCHING, .principal = slice_str("user:ops")};
    command.key = fixture_key(3);
    command.text = slice_str("they left");
    command.filter = (struct store_filter){.subject = slice_str("user:dev1"),
                                           .resource = slice_str("db/*"),
                                           .requester = slice_str("user:req1"),
                                           .approver = slice_str("user:app1"),
                                           .ticket = slice_str("OPS-1"),
                                           .policy = slice_str("prod"),
                                           .parent = fixture_id(4),
                                           .states = 1u << GRANT_ACTIVE};
    return command;
}

Test(command, the_commands_of_enforcement_survive_their_bytes)
{
    const struct command commands[] = {full_register(), full_receipts(), full_session(COMMAND_SESSION_BEGIN),
                                       full_session(COMMAND_SESSION_END), full_sweep()};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        cr_assert_eq(command_validate(&commands[i], NULL).code, LAPSE_OK, "%zu", i);
        survives(&commands[i]);
    }
}

Test(command, decoded_commands_of_enforcement_have_what_was_encoded)
{
    struct command wanted = full_sweep(), decoded;
    struct buf bytes = encode(&wanted);
    lapse_result result = command_decode(buf_slice(&bytes), &decoded);
    cr_assert(lapse_is_ok(result));
    cr_assert(slice_equal(decoded.filter.approver, slice_str("user:app1")));
    cr_assert(slice_equal(decoded.filter.policy, slice_str("prod")));
    cr_assert_eq(grant_id_compare(decoded.filter.parent, fixture_id(4)), 0);
    cr_assert_eq(decoded.filter.states, 1u << GRANT_ACTIVE);
    buf_free(&bytes);
    wanted = full_receipts();
    bytes = encode(&wanted);
    result = command_decode(buf_slice(&bytes), &decoded);
    cr_assert(lapse_is_ok(result));
    struct receipt receipt;
    struct random_id instance = fixture_random_id(7);
    cr_assert(receipts_next(&decoded.receipts, &receipt));
    cr_assert_eq(receipt.barrier, 1ULL << 40);
    cr_assert_eq(receipt.level, RECEIPT_FAILED);
    cr_assert_eq(receipt.time_ms, T0);
    cr_assert_eq(memcmp(receipt.instance.bytes, instance.bytes, sizeof instance.bytes), 0);
    cr_assert(slice_equal(receipt.reason, slice_str("a shell does not end")));
    cr_assert_not(receipts_next(&decoded.receipts, &receipt));
    buf_free(&bytes);
}

Test(command, a_command_takes_so_many_receipts_and_no_more)
{
    struct buf bytes;
    struct receipt receipt = {UINT32_MAX, fixture_random_id(1), RECEIPT_ENFORCED, T0, {0}};
    lapse_result result = lapse_ok();
    uint32_t n = 0;
    buf_init(&bytes, 1 << 20);
    for (; lapse_is_ok(result); n++)
        result = receipts_add(&bytes, &receipt);
    cr_assert_eq(result.code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_eq(n - 1, LIMIT_RECEIPTS_PER_COMMAND);
    /* With long reasons it is their bytes that count: what was taken fits in a command. */
    static char reason[LIMIT_RECEIPT_REASON];
    memset(reason, 'r', sizeof reason);
    receipt.level = RECEIPT_FAILED;
    receipt.reason = slice_of(reason, sizeof reason);
    buf_clear(&bytes);
    do
        result = receipts_add(&bytes, &receipt);
    while (lapse_is_ok(result));
    struct command command = {.type = COMMAND_RECEIPTS, .receipts = buf_slice(&bytes)};
    cr_assert_gt(bytes.len, LIMIT_COMMAND_BYTES / 2);
    cr_assert_eq(command_validate(&command, NULL).code, LAPSE_OK);
    survives(&command);
    buf_free(&bytes);
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
        {"", 0},                                              /* no type */
        {"\x08\x00", 2},                                      /* type 0 */
        {"\x08\x63", 2},                                      /* an unknown type */
        {"\x08\x02\x78\x01", 4},                              /* an unknown field */
        {"\x08\x02\x08\x02", 4},                              /* twice */
        {"\x30\x01\x08\x08", 4},                              /* out of order */
        {"\x08\x02\x22\x01x", 5},                             /* an id of one byte */
        {"\x08\x02\x3A\x00", 4},                              /* terms, but no request */
        {"\x08\x07\x62\x01x", 5},                             /* a scope, but a revocation */
        {"\x08\x0B\x8A\x01\x00", 5},                          /* a filter, but a registration */
        {"\x08\x10\x82\x01\x00", 5},                          /* receipts, but a sweep */
        {"\x08\x0C\x82\x01\x02\x10\x01", 7},                  /* receipts with an unknown field */
        {"\x08\x0C\x82\x01\x04\x0A\x02\x18\x05", 9},          /* a receipt of an unknown level */
        {"\x08\x0C\x82\x01\x06\x0A\x04\x18\x01\x08\x01", 11}, /* a receipt out of order */
        {"\x08\x10\x8A\x01\x02\x68\x01", 7},                  /* a filter with an unknown member */
        {"\x08\x02\x1A\x05usr", 7},                           /* cut short */
        {"\x08\x08\x32\x01x", 5},                             /* a number as bytes */
        {"\x08\x08\x30\xFF\xFF\xFF\xFF\xFF\x01", 9},          /* a count past 32 bits */
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
        terms->policy_version = 0;                                                                                     \
        change;                                                                                                        \
        validate(&command);                                                                                            \
    })

Test(command, a_request_brings_nothing_that_the_policy_decides)
{
    static uint8_t hash[32] = {1};
    cr_assert_eq(REQUEST_WITH(terms->policy_version = 1), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->rule = slice_str("anything")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->n_steps = 1; terms->steps[0].count = 1), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->automatic = true), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->self_approval = true), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->held = true), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->delegation_depth = 1), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->review_within_ms = 1), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->reviewers = slice_str("user:req1")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->token_rule = TOKEN_RULE_FORBIDDEN), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(REQUEST_WITH(terms->token_sha256 = slice_of(hash, 32)), LAPSE_INVALID_ARGUMENT);
}

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
    cr_assert_eq(REQUEST_WITH(command.type = (enum command_type)(COMMAND_LAST + 1)), LAPSE_INVALID_ARGUMENT);
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

#define CHANGED(made, change)                                                                                          \
    ({                                                                                                                 \
        struct command command = made;                                                                                 \
        change;                                                                                                        \
        validate(&command);                                                                                            \
    })

Test(command, every_limit_of_a_registration_is_checked)
{
    static char text[LIMIT_SCOPE + 1];
    memset(text, 'a', sizeof text);
    cr_assert_eq(CHANGED(full_register(), ), LAPSE_OK);
    static const char *const ids[] = {"", "a b", "a/b", "a:b", "a*", "a\n", "\xC3\xA4"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        cr_assert_eq(CHANGED(full_register(), command.text = slice_str(ids[i])), LAPSE_INVALID_ARGUMENT, "%zu", i);
    cr_assert_eq(CHANGED(full_register(), command.text = slice_of(text, LIMIT_POINT_ID)), LAPSE_OK);
    cr_assert_eq(CHANGED(full_register(), command.text = slice_of(text, LIMIT_POINT_ID + 1)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(full_register(), memset(&command.instance, 0, 16)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(full_register(), command.lease_ms = LIMIT_LEASE_MS_MIN - 1), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(CHANGED(full_register(), command.lease_ms = LIMIT_LEASE_MS_MAX + 1), LAPSE_OUT_OF_RANGE);
    static const char *const scopes[] = {"",       " ",     "db ", " db", "db  web",
                                         "web db", "db db", "db/", "d*",  "a b c d e f g h i"};
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++)
        cr_assert_eq(CHANGED(full_register(), command.scope = slice_str(scopes[i])), LAPSE_INVALID_ARGUMENT, "%zu", i);
    cr_assert_eq(CHANGED(full_register(), command.scope = slice_str("a b c d e f g h")), LAPSE_OK);
    cr_assert_eq(CHANGED(full_register(), command.scope = slice_of(text, sizeof text)), LAPSE_INVALID_ARGUMENT);
}

Test(command, every_limit_of_receipts_ends_and_sessions_is_checked)
{
    static char text[LIMIT_SESSION_DESCRIPTION + 1];
    memset(text, 'a', sizeof text);
    cr_assert_eq(CHANGED(fixture_receipt(0, 1, RECEIPT_ENFORCED, T0), ), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(CHANGED(fixture_receipt(1, 0, RECEIPT_ENFORCED, T0), ), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(fixture_receipt(1, 1, (enum receipt_level)0, T0), ), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(fixture_receipt(1, 1, RECEIPT_LEFT, LIMIT_TIME_MS_MAX + 1), ), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(CHANGED(full_receipts(), command.receipts.len = 0), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(CHANGED(full_receipts(), command.receipts.len--), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(full_receipts(), command.key = fixture_key(1)), LAPSE_INVALID_ARGUMENT);
    struct command end = {.type = COMMAND_END_POINT, .instance = fixture_random_id(1), .count = POINT_END_FENCED};
    cr_assert_eq(CHANGED(end, ), LAPSE_OK);
    cr_assert_eq(CHANGED(end, command.count = POINT_END_FENCED + 1), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(CHANGED(end, command.count = 0), LAPSE_OUT_OF_RANGE);
    cr_assert_eq(CHANGED(end, command.key = fixture_key(1)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(end, memset(&command.instance, 0, 16)), LAPSE_INVALID_ARGUMENT);
    struct command begin = full_session(COMMAND_SESSION_BEGIN);
    cr_assert_eq(CHANGED(begin, memset(&command.instance, 0, 16)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(begin, memset(&command.session, 0, 16)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(begin, memset(&command.grant, 0, 16)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(begin, command.text = slice_str("a\nb")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(begin, command.text = slice_of(text, sizeof text)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(full_session(COMMAND_SESSION_END), memset(&command.grant, 0, 16)), LAPSE_OK);
}

Test(command, every_member_of_a_filter_is_checked)
{
    cr_assert_eq(CHANGED(full_sweep(), memset(&command.filter, 0, sizeof command.filter)), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(full_sweep(), command.filter.states = 1u << GRANT_REVOKED), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(full_sweep(), command.filter.subject = slice_str("a b")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(full_sweep(), command.filter.resource = slice_str("a//b")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(full_sweep(), command.filter.requester = slice_str("*")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(full_sweep(), command.filter.approver = slice_str("'")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(full_sweep(), command.filter.ticket = slice_str("a\nb")), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(full_sweep(), command.filter.policy = slice_str("\x01")), LAPSE_INVALID_ARGUMENT);
}

Test(command, a_scope_is_for_enforcers)
{
    struct command bind = fixture_about(COMMAND_SET_ROLES, 0, "user:ops");
    bind.member = slice_str("user:ep");
    bind.roles = ROLE_ENFORCER | ROLE_AUDITOR;
    bind.scope = slice_str("db/* web");
    cr_assert_eq(CHANGED(bind, ), LAPSE_OK);
    survives(&bind);
    cr_assert_eq(CHANGED(bind, command.roles = ROLE_AUDITOR), LAPSE_INVALID_ARGUMENT);
    cr_assert_eq(CHANGED(bind, command.scope = slice_str("web db")), LAPSE_INVALID_ARGUMENT);
}
