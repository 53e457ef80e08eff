/* The question of POST /access/v1/evaluation, and a bearer token's text. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "proto/authzen.h"

#define TOKEN "lps_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define REST "\"resource\":{\"type\":\"t\",\"id\":\"db/orders\"},\"action\":{\"name\":\"read\"}"
#define SUBJECT(type, id) "\"subject\":{\"type\":\"" type "\",\"id\":\"" id "\"}"

static struct authzen_question question;
static struct lapse_error error;

static void parse(const char *json)
{
    cr_assert(lapse_is_ok(authzen_parse(slice_str(json), &question, &error)), "%s: %s", json, error.message);
}

static void refuse(const char *json, const char *word)
{
    const struct authzen_question before = question;
    cr_assert_eq(authzen_parse(slice_str(json), &question, &error).code, LAPSE_INVALID_ARGUMENT, "%s", json);
    cr_assert_not_null(strstr(error.message, word), "\"%s\" has no \"%s\"", error.message, word);
    cr_assert_arr_eq(&before, &question, sizeof before, "nothing is filled");
}

Test(authzen, a_subject_has_its_type_before_its_id_unless_it_stands_there)
{
    static const struct {
        const char *type, *id, *subject;
    } cases[] = {
        {"user", "dev1@example.com", "user:dev1@example.com"},
        {"user", "user:dev1", "user:dev1"},
        {"user", "users", "user:users"},
        {"workload", "spiffe://example.org/ci", "spiffe://example.org/ci"},
        {"user", "team:dev1", "user:team:dev1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char json[512];
        snprintf(json, sizeof json, "{\"subject\":{\"type\":\"%s\",\"id\":\"%s\"}," REST "}", cases[i].type,
                 cases[i].id);
        parse(json);
        cr_assert_str_eq(question.subject, cases[i].subject);
        cr_assert_str_eq(question.resource, "db/orders");
        cr_assert_str_eq(question.action, "read");
        cr_assert_not(question.has_token || question.has_certificate);
    }
}

Test(authzen, the_context_says_what_was_presented)
{
    parse("{" SUBJECT(
        "user", "dev1") "," REST ",\"context\":{\"spiffe_id\":\"spiffe://example.org/x\","
                        "\"address\":\"2001:db8::1\",\"certificate_sha256\":"
                        "\"00ff00ff00ff00ff00ff00ff00ff00ff00FF00FF00FF00FF00FF00FF00FF00FF\",\"token\":\"" TOKEN "\","
                        "\"time\":\"noon\"},\"more\":[]}");
    uint8_t hash[32];
    cr_assert(token_hash(slice_str(TOKEN), hash));
    cr_assert_str_eq(question.spiffe_id, "spiffe://example.org/x");
    cr_assert_str_eq(question.address, "2001:db8::1");
    cr_assert(question.has_certificate);
    cr_assert_eq(question.certificate_sha256[0], 0);
    cr_assert_eq(question.certificate_sha256[31], 0xff);
    cr_assert(question.has_token);
    cr_assert_arr_eq(question.token_sha256, hash, sizeof hash);
}

Test(authzen, a_token_may_be_the_subject)
{
    parse("{" SUBJECT("token", TOKEN) "," REST "}");
    cr_assert_str_eq(question.subject, "");
    cr_assert(question.has_token);
    refuse("{" SUBJECT("token", TOKEN) "," REST ",\"context\":{\"token\":\"" TOKEN "\"}}", "context.token");
    refuse("{" SUBJECT("token", "secret") "," REST "}", "subject.id is no token");
    cr_assert_null(strstr(error.message, "secret"));
}

Test(authzen, what_is_missing_or_of_another_type_is_named)
{
    char longer[1000];
    refuse("", "not a JSON object");
    refuse("{\"subject\":\"lps_secret", "line 1");
    cr_assert_null(strstr(error.message, "secret"), "what was sent isn't repeated");
    refuse("[]", "no object");
    refuse("{}", "subject is missing");
    refuse("{\"subject\":7}", "subject must be an object");
    refuse("{\"subject\":{\"id\":\"dev1\"}}", "subject.type is missing");
    refuse("{\"subject\":{\"type\":\"user\"}}", "subject.id is missing");
    refuse("{\"subject\":{\"type\":\"user\",\"id\":7}}", "subject.id must be a string");
    refuse("{\"subject\":{\"type\":\"\",\"id\":\"dev1\"}}", "subject.type must be a string");
    refuse("{" SUBJECT("user", "dev1") "}", "resource is missing");
    refuse("{" SUBJECT("user", "dev1") ",\"resource\":{\"id\":\"db\"}}", "resource.type is missing");
    refuse("{" SUBJECT("user", "dev1") ",\"resource\":{\"type\":\"t\",\"id\":[]}}", "resource.id");
    refuse("{" SUBJECT("user", "dev1") ",\"resource\":{\"type\":\"t\",\"id\":\"db\"}}", "action is missing");
    refuse("{" SUBJECT("user", "dev1") ",\"resource\":{\"type\":\"t\",\"id\":\"db\"},\"action\":{}}",
           "action.name is missing");
    refuse("{" SUBJECT("user", "dev1") "," REST ",\"context\":[]}", "context must be an object");
    refuse("{" SUBJECT("user", "dev1") "," REST ",\"context\":{\"address\":\"home\"}}", "IP address");
    refuse("{" SUBJECT("user", "dev1") "," REST ",\"context\":{\"spiffe_id\":7}}", "context.spiffe_id");
    refuse("{" SUBJECT("user", "dev1") "," REST ",\"context\":{\"certificate_sha256\":\"0x\"}}", "hexadecimal");
    refuse("{" SUBJECT("user", "dev1") "," REST ",\"context\":{\"token\":7}}", "context.token is no token");
    refuse("{" SUBJECT("user", "dev1") "," SUBJECT("user", "dev2") "," REST "}", "not a JSON object");
    snprintf(longer, sizeof longer, "{\"subject\":{\"type\":\"user\",\"id\":\"%0256d\"}," REST "}", 1);
    refuse(longer, "longer than");
    snprintf(longer, sizeof longer, "{\"subject\":{\"type\":\"user\",\"id\":\"%0257d\"}," REST "}", 1);
    refuse(longer, "subject.id must be");
}

Test(authzen, an_answer_has_a_decision_and_why)
{
    char *text = authzen_render(&(struct authzen_answer){
        .decision = true, .reason = "ALLOWS", .detail = "", .subject = "user:dev1", .revision = 7, .valid_for_ms = 9});
    cr_assert_str_eq(text, "{\"decision\":true,\"context\":{\"reason\":\"ALLOWS\",\"subject\":\"user:dev1\","
                           "\"revision\":7,\"valid_for_ms\":9}}");
    free(text);
    text = authzen_render(&(struct authzen_answer){.reason = "NO_GRANT", .detail = "\xff"});
    cr_assert_str_eq(text, "{\"decision\":false,\"context\":{\"reason\":\"NO_GRANT\",\"revision\":0}}");
    free(text);
}

Test(authzen, a_token_is_its_prefix_and_43_characters)
{
    uint8_t hash[32], before[32] = {0};
    static const char *const bad[] = {"",
                                      "lps_",
                                      TOKEN "A",
                                      "lps_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+",
                                      "lpt_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
                                      (" " TOKEN)};
    memset(hash, 0, sizeof hash);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_not(token_hash(slice_str(bad[i]), hash), "%s", bad[i]);
    cr_assert_arr_eq(hash, before, sizeof hash);
    cr_assert(token_hash(slice_str(TOKEN), hash));
    cr_assert_arr_neq(hash, before, sizeof hash);
    cr_assert(token_is_meant(slice_str("lps_short")));
    cr_assert_not(token_is_meant(slice_str("lps")));
}
