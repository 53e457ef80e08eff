#include "store/strings.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/hash.h"

#define HEADER offsetof(struct string_cell, bytes)
#define SMALLEST_CELL 16u

static uint64_t hash_text(const struct strings *strings, struct slice text)
{
    return XXH3_64bits_withSeed(text.data, text.len, strings->seed);
}

static uint64_t hash_item(const void *owner, uint32_t id)
{
    const struct strings *strings = owner;
    return hash_text(strings, string_at(strings->chunks, id));
}

static uint32_t *next_item(const void *owner, uint32_t id)
{
    const struct strings *strings = owner;
    return &string_cell(strings->chunks, id)->next;
}

static const void *key_of_item(const void *owner, uint32_t id)
{
    const struct strings *strings = owner;
    return string_cell(strings->chunks, id);
}

static const struct table_ops table_ops = {hash_item, next_item, key_of_item};

/* Cells by four bytes up to 128, then in steps of about an eighth: little is lost at the end of each. */
static uint32_t class_step(uint32_t size)
{
    uint32_t step = size < 128 ? STRING_UNIT : size / 8;
    return (step + STRING_UNIT - 1) / STRING_UNIT * STRING_UNIT;
}

void strings_init(struct strings *strings, uint64_t seed)
{
    memset(strings, 0, sizeof *strings);
    strings->seed = seed;
    strings->n_chunks = 1; /* chunk 0 stays empty: no string has the id 0 */
    strings->chunks_capacity = 16;
    strings->chunks = mem_calloc(strings->chunks_capacity, sizeof strings->chunks[0]);
    uint32_t size = SMALLEST_CELL;
    for (;;) {
        CHECK(strings->n_classes < STRING_CLASSES);
        strings->classes[strings->n_classes++].cell_bytes = size;
        if (size >= STRING_BYTES_MAX + HEADER)
            break;
        size += class_step(size);
    }
    table_init(&strings->table, &table_ops, strings);
}

void strings_free(struct strings *strings)
{
    for (uint32_t i = 1; i < strings->n_chunks; i++)
        free(strings->chunks[i]);
    free(strings->chunks);
    free(strings->queue);
    table_free(&strings->table);
    memset(strings, 0, sizeof *strings);
}

static uint32_t class_of(const struct strings *strings, size_t bytes)
{
    uint32_t class = bytes <= SMALLEST_CELL ? 0
                     : bytes <= 128         ? (uint32_t)((bytes - SMALLEST_CELL + STRING_UNIT - 1) / STRING_UNIT)
                                            : (128 - SMALLEST_CELL) / STRING_UNIT;
    while (strings->classes[class].cell_bytes < bytes)
        class ++;
    return class;
}

static void add_chunk(struct strings *strings, uint32_t class)
{
    if (strings->n_chunks == strings->chunks_capacity) {
        strings->chunks_capacity *= 2;
        strings->chunks = mem_realloc(strings->chunks, strings->chunks_capacity * sizeof strings->chunks[0]);
    }
    CHECK(strings->n_chunks < UINT32_MAX / STRING_CHUNK_UNITS);
    strings->chunks[strings->n_chunks] = mem_alloc(STRING_CHUNK_BYTES);
    strings->classes[class].fresh = strings->n_chunks * STRING_CHUNK_UNITS;
    strings->classes[class].fresh_left = STRING_CHUNK_BYTES / strings->classes[class].cell_bytes;
    strings->n_chunks++;
}

static string_id take_cell(struct strings *strings, uint32_t class)
{
    string_id id = strings->classes[class].free;
    if (id != 0) {
        strings->classes[class].free = string_cell(strings->chunks, id)->next;
        return id;
    }
    if (strings->classes[class].fresh_left == 0)
        add_chunk(strings, class);
    id = strings->classes[class].fresh;
    strings->classes[class].fresh += strings->classes[class].cell_bytes / STRING_UNIT;
    strings->classes[class].fresh_left--;
    return id;
}

static string_id find_hashed(const struct strings *strings, struct slice text, uint64_t hash)
{
    string_id id = table_first(&strings->table, hash);
    while (id != 0) {
        const struct string_cell *cell = string_cell(strings->chunks, id);
        if (cell->len == text.len && memcmp(cell->bytes, text.data, text.len) == 0)
            return id;
        id = cell->next;
    }
    return 0;
}

struct table_path strings_path(const struct strings *strings, struct slice text)
{
    return table_path(&strings->table, hash_text(strings, text));
}

string_id strings_find(const struct strings *strings, struct slice text)
{
    return text.len == 0 ? 0 : find_hashed(strings, text, hash_text(strings, text));
}

string_id strings_ref(struct strings *strings, string_id id)
{
    if (id != 0)
        string_cell(strings->chunks, id)->refs++;
    return id;
}

string_id strings_intern(struct strings *strings, struct slice text)
{
    if (text.len == 0)
        return 0;
    CHECK(text.len <= STRING_BYTES_MAX);
    uint64_t hash = hash_text(strings, text);
    string_id id = find_hashed(strings, text, hash);
    if (id != 0)
        return strings_ref(strings, id);
    uint32_t class = class_of(strings, HEADER + text.len);
    id = take_cell(strings, class);
    struct string_cell *cell = string_cell(strings->chunks, id);
    *cell = (struct string_cell){.refs = 1, .len = (uint16_t)text.len};
    memcpy(cell->bytes, text.data, text.len);
    table_insert(&strings->table, id, hash);
    return id;
}

static void release(struct strings *strings, string_id id)
{
    struct string_cell *cell = string_cell(strings->chunks, id);
    uint32_t class = class_of(strings, HEADER + cell->len);
    table_remove(&strings->table, id, hash_item(strings, id));
    cell->next = strings->classes[class].free;
    strings->classes[class].free = id;
}

static void enqueue(struct strings *strings, string_id id)
{
    if (strings->queue_len == strings->queue_capacity) {
        strings->queue_capacity = strings->queue_capacity == 0 ? 64 : strings->queue_capacity * 2;
        strings->queue = mem_realloc(strings->queue, strings->queue_capacity * sizeof strings->queue[0]);
    }
    strings->queue[strings->queue_len++] = id;
    string_cell(strings->chunks, id)->queued = 1;
}

void strings_unref(struct strings *strings, string_id id)
{
    if (id == 0)
        return;
    struct string_cell *cell = string_cell(strings->chunks, id);
    CHECK(cell->refs > 0);
    if (--cell->refs > 0 || cell->queued)
        return;
    if (strings->frozen)
        enqueue(strings, id);
    else
        release(strings, id);
}

void strings_freeze(struct strings *strings)
{
    CHECK(!strings->frozen);
    strings->frozen = true;
}

void strings_thaw(struct strings *strings)
{
    CHECK(strings->frozen);
    strings->frozen = false;
}

void strings_drain(struct strings *strings, uint32_t max)
{
    for (; max > 0 && strings->queue_len > 0 && !strings->frozen; max--) {
        string_id id = strings->queue[--strings->queue_len];
        struct string_cell *cell = string_cell(strings->chunks, id);
        cell->queued = 0;
        if (cell->refs == 0)
            release(strings, id);
    }
    if (strings->queue_len == 0 && strings->queue_capacity > 0) {
        free(strings->queue);
        strings->queue = NULL;
        strings->queue_capacity = 0;
    }
}

size_t strings_bytes(const struct strings *strings)
{
    return (size_t)(strings->n_chunks - 1) * STRING_CHUNK_BYTES + table_bytes(&strings->table) +
           strings->queue_capacity * sizeof strings->queue[0];
}
