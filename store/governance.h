/* Governance: what its commands do, and what it has to say in others. The rules: docs/decisions/0012-governance.md.
 * Internal to store/.
 *
 *   policies.c      apply and remove policies; which rule allows a request
 *   locks.c         lock, unlock, offboard; what is locked
 *   eligibility.c   standing permission to request, its end, campaigns
 *   reviews.c       break-glass, until somebody has looked
 *   tokens.c        bearer tokens
 *   hooks.c         how far webhooks' deliveries have come
 *
 * Each owns one kind (or two) of the object table, keeps what it derives from it, and says here what is asked of it. */
#ifndef LAPSE_STORE_GOVERNANCE_H
#define LAPSE_STORE_GOVERNANCE_H

#include "store/transition.h"

/* Form and limits of commands from COMMAND_APPLY_POLICY on. */
lapse_result governance_validate(const struct command *command, struct lapse_error *error) LAPSE_MUST_USE;
/* Carries one out. */
lapse_result governance_apply(struct apply *apply) LAPSE_MUST_USE;
/* Acts on objects that are due, `count` at most. Returns what is left of it. */
uint32_t governance_advance(struct apply *apply, uint32_t count);
/* Puts, with its event (policy applied, locked, ...), or takes out; the one way in which objects change. The module of the
 * kind is told (see struct object_module). `object->name` and `value` may lie in store->scratch or in the command. */
void governance_put(struct apply *apply, enum store_event_type type, const struct object *object);
/* `last` is what its event shows, NULL: as it was. */
void governance_remove(struct apply *apply, enum store_event_type type, enum object_kind kind, struct slice name,
                       const struct object *last);
/* Without an event: counters that nobody watches. */
void governance_touch(struct store *store, const struct object *object);

/* After a restore: checks all objects and derives what follows from them. NULL or what is wrong. */
const char *governance_link(struct store *store);

/* A kind's module, in the table of governance.c. */
struct object_module {
    /* Whether the bytes of a snapshot can have been put by governance_put: NULL or what is wrong. */
    const char *(*check)(const struct store *store, const struct object *object);
    /* The object is in the table now, or about to leave it: what is derived from it follows. A changed one goes and
     * comes; those of a restored snapshot come. NULL: nothing is derived. */
    void (*comes)(struct store *store, const struct object *object);
    void (*goes)(struct store *store, const struct object *object);
    /* Its due_ms has come. It must change: be removed, or get another due_ms. */
    void (*due)(struct apply *apply, const struct object *object);
};
extern const struct object_module policy_module, lock_module, eligibility_module, campaign_module, review_module,
    hook_module;

/* policies.c */
lapse_result policies_validate(const struct command *command, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result policies_apply(struct apply *apply) LAPSE_MUST_USE;
/* Which rule allows the request, and what it makes of it: fills the members of `terms` that are the policy's (policy,
 * policy_version, rule, steps, ...), shortens nothing that was asked for. PERMISSION_DENIED, RESOURCE_EXHAUSTED or
 * FAILED_PRECONDITION with a message that says what would be allowed. Where no policy has been applied the built-in rule
 * holds: one approver. The slices that it fills are valid until the next apply. */
lapse_result policies_decide(struct apply *apply, struct grant *terms) LAPSE_MUST_USE;
/* Whether the grant in `slot` is under an earlier version of its policy and the present one would not allow it: what a
 * sweep with SWEEP_DISALLOWED takes. */
bool policies_disallow(const struct store *store, uint32_t slot);
void policies_free(struct store *store);

/* locks.c */
lapse_result locks_validate(const struct command *command, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result locks_apply(struct apply *apply) LAPSE_MUST_USE; /* LOCK, UNLOCK, OFFBOARD */
bool locks_deny(const struct store *store, const struct grant_query *query, int64_t now_ms);
/* The lock on a principal, on what overlaps a resource (a path or a subtree), or on a point; NULL: none that holds at
 * `now_ms`. */
const struct object *locks_of_principal(const struct store *store, struct slice principal, int64_t now_ms);
const struct object *locks_of_resource(const struct store *store, struct slice resource, int64_t now_ms);
const struct object *locks_of_point(const struct store *store, struct slice id, int64_t now_ms);
/* FAILED_PRECONDITION that names the lock and its reason when the principal or the resource is locked; an empty one is not
 * looked at. */
lapse_result locks_permit(struct apply *apply, struct slice principal, struct slice resource) LAPSE_MUST_USE;
/* The same for the subject and the resource of the grant in `slot`. */
lapse_result locks_permit_grant(struct apply *apply, uint32_t slot) LAPSE_MUST_USE;
/* Fails with that code, saying what is locked and why. */
lapse_result locks_refuse(const struct object *lock, enum lapse_code code, struct lapse_error *error);
/* Whether a binding beside `member`'s makes somebody an operator who isn't locked. */
bool locks_leave_operator(const struct store *store, struct slice member, int64_t now_ms);
void locks_free(struct store *store);

/* eligibility.c */
lapse_result eligibility_validate(const struct command *command, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result eligibility_apply(struct apply *apply) LAPSE_MUST_USE;
/* The name of one by which `requester` may request it; empty: there is none. */
struct slice eligibility_find(const struct store *store, struct slice requester, const struct grant *terms,
                              int64_t now_ms);
/* It was used for a request that has come about. */
void eligibility_used(struct apply *apply, struct slice name);
/* An offboarding: all for this principal. Returns how many. */
uint32_t eligibility_remove_all(struct apply *apply, struct slice principal);
void eligibility_free(struct store *store);
size_t eligibility_bytes(const struct store *store);

/* reviews.c */
lapse_result reviews_validate(const struct command *command, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result reviews_apply(struct apply *apply) LAPSE_MUST_USE;
/* A break-glass grant has become active. */
void reviews_open(struct apply *apply, uint32_t slot);
/* The overdue review that bars this principal from requesting; NULL: none. */
const struct object *reviews_bar(const struct store *store, struct slice principal);
bool reviews_have_room(const struct store *store);
/* How many reviews of what this principal requested are open. */
uint32_t reviews_of_requester(const struct store *store, struct slice principal);
void reviews_free(struct store *store);

/* tokens.c */
lapse_result tokens_validate(const struct command *command, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result tokens_apply(struct apply *apply) LAPSE_MUST_USE;
/* The grant whose token has this hash; 0: none. */
uint32_t tokens_find(const struct store *store, struct slice sha256);
/* A live grant ends: its token, if it has one, is dead. */
void tokens_forget(struct store *store, uint32_t slot);
/* After a restore. NULL or what is wrong. */
const char *tokens_link(struct store *store);
size_t tokens_bytes(const struct store *store);
void tokens_free(struct store *store);

/* hooks.c */
lapse_result hooks_validate(const struct command *command, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result hooks_apply(struct apply *apply) LAPSE_MUST_USE;

#endif
