#include "node/hook_config.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/ini.h"
#include "store/identifiers.h"
#include "store/store.h"

#define SECRET_MIN 24
#define TIMEOUT_MS_DEFAULT 10000
#define TIMEOUT_MS_MAX 60000
#define GIVE_UP_MS_DEFAULT (24LL * 3600 * 1000)
#define GIVE_UP_MS_MAX (7LL * 24 * 3600 * 1000)

#define BIT(type) (1ull << (type))
/* What nobody wants told one by one. */
#define CHATTER                                                                                                        \
    (BIT(STORE_EVENT_RECEIPTS) | BIT(STORE_EVENT_USED) | BIT(STORE_EVENT_SESSION_BEGAN) |                              \
     BIT(STORE_EVENT_SESSION_ENDED))
#define ALL_TYPES ((BIT(STORE_EVENT_LAST) << 1) - 2)
/* What ends somebody's session: hook_body.c has a token for each. An offboarding begins with a lock. */
#define CAEP_TYPES                                                                                                     \
    (BIT(STORE_EVENT_REVOKED) | BIT(STORE_EVENT_EXPIRED) | BIT(STORE_EVENT_COMPLETED) | BIT(STORE_EVENT_EXHAUSTED) |   \
     BIT(STORE_EVENT_LOCKED))

static lapse_result no_such(const char *what, struct lapse_error *error)
{
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s; see lapsed.conf(5)", what);
}

/* --- values ------------------------------------------------------------------------------------------------------- */

/* libcurl's own parser, so that what is checked here is what will be called. */
static lapse_result check_parts(CURLU *parts, const char *value, struct lapse_error *error)
{
    char *scheme = NULL, *host = NULL, *user = NULL;
    bool whole = curl_url_set(parts, CURLUPART_URL, value, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
                 curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                 curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK;
    bool named = whole && curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_OK;
    bool loopback = whole && (strcmp(host, "127.0.0.1") == 0 || strcmp(host, "[::1]") == 0);
    /* In the clear only to this machine. */
    bool allowed = whole && (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && loopback));
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    if (!allowed)
        return no_such("url: https://HOST..., or http:// to 127.0.0.1 or [::1]", error);
    return named ? no_such("url: without a name or password (use authorization-file)", error) : lapse_ok();
}

static lapse_result parse_url(const char *value, struct hook_options *hook, struct lapse_error *error)
{
    CURLU *parts = curl_url();
    CHECK(parts != NULL);
    lapse_result result = strlen(value) < sizeof hook->url ? check_parts(parts, value, error)
                                                           : no_such("url: shorter than 1024 bytes", error);
    curl_url_cleanup(parts);
    if (lapse_is_ok(result))
        (void)snprintf(hook->url, sizeof hook->url, "%s", value);
    return result;
}

static lapse_result parse_kind(const char *value, struct hook_options *hook, struct lapse_error *error)
{
    if (strcmp(value, "json") != 0 && strcmp(value, "caep") != 0)
        return no_such("kind: json or caep", error);
    hook->kind = strcmp(value, "caep") == 0 ? HOOK_CAEP : HOOK_JSON;
    return lapse_ok();
}

static int type_of_name(const char *name)
{
    for (int type = 1; type <= STORE_EVENT_LAST; type++)
        if (strcmp(name, store_event_name((enum store_event_type)type)) == 0)
            return type;
    return 0;
}

static lapse_result parse_events(const char *value, struct hook_options *hook, struct lapse_error *error)
{
    char names[LIMIT_CONFIG_LINE], *rest = NULL;
    (void)snprintf(names, sizeof names, "%s", value);
    for (char *name = strtok_r(names, ", ", &rest); name != NULL; name = strtok_r(NULL, ", ", &rest)) {
        int type = type_of_name(name);
        if (type == 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "events: there is no event %s; they are called as `lapse watch` prints them", name);
        hook->types |= BIT(type);
    }
    return hook->types != 0 ? lapse_ok() : no_such("events: name at least one, or leave the line out", error);
}

static lapse_result parse_duration(const char *value, const char *key, int64_t most_ms, int64_t *ms,
                                   struct lapse_error *error)
{
    char *unit = NULL;
    long long number = strtoll(value, &unit, 10);
    int64_t scale = strcmp(unit, "s") == 0   ? 1000
                    : strcmp(unit, "m") == 0 ? 60000
                    : strcmp(unit, "h") == 0 ? 3600000
                                             : 0;
    if (scale == 0 || number < 1 || number > most_ms / scale)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: a number with s, m or h, at most %llds", key,
                          (long long)most_ms / 1000);
    *ms = number * scale;
    return lapse_ok();
}

/* --- files -------------------------------------------------------------------------------------------------------- */

/* Opens what only its owner (and root) may read. Never waits (a pipe), and leaves no copy in a stream's buffer. */
static lapse_result open_private(const char *file, const char *key, FILE **stream, struct lapse_error *error)
{
    struct stat state;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: can't read %s", key, file);
    if (fstat(fd, &state) != 0 || !S_ISREG(state.st_mode) || (state.st_mode & 077) != 0) {
        (void)close(fd);
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: %s must be a file that others can't read (chmod 600)",
                          key, file);
    }
    *stream = fdopen(fd, "r");
    CHECK(*stream != NULL && setvbuf(*stream, NULL, _IONBF, 0) == 0);
    return lapse_ok();
}

/* The file without the newline at its end. */
static lapse_result read_private(const char *file, const char *key, uint8_t *bytes, size_t size, size_t *len,
                                 struct lapse_error *error)
{
    FILE *stream = NULL;
    lapse_result result = open_private(file, key, &stream, error);
    if (!lapse_is_ok(result))
        return result;
    *len = fread(bytes, 1, size, stream);
    bool whole = *len < size;
    (void)fclose(stream);
    while (*len > 0 && (bytes[*len - 1] == '\n' || bytes[*len - 1] == '\r'))
        --*len;
    return whole ? lapse_ok()
                 : lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: %s is longer than %zu bytes", key, file, size - 1);
}

static lapse_result read_secret(const char *file, struct hook_options *hook, struct lapse_error *error)
{
    lapse_result result =
        read_private(file, "secret-file", hook->secret, sizeof hook->secret, &hook->secret_len, error);
    if (lapse_is_ok(result) && hook->secret_len < SECRET_MIN)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "secret-file: at least %d bytes", SECRET_MIN);
    return result;
}

static lapse_result read_authorization(const char *file, struct hook_options *hook, struct lapse_error *error)
{
    size_t len = 0;
    lapse_result result = read_private(file, "authorization-file", (uint8_t *)hook->authorization,
                                       sizeof hook->authorization - 1, &len, error);
    if (!lapse_is_ok(result))
        return result;
    hook->authorization[len] = '\0';
    return len > 0 && slice_is_text(slice_of((const uint8_t *)hook->authorization, len), false)
               ? lapse_ok()
               : no_such("authorization-file: one line of text, the value of the header", error);
}

/* A key with a passphrase must not make a daemon ask on its terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer, (void)size, (void)writing, (void)arg;
    return -1;
}

static lapse_result read_signing_key(const char *file, struct hook_options *hook, struct lapse_error *error)
{
    FILE *stream = NULL;
    lapse_result result = open_private(file, "signing-key-file", &stream, error);
    if (!lapse_is_ok(result))
        return result;
    hook->signing_key = PEM_read_PrivateKey(stream, NULL, no_passphrase, NULL);
    (void)fclose(stream);
    return hook->signing_key != NULL && EVP_PKEY_is_a(hook->signing_key, "ED25519")
               ? lapse_ok()
               : no_such("signing-key-file: an Ed25519 key in PEM, without a passphrase (openssl genpkey -algorithm "
                         "ed25519)",
                         error);
}

/* That there is something to trust in it: libcurl would find out with the first event. */
static lapse_result check_authorities(const char *file, struct lapse_error *error)
{
    FILE *stream = fopen(file, "re");
    X509 *first = stream == NULL ? NULL : PEM_read_X509(stream, NULL, no_passphrase, NULL);
    bool good = first != NULL;
    X509_free(first);
    if (stream != NULL)
        (void)fclose(stream);
    return good ? lapse_ok()
                : lapse_fail(error, LAPSE_INVALID_ARGUMENT, "ca-file: %s holds no certificate in PEM, or can't be read",
                             file);
}

static lapse_result keep(const char *value, const char *key, char *out, size_t size, struct lapse_error *error)
{
    if (strlen(value) >= size)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: at most %zu bytes", key, size - 1);
    (void)snprintf(out, size, "%s", value);
    return lapse_ok();
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

static lapse_result set(struct hook_options *hook, const char *key, const char *value, struct lapse_error *error)
{
    int64_t ms = 0;
    lapse_result result = lapse_ok();
    if (strcmp(key, "url") == 0)
        return parse_url(value, hook, error);
    if (strcmp(key, "kind") == 0)
        return parse_kind(value, hook, error);
    if (strcmp(key, "events") == 0)
        return parse_events(value, hook, error);
    if (strcmp(key, "secret-file") == 0)
        return read_secret(value, hook, error);
    if (strcmp(key, "authorization-file") == 0)
        return read_authorization(value, hook, error);
    if (strcmp(key, "signing-key-file") == 0)
        return read_signing_key(value, hook, error);
    if (strcmp(key, "ca-file") == 0) {
        result = keep(value, key, hook->ca_file, sizeof hook->ca_file, error);
        return lapse_is_ok(result) ? check_authorities(hook->ca_file, error) : result;
    }
    if (strcmp(key, "issuer") == 0)
        return keep(value, key, hook->issuer, sizeof hook->issuer, error);
    if (strcmp(key, "audience") == 0)
        return keep(value, key, hook->audience, sizeof hook->audience, error);
    if (strcmp(key, "give-up-after") == 0)
        return parse_duration(value, key, GIVE_UP_MS_MAX, &hook->give_up_ms, error);
    CHECK(strcmp(key, "timeout") == 0); /* once() knows all keys */
    result = parse_duration(value, key, TIMEOUT_MS_MAX, &ms, error);
    hook->timeout_ms = (uint32_t)ms;
    return result;
}

static struct hook_options *hook_named(struct hooks_config *config, const char *name)
{
    for (uint32_t i = 0; i < config->n; i++)
        if (strcmp(config->hooks[i].name, name) == 0)
            return &config->hooks[i];
    return NULL;
}

static lapse_result add(struct hooks_config *config, const char *name, struct hook_options **hook,
                        struct lapse_error *error)
{
    if (config->n == LIMIT_HOOKS)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "more than %u webhooks", LIMIT_HOOKS);
    lapse_result result = object_name_validate(slice_str(name), "webhook", error);
    if (!lapse_is_ok(result))
        return result;
    /* Never moved: secrets would stay behind. */
    if (config->hooks == NULL)
        config->hooks = mem_calloc(LIMIT_HOOKS, sizeof config->hooks[0]);
    *hook = &config->hooks[config->n++];
    **hook = (struct hook_options){.timeout_ms = TIMEOUT_MS_DEFAULT, .give_up_ms = GIVE_UP_MS_DEFAULT};
    (void)snprintf((*hook)->name, sizeof(*hook)->name, "%s", name);
    return lapse_ok();
}

/* Of which of two the operator meant nobody can know. */
static lapse_result once(struct hook_options *hook, const char *key, struct lapse_error *error)
{
    static const char *const keys[] = {"url",          "kind",    "events", "secret-file", "authorization-file",
                                       "ca-file",      "timeout", "issuer", "audience",    "signing-key-file",
                                       "give-up-after"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (strcmp(keys[i], key) == 0) {
            if (hook->given & 1u << i)
                return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s: set twice in [%s]", key, hook->name);
            hook->given |= 1u << i;
            return lapse_ok();
        }
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a webhook has no setting %s; see lapsed.conf(5)", key);
}

static lapse_result on_setting(void *arg, const char *section, const char *key, const char *value, uint32_t line,
                               struct lapse_error *error)
{
    struct hooks_config *config = arg;
    struct hook_options *hook = hook_named(config, section);
    (void)line;
    lapse_result result = hook != NULL ? lapse_ok() : add(config, section, &hook, error);
    if (lapse_is_ok(result))
        result = once(hook, key, error);
    return lapse_is_ok(result) ? set(hook, key, value, error) : result;
}

/* What its kind needs and can't have. */
static const char *fault_of(const struct hook_options *hook)
{
    bool has_caep = hook->issuer[0] != '\0' || hook->audience[0] != '\0' || hook->signing_key != NULL;
    if (hook->url[0] == '\0')
        return "url is missing";
    if (hook->kind == HOOK_JSON)
        return has_caep ? "issuer, audience and signing-key-file are for kind = caep" : NULL;
    if (hook->issuer[0] == '\0' || hook->audience[0] == '\0' || hook->signing_key == NULL)
        return "kind = caep needs issuer, audience and signing-key-file";
    if (hook->secret_len > 0)
        return "secret-file is for kind = json; tokens are signed with signing-key-file";
    return (hook->types & ~CAEP_TYPES) != 0 ? "kind = caep tells REVOKED, EXPIRED, COMPLETED, EXHAUSTED and LOCKED"
                                            : NULL;
}

static lapse_result complete(const char *file, struct hook_options *hook, struct lapse_error *error)
{
    const char *fault = fault_of(hook);
    if (fault != NULL)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s: [%s]: %s", file, hook->name, fault);
    if (hook->types == 0)
        hook->types = hook->kind == HOOK_CAEP ? CAEP_TYPES : ALL_TYPES & ~CHATTER;
    return lapse_ok();
}

lapse_result hooks_config_read(const char *file, struct hooks_config *config, struct lapse_error *error)
{
    struct hooks_config read = {0};
    lapse_result result = ini_read(file, on_setting, &read, error);
    for (uint32_t i = 0; lapse_is_ok(result) && i < read.n; i++)
        result = complete(file, &read.hooks[i], error);
    if (lapse_is_ok(result))
        *config = read;
    else
        hooks_config_free(&read);
    return result;
}

void hooks_config_free(struct hooks_config *config)
{
    for (uint32_t i = 0; i < config->n; i++)
        EVP_PKEY_free(config->hooks[i].signing_key);
    if (config->hooks != NULL)
        OPENSSL_cleanse(config->hooks, LIMIT_HOOKS * sizeof config->hooks[0]);
    free(config->hooks);
    *config = (struct hooks_config){0};
}
