/* Grants.RevokeAndFollow: a revocation, and how it reaches the enforcement points.
 *
 *   message --> REVOKE_FOLLOW --answered--> `committed` is sent
 *                                               |
 *              FOLLOW <----when writable--------+<---------------+
 *                 |                                              |
 *                 +--answered: newer progress is sent------------+
 *                 '--answered: `last` is sent, then the status
 *
 * The core is asked for the next message only when the client has room for it, so a reader that doesn't read holds
 * nothing but its place, and gets the latest state when it does. */
#include <stdlib.h>

#include "base/check.h"
#include "node/edge_internal.h"
#include "node/service_revoke.h"
#include "proto/codec.h"

struct follow {
    struct edge *edge;
    struct grpc_call *grpc;  /* NULL once the stream is closed */
    struct core_call *asked; /* at the core, or resting here between two questions */
    bool waits;              /* `asked` is at the core */
    bool writable;
    bool ended;
    struct admission_entry *entry;
};

static void end(struct follow *follow, enum lapse_code code, const char *message)
{
    if (follow->ended)
        return;
    follow->ended = true;
    if (follow->grpc != NULL)
        grpc_call_finish(follow->grpc, code, message);
}

static void release(struct follow *follow)
{
    if (follow->grpc != NULL || follow->waits)
        return;
    core_call_free(follow->asked);
    free(follow);
}

static void ask(struct follow *follow, enum core_op op)
{
    struct core_call *call = follow->asked;
    CHECK(!follow->waits);
    call->op = op;
    call->error.code = LAPSE_OK;
    buf_clear(&call->response);
    follow->waits = core_ask(follow->edge->core, call);
    if (!follow->waits)
        end(follow, LAPSE_RESOURCE_EXHAUSTED,
            "this node has too much to do: ask again with the same request_id, or ask another one");
}

/* Asks for the next message if there may be one and it can be sent. */
static void go_on(struct follow *follow)
{
    if (follow->grpc != NULL && !follow->ended && !follow->waits && follow->writable)
        ask(follow, CORE_FOLLOW);
}

static void send_answer(struct follow *follow)
{
    struct blob *message = blob_new(buf_slice(&follow->asked->response));
    follow->writable = grpc_call_send(follow->grpc, message);
    blob_unref(message);
}

static void on_answer(struct follow *follow)
{
    const struct core_call *call = follow->asked;
    follow->waits = false;
    if (follow->grpc == NULL || follow->ended)
        return;
    if (call->error.code == LAPSE_OK || call->last)
        send_answer(follow);
    if (call->error.code != LAPSE_OK || call->last)
        end(follow, call->error.code, call->error.message);
    go_on(follow);
}

static void on_answer_mail(struct mail *mail)
{
    struct core_call *call = CONTAINER_OF(mail, struct core_call, mail);
    struct follow *follow = call->owner;
    on_answer(follow);
    release(follow);
}

static void on_answered(struct core_call *call)
{
    call->mail.run = on_answer_mail;
    mailbox_answer(call->reply_to, &call->mail);
}

static lapse_result parse(struct core_call *call, struct slice bytes, struct lapse_error *error)
{
    lapse_v1_RevokeAndFollowRequest *message = mem_calloc(1, sizeof *message);
    lapse_result result = proto_decode(lapse_v1_RevokeAndFollowRequest_fields, bytes, message, error);
    if (!lapse_is_ok(result))
        ;
    else if (message->which_what == lapse_v1_RevokeAndFollowRequest_revoke_tag)
        result = parse_revoke(call, &message->what.revoke, error);
    else if (message->which_what == lapse_v1_RevokeAndFollowRequest_revoke_matching_tag)
        result = parse_revoke_matching(call, &message->what.revoke_matching, error);
    else
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "say what to revoke: revoke or revoke_matching");
    free(message);
    return result;
}

static struct core_call *new_question(struct follow *follow)
{
    struct grpc_call *grpc = follow->grpc;
    struct core_call *call = core_call_new(CORE_REVOKE_FOLLOW, edge_principal_of(grpc), edge_timeout_of(grpc));
    call->open_ended = grpc_call_remaining_ms(grpc) == INT64_MAX;
    call->owner = follow;
    call->reply_to = &follow->edge->mailbox;
    call->answered = on_answered;
    return call;
}

static void on_message(struct grpc_call *grpc, struct slice bytes)
{
    struct edge_connection *connection = edge_connection_of(grpc);
    struct lapse_error error;
    struct follow *follow = mem_calloc(1, sizeof *follow);
    follow->edge = connection->edge;
    follow->grpc = grpc;
    follow->writable = true;
    follow->asked = new_question(follow);
    grpc_call_set_data(grpc, follow);
    lapse_result result = admission_begin(follow->edge->admission, connection->entry, &error);
    if (lapse_is_ok(result)) {
        follow->entry = connection->entry;
        result = parse(follow->asked, bytes, &error);
    }
    if (lapse_is_ok(result))
        ask(follow, CORE_REVOKE_FOLLOW);
    else
        end(follow, error.code, error.message);
}

static void on_writable(struct grpc_call *grpc)
{
    struct follow *follow = grpc_call_data(grpc);
    follow->writable = true;
    go_on(follow);
}

static void on_close(struct grpc_call *grpc)
{
    struct follow *follow = grpc_call_data(grpc);
    if (follow->entry != NULL)
        admission_end(follow->edge->admission, follow->entry);
    if (follow->waits)
        core_call_abandon(follow->asked);
    follow->grpc = NULL;
    release(follow);
}

const struct grpc_method *service_follow_methods(size_t *n)
{
    static const struct grpc_method methods[] = {{.path = "/lapse.v1.Grants/RevokeAndFollow",
                                                  .on_message = on_message,
                                                  .on_writable = on_writable,
                                                  .on_close = on_close}};
    *n = ARRAY_LEN(methods);
    return methods;
}
