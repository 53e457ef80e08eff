/* A process's identity: its certificate and key, the authorities it trusts, whom it denies.
 *
 * The files are read whole, with a bound, and parsed from memory; what comes out is one SSL_CTX that serves both roles
 * and never changes. All rules of the protocol that are fixed for Lapse are set here, in new_context. */
#include "base/tls_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

/* Others may never read a key; a group may if root owns the file, as with Debian's ssl-cert. */
static bool key_is_exposed(const struct stat *status)
{
    return (status->st_mode & 0007) != 0 || ((status->st_mode & 0070) != 0 && status->st_uid != 0);
}

static lapse_result read_fd(int fd, const char *path, bool secret, struct buf *out, struct lapse_error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s is not a file", path);
    if (secret && key_is_exposed(&status))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the key %s can be read by others: chmod 600 it", path);
    if (status.st_size < 0 || !lapse_is_ok(buf_reserve(out, (size_t)status.st_size)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s is larger than %u bytes", path, LIMIT_TLS_FILE);
    while (out->len < (size_t)status.st_size) {
        ssize_t n = read(fd, out->data + out->len, (size_t)status.st_size - out->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "cannot read %s: %s", path, strerror(errno));
        if (n == 0)
            break;
        out->len += (size_t)n;
    }
    return lapse_ok();
}

static lapse_result read_file(const char *path, bool secret, struct buf *out, struct lapse_error *error)
{
    buf_init(out, LIMIT_TLS_FILE);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "cannot open %s: %s", path, strerror(errno));
    lapse_result result = read_fd(fd, path, secret, out, error);
    (void)close(fd);
    return result;
}

static BIO *bio_of(const struct buf *bytes)
{
    return BIO_new_mem_buf(bytes->len == 0 ? "" : (const char *)bytes->data, (int)bytes->len);
}

/* A key with a passphrase must not make a daemon ask on its terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer, (void)size, (void)writing, (void)arg;
    return -1;
}

static lapse_result use_chain(SSL_CTX *context, BIO *bio, const char *path, struct lapse_error *error)
{
    X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    lapse_result result = lapse_ok();
    if (certificate == NULL || SSL_CTX_use_certificate(context, certificate) != 1)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s holds no usable PEM certificate", path);
    X509_free(certificate);
    while (lapse_is_ok(result) && (certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
        if (SSL_CTX_add1_chain_cert(context, certificate) != 1)
            result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: its chain can't be used", path);
        X509_free(certificate);
    }
    return result;
}

static lapse_result load_certificate(SSL_CTX *context, const char *path, struct lapse_error *error)
{
    struct buf bytes;
    lapse_result result = read_file(path, false, &bytes, error);
    if (lapse_is_ok(result)) {
        BIO *bio = bio_of(&bytes);
        result = use_chain(context, bio, path, error);
        BIO_free(bio);
    }
    buf_free(&bytes);
    return result;
}

static lapse_result use_key(SSL_CTX *context, const struct buf *bytes, const struct tls_files *files,
                            struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    BIO *bio = bio_of(bytes);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    if (key == NULL)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s holds no PEM private key, or one with a passphrase",
                            files->key);
    else if (SSL_CTX_use_PrivateKey(context, key) != 1)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the key %s does not belong to the certificate %s",
                            files->key, files->certificate);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return result;
}

static lapse_result load_key(SSL_CTX *context, const struct tls_files *files, struct lapse_error *error)
{
    struct buf bytes;
    lapse_result result = read_file(files->key, true, &bytes, error);
    if (lapse_is_ok(result))
        result = use_key(context, &bytes, files, error);
    if (bytes.data != NULL)
        OPENSSL_cleanse(bytes.data, bytes.capacity);
    buf_free(&bytes);
    return result;
}

static lapse_result use_authorities(SSL_CTX *context, const struct buf *bytes, const char *path,
                                    struct lapse_error *error)
{
    int count = 0;
    bool usable = true;
    BIO *bio = bio_of(bytes);
    X509 *certificate;
    while (usable && (certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
        usable = X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate) == 1;
        X509_free(certificate);
        count++;
    }
    /* The loop ends at the end of the file, or at a block that does not parse: that one must not go unnoticed. */
    if (usable && count > 0)
        usable = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    BIO_free(bio);
    ERR_clear_error();
    if (count == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s holds no PEM certificate of an authority", path);
    if (!usable)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: certificate %d is damaged", path, count + 1);
    return lapse_ok();
}

static lapse_result load_authorities(SSL_CTX *context, const char *path, struct lapse_error *error)
{
    struct buf bytes;
    lapse_result result = read_file(path, false, &bytes, error);
    if (lapse_is_ok(result))
        result = use_authorities(context, &bytes, path, error);
    buf_free(&bytes);
    return result;
}

static bool is_thumbprint(struct slice word)
{
    for (size_t i = 0; i < word.len; i++)
        if (!((word.data[i] >= '0' && word.data[i] <= '9') || (word.data[i] >= 'a' && word.data[i] <= 'f')))
            return false;
    return word.len == 64;
}

static struct slice trim(struct slice line)
{
    const uint8_t *comment = line.len == 0 ? NULL : memchr(line.data, '#', line.len);
    if (comment != NULL)
        line.len = (size_t)(comment - line.data);
    while (line.len > 0 && strchr(" \t\r", line.data[line.len - 1]) != NULL)
        line.len--;
    while (line.len > 0 && strchr(" \t\r", line.data[0]) != NULL) {
        line.data++;
        line.len--;
    }
    return line;
}

static lapse_result add_denied(struct tls_identity *identity, struct slice word, const char *path, unsigned number,
                               struct lapse_error *error)
{
    struct slice domain, rest;
    if (word.len == 0)
        return lapse_ok();
    if (!is_thumbprint(word) && !lapse_is_ok(spiffe_id_parse(word, &domain, &rest, NULL)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "%s:%u is neither a SHA-256 thumbprint (64 lower-case hex digits) nor a SPIFFE ID", path,
                          number);
    char *text = mem_alloc(word.len + 1);
    CHECK(slice_to_cstr(word, text, word.len + 1));
    identity->denied = mem_realloc(identity->denied, (identity->denied_count + 1) * sizeof *identity->denied);
    identity->denied[identity->denied_count++] = text;
    return lapse_ok();
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static lapse_result parse_deny_list(struct tls_identity *identity, struct slice text, const char *path,
                                    struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (unsigned number = 1; text.len > 0 && lapse_is_ok(result); number++) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        result = add_denied(identity, trim(slice_of(text.data, len)), path, number, error);
        len += end != NULL;
        text = slice_of(text.data + len, text.len - len);
    }
    if (identity->denied_count > 0)
        qsort(identity->denied, identity->denied_count, sizeof *identity->denied, compare_words);
    return result;
}

static lapse_result load_deny_list(struct tls_identity *identity, const char *path, struct lapse_error *error)
{
    struct buf bytes;
    if (path == NULL)
        return lapse_ok();
    lapse_result result = read_file(path, false, &bytes, error);
    if (lapse_is_ok(result))
        result = parse_deny_list(identity, buf_slice(&bytes), path, error);
    buf_free(&bytes);
    return result;
}

bool tls_identity_denies(const struct tls_identity *identity, const char *word)
{
    return identity->denied_count > 0 &&
           bsearch(&word, identity->denied, identity->denied_count, sizeof word, compare_words) != NULL;
}

static lapse_result check_own_certificate(struct tls_identity *identity, const char *path, struct lapse_error *error)
{
    struct slice domain, rest;
    X509 *leaf = SSL_CTX_get0_certificate(identity->context);
    lapse_result result = tls_leaf_principal(leaf, path, identity->principal, &domain, &rest, error);
    if (!lapse_is_ok(result))
        return result;
    CHECK(slice_to_cstr(domain, identity->domain, sizeof identity->domain));
    if (X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0)
        return lapse_fail(error, LAPSE_UNAUTHENTICATED, "the certificate %s has expired: issue a new one", path);
    return lapse_ok();
}

/* The server's side: the one protocol of this port, or no connection. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
    (void)arg;
    const struct tls_stream *stream = SSL_get_app_data(ssl);
    size_t len = strlen(stream->settings.alpn);
    for (unsigned at = 0; at < in_len && in[at] < in_len - at; at += 1u + in[at]) {
        if (in[at] == len && memcmp(in + at + 1, stream->settings.alpn, len) == 0) {
            *out = in + at + 1;
            *out_len = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Counts what a peer sends outside of its data once the stream is open; OpenSSL answers each key update with work. */
static void count_control(int sent, int version, int content_type, const void *bytes, size_t len, SSL *ssl, void *arg)
{
    (void)version, (void)bytes, (void)len, (void)arg;
    struct tls_stream *stream = SSL_get_app_data(ssl);
    if (sent || content_type != SSL3_RT_HANDSHAKE || stream->state < TLS_OPEN)
        return;
    uint64_t now = uv_now(stream->loop->loop);
    if (now - stream->control_window >= 10000) {
        stream->control_window = now;
        stream->control_count = 0;
    }
    if (++stream->control_count > LIMIT_TLS_CONTROL_MESSAGES)
        stream->flooded = true;
}

static SSL_CTX *new_context(struct tls_identity *identity)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    CHECK(context != NULL);
    CHECK(SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1);
    CHECK(SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1);
    (void)SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    CHECK(SSL_CTX_set_num_tickets(context, 0) == 1);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    CHECK(SSL_CTX_set_max_early_data(context, 0) == 1 && SSL_CTX_set_recv_max_early_data(context, 0) == 1);
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_max_cert_list(context, LIMIT_TLS_CHAIN_BYTES);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_verify_depth(context, LIMIT_TLS_CHAIN_DEPTH);
    SSL_CTX_set_cert_verify_callback(context, tls_verify_certificate, identity);
    SSL_CTX_set_alpn_select_cb(context, select_alpn, NULL);
    SSL_CTX_set_msg_callback(context, count_control);
    return context;
}

lapse_result tls_identity_load(const struct tls_files *files, struct tls_identity **identity, struct lapse_error *error)
{
    struct tls_identity *loaded = mem_calloc(1, sizeof *loaded);
    atomic_init(&loaded->refs, 1);
    loaded->context = new_context(loaded);

    lapse_result result = load_certificate(loaded->context, files->certificate, error);
    if (lapse_is_ok(result))
        result = check_own_certificate(loaded, files->certificate, error);
    if (lapse_is_ok(result))
        result = load_key(loaded->context, files, error);
    if (lapse_is_ok(result))
        result = load_authorities(loaded->context, files->authorities, error);
    if (lapse_is_ok(result))
        result = load_deny_list(loaded, files->deny_list, error);
    ERR_clear_error();

    if (lapse_is_ok(result))
        *identity = loaded;
    else
        tls_identity_unref(loaded);
    return result;
}

struct tls_identity *tls_identity_ref(struct tls_identity *identity)
{
    atomic_fetch_add_explicit(&identity->refs, 1, memory_order_relaxed);
    return identity;
}

void tls_identity_unref(struct tls_identity *identity)
{
    if (identity == NULL || atomic_fetch_sub_explicit(&identity->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(identity->context);
    for (size_t i = 0; i < identity->denied_count; i++)
        free(identity->denied[i]);
    free(identity->denied);
    free(identity);
}

const char *tls_identity_principal(const struct tls_identity *identity)
{
    return identity->principal;
}

const char *tls_identity_domain(const struct tls_identity *identity)
{
    return identity->domain;
}
