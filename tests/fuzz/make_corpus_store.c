/* Seeds of what a disk holds: commands, snapshots of the store, segments and snapshot files of the log. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "raft/entry.h"
#include "raft/members.h"
#include "tests/fuzz/fuzz_command.h"
#include "tests/fuzz/make_corpus.h"
#include "tests/unit/governed_fixture.h"
#include "tests/unit/log_fixture.h"
#include "tests/unit/store_fixture.h"

/* --- commands ----------------------------------------------------------------------------------------------------- */

const char *sample_command_name(enum command_type type)
{
    static const char *const names[] = {
        [COMMAND_REQUEST] = "request",
        [COMMAND_APPROVE] = "approve",
        [COMMAND_DENY] = "deny",
        [COMMAND_CANCEL] = "cancel",
        [COMMAND_USE] = "use",
        [COMMAND_COMPLETE] = "complete",
        [COMMAND_REVOKE] = "revoke",
        [COMMAND_ADVANCE] = "advance",
        [COMMAND_SET_ROLES] = "set-roles",
        [COMMAND_INIT] = "init",
        [COMMAND_REGISTER] = "register",
        [COMMAND_RECEIPTS] = "receipts",
        [COMMAND_END_POINT] = "end-point",
        [COMMAND_SESSION_BEGIN] = "session-begin",
        [COMMAND_SESSION_END] = "session-end",
        [COMMAND_REVOKE_MATCHING] = "revoke-matching",
    };
    return names[type];
}

/* A grant that fuzz_command.c has in its store, so that most commands take effect there. */
static struct command about_grant(enum command_type type)
{
    struct command command = {.type = type, .key = fixture_key(9), .principal = slice_str("user:a"), .grant = {{1}}};
    if (type == COMMAND_USE)
        command.count = 1;
    else
        command.text = slice_str("as asked");
    return command;
}

/* About the point that fuzz_command.c has in its store; its revocation has opened the barrier. */
static struct command about_point(enum command_type type)
{
    struct command command = {.type = type, .principal = slice_str("user:a"), .instance = {{1}}};
    switch (type) {
    case COMMAND_REGISTER:
        command.text = slice_str("edge-1");
        command.instance.bytes[0] = 2;
        command.scope = slice_str("db/* web/shop");
        command.lease_ms = LIMIT_LEASE_MS_DEFAULT;
        return command;
    case COMMAND_RECEIPTS:
        return fixture_receipt(FUZZ_BARRIER, 1, RECEIPT_FAILED, T0);
    case COMMAND_END_POINT:
        return (struct command){.type = type, .instance = {{1}}, .count = POINT_END_LAPSED};
    case COMMAND_SESSION_BEGIN:
        command.text = slice_str("sshd pts/3");
        command.grant.bytes[0] = FUZZ_ACTIVE_GRANT;
        /* fall through */
    default:
        command.session.bytes[0] = type == COMMAND_SESSION_BEGIN ? 2 : 1;
        return command;
    }
}

static struct command sweep(void)
{
    return (struct command){.type = COMMAND_REVOKE_MATCHING,
                            .key = fixture_key(9),
                            .principal = slice_str("user:a"),
                            .text = slice_str("they left"),
                            .filter = {.subject = slice_str("user:b"),
                                       .resource = slice_str("db/*"),
                                       .states = 1u << GRANT_PENDING | 1u << GRANT_ACTIVE}};
}

struct command sample_command(enum command_type type)
{
    struct command command = {.type = type, .principal = slice_str("user:a")};
    switch (type) {
    case COMMAND_REQUEST:
        command.key = fixture_key(9);
        command.grant.bytes[0] = 3;
        command.terms = sample_terms();
        command.terms.resource = slice_str("db/x");
        command.terms.actions[0] = slice_str("read");
        command.terms.n_actions = 1;
        command.terms.subject = slice_str("user:b");
        command.terms.not_before_ms = 5000;
        command.terms.pending_until_ms = 4000;
        return command;
    case COMMAND_ADVANCE:
        return (struct command){.type = type, .count = 100};
    case COMMAND_SET_ROLES:
        command.member = slice_str("spiffe://example.org/user/*");
        command.roles = ROLE_REQUESTER | ROLE_APPROVER;
        return command;
    case COMMAND_INIT:
        return (struct command){.type = type,
                                .epoch = 7,
                                .cluster = slice_str(FIXTURE_CLUSTER),
                                .member = slice_str("user:a"),
                                .roles = ROLE_ALL};
    case COMMAND_REVOKE_MATCHING:
        return sweep();
    default:
        return type >= COMMAND_REGISTER ? about_point(type) : about_grant(type);
    }
}

static void seed_command(const char *name, const struct command *command)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    lapse_result result = command_encode(command, &bytes);
    CHECK(lapse_is_ok(result));
    seed_write("command", name, SEED_NO_PREFIX, buf_slice(&bytes));
    buf_free(&bytes);
}

/* As many of everything as is allowed. */
static struct command widest_request(void)
{
    static char names[LIMIT_LABELS][4];
    struct command command = sample_command(COMMAND_REQUEST);
    for (uint32_t i = 0; i < LIMIT_LABELS; i++) {
        (void)snprintf(names[i], sizeof names[i], "n%02u", i);
        command.terms.labels[i] = (struct grant_label){slice_str(names[i]), slice_str("v")};
    }
    for (uint32_t i = 0; i < LIMIT_ACTIONS; i++)
        command.terms.actions[i] = slice_str(names[i]);
    for (uint32_t i = 0; i < LIMIT_NETWORKS; i++)
        command.terms.binding.networks[i] = slice_str("10.0.0.0/8");
    command.terms.n_labels = LIMIT_LABELS;
    command.terms.n_actions = LIMIT_ACTIONS;
    command.terms.binding.n_networks = LIMIT_NETWORKS;
    return command;
}

void seed_commands(void)
{
    for (enum command_type type = COMMAND_REQUEST; type <= COMMAND_REVOKE_MATCHING; type++) {
        struct command command = sample_command(type);
        seed_command(sample_command_name(type), &command);
    }
    struct command command = sample_command(COMMAND_REQUEST);
    command.terms.parent.bytes[0] = 1;
    seed_command("request-below-another", &command);
    command = widest_request();
    seed_command("request-widest", &command);
    command = sample_command(COMMAND_SET_ROLES);
    command.roles = 0;
    seed_command("set-roles-none", &command);
    command = about_grant(COMMAND_REVOKE);
    memset(&command.key, 0, sizeof command.key);
    seed_command("revoke-without-key", &command);
}

/* --- the store's snapshot ----------------------------------------------------------------------------------------- */

static void request(struct store *store, uint64_t number, struct grant terms)
{
    struct command command = fixture_request(number);
    command.key = fixture_key(number);
    if (terms.subject.len > 0) {
        command.terms = terms;
        command.terms.policy = (struct slice){0}; /* none is applied here */
    } else {
        command.terms.duration_ms = terms.duration_ms > 0 ? terms.duration_ms : 1800000;
        command.terms.not_before_ms = terms.not_before_ms;
        command.terms.pending_until_ms = terms.pending_until_ms;
        command.terms.max_uses = terms.max_uses;
        command.terms.parent = terms.parent;
    }
    fixture_must(store, command, T0);
}

static void about(struct store *store, enum command_type type, uint64_t number, const char *principal)
{
    struct command command = fixture_about(type, number, principal);
    if (type != COMMAND_USE)
        command.text = slice_str("why");
    fixture_must(store, command, T0 + 1000);
}

/* One grant in each state; its number is the state's. */
static struct store *store_of_all_states(void)
{
    struct store *store = fixture_store(NULL);
    request(store, GRANT_PENDING, sample_terms());
    request(store, GRANT_APPROVED, (struct grant){.not_before_ms = T0 + 600000});
    request(store, GRANT_EXPIRED, (struct grant){.duration_ms = 10000});
    request(store, GRANT_EXHAUSTED, (struct grant){.max_uses = 1});
    request(store, GRANT_LAPSED, (struct grant){.pending_until_ms = T0 + 20000});
    static const enum grant_state plain[] = {GRANT_ACTIVE, GRANT_REVOKED, GRANT_COMPLETED, GRANT_DENIED,
                                             GRANT_CANCELLED};
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        request(store, plain[i], (struct grant){0});
    static const enum grant_state approved[] = {GRANT_APPROVED, GRANT_ACTIVE,    GRANT_EXPIRED,
                                                GRANT_REVOKED,  GRANT_COMPLETED, GRANT_EXHAUSTED};
    for (size_t i = 0; i < ARRAY_LEN(approved); i++)
        about(store, COMMAND_APPROVE, approved[i], "user:app1");
    about(store, COMMAND_DENY, GRANT_DENIED, "user:app1");
    about(store, COMMAND_CANCEL, GRANT_CANCELLED, "user:req1");
    about(store, COMMAND_REVOKE, GRANT_REVOKED, "user:ops");
    about(store, COMMAND_COMPLETE, GRANT_COMPLETED, "user:req1");
    about(store, COMMAND_USE, GRANT_EXHAUSTED, "user:ep");
    fixture_must(store, fixture_advance(100), T0 + 60000);
    for (uint64_t state = GRANT_PENDING; state <= GRANT_LAPSED; state++)
        CHECK((uint64_t)fixture_state(store, state) == state);
    return store;
}

static struct store *store_of_one_grant(void)
{
    struct store *store = fixture_store(NULL);
    request(store, 1, sample_terms());
    return store;
}

/* Steps half done and done, automatic and break-glass grants, a review that is open and one that is overdue. */
static struct store *store_of_approvals(void)
{
    struct policy_rule rules[] = {governed_rule("glass", "db/*"), governed_rule("automatic", "web/*"),
                                  governed_rule("steps", "*")};
    rules[0].break_glass = rules[0].automatic = rules[1].automatic = rules[2].self_approval = true;
    rules[0].review_within_ms = 30000;
    governed_reviewers(&rules[0], "user:b*");
    governed_step(&rules[2], 2, "user:a*");
    governed_step(&rules[2], 1, "");
    struct store *store = governed_store(rules, ARRAY_LEN(rules));
    for (uint64_t i = 1; i <= 4; i++)
        request(store, i, (struct grant){0});
    for (uint64_t i = 2; i <= 4; i++)
        about(store, COMMAND_APPROVE, i, "user:a1");
    for (uint64_t i = 3; i <= 4; i++)
        about(store, COMMAND_APPROVE, i, "user:a2");
    about(store, COMMAND_APPROVE, 4, "user:b1");
    struct command command = fixture_request(5);
    command.terms.resource = slice_str("web/shop");
    fixture_must(store, command, T0);
    for (uint64_t i = 6; i <= 7; i++) {
        command = fixture_request(i);
        command.terms.break_glass = true;
        fixture_must(store, command, T0 + (int64_t)(i - 6) * 25000);
    }
    fixture_must(store, fixture_advance(100), T0 + 31000);
    return store;
}

static struct store *store_of_a_family(void)
{
    struct store *store = fixture_store(NULL);
    request(store, 1, (struct grant){0});
    about(store, COMMAND_APPROVE, 1, "user:app1");
    request(store, 2, (struct grant){.parent = fixture_id(1), .duration_ms = 60000});
    return store;
}

static struct command session(uint64_t number, uint64_t instance, uint64_t grant)
{
    return (struct command){.type = COMMAND_SESSION_BEGIN,
                            .principal = slice_str("user:ep"),
                            .text = slice_str("sshd pts/3"),
                            .grant = fixture_id(grant),
                            .instance = fixture_random_id(instance),
                            .session = fixture_random_id(number)};
}

/* Points in each state, barriers open and done, receipts of each level but one, sessions. */
static struct store *store_of_points(void)
{
    struct store *store = fixture_store(NULL);
    uint64_t barriers[3];
    fixture_must(store, fixture_register("edge-1", 1, "db/*"), T0);
    fixture_must(store, fixture_register("edge-1", 2, "db/*"), T0);
    fixture_must(store, fixture_register("edge-2", 3, "db/prod/orders web/*"), T0);
    for (uint64_t i = 1; i <= 4; i++) {
        request(store, i, (struct grant){0});
        about(store, COMMAND_APPROVE, i, "user:app1");
    }
    fixture_must(store, session(1, 2, 4), T0 + 1000);
    fixture_must(store, session(2, 3, 4), T0 + 1000);
    for (uint64_t i = 0; i < 3; i++) {
        struct command revoke = fixture_about(COMMAND_REVOKE, i + 1, "user:ops");
        barriers[i] = fixture_must(store, revoke, T0 + 1000).revision;
    }
    fixture_must(store, fixture_receipt(barriers[0], 1, RECEIPT_LAPSED, T0 + 1000), T0 + 1000);
    fixture_must(store, fixture_receipt(barriers[0], 2, RECEIPT_ENFORCED, T0 + 1000), T0 + 1000);
    fixture_must(store, fixture_receipt(barriers[0], 3, RECEIPT_FAILED, T0 + 1000), T0 + 1000);
    fixture_must(store, fixture_receipt(barriers[1], 2, RECEIPT_ENFORCED, T0 + 1000), T0 + 1000);
    return store;
}

static struct store *store_of_nothing(void)
{
    return store_new(NULL);
}

static struct store *store_of_roles(void)
{
    return fixture_store(NULL);
}

static const struct {
    const char *name;
    struct store *(*make)(void);
} stores[] = {
    {"empty", store_of_nothing},         {"roles-only", store_of_roles},
    {"one-grant", store_of_one_grant},   {"parent-and-child", store_of_a_family},
    {"all-states", store_of_all_states}, {"points", store_of_points},
    {"approvals", store_of_approvals},
};

void seed_snapshots(void)
{
    for (size_t i = 0; i < ARRAY_LEN(stores); i++) {
        struct store *store = stores[i].make();
        struct buf bytes = fixture_snapshot(store, 4096);
        seed_write("snapshot", stores[i].name, SEED_NO_PREFIX, buf_slice(&bytes));
        buf_free(&bytes);
        store_free(store);
    }
}

/* --- the log's files ---------------------------------------------------------------------------------------------- */

/* What fuzz_log.c is told by its first byte. */
enum { AS_SNAPSHOT = 0, AS_SEGMENT = 1, SEALED_AGAIN = 2 };

static void seed_file(const char *name, int as, struct slice bytes)
{
    char sealed[96];
    seed_write("log", name, as, bytes);
    (void)snprintf(sealed, sizeof sealed, "%.64s-sealed-again", name);
    seed_write("log", sealed, as | SEALED_AGAIN, bytes);
}

static struct blob *members_blob(void)
{
    static struct members members;
    static const struct replica_member list[] = {
        {1, "n1:7401", REPLICA_VOTER}, {2, "n2:7401", REPLICA_VOTER}, {3, "n3:7401", REPLICA_SPARE}};
    members.n = 0;
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        lapse_result result = members_add(&members, &list[i], NULL);
        CHECK(lapse_is_ok(result));
    }
    return members_encode(&members);
}

static void seed_snapshot_file(const char *name, struct store *store)
{
    char file[64];
    struct snapshot_meta meta = {.index = 40, .term = 3, .configuration_index = 1, .configuration = members_blob()};
    struct disk *disk = virtual_disk_new();
    struct store_view *view = store_freeze(store);
    uint8_t *bytes = NULL;
    size_t len = 0;
    lapse_result result = snapshot_file_write(disk, "made", &meta, view, NULL);
    CHECK(lapse_is_ok(result));
    result = segment_load(disk, "made", &bytes, &len, NULL);
    CHECK(lapse_is_ok(result));
    (void)snprintf(file, sizeof file, "snapshot-%s", name);
    seed_file(file, AS_SNAPSHOT, slice_of(bytes, len));
    free(bytes);
    store_view_free(view);
    virtual_disk_free(disk);
    blob_unref(meta.configuration);
    store_free(store);
}

static struct blob *command_entry(void)
{
    struct entry_writer writer;
    struct command command = sample_command(COMMAND_REVOKE);
    struct buf bytes;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    lapse_result result = command_encode(&command, &bytes);
    CHECK(lapse_is_ok(result));
    entry_begin(&writer, T0);
    CHECK(entry_add(&writer, (struct entry_item){1, 17, buf_slice(&bytes)}));
    CHECK(entry_add(&writer, (struct entry_item){2, 18, buf_slice(&bytes)}));
    buf_free(&bytes);
    return entry_take(&writer);
}

/* Appends a command, a barrier and a configuration, and makes them durable. */
static void append_three(struct node *node, uint64_t index, uint64_t term)
{
    struct storage_job *job = mem_calloc(1, sizeof *job);
    *job = (struct storage_job){.type = STORAGE_APPEND, .index = index, .n_entries = 3};
    job->entries = mem_calloc(3, sizeof *job->entries);
    job->entries[0] = (struct log_entry){term, 1, command_entry()};
    job->entries[1] = (struct log_entry){term, 2, NULL};
    job->entries[2] = (struct log_entry){term, 3, members_blob()};
    lapse_result result = node_do(node, job);
    CHECK(lapse_is_ok(result));
}

/* The first segment as it lies on disk, at most `spare` of its reserved zeros included; `damage` is xored into the
 * byte in its middle. */
static void seed_segment(const char *name, const struct node *node, size_t spare, uint8_t damage)
{
    const char *file = NULL;
    uint8_t *bytes = NULL;
    size_t len = 0, used;
    for (size_t i = 0; file == NULL || strstr(file, ".segment") == NULL; i++) {
        file = virtual_disk_name(node->disk, i);
        CHECK(file != NULL);
    }
    lapse_result result = segment_load(node->disk, file, &bytes, &len, NULL);
    CHECK(lapse_is_ok(result));
    for (used = len; used > 0 && bytes[used - 1] == 0;)
        used--;
    bytes[used / 2] ^= damage;
    seed_file(name, AS_SEGMENT, slice_of(bytes, used + spare < len ? used + spare : len));
    free(bytes);
}

static void seed_segments(void)
{
    struct node node = {.disk = virtual_disk_new(), .segment_bytes = 64 * 1024};
    lapse_result result = node_format(&node, NULL, 0);
    CHECK(lapse_is_ok(result));
    result = node_open(&node);
    CHECK(lapse_is_ok(result));
    seed_segment("segment-empty", &node, 64, 0);
    append_three(&node, 1, 1);
    seed_segment("segment-one-sync", &node, 64, 0);
    append_three(&node, 4, 2);
    append_three(&node, 7, 5);
    seed_segment("segment-three-terms", &node, 700, 0);
    seed_segment("segment-without-spare-room", &node, 0, 0);
    seed_segment("segment-damaged", &node, 64, 4);
    node_free(&node);
}

void seed_log(void)
{
    for (size_t i = 0; i < ARRAY_LEN(stores); i++)
        seed_snapshot_file(stores[i].name, stores[i].make());
    seed_segments();
}
