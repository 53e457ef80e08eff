/* What is in force, as the history of events tells it. */
#include "tests/sim/oracle_governance.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/wire.h"
#include "store/eligibility.h"
#include "store/review.h"
#include "tests/sim/oracle_points_internal.h"

#define G "governance"

struct governance_model *governance_model_new(struct sim *sim)
{
    struct governance_model *model = mem_calloc(1, sizeof(*model));
    model->sim = sim;
    return model;
}

void governance_model_free(struct governance_model *model)
{
    for (uint32_t i = 0; i < model->n_policies; i++) {
        policy_free(model->policies[i]);
    }
    free(model->policies);
    free(model->locks);
    free(model->eligibilities);
    free(model->reviews);
    free(model->grants);
    free(model);
}

static void copy(struct slice text, char out[TEXT])
{
    CHECK(slice_to_cstr(text, out, TEXT));
}

/* --- Names --- */

static bool begins(struct slice text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && memcmp(text.data, with, len) == 0;
}

/* "user:NAME" and "spiffe://DOMAIN/user/NAME" are one person: NAME; empty for anybody else. */
static struct slice user_of(struct slice principal)
{
    static const char user[] = "user:", path[] = "/user/";
    if (begins(principal, user)) {
        return slice_of(principal.data + strlen(user), principal.len - strlen(user));
    }
    for (size_t i = strlen("spiffe://"); begins(principal, "spiffe://") && i < principal.len; i++) {
        struct slice rest = slice_of(principal.data + i, principal.len - i);
        if (principal.data[i] == '/') {
            bool is_user = begins(rest, path);
            return is_user ? slice_of(rest.data + strlen(path), rest.len - strlen(path)) : (struct slice){0};
        }
    }
    return (struct slice){0};
}

/* There is one trust domain here. */
bool governed_same(struct slice a, struct slice b)
{
    struct slice user = user_of(a);
    return slice_equal(a, b) || (user.len > 0 && slice_equal(user, user_of(b)));
}

static bool matches_name(struct slice pattern, struct slice name)
{
    bool prefix = pattern.len > 0 && pattern.data[pattern.len - 1] == '*';
    size_t len = prefix ? pattern.len - 1 : pattern.len;
    return name.len >= len && memcmp(name.data, pattern.data, len) == 0 && (prefix || name.len == len);
}

bool governed_matches(struct slice pattern, struct slice principal)
{
    struct slice user = user_of(principal);
    char other[TEXT] = "user:";
    if (matches_name(pattern, principal)) {
        return true;
    }
    if (user.len == 0 || strlen(other) + user.len >= sizeof(other)) {
        return false;
    }
    memcpy(other + strlen(other), user.data, user.len);
    return matches_name(pattern, slice_of(other, strlen("user:") + user.len));
}

/* --- Locks --- */

static void end_span(struct governance_model *model, const struct lock *lock, uint64_t revision)
{
    for (uint32_t i = 0; i < model->n_locks; i++) {
        struct lock_span *span = &model->locks[i];
        if (span->to == 0 && span->kind == lock->kind && slice_equal(slice_str(span->target), lock->target)) {
            span->to = revision;
        }
    }
}

static void lock_event(struct governance_model *model, const struct store_event *event)
{
    struct lock lock;
    lapse_result decoded = lock_decode(event->object->value, &lock, NULL);
    CHECK(lapse_is_ok(decoded));
    end_span(model, &lock, event->revision);
    if (event->type == STORE_EVENT_UNLOCKED) {
        if (event->actor.len == 0 && event->time_ms < lock.until_ms) {
            sim_fail(model->sim, G, "a lock ends %" PRId64 " ms before its time", lock.until_ms - event->time_ms);
        }
        return;
    }
    model->locks = model_grown(model->locks, model->n_locks, &model->locks_max, sizeof(*model->locks));
    struct lock_span *span = &model->locks[model->n_locks++];
    *span = (struct lock_span){.kind = lock.kind, .until_ms = lock.until_ms, .from = event->revision};
    copy(lock.target, span->target);
    model->counts.locks++;
}

static bool holds(const struct lock_span *span, uint64_t revision, int64_t time_ms)
{
    return span->from <= revision && (span->to == 0 || revision < span->to) &&
           (span->until_ms == 0 || time_ms < span->until_ms);
}

const struct lock_span *governed_lock(const struct governance_model *model, uint64_t revision, int64_t time_ms,
                                      struct slice subject, struct slice resource)
{
    for (uint32_t i = 0; i < model->n_locks; i++) {
        const struct lock_span *span = &model->locks[i];
        struct slice target = slice_str(span->target);
        bool denies = (span->kind == LOCK_SUBJECT && subject.len > 0 && governed_same(target, subject)) ||
                      (span->kind == LOCK_RESOURCE && resource.len > 0 && resource_overlaps(target, resource));
        if (denies && holds(span, revision, time_ms)) {
            return span;
        }
    }
    return NULL;
}

/* --- Policies --- */

static void remove_policy(struct governance_model *model, struct slice name)
{
    for (uint32_t i = 0; i < model->n_policies; i++) {
        if (slice_equal(model->policies[i]->name, name)) {
            policy_free(model->policies[i]);
            model->policies[i] = model->policies[--model->n_policies];
            return;
        }
    }
}

static void policy_event(struct governance_model *model, const struct store_event *event)
{
    remove_policy(model, event->object->name);
    if (event->type == STORE_EVENT_POLICY_REMOVED) {
        return;
    }
    model->policies = model_grown(model->policies, model->n_policies, &model->policies_max, sizeof(*model->policies));
    struct policy **policy = &model->policies[model->n_policies];
    if (!lapse_is_ok(policy_decode(event->object->value, policy, NULL))) {
        sim_fail(model->sim, G, "the event of revision %" PRIu64 " applies what is no policy", event->revision);
        return;
    }
    model->n_policies++;
    model->counts.policies++;
}

/* --- Eligibility and campaigns --- */

static struct live_eligibility *find_eligibility(const struct governance_model *model, struct slice name)
{
    for (uint32_t i = 0; i < model->n_eligibilities; i++) {
        if (slice_equal(slice_str(model->eligibilities[i].name), name)) {
            return &model->eligibilities[i];
        }
    }
    return NULL;
}

static void put_eligibility(struct governance_model *model, const struct eligibility *eligibility, uint64_t revision)
{
    struct live_eligibility *live = find_eligibility(model, eligibility->name);
    if (live == NULL) {
        model->eligibilities = model_grown(model->eligibilities, model->n_eligibilities, &model->eligibilities_max,
                                           sizeof(*model->eligibilities));
        live = &model->eligibilities[model->n_eligibilities++];
    }
    *live = (struct live_eligibility){.expires_ms = eligibility->expires_ms, .revision = revision};
    copy(eligibility->name, live->name);
    copy(eligibility->member, live->member);
    copy(eligibility->resources[0], live->resource);
}

/* Eligibility.ended, which the store's decoder doesn't know: it is in events only. */
static bool ended_as(struct slice value, const char *why)
{
    struct wire_reader reader = wire_reader(value);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        if (field.number == 14) {
            return slice_equal(field.bytes, slice_str(why));
        }
    }
    return false;
}

/* A campaign's ends are looked at as a whole. */
static void eligibility_ended(struct governance_model *model, const struct store_event *event,
                              struct live_eligibility *live)
{
    if (ended_as(event->object->value, "EXPIRED") && event->time_ms < live->expires_ms) {
        sim_fail(model->sim, G, "an eligibility expires before its time");
    }
    *live = model->eligibilities[--model->n_eligibilities];
}

static void eligibility_event(struct governance_model *model, const struct store_event *event)
{
    struct eligibility eligibility;
    struct live_eligibility *live = find_eligibility(model, event->object->name);
    if (event->type != STORE_EVENT_ELIGIBILITY_PUT && live == NULL) {
        sim_fail(model->sim, G, "an eligibility that is not there is certified, or ends, at revision %" PRIu64,
                 event->revision);
        return;
    }
    if (event->type == STORE_EVENT_ELIGIBILITY_ENDED) {
        eligibility_ended(model, event, live);
        return;
    }
    lapse_result decoded = eligibility_decode(event->object->value, true, &eligibility, NULL);
    CHECK(lapse_is_ok(decoded));
    put_eligibility(model, &eligibility, event->revision);
    model->counts.eligibilities++;
}

/* Members are requesters here, and a campaign asks about all of these or about everybody. */
static void campaign_ended(struct governance_model *model, const struct store_event *event)
{
    struct campaign campaign;
    lapse_result decoded = campaign_decode(event->object->value, true, &campaign, NULL);
    CHECK(lapse_is_ok(decoded));
    model->counts.campaigns++;
    if (event->actor.len > 0) {
        return; /* closed */
    }
    for (uint32_t i = 0; i < model->n_eligibilities; i++) {
        const struct live_eligibility *live = &model->eligibilities[i];
        bool in_scope =
            campaign.n_resources == 0 || resource_overlaps(campaign.resources[0], slice_str(live->resource));
        if (in_scope && live->revision < campaign.revision) {
            sim_fail(model->sim, G, "a campaign is over, and %s was neither certified nor ended", live->name);
        }
    }
}

/* --- Reviews --- */

static struct open_review *find_review(const struct governance_model *model, struct slice name)
{
    struct grant_id id;
    lapse_result parsed = grant_id_parse(name, &id);
    CHECK(lapse_is_ok(parsed));
    for (uint32_t i = 0; i < model->n_reviews; i++) {
        if (grant_id_compare(model->reviews[i].grant, id) == 0) {
            return &model->reviews[i];
        }
    }
    return NULL;
}

static void open_review(struct governance_model *model, const struct review *review)
{
    model->reviews = model_grown(model->reviews, model->n_reviews, &model->reviews_max, sizeof(*model->reviews));
    struct open_review *open = &model->reviews[model->n_reviews++];
    *open = (struct open_review){0};
    lapse_result parsed = grant_id_parse(review->name, &open->grant);
    CHECK(lapse_is_ok(parsed));
    copy(review->requester, open->requester);
    copy(review->subject, open->subject);
    model->counts.reviews++;
}

static void check_closer(struct governance_model *model, const struct store_event *event, const struct review *review)
{
    struct slice approvers = review->approvers, approver;
    bool own = governed_same(event->actor, review->requester) || governed_same(event->actor, review->subject);
    while (scope_next(&approvers, &approver)) {
        own = own || governed_same(event->actor, approver);
    }
    if (own) {
        sim_fail(model->sim, G, "a review is closed at revision %" PRIu64 " by somebody whom it is about",
                 event->revision);
    }
}

static void review_event(struct governance_model *model, const struct store_event *event)
{
    struct review review;
    CHECK(review_decode(event->object->value, &review) == NULL);
    struct open_review *open = find_review(model, event->object->name);
    if ((event->type == STORE_EVENT_REVIEW_OPENED) != (open == NULL)) {
        sim_fail(model->sim, G, "a review is opened twice, or moves that is not there, at revision %" PRIu64,
                 event->revision);
    } else if (event->type == STORE_EVENT_REVIEW_OPENED) {
        open_review(model, &review);
    } else if (event->type == STORE_EVENT_REVIEW_OVERDUE) {
        open->overdue = true;
        model->counts.overdue++;
        if (event->time_ms < review.due_ms) {
            sim_fail(model->sim, G, "a review is overdue before its time");
        }
    } else {
        check_closer(model, event, &review);
        *open = model->reviews[--model->n_reviews];
    }
}

/* --- The history --- */

static void object_event(struct governance_model *model, const struct store_event *event)
{
    switch (event->object->kind) {
    case OBJECT_POLICY:
        policy_event(model, event);
        break;
    case OBJECT_LOCK:
        lock_event(model, event);
        break;
    case OBJECT_ELIGIBILITY:
        eligibility_event(model, event);
        break;
    case OBJECT_CAMPAIGN:
        if (event->type == STORE_EVENT_CAMPAIGN_ENDED) {
            campaign_ended(model, event);
        }
        break;
    case OBJECT_REVIEW:
        review_event(model, event);
        break;
    default:
        break;
    }
}

/* A break-glass grant and its review come together. */
static void check_awaited(struct governance_model *model, const struct store_event *event)
{
    struct grant_id id = {{0}};
    bool opened = event->type == STORE_EVENT_REVIEW_OPENED && lapse_is_ok(grant_id_parse(event->object->name, &id)) &&
                  grant_id_compare(id, model->awaited) == 0;
    if (model->awaits_review && !opened) {
        sim_fail(model->sim, G, "a break-glass grant became active at revision %" PRIu64 " without a review",
                 event->revision - 1);
    }
    model->awaits_review = false;
}

void governance_model_event(struct governance_model *model, const struct store_event *event)
{
    check_awaited(model, event);
    if (event->object != NULL) {
        object_event(model, event);
    }
    model->sweeps += event->type == STORE_EVENT_SWEEP_BEGAN;
    model->sweeps -= event->type == STORE_EVENT_SWEEP_ENDED;
    if (event->type == STORE_EVENT_SWEEP_ENDED && event->sweep->filter.policy.len > 0) {
        access_swept(model, event);
    }
    if (event->grant != NULL) {
        access_event(model, event);
    }
}

/* --- What nodes say --- */

static void check_offboarded(struct governance_model *model, uint32_t place, struct slice member,
                             const struct store *store)
{
    struct store_role_binding binding;
    if (store_roles_of(store, member) != 0) {
        sim_fail(model->sim, G, "node %u gives a role to somebody who was offboarded", place + 1);
    }
    for (uint32_t i = 0; store_role_at(store, i, &binding); i++) {
        if (governed_same(binding.member, member)) {
            sim_fail(model->sim, G, "node %u keeps a role of somebody who was offboarded", place + 1);
        }
    }
    for (uint32_t i = 0; i < model->n_eligibilities; i++) {
        if (governed_same(slice_str(model->eligibilities[i].member), member)) {
            sim_fail(model->sim, G, "an eligibility of somebody who was offboarded is left");
        }
    }
}

/* The path that a grant's resource stands for: one below, of a subtree. */
static struct slice path_of(const char *resource, char out[TEXT + 1])
{
    size_t len = strlen(resource);
    memcpy(out, resource, len + 1);
    if (len > 0 && out[len - 1] == '*') {
        out[len - 1] = 'x';
    }
    return slice_of(out, len);
}

/* Asks the node about the latest grants that a lock denies there. */
static void check_denied(struct governance_model *model, uint32_t place, const struct store *store)
{
    uint32_t from = model->n_grants > 64 ? model->n_grants - 64 : 0;
    int64_t time_ms = store_time_ms(store);
    for (uint32_t i = from; i < model->n_grants; i++) {
        const struct governed_grant_seen *seen = &model->grants[i];
        char path[TEXT + 1];
        struct grant_query query = {.subject = slice_str(seen->subject),
                                    .resource = path_of(seen->resource, path),
                                    .action = slice_str("read")};
        struct grant grant;
        bool found;
        if (governed_lock(model, store_revision(store), time_ms, query.subject, query.resource) == NULL) {
            continue;
        }
        model->counts.denied++;
        if (store_check(store, &query, time_ms, &grant, &found) == GRANT_ALLOWS) {
            sim_fail(model->sim, G, "node %u allows %s at revision %" PRIu64 " what is locked there", place + 1,
                     seen->subject, store_revision(store));
        }
    }
}

void governance_model_applied(struct governance_model *model, uint32_t place, const struct command *command,
                              const struct store_outcome *outcome, const struct store *store)
{
    bool works = outcome->error.code == LAPSE_OK && !outcome->repeated;
    bool locks = command->type == COMMAND_LOCK || command->type == COMMAND_OFFBOARD;
    if ((locks && works) || store_revision(store) % 64 == 0) {
        check_denied(model, place, store);
    }
}

void governance_model_first(struct governance_model *model, uint32_t place, const struct command *command,
                            const struct store_outcome *outcome, const struct store *store)
{
    if (command->type == COMMAND_OFFBOARD && outcome->error.code == LAPSE_OK && !outcome->repeated) {
        check_offboarded(model, place, command->member, store);
        model->counts.offboarded++;
    }
}

void governance_model_allowed(struct governance_model *model, const struct store *store,
                              const struct grant_query *query, const struct grant *grant, int64_t time_ms)
{
    const struct governed_grant_seen *seen = access_find(model, grant->id);
    if (governed_lock(model, store_revision(store), time_ms, grant->subject, query->resource) != NULL) {
        sim_fail(model->sim, G, "a check allows what is locked");
    }
    if (query->token_sha256.len == 0) {
        return;
    }
    model->counts.token_checks++;
    if (seen == NULL || !seen->has_token || memcmp(seen->token, query->token_sha256.data, sizeof(seen->token)) != 0) {
        sim_fail(model->sim, G, "a check by a token allows by a grant that has another one");
    }
}

void governance_model_counts(const struct governance_model *model, struct governance_counts *counts)
{
    *counts = model->counts;
}
