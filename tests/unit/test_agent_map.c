#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/pki.h"
#include "client/agent/map.h"

static struct agent_maps maps;
static struct agent_request request;
static struct agent_question question;
static char detail[AGENT_DETAIL_SIZE];

static void stop(void)
{
    agent_maps_free(&maps);
}

TestSuite(agent_map, .fini = stop);

static void set(const char *map, const char *key, const char *value)
{
    struct lapse_error error;
    cr_assert(lapse_is_ok(agent_map_set(agent_maps_get(&maps, map), key, value, &error)), "%s", error.message);
}

static void add_map(const char *name, const char *path, const char *resource)
{
    set(name, "match.path", path);
    set(name, "subject", "user:${header:X-Forwarded-User}");
    set(name, "resource", resource);
    set(name, "action", "read");
}

static void ask_for(const char *target)
{
    request = (struct agent_request){
        .method = slice_str("GET"), .target = slice_str(target), .host = slice_str("Intranet.Example.org:8443")};
    agent_request_add(&request, slice_str("x-forwarded-user"), slice_str("dev1"));
}

static enum agent_refusal ask(const char *target)
{
    ask_for(target);
    return agent_maps_ask(&maps, &request, &question, detail);
}

/* ---- Matching */

Test(agent_map, the_first_map_that_matches_decides)
{
    add_map("admin", "/admin/*", "web/admin");
    add_map("all", "/*", "web/other");
    cr_assert_eq(ask("/admin/users"), AGENT_ASKS, "%s", detail);
    cr_assert_str_eq(question.resource, "web/admin");
    cr_assert_str_eq(question.subject, "user:dev1");
    cr_assert_str_eq(question.action, "read");
    cr_assert_eq(ask("/administration"), AGENT_ASKS);
    cr_assert_str_eq(question.resource, "web/other");
    cr_assert_eq(ask("/"), AGENT_ASKS);
    cr_assert_str_eq(question.resource, "web/other");
}

Test(agent_map, a_subtree_includes_its_root_with_and_without_a_slash)
{
    add_map("admin", "/admin/*", "web/admin");
    add_map("root", "/", "web/root");
    cr_assert_eq(ask("/admin"), AGENT_ASKS);
    cr_assert_eq(ask("/admin/"), AGENT_ASKS);
    cr_assert_str_eq(question.resource, "web/admin");
    cr_assert_eq(ask("/"), AGENT_ASKS);
    cr_assert_str_eq(question.resource, "web/root");
}

Test(agent_map, no_map_is_a_denial)
{
    cr_assert_eq(ask("/reports"), AGENT_NO_MAP);
    add_map("reports", "/reports/*", "web/reports");
    cr_assert_eq(ask("/report"), AGENT_NO_MAP);
    cr_assert_eq(ask("/reportsx"), AGENT_NO_MAP);
}

Test(agent_map, hosts_and_methods_select)
{
    add_map("api", "/*", "web/api");
    set("api", "match.host", "*.example.org");
    set("api", "match.method", "GET, HEAD");
    cr_assert_eq(ask("/x"), AGENT_ASKS);
    request.method = slice_str("POST");
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_NO_MAP);
    ask_for("/x");
    request.host = slice_str("example.org");
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_NO_MAP);
    request.host = slice_str("badexample.org");
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_NO_MAP);
}

Test(agent_map, actions_come_from_a_table_by_method)
{
    set("x", "subject", "user:${header:X-Forwarded-User}");
    set("x", "resource", "web/x");
    set("x", "action.GET", "read");
    cr_assert_eq(ask("/x"), AGENT_ASKS);
    cr_assert_str_eq(question.action, "read");
    request.method = slice_str("DELETE");
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_NO_ACTION);
    set("x", "action.*", "write");
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_ASKS);
    cr_assert_str_eq(question.action, "write");
}

/* ---- Spelling */

Test(agent_map, paths_are_decoded_once_and_have_one_spelling)
{
    add_map("all", "/*", "web/${path}");
    const char *const same[] = {"/a-b/c", "/a%2Db/c", "/%61-b/%63", "/a-b/c/", "/a-b/c?x=/../y"};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        cr_assert_eq(ask(same[i]), AGENT_ASKS, "%s: %s", same[i], detail);
        cr_assert_str_eq(question.resource, "web/a-b/c", "%s", same[i]);
    }
}

Test(agent_map, nobody_reaches_another_resource_by_spelling)
{
    add_map("public", "/public/*", "web/public");
    add_map("all", "/*", "web/${path}");
    const char *const refused[] = {
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/.%2E/admin",
        "/public/..%2fadmin",
        "/public//admin",
        "/public%2Fadmin",
        "/public/./x",
        "/public\\admin",
        "/public/%5c..%5cx",
        "/public/..;/admin",
        "/admin;x/y",
        "/public/%00",
        "/public/x%00/../y",
        "/public/%0d%0aX: y",
        "/public/%zz",
        "/public/%",
        "/public/%2",
        "/public/%252e%252e/x",
        "/public/%ff",
        "http://other/public",
        "//public",
        "*",
        "",
        "public",
        "/public/x#y",
        "/public/%23",
        "/public/%3f",
        "/public/..",
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        cr_assert_eq(ask(refused[i]), AGENT_BAD_REQUEST, "%s was taken", refused[i]);
}

Test(agent_map, a_path_that_can_not_be_a_resource_is_refused)
{
    char longest[LIMIT_AGENT_PATH + 10];
    add_map("all", "/*", "web/${path}");
    cr_assert_eq(ask("/a%20b"), AGENT_BAD_VALUE);
    cr_assert_eq(ask("/a*"), AGENT_BAD_VALUE);
    cr_assert_eq(ask("/%c3%a4"), AGENT_BAD_VALUE);
    memset(longest, 'a', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    cr_assert_eq(ask(longest), AGENT_BAD_REQUEST);
    longest[400] = '\0';
    cr_assert_eq(ask(longest), AGENT_BAD_VALUE);
}

Test(agent_map, methods_hosts_and_addresses_are_refused_when_they_are_none)
{
    add_map("all", "/*", "web/x");
    const char *const methods[] = {"get", "GET ", "G\tET", "GETGETGETGETGETGETGETGETGETGETGETGET"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        ask_for("/x");
        request.method = slice_str(methods[i]);
        cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_BAD_REQUEST, "%s", methods[i]);
    }
    ask_for("/x");
    request.host = slice_str("a/b");
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_BAD_REQUEST);
    ask_for("/x");
    request.address = slice_str("10.0.0.1, 10.0.0.2");
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_BAD_REQUEST);
    request.address = slice_str("::1");
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_ASKS);
    cr_assert_str_eq(question.address, "::1");
}

/* ---- Templates */

static enum agent_refusal ask_resource(const char *template, const char *target)
{
    agent_maps_free(&maps);
    add_map("all", "/*", template);
    return ask(target);
}

Test(agent_map, templates_draw_from_all_parts_of_a_request)
{
    cr_assert_eq(ask_resource("h/${host}/${method}/${path:2}", "/a/b/c"), AGENT_ASKS, "%s", detail);
    cr_assert_str_eq(question.resource, "h/intranet.example.org/get/b");
    cr_assert_eq(ask_resource("q/${query:name}", "/a?x=1&na%6De=o%72ders"), AGENT_ASKS, "%s", detail);
    cr_assert_str_eq(question.resource, "q/orders");
}

Test(agent_map, missing_values_are_denials_that_name_them)
{
    cr_assert_eq(ask_resource("q/${query:name}", "/a?x=1"), AGENT_NO_VALUE);
    cr_assert_not_null(strstr(detail, "query:name"), "%s", detail);
    cr_assert_eq(ask_resource("q/${query:name}", "/a?name="), AGENT_NO_VALUE);
    cr_assert_eq(ask_resource("q/${path:3}", "/a/b"), AGENT_NO_VALUE);
    cr_assert_not_null(strstr(detail, "path:3"), "%s", detail);
    cr_assert_eq(ask_resource("q/${header:X-Db}", "/a/b"), AGENT_NO_VALUE);
    cr_assert_not_null(strstr(detail, "header:X-Db"), "%s", detail);
    cr_assert_eq(ask_resource("q/${path}", "/"), AGENT_NO_VALUE);
}

Test(agent_map, nobody_presented_is_its_own_denial)
{
    add_map("all", "/*", "web/x");
    ask_for("/x");
    request.n_headers = 0;
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_NO_SUBJECT);
}

Test(agent_map, values_that_stand_there_twice_are_refused)
{
    cr_assert_eq(ask_resource("q/${query:name}", "/a?name=x&name=y"), AGENT_UNCLEAR_VALUE);
    cr_assert_eq(ask_resource("q/${query:name}", "/a?name=x&n%61me=y"), AGENT_UNCLEAR_VALUE);
    cr_assert_eq(ask_resource("q/${query:name}", "/a?z=1;name=y&name=x"), AGENT_UNCLEAR_VALUE);
    cr_assert_eq(ask_resource("q/x", "/a"), AGENT_ASKS);
    agent_request_add(&request, slice_str("X-Forwarded-User"), slice_str("oncall"));
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_UNCLEAR_VALUE);
}

Test(agent_map, a_value_among_others_is_one_segment)
{
    cr_assert_eq(ask_resource("q/${query:name}/x", "/a?name=b%2Fc"), AGENT_UNCLEAR_VALUE);
    cr_assert_eq(ask_resource("q/${query:name}", "/a?name=.."), AGENT_BAD_VALUE);
    cr_assert_eq(ask_resource("${query:name}", "/a?name=b/c"), AGENT_ASKS);
    cr_assert_str_eq(question.resource, "b/c");
    cr_assert_eq(ask_resource("${query:name}", "/a?name=b%00c"), AGENT_UNCLEAR_VALUE);
    cr_assert_eq(ask_resource("${query:name}", "/a?name=*"), AGENT_BAD_VALUE);
    cr_assert_eq(ask_resource("${query:name}", "/a?name=a+b"), AGENT_BAD_VALUE);
}

Test(agent_map, templates_that_are_none_are_refused_with_what_is_accepted)
{
    struct lapse_error error;
    const char *const wrong[] = {"${pth}", "${path:0}", "${path:99}", "${path:x}", "${header:}", "${path", "", "${}"};
    struct agent_map *map = agent_maps_get(&maps, "x");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        cr_assert_not(lapse_is_ok(agent_map_set(map, "resource", wrong[i], &error)), "%s was taken", wrong[i]);
    cr_assert_not(lapse_is_ok(agent_map_set(map, "resource", "${pth}", &error)));
    cr_assert_not_null(strstr(error.message, "${path}"), "%s", error.message);
}

/* ---- Certificates */

static void read_file(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    out[fread(out, 1, size - 1, file)] = '\0';
    cr_assert_eq(fclose(file), 0);
}

/* As nginx' $ssl_client_escaped_cert. */
static void escape(const char *text, char *out)
{
    for (; *text != '\0'; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || (*text >= '0' && *text <= '9');
        out += plain ? snprintf(out, 2, "%c", *text) : snprintf(out, 4, "%%%02X", (unsigned char)*text);
    }
    *out = '\0';
}

Test(agent_map, the_clients_certificate_tells_who_it_is)
{
    struct lapse_error error;
    static char dir[] = "/tmp/lapse-test-agent-XXXXXX", path[64], pem[8192], escaped[3 * sizeof pem], command[128];
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/dev1.pem", dir);
    cr_assert(lapse_is_ok(pki_init(dir, "example.org", 1, &error)), "%s", error.message);
    cr_assert(lapse_is_ok(
        pki_issue(dir, &(struct pki_request){.principal = "user/dev1", .name = "dev1", .days = 1}, &error)));
    read_file(path, pem, sizeof pem);
    escape(pem, escaped);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);

    add_map("all", "/*", "web/x");
    set("all", "subject", "${client.certificate.spiffe-id}");
    ask_for("/x");
    request.certificate = slice_str(escaped);
    request.principal = slice_str("spiffe://example.org/user/somebody-else");
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_ASKS, "%s", detail);
    cr_assert_str_eq(question.subject, "spiffe://example.org/user/dev1");
    cr_assert_str_eq(question.spiffe_id, "spiffe://example.org/user/dev1");
    cr_assert(question.has_certificate);
    request.certificate = slice_of(escaped, 300);
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_BAD_REQUEST);
    request.certificate = slice_of(NULL, 0);
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_NO_SUBJECT);
}

Test(agent_map, the_peers_principal_is_presented_too)
{
    add_map("all", "/*", "web/x");
    set("all", "subject", "${source.principal}");
    ask_for("/x");
    request.principal = slice_str("spiffe://example.org/ns/web");
    cr_assert_eq(agent_maps_ask(&maps, &request, &question, detail), AGENT_ASKS, "%s", detail);
    cr_assert_str_eq(question.subject, "spiffe://example.org/ns/web");
    cr_assert_str_eq(question.spiffe_id, "spiffe://example.org/ns/web");
}
