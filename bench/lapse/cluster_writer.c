/* A writer: one connection, over which it requests and revokes; in a running cluster three, since the requester may
 * not approve, nor end what it didn't ask for.
 *
 *   item_make:  Request --> (ours: done)  Approve --> done        item_end:  Revoke --> done
 *
 * A repeated attempt is the same call to the cluster: its request_id is made of the item's number. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/wire.h"
#include "bench/lapse/cluster_internal.h"
#include "client/schema.h"

#define ITEM_MS (24LL * 3600 * 1000)
#define MESSAGE_MAX 4096

/* lapse.v1.MutationResponse.grant, lapse.v1.Grant.id */
enum { MUTATION_GRANT = 4, GRANT_ID = 1 };

struct write {
    struct write *next; /* spare */
    struct system_writer *writer;
    uint32_t item;
    system_done done;
    void *arg;
};

struct system_writer {
    struct cluster *cluster;
    struct bench_loop *loop;
    struct grpc_link *links[CLUSTER_ROLES]; /* equal where one identity does both */
    struct buf message;
    struct write *spare;
};

static struct write *write_new(struct system_writer *writer, uint32_t item, system_done done, void *arg)
{
    struct write *write = writer->spare;
    if (write != NULL)
        writer->spare = write->next;
    else
        write = mem_alloc(sizeof *write);
    *write = (struct write){NULL, writer, item, done, arg};
    return write;
}

static void write_done(struct write *write, const struct lapse_error *error)
{
    system_done done = write->done;
    void *arg = write->arg;
    write->next = write->writer->spare;
    write->writer->spare = write;
    done(arg, error);
}

/* What is worth another attempt has one code for the scenarios. */
static void write_failed(struct write *write, const struct lapse_error *error)
{
    struct lapse_error said = *error;
    if (said.code == LAPSE_UNKNOWN || said.code == LAPSE_DEADLINE_EXCEEDED || said.code == LAPSE_ABORTED)
        said.code = LAPSE_UNAVAILABLE;
    write_done(write, &said);
}

/* Approved or ended: FAILED_PRECONDITION says that it was already, by an earlier attempt whose answer was lost or by
 * its deadline. */
static void on_settled(void *arg, struct slice answer, const struct lapse_error *error)
{
    (void)answer;
    if (error == NULL || error->code == LAPSE_FAILED_PRECONDITION)
        write_done(arg, NULL);
    else
        write_failed(arg, error);
}

static struct slice encode(struct system_writer *writer, const struct codec_message *message, const void *args)
{
    buf_clear(&writer->message);
    CHECK(lapse_is_ok(codec_encode(message, args, &writer->message)));
    return buf_slice(&writer->message);
}

/* --- making ------------------------------------------------------------------------------------------------------- */

/* False: the answer has none. */
static bool take_id(struct slice answer, char *id)
{
    struct wire_reader mutation = wire_reader(answer);
    struct wire_field field;
    while (wire_next(&mutation, &field)) {
        if (field.number != MUTATION_GRANT || field.type != WIRE_BYTES)
            continue;
        struct wire_reader grant = wire_reader(field.bytes);
        while (wire_next(&grant, &field))
            if (field.number == GRANT_ID && field.type == WIRE_BYTES)
                return slice_to_cstr(field.bytes, id, CLUSTER_ULID_SIZE);
        return false;
    }
    return false;
}

static void approve(struct write *write)
{
    struct system_writer *writer = write->writer;
    char request_id[CLUSTER_TEXT_SIZE];
    snprintf(request_id, sizeof request_id, "a%s-%u", writer->cluster->run, write->item);
    struct lapse_decision_args args = {.request_id = request_id,
                                       .grant_id = cluster_id_of(writer->cluster, write->item)};
    grpc_link_call(writer->links[CLUSTER_APPROVER], "/lapse.v1.Grants/Approve",
                   encode(writer, &schema_decision_args, &args), CLUSTER_CALL_MS, on_settled, write);
}

static void on_requested(void *arg, struct slice answer, const struct lapse_error *error)
{
    static const struct lapse_error odd = {LAPSE_INTERNAL, "Request was answered without a grant"};
    struct write *write = arg;
    struct cluster *cluster = write->writer->cluster;
    if (error != NULL)
        write_failed(write, error);
    else if (!take_id(answer, cluster_id_of(cluster, write->item)))
        write_done(write, &odd);
    else if (cluster->tls[CLUSTER_APPROVER] != NULL)
        approve(write);
    else
        write_done(write, NULL);
}

void cluster_item_make(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg)
{
    static const char *const actions[] = {CLUSTER_ACTION, "read"};
    char request_id[CLUSTER_TEXT_SIZE], ticket[CLUSTER_TEXT_SIZE], subject[CLUSTER_TEXT_SIZE],
        resource[CLUSTER_TEXT_SIZE];
    snprintf(request_id, sizeof request_id, "m%s-%u", writer->cluster->run, item);
    cluster_ticket(writer->cluster, item, ticket);
    cluster_item_subject(item, subject);
    if (system_is_quiet(&writer->cluster->system, item))
        snprintf(resource, sizeof resource, "quiet/prod"); /* not in what watchers watch */
    else
        cluster_item_resource(item, resource);
    struct lapse_request_args args = {.request_id = request_id,
                                      .subject = subject,
                                      .resource = resource,
                                      .actions = actions,
                                      .n_actions = ARRAY_LEN(actions),
                                      .justification = "measuring",
                                      .ticket = ticket,
                                      .duration_ms = ttl_ms > 0 ? ttl_ms : ITEM_MS};
    grpc_link_call(writer->links[CLUSTER_REQUESTER], "/lapse.v1.Grants/Request",
                   encode(writer, &schema_request_args, &args), CLUSTER_CALL_MS, on_requested,
                   write_new(writer, item, done, arg));
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

void cluster_item_end(struct system_writer *writer, uint32_t item, system_done done, void *arg)
{
    char request_id[CLUSTER_TEXT_SIZE];
    const char *id = cluster_id_of(writer->cluster, item);
    CHECK(id[0] != '\0');
    snprintf(request_id, sizeof request_id, "e%s-%u", writer->cluster->run, item);
    struct lapse_end_args args = {
        .request_id = request_id, .grant_id = id, .reason = "measured", .wait = writer->cluster->wait};
    grpc_link_call(writer->links[CLUSTER_OPERATOR], "/lapse.v1.Grants/Revoke", encode(writer, &schema_end_args, &args),
                   CLUSTER_CALL_MS, on_settled, write_new(writer, item, done, arg));
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

lapse_result cluster_writer_open(struct system *system, struct bench_loop *loop, uint32_t node,
                                 struct system_writer **out, struct lapse_error *error)
{
    struct cluster *cluster = cluster_of(system);
    struct system_writer *writer = mem_calloc(1, sizeof *writer);
    struct socket_target target;
    lapse_result result = lapse_ok();
    writer->cluster = cluster;
    writer->loop = loop;
    buf_init(&writer->message, MESSAGE_MAX);
    for (int i = CLUSTER_REQUESTER; i <= CLUSTER_OPERATOR && lapse_is_ok(result); i++) {
        if (cluster->tls[i] == NULL)
            continue;
        if (i > 0 && cluster->tls[i] == cluster->tls[0]) {
            writer->links[i] = writer->links[0];
            continue;
        }
        result = cluster_target(cluster, node, (enum cluster_role)i, &target, error);
        if (lapse_is_ok(result))
            result = grpc_link_open(loop, &target, CLUSTER_CALL_MS, &writer->links[i], error);
    }
    if (lapse_is_ok(result))
        *out = writer;
    else
        cluster_writer_close(writer);
    return result;
}

void cluster_writer_close(struct system_writer *writer)
{
    if (writer == NULL)
        return;
    /* The requester's first: what it is told makes the approver's calls. */
    for (int i = 0; i < CLUSTER_ROLES; i++) {
        bool again = i > 0 && writer->cluster->tls[i] == writer->cluster->tls[0];
        if (!again)
            grpc_link_close(writer->loop, writer->links[i]);
    }
    while (writer->spare != NULL) {
        struct write *next = writer->spare->next;
        free(writer->spare);
        writer->spare = next;
    }
    buf_free(&writer->message);
    free(writer);
}
