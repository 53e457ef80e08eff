/* The parser of principals: never reads past its input, and what it takes has exactly one spelling.
 * The input is a heap block of its exact size, so that the address sanitizer sees a read past its end. */
#include <stdlib.h>

#include "base/check.h"
#include "base/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_taken(struct slice text, struct slice domain, struct slice path)
{
    CHECK(text.len <= LIMIT_PRINCIPAL && domain.len > 0 && path.len > 0 && path.data != NULL);
    /* The parts are all there is: scheme, domain, slash, path. */
    CHECK(domain.data == text.data + strlen("spiffe://"));
    CHECK(path.data == domain.data + domain.len + 1 && path.data + path.len == text.data + text.len);
    CHECK(memchr(text.data, '\0', text.len) == NULL && memchr(text.data, '%', text.len) == NULL);
    CHECK(slice_is_text(text, false));
    CHECK(memmem(path.data, path.len, "//", 2) == NULL && memmem(path.data, path.len, "/../", 4) == NULL);
    CHECK(path.data[path.len - 1] != '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice domain = {NULL, 0}, path = {NULL, 0};
    struct lapse_error error = {0};
    uint8_t *copy = mem_alloc(size);
    if (size > 0)
        memcpy(copy, data, size);
    struct slice text = slice_of(copy, size);
    if (lapse_is_ok(spiffe_id_parse(text, &domain, &path, &error)))
        check_taken(text, domain, path);
    else
        CHECK(domain.data == NULL && path.data == NULL && error.message[0] != '\0');
    free(copy);
    return 0;
}
