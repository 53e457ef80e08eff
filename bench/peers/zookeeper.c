/* ZooKeeper as a system under test: Debian's server, run by java as its own script would.
 *
 * An item is a node "/items/00000042" of 200 bytes, a watcher one persistent recursive watch on "/items", a connection
 * each. An item with a deadline is an ephemeral node in a session of its own, whose timeout is the deadline and whose
 * connection is closed once the node is there: that is how ZooKeeper's users let something end by itself. (TTL nodes,
 * the other way, must be switched on, and by default a sweep looks at them once a minute, 10,000 a minute at most.)
 *
 *   item_make(ttl): connect --> session of ttl ms --> create ephemeral --> answered: close, done
 *
 * "tuned" is for fast failover and expiry: a tick of 200 ms instead of 2,000, elections that ask again after 50 ms. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "bench/peers/peer_ask.h"
#include "bench/peers/kinds.h"
#include "bench/peers/peer_link_clients.h"
#include "bench/peers/peer.h"
#include "bench/peers/zookeeper_link.h"

#define ROOT "/items"
#define QUIET_ROOT "/quiet"
#define JAR "/usr/share/java/zookeeper.jar"
#define LOGGER_JAR "/usr/share/java/slf4j-simple.jar"
/* Sessions of watchers: longer than any run, so that no pings disturb it. A cluster that isn't ours may give less. */
#define SESSION_MS 3600000
/* Sessions of writers and of the first watcher at each node, which ping every second. In 3.8.0 a node sometimes (one
 * write in a few thousand, one after the other) lets a commit lie until something else comes (ZOOKEEPER-4537); without
 * any pings it would stand still. */
#define PINGING_SESSION_MS 10000
#define PATH_SIZE 32

enum { PORT_CLIENT, PORT_PEER, PORT_ELECTION, N_PORTS };

struct zookeeper {
    struct peer peer;
};

struct system_writer {
    struct peer_link_writer base;
    const struct system *system;
    const char *address;
    struct deadline *deadlines; /* being made */
    struct bench_gate *gate;    /* opened as these end, when the writer closes */
};

/* --- servers ------------------------------------------------------------------------------------------------------ */

static struct zookeeper *of_system(struct system *system)
{
    return CONTAINER_OF(system, struct zookeeper, peer.system);
}

static bool is_here(void)
{
    char path[PROCESS_PATH_SIZE];
    return process_find("java", path) && access(JAR, R_OK) == 0;
}

static const char *settings_of(const struct zookeeper *zk)
{
    return strcmp(zk->peer.system.tuning, "tuned") == 0 ? "tickTime=200\ninitLimit=100\nsyncLimit=10\n"
                                                        : "tickTime=2000\ninitLimit=10\nsyncLimit=5\n";
}

static void write_config(const struct zookeeper *zk, uint32_t node, FILE *file)
{
    const struct system *system = &zk->peer.system;
    fprintf(file, "%sdataDir=%s/node%u\nclientPort=%u\nclientPortAddress=127.0.0.1\n", settings_of(zk), system->dir,
            node, zk->peer.ports[node - 1][PORT_CLIENT]);
    /* Limits only: all connections come from one address, and a session may last as long as a run. */
    fprintf(file, "maxClientCnxns=0\nmaxSessionTimeout=%d\nadmin.enableServer=false\n", SESSION_MS);
    for (uint32_t i = 0; i < system->n_nodes && system->n_nodes > 1; i++)
        fprintf(file, "server.%u=127.0.0.1:%u:%u\n", i + 1, zk->peer.ports[i][PORT_PEER],
                zk->peer.ports[i][PORT_ELECTION]);
}

static lapse_result configure(const struct zookeeper *zk, uint32_t node, struct lapse_error *error)
{
    char path[PROCESS_PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s/node%u/zoo.cfg", zk->peer.system.dir, node);
    FILE *config = fopen(path, "w");
    snprintf(path, sizeof path, "%s/node%u/myid", zk->peer.system.dir, node);
    FILE *id = fopen(path, "w");
    if (config != NULL)
        write_config(zk, node, config);
    if (id != NULL)
        fprintf(id, "%u\n", node);
    bool ok = config != NULL && id != NULL;
    if (config != NULL)
        ok = fclose(config) == 0 && ok;
    if (id != NULL)
        ok = fclose(id) == 0 && ok;
    return ok ? lapse_ok() : lapse_fail(error, LAPSE_UNAVAILABLE, "%s: can't be written", path);
}

static lapse_result start_node(struct zookeeper *zk, uint32_t node, struct lapse_error *error)
{
    struct peer_args args = {0};
    char *flags = zk->peer.system.flags;
    /* The heap of zkServer.sh. */
    peer_flag(&args, "-Xmx1000m");
    peer_flag(&args, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    if (strcmp(zk->peer.system.tuning, "tuned") == 0)
        peer_flag(&args, "-Dzookeeper.fastleader.minNotificationInterval=50");
    peer_place(&args, "-cp");
    peer_place(&args, "%s:%s", JAR, LOGGER_JAR);
    peer_place(&args, "org.apache.zookeeper.server.quorum.QuorumPeerMain");
    peer_place(&args, "%s/node%u/zoo.cfg", zk->peer.system.dir, node);
    lapse_result result = peer_start_node(&zk->peer, node, &args, error);
    size_t used = strlen(flags);
    snprintf(flags + used, sizeof zk->peer.system.flags - used, " %smaxClientCnxns=0 maxSessionTimeout=%d",
             settings_of(zk), SESSION_MS);
    for (char *at = flags; *at != '\0'; at++)
        *at = *at == '\n' ? ' ' : *at;
    return result;
}

/* What a node says of itself: "Zookeeper version: 3.8.0-...\n...Mode: leader\n". Empty while it belongs to no quorum.
 */
static bool node_mode(struct zookeeper *zk, uint32_t node, char mode[16])
{
    char answer[1024];
    struct lapse_error unused;
    if (!lapse_is_ok(peer_ask(zk->peer.address[node - 1], "srvr", NULL, answer, sizeof answer, &unused)))
        return false;
    const char *found = strstr(answer, "Mode: ");
    const char *version = strstr(answer, "version: ");
    if (found == NULL)
        return false;
    if (version != NULL)
        snprintf(zk->peer.system.version, sizeof zk->peer.system.version, "%.*s", (int)strcspn(version + 9, "-, \n"),
                 version + 9);
    snprintf(mode, 16, "%.*s", (int)strcspn(found + 6, "\n"), found + 6);
    return true;
}

static lapse_result leader(struct system *system, uint32_t *node, struct lapse_error *error)
{
    struct zookeeper *zk = of_system(system);
    struct peer_wait wait = peer_wait_for("a leader");
    char mode[16];
    for (;;) {
        for (uint32_t i = 1; i <= system->n_nodes; i++) {
            const struct process *process = &system->nodes[i - 1];
            bool may_lead = !zk->peer.is_ours || (process->pid != 0 && !process->frozen);
            if (may_lead && node_mode(zk, i, mode) &&
                (strcmp(mode, "leader") == 0 || strcmp(mode, "standalone") == 0)) {
                *node = i;
                return lapse_ok();
            }
        }
        lapse_result result = peer_wait_more(&zk->peer, &wait, error);
        if (!lapse_is_ok(result))
            return result;
    }
}

/* A node says its mode only once it has all that its leader has. */
static lapse_result wait_for_node(struct zookeeper *zk, uint32_t node, struct lapse_error *error)
{
    struct peer_wait wait = peer_wait_for("a node that has caught up");
    char mode[16];
    lapse_result result = lapse_ok();
    while (lapse_is_ok(result) && !node_mode(zk, node, mode))
        result = peer_wait_more(&zk->peer, &wait, error);
    zk->peer.system.ready_ns = bench_now_ns();
    return result;
}

static lapse_result restart(struct system *system, uint32_t node, struct lapse_error *error)
{
    lapse_result result = start_node(of_system(system), node, error);
    return lapse_is_ok(result) ? wait_for_node(of_system(system), node, error) : result;
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

static lapse_result writer_open(struct system *system, struct bench_loop *loop, uint32_t node,
                                struct system_writer **writer, struct lapse_error *error);
static void writer_close(struct system_writer *writer);

struct roots {
    struct system_writer *writer;
    struct bench_gate *gate;
    struct lapse_error error;
};

static void on_made(void *arg, const struct lapse_error *error)
{
    struct roots *roots = arg;
    if (error != NULL)
        roots->error = *error;
    bench_gate_step(roots->gate);
}

static void make_roots_on_loop(void *arg)
{
    struct roots *roots = arg;
    struct peer_link_writer *writer = &roots->writer->base;
    zookeeper_create(&writer->link, peer_writer_number(writer, on_made, roots), ROOT, slice_str(""), false);
    zookeeper_create(&writer->link, peer_writer_number(writer, on_made, roots), QUIET_ROOT, slice_str(""), false);
}

static lapse_result make_roots(struct system *system, struct lapse_error *error)
{
    struct bench_loop *loop = bench_loop_start("setup");
    struct roots roots = {.gate = bench_gate_new()};
    lapse_result result = writer_open(system, loop, 1, &roots.writer, error);
    if (lapse_is_ok(result)) {
        bench_gate_expect(roots.gate, 2);
        bench_loop_call(loop, make_roots_on_loop, &roots);
        if (!bench_gate_wait(roots.gate, 10000))
            result = lapse_fail(error, LAPSE_UNAVAILABLE, "zookeeper doesn't answer");
        else if (roots.error.code != LAPSE_OK)
            result = lapse_fail(error, LAPSE_UNAVAILABLE, "%s", roots.error.message);
        writer_close(roots.writer);
    }
    bench_loop_stop(loop);
    bench_gate_free(roots.gate);
    return result;
}

static lapse_result start_nodes(struct zookeeper *zk, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    uint32_t n = zk->peer.is_ours ? zk->peer.system.n_nodes : 0, who;
    for (uint32_t i = 1; i <= n && lapse_is_ok(result); i++) {
        result = configure(zk, i, error);
        if (lapse_is_ok(result))
            result = start_node(zk, i, error);
    }
    for (uint32_t i = 1; i <= zk->peer.system.n_nodes && lapse_is_ok(result); i++)
        result = wait_for_node(zk, i, error);
    if (lapse_is_ok(result))
        result = leader(&zk->peer.system, &who, error);
    return result;
}

static void stop(struct system *system)
{
    if (system == NULL)
        return;
    peer_end(&of_system(system)->peer);
    free(of_system(system));
}

static lapse_result start(const struct system_options *options, struct system **system, struct lapse_error *error)
{
    struct zookeeper *zk = mem_calloc(1, sizeof *zk);
    if (options->endpoints == NULL && access(JAR, R_OK) != 0) {
        stop(&zk->peer.system);
        return lapse_fail(error, LAPSE_NOT_FOUND, "no " JAR ": install %s", kind_zookeeper.package);
    }
    lapse_result result = peer_begin(&zk->peer, &kind_zookeeper, options, "java", N_PORTS, error);
    if (lapse_is_ok(result))
        result = start_nodes(zk, error);
    if (lapse_is_ok(result))
        result = make_roots(&zk->peer.system, error);
    if (lapse_is_ok(result))
        *system = &zk->peer.system;
    else
        stop(&zk->peer.system);
    return result;
}

static lapse_result reserve(struct system *system, uint32_t n, struct lapse_error *error)
{
    (void)system, (void)n, (void)error;
    return lapse_ok();
}

/* --- items with a deadline ---------------------------------------------------------------------------------------- */

struct deadline {
    struct peer_link link;
    struct system_writer *writer;
    struct deadline **from, *next; /* the writer's list */
    uint32_t item;
    system_done done; /* NULL: called */
    void *arg;
};

static struct deadline *of_link(struct peer_link *link)
{
    return CONTAINER_OF(link, struct deadline, link);
}

static void item_path(const struct system *system, uint32_t item, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/%08u", system_is_quiet(system, item) ? QUIET_ROOT : ROOT, item);
}

static void create_item(struct system_writer *writer, struct peer_link *link, uint32_t number, uint32_t item,
                        bool ephemeral)
{
    char path[PATH_SIZE], value[PEER_VALUE_LEN + 1];
    item_path(writer->system, item, path);
    peer_value(value, item);
    zookeeper_create(link, number, path, slice_of(value, PEER_VALUE_LEN), ephemeral);
}

static void deadline_done(struct deadline *deadline, const struct lapse_error *error)
{
    system_done done = deadline->done;
    deadline->done = NULL;
    if (done != NULL)
        done(deadline->arg, error);
}

static void deadline_ready(struct peer_link *link)
{
    create_item(of_link(link)->writer, link, 0, of_link(link)->item, true);
}

static void deadline_answer(struct peer_link *link, uint32_t number, const struct lapse_error *error)
{
    (void)number;
    deadline_done(of_link(link), error);
    peer_link_close(link); /* the session lives on until its time is up */
}

static void deadline_gone(struct peer_link *link, uint32_t item)
{
    (void)link, (void)item;
}

static void deadline_closed(struct peer_link *link, const struct lapse_error *why)
{
    struct deadline *deadline = of_link(link);
    struct system_writer *writer = deadline->writer;
    deadline_done(deadline, why);
    *deadline->from = deadline->next;
    if (deadline->next != NULL)
        deadline->next->from = deadline->from;
    peer_link_free(&deadline->link);
    free(deadline);
    if (writer->gate != NULL)
        bench_gate_step(writer->gate);
}

static const struct peer_link_user deadline_user = {deadline_ready, deadline_answer, deadline_gone, deadline_closed};

static void deadline_make(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg)
{
    struct deadline *deadline = mem_calloc(1, sizeof *deadline);
    CHECK(ttl_ms > 0 && ttl_ms <= INT32_MAX);
    *deadline = (struct deadline){.writer = writer, .item = item, .done = done, .arg = arg};
    deadline->next = writer->deadlines;
    deadline->from = &writer->deadlines;
    if (deadline->next != NULL)
        deadline->next->from = &deadline->next;
    writer->deadlines = deadline;
    peer_link_init(&deadline->link, bench_loop_uv(writer->base.loop), writer->address, &zookeeper_deadline_protocol,
                   &deadline_user);
    deadline->link.session_ms = (int32_t)ttl_ms;
    peer_link_open(&deadline->link);
}

/* --- writers ------------------------------------------------------------------------------------------------------ */

static lapse_result writer_open(struct system *system, struct bench_loop *loop, uint32_t node,
                                struct system_writer **writer, struct lapse_error *error)
{
    struct system_writer *one = mem_calloc(1, sizeof *one);
    one->system = system;
    one->address = of_system(system)->peer.address[node - 1];
    lapse_result result =
        peer_writer_open(&one->base, loop, one->address, &zookeeper_protocol, PINGING_SESSION_MS, error);
    if (lapse_is_ok(result))
        *writer = one;
    else
        free(one);
    return result;
}

static void close_deadlines(void *arg)
{
    struct system_writer *writer = arg;
    const struct lapse_error cancelled = {LAPSE_CANCELLED, "the writer was closed"};
    writer->gate = bench_gate_new();
    for (struct deadline *one = writer->deadlines; one != NULL; one = one->next) {
        bench_gate_expect(writer->gate, 1);
        deadline_done(one, &cancelled);
        peer_link_close(&one->link);
    }
}

static void writer_close(struct system_writer *writer)
{
    if (writer == NULL)
        return;
    bench_loop_call(writer->base.loop, close_deadlines, writer);
    while (!bench_gate_wait(writer->gate, 60000))
        ;
    peer_writer_close(&writer->base);
    bench_gate_free(writer->gate);
    free(writer);
}

static void item_make(struct system_writer *writer, uint32_t item, int64_t ttl_ms, system_done done, void *arg)
{
    if (ttl_ms > 0)
        deadline_make(writer, item, ttl_ms, done, arg);
    else
        create_item(writer, &writer->base.link, peer_writer_number(&writer->base, done, arg), item, false);
}

static void item_end(struct system_writer *writer, uint32_t item, system_done done, void *arg)
{
    char path[PATH_SIZE];
    item_path(writer->system, item, path);
    zookeeper_delete(&writer->base.link, peer_writer_number(&writer->base, done, arg), path);
}

/* --- watchers ----------------------------------------------------------------------------------------------------- */

static void subscribe(struct peer_link *link)
{
    zookeeper_watch_below(link, 0, ROOT);
}

static const char *address_of(struct system *system, uint32_t node)
{
    return of_system(system)->peer.address[node - 1];
}

static const struct peer_link_watchers_options watching = {&zookeeper_protocol, PINGING_SESSION_MS, SESSION_MS,
                                                           subscribe, address_of};

static lapse_result watchers_open(struct system *system, struct bench_loop *loop, uint32_t n, uint32_t node,
                                  system_gone gone, void *args, size_t size, struct system_watcher **watchers,
                                  struct lapse_error *error)
{
    return peer_watchers_open(&watching, system, loop, n, node, gone, args, size,
                              (struct peer_link_watchers **)watchers, error);
}

static void watchers_close(struct system_watcher *watchers)
{
    peer_watchers_close((struct peer_link_watchers *)watchers);
}

static const char *const tunings[] = {"default", "tuned", NULL};

const struct system_kind kind_zookeeper = {
    .name = "zookeeper",
    .package = "zookeeper default-jre-headless",
    .tunings = tunings,
    .can = SYSTEM_CAN_EXPIRE | SYSTEM_CAN_FAIL_OVER | SYSTEM_CAN_WATCH,
    .ttl_ms_min = 4000, /* two ticks by default; "tuned" would take 400 */
    .is_here = is_here,
    .start = start,
    .stop = stop,
    .leader = leader,
    .restart = restart,
    .reserve = reserve,
    .writer_open = writer_open,
    .writer_close = writer_close,
    .item_make = item_make,
    .item_end = item_end,
    .watchers_open = watchers_open,
    .watchers_close = watchers_close,
};
