#include "store/snapshot_grant.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/wire.h"
#include "store/identifiers.h"
#include "store/snapshot.h"
#include "store/terms.h"

static bool decode_approval(const struct wire_field *field, struct grant *grant)
{
    struct wire_field part;
    uint32_t last = 0;
    if (field->type != WIRE_BYTES || grant->n_approvals == STORE_APPROVALS_NEEDED)
        return false;
    struct grant_approval *approval = &grant->approvals[grant->n_approvals++];
    struct wire_reader reader = wire_reader(field->bytes);
    *approval = (struct grant_approval){0};
    while (wire_next(&reader, &part)) {
        bool good = part.number > last && (part.number == APPROVAL_APPROVER  ? field_bytes(&part, &approval->approver)
                                           : part.number == APPROVAL_TIME_MS ? field_ms(&part, &approval->time_ms)
                                           : part.number == APPROVAL_COMMENT ? field_bytes(&part, &approval->comment)
                                                                             : false);
        if (!good)
            return false;
        last = part.number;
    }
    return !reader.failed;
}

static bool decode_state(const struct wire_field *field, enum grant_state *state)
{
    if (field->type != WIRE_VARINT || field->value < GRANT_PENDING || field->value > GRANT_LAPSED)
        return false;
    *state = (enum grant_state)field->value;
    return true;
}

static bool decode_field(const struct wire_field *field, struct grant *grant)
{
    switch (field->number) {
    case GRANT_FIELD_ID:
        return field_id(field, &grant->id);
    case GRANT_FIELD_STATE:
        return decode_state(field, &grant->state);
    case GRANT_FIELD_TERMS:
        return field->type == WIRE_BYTES && lapse_is_ok(terms_decode(field->bytes, grant));
    case GRANT_FIELD_REQUESTER:
        return field_bytes(field, &grant->requester);
    case GRANT_FIELD_APPROVALS:
        return decode_approval(field, grant);
    case GRANT_FIELD_USES:
        return field_u32(field, &grant->uses);
    case GRANT_FIELD_ENDED_BY:
        return field_bytes(field, &grant->ended_by);
    case GRANT_FIELD_REASON:
        return field_bytes(field, &grant->reason);
    case GRANT_FIELD_REQUESTED_MS:
        return field_ms(field, &grant->requested_ms);
    case GRANT_FIELD_ACTIVATED_MS:
        return field_ms(field, &grant->activated_ms);
    case GRANT_FIELD_ENDED_MS:
        return field_ms(field, &grant->ended_ms);
    case GRANT_FIELD_REQUESTED_REVISION:
        return field_u64(field, &grant->requested_revision);
    case GRANT_FIELD_APPROVED_REVISION:
        return field_u64(field, &grant->approved_revision);
    case GRANT_FIELD_ACTIVATED_REVISION:
        return field_u64(field, &grant->activated_revision);
    case GRANT_FIELD_REVISION:
        return field_u64(field, &grant->revision);
    default:
        return false;
    }
}

static const char *check_texts(const struct grant *grant)
{
    bool good = lapse_is_ok(terms_validate(grant, NULL)) &&
                lapse_is_ok(principal_validate(grant->requester, "requester", NULL)) &&
                lapse_is_ok(text_validate(grant->reason, LIMIT_REASON, "reason", NULL));
    if (grant->ended_by.len > 0)
        good = good && lapse_is_ok(principal_validate(grant->ended_by, "ended_by", NULL));
    for (uint32_t i = 0; i < grant->n_approvals; i++)
        good = good && lapse_is_ok(principal_validate(grant->approvals[i].approver, "approver", NULL)) &&
               lapse_is_ok(text_validate(grant->approvals[i].comment, LIMIT_REASON, "comment", NULL));
    return good ? NULL : "a grant with a text that is none";
}

/* Steps come in their order, and each state has had those before it. */
static const char *check_steps(const struct grant *grant)
{
    bool approved = grant->approved_revision > 0, activated = grant->activated_revision > 0;
    bool ended = grant_state_is_ended(grant->state);
    bool good = grant->requested_revision > 0 && grant->requested_revision <= grant->revision;
    good = good && (!approved || (grant->approved_revision > grant->requested_revision &&
                                  grant->approved_revision <= grant->revision && grant->deadline_ms > 0));
    good = good && (!activated || (approved && grant->activated_revision > grant->approved_revision &&
                                   grant->activated_revision <= grant->revision));
    good = good && approved == (grant->n_approvals == STORE_APPROVALS_NEEDED);
    good = good && (activated || grant->activated_ms == 0) && (ended || grant->ended_ms == 0);
    good = good && (ended || (grant->ended_by.len == 0 && grant->reason.len == 0));
    good = good && (ended || approved == (grant->state != GRANT_PENDING));
    good = good && (ended || activated == (grant->state == GRANT_ACTIVE));
    good = good && (grant->max_uses == 0 || grant->uses <= grant->max_uses) && grant->uses <= LIMIT_USES_MAX;
    good = good && (grant->duration_ms > 0 || grant->deadline_ms > 0);
    return good ? NULL : "a grant whose steps contradict each other";
}

const char *snapshot_grant_decode(struct slice bytes, struct grant *grant)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t last = 0;
    memset(grant, 0, sizeof *grant);
    while (wire_next(&reader, &field)) {
        bool ascends = field.number > last || (field.number == last && last == GRANT_FIELD_APPROVALS);
        if (!ascends || !decode_field(&field, grant))
            return "bad grant";
        last = field.number;
    }
    if (reader.failed || grant_id_is_zero(grant->id) || grant->state == 0)
        return "bad grant";
    if (grant->n_approvals > 0)
        grant->approved_ms = grant->approvals[grant->n_approvals - 1].time_ms;
    const char *why = check_texts(grant);
    return why != NULL ? why : check_steps(grant);
}

void snapshot_grant_insert(struct store *store, const struct grant *grant)
{
    uint32_t slot = slot_take(store, grant->id);
    slot_set_terms(store, slot, grant, grant->requester);
    if (grant_state_is_ended(grant->state))
        slot_set_ending(store, slot, grant->ended_by, grant->reason);
    struct record *record = records_edit(&store->records, slot);
    record->state = (uint8_t)grant->state;
    record->n_approvals = (uint8_t)grant->n_approvals;
    record->uses = grant->uses;
    for (uint32_t i = 0; i < grant->n_approvals; i++) {
        record->approvers[i] = strings_intern(&store->strings, grant->approvals[i].approver);
        record->comments[i] = strings_intern(&store->strings, grant->approvals[i].comment);
        record->approval_ms[i] = u48_of((uint64_t)grant->approvals[i].time_ms);
    }
    record->requested_ms = u48_of((uint64_t)grant->requested_ms);
    record->activated_ms = u48_of((uint64_t)grant->activated_ms);
    record->ended_ms = u48_of((uint64_t)grant->ended_ms);
    record->requested_revision = u48_of(grant->requested_revision);
    record->approved_revision = u48_of(grant->approved_revision);
    record->activated_revision = u48_of(grant->activated_revision);
    record->revision = u48_of(grant->revision);
    store->states[grant->state]++;
    if (!grant_state_is_ended(grant->state))
        slot_mark_live(store, slot, true);
    digest_add(&store->sum, digest_grant(record, store->strings.chunks));
}

/* A step of a grant at its revision: indexes and families must be built in the order in which they grew. */
struct step {
    uint64_t revision;
    uint32_t slot;
};

static int compare_steps(const void *a, const void *b)
{
    uint64_t x = ((const struct step *)a)->revision, y = ((const struct step *)b)->revision;
    return x < y ? -1 : x > y;
}

/* The slots by one of their revisions, those without it left out. */
static uint32_t sort_steps(const struct store *store, enum index_kind kind, struct step *steps)
{
    uint32_t n = 0;
    for (uint32_t slot = 1; slot < store->records.n_slots; slot++) {
        uint64_t revision = index_order(store, kind, slot);
        if (revision > 0)
            steps[n++] = (struct step){revision, slot};
    }
    if (n > 0)
        qsort(steps, n, sizeof steps[0], compare_steps);
    return n;
}

/* Its parent is there, older, and close enough: no cycle, no endless chain. */
static const char *link_parent(struct store *store, uint32_t slot)
{
    struct grant terms;
    memset(&terms.parent, 0, sizeof terms.parent);
    slot_read_shared(store, slot, &terms);
    if (grant_id_is_zero(terms.parent))
        return NULL;
    uint32_t parent = slot_find(store, terms.parent), depth = 1;
    if (parent == 0)
        return "a grant without its parent";
    if (index_order(store, INDEX_SUBJECT, parent) >= index_order(store, INDEX_SUBJECT, slot))
        return "a grant older than its parent";
    for (uint32_t above = parent; above != 0; above = family_parent(store, above))
        depth++;
    if (depth > LIMIT_GRANT_DEPTH)
        return "a grant too far below its ancestors";
    family_adopt(store, parent, slot);
    return NULL;
}

static const char *link_all(struct store *store, struct step *steps)
{
    uint32_t n = sort_steps(store, INDEX_SUBJECT, steps);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0 && steps[i].revision == steps[i - 1].revision)
            return "two grants of one revision";
        for (int kind = 0; kind < INDEX_APPROVER; kind++)
            index_add(store, steps[i].slot, (enum index_kind)kind);
        const char *why = link_parent(store, steps[i].slot);
        if (why != NULL)
            return why;
    }
    n = sort_steps(store, INDEX_APPROVER, steps);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < store_record(store, steps[i].slot)->n_approvals; k++)
            index_add_approval(store, steps[i].slot, k);
    for (uint32_t slot = 1; slot < store->records.n_slots; slot++)
        timers_arm(store, slot);
    return NULL;
}

const char *snapshot_grants_link(struct store *store)
{
    struct step *steps = mem_alloc(store->records.n_slots * sizeof *steps);
    const char *why = link_all(store, steps);
    free(steps);
    return why;
}
