/* A request as a proxy told it --> a request in one spelling, checked (struct agent_facts). Pure. */
#ifndef LAPSE_CLIENT_AGENT_FACTS_H
#define LAPSE_CLIENT_AGENT_FACTS_H

#include "client/agent/template.h"

/* NULL, or why the request can't be judged (static; `facts` is unspecified then). Borrows `request`. What the proxy did
 * not tell stays empty, but for the target. */
const char *agent_facts_take(const struct agent_request *request, struct agent_facts *facts);

/* A certificate in percent-encoded PEM: SHA-256 of its DER (also in hex), and its SPIFFE ID if its only URI SAN is one
 * ("" otherwise). False when it is no certificate. Whether it is to be believed, the proxy has verified. */
bool agent_certificate_read(struct slice escaped, struct agent_facts *facts);

#endif
