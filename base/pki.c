/* The small certificate authority: a P-256 key that signs P-256 leafs.
 *
 *   pki_init    key -> self-signed certificate, URI SAN spiffe://DOMAIN  -> DIR/ca.key, DIR/ca.pem
 *   pki_issue   key -> leaf signed by DIR/ca.key, URI SAN = principal    -> DIR/NAME.key, DIR/NAME.pem
 *
 * Files are made with O_EXCL and never overwritten; a pair of which the second file fails is taken back. Certificates
 * begin five minutes ago, so that a clock that runs a little late accepts them. */
#include "base/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/check.h"
#include "base/tls.h"

#define BACKDATE_S 300
#define DAYS_MAX 36500u
#define SERIAL_BYTES 16
#define PATH_BYTES 4096
#define NAME_MAX_BYTES 64

static lapse_result openssl_failed(struct lapse_error *error, const char *what)
{
    char reason[160];
    ERR_error_string_n(ERR_peek_last_error(), reason, sizeof reason);
    ERR_clear_error();
    return lapse_fail(error, LAPSE_INTERNAL, "%s: OpenSSL says %s", what, reason);
}

static lapse_result file_path(const char *dir, const char *name, const char *suffix, char out[PATH_BYTES],
                              struct lapse_error *error)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s%s", dir, name, suffix);
    if (n < 0 || n >= PATH_BYTES)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the path of %s%s is too long", name, suffix);
    return lapse_ok();
}

static lapse_result write_all(int fd, const char *path, const char *data, size_t len, struct lapse_error *error)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return lapse_fail(error, LAPSE_INTERNAL, "cannot write %s: %s", path, strerror(errno));
        data += n;
        len -= (size_t)n;
    }
    if (fsync(fd) != 0)
        return lapse_fail(error, LAPSE_INTERNAL, "cannot sync %s: %s", path, strerror(errno));
    return lapse_ok();
}

/* Creates `path` with the contents of `bio`; leaves no file behind when it fails. */
static lapse_result create_file(const char *path, mode_t mode, BIO *bio, struct lapse_error *error)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST)
        return lapse_fail(error, LAPSE_ALREADY_EXISTS, "%s exists already; move it away or choose another name", path);
    if (fd < 0)
        return lapse_fail(error, LAPSE_INTERNAL, "cannot create %s: %s", path, strerror(errno));
    lapse_result result = write_all(fd, path, data, (size_t)len, error);
    (void)close(fd);
    if (!lapse_is_ok(result))
        (void)unlink(path);
    return result;
}

/* The private copy of the key is in a secure-memory BIO, which wipes it. */
static lapse_result write_key(const char *path, EVP_PKEY *key, struct lapse_error *error)
{
    lapse_result result;
    BIO *bio = BIO_new(BIO_s_secmem());
    if (bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        result = openssl_failed(error, "cannot encode a private key");
    else
        result = create_file(path, 0600, bio, error);
    BIO_free(bio);
    return result;
}

static lapse_result write_certificate(const char *path, X509 *certificate, struct lapse_error *error)
{
    lapse_result result;
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_X509(bio, certificate) != 1)
        result = openssl_failed(error, "cannot encode a certificate");
    else
        result = create_file(path, 0644, bio, error);
    BIO_free(bio);
    return result;
}

static lapse_result write_pair(const char *dir, const char *name, EVP_PKEY *key, X509 *certificate,
                               struct lapse_error *error)
{
    char key_path[PATH_BYTES], certificate_path[PATH_BYTES];
    lapse_result result = file_path(dir, name, ".key", key_path, error);
    if (lapse_is_ok(result))
        result = file_path(dir, name, ".pem", certificate_path, error);
    if (lapse_is_ok(result))
        result = write_key(key_path, key, error);
    if (!lapse_is_ok(result))
        return result;
    result = write_certificate(certificate_path, certificate, error);
    if (!lapse_is_ok(result))
        (void)unlink(key_path);
    return result;
}

static bool set_serial(X509 *certificate)
{
    uint8_t bytes[SERIAL_BYTES];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return false;
    bytes[0] = (uint8_t)((bytes[0] & 0x7F) | 0x40); /* positive, and always of full length */
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool done = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return done;
}

static bool set_validity(X509 *certificate, uint32_t days)
{
    time_t now = time(NULL);
    return X509_time_adj_ex(X509_getm_notBefore(certificate), 0, -BACKDATE_S, &now) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(certificate), (int)days, 0, &now) != NULL;
}

static bool set_subject(X509 *certificate, const char *common_name)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"Lapse", -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) == 1;
}

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool done = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return done;
}

static bool push_text_name(GENERAL_NAMES *names, int type, const char *text)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    if (name == NULL || value == NULL || ASN1_STRING_set(value, text, -1) != 1) {
        GENERAL_NAME_free(name);
        ASN1_IA5STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, type, value);
    if (sk_GENERAL_NAME_push(names, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return false;
}

static bool push_host(GENERAL_NAMES *names, const char *host)
{
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
    if (address == NULL) {
        ERR_clear_error();
        return push_text_name(names, GEN_DNS, host);
    }
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (name == NULL) {
        ASN1_OCTET_STRING_free(address);
        return false;
    }
    GENERAL_NAME_set0_value(name, GEN_IPADD, address);
    if (sk_GENERAL_NAME_push(names, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return false;
}

/* Built from values, never from a configuration string, in which a comma would begin another name. */
static bool add_names(X509 *certificate, const char *uri, const char *const *hosts)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    bool done = names != NULL && push_text_name(names, GEN_URI, uri);
    for (; done && hosts != NULL && *hosts != NULL; hosts++)
        done = push_host(names, *hosts);
    done = done && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) == 1;
    GENERAL_NAMES_free(names);
    return done;
}

static bool set_basics(X509 *certificate, EVP_PKEY *key, const char *common_name, uint32_t days)
{
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           set_validity(certificate, days) && set_subject(certificate, common_name) &&
           X509_set_pubkey(certificate, key) == 1;
}

static bool fill_authority(X509 *certificate, EVP_PKEY *key, const char *uri, const char *name, uint32_t days)
{
    return set_basics(certificate, key, name, days) &&
           X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
           add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(certificate, certificate, NID_subject_key_identifier, "hash") &&
           add_extension(certificate, certificate, NID_authority_key_identifier, "keyid:always") &&
           add_names(certificate, uri, NULL) && X509_sign(certificate, key, EVP_sha256()) > 0;
}

struct authority {
    X509 *certificate;
    EVP_PKEY *key;
    char domain[LIMIT_PRINCIPAL + 1];
};

/* A leaf that outlived its authority would fail then with a message about another certificate. */
static bool cap_validity(X509 *leaf, X509 *authority)
{
    int days = 0, seconds = 0;
    if (ASN1_TIME_diff(&days, &seconds, X509_get0_notAfter(leaf), X509_get0_notAfter(authority)) != 1)
        return false;
    return (days >= 0 && seconds >= 0) || X509_set1_notAfter(leaf, X509_get0_notAfter(authority)) == 1;
}

static bool fill_leaf(X509 *leaf, EVP_PKEY *key, const struct authority *authority, const char *uri,
                      const struct pki_request *request)
{
    X509 *issuer = authority->certificate;
    return set_basics(leaf, key, request->name, request->days) && cap_validity(leaf, issuer) &&
           X509_set_issuer_name(leaf, X509_get_subject_name(issuer)) == 1 &&
           add_extension(leaf, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(leaf, issuer, NID_key_usage, "critical,digitalSignature") &&
           add_extension(leaf, issuer, NID_ext_key_usage, "clientAuth,serverAuth") &&
           add_extension(leaf, issuer, NID_subject_key_identifier, "hash") &&
           add_extension(leaf, issuer, NID_authority_key_identifier, "keyid:always") &&
           add_names(leaf, uri, request->hosts) && X509_sign(leaf, authority->key, EVP_sha256()) > 0;
}

static lapse_result check_days(uint32_t days, struct lapse_error *error)
{
    if (days == 0 || days > DAYS_MAX)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a certificate is valid for 1 to %u days", DAYS_MAX);
    return lapse_ok();
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
}

static bool is_plain_name(const char *name, size_t max)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++)
        if (!is_name_char(name[i]))
            return false;
    return len > 0 && len <= max && name[0] != '.';
}

/* A DNS name ("*.example.org" too) or an IP address. */
static bool is_host(const char *host)
{
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
    bool is_address = address != NULL;
    ASN1_OCTET_STRING_free(address);
    ERR_clear_error();
    return is_address || is_plain_name(strncmp(host, "*.", 2) == 0 ? host + 2 : host, 253);
}

static lapse_result check_request(const struct pki_request *request, struct lapse_error *error)
{
    if (!is_plain_name(request->name, NAME_MAX_BYTES) || strcmp(request->name, "ca") == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "a certificate's file name has 1 to %d letters, digits, '.', '-' or '_', and is not \"ca\"",
                          NAME_MAX_BYTES);
    for (const char *const *host = request->hosts; host != NULL && *host != NULL; host++)
        if (!is_host(*host))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\" is neither a DNS name nor an IP address", *host);
    return check_days(request->days, error);
}

static lapse_result make_dir(const char *dir, struct lapse_error *error)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return lapse_fail(error, LAPSE_INTERNAL, "cannot create the directory %s: %s", dir, strerror(errno));
    return lapse_ok();
}

/* "spiffe://DOMAIN", checked. */
static lapse_result domain_uri(const char *domain, char out[LIMIT_PRINCIPAL + 1], struct lapse_error *error)
{
    char probe[LIMIT_PRINCIPAL + 8];
    struct slice parsed, path;
    int n = snprintf(probe, sizeof probe, "spiffe://%s/x", domain);
    if (n < 0 || n > LIMIT_PRINCIPAL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the trust domain is too long");
    lapse_result result = spiffe_id_parse(slice_str(probe), &parsed, &path, error);
    if (!lapse_is_ok(result))
        return result;
    if (!slice_equal(parsed, slice_str(domain)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a trust domain has no path: \"%s\"", domain);
    probe[n - 2] = '\0';
    memcpy(out, probe, (size_t)n - 1);
    return lapse_ok();
}

/* An authority's second file is checked first, so that a lost ca.key does not get a new one beside the old ca.pem. */
static lapse_result refuse_existing(const char *dir, const char *name, const char *suffix, struct lapse_error *error)
{
    char path[PATH_BYTES];
    lapse_result result = file_path(dir, name, suffix, path, error);
    if (lapse_is_ok(result) && access(path, F_OK) == 0)
        return lapse_fail(error, LAPSE_ALREADY_EXISTS, "%s exists already; move it away first", path);
    return result;
}

lapse_result pki_init(const char *dir, const char *domain, uint32_t days, struct lapse_error *error)
{
    char uri[LIMIT_PRINCIPAL + 1], name[65];
    EVP_PKEY *key = NULL;
    X509 *certificate = NULL;

    lapse_result result = domain_uri(domain, uri, error);
    if (lapse_is_ok(result))
        result = check_days(days, error);
    if (lapse_is_ok(result))
        result = make_dir(dir, error);
    if (lapse_is_ok(result))
        result = refuse_existing(dir, "ca", ".pem", error);
    if (!lapse_is_ok(result))
        return result;

    (void)snprintf(name, sizeof name, "Lapse CA of %s", domain); /* a common name has at most 64 characters */
    key = EVP_EC_gen("P-256");
    certificate = X509_new();
    if (key == NULL || certificate == NULL || !fill_authority(certificate, key, uri, name, days))
        result = openssl_failed(error, "cannot make the authority's certificate");
    else
        result = write_pair(dir, "ca", key, certificate, error);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return result;
}

/* A key with a passphrase must not make a daemon ask on its terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer, (void)size, (void)writing, (void)arg;
    return -1;
}

static lapse_result open_authority_file(const char *dir, const char *suffix, BIO **bio, struct lapse_error *error)
{
    char path[PATH_BYTES];
    lapse_result result = file_path(dir, "ca", suffix, path, error);
    if (!lapse_is_ok(result))
        return result;
    *bio = BIO_new_file(path, "r");
    if (*bio != NULL)
        return lapse_ok();
    ERR_clear_error();
    return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                      "cannot read the authority's %s; make an authority first (lapse pki init)", path);
}

/* The domain of "spiffe://DOMAIN"; false when `name` is no such thing. */
static bool domain_of_name(const GENERAL_NAME *name, char out[LIMIT_PRINCIPAL + 1])
{
    struct slice scheme = slice_str("spiffe://");
    if (name->type != GEN_URI)
        return false;
    struct slice uri = slice_of(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                                (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier));
    if (uri.len <= scheme.len || memcmp(uri.data, scheme.data, scheme.len) != 0 ||
        memchr(uri.data, '\0', uri.len) != NULL)
        return false;
    return slice_to_cstr(slice_of(uri.data + scheme.len, uri.len - scheme.len), out, LIMIT_PRINCIPAL + 1);
}

/* An authority made by pki_init names its trust domain in a URI SAN. */
static lapse_result authority_domain(struct authority *authority, struct lapse_error *error)
{
    bool found = false;
    GENERAL_NAMES *names = X509_get_ext_d2i(authority->certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++)
        found = domain_of_name(sk_GENERAL_NAME_value(names, i), authority->domain);
    GENERAL_NAMES_free(names);
    if (found)
        return lapse_ok();
    return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                      "ca.pem names no trust domain (a URI SAN spiffe://DOMAIN); use lapse pki init");
}

static lapse_result check_authority(struct authority *authority, struct lapse_error *error)
{
    if (authority->certificate == NULL || authority->key == NULL) {
        ERR_clear_error();
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "ca.pem or ca.key is damaged or has a passphrase");
    }
    if (X509_check_private_key(authority->certificate, authority->key) != 1) {
        ERR_clear_error();
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "ca.key does not belong to ca.pem");
    }
    if (X509_cmp_current_time(X509_get0_notAfter(authority->certificate)) < 0)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "ca.pem has expired; make a new authority");
    return authority_domain(authority, error);
}

static lapse_result load_authority(const char *dir, struct authority *authority, struct lapse_error *error)
{
    BIO *certificate = NULL, *key = NULL;
    lapse_result result = open_authority_file(dir, ".pem", &certificate, error);
    if (lapse_is_ok(result))
        result = open_authority_file(dir, ".key", &key, error);
    if (lapse_is_ok(result)) {
        authority->certificate = PEM_read_bio_X509(certificate, NULL, NULL, NULL);
        authority->key = PEM_read_bio_PrivateKey(key, NULL, no_passphrase, NULL);
        result = check_authority(authority, error);
    }
    BIO_free(certificate);
    BIO_free(key);
    return result;
}

static lapse_result full_principal(const struct authority *authority, const char *principal,
                                   char out[LIMIT_PRINCIPAL + 1], struct lapse_error *error)
{
    struct slice domain, path;
    bool full = strncmp(principal, "spiffe://", 9) == 0;
    int n = full ? snprintf(out, LIMIT_PRINCIPAL + 1, "%s", principal)
                 : snprintf(out, LIMIT_PRINCIPAL + 1, "spiffe://%s/%s", authority->domain, principal);
    if (n < 0 || n > LIMIT_PRINCIPAL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a principal has at most %d bytes", LIMIT_PRINCIPAL);
    lapse_result result = spiffe_id_parse(slice_str(out), &domain, &path, error);
    if (lapse_is_ok(result) && !slice_equal(domain, slice_str(authority->domain)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "this authority serves the trust domain %s, not that of %s",
                          authority->domain, principal);
    return result;
}

static lapse_result issue_leaf(const char *dir, const struct authority *authority, const char *uri,
                               const struct pki_request *request, struct lapse_error *error)
{
    lapse_result result;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *leaf = X509_new();
    if (key == NULL || leaf == NULL || !fill_leaf(leaf, key, authority, uri, request))
        result = openssl_failed(error, "cannot make the certificate");
    else
        result = write_pair(dir, request->name, key, leaf, error);
    X509_free(leaf);
    EVP_PKEY_free(key);
    return result;
}

lapse_result pki_issue(const char *dir, const struct pki_request *request, struct lapse_error *error)
{
    char uri[LIMIT_PRINCIPAL + 1];
    struct authority authority = {0};
    lapse_result result = check_request(request, error);
    if (lapse_is_ok(result))
        result = load_authority(dir, &authority, error);
    if (lapse_is_ok(result))
        result = full_principal(&authority, request->principal, uri, error);
    if (lapse_is_ok(result))
        result = refuse_existing(dir, request->name, ".pem", error);
    if (lapse_is_ok(result))
        result = issue_leaf(dir, &authority, uri, request, error);
    X509_free(authority.certificate);
    EVP_PKEY_free(authority.key);
    return result;
}
