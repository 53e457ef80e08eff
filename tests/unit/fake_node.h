/* Nodes for the client's tests: real TLS and gRPC servers on ports of 127.0.0.1, each with a thread of its own, that
 * share one history instead of a Raft log and can be told to misbehave. Grants are canned: what is tested is the
 * client. */
#ifndef LAPSE_TESTS_FAKE_NODE_H
#define LAPSE_TESTS_FAKE_NODE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_EVENTS_MAX 4096
#define FAKE_REQUESTS_MAX 4096

enum fake_mode {
    FAKE_SERVES,
    FAKE_UNAVAILABLE,         /* every call: "no leader" */
    FAKE_REFUSES,             /* every call: PERMISSION_DENIED */
    FAKE_PENDING,             /* every call: DEADLINE_EXCEEDED, as a revocation that was not confirmed in time */
    FAKE_SILENT,              /* takes calls and never answers */
    FAKE_HANGS_UP,            /* does what it is asked, then closes the connection without an answer */
    FAKE_ANSWERS_JUNK,        /* bytes that are no message */
    FAKE_LAGS,                /* a resumed watch is sent the two events before its point again */
    FAKE_DISORDERS,           /* a watch is sent its next two events in the wrong order */
    FAKE_CUTS_SNAPSHOT,       /* the connection ends in the middle of a snapshot */
    FAKE_BRINGS_ANOTHER_EPOCH /* events of a later epoch without a resync */
};

/* What all nodes know. */
struct fake_cluster {
    pthread_mutex_t lock;
    char *pki; /* directory: ca.pem, node.pem, dev1.pem and their keys */
    uint64_t epoch;
    uint64_t revision;                       /* events 1 to revision exist */
    uint64_t ring;                           /* the first revision that a watch can resume behind */
    char request_ids[FAKE_REQUESTS_MAX][65]; /* of the writes done, each once */
    uint32_t n_requests;
    uint32_t attempts; /* writes received, repeats included */
    uint32_t snapshot_grants;
    struct fake_node *nodes[8];
    uint32_t n_nodes;
};

struct fake_cluster *fake_cluster_new(void);
void fake_cluster_free(struct fake_cluster *cluster); /* stops its nodes */

/* One more event, pushed to all watches. */
void fake_cluster_publish(struct fake_cluster *cluster, uint32_t n);
/* A restore from backup: another epoch, and nothing before `revision` can be resumed. */
void fake_cluster_set(struct fake_cluster *cluster, uint64_t epoch, uint64_t revision, uint64_t ring, uint32_t grants);

struct fake_node;
/* Port 0: any. */
struct fake_node *fake_node_start(struct fake_cluster *cluster, uint16_t port);
uint16_t fake_node_port(const struct fake_node *node);
void fake_node_set_mode(struct fake_node *node, enum fake_mode mode);
/* Like kill -9: every connection breaks, nobody listens. */
void fake_node_stop(struct fake_node *node);
uint32_t fake_node_calls(struct fake_node *node);       /* received so far */
uint32_t fake_node_connections(struct fake_node *node); /* accepted so far */
uint32_t fake_node_watches(struct fake_node *node);     /* open now */

/* "127.0.0.1:A,127.0.0.1:B". */
const char *fake_endpoints(struct fake_cluster *cluster);

#endif
