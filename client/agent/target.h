/* The target of a request in the one spelling that the mapping sees. A proxy, its application and the agent may read
 * unusual spellings differently, and who asks chooses the spelling: so what could be read in two ways is refused.
 *
 *   /reports/a%2Db/?x=1   path "reports/a-b", query "x=1"
 *   /a/../b  /a//b  /a%2Fb  /a\b  /a;x/b  /a%00  /a%zz  /a%252e  http://b/  refused
 *
 * Percent-decoding happens once. A slash at the end is dropped: "/a/" and "/a" are one resource. Pure. */
#ifndef LAPSE_CLIENT_AGENT_TARGET_H
#define LAPSE_CLIENT_AGENT_TARGET_H

#include "base/bytes.h"
#include "base/limits.h"

struct agent_target {
    char path[LIMIT_AGENT_PATH + 1]; /* decoded, without the slash before it; "" for "/" */
    size_t path_len;
    struct slice query; /* as it stands, without the question mark; borrowed */
};

/* NULL, or why the target is refused (static; `out` is unspecified then). */
const char *agent_target_parse(struct slice target, struct agent_target *out);
/* The `n`th segment of the path, from 1; empty when there are fewer. */
struct slice agent_target_segment(const struct agent_target *target, uint32_t n);

enum agent_query_found { AGENT_QUERY_NONE, AGENT_QUERY_ONE, AGENT_QUERY_UNCLEAR };
/* A parameter's value, decoded as a form is, into `out`. UNCLEAR: it stands there twice, is malformed, is longer than
 * `size` - 1, or the query has semicolons, which some applications take for ampersands. */
enum agent_query_found agent_target_query(const struct agent_target *target, struct slice name, char *out, size_t size,
                                          size_t *len);

/* Decodes %XX; with `form` also plus signs to blanks. False when malformed or longer than `size`. */
bool agent_percent_decode(struct slice text, bool form, char *out, size_t size, size_t *len);

#endif
