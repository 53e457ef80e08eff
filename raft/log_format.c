#include "raft/log_format.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"

#define DIGITS 20

void segment_name(uint64_t first, char name[LOG_NAME_SIZE])
{
    (void)snprintf(name, LOG_NAME_SIZE, "%020" PRIu64 ".segment", first);
}

void snapshot_name(uint64_t index, uint64_t term, char name[LOG_NAME_SIZE])
{
    (void)snprintf(name, LOG_NAME_SIZE, "%020" PRIu64 "-%020" PRIu64 ".snapshot", index, term);
}

/* Exactly 20 digits of a number that fits. */
static bool parse_number(const char *text, uint64_t *number)
{
    uint64_t value = 0;
    for (int i = 0; i < DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

bool segment_name_parse(const char *name, uint64_t *first)
{
    return parse_number(name, first) && strcmp(name + DIGITS, ".segment") == 0;
}

bool snapshot_name_parse(const char *name, uint64_t *index, uint64_t *term)
{
    return parse_number(name, index) && name[DIGITS] == '-' && parse_number(name + DIGITS + 1, term) &&
           strcmp(name + 2 * DIGITS + 1, ".snapshot") == 0;
}

bool name_is_temporary(const char *name)
{
    static const char *const names[] = {NAME_IDENTITY_TMP, NAME_FORMAT_TMP, NAME_NEXT_TMP, NAME_SAVING_TMP,
                                        NAME_RECEIVING_TMP};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* One description a message serves both directions. */
#define NUMBER(n, member)                                                                                              \
    {                                                                                                                  \
        (n), WIRE_VARINT, &(member), NULL                                                                              \
    }
#define FIXED(n, member)                                                                                               \
    {                                                                                                                  \
        (n), WIRE_FIXED64, &(member), NULL                                                                             \
    }
#define BYTES(n, member)                                                                                               \
    {                                                                                                                  \
        (n), WIRE_BYTES, NULL, &(member)                                                                               \
    }

void identity_encode(struct buf *out, const struct log_identity *identity)
{
    uint64_t version = LOG_FORMAT_VERSION, node = identity->node_id;
    struct slice cluster = slice_str(identity->cluster);
    const struct message_field fields[] = {NUMBER(1, version), BYTES(2, cluster), FIXED(3, node)};
    fields_encode(out, fields, ARRAY_LEN(fields));
}

bool identity_decode(struct slice body, struct log_identity *identity)
{
    uint64_t version, node;
    struct slice cluster;
    const struct message_field fields[] = {NUMBER(1, version), BYTES(2, cluster), FIXED(3, node)};
    if (!fields_decode(body, fields, ARRAY_LEN(fields)) || version != LOG_FORMAT_VERSION)
        return false;
    identity->node_id = node;
    return slice_is_text(cluster, false) && slice_to_cstr(cluster, identity->cluster, sizeof identity->cluster);
}

static bool vote_move(struct buf *out, struct slice body, struct vote *vote)
{
    const struct message_field fields[] = {FIXED(1, vote->term), FIXED(2, vote->voted_for)};
    if (out == NULL)
        return fields_decode(body, fields, ARRAY_LEN(fields));
    fields_encode(out, fields, ARRAY_LEN(fields));
    return true;
}

void vote_encode(struct buf *out, const struct vote *vote)
{
    struct vote copy = *vote;
    (void)vote_move(out, slice_of(NULL, 0), &copy);
}

bool vote_decode(struct slice body, struct vote *vote)
{
    return vote_move(NULL, body, vote);
}

static bool mark_move(struct buf *out, struct slice body, struct mark *mark)
{
    const struct message_field fields[] = {FIXED(1, mark->index),        FIXED(2, mark->term),
                                           FIXED(3, mark->segment),      NUMBER(4, mark->intent),
                                           FIXED(5, mark->intent_index), FIXED(6, mark->intent_term)};
    if (out == NULL)
        return fields_decode(body, fields, ARRAY_LEN(fields)) && mark->intent <= INTENT_INSTALL;
    fields_encode(out, fields, ARRAY_LEN(fields));
    return true;
}

void mark_encode(struct buf *out, const struct mark *mark)
{
    struct mark copy = *mark;
    (void)mark_move(out, slice_of(NULL, 0), &copy);
}

bool mark_decode(struct slice body, struct mark *mark)
{
    return mark_move(NULL, body, mark);
}

static bool hint_move(struct buf *out, struct slice body, struct hint *hint)
{
    const struct message_field fields[] = {FIXED(1, hint->sequence), FIXED(2, hint->index), FIXED(3, hint->term)};
    if (out == NULL)
        return fields_decode(body, fields, ARRAY_LEN(fields));
    fields_encode(out, fields, ARRAY_LEN(fields));
    return true;
}

void hint_encode(struct buf *out, const struct hint *hint)
{
    struct hint copy = *hint;
    (void)hint_move(out, slice_of(NULL, 0), &copy);
}

bool hint_decode(struct slice body, struct hint *hint)
{
    return hint_move(NULL, body, hint);
}

void segment_header_encode(struct buf *out, const struct segment_header *header)
{
    uint64_t version = LOG_FORMAT_VERSION;
    struct segment_header copy = *header;
    const struct message_field fields[] = {NUMBER(1, version), FIXED(2, copy.first), FIXED(3, copy.previous_term)};
    fields_encode(out, fields, ARRAY_LEN(fields));
}

bool segment_header_decode(struct slice body, struct segment_header *header)
{
    uint64_t version;
    const struct message_field fields[] = {NUMBER(1, version), FIXED(2, header->first),
                                           FIXED(3, header->previous_term)};
    return fields_decode(body, fields, ARRAY_LEN(fields)) && version == LOG_FORMAT_VERSION;
}

static bool entry_move(struct buf *out, struct slice body, struct entry_record *entry)
{
    const struct message_field fields[] = {FIXED(1, entry->index), FIXED(2, entry->term), NUMBER(3, entry->type),
                                           FIXED(4, entry->durable), BYTES(5, entry->data)};
    if (out == NULL)
        return fields_decode(body, fields, ARRAY_LEN(fields)) && entry->type <= UINT8_MAX;
    fields_encode(out, fields, ARRAY_LEN(fields));
    return true;
}

void entry_encode(struct buf *out, const struct entry_record *entry)
{
    struct entry_record copy = *entry;
    (void)entry_move(out, slice_of(NULL, 0), &copy);
}

bool entry_decode(struct slice body, struct entry_record *entry)
{
    return entry_move(NULL, body, entry);
}

void snapshot_meta_encode(struct buf *out, const struct snapshot_meta *meta)
{
    uint64_t version = LOG_FORMAT_VERSION;
    struct snapshot_meta copy = *meta;
    struct slice configuration = meta->configuration == NULL ? slice_of(NULL, 0) : blob_slice(meta->configuration);
    const struct message_field fields[] = {NUMBER(1, version), FIXED(2, copy.index), FIXED(3, copy.term),
                                           FIXED(4, copy.configuration_index), BYTES(5, configuration)};
    fields_encode(out, fields, ARRAY_LEN(fields));
}

bool snapshot_meta_decode(struct slice body, struct snapshot_meta *meta)
{
    uint64_t version;
    struct slice configuration;
    struct snapshot_meta read = {0};
    const struct message_field fields[] = {NUMBER(1, version), FIXED(2, read.index), FIXED(3, read.term),
                                           FIXED(4, read.configuration_index), BYTES(5, configuration)};
    if (!fields_decode(body, fields, ARRAY_LEN(fields)) || version != LOG_FORMAT_VERSION || read.index == 0)
        return false;
    if (configuration.len > 0)
        read.configuration = blob_new(configuration);
    *meta = read;
    return true;
}

void snapshot_end_encode(struct buf *out, const struct snapshot_end *end)
{
    struct snapshot_end copy = *end;
    const struct message_field fields[] = {FIXED(1, copy.bytes), FIXED(2, copy.blocks)};
    fields_encode(out, fields, ARRAY_LEN(fields));
}

bool snapshot_end_decode(struct slice body, struct snapshot_end *end)
{
    const struct message_field fields[] = {FIXED(1, end->bytes), FIXED(2, end->blocks)};
    return fields_decode(body, fields, ARRAY_LEN(fields));
}

lapse_result log_corrupt(struct lapse_error *error, const char *name, uint64_t offset, const char *format, ...)
{
    char what[88];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return lapse_fail(error, LAPSE_DATA_LOSS,
                      "%s at byte %" PRIu64 ": %s; this node must not vote with this data: stop it, move the directory "
                      "away, and let it rejoin empty under a new id (lapsed join)",
                      name, offset, what);
}
