/* Which revocation of many has ended a grant: its record says only by whom and why. */
#ifndef LAPSE_CLIENT_AUDIT_SWEEP_H
#define LAPSE_CLIENT_AUDIT_SWEEP_H

#include <jansson.h>
#include <stdbool.h>

/* The reason of a grant that ended with the one above it. */
#define AUDIT_PARENT_ENDED "parent ended"

/* Whether `sweep` (lapse.v1.Sweep, at work) may have ended `grant` (lapse.v1.Grant, as it is after its end): by whom
 * and why are the same, and nothing of its filter speaks against it. False is certain, true is not. */
bool audit_sweep_may_end(const json_t *sweep, const json_t *grant);

#endif
