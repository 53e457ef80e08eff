/* Fields in ascending order, under the names of word_fields.h. */
#include "store/words.h"

#include "base/check.h"
#include "store/word_fields.h"

static void put_int(struct wire_writer *writer, uint32_t field, int64_t value)
{
    wire_put_uint(writer, field, (uint64_t)value);
}

static void put_text(struct wire_writer *writer, uint32_t field, const char *text)
{
    wire_put_bytes(writer, field, slice_str(text));
}

void words_put_id(struct wire_writer *writer, uint32_t field, struct grant_id id)
{
    if (grant_id_is_zero(id))
        return;
    char text[GRANT_ID_TEXT_SIZE];
    grant_id_format(id, text);
    wire_put_bytes(writer, field, slice_of(text, sizeof text - 1));
}

const char *role_name(uint32_t role)
{
    static const char *const names[] = {"requester", "approver", "operator", "auditor", "enforcer"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (role == 1u << i)
            return names[i];
    return NULL;
}

static void put_approval(struct wire_writer *writer, const struct grant_approval *approval)
{
    size_t mark = wire_begin(writer, WORD_GRANT_APPROVALS);
    wire_put_bytes(writer, WORD_APPROVAL_APPROVER, approval->approver);
    put_int(writer, WORD_APPROVAL_TIME_MS, approval->time_ms);
    wire_put_bytes(writer, WORD_APPROVAL_COMMENT, approval->comment);
    wire_put_uint(writer, WORD_APPROVAL_REVISION, approval->revision);
    wire_end(writer, mark);
}

static void put_binding(struct wire_writer *writer, const struct grant_binding *binding)
{
    if (binding->spiffe_id.len == 0 && binding->certificate_sha256.len == 0 && binding->n_networks == 0)
        return;
    size_t mark = wire_begin(writer, WORD_GRANT_BINDING);
    wire_put_bytes(writer, WORD_BINDING_SPIFFE_ID, binding->spiffe_id);
    wire_put_bytes(writer, WORD_BINDING_CERTIFICATE_SHA256, binding->certificate_sha256);
    for (uint32_t i = 0; i < binding->n_networks; i++)
        wire_put_bytes(writer, WORD_BINDING_NETWORKS, binding->networks[i]);
    wire_end(writer, mark);
}

static void put_label(struct wire_writer *writer, const struct grant_label *label)
{
    size_t mark = wire_begin(writer, WORD_GRANT_LABELS);
    wire_put_bytes(writer, WORD_LABEL_KEY, label->key);
    wire_put_bytes(writer, WORD_LABEL_VALUE, label->value);
    wire_end(writer, mark);
}

/* Fields 1 to 12: who, what, why. */
static void put_grant_terms(struct wire_writer *writer, const struct grant *grant)
{
    words_put_id(writer, WORD_GRANT_ID, grant->id);
    wire_put_uint(writer, WORD_GRANT_STATE, grant->state);
    wire_put_bytes(writer, WORD_GRANT_SUBJECT, grant->subject);
    wire_put_bytes(writer, WORD_GRANT_RESOURCE, grant->resource);
    for (uint32_t i = 0; i < grant->n_actions; i++)
        wire_put_bytes(writer, WORD_GRANT_ACTIONS, grant->actions[i]);
    wire_put_bytes(writer, WORD_GRANT_JUSTIFICATION, grant->justification);
    wire_put_bytes(writer, WORD_GRANT_TICKET, grant->ticket);
    wire_put_bytes(writer, WORD_GRANT_TASK, grant->task);
    wire_put_bytes(writer, WORD_GRANT_REQUESTER, grant->requester);
    for (uint32_t i = 0; i < grant->n_approvals; i++)
        put_approval(writer, &grant->approvals[i]);
    put_binding(writer, &grant->binding);
    for (uint32_t i = 0; i < grant->n_labels; i++)
        put_label(writer, &grant->labels[i]);
}

/* Fields 13 to 33: by what rule, how long, how it went. */
static void put_grant_course(struct wire_writer *writer, const struct grant *grant)
{
    words_put_id(writer, WORD_GRANT_PARENT, grant->parent);
    wire_put_bytes(writer, WORD_GRANT_POLICY, grant->policy);
    wire_put_uint(writer, WORD_GRANT_POLICY_VERSION, grant->policy_version);
    wire_put_uint(writer, WORD_GRANT_BREAK_GLASS, grant->break_glass);
    put_int(writer, WORD_GRANT_DURATION_MS, grant->duration_ms);
    put_int(writer, WORD_GRANT_NOT_BEFORE_MS, grant->not_before_ms);
    put_int(writer, WORD_GRANT_DEADLINE_MS, grant->deadline_ms);
    put_int(writer, WORD_GRANT_PENDING_UNTIL_MS, grant->pending_until_ms);
    wire_put_uint(writer, WORD_GRANT_MAX_USES, grant->max_uses);
    wire_put_uint(writer, WORD_GRANT_USES, grant->uses);
    wire_put_bytes(writer, WORD_GRANT_ENDED_BY, grant->ended_by);
    wire_put_bytes(writer, WORD_GRANT_REASON, grant->reason);
    put_int(writer, WORD_GRANT_REQUESTED_MS, grant->requested_ms);
    put_int(writer, WORD_GRANT_APPROVED_MS, grant->approved_ms);
    put_int(writer, WORD_GRANT_ACTIVATED_MS, grant->activated_ms);
    put_int(writer, WORD_GRANT_ENDED_MS, grant->ended_ms);
    wire_put_uint(writer, WORD_GRANT_REQUESTED_REVISION, grant->requested_revision);
    wire_put_uint(writer, WORD_GRANT_APPROVED_REVISION, grant->approved_revision);
    wire_put_uint(writer, WORD_GRANT_ACTIVATED_REVISION, grant->activated_revision);
    wire_put_uint(writer, WORD_GRANT_ENDED_REVISION, grant->ended_revision);
    wire_put_uint(writer, WORD_GRANT_REVISION, grant->revision);
}

/* Fields 34 to 43: what the policy's rule made of it. */
static void put_grant_rule(struct wire_writer *writer, const struct grant *grant)
{
    wire_put_bytes(writer, WORD_GRANT_RULE, grant->rule);
    for (uint32_t i = 0; i < grant->n_steps; i++) {
        size_t mark = wire_begin(writer, WORD_GRANT_STEPS);
        wire_put_uint(writer, WORD_GRANT_STEP_COUNT, grant->steps[i].count);
        wire_put_bytes(writer, WORD_GRANT_STEP_APPROVERS, grant->steps[i].approvers);
        wire_end(writer, mark);
    }
    wire_put_uint(writer, WORD_GRANT_AUTOMATIC, grant->automatic);
    wire_put_uint(writer, WORD_GRANT_SELF_APPROVAL, grant->self_approval);
    wire_put_uint(writer, WORD_GRANT_HELD, grant->held);
    wire_put_uint(writer, WORD_GRANT_DELEGATION_DEPTH, grant->delegation_depth);
    put_int(writer, WORD_GRANT_REVIEW_WITHIN_MS, grant->review_within_ms);
    wire_put_bytes(writer, WORD_GRANT_REVIEWERS, grant->reviewers);
    wire_put_uint(writer, WORD_GRANT_TOKEN_RULE, grant->token_rule);
    wire_put_bytes(writer, WORD_GRANT_TOKEN_SHA256, grant->token_sha256);
}

void words_put_grant_fields(struct wire_writer *writer, const struct grant *grant)
{
    put_grant_terms(writer, grant);
    put_grant_course(writer, grant);
    put_grant_rule(writer, grant);
}

void words_put_grant(struct wire_writer *writer, uint32_t field, const struct grant *grant)
{
    if (grant == NULL)
        return;
    size_t mark = wire_begin(writer, field);
    words_put_grant_fields(writer, grant);
    wire_end(writer, mark);
}

void words_put_roles(struct wire_writer *writer, uint32_t field, struct slice member, uint32_t roles,
                             struct slice scope)
{
    size_t mark = wire_begin(writer, field);
    wire_put_bytes(writer, WORD_ROLE_BINDING_MEMBER, member);
    for (uint32_t role = 1; role <= ROLE_ALL; role <<= 1)
        if (roles & role)
            put_text(writer, WORD_ROLE_BINDING_ROLES, role_name(role));
    words_put_scope(writer, WORD_ROLE_BINDING_SCOPE, scope);
    wire_end(writer, mark);
}

void words_put_scope(struct wire_writer *writer, uint32_t field, struct slice scope)
{
    struct slice pattern;
    while (scope_next(&scope, &pattern))
        wire_put_bytes(writer, field, pattern);
}

static void put_random_id(struct wire_writer *writer, uint32_t field, const struct random_id *id)
{
    wire_put_bytes(writer, field, slice_of(id->bytes, sizeof id->bytes));
}

static const char *end_name(enum point_end end)
{
    static const char *const names[] = {
        [POINT_END_LAPSED] = "LAPSED", [POINT_END_LEFT] = "LEFT", [POINT_END_FENCED] = "FENCED"};
    return end == 0 ? "" : names[end];
}

void words_put_point(struct wire_writer *writer, uint32_t field, const struct point *point)
{
    if (point == NULL)
        return;
    size_t mark = wire_begin(writer, field);
    wire_put_bytes(writer, WORD_POINT_ID, point->id);
    put_random_id(writer, WORD_POINT_INSTANCE, &point->instance);
    wire_put_bytes(writer, WORD_POINT_PRINCIPAL, point->principal);
    words_put_scope(writer, WORD_POINT_SCOPE, point->scope);
    wire_put_uint(writer, WORD_POINT_LEASE_MS, point->lease_ms);
    wire_put_uint(writer, WORD_POINT_FENCED, point->fenced);
    wire_put_uint(writer, WORD_POINT_REVISION, point->revision);
    put_int(writer, WORD_POINT_REGISTERED_MS, point->registered_ms);
    wire_put_uint(writer, WORD_POINT_SESSIONS, point->sessions);
    put_text(writer, WORD_POINT_ENDED, end_name(point->ended));
    wire_end(writer, mark);
}

void words_put_barrier(struct wire_writer *writer, uint32_t field, const struct barrier *barrier)
{
    if (barrier == NULL)
        return;
    size_t mark = wire_begin(writer, field);
    wire_put_uint(writer, WORD_BARRIER_ID, barrier->id);
    wire_put_uint(writer, WORD_BARRIER_REVISION, barrier->revision);
    words_put_id(writer, WORD_BARRIER_GRANT_ID, barrier->grant);
    wire_put_uint(writer, WORD_BARRIER_POINTS, barrier->points);
    wire_put_uint(writer, WORD_BARRIER_ENFORCED, barrier->enforced);
    wire_put_uint(writer, WORD_BARRIER_FAILED, barrier->failed);
    wire_put_uint(writer, WORD_BARRIER_LAPSED, barrier->lapsed);
    wire_put_uint(writer, WORD_BARRIER_LEFT, barrier->left);
    wire_put_uint(writer, WORD_BARRIER_DONE, barrier->done);
    put_int(writer, WORD_BARRIER_TIME_MS, barrier->time_ms);
    put_int(writer, WORD_BARRIER_DONE_MS, barrier->done_ms);
    wire_put_uint(writer, WORD_BARRIER_UNTRACKED, barrier->untracked);
    wire_put_uint(writer, WORD_BARRIER_GRANTS, barrier->grants);
    wire_end(writer, mark);
}

void words_put_session(struct wire_writer *writer, uint32_t field, const struct session *session, int64_t ended_ms)
{
    if (session == NULL)
        return;
    size_t mark = wire_begin(writer, field);
    put_random_id(writer, WORD_SESSION_ID, &session->id);
    wire_put_bytes(writer, WORD_SESSION_POINT, session->point);
    words_put_id(writer, WORD_SESSION_GRANT_ID, session->grant);
    wire_put_bytes(writer, WORD_SESSION_DESCRIPTION, session->description);
    put_int(writer, WORD_SESSION_BEGAN_MS, session->began_ms);
    put_int(writer, WORD_SESSION_ENDED_MS, ended_ms);
    wire_end(writer, mark);
}

void words_put_sweep(struct wire_writer *writer, uint32_t field, const struct sweep *sweep)
{
    if (sweep == NULL)
        return;
    size_t mark = wire_begin(writer, field);
    wire_put_bytes(writer, WORD_SWEEP_SUBJECT, sweep->filter.subject);
    wire_put_bytes(writer, WORD_SWEEP_RESOURCE, sweep->filter.resource);
    wire_put_bytes(writer, WORD_SWEEP_REQUESTER, sweep->filter.requester);
    wire_put_bytes(writer, WORD_SWEEP_APPROVER, sweep->filter.approver);
    wire_put_bytes(writer, WORD_SWEEP_TICKET, sweep->filter.ticket);
    wire_put_bytes(writer, WORD_SWEEP_POLICY, sweep->filter.policy);
    words_put_id(writer, WORD_SWEEP_PARENT, sweep->filter.parent);
    wire_put_bytes(writer, WORD_SWEEP_REASON, sweep->reason);
    wire_put_bytes(writer, WORD_SWEEP_BY, sweep->by);
    wire_put_uint(writer, WORD_SWEEP_GRANTS, sweep->grants);
    wire_put_uint(writer, WORD_SWEEP_ID, sweep->id);
    wire_put_uint(writer, WORD_SWEEP_POLICY_VERSION, sweep->filter.policy_version);
    wire_put_bytes(writer, WORD_SWEEP_BINDING, sweep->filter.binding);
    wire_put_bytes(writer, WORD_SWEEP_LABEL, sweep->filter.label);
    wire_put_bytes(writer, WORD_SWEEP_PERSON, sweep->filter.person);
    wire_end(writer, mark);
}

void words_put_receipt(struct wire_writer *writer, uint32_t field, struct slice point, const struct receipt *receipt)
{
    size_t mark = wire_begin(writer, field);
    wire_put_bytes(writer, WORD_RECEIPT_POINT, point);
    put_random_id(writer, WORD_RECEIPT_INSTANCE, &receipt->instance);
    wire_put_uint(writer, WORD_RECEIPT_LEVEL, receipt->level);
    put_int(writer, WORD_RECEIPT_TIME_MS, receipt->time_ms);
    wire_put_bytes(writer, WORD_RECEIPT_REASON, receipt->reason);
    wire_put_uint(writer, WORD_RECEIPT_BARRIER, receipt->barrier);
    wire_end(writer, mark);
}

/* A policy's, a lock's, ... bytes are a message already. */
static void put_object(struct wire_writer *writer, const struct object *object)
{
    static const uint32_t fields[OBJECT_KINDS] = {
        [OBJECT_POLICY] = WORD_EVENT_POLICY,
        [OBJECT_LOCK] = WORD_EVENT_LOCK,
        [OBJECT_ELIGIBILITY] = WORD_EVENT_ELIGIBILITY,
        [OBJECT_CAMPAIGN] = WORD_EVENT_CAMPAIGN,
        [OBJECT_REVIEW] = WORD_EVENT_REVIEW,
    };
    CHECK(fields[object->kind] != 0);
    wire_put_bytes(writer, fields[object->kind], object->value);
}

lapse_result words_encode_event(const struct event_words *event, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, WORD_EVENT_REVISION, event->revision);
    put_int(&writer, WORD_EVENT_TIME_MS, event->time_ms);
    wire_put_uint(&writer, WORD_EVENT_TYPE, event->type);
    words_put_grant(&writer, WORD_EVENT_GRANT, event->grant);
    if (event->member.len > 0)
        words_put_roles(&writer, WORD_EVENT_ROLES, event->member, event->roles, event->scope);
    words_put_point(&writer, WORD_EVENT_POINT, event->point);
    words_put_barrier(&writer, WORD_EVENT_BARRIER, event->barrier);
    words_put_session(&writer, WORD_EVENT_SESSION, event->session, event->session_ended ? event->time_ms : 0);
    words_put_sweep(&writer, WORD_EVENT_SWEEP, event->sweep);
    wire_put_bytes(&writer, WORD_EVENT_ACTOR, event->actor);
    if (event->object != NULL)
        put_object(&writer, event->object);
    if (event->receipts.len > 0 && !lapse_is_ok(buf_append(out, event->receipts.data, event->receipts.len)))
        writer.failed = true;
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}
