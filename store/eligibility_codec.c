#include "store/eligibility.h"

#include "base/wire.h"
#include "store/identifiers.h"
#include "store/policy.h"
#include "store/terms.h"

enum {
    ELIGIBILITY_NAME = 1,
    ELIGIBILITY_MEMBER = 2,
    ELIGIBILITY_RESOURCES = 3,
    ELIGIBILITY_ACTIONS = 4,
    ELIGIBILITY_REASON = 5,
    ELIGIBILITY_EXPIRES_MS = 6,
    ELIGIBILITY_PUT_BY = 7,
    ELIGIBILITY_PUT_MS = 8,
    ELIGIBILITY_CERTIFIED_BY = 9,
    ELIGIBILITY_CERTIFIED_MS = 10,
    ELIGIBILITY_USED_MS = 11,
    ELIGIBILITY_USES = 12,
    ELIGIBILITY_REVISION = 13,
    ELIGIBILITY_ENDED = 14,

    CAMPAIGN_NAME = 1,
    CAMPAIGN_MEMBERS = 2,
    CAMPAIGN_RESOURCES = 3,
    CAMPAIGN_DUE_MS = 4,
    CAMPAIGN_REASON = 5,
    CAMPAIGN_STARTED_BY = 6,
    CAMPAIGN_STARTED_MS = 7,
    CAMPAIGN_REVISION = 8,
    CAMPAIGN_ITEMS = 9,
    CAMPAIGN_LAPSED = 10,
};

/* --- fields ------------------------------------------------------------------------------------------------------- */

/* Never empty: what is empty is left out. */
static bool read_text(const struct wire_field *field, struct slice *out)
{
    return field_bytes(field, out) && out->len > 0;
}

static bool read_ms(const struct wire_field *field, int64_t *out)
{
    return field_ms(field, out) && *out > 0 && *out <= LIMIT_TIME_MS_MAX;
}

static bool read_u64(const struct wire_field *field, uint64_t *out)
{
    return field_u64(field, out) && *out > 0;
}

static bool read_u32(const struct wire_field *field, uint32_t *out)
{
    return field_u32(field, out) && *out > 0;
}

static bool read_item(const struct wire_field *field, struct slice *items, uint32_t *n, uint32_t max)
{
    return *n < max && read_text(field, &items[(*n)++]);
}

static bool read_eligibility_field(const struct wire_field *field, struct eligibility *e)
{
    switch (field->number) {
    case ELIGIBILITY_NAME:
        return read_text(field, &e->name);
    case ELIGIBILITY_MEMBER:
        return read_text(field, &e->member);
    case ELIGIBILITY_RESOURCES:
        return read_item(field, e->resources, &e->n_resources, LIMIT_ELIGIBILITY_PATTERNS);
    case ELIGIBILITY_ACTIONS:
        return read_item(field, e->actions, &e->n_actions, LIMIT_ACTIONS);
    case ELIGIBILITY_REASON:
        return read_text(field, &e->reason);
    case ELIGIBILITY_EXPIRES_MS:
        return read_ms(field, &e->expires_ms);
    case ELIGIBILITY_PUT_BY:
        return read_text(field, &e->put_by);
    case ELIGIBILITY_PUT_MS:
        return read_ms(field, &e->put_ms);
    case ELIGIBILITY_CERTIFIED_BY:
        return read_text(field, &e->certified_by);
    case ELIGIBILITY_CERTIFIED_MS:
        return read_ms(field, &e->certified_ms);
    case ELIGIBILITY_USED_MS:
        return read_ms(field, &e->used_ms);
    case ELIGIBILITY_USES:
        return read_u64(field, &e->uses);
    case ELIGIBILITY_REVISION:
        return read_u64(field, &e->revision);
    default:
        return false; /* `ended` is in events only */
    }
}

static bool read_campaign_field(const struct wire_field *field, struct campaign *c)
{
    switch (field->number) {
    case CAMPAIGN_NAME:
        return read_text(field, &c->name);
    case CAMPAIGN_MEMBERS:
        return read_item(field, c->members, &c->n_members, LIMIT_ELIGIBILITY_PATTERNS);
    case CAMPAIGN_RESOURCES:
        return read_item(field, c->resources, &c->n_resources, LIMIT_ELIGIBILITY_PATTERNS);
    case CAMPAIGN_DUE_MS:
        return read_ms(field, &c->due_ms);
    case CAMPAIGN_REASON:
        return read_text(field, &c->reason);
    case CAMPAIGN_STARTED_BY:
        return read_text(field, &c->started_by);
    case CAMPAIGN_STARTED_MS:
        return read_ms(field, &c->started_ms);
    case CAMPAIGN_REVISION:
        return read_u64(field, &c->revision);
    case CAMPAIGN_ITEMS:
        return read_u32(field, &c->items);
    case CAMPAIGN_LAPSED:
        return read_u32(field, &c->lapsed);
    default:
        return false;
    }
}

/* --- forms -------------------------------------------------------------------------------------------------------- */

static lapse_result missing(const char *member, const char *advice, struct lapse_error *error)
{
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s is missing; %s", member, advice);
}

static lapse_result validate_resources(const struct slice *resources, uint32_t n, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < n && lapse_is_ok(result); i++)
        result = resource_validate(resources[i], true, error);
    return result;
}

static lapse_result validate_actions(const struct eligibility *e, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < e->n_actions && lapse_is_ok(result); i++)
        result = action_validate(e->actions[i], error);
    return result;
}

/* What a caller writes. */
static lapse_result validate_terms(const struct eligibility *e, struct lapse_error *error)
{
    lapse_result result = object_name_validate(e->name, "name", error);
    if (lapse_is_ok(result))
        result = member_validate(e->member, error);
    if (lapse_is_ok(result) && e->n_resources == 0)
        result = missing("resources", "name at least one, or \"*\"", error);
    if (lapse_is_ok(result))
        result = validate_resources(e->resources, e->n_resources, error);
    if (lapse_is_ok(result))
        result = validate_actions(e, error);
    if (lapse_is_ok(result))
        result = text_validate(e->reason, LIMIT_REASON, "reason", error);
    if (lapse_is_ok(result) && e->reason.len == 0)
        result = missing("reason", "say why it is needed", error);
    if (lapse_is_ok(result) && e->expires_ms == 0)
        result = missing("expires_ms", "eligibility has an end", error);
    return result;
}

static lapse_result validate_stored(const struct eligibility *e, struct lapse_error *error)
{
    lapse_result result = principal_validate(e->put_by, "put_by", error);
    if (lapse_is_ok(result) && e->certified_by.len > 0)
        result = principal_validate(e->certified_by, "certified_by", error);
    bool good = e->put_ms > 0 && e->revision > 0 && (e->certified_by.len > 0) == (e->certified_ms > 0) &&
                (e->used_ms > 0) == (e->uses > 0);
    if (lapse_is_ok(result) && !good)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "eligibility contradicts itself");
    return result;
}

static bool untouched(const struct eligibility *e)
{
    return e->put_by.len == 0 && e->put_ms == 0 && e->certified_by.len == 0 && e->certified_ms == 0 &&
           e->used_ms == 0 && e->uses == 0 && e->revision == 0;
}

static lapse_result store_fills(struct lapse_error *error)
{
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                      "by whom, when, uses, items and revision are for the cluster to fill; leave them out");
}

static lapse_result validate_campaign_terms(const struct campaign *c, struct lapse_error *error)
{
    lapse_result result = object_name_validate(c->name, "name", error);
    for (uint32_t i = 0; i < c->n_members && lapse_is_ok(result); i++)
        result = member_validate(c->members[i], error);
    if (lapse_is_ok(result))
        result = validate_resources(c->resources, c->n_resources, error);
    if (lapse_is_ok(result))
        result = text_validate(c->reason, LIMIT_REASON, "reason", error);
    if (lapse_is_ok(result) && c->due_ms == 0)
        result = missing("due_ms", "a campaign has an end", error);
    return result;
}

static lapse_result validate_campaign_stored(const struct campaign *c, struct lapse_error *error)
{
    lapse_result result = principal_validate(c->started_by, "started_by", error);
    if (lapse_is_ok(result) && (c->started_ms == 0 || c->revision == 0 || c->lapsed > c->items))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "campaign contradicts itself");
    return result;
}

static bool campaign_untouched(const struct campaign *c)
{
    return c->started_by.len == 0 && c->started_ms == 0 && c->revision == 0 && c->items == 0 && c->lapsed == 0;
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static lapse_result bad_field(const char *message, uint32_t number, struct lapse_error *error)
{
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                      "%s: field %u is unknown, empty, out of order or one of more than %u; see lapse.v1", message,
                      number, LIMIT_ELIGIBILITY_PATTERNS);
}

lapse_result eligibility_decode(struct slice bytes, bool stored, struct eligibility *out, struct lapse_error *error)
{
    struct eligibility e;
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field = {0};
    uint32_t last = 0;
    memset(&e, 0, sizeof e);
    while (wire_next(&reader, &field)) {
        bool list = field.number == ELIGIBILITY_RESOURCES || field.number == ELIGIBILITY_ACTIONS;
        if (field.number < last || (field.number == last && !list) || !read_eligibility_field(&field, &e))
            return bad_field("eligibility", field.number, error);
        last = field.number;
    }
    if (reader.failed)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "eligibility is cut off");
    lapse_result result = validate_terms(&e, error);
    if (lapse_is_ok(result))
        result = stored ? validate_stored(&e, error) : untouched(&e) ? lapse_ok() : store_fills(error);
    if (lapse_is_ok(result))
        *out = e;
    return result;
}

lapse_result campaign_decode(struct slice bytes, bool stored, struct campaign *out, struct lapse_error *error)
{
    struct campaign c;
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field = {0};
    uint32_t last = 0;
    memset(&c, 0, sizeof c);
    while (wire_next(&reader, &field)) {
        bool list = field.number == CAMPAIGN_MEMBERS || field.number == CAMPAIGN_RESOURCES;
        if (field.number < last || (field.number == last && !list) || !read_campaign_field(&field, &c))
            return bad_field("campaign", field.number, error);
        last = field.number;
    }
    if (reader.failed)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "campaign is cut off");
    lapse_result result = validate_campaign_terms(&c, error);
    if (lapse_is_ok(result))
        result = stored                   ? validate_campaign_stored(&c, error)
                 : campaign_untouched(&c) ? lapse_ok()
                                          : store_fills(error);
    if (lapse_is_ok(result))
        *out = c;
    return result;
}

static void put_list(struct wire_writer *writer, uint32_t field, const struct slice *items, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        wire_put_bytes(writer, field, items[i]);
}

lapse_result eligibility_encode(const struct eligibility *e, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, ELIGIBILITY_NAME, e->name);
    wire_put_bytes(&writer, ELIGIBILITY_MEMBER, e->member);
    put_list(&writer, ELIGIBILITY_RESOURCES, e->resources, e->n_resources);
    put_list(&writer, ELIGIBILITY_ACTIONS, e->actions, e->n_actions);
    wire_put_bytes(&writer, ELIGIBILITY_REASON, e->reason);
    wire_put_uint(&writer, ELIGIBILITY_EXPIRES_MS, (uint64_t)e->expires_ms);
    wire_put_bytes(&writer, ELIGIBILITY_PUT_BY, e->put_by);
    wire_put_uint(&writer, ELIGIBILITY_PUT_MS, (uint64_t)e->put_ms);
    wire_put_bytes(&writer, ELIGIBILITY_CERTIFIED_BY, e->certified_by);
    wire_put_uint(&writer, ELIGIBILITY_CERTIFIED_MS, (uint64_t)e->certified_ms);
    wire_put_uint(&writer, ELIGIBILITY_USED_MS, (uint64_t)e->used_ms);
    wire_put_uint(&writer, ELIGIBILITY_USES, e->uses);
    wire_put_uint(&writer, ELIGIBILITY_REVISION, e->revision);
    wire_put_bytes(&writer, ELIGIBILITY_ENDED, e->ended);
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

lapse_result campaign_encode(const struct campaign *c, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, CAMPAIGN_NAME, c->name);
    put_list(&writer, CAMPAIGN_MEMBERS, c->members, c->n_members);
    put_list(&writer, CAMPAIGN_RESOURCES, c->resources, c->n_resources);
    wire_put_uint(&writer, CAMPAIGN_DUE_MS, (uint64_t)c->due_ms);
    wire_put_bytes(&writer, CAMPAIGN_REASON, c->reason);
    wire_put_bytes(&writer, CAMPAIGN_STARTED_BY, c->started_by);
    wire_put_uint(&writer, CAMPAIGN_STARTED_MS, (uint64_t)c->started_ms);
    wire_put_uint(&writer, CAMPAIGN_REVISION, c->revision);
    wire_put_uint(&writer, CAMPAIGN_ITEMS, c->items);
    wire_put_uint(&writer, CAMPAIGN_LAPSED, c->lapsed);
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

/* --- what they take ----------------------------------------------------------------------------------------------- */

static bool listed(const struct slice *items, uint32_t n, struct slice item)
{
    for (uint32_t i = 0; i < n; i++)
        if (slice_equal(items[i], item))
            return true;
    return false;
}

bool eligibility_covers(const struct eligibility *e, struct slice resource, const struct slice *actions,
                        uint32_t n_actions)
{
    bool covered = false;
    for (uint32_t i = 0; i < e->n_resources && !covered; i++)
        covered = resource_covers(e->resources[i], resource);
    for (uint32_t i = 0; i < n_actions && covered && e->n_actions > 0; i++)
        covered = listed(e->actions, e->n_actions, actions[i]);
    return covered;
}

static bool is_prefix(struct slice pattern)
{
    return pattern.len > 0 && pattern.data[pattern.len - 1] == '*';
}

/* A prefix is taken by what takes in whoever it may mean, under all their names: in the asterisk's place stands a
 * character that no name and no pattern has. */
static bool member_taken(struct slice pattern, struct slice member)
{
    uint8_t somebody[LIMIT_PRINCIPAL + 1];
    if (!is_prefix(member))
        return principal_matches(pattern, member);
    if (!is_prefix(pattern) || member.len > sizeof somebody)
        return false;
    memcpy(somebody, member.data, member.len);
    somebody[member.len - 1] = 1;
    return principal_matches(pattern, slice_of(somebody, member.len));
}

bool campaign_takes(const struct campaign *c, const struct eligibility *e)
{
    bool member = c->n_members == 0, resource = c->n_resources == 0;
    for (uint32_t i = 0; i < c->n_members && !member; i++)
        member = member_taken(c->members[i], e->member);
    for (uint32_t i = 0; member && i < c->n_resources && !resource; i++)
        for (uint32_t k = 0; k < e->n_resources && !resource; k++)
            resource = resource_overlaps(c->resources[i], e->resources[k]);
    return member && resource;
}
