/* Configuration files, read with inih: [section] lines and key = value lines; a comment stands on a line of its own.
 *
 *   [listen]
 *   # anybody on this machine
 *   http = 127.0.0.1:7402
 *
 * What inih's builds disagree about (continuation lines, comments behind a value, over-long lines) never reaches it: a
 * leading blank is stripped, and the other two are errors. */
#ifndef LAPSE_BASE_INI_H
#define LAPSE_BASE_INI_H

#include <stdint.h>

#include "base/result.h"

/* Takes one setting. Its failure's message says what is wrong without where it stands. */
typedef lapse_result (*ini_setting_cb)(void *arg, const char *section, const char *key, const char *value,
                                       uint32_t line, struct lapse_error *error);

/* Hands the settings of `file` to `setting`, in their order, until one fails. FAILED_PRECONDITION with "FILE: ..." or
 * "FILE:LINE: ..." for the first fault. */
lapse_result ini_read(const char *file, ini_setting_cb setting, void *arg, struct lapse_error *error) LAPSE_MUST_USE;

#endif
