/* Between the generated structs of lapse.v1 and the plain data of store/grant.h and store/command.h.
 *
 * `fill` copies into a generated struct (about 16 KiB: keep it off the stack), `borrow` makes plain data whose slices
 * point into a generated struct, which must outlive it. Servers encode without generated structs: proto/encode.h. */
#ifndef LAPSE_PROTO_CONVERT_H
#define LAPSE_PROTO_CONVERT_H

#include "proto/lapse/v1/cluster.pb.h"
#include "proto/lapse/v1/grants.pb.h"
#include "store/command.h"

/* INVALID_ARGUMENT when a string or list is longer than its limit in base/limits.h; `out` is then unspecified. */
lapse_result proto_grant_fill(const struct grant *grant, lapse_v1_Grant *out, struct lapse_error *error) LAPSE_MUST_USE;
/* INVALID_ARGUMENT for an id that is none, or an unknown state. */
lapse_result proto_grant_borrow(const lapse_v1_Grant *message, struct grant *grant,
                                struct lapse_error *error) LAPSE_MUST_USE;

lapse_result proto_filter_fill(const struct store_filter *filter, lapse_v1_Filter *out,
                               struct lapse_error *error) LAPSE_MUST_USE;
lapse_result proto_filter_borrow(const lapse_v1_Filter *message, struct store_filter *filter,
                                 struct lapse_error *error) LAPSE_MUST_USE;

/* The REQUEST command that a call asks for: type and terms, with actions and labels sorted and repeated actions
 * dropped. The caller adds key, principal and the new id; command_validate judges the contents. */
lapse_result proto_request_borrow(const lapse_v1_RequestRequest *message, struct command *command,
                                  struct lapse_error *error) LAPSE_MUST_USE;

/* Roles by their names as a bit set. INVALID_ARGUMENT names the word that is none. */
lapse_result proto_roles_borrow(const lapse_v1_RoleBinding *message, uint32_t *roles,
                                struct lapse_error *error) LAPSE_MUST_USE;

/* Decodes a grant from its bytes into `message` (the storage) and `grant` (the view of it). */
lapse_result proto_decode_grant(struct slice bytes, lapse_v1_Grant *message, struct grant *grant,
                                struct lapse_error *error) LAPSE_MUST_USE;

/* A ListResponse: its grants are visited one by one in order, each valid for the call. `head` gets the rest; `visit`
 * may end the walk by returning false, which makes this CANCELLED. */
typedef bool (*proto_visit_grant_cb)(void *arg, const struct grant *grant);
lapse_result proto_decode_list(struct slice bytes, lapse_v1_ListResponse *head, proto_visit_grant_cb visit, void *arg,
                               struct lapse_error *error) LAPSE_MUST_USE;
/* A ListRolesResponse, likewise. */
typedef bool (*proto_visit_binding_cb)(void *arg, struct slice member, uint32_t roles);
lapse_result proto_decode_list_roles(struct slice bytes, lapse_v1_ListRolesResponse *head, proto_visit_binding_cb visit,
                                     void *arg, struct lapse_error *error) LAPSE_MUST_USE;

#endif
