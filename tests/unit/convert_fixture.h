/* What the tests of conversions share: things to try, and the comparison of what is encoded by hand with what a
 * generated codec writes. Reproducible: every run of a test tries the same. */
#ifndef LAPSE_TESTS_CONVERT_FIXTURE_H
#define LAPSE_TESTS_CONVERT_FIXTURE_H

#include <criterion/criterion.h>

#include "proto/codec.h"
#include "proto/convert.h"
#include "proto/encode.h"
#include "store/words.h"

/* A test's `init` and `fini`. */
void convert_begin(void);
void convert_end(void);
extern struct buf by_codec, by_hand;

void encode(const pb_msgdesc_t *type, const void *message);
/* `written`: what an encoder said about by_hand, which is cleared afterwards. */
void expect_same_bytes(lapse_result written);

/* Something: empty, short, of full length, or between; zero, small, or great. */
uint64_t any(uint64_t below);
struct slice text(size_t max);
struct slice some_text(size_t max);
int64_t number(void);
struct grant_id id(void);
struct grant some_grant(void);
struct grant full_grant(void);
struct random_id random_id(void);
struct slice scope(void);
struct point some_point(void);
struct barrier some_barrier(void);
struct session some_session(void);
struct sweep some_sweep(void);

/* The generated struct of it, which is zero before. */
void fill(const struct grant *grant, lapse_v1_Grant *message);
void fill_point(const struct point *point, lapse_v1_Point *message);
void fill_barrier(const struct barrier *barrier, lapse_v1_Barrier *message);
void fill_event(const struct event_words *event, lapse_v1_Event *message);
void fill_bytes(const struct random_id *id, void *bytes, pb_size_t *size);
void fill_text(struct slice value, char *out, size_t size);
#define FILL_TEXT(value, member) fill_text((value), (member), sizeof(member))

#endif
