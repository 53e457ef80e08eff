/* The configuration file, read with inih.
 *
 *   file --> lines (ours) --> ini_parse_stream --> section, key, value --> setting_parse
 *
 * inih tells its handler neither line numbers nor what it silently dropped, so the lines are fed to it one by one from
 * here. What its builds disagree about (continuation lines, comments behind a value, over-long lines) never reaches it:
 * a leading blank is stripped, and the other two are errors. */
#include "node/config_setting.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "node/suggest.h"

/* A path of full length with its key and blanks. */
#define LINE_SIZE (CONFIG_PATH_SIZE + 128)

struct reader {
    const char *file;
    struct config *config;
    struct lapse_error *error;
    uint32_t fault;    /* the line of the first fault, which is the one that is reported; 0: none */
    struct slice rest; /* of the text */
    uint32_t line;
    uint32_t set_in[64]; /* by setting: the line that set it; 0: none */
};

static lapse_result read_text(const char *file, struct buf *text, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    FILE *stream = fopen(file, "re");
    if (stream == NULL)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s: can't be opened: %s", file, strerror(errno));
    CHECK(lapse_is_ok(buf_reserve(text, LIMIT_CONFIG_FILE + 1)));
    text->len = fread(text->data, 1, LIMIT_CONFIG_FILE + 1, stream);
    if (ferror(stream))
        result = lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s: can't be read: %s", file, strerror(errno));
    else if (text->len > LIMIT_CONFIG_FILE)
        result = lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s: is longer than %u bytes", file, LIMIT_CONFIG_FILE);
    (void)fclose(stream);
    return result;
}

/* Keeps the fault that stands first in the file. */
static void fail_at(struct reader *reader, uint32_t line, const char *what)
{
    if (reader->fault != 0 && reader->fault <= line)
        return;
    (void)lapse_fail(reader->error, LAPSE_FAILED_PRECONDITION, "%s:%u: %s", reader->file, line, what);
    reader->fault = line;
}

static const char *fault_of(struct slice line, size_t room)
{
    bool comment = line.len > 0 && (line.data[0] == '#' || line.data[0] == ';');
    if (line.len + 3 > room)
        return "the line is too long";
    if (!slice_is_text(line, true))
        return "there is a control character, or the text is not UTF-8";
    for (size_t i = 1; i < line.len && !comment; i++)
        if ((line.data[i] == ';' || line.data[i] == '#') && (line.data[i - 1] == ' ' || line.data[i - 1] == '\t'))
            return "a comment stands on a line of its own";
    return NULL;
}

static struct slice take_line(struct reader *reader)
{
    const uint8_t *end = memchr(reader->rest.data, '\n', reader->rest.len);
    struct slice line = slice_of(reader->rest.data, end == NULL ? reader->rest.len : (size_t)(end - reader->rest.data));
    size_t used = line.len + (end != NULL);
    reader->rest = slice_of(reader->rest.data + used, reader->rest.len - used);
    reader->line++;
    while (line.len > 0 && (line.data[0] == ' ' || line.data[0] == '\t'))
        line = slice_of(line.data + 1, line.len - 1);
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    return line;
}

/* inih's fgets. A faulty line is handed on empty; the fault is already recorded. */
static char *next_line(char *out, int room, void *stream)
{
    struct reader *reader = stream;
    if (reader->rest.len == 0 || reader->fault != 0)
        return NULL;
    struct slice line = take_line(reader);
    const char *fault = fault_of(line, (size_t)room);
    if (fault != NULL) {
        fail_at(reader, reader->line, fault);
        line.len = 0;
    }
    if (line.len > 0)
        memcpy(out, line.data, line.len);
    memcpy(out + line.len, "\n", 2);
    return out;
}

static void report_unknown(struct reader *reader, const char *section, const char *key)
{
    char typed[128], name[128], hint[SUGGEST_TEXT_SIZE], what[256];
    (void)snprintf(typed, sizeof typed, "%.50s.%.50s", section, key);
    struct suggestion nearest = {.typed = typed};
    for (size_t i = 0; i < n_settings; i++) {
        (void)snprintf(name, sizeof name, "%s.%s", settings[i].section, settings[i].key);
        suggest_offer(&nearest, name);
    }
    (void)snprintf(what, sizeof what, "there is no setting %s%s", typed, suggest_text(&nearest, hint));
    fail_at(reader, reader->line, what);
}

static const struct setting *find(const char *section, const char *key)
{
    for (size_t i = 0; i < n_settings; i++)
        if (strcmp(settings[i].section, section) == 0 && strcmp(settings[i].key, key) == 0)
            return &settings[i];
    return NULL;
}

static void set(struct reader *reader, const struct setting *setting, const char *value)
{
    uint32_t *set_in = &reader->set_in[setting - settings];
    char what[LAPSE_ERROR_MESSAGE_SIZE + SETTING_NAME_SIZE];
    struct lapse_error inner;
    if (*set_in != 0) {
        (void)snprintf(what, sizeof what, "%s.%s: is set a second time, the first was in line %u", setting->section,
                       setting->key, *set_in);
        fail_at(reader, reader->line, what);
    } else if (!lapse_is_ok(setting_parse(setting, value, reader->config, &inner))) {
        (void)snprintf(what, sizeof what, "%s.%s: %s", setting->section, setting->key, inner.message);
        fail_at(reader, reader->line, what);
    }
    *set_in = reader->line;
}

/* inih's handler; its result only matters to a caller that looks at inih's line number. */
static int on_value(void *arg, const char *section, const char *key, const char *value)
{
    struct reader *reader = arg;
    const struct setting *setting = find(section, key);
    if (reader->fault != 0)
        return 0;
    if (setting == NULL)
        report_unknown(reader, section, key);
    else
        set(reader, setting, value);
    return reader->fault == 0;
}

lapse_result config_read_file(const char *file, struct config *config, struct lapse_error *error)
{
    struct buf text;
    struct reader reader = {.file = file, .config = config, .error = error};
    CHECK(n_settings <= ARRAY_LEN(reader.set_in));

    buf_init(&text, LIMIT_CONFIG_FILE + 1);
    lapse_result result = read_text(file, &text, error);
    if (lapse_is_ok(result)) {
        reader.rest = buf_slice(&text);
#ifdef LAPSE_INIH_TUNABLE
        ini_max_line = LINE_SIZE;
#endif
        /* inih's parser calls for lines through one pointer, its handler is given another: here both are the reader. */
        /* The first line that inih did not understand, or whose value the handler refused. */
        int bad_line = ini_parse_stream(next_line, &reader, on_value, &reader);
        if (bad_line > 0)
            fail_at(&reader, (uint32_t)bad_line, "is neither [section] nor key = value");
        CHECK(bad_line >= 0);
        if (reader.fault != 0)
            result = lapse_failed(LAPSE_FAILED_PRECONDITION);
    }
    buf_free(&text);
    return result;
}
