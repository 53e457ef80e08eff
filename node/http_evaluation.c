#include "node/http_evaluation.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/wire.h"
#include "proto/authzen.h"
#include "proto/lapse/v1/grants.pb.h"

#define TIMEOUT_MS 5000

struct http_evaluator {
    struct core *core;
    pthread_mutex_t lock; /* guards the rest */
    bool closed;
    uint32_t asked; /* not answered yet */
};

struct evaluation {
    struct http_evaluator *evaluator;
    struct MHD_Connection *connection;
    struct buf body;
    bool oversize;
    struct authzen_question question;
    struct core_call *call; /* NULL: not asked */
};

struct http_evaluator *http_evaluator_new(struct core *core)
{
    struct http_evaluator *evaluator = mem_calloc(1, sizeof *evaluator);
    evaluator->core = core;
    CHECK(pthread_mutex_init(&evaluator->lock, NULL) == 0);
    return evaluator;
}

void http_evaluator_close(struct http_evaluator *evaluator)
{
    CHECK(pthread_mutex_lock(&evaluator->lock) == 0);
    evaluator->closed = true;
    CHECK(pthread_mutex_unlock(&evaluator->lock) == 0);
}

void http_evaluator_free(struct http_evaluator *evaluator)
{
    if (evaluator == NULL)
        return;
    CHECK(evaluator->asked == 0);
    CHECK(pthread_mutex_destroy(&evaluator->lock) == 0);
    free(evaluator);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type, const char *text)
{
    const char *id = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Request-ID");
    const char *const headers[][2] = {
        {MHD_HTTP_HEADER_CONTENT_TYPE, type},
        {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {status == MHD_HTTP_METHOD_NOT_ALLOWED ? MHD_HTTP_HEADER_ALLOW : NULL, MHD_HTTP_METHOD_POST},
        {id != NULL && authzen_may_echo(id) ? "X-Request-ID" : NULL, id},
    };
    /* libmicrohttpd copies, though it wants a pointer that is not const. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result done = response == NULL ? MHD_NO : MHD_YES;
    for (size_t i = 0; i < ARRAY_LEN(headers) && done == MHD_YES; i++)
        if (headers[i][0] != NULL)
            done = MHD_add_response_header(response, headers[i][0], headers[i][1]);
    if (done == MHD_YES)
        done = MHD_queue_response(connection, status, response);
    if (response != NULL)
        MHD_destroy_response(response);
    return done;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *why)
{
    char line[LAPSE_ERROR_MESSAGE_SIZE + 2];
    (void)snprintf(line, sizeof line, "%.*s\n", LAPSE_ERROR_MESSAGE_SIZE, why);
    return answer(connection, status, "text/plain; charset=utf-8", line);
}

static enum MHD_Result tell(struct MHD_Connection *connection, const struct authzen_answer *told)
{
    char *body = authzen_render(told);
    enum MHD_Result done = answer(connection, MHD_HTTP_OK, "application/json", body);
    free(body);
    return done;
}

/* What of a CheckResponse goes out. */
struct verdict {
    uint64_t revision, valid_for_ms;
    bool allowed;
    char reason[64], grant[GRANT_ID_TEXT_SIZE], subject[LIMIT_SUBJECT + 1];
};

static void read_grant(struct slice bytes, struct verdict *verdict)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    while (wire_next(&reader, &field))
        if (field.number == lapse_v1_Grant_id_tag)
            CHECK(slice_to_cstr(field.bytes, verdict->grant, sizeof verdict->grant));
        else if (field.number == lapse_v1_Grant_subject_tag)
            CHECK(slice_to_cstr(field.bytes, verdict->subject, sizeof verdict->subject));
    CHECK(!reader.failed);
}

static void read_verdict(struct slice response, struct verdict *verdict)
{
    struct wire_reader reader = wire_reader(response);
    struct wire_field field;
    *verdict = (struct verdict){.allowed = false};
    while (wire_next(&reader, &field))
        if (field.number == lapse_v1_CheckResponse_revision_tag)
            verdict->revision = field.value;
        else if (field.number == lapse_v1_CheckResponse_allowed_tag)
            verdict->allowed = field.value != 0;
        else if (field.number == lapse_v1_CheckResponse_valid_for_ms_tag)
            verdict->valid_for_ms = field.value;
        else if (field.number == lapse_v1_CheckResponse_verdict_tag)
            CHECK(slice_to_cstr(field.bytes, verdict->reason, sizeof verdict->reason));
        else if (field.number == lapse_v1_CheckResponse_grant_tag)
            read_grant(field.bytes, verdict);
    CHECK(!reader.failed);
}

static enum MHD_Result answer_call(const struct evaluation *evaluation)
{
    const struct core_call *call = evaluation->call;
    struct verdict verdict;
    if (call->error.code == LAPSE_RESOURCE_EXHAUSTED || call->error.code == LAPSE_UNAVAILABLE)
        return refuse(evaluation->connection, MHD_HTTP_SERVICE_UNAVAILABLE, call->error.message);
    if (call->error.code != LAPSE_OK)
        return refuse(evaluation->connection, MHD_HTTP_INTERNAL_SERVER_ERROR, call->error.message);
    read_verdict(buf_slice(&call->response), &verdict);
    return tell(evaluation->connection, &(struct authzen_answer){.decision = verdict.allowed,
                                                                 .reason = verdict.reason,
                                                                 .grant = verdict.grant,
                                                                 .subject = verdict.allowed ? verdict.subject : NULL,
                                                                 .revision = verdict.revision,
                                                                 .valid_for_ms = (int64_t)verdict.valid_for_ms});
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* On the core loop. The connection, and with it the call, is the HTTP thread's again from the last line on. */
static void on_answered(struct core_call *call)
{
    struct evaluation *evaluation = call->owner;
    struct http_evaluator *evaluator = evaluation->evaluator;
    struct MHD_Connection *connection = evaluation->connection;
    CHECK(pthread_mutex_lock(&evaluator->lock) == 0);
    evaluator->asked--;
    CHECK(pthread_mutex_unlock(&evaluator->lock) == 0);
    MHD_resume_connection(connection);
}

static struct core_call *make_call(struct evaluation *evaluation)
{
    const struct authzen_question *asked = &evaluation->question;
    struct core_call *call = core_call_new(CORE_EVALUATE, "", TIMEOUT_MS);
    call->owner = evaluation;
    call->answered = on_answered;
    call->query = (struct grant_query){.subject = slice_str(asked->subject),
                                       .resource = slice_str(asked->resource),
                                       .action = slice_str(asked->action),
                                       .spiffe_id = slice_str(asked->spiffe_id),
                                       .address = slice_str(asked->address)};
    if (asked->has_certificate)
        call->query.certificate_sha256 = slice_of(asked->certificate_sha256, sizeof asked->certificate_sha256);
    if (asked->has_token)
        call->query.token_sha256 = slice_of(asked->token_sha256, sizeof asked->token_sha256);
    return call;
}

static enum MHD_Result ask(struct evaluation *evaluation)
{
    struct http_evaluator *evaluator = evaluation->evaluator;
    struct core_call *call = evaluation->call = make_call(evaluation);
    /* First: the core may be done before this returns. */
    MHD_suspend_connection(evaluation->connection);
    CHECK(pthread_mutex_lock(&evaluator->lock) == 0);
    bool taken = !evaluator->closed && core_ask(evaluator->core, call);
    evaluator->asked += taken;
    CHECK(pthread_mutex_unlock(&evaluator->lock) == 0);
    if (taken)
        return MHD_YES;
    (void)lapse_fail(&call->error, LAPSE_UNAVAILABLE, "this node has too much to do, or is stopping: ask another one");
    MHD_resume_connection(evaluation->connection);
    return MHD_YES;
}

/* What can't be anybody's grant is denied without a quorum. */
static bool can_be(const struct authzen_question *question, struct lapse_error *error)
{
    bool by_token = question->has_token && question->subject[0] == '\0';
    return (by_token || lapse_is_ok(principal_validate(slice_str(question->subject), "subject", error))) &&
           lapse_is_ok(resource_validate(slice_str(question->resource), false, error)) &&
           lapse_is_ok(action_validate(slice_str(question->action), error));
}

static bool says_json(struct MHD_Connection *connection)
{
    return authzen_is_json(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE));
}

static enum MHD_Result judge(struct evaluation *evaluation)
{
    struct lapse_error error;
    if (evaluation->oversize)
        return refuse(evaluation->connection, MHD_HTTP_CONTENT_TOO_LARGE, "the question is too long");
    if (!says_json(evaluation->connection))
        return refuse(evaluation->connection, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
                      "the Content-Type must be application/json");
    if (!lapse_is_ok(authzen_parse(buf_slice(&evaluation->body), &evaluation->question, &error)))
        return refuse(evaluation->connection, MHD_HTTP_BAD_REQUEST, error.message);
    if (!can_be(&evaluation->question, &error))
        return tell(evaluation->connection, &(struct authzen_answer){.reason = "BAD_VALUE", .detail = error.message});
    return ask(evaluation);
}

/* --- a request ---------------------------------------------------------------------------------------------------- */

static struct evaluation *evaluation_new(struct http_evaluator *evaluator, struct MHD_Connection *connection)
{
    struct evaluation *evaluation = mem_calloc(1, sizeof *evaluation);
    evaluation->evaluator = evaluator;
    evaluation->connection = connection;
    buf_init(&evaluation->body, LIMIT_HTTP_BODY);
    return evaluation;
}

void http_evaluation_end(void *state)
{
    struct evaluation *evaluation = state;
    if (evaluation == NULL)
        return;
    core_call_free(evaluation->call);
    buf_free(&evaluation->body);
    free(evaluation);
}

/* Called when the headers are there, for each part of the body, when the request is whole, and after a resumption. */
enum MHD_Result http_evaluate(struct http_evaluator *evaluator, struct MHD_Connection *connection, const char *method,
                              const char *upload, size_t *upload_size, void **state)
{
    struct evaluation *evaluation = *state;
    if (evaluation == NULL && strcmp(method, MHD_HTTP_METHOD_POST) != 0)
        return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "POST a question in JSON");
    if (evaluation == NULL) {
        *state = evaluation_new(evaluator, connection);
        return MHD_YES;
    }
    if (*upload_size > 0) { /* to its end, since no answer can be given before */
        evaluation->oversize =
            evaluation->oversize || !lapse_is_ok(buf_append(&evaluation->body, upload, *upload_size));
        *upload_size = 0;
        return MHD_YES;
    }
    return evaluation->call != NULL ? answer_call(evaluation) : judge(evaluation);
}
