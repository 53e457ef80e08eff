/* Certificates for tests: a good authority by way of base/pki.h, and leafs that pki_issue would never make. */
#ifndef LAPSE_TESTS_TLS_FIXTURE_H
#define LAPSE_TESTS_TLS_FIXTURE_H

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/check.h"
#include "base/pki.h"
#include "base/tls.h"

/* A fresh directory with an authority of `domain` in it. The caller frees with fixture_remove. */
static inline char *fixture_authority(const char *domain)
{
    char template[] = "/tmp/lapse-test-XXXXXX";
    struct lapse_error error = {0};
    cr_assert_not_null(mkdtemp(template));
    cr_assert(lapse_is_ok(pki_init(template, domain, 30, &error)), "%s", error.message);
    return mem_strdup(template);
}

static inline int fixture_unlink(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static inline void fixture_remove(char *dir)
{
    (void)nftw(dir, fixture_unlink, 8, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

static inline const char *fixture_path(const char *dir, const char *file)
{
    static char paths[8][300];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", dir, file);
    return path;
}

static inline void fixture_issue(const char *dir, const char *principal, const char *name)
{
    struct lapse_error error = {0};
    struct pki_request request = {principal, name, NULL, 30};
    cr_assert(lapse_is_ok(pki_issue(dir, &request, &error)), "%s", error.message);
}

static inline struct tls_files fixture_files(const char *dir, const char *name)
{
    static char certificate[4][300], key[4][300], authorities[4][300];
    static unsigned next;
    unsigned i = next++ % 4;
    (void)snprintf(certificate[i], sizeof certificate[i], "%s/%s.pem", dir, name);
    (void)snprintf(key[i], sizeof key[i], "%s/%s.key", dir, name);
    (void)snprintf(authorities[i], sizeof authorities[i], "%s/ca.pem", dir);
    return (struct tls_files){certificate[i], key[i], authorities[i], NULL};
}

/* Loads DIR/NAME.{pem,key} trusting DIR/ca.pem. */
static inline struct tls_identity *fixture_identity(const char *dir, const char *name)
{
    struct lapse_error error = {0};
    struct tls_identity *identity = NULL;
    struct tls_files files = fixture_files(dir, name);
    cr_assert(lapse_is_ok(tls_identity_load(&files, &identity, &error)), "%s", error.message);
    return identity;
}

/* What is wrong, or right, with a leaf. */
struct fixture_leaf {
    const char *names;       /* as in openssl.cnf: "URI:spiffe://...,URI:..." ; NULL: none */
    const char *constraints; /* NULL: "critical,CA:FALSE" */
    const char *usage;       /* extended key usage; NULL: both; "": no such extension */
    long from_s, until_s;    /* from now; both 0: an hour around now */
};

static inline void fixture_extend(X509 *leaf, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, leaf, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    cr_assert_not_null(extension);
    cr_assert_eq(X509_add_ext(leaf, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline X509 *fixture_read_certificate(const char *path)
{
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    (void)fclose(file);
    cr_assert_not_null(certificate);
    return certificate;
}

static inline EVP_PKEY *fixture_read_key(const char *path)
{
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    (void)fclose(file);
    cr_assert_not_null(key);
    return key;
}

static inline void fixture_write(const char *dir, const char *name, X509 *leaf, EVP_PKEY *key)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s.pem", dir, name);
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL && PEM_write_X509(file, leaf) == 1);
    (void)fclose(file);
    (void)snprintf(path, sizeof path, "%s/%s.key", dir, name);
    file = fopen(path, "w");
    cr_assert(file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    (void)fclose(file);
    cr_assert_eq(chmod(path, 0600), 0);
}

/* Signs such a leaf with DIR's authority and writes DIR/NAME.{pem,key}. */
static inline void fixture_craft(const char *dir, const char *name, const struct fixture_leaf *wanted)
{
    X509 *issuer = fixture_read_certificate(fixture_path(dir, "ca.pem"));
    EVP_PKEY *issuer_key = fixture_read_key(fixture_path(dir, "ca.key"));
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *leaf = X509_new();
    bool dated = wanted->from_s != 0 || wanted->until_s != 0;
    cr_assert(X509_set_version(leaf, 2) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(leaf), 7) == 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(leaf), dated ? wanted->from_s : -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(leaf), dated ? wanted->until_s : 3600);
    X509_NAME *subject = X509_get_subject_name(leaf);
    (void)X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    cr_assert(X509_set_issuer_name(leaf, X509_get_subject_name(issuer)) == 1 && X509_set_pubkey(leaf, key) == 1);
    fixture_extend(leaf, issuer, NID_basic_constraints,
                   wanted->constraints == NULL ? "critical,CA:FALSE" : wanted->constraints);
    fixture_extend(leaf, issuer, NID_authority_key_identifier, "keyid:always");
    if (wanted->names != NULL)
        fixture_extend(leaf, issuer, NID_subject_alt_name, wanted->names);
    if (wanted->usage == NULL || wanted->usage[0] != '\0')
        fixture_extend(leaf, issuer, NID_ext_key_usage,
                       wanted->usage == NULL ? "clientAuth,serverAuth" : wanted->usage);
    cr_assert(X509_sign(leaf, issuer_key, EVP_sha256()) > 0);
    fixture_write(dir, name, leaf, key);
    X509_free(leaf);
    X509_free(issuer);
    EVP_PKEY_free(key);
    EVP_PKEY_free(issuer_key);
}

#endif
