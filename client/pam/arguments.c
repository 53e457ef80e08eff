#include "client/pam/arguments.h"

#include <stdlib.h>
#include <string.h>

#define SOCKET_DEFAULT "/run/lapse/local.sock"
#define RESOURCE_DEFAULT "host/%h"
/* Longer than the agent waits for the cluster (LIMIT_AGENT_WAIT_MS), so that its reason is heard. */
#define TIMEOUT_MS_DEFAULT 6000u
#define TIMEOUT_MS_MIN 100u
#define TIMEOUT_MS_MAX 60000u

/* ---- Arguments */

/* The value behind "KEY=", or NULL. */
static const char *value_of(const char *argument, const char *key)
{
    size_t len = strlen(key);
    return strncmp(argument, key, len) == 0 && argument[len] == '=' ? argument + len + 1 : NULL;
}

static lapse_result set_end_sessions(const char *value, bool *out, struct lapse_error *error)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "end_sessions=%s; accepted: yes or no", value);
    *out = *value == 'y';
    return lapse_ok();
}

static lapse_result set_timeout(const char *value, uint32_t *out, struct lapse_error *error)
{
    char *end = NULL;
    unsigned long ms = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end != '\0' || ms < TIMEOUT_MS_MIN || ms > TIMEOUT_MS_MAX)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "timeout_ms=%s; accepted: %u to %u", value, TIMEOUT_MS_MIN,
                          TIMEOUT_MS_MAX);
    *out = (uint32_t)ms;
    return lapse_ok();
}

static lapse_result set(const char *argument, struct pam_arguments *out, struct lapse_error *error)
{
    const char *value;
    if (strcmp(argument, "debug") == 0)
        out->debug = true;
    else if (strcmp(argument, "silent") == 0)
        out->silent = true;
    else if ((value = value_of(argument, "socket")) != NULL)
        out->socket = value;
    else if ((value = value_of(argument, "subject")) != NULL)
        out->subject = value;
    else if ((value = value_of(argument, "resource")) != NULL)
        out->resource = value;
    else if ((value = value_of(argument, "action")) != NULL)
        out->action = value;
    else if ((value = value_of(argument, "end_sessions")) != NULL)
        return set_end_sessions(value, &out->end_sessions, error);
    else if ((value = value_of(argument, "timeout_ms")) != NULL)
        return set_timeout(value, &out->timeout_ms, error);
    else
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "\"%s\"; accepted: socket=, subject=, resource=, action=, end_sessions=, timeout_ms=, "
                          "silent, debug",
                          argument);
    return lapse_ok();
}

lapse_result pam_arguments_parse(int argc, const char **argv, struct pam_arguments *out, struct lapse_error *error)
{
    struct pam_arguments made = {
        .socket = SOCKET_DEFAULT, .resource = RESOURCE_DEFAULT, .end_sessions = true, .timeout_ms = TIMEOUT_MS_DEFAULT};
    for (int i = 0; i < argc; i++) {
        lapse_result result = set(argv[i], &made, error);
        if (!lapse_is_ok(result))
            return result;
    }
    if (made.subject == NULL || made.action == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "subject= and action= must be given");
    if (made.socket[0] != '/')
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "socket=%s; accepted: a path from /", made.socket);
    *out = made;
    return lapse_ok();
}

/* ---- Templates */

static const char *fact_of(char letter, const struct pam_facts *facts, const char **name)
{
    const struct {
        char letter;
        const char *name, *value;
    } all[] = {{'u', "the user", facts->user},
               {'i', "the invoking user", facts->invoker},
               {'r', "the remote host", facts->remote_host},
               {'h', "the host's name", facts->host},
               {'s', "the service", facts->service},
               {'t', "the terminal", facts->terminal}};
    *name = NULL;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i].letter == letter) {
            *name = all[i].name;
            return all[i].value;
        }
    return NULL;
}

static bool is_plain(const char *value)
{
    return strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:+") == strlen(value);
}

static lapse_result add(char *out, size_t size, size_t *len, const char *text, size_t n, struct lapse_error *error)
{
    if (n >= size - *len)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "it is longer than %zu bytes", size - 1);
    memcpy(out + *len, text, n);
    *len += n;
    return lapse_ok();
}

static lapse_result add_fact(char letter, const struct pam_facts *facts, char *out, size_t size, size_t *len,
                             struct lapse_error *error)
{
    const char *name, *value = fact_of(letter, facts, &name);
    if (letter == '%')
        return add(out, size, len, "%", 1, error);
    if (name == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%%%c is none of %%u %%i %%r %%h %%s %%t %%%%",
                          letter == '\0' ? ' ' : letter);
    if (value == NULL || *value == '\0')
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s (%%%c) is not known", name, letter);
    /* A name that leads elsewhere must not become part of a path. */
    if (!is_plain(value) || strcmp(value, ".") == 0 || strcmp(value, "..") == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s (%%%c) has characters that can't be used", name, letter);
    return add(out, size, len, value, strlen(value), error);
}

lapse_result pam_template_expand(const char *text, const struct pam_facts *facts, char *out, size_t size,
                                 struct lapse_error *error)
{
    size_t len = 0;
    lapse_result result = lapse_ok();
    while (*text != '\0' && lapse_is_ok(result)) {
        size_t plain = strcspn(text, "%");
        result =
            plain > 0 ? add(out, size, &len, text, plain, error) : add_fact(text[1], facts, out, size, &len, error);
        text += plain > 0 ? plain : text[1] == '\0' ? 1 : 2;
    }
    out[lapse_is_ok(result) ? len : 0] = '\0';
    return result;
}
