/* The machine that a report is of. What can't be found out is "unknown". */
#include <errno.h>
#include <mntent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/harness/report_internal.h"

static void read_processor(char *out, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(out, size, "unknown");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL || colon[1] == '\0')
            continue;
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(out, size, "%s", colon + 2);
        break;
    }
    if (file != NULL)
        fclose(file);
}

/* Of the directory that data is kept in: the mount with the longest prefix of its path. */
static void read_file_system(char *out, size_t size)
{
    const char *parent = getenv("TMPDIR");
    char path[4096], buffer[1024];
    struct mntent entry;
    size_t longest = 0;
    snprintf(out, size, "unknown");
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    if (mounts == NULL)
        return;
    if (realpath(parent != NULL && *parent != '\0' ? parent : "/tmp", path) == NULL)
        path[0] = '\0';
    while (getmntent_r(mounts, &entry, buffer, sizeof buffer) != NULL) {
        size_t len = strlen(entry.mnt_dir);
        bool below = strncmp(path, entry.mnt_dir, len) == 0 && (len == 1 || path[len] == '/' || path[len] == '\0');
        if (below && len >= longest) {
            longest = len;
            snprintf(out, size, "%s", entry.mnt_type);
        }
    }
    endmntent(mounts);
}

void report_machine_read(struct report_machine *machine)
{
    struct utsname kernel;
    machine->cores = sysconf(_SC_NPROCESSORS_ONLN);
    machine->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (uname(&kernel) == 0)
        snprintf(machine->kernel, sizeof machine->kernel, "%.20s %.100s", kernel.sysname, kernel.release);
    else
        snprintf(machine->kernel, sizeof machine->kernel, "unknown");
    read_processor(machine->processor, sizeof machine->processor);
    read_file_system(machine->file_system, sizeof machine->file_system);
}
