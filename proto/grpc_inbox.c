#include "proto/grpc_inbox.h"

#include "base/check.h"

void grpc_inbox_init(struct grpc_inbox *inbox, uint32_t message_max)
{
    *inbox = (struct grpc_inbox){0};
    buf_init(&inbox->body, message_max);
}

void grpc_inbox_free(struct grpc_inbox *inbox)
{
    buf_free(&inbox->body);
}

static size_t take(struct slice *input, size_t want)
{
    size_t n = input->len < want ? input->len : want;
    input->data += n;
    input->len -= n;
    return n;
}

static enum grpc_inbox_step judge_prefix(struct grpc_inbox *inbox)
{
    inbox->message_len = (uint32_t)inbox->prefix[1] << 24 | (uint32_t)inbox->prefix[2] << 16 |
                         (uint32_t)inbox->prefix[3] << 8 | inbox->prefix[4];
    if (inbox->prefix[0] != 0)
        return GRPC_INBOX_COMPRESSED;
    return inbox->message_len > inbox->body.max ? GRPC_INBOX_TOO_LARGE : GRPC_INBOX_MORE;
}

enum grpc_inbox_step grpc_inbox_feed(struct grpc_inbox *inbox, struct slice *input)
{
    if (inbox->prefix_len < GRPC_PREFIX_SIZE) {
        if (input->len == 0)
            return GRPC_INBOX_MORE;
        const uint8_t *from = input->data;
        size_t n = take(input, GRPC_PREFIX_SIZE - inbox->prefix_len);
        memcpy(inbox->prefix + inbox->prefix_len, from, n);
        inbox->prefix_len += (uint8_t)n;
        if (inbox->prefix_len < GRPC_PREFIX_SIZE)
            return GRPC_INBOX_MORE;
        enum grpc_inbox_step step = judge_prefix(inbox);
        if (step != GRPC_INBOX_MORE)
            return step;
    }
    const uint8_t *from = input->data;
    size_t n = take(input, inbox->message_len - inbox->body.len);
    lapse_result appended = buf_append(&inbox->body, from, n);
    CHECK(lapse_is_ok(appended)); /* judge_prefix compared with its bound */
    return inbox->body.len == inbox->message_len ? GRPC_INBOX_MESSAGE : GRPC_INBOX_MORE;
}

void grpc_inbox_next(struct grpc_inbox *inbox)
{
    buf_free(&inbox->body);
    inbox->prefix_len = 0;
}

bool grpc_inbox_is_torn(const struct grpc_inbox *inbox)
{
    return inbox->prefix_len > 0;
}
