/* A small certificate authority for development and small deployments: `lapse pki` and `lapsed --dev` use it. ECDSA
 * P-256, SHA-256, X.509 v3. Larger places bring their own (SPIRE, step-ca, Vault): Lapse only needs leafs with one URI
 * SAN. */
#ifndef LAPSE_BASE_PKI_H
#define LAPSE_BASE_PKI_H

#include "base/result.h"

#include <stdint.h>

/* Writes DIR/ca.pem and DIR/ca.key (0600; DIR is made 0700 if absent). ALREADY_EXISTS rather than overwriting.
 * `domain`: SPIFFE trust domain. */
lapse_result pki_init(const char *dir, const char *domain, uint32_t days, struct lapse_error *error) LAPSE_MUST_USE;

struct pki_request {
    const char *principal;    /* full SPIFFE ID, or a path that is put under the CA's domain: "user/dev1" */
    const char *name;         /* base name of the files: DIR/NAME.pem, DIR/NAME.key */
    const char *const *hosts; /* DNS names and IP addresses for servers; NULL-terminated; may be NULL */
    uint32_t days;
};
/* Issues a leaf (client and server auth). ALREADY_EXISTS when a file is there. FAILED_PRECONDITION without a CA in DIR.
 */
lapse_result pki_issue(const char *dir, const struct pki_request *request, struct lapse_error *error) LAPSE_MUST_USE;

#endif
