/* G4, G7: each grant's life, by a model that knows the diagram in store/grant.h and nothing of the store.
 *
 * It is fed with the one history of events. It accepts only the arrows of the diagram, times that agree with deadlines,
 * and one end for each grant. After each event it keeps the combined hash of all live grants: what a listing or a
 * subscriber at that revision must arrive at. */
#include "tests/sim/oracle_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "tests/sim/network.h"

/* A timer's command leaves within a loop's iteration. Then it takes a majority, to all of whom the links may be at
 * their slowest. */
#define LATE_MS 20

struct model_grant {
    struct grant_id id, parent;
    uint32_t state;
    uint32_t uses, max_uses;
    int64_t requested_ms, approved_ms, duration_ms, not_before_ms, deadline_ms, pending_until_ms;
    bool fixed; /* the deadline may not move any more */
    uint64_t ended_revision;
    uint64_t live_hash;
};

struct grants_model {
    struct sim *sim;
    struct model_grant *grants;
    uint32_t n, max;
    uint32_t *slots; /* open addressing: place in `grants` + 1 */
    uint32_t n_slots;
    uint64_t live_hash;
    uint64_t *live_hashes; /* by revision - 1 */
    uint64_t n_revisions, revisions_max;
};

struct grants_model *grants_model_new(struct sim *sim)
{
    struct grants_model *model = mem_calloc(1, sizeof(*model));
    model->sim = sim;
    model->n_slots = 1024;
    model->slots = mem_calloc(model->n_slots, sizeof(*model->slots));
    return model;
}

void grants_model_free(struct grants_model *model)
{
    free(model->grants);
    free(model->slots);
    free(model->live_hashes);
    free(model);
}

/* --- A table of grants --- */

static uint32_t *slot_of(const struct grants_model *model, struct grant_id id)
{
    uint32_t at = (uint32_t)sim_hash_bytes(3, slice_of(id.bytes, sizeof(id.bytes))) & (model->n_slots - 1);
    while (model->slots[at] != 0 && grant_id_compare(model->grants[model->slots[at] - 1].id, id) != 0) {
        at = (at + 1) & (model->n_slots - 1);
    }
    return &model->slots[at];
}

static struct model_grant *find(const struct grants_model *model, struct grant_id id)
{
    uint32_t slot = *slot_of(model, id);
    return slot == 0 ? NULL : &model->grants[slot - 1];
}

static void grow_slots(struct grants_model *model)
{
    free(model->slots);
    model->n_slots *= 2;
    model->slots = mem_calloc(model->n_slots, sizeof(*model->slots));
    for (uint32_t i = 0; i < model->n; i++) {
        *slot_of(model, model->grants[i].id) = i + 1;
    }
}

static struct model_grant *add(struct grants_model *model, struct grant_id id)
{
    if (2 * model->n >= model->n_slots) {
        grow_slots(model);
    }
    if (model->n == model->max) {
        model->max = model->max == 0 ? 256 : model->max * 2;
        model->grants = mem_realloc(model->grants, model->max * sizeof(*model->grants));
    }
    struct model_grant *grant = &model->grants[model->n++];
    *grant = (struct model_grant){.id = id};
    *slot_of(model, id) = model->n;
    return grant;
}

bool grants_model_ended(const struct grants_model *model, struct grant_id id, uint64_t *ended)
{
    const struct model_grant *grant = find(model, id);
    if (grant == NULL || grant->ended_revision == 0) {
        return false;
    }
    *ended = grant->ended_revision;
    return true;
}

int64_t grants_model_next_deadline(const struct grants_model *model)
{
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < model->n; i++) {
        const struct model_grant *grant = &model->grants[i];
        if (grant->state == GRANT_ACTIVE && grant->deadline_ms < next) {
            next = grant->deadline_ms;
        }
    }
    return next;
}

uint64_t grants_model_live_hash(const struct grants_model *model, uint64_t revision)
{
    return revision == 0 || revision > model->n_revisions ? 0 : model->live_hashes[revision - 1];
}

/* --- The diagram --- */

/* What each type of event may do: from one of these states to that one. */
struct arrow {
    uint32_t from; /* bits of 1 << state; 0: from nothing */
    uint32_t to;
    bool before_deadline; /* may only happen while the deadline lies ahead */
};

#define BIT(state) (1u << (state))

static const struct arrow arrows[] = {
    [STORE_EVENT_REQUESTED] = {0, GRANT_PENDING, false},
    [STORE_EVENT_APPROVED] = {BIT(GRANT_PENDING), GRANT_APPROVED, false},
    /* After a time without a leader both its beginning and its deadline may be due: it becomes active, and expires at
       once. */
    [STORE_EVENT_ACTIVATED] = {BIT(GRANT_APPROVED), GRANT_ACTIVE, false},
    [STORE_EVENT_USED] = {BIT(GRANT_ACTIVE), GRANT_ACTIVE, true},
    [STORE_EVENT_EXPIRED] = {BIT(GRANT_ACTIVE) | BIT(GRANT_APPROVED), GRANT_EXPIRED, false},
    [STORE_EVENT_REVOKED] = {BIT(GRANT_ACTIVE) | BIT(GRANT_APPROVED), GRANT_REVOKED, true},
    [STORE_EVENT_COMPLETED] = {BIT(GRANT_ACTIVE), GRANT_COMPLETED, true},
    [STORE_EVENT_EXHAUSTED] = {BIT(GRANT_ACTIVE), GRANT_EXHAUSTED, true},
    [STORE_EVENT_DENIED] = {BIT(GRANT_PENDING), GRANT_DENIED, false},
    [STORE_EVENT_CANCELLED] = {BIT(GRANT_PENDING) | BIT(GRANT_APPROVED), GRANT_CANCELLED, false},
    [STORE_EVENT_LAPSED] = {BIT(GRANT_PENDING), GRANT_LAPSED, false},
    [STORE_EVENT_TOKEN_SET] = {BIT(GRANT_ACTIVE), GRANT_ACTIVE, true},
};

static const char *check_arrow(const struct model_grant *known, const struct store_event *event)
{
    if (event->type >= sizeof(arrows) / sizeof(arrows[0]) || arrows[event->type].to == 0) {
        return "is of a type that concerns no grant";
    }
    const struct arrow *arrow = &arrows[event->type];
    if (known->ended_revision != 0) {
        return "comes after the grant's end";
    }
    if (known->state == 0 ? arrow->from != 0 : (arrow->from & BIT(known->state)) == 0) {
        return "does not lead on from the grant's state";
    }
    bool one_of_several = event->type == STORE_EVENT_APPROVED && event->grant->state == GRANT_PENDING;
    if (event->grant->state != arrow->to && !one_of_several) {
        return "leads to another state than its type says";
    }
    /* No ADVANCE came between its beginning and its deadline: it has no way to EXPIRED (store/transition.c). */
    bool orphan = event->type == STORE_EVENT_REVOKED && known->state == GRANT_APPROVED &&
                  slice_equal(event->grant->reason, slice_str("parent ended"));
    if (arrow->before_deadline && !orphan && known->deadline_ms != 0 && event->time_ms >= known->deadline_ms) {
        return "happens at or after the deadline";
    }
    return NULL;
}

/* A child ends with its parent. */
static int64_t latest_end_ms(const struct grants_model *model, const struct model_grant *known)
{
    const struct model_grant *parent = grant_id_is_zero(known->parent) ? NULL : find(model, known->parent);
    return parent == NULL ? INT64_MAX : parent->deadline_ms;
}

static const char *check_deadline(const struct grants_model *model, const struct model_grant *known,
                                  const struct store_event *event)
{
    const struct grant *grant = event->grant;
    if (known->fixed && grant->deadline_ms != known->deadline_ms) {
        return "moves the deadline";
    }
    bool decided = event->type == STORE_EVENT_APPROVED && grant->state == GRANT_APPROVED;
    if (decided && known->duration_ms != 0) {
        int64_t begin = event->time_ms > known->not_before_ms ? event->time_ms : known->not_before_ms;
        int64_t end_ms = begin + known->duration_ms, latest_ms = latest_end_ms(model, known);
        if (grant->deadline_ms != (end_ms < latest_ms ? end_ms : latest_ms)) {
            return "sets another deadline than begin + duration";
        }
    }
    if (event->type == STORE_EVENT_ACTIVATED && (grant->deadline_ms == 0 || event->time_ms < known->not_before_ms)) {
        return "activates without a deadline, or too early";
    }
    if (event->type == STORE_EVENT_EXPIRED && event->time_ms < known->deadline_ms) {
        return "expires before the deadline";
    }
    if (event->type == STORE_EVENT_LAPSED && event->time_ms < known->pending_until_ms &&
        (known->deadline_ms == 0 || event->time_ms < known->deadline_ms)) {
        return "lapses too early";
    }
    return NULL;
}

/* Nobody waits for an end that is due while nothing goes wrong. */
static const char *check_lateness(const struct grants_model *model, const struct model_grant *known,
                                  const struct store_event *event)
{
    int64_t due_ms = INT64_MAX;
    if (event->type == STORE_EVENT_EXPIRED) {
        due_ms = known->deadline_ms;
    } else if (event->type == STORE_EVENT_LAPSED) {
        due_ms = known->pending_until_ms;
    } else if (event->type == STORE_EVENT_ACTIVATED && known->not_before_ms > known->requested_ms) {
        due_ms = known->not_before_ms > known->approved_ms ? known->not_before_ms : known->approved_ms;
    }
    bool quiet = model->sim->now_us > model->sim->quiet_at_us;
    int64_t late_ms = LATE_MS + network_delay_max_us(model->sim->network) / SIM_MILLISECOND;
    return quiet && due_ms < event->time_ms - late_ms ? "comes late although nothing is wrong" : NULL;
}

static const char *check_uses(const struct model_grant *known, const struct store_event *event)
{
    const struct grant *grant = event->grant;
    if (event->type == STORE_EVENT_USED ? grant->uses <= known->uses : grant->uses != known->uses) {
        return "counts uses wrongly";
    }
    if (known->max_uses != 0 && grant->uses > known->max_uses) {
        return "allows more uses than granted";
    }
    if (event->type == STORE_EVENT_EXHAUSTED && grant->uses != known->max_uses) {
        return "is exhausted before its last use";
    }
    return NULL;
}

static void remember(struct model_grant *known, const struct store_event *event)
{
    const struct grant *grant = event->grant;
    if (event->type == STORE_EVENT_REQUESTED) {
        known->parent = grant->parent;
        known->requested_ms = event->time_ms;
        known->duration_ms = grant->duration_ms;
        known->not_before_ms = grant->not_before_ms;
        known->pending_until_ms = grant->pending_until_ms;
        known->max_uses = grant->max_uses;
    }
    if (event->type == STORE_EVENT_APPROVED) {
        known->approved_ms = event->time_ms;
    }
    known->state = grant->state;
    known->uses = grant->uses;
    known->deadline_ms = grant->deadline_ms;
    known->fixed = known->fixed || grant->state == GRANT_APPROVED;
    known->live_hash = oracle_hash_live(grant);
    if (grant_state_is_ended(grant->state)) {
        known->ended_revision = event->revision;
    }
}

static void grant_event(struct grants_model *model, const struct store_event *event)
{
    struct model_grant *known = find(model, event->grant->id);
    if (known == NULL) {
        known = add(model, event->grant->id);
    }
    const char *wrong = check_arrow(known, event);
    wrong = wrong != NULL ? wrong : check_deadline(model, known, event);
    wrong = wrong != NULL ? wrong : check_lateness(model, known, event);
    wrong = wrong != NULL || event->type == STORE_EVENT_REQUESTED ? wrong : check_uses(known, event);
    if (wrong != NULL) {
        sim_fail(model->sim, "G4", "revision %" PRIu64 " (%s at %" PRId64 ", grant in %s, deadline %" PRId64 ") %s",
                 event->revision, store_event_name(event->type), event->time_ms,
                 known->state == 0 ? "no state" : grant_state_name(known->state), known->deadline_ms, wrong);
    }
    model->live_hash ^= known->live_hash;
    remember(known, event);
    model->live_hash ^= known->live_hash;
}

void grants_model_event(struct grants_model *model, const struct store_event *event)
{
    if (event->grant != NULL && (event->type <= STORE_EVENT_LAPSED || event->type == STORE_EVENT_TOKEN_SET)) {
        grant_event(model, event);
    }
    if (model->n_revisions == model->revisions_max) {
        model->revisions_max = model->revisions_max == 0 ? 1024 : model->revisions_max * 2;
        model->live_hashes = mem_realloc(model->live_hashes, model->revisions_max * sizeof(*model->live_hashes));
    }
    model->live_hashes[model->n_revisions++] = model->live_hash;
}
