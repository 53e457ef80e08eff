/* Assertions that stay in every build. They state what can't happen; input from outside is never checked with them. */
#ifndef LAPSE_BASE_CHECK_H
#define LAPSE_BASE_CHECK_H

/* Ends the process with the condition, file and line on standard error when `condition` is false. The condition has no
 * side effects. */
#define CHECK(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

/* The type of `pointer`'s container, found from the member it points to. */
#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

_Noreturn void check_failed(const char *condition, const char *file, int line);

#endif
