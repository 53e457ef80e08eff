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
    if (field->type != WIRE_BYTES || grant->n_approvals == LIMIT_APPROVALS)
        return false;
    struct grant_approval *approval = &grant->approvals[grant->n_approvals++];
    struct wire_reader reader = wire_reader(field->bytes);
    *approval = (struct grant_approval){0};
    while (wire_next(&reader, &part)) {
        bool good = part.number > last && (part.number == APPROVAL_APPROVER   ? field_bytes(&part, &approval->approver)
                                           : part.number == APPROVAL_TIME_MS  ? field_ms(&part, &approval->time_ms)
                                           : part.number == APPROVAL_COMMENT  ? field_bytes(&part, &approval->comment)
                                           : part.number == APPROVAL_REVISION ? field_u64(&part, &approval->revision)
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
    case GRANT_FIELD_TOKEN:
        return field_bytes(field, &grant->token_sha256) && grant->token_sha256.len == TOKEN_HASH_BYTES;
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

/* What a policy's rule can have made of the request. */
static const char *check_rule(const struct grant *grant)
{
    bool good = lapse_is_ok(token_validate(grant->rule, LIMIT_POLICY, "rule", NULL)) &&
                grant->reviewers.len <= LIMIT_STEP_PATTERNS && grant->token_rule <= TOKEN_RULE_BOUND &&
                grant->delegation_depth <= LIMIT_GRANT_DEPTH && grant->review_within_ms <= LIMIT_REVIEW_MS_MAX &&
                grant_approvals_needed(grant) <= LIMIT_APPROVALS;
    for (uint32_t i = 0; i < grant->n_steps; i++)
        good = good && grant->steps[i].count > 0 && grant->steps[i].count <= LIMIT_APPROVALS &&
               grant->steps[i].approvers.len <= LIMIT_STEP_PATTERNS;
    good = good && (grant->token_sha256.len == 0 || grant->activated_revision > 0);
    /* Break-glass doesn't wait: its review opens in the command that decides. */
    good = good && !(grant->break_glass && grant->state == GRANT_APPROVED);
    return good ? NULL : "a grant under a rule that is none";
}

/* Each approval has a revision of its own, between the request and the decision, which is the last one. An only one is
 * written without it. */
static const char *check_approvals(struct grant *grant)
{
    uint64_t before = grant->requested_revision;
    int64_t before_ms = grant->requested_ms;
    uint32_t n = grant->n_approvals;
    bool approved = grant->approved_revision > 0;
    bool good = approved == (n == grant_approvals_needed(grant));
    if (n == 1 && approved) {
        good = good && grant->approvals[0].revision == 0;
        grant->approvals[0].revision = grant->approved_revision;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct grant_approval *approval = &grant->approvals[i];
        good = good && approval->revision > before && approval->revision <= grant->revision &&
               approval->time_ms >= before_ms;
        before = approval->revision;
        before_ms = approval->time_ms;
    }
    good = good && n <= grant_approvals_needed(grant) && (!approved || n == 0 || before == grant->approved_revision);
    grant->approved_ms = approved ? before_ms : 0;
    return good ? NULL : "a grant whose approvals contradict each other";
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
    const char *why = check_texts(grant);
    if (why == NULL)
        why = check_rule(grant);
    if (why == NULL)
        why = check_approvals(grant);
    return why != NULL ? why : check_steps(grant);
}

/* The numbers are put on the digest anew: n_approvals is one of them. */
static void insert_approvals(struct store *store, uint32_t slot, const struct grant *grant)
{
    bool only = grant->n_approvals == 1 && grant->approved_revision > 0;
    digest_sub(&store->sum, digest_grant_numbers(store_record(store, slot)));
    for (uint32_t i = 0; i < grant->n_approvals; i++)
        approvals_add(store, slot, &grant->approvals[i], only);
    digest_add(&store->sum, digest_grant_numbers(store_record(store, slot)));
}

void snapshot_grant_insert(struct store *store, const struct grant *grant)
{
    uint32_t slot = slot_take(store, grant->id);
    slot_set_terms(store, slot, grant, grant->requester);
    if (grant_state_is_ended(grant->state))
        slot_set_ending(store, slot, grant->ended_by, grant->reason);
    struct record *record = records_edit(&store->records, slot);
    record->state = (uint8_t)grant->state;
    record->uses = grant->uses;
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
    insert_approvals(store, slot, grant);
    if (grant->token_sha256.len > 0)
        extras_set_token(store, slot, grant->token_sha256);
}

/* A step of a grant at its revision: indexes and families must be built in the order in which they grew. */
struct step {
    uint64_t revision;
    uint32_t slot;
    uint32_t approval;
};

static int compare_steps(const void *a, const void *b)
{
    uint64_t x = ((const struct step *)a)->revision, y = ((const struct step *)b)->revision;
    return x < y ? -1 : x > y;
}

static uint64_t requested(const struct store *store, uint32_t slot)
{
    return u48_get(store_record(store, slot)->requested_revision);
}

static uint32_t sort_requests(const struct store *store, struct step *steps)
{
    uint32_t n = 0;
    for (uint32_t slot = 1; slot < store->records.n_slots; slot++)
        if (requested(store, slot) > 0)
            steps[n++] = (struct step){.revision = requested(store, slot), .slot = slot};
    if (n > 0)
        qsort(steps, n, sizeof steps[0], compare_steps);
    return n;
}

static uint32_t count_approvals(const struct store *store)
{
    uint32_t n = 0;
    for (uint32_t slot = 1; slot < store->records.n_slots; slot++)
        n += store_record(store, slot)->n_approvals;
    return n;
}

static void link_approvals(struct store *store)
{
    uint32_t n = 0;
    struct step *steps = mem_alloc(count_approvals(store) * sizeof *steps);
    for (uint32_t slot = 1; slot < store->records.n_slots; slot++)
        for (uint32_t i = 0; i < store_record(store, slot)->n_approvals; i++)
            steps[n++] = (struct step){u48_get(approval_at(store, slot, i).revision), slot, i};
    if (n > 0)
        qsort(steps, n, sizeof steps[0], compare_steps);
    for (uint32_t i = 0; i < n; i++)
        index_add_approval(store, steps[i].slot, steps[i].approval);
    free(steps);
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
    if (requested(store, parent) >= requested(store, slot))
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
    uint32_t n = sort_requests(store, steps);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0 && steps[i].revision == steps[i - 1].revision)
            return "two grants of one revision";
        for (int kind = 0; kind < INDEX_APPROVER; kind++)
            index_add(store, steps[i].slot, (enum index_kind)kind);
        const char *why = link_parent(store, steps[i].slot);
        if (why != NULL)
            return why;
    }
    link_approvals(store);
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
