/* Templates: texts in a mapping that draw from the request.
 *
 *   ${method}         in lower case            ${path}      decoded, without the slash before it
 *   ${host}           lower case, no port      ${path:2}    its second segment
 *   ${header:NAME}    must stand there once    ${query:NAME}  decoded; must stand there once
 *   ${client.ip}                               ${source.principal}  the peer's URI SAN
 *   ${client.certificate.sha256}  hex          ${client.certificate.spiffe-id}
 *
 * A value that is absent or empty is a denial that names it, never an empty string. In a template with anything else
 * beside it, a value is one segment: a slash in it (but for ${path}) is refused, so that nobody reaches another
 * resource by what they write into a header. Control characters are refused everywhere. Pure, once parsed. */
#ifndef LAPSE_CLIENT_AGENT_TEMPLATE_H
#define LAPSE_CLIENT_AGENT_TEMPLATE_H

#include "client/agent/request.h"
#include "client/agent/target.h"

enum agent_variable {
    AGENT_TEXT, /* not a variable */
    AGENT_METHOD,
    AGENT_HOST,
    AGENT_PATH,
    AGENT_SEGMENT,
    AGENT_QUERY,
    AGENT_HEADER,
    AGENT_CLIENT_IP,
    AGENT_CERTIFICATE_SHA256,
    AGENT_CERTIFICATE_SPIFFE_ID,
    AGENT_SOURCE_PRINCIPAL
};

struct agent_piece {
    enum agent_variable variable;
    struct slice text; /* the text, or the name of the header or parameter; into the template's `text` */
    uint32_t segment;
};

struct agent_template {
    char text[LIMIT_AGENT_TEMPLATE + 1]; /* as it stands in the file */
    struct agent_piece pieces[LIMIT_AGENT_PIECES];
    uint32_t n_pieces; /* 0: there is no template */
};

/* INVALID_ARGUMENT with what is wrong and what is accepted. A template must not be copied or moved afterwards. */
lapse_result agent_template_parse(const char *text, struct agent_template *template,
                                  struct lapse_error *error) LAPSE_MUST_USE;

/* A request in the spelling that templates draw from. */
struct agent_facts {
    const struct agent_request *request;
    struct agent_target target;
    char method[LIMIT_ACTION + 1]; /* lower case */
    char host[LIMIT_RESOURCE + 1];
    char address[46];
    char certificate_sha256[65];
    char spiffe_id[LIMIT_PRINCIPAL + 1]; /* of the certificate */
    uint8_t certificate_hash[32];
};

enum agent_drawn { AGENT_DRAWN, AGENT_MISSING, AGENT_UNCLEAR, AGENT_TOO_LONG };
/* Writes the text into `out`, NUL-terminated. On failure `what` names the variable: "header:X-Forwarded-User". */
enum agent_drawn agent_template_draw(const struct agent_template *template, const struct agent_facts *facts, char *out,
                                     size_t size, struct slice *what);

#endif
