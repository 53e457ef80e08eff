/* The nodes of a cluster of ours: certificates, places, arguments; and where those of a running one are. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/pki.h"
#include "bench/lapse/cluster_internal.h"
#include "client/link.h"

#define ARGS_MAX 64
#define CERTIFICATE_DAYS 30

static const struct {
    const char *name, *path;
} users[] = {{"operator", "user/operator"},
             {"writer", "workload/writer"},
             {"dev1", "user/dev1"},
             {"oncall", "user/oncall"},
             {"proxy1", "workload/proxy1"}};

static void format(char *out, size_t size, const char *text, ...) LAPSE_PRINTF(3, 4);
static void format(char *out, size_t size, const char *text, ...)
{
    va_list args;
    va_start(args, text);
    int n = vsnprintf(out, size, text, args);
    va_end(args);
    CHECK(n >= 0 && (size_t)n < size);
}

/* --- making ------------------------------------------------------------------------------------------------------- */

static lapse_result program_find(struct cluster *cluster, const char *given, struct lapse_error *error)
{
    char self[PROCESS_PATH_SIZE - 32];
    if (given != NULL) {
        if (!slice_to_cstr(slice_str(given), cluster->program, sizeof cluster->program))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the path of lapsed is too long");
    } else {
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        self[n > 0 ? n : 0] = '\0';
        char *slash = strrchr(self, '/');
        if (slash != NULL)
            *slash = '\0';
        format(cluster->program, sizeof cluster->program, "%s/../node/lapsed", self);
        if (access(cluster->program, X_OK) != 0 && process_find("lapsed", cluster->program))
            return lapse_ok();
    }
    if (access(cluster->program, X_OK) != 0)
        return lapse_fail(error, LAPSE_NOT_FOUND, "no program %s: build it, or name it with --program",
                          cluster->program);
    return lapse_ok();
}

static lapse_result certificates_make(struct cluster *cluster, struct lapse_error *error)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", NULL};
    char name[16], principal[32];
    lapse_result result = pki_init(cluster->pki, "bench.lapse", CERTIFICATE_DAYS, error);
    for (size_t i = 0; i < ARRAY_LEN(users) && lapse_is_ok(result); i++)
        result =
            pki_issue(cluster->pki, &(struct pki_request){users[i].path, users[i].name, NULL, CERTIFICATE_DAYS}, error);
    for (uint32_t i = 1; i <= cluster->system.n_nodes && lapse_is_ok(result); i++) {
        format(name, sizeof name, "node%u", i);
        format(principal, sizeof principal, "lapse/node/%u", i);
        result = pki_issue(cluster->pki, &(struct pki_request){principal, name, hosts, CERTIFICATE_DAYS}, error);
    }
    return result;
}

static lapse_result places_make(struct cluster *cluster, struct lapse_error *error)
{
    struct system *system = &cluster->system;
    uint16_t ports[3 * SYSTEM_NODES_MAX];
    char log[PROCESS_PATH_SIZE];
    lapse_result result = ports_find(ports, 3 * system->n_nodes, error);
    if (lapse_is_ok(result) && partition_is_isolated()) {
        format(log, sizeof log, "%.200s/network.log", system->dir);
        result = partition_new(system->n_nodes, log, &cluster->partition, error);
    }
    for (uint32_t i = 0; i < system->n_nodes && lapse_is_ok(result); i++) {
        struct process *process = &system->nodes[i];
        format(process->name, sizeof process->name, "lapsed %u", i + 1);
        format(process->log, sizeof process->log, "%.200s/node%u.log", system->dir, i + 1);
        if (cluster->partition != NULL)
            partition_address(i + 1, cluster->host[i], sizeof cluster->host[i]);
        else
            format(cluster->host[i], sizeof cluster->host[i], "127.0.0.1");
        cluster->client_port[i] = ports[3 * i];
        cluster->peer_port[i] = ports[3 * i + 1];
        cluster->http_port[i] = ports[3 * i + 2];
    }
    return result;
}

static lapse_result member_init(struct cluster *cluster, uint32_t node, const char *members, struct lapse_error *error)
{
    char id[24], data[PROCESS_PATH_SIZE];
    char *args[] = {cluster->program,
                    (char *)"init",
                    (char *)"--cluster",
                    (char *)"bench",
                    (char *)"--members",
                    (char *)(uintptr_t)members,
                    (char *)"--operator",
                    (char *)"spiffe://bench.lapse/user/operator",
                    (char *)"--node-id",
                    id,
                    (char *)"--data-dir",
                    data,
                    NULL};
    format(id, sizeof id, "%u", node);
    format(data, sizeof data, "%.200s/node%u", cluster->system.dir, node);
    return process_run(&cluster->system.nodes[node - 1], args, error);
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

lapse_result cluster_node_start(struct cluster *cluster, uint32_t node, struct lapse_error *error)
{
    enum { OURS = 9, TEXT_SIZE = PROCESS_PATH_SIZE + 64 };
    struct system *system = &cluster->system;
    const char *host = cluster->host[node - 1];
    char text[OURS][TEXT_SIZE], *args[ARGS_MAX + 1];
    int n = 0;
    format(text[0], TEXT_SIZE, "--node-id=%u", node);
    format(text[1], TEXT_SIZE, "--data-dir=%s/node%u", system->dir, node);
    format(text[2], TEXT_SIZE, "--listen-client=%s:%u", host, cluster->client_port[node - 1]);
    format(text[3], TEXT_SIZE, "--listen-peer=%s:%u", host, cluster->peer_port[node - 1]);
    format(text[4], TEXT_SIZE, "--listen-http=%s:%u", host, cluster->http_port[node - 1]);
    format(text[5], TEXT_SIZE, "--tls-certificate=%s/node%u.pem", cluster->pki, node);
    format(text[6], TEXT_SIZE, "--tls-key=%s/node%u.key", cluster->pki, node);
    format(text[7], TEXT_SIZE, "--tls-authorities=%s/ca.pem", cluster->pki);
    format(text[8], TEXT_SIZE, "--log-level=warn");
    args[n++] = cluster->program;
    for (int i = 0; i < OURS; i++)
        args[n++] = text[i];
    for (char *const *flag = cluster->flags; flag != NULL && *flag != NULL && n < ARGS_MAX; flag++)
        args[n++] = *flag;
    args[n] = NULL;
    void *place = cluster->partition == NULL ? NULL : partition_place(cluster->partition, node);
    return process_start(&system->nodes[node - 1], args, place == NULL ? NULL : partition_prepare, place, error);
}

static lapse_result nodes_start(struct cluster *cluster, struct lapse_error *error)
{
    char members[SYSTEM_NODES_MAX * 64] = "";
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < cluster->system.n_nodes; i++) {
        size_t len = strlen(members);
        format(members + len, sizeof members - len, "%s%u=%s:%u", i == 0 ? "" : ",", i + 1, cluster->host[i],
               cluster->peer_port[i]);
    }
    for (uint32_t node = 1; node <= cluster->system.n_nodes && lapse_is_ok(result); node++)
        result = member_init(cluster, node, members, error);
    for (uint32_t node = 1; node <= cluster->system.n_nodes && lapse_is_ok(result); node++)
        result = cluster_node_start(cluster, node, error);
    return result;
}

/* For the report: what differs from node to node is left out. */
static void flags_note(struct cluster *cluster)
{
    struct system *system = &cluster->system;
    format(system->flags, sizeof system->flags, "lapsed --log-level=warn, mutual TLS, all else at its default");
    for (char *const *flag = cluster->flags; flag != NULL && *flag != NULL; flag++) {
        size_t len = strlen(system->flags);
        snprintf(system->flags + len, sizeof system->flags - len, " %s", *flag);
    }
}

lapse_result cluster_nodes_begin(struct cluster *cluster, const struct system_options *options,
                                 struct lapse_error *error)
{
    CHECK(options->nodes >= 1 && options->nodes <= SYSTEM_NODES_MAX);
    cluster->system.n_nodes = options->nodes;
    cluster->flags = options->flags;
    flags_note(cluster);
    lapse_result result = program_find(cluster, options->program, error);
    if (lapse_is_ok(result))
        result = directory_make(cluster->system.dir, error);
    if (!lapse_is_ok(result))
        return result;
    format(cluster->pki, sizeof cluster->pki, "%.200s/pki", cluster->system.dir);
    result = places_make(cluster, error);
    if (lapse_is_ok(result))
        result = certificates_make(cluster, error);
    return lapse_is_ok(result) ? nodes_start(cluster, error) : result;
}

/* --- a running cluster -------------------------------------------------------------------------------------------- */

static lapse_result endpoint_add(struct cluster *cluster, struct slice text, struct lapse_error *error)
{
    char host[LINK_ENDPOINT_SIZE];
    uint32_t i = cluster->system.n_nodes;
    if (i == SYSTEM_NODES_MAX)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "more than %d endpoints", SYSTEM_NODES_MAX);
    lapse_result result = link_endpoint_parse(text, host, &cluster->client_port[i], error);
    if (lapse_is_ok(result) && !slice_to_cstr(slice_str(host), cluster->host[i], sizeof cluster->host[i]))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the host %s is too long", host);
    if (lapse_is_ok(result))
        cluster->system.n_nodes++;
    return result;
}

lapse_result cluster_nodes_given(struct cluster *cluster, const struct system_options *options,
                                 struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    const char *at = options->endpoints;
    if (options->credentials == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "--endpoints needs --credentials: a directory with ca.pem and the .pem and .key of operator, "
                          "dev1 (requester), oncall (approver) and proxy1 (enforcer)");
    if (!slice_to_cstr(slice_str(options->credentials), cluster->pki, sizeof cluster->pki - 32))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the path of the credentials is too long");
    while (lapse_is_ok(result) && *at != '\0') {
        size_t len = strcspn(at, ",");
        result = endpoint_add(cluster, slice_of(at, len), error);
        at += len + (at[len] == ',');
    }
    format(cluster->system.flags, sizeof cluster->system.flags, "a running cluster at %.400s", options->endpoints);
    return result;
}

lapse_result cluster_target(struct cluster *cluster, uint32_t node, enum cluster_role role,
                            struct socket_target *target, struct lapse_error *error)
{
    char text[sizeof cluster->host[0] + 16];
    bool bare = strchr(cluster->host[node - 1], ':') != NULL; /* an IPv6 address */
    format(text, sizeof text, "%s%s%s:%u", bare ? "[" : "", cluster->host[node - 1], bare ? "]" : "",
           cluster->client_port[node - 1]);
    return socket_target_parse(text, cluster->tls[role], target, error);
}
