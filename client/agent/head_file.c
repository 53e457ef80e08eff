#include "client/agent/head_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "client/audit_line.h"
#include "client/audit_schema.h"
#include "client/codec.h"

#define PATH_SIZE 640
#define LINE_MAX 4096

struct head_file {
    struct agent_job job;
    struct agent_pool *pool;
    char path[PATH_SIZE], fresh[PATH_SIZE], directory[PATH_SIZE];
    pthread_mutex_t lock; /* guards the rest */
    uint8_t bytes[LAPSE_GUARD_HEAD_MAX];
    size_t len;
    bool writing; /* the job is on its way */
    bool changed; /* since it began */
};

/* ---- Reading */

static lapse_result take_line(struct head_file *file, const char *text, size_t len, struct lapse_error *error)
{
    struct audit_line line;
    struct buf bytes;
    struct lapse_error inner;
    lapse_result result = audit_line_parse(text, len, &line, &inner);
    if (!lapse_is_ok(result))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s: no kept head: %s", file->path, inner.message);
    buf_init(&bytes, sizeof file->bytes);
    if (line.kind != AUDIT_LINE_HEAD || !lapse_is_ok(codec_encode(&schema_signed_head, &line.head, &bytes))) {
        result = lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s: no kept head; --accept-new-history puts it aside",
                            file->path);
    } else {
        memcpy(file->bytes, bytes.data, bytes.len);
        file->len = bytes.len;
    }
    buf_free(&bytes);
    audit_line_release(&line);
    return result;
}

static lapse_result load(struct head_file *file, struct lapse_error *error)
{
    char text[LINE_MAX];
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return lapse_ok();
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    int cause = errno;
    if (fd >= 0)
        (void)close(fd);
    if (n < 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: can't be read: %s", file->path, strerror(cause));
    return take_line(file, text, (size_t)n, error);
}

/* It is evidence of what the cluster has lost. */
static lapse_result put_aside(const struct head_file *file, struct lapse_error *error)
{
    char aside[PATH_SIZE + 32];
    (void)snprintf(aside, sizeof aside, "%s.before-%lld", file->path, (long long)(clock_wall_ms() / 1000));
    if (rename(file->path, aside) != 0 && errno != ENOENT)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: can't be put aside: %s", file->path, strerror(errno));
    return lapse_ok();
}

/* ---- Writing */

static char *line_of(struct slice bytes)
{
    struct lapse_signed_head head;
    if (!lapse_is_ok(codec_decode(&schema_signed_head, bytes, &head, NULL)))
        return NULL;
    json_t *json = audit_head_line(&head);
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    json_decref(json);
    codec_release(&schema_signed_head, &head);
    return text;
}

static bool write_all(int fd, const char *text)
{
    size_t len = strlen(text);
    return write(fd, text, len) == (ssize_t)len && write(fd, "\n", 1) == 1 && fsync(fd) == 0;
}

static bool sync_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        (void)close(fd);
    return done;
}

static bool store(const struct head_file *file, const char *text)
{
    int fd = open(file->fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool done = fd >= 0 && write_all(fd, text);
    if (fd >= 0)
        (void)close(fd);
    return done && rename(file->fresh, file->path) == 0 && sync_directory(file->directory);
}

static void write_head(const struct head_file *file, struct slice bytes)
{
    char *text = line_of(bytes);
    if (text == NULL)
        log_error("a head of the audit log is none; it isn't kept");
    else if (!store(file, text))
        log_error("a head of the audit log can't be kept", LOG_STR("file", file->path),
                  LOG_STR("error", strerror(errno)));
    free(text);
}

/* On a worker: until nothing has changed meanwhile. */
static void run(struct agent_job *job)
{
    struct head_file *file = CONTAINER_OF(job, struct head_file, job);
    uint8_t bytes[LAPSE_GUARD_HEAD_MAX];
    CHECK(pthread_mutex_lock(&file->lock) == 0);
    while (file->changed) {
        size_t len = file->len;
        memcpy(bytes, file->bytes, len);
        file->changed = false;
        CHECK(pthread_mutex_unlock(&file->lock) == 0);
        write_head(file, slice_of(bytes, len));
        CHECK(pthread_mutex_lock(&file->lock) == 0);
    }
    file->writing = false;
    CHECK(pthread_mutex_unlock(&file->lock) == 0);
}

void head_file_keep(struct head_file *file, struct lapse_bytes head)
{
    CHECK(pthread_mutex_lock(&file->lock) == 0);
    if (head.len <= sizeof file->bytes) {
        memcpy(file->bytes, head.data, head.len);
        file->len = head.len;
        file->changed = true;
    }
    /* A pool that has ended, or has too much waiting, takes none: the next head comes in half a minute. */
    if (file->changed && !file->writing)
        file->writing = agent_pool_submit(file->pool, &file->job);
    CHECK(pthread_mutex_unlock(&file->lock) == 0);
}

/* ---- Its life */

lapse_result head_file_open(const char *directory, bool accept_new, struct agent_pool *pool, struct head_file **made,
                            struct lapse_error *error)
{
    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "point.state-directory: %s: can't be made: %s", directory,
                          strerror(errno));
    struct head_file *file = mem_calloc(1, sizeof *file);
    file->job.run = run;
    file->pool = pool;
    CHECK(pthread_mutex_init(&file->lock, NULL) == 0);
    CHECK(snprintf(file->directory, PATH_SIZE, "%s", directory) < PATH_SIZE);
    CHECK(snprintf(file->path, PATH_SIZE, "%s/" HEAD_FILE_NAME, directory) < PATH_SIZE);
    CHECK(snprintf(file->fresh, PATH_SIZE, "%s/" HEAD_FILE_NAME ".new", directory) < PATH_SIZE);
    lapse_result result = accept_new ? put_aside(file, error) : load(file, error);
    if (lapse_is_ok(result))
        *made = file;
    else
        head_file_free(file);
    return result;
}

struct lapse_bytes head_file_kept(const struct head_file *file)
{
    return (struct lapse_bytes){file->bytes, file->len};
}

void head_file_free(struct head_file *file)
{
    if (file == NULL)
        return;
    CHECK(!file->writing);
    CHECK(pthread_mutex_destroy(&file->lock) == 0);
    free(file);
}
