#include "store/digest.h"

#include "base/check.h"
#include "store/hash.h"

struct store_digest digest_of(enum digest_part part, const void *data, size_t len)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(data, len, (XXH64_hash_t)part);
    return (struct store_digest){{hash.low64, hash.high64}};
}

void digest_add(struct store_digest *sum, struct store_digest part)
{
    uint64_t low = sum->words[0] + part.words[0];
    sum->words[1] += part.words[1] + (low < part.words[0]);
    sum->words[0] = low;
}

void digest_sub(struct store_digest *sum, struct store_digest part)
{
    uint64_t borrow = sum->words[0] < part.words[0];
    sum->words[0] -= part.words[0];
    sum->words[1] -= part.words[1] + borrow;
}

/* Strings behind one another, each with its length, so that no two lists of strings have the same bytes. */
struct message {
    size_t len;
    uint8_t bytes[sizeof(struct grant_id) + STRING_BYTES_MAX + 6 * (LIMIT_JUSTIFICATION + LIMIT_TASK + 8)];
};

static void put(struct message *message, const void *data, size_t len)
{
    CHECK(len <= sizeof message->bytes - message->len);
    memcpy(message->bytes + message->len, data, len);
    message->len += len;
}

static void put_string(struct message *message, uint8_t *const *chunks, string_id id)
{
    struct slice text = string_at(chunks, id);
    uint16_t len = (uint16_t)text.len;
    put(message, &len, sizeof len);
    if (text.len > 0)
        put(message, text.data, text.len);
}

static void start(struct message *message, const struct record *record)
{
    message->len = 0;
    put(message, record->id.bytes, sizeof record->id.bytes);
}

struct store_digest digest_grant_terms(const struct record *record, uint8_t *const *chunks)
{
    struct message message;
    start(&message, record);
    put_string(&message, chunks, record->subject);
    put_string(&message, chunks, record->resource);
    put_string(&message, chunks, record->requester);
    put_string(&message, chunks, record->ticket);
    put_string(&message, chunks, record->policy);
    put_string(&message, chunks, record->shared);
    put_string(&message, chunks, record->story);
    return digest_of(DIGEST_GRANT_TERMS, message.bytes, message.len);
}

struct store_digest digest_grant_numbers(const struct record *record)
{
    return digest_of(DIGEST_GRANT_NUMBERS, record, offsetof(struct record, subject));
}

struct store_digest digest_grant_approval(const struct record *record, uint32_t i, uint8_t *const *chunks)
{
    struct message message;
    uint8_t place = (uint8_t)i;
    start(&message, record);
    put(&message, &place, 1);
    put_string(&message, chunks, record->approvers[i]);
    put_string(&message, chunks, record->comments[i]);
    return digest_of(DIGEST_GRANT_APPROVAL, message.bytes, message.len);
}

struct store_digest digest_grant_ending(const struct record *record, uint8_t *const *chunks)
{
    struct message message;
    start(&message, record);
    put_string(&message, chunks, record->ending);
    return digest_of(DIGEST_GRANT_ENDING, message.bytes, message.len);
}

struct store_digest digest_grant(const struct record *record, uint8_t *const *chunks)
{
    struct store_digest sum = digest_grant_terms(record, chunks);
    digest_add(&sum, digest_grant_numbers(record));
    for (uint32_t i = 0; i < record->n_approvals; i++)
        digest_add(&sum, digest_grant_approval(record, i, chunks));
    if (grant_state_is_ended((enum grant_state)record->state))
        digest_add(&sum, digest_grant_ending(record, chunks));
    return sum;
}
