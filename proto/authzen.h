/* The OpenID Authorization API 1.0 (AuthZEN): the question and the answer of POST /access/v1/evaluation, for whoever
 * serves it.
 *
 *   {"subject":  {"type": "user", "id": "dev1@example.com"},       the subject user:dev1@example.com
 *    "resource": {"type": "database", "id": "db/prod/orders"},     the path; its type is not looked at
 *    "action":   {"name": "read"},
 *    "context":  {"spiffe_id": ..., "certificate_sha256": ..., "address": ..., "token": ...}}    all optional
 *   --> {"decision": true, "context": {"reason": "ALLOWS", "grant": ..., "subject": ..., ...}}
 *
 * A subject's id that begins with its type and a colon, or with "spiffe://", stands as it is; otherwise type and colon
 * are put before it. A subject of the type "token" is the bearer token in its id: its grant says who it is. Members
 * that are not known are passed over, as the specification has it. Pure. */
#ifndef LAPSE_PROTO_AUTHZEN_H
#define LAPSE_PROTO_AUTHZEN_H

#include "base/bytes.h"
#include "base/limits.h"
#include "base/token.h"

#define AUTHZEN_PATH "/access/v1/evaluation"

/* Owns its text. Empty: not told. */
struct authzen_question {
    char subject[LIMIT_SUBJECT + 1]; /* empty only with a token */
    char resource[LIMIT_RESOURCE + 1];
    char action[LIMIT_ACTION + 1];
    char spiffe_id[LIMIT_PRINCIPAL + 1];
    uint8_t certificate_sha256[32];
    bool has_certificate;
    char address[46]; /* an IP address */
    uint8_t token_sha256[TOKEN_HASH_BYTES];
    bool has_token;
};

/* INVALID_ARGUMENT with what is wrong; never with a token's text. Whether subject, resource and action can be any is
 * not looked at: that is a denial, not an error. */
lapse_result authzen_parse(struct slice json, struct authzen_question *question,
                           struct lapse_error *error) LAPSE_MUST_USE;

/* Texts are NUL-terminated; empty or NULL ones are left out. */
struct authzen_answer {
    bool decision;
    const char *reason, *detail, *grant, *subject;
    uint64_t revision;
    int64_t valid_for_ms; /* left out for a denial */
};
/* The answer's body, to be freed; what of it is no UTF-8 is left out. */
char *authzen_render(const struct authzen_answer *answer);

/* Whether a Content-Type header says JSON. NULL: there was none. */
bool authzen_is_json(const char *content_type);
/* Whether an X-Request-ID may be repeated in an answer: printable, at most 128 characters. */
bool authzen_may_echo(const char *request_id);

#endif
