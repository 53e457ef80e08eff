/* Any bytes as a command: decoded, validated, and applied to a store with a few grants. What is accepted must encode to
 * bytes that decode to the same. */
#include "base/check.h"
#include "store/store.h"
#include "tests/fuzz/fuzz_command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void apply(struct store *store, const struct command *command, int64_t time_ms)
{
    struct store_outcome outcome;
    uint64_t before = store_revision(store);
    store_apply(store, command, time_ms, NULL, NULL, &outcome);
    CHECK(store_revision(store) - before == outcome.n_events);
}

/* A point with a session under an active grant, and a barrier that waits for it. */
static void add_point(struct store *store)
{
    struct command bind = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:a"), .roles = ROLE_APPROVER};
    struct command join = {.type = COMMAND_REGISTER, .principal = slice_str("user:a"), .text = slice_str("edge-1")};
    struct command request = {.type = COMMAND_REQUEST, .principal = slice_str("user:a")};
    struct command approve = {.type = COMMAND_APPROVE, .principal = slice_str("user:c")};
    struct command session = {.type = COMMAND_SESSION_BEGIN, .principal = slice_str("user:a")};
    struct command revoke = {.type = COMMAND_REVOKE, .principal = slice_str("user:a"), .grant = {{5}}};
    bind.member = slice_str("user:c");
    apply(store, &bind, 1000);
    join.instance.bytes[0] = 1;
    join.scope = slice_str("db/*");
    join.lease_ms = 3000;
    apply(store, &join, 1000);
    request.terms.subject = slice_str("user:b");
    request.terms.resource = slice_str("db/x");
    request.terms.actions[0] = slice_str("read");
    request.terms.n_actions = 1;
    request.terms.justification = slice_str("to be used");
    request.terms.duration_ms = 1000000;
    for (uint8_t id = FUZZ_ACTIVE_GRANT; id <= 5; id++) {
        request.grant.bytes[0] = approve.grant.bytes[0] = id;
        apply(store, &request, 1000);
        apply(store, &approve, 1000);
    }
    session.instance = join.instance;
    session.session.bytes[0] = 1;
    session.grant.bytes[0] = FUZZ_ACTIVE_GRANT;
    apply(store, &session, 1000);
    apply(store, &revoke, 1000);
    CHECK(store_revision(store) == FUZZ_BARRIER);
}

static struct store *seeded_store(void)
{
    struct store *store = store_new(NULL);
    struct command init = {.type = COMMAND_INIT, .epoch = 1, .cluster = slice_str("fuzz"), .roles = ROLE_ALL};
    init.member = slice_str("user:a");
    apply(store, &init, 1000);
    struct command request = {.type = COMMAND_REQUEST, .principal = slice_str("user:a"), .grant = {{1}}};
    request.terms.subject = slice_str("user:b");
    request.terms.resource = slice_str("db/*");
    request.terms.actions[0] = slice_str("read");
    request.terms.n_actions = 1;
    request.terms.justification = slice_str("to be asked");
    request.terms.duration_ms = 1000;
    apply(store, &request, 1000);
    request.grant.bytes[0] = 2;
    apply(store, &request, 1000);
    add_point(store);
    CHECK(store_barriers_open(store) == 1);
    return store;
}

static void check_round_trip(const struct command *command)
{
    struct command again;
    struct buf first, second;
    buf_init(&first, 2 * LIMIT_COMMAND_BYTES);
    buf_init(&second, 2 * LIMIT_COMMAND_BYTES);
    CHECK(lapse_is_ok(command_encode(command, &first)));
    CHECK(lapse_is_ok(command_decode(buf_slice(&first), &again)));
    CHECK(lapse_is_ok(command_encode(&again, &second)));
    CHECK(slice_equal(buf_slice(&first), buf_slice(&second)));
    buf_free(&first);
    buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct command command;
    if (!lapse_is_ok(command_decode(slice_of(data, size), &command)))
        return 0;
    check_round_trip(&command);
    struct store *store = seeded_store();
    apply(store, &command, 2000);
    apply(store, &command, 1LL << 40);
    apply(store, &(struct command){.type = COMMAND_ADVANCE, .count = 100}, INT64_MAX);
    store_free(store);
    return 0;
}
