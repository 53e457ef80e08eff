/* XXH3, compiled in: its inputs are short, and a call through the library's dispatch costs as much as the hash.
 * Internal to store/. */
#ifndef LAPSE_STORE_HASH_H
#define LAPSE_STORE_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#endif
