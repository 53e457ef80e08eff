/* lapse_governance.h's calls; as in api.c, one line a call. */
#include "client/lapse_governance.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/check.h"
#include "base/token.h"
#include "client/api_internal.h"

#define POLICIES "/lapse.v1.Policies/"
#define LOCKS "/lapse.v1.Locks/"
#define ELIGIBILITIES "/lapse.v1.Eligibilities/"
#define REVIEWS "/lapse.v1.Reviews/"
#define CHANGE(name, path, args)                                                                                       \
    CALL(name, path, schema_##args, lapse_##args, schema_change, lapse_change, lapse_change_cb,                        \
         offsetof(struct lapse_##args, request_id))

/* clang-format off */
CHANGE(apply_policy, POLICIES "Apply", apply_policy_args)
CHANGE(remove_policy, POLICIES "Remove", remove_args)
CHANGE(lock, LOCKS "Lock", lock_args)
CHANGE(unlock, LOCKS "Unlock", remove_args)
CHANGE(offboard, LOCKS "Offboard", offboard_args)
CHANGE(put_eligibility, ELIGIBILITIES "Put", put_eligibility_args)
CHANGE(remove_eligibility, ELIGIBILITIES "Remove", remove_args)
CHANGE(certify, ELIGIBILITIES "Certify", certify_args)
CHANGE(start_campaign, ELIGIBILITIES "StartCampaign", start_campaign_args)
CHANGE(close_campaign, ELIGIBILITIES "CloseCampaign", remove_args)
CHANGE(close_review, REVIEWS "Close", close_review_args)
CALL(set_token, GRANTS "SetToken", schema_set_token_args, lapse_set_token_args, schema_mutation, lapse_mutation,
     lapse_mutation_cb, offsetof(struct lapse_set_token_args, request_id))
READ(list_policies, POLICIES "List", list_objects_args, policy_list, lapse_list_policies_cb)
READ(list_locks, LOCKS "List", list_objects_args, lock_list, lapse_list_locks_cb)
READ(list_eligibilities, ELIGIBILITIES "List", list_objects_args, eligibility_list, lapse_list_eligibilities_cb)
READ(list_campaigns, ELIGIBILITIES "ListCampaigns", list_objects_args, campaign_list, lapse_list_campaigns_cb)
READ(list_reviews, REVIEWS "List", list_objects_args, review_list, lapse_list_reviews_cb)
FREE(change)
FREE(policy_list)
FREE(lock_list)
FREE(eligibility_list)
FREE(campaign_list)
FREE(review_list)
/* clang-format on */

/* ---- Tokens */

static const char token_prefix[] = TOKEN_PREFIX;
#define TOKEN_BYTES 32
#define TOKEN_TEXT 43 /* of them, without padding */
_Static_assert(sizeof token_prefix - 1 + TOKEN_TEXT + 1 == LAPSE_TOKEN_SIZE, "as the header says");

/* RFC 4648, section 5. */
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void lapse_token_make(char token[LAPSE_TOKEN_SIZE])
{
    uint8_t bytes[TOKEN_BYTES + 1] = {0};
    CHECK(RAND_bytes(bytes, TOKEN_BYTES) == 1);
    memcpy(token, token_prefix, sizeof token_prefix - 1);
    char *text = token + sizeof token_prefix - 1;
    for (size_t bit = 0; bit < 6 * TOKEN_TEXT; bit += 6) {
        unsigned window = (unsigned)bytes[bit / 8] << 8 | bytes[bit / 8 + 1];
        *text++ = alphabet[window >> (10 - bit % 8) & 63];
    }
    *text = '\0';
    OPENSSL_cleanse(bytes, sizeof bytes);
}

lapse_result lapse_token_hash(const char *token, uint8_t sha256[32], struct lapse_error *error)
{
    if (!token_hash(slice_str(token), sha256))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "not a token: \"lps_\" and %d characters", TOKEN_TEXT);
    return lapse_ok();
}

/* ---- Names */

const char *lapse_lock_kind_name(enum lapse_lock_kind kind)
{
    static const char *const names[] = {"UNKNOWN", "SUBJECT", "RESOURCE", "POINT"};
    return (unsigned)kind < ARRAY_LEN(names) ? names[kind] : "UNKNOWN";
}

const char *lapse_review_verdict_name(enum lapse_review_verdict verdict)
{
    static const char *const names[] = {"UNKNOWN", "JUSTIFIED", "MISUSED"};
    return (unsigned)verdict < ARRAY_LEN(names) ? names[verdict] : "UNKNOWN";
}

const char *lapse_token_rule_name(enum lapse_token_rule rule)
{
    static const char *const names[] = {"ALLOWED", "FORBIDDEN", "BOUND"};
    return (unsigned)rule < ARRAY_LEN(names) ? names[rule] : "UNKNOWN";
}
