/* What no setting can know alone. */
#include "node/config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "node/bootstrap.h"
#include "node/host_port.h"

static lapse_result check_file(const char *setting, const char *path, struct lapse_error *error)
{
    struct stat status;
    if (path[0] == '\0')
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s is not set", setting);
    if (stat(path, &status) != 0 || access(path, R_OK) != 0)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s: %s can't be read: %s", setting, path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s: %s is not a file", setting, path);
    return lapse_ok();
}

static lapse_result check_key(const char *path, struct lapse_error *error)
{
    struct stat status;
    if (stat(path, &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "tls.key: %s can be read or written by others; run: chmod 600 %s", path, path);
    return lapse_ok();
}

static lapse_result check_files(const struct config *config, struct lapse_error *error)
{
    lapse_result result = check_file("tls.certificate", config->certificate, error);
    if (lapse_is_ok(result))
        result = check_file("tls.key", config->key, error);
    if (lapse_is_ok(result))
        result = check_key(config->key, error);
    if (lapse_is_ok(result))
        result = check_file("tls.authorities", config->authorities, error);
    if (lapse_is_ok(result) && config->deny_list[0] != '\0')
        result = check_file("tls.deny-list", config->deny_list, error);
    return result;
}

struct listener {
    const char *setting, *host;
    uint16_t port;
};

static bool collide(const struct listener *a, const struct listener *b)
{
    return a->port != 0 && a->port == b->port &&
           (host_is_wildcard(a->host) || host_is_wildcard(b->host) || strcmp(a->host, b->host) == 0);
}

static lapse_result check_ports(const struct config *config, struct lapse_error *error)
{
    const struct listener listeners[] = {
        {"listen.client", config->client_host, config->client_port},
        {"listen.peer", config->peer_host, config->peer_port},
        {"listen.http", config->http_host, config->http_enabled ? config->http_port : 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(listeners); i++)
        for (size_t j = 0; j < i; j++)
            if (collide(&listeners[j], &listeners[i]))
                return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s and %s both want port %u; give each its own",
                                  listeners[j].setting, listeners[i].setting, (unsigned)listeners[i].port);
    return lapse_ok();
}

static lapse_result check_numbers(const struct config *config, struct lapse_error *error)
{
    if (config->node_id == 0)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "node.id is not set; give the number that the data directory was made with");
    if (config->heartbeat_ms > config->election_timeout_ms / 3)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "raft.heartbeat-ms is %u; at most a third of raft.election-timeout-ms (%u), or one lost "
                          "packet would start an election",
                          config->heartbeat_ms, config->election_timeout_ms);
    if (config->connections_per_principal > config->connections_max)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "limits.connections-per-principal is %u; at most limits.connections-max (%u)",
                          config->connections_per_principal, config->connections_max);
    return lapse_ok();
}

/* Nobody who connects there is authenticated. */
static lapse_result check_evaluation(const struct config *config, struct lapse_error *error)
{
    if (!config->http_evaluation || (config->http_enabled && host_is_loopback(config->http_host)))
        return lapse_ok();
    return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                      "http.evaluation is on, and listen.http is %s; it must be on this machine's loopback, since who "
                      "connects is not authenticated",
                      config->http_enabled ? config->http_host : "off");
}

static lapse_result check_join(const struct config *config, struct lapse_error *error)
{
    struct cluster_plan plan;
    struct lapse_error inner;
    if (config->join[0] == '\0' || lapse_is_ok(cluster_members_parse(config->join, &plan, &inner)))
        return lapse_ok();
    return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "node.join, read like %s", inner.message);
}

lapse_result config_check(const struct config *config, struct lapse_error *error)
{
    lapse_result result = check_numbers(config, error);
    if (lapse_is_ok(result))
        result = check_join(config, error);
    if (lapse_is_ok(result))
        result = check_evaluation(config, error);
    if (lapse_is_ok(result))
        result = check_ports(config, error);
    if (lapse_is_ok(result))
        result = check_files(config, error);
    return result;
}
