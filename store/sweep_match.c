/* Whom a sweep takes. Only what a request said, which never changes, and what has revisions is looked at, so the answer
 * for a live grant is the same at any time after the sweep's own revision. What costs least comes first: a collecting
 * slice asks for 25,000 grants. */
#include "store/governance.h"
#include "store/sweeps.h"

static bool string_matches(string_id wanted, string_id string)
{
    return wanted == 0 || wanted == string;
}

/* As it was at `revision`; it is live still, so it was. */
static enum grant_state state_then(const struct record *record, uint64_t revision)
{
    uint64_t approved = u48_get(record->approved_revision), activated = u48_get(record->activated_revision);
    if (approved == 0 || approved > revision)
        return GRANT_PENDING;
    return activated == 0 || activated > revision ? GRANT_APPROVED : GRANT_ACTIVE;
}

static bool approved_by_then(const struct store *store, uint32_t slot, const struct sweep_entry *sweep)
{
    uint64_t at = sweep->approver == 0 ? 0 : approved_at(store, slot, sweep->approver);
    return sweep->approver == 0 || (at > 0 && at <= sweep->id);
}

static bool is_child_of(const struct store *store, uint32_t slot, struct grant_id parent)
{
    uint32_t above = family_parent(store, slot);
    return above != 0 && grant_id_compare(store_record(store, above)->id, parent) == 0;
}

static bool covers(const struct store *store, string_id pattern, string_id resource)
{
    return pattern == 0 || pattern == resource ||
           resource_covers(store_string(store, pattern), store_string(store, resource));
}

static bool is_person(const struct store *store, string_id person, string_id principal)
{
    return person == principal || principal_same(store_string(store, person), store_string(store, principal));
}

static bool is_of_person(const struct store *store, string_id person, const struct record *record)
{
    return person == 0 || is_person(store, person, record->subject) ||
           (record->requester != record->subject && is_person(store, person, record->requester));
}

bool label_is(const struct grant_label *label, struct slice text)
{
    size_t key = label->key.len;
    return text.len == key + 1 + label->value.len && text.data[key] == '=' &&
           memcmp(text.data, label->key.data, key) == 0 &&
           slice_equal(slice_of(text.data + key + 1, label->value.len), label->value);
}

static bool has_label(const struct grant *terms, struct slice text)
{
    for (uint32_t i = 0; i < terms->n_labels; i++)
        if (label_is(&terms->labels[i], text))
            return true;
    return false;
}

/* What is among the terms that grants share has to be decoded. */
static bool terms_match(const struct store *store, const struct sweep_entry *sweep, uint32_t slot)
{
    struct grant terms;
    if (sweep->policy_version == 0 && sweep->binding == 0 && sweep->label == 0)
        return true;
    terms.policy_version = 0;
    terms.binding.spiffe_id = (struct slice){0};
    slot_read_shared(store, slot, &terms);
    if (sweep->policy_version != 0 && sweep->policy_version != terms.policy_version)
        return false;
    if (sweep->binding != 0 && !slice_equal(store_string(store, sweep->binding), terms.binding.spiffe_id))
        return false;
    return sweep->label == 0 || has_label(&terms, store_string(store, sweep->label));
}

bool sweep_takes(const struct store *store, const struct sweep_entry *sweep, uint32_t slot)
{
    const struct record *record = store_record(store, slot);
    if (u48_get(record->requested_revision) > sweep->id)
        return false;
    if (sweep->states != 0 && (sweep->states & 1u << state_then(record, sweep->id)) == 0)
        return false;
    if (!string_matches(sweep->subject, record->subject) || !string_matches(sweep->requester, record->requester) ||
        !string_matches(sweep->ticket, record->ticket) || !string_matches(sweep->policy, record->policy) ||
        !approved_by_then(store, slot, sweep))
        return false;
    if (!covers(store, sweep->resource, record->resource) || !is_of_person(store, sweep->person, record))
        return false;
    if (!grant_id_is_zero(sweep->parent) && !is_child_of(store, slot, sweep->parent))
        return false;
    return terms_match(store, sweep, slot) && (!sweep->disallowed || policies_disallow(store, slot));
}
