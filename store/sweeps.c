/* What sweeps are under way, and their beginning and end. Whom they take: sweep_match.c. How they get to their grants:
 * sweep_walk.c. */
#include "store/sweeps.h"

#include "base/check.h"
#include "store/filter.h"
#include "store/identifiers.h"
#include "store/snapshot.h"
#include "store/terms.h"
#include "store/transition.h"

/* The place of the first sweep that takes it; their number when there is none. */
static uint32_t first_taking(const struct store *store, uint32_t slot)
{
    uint32_t i = 0;
    while (i < store->sweeps.n && !sweep_takes(store, &store->sweeps.entries[i], slot))
        i++;
    return i;
}

bool sweeps_take(const struct store *store, uint32_t slot)
{
    return first_taking(store, slot) < store->sweeps.n;
}

static struct sweep_entry *taking(struct store *store, uint32_t slot)
{
    uint32_t i = first_taking(store, slot);
    return i < store->sweeps.n ? &store->sweeps.entries[i] : NULL;
}

/* Entries */

void sweep_show(const struct store *store, const struct sweep_entry *entry, struct sweep *sweep)
{
    *sweep = (struct sweep){
        .id = entry->id,
        .filter = {.subject = store_string(store, entry->subject),
                   .resource = store_string(store, entry->resource),
                   .requester = store_string(store, entry->requester),
                   .approver = store_string(store, entry->approver),
                   .ticket = store_string(store, entry->ticket),
                   .policy = store_string(store, entry->policy),
                   .parent = entry->parent,
                   .states = entry->states,
                   .policy_version = entry->policy_version,
                   .binding = store_string(store, entry->binding),
                   .label = store_string(store, entry->label),
                   .person = store_string(store, entry->person)},
        .by = store_string(store, entry->by),
        .reason = store_string(store, entry->reason),
        .grants = entry->grants,
    };
}

/* The last of the entries, its slices copied. */
static struct sweep_entry *add_entry(struct store *store, const struct sweep *sweep)
{
    struct sweeps *sweeps = &store->sweeps;
    struct strings *strings = &store->strings;
    const struct store_filter *filter = &sweep->filter;
    CHECK(sweeps->n < ARRAY_LEN(sweeps->entries));
    struct sweep_entry *entry = &sweeps->entries[sweeps->n++];
    *entry = (struct sweep_entry){
        .id = sweep->id,
        .subject = strings_intern(strings, filter->subject),
        .resource = strings_intern(strings, filter->resource),
        .requester = strings_intern(strings, filter->requester),
        .approver = strings_intern(strings, filter->approver),
        .ticket = strings_intern(strings, filter->ticket),
        .policy = strings_intern(strings, filter->policy),
        .binding = strings_intern(strings, filter->binding),
        .label = strings_intern(strings, filter->label),
        .person = strings_intern(strings, filter->person),
        .by = strings_intern(strings, sweep->by),
        .reason = strings_intern(strings, sweep->reason),
        .parent = filter->parent,
        .states = filter->states,
        .policy_version = filter->policy_version,
        .grants = sweep->grants,
    };
    return entry;
}

static void remove_entry(struct store *store, struct sweep_entry *entry)
{
    struct sweeps *sweeps = &store->sweeps;
    const string_id ids[] = {entry->subject, entry->resource, entry->requester, entry->approver,
                             entry->ticket,  entry->policy,   entry->binding,   entry->label,
                             entry->person,  entry->by,       entry->reason};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        strings_unref(&store->strings, ids[i]);
    digest_sub(&store->sum, entry->sum);
    sweeps->n--;
    memmove(entry, entry + 1, (size_t)(sweeps->entries + sweeps->n - entry) * sizeof *entry);
}

void sweep_encode(struct wire_writer *writer, const struct store *store, const struct sweep_entry *entry)
{
    struct sweep sweep;
    sweep_show(store, entry, &sweep);
    wire_put_uint(writer, SWEEP_FIELD_ID, sweep.id);
    size_t mark = wire_begin(writer, SWEEP_FIELD_FILTER);
    filter_encode(writer, &sweep.filter);
    wire_end(writer, mark);
    wire_put_bytes(writer, SWEEP_FIELD_BY, sweep.by);
    wire_put_bytes(writer, SWEEP_FIELD_REASON, sweep.reason);
    wire_put_uint(writer, SWEEP_FIELD_GRANTS, sweep.grants);
    wire_put_uint(writer, SWEEP_FIELD_WAY, entry->way);
    wire_put_uint(writer, SWEEP_FIELD_LEFT, entry->left);
    wire_put_uint(writer, SWEEP_FIELD_AFTER, entry->after);
    wire_put_uint(writer, SWEEP_FIELD_DISALLOWED, entry->disallowed);
}

/* Whoever changed the entry puts it back into the digest, in which it is as the bytes of its record. */
static void seal(struct store *store, struct sweep_entry *entry)
{
    struct wire_writer writer = wire_writer(&store->scratch);
    buf_clear(&store->scratch);
    sweep_encode(&writer, store, entry);
    CHECK(!writer.failed);
    digest_sub(&store->sum, entry->sum);
    entry->sum = digest_of(DIGEST_SWEEP, store->scratch.data, store->scratch.len);
    digest_add(&store->sum, entry->sum);
}

static void tell(struct apply *apply, enum store_event_type type, const struct sweep_entry *entry)
{
    struct sweep sweep;
    sweep_show(apply->store, entry, &sweep);
    transition_tell(apply, &(struct store_event){.type = type, .sweep = &sweep});
}

/* Beginning, work, end */

static void finish(struct apply *apply, struct sweep_entry *entry)
{
    tell(apply, STORE_EVENT_SWEEP_ENDED, entry);
    barrier_finish(apply, entry->id, entry->grants);
    remove_entry(apply->store, entry);
}

/* The first of them works, and goes on from where it is. */
static void work(struct apply *apply, uint32_t count)
{
    struct sweeps *sweeps = &apply->store->sweeps;
    struct sweep_entry *entry = &sweeps->entries[0];
    if (entry->way == SWEEP_WAITS)
        sweep_walk_begin(apply->store, entry, &sweeps->walk);
    if (!sweep_walk_slice(apply, entry, &sweeps->walk, count)) {
        seal(apply->store, entry);
        return;
    }
    sweep_walk_free(&sweeps->walk);
    finish(apply, entry);
}

/* All of it in one slice, whatever else is at work. */
static void work_at_once(struct apply *apply, struct sweep_entry *entry)
{
    struct sweep_walk walk = {0};
    sweep_walk_begin(apply->store, entry, &walk);
    bool done = sweep_walk_slice(apply, entry, &walk, LIMIT_SWEEP_AT_ONCE);
    CHECK(done);
    sweep_walk_free(&walk);
    finish(apply, entry);
}

lapse_result sweeps_have_room(struct apply *apply, const struct store_filter *filter, bool disallowed)
{
    bool offboards = apply->command->type == COMMAND_OFFBOARD;
    uint32_t most = offboards ? LIMIT_SWEEPS : LIMIT_SWEEPS - LIMIT_SWEEPS_KEPT;
    if (apply->store->sweeps.n < most || sweep_is_short(apply->store, filter, disallowed))
        return lapse_ok();
    return lapse_fail(&apply->outcome->error, LAPSE_RESOURCE_EXHAUSTED,
                      "%u revocations of many grants are at work, which is the limit; wait for one to end%s", most,
                      offboards ? ", and lock the subject meanwhile" : "");
}

void sweeps_begin(struct apply *apply, const struct sweep *asked, bool disallowed)
{
    struct store *store = apply->store;
    struct sweep sweep = *asked;
    bool at_once = sweep_is_short(store, &sweep.filter, disallowed);
    sweep.id = store->revision + 1;
    struct sweep_entry *entry = add_entry(store, &sweep);
    entry->disallowed = disallowed;
    tell(apply, STORE_EVENT_SWEEP_BEGAN, entry);
    apply->outcome->revision = entry->id;
    barrier_begin(apply, entry->resource != 0 ? store_string(store, entry->resource) : slice_str("*"));
    if (at_once)
        work_at_once(apply, entry);
    else if (store->sweeps.n == 1)
        work(apply, LIMIT_SWEEP_AT_ONCE);
    else
        seal(store, entry);
}

lapse_result sweeps_apply(struct apply *apply)
{
    const struct command *command = apply->command;
    const struct sweep sweep = {.filter = command->filter, .by = command->principal, .reason = command->text};
    const struct rule *rule = rules_find(COMMAND_REVOKE_MATCHING, GRANT_NONE);
    lapse_result result = rules_permit(apply->store, rule, command->principal, 0, &apply->outcome->error);
    if (lapse_is_ok(result))
        result = sweeps_have_room(apply, &sweep.filter, false);
    if (lapse_is_ok(result))
        sweeps_begin(apply, &sweep, false);
    return result;
}

bool sweeps_disallow(const struct store *store, struct slice policy)
{
    for (uint32_t i = 0; i < store->sweeps.n; i++) {
        const struct sweep_entry *entry = &store->sweeps.entries[i];
        if (entry->disallowed && slice_equal(store_string(store, entry->policy), policy))
            return true;
    }
    return false;
}

void sweeps_advance(struct apply *apply, uint32_t count)
{
    if (apply->store->sweeps.n > 0 && count > 0)
        work(apply, count);
}

bool sweeps_end(struct apply *apply, uint32_t slot)
{
    struct store *store = apply->store;
    struct sweep_entry *entry = NULL;
    if (grant_state_is_ended(own_state_at(store, slot, apply->now_ms)))
        return false;
    if ((entry = taking(store, slot)) != NULL) {
        transition_end(apply, slot, rules_find(COMMAND_REVOKE_MATCHING, store_record(store, slot)->state),
                       store_string(store, entry->by), store_string(store, entry->reason));
        entry->grants++;
        seal(store, entry);
        return true;
    }
    for (uint32_t above = family_parent(store, slot); above != 0; above = family_parent(store, above))
        if ((entry = taking(store, above)) != NULL) {
            transition_orphan(apply, slot, store_string(store, entry->by));
            return true;
        }
    return false;
}

void sweeps_forget(struct store *store, uint32_t slot)
{
    if (store->sweeps.n > 0)
        sweep_walk_forget(store, &store->sweeps.entries[0], &store->sweeps.walk, slot);
}

void sweeps_free(struct store *store)
{
    sweep_walk_free(&store->sweeps.walk);
}

size_t sweeps_bytes(const struct store *store)
{
    return sweep_walk_bytes(&store->sweeps.walk);
}

/* Snapshots */

/* It is written when it is true. */
static bool field_true(const struct wire_field *field, bool *out)
{
    *out = field->type == WIRE_VARINT && field->value == 1;
    return *out;
}

static bool decode_field(const struct wire_field *field, struct sweep *sweep, struct sweep_entry *place)
{
    switch (field->number) {
    case SWEEP_FIELD_ID:
        return field_u64(field, &sweep->id);
    case SWEEP_FIELD_FILTER:
        return field->type == WIRE_BYTES && lapse_is_ok(filter_decode(field->bytes, &sweep->filter));
    case SWEEP_FIELD_BY:
        return field_bytes(field, &sweep->by);
    case SWEEP_FIELD_REASON:
        return field_bytes(field, &sweep->reason);
    case SWEEP_FIELD_GRANTS:
        return field_u64(field, &sweep->grants);
    case SWEEP_FIELD_WAY:
        return field_u32(field, &place->way);
    case SWEEP_FIELD_LEFT:
        return field_u32(field, &place->left);
    case SWEEP_FIELD_AFTER:
        return field_u64(field, &place->after);
    case SWEEP_FIELD_DISALLOWED:
        return field_true(field, &place->disallowed);
    default:
        return false;
    }
}

static bool decode(struct slice bytes, struct sweep *sweep, struct sweep_entry *place)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t last = 0;
    while (wire_next(&reader, &field)) {
        if (field.number <= last || !decode_field(&field, sweep, place))
            return false;
        last = field.number;
    }
    return !reader.failed;
}

/* The place belongs to a sweep that has begun, and its way to its filter. */
static bool place_is_good(const struct sweep *sweep, const struct sweep_entry *place, bool first)
{
    if (place->after > sweep->id || (place->way == SWEEP_COLLECTS) != (place->left > 0) ||
        place->left > LIMIT_LIVE_GRANTS / LIMIT_SWEEP_SCAN + 1)
        return false;
    if (place->way < SWEEP_CHILDREN && place->after != 0)
        return false;
    return place->way == SWEEP_WAITS || (first && sweep_way_fits(&sweep->filter, place->way));
}

const char *sweeps_read(struct store *store, struct slice bytes)
{
    struct sweeps *sweeps = &store->sweeps;
    struct sweep sweep = {0};
    struct sweep_entry place = {0};
    if (!decode(bytes, &sweep, &place) || !lapse_is_ok(filter_validate(&sweep.filter, NULL)) ||
        !lapse_is_ok(principal_validate(sweep.by, "by", NULL)) ||
        !lapse_is_ok(text_validate(sweep.reason, LIMIT_REASON, "reason", NULL)) ||
        (place.disallowed && sweep.filter.policy.len == 0))
        return "bad sweep";
    if (sweeps->n == LIMIT_SWEEPS)
        return "too many sweeps";
    if (sweep.id == 0 || sweep.id > store->revision || (sweeps->n > 0 && sweeps->entries[sweeps->n - 1].id >= sweep.id))
        return "sweeps out of order";
    if (!place_is_good(&sweep, &place, sweeps->n == 0))
        return "a sweep that is in no place";
    struct sweep_entry *entry = add_entry(store, &sweep);
    entry->way = place.way;
    entry->left = place.left;
    entry->after = place.after;
    entry->disallowed = place.disallowed;
    seal(store, entry);
    return NULL;
}

void sweeps_link(struct store *store)
{
    if (store->sweeps.n > 0 && store->sweeps.entries[0].way != SWEEP_WAITS)
        sweep_walk_resume(store, &store->sweeps.entries[0], &store->sweeps.walk);
}
