/* Which message of lapse.v1 the first byte of an input chooses; shared by fuzz_messages.c and make_corpus_messages.c.
 * Append only: the numbers are in the corpus. */
#ifndef LAPSE_TESTS_FUZZ_MESSAGES_H
#define LAPSE_TESTS_FUZZ_MESSAGES_H

#define FUZZ_MESSAGES(X)                                                                                               \
    X(Grant)                                                                                                           \
    X(RequestRequest)                                                                                                  \
    X(ListRequest)                                                                                                     \
    X(WatchResponse)                                                                                                   \
    X(DecisionRequest)                                                                                                 \
    X(EndRequest)                                                                                                      \
    X(UseRequest)                                                                                                      \
    X(GetRequest)                                                                                                      \
    X(GetResponse)                                                                                                     \
    X(CheckRequest)                                                                                                    \
    X(CheckResponse)                                                                                                   \
    X(WatchRequest)                                                                                                    \
    X(MutationResponse)                                                                                                \
    X(StatusResponse)                                                                                                  \
    X(SetRolesRequest)                                                                                                 \
    X(SetRolesResponse)                                                                                                \
    X(TransferLeadershipRequest)                                                                                       \
    X(TransferLeadershipResponse)                                                                                      \
    X(AddNodeRequest)                                                                                                  \
    X(AddNodeResponse)                                                                                                 \
    X(RemoveNodeRequest)                                                                                               \
    X(RemoveNodeResponse)                                                                                              \
    X(RevokeMatchingRequest)                                                                                           \
    X(RevokeMatchingResponse)                                                                                          \
    X(RevokeAndFollowRequest)                                                                                          \
    X(GetBarrierRequest)                                                                                               \
    X(SubscribeRequest)                                                                                                \
    X(SubscribeResponse)

/* The decoders that have callbacks or are written by hand come first: they share number 0. */
enum fuzz_message {
    FUZZ_OTHERS,
#define FUZZ_NUMBER(name) FUZZ_##name,
    FUZZ_MESSAGES(FUZZ_NUMBER)
#undef FUZZ_NUMBER
        FUZZ_MESSAGE_KINDS
};

#endif
