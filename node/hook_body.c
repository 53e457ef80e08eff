#include "node/hook_body.h"

#include <inttypes.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/wire.h"
#include "proto/json.h"
#include "store/lock.h"
#include "store/store.h"
#include "store/word_fields.h"

#define ID_SIZE 48
#define TIME_SIZE 40

/* What the texts around an event are made of. */
struct story {
    enum store_event_type type;
    int64_t time_ms;
    struct slice actor;
    struct slice grant, subject, reason;
    struct slice lock; /* a lapse.v1.Lock */
};

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void read_grant(struct slice bytes, struct story *story)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        if (field.number == WORD_GRANT_ID)
            story->grant = field.bytes;
        else if (field.number == WORD_GRANT_SUBJECT)
            story->subject = field.bytes;
        else if (field.number == WORD_GRANT_REASON)
            story->reason = field.bytes;
    }
}

static struct story read_event(struct slice bytes)
{
    struct story story = {.type = 0};
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    while (wire_next(&reader, &field))
        switch (field.number) {
        case WORD_EVENT_TYPE:
            story.type = (enum store_event_type)field.value;
            break;
        case WORD_EVENT_TIME_MS:
            story.time_ms = (int64_t)field.value;
            break;
        case WORD_EVENT_ACTOR:
            story.actor = field.bytes;
            break;
        case WORD_EVENT_GRANT:
            read_grant(field.bytes, &story);
            break;
        case WORD_EVENT_LOCK:
            story.lock = field.bytes;
            break;
        }
    return story;
}

/* --- pieces ------------------------------------------------------------------------------------------------------- */

/* What is written here is bounded by an event, which is far below a buffer's bound. */
static void put(struct buf *out, const char *text)
{
    CHECK(lapse_is_ok(buf_append(out, text, strlen(text))));
}

static void put_text(struct buf *out, const char *name, struct slice text)
{
    put(out, name);
    CHECK(lapse_is_ok(json_of_text(text, out)));
}

static void format_time(int64_t time_ms, char text[TIME_SIZE])
{
    struct tm parts;
    time_t seconds = (time_t)(time_ms / 1000);
    CHECK(gmtime_r(&seconds, &parts) != NULL);
    size_t len = strftime(text, TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text + len, TIME_SIZE - len, ".%03dZ", (int)(time_ms % 1000));
}

static void put_base64(struct slice bytes, bool url, struct buf *out)
{
    uint8_t *text = mem_alloc(4 * (bytes.len / 3 + 1) + 1);
    int len = EVP_EncodeBlock(text, bytes.data, (int)bytes.len);
    for (int i = 0; url && i < len; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    while (url && len > 0 && text[len - 1] == '=')
        len--;
    CHECK(lapse_is_ok(buf_append(out, text, (size_t)len)));
    free(text);
}

/* --- json --------------------------------------------------------------------------------------------------------- */

static void put_cloud_event(const struct hook_record *record, const struct story *story, const char *id,
                            struct buf *body)
{
    char time[TIME_SIZE], type[64];
    const char *name = store_event_name(story->type);
    format_time(story->time_ms, time);
    (void)snprintf(type, sizeof type, "lapse.v1.%s", name);
    put(body, "{\"specversion\":\"1.0\"");
    put_text(body, ",\"id\":", slice_str(id));
    put_text(body, ",\"source\":", slice_str(record->cluster));
    put_text(body, ",\"type\":", slice_str(type));
    put_text(body, ",\"time\":", slice_str(time));
    if (story->grant.len > 0)
        put_text(body, ",\"subject\":", story->grant);
    put(body, ",\"datacontenttype\":\"application/json\",\"data\":");
    CHECK(lapse_is_ok(json_of_message("lapse.v1.Event", record->event, body)));
    put(body, "}");
}

static void put_signature(const struct hook_options *hook, const char *id, int64_t wall_s, struct slice body,
                          struct buf *headers)
{
    struct buf signed_bytes;
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    buf_init(&signed_bytes, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(buf_printf(&signed_bytes, "%s.%" PRId64 ".", id, wall_s)));
    CHECK(lapse_is_ok(buf_append(&signed_bytes, body.data, body.len)));
    CHECK(HMAC(EVP_sha256(), hook->secret, (int)hook->secret_len, signed_bytes.data, signed_bytes.len, mac, &len) != NULL);
    put(headers, "webhook-signature: v1,");
    put_base64(slice_of(mac, len), false, headers);
    put(headers, "\n");
    buf_free(&signed_bytes);
}

static void make_json(const struct hook_options *hook, const struct hook_record *record, const struct story *story,
                      int64_t wall_s, struct buf *headers, struct buf *body)
{
    char id[ID_SIZE];
    (void)snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, record->epoch, record->revision);
    put_cloud_event(record, story, id, body);
    CHECK(lapse_is_ok(buf_printf(headers,
                                 "Content-Type: application/cloudevents+json\nwebhook-id: %s\nwebhook-timestamp: "
                                 "%" PRId64 "\n",
                                 id, wall_s)));
    if (hook->secret_len > 0)
        put_signature(hook, id, wall_s, buf_slice(body), headers);
}

/* --- caep --------------------------------------------------------------------------------------------------------- */

/* The locked principal or resource; false for a lock of a point, which is nobody's session. */
static bool read_lock(struct story *story)
{
    struct lock lock;
    if (!lapse_is_ok(lock_decode(story->lock, &lock, NULL)) || lock.kind != LOCK_SUBJECT)
        return false;
    story->subject = lock.target;
    story->reason = lock.reason;
    return true;
}

/* Who it is about; false: no session ends by it. */
static bool find_subject(struct story *story)
{
    return story->lock.len > 0 ? read_lock(story) : story->subject.len > 0;
}

static const char *initiator(const struct story *story)
{
    bool clock = story->actor.len == 0 || story->type == STORE_EVENT_EXPIRED || story->type == STORE_EVENT_EXHAUSTED;
    if (clock)
        return "policy";
    return principal_same(story->actor, story->subject) ? "user" : "admin";
}

static void put_claims(const struct hook_options *hook, const struct hook_record *record, const struct story *story,
                       int64_t wall_s, struct buf *out)
{
    put_text(out, "{\"iss\":", slice_str(hook->issuer));
    put_text(out, ",\"aud\":", slice_str(hook->audience));
    CHECK(lapse_is_ok(buf_printf(out, ",\"iat\":%" PRId64 ",\"jti\":\"%" PRIu64 "-%" PRIu64 "\"", wall_s, record->epoch,
                                 record->revision)));
    put(out, ",\"sub_id\":{\"format\":\"complex\"");
    put_text(out, ",\"user\":{\"format\":\"opaque\",\"id\":", story->subject);
    put(out, "}");
    if (story->grant.len > 0) {
        put_text(out, ",\"session\":{\"format\":\"opaque\",\"id\":", story->grant);
        put(out, "}");
    }
    put(out, "},\"events\":{\"https://schemas.openid.net/secevent/caep/event-type/session-revoked\":{");
    CHECK(lapse_is_ok(buf_printf(out, "\"event_timestamp\":%" PRId64 ",\"initiating_entity\":\"%s\"",
                                 story->time_ms / 1000, initiator(story))));
    put_text(out, ",\"reason_admin\":{\"en\":",
             story->reason.len > 0 ? story->reason : slice_str(store_event_name(story->type)));
    put(out, "}}}}");
}

/* The public key's thumbprint (RFC 7638), so that a receiver with several keys finds the right one. */
static void put_key_id(const struct hook_options *hook, struct buf *out)
{
    uint8_t key[32], digest[EVP_MAX_MD_SIZE];
    size_t len = sizeof key;
    unsigned digest_len = 0;
    struct buf json;
    buf_init(&json, 256);
    CHECK(EVP_PKEY_get_raw_public_key(hook->signing_key, key, &len) == 1 && len == sizeof key);
    put(&json, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"");
    put_base64(slice_of(key, len), true, &json);
    put(&json, "\"}");
    CHECK(EVP_Digest(json.data, json.len, digest, &digest_len, EVP_sha256(), NULL) == 1);
    put_base64(slice_of(digest, digest_len), true, out);
    buf_free(&json);
}

/* Compact serialisation (RFC 7515): header.payload.signature. */
static void put_token(const struct hook_options *hook, struct slice claims, struct buf *out)
{
    uint8_t signature[64];
    size_t len = sizeof signature;
    struct buf header;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    buf_init(&header, 256);
    put(&header, "{\"typ\":\"secevent+jwt\",\"alg\":\"EdDSA\",\"kid\":\"");
    put_key_id(hook, &header);
    put(&header, "\"}");
    put_base64(buf_slice(&header), true, out);
    put(out, ".");
    put_base64(claims, true, out);
    CHECK(context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, hook->signing_key) == 1 &&
          EVP_DigestSign(context, signature, &len, out->data, out->len) == 1);
    EVP_MD_CTX_free(context);
    put(out, ".");
    put_base64(slice_of(signature, len), true, out);
    buf_free(&header);
}

static bool make_caep(const struct hook_options *hook, const struct hook_record *record, struct story *story,
                      int64_t wall_s, struct buf *headers, struct buf *body)
{
    struct buf claims;
    if (!find_subject(story))
        return false;
    buf_init(&claims, LIMIT_MESSAGE_OUT);
    put_claims(hook, record, story, wall_s, &claims);
    put_token(hook, buf_slice(&claims), body);
    put(headers, "Content-Type: application/secevent+jwt\nAccept: application/json\n");
    buf_free(&claims);
    return true;
}

bool hook_body_make(const struct hook_options *hook, const struct hook_record *record, int64_t wall_s,
                    struct buf *headers, struct buf *body)
{
    struct story story = read_event(record->event);
    buf_clear(headers);
    buf_clear(body);
    if (hook->authorization[0] != '\0')
        CHECK(lapse_is_ok(buf_printf(headers, "Authorization: %s\n", hook->authorization)));
    if (hook->kind == HOOK_CAEP)
        return make_caep(hook, record, &story, wall_s, headers, body);
    make_json(hook, record, &story, wall_s, headers, body);
    return true;
}
