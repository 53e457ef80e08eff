/* The files of sessions: one each, JSON, in a directory that lasts as long as processes do (/run). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "client/agent/local_sessions.h"

#define PATH_SIZE 640
#define SUFFIX ".json"

/* Processes of another boot are none of ours, whatever their numbers; "" when the kernel doesn't say. */
static void read_boot_id(char out[64])
{
    out[0] = '\0';
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, 63);
    if (fd >= 0)
        (void)close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

static bool is_id(const char *text)
{
    return strlen(text) == LOCAL_SESSION_ID_SIZE - 1 && strspn(text, "0123456789abcdef") == LOCAL_SESSION_ID_SIZE - 1;
}

static void path_of(const char *directory, const char *id, const char *suffix, char path[PATH_SIZE])
{
    CHECK(is_id(id));
    CHECK(snprintf(path, PATH_SIZE, "%s/%s%s", directory, id, suffix) < PATH_SIZE);
}

/* ---- Writing */

static json_t *pack(const struct local_record *record)
{
    char boot[64];
    read_boot_id(boot);
    return json_pack("{s:s,s:s,s:s,s:b,s:i,s:I}", "boot", boot, "grant", record->grant, "description",
                     record->description, "end_processes", record->end_processes, "pid", (int)record->client.pid,
                     "start", (json_int_t)record->client.start);
}

lapse_result local_record_write(const char *directory, const struct local_record *record, struct lapse_error *error)
{
    char path[PATH_SIZE], fresh[PATH_SIZE];
    lapse_result result = lapse_ok();
    path_of(directory, record->id, SUFFIX, path);
    path_of(directory, record->id, ".new", fresh);
    json_t *object = pack(record);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (object == NULL || fd < 0 || json_dumpfd(object, fd, JSON_COMPACT) != 0 || rename(fresh, path) != 0)
        result = lapse_fail(error, LAPSE_UNAVAILABLE, "%s can't be written: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    if (!lapse_is_ok(result))
        (void)unlink(fresh);
    json_decref(object);
    return result;
}

void local_record_remove(const char *directory, const char *id)
{
    char path[PATH_SIZE];
    path_of(directory, id, SUFFIX, path);
    (void)unlink(path);
}

/* ---- Reading */

static bool unpack(const json_t *object, struct local_record *record)
{
    char boot[64];
    const char *there, *grant, *description;
    int end, pid;
    json_int_t start;
    read_boot_id(boot);
    if (json_unpack((json_t *)(uintptr_t)object, "{s:s,s:s,s:s,s:b,s:i,s:I}", "boot", &there, "grant", &grant,
                    "description", &description, "end_processes", &end, "pid", &pid, "start", &start) != 0)
        return false;
    record->end_processes = end != 0;
    record->client = (struct process){.pid = pid, .start = (uint64_t)start};
    return strcmp(there, boot) == 0 && pid > 1 &&
           slice_to_cstr(slice_str(grant), record->grant, sizeof record->grant) &&
           slice_to_cstr(slice_str(description), record->description, sizeof record->description);
}

static bool read_record(const char *directory, const char *name, struct local_record *record)
{
    char path[PATH_SIZE];
    const char *suffix = strchr(name, '.');
    *record = (struct local_record){.end_processes = true};
    if (suffix == NULL || strcmp(suffix, SUFFIX) != 0 ||
        !slice_to_cstr(slice_of(name, (size_t)(suffix - name)), record->id, sizeof record->id) || !is_id(record->id))
        return false;
    path_of(directory, record->id, SUFFIX, path);
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    bool good = object != NULL && unpack(object, record);
    json_decref(object);
    return good;
}

/* Who can write here names processes that will be killed. */
static lapse_result open_directory(const char *directory, DIR **out, struct lapse_error *error)
{
    struct stat there;
    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "local.state: %s can't be made: %s", directory,
                          strerror(errno));
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *opened = fd < 0 ? NULL : fdopendir(fd);
    if (opened == NULL || fstat(fd, &there) != 0 || there.st_uid != geteuid() || (there.st_mode & 022) != 0) {
        if (opened != NULL)
            (void)closedir(opened);
        else if (fd >= 0)
            (void)close(fd);
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "local.state: %s must be a directory of this user that nobody else can write to", directory);
    }
    *out = opened;
    return lapse_ok();
}

lapse_result local_records_load(const char *directory, void (*each)(void *arg, const struct local_record *record),
                                void *arg, struct lapse_error *error)
{
    DIR *opened = NULL;
    struct local_record record;
    const struct dirent *entry;
    lapse_result result = open_directory(directory, &opened, error);
    if (!lapse_is_ok(result))
        return result;
    while ((entry = readdir(opened)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (read_record(directory, entry->d_name, &record))
            each(arg, &record);
        else if (strlen(entry->d_name) >= LOCAL_SESSION_ID_SIZE - 1)
            (void)unlinkat(dirfd(opened), entry->d_name, 0);
    }
    (void)closedir(opened);
    return lapse_ok();
}
