/* What a point reports: sessions and uses, which the store decides. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "proto/grpc_client.h"
#include "tests/unit/point_stream_fixture.h"

#define KIND(name) lapse_v1_SubscribeResponse_##name##_tag
#define SAYS(name) lapse_v1_SubscribeRequest_##name##_tag

TestSuite(point_reports, .init = fixture_begin, .fini = fixture_end);

static void say_session(bool begins, unsigned id)
{
    lapse_v1_SubscribeRequest message = {.which_kind = begins ? SAYS(session_began) : SAYS(session_ended)};
    lapse_v1_SessionBegan *began = &message.kind.session_began;
    if (begins) {
        began->session.size = 16;
        memcpy(began->session.bytes, &id, sizeof id);
        grant_id_format(some_grant(), began->grant_id);
        (void)snprintf(began->description, sizeof began->description, "sshd pts/%u", id);
    } else {
        message.kind.session_ended.session.size = 16;
        memcpy(message.kind.session_ended.session.bytes, &id, sizeof id);
    }
    say(&message);
}

static void say_use(const char *request_id, const char *grant, uint32_t count)
{
    lapse_v1_SubscribeRequest message = {.which_kind = SAYS(use), .kind.use.count = count};
    (void)snprintf(message.kind.use.request_id, sizeof message.kind.use.request_id, "%s", request_id);
    (void)snprintf(message.kind.use.grant_id, sizeof message.kind.use.grant_id, "%s", grant);
    say(&message);
}

static const char *grant_text(void)
{
    static char text[GRANT_ID_TEXT_SIZE];
    grant_id_format(some_grant(), text);
    return text;
}

Test(point_reports, a_session_is_written_in_the_name_of_its_instance)
{
    static const uint8_t instance[16] = {1, 2, 3, 4};
    be_served();
    say_session(true, 5);
    say_session(false, 5);
    cr_assert_eq(f.n_written, 3);
    cr_assert_eq(f.written[1].type, COMMAND_SESSION_BEGIN);
    cr_assert_str_eq(f.texts[1], "sshd pts/5");
    cr_assert_arr_eq(f.written[1].instance.bytes, instance, 16);
    cr_assert_eq(grant_id_compare(f.written[1].grant, some_grant()), 0);
    cr_assert_eq(f.written[2].type, COMMAND_SESSION_END);
    cr_assert_arr_eq(f.written[2].session.bytes, f.written[1].session.bytes, 16);
}

Test(point_reports, the_end_of_a_session_never_overtakes_its_beginning)
{
    be_served();
    f.holds_writes = true;
    say_session(true, 1);
    say_session(true, 2);
    say_session(false, 1);
    cr_assert_eq(f.n_asked, 2, "two beginnings at once, but the end waits");
    answer(f.asked[1], &f.write);
    fixture_run();
    cr_assert_eq(f.n_asked, 1, "for its own beginning");
    answer(f.asked[0], &f.write);
    fixture_run();
    cr_assert_eq(f.n_asked, 1);
    cr_assert_eq(f.written[f.n_written - 1].type, COMMAND_SESSION_END);
}

Test(point_reports, a_session_that_is_not_recorded_is_counted_and_the_stream_goes_on)
{
    int64_t refused = metric_get(METRIC_POINT_REPORTS_REFUSED);
    be_served();
    (void)lapse_fail(&f.write, LAPSE_FAILED_PRECONDITION, "the grant has ended");
    say_session(true, 1);
    cr_assert_eq(metric_get(METRIC_POINT_REPORTS_REFUSED), refused + 1);
    cr_assert_not(f.ended);
    /* Nor does one that no store would take. */
    lapse_v1_SubscribeRequest odd = {.which_kind = SAYS(session_began),
                                     .kind.session_began = {.session.size = 16, .grant_id = "no id"}};
    odd.kind.session_began.session.bytes[0] = 1;
    say(&odd);
    cr_assert_eq(metric_get(METRIC_POINT_REPORTS_REFUSED), refused + 2);
    cr_assert_not(f.ended);
}

Test(point_reports, a_session_without_16_bytes_ends_the_stream)
{
    be_served();
    say(&(lapse_v1_SubscribeRequest){.which_kind = SAYS(session_ended), .kind.session_ended.session.size = 15});
    cr_assert(f.ended);
    cr_assert_eq(f.code, LAPSE_INVALID_ARGUMENT);
}

Test(point_reports, G8_bounded_reports_are_few_at_the_core_and_wait_in_line)
{
    be_served();
    f.holds_writes = true;
    for (unsigned i = 1; i <= LIMIT_POINT_WRITES + LIMIT_POINT_WRITES_WAITING; i++)
        say_session(true, i);
    cr_assert_eq(f.n_asked, LIMIT_POINT_WRITES);
    cr_assert_not(f.ended);
    answer(f.asked[0], &f.write);
    fixture_run();
    cr_assert_eq(f.n_asked, LIMIT_POINT_WRITES, "the next one's turn");
    say_session(true, 10001);
    cr_assert_not(f.ended);
    say_session(true, 10002);
    cr_assert(f.ended);
    cr_assert_eq(f.code, LAPSE_RESOURCE_EXHAUSTED);
}

/* The fixture's principal has 1000 requests a second. */
Test(point_reports, G8_bounded_reports_are_requests_of_their_principal)
{
    be_served();
    for (unsigned i = 0; i < 1000; i++) {
        char request_id[LIMIT_REQUEST_ID + 1];
        (void)snprintf(request_id, sizeof request_id, "u-%u", i);
        say_use(request_id, grant_text(), 1);
    }
    unsigned written = f.n_written;
    say_use("one-more", grant_text(), 1);
    cr_assert_str_eq(last_seen(KIND(use_result))->text, "one-more");
    cr_assert_eq(last_seen(KIND(use_result))->number, LAPSE_RESOURCE_EXHAUSTED);
    say_session(true, 1);
    cr_assert_eq(f.n_written, written, "nothing of it reaches the log");
    cr_assert_not(f.ended);
    say(&(lapse_v1_SubscribeRequest){.which_kind = SAYS(failure), .kind.failure.revision = 1});
    cr_assert(f.ended, "a failure can't be forgotten, so it is heard on another stream");
    cr_assert_eq(f.code, LAPSE_RESOURCE_EXHAUSTED);
}

Test(point_reports, a_use_is_answered_by_its_request_id)
{
    be_served();
    say_use("u-1", grant_text(), 0);
    cr_assert_eq(f.written[1].type, COMMAND_USE);
    cr_assert_eq(f.written[1].count, 1, "0 means one");
    cr_assert_str_eq(last_seen(KIND(use_result))->text, "u-1");
    cr_assert_eq(last_seen(KIND(use_result))->number, LAPSE_OK);
    (void)lapse_fail(&f.write, LAPSE_FAILED_PRECONDITION, "it is used up");
    say_use("u-2", grant_text(), 5);
    cr_assert_eq(f.written[2].count, 5);
    cr_assert_str_eq(last_seen(KIND(use_result))->text, "u-2");
    cr_assert_eq(last_seen(KIND(use_result))->number, LAPSE_FAILED_PRECONDITION);
    say_use("u-3", "no id", 1);
    cr_assert_eq(last_seen(KIND(use_result))->number, LAPSE_INVALID_ARGUMENT, "malformed, and answered all the same");
    cr_assert_not(f.ended);
}

Test(point_reports, a_use_that_could_not_be_answered_ends_the_stream)
{
    be_served();
    say_use("", grant_text(), 1);
    cr_assert(f.ended);
    cr_assert_eq(f.code, LAPSE_INVALID_ARGUMENT);
}

Test(point_reports, no_principal_can_name_the_key_of_a_registration)
{
    be_served();
    say_use("register 01020304000000000000000000000000", grant_text(), 1);
    cr_assert_arr_neq(&f.written[0].key, &f.written[1].key, sizeof f.written[0].key);
    say_use("\x01register 01020304000000000000000000000000", grant_text(), 1);
    cr_assert(f.ended, "a control character is no text");
}

Test(point_reports, G8_bounded_results_that_nobody_reads_stop_the_line)
{
    char request_id[LIMIT_REQUEST_ID + 1];
    be_served();
    grpc_request_pause(f.request, true);
    first_feed()->writable = false; /* as if 64 KiB were on their way */
    for (int i = 0; i < 100; i++) {
        (void)snprintf(request_id, sizeof request_id, "u-%d", i);
        say_use(request_id, grant_text(), 1);
    }
    cr_assert_eq(f.n_written, 1 + LIMIT_POINT_WRITES, "no more than may be answered");
}

Test(point_reports, a_stream_that_closes_with_reports_under_way_leaves_nothing_behind)
{
    be_served();
    f.holds_writes = true;
    for (unsigned i = 1; i <= 100; i++)
        say_session(true, i);
    grpc_request_cancel(f.request);
    fixture_run();
    cr_assert(f.ended);
    cr_assert_eq(f.n_closed, 1);
    cr_assert_eq(f.n_asked, LIMIT_POINT_WRITES, "they come back, and nobody is told");
}
