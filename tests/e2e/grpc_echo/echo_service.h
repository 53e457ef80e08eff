/* Methods for tests of the gRPC layer alone; messages are plain bytes.
 *
 *   Unary  answers with its message; "!5 text" ends with status 5 and that text; "?" is never answered
 *   Count  a decimal n: answers with the messages "0" ... "n-1", no faster than they are read
 *   Chat   answers each message of the client with itself, ends when the client does */
#ifndef LAPSE_TESTS_ECHO_SERVICE_H
#define LAPSE_TESTS_ECHO_SERVICE_H

#include "proto/grpc_server.h"

#define ECHO_UNARY "/test.Echo/Unary"
#define ECHO_COUNT "/test.Echo/Count"
#define ECHO_CHAT "/test.Echo/Chat"

#define ECHO_METHODS 3
extern const struct grpc_method echo_methods[ECHO_METHODS];

/* Calls whose on_close is still owed, and the most bytes a Count ever queued ahead of its reader. */
extern _Atomic int echo_calls_open;
extern _Atomic size_t echo_ahead_max;

#endif
