#include "bench/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/pki.h"

#define PATH_SIZE 256
#define PATIENCE_MS 60000
#define POLL_US 20000
#define FLAGS_MAX 64

/* Below the range that outgoing connections take their ports from, so that none of them takes the port of a node that
 * is down. */
#define PORT_FIRST 20000
#define PORT_LAST 32000

static const struct user {
    const char *name, *path, *role; /* no role: the admin, who has it from the start */
} users[] = {{"operator", "user/operator", NULL},
             {"dev1", "user/dev1", "requester"},
             {"oncall", "user/oncall", "approver"},
             {"proxy1", "workload/proxy1", "enforcer"}};

struct node {
    pid_t pid; /* 0: not running, by our wish */
    uint16_t client_port, peer_port;
};

struct cluster {
    char dir[PATH_SIZE];
    char lapsed[PATH_SIZE];
    char *const *flags;
    bool keep;
    uint32_t n_nodes;
    struct node nodes[CLUSTER_NODES_MAX];
    struct lapse_client *admin;
};

static void format(char *out, size_t size, const char *text, ...) LAPSE_PRINTF(3, 4);
static void format(char *out, size_t size, const char *text, ...)
{
    va_list args;
    va_start(args, text);
    int n = vsnprintf(out, size, text, args);
    va_end(args);
    CHECK(n >= 0 && (size_t)n < size);
}

/* ---- Ports and programs */

static bool port_is_free(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static lapse_result ports_choose(struct cluster *cluster, struct lapse_error *error)
{
    uint32_t port = PORT_FIRST + (uint32_t)getpid() * 37 % 10000, tried = 0;
    for (uint32_t i = 0; i < 2 * cluster->n_nodes; i++) {
        do {
            port = port < PORT_LAST ? port + 1 : PORT_FIRST;
            if (++tried > PORT_LAST - PORT_FIRST)
                return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "no free ports from %d to %d", PORT_FIRST,
                                  PORT_LAST);
        } while (!port_is_free((uint16_t)port));
        struct node *node = &cluster->nodes[i / 2];
        *(i % 2 == 0 ? &node->client_port : &node->peer_port) = (uint16_t)port;
    }
    return lapse_ok();
}

static lapse_result lapsed_find(struct cluster *cluster, const char *given, struct lapse_error *error)
{
    char self[PATH_SIZE - 32];
    if (given != NULL) {
        if (!slice_to_cstr(slice_str(given), cluster->lapsed, sizeof cluster->lapsed))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the path of lapsed is too long");
    } else {
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        self[n > 0 ? n : 0] = '\0';
        char *slash = strrchr(self, '/');
        if (slash != NULL)
            *slash = '\0';
        format(cluster->lapsed, sizeof cluster->lapsed, "%s/../node/lapsed", self);
    }
    if (access(cluster->lapsed, X_OK) != 0)
        return lapse_fail(error, LAPSE_NOT_FOUND, "no program %s: build it, or name it with --lapsed", cluster->lapsed);
    return lapse_ok();
}

/* ---- Processes */

/* The child's end of fork: only what may be done there. */
_Noreturn static void become(const char *program, char *const *args, int log)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    execv(program, args);
    _exit(127);
}

static lapse_result spawn(const struct cluster *cluster, uint64_t node, char *const *args, pid_t *pid,
                          struct lapse_error *error)
{
    char path[PATH_SIZE + 32];
    format(path, sizeof path, "%s/node%" PRIu64 ".log", cluster->dir, node);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", path, strerror(errno));
    *pid = fork();
    if (*pid == 0)
        become(cluster->lapsed, args, log);
    int failed = *pid < 0 ? errno : 0;
    close(log);
    return failed == 0 ? lapse_ok() : lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "fork: %s", strerror(failed));
}

/* The end of a node's log, on one line, for an error message. */
static void log_tail(const struct cluster *cluster, uint64_t node, char *out, size_t size)
{
    char path[PATH_SIZE + 32];
    format(path, sizeof path, "%s/node%" PRIu64 ".log", cluster->dir, node);
    FILE *file = fopen(path, "r");
    size_t n = 0;
    if (file != NULL) {
        if (fseek(file, -(long)(size - 1), SEEK_END) != 0)
            rewind(file);
        n = fread(out, 1, size - 1, file);
        fclose(file);
    }
    out[n] = '\0';
    for (char *at = out; *at != '\0'; at++)
        if (*at == '\n')
            *at = ' ';
}

static lapse_result died(const struct cluster *cluster, uint64_t node, int status, struct lapse_error *error)
{
    char tail[200];
    log_tail(cluster, node, tail, sizeof tail);
    return lapse_fail(error, LAPSE_UNAVAILABLE, "node %" PRIu64 " ended with %s %d: ...%s", node,
                      WIFSIGNALED(status) ? "signal" : "code",
                      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), tail);
}

lapse_result cluster_check(struct cluster *cluster, struct lapse_error *error)
{
    int status;
    for (uint64_t node = 1; node <= cluster->n_nodes; node++) {
        struct node *n = &cluster->nodes[node - 1];
        if (n->pid != 0 && waitpid(n->pid, &status, WNOHANG) == n->pid) {
            n->pid = 0;
            return died(cluster, node, status, error);
        }
    }
    return lapse_ok();
}

static lapse_result member_init(struct cluster *cluster, uint64_t node, const char *members, struct lapse_error *error)
{
    char id[24], data[PATH_SIZE + 32];
    char *args[] = {cluster->lapsed,
                    "init",
                    "--cluster",
                    "bench",
                    "--members",
                    (char *)(uintptr_t)members,
                    "--operator",
                    "spiffe://bench.lapse/user/operator",
                    "--node-id",
                    id,
                    "--data-dir",
                    data,
                    NULL};
    pid_t pid;
    int status;
    format(id, sizeof id, "%" PRIu64, node);
    format(data, sizeof data, "%s/node%" PRIu64, cluster->dir, node);
    lapse_result result = spawn(cluster, node, args, &pid, error);
    if (!lapse_is_ok(result))
        return result;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? result : died(cluster, node, status, error);
}

lapse_result cluster_restart(struct cluster *cluster, uint64_t node, struct lapse_error *error)
{
    struct node *n = &cluster->nodes[node - 1];
    char text[9][PATH_SIZE + 64], *args[FLAGS_MAX + 12];
    int k = 0;
    CHECK(n->pid == 0);
    format(text[k++], sizeof text[0], "--node-id=%" PRIu64, node);
    format(text[k++], sizeof text[0], "--data-dir=%s/node%" PRIu64, cluster->dir, node);
    format(text[k++], sizeof text[0], "--listen-client=127.0.0.1:%u", n->client_port);
    format(text[k++], sizeof text[0], "--listen-peer=127.0.0.1:%u", n->peer_port);
    format(text[k++], sizeof text[0], "--listen-http=off");
    format(text[k++], sizeof text[0], "--tls-certificate=%s/pki/node%" PRIu64 ".pem", cluster->dir, node);
    format(text[k++], sizeof text[0], "--tls-key=%s/pki/node%" PRIu64 ".key", cluster->dir, node);
    format(text[k++], sizeof text[0], "--tls-authorities=%s/pki/ca.pem", cluster->dir);
    format(text[k++], sizeof text[0], "--log-level=warn");
    args[0] = cluster->lapsed;
    for (int i = 0; i < k; i++)
        args[i + 1] = text[i];
    for (int i = 0; cluster->flags != NULL && cluster->flags[i] != NULL && k < FLAGS_MAX; i++)
        args[++k] = cluster->flags[i];
    args[k + 1] = NULL;
    return spawn(cluster, node, args, &n->pid, error);
}

void cluster_kill(struct cluster *cluster, uint64_t node)
{
    struct node *n = &cluster->nodes[node - 1];
    if (n->pid == 0)
        return;
    kill(n->pid, SIGKILL);
    while (waitpid(n->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    n->pid = 0;
}

/* ---- Clients */

uint32_t cluster_size(const struct cluster *cluster)
{
    return cluster->n_nodes;
}

lapse_result cluster_client(struct cluster *cluster, const char *user, uint64_t node, struct lapse_client **client,
                            struct lapse_error *error)
{
    char endpoints[CLUSTER_NODES_MAX * 24] = "", certificate[PATH_SIZE + 64], key[PATH_SIZE + 64], ca[PATH_SIZE + 64];
    for (uint32_t i = 0; i < cluster->n_nodes; i++) {
        size_t len = strlen(endpoints);
        if (node == 0 || node == i + 1)
            format(endpoints + len, sizeof endpoints - len, "%s127.0.0.1:%u", len == 0 ? "" : ",",
                   cluster->nodes[i].client_port);
    }
    format(certificate, sizeof certificate, "%s/pki/%s.pem", cluster->dir, user);
    format(key, sizeof key, "%s/pki/%s.key", cluster->dir, user);
    format(ca, sizeof ca, "%s/pki/ca.pem", cluster->dir);
    struct lapse_client_options options = {
        .endpoints = endpoints, .certificate = certificate, .key = key, .authorities = ca, .backoff_max_ms = 100};
    return lapse_client_new(&options, client, error);
}

/* ---- Waiting for the cluster */

struct wait {
    int64_t until_ms;
    const char *what;
};

/* Sleeps a little. Fails when a node died or time is up. */
static lapse_result wait_more(struct cluster *cluster, const struct wait *wait, struct lapse_error *error)
{
    char tail[160];
    lapse_result result = cluster_check(cluster, error);
    if (!lapse_is_ok(result))
        return result;
    if (clock_boot_ms() > wait->until_ms) {
        log_tail(cluster, 1, tail, sizeof tail);
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: not within %d s; node 1 says: ...%s", wait->what,
                          PATIENCE_MS / 1000, tail);
    }
    usleep(POLL_US);
    return result;
}

static lapse_result status_of(struct lapse_client *client, struct lapse_cluster_status *status)
{
    return lapse_cluster_status(client, NULL, 1000, status, NULL);
}

lapse_result cluster_leader(struct cluster *cluster, uint64_t *node, struct lapse_error *error)
{
    struct wait wait = {clock_boot_ms() + PATIENCE_MS, "a leader"};
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result)) {
        struct lapse_cluster_status status = {0};
        bool known = lapse_is_ok(status_of(cluster->admin, &status)) && status.leader_id != 0 &&
                     status.leader_id <= cluster->n_nodes && cluster->nodes[status.leader_id - 1].pid != 0;
        uint64_t leader = status.leader_id;
        lapse_cluster_status_free(&status);
        if (known) {
            *node = leader;
            return result;
        }
        result = wait_more(cluster, &wait, error);
    }
    return result;
}

lapse_result cluster_wait_caught_up(struct cluster *cluster, uint64_t node, struct lapse_error *error)
{
    struct wait wait = {clock_boot_ms() + PATIENCE_MS, "a node that was restarted to catch up"};
    struct lapse_cluster_status status = {0};
    struct lapse_client *client;
    uint64_t goal = 0;
    lapse_result result = cluster_client(cluster, "operator", node, &client, error);
    if (!lapse_is_ok(result))
        return result;
    while (lapse_is_ok(result)) {
        if (goal == 0 && lapse_is_ok(status_of(cluster->admin, &status)))
            goal = status.commit_index;
        lapse_cluster_status_free(&status);
        bool there = goal > 0 && lapse_is_ok(status_of(client, &status)) && status.applied_index >= goal;
        lapse_cluster_status_free(&status);
        if (there)
            break;
        result = wait_more(cluster, &wait, error);
    }
    lapse_client_free(client);
    return result;
}

static lapse_result roles_set(struct cluster *cluster, struct lapse_error *error)
{
    struct wait wait = {clock_boot_ms() + PATIENCE_MS, "the first write"};
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < ARRAY_LEN(users) && lapse_is_ok(result); i++) {
        char member[64];
        struct lapse_roles_change change;
        struct lapse_set_roles_args args = {.binding = {member, &users[i].role, 1}};
        if (users[i].role == NULL)
            continue;
        format(member, sizeof member, "spiffe://bench.lapse/%s", users[i].path);
        while (lapse_is_ok(result)) {
            struct lapse_error refused;
            if (lapse_is_ok(lapse_set_roles(cluster->admin, &args, 2000, &change, &refused)))
                break;
            result = refused.code == LAPSE_DEADLINE_EXCEEDED || refused.code == LAPSE_UNAVAILABLE
                         ? wait_more(cluster, &wait, error)
                         : lapse_fail(error, refused.code, "giving roles: %s", refused.message);
        }
    }
    return result;
}

/* ---- Making and removing */

static lapse_result certificates_make(struct cluster *cluster, struct lapse_error *error)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", NULL};
    char pki[PATH_SIZE + 8], name[16], principal[32];
    format(pki, sizeof pki, "%s/pki", cluster->dir);
    lapse_result result = pki_init(pki, "bench.lapse", 30, error);
    for (size_t i = 0; i < ARRAY_LEN(users) && lapse_is_ok(result); i++)
        result = pki_issue(pki, &(struct pki_request){users[i].path, users[i].name, NULL, 30}, error);
    for (uint32_t i = 1; i <= cluster->n_nodes && lapse_is_ok(result); i++) {
        format(name, sizeof name, "node%" PRIu32, i);
        format(principal, sizeof principal, "lapse/node/%" PRIu32, i);
        result = pki_issue(pki, &(struct pki_request){principal, name, hosts, 30}, error);
    }
    return result;
}

static lapse_result nodes_start(struct cluster *cluster, struct lapse_error *error)
{
    char members[CLUSTER_NODES_MAX * 32] = "";
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < cluster->n_nodes; i++) {
        size_t len = strlen(members);
        format(members + len, sizeof members - len, "%s%" PRIu32 "=127.0.0.1:%u", i == 0 ? "" : ",", i + 1,
               cluster->nodes[i].peer_port);
    }
    for (uint64_t node = 1; node <= cluster->n_nodes && lapse_is_ok(result); node++)
        result = member_init(cluster, node, members, error);
    for (uint64_t node = 1; node <= cluster->n_nodes && lapse_is_ok(result); node++)
        result = cluster_restart(cluster, node, error);
    return result;
}

static lapse_result directory_make(struct cluster *cluster, struct lapse_error *error)
{
    const char *base = getenv("TMPDIR");
    format(cluster->dir, sizeof cluster->dir, "%.100s/lapse-bench-XXXXXX",
           base == NULL || *base == '\0' ? "/tmp" : base);
    if (mkdtemp(cluster->dir) != NULL)
        return lapse_ok();
    lapse_result result = lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", cluster->dir, strerror(errno));
    cluster->dir[0] = '\0';
    return result;
}

lapse_result cluster_start(const struct cluster_options *options, struct cluster **out, struct lapse_error *error)
{
    CHECK(options->nodes >= 1 && options->nodes <= CLUSTER_NODES_MAX);
    struct cluster *cluster = mem_calloc(1, sizeof *cluster);
    cluster->n_nodes = options->nodes;
    cluster->keep = options->keep;
    cluster->flags = options->flags;
    lapse_result result = lapsed_find(cluster, options->lapsed, error);
    if (lapse_is_ok(result))
        result = directory_make(cluster, error);
    if (lapse_is_ok(result))
        result = ports_choose(cluster, error);
    if (lapse_is_ok(result))
        result = certificates_make(cluster, error);
    if (lapse_is_ok(result))
        result = nodes_start(cluster, error);
    if (lapse_is_ok(result))
        result = cluster_client(cluster, "operator", 0, &cluster->admin, error);
    if (lapse_is_ok(result))
        result = roles_set(cluster, error);
    if (lapse_is_ok(result))
        *out = cluster;
    else
        cluster_stop(cluster);
    return result;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

void cluster_stop(struct cluster *cluster)
{
    if (cluster == NULL)
        return;
    lapse_client_free(cluster->admin);
    for (uint64_t node = 1; node <= cluster->n_nodes; node++)
        cluster_kill(cluster, node);
    if (cluster->keep && cluster->dir[0] != '\0')
        fprintf(stderr, "kept: %s\n", cluster->dir);
    else if (cluster->dir[0] != '\0')
        (void)nftw(cluster->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(cluster);
}
