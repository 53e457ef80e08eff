/* A grant's record made by hand, for what a real store would never write. */
#ifndef LAPSE_TESTS_TOLD_GRANT_H
#define LAPSE_TESTS_TOLD_GRANT_H

#include <jansson.h>

#include "tests/unit/export_fixture.h"

/* Grant "g1" of user:dev1 on db/prod; with a reason it was ended by user:ops. */
static inline json_t *grant_event(const char *type, const char *reason)
{
    return json_pack("{s:s, s:I, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}}", "type", type, "time_ms", T0,
                     "grant", "id", "g1", "subject", "user:dev1", "resource", "db/prod", "justification", "x",
                     "ended_by", *reason == '\0' ? "" : "user:ops", "reason", reason, "requested_ms", T0, "approved_ms",
                     T0, "activated_ms", T0, "ended_ms", *reason == '\0' ? 0 : T0 + 5);
}

#endif
