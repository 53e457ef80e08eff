/* Campaigns: is it needed still? Internal to store/. */
#ifndef LAPSE_STORE_CAMPAIGNS_H
#define LAPSE_STORE_CAMPAIGNS_H

#include "store/eligibility.h"
#include "store/governance.h"

lapse_result campaign_start(struct apply *apply) LAPSE_MUST_USE;
lapse_result campaign_close(struct apply *apply) LAPSE_MUST_USE;
/* Whether a campaign that is over takes the eligibility with it, whether ADVANCE has got to it or not. */
bool campaigns_have_ended(const struct store *store, const struct eligibility *eligibility, int64_t now_ms);
/* Removes it, with its event: `ended` says why, `reason` (if not empty) what was said about it. */
void eligibility_end(struct apply *apply, const struct object *object, const char *ended, struct slice reason);

#endif
