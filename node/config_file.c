/* The configuration file: base/ini.h --> section, key, value --> setting_parse, by the table of settings. */
#include "node/config_setting.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/ini.h"
#include "base/limits.h"
#include "node/suggest.h"

/* A path of full length with its key and blanks. */
_Static_assert(LIMIT_CONFIG_LINE >= CONFIG_PATH_SIZE + 128, "a path must fit on its line");

struct target {
    struct config *config;
    uint32_t set_in[64]; /* by setting: the line that set it; 0: none */
};

static lapse_result unknown(const char *section, const char *key, struct lapse_error *error)
{
    char typed[128], name[128], hint[SUGGEST_TEXT_SIZE];
    (void)snprintf(typed, sizeof typed, "%.50s.%.50s", section, key);
    struct suggestion nearest = {.typed = typed};
    for (size_t i = 0; i < n_settings; i++) {
        (void)snprintf(name, sizeof name, "%s.%s", settings[i].section, settings[i].key);
        suggest_offer(&nearest, name);
    }
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "there is no setting %s%s", typed, suggest_text(&nearest, hint));
}

static const struct setting *find(const char *section, const char *key)
{
    for (size_t i = 0; i < n_settings; i++)
        if (strcmp(settings[i].section, section) == 0 && strcmp(settings[i].key, key) == 0)
            return &settings[i];
    return NULL;
}

static lapse_result on_setting(void *arg, const char *section, const char *key, const char *value, uint32_t line,
                               struct lapse_error *error)
{
    struct target *target = arg;
    struct lapse_error inner;
    const struct setting *setting = find(section, key);
    if (setting == NULL)
        return unknown(section, key, error);
    uint32_t *set_in = &target->set_in[setting - settings];
    if (*set_in != 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s.%s: is set a second time, the first was in line %u",
                          section, key, *set_in);
    *set_in = line;
    lapse_result result = setting_parse(setting, value, target->config, &inner);
    if (!lapse_is_ok(result))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s.%s: %s", section, key, inner.message);
    return result;
}

lapse_result config_read_file(const char *file, struct config *config, struct lapse_error *error)
{
    struct target target = {.config = config};
    CHECK(n_settings <= ARRAY_LEN(target.set_in));
    return ini_read(file, on_setting, &target, error);
}
