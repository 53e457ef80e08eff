/* Records as events of the Open Cybersecurity Schema Framework (OCSF 1.5), for a SIEM. One way: what is hashed is lost.
 */
#ifndef LAPSE_CLIENT_AUDIT_OCSF_H
#define LAPSE_CLIENT_AUDIT_OCSF_H

#include <jansson.h>

#include "client/lapse_audit.h"

#define AUDIT_OCSF_VERSION "1.5.0"

/* A new object. `event`: the record's event (client/audit_event.h). Every type of event has a class, also one that this
 * build doesn't know. */
json_t *audit_ocsf(const char *cluster, const struct lapse_audit_record *record, const json_t *event);

#endif
