#include "store/filter.h"

#include "base/check.h"
#include "store/hash.h"
#include "store/identifiers.h"
#include "store/terms.h"

enum {
    FILTER_SUBJECT = 1,
    FILTER_RESOURCE = 2,
    FILTER_REQUESTER = 3,
    FILTER_APPROVER = 4,
    FILTER_TICKET = 5,
    FILTER_POLICY = 6,
    FILTER_PARENT = 7,
    FILTER_STATES = 8,
    FILTER_POLICY_VERSION = 9,
    FILTER_BINDING = 10,
    FILTER_LABEL = 11,
    FILTER_PERSON = 12,
};

#define STATES_LIVE (1u << GRANT_PENDING | 1u << GRANT_APPROVED | 1u << GRANT_ACTIVE)

void filter_encode(struct wire_writer *writer, const struct store_filter *filter)
{
    wire_put_bytes(writer, FILTER_SUBJECT, filter->subject);
    wire_put_bytes(writer, FILTER_RESOURCE, filter->resource);
    wire_put_bytes(writer, FILTER_REQUESTER, filter->requester);
    wire_put_bytes(writer, FILTER_APPROVER, filter->approver);
    wire_put_bytes(writer, FILTER_TICKET, filter->ticket);
    wire_put_bytes(writer, FILTER_POLICY, filter->policy);
    if (!grant_id_is_zero(filter->parent))
        wire_put_bytes(writer, FILTER_PARENT, slice_of(filter->parent.bytes, sizeof filter->parent.bytes));
    wire_put_uint(writer, FILTER_STATES, filter->states);
    wire_put_uint(writer, FILTER_POLICY_VERSION, filter->policy_version);
    wire_put_bytes(writer, FILTER_BINDING, filter->binding);
    wire_put_bytes(writer, FILTER_LABEL, filter->label);
    wire_put_bytes(writer, FILTER_PERSON, filter->person);
}

static bool decode_field(const struct wire_field *field, struct store_filter *filter)
{
    switch (field->number) {
    case FILTER_SUBJECT:
        return field_bytes(field, &filter->subject);
    case FILTER_RESOURCE:
        return field_bytes(field, &filter->resource);
    case FILTER_REQUESTER:
        return field_bytes(field, &filter->requester);
    case FILTER_APPROVER:
        return field_bytes(field, &filter->approver);
    case FILTER_TICKET:
        return field_bytes(field, &filter->ticket);
    case FILTER_POLICY:
        return field_bytes(field, &filter->policy);
    case FILTER_PARENT:
        return field_id(field, &filter->parent);
    case FILTER_STATES:
        return field_u32(field, &filter->states);
    case FILTER_POLICY_VERSION:
        return field_u64(field, &filter->policy_version);
    case FILTER_BINDING:
        return field_bytes(field, &filter->binding);
    case FILTER_LABEL:
        return field_bytes(field, &filter->label);
    case FILTER_PERSON:
        return field_bytes(field, &filter->person);
    default:
        return false;
    }
}

lapse_result filter_decode(struct slice bytes, struct store_filter *filter)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t last = 0;
    while (wire_next(&reader, &field)) {
        if (field.number <= last || !decode_field(&field, filter))
            return lapse_failed(LAPSE_DATA_LOSS);
        last = field.number;
    }
    return reader.failed ? lapse_failed(LAPSE_DATA_LOSS) : lapse_ok();
}

static lapse_result validate_names(const struct store_filter *filter, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    if (filter->subject.len > 0)
        result = principal_validate(filter->subject, "subject", error);
    if (lapse_is_ok(result) && filter->resource.len > 0)
        result = resource_validate(filter->resource, true, error);
    if (lapse_is_ok(result) && filter->requester.len > 0)
        result = principal_validate(filter->requester, "requester", error);
    if (lapse_is_ok(result) && filter->approver.len > 0)
        result = principal_validate(filter->approver, "approver", error);
    if (lapse_is_ok(result))
        result = token_validate(filter->ticket, LIMIT_TICKET, "ticket", error);
    if (lapse_is_ok(result))
        result = token_validate(filter->policy, LIMIT_POLICY, "policy", error);
    return result;
}

static lapse_result validate_provenance(const struct store_filter *filter, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    if (filter->policy_version != 0 && filter->policy.len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "policy_version says nothing without a policy; name it");
    if (filter->binding.len > 0)
        result = principal_validate(filter->binding, "binding", error);
    if (lapse_is_ok(result) && filter->person.len > 0)
        result = principal_validate(filter->person, "person", error);
    if (lapse_is_ok(result) && filter->label.len > 0 &&
        (filter->label.data[0] == '=' || memchr(filter->label.data, '=', filter->label.len) == NULL))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "label must be \"key=value\"");
    if (lapse_is_ok(result))
        result = token_validate(filter->label, LIMIT_LABEL_KEY + 1 + LIMIT_LABEL_VALUE, "label", error);
    return result;
}

lapse_result filter_validate(const struct store_filter *filter, struct lapse_error *error)
{
    size_t texts = filter->subject.len + filter->resource.len + filter->requester.len + filter->approver.len +
                   filter->ticket.len + filter->policy.len + filter->binding.len + filter->label.len +
                   filter->person.len;
    if (texts == 0 && grant_id_is_zero(filter->parent))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "the filter takes every grant; give subject, resource, requester, approver, ticket, policy, "
                          "binding, label, person or parent (resource \"*\" if you mean all)");
    if ((filter->states & ~STATES_LIVE) != 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "only PENDING, APPROVED and ACTIVE grants can be revoked");
    lapse_result result = validate_names(filter, error);
    return lapse_is_ok(result) ? validate_provenance(filter, error) : result;
}

uint64_t filter_hash(uint64_t hash, const struct store_filter *filter)
{
    const struct slice texts[] = {filter->subject, filter->resource, filter->requester, filter->approver, filter->ticket,
                                  filter->policy,  filter->binding,  filter->label,     filter->person};
    uint64_t numbers[4] = {filter->states, 0, 0, filter->policy_version};
    memcpy(&numbers[1], filter->parent.bytes, sizeof filter->parent.bytes);
    hash = hash_chain(hash, numbers, sizeof numbers);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        hash = hash_chain_text(hash, texts[i]);
    return hash;
}
