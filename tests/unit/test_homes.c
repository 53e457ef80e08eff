/* Which data directory a member came with. */
#include <criterion/criterion.h>

#include "base/check.h"
#include "raft/homes.h"
#include "tests/sim/prng.h"
#include "tests/sim/virtual_disk.h"

Test(homes, a_member_that_comes_with_another_data_directory_is_turned_away_also_after_a_restart)
{
    struct disk *disk = virtual_disk_new();
    struct homes homes, again;
    struct lapse_error error;
    cr_assert(lapse_is_ok(homes_open(&homes, disk, &error)));
    cr_assert_neq(homes.own, 0);
    cr_assert(lapse_is_ok(homes_check(&homes, 2, 22, &error)));
    cr_assert(lapse_is_ok(homes_check(&homes, 3, UINT64_MAX, &error)));
    cr_assert(lapse_is_ok(homes_check(&homes, 2, 22, &error)));
    cr_assert(lapse_is_ok(homes_open(&again, disk, &error)));
    cr_assert_eq(again.own, homes.own);
    cr_assert_eq(homes_check(&again, 2, 23, &error).code, LAPSE_FAILED_PRECONDITION);
    cr_assert_eq(homes_check(&again, 2, 0, &error).code, LAPSE_FAILED_PRECONDITION);
    cr_assert(lapse_is_ok(homes_check(&again, 3, UINT64_MAX, &error)));
    homes_forget(&again, 2);
    cr_assert(lapse_is_ok(homes_check(&again, 2, 23, &error)), "removed, and added again");
    virtual_disk_free(disk);
}

Test(homes, what_can_not_be_noted_is_not_let_in)
{
    struct disk *disk = virtual_disk_new();
    struct homes homes;
    struct lapse_error error;
    cr_assert(lapse_is_ok(homes_open(&homes, disk, &error)));
    virtual_disk_fail_sync(disk, 1);
    cr_assert_not(lapse_is_ok(homes_check(&homes, 2, 22, &error)));
    virtual_disk_heal(disk);
    cr_assert(lapse_is_ok(homes_check(&homes, 2, 23, &error)), "it was not seen yet");
    virtual_disk_free(disk);
}

Test(homes, a_damaged_file_is_data_loss)
{
    static const char *const texts[] = {"", "lapse-homes 1\n", "lapse-homes 1\nown 0000000000000000\n",
                                        "lapse-homes 1\nown 0000000000000001\n2 1\n",
                                        "lapse-homes 1\nown 0000000000000001\nx"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct disk *disk = virtual_disk_new();
        struct homes homes;
        struct lapse_error error;
        virtual_disk_put(disk, "homes", slice_str(texts[i]));
        cr_assert_eq(homes_open(&homes, disk, &error).code, LAPSE_DATA_LOSS, "%zu", i);
        virtual_disk_free(disk);
    }
}
