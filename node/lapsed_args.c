#include "node/lapsed_args.h"

#include <string.h>

#include "node/suggest.h"

struct cursor {
    int n, at;
    char **args;
};

static const struct arg_flag *find_flag(const struct arg_flag *flags, const char *arg, size_t len)
{
    for (; flags->name != NULL; flags++)
        if (strlen(flags->name) == len && strncmp(flags->name, arg, len) == 0)
            return flags;
    return NULL;
}

static lapse_result unknown_flag(const struct arg_flag *flags, const char *arg, struct lapse_error *error)
{
    char hint[SUGGEST_TEXT_SIZE];
    struct suggestion nearest = {.typed = arg};
    for (; flags->name != NULL; flags++)
        suggest_offer(&nearest, flags->name);
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "there is no flag %s%s", arg, suggest_text(&nearest, hint));
}

/* A flag of ours; `attached` is what stands behind its equals sign, or NULL. */
static lapse_result take_flag(const struct arg_flag *flag, const char *attached, struct cursor *cursor,
                              struct lapse_error *error)
{
    if (flag->on != NULL && attached != NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s takes no value", flag->name);
    if (flag->on != NULL ? *flag->on : *flag->value != NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s is given twice", flag->name);
    if (flag->on != NULL) {
        *flag->on = true;
        return lapse_ok();
    }
    if (attached == NULL && cursor->at + 1 >= cursor->n)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: its value is missing", flag->name);
    *flag->value = attached != NULL ? attached : cursor->args[++cursor->at];
    return lapse_ok();
}

/* Every setting has a value: the next argument, when none is attached. */
static void keep(struct arg_rest *rest, const char *attached, struct cursor *cursor)
{
    rest->args[rest->n++] = cursor->args[cursor->at];
    if (attached == NULL && cursor->at + 1 < cursor->n)
        rest->args[rest->n++] = cursor->args[++cursor->at];
}

lapse_result args_parse(int n, char **args, const struct arg_flag *flags, struct arg_rest *rest,
                        struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (struct cursor cursor = {n, 0, args}; cursor.at < n && lapse_is_ok(result); cursor.at++) {
        const char *arg = args[cursor.at];
        const char *equals = strchr(arg, '=');
        const char *attached = equals == NULL ? NULL : equals + 1;
        const struct arg_flag *flag = find_flag(flags, arg, equals == NULL ? strlen(arg) : (size_t)(equals - arg));
        if (strncmp(arg, "--", 2) != 0 || arg[2] == '\0')
            result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "unexpected argument \"%s\"", arg);
        else if (flag != NULL)
            result = take_flag(flag, attached, &cursor, error);
        else if (rest != NULL)
            keep(rest, attached, &cursor);
        else
            result = unknown_flag(flags, arg, error);
    }
    return result;
}
