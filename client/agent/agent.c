#include "client/agent/agent.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "client/agent/ext_authz.h"
#include "client/agent/head_file.h"
#include "client/agent/http.h"
#include "client/agent/local.h"
#include "client/agent/renewal.h"

struct agent {
    const char *file;
    struct agent_config *config;
    struct lapse_guard *guard;
    struct agent_decider *decider;
    struct agent_pool *pool;
    struct head_file *head; /* NULL: heads aren't kept */
    struct agent_http *http, *metrics;
    struct ext_authz *ext_authz;
    struct agent_local *local;
    struct agent_renewal renewal;
    uv_loop_t loop;
    uv_signal_t terminate, interrupt, hangup;
    bool stopping;
};

/* ---- The guard */

/* On the guard's thread. */
static void on_state(void *arg, enum lapse_guard_state state, const char *message)
{
    const char *name = lapse_guard_state_name(state);
    (void)arg;
    message = message == NULL ? "" : message;
    (void)sd_notifyf(0, "STATUS=%s%s%s", name, *message == '\0' ? "" : ": ", message);
    if (state == LAPSE_GUARD_DECIDING)
        log_info("deciding", LOG_STR("state", name), LOG_STR("message", message));
    else
        log_warn("denying everything", LOG_STR("state", name), LOG_STR("message", message));
}

/* Likewise. */
static void on_head(void *arg, struct lapse_bytes head)
{
    struct agent *agent = arg;
    if (agent->head != NULL)
        head_file_keep(agent->head, head);
}

static lapse_result open_head(struct agent *agent, bool accept_new, struct lapse_error *error)
{
    const char *directory = agent->config->state_directory;
    if (*directory == '\0' && accept_new)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "--accept-new-history: point.state-directory is not set, so nothing is kept");
    return *directory == '\0' ? lapse_ok() : head_file_open(directory, accept_new, agent->pool, &agent->head, error);
}

static lapse_result open_guard(struct agent *agent, struct lapse_error *error)
{
    const struct agent_config *config = agent->config;
    const struct lapse_guard_callbacks callbacks = {
        .on_state = on_state, .on_end_session = agent_local_on_end_session, .on_head = on_head};
    const char *scope[LIMIT_SCOPE_PATTERNS];
    for (uint32_t i = 0; i < config->n_scope; i++)
        scope[i] = config->scope[i];
    const struct lapse_guard_options options = {
        .client = {.endpoints = config->endpoints,
                   .certificate = config->certificate,
                   .key = config->key,
                   .authorities = config->authorities},
        .id = config->id,
        .scope = scope,
        .n_scope = config->n_scope,
        .lease_ms = config->lease_ms,
        .grants_max = config->grants_max,
        .use_share = config->use_share,
        .end_sessions_when_stale = config->end_when_stale,
        .head = agent->head != NULL ? head_file_kept(agent->head) : (struct lapse_bytes){NULL, 0},
    };
    return lapse_guard_open(&options, &callbacks, agent, &agent->guard, error);
}

/* ---- Listeners */

static lapse_result start_http(struct agent *agent, enum agent_http_use use, const char *address,
                               struct agent_http **http, struct lapse_error *error)
{
    const struct agent_http_options options = {
        .use = use, .address = address, .config = agent->config, .decider = agent->decider, .pool = agent->pool};
    lapse_result result = *address == '\0' ? lapse_ok() : agent_http_start(&options, http, error);
    if (lapse_is_ok(result) && *http != NULL)
        log_info(use == AGENT_HTTP_CHECKS ? "listening for checks" : "listening for metrics",
                 LOG_STR("address", address), LOG_U64("port", agent_http_port(*http)));
    return result;
}

static lapse_result start_local(struct agent *agent, struct lapse_error *error)
{
    const struct agent_local_options options = {
        .config = agent->config, .decider = agent->decider, .pool = agent->pool};
    if (agent->config->local[0] == '\0')
        return lapse_ok();
    lapse_result result = agent_local_start(&options, &agent->local, error);
    if (lapse_is_ok(result))
        log_info("listening for local programs", LOG_STR("address", agent->config->local));
    return result;
}

static lapse_result start_listeners(struct agent *agent, struct lapse_error *error)
{
    const struct agent_config *config = agent->config;
    lapse_result result = start_http(agent, AGENT_HTTP_CHECKS, config->http, &agent->http, error);
    if (lapse_is_ok(result))
        result = start_http(agent, AGENT_HTTP_METRICS, config->metrics, &agent->metrics, error);
    if (lapse_is_ok(result))
        result = start_local(agent, error);
    if (!lapse_is_ok(result) || config->ext_authz[0] == '\0')
        return result;
    result = ext_authz_start(&agent->loop, config->ext_authz, agent->decider, agent->pool, &agent->ext_authz, error);
    if (lapse_is_ok(result))
        log_info("listening for ext_authz", LOG_STR("address", config->ext_authz),
                 LOG_U64("port", ext_authz_port(agent->ext_authz)));
    return result;
}

/* ---- Signals */

static void reload(struct agent *agent)
{
    struct agent_config *fresh = mem_calloc(1, sizeof *fresh);
    struct lapse_error error;
    if (!lapse_is_ok(agent_config_load(agent->file, fresh, &error))) {
        log_error("the configuration is wrong; the old maps stay", LOG_STR("error", error.message));
    } else {
        if (!agent_config_same_but_maps(agent->config, fresh))
            log_warn("only maps are read anew; other settings take effect with the next start");
        log_info("maps read anew", LOG_U64("maps", fresh->maps.n));
        agent_decider_set_maps(agent->decider, &fresh->maps);
    }
    agent_config_free(fresh);
    free(fresh);
}

static void on_signal(uv_signal_t *handle, int signal)
{
    struct agent *agent = handle->data;
    if (signal == SIGHUP) {
        reload(agent);
        agent_renewal_now(&agent->renewal);
    } else if (!agent->stopping) {
        agent->stopping = true;
        (void)sd_notify(0, "STOPPING=1\nSTATUS=stopping");
        log_info("stopping");
    } else {
        _exit(128 + signal);
    }
}

static void watch_signal(struct agent *agent, uv_signal_t *handle, int signal)
{
    CHECK(uv_signal_init(&agent->loop, handle) == 0);
    CHECK(uv_signal_start(handle, on_signal, signal) == 0);
    handle->data = agent;
}

/* ---- From beginning to end */

static void serve(struct agent *agent)
{
    (void)sd_notify(0, "READY=1");
    while (!agent->stopping)
        (void)uv_run(&agent->loop, UV_RUN_ONCE);
}

/* Listeners first, then what waits, then connections; the guard's goodbye last, so that it speaks for all of them. */
static void stop(struct agent *agent)
{
    agent_http_quiesce(agent->http);
    agent_http_quiesce(agent->metrics);
    ext_authz_shutdown(agent->ext_authz);
    while (agent->ext_authz != NULL && !ext_authz_is_idle(agent->ext_authz))
        (void)uv_run(&agent->loop, UV_RUN_ONCE);
    agent_pool_end(agent->pool);
    agent_http_stop(agent->http);
    agent_http_stop(agent->metrics);
    agent_local_stop(agent->local);
    ext_authz_free(agent->ext_authz);
    agent_renewal_stop(&agent->renewal);
    uv_close((uv_handle_t *)&agent->terminate, NULL);
    uv_close((uv_handle_t *)&agent->interrupt, NULL);
    uv_close((uv_handle_t *)&agent->hangup, NULL);
    CHECK(uv_run(&agent->loop, UV_RUN_DEFAULT) == 0);
    CHECK(uv_loop_close(&agent->loop) == 0);
    lapse_guard_close(agent->guard);
    head_file_free(agent->head);
    agent_pool_free(agent->pool);
    agent_local_free(agent->local);
    agent_decider_free(agent->decider);
}

/* What other things need: the pool, the head, the guard. */
static lapse_result begin(struct agent *agent, bool accept_new_history, struct lapse_error *error)
{
    agent->pool = agent_pool_new(LIMIT_AGENT_WORKERS);
    lapse_result result = open_head(agent, accept_new_history, error);
    if (lapse_is_ok(result))
        result = open_guard(agent, error);
    if (lapse_is_ok(result))
        return result;
    agent_pool_end(agent->pool);
    head_file_free(agent->head);
    agent_pool_free(agent->pool);
    return result;
}

lapse_result agent_run(const char *file, struct agent_config *config, bool accept_new_history,
                       struct lapse_error *error)
{
    struct agent agent = {.file = file, .config = config};
    log_setup(config->log_level, config->log_format, STDERR_FILENO);
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    (void)umask(0117); /* sockets: their owner and its group */
    lapse_result result = begin(&agent, accept_new_history, error);
    if (!lapse_is_ok(result))
        return result;
    agent.decider = agent_decider_new(agent.guard, &config->maps);
    CHECK(uv_loop_init(&agent.loop) == 0);
    watch_signal(&agent, &agent.terminate, SIGTERM);
    watch_signal(&agent, &agent.interrupt, SIGINT);
    watch_signal(&agent, &agent.hangup, SIGHUP);
    agent_renewal_start(&agent.renewal, &agent.loop, config, agent.guard);
    result = start_listeners(&agent, error);
    if (lapse_is_ok(result))
        serve(&agent);
    stop(&agent);
    return result;
}
