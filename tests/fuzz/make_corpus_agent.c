/* Seeds of fuzz_agent: a CheckRequest as Envoy sends it, targets, and questions of AuthZEN. */
#include "base/check.h"
#include "base/wire.h"
#include "tests/fuzz/make_corpus.h"

enum { CHECK_REQUEST, TARGET, CERTIFICATE, AUTHZEN };

static void put_text(struct wire_writer *writer, uint32_t field, const char *text)
{
    wire_put_bytes(writer, field, slice_str(text));
}

static void put_header(struct wire_writer *writer, const char *name, const char *value)
{
    size_t entry = wire_begin(writer, 3);
    put_text(writer, 1, name);
    put_text(writer, 2, value);
    wire_end(writer, entry);
}

static void put_source(struct wire_writer *writer)
{
    size_t source = wire_begin(writer, 1), address = wire_begin(writer, 1), socket = wire_begin(writer, 1);
    put_text(writer, 2, "192.0.2.9");
    wire_put_uint(writer, 3, 5555);
    wire_end(writer, socket);
    wire_end(writer, address);
    put_text(writer, 4, "spiffe://example.org/ns/front");
    wire_end(writer, source);
}

static void seed_check(const char *name, const char *method, const char *target)
{
    struct buf out;
    buf_init(&out, SEED_BYTES_MAX);
    struct wire_writer writer = wire_writer(&out);
    size_t attributes = wire_begin(&writer, 1);
    put_source(&writer);
    size_t request = wire_begin(&writer, 4), http = wire_begin(&writer, 2);
    put_text(&writer, 2, method);
    put_header(&writer, "x-forwarded-user", "dev1");
    put_header(&writer, "x-tenant", "blue");
    put_text(&writer, 4, target);
    put_text(&writer, 5, "web.example.org");
    wire_end(&writer, http);
    wire_end(&writer, request);
    wire_end(&writer, attributes);
    CHECK(!writer.failed);
    seed_write("agent", name, CHECK_REQUEST, buf_slice(&out));
    buf_free(&out);
}

void seed_agent(void)
{
    static const struct {
        const char *name, *target;
    } targets[] = {
        {"target", "/whole/reports/q3?id=7&x=1"},
        {"target-encoded", "/wh%6Fle/a%20b/?id=%41+b"},
        {"target-dots", "/whole/../secret"},
        {"target-encoded-slash", "/whole/a%2fb%5Cc"},
        {"target-twice-encoded", "/whole/%252e%252e/x"},
        {"target-star", "/whole/*"},
        {"target-absolute", "http://web.example.org/whole"},
        {"target-parameters", "/whole;v=1/x?id=1;id=2"},
    };
    seed_check("check-get", "GET", "/whole/reports/q3");
    seed_check("check-post", "POST", "/orders/7?id=4");
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        seed_write("agent", targets[i].name, TARGET, slice_str(targets[i].target));
    seed_write("agent", "authzen", AUTHZEN,
               slice_str("{\"subject\":{\"type\":\"user\",\"id\":\"dev1\"},\"resource\":{\"type\":\"t\",\"id\":\"db\"},"
                         "\"action\":{\"name\":\"read\"},\"context\":{\"address\":\"10.2.0.7\",\"spiffe_id\":\"x\"}}"));
    seed_write("agent", "authzen-token", AUTHZEN,
               slice_str("{\"subject\":{\"type\":\"token\",\"id\":"
                         "\"lps_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"},\"resource\":{\"type\":\"t\",\"id\":"
                         "\"db\"},\"action\":{\"name\":\"read\"}}"));
    seed_write("agent", "certificate", CERTIFICATE,
               slice_str("-----BEGIN%20CERTIFICATE-----%0AMIIBszCCAVmgAwIBAgIUQ%0A-----END%20CERTIFICATE-----%0A"));
}
