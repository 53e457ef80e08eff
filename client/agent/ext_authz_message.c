#include "client/agent/ext_authz.h"

#include <stdio.h>

#include "base/wire.h"

/* ---- CheckRequest */

/* Calls `take` for each field that is a message, a string or bytes. */
static bool each_field(struct slice message,
                       void (*take)(const struct wire_field *field, struct agent_request *request, bool *good),
                       struct agent_request *request)
{
    struct wire_reader reader = wire_reader(message);
    struct wire_field field;
    bool good = true;
    while (good && wire_next(&reader, &field))
        if (field.type == WIRE_BYTES)
            take(&field, request, &good);
    return good && !reader.failed;
}

/* map<string, string> entry: key = 1, value = 2. HeaderValue: key = 1, value = 2, raw_value = 3. */
static bool take_header(struct slice message, struct agent_request *request)
{
    struct wire_reader reader = wire_reader(message);
    struct wire_field field;
    struct slice name = {NULL, 0}, value = {NULL, 0};
    while (wire_next(&reader, &field)) {
        if (field.type == WIRE_BYTES && field.number == 1)
            name = field.bytes;
        else if (field.type == WIRE_BYTES && (field.number == 2 || field.number == 3) && field.bytes.len > 0)
            value = field.bytes;
    }
    agent_request_add(request, name, value);
    return !reader.failed;
}

/* HeaderMap: headers = 1. */
static void on_header_map(const struct wire_field *field, struct agent_request *request, bool *good)
{
    if (field->number == 1)
        *good = take_header(field->bytes, request);
}

/* AttributeContext.HttpRequest: method = 2, headers = 3, path = 4, host = 5, header_map = 13. */
static void on_http(const struct wire_field *field, struct agent_request *request, bool *good)
{
    if (field->number == 2)
        request->method = field->bytes;
    else if (field->number == 3)
        *good = take_header(field->bytes, request);
    else if (field->number == 4)
        request->target = field->bytes;
    else if (field->number == 5)
        request->host = field->bytes;
    else if (field->number == 13)
        *good = each_field(field->bytes, on_header_map, request);
}

/* AttributeContext.Request: http = 2. */
static void on_request(const struct wire_field *field, struct agent_request *request, bool *good)
{
    if (field->number == 2)
        *good = each_field(field->bytes, on_http, request);
}

/* SocketAddress: address = 2. */
static void on_socket_address(const struct wire_field *field, struct agent_request *request, bool *good)
{
    (void)good;
    if (field->number == 2)
        request->address = field->bytes;
}

/* Address: socket_address = 1. */
static void on_address(const struct wire_field *field, struct agent_request *request, bool *good)
{
    if (field->number == 1)
        *good = each_field(field->bytes, on_socket_address, request);
}

/* AttributeContext.Peer: address = 1, principal = 4, certificate = 5. */
static void on_source(const struct wire_field *field, struct agent_request *request, bool *good)
{
    if (field->number == 1)
        *good = each_field(field->bytes, on_address, request);
    else if (field->number == 4)
        request->principal = field->bytes;
    else if (field->number == 5)
        request->certificate = field->bytes;
}

/* AttributeContext: source = 1, request = 4. */
static void on_attributes(const struct wire_field *field, struct agent_request *request, bool *good)
{
    if (field->number == 1)
        *good = each_field(field->bytes, on_source, request);
    else if (field->number == 4)
        *good = each_field(field->bytes, on_request, request);
}

/* CheckRequest: attributes = 1. */
static void on_check(const struct wire_field *field, struct agent_request *request, bool *good)
{
    if (field->number == 1)
        *good = each_field(field->bytes, on_attributes, request);
}

bool ext_authz_decode(struct slice message, struct agent_request *request)
{
    const struct slice none = {NULL, 0};
    request->fault = NULL;
    request->n_headers = 0;
    request->method = request->target = request->host = request->address = none;
    request->principal = request->certificate = none;
    return each_field(message, on_check, request);
}

/* ---- CheckResponse */

/* google.rpc.Code. */
enum { RPC_PERMISSION_DENIED = 7, RPC_UNAUTHENTICATED = 16 };
/* HeaderValueOption.HeaderAppendAction: what stands there under the name is replaced, so that nobody can bring it
 * along. */
#define OVERWRITE_IF_EXISTS_OR_ADD 2

/* HeaderValueOption: header = 1 {key = 1, value = 2}, append_action = 3. Older Envoys overwrite by themselves. */
static void put_header(struct wire_writer *writer, uint32_t field, const char *name, const char *value)
{
    size_t option = wire_begin(writer, field);
    size_t header = wire_begin(writer, 1);
    wire_put_bytes(writer, 1, slice_str(name));
    wire_put_bytes(writer, 2, slice_str(value));
    wire_end(writer, header);
    wire_put_uint(writer, 3, OVERWRITE_IF_EXISTS_OR_ADD);
    wire_end(writer, option);
}

static void put_number(struct wire_writer *writer, uint32_t field, const char *name, long long number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", number);
    put_header(writer, field, name, text);
}

static void put_decision(struct wire_writer *writer, uint32_t field, const struct agent_answer *answer)
{
    put_header(writer, field, "x-lapse-decision", answer->permit ? "permit" : "deny");
    put_header(writer, field, "x-lapse-reason", answer->reason);
    if (answer->decision.grant[0] != '\0')
        put_header(writer, field, "x-lapse-grant", answer->decision.grant);
    if (answer->permit) {
        put_header(writer, field, "x-lapse-subject", answer->decision.subject);
        put_number(writer, field, "x-lapse-valid-for-ms", answer->decision.valid_for_ms);
    }
    put_number(writer, field, "x-lapse-revision", (long long)answer->decision.revision);
}

/* DeniedHttpResponse: status = 1 {code = 1}, headers = 2, body = 3. */
static void put_denial(struct wire_writer *writer, const struct agent_answer *answer)
{
    size_t denied = wire_begin(writer, 2);
    size_t status = wire_begin(writer, 1);
    wire_put_uint(writer, 1, answer->status);
    wire_end(writer, status);
    put_decision(writer, 2, answer);
    if (answer->challenge != NULL)
        put_header(writer, 2, "www-authenticate", answer->challenge);
    wire_put_bytes(writer, 3, slice_str(answer->reason));
    wire_end(writer, denied);
}

/* OkHttpResponse: headers = 2, for the application behind the proxy. */
static void put_permit(struct wire_writer *writer, const struct agent_answer *answer)
{
    size_t permitted = wire_begin(writer, 3);
    put_decision(writer, 2, answer);
    wire_end(writer, permitted);
}

/* CheckResponse: status = 1 {code = 1, message = 2}, denied_response = 2, ok_response = 3. */
lapse_result ext_authz_encode(const struct agent_answer *answer, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    size_t status = wire_begin(&writer, 1);
    if (!answer->permit) {
        wire_put_uint(&writer, 1, answer->status == 401 ? RPC_UNAUTHENTICATED : RPC_PERMISSION_DENIED);
        wire_put_bytes(&writer, 2, slice_str(answer->reason));
    }
    wire_end(&writer, status);
    if (answer->permit)
        put_permit(&writer, answer);
    else
        put_denial(&writer, answer);
    return writer.failed ? lapse_failed(LAPSE_RESOURCE_EXHAUSTED) : lapse_ok();
}
