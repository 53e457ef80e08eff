/* The findings of `lapse review`.
 *
 *   eligibility   dormant, ends soon, broad          each by itself
 *   roles         wide                               each by itself
 *   grants        broad, long, without a ticket,     by (subject, resource), in the order of their beginnings:
 *                 renewed, standing                  |==|  |===|====|     |==|
 *                                                    a run: each begins before gap_ms after all before it have ended
 *                                                    the share: what their union covers of the period */
#include "client/cli/review_analysis.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "client/cli/value.h"

struct analysis {
    const struct review_facts *facts;
    const struct review_limits *limits;
    struct review *review;
};

const char *review_kind_name(enum review_kind kind)
{
    static const char *const names[REVIEW_KINDS] = {"DORMANT",   "ENDS_SOON", "BROAD",    "LONG",
                                                    "NO_TICKET", "RENEWED",   "STANDING", "WIDE_ROLE"};
    CHECK(kind < REVIEW_KINDS);
    return names[kind];
}

static void add(struct analysis *a, struct review_finding about, const char *format, ...) LAPSE_PRINTF(3, 4);
static void add(struct analysis *a, struct review_finding about, const char *format, ...)
{
    struct review *review = a->review;
    char detail[512];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    if (review->n == review->capacity) {
        review->capacity = review->capacity == 0 ? 32 : review->capacity * 2;
        review->findings = mem_realloc(review->findings, review->capacity * sizeof review->findings[0]);
    }
    about.name = mem_strdup(about.name == NULL ? "" : about.name);
    about.who = mem_strdup(about.who);
    about.what = mem_strdup(about.what);
    about.detail = mem_strdup(detail);
    review->findings[review->n++] = about;
}

void review_free(struct review *review)
{
    for (size_t i = 0; i < review->n; i++) {
        free((void *)review->findings[i].name);
        free((void *)review->findings[i].who);
        free((void *)review->findings[i].what);
        free((void *)review->findings[i].detail);
    }
    free(review->findings);
    *review = (struct review){0};
}

static const char *duration(int64_t ms, char out[32])
{
    value_format_duration(ms, out, 32);
    return out;
}

/* --- patterns ----------------------------------------------------------------------------------------------------- */

bool review_resource_is_broad(const char *resource)
{
    size_t len = strlen(resource);
    if (len == 0 || resource[len - 1] != '*')
        return false;
    const char *slash = strchr(resource, '/');
    return slash == NULL || slash[1] == '*';
}

bool review_member_is_wide(const char *member)
{
    static const char scheme[] = "spiffe://";
    size_t len = strlen(member);
    if (len == 0 || member[len - 1] != '*')
        return false;
    size_t skip = strncmp(member, scheme, strlen(scheme)) == 0 ? strlen(scheme) : 0;
    /* What is behind the domain, or the kind: a name has to begin there, and a SPIFFE ID's path has a kind before it.
     */
    const char *rest = strpbrk(member + skip, skip > 0 ? "/" : ":");
    if (rest == NULL)
        return true;
    if (skip > 0)
        rest = strchr(rest + 1, '/');
    return rest == NULL || rest[1] == '*';
}

/* --- eligibility -------------------------------------------------------------------------------------------------- */

static void look_at_use(struct analysis *a, const struct lapse_eligibility *e, struct review_finding about)
{
    char text[32];
    int64_t now_ms = a->facts->now_ms, since_ms = e->used_ms > 0 ? e->used_ms : e->put_ms;
    about.kind = REVIEW_DORMANT;
    about.number = now_ms - since_ms;
    if (about.number < a->limits->dormant_ms)
        return;
    if (e->uses == 0)
        add(a, about, "never used since it was put %s ago", duration(about.number, text));
    else
        add(a, about, "not used for %s; %" PRIu64 " uses before", duration(about.number, text), e->uses);
}

static void look_at_end(struct analysis *a, const struct lapse_eligibility *e, struct review_finding about)
{
    char text[32];
    about.kind = REVIEW_ENDS_SOON;
    about.number = e->expires_ms - a->facts->now_ms;
    if (about.number <= a->limits->ends_ms)
        add(a, about, "ends in %s; certify it if it is needed", duration(about.number > 0 ? about.number : 1, text));
}

static void look_at_breadth(struct analysis *a, const struct lapse_eligibility *e, struct review_finding about)
{
    about.kind = REVIEW_BROAD;
    if (review_member_is_wide(e->member))
        add(a, about, "for everybody whose name begins so");
    for (size_t i = 0; i < e->n_resources; i++)
        if (review_resource_is_broad(e->resources[i])) {
            about.what = e->resources[i];
            add(a, about, "may be requested whole, %s", e->n_actions == 0 ? "for any action" : "for some actions");
        }
}

static void look_at_eligibility(struct analysis *a, const struct lapse_eligibility *e, enum review_kind kind)
{
    struct review_finding about = {
        .name = e->name, .who = e->member, .what = (e->n_resources == 0 ? "" : e->resources[0])};
    if (kind == REVIEW_DORMANT)
        look_at_use(a, e, about);
    else if (kind == REVIEW_ENDS_SOON)
        look_at_end(a, e, about);
    else
        look_at_breadth(a, e, about);
}

/* --- roles -------------------------------------------------------------------------------------------------------- */

static bool has_power(const struct lapse_role_binding *binding)
{
    for (size_t i = 0; i < binding->n_roles; i++)
        if (strcmp(binding->roles[i], "requester") != 0)
            return true;
    return false;
}

/* A prefix that takes in everybody of a kind, or that gives more than requesting. */
static void look_at_role(struct analysis *a, const struct lapse_role_binding *binding)
{
    char roles[128] = "";
    size_t len = strlen(binding->member), at = 0;
    bool wide = review_member_is_wide(binding->member), prefix = len > 0 && binding->member[len - 1] == '*';
    if (!wide && !(prefix && has_power(binding)))
        return;
    for (size_t i = 0; i < binding->n_roles && at < sizeof roles; i++)
        at += (size_t)snprintf(roles + at, sizeof roles - at, "%s%s", i == 0 ? "" : ",", binding->roles[i]);
    add(a, (struct review_finding){.kind = REVIEW_WIDE_ROLE, .who = binding->member, .what = roles},
        wide ? "for everybody whose name begins so" : "whoever gets a certificate with such a name has this");
}

/* --- grants ------------------------------------------------------------------------------------------------------- */

static int compare_spans(const void *x, const void *y)
{
    const struct review_span *a = x, *b = y;
    int order = strcmp(a->subject, b->subject);
    if (order == 0)
        order = strcmp(a->resource, b->resource);
    if (order == 0)
        order = a->begin_ms < b->begin_ms ? -1 : a->begin_ms > b->begin_ms;
    return order != 0 ? order : a->end_ms < b->end_ms ? -1 : a->end_ms > b->end_ms;
}

/* Spans of one subject and one resource, or of one subject. */
struct group {
    const struct review_span *spans;
    size_t n;
};

static struct review_finding about_group(enum review_kind kind, struct group group, int64_t number)
{
    return (struct review_finding){
        .kind = kind, .who = group.spans->subject, .what = group.spans->resource, .number = number};
}

static void look_at_broad(struct analysis *a, struct group group)
{
    if (review_resource_is_broad(group.spans->resource))
        add(a, about_group(REVIEW_BROAD, group, (int64_t)group.n), "granted whole, %zu times", group.n);
}

static void look_at_long(struct analysis *a, struct group group)
{
    char longest_text[32], limit_text[32];
    int64_t longest_ms = 0;
    size_t n = 0;
    for (size_t i = 0; i < group.n; i++) {
        n += group.spans[i].length_ms > a->limits->long_ms;
        longest_ms = group.spans[i].length_ms > longest_ms ? group.spans[i].length_ms : longest_ms;
    }
    if (n > 0)
        add(a, about_group(REVIEW_LONG, group, longest_ms), "%zu grants for more than %s, the longest for %s", n,
            duration(a->limits->long_ms, limit_text), duration(longest_ms, longest_text));
}

static void look_at_tickets(struct analysis *a, struct group group)
{
    size_t n = 0;
    for (size_t i = 0; i < group.n; i++)
        n += *group.spans[i].ticket == '\0';
    if (n > 0)
        add(a, about_group(REVIEW_NO_TICKET, group, (int64_t)n), "%zu of %zu grants without a ticket", n, group.n);
}

static void end_run(struct analysis *a, struct group run, int64_t until_ms)
{
    char text[32];
    if (run.n >= a->limits->in_a_row)
        add(a, about_group(REVIEW_RENEWED, run, (int64_t)run.n), "%zu grants in a row, %s in all", run.n,
            duration(until_ms - run.spans->begin_ms, text));
}

static void look_at_runs(struct analysis *a, struct group group)
{
    struct group run = {group.spans, 1};
    int64_t until_ms = run.spans->end_ms;
    for (size_t i = 1; i < group.n; i++) {
        const struct review_span *span = &group.spans[i];
        if (span->begin_ms > until_ms + a->limits->gap_ms) {
            end_run(a, run, until_ms);
            run = (struct group){span, 0};
            until_ms = span->end_ms;
        }
        run.n++;
        until_ms = span->end_ms > until_ms ? span->end_ms : until_ms;
    }
    end_run(a, run, until_ms);
}

/* Within the period. */
static int64_t covered_ms(const struct analysis *a, struct group group)
{
    int64_t covered = 0, until_ms = a->facts->from_ms;
    for (size_t i = 0; i < group.n; i++) {
        int64_t begin = group.spans[i].begin_ms > until_ms ? group.spans[i].begin_ms : until_ms;
        int64_t end = group.spans[i].end_ms < a->facts->now_ms ? group.spans[i].end_ms : a->facts->now_ms;
        covered += end > begin ? end - begin : 0;
        until_ms = end > until_ms ? end : until_ms;
    }
    return covered;
}

static void look_at_share(struct analysis *a, struct group group)
{
    char covered[32], period[32];
    int64_t period_ms = a->facts->now_ms - a->facts->from_ms, ms = covered_ms(a, group);
    int64_t percent = (int64_t)((double)ms * 100 / (double)period_ms);
    if (percent > a->limits->standing_share)
        add(a, about_group(REVIEW_STANDING, group, percent), "had it %" PRId64 "%% of the time: %s of %s", percent,
            duration(ms, covered), duration(period_ms, period));
}

typedef void (*group_look)(struct analysis *a, struct group group);

static bool same_group(const struct review_span *a, const struct review_span *b)
{
    return strcmp(a->subject, b->subject) == 0 && strcmp(a->resource, b->resource) == 0;
}

static void look_at_groups(struct analysis *a, const struct review_span *spans, group_look look)
{
    for (size_t i = 0, n; i < a->facts->n_spans; i += n) {
        for (n = 1; i + n < a->facts->n_spans && same_group(&spans[i], &spans[i + n]); n++)
            ;
        look(a, (struct group){spans + i, n});
    }
}

static void look_at_spans(struct analysis *a, group_look look)
{
    size_t n = a->facts->n_spans;
    if (n == 0)
        return;
    struct review_span *sorted = mem_alloc(n * sizeof *sorted);
    memcpy(sorted, a->facts->spans, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_spans);
    look_at_groups(a, sorted, look);
    free(sorted);
}

/* --- all ---------------------------------------------------------------------------------------------------------- */

void review_analyze(const struct review_facts *facts, const struct review_limits *limits, struct review *review)
{
    static const group_look looks[REVIEW_KINDS] = {[REVIEW_BROAD] = look_at_broad,
                                                   [REVIEW_LONG] = look_at_long,
                                                   [REVIEW_NO_TICKET] = look_at_tickets,
                                                   [REVIEW_RENEWED] = look_at_runs,
                                                   [REVIEW_STANDING] = look_at_share};
    struct analysis a = {facts, limits, review};
    CHECK(facts->from_ms < facts->now_ms);
    *review = (struct review){0};
    for (int kind = 0; kind < REVIEW_KINDS; kind++) {
        for (size_t i = 0; kind <= REVIEW_BROAD && i < facts->n_eligibilities; i++)
            look_at_eligibility(&a, &facts->eligibilities[i], (enum review_kind)kind);
        if (looks[kind] != NULL)
            look_at_spans(&a, looks[kind]);
        for (size_t i = 0; kind == REVIEW_WIDE_ROLE && i < facts->n_roles; i++)
            look_at_role(&a, &facts->roles[i]);
    }
}
