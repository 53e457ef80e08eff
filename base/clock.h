/* The machine's clocks, read in one place. Rooms that decide take time as an argument instead. */
#ifndef LAPSE_BASE_CLOCK_H
#define LAPSE_BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_BOOTTIME: monotonic, counts suspend, is not stepped. Differences only. */
int64_t clock_boot_ms(void);
int64_t clock_boot_us(void);
/* CLOCK_REALTIME in milliseconds since the Unix epoch. */
int64_t clock_wall_ms(void);

#endif
