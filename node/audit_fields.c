/* An event holds at most one message that says what it is about; a table says where in it each column stands. */
#include "node/audit_fields.h"

#include "base/check.h"
#include "base/wire.h"
#include "store/lock.h"
#include "store/word_fields.h"

/* Members of messages of objects.proto; tests/unit/test_audit_fields.c compares them with the generated ones. */
enum {
    LOCK_KIND = 2,
    LOCK_TARGET = 3,
    ELIGIBILITY_MEMBER = 2,
    REVIEW_NAME = 1,
    REVIEW_SUBJECT = 2,
    REVIEW_RESOURCE = 4,
};

/* Which member of which message is which column. 0: none. */
static const struct about {
    uint32_t message;
    uint32_t grant, subject, resource, link;
} abouts[] = {
    {WORD_EVENT_GRANT, WORD_GRANT_ID, WORD_GRANT_SUBJECT, WORD_GRANT_RESOURCE, 0},
    {WORD_EVENT_ROLES, 0, WORD_ROLE_BINDING_MEMBER, 0, 0},
    {WORD_EVENT_POINT, 0, WORD_POINT_PRINCIPAL, 0, 0},
    {WORD_EVENT_BARRIER, WORD_BARRIER_GRANT_ID, 0, 0, WORD_BARRIER_ID},
    {WORD_EVENT_SESSION, WORD_SESSION_GRANT_ID, 0, 0, 0},
    {WORD_EVENT_SWEEP, 0, 0, 0, WORD_SWEEP_ID},
    {WORD_EVENT_ELIGIBILITY, 0, ELIGIBILITY_MEMBER, 0, 0},
    {WORD_EVENT_REVIEW, REVIEW_NAME, REVIEW_SUBJECT, REVIEW_RESOURCE, 0},
    {WORD_EVENT_RECEIPTS, 0, 0, 0, WORD_RECEIPT_BARRIER},
};

static const struct about *about_of(uint32_t message)
{
    for (size_t i = 0; i < ARRAY_LEN(abouts); i++)
        if (abouts[i].message == message)
            return &abouts[i];
    return NULL;
}

static void take_grant(struct slice text, struct audit_fields *fields)
{
    struct grant_id id;
    if (!lapse_is_ok(grant_id_parse(text, &id)))
        return;
    _Static_assert(sizeof id == sizeof fields->grant, "a grant's id fills its column");
    memcpy(fields->grant, &id, sizeof fields->grant);
    fields->has_grant = true;
}

/* Receipts come in the order of their barriers, or nearly so. */
static void take_link(uint64_t link, struct audit_fields *fields)
{
    uint32_t at = fields->n_links;
    while (at > 0 && fields->links[at - 1] >= link)
        at--;
    if (at < fields->n_links && fields->links[at] == link)
        return;
    if (fields->n_links == AUDIT_LINKS_MAX)
        return;
    memmove(&fields->links[at + 1], &fields->links[at], (fields->n_links - at) * sizeof fields->links[0]);
    fields->links[at] = link;
    fields->n_links++;
}

static void take_member(const struct about *about, const struct wire_field *member, struct audit_fields *fields)
{
    bool is_text = member->type == WIRE_BYTES;
    if (member->number == about->grant && is_text)
        take_grant(member->bytes, fields);
    else if (member->number == about->subject && is_text)
        fields->subject = member->bytes;
    else if (member->number == about->resource && is_text)
        fields->resource = member->bytes;
    else if (member->number == about->link && member->type == WIRE_VARINT && member->value <= INT64_MAX)
        take_link(member->value, fields);
}

/* What a lock's target is, its kind says. */
static bool take_lock(struct slice bytes, struct audit_fields *fields)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field member;
    struct slice target = slice_of(NULL, 0);
    uint64_t kind = 0;
    while (wire_next(&wire, &member)) {
        if (member.number == LOCK_KIND && member.type == WIRE_VARINT)
            kind = member.value;
        else if (member.number == LOCK_TARGET && member.type == WIRE_BYTES)
            target = member.bytes;
    }
    if (kind == LOCK_SUBJECT)
        fields->subject = target;
    else if (kind == LOCK_RESOURCE)
        fields->resource = target;
    return !wire.failed;
}

static bool take_message(struct slice bytes, uint32_t message, struct audit_fields *fields)
{
    const struct about *about = about_of(message);
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field member;
    if (message == WORD_EVENT_LOCK)
        return take_lock(bytes, fields);
    if (about == NULL)
        return true;
    while (wire_next(&wire, &member))
        take_member(about, &member, fields);
    return !wire.failed;
}

static bool take_field(const struct wire_field *field, struct audit_fields *fields)
{
    switch (field->number) {
    case WORD_EVENT_REVISION:
        fields->revision = field->value;
        return field->type == WIRE_VARINT && field->value <= INT64_MAX;
    case WORD_EVENT_TIME_MS:
        fields->time_ms = (int64_t)field->value;
        return field->type == WIRE_VARINT && field->value <= INT64_MAX;
    case WORD_EVENT_TYPE:
        fields->type = (uint32_t)field->value;
        return field->type == WIRE_VARINT && field->value < 64;
    case WORD_EVENT_ACTOR:
        fields->actor = field->bytes;
        return field->type == WIRE_BYTES;
    default:
        return field->type != WIRE_BYTES || take_message(field->bytes, field->number, fields);
    }
}

lapse_result audit_fields_read(struct slice event, struct audit_fields *fields, struct lapse_error *error)
{
    struct wire_reader wire = wire_reader(event);
    struct wire_field field;
    *fields = (struct audit_fields){.n_links = 0};
    while (wire_next(&wire, &field))
        if (!take_field(&field, fields))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "field %u of an event is malformed", field.number);
    if (wire.failed || fields->revision == 0 || fields->type == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%zu bytes are no event", event.len);
    return lapse_ok();
}

/* --- evidence ----------------------------------------------------------------------------------------------------- */

static void read_grant(struct slice bytes, struct audit_end *end)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    while (wire_next(&wire, &field)) {
        if (field.number == WORD_GRANT_STATE)
            end->state = (uint32_t)field.value;
        else if (field.number == WORD_GRANT_PARENT)
            end->parent = field.bytes;
        else if (field.number == WORD_GRANT_ENDED_BY)
            end->ended_by = field.bytes;
        else if (field.number == WORD_GRANT_REASON)
            end->reason = field.bytes;
        else if (field.number == WORD_GRANT_ENDED_REVISION)
            end->ended_revision = field.value;
    }
}

static void read_sweep(struct slice bytes, struct audit_end *end)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    while (wire_next(&wire, &field)) {
        if (field.number == WORD_SWEEP_ID)
            end->sweep = field.value;
        else if (field.number == WORD_SWEEP_BY)
            end->sweep_by = field.bytes;
        else if (field.number == WORD_SWEEP_REASON)
            end->sweep_reason = field.bytes;
    }
}

void audit_end_read(struct slice event, struct audit_end *end)
{
    struct wire_reader wire = wire_reader(event);
    struct wire_field field;
    *end = (struct audit_end){.state = 0};
    while (wire_next(&wire, &field)) {
        if (field.number == WORD_EVENT_GRANT && field.type == WIRE_BYTES)
            read_grant(field.bytes, end);
        else if (field.number == WORD_EVENT_SWEEP && field.type == WIRE_BYTES)
            read_sweep(field.bytes, end);
    }
}
