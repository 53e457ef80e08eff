#include "bench/lapse/partition.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/process.h"
#include "bench/harness/system.h"

#define COMMAND_SIZE 1024
#define NOBODY "02:00:00:00:00:01"

struct place {
    int fd; /* its network namespace */
};

struct partition {
    uint32_t n;
    struct place places[SYSTEM_NODES_MAX];
    struct process shell;
};

static bool isolated;

bool partition_is_isolated(void)
{
    return isolated;
}

void partition_address(uint32_t node, char *address, size_t size)
{
    int n = snprintf(address, size, "10.77.0.%u", node);
    CHECK(n > 0 && (size_t)n < size);
}

/* Runs a line of shell; its words are all ours. */
static lapse_result run(struct process *shell, const char *command, struct lapse_error *error)
{
    char *args[] = {(char *)"/bin/sh", (char *)"-ec", (char *)command, NULL};
    return process_run(shell, args, error);
}

static lapse_result programs_are_here(struct lapse_error *error)
{
    char path[PROCESS_PATH_SIZE];
    if (!process_find("ip", path))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "a partition needs `ip`: install iproute2");
    if (!process_find("nsenter", path))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "a partition needs `nsenter`: install util-linux");
    return lapse_ok();
}

lapse_result partition_isolate(struct lapse_error *error)
{
    struct process shell = {.name = "ip", .log = "/dev/null"};
    lapse_result result = programs_are_here(error);
    if (!lapse_is_ok(result) || isolated)
        return result;
    if (unshare(CLONE_NEWNET) != 0)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "a partition needs network namespaces (%s): run it as root, or choose --fault freeze",
                          strerror(errno));
    result = run(&shell,
                 "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up; ip link add br0 type bridge; "
                 "ip address add 10.77.0.254/24 dev br0; ip link set br0 up",
                 error);
    isolated = lapse_is_ok(result);
    return result;
}

/* A new namespace, held by its descriptor. This thread is back in its own one afterwards. */
static int namespace_make(void)
{
    int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), made = -1;
    if (own < 0)
        return -1;
    if (unshare(CLONE_NEWNET) == 0) {
        made = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        CHECK(setns(own, CLONE_NEWNET) == 0);
    }
    close(own);
    return made;
}

static lapse_result place_make(struct partition *partition, uint32_t node, struct lapse_error *error)
{
    struct place *place = &partition->places[node - 1];
    char command[COMMAND_SIZE], address[16];
    place->fd = namespace_make();
    if (place->fd < 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "a network namespace for node %u: %s", node, strerror(errno));
    partition_address(node, address, sizeof address);
    /* A port that an earlier cluster of this run left may not be gone yet. */
    int n = snprintf(command, sizeof command,
                     "PATH=$PATH:/usr/sbin:/sbin; ip link del port%u 2>/dev/null || true; "
                     "ip link add port%u type veth peer name eth0 netns /proc/%d/fd/%d; "
                     "ip link set port%u master br0 up; nsenter --net=/proc/%d/fd/%d sh -ec '"
                     "ip link set lo up; ip address add %s/24 dev eth0; ip link set eth0 up'",
                     node, node, (int)getpid(), place->fd, node, (int)getpid(), place->fd, address);
    CHECK(n > 0 && (size_t)n < sizeof command);
    return run(&partition->shell, command, error);
}

lapse_result partition_new(uint32_t n, const char *log, struct partition **out, struct lapse_error *error)
{
    struct partition *partition = mem_calloc(1, sizeof *partition);
    lapse_result result = lapse_ok();
    CHECK(isolated && n <= SYSTEM_NODES_MAX);
    for (uint32_t i = 0; i < SYSTEM_NODES_MAX; i++)
        partition->places[i].fd = -1;
    snprintf(partition->shell.name, sizeof partition->shell.name, "ip");
    snprintf(partition->shell.log, sizeof partition->shell.log, "%s", log);
    for (uint32_t node = 1; node <= n && lapse_is_ok(result); node++) {
        partition->n = node;
        result = place_make(partition, node, error);
    }
    if (lapse_is_ok(result))
        *out = partition;
    else
        partition_free(partition);
    return result;
}

void partition_free(struct partition *partition)
{
    if (partition == NULL)
        return;
    for (uint32_t i = 0; i < partition->n; i++)
        if (partition->places[i].fd >= 0)
            close(partition->places[i].fd);
    free(partition);
}

void partition_prepare(void *arg)
{
    struct place *place = arg;
    if (setns(place->fd, CLONE_NEWNET) != 0)
        _exit(125);
}

void *partition_place(struct partition *partition, uint32_t node)
{
    CHECK(node >= 1 && node <= partition->n);
    return &partition->places[node - 1];
}

/* What `from` sends to `to` is lost, or arrives again: a command added to `text`. */
static void add_direction(const struct partition *partition, uint32_t from, uint32_t to, bool cut, struct buf *text)
{
    char address[16];
    partition_address(to, address, sizeof address);
    lapse_result result = buf_printf(text, "nsenter --net=/proc/%d/fd/%d ip neigh %s %s %s dev eth0; ", (int)getpid(),
                                     partition->places[from - 1].fd, cut ? "replace" : "del", address,
                                     cut ? "lladdr " NOBODY " nud permanent" : "");
    CHECK(lapse_is_ok(result));
}

lapse_result partition_cut(struct partition *partition, uint32_t node, bool cut, struct lapse_error *error)
{
    struct buf text;
    buf_init(&text, 64 * 1024);
    CHECK(lapse_is_ok(buf_printf(&text, "PATH=$PATH:/usr/sbin:/sbin; ")));
    for (uint32_t other = 1; other <= partition->n; other++)
        if (other != node) {
            add_direction(partition, node, other, cut, &text);
            add_direction(partition, other, node, cut, &text);
        }
    CHECK(lapse_is_ok(buf_append(&text, "", 1)));
    lapse_result result = run(&partition->shell, (const char *)text.data, error);
    buf_free(&text);
    return result;
}
