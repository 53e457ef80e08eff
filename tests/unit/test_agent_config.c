#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "client/agent/config.h"

static char file[] = "/tmp/lapse-test-agent-conf-XXXXXX";
static struct agent_config config;

static void start(void)
{
    int fd = mkstemp(file);
    cr_assert_geq(fd, 0);
    (void)close(fd);
}

static void stop(void)
{
    agent_config_free(&config);
    (void)unlink(file);
}

TestSuite(agent_config, .init = start, .fini = stop);

#define HEAD                                                                                                           \
    "[cluster]\nendpoints = 127.0.0.1:7400\ncertificate = a.pem\nkey = a.key\nauthorities = ca.pem\n"                  \
    "[point]\nid = web1\nscope = web/*\n[http]\nlisten = 127.0.0.1:0\n"

static lapse_result load(const char *text, struct lapse_error *error)
{
    FILE *stream = fopen(file, "w");
    cr_assert_not_null(stream);
    cr_assert_eq(fwrite(text, 1, strlen(text), stream), strlen(text));
    cr_assert_eq(fclose(stream), 0);
    agent_config_free(&config);
    return agent_config_load(file, &config, error);
}

static void assert_refused(const char *text, const char *expected)
{
    struct lapse_error error;
    lapse_result result = load(text, &error);
    cr_assert_eq(result.code, LAPSE_FAILED_PRECONDITION, "\"%s\" was accepted", text);
    cr_assert_not_null(strstr(error.message, expected), "\"%s\" is not in: %s", expected, error.message);
}

Test(agent_config, the_least_that_is_needed_gets_defaults)
{
    struct lapse_error error;
    cr_assert(lapse_is_ok(load(HEAD, &error)), "%s", error.message);
    cr_assert_eq(config.lease_ms, LIMIT_LEASE_MS_DEFAULT);
    cr_assert_eq(config.use_share, 1);
    cr_assert_eq(config.n_scope, 1);
    cr_assert_str_eq(config.uri_header, "X-Original-URI");
    cr_assert_str_eq(config.metrics, "");
    cr_assert_eq(config.maps.n, 0);
}

Test(agent_config, the_example_is_right_and_names_every_default)
{
    struct lapse_error error;
    struct buf text;
    buf_init(&text, 65536);
    cr_assert(lapse_is_ok(agent_config_example(&text)));
    cr_assert(lapse_is_ok(buf_append(&text, "", 1)));
    cr_assert(lapse_is_ok(load((const char *)text.data, &error)), "%s", error.message);
    cr_assert_eq(config.maps.n, 1);
    cr_assert_str_eq(config.maps.maps[0]->name, "reports");
    buf_free(&text);
}

Test(agent_config, several_scopes_may_be_given)
{
    struct lapse_error error;
    cr_assert(lapse_is_ok(load(HEAD "[point]\nscope = db/prod/orders\n", &error)), "%s", error.message);
    cr_assert_eq(config.n_scope, 2);
    cr_assert_str_eq(config.scope[1], "db/prod/orders");
}

Test(agent_config, only_local_addresses_are_listened_on)
{
    struct lapse_error error;
    const char *const refused[] = {"0.0.0.0:7480",  "[::]:7480",       "192.0.2.1:7480", "localhost:7480", "127.0.0.1",
                                   "unix:relative", "127.0.0.1:70000", "[::1]",          "127.0.0.1:7480x"};
    const char *const taken[] = {"127.0.0.1:7480", "127.1.2.3:1", "[::1]:7480", "unix:/run/lapse/x.sock"};
    char text[1024];
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        (void)snprintf(text, sizeof text, HEAD "[ext_authz]\nlisten = %s\n", refused[i]);
        assert_refused(text, "127.0.0.1:PORT");
    }
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        (void)snprintf(text, sizeof text, HEAD "[ext_authz]\nlisten = %s\n", taken[i]);
        cr_assert(lapse_is_ok(load(text, &error)), "%s", error.message);
    }
}

Test(agent_config, faults_are_reported_with_file_and_line)
{
    assert_refused(HEAD "[point]\nlease-ms = 10\n",
                   ":12: point.lease-ms: \"10\"; accepted: a number from 1000 to 60000");
    assert_refused(HEAD "[point]\nlease = 10\n", ":12: there is no setting point.lease; accepted: id, scope, lease-ms");
    assert_refused(HEAD "[pint]\nlease = 10\n", ":12: there is no section [pint]");
    assert_refused(HEAD "[point]\nid = x\n", ":12: point.id: is set a second time, the first was in line 7");
    assert_refused(HEAD "[point]\nscope = a//b\n", ":12: point.scope:");
    assert_refused(HEAD "[log]\nlevel = loud\n", "debug, info, warn or error");
    assert_refused(HEAD "[http]\nuri-header = a b\n", "http.uri-header");
    assert_refused(HEAD "nonsense\n", ":11: is neither [section] nor key = value");
}

Test(agent_config, what_must_be_set_is_named)
{
    assert_refused("[point]\nid = x\n", "cluster.endpoints must be set");
    assert_refused(
        "[cluster]\nendpoints = a:1\ncertificate = a\nkey = b\nauthorities = c\n[point]\nid = web1\nscope = web/*\n",
        "nobody could ask");
}

Test(agent_config, maps_are_kept_in_their_order_and_checked)
{
    struct lapse_error error;
    cr_assert(lapse_is_ok(load(HEAD "[map b]\nsubject = a\nresource = b\naction = c\n"
                                    "[map a]\nsubject = a\nresource = b\naction.GET = c\n",
                               &error)),
              "%s", error.message);
    cr_assert_eq(config.maps.n, 2);
    cr_assert_str_eq(config.maps.maps[0]->name, "b");
    assert_refused(HEAD "[map b]\nsubject = a\nresource = b\n", ":12: map b: action is missing");
    assert_refused(HEAD "[map b]\nsubject = a\naction = b\n", "map b: resource is missing");
    assert_refused(HEAD "[map b]\nsubject = a\nresource = b\naction = c\naction.GET = d\n", "keep one of them");
    assert_refused(HEAD "[map b]\nsubject = ${nobody}\n", ":12: map b: subject: there is no ${nobody}");
    assert_refused(HEAD "[map b]\nmatch.path = reports\n", ":12: map b: match.path:");
    assert_refused(HEAD "[map b]\nmatch.path = /reports*\n", "match.path");
    assert_refused(HEAD "[map b]\naction.get = read\n", "in capitals");
    assert_refused(HEAD "[map b]\naction.GET = Read\n", "lower-case");
    assert_refused(HEAD "[map b]\nreason = x\n", "accepted: match.path, match.host");
    assert_refused(HEAD "[map b]\nmatch.host = Example.org\n", "lower case");
    assert_refused(HEAD "[map abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz]\nsubject = x\n",
                   ":11: the line is too long");
}

Test(agent_config, a_failure_leaves_what_was_there)
{
    struct lapse_error error;
    cr_assert(lapse_is_ok(load(HEAD, &error)));
    struct agent_config before = config;
    FILE *stream = fopen(file, "w");
    cr_assert_not_null(stream);
    cr_assert_gt(fputs("[point]\nid =\n", stream), 0);
    cr_assert_eq(fclose(stream), 0);
    cr_assert_not(lapse_is_ok(agent_config_load(file, &config, &error)));
    cr_assert_eq(memcmp(&before, &config, sizeof config), 0);
}

Test(agent_config, the_manual_page_names_every_setting)
{
    static char page[65536], path[512];
    struct buf text;
    (void)snprintf(path, sizeof path, "%s/docs/man/lapse-agent.5", getenv("SOURCE_ROOT"));
    FILE *stream = fopen(path, "r");
    cr_assert_not_null(stream, "%s", path);
    page[fread(page, 1, sizeof page - 1, stream)] = '\0';
    (void)fclose(stream);
    buf_init(&text, 65536);
    cr_assert(lapse_is_ok(agent_config_example(&text)));
    cr_assert(lapse_is_ok(buf_append(&text, "", 1)));
    for (char *save = NULL, *line = strtok_r((char *)text.data, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char item[96], key[64] = "";
        if (line[0] == '#' && line[1] == ' ')
            continue;
        if (line[0] == '[')
            (void)snprintf(item, sizeof item, ".Sh %.80s", strncmp(line, "[map ", 5) == 0 ? "[map" : line);
        else if (sscanf(line, "#%60s = ", key) == 1 || sscanf(line, "%60s = ", key) == 1)
            (void)snprintf(item, sizeof item, ".It Ic %s", strncmp(key, "action.", 7) == 0 ? "action." : key);
        else
            continue;
        cr_assert_not_null(strstr(page, item), "the manual page has no \"%s\"", item);
    }
    buf_free(&text);
}
