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
#define TIME_MS_MAX 253402300799999 /* the end of the year 9999 */

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

/* A body in the making. What an event says can't be too long for it by the limits of the store, but a record is not
 * always what this build's store would write: the first failure is kept, and all that follows is dropped. */
struct pen {
    struct buf *out;
    bool failed;
};

static void ok(struct pen *pen, lapse_result result)
{
    pen->failed = pen->failed || !lapse_is_ok(result);
}

/* Of what is bounded by this file and the settings. */
static void put(struct buf *out, const char *text)
{
    CHECK(lapse_is_ok(buf_append(out, text, strlen(text))));
}

static void say(struct pen *pen, const char *text)
{
    ok(pen, buf_append(pen->out, text, strlen(text)));
}

static void say_text(struct pen *pen, const char *name, struct slice text)
{
    say(pen, name);
    ok(pen, json_of_text(text, pen->out));
}

/* As CloudEvents wants it. A record's time may be any number; what no calendar has is told as its beginning. */
static void format_time(int64_t time_ms, char text[TIME_SIZE])
{
    struct tm parts;
    time_ms = time_ms < 0 || time_ms > TIME_MS_MAX ? 0 : time_ms;
    time_t seconds = (time_t)(time_ms / 1000);
    CHECK(gmtime_r(&seconds, &parts) != NULL);
    size_t len = strftime(text, TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text + len, TIME_SIZE - len, ".%03dZ", (int)(time_ms % 1000));
}

static void put_base64(struct slice bytes, bool url, struct pen *pen)
{
    uint8_t *text = mem_alloc(4 * (bytes.len / 3 + 1) + 1);
    int len = EVP_EncodeBlock(text, bytes.data, (int)bytes.len);
    for (int i = 0; url && i < len; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    while (url && len > 0 && text[len - 1] == '=')
        len--;
    ok(pen, buf_append(pen->out, text, (size_t)len));
    free(text);
}

/* --- json --------------------------------------------------------------------------------------------------------- */

static void put_cloud_event(const struct hook_record *record, const struct story *story, const char *id,
                            struct pen *pen)
{
    char time[TIME_SIZE], type[64];
    format_time(story->time_ms, time);
    (void)snprintf(type, sizeof type, "lapse.v1.%s", store_event_name(story->type));
    say(pen, "{\"specversion\":\"1.0\"");
    say_text(pen, ",\"id\":", slice_str(id));
    say_text(pen, ",\"source\":", slice_str(record->cluster));
    say_text(pen, ",\"type\":", slice_str(type));
    say_text(pen, ",\"time\":", slice_str(time));
    if (story->grant.len > 0)
        say_text(pen, ",\"subject\":", story->grant);
    say(pen, ",\"datacontenttype\":\"application/json\",\"data\":");
    if (!pen->failed)
        ok(pen, json_of_message("lapse.v1.Event", record->event, pen->out));
    say(pen, "}");
}

static void put_signature(const struct hook_options *hook, const char *id, int64_t wall_s, struct slice body,
                          struct buf *headers)
{
    struct buf signed_bytes;
    struct pen pen = {.out = headers};
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    buf_init(&signed_bytes, ID_SIZE + 32 + body.len);
    CHECK(lapse_is_ok(buf_printf(&signed_bytes, "%s.%" PRId64 ".", id, wall_s)));
    CHECK(lapse_is_ok(buf_append(&signed_bytes, body.data, body.len)));
    CHECK(HMAC(EVP_sha256(), hook->secret, (int)hook->secret_len, signed_bytes.data, signed_bytes.len, mac, &len) !=
          NULL);
    put(headers, "webhook-signature: v1,");
    put_base64(slice_of(mac, len), false, &pen);
    CHECK(!pen.failed);
    put(headers, "\n");
    buf_free(&signed_bytes);
}

static enum hook_body make_json(const struct hook_options *hook, const struct hook_record *record,
                                const struct story *story, int64_t wall_s, struct buf *headers, struct buf *body)
{
    char id[ID_SIZE];
    struct pen pen = {.out = body};
    (void)snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, record->epoch, record->revision);
    put_cloud_event(record, story, id, &pen);
    if (pen.failed)
        return HOOK_BODY_IMPOSSIBLE;
    CHECK(lapse_is_ok(buf_printf(headers,
                                 "Content-Type: application/cloudevents+json\nwebhook-id: %s\nwebhook-timestamp: "
                                 "%" PRId64 "\n",
                                 id, wall_s)));
    if (hook->secret_len > 0)
        put_signature(hook, id, wall_s, buf_slice(body), headers);
    return HOOK_BODY_MADE;
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
                       int64_t wall_s, struct pen *pen)
{
    say_text(pen, "{\"iss\":", slice_str(hook->issuer));
    say_text(pen, ",\"aud\":", slice_str(hook->audience));
    ok(pen, buf_printf(pen->out, ",\"iat\":%" PRId64 ",\"jti\":\"%" PRIu64 "-%" PRIu64 "\"", wall_s, record->epoch,
                       record->revision));
    say(pen, ",\"sub_id\":{\"format\":\"complex\"");
    say_text(pen, ",\"user\":{\"format\":\"opaque\",\"id\":", story->subject);
    say(pen, "}");
    if (story->grant.len > 0) {
        say_text(pen, ",\"session\":{\"format\":\"opaque\",\"id\":", story->grant);
        say(pen, "}");
    }
    say(pen, "},\"events\":{\"https://schemas.openid.net/secevent/caep/event-type/session-revoked\":{");
    ok(pen, buf_printf(pen->out, "\"event_timestamp\":%" PRId64 ",\"initiating_entity\":\"%s\"", story->time_ms / 1000,
                       initiator(story)));
    say_text(pen, ",\"reason_admin\":{\"en\":",
             story->reason.len > 0 ? story->reason : slice_str(store_event_name(story->type)));
    say(pen, "}}}}");
}

/* The public key's thumbprint (RFC 7638), so that a receiver with several keys finds the right one. */
static void put_key_id(const struct hook_options *hook, struct pen *out)
{
    uint8_t key[32], digest[EVP_MAX_MD_SIZE];
    size_t len = sizeof key;
    unsigned digest_len = 0;
    struct buf json;
    struct pen pen = {.out = &json};
    buf_init(&json, 256);
    CHECK(EVP_PKEY_get_raw_public_key(hook->signing_key, key, &len) == 1 && len == sizeof key);
    put(&json, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"");
    put_base64(slice_of(key, len), true, &pen);
    put(&json, "\"}");
    CHECK(EVP_Digest(json.data, json.len, digest, &digest_len, EVP_sha256(), NULL) == 1);
    put_base64(slice_of(digest, digest_len), true, out);
    buf_free(&json);
}

/* Compact serialisation (RFC 7515): header.payload.signature. */
static void put_token(const struct hook_options *hook, struct slice claims, struct pen *out)
{
    uint8_t signature[64];
    size_t len = sizeof signature;
    struct buf header;
    struct pen pen = {.out = &header};
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    buf_init(&header, 256);
    put(&header, "{\"typ\":\"secevent+jwt\",\"alg\":\"EdDSA\",\"kid\":\"");
    put_key_id(hook, &pen);
    put(&header, "\"}");
    put_base64(buf_slice(&header), true, out);
    say(out, ".");
    put_base64(claims, true, out);
    CHECK(context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, hook->signing_key) == 1 &&
          EVP_DigestSign(context, signature, &len, out->out->data, out->out->len) == 1);
    EVP_MD_CTX_free(context);
    say(out, ".");
    put_base64(slice_of(signature, len), true, out);
    buf_free(&header);
}

static enum hook_body make_caep(const struct hook_options *hook, const struct hook_record *record, struct story *story,
                                int64_t wall_s, struct buf *headers, struct buf *body)
{
    struct buf text;
    struct pen claims = {.out = &text}, token = {.out = body};
    if (!find_subject(story))
        return HOOK_BODY_NOTHING;
    buf_init(&text, body->max);
    put_claims(hook, record, story, wall_s, &claims);
    if (!claims.failed)
        put_token(hook, buf_slice(&text), &token);
    put(headers, "Content-Type: application/secevent+jwt\nAccept: application/json\n");
    buf_free(&text);
    return claims.failed || token.failed ? HOOK_BODY_IMPOSSIBLE : HOOK_BODY_MADE;
}

enum hook_body hook_body_make(const struct hook_options *hook, const struct hook_record *record, int64_t wall_s,
                              struct buf *headers, struct buf *body)
{
    struct story story = read_event(record->event);
    buf_clear(headers);
    buf_clear(body);
    if (hook->authorization[0] != '\0')
        CHECK(lapse_is_ok(buf_printf(headers, "Authorization: %s\n", hook->authorization)));
    return hook->kind == HOOK_CAEP ? make_caep(hook, record, &story, wall_s, headers, body)
                                   : make_json(hook, record, &story, wall_s, headers, body);
}
