/* `lapse agent`: an enforcement point beside a proxy or a program, in a process of its own.
 *
 *   nginx, HAProxy --HTTP--> http.c ------\
 *   scripts -------JSON----> http.c -------> decide.c --> map.c --> the guard (client/lapse_guard.h) <== the cluster
 *   Envoy ---------gRPC----> ext_authz.c -/                  \-- waits for the cluster: pool.c
 *
 * One thread for HTTP, one for metrics, the main one for gRPC and signals, a few workers that wait, the guard's own. A
 * check that needs no waiting meets no lock that anybody holds for long. */
#ifndef LAPSE_CLIENT_AGENT_AGENT_H
#define LAPSE_CLIENT_AGENT_AGENT_H

#include "client/agent/config.h"

/* Runs until SIGTERM or SIGINT; SIGHUP reads the maps anew from `file`. Logs to standard error, tells systemd. Takes
 * `config` over (it came from `file`). `accept_new_history`: the head of the audit log that it has kept is put aside. A
 * failure says why it could not start. */
lapse_result agent_run(const char *file, struct agent_config *config, bool accept_new_history,
                       struct lapse_error *error) LAPSE_MUST_USE;

#endif
