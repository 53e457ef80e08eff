/* From a request to a question to the guard: the [map NAME] sections. The first whose match fits is the one; none fits,
 * or something that it draws from is missing: denied, and the reason names it.
 *
 *   [map reports]
 *   match.path = /reports/...        (an asterisk for the dots: /reports and everything below it)
 *   match.method = GET, HEAD
 *   match.host = intranet.example.org
 *   subject = user:${header:X-Forwarded-User}
 *   resource = web/reports/${path:2}
 *   action = read                    (or a table by method: action.GET = read)
 *   token = ${header:Authorization}  (a bearer token stands for the subject; what is none is left to `subject`)
 *
 * Maps are built by the configuration and immutable afterwards. Pure. */
#ifndef LAPSE_CLIENT_AGENT_MAP_H
#define LAPSE_CLIENT_AGENT_MAP_H

#include "client/agent/facts.h"
#include "client/lapse_guard.h"

#define AGENT_MAP_NAME_SIZE 41

struct agent_action {
    char method[LIMIT_ACTION + 1]; /* lower case; "*": any other */
    char action[LIMIT_ACTION + 1];
};

struct agent_map {
    char name[AGENT_MAP_NAME_SIZE];
    uint32_t line; /* where its section begins, for messages */
    /* Empty: all. */
    char path[LIMIT_AGENT_TEMPLATE + 1]; /* "/reports/" and an asterisk, or a path; without the first slash */
    char host[LIMIT_RESOURCE + 1];       /* lower case; may begin with "*." */
    char methods[LIMIT_AGENT_ACTIONS][LIMIT_ACTION + 1]; /* lower case */
    uint32_t n_methods;
    bool has_path;
    struct agent_template subject, resource, action, token;
    struct agent_action actions[LIMIT_AGENT_ACTIONS]; /* the table; used when there is no `action` */
    uint32_t n_actions;
};

struct agent_maps {
    struct agent_map **maps;
    uint32_t n;
};

/* Finds by name, or appends one that is empty; NULL past LIMIT_AGENT_MAPS. */
struct agent_map *agent_maps_get(struct agent_maps *maps, const char *name);
void agent_maps_free(struct agent_maps *maps); /* accepts NULL and a zeroed struct */

/* One setting of a section. INVALID_ARGUMENT with what is wrong and what is accepted, but not where it stands. */
lapse_result agent_map_set(struct agent_map *map, const char *key, const char *value,
                           struct lapse_error *error) LAPSE_MUST_USE;
/* Whether a section is complete. INVALID_ARGUMENT with what is missing. */
lapse_result agent_map_check(const struct agent_map *map, struct lapse_error *error) LAPSE_MUST_USE;

/* What the guard is asked; owns its text. Empty: not presented. */
struct agent_question {
    char subject[LIMIT_SUBJECT + 1];
    char resource[LIMIT_RESOURCE + 1];
    char action[LIMIT_ACTION + 1];
    char spiffe_id[LIMIT_PRINCIPAL + 1];
    uint8_t certificate_sha256[32];
    bool has_certificate;
    char address[46];
    uint8_t token_sha256[32]; /* then `subject` may be empty: the token's grant says who it is */
    bool has_token;
    bool takes_token;  /* a bearer token would do */
    uint64_t revision; /* the answer must come from a cache that holds it; 0: from any */
};

/* Why there is no question. */
enum agent_refusal {
    AGENT_ASKS = 0,
    AGENT_BAD_REQUEST, /* target, method, host, address or certificate */
    AGENT_NO_MAP,
    AGENT_NO_SUBJECT, /* nobody was presented: 401 */
    AGENT_NO_VALUE,
    AGENT_UNCLEAR_VALUE, /* stands there twice, or could be read in two ways */
    AGENT_BAD_VALUE,     /* no subject, resource or action can look like this */
    AGENT_NO_ACTION,     /* the map's table has none for this method */
    AGENT_BAD_TOKEN      /* it begins like a token, or there is nothing else, and is none: 401 */
};

#define AGENT_DETAIL_SIZE 160

/* AGENT_ASKS and the question, or why not, with a line for people in `detail`. */
enum agent_refusal agent_maps_ask(const struct agent_maps *maps, const struct agent_request *request,
                                  struct agent_question *question, char detail[AGENT_DETAIL_SIZE]);
/* Whether what a question is made of can be asked: AGENT_ASKS, AGENT_NO_SUBJECT, AGENT_BAD_VALUE. */
enum agent_refusal agent_question_check(const struct agent_question *question, char detail[AGENT_DETAIL_SIZE]);

#endif
