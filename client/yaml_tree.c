#include "client/yaml_tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/check.h"

/* Of a message: the rest is for what is wrong. */
#define FILE_SHOWN_MAX 120

struct chunk {
    struct chunk *next;
    max_align_t memory[];
};

struct yaml_tree {
    char *file;
    struct yaml_at *root;
    struct chunk *chunks;
};

/* One reading of a document. */
struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
    struct yaml_tree *tree;
    uint32_t nodes;
    struct slice bytes;
    struct lapse_error *error;
};

void *yaml_memory(struct yaml_tree *tree, size_t size)
{
    struct chunk *chunk = mem_calloc(1, sizeof *chunk + size);
    chunk->next = tree->chunks;
    tree->chunks = chunk;
    return chunk->memory;
}

void yaml_tree_free(struct yaml_tree *tree)
{
    if (tree == NULL)
        return;
    while (tree->chunks != NULL) {
        struct chunk *chunk = tree->chunks;
        tree->chunks = chunk->next;
        free(chunk);
    }
    free(tree->file);
    free(tree);
}

const struct yaml_at *yaml_root(const struct yaml_tree *tree)
{
    return tree->root;
}

const char *yaml_file(const struct yaml_tree *tree)
{
    return tree->file;
}

const char *yaml_kind_name(enum yaml_kind kind)
{
    return kind == YAML_IS_TEXT ? "a text" : kind == YAML_IS_LIST ? "a list" : "a map";
}

const struct yaml_at *yaml_member(const struct yaml_at *map, const char *key)
{
    for (const struct yaml_at *at = map->first; at != NULL; at = at->next)
        if (slice_equal(at->key->text, slice_str(key)))
            return at;
    return NULL;
}

/* ---- What is wrong, and where */

static lapse_result fail_at(const struct yaml_tree *tree, uint32_t line, uint32_t column, struct lapse_error *error,
                            const char *format, va_list args)
{
    char what[LAPSE_ERROR_MESSAGE_SIZE];
    vsnprintf(what, sizeof what, format, args);
    if (line == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%.*s: %s", FILE_SHOWN_MAX, tree->file, what);
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%.*s:%u:%u: %s", FILE_SHOWN_MAX, tree->file, line, column, what);
}

lapse_result yaml_fail(const struct yaml_tree *tree, const struct yaml_at *at, struct lapse_error *error,
                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    lapse_result result = fail_at(tree, at == NULL ? 0 : at->line, at == NULL ? 0 : at->column, error, format, args);
    va_end(args);
    return result;
}

LAPSE_PRINTF(3, 4)
static lapse_result fail_mark(struct reader *reader, yaml_mark_t mark, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    lapse_result result =
        fail_at(reader->tree, (uint32_t)mark.line + 1, (uint32_t)mark.column + 1, reader->error, format, args);
    va_end(args);
    return result;
}

/* Bytes that are no text are found before lines are counted. */
static yaml_mark_t mark_at(const struct reader *reader, size_t offset)
{
    yaml_mark_t mark = {.index = offset};
    for (size_t i = 0; i < offset && i < reader->bytes.len; i++) {
        bool newline = reader->bytes.data[i] == '\n';
        mark.line += newline;
        mark.column = newline ? 0 : mark.column + ((reader->bytes.data[i] & 0xC0) != 0x80);
    }
    return mark;
}

/* libyaml's own words, and what people mostly mean where they stumble. */
static lapse_result syntax_error(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    const char *problem = parser->problem == NULL ? "not YAML" : parser->problem;
    yaml_mark_t mark = parser->problem_mark;
    CHECK(parser->error != YAML_MEMORY_ERROR);
    if (parser->error == YAML_READER_ERROR)
        mark = mark_at(reader, parser->problem_offset);
    if (strstr(problem, "alias") != NULL || (parser->context != NULL && strstr(parser->context, "alias") != NULL))
        return fail_mark(reader, mark, "put quotes around a text that begins with an asterisk: \"*\"");
    if (strstr(problem, "cannot start any token") != NULL)
        return fail_mark(reader, mark, "%s; indent with blanks, and put quotes around texts that begin so", problem);
    return fail_mark(reader, mark, "%s%s%s", problem, parser->context == NULL ? "" : " ",
                     parser->context == NULL ? "" : parser->context);
}

/* ---- Events */

static lapse_result next_event(struct reader *reader)
{
    if (reader->has_event)
        yaml_event_delete(&reader->event);
    reader->has_event = yaml_parser_parse(&reader->parser, &reader->event) != 0;
    return reader->has_event ? lapse_ok() : syntax_error(reader);
}

static lapse_result refuse_names(struct reader *reader, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor != NULL)
        return fail_mark(reader, reader->event.start_mark, "anchors (&name) are not used here: write it out");
    if (tag != NULL)
        return fail_mark(reader, reader->event.start_mark,
                         "tags (!name) are not used here: quote a text that begins with \"!\"");
    return lapse_ok();
}

static lapse_result event_check(struct reader *reader)
{
    const yaml_event_t *event = &reader->event;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return refuse_names(reader, event->data.scalar.anchor, event->data.scalar.tag);
    case YAML_SEQUENCE_START_EVENT:
        return refuse_names(reader, event->data.sequence_start.anchor, event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return refuse_names(reader, event->data.mapping_start.anchor, event->data.mapping_start.tag);
    default:
        return fail_mark(reader, event->start_mark,
                         "aliases (*name) are not used here: quote a text that begins with \"*\"");
    }
}

static lapse_result node_new(struct reader *reader, uint32_t depth, struct yaml_at **node)
{
    yaml_mark_t mark = reader->event.start_mark;
    lapse_result result = event_check(reader);
    if (!lapse_is_ok(result))
        return result;
    if (depth > LIMIT_YAML_DEPTH)
        return fail_mark(reader, mark, "nested more than %u deep", LIMIT_YAML_DEPTH);
    if (++reader->nodes > LIMIT_YAML_NODES)
        return fail_mark(reader, mark, "more than %u values in one file", LIMIT_YAML_NODES);
    *node = yaml_memory(reader->tree, sizeof **node);
    (*node)->line = (uint32_t)mark.line + 1;
    (*node)->column = (uint32_t)mark.column + 1;
    return lapse_ok();
}

/* ---- The tree. The depth is bounded, so it is built by recursion. */

static lapse_result value_read(struct reader *reader, uint32_t depth, struct yaml_at **node);

static void text_take(struct reader *reader, struct yaml_at *node)
{
    const yaml_event_t *event = &reader->event;
    size_t len = event->data.scalar.length;
    uint8_t *text = yaml_memory(reader->tree, len + 1);
    memcpy(text, event->data.scalar.value, len);
    node->text = slice_of(text, len);
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static lapse_result list_read(struct reader *reader, uint32_t depth, struct yaml_at *list)
{
    struct yaml_at **last = &list->first;
    lapse_result result = next_event(reader);
    for (; lapse_is_ok(result) && reader->event.type != YAML_SEQUENCE_END_EVENT; list->n++) {
        result = value_read(reader, depth + 1, last);
        if (!lapse_is_ok(result))
            break;
        last = &(*last)->next;
        result = next_event(reader);
    }
    return result;
}

static lapse_result key_read(struct reader *reader, uint32_t depth, const struct yaml_at *map, struct yaml_at **key)
{
    lapse_result result = node_new(reader, depth, key);
    if (!lapse_is_ok(result))
        return result;
    if (reader->event.type != YAML_SCALAR_EVENT)
        return yaml_fail(reader->tree, *key, reader->error, "a key is a word, not a list or a map");
    text_take(reader, *key);
    if (map->n == LIMIT_YAML_KEYS)
        return yaml_fail(reader->tree, *key, reader->error, "more than %u keys in one map", LIMIT_YAML_KEYS);
    if (memchr((*key)->text.data, '\0', (*key)->text.len) != NULL || !slice_is_text((*key)->text, false))
        return yaml_fail(reader->tree, *key, reader->error, "a key has unprintable characters");
    const struct yaml_at *before = yaml_member(map, (const char *)(*key)->text.data);
    if (before == NULL)
        return lapse_ok();
    return yaml_fail(reader->tree, *key, reader->error, "\"%.60s\" is here twice: first in line %u",
                     (const char *)(*key)->text.data, before->key->line);
}

static lapse_result map_read(struct reader *reader, uint32_t depth, struct yaml_at *map)
{
    struct yaml_at **last = &map->first, *key;
    lapse_result result = next_event(reader);
    for (; lapse_is_ok(result) && reader->event.type != YAML_MAPPING_END_EVENT; map->n++) {
        struct yaml_at *value = NULL;
        result = key_read(reader, depth + 1, map, &key);
        if (lapse_is_ok(result))
            result = next_event(reader);
        if (lapse_is_ok(result))
            result = value_read(reader, depth + 1, &value);
        if (!lapse_is_ok(result))
            break;
        value->key = key;
        *last = value;
        last = &value->next;
        result = next_event(reader);
    }
    return result;
}

static lapse_result value_read(struct reader *reader, uint32_t depth, struct yaml_at **node)
{
    struct yaml_at *made;
    lapse_result result = node_new(reader, depth, &made);
    if (!lapse_is_ok(result))
        return result;
    if (reader->event.type == YAML_SCALAR_EVENT) {
        made->kind = YAML_IS_TEXT;
        text_take(reader, made);
    } else if (reader->event.type == YAML_SEQUENCE_START_EVENT) {
        made->kind = YAML_IS_LIST;
        result = list_read(reader, depth, made);
    } else {
        made->kind = YAML_IS_MAP;
        result = map_read(reader, depth, made);
    }
    if (lapse_is_ok(result))
        *node = made;
    return result;
}

/* ---- The document */

static lapse_result document_read(struct reader *reader)
{
    lapse_result result = next_event(reader); /* the stream's beginning */
    if (lapse_is_ok(result))
        result = next_event(reader);
    if (!lapse_is_ok(result))
        return result;
    if (reader->event.type == YAML_STREAM_END_EVENT)
        return fail_mark(reader, reader->event.start_mark, "the file is empty");
    result = next_event(reader);
    if (lapse_is_ok(result))
        result = value_read(reader, 1, &reader->tree->root);
    if (lapse_is_ok(result))
        result = next_event(reader); /* the document's end */
    if (lapse_is_ok(result))
        result = next_event(reader);
    if (lapse_is_ok(result) && reader->event.type != YAML_STREAM_END_EVENT)
        result = fail_mark(reader, reader->event.start_mark, "a second document: a file holds one");
    return result;
}

lapse_result yaml_parse(struct slice bytes, const char *file, struct yaml_tree **tree, struct lapse_error *error)
{
    struct reader reader = {.tree = mem_calloc(1, sizeof *reader.tree), .bytes = bytes, .error = error};
    lapse_result result;
    reader.tree->file = mem_strdup(file);
    CHECK(yaml_parser_initialize(&reader.parser));
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, bytes.data == NULL ? (const uint8_t *)"" : bytes.data, bytes.len);
    if (bytes.len > LIMIT_YAML_FILE)
        result = yaml_fail(reader.tree, NULL, error, "longer than %u bytes", LIMIT_YAML_FILE);
    else
        result = document_read(&reader);
    if (reader.has_event)
        yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    if (lapse_is_ok(result))
        *tree = reader.tree;
    else
        yaml_tree_free(reader.tree);
    return result;
}

lapse_result yaml_read_file(const char *file, struct yaml_tree **tree, struct lapse_error *error)
{
    FILE *in = fopen(file, "rbe");
    if (in == NULL)
        return lapse_fail(error, errno == ENOENT ? LAPSE_NOT_FOUND : LAPSE_INVALID_ARGUMENT, "%.*s: %s", FILE_SHOWN_MAX,
                          file, strerror(errno));
    uint8_t *bytes = mem_alloc(LIMIT_YAML_FILE + 1);
    errno = 0;
    size_t len = fread(bytes, 1, LIMIT_YAML_FILE + 1, in);
    lapse_result result =
        ferror(in) ? lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%.*s: %s", FILE_SHOWN_MAX, file, strerror(errno))
                   : yaml_parse(slice_of(bytes, len), file, tree, error);
    free(bytes);
    fclose(in);
    return result;
}
