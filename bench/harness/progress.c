/* One line on standard error about what is going on: replaced in place on a terminal, elsewhere a new one at times. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/harness/loop.h"
#include "bench/harness/report.h"

#define TERMINAL_NS 100000000
#define FILE_NS INT64_C(10000000000)

static int64_t said_ns;
static char said_what[80];

void progress(const char *what, uint64_t done, uint64_t total)
{
    bool terminal = isatty(STDERR_FILENO) == 1;
    int64_t now = bench_now_ns();
    bool other = strncmp(what, said_what, sizeof said_what - 1) != 0;
    if (terminal ? now - said_ns < TERMINAL_NS && !other : now - said_ns < FILE_NS)
        return;
    said_ns = now;
    snprintf(said_what, sizeof said_what, "%s", what);
    fprintf(stderr, terminal ? "\r\033[K%s" : "%s", what);
    if (total > 0)
        fprintf(stderr, " %" PRIu64 " of %" PRIu64, done, total);
    else if (done > 0)
        fprintf(stderr, " %" PRIu64, done);
    if (!terminal)
        fputc('\n', stderr);
    fflush(stderr);
}

void progress_end(void)
{
    if (said_ns != 0 && isatty(STDERR_FILENO) == 1)
        fputs("\r\033[K", stderr);
    said_ns = 0;
    said_what[0] = '\0';
}
