/* Caps per principal (G8). */
#include <criterion/criterion.h>

#include "node/admission.h"

static const struct admission_limits limits = {.connections_max = 3,
                                               .connections_per_principal = 2,
                                               .calls_per_principal = 2,
                                               .held_max = 150,
                                               .held_per_principal = 100,
                                               .requests_per_second = 10};

Test(admission, G8_bounded_connections_of_all_and_of_each)
{
    struct admission *admission = admission_new(&limits);
    struct admission_entry *a, *b, *other;
    struct lapse_error error;
    for (int i = 0; i < 3; i++)
        cr_assert(admission_answer(admission));
    cr_assert_not(admission_answer(admission), "a fourth connection is refused before its handshake");
    cr_assert(lapse_is_ok(admission_enter(admission, "spiffe://a/x", &a, &error)));
    cr_assert(lapse_is_ok(admission_enter(admission, "spiffe://a/x", &b, &error)));
    cr_assert_eq(a, b, "one principal, one entry");
    cr_assert_eq(admission_enter(admission, "spiffe://a/x", &b, &error).code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert(lapse_is_ok(admission_enter(admission, "spiffe://a/y", &other, &error)), "others are not concerned");
    admission_leave(admission, a);
    cr_assert(lapse_is_ok(admission_enter(admission, "spiffe://a/x", &a, &error)), "what is left can be taken again");
    admission_leave(admission, a);
    admission_leave(admission, a);
    admission_leave(admission, other);
    admission_hang_up(admission);
    cr_assert(admission_answer(admission));
    admission_free(admission);
}

Test(admission, G8_bounded_calls_in_flight)
{
    struct admission *admission = admission_new(&limits);
    struct admission_entry *entry;
    struct lapse_error error;
    cr_assert(lapse_is_ok(admission_enter(admission, "p", &entry, &error)));
    cr_assert(lapse_is_ok(admission_begin(admission, entry, &error)));
    cr_assert(lapse_is_ok(admission_begin(admission, entry, &error)));
    cr_assert_eq(admission_begin(admission, entry, &error).code, LAPSE_RESOURCE_EXHAUSTED);
    admission_end(admission, entry);
    cr_assert(lapse_is_ok(admission_begin(admission, entry, &error)));
    admission_end(admission, entry);
    admission_end(admission, entry);
    admission_leave(admission, entry);
    admission_free(admission);
}

Test(admission, G8_bounded_requests_per_second_with_a_burst_of_one_second)
{
    struct admission *admission = admission_new(&limits);
    struct admission_entry *entry;
    struct lapse_error error;
    cr_assert(lapse_is_ok(admission_enter(admission, "p", &entry, &error)));
    for (int i = 0; i < 10; i++)
        cr_assert(lapse_is_ok(admission_request(admission, entry, 5000, &error)));
    cr_assert_eq(admission_request(admission, entry, 5000, &error).code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert(lapse_is_ok(admission_request(admission, entry, 5100, &error)),
              "a tenth of a second is worth one request");
    cr_assert_eq(admission_request(admission, entry, 5100, &error).code, LAPSE_RESOURCE_EXHAUSTED);
    for (int i = 0; i < 10; i++)
        cr_assert(lapse_is_ok(admission_request(admission, entry, 60000, &error)));
    cr_assert_eq(admission_request(admission, entry, 60000, &error).code, LAPSE_RESOURCE_EXHAUSTED, "not saved up");
    admission_leave(admission, entry);
    admission_free(admission);
}

Test(admission, G8_bounded_memory_for_answers_of_each_and_of_all)
{
    struct admission *admission = admission_new(&limits);
    struct admission_entry *a, *b;
    struct lapse_error error;
    cr_assert(lapse_is_ok(admission_enter(admission, "a", &a, &error)));
    cr_assert(lapse_is_ok(admission_enter(admission, "b", &b, &error)));
    cr_assert(lapse_is_ok(admission_hold(admission, a, 100, &error)));
    cr_assert_eq(admission_hold(admission, a, 1, &error).code, LAPSE_RESOURCE_EXHAUSTED);
    cr_assert_eq(admission_hold(admission, b, 60, &error).code, LAPSE_RESOURCE_EXHAUSTED, "150 for all");
    cr_assert(lapse_is_ok(admission_hold(admission, b, 50, &error)));
    admission_unhold(admission, a, 40);
    cr_assert(lapse_is_ok(admission_hold(admission, b, 40, &error)), "what is given back can be taken again");
    admission_unhold(admission, b, 90);
    admission_leave(admission, b);
    admission_leave(admission, a);
    cr_assert(lapse_is_ok(admission_enter(admission, "a", &b, &error)));
    cr_assert_eq(b, a, "whoever hangs up still holds what is being made for them");
    admission_unhold(admission, a, 60);
    admission_leave(admission, a);
    admission_free(admission);
}
