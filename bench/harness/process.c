#include "bench/harness/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"

#define PORT_FIRST 20000
#define PORT_LAST 32000
#define POLL_MS 10
#define TAIL_SIZE 200

static void sleep_ms(uint32_t ms)
{
    struct timespec left = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* --- finding ------------------------------------------------------------------------------------------------------ */

static bool is_program(const char *directory, size_t len, const char *program, char path[PROCESS_PATH_SIZE])
{
    int n = snprintf(path, PROCESS_PATH_SIZE, "%.*s/%s", (int)len, directory, program);
    return n > 0 && n < PROCESS_PATH_SIZE && access(path, X_OK) == 0;
}

bool process_find(const char *program, char path[PROCESS_PATH_SIZE])
{
    static const char *const beyond[] = {"/usr/sbin", "/sbin", "/usr/local/sbin"};
    const char *directories = getenv("PATH");
    while (directories != NULL && *directories != '\0') {
        size_t len = strcspn(directories, ":");
        if (len > 0 && is_program(directories, len, program, path))
            return true;
        directories += len + (directories[len] == ':');
    }
    for (size_t i = 0; i < ARRAY_LEN(beyond); i++)
        if (is_program(beyond[i], strlen(beyond[i]), program, path))
            return true;
    return false;
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

/* The child's end of fork: only what may be done there. */
_Noreturn static void become(char *const *args, int log, void (*prepare)(void *arg), void *arg)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    if (prepare != NULL)
        prepare(arg);
    signal(SIGPIPE, SIG_DFL);
    execv(args[0], args);
    _exit(127);
}

lapse_result process_start(struct process *process, char *const *args, void (*prepare)(void *arg), void *arg,
                           struct lapse_error *error)
{
    CHECK(process->pid == 0);
    int log = open(process->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", process->log, strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        become(args, log, prepare, arg);
    int failed = pid < 0 ? errno : 0;
    close(log);
    if (failed != 0)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "%s: fork: %s", process->name, strerror(failed));
    process->pid = pid;
    process->frozen = false;
    return lapse_ok();
}

/* The end of the log, on one line, for an error message. */
static void log_tail(const struct process *process, char out[TAIL_SIZE])
{
    FILE *file = fopen(process->log, "r");
    size_t n = 0;
    if (file != NULL) {
        if (fseek(file, -(long)(TAIL_SIZE - 1), SEEK_END) != 0)
            rewind(file);
        n = fread(out, 1, TAIL_SIZE - 1, file);
        fclose(file);
    }
    out[n] = '\0';
    for (char *at = out; *at != '\0'; at++)
        if (*at == '\n')
            *at = ' ';
}

static lapse_result ended(struct process *process, int status, struct lapse_error *error)
{
    char tail[TAIL_SIZE];
    log_tail(process, tail);
    process->pid = 0;
    return lapse_fail(error, LAPSE_UNAVAILABLE, "%s ended with %s %d: ...%s", process->name,
                      WIFSIGNALED(status) ? "signal" : "code",
                      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), tail);
}

lapse_result process_run(struct process *process, char *const *args, struct lapse_error *error)
{
    int status = 0;
    lapse_result result = process_start(process, args, NULL, NULL, error);
    if (!lapse_is_ok(result))
        return result;
    while (waitpid(process->pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return ended(process, status, error);
    process->pid = 0;
    return result;
}

lapse_result process_check(struct process *process, struct lapse_error *error)
{
    int status = 0;
    if (process->pid != 0 && waitpid(process->pid, &status, WNOHANG) == process->pid)
        return ended(process, status, error);
    return lapse_ok();
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

void process_kill(struct process *process)
{
    if (process->pid == 0)
        return;
    kill(process->pid, SIGKILL);
    while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    process->pid = 0;
}

void process_end(struct process *process, uint32_t grace_ms)
{
    int64_t until_ms = clock_boot_ms() + grace_ms;
    if (process->pid == 0)
        return;
    process_thaw(process);
    kill(process->pid, SIGTERM);
    while (waitpid(process->pid, NULL, WNOHANG) == 0) {
        if (clock_boot_ms() >= until_ms) {
            process_kill(process);
            return;
        }
        sleep_ms(POLL_MS);
    }
    process->pid = 0;
}

void process_freeze(struct process *process)
{
    if (process->pid != 0 && kill(process->pid, SIGSTOP) == 0)
        process->frozen = true;
}

void process_thaw(struct process *process)
{
    if (process->pid != 0 && process->frozen && kill(process->pid, SIGCONT) == 0)
        process->frozen = false;
}

/* --- what it uses ------------------------------------------------------------------------------------------------- */

uint64_t process_resident(const struct process *process)
{
    char path[64];
    unsigned long long size, resident = 0;
    if (process->pid == 0)
        return 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)process->pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t process_cpu_us(const struct process *process)
{
    clockid_t clock;
    struct timespec used;
    if (process->pid == 0 || clock_getcpuclockid(process->pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return 0;
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/* --- directories and ports ---------------------------------------------------------------------------------------- */

lapse_result directory_make(char path[PROCESS_PATH_SIZE], struct lapse_error *error)
{
    const char *parent = getenv("TMPDIR");
    int n = snprintf(path, PROCESS_PATH_SIZE - 64, "%s/lapse-bench-XXXXXX", parent != NULL ? parent : "/tmp");
    if (n >= PROCESS_PATH_SIZE - 64)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "TMPDIR is too long");
    if (mkdtemp(path) == NULL)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", path, strerror(errno));
    return lapse_ok();
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

void directory_remove(const char *path)
{
    if (path[0] != '\0')
        (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

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

lapse_result ports_find(uint16_t *ports, uint32_t n, struct lapse_error *error)
{
    static uint32_t last;
    if (last == 0)
        last = PORT_FIRST + (uint32_t)getpid() * 37 % 10000;
    for (uint32_t i = 0, tried = 0; i < n; i++) {
        do {
            last = last < PORT_LAST ? last + 1 : PORT_FIRST;
            if (++tried > PORT_LAST - PORT_FIRST)
                return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "no free ports from %d to %d", PORT_FIRST,
                                  PORT_LAST);
        } while (!port_is_free((uint16_t)last));
        ports[i] = (uint16_t)last;
    }
    return lapse_ok();
}
