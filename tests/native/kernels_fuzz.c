/* Fuzz target of the kernels' core: made-up bytes, beside readers that go byte after byte.
 *
 *     kernels_fuzz INPUTS SEED
 *
 * Prints one line, and exits with 1 at the first input for which both differ; the same seed makes the
 * same inputs. Every buffer is a block of its own, exactly as long as it has to be, so that
 * AddressSanitizer notices each byte that is used outside of it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels_core.h"

enum { MOST_BYTES = 3000, MOST_FRAMES = MOST_BYTES + 1 };

typedef struct {
    size_t start_off;
    size_t payload_end_off;
    size_t end_off;
} frame;

/* What a reader finds in all of the input. */
typedef struct {
    frame frames[MOST_FRAMES];
    size_t number;
    size_t consumed_bytes;
    bool is_too_long;
    uint64_t wrong_bytes;
} finding;

static uint64_t random_state;
static uint64_t input_number;
static uint64_t seed;
static const char *checked = "";

static uint64_t random_64(void) { /* xorshift64* */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717u;
}

static size_t below(size_t limit) { return (size_t)((random_64() >> 11) % limit); }

static void fail(const char *what, const unsigned char *data, size_t nbytes) {
    printf("input %" PRIu64 " of seed %" PRIu64 ", %s: %s; %zu bytes:", input_number, seed, checked,
           what, nbytes);
    for (size_t off = 0; off < nbytes && off < 200; off++) {
        printf(" %02x", data[off]);
    }
    printf("\n");
    exit(1);
}

#define CHECK(condition)                       \
    do {                                       \
        if (!(condition)) {                    \
            fail(#condition, data, nbytes);    \
        }                                      \
    } while (0)

static void *block_of(size_t nbytes) {
    void *block = malloc(nbytes);
    if (block == NULL && nbytes > 0) {
        abort();
    }
    return block;
}

static unsigned char *copy_of(const unsigned char *data, size_t nbytes) {
    unsigned char *copy = block_of(nbytes);
    if (nbytes > 0) {
        memcpy(copy, data, nbytes);
    }
    return copy;
}

/* -- inputs -------------------------------------------------------------------------------------- */

static size_t put_number(unsigned char *to, uint64_t value, size_t nbytes) {
    for (size_t off = nbytes; off > 0; off--) {
        to[off - 1] = (unsigned char)value;
        value >>= 8;
    }
    return nbytes;
}

static size_t some_length(void) {
    static const size_t edges[] = {0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 255, 256};
    return edges[below(sizeof edges / sizeof *edges)];
}

static size_t put_part(unsigned char *to) {
    static const uint64_t absurd[] = {
        3000,      65536,          UINT32_MAX / 2,     UINT32_MAX - 4, UINT32_MAX,
        INT64_MAX, UINT64_MAX - 8, UINT64_MAX - 4, UINT64_MAX,     (uint64_t)UINT32_MAX + 1};
    enum { ENDS = 6 };
    static const char *const ends[ENDS] = {"\n", "\r\n", "\r", "\r\r\n", "\n\n", ""};
    const char *end;
    size_t payload_bytes = some_length(), prefix_bytes = below(2) ? 4 : 8, used = 0;
    switch (below(6)) {
    case 0: /* a frame, perhaps cut */
        used = put_number(to, payload_bytes, prefix_bytes);
        payload_bytes = below(4) ? payload_bytes : below(payload_bytes + 1);
        memset(to + used, (int)below(3), payload_bytes);
        return used + payload_bytes;
    case 1: /* a prefix that announces too much */
        return put_number(to, absurd[below(sizeof absurd / sizeof *absurd)], prefix_bytes);
    case 2: /* a line, in which any byte may be "\r" */
    case 3:
        memset(to, 'x', payload_bytes);
        if (payload_bytes > 0 && below(4) == 0) {
            to[below(payload_bytes)] = '\r';
        }
        end = ends[below(ENDS)];
        memcpy(to + payload_bytes, end, strlen(end));
        return payload_bytes + strlen(end);
    case 4: /* a line end */
        end = ends[below(ENDS)];
        memcpy(to, end, strlen(end));
        return strlen(end);
    default: /* anything */
        used = below(12);
        for (size_t i = 0; i < used; i++) {
            to[i] = (unsigned char)random_64();
        }
        return used;
    }
}

/* Parts, of which some are repeated, so that there are runs. */
static size_t make_input(unsigned char *to) {
    size_t nbytes = 0, parts = below(9);
    for (size_t i = 0; i < parts; i++) {
        unsigned char part[600];
        size_t part_bytes = put_part(part);
        size_t times = below(3) ? 1 : 1 + below(40);
        for (size_t n = 0; n < times && nbytes + part_bytes <= MOST_BYTES; n++) {
            memcpy(to + nbytes, part, part_bytes);
            nbytes += part_bytes;
        }
    }
    return nbytes == 0 ? 0 : nbytes - (below(4) ? 0 : below(nbytes < 9 ? nbytes : 9));
}

static uint64_t some_limit(void) {
    static const uint64_t others[] = {UINT32_MAX, UINT64_MAX, 1000, INT64_MAX};
    return below(4) ? some_length() : others[below(4)];
}

/* -- readers that go byte after byte ------------------------------------------------------------- */

static void read_prefixed(const unsigned char *data, size_t nbytes, size_t prefix_bytes,
                          uint64_t most, finding *found) {
    found->number = found->consumed_bytes = 0;
    found->is_too_long = false;
    for (size_t off = 0; off + prefix_bytes <= nbytes;) {
        uint64_t announced = 0;
        for (size_t i = 0; i < prefix_bytes; i++) {
            announced = announced * 256 + data[off + i];
        }
        if (announced > most) {
            found->is_too_long = true;
            found->wrong_bytes = announced;
            return;
        }
        size_t end_off = off + prefix_bytes;
        uint64_t left = announced;
        while (left > 0 && end_off < nbytes) {
            end_off++;
            left--;
        }
        if (left > 0) {
            return;
        }
        found->frames[found->number++] = (frame){off + prefix_bytes, end_off, end_off};
        found->consumed_bytes = off = end_off;
    }
}

static void read_lines(const unsigned char *data, size_t nbytes, uint64_t most, finding *found) {
    size_t start_off = 0;
    found->number = found->consumed_bytes = 0;
    found->is_too_long = false;
    for (size_t off = 0; off <= nbytes; off++) {
        if (off < nbytes && data[off] != '\n') {
            continue;
        }
        size_t end_off = off;
        if (end_off > start_off && data[end_off - 1] == '\r') {
            end_off--;
        }
        if (end_off - start_off > most) {
            found->is_too_long = true;
            found->wrong_bytes = end_off - start_off;
            return;
        }
        if (off < nbytes) {
            found->frames[found->number++] = (frame){start_off, end_off, off + 1};
            found->consumed_bytes = start_off = off + 1;
        }
    }
}

static void reverse_slowly(unsigned char *data, size_t start_off, size_t end_off) {
    while (start_off + 1 < end_off) {
        unsigned char byte = data[start_off];
        data[start_off++] = data[--end_off];
        data[end_off] = byte;
    }
}

/* -- scans --------------------------------------------------------------------------------------- */

static void check_prefixed(const unsigned char *data, size_t nbytes, size_t prefix_bytes,
                           uint64_t most, const finding *found) {
    checked = prefix_bytes == 4 ? "scan of len32" : "scan of len64";
    size_t off = 0, frames = 0, last_bytes = SIZE_MAX;
    for (;;) {
        size_t most_runs = 1 + below(below(2) ? 3 : 200);
        arv_run *runs = block_of(most_runs * sizeof *runs);
        const unsigned char *rest = copy_of(data + off, nbytes - off);
        arv_scan scan = arv_scan_prefixed(rest, nbytes - off, prefix_bytes, most, runs, most_runs);
        CHECK(scan.runs <= most_runs);
        for (size_t i = 0; i < scan.runs; i++) {
            size_t start_off = off + runs[i].start_off;
            CHECK(arv_run_fits(&runs[i], prefix_bytes, nbytes - off));
            CHECK(runs[i].frames >= 1 && runs[i].payload_bytes != last_bytes);
            last_bytes = runs[i].payload_bytes;
            for (size_t n = 0; n < runs[i].frames; n++, frames++) {
                CHECK(frames < found->number);
                CHECK(start_off == found->frames[frames].start_off);
                CHECK(start_off + last_bytes == found->frames[frames].end_off);
                start_off += last_bytes + prefix_bytes;
            }
        }
        off += scan.consumed_bytes;
        CHECK(off == (frames == 0 ? 0 : found->frames[frames - 1].end_off));
        free(runs);
        free((void *)rest);
        if (scan.end != ARV_STOPPED) {
            CHECK((scan.end == ARV_TOO_LONG) == found->is_too_long);
            CHECK(!found->is_too_long || scan.wrong_bytes == found->wrong_bytes);
            break;
        }
        CHECK(scan.runs == most_runs);
    }
    CHECK(frames == found->number);
}

static void check_lines(const unsigned char *data, size_t nbytes, uint64_t most,
                        const finding *found) {
    checked = "scan of lines";
    size_t off = 0, frames = 0, newlines = 0;
    for (;;) {
        size_t steps = below(2) ? SIZE_MAX : 1 + below(5);
        const unsigned char *rest = copy_of(data + off, nbytes - off);
        arv_scan scan = arv_scan_lines(rest, nbytes - off, most, steps);
        arv_span spans[7];
        for (size_t span_off = 0, some; ; span_off = spans[some - 1].end_off) {
            some = arv_line_spans(rest, scan.consumed_bytes, span_off, spans, 7);
            for (size_t i = 0; i < some; i++, frames++) {
                CHECK(frames < found->number);
                CHECK(off + spans[i].start_off == found->frames[frames].start_off);
                CHECK(off + spans[i].payload_end_off == found->frames[frames].payload_end_off);
                CHECK(off + spans[i].end_off == found->frames[frames].end_off);
            }
            if (some == 0) {
                break;
            }
        }
        newlines += arv_count_lines(rest, scan.consumed_bytes);
        CHECK(newlines == frames);
        off += scan.consumed_bytes;
        free((void *)rest);
        if (scan.end != ARV_STOPPED) {
            CHECK((scan.end == ARV_TOO_LONG) == found->is_too_long);
            CHECK(!found->is_too_long || scan.wrong_bytes == found->wrong_bytes);
            CHECK(!found->is_too_long ||
                  scan.wrong_is_whole == (memchr(data + off, '\n', nbytes - off) != NULL));
            break;
        }
        CHECK(scan.consumed_bytes > 0);
    }
    CHECK(off == found->consumed_bytes && frames == found->number);
}

/* -- chunks: a partial frame is not kept, only what must be known of it --------------------------- */

static arv_rest rest_of(size_t prefix_bytes, const arv_partial *partial, const unsigned char *chunk,
                        size_t nbytes, uint64_t most) {
    return prefix_bytes ? arv_rest_prefixed(partial, chunk, nbytes, prefix_bytes, most)
                        : arv_rest_line(partial, chunk, nbytes, most);
}

/* Find all frames in chunks of any length; a line that is too long may be noticed earlier. */
static void check_chunks(const unsigned char *data, size_t nbytes, size_t prefix_bytes,
                         uint64_t most, const finding *found) {
    checked = prefix_bytes ? "chunks of prefixed frames" : "chunks of lines";
    arv_partial partial = {0};
    size_t off = 0, done_off = 0; /* done: of whole frames */
    bool is_too_long = false;
    while (off < nbytes && !is_too_long) {
        size_t chunk_bytes = 1 + below(below(2) ? 4 : 300);
        chunk_bytes = chunk_bytes < nbytes - off ? chunk_bytes : nbytes - off;
        unsigned char *chunk = copy_of(data + off, chunk_bytes);
        size_t used = 0;
        if (partial.held_bytes > 0) {
            arv_rest rest = rest_of(prefix_bytes, &partial, chunk, chunk_bytes, most);
            is_too_long = rest.is_too_long;
            CHECK(rest.taken_bytes <= chunk_bytes);
            CHECK(rest.is_whole || rest.is_too_long || rest.taken_bytes == chunk_bytes);
            if (!is_too_long) {
                used = rest.taken_bytes;
                arv_partial_add(&partial, chunk, used);
            }
            if (rest.is_whole) {
                CHECK(!is_too_long);
                done_off += partial.held_bytes;
                partial = (arv_partial){0};
            }
        }
        while (!is_too_long && partial.held_bytes == 0 && used < chunk_bytes) {
            arv_run runs[5];
            arv_scan scan =
                prefix_bytes
                    ? arv_scan_prefixed(chunk + used, chunk_bytes - used, prefix_bytes, most, runs, 5)
                    : arv_scan_lines(chunk + used, chunk_bytes - used, most, 3);
            used += scan.consumed_bytes;
            done_off += scan.consumed_bytes;
            is_too_long = scan.end == ARV_TOO_LONG;
            if (scan.end == ARV_PARTIAL) {
                arv_partial_add(&partial, chunk + used, chunk_bytes - used);
                used = chunk_bytes;
            }
        }
        /* Lines: a partial one that is too long is noticed with the chunk after it, or here. */
        if (!prefix_bytes && partial.held_bytes > 0) {
            size_t payload_bytes = partial.held_bytes - (partial.last == '\r');
            is_too_long = is_too_long || payload_bytes > most;
        }
        free(chunk);
        off += chunk_bytes;
    }
    CHECK(done_off == found->consumed_bytes);
    CHECK(is_too_long == found->is_too_long);
}

/* -- reversal -------------------------------------------------------------------------------------- */

static void check_reversal(const unsigned char *data, size_t nbytes, size_t prefix_bytes,
                           const finding *found) {
    checked = "reversal";
    unsigned char *expected = copy_of(data, nbytes), *got = copy_of(data, nbytes);
    reverse_slowly(expected, 0, nbytes);
    arv_reverse(got, nbytes);
    CHECK(nbytes == 0 || memcmp(expected, got, nbytes) == 0);
    arv_reverse_copy(got, data, nbytes);
    CHECK(nbytes == 0 || memcmp(expected, got, nbytes) == 0);
    free(expected);
    free(got);

    size_t whole_bytes = prefix_bytes ? found->consumed_bytes : nbytes;
    expected = copy_of(data, whole_bytes);
    got = copy_of(data, whole_bytes);
    if (prefix_bytes == 0) { /* without a limit, and with what follows the last line */
        static finding all;
        read_lines(data, nbytes, UINT64_MAX, &all);
        found = &all;
        checked = "reversal of lines";
        arv_span spans[9];
        CHECK(arv_line_spans(data, nbytes, all.consumed_bytes, spans, 9) == 0);
        arv_reverse_lines(got, nbytes);
    } else {
        checked = "reversal of runs";
        arv_run runs[MOST_FRAMES / 4 + 1];
        arv_scan scan = arv_scan_prefixed(got, whole_bytes, prefix_bytes, UINT64_MAX, runs,
                                          MOST_FRAMES / 4 + 1);
        for (size_t i = 0; i < scan.runs; i++) {
            arv_reverse_run(got, &runs[i], prefix_bytes);
        }
    }
    for (size_t i = 0; i < found->number; i++) {
        reverse_slowly(expected, found->frames[i].start_off, found->frames[i].payload_end_off);
    }
    CHECK(whole_bytes == 0 || memcmp(expected, got, whole_bytes) == 0);
    free(expected);
    free(got);
}

/* A run that a processor passes on may be anything. */
static void check_fits(const unsigned char *data, size_t nbytes) {
    checked = "whether a run fits";
    static const size_t absurd[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX - 4, SIZE_MAX / 8, 1u << 31};
    size_t numbers[4];
    for (size_t i = 0; i < 4; i++) {
        numbers[i] = below(6) ? below(2 * nbytes / (i == 2 ? 4 : 1) + 2) : absurd[below(5)];
    }
    arv_run run = {numbers[0], numbers[1], numbers[2]};
    size_t prefix_bytes = below(2) ? 4 : numbers[3], stride_bytes = prefix_bytes + run.payload_bytes;
    if (stride_bytes > 0 && below(4) == 0) { /* so many that their length is a small number again */
        run.frames = SIZE_MAX / stride_bytes + 2;
    }
    /* From the definition, in numbers that cannot overflow: the payloads lie in the memory. */
    unsigned __int128 end = (unsigned __int128)run.start_off + run.payload_bytes;
    bool fits = run.frames > 0;
    if (run.frames > 1) {
        unsigned __int128 stride = (unsigned __int128)prefix_bytes + run.payload_bytes;
        fits = fits && stride > 0 && stride <= nbytes && run.frames - 1 <= nbytes;
        end += fits ? stride * (run.frames - 1) : 0;
    }
    fits = fits && end <= nbytes;
    CHECK(arv_run_fits(&run, prefix_bytes, nbytes) == fits);
    if (fits) { /* AddressSanitizer sees whether it does */
        unsigned char *memory = copy_of(data, nbytes);
        arv_reverse_run(memory, &run, prefix_bytes);
        free(memory);
    }
}

int main(int argc, char **argv) {
    uint64_t inputs = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    random_state = seed * 2 + 88172645463325252u;
    static unsigned char made[MOST_BYTES];
    static finding found;
    for (input_number = 0; input_number < inputs; input_number++) {
        size_t nbytes = make_input(made);
        uint64_t most = some_limit();
        unsigned char *data = copy_of(made, nbytes);
        size_t prefix_bytes = 4 * below(3);
        if (prefix_bytes == 0) {
            read_lines(data, nbytes, most, &found);
            check_lines(data, nbytes, most, &found);
        } else {
            read_prefixed(data, nbytes, prefix_bytes, most, &found);
            check_prefixed(data, nbytes, prefix_bytes, most, &found);
        }
        check_chunks(data, nbytes, prefix_bytes, most, &found);
        check_reversal(data, nbytes, prefix_bytes, &found);
        check_fits(data, nbytes);
        free(data);
    }
    printf("%" PRIu64 " inputs of seed %" PRIu64 ": no difference\n", inputs, seed);
    return 0;
}
