/* `lapsed --dev`: a cluster of one node with everything made for it, to try things with.
 *
 *   DIR/pki/           a certificate authority, the node's certificate, one for each of the people and workloads below
 *   DIR/data/          the node's data
 *   DIR/lapsed.conf    the settings made for it
 *   DIR/env            what the `lapse` command needs, to be sourced
 *
 * A directory that was used before is used again: what is there is kept. */
#include "node/lapsed.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/pki.h"
#include "node/bootstrap.h"
#include "node/lapsed_signals.h"
#include "store/command.h"

#define DEV_DOMAIN "dev.lapse"
#define DEV_DAYS 365
/* A cluster of one elects itself within an election timeout; a slow disk adds to it. */
#define DEV_READY_TIMEOUT_MS 30000

/* Room for a file's name below the directory. */
#define DEV_DIR_SIZE (CONFIG_PATH_SIZE - 64)

struct dev {
    char dir[DEV_DIR_SIZE];
    char pki[CONFIG_PATH_SIZE], data[CONFIG_PATH_SIZE], conf[CONFIG_PATH_SIZE], env[CONFIG_PATH_SIZE];
};

static const struct dev_user {
    const char *name, *path; /* of the files; of the SPIFFE ID */
    uint32_t roles;          /* 0: the operator, who has them from the start */
} users[] = {
    {"operator", "user/operator", 0},
    {"dev1", "user/dev1", ROLE_REQUESTER},
    {"oncall", "user/oncall", ROLE_APPROVER},
    {"proxy1", "workload/proxy1", ROLE_ENFORCER},
};

/* ---- files ---- */

static lapse_result make_fresh_directory(char dir[DEV_DIR_SIZE], struct lapse_error *error)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    if (base == NULL || access(base, W_OK | X_OK) != 0)
        base = "/tmp";
    int n = snprintf(dir, DEV_DIR_SIZE, "%s/lapse-dev-XXXXXX", base);
    if (n < 0 || n >= DEV_DIR_SIZE || mkdtemp(dir) == NULL)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "no directory can be made in %s: %s", base, strerror(errno));
    return lapse_ok();
}

/* Makes it if absent; kept as an absolute path, since the files that name it are used from elsewhere. */
static lapse_result take_directory(const char *given, char dir[DEV_DIR_SIZE], struct lapse_error *error)
{
    char resolved[PATH_MAX];
    struct stat status;
    if (mkdir(given, 0700) != 0 && errno != EEXIST)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "--dir: %s can't be made: %s", given, strerror(errno));
    if (realpath(given, resolved) == NULL || stat(resolved, &status) != 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "--dir: %s: %s", given, strerror(errno));
    if (!S_ISDIR(status.st_mode) || (status.st_mode & 077) != 0)
        return lapse_fail(error, LAPSE_PERMISSION_DENIED,
                          "--dir: %s is not a directory of mode 0700; private keys will lie there", given);
    if (!slice_to_cstr(slice_str(resolved), dir, DEV_DIR_SIZE))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--dir: %s is longer than %d bytes", given, DEV_DIR_SIZE - 1);
    return lapse_ok();
}

static void join_path(char out[CONFIG_PATH_SIZE], const char *dir, const char *name)
{
    int n = snprintf(out, CONFIG_PATH_SIZE, "%s/%s", dir, name);
    CHECK(n > 0 && n < CONFIG_PATH_SIZE);
}

static lapse_result write_file(const char *path, const struct buf *text, struct lapse_error *error)
{
    FILE *file = fopen(path, "we");
    bool written = file != NULL && fwrite(text->data, 1, text->len, file) == text->len;
    if (file != NULL && fclose(file) != 0)
        written = false;
    return written ? lapse_ok()
                   : lapse_fail(error, LAPSE_UNAVAILABLE, "%s can't be written: %s", path, strerror(errno));
}

/* For the shell: in single quotes, one in the text as '\''. */
static lapse_result append_quoted(struct buf *out, const char *text)
{
    lapse_result result = buf_append(out, "'", 1);
    for (; *text != '\0' && lapse_is_ok(result); text++)
        result = *text == '\'' ? buf_append(out, "'\\''", 4) : buf_append(out, text, 1);
    return lapse_is_ok(result) ? buf_append(out, "'", 1) : result;
}

/* ---- certificates ---- */

static lapse_result unless_there(lapse_result result)
{
    return result.code == LAPSE_ALREADY_EXISTS ? lapse_ok() : result;
}

static lapse_result make_certificates(const struct dev *dev, struct lapse_error *error)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1", "::1", NULL};
    const struct pki_request node = {"lapse/node/1", "node1", hosts, DEV_DAYS};
    lapse_result result = unless_there(pki_init(dev->pki, DEV_DOMAIN, DEV_DAYS, error));
    if (lapse_is_ok(result))
        result = unless_there(pki_issue(dev->pki, &node, error));
    for (size_t i = 0; i < ARRAY_LEN(users) && lapse_is_ok(result); i++) {
        const struct pki_request user = {users[i].path, users[i].name, NULL, DEV_DAYS};
        result = unless_there(pki_issue(dev->pki, &user, error));
    }
    return result;
}

static void principal_of(const struct dev_user *user, char principal[LIMIT_PRINCIPAL + 1])
{
    (void)snprintf(principal, LIMIT_PRINCIPAL + 1, "spiffe://" DEV_DOMAIN "/%s", user->path);
}

/* ---- the node ---- */

static lapse_result make_data(const struct dev *dev, struct lapse_error *error)
{
    struct cluster_plan plan;
    char operator[LIMIT_PRINCIPAL + 1], identity[CONFIG_PATH_SIZE];
    join_path(identity, dev->data, "identity");
    if (access(identity, F_OK) == 0)
        return lapse_ok();
    principal_of(&users[0], operator);
    lapse_result result = cluster_plan_make("dev", "1=127.0.0.1:7401", operator, NULL, &plan, error);
    return lapse_is_ok(result) ? bootstrap_member(&plan, 1, dev->data, error) : result;
}

static bool port_is_free(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool is_free = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0;
    (void)close(fd);
    return is_free;
}

/* The port people know when it is free; another one is chosen by the system. */
static unsigned port_or_any(uint16_t port)
{
    return port_is_free(port) ? port : 0;
}

static lapse_result write_settings(const struct dev *dev, struct lapse_error *error)
{
    struct buf text;
    buf_init(&text, LIMIT_CONFIG_FILE);
    lapse_result result =
        buf_printf(&text,
                   "# Made by lapsed --dev at each start.\n"
                   "[node]\nid = 1\ndata-dir = %s\n\n"
                   "[listen]\nclient = 127.0.0.1:%u\npeer = 127.0.0.1:%u\nhttp = 127.0.0.1:%u\n\n"
                   "[tls]\ncertificate = %s/node1.pem\nkey = %s/node1.key\nauthorities = %s/ca.pem\n\n"
                   "[raft]\ndisk-reserve-bytes = 0\n",
                   dev->data, port_or_any(7400), port_or_any(7401), port_or_any(7402), dev->pki, dev->pki, dev->pki);
    CHECK(lapse_is_ok(result));
    result = write_file(dev->conf, &text, error);
    buf_free(&text);
    return result;
}

static lapse_result prepare(struct dev *dev, const char *dir, int n_flags, char *const *flags, struct config *config,
                            struct lapse_error *error)
{
    lapse_result result = dir == NULL ? make_fresh_directory(dev->dir, error) : take_directory(dir, dev->dir, error);
    if (!lapse_is_ok(result))
        return result;
    join_path(dev->pki, dev->dir, "pki");
    join_path(dev->data, dev->dir, "data");
    join_path(dev->conf, dev->dir, "lapsed.conf");
    join_path(dev->env, dev->dir, "env");
    result = make_certificates(dev, error);
    if (lapse_is_ok(result))
        result = make_data(dev, error);
    if (lapse_is_ok(result))
        result = write_settings(dev, error);
    if (lapse_is_ok(result))
        result = config_load(config, dev->conf, environ, n_flags, flags, error);
    return lapse_is_ok(result) ? config_check(config, error) : result;
}

/* ---- once it serves ---- */

static lapse_result wait_until_ready(const struct node *node, struct lapse_error *error)
{
    const struct timespec nap = {.tv_nsec = 10 * 1000000};
    int64_t deadline_ms = clock_boot_ms() + DEV_READY_TIMEOUT_MS;
    while (!node_is_ready(node) && !signals_stopping()) {
        if (clock_boot_ms() > deadline_ms)
            return lapse_fail(error, LAPSE_UNAVAILABLE, "the node was not ready after %d s",
                              DEV_READY_TIMEOUT_MS / 1000);
        (void)nanosleep(&nap, NULL);
    }
    return lapse_ok();
}

static lapse_result seed_roles(struct node *node, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < ARRAY_LEN(users) && lapse_is_ok(result); i++) {
        char principal[LIMIT_PRINCIPAL + 1];
        principal_of(&users[i], principal);
        if (users[i].roles != 0)
            result = node_seed_roles(node, principal, users[i].roles, error);
    }
    return result;
}

/* `user` is whose certificate the commands show, by the files' name. */
static lapse_result append_exports(struct buf *out, const struct dev *dev, uint16_t port, const char *user)
{
    char path[CONFIG_PATH_SIZE + 16];
    const char *const files[][2] = {{"AUTHORITIES", "ca.pem"}, {"CERTIFICATE", ".pem"}, {"KEY", ".key"}};
    lapse_result result = buf_printf(out, "export LAPSE_ENDPOINTS=127.0.0.1:%u\n", (unsigned)port);
    for (size_t i = 0; i < ARRAY_LEN(files) && lapse_is_ok(result); i++) {
        (void)snprintf(path, sizeof path, "%s/%s%s", dev->pki, files[i][1][0] == '.' ? user : "", files[i][1]);
        result = buf_printf(out, "export LAPSE_%s=", files[i][0]);
        if (lapse_is_ok(result))
            result = append_quoted(out, path);
        if (lapse_is_ok(result))
            result = buf_append(out, "\n", 1);
    }
    return result;
}

static void print_cheat_sheet(const struct dev *dev, const struct node_ports *ports, const struct buf *exports)
{
    struct buf pki;
    buf_init(&pki, 8 * CONFIG_PATH_SIZE);
    CHECK(lapse_is_ok(append_quoted(&pki, dev->pki)));
    int len = (int)pki.len;
    const char *dir = (const char *)pki.data;
    printf("Lapse is ready: one node, for development, in %s\n\n"
           "In another terminal (or: . %s):\n%.*s\n"
           "Then ask as dev1, approve as oncall, and see (operator and proxy1 have certificates there, too):\n"
           "  GRANT=$(lapse request --resource db/prod/orders --action read --duration 15m \\\n"
           "      --justification 'restore order 4711' --output id)\n"
           "  lapse approve \"$GRANT\" --cert %.*s/oncall.pem --key %.*s/oncall.key\n"
           "  lapse get \"$GRANT\"\n\n",
           dev->dir, dev->env, (int)exports->len, (const char *)exports->data, len, dir, len, dir);
    buf_free(&pki);
    if (ports->http != 0)
        printf("Metrics: http://127.0.0.1:%u/metrics\n", (unsigned)ports->http);
    puts("Ctrl-C stops it.");
    (void)fflush(stdout);
}

static lapse_result on_serving(void *arg, struct node *node, struct lapse_error *error)
{
    const struct dev *dev = arg;
    struct node_ports ports;
    struct buf exports;

    lapse_result result = wait_until_ready(node, error);
    if (lapse_is_ok(result) && !signals_stopping())
        result = seed_roles(node, error);
    if (signals_stopping())
        return lapse_ok();
    if (!lapse_is_ok(result))
        return result;
    node_ports(node, &ports);
    buf_init(&exports, 8 * CONFIG_PATH_SIZE);
    CHECK(lapse_is_ok(append_exports(&exports, dev, ports.client, "dev1")));
    result = write_file(dev->env, &exports, error);
    if (lapse_is_ok(result))
        print_cheat_sheet(dev, &ports, &exports);
    buf_free(&exports);
    return result;
}

int lapsed_dev(const char *dir, int n_flags, char *const *flags)
{
    struct dev dev;
    struct config config;
    struct lapse_error error;
    const struct lapsed_service service = {.config = &config, .core_dumps = true, .serving = on_serving, .arg = &dev};

    (void)umask(077);
    if (!lapse_is_ok(prepare(&dev, dir, n_flags, flags, &config, &error)))
        return error.code == LAPSE_INVALID_ARGUMENT ? lapsed_misused(NULL, &error) : lapsed_fail(&error);
    return lapsed_serve(&service);
}
