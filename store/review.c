#include "store/review.h"

#include "base/check.h"
#include "store/identifiers.h"
#include "store/terms.h"

enum {
    REVIEW_FIELD_NAME = 1,
    REVIEW_FIELD_SUBJECT = 2,
    REVIEW_FIELD_REQUESTER = 3,
    REVIEW_FIELD_RESOURCE = 4,
    REVIEW_FIELD_JUSTIFICATION = 5,
    REVIEW_FIELD_POLICY = 6,
    REVIEW_FIELD_RULE = 7,
    REVIEW_FIELD_REVIEWERS = 8,
    REVIEW_FIELD_OPENED_MS = 9,
    REVIEW_FIELD_DUE_MS = 10,
    REVIEW_FIELD_OVERDUE = 11,
    REVIEW_FIELD_VERDICT = 12,
    REVIEW_FIELD_COMMENT = 13,
    REVIEW_FIELD_CLOSED_BY = 14,
    REVIEW_FIELD_CLOSED_MS = 15,
    REVIEW_FIELD_REVISION = 16,
    REVIEW_FIELD_APPROVERS = 17,
};

/* The texts by their fields. */
static struct slice *text_of(struct review *review, uint32_t field)
{
    switch (field) {
    case REVIEW_FIELD_NAME:
        return &review->name;
    case REVIEW_FIELD_SUBJECT:
        return &review->subject;
    case REVIEW_FIELD_REQUESTER:
        return &review->requester;
    case REVIEW_FIELD_RESOURCE:
        return &review->resource;
    case REVIEW_FIELD_JUSTIFICATION:
        return &review->justification;
    case REVIEW_FIELD_POLICY:
        return &review->policy;
    case REVIEW_FIELD_RULE:
        return &review->rule;
    case REVIEW_FIELD_REVIEWERS:
        return &review->reviewers;
    case REVIEW_FIELD_COMMENT:
        return &review->comment;
    case REVIEW_FIELD_CLOSED_BY:
        return &review->closed_by;
    case REVIEW_FIELD_APPROVERS:
        return &review->approvers;
    default:
        return NULL;
    }
}

static bool decode_number(const struct wire_field *field, struct review *review)
{
    if (field->type != WIRE_VARINT || field->value == 0)
        return false;
    switch (field->number) {
    case REVIEW_FIELD_OPENED_MS:
        return field_ms(field, &review->opened_ms);
    case REVIEW_FIELD_DUE_MS:
        return field_ms(field, &review->due_ms);
    case REVIEW_FIELD_OVERDUE:
        return review->overdue = field->value == 1;
    case REVIEW_FIELD_VERDICT:
        return field_u32(field, &review->verdict) && review->verdict <= REVIEW_MISUSED;
    case REVIEW_FIELD_CLOSED_MS:
        return field_ms(field, &review->closed_ms);
    case REVIEW_FIELD_REVISION:
        return field_u64(field, &review->revision);
    default:
        return false;
    }
}

static bool decode_field(const struct wire_field *field, struct review *review)
{
    struct slice *text = text_of(review, field->number);
    return text != NULL ? field_bytes(field, text) && text->len > 0 : decode_number(field, review);
}

static bool names_are_good(const struct review *review)
{
    struct slice rest = review->approvers, one;
    bool good = lapse_is_ok(principal_validate(review->subject, "subject", NULL)) &&
                lapse_is_ok(principal_validate(review->requester, "requester", NULL));
    while (good && scope_next(&rest, &one))
        good = lapse_is_ok(principal_validate(one, "approver", NULL));
    return good;
}

static bool texts_are_good(const struct review *review)
{
    return lapse_is_ok(resource_validate(review->resource, true, NULL)) &&
           lapse_is_ok(text_validate(review->justification, LIMIT_JUSTIFICATION, "justification", NULL)) &&
           lapse_is_ok(token_validate(review->policy, LIMIT_POLICY, "policy", NULL)) &&
           lapse_is_ok(token_validate(review->rule, LIMIT_POLICY, "rule", NULL)) &&
           lapse_is_ok(text_validate(review->comment, LIMIT_REASON, "comment", NULL)) &&
           review->reviewers.len <= LIMIT_STEP_PATTERNS;
}

const char *review_decode(struct slice bytes, struct review *out)
{
    struct review review = {.verdict = 0};
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    struct grant_id id;
    uint32_t last = 0;
    while (wire_next(&reader, &field)) {
        if (field.number <= last || !decode_field(&field, &review))
            return "a review with a field that is none";
        last = field.number;
    }
    if (reader.failed || !lapse_is_ok(grant_id_parse(review.name, &id)) || !names_are_good(&review) ||
        !texts_are_good(&review))
        return "a review with a text that is none";
    if (review.opened_ms <= 0 || review.due_ms <= review.opened_ms)
        return "a review whose times contradict each other";
    *out = review;
    return NULL;
}

void review_encode(const struct review *review, struct buf *out)
{
    buf_clear(out);
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, REVIEW_FIELD_NAME, review->name);
    wire_put_bytes(&writer, REVIEW_FIELD_SUBJECT, review->subject);
    wire_put_bytes(&writer, REVIEW_FIELD_REQUESTER, review->requester);
    wire_put_bytes(&writer, REVIEW_FIELD_RESOURCE, review->resource);
    wire_put_bytes(&writer, REVIEW_FIELD_JUSTIFICATION, review->justification);
    wire_put_bytes(&writer, REVIEW_FIELD_POLICY, review->policy);
    wire_put_bytes(&writer, REVIEW_FIELD_RULE, review->rule);
    wire_put_bytes(&writer, REVIEW_FIELD_REVIEWERS, review->reviewers);
    wire_put_uint(&writer, REVIEW_FIELD_OPENED_MS, (uint64_t)review->opened_ms);
    wire_put_uint(&writer, REVIEW_FIELD_DUE_MS, (uint64_t)review->due_ms);
    wire_put_uint(&writer, REVIEW_FIELD_OVERDUE, review->overdue);
    wire_put_uint(&writer, REVIEW_FIELD_VERDICT, review->verdict);
    wire_put_bytes(&writer, REVIEW_FIELD_COMMENT, review->comment);
    wire_put_bytes(&writer, REVIEW_FIELD_CLOSED_BY, review->closed_by);
    wire_put_uint(&writer, REVIEW_FIELD_CLOSED_MS, (uint64_t)review->closed_ms);
    wire_put_uint(&writer, REVIEW_FIELD_REVISION, review->revision);
    wire_put_bytes(&writer, REVIEW_FIELD_APPROVERS, review->approvers);
    CHECK(!writer.failed);
}

bool review_concerns(const struct review *review, struct slice principal)
{
    struct slice rest = review->approvers, one;
    bool concerns = principal_same(review->requester, principal) || principal_same(review->subject, principal);
    while (!concerns && scope_next(&rest, &one))
        concerns = principal_same(one, principal);
    return concerns;
}
