/* A small world for leases, in true time: nodes with real stores and clocks that drift, a log that commits what the
 * leader of the present term proposes, a network that is as bad as a test wants it, enforcement points, and an oracle
 * that knows until when each of them really may decide. */
#ifndef LAPSE_TESTS_UNIT_LEASE_FIXTURE_H
#define LAPSE_TESTS_UNIT_LEASE_FIXTURE_H

#include "node/lease_frame.h"
#include "node/lease_leader.h"
#include "node/lease_node.h"
#include "tests/sim/prng.h"
#include "tests/unit/store_fixture.h"

#define WORLD_NODES 3u
#define WORLD_POINTS 6u
#define MS 1000ll

struct world;

struct world_node {
    struct world *world;
    uint64_t id, life, term;
    int64_t offset_us;
    int drift; /* of 1000 */
    struct store *store;
    uint32_t applied; /* entries */
    struct lease_node *node;
    struct lease_leader *leader;
    bool leads;
    uint32_t ready_at;   /* entries that must be applied */
    int64_t evidence_us; /* when a majority was last heard, on its clock */
    bool cut_off, stuck; /* from the network; does not apply */
    bool paused;         /* SIGSTOP: what is sent to it waits */
    struct buf gone;     /* its newest report that began with a stream that is gone */
    uint32_t admitted, ended, progress;
    enum lease_end why;
    struct lease_progress last_progress; /* without the points */
    uint8_t first_level;
    uint32_t frames;
};

struct world_point {
    uint64_t number; /* of its instance */
    uint32_t node;   /* where its stream is; UINT32_MAX: nowhere */
    struct lease_stream *stream;
    int drift;
    int64_t ping_due_us;
    int64_t promise_until_us; /* true time */
    uint64_t received, enforced;
    bool deaf;   /* pings, but acknowledges nothing */
    bool busy;   /* receives, but does not confirm */
    bool silent; /* does nothing at all */
    bool over;   /* the store has ended it */
};

struct world_frame;

struct world {
    int64_t now_us;
    struct prng prng;
    struct world_node nodes[WORLD_NODES];
    struct world_point points[WORLD_POINTS];
    uint32_t n_points;
    struct {
        struct buf bytes;
        int64_t time_ms;
    } * log;
    uint32_t n_log, log_capacity;
    struct world_frame *frames;
    uint64_t term;
    uint32_t leader; /* index */
    enum lease_broken broken;
    unsigned lose, repeat; /* percent of frames */
    int64_t delay_us_max;
    bool refuse; /* proposals get lost */
    bool hold;   /* ... or are kept, and commit with world_release */
    struct buf held[8];
    uint32_t n_held;
    uint64_t n_grants;
    /* The oracle: LAPSED or FENCED was proposed for a point that could still decide, or ENFORCED for one that had not.
     */
    uint32_t violations;
    uint32_t proposals, receipts[RECEIPT_LEFT + 1];
};

struct world *world_new(uint64_t seed, enum lease_broken broken);
void world_free(struct world *world);
void world_run(struct world *world, int64_t ms);
/* Registers a point whose stream is at that node, and waits until it has a promise. */
struct world_point *world_point(struct world *world, uint32_t node);
void world_connect(struct world *world, struct world_point *point, uint32_t node);
void world_disconnect(struct world *world, struct world_point *point);
void world_elect(struct world *world, uint32_t node);
/* It hears of the present term. */
void world_heal(struct world *world, uint32_t node);
/* kill -9, and up again at once with an empty memory. */
void world_restart(struct world *world, uint32_t node);
void world_set_members(struct world *world, uint32_t without /* an index; UINT32_MAX: all */);
void world_release(struct world *world);
/* Grants and revokes; the barrier's id. */
uint64_t world_revoke(struct world *world);
void world_commit(struct world *world, const struct command *command);
struct barrier world_barrier(const struct world *world, uint64_t id);
/* Milliseconds until the barrier is done at the leader; -1 when it is not by then. */
int64_t world_wait(struct world *world, uint64_t id, int64_t ms_max);
struct world_node *world_leader(struct world *world);
int64_t world_clock(const struct world_node *node);

#endif
