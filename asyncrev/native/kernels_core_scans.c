/* Scans for frames; see kernels_core.h. */
#define _GNU_SOURCE /* memrchr */
#include "kernels_core.h"
#include "kernels_core_words.h"

/* -- prefixed frames --------------------------------------------------------------------------- */

static inline uint64_t big_endian(const unsigned char *prefix, size_t prefix_bytes) {
    uint64_t value = 0;
    for (size_t off = 0; off < prefix_bytes; off++) {
        value = value << 8 | prefix[off];
    }
    return value;
}

static inline bool same_prefix(const unsigned char *one, const unsigned char *other,
                               size_t prefix_bytes) {
    return prefix_bytes == 4 ? load_32(one) == load_32(other) : load_64(one) == load_64(other);
}

/* Inlined for each length of the prefix, so that no loop over its bytes remains. */
static inline arv_scan scan_prefixed(const unsigned char *data, size_t nbytes, size_t prefix_bytes,
                                     uint64_t max_frame_bytes, arv_run *runs, size_t most_runs) {
    arv_scan scan = {.end = ARV_PARTIAL};
    size_t off = 0;
    while (nbytes - off >= prefix_bytes) {
        const unsigned char *prefix = data + off;
        uint64_t announced_bytes = big_endian(prefix, prefix_bytes);
        if (announced_bytes > max_frame_bytes) {
            scan.end = ARV_TOO_LONG;
            scan.wrong_bytes = announced_bytes;
            break;
        }
        if (announced_bytes > nbytes - off - prefix_bytes) {
            break;
        }
        if (scan.runs == most_runs) {
            scan.end = ARV_STOPPED;
            break;
        }
        size_t payload_bytes = (size_t)announced_bytes; /* fits: it lies in the memory */
        size_t stride = prefix_bytes + payload_bytes;
        size_t frames = 0;
        size_t start_off = off + prefix_bytes;
        do {
            frames++;
            off += stride;
        } while (nbytes - off >= stride && same_prefix(data + off, prefix, prefix_bytes));
        runs[scan.runs++] = (arv_run){start_off, payload_bytes, frames};
    }
    scan.consumed_bytes = off;
    return scan;
}

arv_scan arv_scan_prefixed(const unsigned char *data, size_t nbytes, size_t prefix_bytes,
                           uint64_t max_frame_bytes, arv_run *runs, size_t most_runs) {
    if (prefix_bytes == 4) {
        return scan_prefixed(data, nbytes, 4, max_frame_bytes, runs, most_runs);
    }
    return scan_prefixed(data, nbytes, 8, max_frame_bytes, runs, most_runs);
}

arv_rest arv_rest_prefixed(const arv_partial *partial, const unsigned char *chunk, size_t nbytes,
                           size_t prefix_bytes, uint64_t max_frame_bytes) {
    arv_rest rest = {.taken_bytes = nbytes};
    unsigned char prefix[8];
    memcpy(prefix, partial->first, sizeof prefix);
    size_t held_bytes = partial->held_bytes;
    size_t prefix_rest_bytes = 0; /* of the prefix in the chunk */
    size_t payload_held_bytes = 0;
    if (held_bytes < prefix_bytes) {
        prefix_rest_bytes = prefix_bytes - held_bytes;
        if (prefix_rest_bytes > nbytes) {
            return rest;
        }
        memcpy(prefix + held_bytes, chunk, prefix_rest_bytes);
    } else {
        payload_held_bytes = held_bytes - prefix_bytes;
    }
    uint64_t announced_bytes = big_endian(prefix, prefix_bytes);
    if (announced_bytes > max_frame_bytes) {
        rest.is_too_long = true;
        rest.wrong_bytes = announced_bytes;
        return rest;
    }
    uint64_t wanted_bytes =
        announced_bytes > payload_held_bytes ? announced_bytes - payload_held_bytes : 0;
    if (wanted_bytes <= nbytes - prefix_rest_bytes) {
        rest.taken_bytes = prefix_rest_bytes + (size_t)wanted_bytes;
        rest.is_whole = true;
    }
    return rest;
}

/* -- lines ------------------------------------------------------------------------------------- */

/* The offset after the last newline in [off, end_off), or `off`. */
static size_t after_last_newline(const unsigned char *data, size_t off, size_t end_off) {
    if (off == end_off) {
        return off;
    }
    const unsigned char *newline = memrchr(data + off, LF, end_off - off);
    return newline == NULL ? off : (size_t)(newline - data) + 1;
}

arv_scan arv_scan_lines(const unsigned char *data, size_t nbytes, uint64_t max_frame_bytes,
                        size_t most_steps) {
    arv_scan scan = {.end = ARV_PARTIAL};
    size_t off = 0;
    /* Lines in the last `max_frame_bytes` bytes cannot be too long, so only what comes before is
     * looked at line by line, and there only where a line may be too long. */
    while (nbytes - off > max_frame_bytes) {
        if (most_steps == 0) {
            scan.end = ARV_STOPPED;
            scan.consumed_bytes = off;
            return scan;
        }
        most_steps--;
        size_t next_off = after_last_newline(data, off, off + (size_t)max_frame_bytes + 1);
        if (next_off == off) {
            const unsigned char *newline = memchr(data + off, LF, nbytes - off);
            size_t end_off = newline == NULL ? nbytes : (size_t)(newline - data);
            size_t payload_bytes = end_off - off; /* not 0: no newline was found at `off` */
            payload_bytes -= data[end_off - 1] == CR;
            if (payload_bytes > max_frame_bytes) {
                scan.end = ARV_TOO_LONG;
                scan.wrong_bytes = payload_bytes;
                scan.wrong_is_whole = newline != NULL;
                scan.consumed_bytes = off;
                return scan;
            }
            if (newline == NULL) {
                break;
            }
            next_off = end_off + 1;
        }
        off = next_off;
    }
    scan.consumed_bytes = after_last_newline(data, off, nbytes);
    return scan;
}

arv_rest arv_rest_line(const arv_partial *partial, const unsigned char *chunk, size_t nbytes,
                       uint64_t max_frame_bytes) {
    arv_rest rest = {.taken_bytes = nbytes};
    const unsigned char *newline = nbytes == 0 ? NULL : memchr(chunk, LF, nbytes);
    size_t more_bytes = newline == NULL ? nbytes : (size_t)(newline - chunk);
    unsigned char last = more_bytes == 0 ? partial->last : chunk[more_bytes - 1];
    /* No overflow: both are lengths of memory that exists. */
    uint64_t payload_bytes = (uint64_t)partial->held_bytes + more_bytes;
    if (last == CR && payload_bytes > 0) {
        payload_bytes--;
    }
    if (payload_bytes > max_frame_bytes) {
        rest.is_too_long = true;
        rest.wrong_bytes = payload_bytes;
        rest.wrong_is_whole = newline != NULL;
        return rest;
    }
    if (newline != NULL) {
        rest.taken_bytes = more_bytes + 1;
        rest.is_whole = true;
    }
    return rest;
}

size_t arv_line_spans(const unsigned char *data, size_t nbytes, size_t off, arv_span *spans,
                      size_t most) {
    size_t number = 0;
    while (number < most && off < nbytes) {
        const unsigned char *newline = memchr(data + off, LF, nbytes - off);
        if (newline == NULL) {
            break;
        }
        size_t newline_off = (size_t)(newline - data);
        size_t payload_end_off = newline_off;
        if (payload_end_off > off && newline[-1] == CR) {
            payload_end_off--;
        }
        spans[number++] = (arv_span){off, payload_end_off, newline_off + 1};
        off = newline_off + 1;
    }
    return number;
}

size_t arv_count_lines(const unsigned char *data, size_t nbytes) {
    size_t newlines = 0;
    while (nbytes > 0) {
        /* Counted in bytes, of which a vector register has many; 255 is the most that one counts. */
        size_t block_bytes = nbytes < 255 ? nbytes : 255;
        unsigned char found = 0;
        for (size_t off = 0; off < block_bytes; off++) {
            found = (unsigned char)(found + (data[off] == LF));
        }
        newlines += found;
        data += block_bytes;
        nbytes -= block_bytes;
    }
    return newlines;
}

/* -- partial frames ---------------------------------------------------------------------------- */

void arv_partial_add(arv_partial *partial, const unsigned char *data, size_t nbytes) {
    if (nbytes == 0) {
        return;
    }
    if (partial->held_bytes < sizeof partial->first) {
        size_t space_bytes = sizeof partial->first - partial->held_bytes;
        memcpy(partial->first + partial->held_bytes, data,
               nbytes < space_bytes ? nbytes : space_bytes);
    }
    partial->last = data[nbytes - 1];
    partial->held_bytes += nbytes;
}
