/* The file is text, small, and replaced as a whole:
 *
 *   lapse-homes 1
 *   own 0123456789abcdef
 *   2 fedcba9876543210      a member's id and its home; any number of such lines
 */
#include "raft/homes.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>

#include "base/check.h"

#define NAME "homes"
#define NAME_TMP "homes.tmp"
#define HEAD "lapse-homes 1\nown %16" SCNx64 "\n%n"
#define FILE_BYTES_MAX (64u * (LIMIT_PEERS + 2))

static size_t print(const struct homes *homes, char text[FILE_BYTES_MAX])
{
    int len = snprintf(text, FILE_BYTES_MAX, "lapse-homes 1\nown %016" PRIx64 "\n", homes->own);
    for (uint32_t i = 0; i < homes->n; i++)
        len += snprintf(text + len, FILE_BYTES_MAX - (size_t)len, "%" PRIu64 " %016" PRIx64 "\n", homes->known[i].node,
                        homes->known[i].id);
    CHECK(len > 0 && (size_t)len < FILE_BYTES_MAX);
    return (size_t)len;
}

static bool parse(const char *text, struct homes *homes)
{
    int used = 0;
    char again[FILE_BYTES_MAX];
    if (sscanf(text, HEAD, &homes->own, &used) != 1 || used == 0)
        return false;
    for (const char *at = text + used; *at != '\0' && homes->n < LIMIT_PEERS; at += used) {
        struct home *home = &homes->known[homes->n];
        used = 0;
        if (sscanf(at, "%" SCNu64 " %16" SCNx64 "\n%n", &home->node, &home->id, &used) != 2 || used == 0)
            return false;
        homes->n++;
    }
    /* Only what we would write ourselves. */
    return homes->own != 0 && print(homes, again) == strlen(text) && strcmp(again, text) == 0;
}

static lapse_result write_tmp(struct homes *homes, struct lapse_error *error)
{
    const struct disk_ops *ops = homes->disk->ops;
    struct disk_file *file = NULL;
    char text[FILE_BYTES_MAX];
    size_t len = print(homes, text);
    lapse_result result = ops->open(homes->disk, NAME_TMP, true, &file, error);
    if (!lapse_is_ok(result))
        return result;
    result = ops->truncate(homes->disk, file, 0, error);
    if (lapse_is_ok(result))
        result = ops->write(homes->disk, file, 0, text, len, error);
    if (lapse_is_ok(result))
        result = ops->sync(homes->disk, file, error);
    ops->close(homes->disk, file);
    return result;
}

static lapse_result save(struct homes *homes, struct lapse_error *error)
{
    const struct disk_ops *ops = homes->disk->ops;
    lapse_result result = write_tmp(homes, error);
    if (lapse_is_ok(result))
        result = ops->rename(homes->disk, NAME_TMP, NAME, error);
    return lapse_is_ok(result) ? ops->sync_directory(homes->disk, error) : result;
}

static lapse_result load(struct homes *homes, struct disk_file *file, struct lapse_error *error)
{
    char text[FILE_BYTES_MAX] = "";
    uint64_t size = 0;
    lapse_result result = homes->disk->ops->size(homes->disk, file, &size, error);
    if (lapse_is_ok(result) && size < sizeof text)
        result = homes->disk->ops->read(homes->disk, file, 0, text, (size_t)size, error);
    if (lapse_is_ok(result) && (size >= sizeof text || !parse(text, homes)))
        result = lapse_fail(error, LAPSE_DATA_LOSS, NAME ": it does not verify: replace this node under a new id");
    return result;
}

lapse_result homes_open(struct homes *homes, struct disk *disk, struct lapse_error *error)
{
    struct disk_file *file = NULL;
    struct homes opened = {.disk = disk};
    lapse_result result = disk->ops->open(disk, NAME, false, &file, error);
    if (result.code == LAPSE_NOT_FOUND) {
        while (opened.own == 0)
            CHECK(RAND_bytes((unsigned char *)&opened.own, sizeof opened.own) == 1);
        result = save(&opened, error);
    } else if (lapse_is_ok(result)) {
        result = load(&opened, file, error);
        disk->ops->close(disk, file);
    }
    if (lapse_is_ok(result))
        *homes = opened;
    return result;
}

lapse_result homes_check(struct homes *homes, uint64_t node, uint64_t home, struct lapse_error *error)
{
    uint32_t i = 0;
    while (i < homes->n && homes->known[i].node != node)
        i++;
    if (home == 0 || (i < homes->n && homes->known[i].id != home))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "node %" PRIu64
                          " has another data directory than before, and has forgotten what it voted for "
                          "and acknowledged: remove it, and let a new node join under a new id",
                          node);
    if (i < homes->n)
        return lapse_ok();
    if (homes->n == LIMIT_PEERS)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "more than %u peers are known", LIMIT_PEERS);
    homes->known[homes->n++] = (struct home){node, home};
    lapse_result result = save(homes, error);
    if (!lapse_is_ok(result))
        homes->n--;
    return result;
}

void homes_forget(struct homes *homes, uint64_t node)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < homes->n; i++) {
        if (homes->known[i].node != node)
            homes->known[kept++] = homes->known[i];
    }
    homes->n = kept;
}
