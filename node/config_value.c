/* Values of settings: one pair of functions a type, from text and back. */
#include "node/config_setting.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "node/host_port.h"

_Static_assert(CONFIG_HOST_SIZE == HOST_SIZE, "a host fits");

void setting_flag(const struct setting *setting, char name[SETTING_NAME_SIZE])
{
    int n = setting->name != NULL ? snprintf(name, SETTING_NAME_SIZE, "%s", setting->name)
                                  : snprintf(name, SETTING_NAME_SIZE, "%s-%s", setting->section, setting->key);
    CHECK(n > 0 && n < SETTING_NAME_SIZE);
}

void setting_variable(const struct setting *setting, char name[SETTING_NAME_SIZE])
{
    char flag[SETTING_NAME_SIZE - sizeof "LAPSED"];
    char full[SETTING_NAME_SIZE];
    setting_flag(setting, full);
    CHECK(strlen(full) < sizeof flag);
    memcpy(flag, full, strlen(full) + 1);
    (void)snprintf(name, SETTING_NAME_SIZE, "LAPSED_%s", flag);
    for (char *c = name; *c != '\0'; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

/* The largest unit that says it without a remainder. */
static void format_size(uint64_t bytes, char *text, size_t size)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB"};
    size_t unit = 0;
    while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < ARRAY_LEN(units)) {
        bytes /= 1024;
        unit++;
    }
    (void)snprintf(text, size, "%" PRIu64 "%s", bytes, units[unit]);
}

void setting_accepted(const struct setting *setting, char text[SETTING_ACCEPTED_SIZE])
{
    char low[32], high[32];
    switch (setting->type) {
    case SETTING_NUMBER:
        (void)snprintf(text, SETTING_ACCEPTED_SIZE, "a number from %" PRIu64 " to %" PRIu64, setting->min,
                       setting->max);
        break;
    case SETTING_SIZE:
        format_size(setting->min, low, sizeof low);
        format_size(setting->max, high, sizeof high);
        (void)snprintf(text, SETTING_ACCEPTED_SIZE, "a size from %s to %s, in bytes or with KiB, MiB or GiB", low,
                       high);
        break;
    case SETTING_PATH:
        (void)snprintf(text, SETTING_ACCEPTED_SIZE, "a path of at most %d bytes", CONFIG_PATH_SIZE - 1);
        break;
    case SETTING_ADDRESS:
        (void)snprintf(text, SETTING_ACCEPTED_SIZE, "host:port such as 127.0.0.1:7400 or [::1]:7400%s",
                       setting->enabled != 0 ? ", or off" : "");
        break;
    case SETTING_SWITCH:
        (void)snprintf(text, SETTING_ACCEPTED_SIZE, "on or off");
        break;
    case SETTING_LEVEL:
        (void)snprintf(text, SETTING_ACCEPTED_SIZE, "debug, info, warn or error");
        break;
    case SETTING_FORMAT:
        (void)snprintf(text, SETTING_ACCEPTED_SIZE, "text or json");
        break;
    }
}

static lapse_result refuse(const struct setting *setting, const char *value, struct lapse_error *error)
{
    char accepted[SETTING_ACCEPTED_SIZE];
    setting_accepted(setting, accepted);
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%.80s\" is not accepted; accepted: %s", value, accepted);
}

static void *member(const struct setting *setting, struct config *config)
{
    return (char *)config + setting->offset;
}

static const void *member_of(const struct setting *setting, const struct config *config)
{
    return (const char *)config + setting->offset;
}

/* Digits at the start of `*text`, which is moved behind them. False when there are none or they pass 64 bits. */
static bool take_digits(const char **text, uint64_t *number)
{
    const char *start = *text;
    uint64_t value = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(**text - '0'), &value))
            return false;
    *number = value;
    return *text != start;
}

static bool take_unit(const char *text, uint64_t *factor)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {{"", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(text, units[i].name) == 0) {
            *factor = units[i].factor;
            return true;
        }
    }
    return false;
}

static lapse_result parse_number(const struct setting *setting, const char *value, struct config *config,
                                 struct lapse_error *error)
{
    const char *rest = value;
    uint64_t number = 0, factor = 1;
    bool read = take_digits(&rest, &number) &&
                (setting->type == SETTING_SIZE ? take_unit(rest, &factor) : *rest == '\0') &&
                !__builtin_mul_overflow(number, factor, &number);
    if (!read || number < setting->min || number > setting->max)
        return refuse(setting, value, error);
    if (setting->width == sizeof(uint32_t))
        *(uint32_t *)member(setting, config) = (uint32_t)number;
    else
        *(uint64_t *)member(setting, config) = number;
    return lapse_ok();
}

static uint64_t number_of(const struct setting *setting, const struct config *config)
{
    CHECK(setting->width == sizeof(uint32_t) || setting->width == sizeof(uint64_t));
    return setting->width == sizeof(uint32_t) ? *(const uint32_t *)member_of(setting, config)
                                              : *(const uint64_t *)member_of(setting, config);
}

static lapse_result parse_path(const struct setting *setting, const char *value, struct config *config,
                               struct lapse_error *error)
{
    bool may_be_empty = setting->fallback[0] == '\0';
    if (strlen(value) >= setting->width || (value[0] == '\0' && !may_be_empty))
        return refuse(setting, value, error);
    memcpy(member(setting, config), value, strlen(value) + 1);
    return lapse_ok();
}

static lapse_result parse_address(const struct setting *setting, const char *value, struct config *config,
                                  struct lapse_error *error)
{
    struct host_port address;
    struct lapse_error inner;
    char accepted[SETTING_ACCEPTED_SIZE];
    bool off = setting->enabled != 0 && strcmp(value, "off") == 0;

    if (!off && !lapse_is_ok(host_port_parse(value, &address, &inner))) {
        setting_accepted(setting, accepted);
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%.200s; accepted: %s", inner.message, accepted);
    }
    if (setting->enabled != 0)
        *(bool *)((char *)config + setting->enabled) = !off;
    if (!off) {
        memcpy(member(setting, config), address.host, sizeof address.host);
        *(uint16_t *)((char *)config + setting->port) = address.port;
    }
    return lapse_ok();
}

static void format_address(const struct setting *setting, const struct config *config, char value[SETTING_VALUE_SIZE])
{
    struct host_port address;
    _Static_assert(SETTING_VALUE_SIZE >= HOST_PORT_SIZE, "an address fits");
    if (setting->enabled != 0 && !*((const bool *)((const char *)config + setting->enabled))) {
        (void)snprintf(value, SETTING_VALUE_SIZE, "off");
        return;
    }
    memcpy(address.host, member_of(setting, config), sizeof address.host);
    address.port = *(const uint16_t *)((const char *)config + setting->port);
    host_port_format(&address, value);
}

static lapse_result parse_switch(const struct setting *setting, const char *value, struct config *config,
                                 struct lapse_error *error)
{
    bool on = strcmp(value, "on") == 0;
    if (!on && strcmp(value, "off") != 0)
        return refuse(setting, value, error);
    *(bool *)member(setting, config) = on;
    return lapse_ok();
}

lapse_result setting_parse(const struct setting *setting, const char *value, struct config *config,
                           struct lapse_error *error)
{
    switch (setting->type) {
    case SETTING_NUMBER:
    case SETTING_SIZE:
        return parse_number(setting, value, config, error);
    case SETTING_PATH:
        return parse_path(setting, value, config, error);
    case SETTING_ADDRESS:
        return parse_address(setting, value, config, error);
    case SETTING_SWITCH:
        return parse_switch(setting, value, config, error);
    case SETTING_LEVEL:
        return log_level_parse(value, member(setting, config)) ? lapse_ok() : refuse(setting, value, error);
    case SETTING_FORMAT:
        return log_format_parse(value, member(setting, config)) ? lapse_ok() : refuse(setting, value, error);
    }
    CHECK(false);
    return lapse_failed(LAPSE_INTERNAL);
}

void setting_format(const struct setting *setting, const struct config *config, char value[SETTING_VALUE_SIZE])
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    static const char *const formats[] = {"text", "json"};
    switch (setting->type) {
    case SETTING_NUMBER:
        /* Zero below the range: not set. */
        if (number_of(setting, config) < setting->min)
            value[0] = '\0';
        else
            (void)snprintf(value, SETTING_VALUE_SIZE, "%" PRIu64, number_of(setting, config));
        break;
    case SETTING_SIZE:
        format_size(number_of(setting, config), value, SETTING_VALUE_SIZE);
        break;
    case SETTING_PATH:
        (void)snprintf(value, SETTING_VALUE_SIZE, "%s", (const char *)member_of(setting, config));
        break;
    case SETTING_ADDRESS:
        format_address(setting, config, value);
        break;
    case SETTING_SWITCH:
        (void)snprintf(value, SETTING_VALUE_SIZE, "%s", *(const bool *)member_of(setting, config) ? "on" : "off");
        break;
    case SETTING_LEVEL:
        (void)snprintf(value, SETTING_VALUE_SIZE, "%s", levels[config->log_level]);
        break;
    case SETTING_FORMAT:
        (void)snprintf(value, SETTING_VALUE_SIZE, "%s", formats[config->log_format]);
        break;
    }
}
