/* From a YAML map to a struct and back, by a table of keys: what may stand there, where it goes, and what the schema
 * calls it. The same table reads, names the nearest known word, finds the place of a fault, and writes. Pure. */
#ifndef LAPSE_CLIENT_YAML_KEYS_H
#define LAPSE_CLIENT_YAML_KEYS_H

#include "client/yaml_tree.h"
#include "store/policy.h"

enum yaml_type {
    YAML_TEXT,        /* struct slice */
    YAML_FLAG,        /* bool: true, false */
    YAML_NUMBER,      /* uint32_t */
    YAML_DURATION,    /* int64_t, milliseconds: 1h30m */
    YAML_TEXTS,       /* struct policy_patterns: a list of texts */
    YAML_CHOICE,      /* int (an enum): the choice's place */
    YAML_CHOICE_FLAG, /* bool: false for the first choice, true for the second */
    YAML_FLAGS,       /* a bool for each choice, side by side: a list of choices */
    YAML_KEYS,        /* a map with keys of its own, of the same struct */
    YAML_STEPS, /* a list of maps, into an array of `size` bytes each, at most `max`; their number at `n_offset` */
    YAML_OWN    /* the table's user reads it */
};

struct yaml_key {
    const char *name;   /* NULL ends a table */
    const char *member; /* what struct policy_place calls it; NULL: as `name` */
    enum yaml_type type;
    size_t offset;
    const char *choices; /* a space between each */
    const struct yaml_key *keys;
    bool required;
    size_t size, n_offset; /* YAML_STEPS */
    uint32_t max;
};

/* Fills in the members of `object` whose keys are there; the others stay as they are. Texts lie in the tree. */
lapse_result yaml_take(struct yaml_tree *tree, const struct yaml_at *map, const struct yaml_key *keys, void *object,
                       struct lapse_error *error) LAPSE_MUST_USE;
/* The node of a member as the schema calls it, and of its item (-1: the whole); NULL when it is not in the map. */
const struct yaml_at *yaml_place(const struct yaml_at *map, const struct yaml_key *keys, const char *member, int item);

/* A member as people write it: "approval.self"; false when it is in no key. */
bool yaml_path(const struct yaml_key *keys, const char *member, char *out, size_t size);

/* Appends "key: value" lines, `indent` blanks in front; nothing for what is empty. yaml_take of it gives the same
 * object. */
lapse_result yaml_put(const struct yaml_key *keys, const void *object, unsigned indent, struct buf *out) LAPSE_MUST_USE;
/* The lines of one key. */
lapse_result yaml_put_key(const struct yaml_key *key, const void *object, unsigned indent,
                          struct buf *out) LAPSE_MUST_USE;

#endif
