/* What a line in /etc/pam.d says to pam_lapse, and the texts that it makes of who asks for what.
 *
 *   %u  PAM_USER   %i  PAM_RUSER, who invokes   %r  PAM_RHOST   %h  this machine   %s  the service   %t  the terminal
 *
 * A value that is not there, or has other characters than letters, digits and "._-:+", fails: so nobody reaches another
 * resource by how a user or a host is called. Pure. */
#ifndef LAPSE_CLIENT_PAM_ARGUMENTS_H
#define LAPSE_CLIENT_PAM_ARGUMENTS_H

#include <stdint.h>

#include "base/limits.h"
#include "base/result.h"

struct pam_arguments {
    const char *socket;
    const char *subject, *resource, *action; /* templates */
    bool end_sessions;
    bool debug;
    bool silent;
    uint32_t timeout_ms; /* for the agent's answer */
};

/* INVALID_ARGUMENT with what is accepted. Borrows the texts. */
lapse_result pam_arguments_parse(int argc, const char **argv, struct pam_arguments *out,
                                 struct lapse_error *error) LAPSE_MUST_USE;

/* NULL or empty: not there. */
struct pam_facts {
    const char *user, *invoker, *remote_host, *host, *service, *terminal;
};

/* INVALID_ARGUMENT naming what is missing or can't be used. */
lapse_result pam_template_expand(const char *text, const struct pam_facts *facts, char *out, size_t size,
                                 struct lapse_error *error) LAPSE_MUST_USE;

#endif
