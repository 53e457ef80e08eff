/* The client's certificate as a proxy hands it on: PEM, percent-encoded (nginx $ssl_client_escaped_cert, Envoy). */
#include "client/agent/facts.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/tls.h"

#define PEM_MAX (24u * 1024)

/* Only the first certificate counts: the leaf. */
static X509 *read_pem(struct slice escaped)
{
    char pem[PEM_MAX];
    size_t len = 0;
    if (!agent_percent_decode(escaped, false, pem, sizeof pem, &len))
        return NULL;
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    X509 *certificate = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return certificate;
}

static bool is_spiffe_id(const ASN1_STRING *text)
{
    struct slice domain, path;
    struct slice id = slice_of(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
    return lapse_is_ok(spiffe_id_parse(id, &domain, &path, NULL));
}

/* SPIFFE: exactly one URI SAN. A second one would leave the choice to whoever reads it. */
static void read_spiffe_id(X509 *certificate, char *out, size_t size)
{
    const ASN1_STRING *uri = NULL;
    int n = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_URI && n++ == 0)
            uri = name->d.uniformResourceIdentifier;
    }
    if (n == 1 && is_spiffe_id(uri))
        (void)slice_to_cstr(slice_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri)), out, size);
    GENERAL_NAMES_free(names);
}

static void write_hex(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

bool agent_certificate_read(struct slice escaped, struct agent_facts *facts)
{
    unsigned len = 0;
    X509 *certificate = read_pem(escaped);
    bool good = certificate != NULL && X509_digest(certificate, EVP_sha256(), facts->certificate_hash, &len) == 1 &&
                len == sizeof facts->certificate_hash;
    if (good) {
        write_hex(facts->certificate_hash, len, facts->certificate_sha256);
        read_spiffe_id(certificate, facts->spiffe_id, sizeof facts->spiffe_id);
    }
    X509_free(certificate);
    return good;
}
