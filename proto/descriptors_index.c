/* There is no index: the set has some ten kilobytes, and walking it takes microseconds, for requests that tools make
 * when somebody types.
 *
 * Field numbers are those of google/protobuf/descriptor.proto. The bytes are our own build's, so a malformed one can't
 * happen. */
#include "proto/descriptors_index.h"

#include "base/check.h"
#include "base/wire.h"

extern const unsigned char proto_descriptors[];
extern const size_t proto_descriptors_len;

enum {
    SET_FILE = 1,
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    ANY_NAME = 1, /* of a message, enum, service or method */
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    SERVICE_METHOD = 2,
};

/* The `i`th field `number` of a message. */
static bool find_field(struct slice message, uint32_t number, size_t i, struct slice *value)
{
    struct wire_reader reader = wire_reader(message);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        if (field.number != number || field.type != WIRE_BYTES || i-- > 0)
            continue;
        *value = field.bytes;
        return true;
    }
    CHECK(!reader.failed);
    return false;
}

static struct slice text_field(struct slice message, uint32_t number)
{
    struct slice text = {NULL, 0};
    (void)find_field(message, number, 0, &text);
    return text;
}

bool descriptor_file_next(size_t *position, struct descriptor_file *file)
{
    struct slice bytes;
    if (!find_field(slice_of(proto_descriptors, proto_descriptors_len), SET_FILE, *position, &bytes))
        return false;
    ++*position;
    *file = (struct descriptor_file){bytes, text_field(bytes, FILE_NAME), text_field(bytes, FILE_PACKAGE)};
    return true;
}

bool descriptor_file_by_name(struct slice name, struct descriptor_file *file)
{
    struct descriptor_file found;
    for (size_t position = 0; descriptor_file_next(&position, &found);)
        if (slice_equal(found.name, name)) {
            *file = found;
            return true;
        }
    return false;
}

/* Takes "NAME" or "NAME." off the front of `path`; false when something else stands there. */
static bool strip(struct slice name, struct slice *path)
{
    if (name.len > path->len || !slice_equal(slice_of(path->data, name.len), name))
        return false;
    if (path->len > name.len && path->data[name.len] != '.')
        return false;
    size_t gone = path->len > name.len ? name.len + 1 : name.len;
    *path = slice_of(path->data + gone, path->len - gone);
    return true;
}

/* Whether `path` names one of the elements in field `number` of `scope`, or something inside it: `inside` looks there.
 */
static bool declares(struct slice scope, uint32_t number, struct slice path,
                     bool (*inside)(struct slice element, struct slice rest))
{
    struct slice element;
    for (size_t i = 0; find_field(scope, number, i, &element); i++) {
        struct slice rest = path;
        if (strip(text_field(element, ANY_NAME), &rest) && (rest.len == 0 || (inside != NULL && inside(element, rest))))
            return true;
    }
    return false;
}

static bool message_declares(struct slice message, struct slice path)
{
    return declares(message, MESSAGE_NESTED, path, message_declares) || declares(message, MESSAGE_ENUM, path, NULL);
}

static bool service_declares(struct slice service, struct slice path)
{
    return declares(service, SERVICE_METHOD, path, NULL);
}

static bool file_declares(const struct descriptor_file *file, struct slice symbol)
{
    if (!strip(file->package, &symbol) || symbol.len == 0)
        return false;
    return declares(file->bytes, FILE_SERVICE, symbol, service_declares) ||
           declares(file->bytes, FILE_MESSAGE, symbol, message_declares) ||
           declares(file->bytes, FILE_ENUM, symbol, NULL);
}

bool descriptor_file_by_symbol(struct slice symbol, struct descriptor_file *file)
{
    struct descriptor_file found;
    for (size_t position = 0; descriptor_file_next(&position, &found);)
        if (file_declares(&found, symbol)) {
            *file = found;
            return true;
        }
    return false;
}

bool descriptor_import(const struct descriptor_file *file, size_t i, struct slice *name)
{
    return find_field(file->bytes, FILE_DEPENDENCY, i, name);
}

bool descriptor_service(const struct descriptor_file *file, size_t i, struct slice *name)
{
    struct slice service;
    if (!find_field(file->bytes, FILE_SERVICE, i, &service))
        return false;
    *name = text_field(service, ANY_NAME);
    return true;
}

bool descriptor_has_service(struct slice full_name)
{
    struct descriptor_file file;
    for (size_t position = 0; descriptor_file_next(&position, &file);) {
        struct slice rest = full_name;
        if (strip(file.package, &rest) && rest.len > 0 && declares(file.bytes, FILE_SERVICE, rest, NULL))
            return true;
    }
    return false;
}

/* The element `number` of some file that has that full name. */
static bool find_element(struct slice full_name, uint32_t number, struct slice *element)
{
    struct descriptor_file file;
    if (full_name.len > 0 && full_name.data[0] == '.')
        full_name = slice_of(full_name.data + 1, full_name.len - 1);
    for (size_t position = 0; descriptor_file_next(&position, &file);) {
        struct slice rest = full_name;
        if (!strip(file.package, &rest))
            continue;
        for (size_t i = 0; find_field(file.bytes, number, i, element); i++)
            if (slice_equal(text_field(*element, ANY_NAME), rest))
                return true;
    }
    return false;
}

bool descriptor_message(struct slice full_name, struct slice *message)
{
    return find_element(full_name, FILE_MESSAGE, message);
}

bool descriptor_enum(struct slice full_name, struct slice *values)
{
    return find_element(full_name, FILE_ENUM, values);
}
