/* The one result type of all rooms.
 *
 * A function that can fail returns `lapse_result` and is marked LAPSE_MUST_USE. The code says what kind of failure it
 * was, in the vocabulary of gRPC (https://grpc.io/docs/guides/status-codes/), so that an error keeps its meaning from
 * the disk to the wire without being translated twice. What to tell a person travels beside it in `struct lapse_error`.
 *
 * It is a struct so that an int, an errno or a library's own code can't pose as one: those are translated at the one
 * place where they enter. */
#ifndef LAPSE_BASE_RESULT_H
#define LAPSE_BASE_RESULT_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__GNUC__)
#define LAPSE_MUST_USE __attribute__((warn_unused_result))
#define LAPSE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define LAPSE_MUST_USE
#define LAPSE_PRINTF(fmt, args)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers are gRPC's status codes. */
enum lapse_code {
    LAPSE_OK = 0,
    LAPSE_CANCELLED = 1,
    LAPSE_UNKNOWN = 2, /* the outcome is not known: ask again with the same request_id */
    LAPSE_INVALID_ARGUMENT = 3,
    LAPSE_DEADLINE_EXCEEDED = 4,
    LAPSE_NOT_FOUND = 5,
    LAPSE_ALREADY_EXISTS = 6,
    LAPSE_PERMISSION_DENIED = 7,
    LAPSE_RESOURCE_EXHAUSTED = 8,
    LAPSE_FAILED_PRECONDITION = 9,
    LAPSE_ABORTED = 10,
    LAPSE_OUT_OF_RANGE = 11,
    LAPSE_UNIMPLEMENTED = 12,
    LAPSE_INTERNAL = 13,
    LAPSE_UNAVAILABLE = 14,
    LAPSE_DATA_LOSS = 15,
    LAPSE_UNAUTHENTICATED = 16
};

typedef struct lapse_result {
    enum lapse_code code;
} lapse_result;

/* Bytes of a message for a person, its terminating NUL included. Longer ones are cut at a character's boundary. */
#define LAPSE_ERROR_MESSAGE_SIZE 320

struct lapse_error {
    enum lapse_code code;
    char message[LAPSE_ERROR_MESSAGE_SIZE];
};

static inline lapse_result lapse_ok(void)
{
    return (lapse_result){LAPSE_OK};
}

static inline lapse_result lapse_failed(enum lapse_code code)
{
    return (lapse_result){code};
}

static inline bool lapse_is_ok(lapse_result result)
{
    return result.code == LAPSE_OK;
}

/* "OK", "INVALID_ARGUMENT", ...; "UNKNOWN" for a number that is none. Never NULL. */
const char *lapse_code_name(enum lapse_code code);

/* Records a failure in `error` (may be NULL) and returns it, so that a function can end with
 * `return lapse_fail(error, LAPSE_NOT_FOUND, "no grant %s", id);`. The message says what to do about it. */
lapse_result lapse_fail(struct lapse_error *error, enum lapse_code code, const char *format, ...) LAPSE_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif

#endif
