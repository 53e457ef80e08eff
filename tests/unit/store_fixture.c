#include "store_fixture.h"

#include "base/check.h"
#include "store/policy.h"

void fixture_open(struct store *store, const char *name)
{
    struct slice all = slice_str("*");
    struct policy_rule rule = {.name = slice_str("all"),
                               .requesters = {&all, 1},
                               .subjects = {&all, 1},
                               .resources = {&all, 1},
                               .delegation_depth = LIMIT_GRANT_DEPTH - 1};
    struct policy policy = {.name = slice_str(name), .rules = &rule, .n_rules = 1};
    struct command command = {.type = COMMAND_APPLY_POLICY, .principal = slice_str("user:ops")};
    struct buf bytes;
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    CHECK(lapse_is_ok(policy_encode(&policy, &bytes)));
    command.value = buf_slice(&bytes);
    fixture_must(store, command, T0);
    buf_free(&bytes);
}

struct grant_id fixture_id(uint64_t number)
{
    uint8_t random[10] = {0};
    for (int i = 0; i < 8; i++)
        random[2 + i] = (uint8_t)(number >> (8 * (7 - i)));
    return grant_id_make(T0, random);
}

struct request_key fixture_key(uint64_t number)
{
    struct request_key key = {{1}};
    memcpy(key.bytes + 8, &number, sizeof number);
    return key;
}

struct command fixture_request(uint64_t number)
{
    struct command command = {
        .type = COMMAND_REQUEST, .grant = fixture_id(number), .principal = slice_str("user:req1")};
    command.terms.subject = slice_str("user:dev1");
    command.terms.resource = slice_str("db/prod/orders");
    command.terms.actions[0] = slice_str("read");
    command.terms.n_actions = 1;
    command.terms.justification = slice_str("restore one order");
    command.terms.duration_ms = 60000;
    return command;
}

struct command fixture_about(enum command_type type, uint64_t number, const char *principal)
{
    struct command command = {.type = type, .grant = fixture_id(number), .principal = slice_str(principal)};
    command.count = type == COMMAND_USE ? 1 : 0;
    return command;
}

struct command fixture_advance(uint32_t count)
{
    return (struct command){.type = COMMAND_ADVANCE, .count = count};
}

struct random_id fixture_random_id(uint64_t number)
{
    struct random_id id = {{0}};
    memcpy(id.bytes, &number, sizeof number);
    return id;
}

struct command fixture_register(const char *id, uint64_t instance, const char *scope)
{
    return (struct command){.type = COMMAND_REGISTER,
                            .principal = slice_str("user:ep"),
                            .text = slice_str(id),
                            .instance = fixture_random_id(instance),
                            .scope = slice_str(scope),
                            .lease_ms = 3000};
}

struct command fixture_receipt(uint64_t barrier, uint64_t instance, enum receipt_level level, int64_t time_ms)
{
    static struct buf bytes;
    struct receipt receipt = {
        .barrier = barrier, .instance = fixture_random_id(instance), .level = level, .time_ms = time_ms};
    if (level == RECEIPT_FAILED)
        receipt.reason = slice_str("a shell does not end");
    buf_free(&bytes);
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    lapse_result result = receipts_add(&bytes, &receipt);
    CHECK(lapse_is_ok(result));
    return (struct command){.type = COMMAND_RECEIPTS, .receipts = buf_slice(&bytes)};
}

struct store_outcome fixture_apply(struct store *store, struct command command, int64_t time_ms)
{
    struct store_outcome outcome;
    store_apply(store, &command, time_ms, NULL, NULL, &outcome);
    return outcome;
}

struct store_outcome fixture_must(struct store *store, struct command command, int64_t time_ms)
{
    struct store_outcome outcome = fixture_apply(store, command, time_ms);
    if (outcome.error.code != LAPSE_OK)
        check_failed(outcome.error.message, __FILE__, __LINE__);
    return outcome;
}

static void bind(struct store *store, const char *member, uint32_t roles)
{
    struct command command = {.type = COMMAND_SET_ROLES, .principal = slice_str("user:ops"), .roles = roles};
    command.member = slice_str(member);
    fixture_must(store, command, T0);
}

struct store *fixture_store(const struct store_options *options)
{
    struct store *store = store_new(options);
    struct command init = {.type = COMMAND_INIT, .epoch = 1, .cluster = slice_str("test-1")};
    init.member = slice_str("user:ops");
    fixture_must(store, init, T0);
    bind(store, "user:req*", ROLE_REQUESTER);
    bind(store, "user:app1", ROLE_APPROVER);
    bind(store, "user:app2", ROLE_APPROVER | ROLE_REQUESTER);
    bind(store, "user:ep", ROLE_ENFORCER);
    return store;
}

enum grant_state fixture_state(const struct store *store, uint64_t number)
{
    struct grant grant;
    return store_get(store, fixture_id(number), &grant) ? grant.state : 0;
}

bool fixture_same_digest(const struct store *a, const struct store *b)
{
    struct store_digest x = store_digest(a), y = store_digest(b);
    return x.words[0] == y.words[0] && x.words[1] == y.words[1];
}

struct buf fixture_snapshot(struct store *store, size_t piece)
{
    struct buf bytes;
    bool done = false;
    struct store_view *view = store_freeze(store);
    buf_init(&bytes, 1u << 30);
    CHECK(view != NULL);
    while (!done) {
        lapse_result result = store_view_read(view, piece, &bytes, &done);
        CHECK(lapse_is_ok(result));
    }
    store_view_free(view);
    return bytes;
}

struct store *fixture_restore(struct slice bytes, size_t piece, const struct store_options *options,
                              struct lapse_error *error)
{
    struct store *store = NULL;
    struct store_restore *restore = store_restore_begin(options);
    lapse_result result = lapse_ok();
    for (size_t at = 0; at < bytes.len && lapse_is_ok(result); at += piece)
        result = store_restore_feed(restore, slice_of(bytes.data + at, bytes.len - at < piece ? bytes.len - at : piece),
                                    error);
    if (!lapse_is_ok(result)) {
        store_restore_abort(restore);
        return NULL;
    }
    result = store_restore_end(restore, &store, error);
    return lapse_is_ok(result) ? store : NULL;
}

uint64_t fixture_random(struct fixture_random *random)
{
    uint64_t z = (random->state += 0x9E3779B97F4A7C15ULL);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ z >> 27) * 0x94D049BB133111EBULL;
    return z ^ z >> 31;
}

uint32_t fixture_pick(struct fixture_random *random, uint32_t n)
{
    return (uint32_t)(fixture_random(random) % n);
}
