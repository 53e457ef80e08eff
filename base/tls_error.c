/* What OpenSSL says, for a person who has to do something about it. The only place that knows its reason codes. */
#include "base/tls_internal.h"

#include <openssl/err.h>
#include <openssl/sslerr.h>

/* An alert that the other side sent because it refused us, or that this side's checks end with. */
static const struct {
    int reason;
    enum lapse_code code;
    const char *text; /* follows the address */
} reasons[] = {
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, LAPSE_UNAUTHENTICATED, "showed no certificate"},
    {SSL_R_UNSUPPORTED_PROTOCOL, LAPSE_UNAUTHENTICATED, "does not speak TLS 1.3"},
    {SSL_R_UNKNOWN_PROTOCOL, LAPSE_UNAUTHENTICATED, "does not speak TLS 1.3"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, LAPSE_UNAUTHENTICATED, "does not speak TLS 1.3"},
    {SSL_R_WRONG_VERSION_NUMBER, LAPSE_UNAUTHENTICATED, "does not speak TLS: is this the right port?"},
    {SSL_R_HTTP_REQUEST, LAPSE_UNAUTHENTICATED, "speaks plain HTTP; this port needs TLS"},
    {SSL_R_HTTPS_PROXY_REQUEST, LAPSE_UNAUTHENTICATED, "speaks plain HTTP; this port needs TLS"},
    {SSL_R_NO_APPLICATION_PROTOCOL, LAPSE_UNAUTHENTICATED,
     "asked for another protocol (ALPN) than this port's: is the port right?"},
    {SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, LAPSE_UNAUTHENTICATED,
     "does not serve this protocol (ALPN): is the port right?"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, LAPSE_UNAUTHENTICATED, "requires a certificate of ours"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, LAPSE_UNAUTHENTICATED,
     "does not trust the authority of our certificate: compare ca.pem on both sides"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, LAPSE_UNAUTHENTICATED, "says our certificate has expired: issue a new one"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, LAPSE_UNAUTHENTICATED, "says our certificate is revoked"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, LAPSE_UNAUTHENTICATED, "refused our certificate; its log says why"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, LAPSE_UNAUTHENTICATED, "refused our certificate; its log says why"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, LAPSE_UNAUTHENTICATED, "says our certificate is not made for this use"},
    {SSL_R_TLSV1_ALERT_ACCESS_DENIED, LAPSE_UNAUTHENTICATED, "denied us; its log says why"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, LAPSE_UNAUTHENTICATED, "refused the handshake; its log says why"},
};

static bool explain_known(struct tls_stream *stream, int reason)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].reason != reason)
            continue;
        (void)lapse_fail(&stream->why, reasons[i].code, "%s %s", stream->peer.address, reasons[i].text);
        return true;
    }
    return false;
}

void tls_explain(struct tls_stream *stream)
{
    unsigned long last = ERR_peek_error();
    const char *text = ERR_reason_error_string(last);
    bool open = stream->state >= TLS_OPEN;
    if (stream->flooded)
        (void)lapse_fail(&stream->why, LAPSE_RESOURCE_EXHAUSTED,
                         "%s sent more than %u TLS control messages within 10 s", stream->peer.address,
                         LIMIT_TLS_CONTROL_MESSAGES);
    if (stream->why.code == LAPSE_OK && !explain_known(stream, ERR_GET_REASON(last)))
        (void)lapse_fail(&stream->why, open ? LAPSE_UNAVAILABLE : LAPSE_UNAUTHENTICATED, "TLS with %s failed: %s",
                         stream->peer.address, text == NULL ? "no reason given" : text);
    ERR_clear_error();
}
