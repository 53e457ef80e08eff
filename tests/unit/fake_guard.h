/* A guard for tests of what asks it: it knows a few grants, and says what the test tells it to. */
#ifndef LAPSE_TESTS_FAKE_GUARD_H
#define LAPSE_TESTS_FAKE_GUARD_H

#include "client/lapse_guard.h"

#define FAKE_GUARD_GRANTS 8

struct fake_grant {
    const char *subject, *resource, *action, *id;
    uint32_t uses; /* left, when it counts them; 0: it does not */
    bool counts;
    const char *spiffe_id, *address;
    const uint8_t *certificate_sha256;
    const uint8_t *token; /* its SHA-256 */
};

struct lapse_guard {
    enum lapse_guard_state state;
    struct fake_grant grants[FAKE_GUARD_GRANTS];
    uint32_t n_grants;
    _Atomic(uint64_t) revision;
    bool locked;               /* everybody is */
    bool use_fails;            /* the cluster can't be reached */
    bool reload_fails;         /* the files can't be used */
    _Atomic(uint32_t) reloads; /* how often it was asked to */
    _Atomic(bool) hold;        /* uses wait until it is false */
    _Atomic(uint32_t) holding; /* how many do */
};

void fake_guard_init(struct lapse_guard *guard);
struct fake_grant *fake_guard_grant(struct lapse_guard *guard, const char *subject, const char *resource,
                                    const char *action);

#endif
