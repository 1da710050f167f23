/* The kernels: reversal of bytes, and scans for frames. No Python, no allocation, no state.
 *
 * Thread: any may call anything. A function uses the memory that it is given and nothing else, so
 * calls on different memory may run at once. If another thread changes the memory meanwhile, the
 * result is undefined, but no byte outside of it is read or written.
 *
 * Offsets and lengths count bytes. Every loop is bounded by the length of the memory, because each
 * iteration uses up at least one byte of it. The rules of frames are those of asyncrev/frames, whose
 * Python code is the reference: tests compare both with the same bytes.
 */
#ifndef ASYNCREV_KERNELS_CORE_H
#define ASYNCREV_KERNELS_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a scan ended. */
typedef enum {
    ARV_PARTIAL,  /* the rest is a partial frame, or nothing */
    ARV_STOPPED,  /* as many runs or steps as allowed; more whole frames may follow */
    ARV_TOO_LONG, /* the next frame is longer than allowed */
} arv_end;

/* Frames of equal length, one directly after another; `frames` is at least 1. */
typedef struct {
    size_t start_off; /* where the first payload begins */
    size_t payload_bytes;
    size_t frames;
} arv_run;

typedef struct {
    size_t consumed_bytes; /* of the whole frames at the front */
    size_t runs;           /* how many were found; 0 for lines */
    arv_end end;
    uint64_t wrong_bytes; /* ARV_TOO_LONG: the payload's length, announced or so far */
    bool wrong_is_whole;  /* ARV_TOO_LONG, lines: whether that is all of the line */
} arv_scan;

/* One line: [start_off, payload_end_off) is its payload, and end_off is after its line end. */
typedef struct {
    size_t start_off;
    size_t payload_end_off;
    size_t end_off;
} arv_span;

/* What must be known of a partial frame to find its end: not its bytes. Zeroed: no bytes yet. */
typedef struct {
    size_t held_bytes;
    unsigned char first[8]; /* its first bytes: of a prefixed frame, the prefix */
    unsigned char last;     /* its last byte */
} arv_partial;

/* What of a chunk belongs to a partial frame. */
typedef struct {
    size_t taken_bytes;
    bool is_whole; /* the frame is complete with them */
    bool is_too_long;
    uint64_t wrong_bytes; /* if it is too long: as in arv_scan */
    bool wrong_is_whole;
} arv_rest;

/* -- reversal ---------------------------------------------------------------------------------- */

/* Reverse `nbytes` bytes in place. */
void arv_reverse(unsigned char *data, size_t nbytes);

/* Write the bytes of `from` to `to` in reverse order; they do not overlap. */
void arv_reverse_copy(unsigned char *to, const unsigned char *from, size_t nbytes);

/* Whether `run`, with `prefix_bytes` between its payloads, lies within `nbytes` bytes. */
bool arv_run_fits(const arv_run *run, size_t prefix_bytes, size_t nbytes);

/* Reverse each payload of `run` in place. The run must fit, which arv_run_fits says. */
void arv_reverse_run(unsigned char *data, const arv_run *run, size_t prefix_bytes);

/* Reverse the payload of each whole line in place; bytes after the last line end stay. */
void arv_reverse_lines(unsigned char *data, size_t nbytes);

/* -- frames of a big-endian payload length and the payload --------------------------------------- */

/* Find the whole frames at the front of `data`, in at most `most_runs` runs.
 *
 * `prefix_bytes` is 4 or 8. `runs` has space for `most_runs`, at least 1. No run can be extended by
 * the frame after it, so a scan of the rest continues where this one stopped.
 */
arv_scan arv_scan_prefixed(const unsigned char *data, size_t nbytes, size_t prefix_bytes,
                           uint64_t max_frame_bytes, arv_run *runs, size_t most_runs);

/* Find how much of `chunk` belongs to `partial`, which has at least one byte. */
arv_rest arv_rest_prefixed(const arv_partial *partial, const unsigned char *chunk, size_t nbytes,
                           size_t prefix_bytes, uint64_t max_frame_bytes);

/* -- lines: "\n" ends one; a "\r" directly before it belongs to the line end ---------------------- */

/* Find the whole lines at the front of `data`. A step covers `max_frame_bytes` or one line. */
arv_scan arv_scan_lines(const unsigned char *data, size_t nbytes, uint64_t max_frame_bytes,
                        size_t most_steps);

/* Find how much of `chunk` belongs to `partial`, which has at least one byte. */
arv_rest arv_rest_line(const arv_partial *partial, const unsigned char *chunk, size_t nbytes,
                       uint64_t max_frame_bytes);

/* Write the lines from `off` on to `spans`, at most `most`; return how many there were. */
size_t arv_line_spans(const unsigned char *data, size_t nbytes, size_t off, arv_span *spans,
                      size_t most);

/* Return how many newlines there are. */
size_t arv_count_lines(const unsigned char *data, size_t nbytes);

/* -- partial frames ------------------------------------------------------------------------------ */

/* Note that `nbytes` bytes were added to the partial frame. */
void arv_partial_add(arv_partial *partial, const unsigned char *data, size_t nbytes);

#endif
