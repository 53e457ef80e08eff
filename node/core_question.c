/* A question's own memory: its texts, its command, its answer. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "node/core_internal.h"

struct core_text {
    struct core_text *next;
    uint8_t bytes[];
};

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

static void free_texts(struct core_text *text)
{
    while (text != NULL) {
        struct core_text *next = text->next;
        free(text);
        text = next;
    }
}

void core_call_free(struct core_call *call)
{
    if (call == NULL)
        return;
    buf_free(&call->command);
    buf_free(&call->response);
    buf_free(&call->guards);
    free_texts(call->texts);
    free(call);
}

uint8_t *core_call_room(struct core_call *call, size_t len)
{
    struct core_text *text = mem_alloc(sizeof *text + len);
    text->next = call->texts;
    call->texts = text;
    return text->bytes;
}

struct slice core_call_keep(struct core_call *call, const char *text, size_t len)
{
    if (len == 0)
        return slice_of(NULL, 0);
    uint8_t *room = core_call_room(call, len);
    memcpy(room, text, len);
    return slice_of(room, len);
}
