/* G9: one audit chain.
 *
 *   event of revision r, as a node tells it --> its bytes --hashed behind head(r - 1)--> head(r)
 *
 * The oracle hashes what it is told; the heads that stores keep, tell with an event, restore from a snapshot, and have
 * after a command must be the same, on every node, at every revision. A head that is equal everywhere because everybody
 * leaves out the same event would be noticed, too. */
#include <inttypes.h>
#include <stdlib.h>

#include "tests/sim/oracle_internal.h"

struct chain_model {
    struct sim *sim;
    struct chain_head *heads; /* by revision: heads[0] is that of an empty chain */
    uint64_t n, max;
};

static void append(struct chain_model *model, const struct chain_head *head)
{
    if (model->n == model->max) {
        model->max = model->max == 0 ? 1024 : model->max * 2;
        model->heads = mem_realloc(model->heads, model->max * sizeof(*model->heads));
    }
    model->heads[model->n++] = *head;
}

struct chain_model *chain_model_new(struct sim *sim)
{
    static const struct chain_head empty;
    struct chain_model *model = mem_calloc(1, sizeof(*model));
    model->sim = sim;
    append(model, &empty);
    return model;
}

void chain_model_free(struct chain_model *model)
{
    free(model->heads);
    free(model);
}

void chain_model_event(struct chain_model *model, uint32_t place, uint64_t epoch, const struct store_event *event)
{
    if (event->revision == 0 || event->revision > model->n) {
        return; /* a gap: oracle_event says so */
    }
    struct chain_head head = model->heads[event->revision - 1];
    chain_extend(&head, epoch, event->encoded);
    if (event->revision == model->n) {
        append(model, &head);
    }
    if (!chain_head_equal(&model->heads[event->revision], &head)) {
        sim_fail(model->sim, "G9", "node %u tells other bytes of revision %" PRIu64 " (%s) than the first that told it",
                 place + 1, event->revision, store_event_name(event->type));
    } else if (!chain_head_equal(event->head, &head)) {
        sim_fail(model->sim, "G9",
                 "node %u has another head of the audit chain at revision %" PRIu64 " (%s) than its events give",
                 place + 1, event->revision, store_event_name(event->type));
    }
}

void chain_model_store(struct chain_model *model, uint32_t place, const struct store *store, const char *when)
{
    uint64_t revision = store_revision(store);
    if (revision >= model->n || !chain_head_equal(store_chain_head(store), &model->heads[revision])) {
        sim_fail(model->sim, "G9", "node %u has another head of the audit chain at revision %" PRIu64 " %s", place + 1,
                 revision, when);
    }
}
