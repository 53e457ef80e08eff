/* A record's event (lapse.v1.Event) as JSON, for people and for what is counted about records.
 *
 * The form comes from the descriptors that this build embeds for reflection, not from a table of our own: every field
 * of the .proto files is shown, under its name, also those that nothing else of the client knows. */
#ifndef LAPSE_CLIENT_AUDIT_EVENT_H
#define LAPSE_CLIENT_AUDIT_EVENT_H

#include <jansson.h>

#include "base/bytes.h"

/* A new object: what is empty is left out, enumerations by name without their common prefix ("REVOKED"), bytes in hex.
 * `*newer` (may be NULL) becomes true when the event has fields or names that this build doesn't know: they are left
 * out, or shown as numbers. NULL and DATA_LOSS when the bytes are no message. Any thread. */
json_t *audit_event_json(struct slice event, bool *newer, struct lapse_error *error);

/* The number of a type of event by such a name; 0 when there is none. */
int audit_event_type(const char *name);

/* Text that may have been cut in the middle of a character, as snprintf does: without what is left of it. */
json_t *audit_cut_text(const char *text);

/* Members of such an object, by a path of names with a dot between each: "grant.id". "" and 0 for what is not there.
 * Lent. */
const char *audit_text(const json_t *object, const char *path);
int64_t audit_number(const json_t *object, const char *path);
/* NULL when it is not there. */
json_t *audit_member(const json_t *object, const char *path);

#endif
