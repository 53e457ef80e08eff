#include "client/agent/evaluation.h"

#include <stdlib.h>

#include "client/agent/http_answer.h"
#include "proto/authzen.h"

lapse_result evaluation_parse(struct slice json, struct agent_question *question, struct lapse_error *error)
{
    struct authzen_question asked;
    lapse_result result = authzen_parse(json, &asked, error);
    if (!lapse_is_ok(result))
        return result;
    *question = (struct agent_question){.has_certificate = asked.has_certificate, .has_token = asked.has_token};
    memcpy(question->subject, asked.subject, sizeof question->subject);
    memcpy(question->resource, asked.resource, sizeof question->resource);
    memcpy(question->action, asked.action, sizeof question->action);
    memcpy(question->spiffe_id, asked.spiffe_id, sizeof question->spiffe_id);
    memcpy(question->address, asked.address, sizeof question->address);
    memcpy(question->certificate_sha256, asked.certificate_sha256, sizeof question->certificate_sha256);
    memcpy(question->token_sha256, asked.token_sha256, sizeof question->token_sha256);
    return result;
}

enum MHD_Result evaluation_answer(struct MHD_Connection *connection, const struct agent_answer *answer)
{
    const struct authzen_answer told = {.decision = answer->permit,
                                        .reason = answer->reason,
                                        .detail = answer->detail,
                                        .grant = answer->decision.grant,
                                        .subject = answer->permit ? answer->decision.subject : NULL,
                                        .revision = answer->decision.revision,
                                        .valid_for_ms = answer->decision.valid_for_ms};
    char *body = authzen_render(&told);
    enum MHD_Result sent = http_answer_evaluated(connection, body);
    free(body);
    return sent;
}
