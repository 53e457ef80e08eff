/* Which decoder the first byte of an input chooses; shared by fuzz_peer_bytes.c and make_corpus_peers.c. */
#ifndef LAPSE_TESTS_FUZZ_PEER_BYTES_H
#define LAPSE_TESTS_FUZZ_PEER_BYTES_H

enum fuzz_peer {
    FUZZ_PEER_FRAME,
    FUZZ_PEER_ENTRY,
    FUZZ_PEER_MEMBERS,
    FUZZ_PEER_HELLO,
    FUZZ_PEER_STREAM,
    FUZZ_PEER_DECODERS
};

#endif
