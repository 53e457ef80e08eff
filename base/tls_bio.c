/* OpenSSL's view of a stream: a BIO that takes ciphertext from stream->input and appends ciphertext to the loop's
 * output. It never blocks and never touches the socket. */
#include "base/tls_internal.h"

static int bio_read(BIO *bio, char *data, size_t size, size_t *taken)
{
    struct tls_stream *stream = BIO_get_data(bio);
    size_t n = stream->input.len < size ? stream->input.len : size;
    BIO_clear_retry_flags(bio);
    if (stream->flooded)
        return 0; /* no retry: the connection ends in the middle of the flood */
    if (n == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(data, stream->input.data, n);
    stream->input = slice_of(stream->input.data + n, stream->input.len - n);
    *taken = n;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *written)
{
    struct tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (!lapse_is_ok(buf_append(&stream->loop->output, data, len)))
        return 0;
    *written = len;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lapse stream");
    CHECK(bio_method != NULL && BIO_meth_set_read_ex(bio_method, bio_read) == 1 &&
          BIO_meth_set_write_ex(bio_method, bio_write) == 1 && BIO_meth_set_ctrl(bio_method, bio_control) == 1);
}

void tls_stream_attach_ssl(struct tls_stream *stream, bool server)
{
    static uv_once_t once = UV_ONCE_INIT;
    uv_once(&once, make_bio_method);
    stream->ssl = SSL_new(stream->identity->context);
    BIO *bio = BIO_new(bio_method);
    CHECK(stream->ssl != NULL && bio != NULL);
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(stream->ssl, bio, bio);
    SSL_set_app_data(stream->ssl, stream);
    if (server) {
        SSL_set_accept_state(stream->ssl);
    } else {
        uint8_t wire[TLS_ALPN_MAX + 1];
        size_t len = strlen(stream->settings.alpn);
        wire[0] = (uint8_t)len;
        memcpy(wire + 1, stream->settings.alpn, len);
        CHECK(SSL_set_alpn_protos(stream->ssl, wire, (unsigned)len + 1) == 0);
        SSL_set_connect_state(stream->ssl);
    }
}
