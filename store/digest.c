#include "store/digest.h"

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

struct store_digest digest_of_message(enum digest_part part, const struct digest_message *message)
{
    return digest_of(part, message->bytes, message->len);
}

static void start(struct digest_message *message, const struct record *record)
{
    message->len = 0;
    digest_put(message, record->id.bytes, sizeof record->id.bytes);
}

struct store_digest digest_grant_terms(const struct record *record, uint8_t *const *chunks)
{
    struct digest_message message;
    start(&message, record);
    digest_put_string(&message, chunks, record->subject);
    digest_put_string(&message, chunks, record->resource);
    digest_put_string(&message, chunks, record->requester);
    digest_put_string(&message, chunks, record->ticket);
    digest_put_string(&message, chunks, record->policy);
    digest_put_string(&message, chunks, record->shared);
    digest_put_string(&message, chunks, record->story);
    return digest_of_message(DIGEST_GRANT_TERMS, &message);
}

struct store_digest digest_grant_numbers(const struct record *record)
{
    return digest_of(DIGEST_GRANT_NUMBERS, record, offsetof(struct record, subject));
}

struct store_digest digest_grant_approval(const struct record *record, uint8_t *const *chunks)
{
    struct digest_message message;
    start(&message, record);
    digest_put_string(&message, chunks, record->approver);
    digest_put_string(&message, chunks, record->comment);
    return digest_of_message(DIGEST_GRANT_APPROVAL, &message);
}

struct store_digest digest_grant_ending(const struct record *record, uint8_t *const *chunks)
{
    struct digest_message message;
    start(&message, record);
    digest_put_string(&message, chunks, record->ending);
    return digest_of_message(DIGEST_GRANT_ENDING, &message);
}

struct store_digest digest_grant(const struct record *record, uint8_t *const *chunks)
{
    struct store_digest sum = digest_grant_terms(record, chunks);
    digest_add(&sum, digest_grant_numbers(record));
    if (record->n_approvals > 0)
        digest_add(&sum, digest_grant_approval(record, chunks));
    if (grant_state_is_ended((enum grant_state)record->state))
        digest_add(&sum, digest_grant_ending(record, chunks));
    return sum;
}
