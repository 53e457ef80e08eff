/* pam_lapse.so: who has no active grant isn't let in, and who is in has to go when it ends. pam_lapse(8).
 *
 *   account         asks the agent; no permit, no access
 *   session open    asks again (the grant may have ended meanwhile), and has the agent keep the session: when its grant
 *                   ends, the agent ends all descendants of this process
 *   session close   tells the agent
 *
 * It fails closed: no agent, no answer, a wrong argument, are all PAM_PERM_DENIED. Never PAM_SESSION_ERR: sudo takes
 * that for a session that may go on without. Nothing is kept open between calls. */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <syslog.h>
#include <unistd.h>

#include "client/pam/ask.h"

#define DATA_NAME "lapse_session"
#define EXPORT __attribute__((visibility("default")))

/* What one PAM transaction remembers. */
struct memory {
    pid_t pid;        /* a forked process has a copy that isn't its own */
    char grant[27];   /* whose use the account check has counted; "" when there was none */
    char session[33]; /* "": none is open */
};

struct names {
    char host[256], terminal[64];
    struct pam_facts facts;
};

struct question {
    char subject[LIMIT_SUBJECT + 1], resource[LIMIT_RESOURCE + 1], action[LIMIT_ACTION + 1];
    const char *address; /* NULL: none */
    char description[LIMIT_SESSION_DESCRIPTION + 1];
};

/* ---- What PAM knows */

static const char *item(const pam_handle_t *pamh, int type)
{
    const void *value = NULL;
    return pam_get_item(pamh, type, &value) == PAM_SUCCESS ? value : NULL;
}

/* "/dev/pts/3" is "pts-3". */
static void name_terminal(const char *terminal, char *out, size_t size)
{
    if (terminal != NULL && strncmp(terminal, "/dev/", 5) == 0)
        terminal += 5;
    (void)snprintf(out, size, "%s", terminal == NULL ? "" : terminal);
    for (char *at = out; *at != '\0'; at++)
        *at = *at == '/' ? '-' : *at;
}

static void name_host(char *out, size_t size)
{
    if (gethostname(out, size) != 0)
        out[0] = '\0';
    out[size - 1] = '\0';
    for (char *at = out; *at != '\0'; at++)
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
}

static void collect(const pam_handle_t *pamh, struct names *names)
{
    name_host(names->host, sizeof names->host);
    name_terminal(item(pamh, PAM_TTY), names->terminal, sizeof names->terminal);
    names->facts = (struct pam_facts){.user = item(pamh, PAM_USER),
                                      .invoker = item(pamh, PAM_RUSER),
                                      .remote_host = item(pamh, PAM_RHOST),
                                      .host = names->host,
                                      .service = item(pamh, PAM_SERVICE),
                                      .terminal = names->terminal};
}

static bool is_address(const char *text)
{
    struct in6_addr parsed;
    return text != NULL && (inet_pton(AF_INET, text, &parsed) == 1 || inet_pton(AF_INET6, text, &parsed) == 1);
}

/* For people: plain characters only, since a user's or host's name may be anything. */
static void describe(const struct pam_facts *facts, char *out, size_t size)
{
    (void)snprintf(out, size, "%.60s user=%.60s%s%.40s%s%.60s%s%.20s pid=%d", facts->service ? facts->service : "pam",
                   facts->user ? facts->user : "?", facts->invoker ? " by=" : "", facts->invoker ? facts->invoker : "",
                   facts->remote_host ? " from=" : "", facts->remote_host ? facts->remote_host : "",
                   *facts->terminal ? " tty=" : "", facts->terminal, (int)getpid());
    for (char *at = out; *at != '\0'; at++)
        *at = *at < ' ' || *at > '~' ? '?' : *at;
}

static lapse_result make_question(const struct pam_arguments *arguments, const struct names *names,
                                  struct question *out, struct lapse_error *error)
{
    struct lapse_error inner;
    const struct {
        const char *name, *text;
        char *out;
        size_t size;
    } texts[] = {{"subject", arguments->subject, out->subject, sizeof out->subject},
                 {"resource", arguments->resource, out->resource, sizeof out->resource},
                 {"action", arguments->action, out->action, sizeof out->action}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (!lapse_is_ok(pam_template_expand(texts[i].text, &names->facts, texts[i].out, texts[i].size, &inner)))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s=%s: %s", texts[i].name, texts[i].text, inner.message);
    out->address = is_address(names->facts.remote_host) ? names->facts.remote_host : NULL;
    describe(&names->facts, out->description, sizeof out->description);
    return lapse_ok();
}

/* ---- Memory between calls */

static void forget(pam_handle_t *pamh, void *data, int status)
{
    (void)pamh, (void)status;
    free(data);
}

/* This process's; NULL when there is none. */
static struct memory *recall(const pam_handle_t *pamh)
{
    const void *data = NULL;
    if (pam_get_data(pamh, DATA_NAME, &data) != PAM_SUCCESS || data == NULL)
        return NULL;
    struct memory *memory = (struct memory *)(uintptr_t)data; /* PAM gives back what was given, as const */
    return memory->pid == getpid() ? memory : NULL;
}

static void copy(char *out, size_t size, const char *text)
{
    (void)snprintf(out, size, "%s", text == NULL ? "" : text);
}

static bool remember(pam_handle_t *pamh, const json_t *answer)
{
    struct memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        return false;
    memory->pid = getpid();
    copy(memory->grant, sizeof memory->grant, json_string_value(json_object_get(answer, "grant")));
    copy(memory->session, sizeof memory->session, json_string_value(json_object_get(answer, "session")));
    if (pam_set_data(pamh, DATA_NAME, memory, forget) == PAM_SUCCESS)
        return true;
    free(memory);
    return false;
}

/* ---- Asking */

/* Also when the program wants silence (sudo always does here): who is refused should learn what to do. */
static void tell(pam_handle_t *pamh, const struct pam_arguments *arguments, const struct question *question,
                 const char *reason)
{
    if (arguments->silent)
        return;
    if (reason == NULL)
        (void)pam_info(pamh, "lapse: %s on %s is refused: it can't be found out whether there is a grant",
                       question->action, question->resource);
    else if (strcmp(reason, "NO_GRANT") == 0)
        (void)pam_info(pamh,
                       "lapse: no active grant for %s on %s. Ask for one: lapse request --subject %s --resource %s "
                       "--action %s --duration 1h --justification WHY",
                       question->action, question->resource, question->subject, question->resource, question->action);
    else
        (void)pam_info(pamh, "lapse: %s on %s is refused: %s", question->action, question->resource, reason);
}

static json_t *pack(const struct question *question, const char *op)
{
    json_t *object = json_pack("{s:s,s:s,s:s,s:s}", "op", op, "subject", question->subject, "resource",
                               question->resource, "action", question->action);
    if (object != NULL && question->address != NULL)
        (void)json_object_set_new(object, "address", json_string(question->address));
    return object;
}

/* Takes `object` over. Permitted: true, and it is remembered. */
static bool ask(pam_handle_t *pamh, const struct pam_arguments *arguments, const struct question *question,
                json_t *object)
{
    struct lapse_error error = {.message = "no memory"};
    json_t *answer = NULL;
    bool asked = object != NULL && lapse_is_ok(pam_ask(arguments, object, &answer, &error));
    bool permit = asked && json_is_true(json_object_get(answer, "permit"));
    const char *reason = json_string_value(json_object_get(answer, "reason"));
    const char *detail = json_string_value(json_object_get(answer, "detail"));
    if (!permit) {
        pam_syslog(pamh, asked ? LOG_NOTICE : LOG_ERR, "denied: subject %s, resource %s, action %s: %s %s",
                   question->subject, question->resource, question->action, asked && reason ? reason : "",
                   asked ? (detail ? detail : "") : error.message);
        tell(pamh, arguments, question, asked ? reason : NULL);
    } else if (arguments->debug) {
        pam_syslog(pamh, LOG_DEBUG, "permitted: subject %s, resource %s, action %s, grant %s", question->subject,
                   question->resource, question->action, json_string_value(json_object_get(answer, "grant")) ?: "none");
    }
    if (permit && !remember(pamh, answer))
        permit = false;
    json_decref(answer);
    json_decref(object);
    return permit;
}

static bool prepare(pam_handle_t *pamh, int argc, const char **argv, struct pam_arguments *arguments,
                    struct question *question)
{
    struct names names;
    struct lapse_error error;
    lapse_result result = pam_arguments_parse(argc, argv, arguments, &error);
    collect(pamh, &names);
    if (lapse_is_ok(result))
        result = make_question(arguments, &names, question, &error);
    if (!lapse_is_ok(result))
        pam_syslog(pamh, LOG_ERR, "denied: %s", error.message);
    return lapse_is_ok(result);
}

/* Processes that lose their parents become this one's children, so that the agent finds them. */
static bool adopt_orphans(pam_handle_t *pamh)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
        return true;
    pam_syslog(pamh, LOG_ERR, "denied: this process can't become the reaper of its descendants: %s", strerror(errno));
    return false;
}

/* ---- What PAM calls */

EXPORT int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct pam_arguments arguments;
    struct question question;
    (void)flags;
    if (!prepare(pamh, argc, argv, &arguments, &question))
        return PAM_PERM_DENIED;
    return ask(pamh, &arguments, &question, pack(&question, "check")) ? PAM_SUCCESS : PAM_PERM_DENIED;
}

EXPORT int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct pam_arguments arguments;
    struct question question;
    (void)flags;
    if (!prepare(pamh, argc, argv, &arguments, &question) || (arguments.end_sessions && !adopt_orphans(pamh)))
        return PAM_PERM_DENIED;
    const struct memory *memory = recall(pamh);
    json_t *object = pack(&question, "session_begin");
    if (object != NULL) {
        (void)json_object_set_new(object, "description", json_string(question.description));
        (void)json_object_set_new(object, "end_processes", json_boolean(arguments.end_sessions));
        (void)json_object_set_new(object, "grant", json_string(memory == NULL ? "" : memory->grant));
    }
    return ask(pamh, &arguments, &question, object) ? PAM_SUCCESS : PAM_PERM_DENIED;
}

/* The agent also notices when this process ends, so what goes wrong here is only logged. */
EXPORT int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct pam_arguments arguments;
    struct lapse_error error;
    struct memory *memory = recall(pamh);
    json_t *answer = NULL;
    (void)flags;
    if (memory == NULL || memory->session[0] == '\0')
        return PAM_SUCCESS;
    json_t *object = json_pack("{s:s,s:s}", "op", "session_end", "session", memory->session);
    lapse_result result = pam_arguments_parse(argc, argv, &arguments, &error);
    if (lapse_is_ok(result) && object != NULL)
        result = pam_ask(&arguments, object, &answer, &error);
    if (!lapse_is_ok(result))
        pam_syslog(pamh, LOG_WARNING, "the session's end could not be told: %s", error.message);
    memory->session[0] = '\0';
    json_decref(answer);
    json_decref(object);
    return PAM_SUCCESS;
}

/* A grant says who may, not who somebody is. */
EXPORT int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_IGNORE;
}

EXPORT int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_IGNORE;
}
