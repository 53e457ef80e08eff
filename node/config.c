#include "node/config.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "node/config_setting.h"
#include "node/suggest.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define MEMBER(field) .offset = offsetof(struct config, field), .width = sizeof(((struct config *)NULL)->field)
#define NUMBER(low, high, field) .type = SETTING_NUMBER, .min = (low), .max = (high), MEMBER(field)
#define SIZE(low, high, field) .type = SETTING_SIZE, .min = (low), .max = (high), MEMBER(field)
#define PATH(field) .type = SETTING_PATH, MEMBER(field)
#define ADDRESS(kind) .type = SETTING_ADDRESS, MEMBER(kind##_host), .port = offsetof(struct config, kind##_port)

/* In the order of the file, sections together. */
const struct setting settings[] = {
    {"node", "id", .fallback = "", NUMBER(1, INT64_MAX, node_id),
     .help = "This node's number in the cluster, the one its data directory was made with"},
    {"node", "data-dir", .name = "data-dir", .fallback = "/var/lib/lapse", PATH(data_dir),
     .help = "Directory of the node's log and snapshots, mode 0700, made by lapsed init or lapsed join"},
    {"node", "join", .fallback = "", PATH(join),
     .help = "Members that a node made by lapsed join answers until it has heard from the leader: 1=host:port,2=host:port"},

    {"listen", "client", .fallback = "127.0.0.1:7400", ADDRESS(client),
     .help = "Where clients and enforcement points call (gRPC over mutual TLS)"},
    {"listen", "peer", .fallback = "127.0.0.1:7401", ADDRESS(peer),
     .help = "Where the other nodes of the cluster connect (mutual TLS)"},
    {"listen", "http", .fallback = "127.0.0.1:7402", ADDRESS(http), .enabled = offsetof(struct config, http_enabled),
     .help = "Where /metrics, /healthz and /readyz are served, in clear text and to anybody who can connect"},

    {"http", "evaluation", .fallback = "off", .type = SETTING_SWITCH, MEMBER(http_evaluation),
     .help = "Whether listen.http answers POST /access/v1/evaluation (AuthZEN), to whoever connects; on loopback only"},

    {"tls", "certificate", .fallback = "", PATH(certificate),
     .help = "PEM file of this node's certificate, leaf first; its SPIFFE ID ends in /lapse/node/ID"},
    {"tls", "key", .fallback = "", PATH(key), .help = "PEM file of its private key, readable by its owner only"},
    {"tls", "authorities", .fallback = "", PATH(authorities),
     .help = "PEM file of the authorities that sign nodes and clients"},
    {"tls", "deny-list", .fallback = "", PATH(deny_list),
     .help = "File of refused certificates (SHA-256, hexadecimal) and principals, one a line; empty for none"},

    {"raft", "election-timeout-ms", .fallback = "150", NUMBER(50, 60000, election_timeout_ms),
     .help = "Silence of the leader after which another node stands for election; the same on all nodes"},
    {"raft", "heartbeat-ms", .fallback = "10", NUMBER(1, 10000, heartbeat_ms),
     .help = "How often the leader is heard when there is nothing to say, at most a third of the election timeout"},
    {"raft", "snapshot-bytes", .fallback = "64MiB", SIZE(1 * MIB, 64 * GIB, snapshot_bytes),
     .help = "A snapshot is taken when the log has grown by this much"},
    {"raft", "segment-bytes", .fallback = "64MiB", SIZE(4 * MIB, 1 * GIB, segment_bytes),
     .help = "Size of one file of the log"},
    {"raft", "disk-reserve-bytes", .fallback = "64MiB", SIZE(0, 64 * GIB, disk_reserve_bytes),
     .help = "Below this much free space new grants are refused; revocations and expiry go on"},

    {"limits", "edge-threads", .fallback = "1", NUMBER(0, 64, edge_threads),
     .help = "Threads that serve client connections; 0 serves them on the core's thread"},
    {"limits", "connections-max", .fallback = "12000", NUMBER(1, 1000000, connections_max),
     .help = "Client connections at once"},
    {"limits", "connections-per-principal", .fallback = "4096", NUMBER(1, 1000000, connections_per_principal),
     .help = "Connections at once of one principal"},
    {"limits", "calls-per-principal", .fallback = "4096", NUMBER(1, 1000000, calls_per_principal),
     .help = "Calls in flight of one principal"},
    {"limits", "requests-per-second", .fallback = "50000", NUMBER(1, 10000000, requests_per_second),
     .help = "Calls a second of one principal"},
    {"limits", "ring-events", .fallback = "65536", NUMBER(64, 16777216, ring_events),
     .help = "Events kept for subscribers that lag; one that falls further behind takes a snapshot"},
    {"limits", "ring-bytes", .fallback = "64MiB", SIZE(1 * MIB, 16 * GIB, ring_bytes),
     .help = "Memory those events may take"},

    {"webhooks", "file", .fallback = "", PATH(webhooks),
     .help = "Webhooks, one a section; the same on every node, since the leader delivers"},

    {"audit", "reserve-bytes", .fallback = "16MiB", SIZE(0, 64 * GIB, audit_reserve_bytes),
     .help = "Space that the audit database keeps for a full disk: from then on what makes new access is refused"},

    {"log", "level", .fallback = "info", .type = SETTING_LEVEL, MEMBER(log_level), .help = "The least that is logged"},
    {"log", "format", .fallback = "text", .type = SETTING_FORMAT, MEMBER(log_format),
     .help = "Lines for people or for programs"},
};
const size_t n_settings = ARRAY_LEN(settings);

#define VARIABLE_PREFIX "LAPSED_"

static void fill_defaults(struct config *config)
{
    *config = (struct config){.http_enabled = true};
    for (size_t i = 0; i < n_settings; i++) {
        struct lapse_error error;
        if (settings[i].fallback[0] != '\0')
            CHECK(lapse_is_ok(setting_parse(&settings[i], settings[i].fallback, config, &error)));
    }
}

/* The setting whose flag or variable is called `name` (`name_of` says which), or NULL with what was nearest. */
static const struct setting *find_setting(void (*name_of)(const struct setting *, char[SETTING_NAME_SIZE]),
                                          const char *name, struct suggestion *nearest)
{
    *nearest = (struct suggestion){.typed = name};
    for (size_t i = 0; i < n_settings; i++) {
        char candidate[SETTING_NAME_SIZE];
        name_of(&settings[i], candidate);
        if (strcmp(candidate, name) == 0)
            return &settings[i];
        suggest_offer(nearest, candidate);
    }
    return NULL;
}

static lapse_result read_variable(const char *entry, struct config *config, struct lapse_error *error)
{
    const char *equals = strchr(entry, '=');
    char name[SETTING_NAME_SIZE], hint[SUGGEST_TEXT_SIZE];
    struct suggestion nearest;
    struct lapse_error inner;

    if (equals == NULL)
        return lapse_ok();
    (void)snprintf(name, sizeof name, "%.*s", (int)(equals - entry), entry);
    const struct setting *setting = find_setting(setting_variable, name, &nearest);
    if (setting == NULL)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "environment: there is no setting %s%s (lapsed --help lists them)", name,
                          suggest_text(&nearest, hint));
    if (!lapse_is_ok(setting_parse(setting, equals + 1, config, &inner)))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "environment: %s: %s", name, inner.message);
    return lapse_ok();
}

static lapse_result read_environment(char *const *environment, struct config *config, struct lapse_error *error)
{
    for (; environment != NULL && *environment != NULL; environment++) {
        if (strncmp(*environment, VARIABLE_PREFIX, strlen(VARIABLE_PREFIX)) != 0)
            continue;
        lapse_result result = read_variable(*environment, config, error);
        if (!lapse_is_ok(result))
            return result;
    }
    return lapse_ok();
}

/* Splits "--key=value" or takes the next argument as the value; `*at` is left on the last one used. */
static lapse_result split_flag(int n, char *const *flags, int *at, char name[SETTING_NAME_SIZE], const char **value,
                               struct lapse_error *error)
{
    const char *flag = flags[*at];
    if (strncmp(flag, "--", 2) != 0 || flag[2] == '\0')
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "unexpected argument \"%s\"; a setting is given as --NAME=VALUE", flag);
    const char *equals = strchr(flag, '=');
    size_t len = equals == NULL ? strlen(flag) : (size_t)(equals - flag);
    (void)snprintf(name, SETTING_NAME_SIZE, "%.*s", (int)(len - 2), flag + 2);
    if (equals == NULL && *at + 1 >= n)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--%s: its value is missing", name);
    *value = equals != NULL ? equals + 1 : flags[++*at];
    return lapse_ok();
}

static lapse_result set_by_flag(const char *name, const char *value, uint64_t *seen, struct config *config,
                                struct lapse_error *error)
{
    char hint[SUGGEST_TEXT_SIZE];
    struct suggestion nearest;
    struct lapse_error inner;
    const struct setting *setting = find_setting(setting_flag, name, &nearest);
    if (setting == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "there is no flag --%s%s (lapsed --help lists them)", name,
                          suggest_text(&nearest, hint));
    uint64_t bit = UINT64_C(1) << (setting - settings);
    if ((*seen & bit) != 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--%s is given twice", name);
    *seen |= bit;
    if (!lapse_is_ok(setting_parse(setting, value, config, &inner)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--%s: %s", name, inner.message);
    return lapse_ok();
}

static lapse_result read_flags(int n, char *const *flags, struct config *config, struct lapse_error *error)
{
    uint64_t seen = 0;
    _Static_assert(ARRAY_LEN(settings) <= 64, "one bit a setting");
    for (int i = 0; i < n; i++) {
        char name[SETTING_NAME_SIZE];
        const char *value = NULL;
        lapse_result result = split_flag(n, flags, &i, name, &value, error);
        if (lapse_is_ok(result))
            result = set_by_flag(name, value, &seen, config, error);
        if (!lapse_is_ok(result))
            return result;
    }
    return lapse_ok();
}

lapse_result config_load(struct config *config, const char *file, char *const *environment, int n_flags,
                         char *const *flags, struct lapse_error *error)
{
    struct config loaded;
    lapse_result result = lapse_ok();
    fill_defaults(&loaded);
    if (file != NULL)
        result = config_read_file(file, &loaded, error);
    if (lapse_is_ok(result))
        result = read_environment(environment, &loaded, error);
    if (lapse_is_ok(result))
        result = read_flags(n_flags, flags, &loaded, error);
    if (lapse_is_ok(result))
        *config = loaded;
    return result;
}

static lapse_result print_section(size_t i, struct buf *out)
{
    if (i > 0 && strcmp(settings[i].section, settings[i - 1].section) == 0)
        return lapse_ok();
    return buf_printf(out, "%s[%s]\n", i == 0 ? "" : "\n", settings[i].section);
}

lapse_result config_print(const struct config *config, struct buf *out)
{
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < n_settings && lapse_is_ok(result); i++) {
        char value[SETTING_VALUE_SIZE];
        setting_format(&settings[i], config, value);
        result = print_section(i, out);
        if (lapse_is_ok(result) && value[0] == '\0')
            result = buf_printf(out, "# %s is not set\n", settings[i].key);
        else if (lapse_is_ok(result))
            result = buf_printf(out, "%s = %s\n", settings[i].key, value);
    }
    return result;
}

lapse_result config_reference(struct buf *out)
{
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < n_settings && lapse_is_ok(result); i++) {
        const struct setting *setting = &settings[i];
        char flag[SETTING_NAME_SIZE], variable[SETTING_NAME_SIZE], accepted[SETTING_ACCEPTED_SIZE];
        setting_flag(setting, flag);
        setting_variable(setting, variable);
        setting_accepted(setting, accepted);
        result = print_section(i, out);
        if (lapse_is_ok(result))
            result =
                buf_printf(out, "  %s  (--%s, %s)\n      %s.\n      %s; default: %s.\n", setting->key, flag, variable,
                           setting->help, accepted, setting->fallback[0] == '\0' ? "none" : setting->fallback);
    }
    return result;
}
