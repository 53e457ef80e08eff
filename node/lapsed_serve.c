/* From a checked configuration to an exit code: the process is made fit, the node runs, the node ends.
 *
 *   harden -> signals -> node_start -> READY=1 -> node_wait -> node_free
 */
#include "node/lapsed.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "node/host_port.h"
#include "node/lapsed_signals.h"
#include "node/notify.h"

/* Descriptors beside the client connections: peers and strangers on their port, HTTP, segments, the loops' own. */
#define SPARE_DESCRIPTORS (LIMIT_PEER_STRANGERS + LIMIT_HTTP_CONNECTIONS + 192u)

/* Memory holds private keys and grants: no core dumps. What the process makes is nobody else's to read. */
static void harden(bool core_dumps)
{
    const struct rlimit none = {0, 0};
    (void)umask(077);
    if (!core_dumps && setrlimit(RLIMIT_CORE, &none) != 0)
        log_warn("core dumps can't be switched off");
}

/* Takes the descriptors that the connections need. Where there are fewer, fewer connections are taken: clients must not
 * be able to use up those of the log and of the peers. */
static void raise_descriptors(struct config *config)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)config->connections_max + SPARE_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    rlim_t had = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        limit.rlim_cur = had;
    if (limit.rlim_cur >= wanted)
        return;
    rlim_t left = limit.rlim_cur > 2 * SPARE_DESCRIPTORS ? limit.rlim_cur - SPARE_DESCRIPTORS : limit.rlim_cur / 2;
    if (left < config->connections_max)
        config->connections_max = left > 0 ? (uint32_t)left : 1;
    log_warn(
        "fewer file descriptors than limits.connections-max needs, so fewer connections are taken: raise LimitNOFILE",
        LOG_U64("descriptors", limit.rlim_cur), LOG_U64("needed", wanted),
        LOG_U64("connections", config->connections_max));
}

static void announce(const struct config *config, const struct node *node)
{
    struct node_ports ports;
    char status[128];
    node_ports(node, &ports);
    log_info("serving", LOG_U64("node", config->node_id), LOG_STR("client_host", config->client_host),
             LOG_U64("client_port", ports.client), LOG_STR("peer_host", config->peer_host),
             LOG_U64("peer_port", ports.peer), LOG_U64("http_port", ports.http));
    if (config->http_enabled && !host_is_loopback(config->http_host))
        log_warn("metrics and health are served in clear text beyond this machine", LOG_STR("host", config->http_host));
    (void)snprintf(status, sizeof status, "serving clients on port %u", (unsigned)ports.client);
    notify_ready(status);
}

/* Waits for the node's end; a failure of `serving` comes before one of the node that it led to. */
static lapse_result serve(const struct lapsed_service *service, struct node *node, struct lapse_error *error)
{
    struct lapse_error end;
    lapse_result result = lapse_ok();
    announce(service->config, node);
    if (service->serving != NULL)
        result = service->serving(service->arg, node, error);
    if (!lapse_is_ok(result))
        node_stop(node);
    lapse_result ended = node_wait(node, &end);
    if (!lapse_is_ok(result) || lapse_is_ok(ended))
        return result;
    return lapse_fail(error, end.code, "%s", end.message);
}

static int report_end(lapse_result result, const struct lapse_error *error)
{
    if (lapse_is_ok(result))
        log_info("stopped");
    else
        log_error("lapsed ends", LOG_STR("code", lapse_code_name(error->code)), LOG_STR("cause", error->message));
    return lapsed_exit_code(result.code);
}

int lapsed_serve(const struct lapsed_service *service)
{
    struct node *node = NULL;
    struct config config = *service->config;
    struct lapse_error error;

    log_setup(service->config->log_level, service->config->log_format, 2);
    harden(service->core_dumps);
    raise_descriptors(&config);
    log_info("starting", LOG_STR("version", LAPSE_VERSION), LOG_STR("data_dir", service->config->data_dir));
    signals_start();
    lapse_result result = node_start(&config, &node, &error);
    /* What a failed start has begun is not taken apart again, and its threads may still run: no exit handlers. */
    if (!lapse_is_ok(result))
        _exit(report_end(result, &error));
    signals_attach(node);
    result = serve(service, node, &error);
    signals_end();
    node_free(node);
    return report_end(result, &error);
}
