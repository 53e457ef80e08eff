/* What whoever recertifies access should look at. Pure: facts in, findings out. */
#ifndef LAPSE_CLIENT_CLI_REVIEW_ANALYSIS_H
#define LAPSE_CLIENT_CLI_REVIEW_ANALYSIS_H

#include "client/lapse.h"

/* A grant that was active for a while. */
struct review_span {
    const char *subject, *resource, *ticket;
    int64_t begin_ms;
    int64_t end_ms;    /* when it ended; what still lasts: now */
    int64_t length_ms; /* what it was granted for: from its beginning to its deadline */
};

struct review_facts {
    int64_t from_ms, now_ms; /* the period; from_ms < now_ms */
    const struct lapse_eligibility *eligibilities;
    size_t n_eligibilities;
    const struct lapse_role_binding *roles;
    size_t n_roles;
    const struct review_span *spans; /* of grants, each once, in any order; what lies before the period is cut off */
    size_t n_spans;
};

struct review_limits {
    int64_t dormant_ms;      /* not used for so long */
    int64_t ends_ms;         /* ends within this */
    int64_t long_ms;         /* a grant for longer than this is broad */
    int64_t gap_ms;          /* one that begins so soon after another's end has renewed it */
    uint32_t in_a_row;       /* so many grants that renew one another are a finding */
    uint32_t standing_share; /* percent of the period */
};

enum review_kind {
    REVIEW_DORMANT,   /* eligibility that is not used */
    REVIEW_ENDS_SOON, /* eligibility that has to be certified, or lapses */
    REVIEW_BROAD,     /* wildcards near the top, whole groups of principals, any action */
    REVIEW_LONG,      /* grants for longer than a task takes */
    REVIEW_NO_TICKET,
    REVIEW_RENEWED,  /* grants back to back */
    REVIEW_STANDING, /* access for most of the time: standing access in disguise */
    REVIEW_WIDE_ROLE,
    REVIEW_KINDS
};
const char *review_kind_name(enum review_kind kind); /* "DORMANT", ... */

struct review_finding {
    enum review_kind kind;
    const char *name; /* of the eligibility; "" otherwise */
    const char *who;
    const char *what; /* the resource, or the roles; "" when it is about none */
    const char *detail;
    int64_t number; /* what the detail counts: milliseconds, grants, or percent */
};

struct review {
    struct review_finding *findings;
    size_t n, capacity;
};

/* In the order of kinds, and within one of what it looks at by name. */
void review_analyze(const struct review_facts *facts, const struct review_limits *limits, struct review *review);
void review_free(struct review *review);

/* "*", or a subtree of the first segment: "db/" and an asterisk. */
bool review_resource_is_broad(const char *resource);
/* A prefix of principals that stops before any name: "user:" and an asterisk, "spiffe://example.org/" and an asterisk.
 */
bool review_member_is_wide(const char *member);

#endif
