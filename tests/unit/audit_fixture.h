/* Audits of a few nodes in one process, with real files in a temporary directory, and a chain of made-up events that
 * all of them are told. */
#ifndef LAPSE_TESTS_UNIT_AUDIT_FIXTURE_H
#define LAPSE_TESTS_UNIT_AUDIT_FIXTURE_H

#include <stdatomic.h>

#include "node/audit.h"
#include "store/words.h"

#define AUDIT_NODES 3u
#define AUDIT_EPOCH 7
#define AUDIT_TIME_MS INT64_C(1800000000000)

/* Events 1 to n; event r has the time AUDIT_TIME_MS + 1000 r. */
struct made_chain {
    uint32_t n, capacity;
    struct blob **events;       /* [0] is that of revision 1 */
    struct audit_place *places; /* [0] is the beginning */
};
/* Grants in turn: grant i % 10 of subject "user:dev(i % 10)" on "db/prod/(i % 10)", by "user:oncall". */
void chain_grow(struct made_chain *chain, uint32_t n);
void chain_add(struct made_chain *chain, struct event_words *words); /* revision and time are filled in */
void chain_free(struct made_chain *chain);
struct grant_id made_grant_id(uint32_t i);

struct audit_world;
struct audit_node {
    struct audit_world *world;
    uint64_t id;
    char dir[64];
    struct audit *audit; /* NULL: down */
    uint64_t told;
};
struct audit_world {
    char dir[48];
    struct made_chain chain;
    struct audit_node nodes[AUDIT_NODES];
    pthread_mutex_t lock;   /* of `audit` of the nodes, for frames */
    _Atomic(uint64_t) liar; /* its records are changed on the way */
    _Atomic(uint64_t) frames;
    uint64_t reserve_bytes;
    int64_t gather_us;
};

struct audit_world *audit_world_new(void);
void audit_world_free(struct audit_world *world);
/* Starts with a store at `revision` of the chain. */
void audit_node_start(struct audit_world *world, uint32_t i, uint64_t revision);
void audit_node_stop(struct audit_node *node);
/* The events behind what it was told, up to `revision`. */
void audit_node_tell(struct audit_node *node, uint64_t revision);
/* All nodes that run may ask each other. */
void audit_connect(struct audit_world *world);

struct audit_status audit_now(const struct audit_node *node);
/* Until the condition holds; fails the test after a minute. */
#define AUDIT_EVENTUALLY(condition)                                                                                    \
    do {                                                                                                               \
        bool holds_ = false;                                                                                           \
        for (int tries_ = 0; tries_ < 60000 && !(holds_ = (condition)); tries_++)                                      \
            audit_nap();                                                                                               \
        cr_assert(holds_, "never: " #condition);                                                                       \
    } while (0)
void audit_nap(void);
/* Asks and waits for the answer. */
void audit_node_ask(struct audit_node *node, struct audit_job *job);
/* One number of the database of a node that is down (or up): the first column of the first row. */
int64_t audit_number(const struct audit_node *node, const char *sql);
void audit_execute(const struct audit_node *node, const char *sql);
/* SHA-256 of all records and links, as text. */
void audit_digest(const struct audit_node *node, char out[65]);

#endif
