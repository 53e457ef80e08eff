/* What this machine can do at best: syncs, a quorum of them, round trips, and bare fan-out, plain and by TLS 1.3. Any
 * store's figures stand on these, so they are taken in the same run, with code that has nothing else to do. */
#include "bench/scenarios/floor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

#define SYNC_BYTES 4096
#define FILE_BYTES (64u * 1024 * 1024)
#define VOTERS 3
#define QUORUM 2
#define PAUSE_NS 1000000

/* --- children ----------------------------------------------------------------------------------------------------- */

lapse_result floor_child_start(struct floor_child *child, void (*work)(void *arg, int fd), void *arg,
                               struct lapse_error *error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "socketpair: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGINT, SIG_IGN); /* of the terminal: it is this program that ends its children */
        close(pair[0]);
        work(arg, pair[1]);
        _exit(0);
    }
    int failed = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "fork: %s", strerror(failed));
    }
    *child = (struct floor_child){pid, pair[0]};
    return lapse_ok();
}

void floor_child_end(struct floor_child *child)
{
    if (child->pid == 0)
        return;
    kill(child->pid, SIGKILL); /* closing would not end it: later children have copies of its pair */
    close(child->fd);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    child->pid = 0;
}

bool floor_say(int fd)
{
    ssize_t n;
    do
        n = send(fd, "x", 1, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

bool floor_hear(int fd)
{
    char byte;
    ssize_t n;
    do
        n = recv(fd, &byte, 1, 0);
    while (n < 0 && errno == EINTR && !bench_interrupted());
    return n == 1;
}

void floor_pause(void)
{
    nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
}

static lapse_result lost(struct lapse_error *error)
{
    return bench_interrupted() ? lapse_fail(error, LAPSE_CANCELLED, "interrupted")
                               : lapse_fail(error, LAPSE_UNAVAILABLE, "a child of this program has ended");
}

/* --- syncs -------------------------------------------------------------------------------------------------------- */

struct log_file {
    int fd;
    off_t at;
};

static lapse_result log_open(const char *dir, uint32_t i, struct log_file *file, struct lapse_error *error)
{
    char path[PROCESS_PATH_SIZE];
    snprintf(path, sizeof path, "%.200s/log%u", dir, i);
    *file = (struct log_file){.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (file->fd < 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", path, strerror(errno));
    int failed = posix_fallocate(file->fd, 0, FILE_BYTES); /* as logs are */
    return failed == 0 ? lapse_ok() : lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", path, strerror(failed));
}

static bool log_append(struct log_file *file)
{
    static const uint8_t block[SYNC_BYTES] = {1};
    bool ok = pwrite(file->fd, block, sizeof block, file->at) == (ssize_t)sizeof block && fdatasync(file->fd) == 0;
    file->at = (file->at + SYNC_BYTES) % FILE_BYTES;
    return ok;
}

static lapse_result single_syncs(struct floor_run *run, struct lapse_error *error)
{
    struct samples *samples = report_samples(run->bench->report, "sync", "fdatasync of 4 KiB");
    struct log_file file;
    lapse_result result = log_open(run->dir, 0, &file, error);
    for (uint32_t i = 0; i < run->rounds && lapse_is_ok(result); i++) {
        floor_pause();
        int64_t start = bench_now_ns();
        if (!log_append(&file))
            result = lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", run->dir, strerror(errno));
        samples_add(samples, bench_now_ns() - start);
    }
    if (file.fd >= 0)
        close(file.fd);
    return result;
}

struct voter {
    const char *dir;
    uint32_t number;
};

static void vote(void *arg, int fd)
{
    struct voter *voter = arg;
    struct log_file file;
    if (!lapse_is_ok(log_open(voter->dir, voter->number, &file, NULL)))
        return;
    while (floor_hear(fd) && log_append(&file) && floor_say(fd))
        ;
}

/* Until two of three have said that it is on their disk; then the third is waited for. -1: one has ended. */
static int64_t quorum_round(struct floor_child voters[VOTERS])
{
    struct pollfd polled[VOTERS];
    int64_t start = bench_now_ns(), done = 0;
    for (int i = 0; i < VOTERS; i++) {
        polled[i] = (struct pollfd){voters[i].fd, POLLIN, 0};
        if (!floor_say(voters[i].fd))
            return -1;
    }
    for (int votes = 0; votes < VOTERS;) {
        if (poll(polled, VOTERS, -1) < 0)
            return -1;
        for (int i = 0; i < VOTERS; i++) {
            if ((polled[i].revents & (POLLIN | POLLHUP)) == 0)
                continue;
            if (!floor_hear(voters[i].fd))
                return -1;
            polled[i].fd = -1;
            polled[i].revents = 0;
            if (++votes == QUORUM)
                done = bench_now_ns();
        }
    }
    return done - start;
}

static lapse_result quorum_syncs(struct floor_run *run, struct lapse_error *error)
{
    struct samples *samples = report_samples(run->bench->report, "quorum_sync", "the same by two of three processes");
    struct floor_child voters[VOTERS] = {0};
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < VOTERS && lapse_is_ok(result); i++)
        result = floor_child_start(&voters[i], vote, &(struct voter){run->dir, i + 1}, error);
    for (uint32_t i = 0; i < run->rounds && lapse_is_ok(result); i++) {
        floor_pause();
        int64_t ns = quorum_round(voters);
        if (ns < 0)
            result = lost(error);
        else
            samples_add(samples, ns);
    }
    for (uint32_t i = 0; i < VOTERS; i++)
        floor_child_end(&voters[i]);
    return result;
}

lapse_result floor_syncs(struct floor_run *run, struct lapse_error *error)
{
    progress("syncs", 0, 0);
    lapse_result result = single_syncs(run, error);
    return lapse_is_ok(result) ? quorum_syncs(run, error) : result;
}

/* --- round trips -------------------------------------------------------------------------------------------------- */

static int listen_on_loopback(struct sockaddr_in *address)
{
    socklen_t len = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)address, sizeof *address) == 0 && listen(fd, 1) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)address, &len) == 0);
    return fd;
}

/* The one at the other end, which is there already, in the listener's queue. */
static void echo(void *arg, int unused)
{
    int on = 1, fd = accept(*(int *)arg, NULL, NULL);
    (void)unused;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (fd >= 0 && floor_hear(fd) && floor_say(fd))
        ;
}

lapse_result floor_round_trips(struct floor_run *run, struct lapse_error *error)
{
    struct samples *samples = report_samples(run->bench->report, "round_trip", "a round trip over loopback");
    struct floor_child child = {0};
    struct sockaddr_in address;
    progress("round trips", 0, 0);
    int on = 1, listener = listen_on_loopback(&address), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    lapse_result result = lapse_ok();
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        result = lapse_fail(error, LAPSE_UNAVAILABLE, "loopback: %s", strerror(errno));
    if (lapse_is_ok(result))
        result = floor_child_start(&child, echo, &listener, error);
    for (uint32_t i = 0; i < run->rounds && lapse_is_ok(result); i++) {
        floor_pause();
        int64_t start = bench_now_ns();
        if (!floor_say(fd) || !floor_hear(fd))
            result = lost(error);
        else
            samples_add(samples, bench_now_ns() - start);
    }
    shutdown(fd, SHUT_RDWR);
    close(fd);
    close(listener);
    floor_child_end(&child);
    return result;
}

/* --- the scenario ------------------------------------------------------------------------------------------------- */

static lapse_result check(struct bench_settings *settings, struct lapse_error *error)
{
    (void)error;
    if (settings->writes == 0)
        settings->writes = settings->brief ? 20 : 500;
    if (settings->brief && settings->writes > 20)
        settings->writes = 20;
    return lapse_ok();
}

static lapse_result fanouts(struct floor_run *run, struct lapse_error *error)
{
    static const uint32_t usual[] = {3, 300, 3000};
    const struct bench_settings *settings = &run->bench->settings;
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < ARRAY_LEN(usual) && lapse_is_ok(result); i++) {
        uint32_t n = settings->connections > 0 ? settings->connections : usual[i];
        result = floor_fanout(run, n, false, error);
        if (lapse_is_ok(result))
            result = floor_fanout(run, n, true, error);
        if (settings->connections > 0 || (settings->brief && n >= 300))
            break;
    }
    return result;
}

static lapse_result run(struct bench *bench, struct lapse_error *error)
{
    struct floor_run run = {.bench = bench, .rounds = bench->settings.writes};
    report_setting(bench->report, "writes", run.rounds);
    lapse_result result = directory_make(run.dir, error);
    if (!lapse_is_ok(result))
        return result;
    result = floor_syncs(&run, error);
    if (lapse_is_ok(result))
        result = floor_round_trips(&run, error);
    if (lapse_is_ok(result))
        result = fanouts(&run, error);
    directory_remove(run.dir);
    return result;
}

const struct scenario scenario_floor = {
    .name = "floor",
    .summary = "this machine at best: syncs, a quorum of them, round trips, bare fan-out, plain and TLS",
    .flags = "--connections --writes",
    .needs = NEEDS_NO_SYSTEM,
    .check = check,
    .run = run,
};
