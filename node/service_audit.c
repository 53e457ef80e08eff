/* lapse.v1.Audit: the records of this node's database (node/audit.h).
 *
 *   message --> core: may the caller? what is the newest revision? --> audit: job --answered--> reply (Query, Head)
 *                  ^                                                     ^   |
 *                  |                                                     |   v
 *                  +-- roles, again, every now and then                  +-- messages (Tail, Evidence), when writable
 *
 * A quorum answers the core's question first, and the job waits until the database has that revision: so what was
 * acknowledged before the call is in the answer. A stream asks for its next piece only when the client has room for it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/wire.h"
#include "node/audit.h"
#include "node/edge_internal.h"
#include "node/service_parse.h"
#include "proto/codec.h"
#include "proto/lapse/v1/audit.pb.h"

/* Somebody whose role was taken reads on for so long at most. */
#define RECHECK_US (5ll * 1000 * 1000)
#define STREAM_RECORDS 1000u

struct audit_call {
    struct edge *edge;
    struct grpc_call *grpc;  /* NULL once the stream is closed */
    struct core_call *asked; /* at the core, or resting here */
    struct audit_job job;    /* at the audit, or resting here */
    bool at_core, at_audit;
    bool opened;    /* the job has been asked at least once */
    bool has_piece; /* `job` holds one that waits for the core's word */
    bool writable, ended;
    bool from_now; /* Tail: from what is new */
    int64_t checked_us;
    struct admission_entry *entry;
    uint64_t held;
    lapse_v1_AuditFilter filter; /* the job's texts */
};

static bool is_stream(const struct audit_call *call)
{
    return call->job.op == AUDIT_TAIL || call->job.op == AUDIT_EVIDENCE;
}

static void release(struct audit_call *call)
{
    if (call->grpc != NULL || call->at_core || call->at_audit)
        return;
    if (call->held > 0)
        admission_unhold(call->edge->admission, call->entry, call->held);
    core_call_free(call->asked);
    audit_job_clear(&call->job);
    free(call);
}

static void end(struct audit_call *call, enum lapse_code code, const char *message)
{
    if (call->ended || call->grpc == NULL)
        return;
    call->ended = true;
    grpc_call_finish(call->grpc, code, message);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static void ask_core(struct audit_call *call)
{
    struct core_call *asked = call->asked;
    asked->op = CORE_AUDIT_OPEN;
    asked->error.code = LAPSE_OK;
    call->at_core = core_ask(call->edge->core, asked);
    if (!call->at_core)
        end(call, LAPSE_RESOURCE_EXHAUSTED, "this node has too much to do: ask again, or ask another one");
}

static void ask_audit(struct audit_call *call)
{
    struct audit_job *job = &call->job;
    buf_clear(&job->response);
    call->at_audit = audit_ask(core_audit(call->edge->core), job);
    if (!call->at_audit)
        end(call, LAPSE_RESOURCE_EXHAUSTED,
            "this node's audit database has too much to do: ask again, or ask another node");
}

static void go_on(struct audit_call *call)
{
    if (call->grpc != NULL && !call->ended && !call->at_core && !call->at_audit && call->writable)
        ask_audit(call);
}

/* --- answering ---------------------------------------------------------------------------------------------------- */

static void reply_query(struct audit_call *call)
{
    const struct core_call *asked = call->asked;
    struct buf out;
    char token[17];
    struct wire_writer writer = wire_writer(&out);
    buf_init(&out, LIMIT_MESSAGE_OUT);
    wire_put_uint(&writer, lapse_v1_QueryResponse_epoch_tag, asked->epoch);
    wire_put_uint(&writer, lapse_v1_QueryResponse_revision_tag, asked->revision);
    wire_put_uint(&writer, lapse_v1_QueryResponse_time_ms_tag, (uint64_t)asked->time_ms);
    bool fits = lapse_is_ok(buf_append(&out, call->job.response.data, call->job.response.len));
    if (call->job.more) {
        (void)snprintf(token, sizeof token, "%016" PRIx64, call->job.cursor);
        wire_put_bytes(&writer, lapse_v1_QueryResponse_next_page_token_tag, slice_str(token));
    }
    if (fits && !writer.failed)
        grpc_call_reply(call->grpc, buf_slice(&out));
    else
        end(call, LAPSE_RESOURCE_EXHAUSTED, "the answer is too large: ask for smaller pages");
    call->ended = true;
    buf_free(&out);
}

static void send_piece(struct audit_call *call)
{
    struct wire_reader list = wire_reader(buf_slice(&call->job.response));
    struct wire_field item;
    while (wire_next(&list, &item)) {
        struct blob *message = blob_new(item.bytes);
        call->writable = grpc_call_send(call->grpc, message);
        blob_unref(message);
    }
}

static bool is_complete(const struct audit_call *call)
{
    const struct audit_job *job = &call->job;
    return job->op == AUDIT_EVIDENCE ? !job->more : job->last != 0 && job->cursor > job->last;
}

static void deliver(struct audit_call *call)
{
    call->has_piece = false;
    if (call->grpc == NULL || call->ended)
        return;
    if (call->job.error.code != LAPSE_OK) {
        end(call, call->job.error.code, call->job.error.message);
    } else if (call->job.op == AUDIT_QUERY) {
        reply_query(call);
    } else if (call->job.op == AUDIT_HEAD) {
        grpc_call_reply(call->grpc, buf_slice(&call->job.response));
        call->ended = true;
    } else {
        send_piece(call);
        if (is_complete(call))
            end(call, LAPSE_OK, "");
        go_on(call);
    }
}

static void on_job_mail(struct mail *mail)
{
    struct audit_call *call = CONTAINER_OF(CONTAINER_OF(mail, struct audit_job, mail), struct audit_call, job);
    call->at_audit = false;
    call->has_piece = true;
    if (call->grpc != NULL && !call->ended && is_stream(call) && clock_boot_us() - call->checked_us > RECHECK_US)
        ask_core(call);
    else
        deliver(call);
    release(call);
}

static void begin_job(struct audit_call *call)
{
    call->opened = true;
    call->job.upto = call->asked->revision;
    if (call->from_now)
        call->job.cursor = call->asked->revision + 1;
    ask_audit(call);
}

static void on_core_answer(struct audit_call *call)
{
    const struct core_call *asked = call->asked;
    call->checked_us = clock_boot_us();
    if (asked->error.code != LAPSE_OK)
        end(call, asked->error.code, asked->error.message);
    else if (call->grpc != NULL && !call->ended && !call->opened)
        begin_job(call);
    else
        deliver(call);
}

static void on_core_mail(struct mail *mail)
{
    struct core_call *asked = CONTAINER_OF(mail, struct core_call, mail);
    struct audit_call *call = asked->owner;
    call->at_core = false;
    on_core_answer(call);
    release(call);
}

/* On the core loop. */
static void on_core_answered(struct core_call *asked)
{
    asked->mail.run = on_core_mail;
    mailbox_answer(asked->reply_to, &asked->mail);
}

/* --- what is asked ------------------------------------------------------------------------------------------------ */

static lapse_result parse_types(const lapse_v1_AuditFilter *message, uint64_t *types, struct lapse_error *error)
{
    for (pb_size_t i = 0; i < message->types_count; i++) {
        if (message->types[i] == 0 || message->types[i] >= 64)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "filter.types: %" PRIu32 " is no type of event",
                              message->types[i]);
        *types |= UINT64_C(1) << message->types[i];
    }
    return lapse_ok();
}

static lapse_result parse_audit_filter(struct audit_call *call, const lapse_v1_AuditFilter *message,
                                       struct lapse_error *error)
{
    struct audit_filter *filter = &call->job.filter;
    struct grant_id grant;
    call->filter = *message;
    if (message->grant_id[0] != '\0') {
        lapse_result result = parse_grant_id(message->grant_id, &grant, error);
        if (!lapse_is_ok(result))
            return result;
        memcpy(filter->grant, &grant, sizeof filter->grant);
    }
    if (message->from_ms < 0 || message->to_ms < 0 || (message->to_ms != 0 && message->to_ms <= message->from_ms))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "filter: to_ms must be after from_ms, and neither below 0");
    filter->from_ms = message->from_ms;
    filter->to_ms = message->to_ms;
    filter->subject = slice_str(call->filter.subject);
    filter->resource = slice_str(call->filter.resource);
    filter->actor = slice_str(call->filter.actor);
    return parse_types(message, &filter->types, error);
}

static lapse_result parse_query_request(struct audit_call *call, struct slice bytes, struct lapse_error *error)
{
    lapse_v1_QueryRequest *message = mem_calloc(1, sizeof *message);
    lapse_result result = proto_decode(lapse_v1_QueryRequest_fields, bytes, message, error);
    if (lapse_is_ok(result))
        result = parse_page_size(message->page_size, &call->job.page, error);
    if (lapse_is_ok(result))
        result = parse_page_token(message->page_token, &call->job.cursor, error);
    if (lapse_is_ok(result) && message->has_filter)
        result = parse_audit_filter(call, &message->filter, error);
    call->job.descending = message->descending;
    call->job.deadline_us = clock_boot_us() + edge_timeout_of(call->grpc) * 1000;
    free(message);
    return result;
}

static lapse_result parse_tail(struct audit_call *call, struct slice bytes, struct lapse_error *error)
{
    lapse_v1_TailRequest *message = mem_calloc(1, sizeof *message);
    lapse_result result = proto_decode(lapse_v1_TailRequest_fields, bytes, message, error);
    if (lapse_is_ok(result) && message->has_filter)
        result = parse_audit_filter(call, &message->filter, error);
    if (lapse_is_ok(result) && (message->from_revision > INT64_MAX || message->to_revision > INT64_MAX ||
                                (message->to_revision != 0 && message->to_revision < message->from_revision)))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "to_revision must not be below from_revision");
    call->from_now = message->from_revision == 0;
    call->job.cursor = message->from_revision;
    call->job.last = message->to_revision;
    call->job.page = STREAM_RECORDS;
    call->job.deadline_us = INT64_MAX;
    free(message);
    return result;
}

static lapse_result parse_evidence(struct audit_call *call, struct slice bytes, struct lapse_error *error)
{
    lapse_v1_EvidenceRequest message;
    struct grant_id grant;
    lapse_result result = proto_decode(lapse_v1_EvidenceRequest_fields, bytes, &message, error);
    if (lapse_is_ok(result))
        result = parse_grant_id(message.grant_id, &grant, error);
    if (lapse_is_ok(result))
        memcpy(call->job.filter.grant, &grant, sizeof call->job.filter.grant);
    call->job.page = STREAM_RECORDS;
    call->job.deadline_us = clock_boot_us() + edge_timeout_of(call->grpc) * 1000;
    return result;
}

static lapse_result parse_head(struct audit_call *call, struct slice bytes, struct lapse_error *error)
{
    lapse_v1_HeadRequest message;
    call->job.deadline_us = clock_boot_us() + edge_timeout_of(call->grpc) * 1000;
    return proto_decode(lapse_v1_HeadRequest_fields, bytes, &message, error);
}

struct audit_method {
    enum audit_op op;
    lapse_result (*parse)(struct audit_call *call, struct slice bytes, struct lapse_error *error);
};

/* --- gRPC's ------------------------------------------------------------------------------------------------------- */

static struct core_call *new_question(struct audit_call *call)
{
    struct core_call *asked =
        core_call_new(CORE_AUDIT_OPEN, edge_principal_of(call->grpc), edge_timeout_of(call->grpc));
    asked->owner = call;
    asked->reply_to = &call->edge->mailbox;
    asked->answered = on_core_answered;
    return asked;
}

static struct audit_call *new_call(struct grpc_call *grpc, enum audit_op op)
{
    struct audit_call *call = mem_calloc(1, sizeof *call);
    call->edge = edge_connection_of(grpc)->edge;
    call->grpc = grpc;
    call->writable = true;
    audit_job_init(&call->job, op);
    call->job.reply_to = &call->edge->mailbox;
    call->job.mail.run = on_job_mail;
    call->asked = new_question(call);
    grpc_call_set_data(grpc, call);
    return call;
}

/* The answer is as long as it is only once it has been made: until then its longest is held. */
static lapse_result hold(struct audit_call *call, struct lapse_error *error)
{
    uint64_t bytes = call->job.op == AUDIT_QUERY ? LIMIT_PAGE_BYTES + LIMIT_SNAPSHOT_CHUNK : LIMIT_SNAPSHOT_CHUNK;
    lapse_result result = admission_hold(call->edge->admission, call->entry, bytes, error);
    if (lapse_is_ok(result))
        call->held = bytes;
    return result;
}

static void on_message(struct grpc_call *grpc, struct slice bytes)
{
    struct edge_connection *connection = edge_connection_of(grpc);
    const struct audit_method *method = grpc_call_method(grpc)->data;
    struct audit_call *call = new_call(grpc, method->op);
    struct lapse_error error;
    lapse_result result = admission_begin(call->edge->admission, connection->entry, &error);
    if (lapse_is_ok(result)) {
        call->entry = connection->entry;
        result = hold(call, &error);
    }
    if (lapse_is_ok(result))
        result = method->parse(call, bytes, &error);
    if (lapse_is_ok(result))
        ask_core(call);
    else
        end(call, error.code, error.message);
}

static void on_writable(struct grpc_call *grpc)
{
    struct audit_call *call = grpc_call_data(grpc);
    call->writable = true;
    if (is_stream(call) && call->opened && !call->has_piece)
        go_on(call);
}

static void on_close(struct grpc_call *grpc)
{
    struct audit_call *call = grpc_call_data(grpc);
    if (call->entry != NULL)
        admission_end(call->edge->admission, call->entry);
    if (call->at_audit)
        audit_abandon(core_audit(call->edge->core), &call->job);
    call->grpc = NULL;
    release(call);
}

#define AUDIT_METHOD(name_, spec_)                                                                                     \
    {                                                                                                                  \
        .path = "/lapse.v1.Audit/" name_, .on_message = on_message, .on_writable = on_writable, .on_close = on_close,  \
        .data = (void *)(spec_)                                                                                        \
    }

const struct grpc_method *service_audit_methods(size_t *n)
{
    static const struct audit_method query = {AUDIT_QUERY, parse_query_request}, tail = {AUDIT_TAIL, parse_tail},
                                     evidence = {AUDIT_EVIDENCE, parse_evidence}, head = {AUDIT_HEAD, parse_head};
    static const struct grpc_method methods[] = {AUDIT_METHOD("Query", &query), AUDIT_METHOD("Tail", &tail),
                                                 AUDIT_METHOD("Evidence", &evidence), AUDIT_METHOD("Head", &head)};
    *n = ARRAY_LEN(methods);
    return methods;
}
