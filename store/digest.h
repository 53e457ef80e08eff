/* The digest of the whole state: a sum, modulo 2^128, of one XXH3-128 for each part of it.
 *
 * A sum doesn't care about order and can be kept up: take a part's old hash off before a change and add the new one
 * after. It finds divergence and damage; it is no defence against somebody who may choose both states. Hashes here have
 * no secret seed, since all nodes must agree. Internal to store/. */
#ifndef LAPSE_STORE_DIGEST_H
#define LAPSE_STORE_DIGEST_H

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
};

struct store_digest digest_of(enum digest_part part, const void *data, size_t len);
void digest_add(struct store_digest *sum, struct store_digest part);
void digest_sub(struct store_digest *sum, struct store_digest part);

/* A grant's four parts. The terms never change; the numbers do with each event; one is added for each approval, and one
 * at its end. */
struct store_digest digest_grant_terms(const struct record *record, uint8_t *const *chunks);
struct store_digest digest_grant_numbers(const struct record *record);
struct store_digest digest_grant_approval(const struct record *record, uint32_t i, uint8_t *const *chunks);
struct store_digest digest_grant_ending(const struct record *record, uint8_t *const *chunks);
/* The sum of all its parts. */
struct store_digest digest_grant(const struct record *record, uint8_t *const *chunks);

#endif
