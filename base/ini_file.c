/* See ini.h.
 *
 *   file --> lines (ours) --> ini_parse_stream --> section, key, value --> the caller
 *
 * inih tells its handler neither line numbers nor what it silently dropped, so the lines are fed to it one by one from
 * here. */
#include "base/ini.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"

/* inih cuts a longer section's name off without a word. */
#define SECTION_LINE_MAX 48

struct reader {
    const char *file;
    ini_setting_cb setting;
    void *arg;
    struct lapse_error *error;
    uint32_t fault;    /* the line of the first fault, which is the one that is reported; 0: none */
    struct slice rest; /* of the text */
    uint32_t line;
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
    if (line.len + 3 > room || (line.len > SECTION_LINE_MAX && line.data[0] == '['))
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

/* inih's handler; its result only matters to a caller that looks at inih's line number. */
static int on_value(void *arg, const char *section, const char *key, const char *value)
{
    struct reader *reader = arg;
    struct lapse_error inner;
    if (reader->fault == 0 && !lapse_is_ok(reader->setting(reader->arg, section, key, value, reader->line, &inner)))
        fail_at(reader, reader->line, inner.message);
    return reader->fault == 0;
}

lapse_result ini_read(const char *file, ini_setting_cb setting, void *arg, struct lapse_error *error)
{
    struct buf text;
    struct reader reader = {.file = file, .setting = setting, .arg = arg, .error = error};

    buf_init(&text, LIMIT_CONFIG_FILE + 1);
    lapse_result result = read_text(file, &text, error);
    if (lapse_is_ok(result)) {
        reader.rest = buf_slice(&text);
#ifdef LAPSE_INIH_TUNABLE
        ini_max_line = LIMIT_CONFIG_LINE;
#endif
        /* inih's parser calls for lines through one pointer, its handler is given another: here both are the reader.
         * Its result is the first line that it did not understand, or whose value the handler refused. */
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
