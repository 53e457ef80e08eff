/* lapse.v1.Policy <-> struct policy.
 *
 * A decoded policy is one block of memory, measured before anything is decoded:
 *
 *   struct policy | its rules | the patterns of all rules | a copy of the bytes, into which all slices point
 *
 * Strict: what is decoded and validated must encode to the very same bytes, so one policy has one encoding, whoever
 * made the bytes. Hence the decoder itself has to look at little: known fields, ascending order, and that lists fit. */
#include "store/policy_internal.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/wire.h"
#include "store/terms.h"

enum {
    POLICY_NAME = 1,
    POLICY_VERSION = 2,
    POLICY_DESCRIPTION = 3,
    POLICY_PRIORITY = 4,
    POLICY_END_DISALLOWED = 5,
    POLICY_SOURCE = 6,
    POLICY_RULES = 7,
    POLICY_APPLIED_BY = 8,
    POLICY_APPLIED_MS = 9,
    POLICY_REVISION = 10,
    POLICY_REMOVED = 11,
};

enum {
    RULE_NAME = 1,
    RULE_DENY = 2,
    RULE_BREAK_GLASS = 3,
    RULE_REQUESTERS = 4,
    RULE_SUBJECTS = 5,
    RULE_RESOURCES = 6,
    RULE_ACTIONS = 7,
    RULE_MAX_DURATION_MS = 8,
    RULE_ELIGIBILITY = 9,
    RULE_AUTOMATIC = 10,
    RULE_SELF_APPROVAL = 11,
    RULE_STEPS = 12,
    RULE_DECIDE_WITHIN_MS = 13,
    RULE_JUSTIFICATION = 14,
    RULE_TICKET = 15,
    RULE_BIND_SPIFFE_ID = 16,
    RULE_BIND_CERTIFICATE = 17,
    RULE_BIND_NETWORK = 18,
    RULE_MAX_USES = 19,
    RULE_LIMITS = 20,
    RULE_DELEGATION_DEPTH = 21,
    RULE_REVIEW_WITHIN_MS = 22,
    RULE_REVIEWERS = 23,
    RULE_TOKEN = 24,
    RULE_DESCRIPTION = 25,
};

enum { STEP_COUNT = 1, STEP_APPROVERS = 2 };
enum { TEXT_REQUIRED = 1, TEXT_MIN_LENGTH = 2, TEXT_PATTERN = 3 };
enum {
    LIMITS_CONCURRENT = 1,
    LIMITS_REQUESTS = 2,
    LIMITS_RESOURCES = 3,
    LIMITS_WINDOW_MS = 4,
    LIMITS_COOL_DOWN_MS = 5,
    LIMITS_HOLD = 6,
};

/* --- measuring ---------------------------------------------------------------------------------------------------- */

struct measure {
    size_t rules, patterns;
};

static bool is_pattern(uint32_t field)
{
    return (field >= RULE_REQUESTERS && field <= RULE_ACTIONS) || field == RULE_REVIEWERS;
}

static void measure_step(struct slice bytes, struct measure *measure)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    while (wire_next(&reader, &field))
        measure->patterns += field.number == STEP_APPROVERS;
}

static void measure_rule(struct slice bytes, struct measure *measure)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    measure->rules++;
    while (wire_next(&reader, &field)) {
        measure->patterns += is_pattern(field.number);
        if (field.number == RULE_STEPS && field.type == WIRE_BYTES)
            measure_step(field.bytes, measure);
    }
}

static struct measure measure_policy(struct slice bytes)
{
    struct measure measure = {0};
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    while (wire_next(&reader, &field))
        if (field.number == POLICY_RULES && field.type == WIRE_BYTES)
            measure_rule(field.bytes, &measure);
    return measure;
}

/* --- decoding ----------------------------------------------------------------------------------------------------- */

/* A policy and what is left of its block. */
struct block {
    struct policy policy;
    struct slice *patterns; /* the next free one */
    struct slice bytes;
};

static struct block *block_new(struct slice bytes, struct measure measure)
{
    size_t rules = measure.rules * sizeof(struct policy_rule), patterns = measure.patterns * sizeof(struct slice);
    struct block *block = mem_calloc(1, sizeof *block + rules + patterns + bytes.len);
    uint8_t *at = (uint8_t *)(block + 1);
    block->policy.rules = (struct policy_rule *)at;
    block->patterns = (struct slice *)(at + rules);
    if (bytes.len > 0)
        memcpy(at + rules + patterns, bytes.data, bytes.len);
    block->bytes = slice_of(at + rules + patterns, bytes.len);
    return block;
}

static bool field_flag(const struct wire_field *field, bool *out)
{
    *out = true;
    return field->type == WIRE_VARINT && field->value == 1;
}

/* Those of one list follow one another, since fields ascend. */
static bool field_pattern(struct block *block, const struct wire_field *field, struct policy_patterns *patterns)
{
    if (patterns->n == 0)
        patterns->items = block->patterns;
    patterns->n++;
    return field_bytes(field, block->patterns++);
}

typedef bool (*decode_fn)(struct block *block, const struct wire_field *field, void *out);

static bool decode_message(struct block *block, struct slice bytes, decode_fn decode, void *out)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t last = 0;
    while (wire_next(&reader, &field)) {
        if (field.number < last || !decode(block, &field, out))
            return false;
        last = field.number;
    }
    return !reader.failed;
}

static bool decode_step(struct block *block, const struct wire_field *field, void *out)
{
    struct policy_step *step = out;
    switch (field->number) {
    case STEP_COUNT:
        return field_u32(field, &step->count);
    case STEP_APPROVERS:
        return field_pattern(block, field, &step->approvers);
    default:
        return false;
    }
}

static bool decode_text(struct block *block, const struct wire_field *field, void *out)
{
    struct policy_text *text = out;
    (void)block;
    switch (field->number) {
    case TEXT_REQUIRED:
        return field_flag(field, &text->required);
    case TEXT_MIN_LENGTH:
        return field_u32(field, &text->min_length);
    case TEXT_PATTERN:
        return field_bytes(field, &text->pattern);
    default:
        return false;
    }
}

static bool decode_limits(struct block *block, const struct wire_field *field, void *out)
{
    struct policy_limits *limits = out;
    (void)block;
    switch (field->number) {
    case LIMITS_CONCURRENT:
        return field_u32(field, &limits->concurrent);
    case LIMITS_REQUESTS:
        return field_u32(field, &limits->requests);
    case LIMITS_RESOURCES:
        return field_u32(field, &limits->resources);
    case LIMITS_WINDOW_MS:
        return field_ms(field, &limits->window_ms);
    case LIMITS_COOL_DOWN_MS:
        return field_ms(field, &limits->cool_down_ms);
    case LIMITS_HOLD:
        return field_flag(field, &limits->hold);
    default:
        return false;
    }
}

static bool field_message(struct block *block, const struct wire_field *field, decode_fn decode, void *out)
{
    return field->type == WIRE_BYTES && decode_message(block, field->bytes, decode, out);
}

static bool field_step(struct block *block, const struct wire_field *field, struct policy_rule *rule)
{
    return rule->n_steps < LIMIT_STEPS && field_message(block, field, decode_step, &rule->steps[rule->n_steps++]);
}

static bool field_token(const struct wire_field *field, enum token_rule *token)
{
    uint32_t number;
    if (!field_u32(field, &number) || number > TOKEN_RULE_BOUND)
        return false;
    *token = (enum token_rule)number;
    return true;
}

/* Who, what, and for how long. */
static bool decode_scope(struct block *block, const struct wire_field *field, struct policy_rule *rule)
{
    switch (field->number) {
    case RULE_NAME:
        return field_bytes(field, &rule->name);
    case RULE_DENY:
        return field_flag(field, &rule->deny);
    case RULE_BREAK_GLASS:
        return field_flag(field, &rule->break_glass);
    case RULE_REQUESTERS:
        return field_pattern(block, field, &rule->requesters);
    case RULE_SUBJECTS:
        return field_pattern(block, field, &rule->subjects);
    case RULE_RESOURCES:
        return field_pattern(block, field, &rule->resources);
    case RULE_ACTIONS:
        return field_pattern(block, field, &rule->actions);
    case RULE_MAX_DURATION_MS:
        return field_ms(field, &rule->max_duration_ms);
    default:
        return false;
    }
}

/* What the request must bring. */
static bool decode_terms(struct block *block, const struct wire_field *field, struct policy_rule *rule)
{
    switch (field->number) {
    case RULE_JUSTIFICATION:
        return field_message(block, field, decode_text, &rule->justification);
    case RULE_TICKET:
        return field_message(block, field, decode_text, &rule->ticket);
    case RULE_BIND_SPIFFE_ID:
        return field_flag(field, &rule->bind_spiffe_id);
    case RULE_BIND_CERTIFICATE:
        return field_flag(field, &rule->bind_certificate);
    case RULE_BIND_NETWORK:
        return field_flag(field, &rule->bind_network);
    case RULE_MAX_USES:
        return field_u32(field, &rule->max_uses);
    case RULE_LIMITS:
        return field_message(block, field, decode_limits, &rule->limits);
    default:
        return false;
    }
}

static bool decode_rule(struct block *block, const struct wire_field *field, void *out)
{
    struct policy_rule *rule = out;
    if (field->number <= RULE_MAX_DURATION_MS)
        return decode_scope(block, field, rule);
    if (field->number >= RULE_JUSTIFICATION && field->number <= RULE_LIMITS)
        return decode_terms(block, field, rule);
    switch (field->number) {
    case RULE_ELIGIBILITY:
        return field_flag(field, &rule->eligibility);
    case RULE_AUTOMATIC:
        return field_flag(field, &rule->automatic);
    case RULE_SELF_APPROVAL:
        return field_flag(field, &rule->self_approval);
    case RULE_STEPS:
        return field_step(block, field, rule);
    case RULE_DECIDE_WITHIN_MS:
        return field_ms(field, &rule->decide_within_ms);
    case RULE_DELEGATION_DEPTH:
        return field_u32(field, &rule->delegation_depth);
    case RULE_REVIEW_WITHIN_MS:
        return field_ms(field, &rule->review_within_ms);
    case RULE_REVIEWERS:
        return field_pattern(block, field, &rule->reviewers);
    case RULE_TOKEN:
        return field_token(field, &rule->token);
    case RULE_DESCRIPTION:
        return field_bytes(field, &rule->description);
    default:
        return false;
    }
}

static bool decode_policy(struct block *block, const struct wire_field *field, void *out)
{
    struct policy *policy = out;
    switch (field->number) {
    case POLICY_NAME:
        return field_bytes(field, &policy->name);
    case POLICY_VERSION:
        return field_u64(field, &policy->version);
    case POLICY_DESCRIPTION:
        return field_bytes(field, &policy->description);
    case POLICY_PRIORITY:
        return field_u32(field, &policy->priority);
    case POLICY_END_DISALLOWED:
        return field_flag(field, &policy->end_disallowed);
    case POLICY_SOURCE:
        return field_bytes(field, &policy->source);
    case POLICY_RULES:
        return field_message(block, field, decode_rule, &policy->rules[policy->n_rules++]);
    case POLICY_APPLIED_BY:
        return field_bytes(field, &policy->applied_by);
    case POLICY_APPLIED_MS:
        return field_ms(field, &policy->applied_ms);
    case POLICY_REVISION:
        return field_u64(field, &policy->revision);
    case POLICY_REMOVED:
        return field_bytes(field, &policy->removed);
    default:
        return false;
    }
}

static bool is_canonical(const struct policy *policy, struct slice bytes)
{
    struct buf again;
    buf_init(&again, bytes.len + 1);
    bool same = lapse_is_ok(policy_encode(policy, &again)) && slice_equal(buf_slice(&again), bytes);
    buf_free(&again);
    return same;
}

lapse_result policy_decode(struct slice bytes, struct policy **policy, struct lapse_error *error)
{
    struct measure measure = measure_policy(bytes);
    if (bytes.len > LIMIT_OBJECT_BYTES)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "policy has %zu bytes; the limit is %u: make two of it",
                          bytes.len, LIMIT_OBJECT_BYTES);
    if (measure.rules > LIMIT_RULES_PER_POLICY)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "policy has %zu rules; the limit is %u: make two of it",
                          measure.rules, LIMIT_RULES_PER_POLICY);
    struct block *block = block_new(bytes, measure);
    lapse_result result = lapse_ok();
    if (!decode_message(block, block->bytes, decode_policy, &block->policy))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                            "policy is not a lapse.v1.Policy of this version, or its fields are not in ascending order");
    if (lapse_is_ok(result))
        result = policy_validate(&block->policy, NULL, error);
    if (lapse_is_ok(result) && !is_canonical(&block->policy, bytes))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                            "policy is not in its canonical form: fields in ascending order, nothing empty");
    if (!lapse_is_ok(result)) {
        free(block);
        return result;
    }
    *policy = &block->policy;
    return result;
}

void policy_free(struct policy *policy)
{
    /* It stands at the beginning of its block. */
    free(policy);
}

/* --- encoding ----------------------------------------------------------------------------------------------------- */

static void put_patterns(struct wire_writer *writer, uint32_t field, const struct policy_patterns *patterns)
{
    for (uint32_t i = 0; i < patterns->n; i++)
        wire_put_bytes(writer, field, patterns->items[i]);
}

static void put_steps(struct wire_writer *writer, const struct policy_rule *rule)
{
    for (uint32_t i = 0; i < rule->n_steps; i++) {
        size_t mark = wire_begin(writer, RULE_STEPS);
        wire_put_uint(writer, STEP_COUNT, rule->steps[i].count);
        put_patterns(writer, STEP_APPROVERS, &rule->steps[i].approvers);
        wire_end(writer, mark);
    }
}

static void put_text(struct wire_writer *writer, uint32_t field, const struct policy_text *text)
{
    if (!text->required && text->min_length == 0 && text->pattern.len == 0)
        return;
    size_t mark = wire_begin(writer, field);
    wire_put_uint(writer, TEXT_REQUIRED, text->required);
    wire_put_uint(writer, TEXT_MIN_LENGTH, text->min_length);
    wire_put_bytes(writer, TEXT_PATTERN, text->pattern);
    wire_end(writer, mark);
}

static void put_limits(struct wire_writer *writer, const struct policy_limits *limits)
{
    if (limits->concurrent == 0 && limits->requests == 0 && limits->resources == 0 && limits->window_ms == 0 &&
        limits->cool_down_ms == 0 && !limits->hold)
        return;
    size_t mark = wire_begin(writer, RULE_LIMITS);
    wire_put_uint(writer, LIMITS_CONCURRENT, limits->concurrent);
    wire_put_uint(writer, LIMITS_REQUESTS, limits->requests);
    wire_put_uint(writer, LIMITS_RESOURCES, limits->resources);
    wire_put_uint(writer, LIMITS_WINDOW_MS, (uint64_t)limits->window_ms);
    wire_put_uint(writer, LIMITS_COOL_DOWN_MS, (uint64_t)limits->cool_down_ms);
    wire_put_uint(writer, LIMITS_HOLD, limits->hold);
    wire_end(writer, mark);
}

static void put_scope(struct wire_writer *writer, const struct policy_rule *rule)
{
    wire_put_bytes(writer, RULE_NAME, rule->name);
    wire_put_uint(writer, RULE_DENY, rule->deny);
    wire_put_uint(writer, RULE_BREAK_GLASS, rule->break_glass);
    put_patterns(writer, RULE_REQUESTERS, &rule->requesters);
    put_patterns(writer, RULE_SUBJECTS, &rule->subjects);
    put_patterns(writer, RULE_RESOURCES, &rule->resources);
    put_patterns(writer, RULE_ACTIONS, &rule->actions);
    wire_put_uint(writer, RULE_MAX_DURATION_MS, (uint64_t)rule->max_duration_ms);
}

static void put_rule(struct wire_writer *writer, const struct policy_rule *rule)
{
    size_t mark = wire_begin(writer, POLICY_RULES);
    put_scope(writer, rule);
    wire_put_uint(writer, RULE_ELIGIBILITY, rule->eligibility);
    wire_put_uint(writer, RULE_AUTOMATIC, rule->automatic);
    wire_put_uint(writer, RULE_SELF_APPROVAL, rule->self_approval);
    put_steps(writer, rule);
    wire_put_uint(writer, RULE_DECIDE_WITHIN_MS, (uint64_t)rule->decide_within_ms);
    put_text(writer, RULE_JUSTIFICATION, &rule->justification);
    put_text(writer, RULE_TICKET, &rule->ticket);
    wire_put_uint(writer, RULE_BIND_SPIFFE_ID, rule->bind_spiffe_id);
    wire_put_uint(writer, RULE_BIND_CERTIFICATE, rule->bind_certificate);
    wire_put_uint(writer, RULE_BIND_NETWORK, rule->bind_network);
    wire_put_uint(writer, RULE_MAX_USES, rule->max_uses);
    put_limits(writer, &rule->limits);
    wire_put_uint(writer, RULE_DELEGATION_DEPTH, rule->delegation_depth);
    wire_put_uint(writer, RULE_REVIEW_WITHIN_MS, (uint64_t)rule->review_within_ms);
    put_patterns(writer, RULE_REVIEWERS, &rule->reviewers);
    wire_put_uint(writer, RULE_TOKEN, rule->token);
    wire_put_bytes(writer, RULE_DESCRIPTION, rule->description);
    wire_end(writer, mark);
}

lapse_result policy_encode(const struct policy *policy, struct buf *out)
{
    size_t start = out->len;
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, POLICY_NAME, policy->name);
    wire_put_uint(&writer, POLICY_VERSION, policy->version);
    wire_put_bytes(&writer, POLICY_DESCRIPTION, policy->description);
    wire_put_uint(&writer, POLICY_PRIORITY, policy->priority);
    wire_put_uint(&writer, POLICY_END_DISALLOWED, policy->end_disallowed);
    wire_put_bytes(&writer, POLICY_SOURCE, policy->source);
    for (uint32_t i = 0; i < policy->n_rules; i++)
        put_rule(&writer, &policy->rules[i]);
    wire_put_bytes(&writer, POLICY_APPLIED_BY, policy->applied_by);
    wire_put_uint(&writer, POLICY_APPLIED_MS, (uint64_t)policy->applied_ms);
    wire_put_uint(&writer, POLICY_REVISION, policy->revision);
    wire_put_bytes(&writer, POLICY_REMOVED, policy->removed);
    if (!writer.failed)
        return lapse_ok();
    out->len = start;
    return lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
}
