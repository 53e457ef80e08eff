/* Reading by a table of keys: yaml_keys.h. */
#include "client/cli/cli.h"
#include "client/cli/value.h"
#include "client/yaml_keys.h"

#include <stdio.h>

#define SHOWN_MAX 60

/* ---- Texts */

/* Nothing that could move a cursor gets into a message. */
static const char *shown(struct slice text, char out[SHOWN_MAX + 1])
{
    if (!slice_is_text(text, false) || text.len > SHOWN_MAX)
        return "...";
    return slice_to_cstr(text, out, SHOWN_MAX + 1) ? out : "...";
}

static lapse_result no_value(const struct yaml_tree *tree, const struct yaml_at *at, struct lapse_error *error)
{
    return yaml_fail(tree, at, error, "there is no value: give one, or leave the key out");
}

static lapse_result kind_check(const struct yaml_tree *tree, const struct yaml_at *at, enum yaml_kind kind,
                               struct lapse_error *error)
{
    char key[SHOWN_MAX + 1];
    if (at->kind == kind)
        return lapse_ok();
    if (at->kind == YAML_IS_TEXT && at->plain && at->text.len == 0)
        return no_value(tree, at, error);
    return yaml_fail(tree, at, error, "%s%s%s is %s, not %s", at->key == NULL ? "" : "\"",
                     at->key == NULL ? "this" : shown(at->key->text, key), at->key == NULL ? "" : "\"",
                     yaml_kind_name(kind), yaml_kind_name(at->kind));
}

static bool is_word(const struct yaml_at *at, const char *word)
{
    return slice_equal(at->text, slice_str(word));
}

/* Of YAML's ways to say "nothing" each is an oversight here. */
static lapse_result text_check(const struct yaml_tree *tree, const struct yaml_at *at, struct lapse_error *error)
{
    lapse_result result = kind_check(tree, at, YAML_IS_TEXT, error);
    if (!lapse_is_ok(result))
        return result;
    if (at->text.len == 0 || (at->plain && (is_word(at, "~") || is_word(at, "null"))))
        return no_value(tree, at, error);
    if (memchr(at->text.data, '\0', at->text.len) != NULL)
        return yaml_fail(tree, at, error, "a NUL in a text");
    return lapse_ok();
}

/* A text of the tree ends with a NUL, so that it is a C string, too. */
static const char *cstr(const struct yaml_at *at)
{
    return (const char *)at->text.data;
}

static lapse_result take_flag(const struct yaml_tree *tree, const struct yaml_at *at, bool *value,
                              struct lapse_error *error)
{
    char text[SHOWN_MAX + 1];
    lapse_result result = text_check(tree, at, error);
    if (!lapse_is_ok(result))
        return result;
    if (!at->plain || (!is_word(at, "true") && !is_word(at, "false")))
        return yaml_fail(tree, at, error, "\"%s\" is neither true nor false", shown(at->text, text));
    *value = is_word(at, "true");
    return lapse_ok();
}

static lapse_result take_number(const struct yaml_tree *tree, const struct yaml_at *at, uint32_t *value,
                                struct lapse_error *error)
{
    char text[SHOWN_MAX + 1];
    uint64_t number = 0;
    lapse_result result = text_check(tree, at, error);
    if (!lapse_is_ok(result))
        return result;
    bool valid = at->plain && at->text.len <= 10 && (at->text.len == 1 || at->text.data[0] != '0');
    for (size_t i = 0; i < at->text.len && valid; i++) {
        valid = at->text.data[i] >= '0' && at->text.data[i] <= '9';
        number = number * 10 + (uint64_t)(at->text.data[i] - '0');
    }
    if (!valid || number > UINT32_MAX)
        return yaml_fail(tree, at, error, "\"%s\" is not a whole number from 0 to 4294967295", shown(at->text, text));
    *value = (uint32_t)number;
    return lapse_ok();
}

static lapse_result take_duration(const struct yaml_tree *tree, const struct yaml_at *at, int64_t *value,
                                  struct lapse_error *error)
{
    char text[SHOWN_MAX + 1];
    lapse_result result = text_check(tree, at, error);
    if (!lapse_is_ok(result))
        return result;
    if (!value_parse_duration(cstr(at), value))
        return yaml_fail(tree, at, error, "\"%s\" is not a duration like 30s, 15m, 8h or 1h30m", shown(at->text, text));
    return lapse_ok();
}

/* ---- Choices */

static const char *choice_next(const char *choices, char *out, size_t size)
{
    size_t len = strcspn(choices, " ");
    snprintf(out, size, "%.*s", (int)len, choices);
    return choices + len + (choices[len] == ' ');
}

static lapse_result choice_place(const struct yaml_tree *tree, const struct yaml_at *at, const char *choices,
                                 int *place, struct lapse_error *error)
{
    char word[SHOWN_MAX + 1], text[SHOWN_MAX + 1];
    lapse_result result = text_check(tree, at, error);
    int i = 0;
    if (!lapse_is_ok(result))
        return result;
    for (const char *next = choices; *next != '\0'; i++) {
        next = choice_next(next, word, sizeof word);
        if (is_word(at, word)) {
            *place = i;
            return lapse_ok();
        }
    }
    return yaml_fail(tree, at, error, "\"%s\" is not one of: %s", shown(at->text, text), choices);
}

static lapse_result take_flags(const struct yaml_tree *tree, const struct yaml_at *list, const char *choices,
                               bool *flags, struct lapse_error *error)
{
    int place;
    lapse_result result = kind_check(tree, list, YAML_IS_LIST, error);
    for (const struct yaml_at *at = list->first; at != NULL && lapse_is_ok(result); at = at->next) {
        result = choice_place(tree, at, choices, &place, error);
        if (lapse_is_ok(result) && flags[place])
            result = yaml_fail(tree, at, error, "\"%s\" is here twice", cstr(at));
        if (lapse_is_ok(result))
            flags[place] = true;
    }
    return result;
}

/* ---- Lists and maps */

static lapse_result take_texts(struct yaml_tree *tree, const struct yaml_at *list, struct policy_patterns *patterns,
                               struct lapse_error *error)
{
    struct policy_patterns taken = {0};
    lapse_result result = kind_check(tree, list, YAML_IS_LIST, error);
    if (lapse_is_ok(result) && list->n == 0)
        result = yaml_fail(tree, list, error, "an empty list: leave the key out");
    if (!lapse_is_ok(result))
        return result;
    taken.items = yaml_memory(tree, list->n * sizeof *taken.items);
    for (const struct yaml_at *at = list->first; at != NULL; at = at->next) {
        result = text_check(tree, at, error);
        if (!lapse_is_ok(result))
            return result;
        taken.items[taken.n++] = at->text;
    }
    *patterns = taken;
    return lapse_ok();
}

static lapse_result take_steps(struct yaml_tree *tree, const struct yaml_at *list, const struct yaml_key *key,
                               void *object, struct lapse_error *error)
{
    uint32_t *n = (uint32_t *)((char *)object + key->n_offset);
    char *step = (char *)object + key->offset;
    lapse_result result = kind_check(tree, list, YAML_IS_LIST, error);
    if (lapse_is_ok(result) && (list->n == 0 || list->n > key->max))
        result =
            yaml_fail(tree, list, error, list->n == 0 ? "an empty list: leave the key out" : "more than %u", key->max);
    *n = 0;
    for (const struct yaml_at *at = list->first; at != NULL && lapse_is_ok(result); at = at->next, step += key->size) {
        result = yaml_take(tree, at, key->keys, step, error);
        ++*n;
    }
    return result;
}

static lapse_result take_value(struct yaml_tree *tree, const struct yaml_at *at, const struct yaml_key *key,
                               void *object, struct lapse_error *error)
{
    void *value = (char *)object + key->offset;
    int place = 0;
    lapse_result result = lapse_ok();
    switch (key->type) {
    case YAML_TEXT:
        result = text_check(tree, at, error);
        if (lapse_is_ok(result))
            *(struct slice *)value = at->text;
        return result;
    case YAML_FLAG:
        return take_flag(tree, at, value, error);
    case YAML_NUMBER:
        return take_number(tree, at, value, error);
    case YAML_DURATION:
        return take_duration(tree, at, value, error);
    case YAML_TEXTS:
        return take_texts(tree, at, value, error);
    case YAML_CHOICE:
        return choice_place(tree, at, key->choices, value, error);
    case YAML_CHOICE_FLAG:
        result = choice_place(tree, at, key->choices, &place, error);
        *(bool *)value = place == 1;
        return result;
    case YAML_FLAGS:
        return take_flags(tree, at, key->choices, value, error);
    case YAML_KEYS:
        return yaml_take(tree, at, key->keys, object, error);
    case YAML_STEPS:
        return take_steps(tree, at, key, object, error);
    case YAML_OWN:
        return result;
    }
    return result;
}

/* ---- Keys */

static lapse_result unknown_key(const struct yaml_tree *tree, const struct yaml_at *key, const struct yaml_key *keys,
                                struct lapse_error *error)
{
    char text[SHOWN_MAX + 1], known[200] = "";
    const char *best = NULL;
    unsigned nearest = 3;
    size_t len = 0;
    for (; keys->name != NULL; keys++) {
        cli_consider(cstr(key), keys->name, &best, &nearest);
        if (len < sizeof known)
            len += (size_t)snprintf(known + len, sizeof known - len, "%s%s", len == 0 ? "" : ", ", keys->name);
    }
    if (best != NULL)
        return yaml_fail(tree, key, error, "unknown key \"%s\"; did you mean \"%s\"?", shown(key->text, text), best);
    return yaml_fail(tree, key, error, "unknown key \"%s\"; known here: %s", shown(key->text, text), known);
}

lapse_result yaml_take(struct yaml_tree *tree, const struct yaml_at *map, const struct yaml_key *keys, void *object,
                       struct lapse_error *error)
{
    lapse_result result = kind_check(tree, map, YAML_IS_MAP, error);
    if (lapse_is_ok(result) && map->n == 0)
        result = yaml_fail(tree, map, error, "an empty map: leave the key out");
    for (const struct yaml_at *at = map->first; at != NULL && lapse_is_ok(result); at = at->next) {
        const struct yaml_key *key = keys;
        while (key->name != NULL && !slice_equal(at->key->text, slice_str(key->name)))
            key++;
        result = key->name == NULL ? unknown_key(tree, at->key, keys, error) : take_value(tree, at, key, object, error);
    }
    for (const struct yaml_key *key = keys; key->name != NULL && lapse_is_ok(result); key++)
        if (key->required && yaml_member(map, key->name) == NULL)
            result = yaml_fail(tree, map, error, "\"%s\" is missing", key->name);
    return result;
}

/* ---- Places */

static const struct yaml_at *item_of(const struct yaml_at *list, int item)
{
    const struct yaml_at *at = list->kind == YAML_IS_LIST && item >= 0 ? list->first : NULL;
    for (; at != NULL && item > 0; item--)
        at = at->next;
    return at == NULL ? list : at;
}

/* Whether this is the key of a member; "bind_network" is one of the flags of "bind_spiffe_id". */
static bool is_member(const struct yaml_key *key, const char *member)
{
    const char *own = key->member == NULL ? key->name : key->member;
    if (key->type == YAML_FLAGS)
        return strncmp(own, member, strcspn(own, "_") + 1) == 0;
    return strcmp(own, member) == 0;
}

const struct yaml_at *yaml_place(const struct yaml_at *map, const struct yaml_key *keys, const char *member, int item)
{
    for (const struct yaml_key *key = keys; key->name != NULL && map->kind == YAML_IS_MAP; key++) {
        const struct yaml_at *at = yaml_member(map, key->name), *below = NULL;
        if (at != NULL && (is_member(key, member) || strcmp(key->name, member) == 0))
            return item_of(at, item);
        if (at != NULL && key->type == YAML_KEYS)
            below = yaml_place(at, key->keys, member, item);
        if (below != NULL)
            return below;
    }
    return NULL;
}

bool yaml_path(const struct yaml_key *keys, const char *member, char *out, size_t size)
{
    for (const struct yaml_key *key = keys; key->name != NULL; key++) {
        char below[64];
        if (is_member(key, member)) {
            snprintf(out, size, "%s", key->name);
            return true;
        }
        if (key->type == YAML_KEYS && yaml_path(key->keys, member, below, sizeof below)) {
            snprintf(out, size, "%s.%s", key->name, below);
            return true;
        }
    }
    return false;
}
