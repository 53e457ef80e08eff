#include "store/transition.h"

#include "base/check.h"
#include "store/governance.h"
#include "store/pair.h"
#include "store/words.h"

static const char parent_ended[] = "parent ended";

/* The one place where events leave: encodes, chains, hands over. */
static void hand_over(struct apply *apply, struct store_event *event)
{
    struct store *store = apply->store;
    event->revision = store->revision;
    event->time_ms = apply->now_ms;
    event->actor = apply->command->principal;
    const struct event_words words = {.revision = event->revision,
                                      .time_ms = event->time_ms,
                                      .type = (uint32_t)event->type,
                                      .grant = event->grant,
                                      .member = event->member,
                                      .roles = event->roles,
                                      .scope = event->scope,
                                      .point = event->point,
                                      .barrier = event->barrier,
                                      .session = event->session,
                                      .session_ended = event->type == STORE_EVENT_SESSION_ENDED,
                                      .sweep = event->sweep,
                                      .actor = event->actor,
                                      .object = event->object,
                                      .receipts = event->receipts};
    buf_clear(&store->told);
    CHECK(lapse_is_ok(words_encode_event(&words, &store->told)));
    event->encoded = buf_slice(&store->told);
    chain_extend(&store->chain, store->epoch, event->encoded);
    event->head = &store->chain;
    apply->outcome->n_events++;
    if (apply->on_event != NULL)
        apply->on_event(apply->arg, event);
}

static void tell(struct apply *apply, enum store_event_type type, uint32_t slot)
{
    struct store *store = apply->store;
    struct store_event event = {.type = type};
    struct grant grant;
    if (slot != 0) {
        slot_read(store, slot, &grant);
        event.grant = &grant;
    } else {
        event.member = apply->command->member;
        event.roles = roles_bound(&store->roles, event.member);
        event.scope = roles_scope(&store->roles, event.member);
    }
    hand_over(apply, &event);
}

static void next_revision(struct store *store)
{
    CHECK(store->revision < U48_MAX);
    store->revision++;
}

/* Writes the state, the revision and the times that belong to it. */
static void write_step(struct record *record, enum grant_state next, uint64_t revision, int64_t now_ms)
{
    struct u48 now = u48_of((uint64_t)now_ms), at = u48_of(revision);
    if (next == GRANT_PENDING && record->state == GRANT_NONE) {
        record->requested_ms = now;
        record->requested_revision = at;
    } else if (next == GRANT_APPROVED && record->state == GRANT_PENDING) {
        record->approved_revision = at;
    } else if (next == GRANT_ACTIVE && record->state == GRANT_APPROVED) {
        record->activated_ms = now;
        record->activated_revision = at;
    } else if (grant_state_is_ended(next)) {
        record->ended_ms = now;
    }
    record->revision = at;
    record->state = (uint8_t)next;
}

static void move(struct apply *apply, uint32_t slot, const struct rule *rule, bool stays)
{
    struct store *store = apply->store;
    struct record *record = records_edit(&store->records, slot);
    enum grant_state before = (enum grant_state)record->state, next = (enum grant_state)rule->next;
    CHECK(!grant_state_is_ended(before));
    next_revision(store);
    write_step(record, next, store->revision, apply->now_ms);
    if (before != GRANT_NONE)
        store->states[before]--;
    store->states[next]++;
    if (before == GRANT_NONE || grant_state_is_ended(next))
        slot_mark_live(store, slot, !grant_state_is_ended(next));
    if (stays)
        digest_add(&store->sum, digest_grant_numbers(record));
    if (stays && before != next)
        timers_arm(store, slot);
    tell(apply, rule->event, slot);
}

void transition_move(struct apply *apply, uint32_t slot, const struct rule *rule)
{
    move(apply, slot, rule, true);
}

void transition_pass(struct apply *apply, uint32_t slot, const struct rule *rule)
{
    move(apply, slot, rule, false);
}

void transition_activate(struct apply *apply, uint32_t slot)
{
    struct grant terms;
    transition_move(apply, slot, rules_find(COMMAND_ADVANCE, GRANT_APPROVED));
    slot_read_shared(apply->store, slot, &terms);
    if (terms.break_glass)
        reviews_open(apply, slot);
}

struct record *transition_edit(struct apply *apply, uint32_t slot)
{
    struct record *record = records_edit(&apply->store->records, slot);
    digest_sub(&apply->store->sum, digest_grant_numbers(record));
    return record;
}

void transition_drop(struct store *store, uint32_t slot)
{
    const struct record *record = store_record(store, slot);
    digest_sub(&store->sum, digest_grant(record, store->strings.chunks));
    store->states[record->state]--;
    timers_disarm(store, slot);
    sweeps_forget(store, slot);
    index_remove_all(store, slot);
    uint32_t parent = family_leave(store, slot);
    slot_give(store, slot);
    if (parent != 0)
        timers_arm(store, parent);
}

uint32_t transition_trim(struct store *store)
{
    uint32_t n = 0;
    for (; n < LIMIT_ADVANCE_BATCH && store_ended(store) > store->ended_max; n++) {
        uint32_t oldest = timers_oldest_ended(store);
        if (oldest == 0)
            break;
        transition_drop(store, oldest);
    }
    return n;
}

void transition_end(struct apply *apply, uint32_t slot, const struct rule *rule, struct slice by, struct slice reason)
{
    struct store *store = apply->store;
    uint32_t parent = family_parent(store, slot);
    tokens_forget(store, slot);
    transition_edit(apply, slot);
    slot_set_ending(store, slot, by, reason);
    digest_add(&store->sum, digest_grant_ending(store_record(store, slot), store->strings.chunks));
    family_child_ended(store, slot);
    transition_move(apply, slot, rule);
    /* A parent that ended before may have waited for this one. */
    if (parent != 0 && grant_state_is_ended((enum grant_state)store_record(store, parent)->state))
        timers_arm(store, parent);
}

void transition_end_below(struct apply *apply, uint32_t ancestor, uint32_t slot)
{
    struct store *store = apply->store;
    int state = store_record(store, slot)->state;
    struct slice by, reason;
    /* An approved one past its deadline has no way to EXPIRED but through ACTIVE: it is revoked all the same. */
    if (state != GRANT_APPROVED && grant_state_is_ended(own_state_at(store, slot, apply->now_ms))) {
        transition_end(apply, slot, rules_find(COMMAND_ADVANCE, state), (struct slice){0}, (struct slice){0});
        return;
    }
    pair_split(store_string(store, store_record(store, ancestor)->ending), &by, &reason);
    transition_orphan(apply, slot, by);
}

void transition_orphan(struct apply *apply, uint32_t slot, struct slice by)
{
    int state = store_record(apply->store, slot)->state;
    transition_end(apply, slot, rules_find(RULE_PARENT_ENDED, state), by, slice_str(parent_ended));
}

void transition_cascade(struct apply *apply, uint32_t slot)
{
    uint32_t ended[LIMIT_CASCADE + 1], n = 0;
    ended[n++] = slot;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t child;
        while (n <= LIMIT_CASCADE && (child = family_live_child(apply->store, ended[i])) != 0) {
            transition_end_below(apply, ended[i], child);
            ended[n++] = child;
        }
    }
}

void transition_about_none(struct apply *apply, const struct rule *rule)
{
    next_revision(apply->store);
    tell(apply, rule->event, 0);
}

void transition_tell(struct apply *apply, const struct store_event *event)
{
    struct store_event told = *event;
    next_revision(apply->store);
    hand_over(apply, &told);
}
