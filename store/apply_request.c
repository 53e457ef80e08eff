/* REQUEST: everything that is asked before a grant comes into being.
 *
 *   role --> locked? --> barred? --> times --> parent: narrowed --> policy's rule --> depth --> room --> PENDING
 *                                                                                     automatic: --> APPROVED -->
 * ACTIVE
 *
 * A refused request changes nothing: so what a policy's rule makes of it is put into a copy of the terms, and an
 * eligibility counts as used only when there is a grant. */
#include "base/check.h"
#include "store/apply_grants.h"
#include "store/binding.h"
#include "store/governance.h"

static struct lapse_error *error_of(struct apply *apply)
{
    return &apply->outcome->error;
}

/* --- the requester and the subject -------------------------------------------------------------------------------- */

static lapse_result check_barred(struct apply *apply, struct slice principal)
{
    const struct object *review = reviews_bar(apply->store, principal);
    if (review == NULL)
        return lapse_ok();
    return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                      "%.*s is barred: the review of break-glass grant %.*s is overdue; have an approver close it",
                      SHOWN(principal), SHOWN(review->name));
}

static lapse_result check_people(struct apply *apply, const struct grant *terms)
{
    lapse_result result = locks_permit(apply, terms->subject, terms->resource);
    if (lapse_is_ok(result))
        result = locks_permit(apply, apply->command->principal, terms->resource);
    if (lapse_is_ok(result))
        result = check_barred(apply, apply->command->principal);
    return lapse_is_ok(result) ? check_barred(apply, terms->subject) : result;
}

/* --- times -------------------------------------------------------------------------------------------------------- */

static lapse_result check_times(struct apply *apply, const struct grant *terms)
{
    int64_t now = apply->now_ms, start = terms->not_before_ms > now ? terms->not_before_ms : now;
    if (terms->not_before_ms > now + LIMIT_NOT_BEFORE_AHEAD_MS_MAX)
        return lapse_fail(error_of(apply), LAPSE_OUT_OF_RANGE, "not_before is more than %lld days ahead",
                          (long long)(LIMIT_NOT_BEFORE_AHEAD_MS_MAX / 86400000));
    if (terms->deadline_ms > 0 && terms->deadline_ms <= now)
        return lapse_fail(error_of(apply), LAPSE_OUT_OF_RANGE, "the deadline has passed already");
    if (terms->deadline_ms > start + LIMIT_DURATION_MS_MAX)
        return lapse_fail(error_of(apply), LAPSE_OUT_OF_RANGE, "the deadline is more than %lld days after the start",
                          (long long)(LIMIT_DURATION_MS_MAX / 86400000));
    if (terms->pending_until_ms > 0 && terms->pending_until_ms <= now)
        return lapse_fail(error_of(apply), LAPSE_OUT_OF_RANGE, "pending_until has passed already");
    if (terms->pending_until_ms > now + LIMIT_PENDING_MS_MAX)
        return lapse_fail(error_of(apply), LAPSE_OUT_OF_RANGE, "pending_until is more than %lld days ahead",
                          (long long)(LIMIT_PENDING_MS_MAX / 86400000));
    if (terms->break_glass && terms->not_before_ms > now)
        return lapse_fail(error_of(apply), LAPSE_OUT_OF_RANGE, "break-glass is for now; leave not_before out");
    return lapse_ok();
}

/* --- the parent --------------------------------------------------------------------------------------------------- */

static bool actions_covered(const struct grant *parent, const struct grant *child)
{
    uint32_t p = 0;
    for (uint32_t c = 0; c < child->n_actions; c++, p++) {
        while (p < parent->n_actions && !slice_equal(parent->actions[p], child->actions[c]))
            p++;
        if (p == parent->n_actions)
            return false;
    }
    return true;
}

static uint32_t depth_of(const struct store *store, uint32_t slot)
{
    uint32_t depth = 0;
    for (; slot != 0; slot = family_parent(store, slot))
        depth++;
    return depth;
}

/* A child may have nothing that its parent has not. Fills `parent`. */
static lapse_result check_parent(struct apply *apply, const struct grant *terms, uint32_t slot, struct grant *parent)
{
    char id[GRANT_ID_TEXT_SIZE];
    grant_id_format(terms->parent, id);
    if (slot == 0)
        return lapse_fail(error_of(apply), LAPSE_NOT_FOUND, "no parent grant %s here; name a live one", id);
    slot_read(apply->store, slot, parent);
    if (!principal_same(parent->subject, apply->command->principal) && !principal_same(parent->subject, terms->subject))
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                          "parent grant %s belongs to neither the requester nor the subject; name one of theirs", id);
    enum grant_state state = state_at(apply->store, slot, apply->now_ms);
    if (state != GRANT_APPROVED && state != GRANT_ACTIVE)
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                          "parent grant %s is %s; name one that is APPROVED or ACTIVE", id, grant_state_name(state));
    if (!resource_covers(parent->resource, terms->resource) || !actions_covered(parent, terms))
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                          "parent grant %s doesn't cover the resource and all actions asked for; ask for less", id);
    if (depth_of(apply->store, slot) >= LIMIT_GRANT_DEPTH)
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                          "parent grant %s has %u ancestors already; request from one further up", id,
                          LIMIT_GRANT_DEPTH - 1);
    return lapse_ok();
}

/* Narrows the terms asked for to what their parent allows: no later end, and its binding, too. */
static lapse_result narrow(struct apply *apply, struct grant *terms, uint32_t parent_slot)
{
    struct grant parent;
    lapse_result result = check_parent(apply, terms, parent_slot, &parent);
    if (!lapse_is_ok(result))
        return result;
    const char *member = binding_inherit(&parent.binding, &terms->binding);
    if (member != NULL)
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                          "binding.%s goes beyond the parent grant's; leave it empty to have the parent's", member);
    if (terms->deadline_ms > parent.deadline_ms)
        terms->deadline_ms = parent.deadline_ms;
    return lapse_ok();
}

/* How deep grants may be derived under what is above: each ancestor's rule has the last word on its generations; those
 * under the built-in rule have none. */
static int64_t depth_left(const struct store *store, uint32_t parent)
{
    int64_t left = LIMIT_GRANT_DEPTH, distance = 1;
    for (uint32_t slot = parent; slot != 0; slot = family_parent(store, slot), distance++) {
        struct grant above;
        slot_read_shared(store, slot, &above);
        if (above.rule.len > 0 && (int64_t)above.delegation_depth - distance < left)
            left = (int64_t)above.delegation_depth - distance;
    }
    return left;
}

static enum token_rule stricter(enum token_rule a, enum token_rule b)
{
    if (a == TOKEN_RULE_FORBIDDEN || b == TOKEN_RULE_FORBIDDEN)
        return TOKEN_RULE_FORBIDDEN;
    return a == TOKEN_RULE_BOUND ? a : b;
}

/* What may not be shown by a token gets none by way of a child either. */
static void narrow_token(const struct store *store, struct grant *terms, uint32_t parent)
{
    struct grant above;
    if (parent == 0)
        return;
    slot_read_shared(store, parent, &above);
    terms->token_rule = stricter(terms->token_rule, above.token_rule);
}

static lapse_result narrow_depth(struct apply *apply, struct grant *terms, uint32_t parent)
{
    int64_t left = depth_left(apply->store, parent);
    char id[GRANT_ID_TEXT_SIZE];
    if (left < 0) {
        grant_id_format(terms->parent, id);
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                          "the rule of parent grant %s, or of one above it, lets no more be derived from it; request "
                          "one without a parent",
                          id);
    }
    if (terms->delegation_depth > left)
        terms->delegation_depth = (uint32_t)left;
    return lapse_ok();
}

/* --- room --------------------------------------------------------------------------------------------------------- */

static lapse_result id_taken(struct apply *apply)
{
    char id[GRANT_ID_TEXT_SIZE];
    grant_id_format(apply->command->grant, id);
    return lapse_fail(error_of(apply), LAPSE_ALREADY_EXISTS, "grant %s exists already; request with a new id", id);
}

/* The review of a break-glass grant has its id and may outlive it. */
static bool has_review(const struct apply *apply)
{
    char id[GRANT_ID_TEXT_SIZE];
    grant_id_format(apply->command->grant, id);
    return object_find(&apply->store->objects, OBJECT_REVIEW, slice_str(id)) != NULL;
}

static lapse_result check_room(struct apply *apply, const struct grant *terms)
{
    struct store *store = apply->store;
    if (store_live(store) >= store->live_max)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                          "%u grants are live, which is the limit; end some that aren't needed", store->live_max);
    if (slot_find(store, apply->command->grant) != 0 || (terms->break_glass && has_review(apply)))
        return id_taken(apply);
    return decision_check_review(apply, terms, apply->command->principal);
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static uint32_t insert_grant(struct apply *apply, const struct grant *terms, uint32_t parent)
{
    struct store *store = apply->store;
    const struct command *command = apply->command;
    uint32_t slot = slot_take(store, command->grant);
    slot_set_terms(store, slot, terms, command->principal);
    digest_add(&store->sum, digest_grant_terms(store_record(store, slot), store->strings.chunks));
    for (int kind = 0; kind < INDEX_APPROVER; kind++)
        index_add(store, slot, (enum index_kind)kind);
    if (parent != 0)
        family_adopt(store, parent, slot);
    return slot;
}

/* Fills `terms` with what becomes of the request. */
static lapse_result check_request(struct apply *apply, struct grant *terms, uint32_t parent)
{
    lapse_result result = check_people(apply, terms);
    if (lapse_is_ok(result))
        result = check_times(apply, terms);
    if (lapse_is_ok(result) && !grant_id_is_zero(terms->parent))
        result = narrow(apply, terms, parent);
    if (lapse_is_ok(result))
        result = policies_decide(apply, terms);
    if (lapse_is_ok(result))
        result = narrow_depth(apply, terms, parent);
    if (!lapse_is_ok(result))
        return result;
    narrow_token(apply->store, terms, parent);
    return check_room(apply, terms);
}

lapse_result apply_request(struct apply *apply)
{
    const struct rule *rule = rules_find(COMMAND_REQUEST, GRANT_NONE);
    struct grant terms = apply->command->terms;
    struct decision decision;
    uint32_t parent = grant_id_is_zero(terms.parent) ? 0 : slot_find(apply->store, terms.parent);
    lapse_result result = rules_permit(apply->store, rule, apply->command->principal, 0, error_of(apply));
    if (lapse_is_ok(result))
        result = check_request(apply, &terms, parent);
    bool decided = lapse_is_ok(result) && grant_approvals_needed(&terms) == 0;
    if (decided)
        result = decision_make(apply, &terms, parent, &decision);
    if (!lapse_is_ok(result))
        return result;
    uint32_t slot = insert_grant(apply, &terms, parent);
    if (decided) {
        transition_pass(apply, slot, rule);
        decision_carry_out(apply, slot, &decision);
    } else {
        transition_move(apply, slot, rule);
    }
    if (apply->eligibility.len > 0)
        eligibility_used(apply, apply->eligibility);
    return lapse_ok();
}
