/* What a webhook is sent for one record of the audit log. Pure but for OpenSSL.
 *
 * json: a CloudEvent (https://github.com/cloudevents/spec, 1.0, structured mode) whose data is the lapse.v1.Event as
 * JSON; signed, if there is a secret, as https://www.standardwebhooks.com says: headers webhook-id, webhook-timestamp
 * and webhook-signature ("v1," and the base64 of HMAC-SHA256 over "ID.TIMESTAMP.BODY").
 *
 * caep: a Security Event Token (RFC 8417) with the event session-revoked of the OpenID Continuous Access Evaluation
 * Profile 1.0, signed with Ed25519 (RFC 8037), to be pushed as RFC 8935 says.
 *
 * The id ("7-42": epoch and revision) is the same in every attempt and from every node: by it a receiver knows what it
 * has had already. */
#ifndef LAPSE_NODE_HOOK_BODY_H
#define LAPSE_NODE_HOOK_BODY_H

#include "node/hook_config.h"

struct hook_record {
    const char *cluster;
    uint64_t epoch, revision;
    struct slice event; /* a lapse.v1.Event */
};

enum hook_body { HOOK_BODY_MADE, HOOK_BODY_NOTHING /* to tell about this record */, HOOK_BODY_IMPOSSIBLE };

/* Fills `headers` (lines of "Name: value", each ended by a newline) and `body`, both cleared before. `wall_s`: seconds
 * since the Unix epoch, of the attempt. IMPOSSIBLE: the record is no event that this build can put into words, or the
 * words don't fit into `body`; both buffers then hold fragments. No record, however odd, may stop a node: it would stop
 * each leader in turn. */
enum hook_body hook_body_make(const struct hook_options *hook, const struct hook_record *record, int64_t wall_s,
                              struct buf *headers, struct buf *body) LAPSE_MUST_USE;

#endif
