#include "base/result.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *lapse_code_name(enum lapse_code code)
{
    static const char *const names[] = {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };
    return (unsigned)code < sizeof names / sizeof names[0] ? names[code] : "UNKNOWN";
}

/* Cuts an unfinished UTF-8 sequence off the end of a message that did not fit. */
static void cut_at_character(char *message, size_t len)
{
    size_t start = len;
    while (start > 0 && ((unsigned char)message[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)message[start - 1];
    size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (len - (start - 1) < need)
        message[start - 1] = '\0';
}

lapse_result lapse_fail(struct lapse_error *error, enum lapse_code code, const char *format, ...)
{
    if (error != NULL) {
        va_list args;
        error->code = code;
        va_start(args, format);
        int n = vsnprintf(error->message, sizeof error->message, format, args);
        va_end(args);
        if (n < 0)
            error->message[0] = '\0';
        else if ((size_t)n >= sizeof error->message)
            cut_at_character(error->message, strlen(error->message));
    }
    return lapse_failed(code);
}
