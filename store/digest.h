/* The digest of the whole state: a sum, modulo 2^128, of one XXH3-128 for each part of it.
 *
 * A sum doesn't care about order and can be kept up: take a part's old hash off before a change and add the new one
 * after. It finds divergence and damage; it is no defence against somebody who may choose both states. Hashes here have
 * no secret seed, since all nodes must agree. Internal to store/. */
#ifndef LAPSE_STORE_DIGEST_H
#define LAPSE_STORE_DIGEST_H

#include "base/check.h"
#include "store/records.h"
#include "store/store.h"

/* Keeps equal bytes of different parts apart. */
enum digest_part {
    DIGEST_GRANT_TERMS = 1,
    DIGEST_GRANT_NUMBERS = 2,
    DIGEST_GRANT_APPROVAL = 3,
    DIGEST_GRANT_ENDING = 4,
    DIGEST_REQUEST_KEY = 5,
    DIGEST_ROLE = 6,
    DIGEST_STORE = 7,
    DIGEST_POINT = 8,
    DIGEST_BARRIER = 9,
    DIGEST_RECEIPT = 10,
    DIGEST_SESSION = 11,
    DIGEST_SWEEP = 12,
    DIGEST_OBJECT = 13,
    DIGEST_EXTRA = 14,
};

struct store_digest digest_of(enum digest_part part, const void *data, size_t len);
void digest_add(struct store_digest *sum, struct store_digest part);
void digest_sub(struct store_digest *sum, struct store_digest part);

/* The bytes of a part, put together from numbers and strings; each string with its length, so that no two lists of
 * strings have the same bytes. Set `len` to 0 to begin. */
struct digest_message {
    size_t len;
    uint8_t bytes[sizeof(struct grant_id) + STRING_BYTES_MAX + 6 * (LIMIT_JUSTIFICATION + LIMIT_TASK + 8)];
};
static inline void digest_put(struct digest_message *message, const void *data, size_t len)
{
    CHECK(len <= sizeof message->bytes - message->len);
    memcpy(message->bytes + message->len, data, len);
    message->len += len;
}
static inline void digest_put_string(struct digest_message *message, uint8_t *const *chunks, string_id id)
{
    struct slice text = string_at(chunks, id);
    uint16_t len = (uint16_t)text.len;
    digest_put(message, &len, sizeof len);
    if (text.len > 0)
        digest_put(message, text.data, text.len);
}
struct store_digest digest_of_message(enum digest_part part, const struct digest_message *message);

/* A grant's four parts. The terms never change; the numbers do with each event; one is added for the first approval, and
 * one at its end. Further approvals are in its extra, which has a part of its own (extras.h). */
struct store_digest digest_grant_terms(const struct record *record, uint8_t *const *chunks);
struct store_digest digest_grant_numbers(const struct record *record);
struct store_digest digest_grant_approval(const struct record *record, uint8_t *const *chunks);
struct store_digest digest_grant_ending(const struct record *record, uint8_t *const *chunks);
/* The sum of all its parts, but its extra's. */
struct store_digest digest_grant(const struct record *record, uint8_t *const *chunks);

#endif
