#include "store/records.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/extras.h"
#include "store/pair.h"
#include "store/terms.h"

void records_init(struct records *records)
{
    *records = (struct records){.n_slots = 1};
}

void records_free(struct records *records)
{
    records_drain(records, UINT32_MAX);
    for (uint32_t i = 0; i < records->n_slabs; i++)
        free(records->slabs[i]);
    free(records->slabs);
    free(records->generations);
    *records = (struct records){0};
}

static void add_slab(struct records *records)
{
    if (records->n_slabs == records->slabs_capacity) {
        records->slabs_capacity = records->slabs_capacity == 0 ? 64 : records->slabs_capacity * 2;
        records->slabs = mem_realloc(records->slabs, records->slabs_capacity * sizeof records->slabs[0]);
        records->generations =
            mem_realloc(records->generations, records->slabs_capacity * sizeof records->generations[0]);
    }
    records->slabs[records->n_slabs] = mem_calloc(1, sizeof(struct slab));
    records->generations[records->n_slabs++] = records->generation;
}

uint32_t records_grow(struct records *records)
{
    if (records->n_slots / SLAB_RECORDS >= records->n_slabs)
        add_slab(records);
    return records->n_slots++;
}

struct record *records_edit(struct records *records, uint32_t slot)
{
    uint32_t i = slot / SLAB_RECORDS;
    if (records->frozen && records->generations[i] != records->generation) {
        struct slab *copy = mem_alloc(sizeof *copy);
        memcpy(copy, records->slabs[i], sizeof *copy);
        records->slabs[i] = copy;
        records->generations[i] = records->generation;
        records->n_copies++;
    }
    return &records->slabs[i]->records[slot % SLAB_RECORDS];
}

struct slab **records_freeze(struct records *records)
{
    CHECK(!records->frozen);
    records->frozen = true;
    records->generation++;
    struct slab **copy = mem_alloc(records->n_slabs * sizeof copy[0]);
    if (records->n_slabs > 0)
        memcpy(copy, records->slabs, records->n_slabs * sizeof copy[0]);
    return copy;
}

void records_thaw(struct records *records, struct slab **frozen, uint32_t n_slabs)
{
    CHECK(records->frozen);
    /* Those of the view before, if it was followed by hardly any command. */
    records_drain(records, UINT32_MAX);
    for (uint32_t i = 0; i < n_slabs; i++)
        if (frozen[i] != records->slabs[i])
            frozen[records->n_retired++] = frozen[i];
    records->retired = frozen;
    records->frozen = false;
}

void records_drain(struct records *records, uint32_t max)
{
    for (; max > 0 && records->n_retired > 0; max--) {
        free(records->retired[--records->n_retired]);
        records->n_copies--;
    }
    if (records->n_retired > 0)
        return;
    free(records->retired);
    records->retired = NULL;
}

size_t records_bytes(const struct records *records)
{
    return (records->n_slabs + records->n_copies) * sizeof(struct slab) +
           records->slabs_capacity * (sizeof records->slabs[0] + sizeof records->generations[0]);
}

int64_t pending_until_ms(const struct grant *terms, int64_t requested_ms)
{
    int64_t until = terms->pending_until_ms > 0 ? terms->pending_until_ms : requested_ms + LIMIT_PENDING_MS_DEFAULT;
    bool absolute = terms->duration_ms == 0;
    return absolute && terms->deadline_ms < until ? terms->deadline_ms : until;
}

/* Everything of a grant that is not in the shared terms or set below. Lists are left as they are behind their counts:
 * clearing them would cost more than all the rest. */
static void clear(struct grant *grant)
{
    grant->n_actions = 0;
    grant->n_labels = 0;
    grant->binding.spiffe_id = (struct slice){0};
    grant->binding.certificate_sha256 = (struct slice){0};
    grant->binding.n_networks = 0;
    memset(&grant->parent, 0, sizeof grant->parent);
    grant->policy_version = 0;
    grant->break_glass = false;
    grant->duration_ms = 0;
    grant->not_before_ms = 0;
    grant->pending_until_ms = 0;
    grant->max_uses = 0;
    grant->rule = grant->reviewers = grant->token_sha256 = (struct slice){0};
    grant->n_steps = 0;
    grant->automatic = grant->self_approval = grant->held = false;
    grant->delegation_depth = grant->token_rule = 0;
    grant->review_within_ms = 0;
}

/* It was approved with its last approval, or, where it needs none, as it was requested. */
static void read_approvals(const struct record *record, const struct extra *extra, uint8_t *const *chunks,
                           struct grant *grant)
{
    int64_t last_ms = (int64_t)u48_get(record->requested_ms);
    grant->n_approvals = record->n_approvals;
    for (uint32_t i = 0; i < record->n_approvals; i++) {
        struct approval approval = approval_of(record, extra, i);
        last_ms = (int64_t)u48_get(approval.time_ms);
        grant->approvals[i] = (struct grant_approval){.approver = string_at(chunks, approval.approver),
                                                      .time_ms = last_ms,
                                                      .comment = string_at(chunks, approval.comment),
                                                      .revision = u48_get(approval.revision)};
    }
    grant->approved_revision = u48_get(record->approved_revision);
    grant->approved_ms = grant->approved_revision == 0 ? 0 : last_ms;
}

static void read_steps(const struct record *record, struct grant *grant)
{
    bool ended = grant_state_is_ended(grant->state);
    grant->requested_ms = (int64_t)u48_get(record->requested_ms);
    grant->activated_ms = (int64_t)u48_get(record->activated_ms);
    grant->ended_ms = (int64_t)u48_get(record->ended_ms);
    grant->requested_revision = u48_get(record->requested_revision);
    grant->activated_revision = u48_get(record->activated_revision);
    grant->revision = u48_get(record->revision);
    /* Nothing happens to a grant after its end. */
    grant->ended_revision = ended ? grant->revision : 0;
}

void record_read(const struct record *record, const struct extra *extra, uint8_t *const *chunks, struct grant *grant)
{
    clear(grant);
    lapse_result result = terms_decode(string_at(chunks, record->shared), grant);
    CHECK(lapse_is_ok(result));
    grant->id = record->id;
    grant->state = (enum grant_state)record->state;
    grant->subject = string_at(chunks, record->subject);
    grant->resource = string_at(chunks, record->resource);
    grant->requester = string_at(chunks, record->requester);
    grant->ticket = string_at(chunks, record->ticket);
    grant->policy = string_at(chunks, record->policy);
    pair_split(string_at(chunks, record->story), &grant->justification, &grant->task);
    pair_split(string_at(chunks, record->ending), &grant->ended_by, &grant->reason);
    grant->uses = record->uses;
    grant->deadline_ms = (int64_t)u48_get(record->deadline_ms);
    read_approvals(record, extra, chunks, grant);
    read_steps(record, grant);
    grant->pending_until_ms = pending_until_ms(grant, grant->requested_ms);
    if (extra != NULL && extra->has_token)
        grant->token_sha256 = slice_of(extra->token, sizeof extra->token);
}
