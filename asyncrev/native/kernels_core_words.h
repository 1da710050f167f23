/* What both files of the kernels' core use. */
#ifndef ASYNCREV_KERNELS_CORE_WORDS_H
#define ASYNCREV_KERNELS_CORE_WORDS_H

#include <stdint.h>
#include <string.h>

enum { CR = '\r', LF = '\n' };

/* memcpy, because the memory is not aligned; compilers make one instruction of it. */

static inline uint64_t load_64(const unsigned char *from) {
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline void store_64(unsigned char *to, uint64_t word) { memcpy(to, &word, sizeof word); }

static inline uint32_t load_32(const unsigned char *from) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline void store_32(unsigned char *to, uint32_t word) { memcpy(to, &word, sizeof word); }

#endif
