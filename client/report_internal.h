/* What a report consists of, for the file that gathers it and the one that makes the document. */
#ifndef LAPSE_CLIENT_REPORT_INTERNAL_H
#define LAPSE_CLIENT_REPORT_INTERNAL_H

#include "client/report_gather.h"

struct numbers {
    int64_t *values;
    size_t n, capacity;
};

enum { POINTS_UNKNOWN = -1 };

/* One grant. Strings are held as the JSON that they came in. */
struct facts {
    json_t *grant; /* as of its last record */
    bool requested, in_period /* requested, begun or ended there */, activated_in_period;
    uint32_t approvals_told;
    int64_t ended_ms; /* 0: live */
    int points;       /* in scope when it was revoked, or POINTS_UNKNOWN */
    json_t *sweeps;   /* ids of those that may have ended it; NULL: none */
    uint64_t ended_revision;
    uint64_t
        confirmed; /* the last revision of the command that ended it, whose barrier is done and good; 0: it isn't */
    bool reviewed;
    uint32_t sessions_open;
};

struct report {
    int64_t from_ms, to_ms, first_ms, last_ms;
    uint64_t records, first, last;
    bool from_start;
    json_t *counts; /* name: number */
    struct facts *facts;
    size_t n_facts, capacity;
    json_t *by_id;                   /* grant id: its place in facts */
    json_t *by_rule;                 /* "policy version rule": counts */
    json_t *by_resource;             /* first parts of the path: counts */
    json_t *renewals;                /* "subject resource": {"ended_ms", "chain", "longest"} */
    json_t *points, *sweeps, *swept; /* registered; at work; confirmed, as keys */
    json_t *roles, *eligibility, *locks, *reviews, *campaigns; /* what stands, by name */
    json_t *sessions;                                          /* open ones by id */
    json_t *odd_sessions, *offboarded, *misused;               /* lists */
    struct numbers durations, barriers, receipts;              /* in ms */
    struct numbers began, revoked;                             /* moments in the period */
    json_t *open_receipts; /* by barrier: array of times, until ENFORCED says when it began */
};

bool report_in_period(const struct report *report, int64_t time_ms);
struct facts *report_find(const struct report *report, const char *grant_id);

#endif
