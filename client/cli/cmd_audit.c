/* Commands about records: query, tail, export, verify, head, keys. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "client/audit_clock.h"
#include "client/audit_event.h"
#include "client/audit_ocsf.h"
#include "client/cli/audit_source.h"
#include "client/cli/output.h"

/* ---- Records on the terminal */

/* What the event is about, in a few words. */
static void print_about(FILE *out, const json_t *event)
{
    static const char *const paths[] = {"grant.id",      "grant.subject", "grant.resource", "roles.member",
                                        "point.id",      "lock.name",     "policy.name",    "eligibility.name",
                                        "campaign.name", "review.name",   "session.point",  "session.description",
                                        "sweep.reason",  "grant.reason"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        const char *text = audit_text(event, paths[i]);
        if (*text == '\0')
            continue;
        fputs("  ", out);
        output_text(out, text);
    }
}

/* Of a type that this build doesn't know: its number. */
static const char *type_of(const json_t *event, char number[32])
{
    if (json_is_string(audit_member(event, "type")))
        return audit_text(event, "type");
    snprintf(number, 32, "type %" PRId64, audit_number(event, "type"));
    return number;
}

static void print_record(struct cli *cli, const struct lapse_audit_record *record)
{
    struct lapse_error error;
    char clock[AUDIT_CLOCK_SIZE], number[32];
    json_t *event = audit_event_json(slice_of(record->event.data, record->event.len), NULL, &error);
    if (event == NULL) {
        fprintf(stderr, "lapse: record %" PRIu64 ": %s\n", record->revision, error.message);
    } else if (cli_output(cli) == CLI_JSON) {
        output_json_line(cli->out, audit_record_line(record, event));
    } else if (cli_output(cli) == CLI_ID) {
        output_text(cli->out, audit_text(event, "grant.id"));
        fputc('\n', cli->out);
        json_decref(event);
    } else {
        fprintf(cli->out, "%8" PRIu64 "  %s  %-21s ", record->revision,
                audit_clock(audit_number(event, "time_ms"), clock), type_of(event, number));
        output_text(cli->out, *audit_text(event, "actor") == '\0' ? "(clock)" : audit_text(event, "actor"));
        print_about(cli->out, event);
        fputc('\n', cli->out);
        json_decref(event);
    }
    fflush(cli->out);
}

/* ---- query and tail */

#define TYPES_MAX 64

struct audit_terms {
    struct lapse_audit_filter filter;
    enum lapse_event_type types[TYPES_MAX];
};

/* Borrows from the command line. An exit code. */
static int take_terms(struct cli *cli, struct audit_terms *terms)
{
    char **names;
    size_t n = cli_list(cli, "type", &names);
    int code = CLI_OK;
    terms->filter = (struct lapse_audit_filter){.grant_id = cli_text(cli, "grant"),
                                                .subject = cli_text(cli, "subject"),
                                                .resource = cli_text(cli, "resource"),
                                                .actor = cli_text(cli, "actor"),
                                                .types = terms->types};
    for (size_t i = 0; i < n && code == CLI_OK; i++) {
        int type = audit_event_type(names[i]);
        if (type == 0)
            code = cli_usage_error(cli, "there is no type of event \"%s\"; REVOKED is one, lapse-audit(5) lists them",
                                   names[i]);
        else if (terms->filter.n_types == TYPES_MAX)
            code = cli_usage_error(cli, "at most %d types", TYPES_MAX);
        else
            terms->types[terms->filter.n_types++] = (enum lapse_event_type)type;
    }
    cli_list_free(names, n);
    return code;
}

int cmd_audit_query(struct cli *cli)
{
    struct audit_terms terms;
    struct lapse_audit_query_args args = {.descending = cli_given(cli, "newest-first")};
    size_t left = cli_given(cli, "limit") ? (size_t)cli_number(cli, "limit") : SIZE_MAX;
    char token[1024] = "";
    int code = take_terms(cli, &terms);
    args.filter = terms.filter;
    args.filter.from_ms = cli_number(cli, "from");
    args.filter.to_ms = cli_number(cli, "to");
    while (code == CLI_OK && left > 0 && !ferror(cli->out)) {
        struct lapse_audit_page page;
        struct lapse_error error;
        args.page_token = token;
        args.page_size = left < LIMIT_PAGE ? (uint32_t)left : LIMIT_PAGE;
        if (!lapse_is_ok(lapse_audit_query(cli->client, &args, cli->timeout_ms, &page, &error)))
            return cli_fail(&error);
        for (size_t i = 0; i < page.n_records; i++)
            print_record(cli, &page.records[i]);
        left -= page.n_records < left ? page.n_records : left;
        snprintf(token, sizeof token, "%s", page.next_page_token);
        lapse_audit_page_free(&page);
        if (*token == '\0')
            break;
    }
    return code;
}

struct tail {
    struct cli *cli;
    uint64_t next; /* revision */
    int64_t left;  /* of --count; negative: no end */
};

static void tail_record(void *arg, const struct lapse_audit_record *record)
{
    struct tail *tail = arg;
    tail->next = record->revision + 1;
    if (tail->left == 0)
        return;
    tail->left -= tail->left > 0;
    print_record(tail->cli, record);
}

static void tail_head(void *arg, const struct lapse_signed_head *head)
{
    struct tail *tail = arg;
    if (cli_output(tail->cli) == CLI_JSON && tail->left != 0)
        output_json_line(tail->cli->out, audit_head_line(head));
}

/* Where a tail begins that was not told: behind what is there now. */
static int tail_begin(struct cli *cli, uint64_t *next)
{
    struct lapse_audit_head newest;
    struct lapse_error error;
    if (cli_given(cli, "from-revision")) {
        *next = (uint64_t)cli_number(cli, "from-revision");
        return *next == 0 ? cli_usage_error(cli, "the first record has revision 1") : CLI_OK;
    }
    if (!lapse_is_ok(lapse_audit_head(cli->client, NULL, cli->timeout_ms, &newest, &error)))
        return cli_fail(&error);
    *next = newest.head.revision + 1;
    lapse_audit_head_free(&newest);
    return CLI_OK;
}

/* A call has an end, a tail has none: it is asked again, behind what was seen. With --count each call is short, since a
 * callback can't end it. */
int cmd_audit_tail(struct cli *cli)
{
    static const struct lapse_audit_callbacks callbacks = {tail_record, tail_head};
    struct tail tail = {.cli = cli, .left = cli_given(cli, "count") ? cli_number(cli, "count") : -1};
    struct audit_terms terms;
    struct lapse_error error;
    int code = take_terms(cli, &terms);
    if (code == CLI_OK)
        code = tail_begin(cli, &tail.next);
    while (code == CLI_OK && tail.left != 0 && !ferror(cli->out)) {
        struct lapse_audit_tail_args args = {.filter = terms.filter, .from_revision = tail.next};
        lapse_result result =
            lapse_audit_tail(cli->client, &args, tail.left > 0 ? 1000 : 3600000, &callbacks, &tail, &error);
        if (!lapse_is_ok(result) && result.code != LAPSE_DEADLINE_EXCEEDED)
            code = cli_fail(&error);
    }
    return code;
}

/* ---- export */

struct export
{
    struct cli *cli;
    const char *cluster;
    bool ocsf;
    uint64_t to;
    struct audit_trailer trailer;
    uint64_t last_head;
};

/* Not flushed line by line: there may be millions. */
static void export_line(struct export *export, json_t *line)
{
    FILE *out = export->cli->out;
    (void)json_dumpf(line, out, JSON_COMPACT); /* a failure stays with the stream, and is told at the end */
    json_decref(line);
    fputc('\n', out);
}

static void export_record(void *arg, const struct lapse_audit_record *record)
{
    struct export *export = arg;
    struct lapse_error error;
    json_t *event = audit_event_json(slice_of(record->event.data, record->event.len), NULL, &error);
    if (event == NULL)
        event = json_pack("{s:s}", "malformed", error.message); /* the verifier names it */
    export->trailer.records++;
    if (export->ocsf) {
        export_line(export, audit_ocsf(export->cluster, record, event));
        json_decref(event);
    } else {
        export_line(export, audit_record_line(record, event));
    }
}

static void export_head(void *arg, const struct lapse_signed_head *head)
{
    struct export *export = arg;
    if (export->ocsf || head->revision <= export->last_head || head->revision > export->to)
        return;
    export->last_head = head->revision;
    export->trailer.heads++;
    export_line(export, audit_head_line(head));
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Header, records with heads in between, the newest head when the export reaches it, trailer. */
static lapse_result export_lines(struct export *export, const struct lapse_audit_head *newest, uint64_t from,
                                 uint64_t to, struct lapse_error *error)
{
    static const struct lapse_audit_callbacks callbacks = {export_record, export_head};
    struct cli *cli = export->cli;
    uint8_t previous[LAPSE_AUDIT_HASH_BYTES];
    lapse_result result = audit_source_previous(cli, from, previous, error);
    if (!lapse_is_ok(result))
        return result;
    struct audit_header header = {
        newest->head.cluster, newest->head.epoch, from, to, {previous, sizeof previous}, now_ms()};
    if (!export->ocsf)
        export_line(export, audit_header_line(&header));
    result = audit_source_tail(cli, from, to, &callbacks, export, error);
    if (!lapse_is_ok(result))
        return result;
    export_head(export, &newest->head);
    if (!export->ocsf)
        export_line(export, audit_trailer_line(&export->trailer));
    return result;
}

int cmd_audit_export(struct cli *cli)
{
    struct lapse_audit_head newest;
    struct lapse_error error;
    struct export export = {.cli = cli, .ocsf = strcmp(cli_text(cli, "format"), "ocsf") == 0};
    if (!lapse_is_ok(lapse_audit_head(cli->client, NULL, cli->timeout_ms, &newest, &error)))
        return cli_fail(&error);
    uint64_t from = cli_given(cli, "from-revision") ? (uint64_t)cli_number(cli, "from-revision") : 1,
             last = newest.head.revision;
    uint64_t to = cli_given(cli, "to-revision") ? (uint64_t)cli_number(cli, "to-revision") : last;
    int code = CLI_OK;
    export.cluster = newest.head.cluster;
    export.to = to;
    if (from == 0 || from > to || to > last)
        code = cli_usage_error(cli,
                               "there are records 1 to %" PRIu64
                               "; --from-revision and --to-revision must lie in there, in this order",
                               last);
    else if (!lapse_is_ok(export_lines(&export, &newest, from, to, &error)))
        code = cli_fail(&error);
    else if (to < last && !export.ocsf)
        fprintf(stderr,
                "lapse: the newest signed head is of record %" PRIu64
                ": what of this export lies behind its last signed head can't be verified\n",
                last);
    lapse_audit_head_free(&newest);
    return code;
}

/* ---- verify */

struct expecting {
    struct audit_verify *verify;
    const char *path;
    uint32_t heads;
};

static lapse_result on_head_line(void *arg, const char *text, size_t len, struct lapse_error *error)
{
    struct expecting *expecting = arg;
    struct audit_line line;
    lapse_result result = audit_line_parse(text, len, &line, error);
    if (!lapse_is_ok(result))
        return result;
    expecting->heads += line.kind == AUDIT_LINE_HEAD;
    if (line.kind == AUDIT_LINE_HEAD)
        result = audit_verify_expect(expecting->verify, &line.head, expecting->path, error);
    else if (line.kind != AUDIT_LINE_KEY)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "it is no signed head; \"lapse audit head\" prints one");
    audit_line_release(&line);
    return result;
}

static lapse_result expect_heads(const struct cli *cli, struct audit_verify *verify, struct lapse_error *error)
{
    char **paths;
    size_t n = cli_list(cli, "head", &paths);
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < n && lapse_is_ok(result); i++) {
        struct expecting expecting = {verify, paths[i], 0};
        result = audit_file_read(paths[i], on_head_line, &expecting, error);
        if (lapse_is_ok(result) && expecting.heads == 0) /* who gives a head counts on it */
            result = lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                                "there is no signed head in %s; \"lapse audit head\" prints one", paths[i]);
    }
    cli_list_free(paths, n);
    return result;
}

static json_t *verdict_json(const struct audit_verdict *v)
{
    return json_pack("{s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "verified",
                     v->signed_to == v->last && v->records > 0, "cluster", v->cluster, "records",
                     (json_int_t)v->records, "first_revision", (json_int_t)v->first, "last_revision",
                     (json_int_t)v->last, "heads", (json_int_t)v->heads, "signed_to", (json_int_t)v->signed_to,
                     "signed_by", (json_int_t)v->signed_by, "signed_ms", (json_int_t)v->signed_ms,
                     "heads_from_elsewhere_met", (json_int_t)v->expected_met, "heads_from_elsewhere_older",
                     (json_int_t)v->expected_before, "records_of_a_newer_version", (json_int_t)v->newer);
}

static void print_verdict(FILE *out, const struct audit_verdict *v)
{
    char clock[AUDIT_CLOCK_SIZE];
    fputs("cluster ", out);
    output_text(out, v->cluster);
    fprintf(out, ": records %" PRIu64 " to %" PRIu64 ", %" PRIu64 " in all, form one chain without a gap\n", v->first,
            v->last, v->records);
    if (v->signed_to > 0)
        fprintf(out, "signed up to record %" PRIu64 " by node %" PRIu64 " at %s\n", v->signed_to, v->signed_by,
                audit_clock(v->signed_ms, clock));
    if (v->signed_to < v->last)
        fprintf(out, "NOT SIGNED: records %" PRIu64 " to %" PRIu64 ": whoever made this file could have written them\n",
                v->signed_to < v->first ? v->first : v->signed_to + 1, v->last);
    if (v->first > 1)
        fprintf(out, "it begins with record %" PRIu64 ": what was before is not in this file\n", v->first);
    if (v->expected_met + v->expected_before > 0)
        fprintf(out, "heads from elsewhere: %" PRIu32 " fit, %" PRIu32 " are older than the first record\n",
                v->expected_met, v->expected_before);
    if (v->newer > 0)
        fprintf(out,
                "%" PRIu64 " records have fields that this version doesn't know: their bytes are verified, their "
                "readable form is not\n",
                v->newer);
}

static lapse_result verify_all(const struct cli *cli, const struct audit_keys *keys, struct audit_verdict *verdict,
                               struct lapse_error *error)
{
    struct audit_verify *verify = audit_verify_new(keys, NULL, NULL);
    lapse_result result = expect_heads(cli, verify, error);
    if (lapse_is_ok(result))
        result = audit_file_read(cli->operands[0], audit_verify_line, verify, error);
    if (lapse_is_ok(result))
        result = audit_verify_end(verify, verdict, error);
    audit_verify_free(verify);
    return result;
}

static int say_bad(struct cli *cli, const struct lapse_error *error)
{
    json_t *why = json_string(error->message);
    if (why == NULL) /* it cites bytes that are no text */
        why = json_string("the file is no text");
    if (error->code == LAPSE_DATA_LOSS && cli_output(cli) == CLI_JSON)
        output_json_line(cli->out, json_pack("{s:b, s:O}", "verified", false, "bad", why));
    json_decref(why);
    return audit_source_fail(error);
}

int cmd_audit_verify(struct cli *cli)
{
    struct audit_keys *keys = NULL;
    struct audit_verdict verdict;
    struct lapse_error error;
    lapse_result result = audit_source_keys(cli, &keys, &error);
    if (lapse_is_ok(result))
        result = verify_all(cli, keys, &verdict, &error);
    audit_keys_free(keys);
    if (!lapse_is_ok(result))
        return say_bad(cli, &error);
    if (cli_output(cli) == CLI_JSON)
        output_json_line(cli->out, verdict_json(&verdict));
    else
        print_verdict(cli->out, &verdict);
    return verdict.signed_to < verdict.last || verdict.records == 0 ? CLI_CONFLICT : CLI_OK;
}

/* ---- head and keys */

int cmd_audit_head(struct cli *cli)
{
    struct lapse_audit_head newest;
    struct lapse_error error;
    if (!lapse_is_ok(lapse_audit_head(cli->client, NULL, cli->timeout_ms, &newest, &error)))
        return cli_fail(&error);
    output_json_line(cli->out, audit_head_line(&newest.head));
    lapse_audit_head_free(&newest);
    return CLI_OK;
}

int cmd_audit_keys(struct cli *cli)
{
    struct lapse_audit_head newest;
    struct lapse_error error;
    if (!lapse_is_ok(lapse_audit_head(cli->client, NULL, cli->timeout_ms, &newest, &error)))
        return cli_fail(&error);
    for (size_t i = 0; i < newest.n_keys; i++)
        output_json_line(cli->out, audit_key_line(&newest.keys[i]));
    lapse_audit_head_free(&newest);
    return CLI_OK;
}
