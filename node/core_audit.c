/* Events go to the audit with the next flush; its frames for other nodes come back as mail, since only the core's loop
 * may speak to the replica. */
#include "node/core_audit.h"

#include <stdlib.h>

#include "base/check.h"
#include "node/audit.h"
#include "node/metrics.h"

struct core_audit {
    struct audit *audit; /* NULL once closed */
    struct audit_status seen;
};

struct outgoing {
    struct mail mail;
    struct core *core;
    uint64_t to;
    uint32_t len;
    uint8_t bytes[];
};

static void send_now(struct mail *mail)
{
    struct outgoing *frame = CONTAINER_OF(mail, struct outgoing, mail);
    if (!frame->core->closing)
        replica_send_audit(frame->core->replica, frame->to, slice_of(frame->bytes, frame->len));
    free(frame);
}

/* On the audit's threads. */
static void io_send(void *arg, uint64_t to, struct slice bytes)
{
    struct core *core = arg;
    struct outgoing *frame = mem_alloc(sizeof *frame + bytes.len);
    *frame = (struct outgoing){.mail.run = send_now, .core = core, .to = to, .len = (uint32_t)bytes.len};
    memcpy(frame->bytes, bytes.data, bytes.len);
    if (!mailbox_post(&core->mailbox, &frame->mail))
        free(frame); /* asked, or told, again */
}

static const struct audit_handler audit_handler = {.send = io_send};

static struct audit_place place_of(const struct store *store)
{
    return (struct audit_place){
        .epoch = store_epoch(store), .revision = store_revision(store), .head = *store_chain_head(store)};
}

/* --- life --------------------------------------------------------------------------------------------------------- */

lapse_result core_audit_open(struct core *core, const struct store *store, struct lapse_error *error)
{
    struct audit_options options = {.dir = core->config.data_dir,
                                    .cluster = core->cluster,
                                    .node_id = core->config.node_id,
                                    .reserve_bytes = core->config.audit_reserve_bytes};
    struct audit *audit = NULL;
    if (store != NULL)
        options.start = place_of(store);
    lapse_result result = audit_open(&options, &audit_handler, core, &audit, error);
    if (!lapse_is_ok(result))
        return result;
    core->audit = mem_calloc(1, sizeof *core->audit);
    core->audit->audit = audit;
    return lapse_ok();
}

void core_audit_close(struct core *core)
{
    if (core->audit == NULL)
        return;
    audit_close(core->audit->audit);
    core->audit->audit = NULL;
}

void core_audit_free(struct core *core)
{
    core_audit_close(core);
    free(core->audit);
    core->audit = NULL;
}

struct audit *core_audit(struct core *core)
{
    return core->audit->audit;
}

/* --- what the replica tells --------------------------------------------------------------------------------------- */

void core_audit_event(struct core *core, const struct store_event *event)
{
    const struct audit_place place = {
        .epoch = store_epoch(replica_store(core->replica)), .revision = event->revision, .head = *event->head};
    audit_event(core->audit->audit, &place, event->encoded);
}

void core_audit_replaced(struct core *core)
{
    const struct audit_place place = place_of(replica_store(core->replica));
    audit_replaced(core->audit->audit, &place);
}

void core_audit_members(struct core *core, const struct replica_member *members, uint32_t n)
{
    uint64_t ids[LIMIT_PEERS];
    uint32_t others = 0;
    CHECK(n <= ARRAY_LEN(ids));
    for (uint32_t i = 0; i < n; i++)
        if (members[i].id != core->config.node_id)
            ids[others++] = members[i].id;
    audit_set_peers(core->audit->audit, ids, others);
}

void core_audit_frame(struct core *core, uint64_t from, struct slice frame)
{
    audit_receive(core->audit->audit, from, frame);
}

bool core_audit_may_drop(struct core *core, uint64_t revision)
{
    return audit_is_durable(core->audit->audit, revision);
}

void core_audit_flush(struct core *core)
{
    replica_set_pressure(core->replica, audit_pressure(core->audit->audit));
    audit_set_time(core->audit->audit, core_time_ms(core));
    (void)audit_flush(core->audit->audit);
}

/* --- figures ------------------------------------------------------------------------------------------------------ */

bool core_audit_is_full(const struct core *core)
{
    struct audit_status status;
    audit_get_status(core->audit->audit, &status);
    return status.full;
}

void core_audit_set_gauges(struct core *core)
{
    struct audit_status *seen = &core->audit->seen, status;
    uint64_t revision = store_revision(replica_store(core->replica));
    audit_get_status(core->audit->audit, &status);
    metric_set(METRIC_AUDIT_REVISION, (int64_t)status.revision);
    metric_set(METRIC_AUDIT_LAG, revision > status.revision ? (int64_t)(revision - status.revision) : 0);
    metric_add(METRIC_AUDIT_GAPS, (int64_t)(status.gaps_total - seen->gaps_total));
    metric_add(METRIC_AUDIT_CORRUPT, (int64_t)(status.corrupt - seen->corrupt));
    metric_set(METRIC_AUDIT_FULL, status.full);
    *seen = status;
}

/* --- who may read it ---------------------------------------------------------------------------------------------- */

void core_audit_opened(struct core_call *call)
{
    if ((call->roles & (ROLE_OPERATOR | ROLE_AUDITOR)) == 0)
        core_call_refuse(call, LAPSE_PERMISSION_DENIED, "only operators and auditors may read the audit records");
    else
        core_call_answer(call);
}
