/* Turns of the loop without Python: poll, receive, wake, deliver, release; see plane_core.h. */
#include "plane_core.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>

/* Poll once, into `state`: the events of our own sockets, then those of others. False if there is nothing to
 * do here. */
static bool poll_once(arv_plane *plane, arv_times *times, arv_poll_state *state) {
    struct epoll_event ready[ARV_MOST_EVENTS];
    arv_event others[ARV_MOST_EVENTS];
    size_t nothers = 0;
    int timeout_ms = state->is_behind ? 0 : -1;
    if (timeout_ms < 0 && state->until_ms >= 0) {
        int64_t left_ms = state->until_ms - arv_now_ms();
        timeout_ms = left_ms <= 0 ? 0 : left_ms < INT_MAX ? (int)left_ms : INT_MAX;
    }
    if (state->has_worked && (timeout_ms < 0 || timeout_ms > ARV_WORKED_WAIT_MS)) {
        timeout_ms = ARV_WORKED_WAIT_MS; /* a signal's handler interrupts the wait only, not the work */
    }
    if (times != NULL) {
        arv_note_poll(times);
    }
    int count = epoll_wait(state->epoll_fd, ready, ARV_MOST_EVENTS, timeout_ms);
    int error = errno;
    if (times != NULL) {
        arv_note_awake(times);
    }
    /* The loop is awake, and looks for results before it sleeps. */
    atomic_store(&state->signal->awaited, true);
    if (count < 0) {
        state->error = error == EINTR ? 0 : error;
        return false;
    }
    state->nevents = state->first = 0;
    for (int index = 0; index < count; index++) {
        arv_event event = {ready[index].data.fd, ready[index].events};
        if (arv_plane_row(plane, event.fd) != NULL) {
            state->events[state->nevents++] = event;
        } else if (event.fd != state->wake_fd) {
            others[nothers++] = event;
        }
    }
    state->nserved = state->nevents;
    for (size_t index = 0; index < nothers; index++) {
        state->events[state->nevents++] = others[index];
    }
    return count > 0 || state->is_behind;
}

/* Receive what was polled of our own sockets; false at an exception. */
static bool receive_polled(arv_plane *plane, arv_poll_state *state) {
    arv_received received = arv_receive(plane, state->events, state->nserved, 0);
    if (received.stop != ARV_STOP_END) {
        arv_row *row = plane->rows[state->events[received.index].fd];
        row->has_stop = true;
        row->stop = received.stop;
        row->stop_error = received.error;
        state->first = received.index;
        return false;
    }
    state->first = state->nserved;
    if (state->first == state->nevents) {
        state->nevents = state->first = 0;
    }
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
    arv_times *times = arv_plane_times(plane);
    state->nevents = state->nserved = state->first = 0;
    state->releases = false;
    state->error = 0;
    uint64_t flushed_seq = atomic_load_explicit(&ring->published_seq, memory_order_relaxed);
    while (state->turns_left-- > 0 && !plane->is_closed && !(state->has_worked && is_due(state)) &&
           !atomic_load_explicit(&ring->output_closed, memory_order_relaxed)) {
        if (!poll_once(plane, times, state) || !receive_polled(plane, state)) {
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
            if (times != NULL) {
                arv_note_published(times, ring);
            }
            arv_unpark(state->parker); /* ORDER: after the cursor (I5). */
        }
        if (state->nevents > 0) {
            return; /* Python has more to do, and delivers behind it */
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
        if (times != NULL) {
            arv_note_released(times, ring);
        }
    }
}
