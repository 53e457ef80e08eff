/* Interned, reference-counted strings: equal bytes are kept once, under one u32. Internal to store/.
 *
 *   id = chunk * 16384 + unit;   bytes at chunks[chunk] + unit * 4
 *
 * A chunk (64 KiB) is cut into cells of one size class and never moves, so that a frozen view needs no more than a copy
 * of the chunk directory. While frozen, strings that lose their last reference are kept: they are queued and freed a
 * few at a time after the thaw, so that ending a view costs no pause either. */
#ifndef LAPSE_STORE_STRINGS_H
#define LAPSE_STORE_STRINGS_H

#include "base/bytes.h"
#include "store/table.h"

typedef uint32_t string_id; /* 0: the empty string */

#define STRING_CHUNK_BYTES 65536u
#define STRING_UNIT 4u
#define STRING_CHUNK_UNITS (STRING_CHUNK_BYTES / STRING_UNIT)
/* The longest is what a grant's shared terms can grow to: 16 labels, 16 actions, 8 networks, a binding, four steps. */
#define STRING_BYTES_MAX 10900u
#define STRING_CLASSES 80u

/* `length` and `bytes` are constant while the string lives; only the owner's thread touches the rest. */
struct string_cell {
    uint32_t refs : 31;
    uint32_t queued : 1; /* on the list of strings to look at after the thaw */
    uint32_t next;       /* in the hash chain; in the free list when free */
    uint16_t len;
    uint8_t bytes[];
};
_Static_assert(offsetof(struct string_cell, bytes) == 10, "most strings are short");

struct strings {
    uint8_t **chunks;
    uint32_t n_chunks, chunks_capacity;
    uint64_t seed;
    struct table table;
    struct {
        uint32_t cell_bytes;
        string_id free;
        string_id fresh; /* the next cell never used, 0 when the chunk is full */
        uint32_t fresh_left;
    } classes[STRING_CLASSES];
    uint32_t n_classes;
    bool frozen;
    string_id *queue;
    size_t queue_len, queue_capacity;
};

void strings_init(struct strings *strings, uint64_t seed);
void strings_free(struct strings *strings);

/* The id of `text` (at most STRING_BYTES_MAX), with one more reference. */
string_id strings_intern(struct strings *strings, struct slice text);
/* One more reference to a string that has one. */
string_id strings_ref(struct strings *strings, string_id id);
/* The id without a reference, 0 when nobody holds the string. */
string_id strings_find(const struct strings *strings, struct slice text);
/* The path ahead of a strings_intern(text) or strings_find(text). */
struct table_path strings_path(const struct strings *strings, struct slice text);
void strings_unref(struct strings *strings, string_id id);

void strings_freeze(struct strings *strings);
void strings_thaw(struct strings *strings);
/* Frees at most `max` of the strings that were kept for a view. */
void strings_drain(struct strings *strings, uint32_t max);

size_t strings_bytes(const struct strings *strings);

static inline struct string_cell *string_cell(uint8_t *const *chunks, string_id id)
{
    return (struct string_cell *)(void *)(chunks[id / STRING_CHUNK_UNITS] +
                                          (size_t)(id % STRING_CHUNK_UNITS) * STRING_UNIT);
}

/* Works on the directory of the store or on the copy that a view holds. */
static inline struct slice string_at(uint8_t *const *chunks, string_id id)
{
    if (id == 0)
        return (struct slice){0};
    const struct string_cell *cell = string_cell(chunks, id);
    return slice_of(cell->bytes, cell->len);
}

#endif
