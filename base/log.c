#include "base/log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

/* A line longer than this is cut: logging must not become a way to fill memory. */
#define LINE_MAX_BYTES 8192

static struct {
    enum log_level level;
    enum log_format format;
    int fd;
} config = {LOG_INFO, LOG_TEXT, STDERR_FILENO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

void log_setup(enum log_level level, enum log_format format, int fd)
{
    config.level = level;
    config.format = format;
    config.fd = fd;
}

bool log_enabled(enum log_level level)
{
    return level >= config.level;
}

/* Room is kept for the closing quote, brace and newline, so that a cut line still parses. */
static void put_char(struct line *line, char c)
{
    if (line->len < sizeof line->text - 8)
        line->text[line->len++] = c;
}

static void put_text(struct line *line, const char *text)
{
    for (; *text != '\0'; text++)
        put_char(line, *text);
}

static void put_escaped(struct line *line, struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = (char)value.data[i];
        if (c == '"' || c == '\\') {
            put_char(line, '\\');
            put_char(line, c);
        } else if ((unsigned char)c < 0x20 || c == 0x7F) {
            char escape[8];
            (void)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(unsigned char)c);
            put_text(line, escape);
        } else {
            put_char(line, c);
        }
    }
}

static void put_quoted(struct line *line, struct slice value)
{
    put_char(line, '"');
    put_escaped(line, value);
    /* Always fits: put_char leaves room. */
    line->text[line->len++] = '"';
}

static bool needs_quotes(struct slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] <= ' ' || value.data[i] == '"' || value.data[i] == '=' || value.data[i] == '\\')
            return true;
    return value.len == 0;
}

static void put_value(struct line *line, const struct log_field *field)
{
    char number[24];
    switch (field->kind) {
    case LOG_FIELD_U64:
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)field->number);
        put_text(line, number);
        break;
    case LOG_FIELD_I64:
        (void)snprintf(number, sizeof number, "%lld", (long long)field->number);
        put_text(line, number);
        break;
    case LOG_FIELD_STR:
        if (config.format == LOG_JSON || needs_quotes(field->text))
            put_quoted(line, field->text);
        else
            put_escaped(line, field->text);
        break;
    }
}

static void put_time(struct line *line)
{
    struct timespec now;
    struct tm utc;
    char text[64];
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                   utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(now.tv_nsec / 1000000));
    put_text(line, text);
}

static void format_json(struct line *line, enum log_level level, const char *message, const struct log_field *fields)
{
    put_text(line, "{\"time\":\"");
    put_time(line);
    put_text(line, "\",\"level\":\"");
    put_text(line, level_names[level]);
    put_text(line, "\",\"message\":");
    put_quoted(line, slice_str(message));
    for (; fields->key != NULL; fields++) {
        /* A field that could not be closed any more is left out whole. */
        if (line->len + strlen(fields->key) + 32 > sizeof line->text - 8)
            break;
        put_text(line, ",\"");
        put_text(line, fields->key);
        put_text(line, "\":");
        put_value(line, fields);
    }
    line->text[line->len++] = '}';
}

static void format_text(struct line *line, enum log_level level, const char *message, const struct log_field *fields)
{
    put_time(line);
    put_char(line, ' ');
    put_text(line, level_labels[level]);
    put_char(line, ' ');
    put_text(line, message);
    for (; fields->key != NULL; fields++) {
        put_char(line, ' ');
        put_text(line, fields->key);
        put_char(line, '=');
        put_value(line, fields);
    }
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    struct line line;
    line.len = 0;
    if (config.format == LOG_JSON)
        format_json(&line, level, message, fields);
    else
        format_text(&line, level, message, fields);
    line.text[line.len++] = '\n';
    /* Nobody can be told that the log can't be written. */
    ssize_t written = write(config.fd, line.text, line.len);
    (void)written;
}

static bool parse_name(const char *const names[], size_t n, const char *name, int *value)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            *value = (int)i;
            return true;
        }
    }
    return false;
}

bool log_level_parse(const char *name, enum log_level *level)
{
    int value = 0;
    if (!parse_name(level_names, ARRAY_LEN(level_names), name, &value))
        return false;
    *level = (enum log_level)value;
    return true;
}

bool log_format_parse(const char *name, enum log_format *format)
{
    static const char *const names[] = {"text", "json"};
    int value = 0;
    if (!parse_name(names, ARRAY_LEN(names), name, &value))
        return false;
    *format = (enum log_format)value;
    return true;
}
