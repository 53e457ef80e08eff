#include "node/audit_sign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/check.h"
#include "base/wire.h"
#include "proto/lapse/v1/audit.pb.h"

struct audit_key {
    EVP_PKEY *pair;
    uint8_t public_key[AUDIT_KEY_BYTES];
};

/* --- the key's file ----------------------------------------------------------------------------------------------- */

static lapse_result take(EVP_PKEY *pair, const char *path, struct audit_key **out, struct lapse_error *error)
{
    struct audit_key *key = mem_calloc(1, sizeof *key);
    size_t len = sizeof key->public_key;
    key->pair = pair;
    if (pair == NULL || EVP_PKEY_get_id(pair) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(pair, key->public_key, &len) != 1 || len != sizeof key->public_key) {
        audit_key_free(key);
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "%s is no Ed25519 key: put the node's own back, or move it away and a new one is made", path);
    }
    *out = key;
    return lapse_ok();
}

/* Whole or not at all: written beside, synced, then renamed. What lies there already, with whatever mode, is not used.
 */
static lapse_result write_pem(const char *path, mode_t mode, EVP_PKEY *pair, bool is_private, struct lapse_error *error)
{
    char beside[1024];
    (void)snprintf(beside, sizeof beside, "%s.new", path);
    (void)unlink(beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "can't write %s: %s", beside, strerror(errno));
    int written =
        is_private ? PEM_write_PrivateKey(file, pair, NULL, NULL, 0, NULL, NULL) : PEM_write_PUBKEY(file, pair);
    bool done = written == 1 && fflush(file) == 0 && fsync(fd) == 0;
    done = fclose(file) == 0 && done;
    if (!done || rename(beside, path) != 0) {
        (void)unlink(beside);
        return lapse_fail(error, LAPSE_UNAVAILABLE, "can't write %s: %s", path, strerror(errno));
    }
    return lapse_ok();
}

static lapse_result make(const char *path, EVP_PKEY **pair, struct lapse_error *error)
{
    EVP_PKEY *made = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    CHECK(made != NULL);
    lapse_result result = write_pem(path, 0600, made, true, error);
    if (lapse_is_ok(result))
        *pair = made;
    else
        EVP_PKEY_free(made);
    return result;
}

/* Nobody is asked for a passphrase: a daemon would wait for ever. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

/* Who else can read it can sign heads as this node. */
static lapse_result check_mode(FILE *file, const char *path, struct lapse_error *error)
{
    struct stat about;
    if (fstat(fileno(file), &about) != 0 || !S_ISREG(about.st_mode))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s is no file: put the node's own key back", path);
    if ((about.st_mode & 077) != 0)
        return lapse_fail(
            error, LAPSE_FAILED_PRECONDITION,
            "%s may be read or written by others (mode %03o): chmod 600 it, or move it away and a new one "
            "is made if they have read it",
            path, (unsigned)about.st_mode & 0777);
    return lapse_ok();
}

static lapse_result read_key(FILE *file, const char *path, EVP_PKEY **pair, struct lapse_error *error)
{
    lapse_result result = check_mode(file, path, error);
    if (lapse_is_ok(result))
        *pair = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
    (void)fclose(file); /* it was only read */
    ERR_clear_error();  /* what is no key is told by its absence */
    return result;
}

/* Written again when it is another key's: what auditors collect must be what signs. */
static bool is_public_of(const char *path, const EVP_PKEY *pair)
{
    FILE *file = fopen(path, "re");
    EVP_PKEY *there = file == NULL ? NULL : PEM_read_PUBKEY(file, NULL, no_passphrase, NULL);
    bool same = there != NULL && EVP_PKEY_eq(there, pair) == 1;
    EVP_PKEY_free(there);
    ERR_clear_error();
    if (file != NULL)
        (void)fclose(file); /* it was only read */
    return same;
}

lapse_result audit_key_open(const char *dir, struct audit_key **key, struct lapse_error *error)
{
    char path[600], public_path[600];
    EVP_PKEY *pair = NULL;
    struct audit_key *opened = NULL;
    lapse_result result = lapse_ok();
    (void)snprintf(path, sizeof path, "%s/audit.key", dir);
    (void)snprintf(public_path, sizeof public_path, "%s/audit.pub", dir);
    FILE *file = fopen(path, "re");
    if (file != NULL)
        result = read_key(file, path, &pair, error);
    else if (errno == ENOENT)
        result = make(path, &pair, error);
    else
        result = lapse_fail(error, LAPSE_UNAVAILABLE, "can't read %s: %s", path, strerror(errno));
    if (lapse_is_ok(result))
        result = take(pair, path, &opened, error);
    if (lapse_is_ok(result) && !is_public_of(public_path, pair))
        result = write_pem(public_path, 0644, pair, false, error);
    if (lapse_is_ok(result))
        *key = opened;
    else
        audit_key_free(opened);
    return result;
}

void audit_key_free(struct audit_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pair);
    free(key);
}

void audit_key_public(const struct audit_key *key, uint8_t out[AUDIT_KEY_BYTES])
{
    memcpy(out, key->public_key, AUDIT_KEY_BYTES);
}

/* --- heads -------------------------------------------------------------------------------------------------------- */

lapse_result audit_head_sign(const struct audit_key *key, const struct chain_statement *statement, struct buf *out)
{
    uint8_t text[CHAIN_STATEMENT_MAX], signature[AUDIT_SIGNATURE_BYTES];
    size_t len = chain_statement_bytes(statement, text), signature_len = sizeof signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, key->pair) == 1 &&
          EVP_DigestSign(context, signature, &signature_len, text, len) == 1 && signature_len == sizeof signature);
    EVP_MD_CTX_free(context);
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, lapse_v1_SignedHead_cluster_tag, statement->cluster);
    wire_put_uint(&writer, lapse_v1_SignedHead_epoch_tag, statement->epoch);
    wire_put_uint(&writer, lapse_v1_SignedHead_revision_tag, statement->revision);
    wire_put_bytes(&writer, lapse_v1_SignedHead_hash_tag, slice_of(statement->head.hash, sizeof statement->head.hash));
    wire_put_uint(&writer, lapse_v1_SignedHead_time_ms_tag, (uint64_t)statement->time_ms);
    wire_put_uint(&writer, lapse_v1_SignedHead_node_id_tag, statement->node_id);
    wire_put_bytes(&writer, lapse_v1_SignedHead_public_key_tag, slice_of(key->public_key, sizeof key->public_key));
    wire_put_bytes(&writer, lapse_v1_SignedHead_signature_tag, slice_of(signature, sizeof signature));
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

static bool take_bytes(const struct wire_field *field, void *out, size_t len)
{
    if (field->type != WIRE_BYTES || field->bytes.len != len)
        return false;
    memcpy(out, field->bytes.data, len);
    return true;
}

static bool take_number(const struct wire_field *field, uint64_t *out)
{
    *out = field->value;
    return field->type == WIRE_VARINT && field->value <= INT64_MAX;
}

static bool take_field(const struct wire_field *field, struct slice cluster, struct audit_claim *claim)
{
    uint64_t time_ms = 0;
    switch (field->number) {
    case lapse_v1_SignedHead_cluster_tag:
        return field->type == WIRE_BYTES && slice_equal(field->bytes, cluster);
    case lapse_v1_SignedHead_epoch_tag:
        claim->epoch = field->value;
        return field->type == WIRE_VARINT;
    case lapse_v1_SignedHead_revision_tag:
        return take_number(field, &claim->revision);
    case lapse_v1_SignedHead_hash_tag:
        return take_bytes(field, claim->hash, sizeof claim->hash);
    case lapse_v1_SignedHead_time_ms_tag:
        if (!take_number(field, &time_ms))
            return false;
        claim->time_ms = (int64_t)time_ms;
        return true;
    case lapse_v1_SignedHead_node_id_tag:
        return take_number(field, &claim->node_id);
    case lapse_v1_SignedHead_public_key_tag:
        return take_bytes(field, claim->public_key, sizeof claim->public_key);
    case lapse_v1_SignedHead_signature_tag:
        return take_bytes(field, claim->signature, sizeof claim->signature);
    default:
        return false;
    }
}

lapse_result audit_head_read(struct slice bytes, struct slice cluster, struct audit_claim *claim,
                             struct lapse_error *error)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    struct audit_claim read = {.epoch = 0};
    uint32_t seen = 0;
    while (wire_next(&wire, &field)) {
        if (!take_field(&field, cluster, &read))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "field %u of a signed head is not as it should be",
                              field.number);
        seen |= 1u << field.number;
    }
    /* All but the time, which is 0 before anybody knows it. */
    if (wire.failed || (seen | 1u << lapse_v1_SignedHead_time_ms_tag) != 0x1fe)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%zu bytes are no signed head of this cluster", bytes.len);
    *claim = read;
    return lapse_ok();
}

bool audit_claim_is_signed(const struct audit_claim *claim, struct slice cluster)
{
    uint8_t text[CHAIN_STATEMENT_MAX];
    struct chain_statement statement = {.cluster = cluster,
                                        .epoch = claim->epoch,
                                        .revision = claim->revision,
                                        .time_ms = claim->time_ms,
                                        .node_id = claim->node_id};
    memcpy(statement.head.hash, claim->hash, sizeof statement.head.hash);
    size_t len = chain_statement_bytes(&statement, text);
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, claim->public_key, sizeof claim->public_key);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(context != NULL);
    bool is_signed = key != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
                     EVP_DigestVerify(context, claim->signature, sizeof claim->signature, text, len) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return is_signed;
}
