/* Who is let in: handshakes, refusals, reloads, files. Real sockets on a real loop. */
#include <arpa/inet.h>

#include "tests/unit/tls_harness.h"

TestSuite(tls, .init = set_up, .fini = tear_down);

/* A raw client with `certificate` comes to our server, which ends it: how? */
static void refuse_client(struct raw raw, enum lapse_code code, const char *message)
{
    raw.socket = -1;
    raw.port = tls_listener_port(listener);
    raw_start(&raw);
    RUN_UNTIL(server.closed);
    raw_join(&raw);
    cr_expect_eq(server.why.code, code, "%s: %s", lapse_code_name(server.why.code), server.why.message);
    cr_expect_not_null(strstr(server.why.message, message), "%s", server.why.message);
    cr_expect_not_null(strstr(server.why.message, "127.0.0.1:"), "names no address: %s", server.why.message);
    cr_expect_eq(server.received, 0);
}

static void refuse_crafted(struct fixture_leaf leaf, const char *message)
{
    listen_as("node", NULL);
    fixture_craft(dir, "crafted", &leaf);
    refuse_client((struct raw){.certificate = "crafted", .alpn = ALPN}, LAPSE_UNAUTHENTICATED, message);
    cr_expect_not(server.opened);
}

/* ---- handshakes ---- */

Test(tls, two_sides_of_one_domain_meet_and_know_each_other)
{
    struct end client = {0};
    listen_as("node", NULL);
    connect_as("user", "spiffe://example.org/lapse/node/1", &client);
    RUN_UNTIL(client.opened && server.opened);
    cr_expect_str_eq(client.peer.principal, "spiffe://example.org/lapse/node/1");
    cr_expect_str_eq(server.peer.principal, "spiffe://example.org/user/dev1");
    cr_expect_not_null(strstr(server.peer.address, "127.0.0.1:"));
    cr_expect_str_eq(SSL_get_version(((struct tls_stream *)server.stream)->ssl), "TLSv1.3");
    close_both(&client);
    cr_expect_eq(client.why.code, LAPSE_OK);
    cr_expect_eq(server.why.code, LAPSE_UNAVAILABLE);
}

Test(tls, a_name_is_resolved_and_its_addresses_tried_in_turn)
{
    struct end client = {0};
    struct lapse_error error = {0};
    struct tls_identity *identity = fixture_identity(dir, "user");
    listen_as("node", NULL); /* on 127.0.0.1 only; "localhost" may mean ::1 first */
    cr_assert(lapse_is_ok(tls_connect(&loop, "localhost", tls_listener_port(listener), NULL, identity, &options,
                                      handler, &client, &client.stream, &error)));
    tls_identity_unref(identity);
    RUN_UNTIL((client.opened && server.opened) || client.closed);
    cr_assert(client.opened, "%s", client.why.message);
    close_both(&client);
}

Test(tls, a_port_where_nobody_listens_is_unavailable)
{
    struct end client = {0};
    listen_as("node", NULL);
    uint16_t port = tls_listener_port(listener);
    tls_listener_close(listener, NULL, NULL);
    listener = NULL;
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    connect_to(port, "user", NULL, &client);
    RUN_UNTIL(client.closed);
    cr_expect_eq(client.why.code, LAPSE_UNAVAILABLE);
    cr_expect_not_null(strstr(client.why.message, "connection refused"), "%s", client.why.message);
}

Test(tls, a_client_without_a_certificate_is_refused)
{
    listen_as("node", NULL);
    refuse_client((struct raw){.alpn = ALPN}, LAPSE_UNAUTHENTICATED, "showed no certificate");
}

Test(tls, a_client_of_another_authority_is_refused)
{
    char *mine = dir;
    listen_as("node", NULL);
    dir = fixture_authority("example.org");
    fixture_issue(dir, "user/dev1", "user");
    refuse_client((struct raw){.certificate = "user", .alpn = ALPN}, LAPSE_UNAUTHENTICATED,
                  "signed by an authority this side doesn't trust: compare ca.pem on both sides");
    fixture_remove(dir);
    dir = mine;
}

Test(tls, an_expired_client_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .from_s = -7200, .until_s = -60},
                   "has expired");
}

Test(tls, a_client_from_the_future_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .from_s = 3600, .until_s = 7200},
                   "not valid yet");
}

Test(tls, a_client_with_two_uri_names_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a,URI:spiffe://example.org/user/b"},
                   "has 2 URI names");
}

Test(tls, a_client_without_a_uri_name_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "DNS:a.example.org"}, "has 0 URI names");
}

Test(tls, a_client_whose_name_is_no_spiffe_id_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/../lapse"}, "no SPIFFE ID");
}

Test(tls, a_client_of_a_foreign_trust_domain_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org.evil.org/user/a"},
                   "not of the trust domain example.org");
}

Test(tls, an_authority_posing_as_a_client_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .constraints = "critical,CA:TRUE"},
                   "needs a leaf");
}

Test(tls, a_server_only_certificate_is_no_client)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .usage = "serverAuth"},
                   "not made for this use");
}

Test(tls, a_certificate_without_extended_key_usage_is_no_client)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .usage = ""}, "lacks clientAuth");
}

Test(tls, a_tls_1_2_client_is_refused)
{
    listen_as("node", NULL);
    refuse_client((struct raw){.certificate = "user", .alpn = ALPN, .version = TLS1_2_VERSION}, LAPSE_UNAUTHENTICATED,
                  "does not speak TLS 1.3");
}

Test(tls, a_client_of_another_protocol_is_refused)
{
    listen_as("node", NULL);
    refuse_client((struct raw){.certificate = "user", .alpn = "h3"}, LAPSE_UNAUTHENTICATED, "ALPN");
}

Test(tls, a_client_that_names_no_protocol_is_refused)
{
    listen_as("node", NULL);
    refuse_client((struct raw){.certificate = "user"}, LAPSE_UNAUTHENTICATED, "ALPN");
    cr_expect_not(server.opened);
}

static void print_of(const char *name, char out[65])
{
    uint8_t digest[32];
    unsigned len = 0;
    X509 *leaf = fixture_read_certificate(fixture_path(dir, name));
    cr_assert_eq(X509_digest(leaf, EVP_sha256(), digest, &len), 1);
    X509_free(leaf);
    for (size_t i = 0; i < 32; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static const char *write_deny_list(const char *word)
{
    const char *path = fixture_path(dir, "deny");
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fprintf(file, "# left the team\nspiffe://example.org/user/zoe\n\n  %s  # why\n", word);
    (void)fclose(file);
    return path;
}

Test(tls, a_denied_thumbprint_is_refused)
{
    char print[65];
    print_of("user.pem", print);
    listen_as("node", write_deny_list(print));
    refuse_client((struct raw){.certificate = "user", .alpn = ALPN}, LAPSE_UNAUTHENTICATED, "on the deny list");
}

Test(tls, a_denied_principal_is_refused)
{
    listen_as("node", write_deny_list("spiffe://example.org/user/dev1"));
    refuse_client((struct raw){.certificate = "user", .alpn = ALPN}, LAPSE_UNAUTHENTICATED, "on the deny list");
}

static void send_plain(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(tls_listener_port(listener))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    RUN_UNTIL(server.closed);
    (void)close(fd);
}

Test(tls, plain_text_is_refused)
{
    listen_as("node", NULL);
    send_plain("GET / HTTP/1.1\r\n\r\n");
    cr_expect_eq(server.why.code, LAPSE_UNAUTHENTICATED);
    cr_expect_not_null(strstr(server.why.message, "plain HTTP"), "%s", server.why.message);
    server.closed = false;
    send_plain("\x01\x02garbage garbage garbage garbage garbage");
    cr_expect_eq(server.why.code, LAPSE_UNAUTHENTICATED);
}

Test(tls, a_silent_client_is_cut_off_by_the_handshake_timeout)
{
    options.handshake_timeout_ms = 50;
    listen_as("node", NULL);
    send_plain("");
    cr_expect_eq(server.why.code, LAPSE_DEADLINE_EXCEEDED);
}

Test(tls, a_crowd_is_let_in_a_few_a_turn)
{
    enum { CROWD = 60 };
    static struct end clients[CROWD];
    unsigned most = 0;
    crowded = true;
    options.connect_timeout_ms = options.handshake_timeout_ms = 60000;
    listen_as("node", NULL);
    for (size_t i = 0; i < CROWD; i++)
        connect_as("user", NULL, &clients[i]);
    while (crowd_opened < CROWD) {
        unsigned before = crowd_opened;
        (void)uv_run(&loop, UV_RUN_ONCE);
        most = crowd_opened - before > most ? crowd_opened - before : most;
    }
    /* Those served in a turn's prepare and in its poll draw from two budgets. */
    cr_expect_leq(most, 2 * LIMIT_HANDSHAKE_STEPS);
    for (size_t i = 0; i < CROWD; i++)
        stream_close(clients[i].stream, NULL);
    RUN_UNTIL(crowd_closed == CROWD);
}

Test(tls, a_loop_that_was_busy_before_a_connect_does_not_shorten_its_deadline)
{
    struct end client = {0};
    options.connect_timeout_ms = 100;
    listen_as("node", NULL);
    (void)usleep(300 * 1000); /* the loop's clock stands meanwhile */
    connect_as("user", NULL, &client);
    RUN_UNTIL((client.opened && server.opened) || client.closed);
    cr_assert(client.opened, "%s", client.why.message);
    close_both(&client);
}

/* ---- what a client checks of its server ---- */

static uint16_t raw_serve(struct raw *raw)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    raw->socket = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(raw->socket, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(raw->socket, 4), 0);
    cr_assert_eq(getsockname(raw->socket, (struct sockaddr *)&address, &len), 0);
    raw_start(raw);
    return ntohs(address.sin_port);
}

static void refuse_server(struct fixture_leaf leaf, const char *expect, const char *message)
{
    struct end client = {0};
    struct raw raw = {.certificate = "crafted"};
    fixture_craft(dir, "crafted", &leaf);
    connect_to(raw_serve(&raw), "user", expect, &client);
    RUN_UNTIL(client.closed);
    raw_join(&raw);
    (void)close(raw.socket);
    cr_expect_not(client.opened);
    cr_expect_eq(client.why.code, LAPSE_UNAUTHENTICATED);
    cr_expect_not_null(strstr(client.why.message, message), "%s", client.why.message);
}

Test(tls, a_server_that_is_not_the_expected_one_is_refused)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/lapse/node/2"},
                  "spiffe://example.org/lapse/node/1", "is spiffe://example.org/lapse/node/2, not");
}

Test(tls, a_server_with_a_longer_name_than_expected_is_refused)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/lapse/node/11"},
                  "spiffe://example.org/lapse/node/1", "not spiffe://example.org/lapse/node/1");
}

Test(tls, a_server_outside_of_the_expected_prefix_is_refused)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/lapse/other/1"},
                  "spiffe://example.org/lapse/node/*", "not spiffe://example.org/lapse/node/*");
}

Test(tls, a_user_posing_as_a_node_is_refused)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/user/dev1"}, NULL, "not a Lapse node");
}

Test(tls, a_client_only_certificate_is_no_server)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/lapse/node/1", .usage = "clientAuth"}, NULL,
                  "not made for this use");
}

Test(tls, an_expired_server_is_refused)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/lapse/node/1", .from_s = -9, .until_s = -5},
                  NULL, "has expired");
}

Test(tls, a_refused_client_learns_why)
{
    struct end client = {0};
    listen_as("node", write_deny_list("spiffe://example.org/user/dev1"));
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(client.why.code, LAPSE_UNAUTHENTICATED);
    cr_expect_not_null(strstr(client.why.message, "its log says why"), "%s", client.why.message);
}

/* ---- reload ---- */

static struct tls_identity *denying_identity(const char *word)
{
    struct lapse_error error = {0};
    struct tls_identity *identity = NULL;
    struct tls_files files = fixture_files(dir, "node");
    files.deny_list = write_deny_list(word);
    cr_assert(lapse_is_ok(tls_identity_load(&files, &identity, &error)), "%s", error.message);
    return identity;
}

Test(tls, a_reloaded_identity_finds_old_streams_invalid_and_refuses_new_ones)
{
    struct end first = {0}, second = {0};
    listen_as("node", NULL);
    connect_as("user", NULL, &first);
    RUN_UNTIL(first.opened && server.opened);
    struct tls_identity *harmless = denying_identity("spiffe://example.org/user/other");
    cr_expect(tls_stream_still_valid(server.stream, harmless));
    tls_identity_unref(harmless);

    struct tls_identity *denying = denying_identity("spiffe://example.org/user/dev1");
    tls_listener_set_identity(listener, denying);
    cr_expect_not(tls_stream_still_valid(server.stream, denying));
    tls_identity_unref(denying);
    stream_close(server.stream, NULL);
    RUN_UNTIL(first.closed && server.closed);
    connect_as("user", NULL, &second);
    RUN_UNTIL(second.closed && server.closed);
    cr_expect_eq(second.why.code, LAPSE_UNAUTHENTICATED);
}

Test(tls, a_withdrawn_authority_makes_old_streams_invalid)
{
    struct end client = {0};
    char *other = fixture_authority("example.org");
    listen_as("node", NULL);
    fixture_issue(other, "lapse/node/1", "node");
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    struct tls_identity *identity = fixture_identity(other, "node");
    cr_expect_not(tls_stream_still_valid(server.stream, identity));
    tls_identity_unref(identity);
    fixture_remove(other);
    close_both(&client);
}

/* ---- files ---- */

static void refuse_files(struct tls_files files, const char *message)
{
    struct tls_identity *identity = NULL;
    struct lapse_error error = {0};
    cr_expect_not(lapse_is_ok(tls_identity_load(&files, &identity, &error)));
    cr_expect_null(identity);
    cr_expect_not_null(strstr(error.message, message), "%s", error.message);
}

Test(tls, an_identity_knows_its_principal_and_domain)
{
    struct tls_identity *identity = fixture_identity(dir, "user");
    cr_expect_str_eq(tls_identity_principal(identity), "spiffe://example.org/user/dev1");
    cr_expect_str_eq(tls_identity_domain(identity), "example.org");
    tls_identity_unref(identity);
    tls_identity_unref(NULL);
}

Test(tls, a_key_that_others_can_read_is_refused)
{
    cr_assert_eq(chmod(fixture_path(dir, "user.key"), 0644), 0);
    refuse_files(fixture_files(dir, "user"), "chmod 600");
}

Test(tls, unusable_files_are_refused_by_name)
{
    struct tls_files files = fixture_files(dir, "user");
    files.key = fixture_path(dir, "node.key");
    refuse_files(files, "does not belong to the certificate");
    refuse_files(fixture_files(dir, "nobody"), "nobody.pem");
    files = fixture_files(dir, "user");
    files.authorities = fixture_path(dir, "user.key");
    refuse_files(files, "no PEM certificate of an authority");
    files = fixture_files(dir, "user");
    files.certificate = fixture_path(dir, "ca.pem");
    refuse_files(files, "needs a leaf");
    files = fixture_files(dir, "user");
    files.deny_list = write_deny_list("DEADBEEF");
    refuse_files(files, "deny:4");
    fixture_craft(dir, "old",
                  &(struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .from_s = -9, .until_s = -5});
    refuse_files(fixture_files(dir, "old"), "has expired");
}

Test(tls, a_taken_port_is_an_error_and_a_shared_one_is_not)
{
    struct lapse_error error = {0};
    struct tls_listener *second = NULL;
    struct tls_identity *identity = fixture_identity(dir, "node");
    listen_as("node", NULL);
    uint16_t port = tls_listener_port(listener);
    cr_expect_eq(
        tls_listen(&loop, "127.0.0.1", port, TLS_PORT_ALONE, identity, &options, on_accept, NULL, &second, &error).code,
        LAPSE_UNAVAILABLE);
    cr_expect_not_null(strstr(error.message, "address already in use"), "%s", error.message);
    tls_listener_close(listener, NULL, NULL);
    cr_assert(lapse_is_ok(
        tls_listen(&loop, "127.0.0.1", 0, TLS_PORT_FIRST, identity, &options, on_accept, NULL, &listener, &error)));
    port = tls_listener_port(listener);
    cr_expect_eq(
        tls_listen(&loop, "127.0.0.1", port, TLS_PORT_FIRST, identity, &options, on_accept, NULL, &second, &error).code,
        LAPSE_UNAVAILABLE, "another process's shared port is not shared with it");
    cr_assert(lapse_is_ok(
        tls_listen(&loop, "127.0.0.1", port, TLS_PORT_NEXT, identity, &options, on_accept, NULL, &second, &error)));
    tls_listener_close(second, NULL, NULL);
    tls_identity_unref(identity);
}
