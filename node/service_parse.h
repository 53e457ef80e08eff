/* From the generated messages of a call to what the core understands: shared by the services. Each fails with
 * INVALID_ARGUMENT (or OUT_OF_RANGE) and a message that names the field. */
#ifndef LAPSE_NODE_SERVICE_PARSE_H
#define LAPSE_NODE_SERVICE_PARSE_H

#include "base/check.h"
#include "node/core_call.h"
#include "proto/codec.h"
#include "proto/lapse/v1/grants.pb.h"

/* Decodes into a struct of its own, which the caller frees: messages are too large for a stack. Declares both `message_` and
 * `result`. */
#define DECODE(type_, message_, bytes_, error_)                                                                        \
    type_ *message_ = mem_calloc(1, sizeof *(message_));                                                               \
    lapse_result result = proto_decode_zeroed(type_##_fields, (bytes_), (message_), (error_))

/* Completes the command (principal, request key, grant id unless `grant_id` is NULL), validates it and encodes it into
 * the call. An empty request_id gets a random key: such a call can't be repeated by its caller, but still by this node.
 */
lapse_result parse_command(struct core_call *call, struct command *command, const char *request_id,
                           const char *grant_id, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result parse_grant_id(const char *text, struct grant_id *id, struct lapse_error *error) LAPSE_MUST_USE;
/* The key of a command that a principal may repeat under this text. What begins with a control character can't be a
 * caller's own request_id. */
struct request_key parse_request_key(const char *principal, const char *text);
/* Patterns as the store wants them: sorted, each once, one space between each. Kept in the call. */
lapse_result parse_scope(struct core_call *call, const char patterns[][LIMIT_RESOURCE + 1], uint32_t n,
                         struct slice *scope, struct lapse_error *error) LAPSE_MUST_USE;
#define PAGE_TOKEN_ADVICE "page_token: pass next_page_token of the page before, unchanged"
lapse_result parse_page_token(const char *token, uint64_t *cursor, struct lapse_error *error) LAPSE_MUST_USE;
/* OUT_OF_RANGE beyond LIMIT_PAGE; 0 means 100. */
lapse_result parse_page_size(uint32_t asked, uint32_t *page, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result parse_filter(struct core_call *call, const lapse_v1_Filter *message,
                          struct lapse_error *error) LAPSE_MUST_USE;
lapse_result parse_query(struct core_call *call, const lapse_v1_CheckRequest *message,
                         struct lapse_error *error) LAPSE_MUST_USE;

#endif
