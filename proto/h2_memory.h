/* Memory for an nghttp2 session, from malloc, with one correction: a session keeps a buffer for the largest frame, of
 * 16 KiB, as long as it lives. Of ours only the first bytes are ever written: headers are short, and messages don't
 * pass through it (on_send_data). Recycled from elsewhere, though, it would bind pages that hold nothing but what
 * somebody left there: 12 KiB of each idle connection. They are given back, and come again, zeroed, should a frame need
 * them. */
#ifndef LAPSE_PROTO_H2_MEMORY_H
#define LAPSE_PROTO_H2_MEMORY_H

#include <nghttp2/nghttp2.h>

/* For nghttp2_session_*_new3. */
nghttp2_mem *h2_memory(void);

#endif
