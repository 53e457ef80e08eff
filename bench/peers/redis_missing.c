/* In place of redis.c in a build without hiredis. It says that it is missing, not that it can't. */
#include "bench/peers/kinds.h"

static const char *const tunings[] = {"default", "tuned", "nowait", NULL};

static bool is_here(void)
{
    return false;
}

const struct system_kind kind_redis = {.name = "redis",
                                       .package = "redis-server and libhiredis-dev, and build again",
                                       .tunings = tunings,
                                       .can = SYSTEM_CAN_EXPIRE | SYSTEM_CAN_WATCH,
                                       .is_here = is_here};
