/* Commands: their bytes and the limits of each field. What a command may do is decided in rules.c and apply.c. */
#include "store/command.h"

#include "base/check.h"
#include "base/wire.h"
#include "store/command_internal.h"
#include "store/filter.h"
#include "store/governance.h"
#include "store/hash.h"
#include "store/identifiers.h"
#include "store/receipts.h"
#include "store/terms.h"

enum {
    COMMAND_FIELD_TYPE = 1,
    COMMAND_FIELD_KEY = 2,
    COMMAND_FIELD_PRINCIPAL = 3,
    COMMAND_FIELD_GRANT = 4,
    COMMAND_FIELD_TEXT = 5,
    COMMAND_FIELD_COUNT = 6,
    COMMAND_FIELD_TERMS = 7,
    COMMAND_FIELD_MEMBER = 8,
    COMMAND_FIELD_ROLES = 9,
    COMMAND_FIELD_EPOCH = 10,
    COMMAND_FIELD_CLUSTER = 11,
    COMMAND_FIELD_SCOPE = 12,
    COMMAND_FIELD_INSTANCE = 13,
    COMMAND_FIELD_LEASE_MS = 14,
    COMMAND_FIELD_SESSION = 15,
    COMMAND_FIELD_RECEIPTS = 16,
    COMMAND_FIELD_FILTER = 17,
    COMMAND_FIELD_NAME = 18,
    COMMAND_FIELD_VALUE = 19,
    COMMAND_FIELD_UNTIL_MS = 20,
    COMMAND_FIELD_REVISION = 21,
};

bool request_key_is_zero(const struct request_key *key)
{
    static const struct request_key zero;
    return memcmp(key->bytes, zero.bytes, sizeof key->bytes) == 0;
}

bool random_id_is_zero(const struct random_id *id)
{
    static const struct random_id zero;
    return random_id_equal(id, &zero);
}

bool random_id_equal(const struct random_id *a, const struct random_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static void put_id(struct wire_writer *writer, uint32_t field, struct grant_id id)
{
    if (!grant_id_is_zero(id))
        wire_put_bytes(writer, field, slice_of(id.bytes, sizeof id.bytes));
}

static void put_random_id(struct wire_writer *writer, uint32_t field, const struct random_id *id)
{
    if (!random_id_is_zero(id))
        wire_put_bytes(writer, field, slice_of(id->bytes, sizeof id->bytes));
}

/* What enforcement points brought. */
static void encode_points(struct wire_writer *writer, const struct command *command)
{
    wire_put_bytes(writer, COMMAND_FIELD_SCOPE, command->scope);
    put_random_id(writer, COMMAND_FIELD_INSTANCE, &command->instance);
    wire_put_uint(writer, COMMAND_FIELD_LEASE_MS, command->lease_ms);
    put_random_id(writer, COMMAND_FIELD_SESSION, &command->session);
    if (command->type == COMMAND_RECEIPTS)
        wire_put_bytes(writer, COMMAND_FIELD_RECEIPTS, command->receipts);
    if (command->type == COMMAND_REVOKE_MATCHING) {
        size_t mark = wire_begin(writer, COMMAND_FIELD_FILTER);
        filter_encode(writer, &command->filter);
        wire_end(writer, mark);
    }
    wire_put_bytes(writer, COMMAND_FIELD_NAME, command->name);
    wire_put_bytes(writer, COMMAND_FIELD_VALUE, command->value);
    wire_put_uint(writer, COMMAND_FIELD_UNTIL_MS, (uint64_t)command->until_ms);
    wire_put_uint(writer, COMMAND_FIELD_REVISION, command->revision);
}

static void encode_tail(struct wire_writer *writer, const struct command *command)
{
    wire_put_bytes(writer, COMMAND_FIELD_TEXT, command->text);
    wire_put_uint(writer, COMMAND_FIELD_COUNT, command->count);
    if (command->type == COMMAND_REQUEST) {
        size_t mark = wire_begin(writer, COMMAND_FIELD_TERMS);
        terms_encode(writer, &command->terms);
        wire_end(writer, mark);
    }
    wire_put_bytes(writer, COMMAND_FIELD_MEMBER, command->member);
    wire_put_uint(writer, COMMAND_FIELD_ROLES, command->roles);
    wire_put_uint(writer, COMMAND_FIELD_EPOCH, command->epoch);
    wire_put_bytes(writer, COMMAND_FIELD_CLUSTER, command->cluster);
    if (command->type >= COMMAND_SET_ROLES)
        encode_points(writer, command);
}

static lapse_result written(const struct wire_writer *writer, size_t start)
{
    if (!writer->failed)
        return lapse_ok();
    writer->out->len = start;
    return lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
}

lapse_result command_encode(const struct command *command, struct buf *out)
{
    size_t start = out->len;
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, COMMAND_FIELD_TYPE, (uint64_t)command->type);
    if (!request_key_is_zero(&command->key))
        wire_put_bytes(&writer, COMMAND_FIELD_KEY, slice_of(command->key.bytes, sizeof command->key.bytes));
    wire_put_bytes(&writer, COMMAND_FIELD_PRINCIPAL, command->principal);
    put_id(&writer, COMMAND_FIELD_GRANT, command->grant);
    encode_tail(&writer, command);
    return written(&writer, start);
}

static uint64_t hash_points(uint64_t hash, const struct command *command)
{
    hash = hash_chain(hash, command->instance.bytes, sizeof command->instance.bytes);
    hash = hash_chain(hash, command->session.bytes, sizeof command->session.bytes);
    hash = hash_chain(hash, &command->lease_ms, sizeof command->lease_ms);
    hash = hash_chain_text(hash, command->scope);
    hash = hash_chain_text(hash, command->receipts);
    hash = filter_hash(hash, &command->filter);
    if (command->type < COMMAND_APPLY_POLICY)
        return hash;
    const uint64_t numbers[] = {(uint64_t)command->until_ms, command->revision};
    hash = hash_chain(hash, numbers, sizeof numbers);
    return hash_chain_text(hash_chain_text(hash, command->name), command->value);
}

uint32_t command_content_hash(const struct command *command)
{
    const uint64_t numbers[] = {(uint64_t)command->type, command->count, command->roles, command->epoch};
    uint64_t hash = hash_chain(0, numbers, sizeof numbers);
    if (command->type != COMMAND_REQUEST)
        hash = hash_chain(hash, command->grant.bytes, sizeof command->grant.bytes);
    hash = hash_chain_text(hash, command->principal);
    hash = hash_chain_text(hash, command->text);
    hash = hash_chain_text(hash, command->member);
    hash = hash_chain_text(hash, command->cluster);
    if (command->type >= COMMAND_SET_ROLES)
        hash = hash_points(hash, command);
    return (uint32_t)(command->type == COMMAND_REQUEST ? terms_hash(hash, &command->terms) : hash);
}

static bool field_key(const struct wire_field *field, struct request_key *key)
{
    if (field->type != WIRE_BYTES || field->bytes.len != sizeof key->bytes)
        return false;
    memcpy(key->bytes, field->bytes.data, sizeof key->bytes);
    return true;
}

static bool field_type(const struct wire_field *field, enum command_type *type)
{
    if (field->type != WIRE_VARINT || field->value < COMMAND_REQUEST || field->value > COMMAND_LAST)
        return false;
    *type = (enum command_type)field->value;
    return true;
}

static bool field_terms(const struct wire_field *field, struct grant *terms)
{
    return field->type == WIRE_BYTES && lapse_is_ok(terms_decode(field->bytes, terms));
}

static bool field_receipts(const struct wire_field *field, struct slice *receipts)
{
    return field_bytes(field, receipts) && receipts_well_formed(*receipts);
}

static bool field_filter(const struct wire_field *field, struct store_filter *filter)
{
    return field->type == WIRE_BYTES && lapse_is_ok(filter_decode(field->bytes, filter));
}

static bool decode_governance_field(const struct wire_field *field, struct command *command)
{
    if (command->type < COMMAND_APPLY_POLICY)
        return false;
    switch (field->number) {
    case COMMAND_FIELD_NAME:
        return field_bytes(field, &command->name);
    case COMMAND_FIELD_VALUE:
        return field_bytes(field, &command->value);
    case COMMAND_FIELD_UNTIL_MS:
        return field_ms(field, &command->until_ms);
    case COMMAND_FIELD_REVISION:
        return field_u64(field, &command->revision);
    default:
        return false;
    }
}

static bool decode_points_field(const struct wire_field *field, struct command *command)
{
    if (command->type < COMMAND_SET_ROLES)
        return false;
    switch (field->number) {
    case COMMAND_FIELD_SCOPE:
        return field_bytes(field, &command->scope);
    case COMMAND_FIELD_INSTANCE:
        return field_random_id(field, &command->instance);
    case COMMAND_FIELD_LEASE_MS:
        return field_u32(field, &command->lease_ms);
    case COMMAND_FIELD_SESSION:
        return field_random_id(field, &command->session);
    case COMMAND_FIELD_RECEIPTS:
        return command->type == COMMAND_RECEIPTS && field_receipts(field, &command->receipts);
    case COMMAND_FIELD_FILTER:
        return command->type == COMMAND_REVOKE_MATCHING && field_filter(field, &command->filter);
    default:
        return decode_governance_field(field, command);
    }
}

static bool decode_field(const struct wire_field *field, struct command *command)
{
    switch (field->number) {
    case COMMAND_FIELD_TYPE:
        return field_type(field, &command->type);
    case COMMAND_FIELD_KEY:
        return field_key(field, &command->key);
    case COMMAND_FIELD_PRINCIPAL:
        return field_bytes(field, &command->principal);
    case COMMAND_FIELD_GRANT:
        return field_id(field, &command->grant);
    case COMMAND_FIELD_TEXT:
        return field_bytes(field, &command->text);
    case COMMAND_FIELD_COUNT:
        return field_u32(field, &command->count);
    case COMMAND_FIELD_TERMS:
        return command->type == COMMAND_REQUEST && field_terms(field, &command->terms);
    case COMMAND_FIELD_MEMBER:
        return field_bytes(field, &command->member);
    case COMMAND_FIELD_ROLES:
        return field_u32(field, &command->roles);
    case COMMAND_FIELD_EPOCH:
        return field_u64(field, &command->epoch);
    case COMMAND_FIELD_CLUSTER:
        return field_bytes(field, &command->cluster);
    default:
        return decode_points_field(field, command);
    }
}

lapse_result command_decode(struct slice bytes, struct command *command)
{
    struct command decoded;
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t last = 0;
    if (bytes.len > LIMIT_COMMAND_BYTES)
        return lapse_failed(LAPSE_DATA_LOSS);
    memset(&decoded, 0, sizeof decoded);
    while (wire_next(&reader, &field)) {
        if (field.number <= last || !decode_field(&field, &decoded))
            return lapse_failed(LAPSE_DATA_LOSS);
        last = field.number;
    }
    /* Field 1 comes first or never, so that a decoded command has a type. */
    if (reader.failed || decoded.type == 0)
        return lapse_failed(LAPSE_DATA_LOSS);
    *command = decoded;
    return lapse_ok();
}

/* What a policy's rule makes of a request is the store's: nobody brings it along. */
static lapse_result validate_undecided(const struct grant *terms, struct lapse_error *error)
{
    bool decided = terms->policy_version != 0 || terms->rule.len > 0 || terms->n_steps > 0 || terms->automatic ||
                   terms->self_approval || terms->held || terms->delegation_depth != 0 ||
                   terms->review_within_ms != 0 || terms->reviewers.len > 0 || terms->token_rule != 0 ||
                   terms->token_sha256.len > 0;
    if (decided)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "policy_version, rule, steps, ... are what the cluster makes of a request; leave them out");
    return lapse_ok();
}

/* A deadline is asked for as a duration or as a moment, never both: the store keeps what was asked. */
static lapse_result validate_request(const struct command *command, struct lapse_error *error)
{
    const struct grant *terms = &command->terms;
    lapse_result result = terms_validate(terms, error);
    if (!lapse_is_ok(result))
        return result;
    /* Not in terms_validate(): what was granted before this was asked for stays readable. */
    if (terms->justification.len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "justification is missing; say why");
    if ((terms->duration_ms > 0) == (terms->deadline_ms > 0))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "give either a duration or a deadline");
    if (terms->deadline_ms > 0 && terms->deadline_ms <= terms->not_before_ms)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "deadline must be later than not_before");
    if (grant_id_compare(terms->parent, command->grant) == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a grant can't be its own parent");
    return validate_undecided(terms, error);
}

static lapse_result validate_count(const struct command *command, uint32_t max, struct lapse_error *error)
{
    if (command->count == 0 || command->count > max)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "count must be between 1 and %u", max);
    return lapse_ok();
}

/* Commands that may take effect without an event: an outcome without a revision of its own can't be remembered. */
static lapse_result validate_keyless(const struct command *command, struct lapse_error *error)
{
    if (!request_key_is_zero(&command->key))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the cluster's own commands take no request key");
    return lapse_ok();
}

static lapse_result validate_advance(const struct command *command, struct lapse_error *error)
{
    lapse_result result = validate_keyless(command, error);
    return lapse_is_ok(result) ? validate_count(command, UINT32_MAX, error) : result;
}

static lapse_result validate_roles(const struct command *command, struct lapse_error *error)
{
    if ((command->roles & ~ROLE_ALL) != 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "roles has unknown bits: %#x; known are %#x", command->roles,
                          ROLE_ALL);
    if (command->scope.len > 0 && (command->roles & ROLE_ENFORCER) == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a scope is for the role enforcer; add it or leave it out");
    lapse_result result = scope_validate(command->scope, error);
    return lapse_is_ok(result) ? member_validate(command->member, error) : result;
}

static lapse_result validate_init(const struct command *command, struct lapse_error *error)
{
    if (command->epoch == 0 || command->epoch > INT64_MAX)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "epoch must be between 1 and 2^63-1");
    if (command->cluster.len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "cluster is missing");
    lapse_result result = token_validate(command->cluster, LIMIT_CLUSTER, "cluster", error);
    return lapse_is_ok(result) ? validate_roles(command, error) : result;
}

static lapse_result validate_instance(const struct command *command, struct lapse_error *error)
{
    if (random_id_is_zero(&command->instance))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "instance is missing; draw 16 random bytes");
    return lapse_ok();
}

static lapse_result validate_register(const struct command *command, struct lapse_error *error)
{
    lapse_result result = point_id_validate(command->text, error);
    if (lapse_is_ok(result))
        result = validate_instance(command, error);
    if (lapse_is_ok(result) && command->scope.len == 0)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "scope is missing; name what the point guards");
    if (lapse_is_ok(result))
        result = scope_validate(command->scope, error);
    if (lapse_is_ok(result) && (command->lease_ms < LIMIT_LEASE_MS_MIN || command->lease_ms > LIMIT_LEASE_MS_MAX))
        result = lapse_fail(error, LAPSE_OUT_OF_RANGE, "lease must be between %u and %u ms", LIMIT_LEASE_MS_MIN,
                            LIMIT_LEASE_MS_MAX);
    return result;
}

static lapse_result validate_receipts(const struct command *command, struct lapse_error *error)
{
    lapse_result result = validate_keyless(command, error);
    return lapse_is_ok(result) ? receipts_validate(command->receipts, error) : result;
}

static lapse_result validate_end_point(const struct command *command, struct lapse_error *error)
{
    lapse_result result = validate_keyless(command, error);
    if (lapse_is_ok(result))
        result = validate_instance(command, error);
    return lapse_is_ok(result) ? validate_count(command, POINT_END_FENCED, error) : result;
}

static lapse_result validate_session(const struct command *command, struct lapse_error *error)
{
    lapse_result result = validate_instance(command, error);
    if (lapse_is_ok(result) && random_id_is_zero(&command->session))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "session is missing; draw 16 random bytes");
    if (lapse_is_ok(result))
        result = token_validate(command->text, LIMIT_SESSION_DESCRIPTION, "description", error);
    return result;
}

static bool is_internal(enum command_type type)
{
    return type == COMMAND_ADVANCE || type == COMMAND_INIT || type == COMMAND_RECEIPTS || type == COMMAND_END_POINT ||
           type == COMMAND_HOOK_DONE;
}

static bool names_grant(enum command_type type)
{
    return (type >= COMMAND_REQUEST && type <= COMMAND_REVOKE) || type == COMMAND_SESSION_BEGIN ||
           type == COMMAND_CLOSE_REVIEW || type == COMMAND_SET_TOKEN;
}

static lapse_result validate_common(const struct command *command, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    if (command->type < COMMAND_REQUEST || command->type > COMMAND_LAST)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "unknown command %d", (int)command->type);
    if (!is_internal(command->type) || command->principal.len > 0)
        result = principal_validate(command->principal, "principal", error);
    if (lapse_is_ok(result) && names_grant(command->type) && grant_id_is_zero(command->grant))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "grant id is missing");
    if (lapse_is_ok(result))
        result = text_validate(command->text, LIMIT_REASON, "comment or reason", error);
    return result;
}

lapse_result command_validate(const struct command *command, struct lapse_error *error)
{
    lapse_result result = validate_common(command, error);
    if (!lapse_is_ok(result))
        return result;
    switch (command->type) {
    case COMMAND_REQUEST:
        return validate_request(command, error);
    case COMMAND_USE:
        return validate_count(command, LIMIT_USES_MAX, error);
    case COMMAND_ADVANCE:
        return validate_advance(command, error);
    case COMMAND_SET_ROLES:
        return validate_roles(command, error);
    case COMMAND_INIT:
        return validate_init(command, error);
    case COMMAND_REGISTER:
        return validate_register(command, error);
    case COMMAND_RECEIPTS:
        return validate_receipts(command, error);
    case COMMAND_END_POINT:
        return validate_end_point(command, error);
    case COMMAND_SESSION_BEGIN:
    case COMMAND_SESSION_END:
        return validate_session(command, error);
    case COMMAND_REVOKE_MATCHING:
        return filter_validate(&command->filter, error);
    default:
        return command->type >= COMMAND_APPLY_POLICY ? governance_validate(command, error) : lapse_ok();
    }
}
