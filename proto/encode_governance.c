/* Answers about what governs requests and access. As in encode.c, field by field in ascending order. */
#include "proto/encode_parts.h"
#include "proto/lapse/v1/governance.pb.h"

HAS_POINT(lapse_v1_ChangeResponse);

lapse_result proto_encode_change(const struct proto_point *point, const struct barrier *barrier, bool repeated_call,
                                 struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    wire_put_uint(&writer, lapse_v1_ChangeResponse_repeated_call_tag, repeated_call);
    words_put_barrier(&writer, lapse_v1_ChangeResponse_barrier_tag, barrier);
    return written(&writer);
}

/* The lists differ in the type of their items alone. */
#define IS_A_LIST(message, items)                                                                                      \
    HAS_POINT(message);                                                                                                \
    _Static_assert(items == lapse_v1_ListPoliciesResponse_policies_tag &&                                              \
                       message##_next_page_token_tag == lapse_v1_ListPoliciesResponse_next_page_token_tag,             \
                   "one function writes all lists")
IS_A_LIST(lapse_v1_ListPoliciesResponse, lapse_v1_ListPoliciesResponse_policies_tag);
IS_A_LIST(lapse_v1_ListLocksResponse, lapse_v1_ListLocksResponse_locks_tag);
IS_A_LIST(lapse_v1_ListEligibilitiesResponse, lapse_v1_ListEligibilitiesResponse_eligibilities_tag);
IS_A_LIST(lapse_v1_ListCampaignsResponse, lapse_v1_ListCampaignsResponse_campaigns_tag);
IS_A_LIST(lapse_v1_ListReviewsResponse, lapse_v1_ListReviewsResponse_reviews_tag);

lapse_result proto_encode_objects_begin(const struct proto_point *point, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    put_point(&writer, point);
    return written(&writer);
}

lapse_result proto_encode_objects_object(struct slice value, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, lapse_v1_ListPoliciesResponse_policies_tag, value);
    return written(&writer);
}

lapse_result proto_encode_objects_end(struct slice next_page_token, struct buf *out)
{
    struct wire_writer writer = wire_writer(out);
    wire_put_bytes(&writer, lapse_v1_ListPoliciesResponse_next_page_token_tag, next_page_token);
    return written(&writer);
}
