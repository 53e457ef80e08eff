/* Leveled, structured logging: one line an event, in text for people or in JSON for programs.
 *
 *   log_info("peer connected", LOG_U64("peer", id), LOG_STR("address", address));
 *
 *   2026-01-01T12:00:00.123Z INFO  peer connected peer=2 address=127.0.0.1:7402
 *   {"time":"2026-01-01T12:00:00.123Z","level":"info","message":"peer connected","peer":2,"address":"127.0.0.1:7402"}
 *
 * Values from outside are escaped, so that nobody can forge a line. Any thread may log; a line is written with one
 * write(2). Libraries (base, proto, store, raft, client) never log: they return errors; the programs do. */
#ifndef LAPSE_BASE_LOG_H
#define LAPSE_BASE_LOG_H

#include "base/bytes.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_field {
    const char *key; /* NULL ends the list */
    enum { LOG_FIELD_STR, LOG_FIELD_U64, LOG_FIELD_I64 } kind;
    struct slice text;
    uint64_t number;
};

#define LOG_STR(key, value) \
    (struct log_field)      \
    {                       \
        (key), LOG_FIELD_STR, slice_str(value), 0 \
    }
#define LOG_SLICE(key, value) \
    (struct log_field)        \
    {                         \
        (key), LOG_FIELD_STR, (value), 0 \
    }
#define LOG_U64(key, value) \
    (struct log_field)      \
    {                       \
        (key), LOG_FIELD_U64, {NULL, 0}, (uint64_t)(value) \
    }
#define LOG_I64(key, value) \
    (struct log_field)      \
    {                       \
        (key), LOG_FIELD_I64, {NULL, 0}, (uint64_t)(int64_t)(value) \
    }
#define LOG_END \
    (struct log_field) { NULL, LOG_FIELD_STR, {NULL, 0}, 0 }

/* Process-wide; call before other threads start. `fd` is not owned. */
void log_setup(enum log_level level, enum log_format format, int fd);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *message, const struct log_field *fields);

#define LOG_LINE(level, message, ...) \
    (log_enabled(level) ? log_write((level), (message), (const struct log_field[]){__VA_ARGS__}) : (void)0)
#define log_debug(message, ...) LOG_LINE(LOG_DEBUG, message, __VA_ARGS__ __VA_OPT__(,) LOG_END)
#define log_info(message, ...) LOG_LINE(LOG_INFO, message, __VA_ARGS__ __VA_OPT__(,) LOG_END)
#define log_warn(message, ...) LOG_LINE(LOG_WARN, message, __VA_ARGS__ __VA_OPT__(,) LOG_END)
#define log_error(message, ...) LOG_LINE(LOG_ERROR, message, __VA_ARGS__ __VA_OPT__(,) LOG_END)

/* Names for the configuration: "debug" ... "error", "text" | "json". False when the name is none of them. */
bool log_level_parse(const char *name, enum log_level *level);
bool log_format_parse(const char *name, enum log_format *format);

#endif
