/* Each message of the stream is a question with one answer. Both versions have the same messages, so one set of
 * functions serves them.
 *
 * Messages are written and read with base/wire.h: descriptors are larger than any bounded struct. Field numbers:
 * reflection.proto. */
#include "proto/reflection.h"

#include "base/check.h"
#include "base/wire.h"
#include "proto/descriptors_index.h"

enum {
    REQUEST_FILE_BY_FILENAME = 3,
    REQUEST_FILE_CONTAINING_SYMBOL = 4,
    REQUEST_FILE_CONTAINING_EXTENSION = 5,
    REQUEST_ALL_EXTENSION_NUMBERS = 6,
    REQUEST_LIST_SERVICES = 7,

    RESPONSE_VALID_HOST = 1,
    RESPONSE_ORIGINAL_REQUEST = 2,
    RESPONSE_FILE_DESCRIPTOR = 4,
    RESPONSE_LIST_SERVICES = 6,
    RESPONSE_ERROR = 7,

    REQUEST_HOST = 1,
    FILE_DESCRIPTOR_PROTO = 1,
    LIST_SERVICE = 1,
    SERVICE_NAME = 1,
    ERROR_CODE = 1,
    ERROR_MESSAGE = 2,
};

/* More files than this build serves: a test compares. */
#define FILES_MAX 32

struct question {
    struct slice host;
    uint32_t kind; /* a REQUEST_ number; 0: none was set */
    struct slice argument;
};

static lapse_result parse_question(struct slice request, struct question *question, struct lapse_error *error)
{
    struct wire_reader reader = wire_reader(request);
    struct wire_field field;
    *question = (struct question){0};
    while (wire_next(&reader, &field)) {
        if (field.type != WIRE_BYTES)
            continue;
        if (field.number == REQUEST_HOST)
            question->host = field.bytes;
        /* The last one of a oneof counts. */
        if (field.number >= REQUEST_FILE_BY_FILENAME && field.number <= REQUEST_LIST_SERVICES) {
            question->kind = field.number;
            question->argument = field.bytes;
        }
    }
    if (reader.failed)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the message is no ServerReflectionRequest");
    return lapse_ok();
}

static void put_error(struct wire_writer *writer, enum lapse_code code, const char *message)
{
    size_t mark = wire_begin(writer, RESPONSE_ERROR);
    wire_put_uint(writer, ERROR_CODE, code);
    wire_put_bytes(writer, ERROR_MESSAGE, slice_str(message));
    wire_end(writer, mark);
}

static bool is_among(const struct descriptor_file *files, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++)
        if (slice_equal(files[i].name, name))
            return true;
    return false;
}

/* The file and all that it imports, each once, the file first. */
static size_t gather(struct descriptor_file file, struct descriptor_file files[FILES_MAX])
{
    size_t n = 0;
    files[n++] = file;
    for (size_t i = 0; i < n; i++) {
        struct slice name;
        for (size_t import = 0; descriptor_import(&files[i], import, &name); import++) {
            if (is_among(files, n, name))
                continue;
            CHECK(n < FILES_MAX);
            bool found = descriptor_file_by_name(name, &files[n]);
            CHECK(found); /* protoc --include_imports */
            n++;
        }
    }
    return n;
}

static void put_files(struct wire_writer *writer, const struct descriptor_file *file)
{
    struct descriptor_file files[FILES_MAX];
    size_t n = gather(*file, files);
    size_t mark = wire_begin(writer, RESPONSE_FILE_DESCRIPTOR);
    for (size_t i = 0; i < n; i++)
        wire_put_bytes(writer, FILE_DESCRIPTOR_PROTO, files[i].bytes);
    wire_end(writer, mark);
}

static void put_service(struct wire_writer *writer, struct slice package, struct slice service)
{
    char name[256];
    CHECK(package.len + 1 + service.len < sizeof name);
    memcpy(name, package.data, package.len);
    name[package.len] = '.';
    memcpy(name + package.len + 1, service.data, service.len);
    size_t mark = wire_begin(writer, LIST_SERVICE);
    wire_put_bytes(writer, SERVICE_NAME, slice_of(name, package.len + 1 + service.len));
    wire_end(writer, mark);
}

static void put_services(struct wire_writer *writer)
{
    struct descriptor_file file;
    struct slice service;
    size_t mark = wire_begin(writer, RESPONSE_LIST_SERVICES);
    for (size_t position = 0; descriptor_file_next(&position, &file);)
        for (size_t i = 0; descriptor_service(&file, i, &service); i++)
            put_service(writer, file.package, service);
    wire_end(writer, mark);
}

static void put_answer(struct wire_writer *writer, const struct question *question)
{
    struct descriptor_file file;
    switch (question->kind) {
    case REQUEST_FILE_BY_FILENAME:
        if (descriptor_file_by_name(question->argument, &file))
            put_files(writer, &file);
        else
            put_error(writer, LAPSE_NOT_FOUND, "no file of that name is served");
        break;
    case REQUEST_FILE_CONTAINING_SYMBOL:
        if (descriptor_file_by_symbol(question->argument, &file))
            put_files(writer, &file);
        else
            put_error(writer, LAPSE_NOT_FOUND, "no service, method, message or enum of that name is served");
        break;
    case REQUEST_LIST_SERVICES:
        put_services(writer);
        break;
    case REQUEST_FILE_CONTAINING_EXTENSION:
    case REQUEST_ALL_EXTENSION_NUMBERS:
        put_error(writer, LAPSE_NOT_FOUND, "proto3 messages have no extensions");
        break;
    default:
        put_error(writer, LAPSE_UNIMPLEMENTED, "this server doesn't know what was asked");
        break;
    }
}

lapse_result reflection_answer(struct slice request, struct buf *out, struct lapse_error *error)
{
    struct question question;
    lapse_result result = parse_question(request, &question, error);
    if (!lapse_is_ok(result))
        return result;
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, RESPONSE_VALID_HOST, question.host);
    wire_put_bytes(&writer, RESPONSE_ORIGINAL_REQUEST, request);
    put_answer(&writer, &question);
    if (writer.failed)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "the answer is larger than a message may be");
    return lapse_ok();
}

static void on_message(struct grpc_call *call, struct slice request)
{
    struct lapse_error error = {0};
    struct buf answer;
    buf_init(&answer, LIMIT_MESSAGE_OUT);
    lapse_result result = reflection_answer(request, &answer, &error);
    if (!lapse_is_ok(result)) {
        grpc_call_finish(call, result.code, error.message);
    } else {
        struct blob *blob = blob_new(buf_slice(&answer));
        /* Nobody asks faster than they read, except on purpose. */
        if (!grpc_call_send(call, blob))
            grpc_call_finish(call, LAPSE_RESOURCE_EXHAUSTED, "read the answers before asking on");
        blob_unref(blob);
    }
    buf_free(&answer);
}

static void on_half_close(struct grpc_call *call)
{
    grpc_call_finish(call, LAPSE_OK, NULL);
}

#define REFLECTION_METHOD(version)                                                                                     \
    {                                                                                                                  \
        .path = "/grpc.reflection." version ".ServerReflection/ServerReflectionInfo", .client_streams = true,          \
        .on_message = on_message, .on_half_close = on_half_close                                                       \
    }

const struct grpc_method reflection_methods[REFLECTION_METHODS] = {REFLECTION_METHOD("v1"),
                                                                   REFLECTION_METHOD("v1alpha")};
