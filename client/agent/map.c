/* Asking by the map. How a map is made from its section: map_config.c. */
#include "client/agent/map.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/check.h"
#include "base/token.h"
#include "store/grant.h"

/* ---- Matching */

static bool host_matches(const char *pattern, const char *host)
{
    size_t len = strlen(host), tail = strlen(pattern) - 1;
    if (*pattern != '*')
        return strcmp(pattern, host) == 0;
    return len > tail && strcmp(host + len - tail, pattern + 1) == 0;
}

static bool method_matches(const struct agent_map *map, const char *method)
{
    bool found = map->n_methods == 0;
    for (uint32_t i = 0; i < map->n_methods && !found; i++)
        found = strcmp(map->methods[i], method) == 0;
    return found;
}

/* "reports/" and an asterisk is "reports" and everything below it; an asterisk alone is everything. */
static bool path_matches(const char *pattern, const char *path)
{
    size_t len = strlen(pattern);
    if (len == 0 || pattern[len - 1] != '*')
        return strcmp(pattern, path) == 0;
    if (len == 1)
        return true;
    return strncmp(pattern, path, len - 2) == 0 && (path[len - 2] == '/' || path[len - 2] == '\0');
}

static bool matches(const struct agent_map *map, const struct agent_facts *facts)
{
    if (map->has_path && !path_matches(map->path, facts->target.path))
        return false;
    return (map->host[0] == '\0' || host_matches(map->host, facts->host)) && method_matches(map, facts->method);
}

static const struct agent_map *find(const struct agent_maps *maps, const struct agent_facts *facts)
{
    for (uint32_t i = 0; i < maps->n; i++)
        if (matches(maps->maps[i], facts))
            return maps->maps[i];
    return NULL;
}

/* ---- Drawing */

static enum agent_refusal refuse(enum agent_refusal refusal, char *detail, const char *part, struct slice what,
                                 const char *why)
{
    size_t len = what.len > 80 ? 80 : what.len;
    (void)snprintf(detail, AGENT_DETAIL_SIZE, "%s: %.*s %s", part, (int)len, (const char *)what.data, why);
    return refusal;
}

static enum agent_refusal draw(const char *part, const struct agent_template *template, const struct agent_facts *facts,
                               char *out, size_t size, char *detail)
{
    struct slice what = {NULL, 0};
    enum agent_drawn drawn = agent_template_draw(template, facts, out, size, &what);
    if (drawn != AGENT_DRAWN)
        *out = '\0'; /* no half a name in the log */
    switch (drawn) {
    case AGENT_DRAWN:
        return AGENT_ASKS;
    case AGENT_MISSING:
        return refuse(AGENT_NO_VALUE, detail, part, what, "is missing");
    case AGENT_UNCLEAR:
        return refuse(AGENT_UNCLEAR_VALUE, detail, part, what, "stands there twice, or could be read in two ways");
    default:
        return refuse(AGENT_BAD_VALUE, detail, part, what, "is too long");
    }
}

static enum agent_refusal draw_action(const struct agent_map *map, const struct agent_facts *facts,
                                      struct agent_question *question, char *detail)
{
    const struct agent_action *found = NULL;
    if (map->action.n_pieces > 0)
        return draw("action", &map->action, facts, question->action, sizeof question->action, detail);
    for (uint32_t i = 0; i < map->n_actions; i++)
        if (strcmp(map->actions[i].method, facts->method) == 0 ||
            (found == NULL && strcmp(map->actions[i].method, "*") == 0))
            found = &map->actions[i];
    if (found == NULL)
        return refuse(AGENT_NO_ACTION, detail, "action", slice_str(facts->method), "has none in this map");
    memcpy(question->action, found->action, sizeof question->action);
    return AGENT_ASKS;
}

/* What stands there may be another credential, which is the subject's template's business, and is not repeated
 * anywhere. */
static enum agent_refusal take_token(const struct agent_map *map, const char *text, struct agent_question *question,
                                     char *detail)
{
    static const char bearer[] = "Bearer ";
    size_t len = sizeof bearer - 1;
    struct slice token = slice_str(strncasecmp(text, bearer, len) == 0 ? text + len : text);
    question->has_token = token_hash(token, question->token_sha256);
    if (question->has_token || (!token_is_meant(token) && map->subject.n_pieces > 0))
        return AGENT_ASKS;
    return refuse(AGENT_BAD_TOKEN, detail, "token", slice_str("what was presented"), "is no token");
}

static enum agent_refusal draw_token(const struct agent_map *map, const struct agent_facts *facts,
                                     struct agent_question *question, char *detail)
{
    char text[LIMIT_AGENT_TEMPLATE];
    struct slice what = {NULL, 0};
    if (map->token.n_pieces == 0)
        return AGENT_ASKS;
    question->takes_token = true;
    enum agent_drawn drawn = agent_template_draw(&map->token, facts, text, sizeof text, &what);
    if (drawn == AGENT_UNCLEAR)
        return refuse(AGENT_UNCLEAR_VALUE, detail, "token", what, "stands there twice, or is no text");
    enum agent_refusal refusal = AGENT_ASKS;
    if (drawn == AGENT_DRAWN)
        refusal = take_token(map, text, question, detail);
    OPENSSL_cleanse(text, sizeof text);
    return refusal;
}

/* Whose grant it must be: the token's, or the one that the template names. */
static enum agent_refusal draw_subject(const struct agent_map *map, const struct agent_facts *facts,
                                       struct agent_question *question, char *detail)
{
    enum agent_refusal refusal = draw_token(map, facts, question, detail);
    if (refusal != AGENT_ASKS || question->has_token || map->subject.n_pieces == 0)
        return refusal;
    refusal = draw("subject", &map->subject, facts, question->subject, sizeof question->subject, detail);
    return refusal == AGENT_NO_VALUE ? AGENT_NO_SUBJECT : refusal;
}

/* What was presented, where grants are bound to it. The certificate says more than a name beside it. */
static void take_presented(const struct agent_facts *facts, struct agent_question *question)
{
    static const char scheme[] = "spiffe://";
    struct slice principal = facts->request->principal;
    bool is_spiffe = principal.len > sizeof scheme && memcmp(principal.data, scheme, sizeof scheme - 1) == 0;
    question->has_certificate = facts->certificate_sha256[0] != '\0';
    if (question->has_certificate)
        memcpy(question->certificate_sha256, facts->certificate_hash, sizeof question->certificate_sha256);
    CHECK(slice_to_cstr(slice_str(facts->address), question->address, sizeof question->address));
    CHECK(slice_to_cstr(slice_str(facts->spiffe_id), question->spiffe_id, sizeof question->spiffe_id));
    if (!question->has_certificate && is_spiffe && slice_is_text(principal, false))
        (void)slice_to_cstr(principal, question->spiffe_id, sizeof question->spiffe_id);
}

enum agent_refusal agent_question_check(const struct agent_question *question, char detail[AGENT_DETAIL_SIZE])
{
    struct lapse_error error;
    bool nobody = question->subject[0] == '\0';
    if (nobody && !question->has_token)
        return refuse(AGENT_NO_SUBJECT, detail, "subject", slice_str("nobody"), "was presented");
    if ((nobody || lapse_is_ok(principal_validate(slice_str(question->subject), "subject", &error))) &&
        lapse_is_ok(resource_validate(slice_str(question->resource), false, &error)) &&
        lapse_is_ok(action_validate(slice_str(question->action), &error)))
        return AGENT_ASKS;
    (void)snprintf(detail, AGENT_DETAIL_SIZE, "%.*s", AGENT_DETAIL_SIZE - 1, error.message);
    return AGENT_BAD_VALUE;
}

enum agent_refusal agent_maps_ask(const struct agent_maps *maps, const struct agent_request *request,
                                  struct agent_question *question, char detail[AGENT_DETAIL_SIZE])
{
    struct agent_facts facts;
    const char *fault = agent_facts_take(request, &facts);
    *question = (struct agent_question){0};
    if (fault != NULL) {
        (void)snprintf(detail, AGENT_DETAIL_SIZE, "%s", fault);
        return AGENT_BAD_REQUEST;
    }
    const struct agent_map *map = find(maps, &facts);
    if (map == NULL)
        return refuse(AGENT_NO_MAP, detail, "map", slice_str("none"), "matches");
    enum agent_refusal refusal = draw_subject(map, &facts, question, detail);
    if (refusal == AGENT_ASKS)
        refusal = draw("resource", &map->resource, &facts, question->resource, sizeof question->resource, detail);
    if (refusal == AGENT_ASKS)
        refusal = draw_action(map, &facts, question, detail);
    take_presented(&facts, question);
    return refusal == AGENT_ASKS ? agent_question_check(question, detail) : refusal;
}

/* ---- The list */

struct agent_map *agent_maps_get(struct agent_maps *maps, const char *name)
{
    for (uint32_t i = 0; i < maps->n; i++)
        if (strcmp(maps->maps[i]->name, name) == 0)
            return maps->maps[i];
    if (maps->n == LIMIT_AGENT_MAPS)
        return NULL;
    maps->maps = mem_realloc(maps->maps, (maps->n + 1) * sizeof *maps->maps);
    struct agent_map *map = maps->maps[maps->n++] = mem_calloc(1, sizeof *map);
    CHECK(slice_to_cstr(slice_str(name), map->name, sizeof map->name));
    return map;
}

void agent_maps_free(struct agent_maps *maps)
{
    if (maps == NULL)
        return;
    for (uint32_t i = 0; i < maps->n; i++)
        free(maps->maps[i]);
    free(maps->maps);
    *maps = (struct agent_maps){0};
}
