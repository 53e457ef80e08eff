#include "store_model.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

const char *const model_networks[MODEL_NETWORKS] = {"10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10::/16"};

const char *const model_rule_names[MODEL_RULES] = {"", "automatic", "steps", "self"};
const uint32_t model_rule_depths[MODEL_RULES] = {LIMIT_GRANT_DEPTH, LIMIT_GRANT_DEPTH - 1, 1, 2};

static bool ended(int state)
{
    return state >= GRANT_EXPIRED;
}

struct model_grant *model_find(struct model *model, struct grant_id id)
{
    for (uint32_t i = 0; i < model->n_grants; i++)
        if (model->grants[i].present && memcmp(&model->grants[i].id, &id, sizeof id) == 0)
            return &model->grants[i];
    return NULL;
}

static struct model_grant *parent_of(struct model *model, struct model_grant *grant)
{
    return grant_id_is_zero(grant->parent) ? NULL : model_find(model, grant->parent);
}

static int own_state(struct model *model, struct model_grant *grant)
{
    if (grant->state == GRANT_PENDING && model->now_ms >= grant->pending_until_ms)
        return GRANT_LAPSED;
    if ((grant->state == GRANT_APPROVED || grant->state == GRANT_ACTIVE) && model->now_ms >= grant->deadline_ms)
        return GRANT_EXPIRED;
    return grant->state;
}

static int seen_state(struct model *model, struct model_grant *grant)
{
    int state = own_state(model, grant);
    for (struct model_grant *up = parent_of(model, grant); up != NULL && !ended(state); up = parent_of(model, up))
        if (ended(own_state(model, up)))
            return state == GRANT_PENDING ? GRANT_CANCELLED : GRANT_REVOKED;
    return state;
}

static void copy_of(struct slice text, char *out, size_t size)
{
    bool fits = slice_to_cstr(text, out, size);
    CHECK(fits);
}

static void text_of(struct slice text, char out[32])
{
    copy_of(text, out, 32);
}

static uint32_t roles_of(struct model *model, const char *who)
{
    uint32_t roles = 0;
    for (uint32_t i = 0; i < model->n_roles; i++) {
        size_t len = strlen(model->roles[i].member);
        bool prefix = model->roles[i].member[len - 1] == '*';
        if (prefix ? strncmp(model->roles[i].member, who, len - 1) == 0 : strcmp(model->roles[i].member, who) == 0)
            roles |= model->roles[i].roles;
    }
    return roles;
}

static bool is_child(struct model_grant *child, struct model_grant *parent)
{
    return child->present && memcmp(&child->parent, &parent->id, sizeof parent->id) == 0;
}

/* The oldest child, live ones only if asked for. */
static struct model_grant *first_child(struct model *model, struct model_grant *parent, bool live)
{
    struct model_grant *first = NULL;
    for (uint32_t i = 0; i < model->n_grants; i++) {
        struct model_grant *child = &model->grants[i];
        if (is_child(child, parent) && !(live && ended(child->state)) &&
            (first == NULL || child->requested_revision < first->requested_revision))
            first = child;
    }
    return first;
}

static void event(struct model *model, struct model_grant *grant, int state)
{
    model->n_events++;
    grant->revision = ++model->revision;
    if (ended(state)) {
        grant->ends++;
        grant->ended_ms = model->now_ms;
    }
    grant->state = state;
}

static void end(struct model *model, struct model_grant *grant, int state, const char *by)
{
    (void)snprintf(grant->ended_by, sizeof grant->ended_by, "%s", by);
    event(model, grant, state);
}

static void end_below(struct model *model, struct model_grant *above, struct model_grant *grant)
{
    int own = own_state(model, grant);
    if (ended(own) && grant->state != GRANT_APPROVED)
        end(model, grant, own, "");
    else
        end(model, grant, grant->state == GRANT_PENDING ? GRANT_CANCELLED : GRANT_REVOKED, above->ended_by);
}

static void cascade(struct model *model, struct model_grant *root)
{
    struct model_grant *queue[LIMIT_CASCADE + 1], *child;
    uint32_t n = 0;
    queue[n++] = root;
    for (uint32_t i = 0; i < n; i++)
        while (n <= LIMIT_CASCADE && (child = first_child(model, queue[i], true)) != NULL) {
            end_below(model, queue[i], child);
            queue[n++] = child;
        }
}

static int64_t due_of(struct model *model, struct model_grant *grant)
{
    switch (grant->state) {
    case GRANT_PENDING:
        return grant->pending_until_ms;
    case GRANT_APPROVED:
        return grant->not_before_ms;
    case GRANT_ACTIVE:
        return grant->deadline_ms;
    default:
        if (first_child(model, grant, true) != NULL)
            return grant->ended_ms;
        return first_child(model, grant, false) != NULL ? INT64_MAX : grant->ended_ms + model->retention_ms;
    }
}

static struct model_grant *first_due(struct model *model, int64_t *due_ms)
{
    struct model_grant *first = NULL;
    *due_ms = INT64_MAX;
    for (uint32_t i = 0; i < model->n_grants; i++) {
        struct model_grant *grant = &model->grants[i];
        int64_t due = grant->present ? due_of(model, grant) : INT64_MAX;
        if (due < *due_ms || (due == *due_ms && first != NULL && memcmp(&grant->id, &first->id, 16) < 0)) {
            first = grant;
            *due_ms = due;
        }
    }
    return first;
}

int64_t model_next_due(struct model *model)
{
    int64_t due_ms;
    (void)first_due(model, &due_ms);
    return due_ms;
}

static uint32_t count(struct model *model, bool want_ended)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < model->n_grants; i++)
        n += model->grants[i].present && ended(model->grants[i].state) == want_ended;
    return n;
}

static uint32_t trim(struct model *model)
{
    uint32_t n = 0;
    for (; count(model, true) > model->ended_max; n++) {
        struct model_grant *oldest = NULL;
        for (uint32_t i = 0; i < model->n_grants; i++) {
            struct model_grant *grant = &model->grants[i];
            if (!grant->present || !ended(grant->state) || first_child(model, grant, false) != NULL)
                continue;
            if (oldest == NULL || grant->ended_ms < oldest->ended_ms ||
                (grant->ended_ms == oldest->ended_ms && memcmp(&grant->id, &oldest->id, 16) < 0))
                oldest = grant;
        }
        if (oldest == NULL)
            break;
        oldest->present = false;
    }
    return n;
}

static struct model_grant *ended_above(struct model *model, struct model_grant *grant)
{
    struct model_grant *up = parent_of(model, grant);
    while (up != NULL && !ended(up->state))
        up = parent_of(model, up);
    return up;
}

static enum lapse_code advance(struct model *model, const struct command *command)
{
    if (command->principal.len > 0)
        return LAPSE_PERMISSION_DENIED;
    uint32_t limit = command->count < LIMIT_ADVANCE_BATCH ? command->count : LIMIT_ADVANCE_BATCH;
    for (uint32_t done = 0; done < limit; done++) {
        int64_t due_ms;
        struct model_grant *grant = first_due(model, &due_ms);
        if (grant == NULL || due_ms > model->now_ms)
            break;
        if (grant->state == GRANT_PENDING)
            end(model, grant, GRANT_LAPSED, "");
        else if (grant->state == GRANT_ACTIVE)
            end(model, grant, GRANT_EXPIRED, "");
        else if (grant->state == GRANT_APPROVED && ended_above(model, grant) != NULL)
            end_below(model, ended_above(model, grant), grant);
        else if (grant->state == GRANT_APPROVED)
            event(model, grant, GRANT_ACTIVE);
        else if (first_child(model, grant, true) != NULL)
            end_below(model, grant, first_child(model, grant, true));
        else
            grant->present = false;
        done += trim(model);
    }
    return LAPSE_OK;
}

static bool covers(const char *pattern, const char *path)
{
    size_t len = strlen(pattern);
    if (strcmp(pattern, path) == 0 || strcmp(pattern, "*") == 0)
        return true;
    return pattern[len - 1] == '*' && strncmp(pattern, path, len - 1) == 0 && strlen(path) > len - 1;
}

static uint32_t action_bits(const struct grant *terms)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < terms->n_actions; i++)
        bits |= terms->actions[i].data[0] == 'r' ? 1 : 2;
    return bits;
}

static uint32_t network_bits(const struct grant *terms)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < terms->binding.n_networks; i++)
        for (uint32_t k = 0; k < MODEL_NETWORKS; k++)
            if (slice_equal(terms->binding.networks[i], slice_str(model_networks[k])))
                bits |= 1u << k;
    return bits;
}

static bool inherit_text(const char *parent, char *child)
{
    bool fine = parent[0] == '\0' || child[0] == '\0' || strcmp(parent, child) == 0;
    if (child[0] == '\0')
        strcpy(child, parent);
    return fine;
}

/* By numbers: network 0 holds 0 to 2, network 1 holds 1 and 2, the last only itself. */
static bool inherit_networks(uint32_t parent, uint32_t *child)
{
    static const uint32_t within[MODEL_NETWORKS] = {1 | 2 | 4, 2 | 4, 4, 8};
    uint32_t allowed = 0;
    for (uint32_t i = 0; i < MODEL_NETWORKS; i++)
        allowed |= (parent >> i & 1) != 0 ? within[i] : 0;
    bool fine = parent == 0 || (*child & ~allowed) == 0;
    *child = *child == 0 ? parent : *child;
    return fine;
}

static bool inherit(const struct model_grant *parent, struct model_grant *child)
{
    bool spiffe_id = inherit_text(parent->spiffe_id, child->spiffe_id);
    bool certificate = inherit_text(parent->certificate, child->certificate);
    return inherit_networks(parent->networks, &child->networks) && spiffe_id && certificate;
}

/* False when no rule allows it. */
static bool choose_rule(struct model *model, struct model_grant *grant)
{
    if (!model->governed)
        return true;
    if (strcmp(grant->resource, "a/b") == 0)
        grant->rule = MODEL_AUTOMATIC;
    else if (strncmp(grant->resource, "a/", 2) == 0)
        grant->rule = MODEL_STEPS;
    else if (strcmp(grant->resource, "a") == 0)
        grant->rule = MODEL_SELF;
    return grant->rule != MODEL_BUILT_IN;
}

/* Whether every rule above lets so many generations be derived. */
static bool deep_enough(struct model *model, struct model_grant *grant)
{
    uint32_t distance = 1;
    bool enough = true;
    for (struct model_grant *up = parent_of(model, grant); up != NULL; up = parent_of(model, up), distance++)
        enough = enough && (up->rule == MODEL_BUILT_IN || model_rule_depths[up->rule] >= distance);
    return enough;
}

/* Start and deadline, were it decided now; false when its parent leaves it none. */
static bool times(struct model *model, struct model_grant *grant, int64_t *start, int64_t *deadline)
{
    struct model_grant *parent = parent_of(model, grant);
    *start = grant->not_before_ms > model->now_ms ? grant->not_before_ms : model->now_ms;
    *deadline = grant->duration_ms > 0 ? *start + grant->duration_ms : grant->deadline_ms;
    if (parent == NULL)
        return true;
    *deadline = *deadline < parent->deadline_ms ? *deadline : parent->deadline_ms;
    return *deadline > *start && !(parent->state == GRANT_APPROVED && *start < parent->not_before_ms);
}

static void decide(struct model *model, struct model_grant *grant, int64_t start, int64_t deadline)
{
    grant->deadline_ms = deadline;
    event(model, grant, GRANT_APPROVED);
    if (start <= model->now_ms)
        event(model, grant, GRANT_ACTIVE);
}

static enum lapse_code request(struct model *model, const struct command *command)
{
    int64_t decided_start, decided_deadline;
    const struct grant *terms = &command->terms;
    struct model_grant grant = {.present = true, .id = command->grant, .parent = terms->parent};
    int64_t now = model->now_ms, start = terms->not_before_ms > now ? terms->not_before_ms : now;
    text_of(command->principal, grant.requester);
    text_of(terms->subject, grant.subject);
    text_of(terms->resource, grant.resource);
    grant.actions = action_bits(terms);
    text_of(terms->binding.spiffe_id, grant.spiffe_id);
    copy_of(terms->binding.certificate_sha256, grant.certificate, sizeof grant.certificate);
    grant.networks = network_bits(terms);
    if ((roles_of(model, grant.requester) & ROLE_REQUESTER) == 0)
        return LAPSE_PERMISSION_DENIED;
    if ((terms->deadline_ms > 0 && terms->deadline_ms <= now) || terms->deadline_ms > start + LIMIT_DURATION_MS_MAX ||
        terms->not_before_ms > now + LIMIT_NOT_BEFORE_AHEAD_MS_MAX ||
        (terms->pending_until_ms > 0 && terms->pending_until_ms <= now) ||
        terms->pending_until_ms > now + LIMIT_PENDING_MS_MAX)
        return LAPSE_OUT_OF_RANGE;
    grant.deadline_ms = terms->deadline_ms;
    if (!grant_id_is_zero(terms->parent)) {
        struct model_grant *parent = model_find(model, terms->parent);
        if (parent == NULL)
            return LAPSE_NOT_FOUND;
        if (strcmp(parent->subject, grant.requester) != 0 && strcmp(parent->subject, grant.subject) != 0)
            return LAPSE_PERMISSION_DENIED;
        int state = seen_state(model, parent);
        if (state != GRANT_APPROVED && state != GRANT_ACTIVE)
            return LAPSE_FAILED_PRECONDITION;
        if (!covers(parent->resource, grant.resource) || (grant.actions & ~parent->actions) != 0)
            return LAPSE_PERMISSION_DENIED;
        uint32_t depth = 0;
        for (struct model_grant *up = parent; up != NULL; up = parent_of(model, up))
            depth++;
        if (depth >= LIMIT_GRANT_DEPTH)
            return LAPSE_FAILED_PRECONDITION;
        if (!inherit(parent, &grant))
            return LAPSE_PERMISSION_DENIED;
        if (grant.deadline_ms > parent->deadline_ms)
            grant.deadline_ms = parent->deadline_ms;
    }
    if (!choose_rule(model, &grant) || !deep_enough(model, &grant))
        return LAPSE_PERMISSION_DENIED;
    if (count(model, false) >= model->live_max)
        return LAPSE_RESOURCE_EXHAUSTED;
    if (model_find(model, command->grant) != NULL)
        return LAPSE_ALREADY_EXISTS;
    grant.duration_ms = terms->duration_ms;
    grant.not_before_ms = terms->not_before_ms;
    grant.max_uses = terms->max_uses;
    grant.pending_until_ms = terms->pending_until_ms > 0 ? terms->pending_until_ms : now + LIMIT_PENDING_MS_DEFAULT;
    if (grant.deadline_ms > 0 && grant.deadline_ms < grant.pending_until_ms)
        grant.pending_until_ms = grant.deadline_ms;
    uint32_t at = 0;
    while (at < model->n_grants && model->grants[at].present)
        at++;
    CHECK(at < MODEL_GRANTS);
    grant.requested_revision = model->revision + 1;
    bool automatic = grant.rule == MODEL_AUTOMATIC;
    if (automatic && !times(model, &grant, &decided_start, &decided_deadline))
        return LAPSE_FAILED_PRECONDITION;
    model->n_grants = at == model->n_grants ? at + 1 : model->n_grants;
    model->grants[at] = grant;
    event(model, &model->grants[at], GRANT_PENDING);
    if (automatic)
        decide(model, &model->grants[at], decided_start, decided_deadline);
    return LAPSE_OK;
}

static bool has_approved(const struct model_grant *grant, const char *who)
{
    for (uint32_t i = 0; i < grant->n_approvals; i++)
        if (strcmp(grant->approvers[i], who) == 0)
            return true;
    return false;
}

static enum lapse_code approve(struct model *model, struct model_grant *grant, const char *who)
{
    int64_t start, deadline;
    if (has_approved(grant, who))
        return LAPSE_PERMISSION_DENIED;
    /* Whoever can't be of the first step can be of the second. */
    bool first = strcmp(who, "user:p0") == 0 || strcmp(who, "user:p1") == 0;
    if (grant->rule == MODEL_STEPS && grant->n_approvals == 0 && !first)
        return LAPSE_FAILED_PRECONDITION;
    if (!times(model, grant, &start, &deadline))
        return LAPSE_FAILED_PRECONDITION;
    (void)snprintf(grant->approvers[grant->n_approvals], sizeof grant->approvers[0], "%s", who);
    grant->approval_revisions[grant->n_approvals++] = model->revision + 1;
    if (grant->n_approvals < (grant->rule == MODEL_BUILT_IN ? 1 : 2))
        event(model, grant, GRANT_PENDING);
    else
        decide(model, grant, start, deadline);
    return LAPSE_OK;
}

static enum lapse_code use(struct model *model, struct model_grant *grant, uint32_t uses, const char *who)
{
    if (grant->max_uses > 0 && grant->uses + uses > grant->max_uses)
        return LAPSE_RESOURCE_EXHAUSTED;
    grant->uses += uses;
    event(model, grant, GRANT_ACTIVE);
    if (grant->uses == grant->max_uses) {
        end(model, grant, GRANT_EXHAUSTED, who);
        cascade(model, grant);
    }
    return LAPSE_OK;
}

/* `decides`: the grant is in a state in which an approver can decide. */
static bool permitted(struct model *model, struct model_grant *grant, int type, const char *who, bool decides)
{
    uint32_t roles = roles_of(model, who);
    bool requester = strcmp(who, grant->requester) == 0, subject = strcmp(who, grant->subject) == 0;
    switch (type) {
    case COMMAND_APPROVE:
    case COMMAND_DENY:
        if (grant->rule == MODEL_SELF && requester)
            requester = subject = false;
        return (roles & ROLE_APPROVER) != 0 && !(decides && (requester || subject));
    case COMMAND_CANCEL:
        return requester || (roles & ROLE_OPERATOR) != 0;
    case COMMAND_COMPLETE:
        return requester || subject;
    case COMMAND_USE:
        return (roles & ROLE_ENFORCER) != 0;
    default:
        return requester || (roles & ROLE_OPERATOR) != 0 || has_approved(grant, who);
    }
}

static enum lapse_code about(struct model *model, const struct command *command)
{
    char who[32];
    struct model_grant *grant = model_find(model, command->grant);
    text_of(command->principal, who);
    if (grant == NULL)
        return LAPSE_NOT_FOUND;
    int state = seen_state(model, grant);
    if (!permitted(model, grant, command->type, who, state == GRANT_PENDING))
        return LAPSE_PERMISSION_DENIED;
    bool pending = state == GRANT_PENDING, approved = state == GRANT_APPROVED, active = state == GRANT_ACTIVE;
    switch ((int)command->type) {
    case COMMAND_APPROVE:
        return pending ? approve(model, grant, who) : LAPSE_FAILED_PRECONDITION;
    case COMMAND_USE:
        return active ? use(model, grant, command->count, who) : LAPSE_FAILED_PRECONDITION;
    case COMMAND_DENY:
        if (!pending)
            return LAPSE_FAILED_PRECONDITION;
        end(model, grant, GRANT_DENIED, who);
        break;
    case COMMAND_CANCEL:
        if (!pending && !approved)
            return LAPSE_FAILED_PRECONDITION;
        end(model, grant, GRANT_CANCELLED, who);
        break;
    case COMMAND_COMPLETE:
        if (!active)
            return LAPSE_FAILED_PRECONDITION;
        end(model, grant, GRANT_COMPLETED, who);
        break;
    default:
        if (!approved && !active)
            return LAPSE_FAILED_PRECONDITION;
        end(model, grant, GRANT_REVOKED, who);
    }
    cascade(model, grant);
    return LAPSE_OK;
}

static void bind(struct model *model, const char *member, uint32_t roles)
{
    uint32_t i = 0;
    while (i < model->n_roles && strcmp(model->roles[i].member, member) != 0)
        i++;
    if (i == model->n_roles)
        (void)snprintf(model->roles[model->n_roles++].member, 32, "%s", member);
    model->roles[i].roles = roles;
    if (roles == 0)
        model->roles[i] = model->roles[--model->n_roles];
    model->revision++;
    model->n_events++;
}

static enum lapse_code set_roles(struct model *model, const struct command *command)
{
    char who[32], member[32];
    uint32_t bound = 0;
    bool other_operator = false;
    text_of(command->principal, who);
    text_of(command->member, member);
    if ((roles_of(model, who) & ROLE_OPERATOR) == 0)
        return LAPSE_PERMISSION_DENIED;
    for (uint32_t i = 0; i < model->n_roles; i++) {
        if (strcmp(model->roles[i].member, member) == 0)
            bound = model->roles[i].roles;
        else
            other_operator |= (model->roles[i].roles & ROLE_OPERATOR) != 0;
    }
    if (bound == 0 && command->roles == 0)
        return LAPSE_NOT_FOUND;
    if ((command->roles & ROLE_OPERATOR) == 0 && (bound & ROLE_OPERATOR) != 0 && !other_operator)
        return LAPSE_FAILED_PRECONDITION;
    bind(model, member, command->roles);
    return LAPSE_OK;
}

static enum lapse_code govern(struct model *model, const struct command *command)
{
    char who[32];
    text_of(command->principal, who);
    if ((roles_of(model, who) & ROLE_OPERATOR) == 0)
        return LAPSE_PERMISSION_DENIED;
    model->repeated = model->governed; /* what is applied already changes nothing */
    model->revision += !model->governed;
    model->n_events += !model->governed;
    model->governed = true;
    return LAPSE_OK;
}

static enum lapse_code init(struct model *model, const struct command *command)
{
    char member[32];
    if (command->principal.len > 0)
        return LAPSE_PERMISSION_DENIED;
    if (model->initialised)
        return LAPSE_FAILED_PRECONDITION;
    text_of(command->member, member);
    model->initialised = true;
    bind(model, member, command->roles | ROLE_OPERATOR);
    return LAPSE_OK;
}

static enum lapse_code dispatch(struct model *model, const struct command *command)
{
    if (!model->initialised && command->type != COMMAND_INIT && command->type != COMMAND_ADVANCE)
        return LAPSE_FAILED_PRECONDITION;
    switch (command->type) {
    case COMMAND_REQUEST:
        return request(model, command);
    case COMMAND_ADVANCE:
        return advance(model, command);
    case COMMAND_SET_ROLES:
        return set_roles(model, command);
    case COMMAND_INIT:
        return init(model, command);
    case COMMAND_APPLY_POLICY:
        return govern(model, command);
    default:
        return about(model, command);
    }
}

static void forget_first_key(struct model *model)
{
    memmove(model->keys, model->keys + 1, --model->n_keys * sizeof model->keys[0]);
}

static enum lapse_code apply_once(struct model *model, const struct command *command, uint64_t content)
{
    static const struct request_key none;
    if (memcmp(&command->key, &none, sizeof none) == 0)
        return dispatch(model, command);
    for (uint32_t i = 0; i < model->n_keys; i++) {
        const struct model_key *entry = &model->keys[i];
        if (memcmp(&entry->key, &command->key, sizeof entry->key) != 0 ||
            entry->time_ms + LIMIT_REQUEST_ID_WINDOW_MS <= model->now_ms)
            continue;
        model->repeated = entry->content == content;
        return entry->content == content ? LAPSE_OK : LAPSE_ALREADY_EXISTS;
    }
    enum lapse_code code = dispatch(model, command);
    if (code != LAPSE_OK || model->repeated)
        return code;
    if (model->n_keys == model->keys_max)
        forget_first_key(model);
    model->keys[model->n_keys++] =
        (struct model_key){command->key, content, command->grant, model->revision, model->now_ms};
    return code;
}

enum lapse_code model_apply(struct model *model, const struct command *command, uint64_t content, int64_t time_ms)
{
    model->now_ms = time_ms > model->now_ms ? time_ms : model->now_ms;
    model->n_events = 0;
    model->repeated = false;
    bool valid = command->type != COMMAND_REQUEST || command->terms.justification.len > 0;
    enum lapse_code code = valid ? apply_once(model, command, content) : LAPSE_INVALID_ARGUMENT;
    (void)trim(model);
    return code;
}
