/* What tests of enforcement points, barriers and sessions share. */
#ifndef LAPSE_TESTS_POINTS_FIXTURE_H
#define LAPSE_TESTS_POINTS_FIXTURE_H

#include "store_fixture.h"

/* What most points here guard; it covers the grants of points_activate(). */
#define SCOPE "db/*"

/* The events of a command. */
/* An event RECEIPTS: of which barrier, and how many bytes of receipts. */
struct points_evidence {
    uint64_t barrier;
    size_t bytes;
};

/* What was told, RECEIPTS aside. */
struct points_log {
    struct points_evidence evidence[64];
    int n_evidence;
    enum store_event_type types[512];
    uint64_t revisions[512], barriers[512];
    struct point point; /* of the last event about one; its texts are gone */
    struct barrier barrier;
    struct grant_id grant;
    uint32_t n;
};

/* Applies a command that must take effect, and says what it told. */
struct store_outcome points_told(struct store *store, struct command command, int64_t time_ms, struct points_log *log);
struct command points_bind(const char *member, uint32_t roles, const char *scope);
/* Requests and approves. */
void points_activate_on(struct store *store, uint64_t number, const char *resource);
void points_activate(struct store *store, uint64_t number);
/* Revokes at T0 + 1 and returns the barrier's id. */
uint64_t points_revoke(struct store *store, uint64_t number);
struct barrier points_barrier(const struct store *store, uint64_t id);
struct command points_end(uint64_t instance, enum point_end how);
/* SESSION_BEGIN or SESSION_END of user:ep; `grant` 0 names none. */
struct command points_session(enum command_type type, uint64_t id, uint64_t instance, uint64_t grant);
/* With `n` points, instances 1000 and up, of as many principals as it takes. */
struct store *points_store(uint32_t n);
/* Restoring its snapshot must give the same store. Frees it: what each test ends with. */
void points_finish(struct store *store);

#endif
