/* Webhooks: their settings, and what they are sent. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "node/hook_body.h"
#include "store/lock.h"
#include "store/store.h"
#include "store/words.h"

static char directory[] = "/tmp/lapse-hooks-XXXXXX";
static struct buf headers, body, event;
static struct hooks_config config;

static void begin(void)
{
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(chdir(directory), 0);
    buf_init(&headers, LIMIT_HEADER_BYTES);
    buf_init(&body, LIMIT_MESSAGE_OUT);
    buf_init(&event, LIMIT_MESSAGE_OUT);
}

static void end(void)
{
    hooks_config_free(&config);
    buf_free(&headers);
    buf_free(&body);
    buf_free(&event);
}

TestSuite(hooks, .init = begin, .fini = end);

static void write_file(const char *name, const char *text, mode_t mode)
{
    FILE *file = fopen(name, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(name, mode), 0);
}

/* RFC 8410's example key. */
static void write_files(void)
{
    write_file("secret", "0123456789abcdef01234567\n", 0600);
    write_file("token", "Bearer abc\n", 0600);
    write_file("key.pem",
               "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
               "-----END PRIVATE KEY-----\n",
               0600);
}

static void write_with_nul(const char *name)
{
    write_file(name, "Bearer abc", 0600);
    FILE *file = fopen(name, "a");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite("\0hidden\n", 1, 8, file), 8);
    cr_assert_eq(fclose(file), 0);
}

static void write_encrypted_key(const char *name)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    FILE *file = fopen(name, "w");
    cr_assert(key != NULL && file != NULL);
    cr_assert_eq(PEM_write_PrivateKey(file, key, EVP_aes_256_cbc(), (const unsigned char *)"secret", 6, NULL, NULL), 1);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(name, 0600), 0);
    EVP_PKEY_free(key);
}

static void read_config(const char *text)
{
    struct lapse_error error;
    write_files();
    write_file("hooks.conf", text, 0644);
    lapse_result result = hooks_config_read("hooks.conf", &config, &error);
    cr_assert(lapse_is_ok(result), "%s", error.message);
}

static void make_event(enum store_event_type type, const struct grant *grant, const struct object *object)
{
    struct event_words words = {.revision = 42,
                                .time_ms = 1767225600123,
                                .type = type,
                                .grant = grant,
                                .object = object,
                                .actor = slice_str("user:ops")};
    buf_clear(&event);
    cr_assert(lapse_is_ok(words_encode_event(&words, &event)));
}

static enum hook_body make_of(struct slice bytes)
{
    const struct hook_record record = {.cluster = "test", .epoch = 7, .revision = 42, .event = bytes};
    return hook_body_make(&config.hooks[0], &record, 1767225601, &headers, &body);
}

static bool make(void)
{
    return make_of(buf_slice(&event)) == HOOK_BODY_MADE;
}

static struct grant some_grant(void)
{
    return (struct grant){.id = grant_id_make(1767225600000, (const uint8_t *)"0123456789"),
                          .state = GRANT_REVOKED,
                          .subject = slice_str("user:dev1"),
                          .resource = slice_str("db/prod/orders"),
                          .reason = slice_str("laptop \"lost\"")};
}

static json_t *parsed(struct slice text)
{
    json_error_t error;
    json_t *value = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(value, "%s", error.text);
    return value;
}

static const char *text_at(json_t *value, const char *name)
{
    const char *text = json_string_value(json_object_get(value, name));
    return text == NULL ? "" : text;
}

Test(hooks, a_json_delivery_is_a_cloud_event)
{
    struct grant grant = some_grant();
    read_config("[chat]\nurl = https://chat.example.org/hook\nauthorization-file = token\n");
    make_event(STORE_EVENT_REVOKED, &grant, NULL);
    cr_assert(make());
    json_t *value = parsed(buf_slice(&body));
    cr_expect_str_eq(text_at(value, "id"), "7-42");
    cr_expect_str_eq(text_at(value, "type"), "lapse.v1.REVOKED");
    cr_expect_str_eq(text_at(value, "time"), "2026-01-01T00:00:00.123Z");
    cr_expect_str_eq(text_at(value, "source"), "test");
    cr_expect_eq(strlen(text_at(value, "subject")), 26);
    json_t *shown = json_object_get(json_object_get(value, "data"), "grant");
    cr_expect_str_eq(text_at(shown, "reason"), "laptop \"lost\"");
    json_decref(value);
    cr_assert(lapse_is_ok(buf_append(&headers, "", 1)));
    cr_expect_not_null(strstr((char *)headers.data, "Authorization: Bearer abc\n"));
    cr_expect_null(strstr((char *)headers.data, "webhook-signature"), "there is no secret");
}

Test(hooks, a_delivery_is_signed_over_id_time_and_body)
{
    struct grant grant = some_grant();
    struct buf message;
    uint8_t mac[32], text[64];
    unsigned len = 0;
    read_config("[chat]\nurl = http://127.0.0.1:1/hook\nsecret-file = secret\n");
    make_event(STORE_EVENT_REVOKED, &grant, NULL);
    cr_assert(make());
    buf_init(&message, LIMIT_MESSAGE_OUT);
    cr_assert(lapse_is_ok(buf_printf(&message, "7-42.1767225601.%.*s", (int)body.len, (const char *)body.data)));
    cr_assert_not_null(HMAC(EVP_sha256(), "0123456789abcdef01234567", 24, message.data, message.len, mac, &len));
    EVP_EncodeBlock(text, mac, (int)len);
    cr_assert(lapse_is_ok(buf_append(&headers, "", 1)));
    const char *signature = strstr((char *)headers.data, "webhook-signature: v1,");
    cr_assert_not_null(signature);
    cr_expect_eq(strncmp(signature + strlen("webhook-signature: v1,"), (char *)text, strlen((char *)text)), 0);
    buf_free(&message);
}

#define CAEP                                                                                                           \
    "[idp]\nkind = caep\nurl = https://idp.example.org/events\nissuer = https://lapse.example.org\n"                   \
    "audience = https://idp.example.org\nsigning-key-file = key.pem\n"

/* One of a token's three parts, decoded. */
static size_t part(struct slice token, int which, uint8_t *out)
{
    char text[4096], *rest = NULL, *piece;
    cr_assert(slice_to_cstr(token, text, sizeof text));
    piece = strtok_r(text, ".", &rest);
    for (int i = 0; i < which; i++)
        piece = strtok_r(NULL, ".", &rest);
    size_t len = strlen(piece), padded = (len + 3) / 4 * 4;
    for (size_t i = 0; i < len; i++)
        piece[i] = piece[i] == '-' ? '+' : piece[i] == '_' ? '/' : piece[i];
    char full[4096];
    (void)snprintf(full, sizeof full, "%.*s%.*s", (int)len, piece, (int)(padded - len), "===");
    int n = EVP_DecodeBlock(out, (const uint8_t *)full, (int)padded);
    cr_assert_geq(n, 0);
    return (size_t)n - (padded - len);
}

Test(hooks, a_caep_delivery_is_a_signed_security_event_token)
{
    struct grant grant = some_grant();
    uint8_t header[4096], claims[4096], signature[4096];
    read_config(CAEP);
    make_event(STORE_EVENT_REVOKED, &grant, NULL);
    cr_assert(make());
    struct slice token = buf_slice(&body);
    size_t header_len = part(token, 0, header), claims_len = part(token, 1, claims);
    cr_assert_eq(part(token, 2, signature), 64);
    json_t *value = parsed(slice_of(header, header_len));
    cr_expect_str_eq(text_at(value, "typ"), "secevent+jwt");
    cr_expect_str_eq(text_at(value, "alg"), "EdDSA");
    json_decref(value);
    value = parsed(slice_of(claims, claims_len));
    cr_expect_str_eq(text_at(value, "iss"), "https://lapse.example.org");
    cr_expect_str_eq(text_at(value, "jti"), "7-42");
    json_t *user = json_object_get(json_object_get(value, "sub_id"), "user");
    cr_expect_str_eq(text_at(user, "id"), "user:dev1");
    json_t *revoked = json_object_get(json_object_get(value, "events"),
                                      "https://schemas.openid.net/secevent/caep/event-type/session-revoked");
    cr_expect_eq(json_integer_value(json_object_get(revoked, "event_timestamp")), 1767225600);
    cr_expect_str_eq(text_at(revoked, "initiating_entity"), "admin");
    json_decref(value);
    /* Over the first two parts as they stand. */
    const uint8_t *dot = memrchr(token.data, '.', token.len);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestVerifyInit(context, NULL, NULL, NULL, config.hooks[0].signing_key), 1);
    cr_expect_eq(EVP_DigestVerify(context, signature, 64, token.data, (size_t)(dot - token.data)), 1);
    cr_expect_eq(EVP_DigestVerify(context, signature, 64, token.data, (size_t)(dot - token.data) - 1), 0);
    EVP_MD_CTX_free(context);
}

Test(hooks, a_lock_is_told_as_caep_only_when_it_is_somebodys)
{
    struct buf value;
    buf_init(&value, LIMIT_OBJECT_BYTES);
    read_config(CAEP);
    struct lock lock = {.kind = LOCK_SUBJECT, .target = slice_str("user:dev1"), .reason = slice_str("gone")};
    struct object object = {.kind = OBJECT_LOCK, .name = slice_str("n")};
    for (int kind = LOCK_SUBJECT; kind <= LOCK_RESOURCE; kind++) {
        lock.kind = (enum lock_kind)kind;
        lock.target = kind == LOCK_SUBJECT ? slice_str("user:dev1") : slice_str("db/prod");
        buf_clear(&value);
        cr_assert(lapse_is_ok(lock_encode(&lock, &value)));
        object.value = buf_slice(&value);
        make_event(STORE_EVENT_LOCKED, NULL, &object);
        cr_expect_eq(make(), kind == LOCK_SUBJECT);
    }
    buf_free(&value);
}

/* What a record says is the store's, but a damaged or newer one must not stop the node that leads, and then the next.
 */
Test(hooks, a_record_that_is_no_event_is_impossible_not_fatal)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"\x0A", 1},             /* cut off */
        {"\x0A\x01x", 3},        /* a revision that is text */
        {"\x22\x02\x0A\x05", 4}, /* a grant whose id is cut off */
        {"\x08\x01\x08\x02", 4}, /* two revisions */
        {"\x22\x00\x22\x00", 4}, /* two grants */
    };
    read_config("[chat]\nurl = https://chat.example.org/hook\nsecret-file = secret\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_expect_eq(make_of(slice_of((const uint8_t *)cases[i].bytes, cases[i].len)), HOOK_BODY_IMPOSSIBLE, "case %zu",
                     i);
}

Test(hooks, words_that_do_not_fit_are_impossible_not_fatal)
{
    struct grant grant = some_grant();
    make_event(STORE_EVENT_REVOKED, &grant, NULL);
    for (int kind = 0; kind < 2; kind++) {
        hooks_config_free(&config);
        read_config(kind == 0 ? "[chat]\nurl = https://chat.example.org/hook\nsecret-file = secret\n" : CAEP);
        buf_free(&body);
        buf_init(&body, LIMIT_MESSAGE_OUT);
        cr_assert(make());
        size_t whole = body.len;
        for (size_t max = 1; max < whole; max++) {
            buf_free(&body);
            buf_init(&body, max);
            cr_assert_eq(make_of(buf_slice(&event)), HOOK_BODY_IMPOSSIBLE, "%zu bytes", max);
        }
    }
}

Test(hooks, a_time_that_no_calendar_has_is_told_as_the_beginning)
{
    read_config("[chat]\nurl = https://chat.example.org/hook\n");
    cr_assert_eq(make_of(slice_str("\x10\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F\x18\x01")), HOOK_BODY_MADE);
    json_t *value = parsed(buf_slice(&body));
    cr_expect_str_eq(text_at(value, "time"), "1970-01-01T00:00:00.000Z");
    json_decref(value);
}

Test(hooks, a_url_is_what_will_be_called)
{
    static const char *const good[] = {"https://example.org", "https://chat.example.org/hooks/@team?to=a@b",
                                       "http://127.0.0.1:8080/x", "http://[::1]/x"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "[a]\nurl = %s\n", good[i]);
        read_config(text);
        cr_expect_str_eq(config.hooks[0].url, good[i]);
        hooks_config_free(&config);
    }
}

Test(hooks, wrong_settings_are_refused_with_their_line)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"[a b]\nurl = https://x\n", "hooks.conf:2"},
        {"[a]\nurl = http://example.org/\n", "https://"},
        {"[a]\nurl = http://127.0.0.1.example.org/\n", "https://"},
        {"[a]\nurl = https://user:password@example.org/\n", "authorization-file"},
        {"[a]\nurl = ftp://example.org/\n", "https://"},
        {"[a]\nurl = https://user@example.org/\n", "authorization-file"},
        {"[a]\nurl = https://\n", "https://"},
        {"[a]\nurl = https://a b/\n", "https://"},
        {"[a]\nurl = https://example.org:99999/\n", "https://"},
        {"[a]\nurl = http://127.0.0.1:80.example.org/\n", "https://"},
        {"[a]\nurl = http://localhost/\n", "https://"},
        {"[a]\nurl = https://x\nurl = https://y\n", "hooks.conf:3: url: set twice"},
        {"[a]\nurl = https://x\nevents = REVOKED\n[b]\nurl = https://y\n[a]\nevents = DENIED\n", "events: set twice"},
        {"[a]\nurl = https://x\nca-file = none\n", "no certificate"},
        {"[a]\nurl = https://x\nca-file = secret\n", "no certificate"},
        {"[a]\nurl = https://x\nsecret-file = pipe\n", "must be a file"},
        {"[a]\nurl = https://x\nsecret-file = .\n", "must be a file"},
        {"[a]\nurl = https://x\nauthorization-file = two-lines\n", "one line"},
        {"[a]\nurl = https://x\nauthorization-file = with-nul\n", "one line"},
        {"[a]\nurl = https://x\nsigning-key-file = encrypted.pem\n", "without a passphrase"},
        {"[a]\nsecret-file = secret\n", "url is missing"},
        {"[a]\nurl = https://x\nkind = soap\n", "json or caep"},
        {"[a]\nurl = https://x\nevents = REVOKED,NOTHING\n", "no event NOTHING"},
        {"[a]\nurl = https://x\ntimeout = 10\n", "timeout"},
        {"[a]\nurl = https://x\ntimeout = 2m\n", "timeout"},
        {"[a]\nurl = https://x\ngive-up-after = 0s\n", "give-up-after"},
        {"[a]\nurl = https://x\nsecret-file = none\n", "can't read"},
        {"[a]\nurl = https://x\nsecret-file = open\n", "chmod 600"},
        {"[a]\nurl = https://x\nsecret-file = short\n", "at least 24"},
        {"[a]\nurl = https://x\nsigning-key-file = key.pem\n", "for kind = caep"},
        {"[a]\nurl = https://x\nkind = caep\n", "needs issuer"},
        {CAEP "events = REQUESTED\n", "tells REVOKED"},
        {CAEP "secret-file = secret\n", "for kind = json"},
        {"[a]\nurl = https://x\ncolour = red\n", "no setting colour"},
    };
    write_files();
    write_file("open", "0123456789abcdef01234567\n", 0644);
    write_file("short", "0123\n", 0600);
    write_file("two-lines", "Bearer abc\nX-Other: 1\n", 0600);
    write_with_nul("with-nul");
    write_encrypted_key("encrypted.pem");
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct lapse_error error;
        write_file("hooks.conf", cases[i].text, 0644);
        lapse_result result = hooks_config_read("hooks.conf", &config, &error);
        cr_expect_eq(result.code, LAPSE_FAILED_PRECONDITION, "case %zu", i);
        cr_expect_not_null(strstr(error.message, cases[i].words), "case %zu: %s", i, error.message);
        cr_expect_not_null(strstr(error.message, "hooks.conf"), "case %zu: %s", i, error.message);
    }
}
