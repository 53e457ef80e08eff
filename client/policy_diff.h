/* What a change of a policy means: which rules differ, and how live grants fare. Pure. */
#ifndef LAPSE_CLIENT_POLICY_DIFF_H
#define LAPSE_CLIENT_POLICY_DIFF_H

#include "client/lapse.h"
#include "client/policy_yaml.h"

/* Whether they say the same, wherever they are kept (source) and whatever the store has added (version, applied by,
 * ...). */
bool policy_same(const struct policy *a, const struct policy *b);

/* Appends, for each rule and member that differs, its lines as a file has them, "-" or "+" in front. `before` NULL:
 * there was none. Nothing when they are the same. */
lapse_result policy_diff_put(const struct policy *before, const struct policy *after, struct buf *out) LAPSE_MUST_USE;

enum policy_fate {
    POLICY_STAYS,    /* the policy would still allow it */
    POLICY_OUTLIVES, /* it would not, but what exists goes on until its own end */
    POLICY_ENDS      /* it would not, and says on_change: end */
};
/* Of a grant or request under an earlier version of `after`. */
enum policy_fate policy_fate_of(const struct policy *after, const struct lapse_grant *grant);
/* What happens to it, in words: "goes on", "is revoked", ... */
const char *policy_fate_words(enum policy_fate fate, const struct lapse_grant *grant);

#endif
