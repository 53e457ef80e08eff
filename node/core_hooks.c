#include "node/core_hooks.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/wire.h"
#include "node/audit.h"
#include "node/core_audit.h"
#include "node/hook_body.h"
#include "node/hook_deliver.h"
#include "node/metrics.h"
#include "proto/lapse/v1/audit.pb.h"
#include "store/word_fields.h"

/* Records asked for at once; after them the progress is committed. */
#define BATCH 32u
/* Progress without anything to tell is committed this seldom: a restart looks through what came since. */
#define IDLE_REVISIONS 10000u
#define COMMIT_TIMEOUT_MS 5000
#define ASK_TIMEOUT_US (60 * 1000 * 1000ll)
#define BACKOFF_MS_MIN 500
#define BACKOFF_MS_MAX 60000
/* What fails is logged when it begins, and then every so many attempts. */
#define LOG_EVERY 16u
#define STALLS_A_LINE 120u /* a minute of BACKOFF_MS_MIN */

enum hook_stage { HOOK_RESTS, HOOK_ASKS, HOOK_DELIVERS, HOOK_COMMITS };

struct hook {
    struct core *core;
    const struct hook_options *options;
    struct hook_thread *thread; /* NULL until this node leads for the first time */
    enum hook_stage stage;
    uint64_t start;   /* where a webhook that nobody knows yet begins; 0: not looked yet */
    uint64_t head;    /* the database's newest head, which is none of our business */
    uint64_t taken;   /* everything up to it is delivered or passed over, in this leader's eyes */
    uint64_t asked;   /* what the batch reaches up to */
    struct buf batch; /* TailResponse messages, each as field 1 */
    size_t at;        /* in it */
    bool told;        /* something was delivered or given up since the last commit */
    uint32_t failures;
    uint32_t stalls; /* questions and commits that failed, one after the other */
    int64_t not_before_ms;
    uint64_t current; /* the revision under way, and when it happened */
    int64_t current_ms;
    struct audit_job job;
    struct hook_delivery delivery;
    struct replica_write write;
    struct mail again; /* after a commit, on a stack of its own */
    bool comes_again;
};

struct core_hooks {
    struct hooks_config config;
    struct hook *hooks;
    bool closing;
};

static void step(struct hook *hook);

/* --- how far it is ------------------------------------------------------------------------------------------------ */

static uint64_t committed(const struct hook *hook, bool *known)
{
    const struct object *object =
        store_object(replica_store(hook->core->replica), OBJECT_HOOK, slice_str(hook->options->name));
    *known = object != NULL;
    return *known ? object_hook_revision(object) : 0;
}

/* What keeps a webhook from going on that isn't its receiver: said when it begins, and then every so often. */
static void stalled(struct hook *hook, const char *what, const struct lapse_error *error)
{
    int64_t again_ms = clock_boot_ms() + BACKOFF_MS_MIN;
    hook->not_before_ms = again_ms > hook->not_before_ms ? again_ms : hook->not_before_ms;
    if (hook->stalls++ % STALLS_A_LINE == 0)
        log_warn(what, LOG_STR("webhook", hook->options->name), LOG_U64("revision", hook->taken),
                 LOG_STR("error", error->message));
}

static void on_again(struct mail *mail)
{
    struct hook *hook = CONTAINER_OF(mail, struct hook, again);
    hook->comes_again = false;
    step(hook);
}

/* A write that ends on this very stack must not start another one. */
static void step_soon(struct hook *hook)
{
    if (hook->comes_again || hook->core->closing)
        return;
    hook->comes_again = true;
    hook->again.run = on_again;
    mailbox_answer(&hook->core->mailbox, &hook->again);
}

static void on_committed(struct replica_write *write, const struct store_outcome *outcome)
{
    struct hook *hook = write->owner;
    hook->stage = HOOK_RESTS;
    if (outcome->error.code == LAPSE_OK) {
        hook->stalls = 0;
        step_soon(hook);
        return;
    }
    hook->told = true;
    if (core_is_leader(hook->core))
        stalled(hook, "webhook: how far it is can't be committed", &outcome->error);
}

static void commit(struct hook *hook, uint64_t revision)
{
    const struct command command = {
        .type = COMMAND_HOOK_DONE, .name = slice_str(hook->options->name), .revision = revision};
    hook->stage = HOOK_COMMITS;
    hook->told = false;
    hook->write = (struct replica_write){.done = on_committed, .owner = hook, .leader_only = true};
    replica_write(hook->core->replica, &hook->write, &command, COMMIT_TIMEOUT_MS);
}

/* --- one record --------------------------------------------------------------------------------------------------- */

struct record {
    uint64_t epoch, revision;
    struct slice event;
};

static void read_record(struct slice message, struct record *record)
{
    struct wire_reader reader = wire_reader(message);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        if (field.number == lapse_v1_AuditRecord_epoch_tag)
            record->epoch = field.value;
        else if (field.number == lapse_v1_AuditRecord_revision_tag)
            record->revision = field.value;
        else if (field.number == lapse_v1_AuditRecord_event_tag)
            record->event = field.bytes;
    }
}

/* The record at `at`, which moves behind it; heads are passed over. */
static bool next_record(struct hook *hook, struct record *record)
{
    struct wire_field message, kind;
    *record = (struct record){0};
    while (hook->at < hook->batch.len && record->revision == 0) {
        struct wire_reader reader = wire_reader(slice_of(hook->batch.data + hook->at, hook->batch.len - hook->at));
        CHECK(wire_next(&reader, &message));
        hook->at = (size_t)(reader.at - hook->batch.data);
        struct wire_reader inner = wire_reader(message.bytes);
        if (wire_next(&inner, &kind) && kind.number == lapse_v1_TailResponse_record_tag)
            read_record(kind.bytes, record);
    }
    return record->revision != 0;
}

static int64_t time_of(struct slice event)
{
    struct wire_reader reader = wire_reader(event);
    struct wire_field field;
    while (wire_next(&reader, &field))
        if (field.number == WORD_EVENT_TIME_MS)
            return (int64_t)field.value;
    return 0;
}

static void passed(struct hook *hook)
{
    hook->told = true;
    hook->taken = hook->current;
    hook->failures = 0;
    hook->not_before_ms = 0;
}

static bool is_too_old(const struct hook *hook)
{
    return core_time_ms(hook->core) - hook->current_ms > hook->options->give_up_ms;
}

static void give_up(struct hook *hook)
{
    metric_add(METRIC_WEBHOOK_DROPPED, 1);
    log_error("webhook: gave an event up; look for it in the audit log", LOG_STR("webhook", hook->options->name),
              LOG_U64("revision", hook->current), LOG_STR("error", hook->delivery.message));
    passed(hook);
}

static void try_later(struct hook *hook)
{
    int64_t wait_ms = BACKOFF_MS_MIN;
    for (uint32_t i = 0; i < hook->failures && wait_ms < BACKOFF_MS_MAX; i++)
        wait_ms *= 2;
    wait_ms = wait_ms > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : wait_ms;
    /* Webhooks of one receiver that came back must not all meet it at once. */
    hook->not_before_ms = clock_boot_ms() + wait_ms - (int64_t)(hook->current * 7919 % (uint64_t)(wait_ms / 4));
    metric_add(METRIC_WEBHOOK_FAILED, 1);
    if (hook->failures++ % LOG_EVERY == 0)
        log_warn("webhook: not delivered, will be tried again", LOG_STR("webhook", hook->options->name),
                 LOG_U64("revision", hook->current), LOG_STR("error", hook->delivery.message));
}

static void on_delivered(struct mail *mail)
{
    struct hook *hook = CONTAINER_OF(mail, struct hook, delivery.mail);
    hook->stage = HOOK_RESTS;
    if (hook->delivery.taken) {
        metric_add(METRIC_WEBHOOK_DELIVERED, 1);
        passed(hook);
    } else if (is_too_old(hook)) {
        give_up(hook);
    } else {
        try_later(hook);
    }
    step(hook);
}

static void send_off(struct hook *hook)
{
    if (hook->thread == NULL)
        hook->thread = hook_thread_start(hook->options, &hook->core->mailbox);
    hook->delivery.mail.run = on_delivered;
    hook->stage = HOOK_DELIVERS;
    hook_deliver(hook->thread, &hook->delivery);
}

/* False: it is passed over. */
static bool deliver(struct hook *hook, const struct record *record)
{
    const struct hook_record told = {
        .cluster = hook->core->cluster, .epoch = record->epoch, .revision = record->revision, .event = record->event};
    hook->current = record->revision;
    hook->current_ms = time_of(record->event);
    switch (
        hook_body_make(hook->options, &told, clock_wall_ms() / 1000, &hook->delivery.headers, &hook->delivery.body)) {
    case HOOK_BODY_MADE:
        send_off(hook);
        return true;
    case HOOK_BODY_NOTHING:
        return false;
    case HOOK_BODY_IMPOSSIBLE:
        break;
    }
    (void)snprintf(hook->delivery.message, sizeof hook->delivery.message,
                   "the record can't be put into words: it is of another version, or damaged");
    give_up(hook);
    return false;
}

/* From where the batch stands; true when one is under way. What failed is made anew, with the time of its new attempt.
 */
static bool deliver_next(struct hook *hook)
{
    struct record record;
    size_t before = hook->at;
    while (next_record(hook, &record)) {
        if (record.revision > hook->taken && deliver(hook, &record)) {
            hook->at = before;
            return true;
        }
        hook->taken = record.revision > hook->taken ? record.revision : hook->taken;
        before = hook->at;
    }
    return false;
}

/* --- the database ------------------------------------------------------------------------------------------------- */

/* Nothing new in all that time is no fault; a database that is behind, or lacks records, is. */
static void unanswered(struct hook *hook)
{
    bool lacks = store_revision(replica_store(hook->core->replica)) >= hook->job.cursor;
    hook->not_before_ms = clock_boot_ms() + BACKOFF_MS_MIN;
    if (lacks && core_is_leader(hook->core) && hook->job.error.code != LAPSE_CANCELLED)
        stalled(hook, "webhook: waits for the audit database", &hook->job.error);
}

static void on_answered(struct mail *mail)
{
    struct hook *hook = CONTAINER_OF(mail, struct hook, job.mail);
    hook->stage = HOOK_RESTS;
    hook->head = hook->job.head_seen;
    buf_clear(&hook->batch);
    hook->at = 0;
    if (hook->job.error.code == LAPSE_OK) {
        CHECK(lapse_is_ok(buf_append(&hook->batch, hook->job.response.data, hook->job.response.len)));
        hook->asked = hook->job.revision;
        hook->stalls = 0;
    } else {
        unanswered(hook);
    }
    audit_job_clear(&hook->job);
    step(hook);
}

static void ask(struct hook *hook)
{
    struct lapse_error error;
    audit_job_init(&hook->job, AUDIT_TAIL);
    hook->job.mail.run = on_answered;
    hook->job.reply_to = &hook->core->mailbox;
    hook->job.filter.types = hook->options->types;
    hook->job.cursor = hook->taken + 1;
    hook->job.head_seen = hook->head;
    hook->job.page = BATCH;
    hook->job.deadline_us = clock_boot_us() + ASK_TIMEOUT_US;
    hook->asked = hook->taken;
    if (audit_ask(core_audit(hook->core), &hook->job)) {
        hook->stage = HOOK_ASKS;
        return;
    }
    audit_job_clear(&hook->job);
    (void)lapse_fail(&error, LAPSE_RESOURCE_EXHAUSTED, "too many questions wait for it");
    stalled(hook, "webhook: waits for the audit database", &error);
}

/* --- the way through ---------------------------------------------------------------------------------------------- */

static void rest(struct hook *hook)
{
    if (hook->stage == HOOK_ASKS)
        audit_abandon(core_audit(hook->core), &hook->job);
    buf_clear(&hook->batch);
    hook->at = 0;
    hook->taken = hook->asked = hook->start = 0;
    hook->told = false;
    hook->failures = 0;
}

/* The batch is done: commits it if it matters, or asks for more. */
static void go_on(struct hook *hook)
{
    bool known = false;
    uint64_t done = committed(hook, &known);
    hook->taken = hook->taken > hook->asked ? hook->taken : hook->asked;
    if (!known) {
        commit(hook, hook->start);
    } else if (hook->taken > done && (hook->told || hook->taken - done > IDLE_REVISIONS)) {
        commit(hook, hook->taken);
    } else {
        hook->taken = hook->taken > done ? hook->taken : done;
        ask(hook);
    }
}

/* While a receiver is away, a successor need not repeat what it took before. */
static void commit_before_wait(struct hook *hook)
{
    bool known = false;
    uint64_t done = committed(hook, &known);
    if (known && hook->told && hook->failures > 0 && hook->taken > done)
        commit(hook, hook->taken);
}

static void step(struct hook *hook)
{
    if (hook->core->closing || hook->core->hooks->closing)
        return;
    if (!core_is_leader(hook->core)) {
        rest(hook);
        return;
    }
    if (hook->start == 0)
        hook->start = store_revision(replica_store(hook->core->replica));
    if (hook->stage != HOOK_RESTS)
        return;
    if (clock_boot_ms() < hook->not_before_ms) {
        commit_before_wait(hook);
        return;
    }
    if (!deliver_next(hook))
        go_on(hook);
}

void core_hooks_pulse(struct core *core)
{
    int64_t in_place = 0;
    for (uint32_t i = 0; core->hooks != NULL && i < core->hooks->config.n; i++) {
        bool known = false;
        step(&core->hooks->hooks[i]);
        (void)committed(&core->hooks->hooks[i], &known);
        in_place += known;
    }
    metric_set(METRIC_WEBHOOKS, in_place);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

lapse_result core_hooks_open(struct core *core, struct lapse_error *error)
{
    struct hooks_config config = {0};
    if (core->config.webhooks[0] == '\0')
        return lapse_ok();
    lapse_result result = hooks_config_read(core->config.webhooks, &config, error);
    if (!lapse_is_ok(result))
        return result;
    /* Once, and before there are threads. */
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    core->hooks = mem_calloc(1, sizeof *core->hooks);
    core->hooks->config = config;
    core->hooks->hooks = mem_calloc(config.n + 1, sizeof core->hooks->hooks[0]);
    for (uint32_t i = 0; i < config.n; i++) {
        struct hook *hook = &core->hooks->hooks[i];
        hook->core = core;
        hook->options = &config.hooks[i];
        buf_init(&hook->batch, LIMIT_MESSAGE_OUT);
        buf_init(&hook->delivery.headers, LIMIT_HEADER_BYTES);
        buf_init(&hook->delivery.body, LIMIT_MESSAGE_OUT);
    }
    return lapse_ok();
}

void core_hooks_close(struct core *core)
{
    struct core_hooks *hooks = core->hooks;
    if (hooks == NULL)
        return;
    hooks->closing = true;
    for (uint32_t i = 0; i < hooks->config.n; i++)
        hook_thread_break_off(hooks->hooks[i].thread);
    for (uint32_t i = 0; i < hooks->config.n; i++) {
        hook_thread_stop(hooks->hooks[i].thread);
        hooks->hooks[i].thread = NULL;
    }
}

void core_hooks_free(struct core *core)
{
    struct core_hooks *hooks = core->hooks;
    if (hooks == NULL)
        return;
    core_hooks_close(core);
    for (uint32_t i = 0; i < hooks->config.n; i++) {
        buf_free(&hooks->hooks[i].batch);
        buf_free(&hooks->hooks[i].delivery.headers);
        buf_free(&hooks->hooks[i].delivery.body);
    }
    hooks_config_free(&hooks->config);
    free(hooks->hooks);
    free(hooks);
    core->hooks = NULL;
}
