/* A short conversation with a server from the scenario's thread: who leads, are you ready, make this bucket. */
#ifndef LAPSE_BENCH_PEERS_PEER_ASK_H
#define LAPSE_BENCH_PEERS_PEER_ASK_H

#include "base/bytes.h"

/* Connects to `address` ("127.0.0.1:2181"), sends `request`, and reads into `answer` (NUL-terminated) until `enough` is
 * found in it (NULL: until the other side closes) or `answer` is full. UNAVAILABLE when nobody is there, or for longer
 * than a second silent; what came is in `answer` then. */
lapse_result peer_ask(const char *address, const char *request, const char *enough, char *answer, size_t size,
                      struct lapse_error *error) LAPSE_MUST_USE;

/* The text behind `"name":` in JSON that a server wrote, up to its end quote; false when it isn't there. */
bool peer_json_text(const char *json, const char *name, char *out, size_t size);

#endif
