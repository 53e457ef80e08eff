/* What the seeds of fuzz_command.c must know of its store: one byte of an active grant's id, and the barrier that waits
 * for instance 1. */
#ifndef LAPSE_TESTS_FUZZ_COMMAND_H
#define LAPSE_TESTS_FUZZ_COMMAND_H

#define FUZZ_ACTIVE_GRANT 4
#define FUZZ_BARRIER 13u

#endif
