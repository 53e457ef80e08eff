/* What tests of the store share: short ways to build commands, apply them, and take snapshots. */
#ifndef LAPSE_TESTS_STORE_FIXTURE_H
#define LAPSE_TESTS_STORE_FIXTURE_H

#include "store/store.h"

#define T0 1767225600000LL /* when every test begins */

/* Roles: req1, req2 request; app1, app2 approve; ops operates; ep enforces; all "user:NAME". */
struct store *fixture_store(const struct store_options *options);

/* Applies a policy of that name that lets everybody ask for everything, as the built-in rule does. */
void fixture_open(struct store *store, const char *name);

struct grant_id fixture_id(uint64_t number);
/* A request by user:req1 for user:dev1 to read db/prod/orders, for one minute. */
struct command fixture_request(uint64_t number);
struct command fixture_about(enum command_type type, uint64_t number, const char *principal);
struct command fixture_advance(uint32_t count);
struct request_key fixture_key(uint64_t number);

struct random_id fixture_random_id(uint64_t number);
/* Of user:ep, with a lease of 3 s. */
struct command fixture_register(const char *id, uint64_t instance, const char *scope);
/* COMMAND_RECEIPTS with one receipt, at that time, in bytes that stay until the next call. */
struct command fixture_receipt(uint64_t barrier, uint64_t instance, enum receipt_level level, int64_t time_ms);

struct store_outcome fixture_apply(struct store *store, struct command command, int64_t time_ms);
/* The same, which must take effect. */
struct store_outcome fixture_must(struct store *store, struct command command, int64_t time_ms);
/* 0 when there is no such grant. */
enum grant_state fixture_state(const struct store *store, uint64_t number);

bool fixture_same_digest(const struct store *a, const struct store *b);
/* The snapshot of the present state, read in pieces of `piece` bytes. */
struct buf fixture_snapshot(struct store *store, size_t piece);
/* Feeds pieces of `piece` bytes; NULL and the error when it is refused. */
struct store *fixture_restore(struct slice bytes, size_t piece, const struct store_options *options,
                              struct lapse_error *error);

/* Numbers that look random and are the same in every run. */
struct fixture_random {
    uint64_t state;
};
uint64_t fixture_random(struct fixture_random *random);
/* Below `n`. */
uint32_t fixture_pick(struct fixture_random *random, uint32_t n);

#endif
