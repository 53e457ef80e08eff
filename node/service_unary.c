/* What every unary method does, whatever it is for:
 *
 *   message --> rate and in-flight limits --> prepare (decode, validate) --> core_ask --> answered --> reply
 *
 * A unary_call lives until both of its ends are done with it: the client's stream (on_close) and the core's answer. */
#include <stdlib.h>

#include "base/check.h"
#include "node/edge_internal.h"
#include "node/metrics.h"

struct unary_call {
    struct core_call *core; /* NULL when the core is not (or no longer) concerned */
    struct grpc_call *grpc; /* NULL once the stream is closed */
    struct admission *admission;
    struct admission_entry *entry; /* the caller's; in flight until the stream ends */
    uint64_t held;                 /* memory for a long answer, until this struct ends */
};

static void release(struct unary_call *call)
{
    if (call->core != NULL || call->grpc != NULL)
        return;
    if (call->held > 0)
        admission_unhold(call->admission, call->entry, call->held);
    free(call);
}

static void reply(struct unary_call *call)
{
    const struct lapse_error *error = &call->core->error;
    if (error->code == LAPSE_OK)
        grpc_call_reply(call->grpc, buf_slice(&call->core->response));
    else
        grpc_call_finish(call->grpc, error->code, error->message);
}

/* The longest answer of those that may be long; 0 for the others. */
static uint64_t longest_answer(enum core_op op)
{
    bool is_page = op == CORE_LIST || op == CORE_POINTS || op == CORE_BARRIER || op == CORE_OBJECTS;
    return is_page ? LIMIT_PAGE_BYTES + LIMIT_SNAPSHOT_RECORD : 0;
}

/* An answer is as long as it is only once it has been made: until then its longest is held. */
static lapse_result hold(struct unary_call *call, const struct core_call *core, struct lapse_error *error)
{
    uint64_t bytes = longest_answer(core->op);
    if (bytes == 0)
        return lapse_ok();
    lapse_result result = admission_hold(call->admission, call->entry, bytes, error);
    if (lapse_is_ok(result))
        call->held = bytes;
    return result;
}

static void hold_no_more_than(struct unary_call *call, uint64_t bytes)
{
    if (call->held <= bytes)
        return;
    admission_unhold(call->admission, call->entry, call->held - bytes);
    call->held = bytes;
}

static void on_answered_mail(struct mail *mail)
{
    struct core_call *core = CONTAINER_OF(mail, struct core_call, mail);
    struct unary_call *call = core->owner;
    if (call->grpc != NULL)
        reply(call);
    hold_no_more_than(call, core->response.len);
    core_call_free(core);
    call->core = NULL;
    release(call);
}

/* On the core loop: send it home. */
static void on_answered(struct core_call *core)
{
    core->mail.run = on_answered_mail;
    mailbox_answer(core->reply_to, &core->mail);
}

static lapse_result ask(struct unary_call *call, struct edge *edge, struct slice message, struct lapse_error *error)
{
    const struct unary_method *method = grpc_call_method(call->grpc)->data;
    struct core_call *core = core_call_new(method->op, edge_principal_of(call->grpc), edge_timeout_of(call->grpc));
    core->owner = call;
    core->open_ended = grpc_call_remaining_ms(call->grpc) == INT64_MAX;
    core->reply_to = &edge->mailbox;
    core->answered = on_answered;
    lapse_result result = method->prepare(edge, message, core, error);
    if (lapse_is_ok(result))
        result = hold(call, core, error);
    if (lapse_is_ok(result)) {
        call->core = core;
        if (core_ask(edge->core, core))
            return lapse_ok();
        call->core = NULL;
        result =
            lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "this node has too much to do: try again, or ask another one");
    }
    core_call_free(core);
    return result;
}

void unary_on_message(struct grpc_call *grpc, struct slice message)
{
    struct edge_connection *connection = edge_connection_of(grpc);
    struct lapse_error error;
    struct unary_call *call = mem_calloc(1, sizeof *call);
    call->grpc = grpc;
    call->admission = connection->edge->admission;
    grpc_call_set_data(grpc, call);
    lapse_result result = admission_begin(call->admission, connection->entry, &error);
    if (lapse_is_ok(result)) {
        call->entry = connection->entry;
        result = ask(call, connection->edge, message, &error);
    }
    if (!lapse_is_ok(result))
        grpc_call_finish(grpc, error.code, error.message);
}

/* In flight means: its stream is open. What the core still does for a stream that is gone is bounded by its timeout and
 * by the core's mailbox; what waits there is told. */
void unary_on_close(struct grpc_call *grpc)
{
    struct unary_call *call = grpc_call_data(grpc);
    if (call->entry != NULL)
        admission_end(call->admission, call->entry);
    if (call->core != NULL && call->core->wait != 0)
        core_call_abandon(call->core);
    call->grpc = NULL;
    release(call);
}
