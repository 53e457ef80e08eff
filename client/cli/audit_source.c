#include "client/cli/audit_source.h"

#include <inttypes.h>
#include <string.h>

#include "client/audit_clock.h"
#include "client/cli/output.h"

#define SLICE 10000u /* records of one call */

lapse_result audit_source_keys(const struct cli *cli, struct audit_keys **keys, struct lapse_error *error)
{
    char **paths;
    size_t n = cli_list(cli, "keys", &paths);
    lapse_result result = lapse_ok();
    struct audit_keys *loaded = n == 0 ? NULL : audit_keys_new();
    for (size_t i = 0; i < n && lapse_is_ok(result); i++)
        result = audit_keys_load(loaded, paths[i], error);
    cli_list_free(paths, n);
    if (lapse_is_ok(result) && loaded != NULL && audit_keys_count(loaded) == 0)
        result = lapse_fail(error, LAPSE_NOT_FOUND, "there are no keys in %s; \"lapse audit keys\" prints them",
                            cli_text(cli, "keys"));
    if (!lapse_is_ok(result))
        audit_keys_free(loaded);
    else
        *keys = loaded;
    return result;
}

/* ---- From the cluster */

struct tailing {
    const struct lapse_audit_callbacks *callbacks;
    void *arg;
    uint64_t next;
};

static void on_tail_record(void *arg, const struct lapse_audit_record *record)
{
    struct tailing *tailing = arg;
    tailing->next = record->revision + 1;
    tailing->callbacks->on_record(tailing->arg, record);
}

static void on_tail_head(void *arg, const struct lapse_signed_head *head)
{
    struct tailing *tailing = arg;
    if (tailing->callbacks->on_head != NULL)
        tailing->callbacks->on_head(tailing->arg, head);
}

lapse_result audit_source_tail(struct cli *cli, uint64_t from, uint64_t to,
                               const struct lapse_audit_callbacks *callbacks, void *arg, struct lapse_error *error)
{
    static const struct lapse_audit_callbacks mine = {on_tail_record, on_tail_head};
    struct tailing tailing = {callbacks, arg, from};
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result) && tailing.next <= to) {
        uint64_t next = tailing.next, end = to - next < SLICE ? to : next + SLICE - 1;
        struct lapse_audit_tail_args args = {.from_revision = next, .to_revision = end};
        result = lapse_audit_tail(cli->client, &args, cli->timeout_ms, &mine, &tailing, error);
        if (lapse_is_ok(result) && tailing.next <= end)
            return lapse_fail(error, LAPSE_DATA_LOSS,
                              "the node ended the stream before record %" PRIu64 ": it doesn't have it", tailing.next);
    }
    return result;
}

static void on_previous(void *arg, const struct lapse_audit_record *record)
{
    if (record->hash.len == LAPSE_AUDIT_HASH_BYTES)
        memcpy(arg, record->hash.data, LAPSE_AUDIT_HASH_BYTES);
}

lapse_result audit_source_previous(struct cli *cli, uint64_t from, uint8_t hash[LAPSE_AUDIT_HASH_BYTES],
                                   struct lapse_error *error)
{
    static const struct lapse_audit_callbacks callbacks = {on_previous, NULL};
    memset(hash, 0, LAPSE_AUDIT_HASH_BYTES);
    return from <= 1 ? lapse_ok() : audit_source_tail(cli, from - 1, from - 1, &callbacks, hash, error);
}

struct following {
    struct audit_verify *verify;
    bool failed;
    struct lapse_error error; /* then */
};

static void on_record(void *arg, const struct lapse_audit_record *record)
{
    struct following *following = arg;
    if (!following->failed)
        following->failed = !lapse_is_ok(audit_verify_record(following->verify, record, NULL, &following->error));
}

static lapse_result follow(struct cli *cli, struct following *following, const struct lapse_audit_head *newest,
                           uint64_t from, struct lapse_error *error)
{
    static const struct lapse_audit_callbacks callbacks = {on_record, NULL};
    uint8_t previous[LAPSE_AUDIT_HASH_BYTES];
    struct audit_header header = {newest->head.cluster,  newest->head.epoch,          from,
                                  newest->head.revision, {previous, sizeof previous}, 0};
    lapse_result result = audit_source_previous(cli, from, previous, error);
    if (lapse_is_ok(result))
        result = audit_verify_begin(following->verify, &header, error);
    if (lapse_is_ok(result))
        result = audit_source_tail(cli, from, newest->head.revision, &callbacks, following, error);
    if (following->failed)
        return lapse_fail(error, following->error.code, "%s", following->error.message);
    return lapse_is_ok(result) ? audit_verify_head(following->verify, &newest->head, error) : result;
}

static lapse_result read_cluster(struct cli *cli, struct audit_keys **keys, uint64_t from, audit_record_cb on_record_,
                                 void *arg, struct audit_source *source, struct lapse_error *error)
{
    struct lapse_audit_head newest;
    lapse_result result = lapse_audit_head(cli->client, NULL, cli->timeout_ms, &newest, error);
    if (!lapse_is_ok(result))
        return result;
    if (*keys == NULL) {
        *keys = audit_keys_new();
        for (size_t i = 0; i < newest.n_keys; i++)
            audit_keys_add(*keys, &newest.keys[i]);
    }
    struct following following = {.verify = audit_verify_new(*keys, on_record_, arg)};
    result = follow(cli, &following, &newest, from, error);
    if (lapse_is_ok(result)) {
        struct audit_trailer trailer = {newest.head.revision + 1 - from, 1};
        result = audit_verify_trailer(following.verify, &trailer, error);
    }
    if (lapse_is_ok(result))
        result = audit_verify_end(following.verify, &source->verdict, error);
    audit_verify_free(following.verify);
    lapse_audit_head_free(&newest);
    return result;
}

/* ---- From a file */

static lapse_result read_file(struct cli *cli, struct audit_keys *keys, audit_record_cb on_record_, void *arg,
                              struct audit_source *source, struct lapse_error *error)
{
    struct audit_verify *verify = audit_verify_new(keys, on_record_, arg);
    lapse_result result = audit_file_read(cli_text(cli, "export"), audit_verify_line, verify, error);
    if (lapse_is_ok(result))
        result = audit_verify_end(verify, &source->verdict, error);
    audit_verify_free(verify);
    return result;
}

/* ---- Both */

int audit_source_fail(const struct lapse_error *error)
{
    bool bad = error->code == LAPSE_DATA_LOSS;
    fputs(bad ? "lapse: BAD: " : "lapse: ", stderr);
    output_text(stderr, error->message);
    fputc('\n', stderr);
    return bad ? CLI_DENIED : cli_exit_code(error->code);
}

static void say_proof(struct audit_source *source)
{
    const struct audit_verdict *v = &source->verdict;
    char clock[AUDIT_CLOCK_SIZE];
    if (!source->with_keys)
        snprintf(source->proof, sizeof source->proof,
                 "records %" PRIu64 " to %" PRIu64
                 " form one chain; no keys were given, so nothing shows that they are the cluster's",
                 v->first, v->last);
    else if (v->signed_to < v->last)
        snprintf(source->proof, sizeof source->proof,
                 "records %" PRIu64 " to %" PRIu64
                 " form one chain; a node's signature covers them up to record %" PRIu64 " only",
                 v->first, v->last, v->signed_to);
    else
        snprintf(source->proof, sizeof source->proof,
                 "records %" PRIu64 " to %" PRIu64 " form one chain without a gap, and node %" PRIu64
                 " signed its end at %s%s",
                 v->first, v->last, v->signed_by, audit_clock(v->signed_ms, clock),
                 source->own_keys ? "" : ", with the key that the cluster says is its own");
}

int audit_source_read(struct cli *cli, uint64_t from, audit_record_cb on_record_, void *arg,
                      struct audit_source *source)
{
    struct audit_keys *keys = NULL;
    struct lapse_error error;
    memset(source, 0, sizeof *source);
    lapse_result result = audit_source_keys(cli, &keys, &error);
    if (!lapse_is_ok(result))
        return audit_source_fail(&error);
    source->own_keys = keys != NULL;
    if (cli_given(cli, "export"))
        result = read_file(cli, keys, on_record_, arg, source, &error);
    else
        result = read_cluster(cli, &keys, from, on_record_, arg, source, &error);
    source->with_keys = keys != NULL;
    audit_keys_free(keys);
    if (!lapse_is_ok(result))
        return audit_source_fail(&error);
    say_proof(source);
    return CLI_OK;
}
