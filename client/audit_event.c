/* The schema is read once a process, from google.protobuf.FileDescriptorProto (field numbers: descriptor.proto), into
 * one array of messages and one of enumerations; fields name their type by its place there.
 *
 *   bytes --wire fields--> the message's fields by number --> members of the object, in the order of the bytes */
#include "client/audit_event.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/wire.h"
#include "proto/descriptors_index.h"

enum {
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    ANY_NAME = 1,
    MESSAGE_FIELD = 2,
    ENUM_VALUE = 2,
    VALUE_NUMBER = 2,
    FIELD_NUMBER = 3,
    FIELD_LABEL = 4,
    FIELD_TYPE = 5,
    FIELD_TYPE_NAME = 6,
    LABEL_REPEATED = 3,
};

/* google.protobuf.FieldDescriptorProto.Type, those that lapse.v1 uses. */
enum {
    TYPE_INT64 = 3,
    TYPE_UINT64 = 4,
    TYPE_BOOL = 8,
    TYPE_STRING = 9,
    TYPE_MESSAGE = 11,
    TYPE_BYTES = 12,
    TYPE_UINT32 = 13,
    TYPE_ENUM = 14
};

struct field {
    struct slice name, type_name; /* type_name: ".lapse.v1.Grant" */
    uint32_t number, type;
    bool repeated;
};

struct message {
    struct slice name;
    struct field *fields;
    size_t n_fields;
};

struct value {
    struct slice name;
    uint64_t number;
};

struct enumeration {
    struct slice name;
    struct value *values;
    size_t n_values;
    size_t prefix; /* of the names, up to and with the last "_" that all have in common */
};

static const char package[] = "lapse.v1";
static struct message *messages;
static struct enumeration *enumerations;
static size_t n_messages, n_enumerations;
static pthread_once_t loaded = PTHREAD_ONCE_INIT;

/* ---- The schema */

static void *grow(void *array, size_t *n, size_t size)
{
    char *grown = mem_realloc(array, (*n + 1) * size);
    memset(grown + *n * size, 0, size);
    ++*n;
    return grown;
}

static struct field field_read(struct slice bytes)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field in;
    struct field field = {0};
    while (wire_next(&reader, &in)) {
        if (in.number == ANY_NAME)
            field.name = in.bytes;
        else if (in.number == FIELD_NUMBER)
            field.number = (uint32_t)in.value;
        else if (in.number == FIELD_LABEL)
            field.repeated = in.value == LABEL_REPEATED;
        else if (in.number == FIELD_TYPE)
            field.type = (uint32_t)in.value;
        else if (in.number == FIELD_TYPE_NAME)
            field.type_name = in.bytes;
    }
    CHECK(!reader.failed && field.name.len > 0);
    return field;
}

static void message_load(struct slice bytes)
{
    messages = grow(messages, &n_messages, sizeof *messages);
    struct message *message = &messages[n_messages - 1];
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field in;
    while (wire_next(&reader, &in)) {
        if (in.number == ANY_NAME) {
            message->name = in.bytes;
        } else if (in.number == MESSAGE_FIELD) {
            message->fields = grow(message->fields, &message->n_fields, sizeof *message->fields);
            message->fields[message->n_fields - 1] = field_read(in.bytes);
        }
    }
}

static struct value value_read(struct slice bytes)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field in;
    struct value value = {0};
    while (wire_next(&reader, &in)) {
        if (in.number == ANY_NAME)
            value.name = in.bytes;
        else if (in.number == VALUE_NUMBER)
            value.number = in.value;
    }
    return value;
}

static size_t common_prefix(const struct enumeration *enumeration)
{
    struct slice first = enumeration->values[0].name;
    size_t prefix = 0;
    for (size_t at = 0; at < first.len; at++) {
        for (size_t i = 1; i < enumeration->n_values; i++) {
            struct slice other = enumeration->values[i].name;
            if (at >= other.len || other.data[at] != first.data[at])
                return prefix;
        }
        if (first.data[at] == '_')
            prefix = at + 1;
    }
    return prefix;
}

static void enumeration_load(struct slice bytes)
{
    enumerations = grow(enumerations, &n_enumerations, sizeof *enumerations);
    struct enumeration *enumeration = &enumerations[n_enumerations - 1];
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field in;
    while (wire_next(&reader, &in)) {
        if (in.number == ANY_NAME) {
            enumeration->name = in.bytes;
        } else if (in.number == ENUM_VALUE) {
            enumeration->values = grow(enumeration->values, &enumeration->n_values, sizeof *enumeration->values);
            enumeration->values[enumeration->n_values - 1] = value_read(in.bytes);
        }
    }
    enumeration->prefix = common_prefix(enumeration);
}

static void load(void)
{
    struct descriptor_file file;
    for (size_t position = 0; descriptor_file_next(&position, &file);) {
        struct wire_reader reader = wire_reader(file.bytes);
        struct wire_field in;
        if (!slice_equal(file.package, slice_str(package)))
            continue;
        while (wire_next(&reader, &in)) {
            if (in.number == FILE_MESSAGE)
                message_load(in.bytes);
            else if (in.number == FILE_ENUM)
                enumeration_load(in.bytes);
        }
    }
}

/* ".lapse.v1.Grant" to "Grant". */
static struct slice short_name(struct slice full)
{
    size_t skip = sizeof package + 1;
    CHECK(full.len > skip);
    return slice_of(full.data + skip, full.len - skip);
}

static const struct message *message_find(struct slice name)
{
    for (size_t i = 0; i < n_messages; i++)
        if (slice_equal(messages[i].name, name))
            return &messages[i];
    return NULL;
}

static const struct enumeration *enumeration_find(struct slice name)
{
    for (size_t i = 0; i < n_enumerations; i++)
        if (slice_equal(enumerations[i].name, name))
            return &enumerations[i];
    return NULL;
}

static const struct field *field_find(const struct message *message, uint32_t number)
{
    for (size_t i = 0; i < message->n_fields; i++)
        if (message->fields[i].number == number)
            return &message->fields[i];
    return NULL;
}

/* ---- Reading */

static json_t *read_message(const struct message *message, struct slice bytes, bool *newer);

static json_t *text_json(struct slice text)
{
    json_t *json = json_stringn((const char *)text.data, text.len);
    return json != NULL ? json : json_string("\xEF\xBF\xBD"); /* not UTF-8, which the store takes from nobody */
}

static json_t *hex_json(struct slice bytes)
{
    char *hex = mem_alloc(bytes.len * 2 + 1);
    for (size_t i = 0; i < bytes.len; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes.data[i]);
    json_t *json = json_stringn(hex, bytes.len * 2);
    free(hex);
    return json;
}

static json_t *enum_json(const struct field *field, uint64_t number, bool *newer)
{
    const struct enumeration *enumeration = enumeration_find(short_name(field->type_name));
    CHECK(enumeration != NULL);
    for (size_t i = 0; i < enumeration->n_values; i++) {
        struct slice name = enumeration->values[i].name;
        if (enumeration->values[i].number == number)
            return text_json(slice_of(name.data + enumeration->prefix, name.len - enumeration->prefix));
    }
    *newer = true;
    return json_integer((json_int_t)number);
}

/* NULL for bytes that don't fit the field's type. */
static json_t *value_json(const struct field *field, const struct wire_field *in, bool *newer)
{
    bool is_bytes = field->type == TYPE_STRING || field->type == TYPE_BYTES || field->type == TYPE_MESSAGE;
    if (in->type != (is_bytes ? WIRE_BYTES : WIRE_VARINT))
        return NULL;
    switch (field->type) {
    case TYPE_STRING:
        return text_json(in->bytes);
    case TYPE_BYTES:
        return hex_json(in->bytes);
    case TYPE_MESSAGE:
        return read_message(message_find(short_name(field->type_name)), in->bytes, newer);
    case TYPE_ENUM:
        return enum_json(field, in->value, newer);
    case TYPE_BOOL:
        return json_boolean(in->value != 0);
    default:
        return json_integer((json_int_t)in->value);
    }
}

static void member_put(json_t *object, const struct field *field, json_t *value)
{
    const char *name = (const char *)field->name.data;
    json_t *array = field->repeated ? json_object_getn(object, name, field->name.len) : NULL;
    if (!field->repeated) {
        json_object_setn_new(object, name, field->name.len, value);
        return;
    }
    if (array == NULL) {
        array = json_array();
        json_object_setn_new(object, name, field->name.len, array);
    }
    json_array_append_new(array, value);
}

static json_t *read_message(const struct message *message, struct slice bytes, bool *newer)
{
    CHECK(message != NULL);
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field in;
    json_t *object = json_object();
    while (object != NULL && wire_next(&reader, &in)) {
        const struct field *field = field_find(message, in.number);
        json_t *value = field == NULL ? NULL : value_json(field, &in, newer);
        if (value != NULL) {
            member_put(object, field, value);
        } else if (field == NULL) {
            *newer = true;
        } else {
            json_decref(object);
            object = NULL;
        }
    }
    if (object != NULL && reader.failed) {
        json_decref(object);
        object = NULL;
    }
    return object;
}

json_t *audit_event_json(struct slice event, bool *newer, struct lapse_error *error)
{
    bool ignored = false;
    CHECK(pthread_once(&loaded, load) == 0);
    json_t *json = read_message(message_find(slice_str("Event")), event, newer == NULL ? &ignored : newer);
    if (json == NULL)
        (void)lapse_fail(error, LAPSE_DATA_LOSS, "its bytes are no event");
    return json;
}

int audit_event_type(const char *name)
{
    CHECK(pthread_once(&loaded, load) == 0);
    const struct enumeration *types = enumeration_find(slice_str("EventType"));
    CHECK(types != NULL);
    for (size_t i = 0; i < types->n_values; i++) {
        struct slice full = types->values[i].name;
        if (slice_equal(slice_of(full.data + types->prefix, full.len - types->prefix), slice_str(name)))
            return (int)types->values[i].number;
    }
    return 0;
}

json_t *audit_cut_text(const char *text)
{
    size_t len = strlen(text);
    json_t *json = json_stringn(text, len);
    for (int cut = 1; json == NULL && cut < 4 && len > 0; cut++)
        json = json_stringn(text, --len);
    return json != NULL ? json : json_string("\xEF\xBF\xBD");
}

/* ---- Members */

json_t *audit_member(const json_t *object, const char *path)
{
    const json_t *at = object;
    while (at != NULL) {
        size_t len = strcspn(path, ".");
        at = json_object_getn(at, path, len);
        if (path[len] == '\0')
            break;
        path += len + 1;
    }
    return (json_t *)(uintptr_t)at;
}

const char *audit_text(const json_t *object, const char *path)
{
    const char *text = json_string_value(audit_member(object, path));
    return text == NULL ? "" : text;
}

int64_t audit_number(const json_t *object, const char *path)
{
    return json_integer_value(audit_member(object, path));
}
