/* Counting for a policy's limits.
 *
 * The index of subjects leads to all grants of a subject that are in memory, which the ended ones leave after an hour:
 * hence the longest window. Nothing is kept beside them, so there is nothing that could drift from them. */
#include "store/policy_usage.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/rules.h"

#define SCHEME "spiffe://"
#define USER_PATH "/user/"
#define USER "user:"

struct tally {
    const struct store *store;
    const struct policy_request *request;
    const struct policy_limits *limits;
    string_id policy;
    struct policy_usage usage;
    string_id *resources; /* asked for in the window */
    uint32_t n_resources;
};

/* --- the names of a subject --------------------------------------------------------------------------------------- */

struct subject_names {
    struct slice names[2];
    uint32_t n;
    char text[LIMIT_PRINCIPAL + 1]; /* of the second one */
};

/* "spiffe://DOMAIN" of a SPIFFE ID; empty for what is none. */
static struct slice domain_of(struct slice principal)
{
    size_t at = sizeof SCHEME - 1;
    if (principal.len <= at || memcmp(principal.data, SCHEME, at) != 0)
        return (struct slice){0};
    while (at < principal.len && principal.data[at] != '/')
        at++;
    return slice_of(principal.data, at);
}

/* Adds the name that is made of these; one that is too long is nobody's. */
static void add_name(struct subject_names *names, struct slice domain, const char *path, struct slice name)
{
    size_t path_len = strlen(path);
    if (domain.len + path_len + name.len > LIMIT_PRINCIPAL)
        return;
    if (domain.len > 0)
        memcpy(names->text, domain.data, domain.len);
    memcpy(names->text + domain.len, path, path_len);
    memcpy(names->text + domain.len + path_len, name.data, name.len);
    names->names[names->n++] = slice_of(names->text, domain.len + path_len + name.len);
}

static void find_names(struct subject_names *names, struct slice subject, struct slice requester)
{
    struct slice name = principal_name(subject), domain = domain_of(requester);
    names->names[0] = subject;
    names->n = 1;
    if (name.len == subject.len)
        return;
    if (domain_of(subject).len > 0)
        add_name(names, (struct slice){0}, USER, name);
    else if (domain.len > 0)
        add_name(names, domain, USER_PATH, name);
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

static void count_end(struct tally *tally, const struct record *record)
{
    struct slice resource = store_string(tally->store, record->resource);
    int64_t now_ms = tally->request->now_ms, ended_ms = (int64_t)u48_get(record->ended_ms);
    if (!resource_overlaps(resource, tally->request->terms->resource))
        return;
    /* One that counts as ended already, though its event is still to come, has ended just now. */
    int64_t since_ms = ended_ms == 0 ? 0 : now_ms - ended_ms;
    if (tally->usage.since_end_ms < 0 || since_ms < tally->usage.since_end_ms)
        tally->usage.since_end_ms = since_ms;
}

/* Most subjects ask for the same thing again: what comes twice in a row is noted once. */
static void note_resource(struct tally *tally, string_id resource)
{
    if (tally->limits->resources > 0 &&
        (tally->n_resources == 0 || tally->resources[tally->n_resources - 1] != resource))
        tally->resources[tally->n_resources++] = resource;
}

static void count_grant(struct tally *tally, uint32_t slot)
{
    const struct record *record = store_record(tally->store, slot);
    int64_t now_ms = tally->request->now_ms;
    if (record->policy != tally->policy)
        return;
    if (!grant_state_is_ended(state_at(tally->store, slot, now_ms)))
        tally->usage.concurrent++;
    else
        count_end(tally, record);
    if ((int64_t)u48_get(record->requested_ms) > now_ms - tally->limits->window_ms) {
        tally->usage.requests++;
        note_resource(tally, record->resource);
    }
}

static int compare_strings(const void *a, const void *b)
{
    string_id x = *(const string_id *)a, y = *(const string_id *)b;
    return x < y ? -1 : x > y;
}

/* The order of string ids is this process's own, how many there are is not. */
static uint32_t count_different(struct tally *tally)
{
    uint32_t different = 0;
    tally->resources[tally->n_resources++] = strings_find(&tally->store->strings, tally->request->terms->resource);
    qsort(tally->resources, tally->n_resources, sizeof tally->resources[0], compare_strings);
    for (uint32_t i = 0; i < tally->n_resources; i++)
        different += i == 0 || tally->resources[i] != tally->resources[i - 1];
    return different;
}

void policy_usage_count(const struct store *store, const struct policy_request *request, const struct policy *policy,
                        const struct policy_rule *rule, struct policy_usage *usage)
{
    const struct index_list *lists[2] = {NULL};
    struct subject_names names;
    uint32_t looks = 0;
    struct tally tally = {.store = store, .request = request, .limits = &rule->limits};
    tally.usage.since_end_ms = -1;
    tally.policy = strings_find(&store->strings, policy->name);
    find_names(&names, request->terms->subject, request->requester);
    for (uint32_t i = 0; i < names.n; i++) {
        lists[i] = index_find(store, INDEX_SUBJECT, names.names[i]);
        looks += lists[i] == NULL ? 0 : lists[i]->count;
    }
    tally.usage.overflow = looks > LIMIT_POLICY_LOOKS;
    if (!tally.usage.overflow && tally.policy != 0) {
        tally.resources = mem_alloc((looks + 1) * sizeof tally.resources[0]);
        for (uint32_t i = 0; i < names.n; i++)
            for (uint32_t slot = lists[i] == NULL ? 0 : lists[i]->head; slot != 0;
                 slot = index_next(store, INDEX_SUBJECT, lists[i]->string, slot))
                count_grant(&tally, slot);
        tally.usage.resources = count_different(&tally);
        free(tally.resources);
    }
    *usage = tally.usage;
}
