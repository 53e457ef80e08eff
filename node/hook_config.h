/* Webhooks as the operator sets them: one INI file, named by webhooks.file, the same on every node (the leader
 * delivers, and any node may come to lead). A section is a webhook:
 *
 *   [chat]
 *   url = https://chat.example.org/hooks/lapse
 *   kind = json                    # or caep: Security Event Tokens (RFC 8417), pushed as RFC 8935 says
 *   events = REQUESTED,REVOKED     # json: otherwise all but RECEIPTS, SESSION_*, USED
 *   secret-file = /etc/lapse/chat.secret    # json: signs each delivery (HMAC-SHA256), 24 to 512 bytes
 *   authorization-file = FILE      # the value of an Authorization header
 *   ca-file = FILE                 # authorities to trust for it, otherwise the system's
 *   timeout = 10s                  # of one attempt
 *   give-up-after = 24h            # an event that could not be delivered for so long is passed over, and logged
 *   issuer, audience, signing-key-file      # caep: required; an Ed25519 key in PEM */
#ifndef LAPSE_NODE_HOOK_CONFIG_H
#define LAPSE_NODE_HOOK_CONFIG_H

#include <openssl/evp.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "node/config.h"

enum hook_kind { HOOK_JSON, HOOK_CAEP };

#define HOOK_URL_SIZE 1024

struct hook_options {
    char name[LIMIT_POLICY + 1];
    char url[HOOK_URL_SIZE];
    enum hook_kind kind;
    uint64_t types; /* bits 1 << store_event_type */
    uint8_t secret[512];
    size_t secret_len; /* 0: unsigned */
    char authorization[1024];
    char ca_file[CONFIG_PATH_SIZE];
    uint32_t timeout_ms;
    int64_t give_up_ms;
    char issuer[256], audience[256];
    EVP_PKEY *signing_key;
    uint32_t given; /* which settings have been read */
};

struct hooks_config {
    struct hook_options *hooks;
    uint32_t n;
};

/* FAILED_PRECONDITION with "FILE:LINE: ..." or "FILE: [NAME]: ...". The secrets are read now: the files must not be
 * readable by others. */
lapse_result hooks_config_read(const char *file, struct hooks_config *config, struct lapse_error *error) LAPSE_MUST_USE;
/* Wipes the secrets. Accepts a zeroed one. */
void hooks_config_free(struct hooks_config *config);

#endif
