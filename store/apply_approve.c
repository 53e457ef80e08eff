/* APPROVE: who may now, and what follows from the last approval.
 *
 *   PENDING -- approval --> PENDING -- ... -- the last one --> APPROVED --> ACTIVE
 *
 * The steps of a grant are those of its rule when it was requested. An approval counts for the first step that is not
 * complete; nobody's counts twice. That the caller has the role, and doesn't decide for themselves, is rules.c's. */
#include "base/check.h"
#include "store/apply_grants.h"
#include "store/governance.h"
#include "store/policy.h"

static struct lapse_error *error_of(struct apply *apply)
{
    return &apply->outcome->error;
}

/* The step that waits, and how many more it takes. */
struct turn {
    uint32_t step, missing;
    struct slice approvers;
};

static struct turn turn_of(const struct grant *grant)
{
    uint32_t before = grant->n_approvals;
    for (uint32_t i = 0; i < grant->n_steps; i++) {
        const struct grant_step *step = &grant->steps[i];
        if (before < step->count)
            return (struct turn){i, step->count - before, step->approvers};
        before -= step->count;
    }
    return (struct turn){.missing = 1};
}

static bool has_approved(const struct grant *grant, struct slice who)
{
    for (uint32_t i = 0; i < grant->n_approvals; i++)
        if (principal_same(grant->approvals[i].approver, who))
            return true;
    return false;
}

static bool comes_later(const struct grant *grant, const struct turn *turn, struct slice who)
{
    for (uint32_t i = turn->step + 1; i < grant->n_steps; i++)
        if (principal_matches_any(grant->steps[i].approvers, who))
            return true;
    return false;
}

static lapse_result check_turn(struct apply *apply, const struct grant *grant)
{
    struct slice who = apply->command->principal, any = slice_str("any other approver");
    struct turn turn = turn_of(grant);
    struct slice waits_for = turn.approvers.len > 0 ? turn.approvers : any;
    if (has_approved(grant, who))
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                          "%.*s has approved it already and counts once; it takes %u more of %.*s", SHOWN(who),
                          turn.missing, SHOWN(waits_for));
    if (principal_matches_any(turn.approvers, who))
        return lapse_ok();
    if (comes_later(grant, &turn, who))
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                          "it is not the turn of %.*s yet: step %u of %u comes first and takes %u more of %.*s",
                          SHOWN(who), turn.step + 1, grant->n_steps, turn.missing, SHOWN(waits_for));
    return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                      "step %u of %u takes %u more of %.*s, and %.*s is none of them; ask one of them", turn.step + 1,
                      grant->n_steps, turn.missing, SHOWN(waits_for), SHOWN(who));
}

lapse_result decision_make(struct apply *apply, const struct grant *terms, uint32_t parent, struct decision *decision)
{
    struct store *store = apply->store;
    int64_t start_ms = terms->not_before_ms > apply->now_ms ? terms->not_before_ms : apply->now_ms;
    int64_t deadline_ms = terms->duration_ms > 0 ? start_ms + terms->duration_ms : terms->deadline_ms;
    *decision = (struct decision){start_ms, deadline_ms};
    if (parent == 0)
        return lapse_ok();
    const struct record *record = store_record(store, parent);
    int64_t parent_deadline_ms = (int64_t)u48_get(record->deadline_ms);
    if (deadline_ms > parent_deadline_ms)
        decision->deadline_ms = parent_deadline_ms;
    if (decision->deadline_ms <= start_ms)
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                          "its parent ends before it would start; request a new one with an earlier not_before");
    struct grant above;
    slot_read_shared(store, parent, &above);
    if (record->state == GRANT_APPROVED && start_ms < above.not_before_ms)
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                          "its parent is not active yet; approve it once the parent is");
    return lapse_ok();
}

void decision_carry_out(struct apply *apply, uint32_t slot, const struct decision *decision)
{
    const struct rule *approved = rules_find(COMMAND_APPROVE, GRANT_PENDING);
    records_edit(&apply->store->records, slot)->deadline_ms = u48_of((uint64_t)decision->deadline_ms);
    if (decision->start_ms > apply->now_ms) {
        transition_move(apply, slot, approved);
        return;
    }
    transition_pass(apply, slot, approved);
    transition_activate(apply, slot);
}

lapse_result decision_check_review(struct apply *apply, const struct grant *terms, struct slice requester)
{
    if (!terms->break_glass)
        return lapse_ok();
    if (!reviews_have_room(apply->store))
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                          "%u break-glass reviews are open, which is the limit; have some closed", LIMIT_REVIEWS);
    if (reviews_of_requester(apply->store, requester) >= LIMIT_REVIEWS_PER_REQUESTER)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                          "%u break-glass reviews of %.*s are open, which is the limit; have some closed",
                          LIMIT_REVIEWS_PER_REQUESTER, SHOWN(requester));
    return lapse_ok();
}

/* Nobody gets anything by one who is locked: not the subject, not whoever asked for it, and no approval of theirs
 * counts until the lock is lifted. */
static lapse_result check_locks(struct apply *apply, uint32_t slot, const struct grant *grant)
{
    struct slice none = {0};
    lapse_result result = locks_permit_grant(apply, slot);
    if (lapse_is_ok(result))
        result = locks_permit(apply, grant->requester, none);
    for (uint32_t i = 0; i < grant->n_approvals && lapse_is_ok(result); i++) {
        struct slice approver = grant->approvals[i].approver;
        if (locks_of_principal(apply->store, approver, apply->now_ms) != NULL)
            result = lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION,
                                "%.*s, who approved it before, is locked: request it anew, or have the lock lifted",
                                SHOWN(approver));
    }
    return result;
}

static void add_approval(struct apply *apply, uint32_t slot, bool last)
{
    struct store *store = apply->store;
    const struct grant_approval approval = {.approver = apply->command->principal,
                                            .time_ms = apply->now_ms,
                                            .comment = apply->command->text,
                                            .revision = store->revision + 1};
    uint32_t i = store_record(store, slot)->n_approvals;
    approvals_add(store, slot, &approval, last);
    index_add_approval(store, slot, i);
}

lapse_result apply_approve(struct apply *apply)
{
    uint32_t slot;
    const struct rule *rule = NULL;
    struct grant grant;
    struct decision decision;
    lapse_result result = apply_find(apply, &slot, &rule);
    if (!lapse_is_ok(result))
        return result;
    slot_read(apply->store, slot, &grant);
    result = check_locks(apply, slot, &grant);
    if (lapse_is_ok(result))
        result = check_turn(apply, &grant);
    if (lapse_is_ok(result))
        result = decision_check_review(apply, &grant, grant.requester);
    if (lapse_is_ok(result))
        result = decision_make(apply, &grant, family_parent(apply->store, slot), &decision);
    if (!lapse_is_ok(result))
        return result;
    bool last = grant.n_approvals + 1 == grant_approvals_needed(&grant);
    (void)transition_edit(apply, slot);
    add_approval(apply, slot, last);
    if (last) {
        decision_carry_out(apply, slot, &decision);
        return lapse_ok();
    }
    struct rule waits = *rule;
    waits.next = GRANT_PENDING;
    transition_move(apply, slot, &waits);
    return lapse_ok();
}
