#include "client/agent/template.h"

#include <stdlib.h>

#include "base/check.h"

#define SEGMENTS_MAX 32

static const struct {
    const char *name; /* with a colon when a name or number follows */
    enum agent_variable variable;
} variables[] = {
    {"method", AGENT_METHOD},
    {"host", AGENT_HOST},
    {"path", AGENT_PATH},
    {"path:", AGENT_SEGMENT},
    {"query:", AGENT_QUERY},
    {"header:", AGENT_HEADER},
    {"client.ip", AGENT_CLIENT_IP},
    {"client.certificate.sha256", AGENT_CERTIFICATE_SHA256},
    {"client.certificate.spiffe-id", AGENT_CERTIFICATE_SPIFFE_ID},
    {"source.principal", AGENT_SOURCE_PRINCIPAL},
};

/* ---- Parsing */

static lapse_result add_piece(struct agent_template *template, struct agent_piece piece, struct lapse_error *error)
{
    if (template->n_pieces == LIMIT_AGENT_PIECES)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the template has more than %u pieces", LIMIT_AGENT_PIECES);
    template->pieces[template->n_pieces++] = piece;
    return lapse_ok();
}

static bool parse_segment(struct slice text, uint32_t *segment)
{
    char number[4];
    if (text.len == 0 || !slice_to_cstr(text, number, sizeof number) || strspn(number, "0123456789") != text.len)
        return false;
    *segment = (uint32_t)atoi(number);
    return *segment >= 1 && *segment <= SEGMENTS_MAX;
}

/* `name` is what stands between the braces. */
static bool parse_variable(struct slice name, struct agent_piece *piece)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        struct slice known = slice_str(variables[i].name);
        bool takes_name = known.data[known.len - 1] == ':';
        if (name.len < known.len || memcmp(name.data, known.data, known.len) != 0 ||
            (takes_name ? name.len == known.len : name.len != known.len))
            continue;
        piece->variable = variables[i].variable;
        piece->text = slice_of(name.data + known.len, name.len - known.len);
        return piece->variable != AGENT_SEGMENT || parse_segment(piece->text, &piece->segment);
    }
    return false;
}

static lapse_result unknown_variable(struct slice name, struct lapse_error *error)
{
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                      "there is no ${%.*s}; accepted: ${method}, ${host}, ${path}, ${path:N} (N from 1 to %d), "
                      "${query:NAME}, ${header:NAME}, ${client.ip}, ${client.certificate.sha256}, "
                      "${client.certificate.spiffe-id}, ${source.principal}",
                      (int)(name.len > 40 ? 40 : name.len), (const char *)name.data, SEGMENTS_MAX);
}

lapse_result agent_template_parse(const char *text, struct agent_template *template, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    *template = (struct agent_template){0};
    if (*text == '\0' || !slice_to_cstr(slice_str(text), template->text, sizeof template->text))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a template has 1 to %u bytes", LIMIT_AGENT_TEMPLATE);
    for (const char *at = template->text; *at != '\0' && lapse_is_ok(result);) {
        struct agent_piece piece = {.variable = AGENT_TEXT};
        const char *begin = strstr(at, "${"), *end = begin == at ? strchr(at, '}') : NULL;
        if (begin == at) {
            struct slice name = slice_of(at + 2, end == NULL ? strlen(at + 2) : (size_t)(end - at - 2));
            if (end == NULL || !parse_variable(name, &piece))
                return unknown_variable(name, error);
            at = end + 1;
        } else {
            piece.text = slice_of(at, begin == NULL ? strlen(at) : (size_t)(begin - at));
            at += piece.text.len;
        }
        result = add_piece(template, piece, error);
    }
    return result;
}

/* ---- Drawing */

static enum agent_drawn draw_query(const struct agent_piece *piece, const struct agent_facts *facts, char *scratch,
                                   size_t size, struct slice *value)
{
    size_t len = 0;
    switch (agent_target_query(&facts->target, piece->text, scratch, size, &len)) {
    case AGENT_QUERY_ONE:
        *value = slice_of(scratch, len);
        return AGENT_DRAWN;
    case AGENT_QUERY_UNCLEAR:
        return AGENT_UNCLEAR;
    default:
        return AGENT_MISSING;
    }
}

static enum agent_drawn draw_header(const struct agent_piece *piece, const struct agent_facts *facts,
                                    struct slice *value)
{
    return agent_request_header(facts->request, piece->text, value) > 1 ? AGENT_UNCLEAR : AGENT_DRAWN;
}

static enum agent_drawn draw_piece(const struct agent_piece *piece, const struct agent_facts *facts, char *scratch,
                                   size_t size, struct slice *value)
{
    switch (piece->variable) {
    case AGENT_TEXT:
        *value = piece->text;
        return AGENT_DRAWN;
    case AGENT_METHOD:
        *value = slice_str(facts->method);
        return AGENT_DRAWN;
    case AGENT_HOST:
        *value = slice_str(facts->host);
        return AGENT_DRAWN;
    case AGENT_PATH:
        *value = slice_of(facts->target.path, facts->target.path_len);
        return AGENT_DRAWN;
    case AGENT_SEGMENT:
        *value = agent_target_segment(&facts->target, piece->segment);
        return AGENT_DRAWN;
    case AGENT_QUERY:
        return draw_query(piece, facts, scratch, size, value);
    case AGENT_HEADER:
        return draw_header(piece, facts, value);
    case AGENT_CLIENT_IP:
        *value = slice_str(facts->address);
        return AGENT_DRAWN;
    case AGENT_CERTIFICATE_SHA256:
        *value = slice_str(facts->certificate_sha256);
        return AGENT_DRAWN;
    case AGENT_CERTIFICATE_SPIFFE_ID:
        *value = slice_str(facts->spiffe_id);
        return AGENT_DRAWN;
    case AGENT_SOURCE_PRINCIPAL:
        *value = facts->request->principal;
        return AGENT_DRAWN;
    }
    return AGENT_MISSING;
}

/* What stands between the braces, for messages. */
static struct slice spelling(const struct agent_template *template, const struct agent_piece *piece)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        size_t len = strlen(variables[i].name);
        if (variables[i].variable != piece->variable)
            continue;
        if (piece->text.len == 0)
            return slice_str(variables[i].name);
        /* "header:" stands right before the name in the template's text. */
        CHECK((const char *)piece->text.data - len >= template->text);
        return slice_of(piece->text.data - len, len + piece->text.len);
    }
    return slice_str("text");
}

static bool has_slash(struct slice value)
{
    return memchr(value.data, '/', value.len) != NULL;
}

enum agent_drawn agent_template_draw(const struct agent_template *template, const struct agent_facts *facts, char *out,
                                     size_t size, struct slice *what)
{
    char scratch[LIMIT_AGENT_TEMPLATE];
    size_t len = 0;
    for (uint32_t i = 0; i < template->n_pieces; i++) {
        const struct agent_piece *piece = &template->pieces[i];
        struct slice value = {NULL, 0};
        enum agent_drawn drawn = draw_piece(piece, facts, scratch, sizeof scratch, &value);
        bool segment_only = template->n_pieces > 1 && piece->variable != AGENT_TEXT && piece->variable != AGENT_PATH;
        if (drawn == AGENT_DRAWN && value.len == 0)
            drawn = AGENT_MISSING;
        else if (drawn == AGENT_DRAWN && (!slice_is_text(value, false) || (segment_only && has_slash(value))))
            drawn = AGENT_UNCLEAR;
        else if (drawn == AGENT_DRAWN && value.len >= size - len)
            drawn = AGENT_TOO_LONG;
        if (drawn != AGENT_DRAWN) {
            *what = spelling(template, piece);
            return drawn;
        }
        memcpy(out + len, value.data, value.len);
        len += value.len;
    }
    out[len] = '\0';
    return AGENT_DRAWN;
}
