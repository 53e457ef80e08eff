/* One line a field, in the order of audit.proto. */
#include "client/audit_schema.h"

#include "base/limits.h"
#include "client/schema_table.h"

static const char *event_name(int value)
{
    return lapse_event_type_name((enum lapse_event_type)value);
}

#define S struct lapse_audit_record
static const struct codec_field schema_audit_record_fields[] = {
    F(UINT64, 1, epoch),
    F(UINT64, 2, revision),
    F(BYTES, 3, event),
    F(BYTES, 4, hash),
};
MESSAGE(schema_audit_record, "AuditRecord");
#undef S

#define S struct lapse_signed_head
static const struct codec_field schema_signed_head_fields[] = {
    F(STRING, 1, cluster), F(UINT64, 2, epoch),   F(UINT64, 3, revision),  F(BYTES, 4, hash),
    F(INT64, 5, time_ms),  F(UINT64, 6, node_id), F(BYTES, 7, public_key), F(BYTES, 8, signature),
};
MESSAGE(schema_signed_head, "SignedHead");
#undef S

#define S struct lapse_audit_filter
static const struct codec_field filter_fields[] = {
    F(STRING, 1, grant_id),
    F(STRING, 2, subject),
    F(STRING, 3, resource),
    F(STRING, 4, actor),
    {
        .number = 5,
        .kind = CODEC_ENUMS,
        .name = "types",
        .offset = offsetof(S, types),
        .count_offset = offsetof(S, n_types),
        .count_max = COUNT_FEW,
        .enum_name = event_name,
    },
    F(INT64, 6, from_ms),
    F(INT64, 7, to_ms),
};
static MESSAGE(filter, "AuditFilter");
#undef S

#define S struct lapse_audit_query_args
static const struct codec_field schema_audit_query_args_fields[] = {
    F_MESSAGE(1, filter, filter),
    F(UINT32, 2, page_size),
    F(STRING, 3, page_token),
    F(BOOL, 4, descending),
};
MESSAGE(schema_audit_query_args, "QueryRequest");
#undef S

#define S struct lapse_audit_page
static const struct codec_field schema_audit_page_fields[] = {
    F(UINT64, 1, epoch),           F(UINT64, 2, revision),
    F(INT64, 3, time_ms),          F_MESSAGES(4, records, schema_audit_record, LIMIT_PAGE),
    F(STRING, 5, next_page_token),
};
MESSAGE(schema_audit_page, "QueryResponse");
#undef S

#define S struct lapse_audit_tail_args
static const struct codec_field schema_audit_tail_args_fields[] = {
    F_MESSAGE(1, filter, filter),
    F(UINT64, 2, from_revision),
    F(UINT64, 3, to_revision),
};
MESSAGE(schema_audit_tail_args, "TailRequest");
#undef S

#define S struct audit_tail_message
static const struct codec_field schema_audit_tail_message_fields[] = {
    F_ONEOF(1, record, schema_audit_record),
    F_ONEOF(2, head, schema_signed_head),
};
MESSAGE(schema_audit_tail_message, "TailResponse");
#undef S

#define S struct lapse_evidence_args
static const struct codec_field schema_evidence_args_fields[] = {
    F(STRING, 1, grant_id),
};
MESSAGE(schema_evidence_args, "EvidenceRequest");
#undef S

const struct codec_message schema_audit_head_args = {"HeadRequest", sizeof(struct lapse_audit_head_args), NULL, 0};

#define S struct lapse_node_key
static const struct codec_field node_key_fields[] = {
    F(UINT64, 1, node_id),
    F(BYTES, 2, public_key),
};
static MESSAGE(node_key, "NodeKey");
#undef S

#define S struct lapse_audit_head
static const struct codec_field schema_audit_head_fields[] = {
    F_MESSAGE(1, head, schema_signed_head),
    F_MESSAGES(2, keys, node_key, COUNT_FEW),
};
MESSAGE(schema_audit_head, "HeadResponse");
#undef S
