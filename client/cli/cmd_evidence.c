/* lapse evidence: one grant's story, with its proof. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "client/audit_event.h"
#include "client/audit_evidence.h"
#include "client/cli/audit_source.h"
#include "client/cli/output.h"

/* From the grant's first record to the newest head: more than this are not fetched to verify one grant. */
#define CHAIN_MAX 200000u

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int print(struct cli *cli, const struct evidence *evidence, const struct evidence_proof *proof)
{
    const char *format = cli_text(cli, "format");
    json_t *document = evidence_document(evidence, proof, now_ms());
    bool complete = json_is_true(audit_member(document, "complete"));
    if (strcmp(format, "json") == 0 || cli_output(cli) == CLI_JSON) {
        output_json_line(cli->out, document);
        document = NULL;
    } else if (strcmp(format, "html") == 0) {
        evidence_print_html(cli->out, document);
    } else {
        evidence_print_text(cli->out, document);
    }
    json_decref(document);
    return complete ? CLI_OK : CLI_CONFLICT;
}

static int not_found(struct cli *cli)
{
    fprintf(stderr, "lapse: no record is about grant %s\n", cli->operands[0]);
    return CLI_NOT_FOUND;
}

static struct evidence_proof proof_of(const struct audit_source *source)
{
    const struct audit_verdict *v = &source->verdict;
    return (struct evidence_proof){.verified = source->with_keys && v->signed_to == v->last,
                                   .text = source->proof,
                                   .cluster = v->cluster,
                                   .from = v->first,
                                   .signed_to = v->signed_to,
                                   .node_id = v->signed_by,
                                   .signed_ms = v->signed_ms};
}

/* ---- From an export: one pass */

struct from_export {
    struct cli *cli;
    struct evidence *evidence;
};

/* Whether the file begins with revision 1 is known with its first record. */
static void add_from_export(void *arg, const struct lapse_audit_record *record, const json_t *event)
{
    struct from_export *from = arg;
    if (from->evidence == NULL)
        from->evidence = evidence_new(from->cli->operands[0], record->revision == 1);
    evidence_add(from->evidence, record, event);
}

static int evidence_from_export(struct cli *cli)
{
    struct from_export from = {cli, NULL};
    struct audit_source source;
    int code = audit_source_read(cli, 1, add_from_export, &from, &source);
    if (code == CLI_OK) {
        struct evidence_proof proof = proof_of(&source);
        code = from.evidence == NULL || !evidence_found(from.evidence) ? not_found(cli)
                                                                       : print(cli, from.evidence, &proof);
    }
    evidence_free(from.evidence);
    return code;
}

/* ---- From the cluster: what is about the grant, then the chain around it */

static void add_streamed(void *arg, const struct lapse_audit_record *record)
{
    json_t *event = audit_event_json(slice_of(record->event.data, record->event.len), NULL, NULL);
    if (event != NULL)
        evidence_add(arg, record, event);
    json_decref(event);
}

/* Again, with what lies between: the very records of the chain are told then, not those that were streamed. */
static int read_chain(struct cli *cli, struct evidence **evidence, struct audit_source *source)
{
    uint64_t first = evidence_first(*evidence);
    struct evidence *verified = evidence_new(cli->operands[0], first == 1);
    int code = audit_source_read(cli, first, evidence_add, verified, source);
    if (code != CLI_OK) {
        evidence_free(verified);
        return code;
    }
    evidence_free(*evidence);
    *evidence = verified;
    return code;
}

/* What a node knows of the revocation's way; it may have forgotten. */
static void add_barrier(struct cli *cli, struct evidence *evidence)
{
    struct lapse_get_barrier_args args = {.grant_id = cli->operands[0]};
    struct lapse_barrier_view view;
    struct lapse_error error;
    if (!lapse_is_ok(lapse_get_barrier(cli->client, &args, cli->timeout_ms, &view, &error)))
        return;
    evidence_barrier(evidence, &view.barrier);
    lapse_barrier_view_free(&view);
}

static int finish(struct cli *cli, struct evidence **evidence, uint64_t newest)
{
    struct audit_source source = {0};
    struct evidence_proof proof = {.text = source.proof, .cluster = "", .from = evidence_first(*evidence)};
    if (newest - proof.from < CHAIN_MAX) {
        int code = read_chain(cli, evidence, &source);
        if (code != CLI_OK)
            return code;
        proof = proof_of(&source);
    } else {
        snprintf(source.proof, sizeof source.proof,
                 "not verified: %" PRIu64
                 " records lie between the grant's first one and the newest signed head; export them and use --export",
                 newest - proof.from);
    }
    add_barrier(cli, *evidence);
    return print(cli, *evidence, &proof);
}

static int evidence_from_cluster(struct cli *cli)
{
    static const struct lapse_audit_callbacks callbacks = {add_streamed, NULL};
    struct lapse_evidence_args args = {cli->operands[0]};
    struct evidence *evidence = evidence_new(cli->operands[0], false);
    struct lapse_audit_head newest = {0};
    struct lapse_error error;
    int code;
    if (!lapse_is_ok(lapse_audit_evidence(cli->client, &args, cli->timeout_ms, &callbacks, evidence, &error)) ||
        !lapse_is_ok(lapse_audit_head(cli->client, NULL, cli->timeout_ms, &newest, &error)))
        code = cli_fail(&error);
    else
        code = evidence_found(evidence) ? finish(cli, &evidence, newest.head.revision) : not_found(cli);
    lapse_audit_head_free(&newest);
    evidence_free(evidence);
    return code;
}

int cmd_evidence(struct cli *cli)
{
    return cli_given(cli, "export") ? evidence_from_export(cli) : evidence_from_cluster(cli);
}
