/* The messages of the Audit service as tables over the structs of lapse_audit.h; see codec.h. */
#ifndef LAPSE_CLIENT_AUDIT_SCHEMA_H
#define LAPSE_CLIENT_AUDIT_SCHEMA_H

#include "client/codec.h"
#include "client/lapse_audit.h"

extern const struct codec_message schema_audit_record;
extern const struct codec_message schema_signed_head;
extern const struct codec_message schema_audit_query_args;
extern const struct codec_message schema_audit_page;
extern const struct codec_message schema_audit_tail_args;
extern const struct codec_message schema_evidence_args;
extern const struct codec_message schema_audit_head_args;
extern const struct codec_message schema_audit_head;

/* lapse.v1.TailResponse: one of the two is there. */
struct audit_tail_message {
    struct lapse_audit_record record;
    struct lapse_signed_head head;
    bool has_record, has_head;
};
extern const struct codec_message schema_audit_tail_message;

#endif
