/* Reading keeps the parsed JSON: strings are lent from there. Bytes (hex, base64) are decoded into one block, since all
 * of a line's bytes are shorter than its text. */
#include "client/audit_line.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

/* ---- Writing */

static json_t *hex(struct lapse_bytes bytes)
{
    char *text = mem_alloc(bytes.len * 2 + 1);
    for (size_t i = 0; i < bytes.len; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes.data[i]);
    json_t *json = json_stringn(text, bytes.len * 2);
    free(text);
    return json;
}

static json_t *base64(struct lapse_bytes bytes)
{
    char *text = mem_alloc((bytes.len + 2) / 3 * 4 + 1);
    int len = EVP_EncodeBlock((unsigned char *)text, bytes.data, (int)bytes.len);
    json_t *json = json_stringn(text, (size_t)len);
    free(text);
    return json;
}

static json_t *line_of(const char *kind, json_t *body)
{
    CHECK(body != NULL);
    return json_pack("{s:o}", kind, body);
}

json_t *audit_header_line(const struct audit_header *header)
{
    return line_of("header",
                   json_pack("{s:i, s:s, s:I, s:I, s:I, s:o, s:I}", "format", AUDIT_FORMAT, "cluster", header->cluster,
                             "epoch", (json_int_t)header->epoch, "from_revision", (json_int_t)header->from_revision,
                             "to_revision", (json_int_t)header->to_revision, "previous_hash", hex(header->previous),
                             "exported_ms", (json_int_t)header->exported_ms));
}

json_t *audit_record_line(const struct lapse_audit_record *record, json_t *readable)
{
    return line_of("record", json_pack("{s:I, s:I, s:o, s:o, s:o}", "epoch", (json_int_t)record->epoch, "revision",
                                       (json_int_t)record->revision, "event", base64(record->event), "hash",
                                       hex(record->hash), "readable", readable));
}

json_t *audit_head_line(const struct lapse_signed_head *head)
{
    return line_of("head",
                   json_pack("{s:s, s:I, s:I, s:o, s:I, s:I, s:o, s:o}", "cluster", head->cluster, "epoch",
                             (json_int_t)head->epoch, "revision", (json_int_t)head->revision, "hash", hex(head->hash),
                             "time_ms", (json_int_t)head->time_ms, "node_id", (json_int_t)head->node_id, "public_key",
                             hex(head->public_key), "signature", hex(head->signature)));
}

json_t *audit_trailer_line(const struct audit_trailer *trailer)
{
    return line_of("trailer", json_pack("{s:I, s:I}", "records", (json_int_t)trailer->records, "heads",
                                        (json_int_t)trailer->heads));
}

json_t *audit_key_line(const struct lapse_node_key *key)
{
    return line_of("key",
                   json_pack("{s:I, s:o}", "node_id", (json_int_t)key->node_id, "public_key", hex(key->public_key)));
}

/* ---- Reading */

struct reading {
    const json_t *body;
    size_t taken;  /* members */
    uint8_t *free; /* in line->bytes */
    char wrong[128];
};

static const json_t *take(struct reading *reading, const char *name, json_type type)
{
    const json_t *value = json_object_get(reading->body, name);
    reading->taken++;
    if (value != NULL && json_typeof(value) == type)
        return value;
    if (*reading->wrong == '\0')
        snprintf(reading->wrong, sizeof reading->wrong, "\"%s\" is %s", name,
                 value == NULL ? "missing" : "of another type");
    return NULL;
}

static int64_t take_number(struct reading *reading, const char *name)
{
    int64_t number = json_integer_value(take(reading, name, JSON_INTEGER));
    if (number < 0 && *reading->wrong == '\0')
        snprintf(reading->wrong, sizeof reading->wrong, "\"%s\" is negative", name);
    return number;
}

static const char *take_text(struct reading *reading, const char *name)
{
    const char *text = json_string_value(take(reading, name, JSON_STRING));
    return text == NULL ? "" : text;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly `size` bytes, in small letters: one value has one spelling. */
static struct lapse_bytes take_hex(struct reading *reading, const char *name, size_t size)
{
    const char *text = take_text(reading, name);
    uint8_t *out = reading->free;
    bool good = strlen(text) == 2 * size;
    for (size_t i = 0; good && i < size; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        good = high >= 0 && low >= 0;
        out[i] = good ? (uint8_t)(high << 4 | low) : 0;
    }
    if (!good && *reading->wrong == '\0')
        snprintf(reading->wrong, sizeof reading->wrong, "\"%s\" is not %zu bytes in hex", name, size);
    reading->free += good ? size : 0;
    return (struct lapse_bytes){out, good ? size : 0};
}

/* OpenSSL's decoder takes blanks and ignores spare bits: what is not what we would have written is refused. */
static bool base64_decode(const char *text, uint8_t *out, size_t *len)
{
    size_t size = strlen(text);
    int decoded =
        size % 4 == 0 && size <= INT32_MAX ? EVP_DecodeBlock(out, (const unsigned char *)text, (int)size) : -1;
    if (decoded < 0)
        return false;
    *len = (size_t)decoded - (size > 0 && text[size - 1] == '=') - (size > 1 && text[size - 2] == '=');
    char *again = mem_alloc(size + 1);
    EVP_EncodeBlock((unsigned char *)again, out, (int)*len);
    bool same = memcmp(again, text, size + 1) == 0;
    free(again);
    return same;
}

static struct lapse_bytes take_base64(struct reading *reading, const char *name)
{
    const char *text = take_text(reading, name);
    uint8_t *out = reading->free;
    size_t len = 0;
    if (!base64_decode(text, out, &len)) {
        if (*reading->wrong == '\0')
            snprintf(reading->wrong, sizeof reading->wrong, "\"%s\" is not base64", name);
        return (struct lapse_bytes){out, 0};
    }
    reading->free += len;
    return (struct lapse_bytes){out, len};
}

static void read_header(struct reading *in, struct audit_line *line)
{
    int64_t format = take_number(in, "format");
    line->header = (struct audit_header){.cluster = take_text(in, "cluster"),
                                         .epoch = (uint64_t)take_number(in, "epoch"),
                                         .from_revision = (uint64_t)take_number(in, "from_revision"),
                                         .to_revision = (uint64_t)take_number(in, "to_revision"),
                                         .previous = take_hex(in, "previous_hash", LAPSE_AUDIT_HASH_BYTES),
                                         .exported_ms = take_number(in, "exported_ms")};
    if (*in->wrong == '\0' && format != AUDIT_FORMAT)
        snprintf(in->wrong, sizeof in->wrong, "its format is %lld, this program reads %d: use a newer one",
                 (long long)format, AUDIT_FORMAT);
}

static void read_record(struct reading *in, struct audit_line *line)
{
    line->record = (struct lapse_audit_record){.epoch = (uint64_t)take_number(in, "epoch"),
                                               .revision = (uint64_t)take_number(in, "revision"),
                                               .event = take_base64(in, "event"),
                                               .hash = take_hex(in, "hash", LAPSE_AUDIT_HASH_BYTES)};
    line->readable = take(in, "readable", JSON_OBJECT);
}

static void read_head(struct reading *in, struct audit_line *line)
{
    line->head = (struct lapse_signed_head){.cluster = take_text(in, "cluster"),
                                            .epoch = (uint64_t)take_number(in, "epoch"),
                                            .revision = (uint64_t)take_number(in, "revision"),
                                            .hash = take_hex(in, "hash", LAPSE_AUDIT_HASH_BYTES),
                                            .time_ms = take_number(in, "time_ms"),
                                            .node_id = (uint64_t)take_number(in, "node_id"),
                                            .public_key = take_hex(in, "public_key", LAPSE_AUDIT_KEY_BYTES),
                                            .signature = take_hex(in, "signature", LAPSE_AUDIT_SIGNATURE_BYTES)};
}

static void read_trailer(struct reading *in, struct audit_line *line)
{
    line->trailer = (struct audit_trailer){.records = (uint64_t)take_number(in, "records"),
                                           .heads = (uint64_t)take_number(in, "heads")};
}

static void read_key(struct reading *in, struct audit_line *line)
{
    line->key = (struct lapse_node_key){.node_id = (uint64_t)take_number(in, "node_id"),
                                        .public_key = take_hex(in, "public_key", LAPSE_AUDIT_KEY_BYTES)};
}

static const struct {
    const char *name;
    enum audit_line_kind kind;
    void (*read)(struct reading *in, struct audit_line *line);
} kinds[] = {{"record", AUDIT_LINE_RECORD, read_record},
             {"head", AUDIT_LINE_HEAD, read_head},
             {"header", AUDIT_LINE_HEADER, read_header},
             {"trailer", AUDIT_LINE_TRAILER, read_trailer},
             {"key", AUDIT_LINE_KEY, read_key}};

static bool read_body(const json_t *json, struct audit_line *line, struct reading *in)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        in->body = json_object_get(json, kinds[i].name);
        if (!json_is_object(in->body) || json_object_size(json) != 1)
            continue;
        line->kind = kinds[i].kind;
        kinds[i].read(in, line);
        if (*in->wrong == '\0' && json_object_size(in->body) != in->taken)
            snprintf(in->wrong, sizeof in->wrong, "a %s has members that this program doesn't know", kinds[i].name);
        return *in->wrong == '\0';
    }
    snprintf(in->wrong, sizeof in->wrong, "it is no header, record, head, trailer or key");
    return false;
}

lapse_result audit_line_parse(const char *text, size_t len, struct audit_line *line, struct lapse_error *error)
{
    json_error_t why;
    struct audit_line parsed = {.json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why)};
    if (parsed.json == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "it is no JSON: %s", why.text);
    parsed.bytes = mem_alloc(len + 4); /* OpenSSL writes whole groups of three */
    struct reading in = {.free = parsed.bytes};
    if (!read_body(parsed.json, &parsed, &in)) {
        audit_line_release(&parsed);
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s", in.wrong);
    }
    *line = parsed;
    return lapse_ok();
}

void audit_line_release(struct audit_line *line)
{
    json_decref(line->json);
    free(line->bytes);
    memset(line, 0, sizeof *line);
}
