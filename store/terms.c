/* GrantTerms: bytes and rules. The decoder is strict: fields in ascending order, each known, so that one value has one
 * encoding and a newer writer is noticed. */
#include "store/terms.h"

#include "base/check.h"
#include "store/hash.h"
#include "store/identifiers.h"

enum {
    TERMS_SUBJECT = 1,
    TERMS_RESOURCE = 2,
    TERMS_JUSTIFICATION = 3,
    TERMS_TICKET = 4,
    TERMS_TASK = 5,
    TERMS_POLICY = 6,
    TERMS_DEADLINE_MS = 7,
    /* Shared by many grants: see terms_encode_shared(). */
    TERMS_ACTIONS = 8,
    TERMS_POLICY_VERSION = 9,
    TERMS_BREAK_GLASS = 10,
    TERMS_MAX_USES = 11,
    TERMS_DURATION_MS = 12,
    TERMS_NOT_BEFORE_MS = 13,
    TERMS_PENDING_UNTIL_MS = 14,
    TERMS_PARENT = 15,
    TERMS_SPIFFE_ID = 16,
    TERMS_CERTIFICATE_SHA256 = 17,
    TERMS_NETWORKS = 18,
    TERMS_LABELS = 19,
    /* What a policy's rule made of the request. */
    TERMS_RULE = 20,
    TERMS_STEPS = 21,
    TERMS_AUTOMATIC = 22,
    TERMS_SELF_APPROVAL = 23,
    TERMS_HELD = 24,
    TERMS_DELEGATION_DEPTH = 25,
    TERMS_REVIEW_WITHIN_MS = 26,
    TERMS_REVIEWERS = 27,
    TERMS_TOKEN_RULE = 28,
};

enum { STEP_COUNT = 1, STEP_APPROVERS = 2 };

enum { LABEL_KEY = 1, LABEL_VALUE = 2 };

#define CERTIFICATE_SHA256_BYTES 32

void terms_encode_own(struct wire_writer *writer, const struct grant *terms)
{
    wire_put_bytes(writer, TERMS_SUBJECT, terms->subject);
    wire_put_bytes(writer, TERMS_RESOURCE, terms->resource);
    wire_put_bytes(writer, TERMS_JUSTIFICATION, terms->justification);
    wire_put_bytes(writer, TERMS_TICKET, terms->ticket);
    wire_put_bytes(writer, TERMS_TASK, terms->task);
    wire_put_bytes(writer, TERMS_POLICY, terms->policy);
    wire_put_uint(writer, TERMS_DEADLINE_MS, (uint64_t)terms->deadline_ms);
}

static void encode_labels(struct wire_writer *writer, const struct grant *terms)
{
    for (uint32_t i = 0; i < terms->n_labels; i++) {
        size_t mark = wire_begin(writer, TERMS_LABELS);
        wire_put_bytes(writer, LABEL_KEY, terms->labels[i].key);
        wire_put_bytes(writer, LABEL_VALUE, terms->labels[i].value);
        wire_end(writer, mark);
    }
}

static void encode_rule(struct wire_writer *writer, const struct grant *terms)
{
    wire_put_bytes(writer, TERMS_RULE, terms->rule);
    for (uint32_t i = 0; i < terms->n_steps; i++) {
        size_t mark = wire_begin(writer, TERMS_STEPS);
        wire_put_uint(writer, STEP_COUNT, terms->steps[i].count);
        wire_put_bytes(writer, STEP_APPROVERS, terms->steps[i].approvers);
        wire_end(writer, mark);
    }
    wire_put_uint(writer, TERMS_AUTOMATIC, terms->automatic);
    wire_put_uint(writer, TERMS_SELF_APPROVAL, terms->self_approval);
    wire_put_uint(writer, TERMS_HELD, terms->held);
    wire_put_uint(writer, TERMS_DELEGATION_DEPTH, terms->delegation_depth);
    wire_put_uint(writer, TERMS_REVIEW_WITHIN_MS, (uint64_t)terms->review_within_ms);
    wire_put_bytes(writer, TERMS_REVIEWERS, terms->reviewers);
    wire_put_uint(writer, TERMS_TOKEN_RULE, terms->token_rule);
}

void terms_encode_shared(struct wire_writer *writer, const struct grant *terms)
{
    for (uint32_t i = 0; i < terms->n_actions; i++)
        wire_put_bytes(writer, TERMS_ACTIONS, terms->actions[i]);
    wire_put_uint(writer, TERMS_POLICY_VERSION, terms->policy_version);
    wire_put_uint(writer, TERMS_BREAK_GLASS, terms->break_glass);
    wire_put_uint(writer, TERMS_MAX_USES, terms->max_uses);
    wire_put_uint(writer, TERMS_DURATION_MS, (uint64_t)terms->duration_ms);
    wire_put_uint(writer, TERMS_NOT_BEFORE_MS, (uint64_t)terms->not_before_ms);
    wire_put_uint(writer, TERMS_PENDING_UNTIL_MS, (uint64_t)terms->pending_until_ms);
    if (!grant_id_is_zero(terms->parent))
        wire_put_bytes(writer, TERMS_PARENT, slice_of(terms->parent.bytes, sizeof terms->parent.bytes));
    wire_put_bytes(writer, TERMS_SPIFFE_ID, terms->binding.spiffe_id);
    wire_put_bytes(writer, TERMS_CERTIFICATE_SHA256, terms->binding.certificate_sha256);
    for (uint32_t i = 0; i < terms->binding.n_networks; i++)
        wire_put_bytes(writer, TERMS_NETWORKS, terms->binding.networks[i]);
    encode_labels(writer, terms);
    encode_rule(writer, terms);
}

void terms_encode(struct wire_writer *writer, const struct grant *terms)
{
    terms_encode_own(writer, terms);
    terms_encode_shared(writer, terms);
}

uint64_t terms_hash(uint64_t hash, const struct grant *terms)
{
    const struct grant_binding *binding = &terms->binding;
    const struct slice texts[] = {terms->subject, terms->resource, terms->justification, terms->ticket,
                                  terms->task,    terms->policy,   binding->spiffe_id,   binding->certificate_sha256};
    uint64_t numbers[] = {(uint64_t)terms->deadline_ms,
                          (uint64_t)terms->duration_ms,
                          (uint64_t)terms->not_before_ms,
                          (uint64_t)terms->pending_until_ms,
                          terms->policy_version,
                          (uint64_t)terms->max_uses << 1 | terms->break_glass,
                          (uint64_t)terms->n_actions << 32 | binding->n_networks << 16 | terms->n_labels,
                          0,
                          0};
    memcpy(&numbers[7], terms->parent.bytes, sizeof terms->parent.bytes);
    hash = hash_chain(hash, numbers, sizeof numbers);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        hash = hash_chain_text(hash, texts[i]);
    for (uint32_t i = 0; i < terms->n_actions; i++)
        hash = hash_chain_text(hash, terms->actions[i]);
    for (uint32_t i = 0; i < binding->n_networks; i++)
        hash = hash_chain_text(hash, binding->networks[i]);
    for (uint32_t i = 0; i < terms->n_labels; i++)
        hash = hash_chain_text(hash_chain_text(hash, terms->labels[i].key), terms->labels[i].value);
    return hash; /* the rule's part is the store's: no caller sends it */
}

bool field_u64(const struct wire_field *field, uint64_t *out)
{
    if (field->type != WIRE_VARINT)
        return false;
    *out = field->value;
    return true;
}

bool field_u32(const struct wire_field *field, uint32_t *out)
{
    if (field->type != WIRE_VARINT || field->value > UINT32_MAX)
        return false;
    *out = (uint32_t)field->value;
    return true;
}

bool field_ms(const struct wire_field *field, int64_t *out)
{
    if (field->type != WIRE_VARINT || field->value > INT64_MAX)
        return false;
    *out = (int64_t)field->value;
    return true;
}

bool field_bytes(const struct wire_field *field, struct slice *out)
{
    if (field->type != WIRE_BYTES)
        return false;
    *out = field->bytes;
    return true;
}

bool field_id(const struct wire_field *field, struct grant_id *out)
{
    if (field->type != WIRE_BYTES || field->bytes.len != sizeof out->bytes)
        return false;
    memcpy(out->bytes, field->bytes.data, sizeof out->bytes);
    return true;
}

bool field_random_id(const struct wire_field *field, struct random_id *out)
{
    if (field->type != WIRE_BYTES || field->bytes.len != sizeof out->bytes)
        return false;
    memcpy(out->bytes, field->bytes.data, sizeof out->bytes);
    return true;
}

static bool field_bool(const struct wire_field *field, bool *out)
{
    if (field->type != WIRE_VARINT || field->value > 1)
        return false;
    *out = field->value == 1;
    return true;
}

/* Appends to a list of at most `max` members. */
static bool field_listed(const struct wire_field *field, struct slice *list, uint32_t *n, uint32_t max)
{
    if (*n == max || !field_bytes(field, &list[*n]))
        return false;
    ++*n;
    return true;
}

static bool decode_label(const struct wire_field *field, struct grant *terms)
{
    struct slice bytes;
    struct wire_field part;
    if (terms->n_labels == LIMIT_LABELS || !field_bytes(field, &bytes))
        return false;
    struct grant_label *label = &terms->labels[terms->n_labels];
    struct wire_reader reader = wire_reader(bytes);
    uint32_t last = 0;
    *label = (struct grant_label){0};
    while (wire_next(&reader, &part)) {
        bool known = part.number == LABEL_KEY || part.number == LABEL_VALUE;
        if (!known || part.number <= last ||
            !field_bytes(&part, part.number == LABEL_KEY ? &label->key : &label->value))
            return false;
        last = part.number;
    }
    terms->n_labels++;
    return !reader.failed;
}

static bool decode_step(const struct wire_field *field, struct grant *terms)
{
    struct slice bytes;
    struct wire_field part;
    if (terms->n_steps == LIMIT_STEPS || !field_bytes(field, &bytes))
        return false;
    struct grant_step *step = &terms->steps[terms->n_steps++];
    struct wire_reader reader = wire_reader(bytes);
    uint32_t last = 0;
    *step = (struct grant_step){0};
    while (wire_next(&reader, &part)) {
        if (part.number <= last || !(part.number == STEP_COUNT       ? field_u32(&part, &step->count)
                                     : part.number == STEP_APPROVERS ? field_bytes(&part, &step->approvers)
                                                                     : false))
            return false;
        last = part.number;
    }
    return !reader.failed;
}

static bool decode_rule_field(const struct wire_field *field, struct grant *terms)
{
    switch (field->number) {
    case TERMS_RULE:
        return field_bytes(field, &terms->rule);
    case TERMS_STEPS:
        return decode_step(field, terms);
    case TERMS_AUTOMATIC:
        return field_bool(field, &terms->automatic);
    case TERMS_SELF_APPROVAL:
        return field_bool(field, &terms->self_approval);
    case TERMS_HELD:
        return field_bool(field, &terms->held);
    case TERMS_DELEGATION_DEPTH:
        return field_u32(field, &terms->delegation_depth);
    case TERMS_REVIEW_WITHIN_MS:
        return field_ms(field, &terms->review_within_ms);
    case TERMS_REVIEWERS:
        return field_bytes(field, &terms->reviewers);
    case TERMS_TOKEN_RULE:
        return field_u32(field, &terms->token_rule);
    default:
        return false;
    }
}

static bool decode_field(const struct wire_field *field, struct grant *terms)
{
    switch (field->number) {
    case TERMS_SUBJECT:
        return field_bytes(field, &terms->subject);
    case TERMS_RESOURCE:
        return field_bytes(field, &terms->resource);
    case TERMS_JUSTIFICATION:
        return field_bytes(field, &terms->justification);
    case TERMS_TICKET:
        return field_bytes(field, &terms->ticket);
    case TERMS_TASK:
        return field_bytes(field, &terms->task);
    case TERMS_POLICY:
        return field_bytes(field, &terms->policy);
    case TERMS_DEADLINE_MS:
        return field_ms(field, &terms->deadline_ms);
    case TERMS_ACTIONS:
        return field_listed(field, terms->actions, &terms->n_actions, LIMIT_ACTIONS);
    case TERMS_POLICY_VERSION:
        return field_u64(field, &terms->policy_version);
    case TERMS_BREAK_GLASS:
        return field_bool(field, &terms->break_glass);
    case TERMS_MAX_USES:
        return field_u32(field, &terms->max_uses);
    case TERMS_DURATION_MS:
        return field_ms(field, &terms->duration_ms);
    case TERMS_NOT_BEFORE_MS:
        return field_ms(field, &terms->not_before_ms);
    case TERMS_PENDING_UNTIL_MS:
        return field_ms(field, &terms->pending_until_ms);
    case TERMS_PARENT:
        return field_id(field, &terms->parent);
    case TERMS_SPIFFE_ID:
        return field_bytes(field, &terms->binding.spiffe_id);
    case TERMS_CERTIFICATE_SHA256:
        return field_bytes(field, &terms->binding.certificate_sha256);
    case TERMS_NETWORKS:
        return field_listed(field, terms->binding.networks, &terms->binding.n_networks, LIMIT_NETWORKS);
    case TERMS_LABELS:
        return decode_label(field, terms);
    default:
        return decode_rule_field(field, terms);
    }
}

static bool is_repeated(uint32_t field)
{
    return field == TERMS_ACTIONS || field == TERMS_NETWORKS || field == TERMS_LABELS ||
           field == TERMS_STEPS;
}

lapse_result terms_decode(struct slice bytes, struct grant *terms)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t last = 0;
    while (wire_next(&reader, &field)) {
        bool ascends = field.number > last || (field.number == last && is_repeated(last));
        if (!ascends || !decode_field(&field, terms))
            return lapse_failed(LAPSE_DATA_LOSS);
        last = field.number;
    }
    return reader.failed ? lapse_failed(LAPSE_DATA_LOSS) : lapse_ok();
}

static lapse_result validate_actions(const struct grant *terms, struct lapse_error *error)
{
    if (terms->n_actions == 0 || terms->n_actions > LIMIT_ACTIONS)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "actions has %u members; give 1 to %d", terms->n_actions,
                          LIMIT_ACTIONS);
    for (uint32_t i = 0; i < terms->n_actions; i++) {
        lapse_result result = action_validate(terms->actions[i], error);
        if (!lapse_is_ok(result))
            return result;
        if (i > 0 && slice_compare(terms->actions[i - 1], terms->actions[i]) >= 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "actions must be sorted, each given once");
    }
    return lapse_ok();
}

static lapse_result validate_labels(const struct grant *terms, struct lapse_error *error)
{
    if (terms->n_labels > LIMIT_LABELS)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "labels has %u members; give at most %d", terms->n_labels,
                          LIMIT_LABELS);
    for (uint32_t i = 0; i < terms->n_labels; i++) {
        const struct grant_label *label = &terms->labels[i];
        if (label->key.len == 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "label key is missing");
        lapse_result result = token_validate(label->key, LIMIT_LABEL_KEY, "label key", error);
        if (lapse_is_ok(result))
            result = token_validate(label->value, LIMIT_LABEL_VALUE, "label value", error);
        if (!lapse_is_ok(result))
            return result;
        if (i > 0 && slice_compare(terms->labels[i - 1].key, label->key) >= 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "labels must be sorted by key, each key given once");
    }
    return lapse_ok();
}

static lapse_result validate_binding(const struct grant_binding *binding, struct lapse_error *error)
{
    static const char scheme[] = "spiffe://";
    lapse_result result = lapse_ok();
    if (binding->spiffe_id.len > 0) {
        result = principal_validate(binding->spiffe_id, "binding.spiffe_id", error);
        if (lapse_is_ok(result) &&
            (binding->spiffe_id.len < sizeof scheme || memcmp(binding->spiffe_id.data, scheme, sizeof scheme - 1) != 0))
            result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "binding.spiffe_id must start with spiffe://");
    }
    if (!lapse_is_ok(result))
        return result;
    if (binding->certificate_sha256.len != 0 && binding->certificate_sha256.len != CERTIFICATE_SHA256_BYTES)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "binding.certificate_sha256 must have 32 bytes");
    if (binding->n_networks > LIMIT_NETWORKS)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "binding.networks has %u members; give at most %d",
                          binding->n_networks, LIMIT_NETWORKS);
    for (uint32_t i = 0; i < binding->n_networks && lapse_is_ok(result); i++)
        result = network_validate(binding->networks[i], error);
    return result;
}

static lapse_result validate_texts(const struct grant *terms, struct lapse_error *error)
{
    lapse_result result = text_validate(terms->justification, LIMIT_JUSTIFICATION, "justification", error);
    if (lapse_is_ok(result))
        result = token_validate(terms->ticket, LIMIT_TICKET, "ticket", error);
    if (lapse_is_ok(result))
        result = token_validate(terms->task, LIMIT_TASK, "task", error);
    if (lapse_is_ok(result))
        result = token_validate(terms->policy, LIMIT_POLICY, "policy", error);
    return result;
}

static lapse_result validate_time(int64_t time_ms, const char *field, struct lapse_error *error)
{
    if (time_ms < 0 || time_ms > LIMIT_TIME_MS_MAX)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "%s must be between 0 and %lld milliseconds since 1970", field,
                          (long long)LIMIT_TIME_MS_MAX);
    return lapse_ok();
}

static lapse_result validate_numbers(const struct grant *terms, struct lapse_error *error)
{
    if (terms->duration_ms < 0 || terms->duration_ms > LIMIT_DURATION_MS_MAX)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "duration must be between 1 and %lld ms",
                          (long long)LIMIT_DURATION_MS_MAX);
    if (terms->max_uses > LIMIT_USES_MAX)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "max_uses must be at most %u", LIMIT_USES_MAX);
    lapse_result result = validate_time(terms->deadline_ms, "deadline", error);
    if (lapse_is_ok(result))
        result = validate_time(terms->not_before_ms, "not_before", error);
    if (lapse_is_ok(result))
        result = validate_time(terms->pending_until_ms, "pending_until", error);
    return result;
}

lapse_result terms_validate(const struct grant *terms, struct lapse_error *error)
{
    lapse_result result = principal_validate(terms->subject, "subject", error);
    if (lapse_is_ok(result))
        result = length_validate(terms->subject, LIMIT_SUBJECT, "subject", error);
    if (lapse_is_ok(result))
        result = resource_validate(terms->resource, true, error);
    if (lapse_is_ok(result))
        result = validate_actions(terms, error);
    if (lapse_is_ok(result))
        result = validate_texts(terms, error);
    if (lapse_is_ok(result))
        result = validate_binding(&terms->binding, error);
    if (lapse_is_ok(result))
        result = validate_labels(terms, error);
    if (lapse_is_ok(result))
        result = validate_numbers(terms, error);
    return result;
}
