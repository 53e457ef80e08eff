/* Applying commands: what each one asks, checks and sets in motion.
 *
 *   store_apply: clock -> limits and form -> seen before? -> permission -> state -> transition(s) -> remember
 *
 * The handlers decide with the table of rules.c and act through transition.c; REQUEST and APPROVE have files of their own.
 *
 * Only what took effect is remembered under its request key. A refused command changed nothing and may succeed when it
 * is sent again, once the reason for the refusal is gone. */
#include <string.h>

#include "base/check.h"
#include "store/apply_grants.h"
#include "store/apply_points.h"
#include "store/command_internal.h"
#include "store/governance.h"
#include "store/transition.h"

/* How much of what views and time left behind each command cleans up: little, but more than it adds. */
#define STRINGS_PER_APPLY 32u
#define SLABS_PER_APPLY 16u
#define KEYS_PER_APPLY 8u
#define BARRIERS_PER_APPLY 8u
#define BLOCKS_PER_APPLY 4u
#define SESSIONS_PER_APPLY 64u

static struct lapse_error *error_of(struct apply *apply)
{
    return &apply->outcome->error;
}

static lapse_result no_such_grant(struct apply *apply)
{
    char id[GRANT_ID_TEXT_SIZE];
    grant_id_format(apply->command->grant, id);
    return lapse_fail(error_of(apply), LAPSE_NOT_FOUND,
                      "no grant %s here; check the id, or look into the audit log if it ended a while ago", id);
}

/* Permission comes before state, so that nobody learns from a refusal what they may not ask. */
static lapse_result refuse_state(struct apply *apply, uint32_t slot)
{
    const struct command *command = apply->command;
    const struct rule *authority = NULL;
    for (int any = GRANT_PENDING; authority == NULL; any++)
        authority = rules_find(command->type, any);
    lapse_result result = rules_permit_to_hear(apply->store, authority, command->principal, slot, error_of(apply));
    if (!lapse_is_ok(result))
        return result;
    return rules_wrong_state(apply->store, command->type, slot, apply->now_ms, error_of(apply));
}

lapse_result apply_find(struct apply *apply, uint32_t *slot, const struct rule **rule)
{
    const struct command *command = apply->command;
    *slot = slot_find(apply->store, command->grant);
    if (*slot == 0)
        return no_such_grant(apply);
    slot_prefetch(apply->store, *slot);
    enum grant_state state = state_at(apply->store, *slot, apply->now_ms);
    *rule = rules_find(command->type, (int)state);
    if (*rule == NULL)
        return refuse_state(apply, *slot);
    return rules_permit(apply->store, *rule, command->principal, *slot, error_of(apply));
}

/* DENY, CANCEL, COMPLETE, REVOKE */
static lapse_result apply_end(struct apply *apply)
{
    uint32_t slot;
    const struct rule *rule = NULL;
    lapse_result result = apply_find(apply, &slot, &rule);
    if (!lapse_is_ok(result))
        return result;
    transition_end(apply, slot, rule, apply->command->principal, apply->command->text);
    transition_cascade(apply, slot);
    if (apply->command->type == COMMAND_REVOKE)
        barrier_open(apply, slot);
    return lapse_ok();
}

static lapse_result apply_use(struct apply *apply)
{
    uint32_t slot, count = apply->command->count;
    const struct rule *rule = NULL;
    struct grant terms;
    lapse_result result = apply_find(apply, &slot, &rule);
    if (lapse_is_ok(result))
        result = locks_permit_grant(apply, slot);
    if (!lapse_is_ok(result))
        return result;
    slot_read_shared(apply->store, slot, &terms);
    uint32_t uses = store_record(apply->store, slot)->uses, max = terms.max_uses;
    if (max > 0 && count > max - uses)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED, "%u uses asked for, %u of %u left", count,
                          max - uses, max);
    /* Without a maximum the counter stops at its limit; the grant goes on. */
    uses = uses + count > LIMIT_USES_MAX ? LIMIT_USES_MAX : uses + count;
    transition_edit(apply, slot)->uses = uses;
    transition_move(apply, slot, rule);
    if (uses == max) {
        transition_end(apply, slot, rules_find(RULE_LAST_USE, GRANT_ACTIVE), apply->command->principal,
                       (struct slice){0});
        transition_cascade(apply, slot);
    }
    return lapse_ok();
}

/* ADVANCE */

/* The nearest ancestor that has ended and not yet ended this one; 0 when all live. */
static uint32_t ended_ancestor(const struct store *store, uint32_t slot)
{
    uint32_t ancestor = family_parent(store, slot);
    while (ancestor != 0 && !grant_state_is_ended((enum grant_state)store_record(store, ancestor)->state))
        ancestor = family_parent(store, ancestor);
    return ancestor;
}

/* What the first timer of HEAP_LIVE is for. That it is due was checked against this command's time. */
static void fire(struct apply *apply, uint32_t slot)
{
    struct store *store = apply->store;
    int state = store_record(store, slot)->state;
    const struct rule *rule = rules_find(COMMAND_ADVANCE, state);
    if (grant_state_is_ended((enum grant_state)state)) {
        transition_end_below(apply, slot, family_live_child(store, slot));
    } else if (state != GRANT_APPROVED) {
        transition_end(apply, slot, rule, (struct slice){0}, (struct slice){0});
    } else if (ended_ancestor(store, slot) != 0) {
        transition_end_below(apply, ended_ancestor(store, slot), slot);
    } else if (!sweeps_end(apply, slot)) {
        transition_edit(apply, slot);
        transition_activate(apply, slot);
    }
}

/* Acts on timers, `count` at most; dropping grants that leave early is work, too. Returns what is left of it. */
static uint32_t advance_timers(struct apply *apply, uint32_t count)
{
    struct store *store = apply->store;
    enum heap_kind kind;
    uint32_t done = 0, slot;
    for (; done < count && (slot = timers_due(store, apply->now_ms, &kind)) != 0; done++) {
        timers_prefetch(store);
        if (kind == HEAP_LIVE)
            fire(apply, slot);
        else
            transition_drop(store, slot);
        done += transition_trim(store);
    }
    return done < count ? count - done : 0;
}

/* While a sweep is at work, timers have half of it at most. */
static lapse_result apply_advance(struct apply *apply)
{
    struct store *store = apply->store;
    uint32_t count = apply->command->count < LIMIT_ADVANCE_BATCH ? apply->command->count : LIMIT_ADVANCE_BATCH;
    lapse_result result =
        rules_permit(store, rules_find(COMMAND_ADVANCE, GRANT_NONE), apply->command->principal, 0, error_of(apply));
    if (!lapse_is_ok(result))
        return result;
    uint32_t sweeps = store->sweeps.n > 0 ? (count + 1) / 2 : 0;
    sweeps_advance(apply, sweeps + advance_timers(apply, governance_advance(apply, count - sweeps)));
    return lapse_ok();
}

/* SET_ROLES, INIT */

static lapse_result check_binding(struct apply *apply)
{
    const struct roles *roles = &apply->store->roles;
    const struct command *command = apply->command;
    uint32_t bound = roles_bound(roles, command->member);
    if (bound == 0 && command->roles == 0)
        return lapse_fail(error_of(apply), LAPSE_NOT_FOUND, "that member has no binding; look at the list of roles");
    if (bound == 0 && roles->n >= LIMIT_ROLE_BINDINGS)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                          "%u bindings exist, which is the limit; bind prefixes ended by an asterisk instead",
                          LIMIT_ROLE_BINDINGS);
    if ((command->roles & ROLE_OPERATOR) == 0 && (bound & ROLE_OPERATOR) != 0 &&
        !locks_leave_operator(apply->store, command->member, apply->now_ms))
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                          "this is the last operator (one who is locked doesn't count); bind another one first");
    return lapse_ok();
}

static lapse_result apply_set_roles(struct apply *apply)
{
    struct store *store = apply->store;
    const struct command *command = apply->command;
    const struct rule *rule = rules_find(COMMAND_SET_ROLES, GRANT_NONE);
    lapse_result result = rules_permit(store, rule, command->principal, 0, error_of(apply));
    if (lapse_is_ok(result))
        result = check_binding(apply);
    if (!lapse_is_ok(result))
        return result;
    roles_set(&store->roles, command->member, command->roles, command->scope, &store->sum);
    transition_about_none(apply, rule);
    return lapse_ok();
}

static lapse_result apply_init(struct apply *apply)
{
    struct store *store = apply->store;
    const struct command *command = apply->command;
    const struct rule *rule = rules_find(COMMAND_INIT, GRANT_NONE);
    lapse_result result = rules_permit(store, rule, command->principal, 0, error_of(apply));
    if (!lapse_is_ok(result))
        return result;
    if (store->epoch != 0)
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                          "this cluster is initialised already; start a new one on empty nodes");
    store->epoch = command->epoch;
    memcpy(store->cluster, command->cluster.data, command->cluster.len);
    store->cluster_len = (uint32_t)command->cluster.len;
    roles_set(&store->roles, command->member, command->roles | ROLE_OPERATOR, command->scope, &store->sum);
    transition_about_none(apply, rule);
    return lapse_ok();
}

/* Dispatch */

static lapse_result dispatch(struct apply *apply)
{
    static lapse_result (*const handlers[])(struct apply *) = {
        [COMMAND_REQUEST] = apply_request,
        [COMMAND_APPROVE] = apply_approve,
        [COMMAND_DENY] = apply_end,
        [COMMAND_CANCEL] = apply_end,
        [COMMAND_USE] = apply_use,
        [COMMAND_COMPLETE] = apply_end,
        [COMMAND_REVOKE] = apply_end,
        [COMMAND_ADVANCE] = apply_advance,
        [COMMAND_SET_ROLES] = apply_set_roles,
        [COMMAND_INIT] = apply_init,
        [COMMAND_REVOKE_MATCHING] = sweeps_apply,
        [COMMAND_REGISTER] = apply_register,
        [COMMAND_RECEIPTS] = apply_receipts,
        [COMMAND_END_POINT] = apply_end_point,
        [COMMAND_SESSION_BEGIN] = apply_session_begin,
        [COMMAND_SESSION_END] = apply_session_end,
    };
    enum command_type type = apply->command->type;
    if (apply->store->epoch == 0 && type != COMMAND_INIT && type != COMMAND_ADVANCE)
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION, "this cluster is not initialised yet");
    return type >= COMMAND_APPLY_POLICY ? governance_apply(apply) : handlers[type](apply);
}

static lapse_result repeat(struct apply *apply, const struct key_entry *entry, uint32_t content)
{
    if (entry->content != content)
        return lapse_fail(error_of(apply), LAPSE_ALREADY_EXISTS,
                          "this request_id was used for a different command; choose a new one");
    apply->outcome->repeated = true;
    apply->outcome->grant = entry->grant;
    apply->outcome->revision = u48_get(entry->revision);
    apply->outcome->time_ms = (int64_t)u48_get(entry->time_ms);
    return lapse_ok();
}

/* A handler may have set it; else it is that of the last event. */
static uint64_t outcome_revision(const struct apply *apply)
{
    return apply->outcome->revision != 0 ? apply->outcome->revision : apply->store->revision;
}

static void remember(struct apply *apply, uint32_t content)
{
    struct store *store = apply->store;
    struct key_entry entry = {
        .key = apply->command->key,
        .grant = apply->outcome->grant,
        .content = content,
        .time_ms = u48_of((uint64_t)apply->now_ms),
        .revision = u48_of(outcome_revision(apply)),
    };
    keys_evict(&store->keys, 1, 0, apply->now_ms, &store->sum);
    keys_append(&store->keys, &entry, &store->sum);
}

static lapse_result apply_once(struct apply *apply, struct command_paths *paths)
{
    if (request_key_is_zero(&apply->command->key))
        return dispatch(apply);
    uint32_t content = command_content_hash(apply->command);
    slot_paths_step(paths);
    const struct key_entry *entry = keys_find(&apply->store->keys, &apply->command->key, apply->now_ms);
    if (entry != NULL)
        return repeat(apply, entry, content);
    lapse_result result = dispatch(apply);
    /* Without an event there is no revision to remember it by, and doing it again changes nothing again. */
    if (lapse_is_ok(result) && !apply->outcome->repeated)
        remember(apply, content);
    return result;
}

/* The last moment whose grants still end within LIMIT_TIME_MS_MAX. */
#define LAST_MS (LIMIT_TIME_MS_MAX - LIMIT_NOT_BEFORE_AHEAD_MS_MAX - LIMIT_DURATION_MS_MAX)

static int64_t tick(struct store *store, int64_t time_ms)
{
    if (time_ms > LAST_MS)
        time_ms = LAST_MS;
    if (time_ms > store->time_ms)
        store->time_ms = time_ms;
    return store->time_ms;
}

/* What a view left behind of points, barriers and sessions, and what is left of sessions whose point is over. */
static void drain_points(struct store *store)
{
    struct slabs *slabs[] = {&store->points.items, &store->sessions.items, &store->barriers.items,
                             &store->barriers.tracks};
    for (size_t i = 0; i < ARRAY_LEN(slabs); i++)
        if (slabs[i]->retired != NULL)
            slabs_drain(slabs[i], SLABS_PER_APPLY);
    if (store->barriers.aside != NULL)
        barriers_drain(&store->barriers, BLOCKS_PER_APPLY);
    for (uint32_t n = 0; n < SESSIONS_PER_APPLY && store->sessions.n_gone > 0; n++)
        strings_unref(&store->strings, sessions_reap(&store->sessions));
}

void store_apply(struct store *store, const struct command *command, int64_t time_ms, store_event_cb on_event,
                 void *arg, struct store_outcome *outcome)
{
    struct apply apply = {store, command, tick(store, time_ms), on_event, arg, outcome};
    struct command_paths paths;
    outcome->error.code = LAPSE_OK;
    outcome->error.message[0] = '\0';
    outcome->repeated = false;
    outcome->revision = 0;
    outcome->n_events = 0;
    outcome->grant = command->grant;
    outcome->time_ms = apply.now_ms;
    strings_drain(&store->strings, STRINGS_PER_APPLY);
    records_drain(&store->records, SLABS_PER_APPLY);
    slabs_drain(&store->extras.items, SLABS_PER_APPLY);
    drain_points(store);
    keys_evict(&store->keys, 0, KEYS_PER_APPLY, apply.now_ms, &store->sum);
    barriers_evict(store, BARRIERS_PER_APPLY, apply.now_ms);
    slot_paths(store, command, &paths);
    lapse_result result = command_validate(command, error_of(&apply));
    if (lapse_is_ok(result)) {
        slot_paths_step(&paths);
        result = apply_once(&apply, &paths);
    }
    CHECK(result.code == outcome->error.code);
    (void)transition_trim(store);
    if (!outcome->repeated)
        outcome->revision = outcome_revision(&apply);
}
