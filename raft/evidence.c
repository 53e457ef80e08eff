#include "raft/evidence.h"

#include "base/check.h"

static uint64_t stamp_of(const struct evidence *evidence, uint64_t voter)
{
    for (uint32_t i = 0; i < evidence->n; i++) {
        if (evidence->voters[i] == voter)
            return evidence->stamps[i];
    }
    return 0;
}

void evidence_set_voters(struct evidence *evidence, const uint64_t *voters, uint32_t n)
{
    CHECK(n <= LIMIT_PEERS);
    struct evidence next = {.n = n};
    for (uint32_t i = 0; i < n; i++) {
        next.voters[i] = voters[i];
        next.stamps[i] = stamp_of(evidence, voters[i]);
    }
    *evidence = next;
}

void evidence_reset(struct evidence *evidence)
{
    memset(evidence->stamps, 0, sizeof evidence->stamps);
}

void evidence_add(struct evidence *evidence, uint64_t voter, uint64_t stamp)
{
    for (uint32_t i = 0; i < evidence->n; i++) {
        if (evidence->voters[i] == voter && evidence->stamps[i] < stamp)
            evidence->stamps[i] = stamp;
    }
}

uint64_t evidence_since(const struct evidence *evidence, uint64_t self)
{
    /* The majority's oldest member decides: the (n/2 + 1)-th newest stamp. */
    uint64_t sorted[LIMIT_PEERS];
    for (uint32_t i = 0; i < evidence->n; i++) {
        uint64_t stamp = evidence->voters[i] == self ? UINT64_MAX : evidence->stamps[i];
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] < stamp; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = stamp;
    }
    return evidence->n == 0 ? 0 : sorted[evidence->n / 2];
}
