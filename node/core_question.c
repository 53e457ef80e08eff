/* A question's own memory: its texts, its command, its answer. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "node/core_internal.h"

struct core_call *core_call_new(enum core_op op, const char *principal, int64_t timeout_ms)
{
    struct core_call *call = mem_calloc(1, sizeof *call);
    call->op = op;
    call->timeout_ms = timeout_ms;
    (void)snprintf(call->principal, sizeof call->principal, "%s", principal);
    buf_init(&call->command, LIMIT_COMMAND_BYTES);
    buf_init(&call->response, LIMIT_MESSAGE_OUT);
    buf_init(&call->guards, CORE_GUARDS_BYTES_MAX);
    return call;
}

void core_call_free(struct core_call *call)
{
    if (call == NULL)
        return;
    buf_free(&call->command);
    buf_free(&call->response);
    buf_free(&call->guards);
    free(call);
}

/* The longest message that is kept: a List filter (subject, resource, requester, approver, ticket, policy) or a Check.
 */
_Static_assert(CORE_CALL_TEXT_SIZE >=
                   LIMIT_SUBJECT + LIMIT_RESOURCE + 4 * LIMIT_PRINCIPAL + LIMIT_TICKET + LIMIT_POLICY + LIMIT_LABEL_KEY + 1 +
                       LIMIT_LABEL_VALUE,
               "a filter fits");
_Static_assert(CORE_CALL_TEXT_SIZE >= LIMIT_SUBJECT + LIMIT_RESOURCE + LIMIT_ACTION + LIMIT_PRINCIPAL + 32 + 64,
               "a check fits");

struct slice core_call_keep(struct core_call *call, const char *text, size_t len)
{
    if (len == 0)
        return slice_of(NULL, 0);
    CHECK(len <= sizeof call->text - call->text_len);
    uint8_t *at = call->text + call->text_len;
    memcpy(at, text, len);
    call->text_len += len;
    return slice_of(at, len);
}
