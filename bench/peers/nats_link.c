#include "bench/peers/nats_link.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "bench/peers/peer.h"

#define SUBJECT_PREFIX "$KV." NATS_BUCKET "."
#define STREAM "KV_" NATS_BUCKET
#define DELETED "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"
#define LINE_MAX_LEN (64u << 10)
#define WORDS_MAX 6
#define INBOX_SIZE 64

enum { SUBSCRIPTION_ANSWERS = 1, SUBSCRIPTION_CHANGES = 2 };

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* "_INBOX.lapse-bench-PID-LINK": below it arrive the answers to this link, by number. */
static void inbox_name(const struct peer_link *link, char out[INBOX_SIZE])
{
    snprintf(out, INBOX_SIZE, "_INBOX.lapse-bench-%d-%llu", (int)getpid(), (unsigned long long)link->id);
}

static void write_text(struct peer_link *link, const char *format, ...) LAPSE_PRINTF(2, 3);
static void write_text(struct peer_link *link, const char *format, ...)
{
    char text[1024];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    CHECK(n > 0 && (size_t)n < sizeof text);
    if (link->state == LINK_GREETING)
        peer_link_write_now(link, slice_of(text, (size_t)n));
    else
        peer_link_write(link, slice_of(text, (size_t)n));
}

static void greet(struct peer_link *link)
{
    char inbox[INBOX_SIZE];
    inbox_name(link, inbox);
    write_text(link,
               "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,"
               "\"lang\":\"c\",\"version\":\"1\",\"name\":\"lapse-bench\",\"protocol\":1}\r\n"
               "SUB %s.* %d\r\nPING\r\n",
               inbox, SUBSCRIPTION_ANSWERS);
}

/* One more word in the subject: watches are for subjects with one. */
static const char *quiet_prefix(bool quiet)
{
    return quiet ? "quiet." : "";
}

void nats_put(struct peer_link *link, uint32_t number, uint32_t item, bool quiet)
{
    char inbox[INBOX_SIZE], value[PEER_VALUE_LEN + 1];
    inbox_name(link, inbox);
    peer_value(value, item);
    write_text(link, "PUB " SUBJECT_PREFIX "%s%08u %s.%u %d\r\n%s\r\n", quiet_prefix(quiet), item, inbox, number,
               PEER_VALUE_LEN, value);
}

void nats_delete(struct peer_link *link, uint32_t number, uint32_t item, bool quiet)
{
    char inbox[INBOX_SIZE];
    inbox_name(link, inbox);
    write_text(link, "HPUB " SUBJECT_PREFIX "%s%08u %s.%u %zu %zu\r\n" DELETED "\r\n", quiet_prefix(quiet), item, inbox,
               number, sizeof DELETED - 1, sizeof DELETED - 1);
}

/* What a client library's ordered consumer asks for. */
void nats_watch(struct peer_link *link, uint32_t number)
{
    char inbox[INBOX_SIZE], config[640];
    inbox_name(link, inbox);
    int n =
        snprintf(config, sizeof config,
                 "{\"stream_name\":\"" STREAM "\",\"config\":{\"deliver_subject\":\"%s.changes.x\","
                 "\"deliver_policy\":\"new\",\"ack_policy\":\"none\",\"max_deliver\":1,\"replay_policy\":\"instant\","
                 "\"filter_subject\":\"" SUBJECT_PREFIX "*\",\"flow_control\":true,"
                 "\"idle_heartbeat\":5000000000,\"num_replicas\":1,\"mem_storage\":true}}",
                 inbox);
    CHECK(n > 0 && (size_t)n < sizeof config);
    write_text(link, "SUB %s.changes.x %d\r\n", inbox, SUBSCRIPTION_CHANGES);
    write_text(link, "PUB $JS.API.CONSUMER.CREATE." STREAM " %s.%u %d\r\n%s\r\n", inbox, number, n, config);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* MSG subject subscription [reply] bytes; HMSG subject subscription [reply] header-bytes bytes */
struct message {
    struct slice subject, reply, header, body;
    uint64_t subscription;
};

static bool parse_number(struct slice text, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i == 9)
            return false;
        *value = *value * 10 + (uint64_t)(text.data[i] - '0');
    }
    return text.len > 0;
}

static uint32_t split(struct slice line, struct slice words[WORDS_MAX])
{
    uint32_t n = 0;
    for (size_t i = 0; i < line.len && n < WORDS_MAX;) {
        size_t start = i;
        while (i < line.len && line.data[i] != ' ')
            i++;
        if (i > start)
            words[n++] = slice_of(line.data + start, i - start);
        i++;
    }
    return n;
}

static bool contains(struct slice text, const char *what)
{
    return memmem(text.data, text.len, what, strlen(what)) != NULL;
}

/* The number behind the last dot of a subject. */
static bool last_number(struct slice subject, uint32_t *number)
{
    uint64_t value;
    size_t at = subject.len;
    while (at > 0 && subject.data[at - 1] != '.')
        at--;
    bool ok = parse_number(slice_of(subject.data + at, subject.len - at), &value);
    if (ok)
        *number = (uint32_t)value;
    return ok;
}

static void on_answer(struct peer_link *link, const struct message *message)
{
    struct lapse_error error;
    uint32_t number;
    if (!last_number(message->subject, &number))
        return;
    if (contains(message->header, "NATS/1.0 503"))
        (void)lapse_fail(&error, LAPSE_UNAVAILABLE, "%s: nobody answers for the bucket", link->address);
    else if (contains(message->body, "\"error\""))
        (void)lapse_fail(&error, LAPSE_UNAVAILABLE, "%s: %.*s", link->address, (int)message->body.len,
                         (const char *)message->body.data);
    else {
        link->user->on_answer(link, number, NULL);
        return;
    }
    link->user->on_answer(link, number, &error);
}

static void on_change(struct peer_link *link, const struct message *message)
{
    uint32_t item;
    if (slice_starts_with(message->subject, slice_str(SUBJECT_PREFIX))) {
        if (contains(message->header, "KV-Operation: DEL") && last_number(message->subject, &item))
            link->user->on_gone(link, item);
    } else if (contains(message->header, "NATS/1.0 100") && message->reply.len > 0) {
        /* Flow control: the server wants to know that this was read. */
        write_text(link, "PUB %.*s 0\r\n\r\n", (int)message->reply.len, (const char *)message->reply.data);
    }
}

static size_t take_message(struct peer_link *link, struct slice bytes, struct slice words[WORDS_MAX], uint32_t n,
                           size_t at)
{
    struct message message = {0};
    bool has_header = words[0].data[0] == 'H';
    uint32_t least = has_header ? 5 : 4;
    uint64_t header = 0, len;
    if (n < least || n > least + 1 || !parse_number(words[n - 1], &len) ||
        (has_header && !parse_number(words[n - 2], &header)) || header > len ||
        !parse_number(words[2], &message.subscription)) {
        peer_link_break(link, LAPSE_INTERNAL, "%s sent a message that is none", link->address);
        return bytes.len;
    }
    if (bytes.len - at < len + 2)
        return 0;
    message.subject = words[1];
    if (n > least)
        message.reply = words[3];
    message.header = slice_of(bytes.data + at, header);
    message.body = slice_of(bytes.data + at + header, len - header);
    if (message.subscription == SUBSCRIPTION_CHANGES)
        on_change(link, &message);
    else
        on_answer(link, &message);
    return at + len + 2;
}

static void take_line(struct peer_link *link, struct slice line)
{
    if (slice_starts_with(line, slice_str("PING")))
        write_text(link, "PONG\r\n");
    else if (slice_starts_with(line, slice_str("PONG")) && link->state == LINK_GREETING)
        peer_link_ready(link);
    else if (slice_starts_with(line, slice_str("-ERR")))
        peer_link_break(link, LAPSE_UNAVAILABLE, "%s: %.*s", link->address, (int)line.len, (const char *)line.data);
    /* INFO, +OK: nothing to do */
}

static size_t take(struct peer_link *link, struct slice bytes)
{
    struct slice words[WORDS_MAX];
    const uint8_t *end = memmem(bytes.data, bytes.len, "\r\n", 2);
    if (end == NULL) {
        if (bytes.len > LINE_MAX_LEN)
            peer_link_break(link, LAPSE_INTERNAL, "%s sent a line that is too long", link->address);
        return 0;
    }
    size_t len = (size_t)(end - bytes.data);
    struct slice line = slice_of(bytes.data, len);
    if (slice_starts_with(line, slice_str("MSG ")) || slice_starts_with(line, slice_str("HMSG "))) {
        uint32_t n = split(line, words);
        return take_message(link, bytes, words, n, len + 2);
    }
    take_line(link, line);
    return len + 2;
}

const struct peer_link_protocol nats_protocol = {greet, take, NULL};
