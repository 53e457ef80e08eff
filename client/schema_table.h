/* How a table of codec.h is written: one line a field, in the order of the .proto files. Each table is set between
 * `#define S struct NAME` and `#undef S`. */
#ifndef LAPSE_CLIENT_SCHEMA_TABLE_H
#define LAPSE_CLIENT_SCHEMA_TABLE_H

#include "base/check.h"
#include "client/codec.h"

/* F(kind, number, member): the field's name in the .proto is the member's. */
#define F(k, n, m)                                                                                                     \
    {                                                                                                                  \
        .number = (n), .kind = CODEC_##k, .name = #m, .offset = offsetof(S, m)                                         \
    }
#define F_ENUM(n, m, namer)                                                                                            \
    {                                                                                                                  \
        .number = (n), .kind = CODEC_ENUM, .name = #m, .offset = offsetof(S, m), .enum_name = (namer)                  \
    }
#define F_MESSAGE(n, m, table)                                                                                         \
    {                                                                                                                  \
        .number = (n), .kind = CODEC_MESSAGE, .name = #m, .offset = offsetof(S, m), .message = &(table)                \
    }
#define F_ONEOF(n, m, table)                                                                                           \
    {                                                                                                                  \
        .number = (n), .kind = CODEC_MESSAGE, .name = #m, .offset = offsetof(S, m), .message = &(table),               \
        .presence_offset = offsetof(S, has_##m)                                                                        \
    }
/* Repeated fields have a count beside them: n_MEMBER. */
#define F_REPEATED(k, n, m, max)                                                                                       \
    {                                                                                                                  \
        .number = (n), .kind = CODEC_##k, .name = #m, .offset = offsetof(S, m), .count_offset = offsetof(S, n_##m),    \
        .count_max = (max)                                                                                             \
    }
#define F_MESSAGES(n, m, table, max)                                                                                   \
    {                                                                                                                  \
        .number = (n), .kind = CODEC_MESSAGES, .name = #m, .offset = offsetof(S, m),                                   \
        .count_offset = offsetof(S, n_##m), .count_max = (max), .message = &(table)                                    \
    }
#define MESSAGE(table, proto)                                                                                          \
    const struct codec_message table = {proto, sizeof(S), table##_fields, ARRAY_LEN(table##_fields)}

/* A hostile node must not make few bytes into much memory: far above what a cluster sends. */
#define COUNT_FEW 64

#endif
