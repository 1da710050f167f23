/* See plane_core.h. What epoll, system calls and descriptors demand is said where it is done. */
#define _GNU_SOURCE
#include "plane_core.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kernels_core.h"

enum {
    SMALL_READS = 2,          /* as in asyncrev/ring/row.py, like the next two */
    LEAST_READ_BYTES = 512,
    SHARE_CALLS = 1024,
    WAKE_AFTER_BYTES = 16 * 1024, /* answered without a look whether the loop sleeps */
};

/* -- the ring ------------------------------------------------------------------------------------ */

#define COLUMN(member, count)                                             \
    do {                                                                  \
        ring->member = calloc((count), sizeof *ring->member);             \
        if (ring->member == NULL) {                                       \
            arv_ring_free(ring);                                          \
            return NULL;                                                  \
        }                                                                 \
    } while (0)

arv_ring *arv_ring_new(unsigned char *storage, size_t nentries, size_t nslots, size_t small_slot_bytes,
                       size_t slot_bytes, size_t stride_bytes) {
    /* The size of a structure is a multiple of its alignment, as aligned_alloc wants it. */
    arv_ring *ring = aligned_alloc(_Alignof(arv_ring), sizeof *ring);
    if (ring == NULL) {
        return NULL;
    }
    memset(ring, 0, sizeof *ring);
    ring->nentries = nentries;
    ring->nslots = nslots;
    ring->slot_bytes = slot_bytes;
    ring->small_slot_bytes = small_slot_bytes;
    ring->stride_bytes = stride_bytes;
    ring->storage = storage;
    COLUMN(rows, nentries);
    COLUMN(kinds, nentries);
    COLUMN(slot_of, nentries);
    COLUMN(sizes, nentries);
    COLUMN(outcomes, nentries);
    COLUMN(reported, nentries);
    COLUMN(done_bytes, nentries);
    COLUMN(frames, nentries);
    COLUMN(replies, nentries);
    COLUMN(reply_bytes, nentries);
    COLUMN(free_small_slots, nentries);
    COLUMN(free_slots, nslots);
    for (size_t number = 0; number < nentries; number++) {
        ring->free_small_slots[number] = number;
    }
    for (size_t number = 0; number < nslots; number++) {
        ring->free_slots[number] = nentries + number;
    }
    ring->nfree_small_slots = nentries;
    ring->nfree_slots = nslots;
    return ring;
}

void arv_ring_free(arv_ring *ring) {
    if (ring == NULL) {
        return;
    }
    free(ring->rows);
    free(ring->kinds);
    free(ring->slot_of);
    free(ring->sizes);
    free(ring->outcomes);
    free(ring->reported);
    free(ring->done_bytes);
    free(ring->frames);
    free(ring->replies);
    free(ring->reply_bytes);
    free(ring->free_small_slots);
    free(ring->free_slots);
    free(ring);
}

size_t arv_slot_off(const arv_ring *ring, size_t number) {
    if (number < ring->nentries) {
        return number * ring->stride_bytes;
    }
    return ring->nentries * ring->stride_bytes + (number - ring->nentries) * ring->slot_bytes;
}

size_t arv_slot_length(const arv_ring *ring, size_t number) {
    return number < ring->nentries ? ring->small_slot_bytes : ring->slot_bytes;
}

void arv_publish(arv_ring *ring, arv_row *row, uint8_t kind, bool small, size_t nbytes) {
    uint64_t seq = atomic_load_explicit(&ring->published_seq, memory_order_relaxed);
    size_t pos = (size_t)(seq % ring->nentries);
    ring->slot_of[pos] = small ? ring->free_small_slots[--ring->nfree_small_slots]
                               : ring->free_slots[--ring->nfree_slots];
    ring->rows[pos] = row;
    ring->kinds[pos] = kind;
    ring->sizes[pos] = nbytes;
    /* ORDER: after the row and the slot's bytes, which this store publishes (I2, I3). */
    atomic_store_explicit(&ring->published_seq, seq + 1, memory_order_release);
}

void arv_mark_processed(arv_ring *ring) {
    uint64_t seq = atomic_load_explicit(&ring->processed_seq, memory_order_relaxed);
    /* ORDER: after the entry's result and error, which this store publishes (I2, I3). */
    atomic_store_explicit(&ring->processed_seq, seq + 1, memory_order_release);
}

void arv_release(arv_ring *ring, size_t nentries) {
    uint64_t seq = atomic_load_explicit(&ring->released_seq, memory_order_relaxed);
    size_t pos = (size_t)(seq % ring->nentries);
    for (size_t left = nentries; left > 0; left--) {
        size_t number = ring->slot_of[pos];
        if (number < ring->nentries) {
            ring->free_small_slots[ring->nfree_small_slots++] = number;
        } else {
            ring->free_slots[ring->nfree_slots++] = number;
        }
        ring->rows[pos] = NULL;
        ring->kinds[pos] = ARV_DATA;
        ring->outcomes[pos] = ARV_OTHER;
        ring->reported[pos] = false;
        ring->replies[pos] = NULL;
        ring->reply_bytes[pos] = 0;
        pos = pos + 1 == ring->nentries ? 0 : pos + 1;
    }
    if (ring->delivered_seq < seq + nentries) {
        ring->delivered_seq = seq + nentries;
    }
    /* ORDER: after the rows are emptied; this store gives lent blocks back (I18). */
    atomic_store_explicit(&ring->released_seq, seq + nentries, memory_order_release);
}

int64_t arv_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* -- wake-ups ------------------------------------------------------------------------------------ */

int arv_parker_open(arv_parker *parker) {
    memset(parker, 0, sizeof *parker);
    parker->poll_fd = -1;
    parker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (parker->fd >= 0) {
        parker->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    }
    /* Edge-triggered, so that it need not be read: a system call less before the work begins. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    if (parker->poll_fd < 0 || epoll_ctl(parker->poll_fd, EPOLL_CTL_ADD, parker->fd, &event) < 0) {
        int error = errno;
        arv_parker_close(parker);
        return error;
    }
    return 0;
}

void arv_parker_close(arv_parker *parker) {
    if (parker->fd >= 0) {
        close(parker->fd);
    }
    if (parker->poll_fd >= 0) {
        close(parker->poll_fd);
    }
    parker->fd = parker->poll_fd = -1;
}

bool arv_wake(int fd) {
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
    return written == (ssize_t)sizeof one;
}

bool arv_unpark(arv_parker *parker) {
    /* ORDER: what the worker is to see was stored before; without the fence the load of `parked` might
     * come first (I5). */
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&parker->parked, memory_order_relaxed) ||
        !atomic_exchange(&parker->parked, false)) {
        return false;
    }
    atomic_fetch_add_explicit(&parker->unparks, 1, memory_order_relaxed);
    arv_wake(parker->fd);
    return true;
}

void arv_parker_prepare(arv_parker *parker) {
    atomic_store(&parker->parked, true);
    /* ORDER: before the caller looks for work (I5). */
    atomic_thread_fence(memory_order_seq_cst);
}

void arv_parker_stay(arv_parker *parker) {
    /* If it is false already, a write to the eventfd comes; it ends the next sleep at once (I7). */
    atomic_store(&parker->parked, false);
}

bool arv_park(arv_parker *parker, int timeout_ms) {
    struct epoll_event event;
    /* A signal's handler may end it early, as a write does. */
    int ready = epoll_wait(parker->poll_fd, &event, 1, timeout_ms);
    return atomic_exchange(&parker->parked, false) && ready == 0;
}

bool arv_must_request(arv_signal *signal) {
    /* ORDER: the cursor was moved before (I6). */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&signal->awaited, memory_order_relaxed) ||
        atomic_exchange(&signal->awaited, true)) {
        return false;
    }
    atomic_fetch_add_explicit(&signal->requests, 1, memory_order_relaxed);
    return true;
}

void arv_not_requested(arv_signal *signal) { atomic_store(&signal->awaited, false); }

void arv_signal_clear(arv_signal *signal) {
    atomic_store(&signal->awaited, false);
    /* ORDER: before the worker's cursor is read (I6). */
    atomic_thread_fence(memory_order_seq_cst);
}

/* -- descriptors --------------------------------------------------------------------------------- */

bool arv_plane_open(arv_plane *plane, int fd, arv_row *row) {
    size_t number = (size_t)fd;
    if (number >= plane->nrows) {
        size_t nrows = plane->nrows != 0 ? plane->nrows : 64;
        while (nrows <= number) {
            nrows *= 2;
        }
        arv_row **rows = realloc(plane->rows, nrows * sizeof *rows);
        if (rows == NULL) {
            return false;
        }
        memset(rows + plane->nrows, 0, (nrows - plane->nrows) * sizeof *rows);
        plane->rows = rows;
        plane->nrows = nrows;
    }
    plane->served += plane->rows[number] == NULL;
    plane->rows[number] = row;
    row->fd = fd;
    return true;
}

arv_row *arv_plane_row(const arv_plane *plane, int fd) {
    return fd >= 0 && (size_t)fd < plane->nrows ? plane->rows[fd] : NULL;
}

arv_row *arv_plane_close(arv_plane *plane, int fd) {
    arv_row *row = arv_plane_row(plane, fd);
    if (row != NULL) {
        plane->rows[fd] = NULL;
        plane->served--;
        row->reads = row->sends = row->has_stop = false;
        row->fd = -1;
    }
    return row;
}

/* glibc's functions are cancellation points: in a process with several threads that is two calls and
 * two atomic operations more, each time. The raw calls are not. */
static ssize_t receive_from(int fd, unsigned char *data, size_t nbytes) {
    return syscall(SYS_recvfrom, fd, data, nbytes, MSG_DONTWAIT, NULL, NULL);
}

/* MSG_NOSIGNAL: a peer that is gone is an error, and no SIGPIPE, whatever the program does with it. */
static ssize_t send_to(int fd, const unsigned char *data, size_t nbytes) {
    return syscall(SYS_sendto, fd, data, nbytes, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
}

/* -- receive ------------------------------------------------------------------------------------- */

arv_received arv_receive(arv_plane *plane, const arv_event *events, size_t nevents, size_t start) {
    arv_ring *ring = plane->ring;
    bool is_closed =
        plane->is_closed || atomic_load_explicit(&ring->input_closed, memory_order_relaxed);
    uint64_t full_seq =
        atomic_load_explicit(&ring->released_seq, memory_order_relaxed) + ring->nentries;
    for (size_t index = start; index < nevents; index++) {
        arv_row *row = arv_plane_row(plane, events[index].fd);
        if (row == NULL) {
            continue;
        }
        if (row->has_stop) {
            row->has_stop = false;
            return (arv_received){index, row->stop, row->stop_error};
        }
        bool is_small = row->small_reads >= SMALL_READS;
        size_t nfree = is_small ? ring->nfree_small_slots : ring->nfree_slots;
        if (is_closed || events[index].events != EPOLLIN || !row->reads || row->waits_for_slot ||
            nfree == 0 ||
            atomic_load_explicit(&ring->published_seq, memory_order_relaxed) == full_seq) {
            return (arv_received){index, ARV_STOP_OTHER, 0};
        }
        size_t number = (is_small ? ring->free_small_slots : ring->free_slots)[nfree - 1];
        size_t length = arv_slot_length(ring, number);
        if (row->is_framed) {
            if (!plane->framed_reads || row->reserved_bytes != 0 ||
                row->partial_frame_bytes + row->in_flight_bytes > plane->little_bytes) {
                return (arv_received){index, ARV_STOP_OTHER, 0};
            }
            if (row->read_bytes < (int64_t)length) {
                length = row->read_bytes > 0 ? (size_t)row->read_bytes : 0;
            }
        }
        ssize_t nbytes = receive_from(row->fd, ring->storage + arv_slot_off(ring, number), length);
        if (nbytes < 0) {
            int error = errno;
            if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR) {
                continue; /* epoll is level-triggered: what is there is reported again */
            }
            return (arv_received){index, ARV_STOP_ERROR, error};
        }
        if (nbytes == 0) {
            return (arv_received){index, 0, 0};
        }
        if ((size_t)nbytes >= ring->small_slot_bytes) {
            row->small_reads = 0;
        } else if (!is_small) {
            row->small_reads++;
        }
        arv_publish(ring, row, ARV_DATA, is_small, (size_t)nbytes);
        row->received_bytes += nbytes;
        row->look_at_s = 0.0;
        row->in_flight_entries++;
        row->in_flight_bytes += nbytes;
        if (row->in_flight_entries >= plane->most_entries || row->in_flight_bytes >= plane->most_bytes) {
            row->waits_for_credit = true; /* I8 */
            return (arv_received){index, ARV_STOP_OVER_QUOTA, 0};
        }
        if (row->is_framed &&
            row->partial_frame_bytes + row->in_flight_bytes > plane->little_bytes) {
            return (arv_received){index, ARV_STOP_RESERVE, 0};
        }
    }
    return (arv_received){nevents, ARV_STOP_END, 0};
}

/* -- deliver ------------------------------------------------------------------------------------- */

/* See `adapted_read_bytes` in asyncrev/ring/row.py. */
static int64_t adapted_read_bytes(int64_t read_bytes, int64_t nbytes, int64_t calls,
                                  int64_t slot_bytes) {
    if (calls > SHARE_CALLS / 2) {
        int64_t fitting_bytes = nbytes * SHARE_CALLS / calls;
        fitting_bytes = fitting_bytes < read_bytes ? fitting_bytes : read_bytes;
        return fitting_bytes > LEAST_READ_BYTES ? fitting_bytes : LEAST_READ_BYTES;
    }
    if (nbytes == read_bytes) {
        return 2 * read_bytes < slot_bytes ? 2 * read_bytes : slot_bytes;
    }
    return read_bytes;
}

/* Count a delivered entry of `row`; false if more than that is to be decided: then nothing is done. */
static bool count_delivered(arv_plane *plane, arv_row *row, size_t pos) {
    const arv_ring *ring = plane->ring;
    bool reported = ring->reported[pos];
    int64_t nbytes = (int64_t)(reported ? ring->done_bytes[pos] : ring->sizes[pos]);
    int64_t entries_left = row->in_flight_entries - 1;
    int64_t bytes_left = row->in_flight_bytes - nbytes;
    if (reported && entries_left == 0 && bytes_left != 0) {
        return false; /* what the worker has deferred gets its turn */
    }
    if (row->is_framed) {
        const arv_frames *frames = &ring->frames[pos];
        int64_t partial_frame_bytes =
            reported ? frames->partial_frame_bytes : row->partial_frame_bytes;
        if (row->reserved_bytes != 0 || row->waits_for_slot ||
            partial_frame_bytes + bytes_left > plane->little_bytes) {
            return false; /* its reservation changes */
        }
        row->partial_frame_bytes = partial_frame_bytes;
        if (reported) {
            row->frame_seq = frames->frame_seq;
        }
        row->read_bytes = adapted_read_bytes(row->read_bytes, nbytes, reported ? frames->calls : 0,
                                             (int64_t)ring->slot_bytes);
    }
    row->in_flight_entries = entries_left;
    row->in_flight_bytes = bytes_left;
    return true;
}

long long arv_deliver(arv_plane *plane, uint64_t end_seq) {
    arv_ring *ring = plane->ring;
    if (plane->has_stop) {
        plane->has_stop = false;
        return plane->stop;
    }
    while (ring->delivered_seq < end_seq) {
        size_t pos = (size_t)(ring->delivered_seq % ring->nentries);
        ring->delivered_seq++; /* first, as in Python: the caller finds the entry before it */
        arv_row *row = ring->rows[pos];
        if (row == NULL || !row->sends || row->abandoned || ring->outcomes[pos] == ARV_OTHER) {
            return ARV_STOP_OTHER;
        }
        size_t reply_bytes = ring->reply_bytes[pos];
        if (reply_bytes > 0) {
            ssize_t sent_bytes = send_to(row->fd, ring->replies[pos], reply_bytes);
            if (sent_bytes < 0) {
                return 0; /* whoever sends the rest sees the error again */
            }
            row->replied_bytes += sent_bytes;
            if ((size_t)sent_bytes < reply_bytes) {
                return sent_bytes;
            }
        }
        if (!count_delivered(plane, row, pos)) {
            return ARV_STOP_SENT;
        }
        if (row->waits_for_credit && row->in_flight_entries <= plane->most_entries / 2 &&
            row->in_flight_bytes <= plane->most_bytes / 2) {
            return ARV_STOP_CREDIT;
        }
    }
    return ARV_STOP_END;
}

/* -- polls --------------------------------------------------------------------------------------- */

/* Poll once, into `state`; false if there is nothing to handle here. */
static bool poll_once(const arv_plane *plane, arv_poll_state *state) {
    struct epoll_event ready[ARV_MOST_EVENTS];
    int timeout_ms = state->is_behind ? 0 : -1;
    if (timeout_ms < 0 && state->until_ms >= 0) {
        int64_t left_ms = state->until_ms - arv_now_ms();
        timeout_ms = left_ms <= 0 ? 0 : left_ms < INT_MAX ? (int)left_ms : INT_MAX;
    }
    if (state->has_worked && (timeout_ms < 0 || timeout_ms > ARV_WORKED_WAIT_MS)) {
        timeout_ms = ARV_WORKED_WAIT_MS; /* a signal's handler interrupts the wait only, not the work */
    }
    int count = epoll_wait(state->epoll_fd, ready, ARV_MOST_EVENTS, timeout_ms);
    int error = errno;
    /* The loop is awake, and looks for results before it sleeps. */
    atomic_store(&state->signal->awaited, true);
    if (count < 0) {
        state->error = error == EINTR ? 0 : error;
        return false;
    }
    bool all_served = true;
    for (int index = 0; index < count; index++) {
        int fd = ready[index].data.fd;
        if (fd != state->wake_fd) {
            all_served = all_served && arv_plane_row(plane, fd) != NULL;
            state->events[state->nevents++] = (arv_event){fd, ready[index].events};
        }
    }
    return all_served && (count > 0 || state->is_behind);
}

/* Receive what was polled; false at an exception. */
static bool receive_polled(arv_plane *plane, arv_poll_state *state) {
    arv_received received = arv_receive(plane, state->events, state->nevents, 0);
    if (received.stop != ARV_STOP_END) {
        arv_row *row = plane->rows[state->events[received.index].fd];
        row->has_stop = true;
        row->stop = received.stop;
        row->stop_error = received.error;
        state->first = received.index;
        return false;
    }
    state->nevents = 0;
    return true;
}

/* Whether an entry that was delivered has no object to be dropped. */
static bool is_bare(const arv_ring *ring, uint64_t seq) {
    return seq >= ring->counted_seq && ring->outcomes[seq % ring->nentries] == ARV_SLOT;
}

/* Release what was delivered; false if Python must do it. */
static bool release_delivered(arv_ring *ring) {
    uint64_t first_seq = atomic_load_explicit(&ring->released_seq, memory_order_relaxed);
    for (uint64_t seq = first_seq; seq < ring->delivered_seq; seq++) {
        if (!is_bare(ring, seq)) {
            return false;
        }
    }
    arv_release(ring, (size_t)(ring->delivered_seq - first_seq));
    return true;
}

/* Whether timers are due, which would be late after many busy turns. */
static bool is_due(const arv_poll_state *state) {
    return state->until_ms >= 0 && arv_now_ms() >= state->until_ms;
}

void arv_poll(arv_plane *plane, arv_poll_state *state) {
    arv_ring *ring = plane->ring;
    state->nevents = state->first = 0;
    state->releases = false;
    state->error = 0;
    uint64_t flushed_seq = atomic_load_explicit(&ring->published_seq, memory_order_relaxed);
    while (state->turns_left-- > 0 && !plane->is_closed && !(state->has_worked && is_due(state)) &&
           !atomic_load_explicit(&ring->output_closed, memory_order_relaxed)) {
        if (!poll_once(plane, state) || !receive_polled(plane, state)) {
            return;
        }
        state->has_worked = true;
        uint64_t published_seq = atomic_load_explicit(&ring->published_seq, memory_order_relaxed);
        uint64_t released_seq = atomic_load_explicit(&ring->released_seq, memory_order_relaxed);
        if (published_seq - released_seq > plane->entries_in_use_high) {
            plane->entries_in_use_high = published_seq - released_seq;
        }
        if (published_seq != flushed_seq) {
            flushed_seq = published_seq;
            arv_unpark(state->parker); /* ORDER: after the cursor (I5). */
        }
        arv_signal_clear(state->signal); /* ORDER: before the worker's cursor is read (I6). */
        uint64_t processed_seq = atomic_load_explicit(&ring->processed_seq, memory_order_acquire);
        uint64_t end_seq = processed_seq < released_seq + ARV_DELIVERY_ENTRIES
                               ? processed_seq
                               : released_seq + ARV_DELIVERY_ENTRIES;
        state->is_behind = end_seq != processed_seq;
        if (end_seq == released_seq) {
            continue;
        }
        plane->deliveries++;
        long long stop = arv_deliver(plane, end_seq);
        if (stop != ARV_STOP_END) {
            plane->has_stop = true;
            plane->stop = stop;
            return;
        }
        if (!release_delivered(ring)) {
            state->releases = true;
            return;
        }
    }
}

/* -- answer -------------------------------------------------------------------------------------- */

enum { RUNS = 64 }; /* on the stack; more are found in several steps */

/* Reverse the payloads of prefixed frames; false if `data` is anything else but whole frames: then it
 * is as it was. */
static bool reverse_prefixed(unsigned char *data, size_t nbytes, size_t prefix_bytes,
                             uint64_t most_bytes) {
    arv_run runs[RUNS];
    for (int pass = 0; pass < 2; pass++) { /* the first looks, the second reverses */
        size_t off = 0;
        while (off < nbytes) {
            arv_scan scan =
                arv_scan_prefixed(data + off, nbytes - off, prefix_bytes, most_bytes, runs, RUNS);
            if (scan.end == ARV_TOO_LONG || scan.consumed_bytes == 0) {
                return false;
            }
            for (size_t run = 0; pass == 1 && run < scan.runs; run++) {
                arv_reverse_run(data + off, &runs[run], prefix_bytes);
            }
            off += scan.consumed_bytes;
        }
    }
    return true;
}

static bool reverse_lines(unsigned char *data, size_t nbytes, uint64_t most_bytes) {
    for (size_t off = 0; off < nbytes;) {
        arv_scan scan = arv_scan_lines(data + off, nbytes - off, most_bytes, SIZE_MAX);
        if (scan.end == ARV_TOO_LONG || scan.consumed_bytes == 0) {
            return false;
        }
        off += scan.consumed_bytes;
    }
    arv_reverse_lines(data, nbytes);
    return true;
}

static bool run_kernel(const arv_work *work, unsigned char *data, size_t nbytes) {
    switch (work->kernel) {
    case ARV_REVERSE:
        arv_reverse(data, nbytes);
        return true;
    case ARV_LINES:
        return reverse_lines(data, nbytes, work->most_bytes);
    case ARV_LEN32:
        return reverse_prefixed(data, nbytes, 4, work->most_bytes);
    case ARV_LEN64:
        return reverse_prefixed(data, nbytes, 8, work->most_bytes);
    default:
        return false;
    }
}

/* Request a delivery if none will come; return whether Python must do it. */
static bool request(arv_signal *signal) {
    if (!arv_must_request(signal)) {
        return false;
    }
    int fd = atomic_load_explicit(&signal->wake_fd, memory_order_relaxed);
    return fd < 0 || !arv_wake(fd);
}

bool arv_answer(arv_ring *ring, uint64_t end_seq, arv_signal *signal) {
    uint64_t seq = atomic_load_explicit(&ring->processed_seq, memory_order_relaxed);
    size_t unlooked_bytes = 0; /* a sleeping loop is woken once for many small replies */
    while (seq < end_seq) {
        size_t pos = (size_t)(seq % ring->nentries);
        const arv_row *row = ring->rows[pos];
        const arv_work *work = row == NULL ? NULL : row->work;
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
            waited.posts = arv_answer(ring, waited.end_seq, signal);
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
