/* What a TLS stream does with bytes, and how it ends. Real sockets on a real loop. */
#include "tests/unit/tls_harness.h"

#include <netinet/tcp.h>

TestSuite(tls_stream, .init = set_up, .fini = tear_down);

/* ---- bytes ---- */

Test(tls_stream, fifty_megabytes_are_echoed_under_backpressure)
{
    struct end client = {.to_send = 50u << 20};
    uint64_t sum = 0;
    for (size_t left = client.to_send; left > 0; left--) {
        /* as send_more fills its blocks */
        uint8_t byte = (uint8_t)(left % 251);
        sum = sum * 31 + byte;
    }
    server.echo = true;
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened);
    send_more(&client);
    size_t most = 0;
    while (client.received < 50u << 20) {
        (void)uv_run(&loop, UV_RUN_ONCE);
        cr_assert_not(client.closed, "%s", client.why.message);
        size_t pending = server.stream == NULL ? 0 : stream_pending(server.stream);
        most = pending > most ? pending : most;
    }
    cr_expect_eq(client.sum, sum);
    cr_expect_gt(client.drains, 10);
    cr_expect_lt(most, 1u << 20, "the echo queued %zu bytes", most);
    close_both(&client);
}

Test(tls_stream, many_small_writes_of_one_turn_leave_as_one_record)
{
    struct end client = {0};
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    for (int i = 0; i < 1000; i++)
        cr_assert(lapse_is_ok(stream_write(client.stream, slice_str("0123456789"))));
    RUN_UNTIL(server.received == 10000);
    cr_expect_eq(server.data_calls, 1);
    close_both(&client);
}

static void on_late_timer(uv_timer_t *timer)
{
    struct end *client = timer->data;
    cr_assert(lapse_is_ok(stream_write(client->stream, slice_str("from a timer"))));
}

static uint64_t polls_to_arrive(void)
{
    /* No timers are due soon and no sockets are busy: a write that waited for the next event would wait for ever. */
    uint64_t turns = 0;
    for (size_t before = server.received; server.received == before; turns++)
        (void)uv_run(&loop, UV_RUN_ONCE);
    return turns;
}

Test(tls_stream, a_write_is_flushed_from_wherever_it_was_made)
{
    struct end client = {0};
    uv_timer_t timer;
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_str("outside of the loop"))));
    cr_expect_leq(polls_to_arrive(), 3);
    cr_assert_eq(uv_timer_init(&loop, &timer), 0);
    timer.data = &client;
    cr_assert_eq(uv_timer_start(&timer, on_late_timer, 1, 0), 0);
    cr_expect_leq(polls_to_arrive(), 4);
    uv_close((uv_handle_t *)&timer, NULL);
    close_both(&client);
}

Test(tls_stream, what_was_queued_before_an_orderly_close_arrives)
{
    struct end client = {0};
    static uint8_t block[3u << 20];
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_of(block, sizeof block))));
    stream_close(client.stream, NULL);
    stream_close(client.stream, NULL);
    cr_expect_eq(stream_write(client.stream, slice_str("late")).code, LAPSE_FAILED_PRECONDITION);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(server.received, sizeof block);
    cr_expect_eq(client.why.code, LAPSE_OK, "%s", client.why.message);
}

Test(tls_stream, what_the_other_side_sends_meanwhile_does_not_reset_an_orderly_close)
{
    struct end client = {0};
    static uint8_t block[400000]; /* more than the idle reader's window, less than a socket's send buffer */
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    stream_pause_reading(server.stream, true);
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_of(block, sizeof block))));
    stream_close(client.stream, NULL);
    RUN_UNTIL(client.closed || ((struct tls_stream *)client.stream)->state == TLS_LINGERING);
    /* Had the client's socket closed by now, these bytes would be answered with a reset, which loses what is in flight.
     */
    cr_assert(lapse_is_ok(stream_write(server.stream, slice_str("meanwhile"))));
    for (int i = 0; i < 5; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    stream_pause_reading(server.stream, false);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(server.received, sizeof block);
    cr_expect_eq(client.received, 0);
}

Test(tls_stream, an_error_close_drops_what_was_queued)
{
    struct end client = {0};
    struct lapse_error why;
    static uint8_t block[3u << 20];
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_of(block, sizeof block))));
    (void)lapse_fail(&why, LAPSE_ABORTED, "changed its mind");
    stream_close(client.stream, &why);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(server.received, 0);
    cr_expect_eq(client.why.code, LAPSE_ABORTED);
    cr_expect_str_eq(client.why.message, "changed its mind");
}

Test(tls_stream, a_full_stream_refuses_a_write_and_queues_nothing)
{
    struct end client = {0};
    static uint8_t block[60000];
    options.send_max = 100000;
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_of(block, sizeof block))));
    cr_expect_eq(stream_write(client.stream, slice_of(block, sizeof block)).code, LAPSE_RESOURCE_EXHAUSTED);
    cr_expect_eq(stream_pending(client.stream), sizeof block);
    RUN_UNTIL(server.received == sizeof block);
    close_both(&client);
}

Test(tls_stream, a_paused_stream_delivers_nothing_until_resumed)
{
    struct end client = {0};
    static uint8_t block[40000];
    server.pause_on_data = true;
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_of(block, sizeof block))));
    RUN_UNTIL(server.received > 0);
    for (int i = 0; i < 20; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    cr_expect_eq(server.data_calls, 1);
    server.pause_on_data = false;
    stream_pause_reading(server.stream, false);
    cr_expect_eq(server.data_calls, 1, "no callback on the caller's stack");
    RUN_UNTIL(server.received == sizeof block);
    close_both(&client);
}

Test(tls_stream, a_pause_from_on_data_holds_back_the_records_that_came_with_it)
{
    struct end client = {0};
    server.pause_on_data = true;
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    stream_pause_reading(server.stream, true);
    for (int i = 0; i < 3; i++) {
        cr_assert(lapse_is_ok(stream_write(client.stream, slice_str("a record of its own"))));
        while (stream_pending(client.stream) > 0)
            (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    for (unsigned calls = 0; calls < 3; calls++) {
        cr_expect_eq(server.data_calls, calls);
        stream_pause_reading(server.stream, false);
        RUN_UNTIL(server.data_calls > calls);
    }
    stream_pause_reading(server.stream, false); /* or it would not notice the end */
    close_both(&client);
}

/* ---- ends ---- */

Test(tls_stream, a_close_during_the_handshake_calls_back_once)
{
    struct end client = {0};
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    while (accepted == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    stream_close(client.stream, NULL);
    cr_expect_not(client.closed);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(client.why.code, LAPSE_OK);
}

Test(tls_stream, a_close_while_resolving_calls_back_once)
{
    struct end client = {0};
    struct lapse_error error = {0};
    struct tls_identity *identity = fixture_identity(dir, "user");
    cr_assert(lapse_is_ok(
        tls_connect(&loop, "localhost", 1, NULL, identity, &options, handler, &client, &client.stream, &error)));
    tls_identity_unref(identity);
    stream_close(client.stream, NULL);
    RUN_UNTIL(client.closed);
    cr_expect_eq(client.why.code, LAPSE_OK);
}

Test(tls_stream, an_owner_may_close_in_the_accept_callback_or_refuse)
{
    struct end first = {0}, second = {0};
    close_on_accept = true;
    listen_as("node", NULL);
    connect_as("user", NULL, &first);
    RUN_UNTIL(first.closed && server.closed);
    cr_expect_eq(first.why.code, LAPSE_UNAVAILABLE);
    server.closed = false;
    refuse_all = true;
    connect_as("user", NULL, &second);
    RUN_UNTIL(second.closed);
    cr_expect_eq(second.why.code, LAPSE_UNAVAILABLE);
    cr_expect_not(server.closed);
}

Test(tls_stream, an_owner_may_close_from_on_data)
{
    struct end client = {0};
    server.close_on_data = true;
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened);
    client.to_send = 60000;
    send_more(&client);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(server.data_calls, 1);
    cr_expect_eq(server.why.code, LAPSE_OK);
}

Test(tls_stream, a_peer_that_reads_nothing_is_cut_off)
{
    struct raw raw = {.certificate = "user", .alpn = ALPN, .hold = true, .socket = -1};
    static uint8_t block[1u << 20];
    uv_os_fd_t fd;
    options.stall_timeout_ms = 200;
    options.send_max = 64u << 20;
    listen_as("node", NULL);
    raw.port = tls_listener_port(listener);
    raw_start(&raw);
    RUN_UNTIL(server.opened);
    /* Without the kernel's own timeout, which would often be first. */
    cr_assert_eq(uv_fileno((uv_handle_t *)&((struct tls_stream *)server.stream)->tcp, &fd), 0);
    cr_assert_eq(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(unsigned){0}, sizeof(unsigned)), 0);
    for (int i = 0; i < 32; i++)
        cr_assert(lapse_is_ok(stream_write(server.stream, slice_of(block, sizeof block))));
    RUN_UNTIL(server.closed);
    raw_join(&raw);
    cr_expect_eq(server.why.code, LAPSE_DEADLINE_EXCEEDED, "%s", server.why.message);
}

Test(tls_stream, a_flood_of_key_updates_ends_the_stream)
{
    struct raw raw = {.certificate = "user", .alpn = ALPN, .key_updates = 2000, .socket = -1};
    listen_as("node", NULL);
    raw.port = tls_listener_port(listener);
    raw_start(&raw);
    RUN_UNTIL(server.closed);
    raw_join(&raw);
    cr_expect_eq(server.why.code, LAPSE_RESOURCE_EXHAUSTED, "%s", server.why.message);
}

Test(tls_stream, a_few_key_updates_are_fine)
{
    struct raw raw = {.certificate = "user", .alpn = ALPN, .key_updates = 20, .socket = -1, .hold = true};
    server.echo = true;
    listen_as("node", NULL);
    raw.port = tls_listener_port(listener);
    raw_start(&raw);
    RUN_UNTIL(server.received == 1);
    for (int i = 0; i < 50; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        (void)usleep(1000);
    }
    cr_assert_not(server.closed, "%s", server.why.message);
    stream_close(server.stream, NULL);
    raw_release(&raw);
    RUN_UNTIL(server.closed);
    raw_join(&raw);
}

Test(tls_stream, a_certificate_that_expires_ends_its_open_stream)
{
    struct end client = {0};
    listen_as("node", NULL);
    fixture_craft(dir, "short",
                  &(struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .from_s = -60, .until_s = 2});
    connect_as("short", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(server.why.code, LAPSE_UNAUTHENTICATED);
    cr_expect_not_null(strstr(server.why.message, "has expired"), "%s", server.why.message);
}
