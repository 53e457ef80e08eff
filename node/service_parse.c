#include "node/service_parse.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/random.h"
#include "base/sha256.h"
#include "proto/convert.h"

/* Most commands, and the grants in their answers, fit. */
#define USUAL_BYTES 1000u

/* SHA-256 over (principal, NUL, request_id), cut: nobody can use up, or guess at, another principal's keys. */
struct request_key parse_request_key(const char *principal, const char *request_id)
{
    struct request_key key;
    uint8_t digest[SHA256_BYTES];
    const struct slice pieces[] = {slice_of(principal, strlen(principal) + 1), slice_str(request_id)};
    sha256_of(pieces, ARRAY_LEN(pieces), digest);
    memcpy(key.bytes, digest, sizeof key.bytes);
    return key;
}

static struct request_key random_key(void)
{
    struct request_key key;
    random_bytes(key.bytes, sizeof key.bytes);
    return key;
}

lapse_result parse_grant_id(const char *text, struct grant_id *id, struct lapse_error *error)
{
    if (lapse_is_ok(grant_id_parse(slice_str(text), id)))
        return lapse_ok();
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                      "grant_id \"%s\": a grant's id has 26 characters, as `lapse list` prints them", text);
}

lapse_result parse_command(struct core_call *call, struct command *command, const char *request_id,
                           const char *grant_id, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    command->principal = slice_str(call->principal);
    command->key = request_id[0] == '\0' ? random_key() : parse_request_key(call->principal, request_id);
    if (grant_id != NULL)
        result = parse_grant_id(grant_id, &command->grant, error);
    if (lapse_is_ok(result))
        result = command_validate(command, error);
    if (!lapse_is_ok(result))
        return result;
    /* What validates fits: LIMIT_COMMAND_BYTES is the sum of all limits. The answer's room is made here, too: memory
     * should be freed by the thread that took it. */
    CHECK(lapse_is_ok(buf_reserve(&call->command, USUAL_BYTES)) &&
          lapse_is_ok(buf_reserve(&call->response, USUAL_BYTES)));
    CHECK(lapse_is_ok(command_encode(command, &call->command)));
    return lapse_ok();
}

static int compare_patterns(const void *a, const void *b)
{
    const struct slice *left = a, *right = b;
    return slice_compare(*left, *right);
}

/* Sorts, and drops what stands there twice. */
static uint32_t sort_patterns(struct slice *patterns, uint32_t n)
{
    uint32_t kept = 0;
    qsort(patterns, n, sizeof patterns[0], compare_patterns);
    for (uint32_t i = 0; i < n; i++)
        if (kept == 0 || !slice_equal(patterns[kept - 1], patterns[i]))
            patterns[kept++] = patterns[i];
    return kept;
}

lapse_result parse_scope(struct core_call *call, const char patterns[][LIMIT_RESOURCE + 1], uint32_t n,
                         struct slice *scope, struct lapse_error *error)
{
    struct slice sorted[LIMIT_SCOPE_PATTERNS];
    char text[LIMIT_SCOPE];
    size_t len = 0;
    lapse_result result = lapse_ok();
    CHECK(n <= LIMIT_SCOPE_PATTERNS);
    for (uint32_t i = 0; i < n && lapse_is_ok(result); i++) {
        sorted[i] = slice_str(patterns[i]);
        result = resource_validate(sorted[i], true, error);
    }
    n = lapse_is_ok(result) ? sort_patterns(sorted, n) : 0;
    for (uint32_t i = 0; i < n; i++) {
        size_t space = i > 0;
        if (sorted[i].len + space > sizeof text - len)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "scope: more than %d bytes with all patterns together; join some by /*", LIMIT_SCOPE);
        memset(text + len, ' ', space);
        memcpy(text + len + space, sorted[i].data, sorted[i].len);
        len += space + sorted[i].len;
    }
    if (lapse_is_ok(result))
        *scope = core_call_keep(call, text, len);
    return result;
}

lapse_result parse_page_token(const char *token, uint64_t *cursor, struct lapse_error *error)
{
    char trailing = 0;
    if (token[0] == '\0') {
        *cursor = 0;
        return lapse_ok();
    }
    if (strlen(token) == 16 && sscanf(token, "%16" SCNx64 "%c", cursor, &trailing) == 1)
        return lapse_ok();
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, PAGE_TOKEN_ADVICE);
}

lapse_result parse_page_size(uint32_t asked, uint32_t *page, struct lapse_error *error)
{
    if (asked > LIMIT_PAGE)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "page_size %u: at most %u", asked, LIMIT_PAGE);
    *page = asked == 0 ? 100 : asked;
    return lapse_ok();
}

static struct slice keep(struct core_call *call, struct slice text)
{
    return core_call_keep(call, (const char *)text.data, text.len);
}

lapse_result parse_filter(struct core_call *call, const lapse_v1_Filter *message, struct lapse_error *error)
{
    struct store_filter filter;
    lapse_result result = proto_filter_borrow(message, &filter, error);
    if (!lapse_is_ok(result))
        return result;
    call->filter = (struct store_filter){
        .subject = keep(call, filter.subject),
        .resource = keep(call, filter.resource),
        .requester = keep(call, filter.requester),
        .approver = keep(call, filter.approver),
        .ticket = keep(call, filter.ticket),
        .policy = keep(call, filter.policy),
        .parent = filter.parent,
        .states = filter.states,
        .policy_version = filter.policy_version,
        .binding = keep(call, filter.binding),
        .label = keep(call, filter.label),
        .person = keep(call, filter.person),
    };
    return lapse_ok();
}

static struct slice keep_text(struct core_call *call, const char *text)
{
    return core_call_keep(call, text, strlen(text));
}

static lapse_result validate_query(const lapse_v1_CheckRequest *message, struct lapse_error *error)
{
    uint8_t address[sizeof(struct in6_addr)];
    lapse_result result = lapse_ok();
    if (message->token_sha256.size != 0 && message->token_sha256.size != 32)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "token_sha256: 32 bytes, or none");
    /* A token's grant knows whose it is. */
    if (message->token_sha256.size == 0 || message->subject[0] != '\0')
        result = principal_validate(slice_str(message->subject), "subject", error);
    if (lapse_is_ok(result))
        result = resource_validate(slice_str(message->resource), false, error);
    if (lapse_is_ok(result))
        result = action_validate(slice_str(message->action), error);
    if (lapse_is_ok(result) && message->certificate_sha256.size != 0 && message->certificate_sha256.size != 32)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "certificate_sha256: 32 bytes, or none");
    if (lapse_is_ok(result) && message->address[0] != '\0' && inet_pton(AF_INET, message->address, address) != 1 &&
        inet_pton(AF_INET6, message->address, address) != 1)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "address \"%s\": an IPv4 or IPv6 address without a port",
                            message->address);
    return result;
}

lapse_result parse_query(struct core_call *call, const lapse_v1_CheckRequest *message, struct lapse_error *error)
{
    lapse_result result = validate_query(message, error);
    if (!lapse_is_ok(result))
        return result;
    call->query = (struct grant_query){
        .subject = keep_text(call, message->subject),
        .resource = keep_text(call, message->resource),
        .action = keep_text(call, message->action),
        .spiffe_id = keep_text(call, message->spiffe_id),
        .certificate_sha256 =
            core_call_keep(call, (const char *)message->certificate_sha256.bytes, message->certificate_sha256.size),
        .address = keep_text(call, message->address),
        .token_sha256 = core_call_keep(call, (const char *)message->token_sha256.bytes, message->token_sha256.size),
    };
    return lapse_ok();
}
