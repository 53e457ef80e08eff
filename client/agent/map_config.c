/* A [map NAME] section, key by key. */
#include "client/agent/map.h"

#include "base/check.h"
#include "store/grant.h"

#define KEYS "match.path, match.host, match.method, subject, token, resource, action, action.METHOD"

/* "GET" to "get"; "*" only where `any`. */
static bool parse_method(struct slice text, bool any, char out[LIMIT_ACTION + 1])
{
    if (any && slice_equal(text, slice_str("*"))) {
        memcpy(out, "*", 2);
        return true;
    }
    if (text.len == 0 || text.len > LIMIT_ACTION)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if ((c < 'A' || c > 'Z') && c != '-')
            return false;
        out[i] = (char)(c == '-' ? c : c | 0x20);
    }
    out[text.len] = '\0';
    return true;
}

static lapse_result set_path(struct agent_map *map, const char *value, struct lapse_error *error)
{
    size_t len = strlen(value);
    const char *star = strchr(value, '*');
    bool tail = star == NULL || (star == value + len - 1 && len >= 2 && star[-1] == '/');
    if (*value != '/' || !tail || strstr(value, "//") != NULL || strpbrk(value, "%;?#\\") != NULL ||
        (len > 1 && value[len - 1] == '/') || !slice_to_cstr(slice_str(value + 1), map->path, sizeof map->path))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "\"%s\" is no path; accepted: a path from its first slash, decoded, without a slash at its "
                          "end: /reports, or with everything below it: /reports/*",
                          value);
    map->has_path = true;
    return lapse_ok();
}

static lapse_result set_host(struct agent_map *map, const char *value, struct lapse_error *error)
{
    const char *name = strncmp(value, "*.", 2) == 0 ? value + 2 : value;
    bool good = *name != '\0' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-:") == strlen(name);
    if (!good || !slice_to_cstr(slice_str(value), map->host, sizeof map->host))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "\"%s\" is no host; accepted: a name in lower case without port, or *. and a name", value);
    return lapse_ok();
}

static lapse_result set_methods(struct agent_map *map, const char *value, struct lapse_error *error)
{
    while (*value != '\0') {
        size_t len = strcspn(value, ", ");
        if (map->n_methods == LIMIT_AGENT_ACTIONS)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "there are more than %u methods", LIMIT_AGENT_ACTIONS);
        if (!parse_method(slice_of(value, len), false, map->methods[map->n_methods]))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "\"%.*s\" is no method; accepted: GET, HEAD, ... in capitals, with commas between",
                              (int)len, value);
        map->n_methods++;
        value += len;
        value += strspn(value, ", ");
    }
    return lapse_ok();
}

static lapse_result add_action(struct agent_map *map, const char *method, const char *value, struct lapse_error *error)
{
    struct agent_action action;
    struct lapse_error inner;
    if (map->n_actions == LIMIT_AGENT_ACTIONS)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "there are more than %u methods", LIMIT_AGENT_ACTIONS);
    if (!parse_method(slice_str(method), true, action.method))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "\"%s\" is no method; accepted: action.GET, ... in capitals, or action.* for all others",
                          method);
    if (!lapse_is_ok(action_validate(slice_str(value), &inner)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\": %s", value, inner.message);
    CHECK(slice_to_cstr(slice_str(value), action.action, sizeof action.action));
    map->actions[map->n_actions++] = action;
    return lapse_ok();
}

lapse_result agent_map_set(struct agent_map *map, const char *key, const char *value, struct lapse_error *error)
{
    static const char action[] = "action.";
    if (strcmp(key, "match.path") == 0)
        return set_path(map, value, error);
    if (strcmp(key, "match.host") == 0)
        return set_host(map, value, error);
    if (strcmp(key, "match.method") == 0)
        return set_methods(map, value, error);
    if (strcmp(key, "subject") == 0)
        return agent_template_parse(value, &map->subject, error);
    if (strcmp(key, "token") == 0)
        return agent_template_parse(value, &map->token, error);
    if (strcmp(key, "resource") == 0)
        return agent_template_parse(value, &map->resource, error);
    if (strcmp(key, "action") == 0)
        return agent_template_parse(value, &map->action, error);
    if (strncmp(key, action, sizeof action - 1) == 0)
        return add_action(map, key + sizeof action - 1, value, error);
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "there is no such setting in a map; accepted: " KEYS);
}

lapse_result agent_map_check(const struct agent_map *map, struct lapse_error *error)
{
    if (map->subject.n_pieces == 0 && map->token.n_pieces == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "subject is missing (or token)");
    if (map->resource.n_pieces == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "resource is missing");
    if (map->action.n_pieces == 0 && map->n_actions == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "action is missing (or action.GET, ..., action.*)");
    if (map->action.n_pieces > 0 && map->n_actions > 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "action stands beside action.METHOD; keep one of them");
    return lapse_ok();
}
