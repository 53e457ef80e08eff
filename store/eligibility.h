/* Eligibility and campaigns as data: the lapse.v1 messages, strictly. Pure, without a store. Internal to store/.
 *
 * One value has one encoding: fields ascend, none is unknown, none is empty. A decoded struct borrows from the bytes.
 */
#ifndef LAPSE_STORE_ELIGIBILITY_H
#define LAPSE_STORE_ELIGIBILITY_H

#include "store/grant.h"

/* Members as in lapse.v1.Eligibility. */
struct eligibility {
    struct slice name, member;
    struct slice resources[LIMIT_ELIGIBILITY_PATTERNS];
    uint32_t n_resources;
    struct slice actions[LIMIT_ACTIONS]; /* none: any */
    uint32_t n_actions;
    struct slice reason;
    int64_t expires_ms;
    struct slice put_by;
    int64_t put_ms;
    struct slice certified_by;
    int64_t certified_ms, used_ms;
    uint64_t uses, revision;
    struct slice ended;
};

/* As lapse.v1.Campaign. */
struct campaign {
    struct slice name;
    struct slice members[LIMIT_ELIGIBILITY_PATTERNS];
    uint32_t n_members;
    struct slice resources[LIMIT_ELIGIBILITY_PATTERNS];
    uint32_t n_resources;
    int64_t due_ms;
    struct slice reason, started_by;
    int64_t started_ms;
    uint64_t revision;
    uint32_t items, lapsed;
};

/* What a caller sends must leave the store's members out: `stored` false. All forms and limits but those that need a
 * clock. INVALID_ARGUMENT with a message that names the member. */
lapse_result eligibility_decode(struct slice bytes, bool stored, struct eligibility *eligibility,
                                struct lapse_error *error) LAPSE_MUST_USE;
lapse_result campaign_decode(struct slice bytes, bool stored, struct campaign *campaign,
                             struct lapse_error *error) LAPSE_MUST_USE;
/* RESOURCE_EXHAUSTED at the buffer's bound. */
lapse_result eligibility_encode(const struct eligibility *eligibility, struct buf *out) LAPSE_MUST_USE;
lapse_result campaign_encode(const struct campaign *campaign, struct buf *out) LAPSE_MUST_USE;

/* Whether it lets its member request this resource (a path or subtree, which must be covered whole) with these actions.
 * Member and end aside. */
bool eligibility_covers(const struct eligibility *eligibility, struct slice resource, const struct slice *actions,
                        uint32_t n_actions);
/* Whether the campaign asks about it: its member is one of the campaign's, or a prefix that lies wholly within one; and
 * something of its resources lies in the campaign's. */
bool campaign_takes(const struct campaign *campaign, const struct eligibility *eligibility);

#endif
