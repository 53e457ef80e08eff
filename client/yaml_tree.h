/* A YAML document as a tree whose every node knows its line and column: what policies and their tests are read from.
 *
 *   bytes --> libyaml's events --> tree of texts, lists and maps --> yaml_keys.h, by a table of keys
 *
 * A small, plain part of YAML: one document; no anchors, aliases, tags, merged or repeated keys; nothing deeper or
 * longer than the limits. A text is a text: whether "no" or "010" means something is up to the key that it belongs to.
 * Pure. */
#ifndef LAPSE_CLIENT_YAML_TREE_H
#define LAPSE_CLIENT_YAML_TREE_H

#include "base/bytes.h"
#include "base/limits.h"

enum yaml_kind { YAML_IS_TEXT, YAML_IS_LIST, YAML_IS_MAP };

struct yaml_at {
    enum yaml_kind kind;
    bool plain;            /* a text without quotes */
    uint32_t line, column; /* from 1, in characters */
    struct slice text;
    struct yaml_at *key;   /* of a member of a map */
    struct yaml_at *first; /* items of a list, values of a map, in the order of the file */
    struct yaml_at *next;
    uint32_t n; /* how many there are */
};

struct yaml_tree;

/* `file` names the document in messages. INVALID_ARGUMENT: "FILE:LINE:COLUMN: what is wrong". The tree owns all its
 * nodes and texts. */
lapse_result yaml_parse(struct slice bytes, const char *file, struct yaml_tree **tree,
                        struct lapse_error *error) LAPSE_MUST_USE;
/* The same from a file. NOT_FOUND or INVALID_ARGUMENT when it can't be read. */
lapse_result yaml_read_file(const char *file, struct yaml_tree **tree, struct lapse_error *error) LAPSE_MUST_USE;
void yaml_tree_free(struct yaml_tree *tree);
const struct yaml_at *yaml_root(const struct yaml_tree *tree);
const char *yaml_file(const struct yaml_tree *tree);
/* Memory that lives as long as the tree, zeroed. */
void *yaml_memory(struct yaml_tree *tree, size_t size);

/* A map's value; NULL: there is none. */
const struct yaml_at *yaml_member(const struct yaml_at *map, const char *key);
/* INVALID_ARGUMENT with the place in front. `at` NULL: the file as a whole. */
lapse_result yaml_fail(const struct yaml_tree *tree, const struct yaml_at *at, struct lapse_error *error,
                       const char *format, ...) LAPSE_PRINTF(4, 5);
/* "a text", "a list", "a map". */
const char *yaml_kind_name(enum yaml_kind kind);

#endif
