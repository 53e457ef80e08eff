/* How many requests a second pass `lapse agent`: through nginx, which asks it about each (auth_request), and asked
 * directly.
 *
 *   this program --HTTP--> nginx --auth_request--> lapse agent (its memory)        "proxy"
 *                            '--> a small file
 *   this program --HTTP--> lapse agent                                            "direct"
 *   this program --HTTP--> nginx, nobody asked: what the proxy does by itself     "bare"
 *
 * Closed loops: each connection sends its next request when the last one is answered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/http_load.h"
#include "bench/harness/pool.h"
#include "bench/harness/scenario.h"
#include "bench/lapse/cluster.h"

#define CONNECTIONS 32
#define SECONDS 5
#define PATIENCE_MS 60000
#define POLL_MS 20
#define TEXT_MAX 8192
#define REQUEST_SIZE 512

#define PROXIES_MAX 4

enum { PORT_AGENT, PORT_CHECKED, PORT_BARE, PORTS };

struct web {
    struct bench *bench;
    char dir[PROCESS_PATH_SIZE];
    char lapse[PROCESS_PATH_SIZE], nginx[PROCESS_PATH_SIZE];
    uint16_t ports[PORTS];
    /* nginx's workers outlive a master that is killed, so each is a process of ours without a master. */
    struct process agent, proxies[PROXIES_MAX];
    uint32_t n_proxies;
};

/* --- files -------------------------------------------------------------------------------------------------------- */

static lapse_result file_write(const struct web *web, const char *name, const struct buf *text,
                               struct lapse_error *error)
{
    char path[PROCESS_PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s/%s", web->dir, name);
    FILE *file = fopen(path, "w");
    bool ok = file != NULL && fwrite(text->data, 1, text->len, file) == text->len;
    ok = file != NULL && fclose(file) == 0 && ok && chmod(path, 0644) == 0;
    return ok ? lapse_ok() : lapse_fail(error, LAPSE_UNAVAILABLE, "%s can't be written", path);
}

/* Every request is about item 0, whose grant is alive. */
static lapse_result agent_config(const struct web *web, struct lapse_error *error)
{
    struct cluster_user user;
    char subject[CLUSTER_TEXT_SIZE], resource[CLUSTER_TEXT_SIZE];
    struct buf text;
    buf_init(&text, TEXT_MAX);
    cluster_user(web->bench->system, "proxy1", 0, &user);
    cluster_item_subject(0, subject);
    cluster_item_resource(0, resource);
    lapse_result result =
        buf_printf(&text,
                   "[cluster]\nendpoints = %s\ncertificate = %s\nkey = %s\nauthorities = %s\n"
                   "[point]\nid = bench-agent\nscope = %s\n[http]\nlisten = 127.0.0.1:%u\n[log]\nlevel = warn\n"
                   "[map all]\nsubject = %s\nresource = %s\naction = %s\n",
                   user.endpoints, user.certificate, user.key, user.authorities, resource, web->ports[PORT_AGENT],
                   subject, resource, CLUSTER_ACTION);
    if (lapse_is_ok(result))
        result = file_write(web, "agent.conf", &text, error);
    buf_free(&text);
    return result;
}

#define CHECKED_LOCATION                                                                                               \
    "location = /.lapse/auth { internal; proxy_pass http://lapse_agent/auth; proxy_http_version 1.1;\n"                \
    "proxy_pass_request_headers off; proxy_pass_request_body off; proxy_set_header Content-Length \"\";\n"             \
    "proxy_set_header Connection \"\"; proxy_set_header Host agent; proxy_set_header X-Original-URI $request_uri;\n"   \
    "proxy_set_header X-Original-Method $request_method; proxy_set_header X-Original-Host $host;\n"                    \
    "proxy_set_header X-Real-IP $remote_addr; proxy_connect_timeout 1s; proxy_read_timeout 15s; }\n"

/* As dist/nginx/lapse.conf has it, without passwords: their hashes would be what is measured. */
static lapse_result proxy_config(const struct web *web, struct lapse_error *error)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    lapse_result result = buf_printf(&text,
                                     "%sdaemon off;\nmaster_process off;\n"
                                     "events { worker_connections 4096; }\nhttp {\naccess_log off;\n"
                                     "keepalive_requests 1000000000;\n",
                                     geteuid() == 0 ? "user root;\n" : "");
    static const char *const kinds[] = {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"};
    for (size_t i = 0; i < ARRAY_LEN(kinds) && lapse_is_ok(result); i++)
        result = buf_printf(&text, "%s_temp_path %s/nginx-%s;\n", kinds[i], web->dir, kinds[i]);
    if (lapse_is_ok(result))
        result =
            buf_printf(&text,
                       "upstream lapse_agent { server 127.0.0.1:%u; keepalive 64; keepalive_requests 1000000000; }\n"
                       "server { listen 127.0.0.1:%u reuseport; root %s/www;\nlocation / { auth_request /.lapse/auth; "
                       "}\n" CHECKED_LOCATION "}\n"
                       "server { listen 127.0.0.1:%u reuseport; root %s/www; }\n}\n",
                       web->ports[PORT_AGENT], web->ports[PORT_CHECKED], web->dir, web->ports[PORT_BARE], web->dir);
    if (lapse_is_ok(result))
        result = file_write(web, "nginx.conf", &text, error);
    buf_free(&text);
    return result;
}

static lapse_result page_write(const struct web *web, struct lapse_error *error)
{
    char path[PROCESS_PATH_SIZE + 8];
    struct buf text;
    snprintf(path, sizeof path, "%s/www", web->dir);
    if (mkdir(path, 0755) != 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s can't be made", path);
    buf_init(&text, TEXT_MAX);
    lapse_result result = buf_printf(&text, "a page\n");
    if (lapse_is_ok(result))
        result = file_write(web, "www/page", &text, error);
    buf_free(&text);
    return result;
}

/* --- processes ---------------------------------------------------------------------------------------------------- */

/* The `lapse` command: as it was built beside this program, or the installed one. */
static bool lapse_find(char path[PROCESS_PATH_SIZE])
{
    char self[PROCESS_PATH_SIZE - 32];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash != NULL)
        *slash = '\0';
    snprintf(path, PROCESS_PATH_SIZE, "%s/../client/lapse", self);
    return access(path, X_OK) == 0 || process_find("lapse", path);
}

static lapse_result programs_find(struct web *web, struct lapse_error *error)
{
    if (!process_find("nginx", web->nginx))
        return lapse_fail(error, LAPSE_NOT_FOUND, "agent needs nginx: install the package nginx-light (or nginx)");
    if (!lapse_find(web->lapse))
        return lapse_fail(error, LAPSE_NOT_FOUND,
                          "agent needs the command `lapse`, built beside this program or in PATH");
    return lapse_ok();
}

static void name_process(const struct web *web, struct process *process, const char *name)
{
    snprintf(process->name, sizeof process->name, "%s", name);
    snprintf(process->log, sizeof process->log, "%.200s/%s.log", web->dir, name);
}

static lapse_result proxy_start(struct web *web, uint32_t i, struct lapse_error *error)
{
    char config[PROCESS_PATH_SIZE + 32], log[PROCESS_PATH_SIZE + 32], pid[PROCESS_PATH_SIZE + 32], name[16];
    snprintf(config, sizeof config, "%s/nginx.conf", web->dir);
    snprintf(log, sizeof log, "%s/nginx-error.log", web->dir);
    snprintf(pid, sizeof pid, "pid %s/nginx%u.pid;", web->dir, i + 1);
    snprintf(name, sizeof name, "nginx%u", i + 1);
    name_process(web, &web->proxies[i], name);
    char *const args[] = {web->nginx,   (char *)"-p", web->dir,     (char *)"-e", log,
                          (char *)"-c", config,       (char *)"-g", pid,          NULL};
    return process_start(&web->proxies[i], args, NULL, NULL, error);
}

static lapse_result processes_start(struct web *web, struct lapse_error *error)
{
    char config[PROCESS_PATH_SIZE + 32];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    snprintf(config, sizeof config, "%s/agent.conf", web->dir);
    name_process(web, &web->agent, "agent");
    char *const args[] = {web->lapse, (char *)"agent", (char *)"--config", config, NULL};
    lapse_result result = process_start(&web->agent, args, NULL, NULL, error);
    web->n_proxies = cores < 1 ? 1 : cores > PROXIES_MAX ? PROXIES_MAX : (uint32_t)cores;
    for (uint32_t i = 0; i < web->n_proxies && lapse_is_ok(result); i++)
        result = proxy_start(web, i, error);
    return result;
}

static lapse_result processes_check(struct web *web, struct lapse_error *error)
{
    lapse_result result = process_check(&web->agent, error);
    for (uint32_t i = 0; i < web->n_proxies && lapse_is_ok(result); i++)
        result = process_check(&web->proxies[i], error);
    return lapse_is_ok(result) ? system_check(web->bench->system, error) : result;
}

#define REQUEST "GET /page HTTP/1.1\r\nHost: bench\r\n\r\n"
#define REQUEST_DIRECT                                                                                                 \
    "GET /auth HTTP/1.1\r\nHost: agent\r\nX-Original-URI: /page\r\nX-Original-Method: GET\r\n"                         \
    "X-Original-Host: bench\r\nX-Real-IP: 127.0.0.1\r\n\r\n"

/* Until a request passes both. */
static lapse_result wait_permitted(struct web *web, struct lapse_error *error)
{
    int64_t until_ns = bench_now_ns() + PATIENCE_MS * 1000000LL;
    int status = 0;
    for (;;) {
        struct lapse_error why;
        lapse_result result = processes_check(web, error);
        if (!lapse_is_ok(result))
            return result;
        if (lapse_is_ok(http_load_once(web->ports[PORT_CHECKED], REQUEST, &status, &why)) && status == 200)
            return lapse_ok();
        if (bench_interrupted())
            return lapse_fail(error, LAPSE_CANCELLED, "interrupted");
        if (bench_now_ns() > until_ns)
            return lapse_fail(error, LAPSE_UNAVAILABLE, "the agent permits nothing: nginx answers %d", status);
        (void)nanosleep(&(struct timespec){0, POLL_MS * 1000000}, NULL);
    }
}

/* --- measuring ---------------------------------------------------------------------------------------------------- */

static lapse_result measure(struct web *web, int port, const char *request, const char *name, const char *what,
                            struct lapse_error *error)
{
    const struct bench_settings *settings = &web->bench->settings;
    struct report *report = web->bench->report;
    struct http_load load = {web->ports[port], request, settings->connections, settings->seconds * 1000};
    struct http_outcome outcome;
    char figure[64], text[96];
    progress(what, 0, 0);
    snprintf(text, sizeof text, "request to answer, %s", what);
    lapse_result result = http_load_run(&load, report_samples(report, name, text), &outcome, error);
    struct lapse_error death;
    if (!lapse_is_ok(result) && !lapse_is_ok(processes_check(web, &death)))
        *error = death;
    snprintf(figure, sizeof figure, "%s_per_s", name);
    snprintf(text, sizeof text, "answers a second, %s", what);
    if (lapse_is_ok(result))
        report_value(report, figure, text, "1/s", outcome.per_s);
    if (lapse_is_ok(result) && outcome.others > 0)
        return lapse_fail(error, LAPSE_INTERNAL, "%llu of %llu requests were answered with %d and not 200 (%s)",
                          (unsigned long long)outcome.others, (unsigned long long)(outcome.ok + outcome.others),
                          outcome.other_status, what);
    return result;
}

static lapse_result measure_all(struct web *web, struct lapse_error *error)
{
    lapse_result result = measure(web, PORT_CHECKED, REQUEST, "proxy", "nginx asks the agent", error);
    if (lapse_is_ok(result))
        result = measure(web, PORT_AGENT, REQUEST_DIRECT, "direct", "the agent itself", error);
    return lapse_is_ok(result) ? measure(web, PORT_BARE, REQUEST, "bare", "nginx asks nobody", error) : result;
}

static lapse_result check(struct bench_settings *settings, struct lapse_error *error)
{
    settings->connections = settings->connections > 0 ? settings->connections : CONNECTIONS;
    settings->seconds = settings->seconds > 0 ? settings->seconds : settings->brief ? 1 : SECONDS;
    if (settings->connections > HTTP_LOAD_CONNECTIONS_MAX)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--connections is at most %d for agent",
                          HTTP_LOAD_CONNECTIONS_MAX);
    return lapse_ok();
}

static lapse_result prepare(struct web *web, struct lapse_error *error)
{
    struct bench *bench = web->bench;
    lapse_result result = programs_find(web, error);
    if (lapse_is_ok(result))
        result = system_reserve(bench->system, 1, error);
    if (lapse_is_ok(result))
        result = system_make_items(bench->system, bench->writers, 0, 1, 0, error);
    if (lapse_is_ok(result))
        result = ports_find(web->ports, PORTS, error);
    if (lapse_is_ok(result))
        result = directory_make(web->dir, error);
    if (lapse_is_ok(result))
        result = page_write(web, error);
    if (lapse_is_ok(result))
        result = agent_config(web, error);
    if (lapse_is_ok(result))
        result = proxy_config(web, error);
    return lapse_is_ok(result) ? processes_start(web, error) : result;
}

static lapse_result run(struct bench *bench, struct lapse_error *error)
{
    struct web web = {.bench = bench};
    report_setting(bench->report, "connections", bench->settings.connections);
    report_setting(bench->report, "seconds", bench->settings.seconds);
    lapse_result result = prepare(&web, error);
    if (lapse_is_ok(result))
        result = wait_permitted(&web, error);
    if (lapse_is_ok(result))
        result = measure_all(&web, error);
    for (uint32_t i = 0; i < web.n_proxies; i++)
        process_end(&web.proxies[i], 2000);
    process_end(&web.agent, 2000);
    directory_remove(web.dir);
    return result;
}

const struct scenario scenario_agent = {
    .name = "agent",
    .summary = "requests a second through nginx and lapse agent",
    .flags = "--connections --seconds",
    .needs = NEEDS_LAPSE,
    .check = check,
    .run = run,
};
