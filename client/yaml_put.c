/* Writing by a table of keys: yaml_keys.h. */
#include "client/cli/value.h"
#include "client/yaml_keys.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"

/* The lines of a list up to this length stand in one. */
#define FLOW_MAX 100

static const char plain_text[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./@:*";

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* What other readers of YAML would take for a truth value, a number or nothing is quoted, like all that isn't plainly a
 * word. */
static bool is_plain(struct slice text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
    if (text.len == 0 || !is_letter(text.data[0]) || text.data[text.len - 1] == ':')
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (memchr(plain_text, text.data[i], sizeof plain_text - 1) == NULL)
            return false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (text.len == strlen(words[i]) && strncasecmp((const char *)text.data, words[i], text.len) == 0)
            return false;
    return true;
}

/* Three bytes of UTF-8 that YAML takes for the end of a line, or doesn't take at all: their number. */
static unsigned special_at(struct slice text, size_t at)
{
    if (at + 3 > text.len || (text.data[at] != 0xE2 && text.data[at] != 0xEF))
        return 0;
    unsigned c = (text.data[at] & 0xFu) << 12 | (text.data[at + 1] & 0x3Fu) << 6 | (text.data[at + 2] & 0x3Fu);
    return c == 0x2028 || c == 0x2029 || c == 0xFEFF || c >= 0xFFFE ? c : 0;
}

static lapse_result put_quoted(struct slice text, struct buf *out)
{
    lapse_result result = buf_append(out, "\"", 1);
    for (size_t i = 0; i < text.len && lapse_is_ok(result); i++) {
        uint8_t c = text.data[i];
        unsigned special = special_at(text, i);
        if (special != 0) {
            result = buf_printf(out, "\\u%04X", special);
            i += 2;
        } else if (c == '"' || c == '\\')
            result = buf_printf(out, "\\%c", c);
        else if (c == '\n' || c == '\t')
            result = buf_append(out, c == '\n' ? "\\n" : "\\t", 2);
        else
            result = buf_append(out, &c, 1);
    }
    return lapse_is_ok(result) ? buf_append(out, "\"", 1) : result;
}

static lapse_result put_text(struct slice text, struct buf *out)
{
    return is_plain(text) ? buf_append(out, text.data, text.len) : put_quoted(text, out);
}

/* A person's form where it is exact ("1h30m"), and every unit written out where it isn't. */
static lapse_result put_duration(int64_t ms, struct buf *out)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < ARRAY_LEN(units) && lapse_is_ok(result); ms %= units[i++].ms)
        if (ms >= units[i].ms)
            result = buf_printf(out, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
    return result;
}

static lapse_result put_choice(const char *choices, int place, struct buf *out)
{
    for (; place > 0; place--) {
        choices += strcspn(choices, " ");
        CHECK(*choices == ' ');
        choices++;
    }
    return buf_append(out, choices, strcspn(choices, " "));
}

static lapse_result put_flags(const char *choices, const bool *flags, struct buf *out)
{
    lapse_result result = buf_append(out, "[", 1);
    bool first = true;
    for (int i = 0; *choices != '\0' && lapse_is_ok(result); i++) {
        size_t len = strcspn(choices, " ");
        if (flags[i])
            result = buf_printf(out, "%s%.*s", first ? "" : ", ", (int)len, choices);
        first = first && !flags[i];
        choices += len + (choices[len] == ' ');
    }
    return lapse_is_ok(result) ? buf_append(out, "]", 1) : result;
}

static lapse_result put_flow(const struct policy_patterns *texts, struct buf *out)
{
    lapse_result result = buf_append(out, " [", 2);
    for (uint32_t i = 0; i < texts->n && lapse_is_ok(result); i++) {
        if (i > 0)
            result = buf_append(out, ", ", 2);
        if (lapse_is_ok(result))
            result = put_text(texts->items[i], out);
    }
    return lapse_is_ok(result) ? buf_append(out, "]\n", 2) : result;
}

static lapse_result put_texts(const struct policy_patterns *texts, unsigned indent, struct buf *out)
{
    size_t len = 0;
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < texts->n; i++)
        len += texts->items[i].len + 2;
    if (len <= FLOW_MAX)
        return put_flow(texts, out);
    result = buf_append(out, "\n", 1);
    for (uint32_t i = 0; i < texts->n && lapse_is_ok(result); i++) {
        result = buf_printf(out, "%*s- ", (int)indent + 2, "");
        if (lapse_is_ok(result))
            result = put_text(texts->items[i], out);
        if (lapse_is_ok(result))
            result = buf_append(out, "\n", 1);
    }
    return result;
}

/* ---- Keys */

static bool is_empty(const struct yaml_key *key, const void *object);

static bool are_empty(const struct yaml_key *keys, const void *object)
{
    for (; keys->name != NULL; keys++)
        if (!is_empty(keys, object))
            return false;
    return true;
}

static bool no_flags(const char *choices, const bool *flags)
{
    for (int i = 0; *choices != '\0'; i++) {
        if (flags[i])
            return false;
        choices += strcspn(choices, " ");
        choices += *choices == ' ';
    }
    return true;
}

static bool is_empty(const struct yaml_key *key, const void *object)
{
    const void *value = (const char *)object + key->offset;
    switch (key->type) {
    case YAML_TEXT:
        return ((const struct slice *)value)->len == 0;
    case YAML_FLAG:
    case YAML_CHOICE_FLAG:
        return !*(const bool *)value;
    case YAML_NUMBER:
        return *(const uint32_t *)value == 0;
    case YAML_DURATION:
        return *(const int64_t *)value == 0;
    case YAML_TEXTS:
        return ((const struct policy_patterns *)value)->n == 0;
    case YAML_CHOICE:
        return *(const int *)value == 0;
    case YAML_FLAGS:
        return no_flags(key->choices, value);
    case YAML_KEYS:
        return are_empty(key->keys, object);
    case YAML_STEPS:
        return *(const uint32_t *)((const char *)object + key->n_offset) == 0;
    case YAML_OWN:
        return true;
    }
    return true;
}

static lapse_result put_steps(const struct yaml_key *key, const void *object, unsigned indent, struct buf *out)
{
    uint32_t n = *(const uint32_t *)((const char *)object + key->n_offset);
    const char *step = (const char *)object + key->offset;
    lapse_result result = buf_append(out, "\n", 1);
    for (uint32_t i = 0; i < n && lapse_is_ok(result); i++, step += key->size) {
        size_t dash = out->len + indent + 2;
        if (are_empty(key->keys, step))
            result = buf_printf(out, "%*scount: 1\n", (int)indent + 4, ""); /* what 0 stands for */
        else
            result = yaml_put(key->keys, step, indent + 4, out);
        if (lapse_is_ok(result))
            out->data[dash] = '-';
    }
    return result;
}

static lapse_result put_scalar(const struct yaml_key *key, const void *value, struct buf *out)
{
    switch (key->type) {
    case YAML_TEXT:
        return put_text(*(const struct slice *)value, out);
    case YAML_FLAG:
        return buf_append(out, "true", 4);
    case YAML_NUMBER:
        return buf_printf(out, "%" PRIu32, *(const uint32_t *)value);
    case YAML_DURATION:
        return put_duration(*(const int64_t *)value, out);
    case YAML_CHOICE:
        return put_choice(key->choices, *(const int *)value, out);
    case YAML_CHOICE_FLAG:
        return put_choice(key->choices, 1, out);
    default:
        return put_flags(key->choices, value, out);
    }
}

lapse_result yaml_put_key(const struct yaml_key *key, const void *object, unsigned indent, struct buf *out)
{
    const void *value = (const char *)object + key->offset;
    if (is_empty(key, object))
        return lapse_ok();
    lapse_result result = buf_printf(out, "%*s%s:", (int)indent, "", key->name);
    if (!lapse_is_ok(result))
        return result;
    if (key->type == YAML_TEXTS)
        return put_texts(value, indent, out);
    if (key->type == YAML_STEPS)
        return put_steps(key, object, indent, out);
    result = buf_append(out, key->type == YAML_KEYS ? "\n" : " ", 1);
    if (!lapse_is_ok(result))
        return result;
    if (key->type == YAML_KEYS)
        return yaml_put(key->keys, object, indent + 2, out);
    result = put_scalar(key, value, out);
    return lapse_is_ok(result) ? buf_append(out, "\n", 1) : result;
}

lapse_result yaml_put(const struct yaml_key *keys, const void *object, unsigned indent, struct buf *out)
{
    lapse_result result = lapse_ok();
    for (; keys->name != NULL && lapse_is_ok(result); keys++)
        result = yaml_put_key(keys, object, indent, out);
    return result;
}
