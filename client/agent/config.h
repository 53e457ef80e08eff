/* What the agent is told: one file, lapse-agent(5).
 *
 * One table in config.c holds every setting that is not a map's: section, key, kind, default, help. The example
 * configuration is printed from it, and a test holds the manual page against it. */
#ifndef LAPSE_CLIENT_AGENT_CONFIG_H
#define LAPSE_CLIENT_AGENT_CONFIG_H

#include "base/log.h"
#include "client/agent/map.h"

#define AGENT_PATH_SIZE 512

struct agent_config {
    /* [cluster] */
    char endpoints[AGENT_PATH_SIZE];
    char certificate[AGENT_PATH_SIZE], key[AGENT_PATH_SIZE], authorities[AGENT_PATH_SIZE];
    /* [point] */
    char id[LIMIT_POINT_ID + 1];
    char scope[LIMIT_SCOPE_PATTERNS][LIMIT_RESOURCE + 1];
    uint32_t n_scope;
    uint32_t lease_ms;
    uint32_t grants_max;
    uint32_t use_share;
    char state_directory[AGENT_PATH_SIZE]; /* "": what must be remembered is, as long as this process lives */
    /* Where it listens: "127.0.0.1:7480", "[::1]:7480", "unix:/run/lapse/agent.sock"; "": not at all. Loopback only. */
    char http[AGENT_PATH_SIZE], ext_authz[AGENT_PATH_SIZE], metrics[AGENT_PATH_SIZE];
    /* [local] "unix:/PATH" or "": no local socket; where sessions are remembered; who may ask; whether sessions end
     * when the guard loses its lease. */
    char local[AGENT_PATH_SIZE], local_state[AGENT_PATH_SIZE];
    uint32_t local_uids[LIMIT_LOCAL_UIDS];
    uint32_t n_local_uids;
    bool end_when_stale;
    /* [http] In which header the proxy says what about the original request. */
    char uri_header[64], method_header[64], host_header[64], address_header[64], certificate_header[64];
    /* [log] */
    enum log_level log_level;
    enum log_format log_format;
    struct agent_maps maps;
};

/* Fills in the defaults and reads `file`. FAILED_PRECONDITION with "FILE:LINE: ..."; `config` is untouched then.
 * Release with agent_config_free. */
lapse_result agent_config_load(const char *file, struct agent_config *config, struct lapse_error *error) LAPSE_MUST_USE;
void agent_config_free(struct agent_config *config); /* accepts a zeroed struct */
/* What must hold on this machine: files can be read. FAILED_PRECONDITION naming the setting. */
lapse_result agent_config_check(const struct agent_config *config, struct lapse_error *error) LAPSE_MUST_USE;
/* Whether anything but maps differs: it takes effect with the next start. */
bool agent_config_same_but_maps(const struct agent_config *a, const struct agent_config *b);
/* Appends an example that says all settings with their defaults. */
lapse_result agent_config_example(struct buf *out) LAPSE_MUST_USE;

#endif
