#include "client/audit_keys.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"

struct key {
    uint64_t node_id;
    uint8_t bytes[LAPSE_AUDIT_KEY_BYTES];
};

struct audit_keys {
    struct key *keys;
    size_t n;
};

struct audit_keys *audit_keys_new(void)
{
    return mem_calloc(1, sizeof(struct audit_keys));
}

void audit_keys_free(struct audit_keys *keys)
{
    if (keys == NULL)
        return;
    free(keys->keys);
    free(keys);
}

size_t audit_keys_count(const struct audit_keys *keys)
{
    return keys->n;
}

static bool has_key(const struct audit_keys *keys, uint64_t node_id, struct lapse_bytes key)
{
    for (size_t i = 0; i < keys->n; i++)
        if ((keys->keys[i].node_id == node_id || keys->keys[i].node_id == 0) && key.len == LAPSE_AUDIT_KEY_BYTES &&
            memcmp(keys->keys[i].bytes, key.data, key.len) == 0)
            return true;
    return false;
}

void audit_keys_add(struct audit_keys *keys, const struct lapse_node_key *key)
{
    if (key->public_key.len != LAPSE_AUDIT_KEY_BYTES || has_key(keys, key->node_id, key->public_key))
        return;
    keys->keys = mem_realloc(keys->keys, (keys->n + 1) * sizeof *keys->keys);
    keys->keys[keys->n].node_id = key->node_id;
    memcpy(keys->keys[keys->n++].bytes, key->public_key.data, LAPSE_AUDIT_KEY_BYTES);
}

/* ---- Files */

/* The next line with its end, or what is left of the file; more than LIMIT_AUDIT_LINE is not read. 0: nothing is left.
 * Not fgets, which doesn't tell the zeros of a file from the end of a line. */
static size_t read_line(FILE *file, char *text)
{
    size_t len = 0;
    int c = 0;
    while (len <= LIMIT_AUDIT_LINE && c != '\n' && (c = getc_unlocked(file)) != EOF)
        text[len++] = (char)c;
    text[len] = '\0';
    return len;
}

static bool is_blank(const char *text, size_t len)
{
    return strspn(text, " \r\n\t") == len;
}

static lapse_result read_lines(FILE *file, const char *path, audit_file_cb on_line, void *arg,
                               struct lapse_error *error)
{
    char *text = mem_alloc(LIMIT_AUDIT_LINE + 2);
    lapse_result result = lapse_ok();
    size_t len = 0;
    for (uint64_t number = 1; lapse_is_ok(result) && (len = read_line(file, text)) > 0; number++) {
        struct lapse_error why = {.code = LAPSE_OK};
        if (len > LIMIT_AUDIT_LINE)
            result = lapse_fail(&why, LAPSE_INVALID_ARGUMENT, "it is longer than %u bytes", LIMIT_AUDIT_LINE);
        else if (!is_blank(text, len))
            result = on_line(arg, text, len, &why);
        if (!lapse_is_ok(result))
            (void)lapse_fail(error, why.code, "%s, line %" PRIu64 ": %s", path, number, why.message);
    }
    if (lapse_is_ok(result) && ferror(file))
        result = lapse_fail(error, LAPSE_UNAVAILABLE, "can't read %s: %s", path, strerror(errno));
    free(text);
    return result;
}

lapse_result audit_file_read(const char *path, audit_file_cb on_line, void *arg, struct lapse_error *error)
{
    if (strcmp(path, "-") == 0)
        return read_lines(stdin, "standard input", on_line, arg, error);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return lapse_fail(error, errno == ENOENT ? LAPSE_NOT_FOUND : LAPSE_INVALID_ARGUMENT, "can't open %s: %s", path,
                          strerror(errno));
    lapse_result result = read_lines(file, path, on_line, arg, error);
    (void)fclose(file); /* it was only read */
    return result;
}

static lapse_result on_key_line(void *arg, const char *text, size_t len, struct lapse_error *error)
{
    struct audit_line line;
    lapse_result result = audit_line_parse(text, len, &line, error);
    if (!lapse_is_ok(result))
        return result;
    if (line.kind == AUDIT_LINE_KEY)
        audit_keys_add(arg, &line.key);
    else
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "it is no key; \"lapse audit keys\" prints them");
    audit_line_release(&line);
    return result;
}

/* PEM, as the file audit.pub of a node's data directory: it doesn't say which node's it is. False: it is none. */
static bool load_pem(struct audit_keys *keys, const char *path)
{
    uint8_t raw[LAPSE_AUDIT_KEY_BYTES];
    size_t len = sizeof raw;
    FILE *file = fopen(path, "re");
    EVP_PKEY *key = file == NULL ? NULL : PEM_read_PUBKEY(file, NULL, NULL, NULL);
    bool good = key != NULL && EVP_PKEY_id(key) == EVP_PKEY_ED25519 &&
                EVP_PKEY_get_raw_public_key(key, raw, &len) == 1 && len == sizeof raw;
    if (good)
        audit_keys_add(keys, &(struct lapse_node_key){0, {raw, sizeof raw}});
    EVP_PKEY_free(key);
    ERR_clear_error(); /* most files are none, and that is no error */
    if (file != NULL)
        (void)fclose(file); /* it was only read */
    return good;
}

static lapse_result load_file(struct audit_keys *keys, const char *path, struct lapse_error *error)
{
    return load_pem(keys, path) ? lapse_ok() : audit_file_read(path, on_key_line, keys, error);
}

static lapse_result load_directory(struct audit_keys *keys, const char *path, DIR *directory, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    struct dirent *entry;
    while (lapse_is_ok(result) && (entry = readdir(directory)) != NULL) {
        char name[4096];
        struct stat about;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (*entry->d_name != '.' && stat(name, &about) == 0 && S_ISREG(about.st_mode))
            result = load_file(keys, name, error);
    }
    return result;
}

lapse_result audit_keys_load(struct audit_keys *keys, const char *path, struct lapse_error *error)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        return load_file(keys, path, error);
    lapse_result result = load_directory(keys, path, directory, error);
    (void)closedir(directory);
    return result;
}

/* ---- Heads */

size_t audit_head_bytes(const struct lapse_signed_head *head, uint8_t out[CHAIN_STATEMENT_MAX])
{
    struct chain_statement statement = {.cluster = slice_str(head->cluster),
                                        .epoch = head->epoch,
                                        .revision = head->revision,
                                        .time_ms = head->time_ms,
                                        .node_id = head->node_id};
    /* Checked before: a line or a message with other sizes is refused. */
    CHECK(statement.cluster.len <= LIMIT_CLUSTER && head->hash.len == sizeof statement.head.hash);
    memcpy(statement.head.hash, head->hash.data, sizeof statement.head.hash);
    return chain_statement_bytes(&statement, out);
}

static bool is_signed(const struct lapse_signed_head *head)
{
    uint8_t bytes[CHAIN_STATEMENT_MAX];
    size_t len = audit_head_bytes(head, bytes);
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, head->public_key.data, head->public_key.len);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(context != NULL);
    bool good = key != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestVerify(context, head->signature.data, head->signature.len, bytes, len) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return good;
}

lapse_result audit_head_check(const struct audit_keys *keys, const struct lapse_signed_head *head,
                              struct lapse_error *error)
{
    if (strlen(head->cluster) > LIMIT_CLUSTER || head->hash.len != LAPSE_AUDIT_HASH_BYTES ||
        head->signature.len != LAPSE_AUDIT_SIGNATURE_BYTES)
        return lapse_fail(error, LAPSE_DATA_LOSS, "the head of revision %" PRIu64 " is malformed", head->revision);
    if (!has_key(keys, head->node_id, head->public_key))
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "the head of revision %" PRIu64
                          " is signed with a key that is not among the given ones of node %" PRIu64,
                          head->revision, head->node_id);
    if (!is_signed(head))
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "the signature of the head of revision %" PRIu64 " is not by node %" PRIu64, head->revision,
                          head->node_id);
    return lapse_ok();
}
