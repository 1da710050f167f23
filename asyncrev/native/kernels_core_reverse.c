/* Reversal of bytes; see kernels_core.h. */
#include "kernels_core.h"
#include "kernels_core_words.h"

/* Reverse fewer than 16 bytes. The words from both ends may overlap: both are read before either is
 * written, and where they overlap they write the same bytes. */
static inline void reverse_short(unsigned char *data, size_t nbytes) {
    if (nbytes < 2) {
        return; /* before `data`, which may be NULL, is added to */
    }
    unsigned char *end = data + nbytes;
    if (nbytes >= 8) {
        uint64_t head = load_64(data), tail = load_64(end - 8);
        store_64(data, __builtin_bswap64(tail));
        store_64(end - 8, __builtin_bswap64(head));
    } else if (nbytes >= 4) {
        uint32_t head = load_32(data), tail = load_32(end - 4);
        store_32(data, __builtin_bswap32(tail));
        store_32(end - 4, __builtin_bswap32(head));
    } else {
        unsigned char head = data[0];
        data[0] = end[-1];
        end[-1] = head;
    }
}

void arv_reverse(unsigned char *data, size_t nbytes) {
    while (nbytes >= 16) {
        unsigned char *end = data + nbytes;
        uint64_t head = load_64(data), tail = load_64(end - 8);
        store_64(data, __builtin_bswap64(tail));
        store_64(end - 8, __builtin_bswap64(head));
        data += 8;
        nbytes -= 16;
    }
    reverse_short(data, nbytes);
}

void arv_reverse_copy(unsigned char *to, const unsigned char *from, size_t nbytes) {
    while (nbytes >= 8) {
        nbytes -= 8;
        store_64(to, __builtin_bswap64(load_64(from + nbytes)));
        to += 8;
    }
    while (nbytes > 0) {
        *to++ = from[--nbytes];
    }
}

bool arv_run_fits(const arv_run *run, size_t prefix_bytes, size_t nbytes) {
    if (run->frames == 0 || run->start_off > nbytes) {
        return false;
    }
    size_t left = nbytes - run->start_off;
    if (run->payload_bytes > left) {
        return false;
    }
    left -= run->payload_bytes;
    if (run->frames == 1) {
        return true;
    }
    if (prefix_bytes > left) {
        return false;
    }
    /* No overflow: prefix and payload together are no longer than the memory. */
    size_t stride = prefix_bytes + run->payload_bytes;
    return stride > 0 && run->frames - 1 <= left / stride;
}

void arv_reverse_run(unsigned char *data, const arv_run *run, size_t prefix_bytes) {
    size_t stride = prefix_bytes + run->payload_bytes;
    unsigned char *payload = data + run->start_off;
    for (size_t left = run->frames; left > 0; left--) {
        arv_reverse(payload, run->payload_bytes);
        if (left > 1) { /* after the last, the sum might be no address of this memory */
            payload += stride;
        }
    }
}

void arv_reverse_lines(unsigned char *data, size_t nbytes) {
    while (nbytes > 0) {
        unsigned char *newline = memchr(data, LF, nbytes);
        if (newline == NULL) {
            return;
        }
        size_t payload_bytes = (size_t)(newline - data);
        nbytes -= payload_bytes + 1;
        if (payload_bytes > 0 && newline[-1] == CR) {
            payload_bytes--;
        }
        arv_reverse(data, payload_bytes);
        data = newline + 1;
    }
}
