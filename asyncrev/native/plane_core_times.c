/* The histograms of one plane; see plane_core_times.h. */
#define _GNU_SOURCE
#include "plane_core_times.h"

#include <stdlib.h>
#include <time.h>

uint64_t arv_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

arv_times *arv_times_new(const arv_ring *ring) {
    arv_times *times = aligned_alloc(_Alignof(arv_times), sizeof *times);
    arv_mark *marks = calloc(ring->nentries, sizeof *marks);
    if (times == NULL || marks == NULL) {
        free(times);
        free(marks);
        return NULL;
    }
    *times = (arv_times){.marks = marks};
    times->marked_seq = times->counted_seq =
        atomic_load_explicit(&ring->published_seq, memory_order_relaxed);
    return times;
}

void arv_times_free(arv_times *times) {
    if (times != NULL) {
        free(times->marks);
        free(times);
    }
}

/* Add to a count that nobody else writes. */
static void add(_Atomic uint64_t *count, uint64_t more) {
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* See `bucket_of` in asyncrev/ring/durations.py. */
static size_t bucket_of(uint64_t duration_ns) {
    uint64_t whole_us = duration_ns == 0 ? 0 : (duration_ns - 1) / 1000;
    if (whole_us < 2) {
        return 0;
    }
    size_t bucket = 63 - (size_t)__builtin_clzll(whole_us);
    return bucket < ARV_BUCKETS ? bucket : ARV_BUCKETS - 1;
}

void arv_histogram_add(arv_histogram *histogram, uint64_t duration_ns, uint64_t times) {
    add(&histogram->counts[bucket_of(duration_ns)], times);
    add(&histogram->sum_ns, duration_ns * times);
}

void arv_note_awake(arv_times *times) {
    if (times->awake_ns == 0) {
        times->awake_ns = arv_now_ns();
    }
}

void arv_note_poll(arv_times *times) {
    if (times->awake_ns != 0) {
        arv_histogram_add(&times->loop_turn, arv_now_ns() - times->awake_ns, 1);
        times->awake_ns = 0;
    }
}

void arv_note_published(arv_times *times, const arv_ring *ring) {
    uint64_t published_seq = atomic_load_explicit(&ring->published_seq, memory_order_relaxed);
    if (published_seq == times->marked_seq) {
        return;
    }
    times->marked_seq = published_seq;
    if (times->nmarks == ring->nentries) { /* releases were not noted: the last mark takes it all */
        times->marks[(times->first_mark + times->nmarks - 1) % ring->nentries].end_seq = published_seq;
        return;
    }
    times->marks[(times->first_mark + times->nmarks) % ring->nentries] =
        (arv_mark){published_seq, times->awake_ns != 0 ? times->awake_ns : arv_now_ns()};
    times->nmarks++;
}

void arv_note_released(arv_times *times, const arv_ring *ring) {
    uint64_t released_seq = atomic_load_explicit(&ring->released_seq, memory_order_relaxed);
    if (times->nmarks == 0 || released_seq <= times->counted_seq) {
        return;
    }
    uint64_t now_ns = arv_now_ns();
    while (times->nmarks > 0 && times->counted_seq < released_seq) {
        const arv_mark *mark = &times->marks[times->first_mark];
        uint64_t until_seq = mark->end_seq < released_seq ? mark->end_seq : released_seq;
        arv_histogram_add(&times->reply, now_ns - mark->at_ns, until_seq - times->counted_seq);
        times->counted_seq = until_seq;
        if (until_seq == mark->end_seq) {
            times->first_mark = (times->first_mark + 1) % ring->nentries;
            times->nmarks--;
        }
    }
}

void arv_note_processed(arv_times *times, uint64_t *worked_ns, uint64_t nentries) {
    uint64_t now_ns = arv_now_ns();
    if (nentries > 0) {
        arv_histogram_add(&times->processing, (now_ns - *worked_ns) / nentries, nentries);
    }
    *worked_ns = now_ns;
}
