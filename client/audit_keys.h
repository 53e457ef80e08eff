/* Public keys of nodes, and heads that are checked against them. Pure but for the two functions that read files. */
#ifndef LAPSE_CLIENT_AUDIT_KEYS_H
#define LAPSE_CLIENT_AUDIT_KEYS_H

#include "client/audit_line.h"
#include "store/chain.h"

struct audit_keys;

struct audit_keys *audit_keys_new(void);
/* Accepts NULL. */
void audit_keys_free(struct audit_keys *keys);
/* A node may have several: its key was lost with its disk, and it has made another one. */
void audit_keys_add(struct audit_keys *keys, const struct lapse_node_key *key);
size_t audit_keys_count(const struct audit_keys *keys);
/* Adds the keys of a file, or of all files of a directory: lines of `lapse audit keys`, or a node's audit.pub in PEM,
 * which is taken for any node's. NOT_FOUND, INVALID_ARGUMENT with file and line. */
lapse_result audit_keys_load(struct audit_keys *keys, const char *path, struct lapse_error *error) LAPSE_MUST_USE;

/* Calls `on_line` with each line of a file that is not empty ("-": standard input), until it fails. One line is at most
 * LIMIT_AUDIT_LINE bytes. Failures say file and line. */
typedef lapse_result (*audit_file_cb)(void *arg, const char *text, size_t len, struct lapse_error *error);
lapse_result audit_file_read(const char *path, audit_file_cb on_line, void *arg,
                             struct lapse_error *error) LAPSE_MUST_USE;

/* DATA_LOSS: the head's key is not among `keys`, or its signature is not by that key. */
lapse_result audit_head_check(const struct audit_keys *keys, const struct lapse_signed_head *head,
                              struct lapse_error *error) LAPSE_MUST_USE;
/* What is signed, and how many bytes that is; for tests and tools that sign. */
size_t audit_head_bytes(const struct lapse_signed_head *head, uint8_t out[CHAIN_STATEMENT_MAX]);

#endif
