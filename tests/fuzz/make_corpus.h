/* Writing seeds for the fuzzers: each part makes those of some targets with the real encoders. */
#ifndef LAPSE_TESTS_MAKE_CORPUS_H
#define LAPSE_TESTS_MAKE_CORPUS_H

#include "store/command.h"

/* A seed longer than this is refused: mutating long inputs finds little. */
#define SEED_BYTES_MAX (16u * 1024)
#define SEED_NO_PREFIX (-1)

/* Writes corpus/TARGET/NAME: the byte `first`, if it is one, then `bytes`. */
void seed_write(const char *target, const char *name, int first, struct slice bytes);

/* Values that use every field and stay small. */
struct grant sample_terms(void);
/* A grant that was asked for with those terms, approved, activated, used and ended. */
struct grant sample_grant(void);
/* Any type of command with all its fields. */
struct command sample_command(enum command_type type);
const char *sample_command_name(enum command_type type);

void seed_commands(void); /* make_corpus_store.c: command, snapshot, log */
void seed_snapshots(void);
void seed_log(void);
void seed_events(void);   /* make_corpus_events.c: command, snapshot, json */
void seed_peers(void);    /* make_corpus_peers.c: peer_frame, peer_bytes */
void seed_lease(void);    /* make_corpus_lease.c: lease */
void seed_messages(void); /* make_corpus_messages.c: messages */
void seed_agent(void);    /* make_corpus_agent.c: agent */
void seed_policies(void); /* make_corpus_policy.c: policy */
void seed_h2(void);       /* make_corpus_h2.c: h2_server, h2_client */

#endif
