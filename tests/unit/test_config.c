#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "node/host_port.h"
#include "node/config.h"
#include "node/config_setting.h"
#include "node/suggest.h"

/* ---- helpers ---- */

static char directory[64];

static void make_directory(void)
{
    (void)snprintf(directory, sizeof directory, "/tmp/lapse-test-config-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
}

TestSuite(config, .init = make_directory, .fini = remove_directory);

static const char *write_bytes(const char *name, const void *data, size_t len)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, len, file), len);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(path, 0600), 0);
    return path;
}

static const char *write_text(const char *text)
{
    return write_bytes("lapsed.conf", text, strlen(text));
}

static lapse_result load_file(const char *text, struct config *config, struct lapse_error *error)
{
    return config_load(config, write_text(text), NULL, 0, NULL, error);
}

static void assert_refused(const char *text, const char *expected)
{
    struct config config, before;
    struct lapse_error error;
    memset(&config, 0x5A, sizeof config);
    memcpy(&before, &config, sizeof config);
    lapse_result result = load_file(text, &config, &error);
    cr_assert_eq(result.code, LAPSE_FAILED_PRECONDITION, "\"%s\" was accepted", text);
    cr_assert_not_null(strstr(error.message, expected), "\"%s\" is not in: %s", expected, error.message);
    cr_assert_eq(memcmp(&config, &before, sizeof config), 0, "something was applied");
}

static lapse_result load_flags(struct config *config, struct lapse_error *error, int n, char *const *flags)
{
    return config_load(config, NULL, NULL, n, flags, error);
}
#define LOAD_FLAGS(config, error, ...)                                                                                 \
    load_flags((config), (error), (int)ARRAY_LEN(((char *[]){__VA_ARGS__})), (char *[]){__VA_ARGS__})

static void assert_flag_refused(const char *flag, const char *expected)
{
    struct config config;
    struct lapse_error error;
    char copy[128];
    (void)snprintf(copy, sizeof copy, "%s", flag);
    cr_assert_eq(LOAD_FLAGS(&config, &error, copy).code, LAPSE_INVALID_ARGUMENT, "%s was accepted", flag);
    cr_assert_not_null(strstr(error.message, expected), "\"%s\" is not in: %s", expected, error.message);
}

/* ---- where settings come from ---- */

Test(config, without_any_source_the_defaults_hold)
{
    struct config config;
    struct lapse_error error;
    cr_assert(lapse_is_ok(config_load(&config, NULL, NULL, 0, NULL, &error)));
    cr_assert_eq(config.node_id, 0);
    cr_assert_str_eq(config.data_dir, "/var/lib/lapse");
    cr_assert_str_eq(config.client_host, "127.0.0.1");
    cr_assert_eq(config.client_port, 7400);
    cr_assert_eq(config.peer_port, 7401);
    cr_assert_eq(config.http_port, 7402);
    cr_assert(config.http_enabled);
    cr_assert_eq(config.election_timeout_ms, 150);
    cr_assert_eq(config.heartbeat_ms, 10);
    cr_assert_eq(config.segment_bytes, 64u << 20);
    cr_assert_eq(config.edge_threads, 1);
    cr_assert_eq(config.connections_max, 12000);
    cr_assert_eq(config.ring_events, 65536);
    cr_assert_eq(config.log_level, LOG_INFO);
    cr_assert_eq(config.log_format, LOG_TEXT);
}

Test(config, a_file_with_comments_blanks_and_windows_line_ends_is_read)
{
    struct config config;
    struct lapse_error error;
    lapse_result result = load_file("# Lapse\r\n; too\r\n[node]\r\n   id = 3\r\n\n[listen]\nclient=[::1]:0\n"
                                    "http = off\n[raft]\nsnapshot-bytes = 2GiB\n[log]\nlevel = debug\nformat = json",
                                    &config, &error);
    cr_assert(lapse_is_ok(result), "%s", error.message);
    cr_assert_eq(config.node_id, 3);
    cr_assert_str_eq(config.client_host, "::1");
    cr_assert_eq(config.client_port, 0);
    cr_assert_not(config.http_enabled);
    cr_assert_eq(config.snapshot_bytes, UINT64_C(2) << 30);
    cr_assert_eq(config.log_level, LOG_DEBUG);
    cr_assert_eq(config.log_format, LOG_JSON);
}

Test(config, variables_override_the_file_and_flags_override_variables)
{
    struct config config;
    struct lapse_error error;
    char heartbeat[] = "LAPSED_RAFT_HEARTBEAT_MS=11", election[] = "LAPSED_RAFT_ELECTION_TIMEOUT_MS=201";
    char other[] = "LAPSE_ENDPOINTS=for:the,client", *environment[] = {heartbeat, election, other, NULL};
    char flag[] = "--raft-election-timeout-ms", value[] = "301", *flags[] = {flag, value};
    const char *file = write_text("[raft]\nheartbeat-ms = 12\nelection-timeout-ms = 202\nsegment-bytes = 8MiB\n");
    cr_assert(lapse_is_ok(config_load(&config, file, environment, 2, flags, &error)), "%s", error.message);
    cr_assert_eq(config.segment_bytes, 8u << 20);
    cr_assert_eq(config.heartbeat_ms, 11);
    cr_assert_eq(config.election_timeout_ms, 301);
}

Test(config, every_setting_can_be_given_as_a_variable_and_as_a_flag)
{
    struct config config;
    struct lapse_error error;
    cr_assert(lapse_is_ok(config_load(&config, NULL, NULL, 0, NULL, &error)));
    for (size_t i = 0; i < n_settings; i++) {
        char name[SETTING_NAME_SIZE], value[SETTING_VALUE_SIZE], text[2 * SETTING_VALUE_SIZE];
        setting_format(&settings[i], &config, value);
        const char *given = settings[i].type == SETTING_NUMBER && value[0] == '\0' ? "1" : value;
        setting_variable(&settings[i], name);
        (void)snprintf(text, sizeof text, "%s=%s", name, given);
        char *environment[] = {text, NULL};
        cr_assert(lapse_is_ok(config_load(&config, NULL, environment, 0, NULL, &error)), "%s: %s", text, error.message);
        setting_flag(&settings[i], name);
        (void)snprintf(text, sizeof text, "--%s=%s", name, given);
        cr_assert(lapse_is_ok(LOAD_FLAGS(&config, &error, text)), "%s: %s", text, error.message);
    }
}

Test(config, node_settings_have_short_names)
{
    struct config config;
    struct lapse_error error;
    char id[] = "--node-id=7", dir[] = "--data-dir=/x";
    cr_assert(lapse_is_ok(LOAD_FLAGS(&config, &error, id, dir)), "%s", error.message);
    cr_assert_eq(config.node_id, 7);
    cr_assert_str_eq(config.data_dir, "/x");
}

/* ---- what is refused ---- */

Test(config, an_unknown_key_is_refused_with_its_line_and_the_nearest_name)
{
    assert_refused("[raft]\n\nheartbeats-ms = 10\n", "lapsed.conf:3: there is no setting raft.heartbeats-ms; "
                                                     "did you mean raft.heartbeat-ms?");
    assert_refused("[rafts]\nheartbeat-ms = 10\n", "lapsed.conf:2: there is no setting rafts.heartbeat-ms");
    assert_refused("id = 1\n", "lapsed.conf:1: there is no setting .id");
}

Test(config, a_name_unlike_all_others_gets_no_suggestion)
{
    struct config config;
    struct lapse_error error;
    cr_assert_not(lapse_is_ok(load_file("[node]\ncolour-of-the-cat = grey\n", &config, &error)));
    cr_assert_null(strstr(error.message, "did you mean"), "%s", error.message);
}

Test(config, a_bad_value_is_refused_with_file_line_setting_and_what_is_accepted)
{
    assert_refused("[raft]\nheartbeat-ms = soon\n",
                   "lapsed.conf:2: raft.heartbeat-ms: \"soon\" is not accepted; accepted: a number from 1 to 10000");
    assert_refused("[log]\nlevel = loud\n", "accepted: debug, info, warn or error");
    assert_refused("[log]\nformat = xml\n", "accepted: text or json");
    assert_refused("[node]\ndata-dir =\n", "accepted: a path");
    assert_refused("[listen]\nclient = off\n", "accepted: host:port");
}

Test(config, numbers_outside_their_range_are_refused)
{
    assert_refused("[node]\nid = 0\n", "node.id");
    assert_refused("[node]\nid = 9223372036854775808\n", "node.id");
    assert_refused("[node]\nid = 99999999999999999999999\n", "node.id");
    assert_refused("[node]\nid = -1\n", "node.id");
    assert_refused("[node]\nid = 0x10\n", "node.id");
    assert_refused("[limits]\nedge-threads = 65\n", "from 0 to 64");
    assert_refused("[raft]\nsegment-bytes = 1\n", "from 4MiB to 1GiB");
    assert_refused("[raft]\nsegment-bytes = 5MB\n", "KiB, MiB or GiB");
    assert_refused("[raft]\nsegment-bytes = MiB\n", "KiB, MiB or GiB");
    assert_refused("[raft]\nsnapshot-bytes = 18446744073709551615GiB\n", "accepted");
}

Test(config, a_setting_that_stands_twice_is_refused)
{
    assert_refused("[node]\nid = 1\n[log]\nlevel = info\n[node]\nid = 2\n",
                   "lapsed.conf:6: node.id: is set a second time, the first was in line 2");
}

Test(config, a_comment_behind_a_value_is_refused_rather_than_guessed_at)
{
    assert_refused("[log]\nlevel = info ; quiet\n", "lapsed.conf:2: a comment stands on a line of its own");
    assert_refused("[log]\nlevel = info # quiet\n", "a comment stands on a line of its own");
}

Test(config, lines_that_are_no_settings_are_refused_with_their_number)
{
    assert_refused("[node]\nid = 1\nwhatever\n", "lapsed.conf:3: is neither");
    assert_refused("[node\nid = 1\n", "lapsed.conf:1: is neither");
    assert_refused("[node]\nid = 1\x01\n", "lapsed.conf:2: there is a control character");
    assert_refused("[node]\nid = 1\xff\n", "not UTF-8");
}

Test(config, over_long_lines_and_files_are_refused)
{
    struct config config;
    struct lapse_error error;
    char line[2048];
    memset(line, 'x', sizeof line);
    (void)memcpy(line, "[node]\ndata-dir = /", 19);
    line[sizeof line - 1] = '\0';
    assert_refused(line, "lapsed.conf:2: the line is too long");

    char *big = mem_calloc(1, LIMIT_CONFIG_FILE + 2);
    memset(big, '#', LIMIT_CONFIG_FILE + 1);
    cr_assert_eq(config_load(&config, write_text(big), NULL, 0, NULL, &error).code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(error.message, "longer than"), "%s", error.message);
    free(big);
}

Test(config, a_path_of_full_length_is_read)
{
    struct config config;
    struct lapse_error error;
    char text[CONFIG_PATH_SIZE + 64], path[CONFIG_PATH_SIZE];
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    (void)snprintf(text, sizeof text, "[node]\ndata-dir = %s\n", path);
    cr_assert(lapse_is_ok(load_file(text, &config, &error)), "%s", error.message);
    cr_assert_str_eq(config.data_dir, path);
}

Test(config, a_nul_byte_in_the_file_is_refused)
{
    struct config config;
    struct lapse_error error;
    const char *file = write_bytes("lapsed.conf", "[node]\nid = 1\0002\n", 16);
    cr_assert_eq(config_load(&config, file, NULL, 0, NULL, &error).code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(error.message, ":2:"), "%s", error.message);
}

Test(config, a_missing_file_is_named)
{
    struct config config;
    struct lapse_error error;
    cr_assert_eq(config_load(&config, "/nonexistent/lapsed.conf", NULL, 0, NULL, &error).code,
                 LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(error.message, "/nonexistent/lapsed.conf"), "%s", error.message);
}

Test(config, wrong_variables_are_refused_by_name)
{
    struct config config;
    struct lapse_error error;
    char unknown[] = "LAPSED_NODE_IDS=1", *first[] = {unknown, NULL};
    cr_assert_eq(config_load(&config, NULL, first, 0, NULL, &error).code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(error.message, "did you mean LAPSED_NODE_ID?"), "%s", error.message);
    char bad[] = "LAPSED_NODE_ID=x", *second[] = {bad, NULL};
    cr_assert_eq(config_load(&config, NULL, second, 0, NULL, &error).code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(error.message, "LAPSED_NODE_ID: \"x\""), "%s", error.message);
}

Test(config, wrong_flags_are_refused_as_wrong_use)
{
    struct config config;
    struct lapse_error error;
    char twice[] = "--node-id=1";
    assert_flag_refused("--log-levl=info", "did you mean log-level?");
    assert_flag_refused("--log-level=loud", "--log-level: \"loud\"");
    assert_flag_refused("--log-level", "its value is missing");
    assert_flag_refused("serve", "unexpected argument");
    assert_flag_refused("--", "unexpected argument");
    cr_assert_eq(LOAD_FLAGS(&config, &error, twice, twice).code, LAPSE_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(error.message, "given twice"), "%s", error.message);
}

/* ---- what is printed ---- */

Test(config, the_printed_settings_read_back_to_the_same_configuration)
{
    struct config config, again;
    struct lapse_error error;
    struct buf text;
    lapse_result result =
        load_file("[node]\nid = 5\n[listen]\nclient = [2001:DB8::1]:1\nhttp = off\n"
                  "[tls]\nkey = /k\n[raft]\nsnapshot-bytes = 1234567\nsegment-bytes = 5120KiB\n[log]\nlevel = warn\n",
                  &config, &error);
    cr_assert(lapse_is_ok(result), "%s", error.message);
    buf_init(&text, 65536);
    cr_assert(lapse_is_ok(config_print(&config, &text)));
    cr_assert(lapse_is_ok(config_load(&again, write_bytes("printed", text.data, text.len), NULL, 0, NULL, &error)),
              "%s", error.message);
    for (size_t i = 0; i < n_settings; i++) {
        char before[SETTING_VALUE_SIZE], after[SETTING_VALUE_SIZE];
        setting_format(&settings[i], &config, before);
        setting_format(&settings[i], &again, after);
        cr_assert_str_eq(before, after);
    }
    cr_assert_eq(again.snapshot_bytes, 1234567);
    buf_free(&text);
}

static void assert_documented(const char *text, const char *name)
{
    cr_assert_not_null(strstr(text, name), "%s is missing", name);
}

Test(config, the_reference_names_every_setting_with_its_flag_and_variable)
{
    struct buf text;
    char flag[SETTING_NAME_SIZE + 2] = "--", variable[SETTING_NAME_SIZE];
    buf_init(&text, 65536);
    cr_assert(lapse_is_ok(config_reference(&text)));
    cr_assert(lapse_is_ok(buf_append(&text, "", 1)));
    for (size_t i = 0; i < n_settings; i++) {
        setting_flag(&settings[i], flag + 2);
        setting_variable(&settings[i], variable);
        assert_documented((const char *)text.data, flag);
        assert_documented((const char *)text.data, variable);
    }
    buf_free(&text);
}

static char *read_source(const char *name)
{
    char path[1024];
    cr_assert_not_null(getenv("SOURCE_ROOT"));
    (void)snprintf(path, sizeof path, "%s/%s", getenv("SOURCE_ROOT"), name);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    char *text = mem_calloc(1, 65536);
    cr_assert_gt(fread(text, 1, 65535, file), 0);
    (void)fclose(file);
    return text;
}

Test(config, the_manual_page_says_of_every_setting_its_name_and_default)
{
    char *page = read_source("docs/man/lapsed.conf.5");
    for (size_t i = 0; i < n_settings; i++) {
        char item[256];
        const char *fallback = settings[i].fallback;
        (void)snprintf(item, sizeof item, ".It Ic %s%s%s\n", settings[i].key, fallback[0] == '\0' ? "" : " No = Ar ",
                       fallback);
        assert_documented(page, item);
    }
    free(page);
}

Test(config, the_example_file_holds_every_setting)
{
    char *example = read_source("dist/lapsed.conf");
    for (size_t i = 0; i < n_settings; i++) {
        char section[SETTING_NAME_SIZE], key[SETTING_NAME_SIZE];
        (void)snprintf(section, sizeof section, "\n[%s]\n", settings[i].section);
        (void)snprintf(key, sizeof key, "%s = ", settings[i].key);
        assert_documented(example, section);
        assert_documented(example, key);
    }
    free(example);
}

/* ---- what must hold together ---- */

static void make_checked(struct config *config)
{
    struct lapse_error error;
    char id[] = "--node-id=1", certificate[] = "--tls-certificate=/dev/null";
    cr_assert(lapse_is_ok(LOAD_FLAGS(config, &error, id, certificate)));
    const char *path = write_bytes("file.pem", "x", 1);
    (void)snprintf(config->certificate, sizeof config->certificate, "%s", path);
    (void)snprintf(config->key, sizeof config->key, "%s", path);
    (void)snprintf(config->authorities, sizeof config->authorities, "%s", path);
}

static void assert_check_fails(const struct config *config, const char *expected)
{
    struct lapse_error error;
    cr_assert_eq(config_check(config, &error).code, LAPSE_FAILED_PRECONDITION, "%s was not noticed", expected);
    cr_assert_not_null(strstr(error.message, expected), "\"%s\" is not in: %s", expected, error.message);
}

Test(config, a_complete_configuration_passes)
{
    struct config config;
    struct lapse_error error;
    make_checked(&config);
    cr_assert(lapse_is_ok(config_check(&config, &error)), "%s", error.message);
}

Test(config, what_must_hold_between_settings_is_checked)
{
    struct config good, config;
    make_checked(&good);

    config = good, config.node_id = 0;
    assert_check_fails(&config, "node.id is not set");
    config = good, config.heartbeat_ms = 51;
    assert_check_fails(&config, "raft.heartbeat-ms");
    config = good, config.connections_per_principal = config.connections_max + 1;
    assert_check_fails(&config, "limits.connections-per-principal");
    config = good, config.peer_port = config.client_port;
    assert_check_fails(&config, "listen.client and listen.peer both want port 7400");
    config = good, config.http_port = config.peer_port;
    (void)snprintf(config.http_host, sizeof config.http_host, "0.0.0.0");
    assert_check_fails(&config, "listen.peer and listen.http");
}

Test(config, equal_ports_of_different_addresses_or_of_none_are_fine)
{
    struct config config;
    struct lapse_error error;
    make_checked(&config);
    config.client_port = config.peer_port = 0;
    cr_assert(lapse_is_ok(config_check(&config, &error)), "%s", error.message);
    config.client_port = config.http_port;
    config.http_enabled = false;
    cr_assert(lapse_is_ok(config_check(&config, &error)), "%s", error.message);
    config.http_enabled = true;
    (void)snprintf(config.client_host, sizeof config.client_host, "192.0.2.1");
    cr_assert(lapse_is_ok(config_check(&config, &error)), "%s", error.message);
}

Test(config, files_that_are_missing_or_open_to_others_are_refused)
{
    struct config good, config;
    make_checked(&good);

    config = good, config.key[0] = '\0';
    assert_check_fails(&config, "tls.key is not set");
    config = good;
    (void)snprintf(config.authorities, sizeof config.authorities, "%s/none", directory);
    assert_check_fails(&config, "tls.authorities");
    config = good;
    (void)snprintf(config.certificate, sizeof config.certificate, "%s", directory);
    assert_check_fails(&config, "is not a file");
    config = good;
    (void)snprintf(config.deny_list, sizeof config.deny_list, "%s/none", directory);
    assert_check_fails(&config, "tls.deny-list");
    cr_assert_eq(chmod(good.key, 0640), 0);
    assert_check_fails(&good, "chmod 600");
}

/* ---- addresses and suggestions ---- */

static void assert_address(const char *text, const char *host, uint16_t port, const char *again)
{
    struct host_port address;
    struct lapse_error error;
    char formatted[HOST_PORT_SIZE];
    cr_assert(lapse_is_ok(host_port_parse(text, &address, &error)), "%s: %s", text, error.message);
    cr_assert_str_eq(address.host, host);
    cr_assert_eq(address.port, port);
    host_port_format(&address, formatted);
    cr_assert_str_eq(formatted, again);
}

Test(host_port, hosts_names_and_ipv6_addresses_are_read_and_written)
{
    assert_address("127.0.0.1:7400", "127.0.0.1", 7400, "127.0.0.1:7400");
    assert_address("Node1.Example.ORG:1", "node1.example.org", 1, "node1.example.org:1");
    assert_address("[::1]:65535", "::1", 65535, "[::1]:65535");
    assert_address("[2001:DB8:0:0::1]:0", "2001:db8::1", 0, "[2001:db8::1]:0");
}

Test(host_port, anything_else_is_refused_and_changes_nothing)
{
    const char *const bad[] = {"",           ":1",      "host",        "host:",     "host:65536", "host:1x",
                               "::1:7400",   "[::1]",   "[::1]7400",   "[x]:1",     "[]:1",       "a b:1",
                               "http://a:1", "host:-1", "host:000001", "[::1:7400", "[::1]x:1",   "user@h:1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct host_port address = {.port = 42};
        struct lapse_error error;
        cr_assert_eq(host_port_parse(bad[i], &address, &error).code, LAPSE_INVALID_ARGUMENT, "\"%s\" was accepted",
                     bad[i]);
        cr_assert_eq(address.port, 42);
    }
}

Test(host_port, a_host_name_has_at_most_253_characters)
{
    struct host_port address;
    struct lapse_error error;
    char text[300];
    memset(text, 'a', sizeof text);
    memcpy(text + 253, ":1", 3);
    cr_assert(lapse_is_ok(host_port_parse(text, &address, &error)));
    memset(text, 'a', sizeof text);
    memcpy(text + 254, ":1", 3);
    cr_assert_not(lapse_is_ok(host_port_parse(text, &address, &error)));
}

Test(suggest, the_nearest_name_wins_and_a_far_one_is_not_offered)
{
    char text[SUGGEST_TEXT_SIZE];
    struct suggestion near = {.typed = "verfy"}, far = {.typed = "elephant"};
    suggest_offer(&near, "init");
    suggest_offer(&near, "verify");
    suggest_offer(&near, "join");
    cr_assert_str_eq(suggest_text(&near, text), "; did you mean verify?");
    suggest_offer(&far, "init");
    cr_assert_str_eq(suggest_text(&far, text), "");
}
