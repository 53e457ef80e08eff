/* One table says which fields a frame of each type has; encoder and decoder both walk it, so they can't disagree.
 *
 * The form is canonical: fields in ascending order, none twice, none that is zero, the lists last. */
#include "raft/message.h"

#include "base/check.h"
#include "base/wire.h"

enum { FIELD_TYPE = 1, FIELD_ENTRY = 40, FIELD_COMMAND = 41, FIELD_REFUSAL = 42 };

enum kind { KIND_U64, KIND_FIXED, KIND_I64, KIND_BOOL, KIND_BYTES };

#define ON(type) (1u << (type))
#define ON_ALL (~0u)
#define ON_CHUNKS (ON(MESSAGE_CHUNK) | ON(MESSAGE_CHUNK_ACK))
#define ON_VOTES (ON(MESSAGE_VOTE_REQUEST) | ON(MESSAGE_VOTE))
#define ON_READS (ON(MESSAGE_READ) | ON(MESSAGE_READ_INDEX))

/* Far beyond any date, and small enough that sums and products by 1000 can't overflow. */
#define TIME_MAX (1ull << 52)

/* A chunk's configuration is small; its data is one read of the disk. */
#define CONFIGURATION_BYTES_MAX 4096u

struct rule {
    uint32_t field;
    enum kind kind;
    uint32_t types;
    size_t at;
    size_t max; /* BYTES */
};

#define AT(member) offsetof(struct message, member)
#define ENVELOPE(member) offsetof(struct message, envelope.member)

static const struct rule rules[] = {
    {2, KIND_U64, ON_ALL, ENVELOPE(term), 0},
    {3, KIND_BOOL, ON_ALL, ENVELOPE(leading), 0},
    {4, KIND_FIXED, ON_ALL, ENVELOPE(life), 0},
    {5, KIND_U64, ON_ALL, ENVELOPE(stamp), 0},
    {6, KIND_FIXED, ON_ALL, ENVELOPE(echo_life), 0},
    {7, KIND_U64, ON_ALL, ENVELOPE(echo_stamp), 0},
    {8, KIND_I64, ON_ALL, ENVELOPE(time_us), 0},
    {9, KIND_I64, ON_ALL, ENVELOPE(wall_ms), 0},
    {10, KIND_U64, ON_ALL, ENVELOPE(time_era), 0},
    {11, KIND_I64, ON_ALL, ENVELOPE(upper_us), 0},
    {16, KIND_U64, ON_VOTES | ON(MESSAGE_CHUNK), AT(term), 0},
    {17, KIND_U64,
     ON(MESSAGE_VOTE_REQUEST) | ON(MESSAGE_APPEND) | ON(MESSAGE_APPEND_RESULT) | ON(MESSAGE_TIMEOUT_NOW) |
         ON(MESSAGE_CHUNK) | ON(MESSAGE_READ_INDEX),
     AT(index), 0},
    {18, KIND_U64, ON(MESSAGE_VOTE_REQUEST) | ON(MESSAGE_APPEND) | ON(MESSAGE_TIMEOUT_NOW), AT(index_term), 0},
    {19, KIND_BOOL, ON_VOTES, AT(pre_vote), 0},
    {20, KIND_BOOL, ON(MESSAGE_VOTE_REQUEST), AT(disrupt_leader), 0},
    {21, KIND_BOOL, ON(MESSAGE_VOTE), AT(granted), 0},
    {22, KIND_U64, ON(MESSAGE_APPEND), AT(commit), 0},
    {23, KIND_U64, ON(MESSAGE_APPEND_RESULT), AT(rejected), 0},
    {24, KIND_FIXED, ON_READS | ON_CHUNKS, AT(sequence), 0},
    {25, KIND_U64, ON_CHUNKS, AT(offset), 0},
    {26, KIND_U64, ON(MESSAGE_CHUNK), AT(size), 0},
    {27, KIND_U64, ON(MESSAGE_CHUNK), AT(configuration_index), 0},
    {28, KIND_BYTES, ON(MESSAGE_CHUNK), AT(configuration), CONFIGURATION_BYTES_MAX},
    {29, KIND_BYTES, ON(MESSAGE_CHUNK) | ON(MESSAGE_LEASE) | ON(MESSAGE_AUDIT), AT(data), LIMIT_SNAPSHOT_CHUNK},
    {30, KIND_BOOL, ON(MESSAGE_CHUNK), AT(last), 0},
    {31, KIND_BOOL, ON(MESSAGE_CHUNK_ACK), AT(busy), 0},
};

static const enum wire_type wire_types[] = {
    [KIND_U64] = WIRE_VARINT,  [KIND_FIXED] = WIRE_FIXED64, [KIND_I64] = WIRE_VARINT,
    [KIND_BOOL] = WIRE_VARINT, [KIND_BYTES] = WIRE_BYTES,
};

static void put_field(struct wire_writer *wire, const struct rule *rule, const void *member)
{
    switch (rule->kind) {
    case KIND_U64:
    case KIND_I64:
        wire_put_uint(wire, rule->field, *(const uint64_t *)member);
        break;
    case KIND_FIXED:
        wire_put_fixed64(wire, rule->field, *(const uint64_t *)member);
        break;
    case KIND_BOOL:
        wire_put_uint(wire, rule->field, *(const bool *)member);
        break;
    case KIND_BYTES:
        wire_put_bytes(wire, rule->field, *(const struct slice *)member);
        break;
    }
}

static struct slice list_of(const struct message *message)
{
    switch (message->type) {
    case MESSAGE_APPEND:
        return message->entries;
    case MESSAGE_FORWARD:
        return message->commands;
    case MESSAGE_REFUSED:
        return message->refusals;
    default:
        return slice_of(NULL, 0);
    }
}

lapse_result frame_encode(const struct message *message, struct buf *out)
{
    struct wire_writer wire = wire_writer(out);
    wire_put_uint(&wire, FIELD_TYPE, message->type);
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (rules[i].types & ON(message->type))
            put_field(&wire, &rules[i], (const char *)message + rules[i].at);
    }
    struct slice list = list_of(message);
    if (wire.failed || !lapse_is_ok(buf_append(out, list.data, list.len)))
        return lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
    return lapse_ok();
}

static const struct rule *rule_of(uint32_t field, enum message_type type)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (rules[i].field == field)
            return rules[i].types & ON(type) ? &rules[i] : NULL;
    }
    return NULL;
}

/* Stores a field's value; false when it is none that the encoder writes. */
static bool take_field(const struct rule *rule, const struct wire_field *field, void *member)
{
    if (field->type != wire_types[rule->kind])
        return false;
    switch (rule->kind) {
    case KIND_U64:
    case KIND_FIXED:
        *(uint64_t *)member = field->value;
        return field->value > 0;
    case KIND_I64:
        *(int64_t *)member = (int64_t)field->value;
        return field->value > 0 && field->value <= TIME_MAX;
    case KIND_BOOL:
        *(bool *)member = true;
        return field->value == 1;
    case KIND_BYTES:
        *(struct slice *)member = field->bytes;
        return field->bytes.len > 0 && field->bytes.len <= rule->max;
    }
    return false;
}

/* Entry: 1 term, 2 type, 3 data. */
static bool entry_decode(struct slice bytes, struct message_entry *entry)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    *entry = (struct message_entry){0};
    while (wire_next(&wire, &field)) {
        if (field.number == 1 && field.type == WIRE_VARINT)
            entry->term = field.value;
        else if (field.number == 2 && field.type == WIRE_VARINT && field.value <= UINT8_MAX)
            entry->type = (uint8_t)field.value;
        else if (field.number == 3 && field.type == WIRE_BYTES)
            entry->data = field.bytes;
        else
            return false;
    }
    return !wire.failed && entry->term > 0 && entry->type > 0;
}

/* Command: 1 sequence, 2 command. */
static bool command_item_decode(struct slice bytes, struct message_command *command)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    *command = (struct message_command){0};
    while (wire_next(&wire, &field)) {
        if (field.number == 1 && field.type == WIRE_FIXED64)
            command->sequence = field.value;
        else if (field.number == 2 && field.type == WIRE_BYTES)
            command->command = field.bytes;
        else
            return false;
    }
    return !wire.failed && command->command.len > 0 && command->command.len <= LIMIT_COMMAND_BYTES;
}

/* Refusal: 1 sequence, 2 code, 3 text. */
static bool refusal_decode(struct slice bytes, struct message_refusal *refusal)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    *refusal = (struct message_refusal){0};
    while (wire_next(&wire, &field)) {
        if (field.number == 1 && field.type == WIRE_FIXED64)
            refusal->sequence = field.value;
        else if (field.number == 2 && field.type == WIRE_VARINT && field.value <= LAPSE_UNAUTHENTICATED)
            refusal->code = (enum lapse_code)field.value;
        else if (field.number == 3 && field.type == WIRE_BYTES && slice_is_text(field.bytes, false))
            refusal->text = field.bytes;
        else
            return false;
    }
    return !wire.failed && refusal->code != LAPSE_OK && refusal->text.len < LAPSE_ERROR_MESSAGE_SIZE;
}

static bool list_item_verify(enum message_type type, const struct wire_field *field)
{
    struct message_entry entry;
    struct message_command command;
    struct message_refusal refusal;
    if (field->type != WIRE_BYTES)
        return false;
    switch (type) {
    case MESSAGE_APPEND:
        return field->number == FIELD_ENTRY && entry_decode(field->bytes, &entry);
    case MESSAGE_FORWARD:
        return field->number == FIELD_COMMAND && command_item_decode(field->bytes, &command);
    case MESSAGE_REFUSED:
        return field->number == FIELD_REFUSAL && refusal_decode(field->bytes, &refusal);
    default:
        return false;
    }
}

/* Verifies the list that ends a frame, from its first item (already read into `field`) on. */
static bool list_verify(enum message_type type, struct wire_reader *wire, struct wire_field *field, uint32_t *n)
{
    do {
        if (!list_item_verify(type, field))
            return false;
        ++*n;
    } while (wire_next(wire, field));
    return !wire->failed;
}

static bool body_decode(struct wire_reader *wire, struct message *message)
{
    struct wire_field field;
    uint32_t previous = FIELD_TYPE, n = 0;
    const uint8_t *at = wire->at;
    while (wire_next(wire, &field)) {
        if (field.number >= FIELD_ENTRY) {
            if (!list_verify(message->type, wire, &field, &n))
                return false;
            struct slice list = slice_of(at, (size_t)(wire->end - at));
            *(message->type == MESSAGE_APPEND    ? &message->entries
              : message->type == MESSAGE_FORWARD ? &message->commands
                                                 : &message->refusals) = list;
            break;
        }
        const struct rule *rule = rule_of(field.number, message->type);
        if (rule == NULL || field.number <= previous || !take_field(rule, &field, (char *)message + rule->at))
            return false;
        previous = field.number;
        at = wire->at;
    }
    message->n_entries = message->type == MESSAGE_APPEND ? n : 0;
    return !wire->failed;
}

lapse_result frame_decode(struct slice frame, struct message *message, struct lapse_error *error)
{
    if (frame.len > LIMIT_PEER_FRAME)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a frame of %zu bytes passes the limit of %u", frame.len,
                          LIMIT_PEER_FRAME);
    struct wire_reader wire = wire_reader(frame);
    struct wire_field field;
    struct message decoded = {0};
    if (!wire_next(&wire, &field) || field.number != FIELD_TYPE || field.type != WIRE_VARINT || field.value == 0 ||
        field.value >= MESSAGE_TYPES)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a frame of %zu bytes has no known type", frame.len);
    decoded.type = (enum message_type)field.value;
    if (!body_decode(&wire, &decoded) || decoded.envelope.life == 0 || decoded.envelope.stamp == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a frame of type %d and %zu bytes is malformed", decoded.type,
                          frame.len);
    *message = decoded;
    return lapse_ok();
}

lapse_result message_append_add(struct buf *entries, const struct log_entry *entry)
{
    struct wire_writer wire = wire_writer(entries);
    size_t mark = wire_begin(&wire, FIELD_ENTRY);
    wire_put_uint(&wire, 1, entry->term);
    wire_put_uint(&wire, 2, entry->type);
    if (entry->data != NULL)
        wire_put_bytes(&wire, 3, blob_slice(entry->data));
    wire_end(&wire, mark);
    return wire.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

lapse_result message_forward_add(struct buf *commands, struct message_command command)
{
    struct wire_writer wire = wire_writer(commands);
    size_t mark = wire_begin(&wire, FIELD_COMMAND);
    wire_put_fixed64(&wire, 1, command.sequence);
    wire_put_bytes(&wire, 2, command.command);
    wire_end(&wire, mark);
    return wire.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

lapse_result message_refused_add(struct buf *refusals, struct message_refusal refusal)
{
    struct wire_writer wire = wire_writer(refusals);
    size_t mark = wire_begin(&wire, FIELD_REFUSAL);
    wire_put_fixed64(&wire, 1, refusal.sequence);
    wire_put_uint(&wire, 2, refusal.code);
    wire_put_bytes(&wire, 3, refusal.text);
    wire_end(&wire, mark);
    return wire.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}

/* The bytes of a list's first item; the list advances. */
static bool list_next(struct slice *list, struct slice *item)
{
    struct wire_reader wire = wire_reader(*list);
    struct wire_field field;
    if (!wire_next(&wire, &field))
        return false;
    *item = field.bytes;
    *list = slice_of(wire.at, (size_t)(wire.end - wire.at));
    return true;
}

bool message_append_next(struct slice *entries, struct message_entry *entry)
{
    struct slice item;
    return list_next(entries, &item) && entry_decode(item, entry);
}

bool message_forward_next(struct slice *commands, struct message_command *command)
{
    struct slice item;
    return list_next(commands, &item) && command_item_decode(item, command);
}

bool message_refused_next(struct slice *refusals, struct message_refusal *refusal)
{
    struct slice item;
    return list_next(refusals, &item) && refusal_decode(item, refusal);
}
