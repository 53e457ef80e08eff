/* How the typed faces of calls are written (api*.c): one line a call. Nobody else includes this. */
#ifndef LAPSE_CLIENT_API_INTERNAL_H
#define LAPSE_CLIENT_API_INTERNAL_H

#include "client/call.h"
#include "client/schema.h"

/* CALL(name, path, args, result, request_id): the method's table entry, the blocking function, the
 * asynchronous one, and the deliverer that casts the callback back to its type. */
#define CALL(name, path, input, args_t, output, result_t, cb_t, request_id)                                            \
    static const struct call_method name##_method = {path, &input, &output, request_id};                               \
    lapse_result lapse_##name(struct lapse_client *client, const struct args_t *args, uint32_t timeout_ms,             \
                              struct result_t *result, struct lapse_error *error)                                      \
    {                                                                                                                  \
        return call_blocking(client, &name##_method, args, timeout_ms, result, error);                                 \
    }                                                                                                                  \
    static void name##_deliver(void (*callback)(void), void *arg, const void *result, const struct lapse_error *error) \
    {                                                                                                                  \
        ((cb_t)callback)(arg, result, error);                                                                          \
    }                                                                                                                  \
    lapse_result lapse_##name##_async(struct lapse_client *client, const struct args_t *args, uint32_t timeout_ms,     \
                                      cb_t callback, void *arg, struct lapse_call **call, struct lapse_error *error)   \
    {                                                                                                                  \
        struct call_callback typed = {name##_deliver, (void (*)(void))callback, arg, NULL, NULL};                      \
        return call_start(client, &name##_method, args, timeout_ms, typed, call, error);                               \
    }

#define GRANTS "/lapse.v1.Grants/"
#define READ(name, path, args, result, cb)                                                                             \
    CALL(name, path, schema_##args, lapse_##args, schema_##result, lapse_##result, cb, CALL_NO_REQUEST_ID)
/* A result's release. */
#define FREE(name)                                                                                                     \
    void lapse_##name##_free(struct lapse_##name *value)                                                               \
    {                                                                                                                  \
        if (value != NULL)                                                                                             \
            codec_release(&schema_##name, value);                                                                      \
    }

#endif
