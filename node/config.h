/* What a node is told: file, then environment, then flags, each overriding the one before.
 *
 * One table in config.c holds every setting once: its section and key in the file, its type and range, its default and
 * its help; the names of its environment variable and its flag follow from these. --help and --print-config are printed
 * from it, and a test holds the manual page against it, so they can't be wrong. */
#ifndef LAPSE_NODE_CONFIG_H
#define LAPSE_NODE_CONFIG_H

#include "base/log.h"
#include "base/result.h"

#define CONFIG_PATH_SIZE 512
#define CONFIG_HOST_SIZE 256

struct config {
    /* [node] */
    uint64_t node_id;                /* id: 1.. ; 0: not set; must be the one of the data directory */
    char data_dir[CONFIG_PATH_SIZE]; /* data-dir */
    char join[CONFIG_PATH_SIZE];     /* join: members that a newcomer answers; unused once it has data */
    /* [listen] host:port; port 0: chosen by the system */
    char client_host[CONFIG_HOST_SIZE]; /* client: gRPC, default 127.0.0.1:7400 */
    uint16_t client_port;
    char peer_host[CONFIG_HOST_SIZE]; /* peer: default 127.0.0.1:7401 */
    uint16_t peer_port;
    char http_host[CONFIG_HOST_SIZE]; /* http: metrics and health, default 127.0.0.1:7402; "off" disables */
    uint16_t http_port;
    bool http_enabled;
    /* [http] */
    bool http_evaluation; /* evaluation: off */
    /* [tls] PEM files; deny_list may be empty */
    char certificate[CONFIG_PATH_SIZE];
    char key[CONFIG_PATH_SIZE];
    char authorities[CONFIG_PATH_SIZE];
    char deny_list[CONFIG_PATH_SIZE];
    /* [raft] */
    uint32_t election_timeout_ms; /* 150 */
    uint32_t heartbeat_ms;        /* 10 */
    uint64_t snapshot_bytes;      /* "64MiB": log bytes after which a snapshot is taken */
    uint64_t segment_bytes;       /* "64MiB": size of one file of the log */
    uint64_t disk_reserve_bytes;  /* "64MiB": space that only revocations and expiry may use */
    /* [limits] */
    uint32_t edge_threads;              /* 0..64; default 1; 0 puts the edges on the core loop */
    uint32_t connections_max;           /* 12000 */
    uint32_t connections_per_principal; /* 4096 */
    uint32_t calls_per_principal;       /* in flight: 4096 */
    uint32_t requests_per_second;       /* per principal: 50000 */
    uint32_t ring_events;               /* 65536 */
    uint64_t ring_bytes;                /* "64MiB" */
    /* [webhooks] */
    char webhooks[CONFIG_PATH_SIZE]; /* file: node/hook_config.h; may be empty */
    /* [audit] */
    uint64_t audit_reserve_bytes; /* "16MiB": given up when the disk is full; 0: none */
    /* [log] */
    enum log_level log_level;
    enum log_format log_format;
};

/* Fills in the defaults, then reads `file` (NULL: none), then the variables LAPSED_* of `environment` (NAME=VALUE,
 * ended by NULL; itself NULL: none), then `flags` ("--key=value" or "--key", "value"). Unknown sections, keys,
 * variables and flags are errors, and so is a setting that stands twice in one place. Nothing is applied on failure;
 * the code says whose mistake it is: INVALID_ARGUMENT      a flag: "--raft-heartbeat-ms: ..." FAILED_PRECONDITION   the
 * file or the environment: "FILE:LINE: raft.heartbeat-ms: what is wrong; accepted: ..." */
lapse_result config_load(struct config *config, const char *file, char *const *environment, int n_flags,
                         char *const *flags, struct lapse_error *error) LAPSE_MUST_USE;
/* What must hold between settings and on this machine (files readable, ports distinct, heartbeats often enough, ...).
 * FAILED_PRECONDITION naming the setting. */
lapse_result config_check(const struct config *config, struct lapse_error *error) LAPSE_MUST_USE;
/* Appends the effective settings as a configuration file, or the reference of all settings. */
lapse_result config_print(const struct config *config, struct buf *out) LAPSE_MUST_USE;
lapse_result config_reference(struct buf *out) LAPSE_MUST_USE;

#endif
