/* What the worker answers without Python, and how it waits; see plane_core.h. */
#include "plane_core.h"

#include "kernels_core.h"

enum { WAKE_AFTER_BYTES = 16 * 1024 }; /* answered without a look whether the loop sleeps */

/* -- answer -------------------------------------------------------------------------------------- */

enum { RUNS = 64 }; /* on the stack; more are found in several steps */

/* Reverse the payloads of prefixed frames, and return how many there are; 0 if `data` is anything else
 * but whole frames: then it is as it was. */
static size_t reverse_prefixed(unsigned char *data, size_t nbytes, size_t prefix_bytes,
                               uint64_t most_bytes) {
    arv_run runs[RUNS];
    size_t frames = 0;
    for (int pass = 0; pass < 2; pass++) { /* the first looks, the second reverses */
        size_t off = 0;
        while (off < nbytes) {
            arv_scan scan =
                arv_scan_prefixed(data + off, nbytes - off, prefix_bytes, most_bytes, runs, RUNS);
            if (scan.end == ARV_TOO_LONG || scan.consumed_bytes == 0) {
                return 0;
            }
            for (size_t run = 0; pass == 1 && run < scan.runs; run++) {
                arv_reverse_run(data + off, &runs[run], prefix_bytes);
                frames += runs[run].frames;
            }
            off += scan.consumed_bytes;
        }
    }
    return frames;
}

/* The same for lines. */
static size_t reverse_lines(unsigned char *data, size_t nbytes, uint64_t most_bytes) {
    for (size_t off = 0; off < nbytes;) {
        arv_scan scan = arv_scan_lines(data + off, nbytes - off, most_bytes, SIZE_MAX);
        if (scan.end == ARV_TOO_LONG || scan.consumed_bytes == 0) {
            return 0;
        }
        off += scan.consumed_bytes;
    }
    size_t frames = arv_count_lines(data, nbytes);
    arv_reverse_lines(data, nbytes);
    return frames;
}

static bool run_kernel(arv_work *work, unsigned char *data, size_t nbytes) {
    size_t frames = 0;
    switch (work->kernel) {
    case ARV_REVERSE:
        arv_reverse(data, nbytes);
        return true;
    case ARV_LINES:
        frames = reverse_lines(data, nbytes, work->most_bytes);
        break;
    case ARV_LEN32:
        frames = reverse_prefixed(data, nbytes, 4, work->most_bytes);
        break;
    case ARV_LEN64:
        frames = reverse_prefixed(data, nbytes, 8, work->most_bytes);
        break;
    default:
        break;
    }
    if (frames == 0) {
        return false;
    }
    /* One writer, so no atomic addition. */
    uint64_t before = atomic_load_explicit(&work->kernel_frames, memory_order_relaxed);
    atomic_store_explicit(&work->kernel_frames, before + frames, memory_order_relaxed);
    return true;
}

/* Request a delivery if none will come; return whether Python must do it. */
static bool request(arv_signal *signal) {
    if (!arv_must_request(signal)) {
        return false;
    }
    int fd = atomic_load_explicit(&signal->wake_fd, memory_order_relaxed);
    return fd < 0 || !arv_wake(fd);
}

/* `arv_answer`, without times. */
static bool answer(arv_ring *ring, uint64_t end_seq, arv_signal *signal) {
    uint64_t seq = atomic_load_explicit(&ring->processed_seq, memory_order_relaxed);
    size_t unlooked_bytes = 0; /* a sleeping loop is woken once for many small replies */
    while (seq < end_seq) {
        size_t pos = (size_t)(seq % ring->nentries);
        const arv_row *row = ring->rows[pos];
        arv_work *work = row == NULL ? NULL : row->work;
        size_t nbytes = ring->sizes[pos];
        unsigned char *slot = ring->storage + arv_slot_off(ring, ring->slot_of[pos]);
        if (work == NULL || ring->kinds[pos] != ARV_DATA || ring->reported[pos] ||
            work->kernel == ARV_NO_KERNEL ||
            atomic_load_explicit(&work->abandoned, memory_order_relaxed) ||
            !run_kernel(work, slot, nbytes)) {
            break;
        }
        ring->replies[pos] = slot;
        ring->reply_bytes[pos] = nbytes;
        ring->outcomes[pos] = ARV_SLOT;
        /* ORDER: after the slot and the row, which this store publishes (I2, I3). */
        atomic_store_explicit(&ring->processed_seq, ++seq, memory_order_release);
        unlooked_bytes += nbytes + 1; /* an empty chunk counts, too */
        if (unlooked_bytes >= WAKE_AFTER_BYTES) {
            unlooked_bytes = 0;
            if (request(signal)) {
                return true;
            }
        }
    }
    return unlooked_bytes > 0 && request(signal);
}

bool arv_answer(arv_plane *plane, uint64_t end_seq, arv_signal *signal) {
    arv_times *times = arv_plane_times(plane);
    if (times == NULL) {
        return answer(plane->ring, end_seq, signal);
    }
    uint64_t first_seq = atomic_load_explicit(&plane->ring->processed_seq, memory_order_relaxed);
    uint64_t worked_ns = arv_now_ns();
    bool posts = answer(plane->ring, end_seq, signal);
    uint64_t seq = atomic_load_explicit(&plane->ring->processed_seq, memory_order_relaxed);
    arv_note_processed(times, &worked_ns, seq - first_seq);
    return posts;
}

/* -- wait ---------------------------------------------------------------------------------------- */

arv_waited arv_wait(arv_plane *plane, uint64_t taken_seq, arv_parker *parker, arv_signal *signal,
                    long long timeout_ms, bool stays) {
    arv_ring *ring = plane->ring;
    long long until_ms = timeout_ms > 0 ? arv_now_ms() + timeout_ms + 1 : 0; /* a part of 1 ms is over */
    bool timed_out = timeout_ms == 0;
    arv_waited waited = {taken_seq, false, false, false, false};
    for (;;) {
        /* ORDER: the flag before the cursor, because the last publish precedes the close. */
        waited.is_closed = atomic_load(&ring->input_closed);
        waited.end_seq = atomic_load(&ring->published_seq);
        if (waited.end_seq != taken_seq) {
            waited.backstop = waited.backstop || (timed_out && timeout_ms > 0);
            uint64_t batch = waited.end_seq - taken_seq;
            atomic_fetch_add_explicit(&plane->batches, 1, memory_order_relaxed);
            if (batch > atomic_load_explicit(&plane->largest_batch, memory_order_relaxed)) {
                atomic_store_explicit(&plane->largest_batch, batch, memory_order_relaxed);
            }
            if (atomic_load_explicit(&ring->processed_seq, memory_order_relaxed) != taken_seq) {
                return waited; /* what was taken before comes first */
            }
            waited.posts = arv_answer(plane, waited.end_seq, signal);
            taken_seq = atomic_load_explicit(&ring->processed_seq, memory_order_relaxed);
            if (waited.posts || taken_seq != waited.end_seq || !stays) {
                return waited;
            }
            continue;
        }
        if (waited.is_closed || timed_out) {
            return waited;
        }
        if (atomic_load_explicit(&ring->processed_seq, memory_order_relaxed) !=
                atomic_load_explicit(&ring->released_seq, memory_order_relaxed) &&
            request(signal)) { /* ORDER: after the cursor (I6), before any sleep. */
            waited.posts = waited.is_idle = true;
            return waited;
        }
        arv_parker_prepare(parker);
        if (atomic_load(&ring->published_seq) != taken_seq || atomic_load(&ring->input_closed)) {
            arv_parker_stay(parker);
            continue;
        }
        long long left_ms = timeout_ms == ARV_NO_TIMEOUT_MS ? ARV_NO_TIMEOUT_MS : until_ms - arv_now_ms();
        if (timeout_ms != ARV_NO_TIMEOUT_MS && left_ms <= 0) {
            arv_parker_stay(parker);
            timed_out = true;
            continue;
        }
        timed_out = arv_park(parker, (int)left_ms);
    }
}
