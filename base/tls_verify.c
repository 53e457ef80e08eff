/* Whether a certificate is let in.
 *
 *   chain, dates, purpose (OpenSSL) -> leaf, not CA -> extended key usage -> one URI SAN, a SPIFFE ID -> our trust
 * domain
 *   -> not denied -> (a server:) the principal we expect
 *
 * Every refusal is written for whoever reads the log of this side. */
#include "base/tls_internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#define NODE_PATH "lapse/node/"

int64_t tls_time_unix(const ASN1_TIME *time)
{
    struct tm utc;
    return ASN1_TIME_to_tm(time, &utc) == 1 ? (int64_t)timegm(&utc) : 0;
}

static lapse_result uri_of_names(GENERAL_NAMES *names, const char *whose, char principal[LIMIT_PRINCIPAL + 1],
                                 struct lapse_error *error)
{
    int count = 0;
    const ASN1_IA5STRING *uri = NULL;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_URI) {
            uri = name->d.uniformResourceIdentifier;
            count++;
        }
    }
    if (count != 1)
        return lapse_fail(error, LAPSE_UNAUTHENTICATED,
                          "%s: the certificate has %d URI names; it needs exactly one, its SPIFFE ID", whose, count);
    struct slice text = slice_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri));
    /* Copied with an embedded NUL the text would be shorter than what was signed; the parser refuses the NUL. */
    if (!slice_to_cstr(text, principal, LIMIT_PRINCIPAL + 1) || strlen(principal) != text.len)
        return lapse_fail(error, LAPSE_UNAUTHENTICATED,
                          "%s: the certificate's SPIFFE ID is longer than %d bytes or "
                          "has a NUL in it",
                          whose, LIMIT_PRINCIPAL);
    return lapse_ok();
}

lapse_result tls_leaf_principal(X509 *leaf, const char *whose, char principal[LIMIT_PRINCIPAL + 1],
                                struct slice *domain, struct slice *path, struct lapse_error *error)
{
    struct lapse_error detail;
    if (X509_check_ca(leaf) != 0)
        return lapse_fail(error, LAPSE_UNAUTHENTICATED,
                          "%s: the certificate is an authority's; a connection needs a leaf (lapse pki issue)", whose);
    /* NULL also when the extension is there twice. */
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    lapse_result result = uri_of_names(names, whose, principal, error);
    GENERAL_NAMES_free(names);
    if (!lapse_is_ok(result))
        return result;
    if (!lapse_is_ok(spiffe_id_parse(slice_str(principal), domain, path, &detail)))
        return lapse_fail(error, LAPSE_UNAUTHENTICATED, "%s: the certificate's URI name is no SPIFFE ID: %s", whose,
                          detail.message);
    return lapse_ok();
}

static lapse_result explain_chain(int code, const char *whose, struct lapse_error *error)
{
    switch (code) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return lapse_fail(error, LAPSE_UNAUTHENTICATED,
                          "%s: the certificate is signed by an authority this side doesn't trust: compare ca.pem on "
                          "both sides",
                          whose);
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return lapse_fail(error, LAPSE_UNAUTHENTICATED,
                          "%s: the certificate, or its authority's, has expired: issue a new one there", whose);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return lapse_fail(error, LAPSE_UNAUTHENTICATED,
                          "%s: the certificate is not valid yet: compare the clocks of both sides", whose);
    case X509_V_ERR_INVALID_PURPOSE:
        return lapse_fail(error, LAPSE_UNAUTHENTICATED,
                          "%s: the certificate is not made for this use (key usage, extended key usage)", whose);
    default:
        return lapse_fail(error, LAPSE_UNAUTHENTICATED, "%s: the certificate does not verify: %s", whose,
                          X509_verify_cert_error_string(code));
    }
}

static lapse_result check_usage(X509 *leaf, bool server, const char *whose, struct lapse_error *error)
{
    uint32_t wanted = server ? XKU_SSL_SERVER : XKU_SSL_CLIENT;
    uint32_t usage = X509_get_extended_key_usage(leaf);
    /* UINT32_MAX: no such extension, which OpenSSL takes for "any use". */
    if (usage == UINT32_MAX || (usage & wanted) == 0)
        return lapse_fail(error, LAPSE_UNAUTHENTICATED, "%s: the certificate's extended key usage lacks %s", whose,
                          server ? "serverAuth" : "clientAuth");
    return lapse_ok();
}

static void thumbprint(X509 *leaf, uint8_t digest[32], char text[65])
{
    unsigned len = 32;
    CHECK(X509_digest(leaf, EVP_sha256(), digest, &len) == 1 && len == 32);
    for (size_t i = 0; i < 32; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

static lapse_result check_denied(const struct tls_identity *identity, const char *print, const char *principal,
                                 const char *whose, struct lapse_error *error)
{
    if (tls_identity_denies(identity, print))
        return lapse_fail(error, LAPSE_UNAUTHENTICATED, "%s: the certificate %s is on the deny list", whose, print);
    if (tls_identity_denies(identity, principal))
        return lapse_fail(error, LAPSE_UNAUTHENTICATED, "%s: %s is on the deny list", whose, principal);
    return lapse_ok();
}

/* Domain compared already. */
static lapse_result check_expected(const char *expect, const char *principal, struct slice path, const char *whose,
                                   struct lapse_error *error)
{
    size_t len = expect == NULL ? 0 : strlen(expect);
    bool met;
    if (expect == NULL)
        met = path.len > strlen(NODE_PATH) && memcmp(path.data, NODE_PATH, strlen(NODE_PATH)) == 0;
    else if (len > 0 && expect[len - 1] == '*')
        met = strncmp(principal, expect, len - 1) == 0;
    else
        met = strcmp(principal, expect) == 0;
    if (met)
        return lapse_ok();
    return lapse_fail(error, LAPSE_UNAUTHENTICATED, "%s is %s, not %s: is the address right?", whose, principal,
                      expect == NULL ? "a Lapse node" : expect);
}

/* All that is ours to check of a leaf whose chain verified. Fills `peer` but for its address. */
static lapse_result check_leaf(const struct tls_identity *identity, X509 *leaf, bool server, struct stream_peer *peer,
                               struct slice *path, struct lapse_error *error)
{
    char print[65];
    struct slice domain;
    const char *whose = peer->address;
    lapse_result result = tls_leaf_principal(leaf, whose, peer->principal, &domain, path, error);
    if (lapse_is_ok(result))
        result = check_usage(leaf, server, whose, error);
    if (!lapse_is_ok(result))
        return result;
    if (!slice_equal(domain, slice_str(identity->domain)))
        return lapse_fail(error, LAPSE_UNAUTHENTICATED, "%s: %s is not of the trust domain %s", whose, peer->principal,
                          identity->domain);
    thumbprint(leaf, peer->certificate_sha256, print);
    return check_denied(identity, print, peer->principal, whose, error);
}

static lapse_result judge(X509_STORE_CTX *store, const struct tls_identity *identity, struct tls_stream *stream)
{
    struct slice path;
    struct lapse_error *error = &stream->why;
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    bool server = SSL_is_server(stream->ssl) == 0; /* the other side's role */
    if (X509_verify_cert(store) != 1)
        return explain_chain(X509_STORE_CTX_get_error(store), stream->peer.address, error);
    lapse_result result = check_leaf(identity, leaf, server, &stream->peer, &path, error);
    if (lapse_is_ok(result) && server)
        result =
            check_expected(tls_dial_expect(stream->dial), stream->peer.principal, path, stream->peer.address, error);
    if (lapse_is_ok(result))
        stream->expires_at = tls_time_unix(X509_get0_notAfter(leaf));
    return result;
}

/* OpenSSL's hook: 1 lets the peer in. The store's error becomes the alert that the peer is sent. */
int tls_verify_certificate(X509_STORE_CTX *store, void *identity)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    if (lapse_is_ok(judge(store, identity, SSL_get_app_data(ssl))))
        return 1;
    if (X509_STORE_CTX_get_error(store) == X509_V_OK)
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

static bool chain_verifies(const struct tls_identity *identity, SSL *ssl, X509 *leaf)
{
    X509_STORE_CTX *store = X509_STORE_CTX_new();
    bool valid = store != NULL &&
                 X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(identity->context), leaf,
                                     SSL_get_peer_cert_chain(ssl)) == 1 &&
                 X509_STORE_CTX_set_default(store, SSL_is_server(ssl) ? "ssl_client" : "ssl_server") == 1;
    if (valid) {
        X509_STORE_CTX_set_depth(store, LIMIT_TLS_CHAIN_DEPTH);
        valid = X509_verify_cert(store) == 1;
    }
    X509_STORE_CTX_free(store);
    ERR_clear_error();
    return valid;
}

bool tls_stream_still_valid(const struct stream *stream, const struct tls_identity *identity)
{
    const struct tls_stream *tls = (const struct tls_stream *)stream;
    struct stream_peer peer = {.address = ""};
    struct slice path;
    X509 *leaf = SSL_get0_peer_certificate(tls->ssl);
    return leaf != NULL && chain_verifies(identity, tls->ssl, leaf) &&
           lapse_is_ok(check_leaf(identity, leaf, SSL_is_server(tls->ssl) == 0, &peer, &path, NULL));
}
