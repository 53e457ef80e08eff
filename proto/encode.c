/* One function a message type, fields in ascending order. Field numbers stand here a second time, since nanopb offers
 * no encoding without its structs; the names below are generated ones, so a renumbered schema changes both. */
#include "base/check.h"
#include "proto/convert.h"
#include "proto/encode_parts.h"

static void put_approval(struct wire_writer *writer, const struct grant_approval *approval)
{
    size_t mark = wire_begin(writer, lapse_v1_Grant_approvals_tag);
    wire_put_bytes(writer, lapse_v1_Approval_approver_tag, approval->approver);
    put_int(writer, lapse_v1_Approval_time_ms_tag, approval->time_ms);
    wire_put_bytes(writer, lapse_v1_Approval_comment_tag, approval->comment);
    wire_end(writer, mark);
}

static void put_binding(struct wire_writer *writer, const struct grant_binding *binding)
{
    if (binding->spiffe_id.len == 0 && binding->certificate_sha256.len == 0 && binding->n_networks == 0)
        return;
    size_t mark = wire_begin(writer, lapse_v1_Grant_binding_tag);
    wire_put_bytes(writer, lapse_v1_Binding_spiffe_id_tag, binding->spiffe_id);
    wire_put_bytes(writer, lapse_v1_Binding_certificate_sha256_tag, binding->certificate_sha256);
    for (uint32_t i = 0; i < binding->n_networks; i++)
        wire_put_bytes(writer, lapse_v1_Binding_networks_tag, binding->networks[i]);
    wire_end(writer, mark);
}

static void put_label(struct wire_writer *writer, const struct grant_label *label)
{
    size_t mark = wire_begin(writer, lapse_v1_Grant_labels_tag);
    wire_put_bytes(writer, lapse_v1_Label_key_tag, label->key);
    wire_put_bytes(writer, lapse_v1_Label_value_tag, label->value);
    wire_end(writer, mark);
}

/* Fields 1 to 12: who, what, why. */
static void put_grant_terms(struct wire_writer *writer, const struct grant *grant)
{
    put_id(writer, lapse_v1_Grant_id_tag, grant->id);
    wire_put_uint(writer, lapse_v1_Grant_state_tag, grant->state);
    wire_put_bytes(writer, lapse_v1_Grant_subject_tag, grant->subject);
    wire_put_bytes(writer, lapse_v1_Grant_resource_tag, grant->resource);
    for (uint32_t i = 0; i < grant->n_actions; i++)
        wire_put_bytes(writer, lapse_v1_Grant_actions_tag, grant->actions[i]);
    wire_put_bytes(writer, lapse_v1_Grant_justification_tag, grant->justification);
    wire_put_bytes(writer, lapse_v1_Grant_ticket_tag, grant->ticket);
    wire_put_bytes(writer, lapse_v1_Grant_task_tag, grant->task);
    wire_put_bytes(writer, lapse_v1_Grant_requester_tag, grant->requester);
    for (uint32_t i = 0; i < grant->n_approvals; i++)
        put_approval(writer, &grant->approvals[i]);
    put_binding(writer, &grant->binding);
    for (uint32_t i = 0; i < grant->n_labels; i++)
        put_label(writer, &grant->labels[i]);
}

/* Fields 13 to 33: by what rule, how long, how it went. */
static void put_grant_course(struct wire_writer *writer, const struct grant *grant)
{
    put_id(writer, lapse_v1_Grant_parent_tag, grant->parent);
    wire_put_bytes(writer, lapse_v1_Grant_policy_tag, grant->policy);
    wire_put_uint(writer, lapse_v1_Grant_policy_version_tag, grant->policy_version);
    wire_put_uint(writer, lapse_v1_Grant_break_glass_tag, grant->break_glass);
    put_int(writer, lapse_v1_Grant_duration_ms_tag, grant->duration_ms);
    put_int(writer, lapse_v1_Grant_not_before_ms_tag, grant->not_before_ms);
    put_int(writer, lapse_v1_Grant_deadline_ms_tag, grant->deadline_ms);
    put_int(writer, lapse_v1_Grant_pending_until_ms_tag, grant->pending_until_ms);
    wire_put_uint(writer, lapse_v1_Grant_max_uses_tag, grant->max_uses);
    wire_put_uint(writer, lapse_v1_Grant_uses_tag, grant->uses);
    wire_put_bytes(writer, lapse_v1_Grant_ended_by_tag, grant->ended_by);
    wire_put_bytes(writer, lapse_v1_Grant_reason_tag, grant->reason);
    put_int(writer, lapse_v1_Grant_requested_ms_tag, grant->requested_ms);
    put_int(writer, lapse_v1_Grant_approved_ms_tag, grant->approved_ms);
    put_int(writer, lapse_v1_Grant_activated_ms_tag, grant->activated_ms);
    put_int(writer, lapse_v1_Grant_ended_ms_tag, grant->ended_ms);
    wire_put_uint(writer, lapse_v1_Grant_requested_revision_tag, grant->requested_revision);
    wire_put_uint(writer, lapse_v1_Grant_approved_revision_tag, grant->approved_revision);
    wire_put_uint(writer, lapse_v1_Grant_activated_revision_tag, grant->activated_revision);
    wire_put_uint(writer, lapse_v1_Grant_ended_revision_tag, grant->ended_revision);
    wire_put_uint(writer, lapse_v1_Grant_revision_tag, grant->revision);
}

static void put_grant(struct wire_writer *writer, const struct grant *grant)
{
    put_grant_terms(writer, grant);
    put_grant_course(writer, grant);
}

static void put_nested_grant(struct wire_writer *writer, uint32_t field, const struct grant *grant)
{
    if (grant == NULL)
        return;
    size_t mark = wire_begin(writer, field);
    put_grant(writer, grant);
    wire_end(writer, mark);
}

lapse_result proto_encode_grant(const struct grant *grant, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_grant(&writer, grant);
    return written(&writer);
}

static void put_role_binding(struct wire_writer *writer, uint32_t field, struct slice member, uint32_t roles,
                             struct slice scope)
{
    size_t mark = wire_begin(writer, field);
    wire_put_bytes(writer, lapse_v1_RoleBinding_member_tag, member);
    for (uint32_t role = 1; role <= ROLE_ALL; role <<= 1)
        if (roles & role)
            put_text(writer, lapse_v1_RoleBinding_roles_tag, proto_role_name(role));
    put_scope(writer, lapse_v1_RoleBinding_scope_tag, scope);
    wire_end(writer, mark);
}

static void put_event(struct wire_writer *writer, const struct proto_event *event)
{
    wire_put_uint(writer, lapse_v1_Event_revision_tag, event->revision);
    put_int(writer, lapse_v1_Event_time_ms_tag, event->time_ms);
    wire_put_uint(writer, lapse_v1_Event_type_tag, event->type);
    put_nested_grant(writer, lapse_v1_Event_grant_tag, event->grant);
    if (event->member.len > 0)
        put_role_binding(writer, lapse_v1_Event_roles_tag, event->member, event->roles, event->scope);
    put_registered_point(writer, lapse_v1_Event_point_tag, event->point);
    put_barrier(writer, lapse_v1_Event_barrier_tag, event->barrier);
    put_session(writer, lapse_v1_Event_session_tag, event->session,
                event->type == lapse_v1_EventType_EVENT_SESSION_ENDED ? event->time_ms : 0);
    put_sweep(writer, lapse_v1_Event_sweep_tag, event->sweep);
}

lapse_result proto_encode_event(const struct proto_event *event, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_event(&writer, event);
    return written(&writer);
}

/* --- watch ------------------------------------------------------------------------------------------------------ */

lapse_result proto_encode_watch_event(uint64_t epoch, const struct proto_event *event, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_WatchResponse_epoch_tag, epoch);
    size_t mark = wire_begin(&writer, lapse_v1_WatchResponse_event_tag);
    put_event(&writer, event);
    wire_end(&writer, mark);
    return written(&writer);
}

lapse_result proto_encode_watch_grant(uint64_t epoch, const struct grant *grant, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_WatchResponse_epoch_tag, epoch);
    put_nested_grant(&writer, lapse_v1_WatchResponse_snapshot_grant_tag, grant);
    return written(&writer);
}

/* WatchCreated, Progress and SnapshotEnd have the same two fields. */
_Static_assert(lapse_v1_WatchCreated_revision_tag == lapse_v1_Progress_revision_tag &&
                   lapse_v1_SnapshotEnd_revision_tag == lapse_v1_Progress_revision_tag &&
                   lapse_v1_WatchCreated_time_ms_tag == lapse_v1_Progress_time_ms_tag &&
                   lapse_v1_SnapshotEnd_time_ms_tag == lapse_v1_Progress_time_ms_tag,
               "the marks of a watch are written by one function");

static lapse_result encode_watch_mark(uint32_t field, const struct proto_point *point, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_WatchResponse_epoch_tag, point->epoch);
    size_t mark = wire_begin(&writer, field);
    wire_put_uint(&writer, lapse_v1_Progress_revision_tag, point->revision);
    put_int(&writer, lapse_v1_Progress_time_ms_tag, point->time_ms);
    wire_end(&writer, mark);
    return written(&writer);
}

lapse_result proto_encode_watch_created(const struct proto_point *point, struct buf *out)
{
    return encode_watch_mark(lapse_v1_WatchResponse_created_tag, point, out);
}

lapse_result proto_encode_watch_progress(const struct proto_point *point, struct buf *out)
{
    return encode_watch_mark(lapse_v1_WatchResponse_progress_tag, point, out);
}

lapse_result proto_encode_watch_snapshot_end(const struct proto_point *point, struct buf *out)
{
    return encode_watch_mark(lapse_v1_WatchResponse_snapshot_end_tag, point, out);
}

lapse_result proto_encode_watch_resync(uint64_t epoch, const char *reason, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_WatchResponse_epoch_tag, epoch);
    size_t mark = wire_begin(&writer, lapse_v1_WatchResponse_resync_tag);
    put_text(&writer, lapse_v1_Resync_reason_tag, reason);
    wire_end(&writer, mark);
    return written(&writer);
}

/* --- unary answers ---------------------------------------------------------------------------------------------- */

HAS_POINT(lapse_v1_MutationResponse);
HAS_POINT(lapse_v1_GetResponse);
HAS_POINT(lapse_v1_CheckResponse);
HAS_POINT(lapse_v1_ListResponse);

lapse_result proto_encode_mutation(const struct proto_point *point, const struct grant *grant, bool repeated_call,
                                   const struct barrier *barrier, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    put_nested_grant(&writer, lapse_v1_MutationResponse_grant_tag, grant);
    wire_put_uint(&writer, lapse_v1_MutationResponse_repeated_call_tag, repeated_call);
    put_barrier(&writer, lapse_v1_MutationResponse_barrier_tag, barrier);
    return written(&writer);
}

lapse_result proto_encode_get(const struct proto_point *point, const struct grant *grant, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    put_nested_grant(&writer, lapse_v1_GetResponse_grant_tag, grant);
    return written(&writer);
}

lapse_result proto_encode_check(const struct proto_point *point, bool allowed, const char *verdict,
                                const struct grant *grant, int64_t valid_for_ms, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    wire_put_uint(&writer, lapse_v1_CheckResponse_allowed_tag, allowed);
    put_text(&writer, lapse_v1_CheckResponse_verdict_tag, verdict);
    put_nested_grant(&writer, lapse_v1_CheckResponse_grant_tag, grant);
    put_int(&writer, lapse_v1_CheckResponse_valid_for_ms_tag, valid_for_ms);
    return written(&writer);
}

lapse_result proto_encode_list_begin(const struct proto_point *point, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    return written(&writer);
}

lapse_result proto_encode_list_grant(const struct grant *grant, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_nested_grant(&writer, lapse_v1_ListResponse_grants_tag, grant);
    return written(&writer);
}

lapse_result proto_encode_list_end(struct slice next_page_token, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, lapse_v1_ListResponse_next_page_token_tag, next_page_token);
    return written(&writer);
}

lapse_result proto_encode_list_roles_begin(const struct proto_point *point, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_uint(&writer, lapse_v1_ListRolesResponse_epoch_tag, point->epoch);
    wire_put_uint(&writer, lapse_v1_ListRolesResponse_revision_tag, point->revision);
    return written(&writer);
}

lapse_result proto_encode_list_roles_binding(struct slice member, uint32_t roles, struct slice scope, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_role_binding(&writer, lapse_v1_ListRolesResponse_bindings_tag, member, roles, scope);
    return written(&writer);
}
