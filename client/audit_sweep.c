#include "client/audit_sweep.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "client/audit_event.h"
#include "store/grant.h"

static bool is_same(const json_t *sweep, const char *term, const json_t *grant, const char *member)
{
    const char *wanted = audit_text(sweep, term);
    return *wanted == '\0' || strcmp(wanted, audit_text(grant, member)) == 0;
}

static bool is_covered(const json_t *sweep, const json_t *grant)
{
    const char *pattern = audit_text(sweep, "resource");
    return *pattern == '\0' || resource_covers(slice_str(pattern), slice_str(audit_text(grant, "resource")));
}

bool audit_sweep_may_end(const json_t *sweep, const json_t *grant)
{
    static const char *const terms[] = {"subject", "requester", "ticket", "policy", "parent"};
    if (strcmp(audit_text(sweep, "by"), audit_text(grant, "ended_by")) != 0 ||
        strcmp(audit_text(sweep, "reason"), audit_text(grant, "reason")) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(terms); i++)
        if (!is_same(sweep, terms[i], grant, terms[i]))
            return false;
    return is_covered(sweep, grant);
}
