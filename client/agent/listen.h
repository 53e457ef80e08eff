/* Local addresses to listen on: "127.0.0.1:7480", "[::1]:7480", "unix:/run/lapse-agent/http.sock". */
#ifndef LAPSE_CLIENT_AGENT_LISTEN_H
#define LAPSE_CLIENT_AGENT_LISTEN_H

#include <stdint.h>

#include "base/result.h"

/* A Unix socket that a dead process left behind is removed. UNAVAILABLE when a living one answers there, or something
 * else than a socket is in the way. Other addresses: nothing to do. */
lapse_result listen_clear(const char *address, struct lapse_error *error) LAPSE_MUST_USE;
/* A listening socket; a Unix one with mode 0660. Port 0: any. UNAVAILABLE. */
lapse_result listen_open(const char *address, int *fd, struct lapse_error *error) LAPSE_MUST_USE;
/* 0 for a Unix socket. */
uint16_t listen_port(int fd);
/* Removes a Unix socket's file. */
void listen_remove(const char *address);

#endif
