/* The parts of kind_lapse. Included by bench/lapse/ alone. */
#ifndef LAPSE_BENCH_LAPSE_CLUSTER_INTERNAL_H
#define LAPSE_BENCH_LAPSE_CLUSTER_INTERNAL_H

#include "bench/lapse/cluster.h"
#include "bench/lapse/partition.h"

#define CLUSTER_ITEMS_CHUNK 65536u
#define CLUSTER_CHUNKS_MAX 128u
#define CLUSTER_CALL_MS 30000u
#define CLUSTER_PATIENCE_MS 60000
#define CLUSTER_ULID_SIZE 27

typedef char cluster_id[CLUSTER_ULID_SIZE];

enum cluster_role { CLUSTER_REQUESTER, CLUSTER_APPROVER, CLUSTER_OPERATOR, CLUSTER_ENFORCER, CLUSTER_ROLES };

struct cluster {
    struct system system;
    char program[PROCESS_PATH_SIZE];
    char pki[PROCESS_PATH_SIZE]; /* where the certificates are */
    char *const *flags;          /* the caller's, for every node */
    bool keep, is_ours;          /* ours: started here */
    struct partition *partition; /* NULL: loopback */
    char host[SYSTEM_NODES_MAX][48];
    uint16_t client_port[SYSTEM_NODES_MAX], peer_port[SYSTEM_NODES_MAX], http_port[SYSTEM_NODES_MAX];
    struct socket_target http[SYSTEM_NODES_MAX];
    struct lapse_client *admin;
    struct ssl_ctx_st *tls[CLUSTER_ROLES]; /* one identity may have several roles: then they are one */
    char run[9];                           /* of this run, in tickets and request ids */
    enum lapse_wait wait;
    uint32_t n_items;
    cluster_id *ids[CLUSTER_CHUNKS_MAX];
};

static inline struct cluster *cluster_of(struct system *system)
{
    return (struct cluster *)system;
}

/* cluster_nodes.c: certificates, processes. */
lapse_result cluster_nodes_begin(struct cluster *cluster, const struct system_options *options,
                                 struct lapse_error *error) LAPSE_MUST_USE;
lapse_result cluster_node_start(struct cluster *cluster, uint32_t node, struct lapse_error *error) LAPSE_MUST_USE;
/* In a running cluster: what the options name. */
lapse_result cluster_nodes_given(struct cluster *cluster, const struct system_options *options,
                                 struct lapse_error *error) LAPSE_MUST_USE;
lapse_result cluster_target(struct cluster *cluster, uint32_t node, enum cluster_role role,
                            struct socket_target *target, struct lapse_error *error) LAPSE_MUST_USE;

/* cluster_setup.c: waiting for it, roles, policy. */
struct cluster_wait {
    int64_t until_ms;
    const char *what;
};
struct cluster_wait cluster_wait_begin(const char *what);
/* Sleeps a little. Fails when a node died, time is up, or a signal came. */
lapse_result cluster_wait_more(struct cluster *cluster, const struct cluster_wait *wait,
                               struct lapse_error *error) LAPSE_MUST_USE;
lapse_result cluster_client(struct cluster *cluster, const char *user, uint32_t node, struct lapse_client **client,
                            struct lapse_error *error) LAPSE_MUST_USE;
lapse_result cluster_set_up(struct cluster *cluster, struct lapse_error *error) LAPSE_MUST_USE;

/* cluster_metrics.c */
lapse_result cluster_metric(struct system *system, uint32_t node, const char *name, double *value,
                            struct lapse_error *error);

/* cluster_items.c */
lapse_result cluster_reserve(struct system *system, uint32_t n, struct lapse_error *error);
char *cluster_id_of(struct cluster *cluster, uint32_t item);
void cluster_items_free(struct cluster *cluster);
void cluster_ticket(const struct cluster *cluster, uint32_t item, char ticket[CLUSTER_TEXT_SIZE]);
/* False: not one of this run's. */
bool cluster_ticket_parse(const struct cluster *cluster, struct slice ticket, uint32_t *item);

/* cluster_writer.c, cluster_watchers.c */
lapse_result cluster_writer_open(struct system *system, struct bench_loop *loop, uint32_t node,
                                 struct system_writer **writer, struct lapse_error *error);
void cluster_writer_close(struct system_writer *writer);
void cluster_item_make(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg);
void cluster_item_end(struct system_writer *writer, uint32_t item, system_done done, void *arg);
lapse_result cluster_watchers_open(struct system *system, struct bench_loop *loop, uint32_t n, uint32_t node,
                                   system_gone gone, void *args, size_t size, struct system_watcher **watchers,
                                   struct lapse_error *error);
void cluster_watchers_close(struct system_watcher *watchers);

#endif
