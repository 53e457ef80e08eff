#include "raft/log_cell.h"

#include <stdio.h>

#include "base/check.h"
#include "raft/log_format.h"

struct copy {
    bool valid;
    uint64_t sequence;
    uint8_t value[CELL_VALUE_MAX];
    size_t len;
};

void cell_copy_name(const struct cell *cell, int which, char *name, size_t size)
{
    (void)snprintf(name, size, "%s-%d", cell->name, which);
}

static lapse_result copy_write(struct cell *cell, int which, struct lapse_error *error)
{
    struct slice value = cell_value(cell);
    const struct message_field fields[] = {{1, WIRE_FIXED64, &cell->sequence, NULL}, {2, WIRE_BYTES, NULL, &value}};
    struct buf out;
    buf_init(&out, CELL_SIZE);
    size_t mark = frame_begin(&out);
    fields_encode(&out, fields, ARRAY_LEN(fields));
    (void)frame_end(&out, mark, FRAME_CELL, 0);
    uint8_t sector[CELL_SIZE] = {0};
    memcpy(sector, out.data, out.len);
    buf_free(&out);
    struct disk *disk = cell->disk;
    lapse_result result = disk->ops->write(disk, cell->copies[which], 0, sector, sizeof sector, error);
    if (lapse_is_ok(result))
        result = disk->ops->sync(disk, cell->copies[which], error);
    return result;
}

static bool copy_parse(struct slice sector, struct copy *copy)
{
    struct frame frame;
    struct slice value;
    const struct message_field fields[] = {{1, WIRE_FIXED64, &copy->sequence, NULL}, {2, WIRE_BYTES, NULL, &value}};
    if (!frame_parse(sector, FRAME_CELL, &frame) || !fields_decode(frame.body, fields, ARRAY_LEN(fields)))
        return false;
    if (value.len > sizeof copy->value)
        return false;
    if (value.len > 0)
        memcpy(copy->value, value.data, value.len);
    copy->len = value.len;
    return true;
}

/* A file that is too short counts as a bad copy; one that can't be read at all is an error. */
static lapse_result copy_read(struct cell *cell, int which, struct copy *copy, struct lapse_error *error)
{
    uint8_t sector[CELL_SIZE];
    *copy = (struct copy){0};
    lapse_result result = cell->disk->ops->read(cell->disk, cell->copies[which], 0, sector, sizeof sector, error);
    if (result.code == LAPSE_OUT_OF_RANGE)
        return lapse_ok();
    if (lapse_is_ok(result))
        copy->valid = copy_parse(slice_of(sector, sizeof sector), copy);
    return result;
}

/* The table at the top of log_cell.h. Returns the copy that holds the value, or -1. */
static int cell_choose(const struct copy copies[2], int *stale)
{
    *stale = -1;
    if (!copies[0].valid && !copies[1].valid)
        return -1;
    if (!copies[0].valid || !copies[1].valid) {
        *stale = copies[0].valid ? 1 : 0;
        return 1 - *stale;
    }
    if (copies[0].sequence == copies[1].sequence)
        return copies[0].len == copies[1].len && memcmp(copies[0].value, copies[1].value, copies[0].len) == 0 ? 0 : -1;
    if (copies[0].sequence != copies[1].sequence + 1)
        return -1;
    *stale = 1;
    return 0;
}

static lapse_result cell_read(struct cell *cell, struct lapse_error *error)
{
    struct copy copies[2];
    char name[LOG_NAME_SIZE];
    for (int i = 0; i < 2; i++) {
        lapse_result result = copy_read(cell, i, &copies[i], error);
        if (!lapse_is_ok(result))
            return result;
    }
    int chosen = cell_choose(copies, &cell->stale);
    if (chosen < 0) {
        cell_copy_name(cell, copies[0].valid ? 1 : 0, name, sizeof name);
        return log_corrupt(error, name, 0, "%s",
                           copies[0].valid ? "it contradicts the other copy" : "neither copy verifies");
    }
    cell->sequence = copies[chosen].sequence;
    cell->value_len = copies[chosen].len;
    memcpy(cell->value, copies[chosen].value, sizeof cell->value);
    return lapse_ok();
}

static lapse_result cell_attach(struct cell *cell, struct disk *disk, const char *name, bool create,
                                struct lapse_error *error)
{
    *cell = (struct cell){.name = name, .disk = disk, .stale = -1};
    for (int i = 0; i < 2; i++) {
        char copy[LOG_NAME_SIZE];
        cell_copy_name(cell, i, copy, sizeof copy);
        lapse_result result = disk->ops->open(disk, copy, create, &cell->copies[i], error);
        if (result.code == LAPSE_NOT_FOUND)
            return log_corrupt(error, copy, 0, "the file is missing");
        if (!lapse_is_ok(result))
            return result;
    }
    return lapse_ok();
}

lapse_result cell_create(struct cell *cell, struct disk *disk, const char *name, struct slice value,
                         struct lapse_error *error)
{
    lapse_result result = cell_attach(cell, disk, name, true, error);
    if (lapse_is_ok(result))
        result = cell_write(cell, value, error);
    if (!lapse_is_ok(result))
        cell_close(cell);
    return result;
}

lapse_result cell_open(struct cell *cell, struct disk *disk, const char *name, struct lapse_error *error)
{
    lapse_result result = cell_attach(cell, disk, name, false, error);
    if (lapse_is_ok(result))
        result = cell_read(cell, error);
    if (!lapse_is_ok(result))
        cell_close(cell);
    return result;
}

lapse_result cell_repair(struct cell *cell, struct lapse_error *error)
{
    /* What was read may have been written by a process that died before its sync: make the good copy durable before the
     * other one is touched, or a crash now could take both. */
    int good = cell->stale == 0 ? 1 : 0;
    lapse_result result = cell->disk->ops->sync(cell->disk, cell->copies[good], error);
    if (lapse_is_ok(result))
        result = cell->stale < 0 ? cell->disk->ops->sync(cell->disk, cell->copies[1], error)
                                 : copy_write(cell, cell->stale, error);
    if (lapse_is_ok(result))
        cell->stale = -1;
    return result;
}

lapse_result cell_write(struct cell *cell, struct slice value, struct lapse_error *error)
{
    CHECK(cell->stale < 0);
    CHECK(value.len <= sizeof cell->value);
    cell->sequence++;
    cell->value_len = value.len;
    if (value.len > 0)
        memcpy(cell->value, value.data, value.len);
    lapse_result result = copy_write(cell, 0, error);
    if (lapse_is_ok(result))
        result = copy_write(cell, 1, error);
    return result;
}

void cell_close(struct cell *cell)
{
    for (int i = 0; i < 2; i++) {
        if (cell->disk != NULL && cell->copies[i] != NULL)
            cell->disk->ops->close(cell->disk, cell->copies[i]);
        cell->copies[i] = NULL;
    }
}
