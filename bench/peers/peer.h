/* What the kinds of peers share: a directory with three nodes in it, their arguments and ports, waiting for them, and
 * how an item is written down: key "items/00000042", value 200 bytes of text.
 *
 * A kind's own struct begins with a `struct peer`, which begins with the `struct system` that scenarios see. */
#ifndef LAPSE_BENCH_PEERS_PEER_H
#define LAPSE_BENCH_PEERS_PEER_H

#include "base/bytes.h"
#include "bench/harness/system.h"

#define PEER_KEY_PREFIX "items/"
#define PEER_KEY_SIZE 24 /* with its NUL */
#define PEER_VALUE_LEN 200
#define PEER_ADDRESS_SIZE 80
#define PEER_PORTS_MAX 3

struct peer {
    struct system system;
    bool keep;
    bool is_ours; /* started by this program, not --endpoints */
    char program[PROCESS_PATH_SIZE];
    char *const *more_flags;                           /* the options' */
    char address[SYSTEM_NODES_MAX][PEER_ADDRESS_SIZE]; /* where clients connect: "127.0.0.1:2379" */
    uint16_t ports[SYSTEM_NODES_MAX][PEER_PORTS_MAX];  /* the first is the clients' */
};

/* The part of kind->start that all have: tuning, program (`program` is looked for unless the options name one),
 * directory with one subdirectory a node ("node1"), logs, `n_ports` ports a node. With endpoints: only their addresses.
 * NOT_FOUND names the package; INVALID_ARGUMENT. After a failure peer_end is due as well. */
lapse_result peer_begin(struct peer *peer, const struct system_kind *kind, const struct system_options *options,
                        const char *program, uint32_t n_ports, struct lapse_error *error) LAPSE_MUST_USE;
/* Kills the nodes and removes the directory, or says where it was kept. The struct itself is the kind's to free. */
void peer_end(struct peer *peer);

/* --- starting a node ---------------------------------------------------------------------------------------------- */

#define PEER_ARGS_MAX 48

struct peer_args {
    uint32_t n;
    char *at[PEER_ARGS_MAX + 1];
    char text[4096];
    size_t used;
    char flags[512]; /* what the report says */
};

/* An argument that only says where (directories, ports): not in the report. */
void peer_place(struct peer_args *args, const char *format, ...) LAPSE_PRINTF(2, 3);
/* An argument that says how: in the report. */
void peer_flag(struct peer_args *args, const char *format, ...) LAPSE_PRINTF(2, 3);
/* Runs the peer's program with `args`, then the options' flags, as node `node`; notes flags in the report. */
lapse_result peer_start_node(struct peer *peer, uint32_t node, struct peer_args *args,
                             struct lapse_error *error) LAPSE_MUST_USE;

/* --- waiting ------------------------------------------------------------------------------------------------------ */

struct peer_wait {
    int64_t until_ns;
    const char *what; /* "a leader" */
};

struct peer_wait peer_wait_for(const char *what);
/* Sleeps a little. UNAVAILABLE when a node has ended or the time is up, CANCELLED when a signal came. */
lapse_result peer_wait_more(struct peer *peer, const struct peer_wait *wait, struct lapse_error *error) LAPSE_MUST_USE;

/* --- items -------------------------------------------------------------------------------------------------------- */

void peer_key(char out[PEER_KEY_SIZE], uint32_t item);
/* False for a key that is no item's. */
bool peer_item(struct slice key, uint32_t *item);
/* 200 bytes of text that differ from item to item; NUL-terminated. */
void peer_value(char out[PEER_VALUE_LEN + 1], uint32_t item);

#endif
