#include "client/agent/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/ini.h"
#include "store/grant.h"

enum kind { TEXT, ADDRESS, HEADER, NUMBER, SCOPE, UIDS, YES_NO, LEVEL, FORMAT };

static const struct setting {
    const char *section, *key;
    enum kind kind;
    size_t offset, size;  /* of the member; SCOPE: of the list's one */
    const char *fallback; /* as it would stand in the file; NULL: must be set */
    uint32_t min, max;
    const char *help;
} settings[] = {
#define MEMBER(name) offsetof(struct agent_config, name), sizeof(((struct agent_config *)NULL)->name)
    {"cluster", "endpoints", TEXT, MEMBER(endpoints), NULL, 0, 0, "nodes, HOST:PORT with commas between"},
    {"cluster", "certificate", TEXT, MEMBER(certificate), NULL, 0, 0, "the agent's certificate, PEM"},
    {"cluster", "key", TEXT, MEMBER(key), NULL, 0, 0, "its private key, PEM"},
    {"cluster", "authorities", TEXT, MEMBER(authorities), NULL, 0, 0, "the authorities to trust, PEM"},
    {"point", "id", TEXT, MEMBER(id), NULL, 0, 0, "of this enforcement point, unique in the cluster"},
    {"point", "scope", SCOPE, MEMBER(scope), NULL, 0, 0, "a resource that it guards, or a subtree; up to 8 such lines"},
    {"point", "lease-ms", NUMBER, MEMBER(lease_ms), "3000", LIMIT_LEASE_MS_MIN, LIMIT_LEASE_MS_MAX,
     "how long it decides without hearing from the cluster"},
    {"point", "grants-max", NUMBER, MEMBER(grants_max), "1000000", 1, 4000000, "grants in memory"},
    {"point", "use-share", NUMBER, MEMBER(use_share), "1", 1, 1000000,
     "uses of a grant that counts them, taken at a time"},
    {"point", "state-directory", TEXT, MEMBER(state_directory), "", 0, 0,
     "a directory that remembers the newest head of the audit log over restarts"},
    {"http", "listen", ADDRESS, MEMBER(http), "", 0, 0, "for nginx, HAProxy and programs"},
    {"http", "uri-header", HEADER, MEMBER(uri_header), "X-Original-URI", 0, 0, "where the proxy puts the target"},
    {"http", "method-header", HEADER, MEMBER(method_header), "X-Original-Method", 0, 0, "the method"},
    {"http", "host-header", HEADER, MEMBER(host_header), "X-Original-Host", 0, 0, "the host"},
    {"http", "address-header", HEADER, MEMBER(address_header), "X-Real-IP", 0, 0, "the client's address"},
    {"http", "certificate-header", HEADER, MEMBER(certificate_header), "X-Client-Certificate", 0, 0,
     "the client's certificate, PEM, percent-encoded"},
    {"ext_authz", "listen", ADDRESS, MEMBER(ext_authz), "", 0, 0, "for Envoy: gRPC"},
    {"local", "listen", ADDRESS, MEMBER(local), "", 0, 0, "for pam_lapse: unix:/PATH"},
    {"local", "state", TEXT, MEMBER(local_state), "/run/lapse/sessions", 0, 0,
     "a directory that remembers sessions over restarts of the agent"},
    {"local", "uids", UIDS, MEMBER(local_uids), "0", 0, 0, "who may ask, with commas between"},
    {"local", "end-when-stale", YES_NO, MEMBER(end_when_stale), "no", 0, 0,
     "whether sessions end, too, when the agent has not heard from the cluster for its lease"},
    {"metrics", "listen", ADDRESS, MEMBER(metrics), "", 0, 0, "for Prometheus: /metrics, /healthz, /readyz"},
    {"log", "level", LEVEL, MEMBER(log_level), "info", 0, 0, "debug, info, warn or error"},
    {"log", "format", FORMAT, MEMBER(log_format), "text", 0, 0, "text or json"},
};

struct reading {
    struct agent_config *config;
    uint32_t set_in[ARRAY_LEN(settings)];
};

/* ---- Values */

static bool parse_number(const char *text, uint32_t min, uint32_t max, uint32_t *number)
{
    size_t len = strlen(text);
    if (len == 0 || len > 9 || strspn(text, "0123456789") != len)
        return false;
    *number = (uint32_t)atol(text);
    return *number >= min && *number <= max;
}

/* Nobody who connects is authenticated, so only this machine may. */
static bool is_local_address(const char *text)
{
    char host[64];
    struct in_addr v4;
    uint32_t port;
    const char *colon = strrchr(text, ':');
    if (strncmp(text, "unix:/", 6) == 0)
        return strlen(text) < 108; /* struct sockaddr_un */
    if (colon == NULL || !slice_to_cstr(slice_of(text, (size_t)(colon - text)), host, sizeof host) ||
        !parse_number(colon + 1, 0, 65535, &port))
        return false;
    return strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET);
}

static bool is_header_name(const char *text)
{
    return *text != '\0' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == strlen(text);
}

static lapse_result set_text(void *member, size_t size, const char *value, struct lapse_error *error)
{
    if (*value == '\0' || strlen(value) >= size)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "accepted: 1 to %zu bytes", size - 1);
    memcpy(member, value, strlen(value) + 1);
    return lapse_ok();
}

static lapse_result add_scope(struct agent_config *config, const char *value, struct lapse_error *error)
{
    struct lapse_error inner;
    if (config->n_scope == LIMIT_SCOPE_PATTERNS)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "there are more than %d lines", LIMIT_SCOPE_PATTERNS);
    if (!lapse_is_ok(resource_validate(slice_str(value), true, &inner)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\": %s", value, inner.message);
    return set_text(config->scope[config->n_scope++], sizeof config->scope[0], value, error);
}

static lapse_result set_uids(struct agent_config *config, const char *value, struct lapse_error *error)
{
    uint32_t uids[LIMIT_LOCAL_UIDS] = {0}, n = 0;
    const char *at = value;
    do {
        char uid[12];
        size_t len = strcspn(at, ", ");
        if (n == LIMIT_LOCAL_UIDS || !slice_to_cstr(slice_of(at, len), uid, sizeof uid) ||
            !parse_number(uid, 0, UINT32_MAX, &uids[n++]))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "\"%s\"; accepted: up to %u numbers of users, with commas between", value,
                              LIMIT_LOCAL_UIDS);
        at += len;
        at += strspn(at, ", ");
    } while (*at != '\0');
    memcpy(config->local_uids, uids, sizeof uids);
    config->n_local_uids = n;
    return lapse_ok();
}

static lapse_result set(const struct setting *setting, const char *value, struct agent_config *config,
                        struct lapse_error *error)
{
    void *member = (char *)config + setting->offset;
    switch (setting->kind) {
    case TEXT:
        return set_text(member, setting->size, value, error);
    case ADDRESS:
        if (!is_local_address(value))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "\"%s\" is not local; accepted: 127.0.0.1:PORT, [::1]:PORT or unix:/PATH, since who "
                              "connects is not authenticated",
                              value);
        return set_text(member, setting->size, value, error);
    case HEADER:
        if (!is_header_name(value))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\" is not the name of a header", value);
        return set_text(member, setting->size, value, error);
    case NUMBER:
        if (!parse_number(value, setting->min, setting->max, member))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\"; accepted: a number from %u to %u", value,
                              setting->min, setting->max);
        return lapse_ok();
    case SCOPE:
        return add_scope(config, value, error);
    case UIDS:
        return set_uids(config, value, error);
    case YES_NO:
        if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\"; accepted: yes or no", value);
        *(bool *)member = *value == 'y';
        return lapse_ok();
    case LEVEL:
        if (!log_level_parse(value, member))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\"; accepted: %s", value, setting->help);
        return lapse_ok();
    default:
        if (!log_format_parse(value, member))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\"; accepted: %s", value, setting->help);
        return lapse_ok();
    }
}

/* ---- The file */

static lapse_result unknown(const char *section, const char *key, struct lapse_error *error)
{
    char known[LAPSE_ERROR_MESSAGE_SIZE / 2] = "";
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (strcmp(settings[i].section, section) == 0 && len < sizeof known)
            len += (size_t)snprintf(known + len, sizeof known - len, "%s%s", len == 0 ? "" : ", ", settings[i].key);
    if (len == 0)
        return lapse_fail(
            error, LAPSE_INVALID_ARGUMENT,
            "there is no section [%s]; accepted: cluster, point, http, ext_authz, local, metrics, log, map NAME",
            section);
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "there is no setting %s.%s; accepted: %s", section, key, known);
}

static lapse_result set_in_map(struct agent_config *config, const char *name, const char *key, const char *value,
                               uint32_t line, struct lapse_error *error)
{
    struct lapse_error inner;
    if (*name == '\0' || strlen(name) >= AGENT_MAP_NAME_SIZE)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a map's name has 1 to %d bytes", AGENT_MAP_NAME_SIZE - 1);
    struct agent_map *map = agent_maps_get(&config->maps, name);
    if (map == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "there are more than %u maps", LIMIT_AGENT_MAPS);
    map->line = map->line == 0 ? line : map->line;
    if (!lapse_is_ok(agent_map_set(map, key, value, &inner)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "map %s: %s: %s", name, key, inner.message);
    return lapse_ok();
}

static lapse_result on_setting(void *arg, const char *section, const char *key, const char *value, uint32_t line,
                               struct lapse_error *error)
{
    struct reading *reading = arg;
    struct lapse_error inner;
    size_t i = 0;
    if (strncmp(section, "map ", 4) == 0)
        return set_in_map(reading->config, section + 4, key, value, line, error);
    while (i < ARRAY_LEN(settings) && (strcmp(settings[i].section, section) != 0 || strcmp(settings[i].key, key) != 0))
        i++;
    if (i == ARRAY_LEN(settings))
        return unknown(section, key, error);
    if (reading->set_in[i] != 0 && settings[i].kind != SCOPE)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s.%s: is set a second time, the first was in line %u",
                          section, key, reading->set_in[i]);
    reading->set_in[i] = line;
    if (!lapse_is_ok(set(&settings[i], value, reading->config, &inner)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s.%s: %s", section, key, inner.message);
    return lapse_ok();
}

static void set_defaults(struct agent_config *config)
{
    struct lapse_error error;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (settings[i].fallback != NULL && *settings[i].fallback != '\0')
            CHECK(lapse_is_ok(set(&settings[i], settings[i].fallback, config, &error)));
}

static lapse_result complete(const char *file, const struct reading *reading, struct lapse_error *error)
{
    const struct agent_config *config = reading->config;
    struct lapse_error inner;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (settings[i].fallback == NULL && reading->set_in[i] == 0)
            return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s: %s.%s must be set: %s", file, settings[i].section,
                              settings[i].key, settings[i].help);
    for (uint32_t i = 0; i < config->maps.n; i++)
        if (!lapse_is_ok(agent_map_check(config->maps.maps[i], &inner)))
            return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s:%u: map %s: %s", file, config->maps.maps[i]->line,
                              config->maps.maps[i]->name, inner.message);
    if (config->http[0] == '\0' && config->ext_authz[0] == '\0' && config->local[0] == '\0')
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "%s: none of http.listen, ext_authz.listen and local.listen is set: nobody could ask", file);
    if (config->local[0] != '\0' && *config->local != 'u')
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s: local.listen must be unix:/PATH", file);
    return lapse_ok();
}

lapse_result agent_config_load(const char *file, struct agent_config *config, struct lapse_error *error)
{
    struct agent_config *made = mem_calloc(1, sizeof *made);
    struct reading reading = {.config = made};
    set_defaults(made);
    lapse_result result = ini_read(file, on_setting, &reading, error);
    if (lapse_is_ok(result))
        result = complete(file, &reading, error);
    if (lapse_is_ok(result))
        *config = *made;
    else
        agent_maps_free(&made->maps);
    free(made);
    return result;
}

void agent_config_free(struct agent_config *config)
{
    agent_maps_free(&config->maps);
}

lapse_result agent_config_check(const struct agent_config *config, struct lapse_error *error)
{
    const char *const files[][2] = {
        {"certificate", config->certificate}, {"key", config->key}, {"authorities", config->authorities}};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (access(files[i][1], R_OK) != 0)
            return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "cluster.%s: %s: can't be read: %s", files[i][0],
                              files[i][1], strerror(errno));
    return lapse_ok();
}

bool agent_config_same_but_maps(const struct agent_config *a, const struct agent_config *b)
{
    /* Both came from calloc, so what lies between and behind members is zero in both. */
    return memcmp(a, b, offsetof(struct agent_config, maps)) == 0;
}

/* ---- The example */

static const char example_maps[] = "\n# The first map that matches decides what is asked; none: denied.\n"
                                   "[map reports]\n"
                                   "match.path = /reports/*\n"
                                   "subject = user:${header:X-Forwarded-User}\n"
                                   "resource = web/reports/${path:2}\n"
                                   "action.GET = read\n"
                                   "action.HEAD = read\n"
                                   "action.* = write\n";

static const char *example_value(const struct setting *setting)
{
    static const char *const values[][2] = {
        {"endpoints", "127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420"},
        {"certificate", "/etc/lapse/agent.pem"},
        {"key", "/etc/lapse/agent.key"},
        {"authorities", "/etc/lapse/ca.pem"},
        {"id", "web1"},
        {"scope", "web/*"},
        {"state-directory", "/var/lib/lapse-agent"},
    };
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (strcmp(values[i][0], setting->key) == 0)
            return values[i][1];
    if (setting->kind == ADDRESS)
        return *setting->section == 'h'   ? "unix:/run/lapse-agent/http.sock"
               : *setting->section == 'e' ? "unix:/run/lapse-agent/ext_authz.sock"
               : *setting->section == 'l' ? "unix:/run/lapse/local.sock"
                                          : "127.0.0.1:7482";
    return setting->fallback;
}

lapse_result agent_config_example(struct buf *out)
{
    const char *section = "";
    lapse_result result = buf_printf(out, "# lapse agent --config FILE; see lapse-agent(5).\n");
    for (size_t i = 0; i < ARRAY_LEN(settings) && lapse_is_ok(result); i++) {
        const struct setting *setting = &settings[i];
        /* Those who let people in with PAM run an agent of its own, as root. */
        bool optional =
            (setting->fallback != NULL && *setting->fallback != '\0') || strcmp(setting->section, "local") == 0;
        if (strcmp(section, setting->section) != 0)
            result = buf_printf(out, "\n[%s]\n", setting->section);
        section = setting->section;
        if (lapse_is_ok(result))
            result = buf_printf(out, "# %s\n%s%s = %s\n", setting->help, optional ? "#" : "", setting->key,
                                example_value(setting));
    }
    return lapse_is_ok(result) ? buf_append(out, example_maps, sizeof example_maps - 1) : result;
}
