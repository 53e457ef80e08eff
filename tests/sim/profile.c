/* The profiles, as data. */
#include "tests/sim/profile.h"

#include <string.h>

#define SECONDS(n) ((int64_t)((n) * 1000000.0))

static const struct profile profiles[] = {
    {
        .name = "calm",
        .guarantee = "G4",
        .drift_ppm = 100,
        .wall_skew_ms = 50,
        .snapshot_entries = 200,
        .trailing_entries = 50,
        .ring_events = 512,
        .think_us = SECONDS(0.02),
    },
    {
        .name = "crashy",
        .guarantee = "G1",
        .weights = {[FAULT_CRASH] = 4,
                    [FAULT_CRASH_ALL] = 1,
                    [FAULT_POWER_LOSS] = 6,
                    [FAULT_POWER_LOSS_ALL] = 3,
                    [FAULT_BREAK] = 1,
                    [FAULT_DISK_SLOW] = 1},
        .fault_gap_us = SECONDS(0.5),
        .fault_length_us = SECONDS(0.4),
        .drift_ppm = 100,
        .wall_skew_ms = 100,
        .snapshot_entries = 100,
        .trailing_entries = 20,
        .ring_events = 128,
        .think_us = SECONDS(0.02),
    },
    {
        .name = "partitions",
        .guarantee = "G2",
        .weights = {[FAULT_ISOLATE] = 2,
                    [FAULT_ISOLATE_LEADER] = 4,
                    [FAULT_ONE_WAY] = 3,
                    [FAULT_BRIDGE] = 2,
                    [FAULT_BREAK] = 3,
                    [FAULT_SLOW_LINK] = 2,
                    [FAULT_PAUSE] = 3,
                    [FAULT_CRASH] = 1,
                    [FAULT_TRANSFER] = 2},
        .fault_gap_us = SECONDS(0.4),
        .fault_length_us = SECONDS(0.6),
        .drift_ppm = 100,
        .wall_skew_ms = 100,
        .snapshot_entries = 500,
        .trailing_entries = 100,
        .loss_ppm = 2000,
        .ring_events = 256,
        .think_us = SECONDS(0.02),
    },
    {
        .name = "elections",
        .guarantee = "G2",
        .weights = {[FAULT_POWER_LOSS] = 6,
                    [FAULT_POWER_LOSS_ALL] = 4,
                    [FAULT_CRASH] = 2,
                    [FAULT_ISOLATE_LEADER] = 4,
                    [FAULT_SLOW_LINK] = 2,
                    [FAULT_TRANSFER] = 3},
        .fault_gap_us = SECONDS(0.15),
        .fault_length_us = SECONDS(0.12),
        .drift_ppm = 100,
        .wall_skew_ms = 100,
        .snapshot_entries = 1000,
        .trailing_entries = 100,
        .loss_ppm = 20000,
        .ring_events = 256,
        .think_us = SECONDS(0.05),
    },
    {
        .name = "disks",
        .guarantee = "G1",
        .weights = {[FAULT_DISK_FAIL] = 6,
                    [FAULT_DISK_FULL] = 2,
                    [FAULT_DISK_SLOW] = 3,
                    [FAULT_POWER_LOSS] = 4,
                    [FAULT_POWER_LOSS_ALL] = 2},
        .fault_gap_us = SECONDS(0.5),
        .fault_length_us = SECONDS(0.4),
        .drift_ppm = 100,
        .wall_skew_ms = 100,
        .snapshot_entries = 60,
        .trailing_entries = 10,
        .ring_events = 128,
        .think_us = SECONDS(0.02),
    },
    {
        .name = "clocks",
        .guarantee = "G3",
        .weights = {[FAULT_WALL_STEP] = 8,
                    [FAULT_CRASH] = 2,
                    [FAULT_PAUSE] = 3,
                    [FAULT_ISOLATE_LEADER] = 3,
                    [FAULT_POWER_LOSS] = 1,
                    [FAULT_POWER_LOSS_ALL] = 1,
                    [FAULT_TRANSFER] = 2},
        .fault_gap_us = SECONDS(0.5),
        .fault_length_us = SECONDS(0.5),
        .drift_ppm = 10000,
        .wall_skew_ms = 200,
        .wall_step_ms = 6 * 3600 * 1000LL,
        .snapshot_entries = 200,
        .trailing_entries = 50,
        .ring_events = 256,
        .think_us = SECONDS(0.02),
    },
    {
        .name = "failover",
        .guarantee = "G3",
        .weights = {[FAULT_CRASH] = 4,
                    [FAULT_CRASH_ALL] = 1,
                    [FAULT_POWER_LOSS_ALL] = 1,
                    [FAULT_PAUSE] = 3,
                    [FAULT_ISOLATE_LEADER] = 3,
                    [FAULT_ONE_WAY] = 1,
                    [FAULT_TRANSFER] = 2},
        .fault_gap_us = SECONDS(0.7),
        .fault_length_us = SECONDS(0.7),
        .drift_ppm = 2000,
        .wall_skew_ms = 100,
        .snapshot_entries = 200,
        .trailing_entries = 50,
        .ring_events = 256,
        .think_us = SECONDS(0.02),
    },
    {
        .name = "snapshots",
        .guarantee = "G7",
        .weights = {[FAULT_CRASH] = 3,
                    [FAULT_POWER_LOSS] = 2,
                    [FAULT_ISOLATE] = 5,
                    [FAULT_PAUSE] = 2,
                    [FAULT_BREAK] = 3,
                    [FAULT_SLOW_LINK] = 2,
                    [FAULT_DISK_SLOW] = 1},
        .fault_gap_us = SECONDS(0.4),
        .fault_length_us = SECONDS(0.8),
        .drift_ppm = 100,
        .wall_skew_ms = 100,
        .snapshot_entries = 12,
        .trailing_entries = 3,
        .loss_ppm = 2000,
        .ring_events = 64,
        .think_us = SECONDS(0.01),
    },
    {
        .name = "datagrams",
        .guarantee = "G2",
        .weights = {[FAULT_CRASH] = 1, [FAULT_ISOLATE] = 2, [FAULT_PAUSE] = 1, [FAULT_SLOW_LINK] = 3},
        .fault_gap_us = SECONDS(0.7),
        .fault_length_us = SECONDS(0.5),
        .drift_ppm = 100,
        .wall_skew_ms = 100,
        .snapshot_entries = 40,
        .trailing_entries = 10,
        .loss_ppm = 30000,
        .datagrams = true,
        .ring_events = 64,
        .think_us = SECONDS(0.02),
    },
    {
        .name = "everything",
        .guarantee = "G1",
        .weights = {[FAULT_CRASH] = 3,        [FAULT_CRASH_ALL] = 1, [FAULT_POWER_LOSS] = 3, [FAULT_POWER_LOSS_ALL] = 1,
                    [FAULT_PAUSE] = 3,        [FAULT_ISOLATE] = 2,   [FAULT_ISOLATE_LEADER] = 2, [FAULT_ONE_WAY] = 2,
                    [FAULT_BRIDGE] = 1,       [FAULT_BREAK] = 2,     [FAULT_SLOW_LINK] = 2,  [FAULT_WALL_STEP] = 2,
                    [FAULT_DISK_FAIL] = 2,    [FAULT_DISK_FULL] = 1, [FAULT_DISK_SLOW] = 2,  [FAULT_TRANSFER] = 1},
        .fault_gap_us = SECONDS(0.3),
        .fault_length_us = SECONDS(0.5),
        .drift_ppm = 5000,
        .wall_skew_ms = 200,
        .wall_step_ms = 3600 * 1000LL,
        .snapshot_entries = 30,
        .trailing_entries = 8,
        .loss_ppm = 5000,
        .ring_events = 64,
        .think_us = SECONDS(0.015),
    },
};

size_t profile_count(void)
{
    return sizeof(profiles) / sizeof(profiles[0]);
}

const struct profile *profile_at(size_t i)
{
    return i < profile_count() ? &profiles[i] : NULL;
}

const struct profile *profile_find(const char *name)
{
    for (size_t i = 0; i < profile_count(); i++) {
        if (strcmp(profiles[i].name, name) == 0) {
            return &profiles[i];
        }
    }
    return NULL;
}

const char *fault_name(enum fault fault)
{
    static const char *const names[FAULT_COUNT] = {
        [FAULT_CRASH] = "crash",
        [FAULT_CRASH_ALL] = "crash-all",
        [FAULT_POWER_LOSS] = "power-loss",
        [FAULT_POWER_LOSS_ALL] = "power-loss-all",
        [FAULT_PAUSE] = "pause",
        [FAULT_ISOLATE] = "isolate",
        [FAULT_ISOLATE_LEADER] = "isolate-leader",
        [FAULT_ONE_WAY] = "one-way",
        [FAULT_BRIDGE] = "bridge",
        [FAULT_BREAK] = "break",
        [FAULT_SLOW_LINK] = "slow-link",
        [FAULT_WALL_STEP] = "wall-step",
        [FAULT_DISK_FAIL] = "disk-fail",
        [FAULT_DISK_FULL] = "disk-full",
        [FAULT_DISK_SLOW] = "disk-slow",
        [FAULT_TRANSFER] = "transfer",
    };
    return names[fault];
}
