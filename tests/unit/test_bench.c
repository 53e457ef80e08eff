/* The benchmark's own arithmetic and words: what it prints must be what was measured. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "bench/harness/process.h"
#include "bench/harness/report.h"
#include "bench/harness/system.h"
#include "bench/lapse/cluster_internal.h"

#define MS 1000000

/* --- percentiles -------------------------------------------------------------------------------------------------- */

static struct samples samples_of(int64_t n)
{
    struct samples samples = {0};
    /* Not in order: 1 to n, from both ends. */
    for (int64_t i = 1; i <= n; i++)
        samples_add(&samples, i % 2 == 1 ? (i + 1) / 2 : n + 1 - i / 2);
    return samples;
}

Test(bench, a_percentile_is_the_smallest_sample_that_so_many_do_not_exceed)
{
    struct samples hundred = samples_of(100), ten = samples_of(10), thousand = samples_of(1000);
    cr_expect_eq(samples_percentile(&hundred, 50), 50);
    cr_expect_eq(samples_percentile(&hundred, 99), 99);
    cr_expect_eq(samples_percentile(&hundred, 99.9), 100);
    cr_expect_eq(samples_percentile(&hundred, 100), 100);
    cr_expect_eq(samples_percentile(&ten, 99), 10);
    cr_expect_eq(samples_percentile(&ten, 11), 2);
    cr_expect_eq(samples_percentile(&ten, 10), 1);
    cr_expect_eq(samples_percentile(&thousand, 99), 990);
    cr_expect_eq(samples_percentile(&thousand, 99.9), 999);
    cr_expect_eq(samples_percentile(&thousand, 0), 1, "nothing is less than the least");
    samples_free(&hundred);
    samples_free(&ten);
    samples_free(&thousand);
}

Test(bench, one_sample_is_every_percentile_and_none_is_0)
{
    struct samples one = {0}, none = {0};
    samples_add(&one, 7);
    cr_expect_eq(samples_percentile(&one, 0), 7);
    cr_expect_eq(samples_percentile(&one, 50), 7);
    cr_expect_eq(samples_percentile(&one, 100), 7);
    cr_expect_eq(samples_percentile(&none, 50), 0);
    samples_free(&one);
}

/* --- reports ------------------------------------------------------------------------------------------------------ */

static const struct system_kind a_kind = {.name = "storage"};

static json_t *written(struct report *report)
{
    char path[] = "/tmp/test-bench-XXXXXX";
    struct lapse_error error;
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    cr_assert(lapse_is_ok(report_write_json(report, path, &error)), "%s", error.message);
    json_t *json = json_load_file(path, 0, NULL);
    unlink(path);
    cr_assert_not_null(json);
    return json;
}

static const char *text_at(json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static struct report *a_report(void)
{
    struct system system = {.kind = &a_kind, .n_nodes = 3, .version = "1.2", .flags = "--sync", .tuning = "tuned"};
    struct report *report = report_new("revocation", &system);
    report_setting(report, "writes", 4);
    report_setting_text(report, "wait", "enforced");
    for (int64_t ms = 4; ms >= 1; ms--)
        samples_add(report_samples(report, "ack", "acknowledged"), ms * MS);
    report_value(report, "acknowledged_per_s", "acknowledged writes", "1/s", 21000.5);
    report_point(report, "latency", -2 * MS, 3 * MS);
    report_moment(report, "latency", 0, "kill -9 of the leader");
    report_note(report, "%d watchers were cut off", 3);
    return report;
}

Test(bench, a_report_says_what_was_measured_of_what_and_where)
{
    struct report *report = a_report();
    json_t *json = written(report), *system = json_object_get(json, "system");
    json_t *ack = json_object_get(json_object_get(json, "samples"), "ack");
    cr_expect_str_eq(text_at(json, "schema"), "lapse-bench/1");
    cr_expect_str_eq(text_at(json, "scenario"), "revocation");
    cr_expect_str_eq(text_at(system, "name"), "storage");
    cr_expect_str_eq(text_at(system, "version"), "1.2");
    cr_expect_str_eq(text_at(system, "tuning"), "tuned");
    cr_expect_str_eq(text_at(system, "flags"), "--sync");
    cr_expect_eq(json_integer_value(json_object_get(system, "nodes")), 3);
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(json, "settings"), "writes")), 4);
    cr_expect_str_eq(text_at(json_object_get(json, "settings"), "wait"), "enforced");
    cr_expect(json_integer_value(json_object_get(json_object_get(json, "machine"), "cores")) > 0);
    cr_expect(json_is_null(json_object_get(json, "partial")));
    cr_expect_eq(json_integer_value(json_object_get(ack, "n")), 4);
    cr_expect_eq(json_real_value(json_object_get(ack, "p50")), 2.0);
    cr_expect_eq(json_real_value(json_object_get(ack, "max")), 4.0);
    cr_expect_eq(json_real_value(json_object_get(ack, "mean")), 2.5);
    json_decref(json);
    report_free(report);
}

Test(bench, a_report_holds_distributions_series_and_notes)
{
    struct report *report = a_report();
    json_t *json = written(report);
    json_t *distribution = json_object_get(json_object_get(json_object_get(json, "samples"), "ack"), "distribution");
    json_t *series = json_object_get(json_object_get(json, "series"), "latency");
    json_t *point = json_array_get(json_object_get(series, "points"), 0);
    json_t *moment = json_array_get(json_object_get(series, "moments"), 0);
    cr_expect_eq(json_real_value(json_array_get(json_array_get(distribution, 75), 1)), 3.0);
    cr_expect_eq(json_real_value(json_array_get(point, 0)), -2.0);
    cr_expect_eq(json_real_value(json_array_get(point, 1)), 3.0);
    cr_expect_str_eq(json_string_value(json_array_get(moment, 1)), "kill -9 of the leader");
    cr_expect_str_eq(json_string_value(json_array_get(json_object_get(json, "notes"), 0)), "3 watchers were cut off");
    json_decref(json);
    report_free(report);
}

Test(bench, a_run_that_ended_early_is_marked_with_the_reason)
{
    struct report *report = a_report();
    report_partial(report, "lapsed 2 ended with signal 9");
    json_t *json = written(report);
    cr_expect_str_eq(text_at(json, "partial"), "lapsed 2 ended with signal 9");
    cr_expect_not_null(json_object_get(json_object_get(json, "samples"), "ack"), "what was measured is kept");
    json_decref(json);
    report_free(report);
}

Test(bench, a_report_that_cannot_be_written_says_where_and_why)
{
    struct report *report = report_new("floor", NULL);
    struct lapse_error error;
    cr_expect_eq(report_write_json(report, "/nowhere/report.json", &error).code, LAPSE_UNAVAILABLE);
    cr_expect_not_null(strstr(error.message, "/nowhere/report.json"));
    cr_expect_not_null(strstr(error.message, "No such file"));
    report_free(report);
}

/* --- processes ---------------------------------------------------------------------------------------------------- */

static struct process a_process(char path[64])
{
    struct process process = {.name = "server 1"};
    snprintf(path, 64, "/tmp/test-bench-log-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    snprintf(process.log, sizeof process.log, "%s", path);
    return process;
}

Test(bench, a_process_that_fails_is_named_with_its_last_words)
{
    char path[64];
    struct process process = a_process(path);
    struct lapse_error error;
    char *args[] = {(char *)"/bin/sh", (char *)"-c", (char *)"echo no room left; exit 3", NULL};
    cr_expect_eq(process_run(&process, args, &error).code, LAPSE_UNAVAILABLE);
    cr_expect_not_null(strstr(error.message, "server 1 ended with code 3"), "%s", error.message);
    cr_expect_not_null(strstr(error.message, "no room left"), "%s", error.message);
    unlink(path);
}

Test(bench, a_process_that_somebody_else_killed_is_noticed)
{
    char path[64];
    struct process process = a_process(path);
    struct lapse_error error;
    char *args[] = {(char *)"/bin/sh", (char *)"-c", (char *)"kill -9 $$", NULL};
    cr_assert(lapse_is_ok(process_start(&process, args, NULL, NULL, &error)));
    while (lapse_is_ok(process_check(&process, &error)))
        usleep(1000);
    cr_expect_not_null(strstr(error.message, "server 1 ended with signal 9"), "%s", error.message);
    cr_expect_eq(process.pid, 0);
    unlink(path);
}

Test(bench, a_process_that_was_killed_on_purpose_is_no_failure)
{
    char path[64];
    struct process process = a_process(path);
    struct lapse_error error;
    char *args[] = {(char *)"/bin/sleep", (char *)"1000", NULL};
    cr_assert(lapse_is_ok(process_start(&process, args, NULL, NULL, &error)));
    cr_expect(process_resident(&process) > 0);
    process_kill(&process);
    cr_expect(lapse_is_ok(process_check(&process, &error)));
    cr_expect_eq(process_resident(&process), 0);
    unlink(path);
}

/* --- items -------------------------------------------------------------------------------------------------------- */

Test(bench, an_item_is_recognised_by_its_ticket_and_no_other_run_s)
{
    struct cluster cluster = {.run = "0a1b2c3d"};
    char ticket[CLUSTER_TEXT_SIZE];
    uint32_t item = 0;
    cluster_ticket(&cluster, 1234567, ticket);
    cr_expect(cluster_ticket_parse(&cluster, slice_str(ticket), &item));
    cr_expect_eq(item, 1234567);
    cr_expect_not(cluster_ticket_parse(&cluster, slice_str("ffffffff-1"), &item));
    cr_expect_not(cluster_ticket_parse(&cluster, slice_str("INC-1"), &item));
    cr_expect_not(cluster_ticket_parse(&cluster, slice_str("0a1b2c3d-"), &item));
    cr_expect_not(cluster_ticket_parse(&cluster, slice_str("0a1b2c3d-1x"), &item));
    cr_expect_eq(item, 1234567, "untouched");
}

Test(bench, ids_stay_where_they_are_when_more_items_are_reserved)
{
    struct cluster cluster = {0};
    struct lapse_error error;
    cr_assert(lapse_is_ok(cluster_reserve(&cluster.system, 10, &error)));
    char *id = cluster_id_of(&cluster, 9);
    snprintf(id, CLUSTER_ULID_SIZE, "01JD8Z5M3N0V6Q2R4T8W9X1Y7Z");
    cr_assert(lapse_is_ok(cluster_reserve(&cluster.system, 3 * CLUSTER_ITEMS_CHUNK, &error)));
    cr_expect_eq(cluster_id_of(&cluster, 9), id);
    cr_expect_str_eq(cluster_item_id(&cluster.system, 9), "01JD8Z5M3N0V6Q2R4T8W9X1Y7Z");
    cr_expect_str_eq(cluster_item_id(&cluster.system, 3 * CLUSTER_ITEMS_CHUNK - 1), "");
    cr_expect_eq(cluster_reserve(&cluster.system, UINT32_MAX / 2, &error).code, LAPSE_INVALID_ARGUMENT);
    cluster_items_free(&cluster);
}

Test(bench, systems_are_found_by_name_and_lapse_is_the_first)
{
    cr_expect_str_eq(system_kinds[0]->name, "lapse");
    cr_expect_eq(system_find("etcd")->can & SYSTEM_CAN_WATCH, SYSTEM_CAN_WATCH);
    cr_expect_null(system_find("cassandra"));
}
