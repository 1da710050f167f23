/* How long things take: the histograms of one plane, counted by batches.
 *
 * `asyncrev.ring.durations` is the reference, and explains marks. Threads: the loop's, but for what the
 * worker counts. A count has one writer; its readers may see it late.
 */
#ifndef ASYNCREV_PLANE_CORE_TIMES_H
#define ASYNCREV_PLANE_CORE_TIMES_H

#include "plane_core_ring.h"

enum { ARV_BUCKETS = 24 }; /* as in asyncrev/ring/durations.py */

typedef struct {
    _Atomic uint64_t counts[ARV_BUCKETS];
    _Atomic uint64_t sum_ns;
} arv_histogram;

/* Entries below `end_seq`, and not of a mark before, were received in an iteration that began then. */
typedef struct {
    uint64_t end_seq;
    uint64_t at_ns;
} arv_mark;

typedef struct {
    /* Loop. */
    uint64_t awake_ns; /* when the last poll returned; 0 while the loop polls, or if unknown */
    uint64_t marked_seq;
    uint64_t counted_seq;
    arv_mark *marks; /* as many as the ring has entries, of which each mark has one at least */
    size_t first_mark;
    size_t nmarks;
    arv_histogram loop_turn;
    arv_histogram reply;
    /* Worker. */
    _Alignas(64) arv_histogram processing;
} arv_times;

/* Return times of what is published in `ring` from now on, or NULL if there is no memory. */
arv_times *arv_times_new(const arv_ring *ring);

void arv_times_free(arv_times *times);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t arv_now_ns(void);

/* Count `times` durations of that length. Thread: the histogram's writer. */
void arv_histogram_add(arv_histogram *histogram, uint64_t duration_ns, uint64_t times);

/* A poll has returned; what is noted already stays. */
void arv_note_awake(arv_times *times);

/* The loop is about to poll. */
void arv_note_poll(arv_times *times);

/* Entries have been published since the last call. */
void arv_note_published(arv_times *times, const arv_ring *ring);

/* Entries have been released since the last call. */
void arv_note_released(arv_times *times, const arv_ring *ring);

/* The worker has answered `nentries` since `*worked_ns`, which becomes the time of now: each counts as
 * taking the same. Thread: worker. */
void arv_note_processed(arv_times *times, uint64_t *worked_ns, uint64_t nentries);

#endif
