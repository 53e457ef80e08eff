/* One setting: what it is called everywhere, and how its value is read and written. Private to node/config*.c and its
 * tests.
 *
 *   file     [raft]                     environment   LAPSED_RAFT_HEARTBEAT_MS=10
 *            heartbeat-ms = 10          flag          --raft-heartbeat-ms=10 */
#ifndef LAPSE_NODE_CONFIG_SETTING_H
#define LAPSE_NODE_CONFIG_SETTING_H

#include "node/config.h"

enum setting_type {
    SETTING_NUMBER,
    SETTING_SIZE,    /* bytes, with KiB, MiB or GiB */
    SETTING_PATH,    /* kept as it is written; existence is config_check's business */
    SETTING_ADDRESS, /* three members of struct config: host, port, and whether it is on */
    SETTING_SWITCH, /* on or off */
    SETTING_LEVEL,
    SETTING_FORMAT
};

struct setting {
    const char *section, *key;
    const char *name; /* of its flag when that is not SECTION-KEY; NULL otherwise */
    enum setting_type type;
    size_t offset, width; /* of its member in struct config */
    size_t port, enabled; /* ADDRESS: of the other two; enabled 0: it can't be switched off */
    uint64_t min, max;    /* NUMBER, SIZE */
    const char *fallback; /* as it would stand in the file; "" for none */
    const char *help;     /* a sentence without its full stop */
};

extern const struct setting settings[];
extern const size_t n_settings;

#define SETTING_NAME_SIZE 64
#define SETTING_VALUE_SIZE (CONFIG_PATH_SIZE + 16)
#define SETTING_ACCEPTED_SIZE 160

/* "raft-heartbeat-ms" and "LAPSED_RAFT_HEARTBEAT_MS". */
void setting_flag(const struct setting *setting, char name[SETTING_NAME_SIZE]);
void setting_variable(const struct setting *setting, char name[SETTING_NAME_SIZE]);
/* What it takes: "a number from 1 to 60000". */
void setting_accepted(const struct setting *setting, char text[SETTING_ACCEPTED_SIZE]);
/* Sets the member from text. INVALID_ARGUMENT with what is wrong and what is accepted, but not where it stands. */
lapse_result setting_parse(const struct setting *setting, const char *value, struct config *config,
                           struct lapse_error *error) LAPSE_MUST_USE;
/* The member as text that setting_parse reads back to the same value. */
void setting_format(const struct setting *setting, const struct config *config, char value[SETTING_VALUE_SIZE]);

/* Reads a file into `config`. FAILED_PRECONDITION with "FILE:LINE: ...". `config` is unspecified on failure. */
lapse_result config_read_file(const char *file, struct config *config, struct lapse_error *error) LAPSE_MUST_USE;

#endif
