/* The plane's core: what is done with many rows of the ring in one call.
 *
 * plane_core_receive.c and plane_core_deliver.c have the loop's two calls, plane_core_poll.c its turns
 * without Python, and plane_core_worker.c the worker's side. The ring and the wake-ups have headers of
 * their own. What epoll, system calls and descriptors demand is said where it is done.
 *
 * `asyncrev.ring.ring`, `row`, `plane` and `wakeups` are the reference: the same accounts, decisions
 * and order, in Python. Here there is no Python: the calls run while other threads have the GIL.
 *
 * Threads. The loop's thread and the worker's, and no other. A row of the ring, a slot and the free
 * lists belong to one of them, as the cursors say (I1 to I3 in asyncrev/ring/ring.py); arv_row belongs
 * to the loop. What both use is atomic, and names its writer. Nothing is allocated after arv_ring_new,
 * but the table of descriptors, which grows in arv_plane_open.
 */
#ifndef ASYNCREV_PLANE_CORE_H
#define ASYNCREV_PLANE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plane_core_ring.h"
#include "plane_core_times.h"
#include "plane_core_wakeups.h"

typedef struct {
    int fd;
    uint32_t events; /* of epoll */
} arv_event;

/* Why a call has returned: the same numbers as in asyncrev/ring/plane.py, where a number from 0 on is
 * one of bytes. */
enum {
    ARV_STOP_OTHER = -1,
    ARV_STOP_OVER_QUOTA = -2,
    ARV_STOP_CREDIT = -3,
    ARV_STOP_END = -4,
    ARV_STOP_SENT = -5,
    ARV_STOP_RESERVE = -6,
    ARV_STOP_ERROR = -7, /* `error` says which */
};

typedef struct {
    arv_ring *ring;
    arv_row **rows; /* by descriptor; thread: loop */
    size_t nrows;
    size_t served;
    int64_t most_entries;
    int64_t most_bytes;
    int64_t little_bytes;
    bool is_closed;
    bool framed_reads;
    bool has_stop; /* arv_poll has met an exception: what arv_deliver is to return next */
    long long stop;
    uint64_t deliveries; /* by arv_poll; like the next one, readers: any */
    uint64_t entries_in_use_high;
    /* Writer: worker; readers: any. */
    _Atomic uint64_t batches;
    _Atomic uint64_t largest_batch;
    /* NULL while nothing is measured. Writer: loop, once; readers: both. */
    _Atomic(arv_times *) times;
} arv_plane;

/* The times that are measured, or NULL. Thread: loop or worker. */
static inline arv_times *arv_plane_times(arv_plane *plane) {
    return atomic_load_explicit(&plane->times, memory_order_acquire);
}

/* Serve `fd` for `row`; false if there is no memory. Thread: loop. */
bool arv_plane_open(arv_plane *plane, int fd, arv_row *row);

/* Serve `fd` no more; return its row, or NULL. Thread: loop. */
arv_row *arv_plane_close(arv_plane *plane, int fd);

/* The row of `fd`, or NULL. Thread: loop. */
static inline arv_row *arv_plane_row(const arv_plane *plane, int fd) {
    return fd >= 0 && (size_t)fd < plane->nrows ? plane->rows[fd] : NULL;
}

typedef struct {
    size_t index;
    long stop; /* ARV_STOP_..., or 0 for an end of input */
    int error;
} arv_received;

/* See `Plane.receive`. Thread: loop. At most `nevents` - `start` receives. */
arv_received arv_receive(arv_plane *plane, const arv_event *events, size_t nevents, size_t start);

/* See `Plane.deliver`: ARV_STOP_..., or how much of a reply was sent. Thread: loop. */
long long arv_deliver(arv_plane *plane, uint64_t end_seq);

/* -- polls ------------------------------------------------------------------------------------------ */

enum {
    ARV_MOST_EVENTS = 128,    /* of one poll: as in asyncrev/loop/selector.py */
    ARV_MOST_TURNS = 32,      /* without a look at Python: some milliseconds */
    ARV_DELIVERY_ENTRIES = 64, /* of one delivery: as in asyncrev/bridge/delivery.py (I11) */
    ARV_WORKED_WAIT_MS = 50    /* until Python may handle a signal that has come before the wait */
};

typedef struct {
    arv_parker *parker;
    arv_signal *signal;
    int epoll_fd;
    int wake_fd;       /* the eventfd of `signal`, which is no event of anybody */
    int64_t until_ms;  /* by arv_now_ms; below 0: for ever */
    int turns_left;
    arv_event events[ARV_MOST_EVENTS];
    size_t nevents;    /* what was polled, */
    size_t nserved;    /* of which the first are of our own sockets, */
    size_t first;      /* and what is not handled begins here */
    bool releases;     /* entries up to delivered_seq are to be released by Python; then it goes on */
    bool is_behind;    /* there are results that have waited for a poll (I11) */
    bool has_worked;   /* signals may have come meanwhile, unseen, and timers may be due */
    int error;
} arv_poll_state;

/* Poll, and handle what is found, for as long as it is plain: receive, wake the worker, deliver,
 * release. Our own sockets come first in each poll. Thread: loop. Returns when something is for Python:
 * events of others, exceptions, entries with objects, the timeout, a signal, or after so many turns. */
void arv_poll(arv_plane *plane, arv_poll_state *state);

/* -- worker ----------------------------------------------------------------------------------------- */

/* Answer entries from processed_seq on, to `end_seq` at most, until one needs Python. Thread: worker.
 * Return whether a delivery must be requested by Python: then it has stopped there. */
bool arv_answer(arv_plane *plane, uint64_t end_seq, arv_signal *signal);

enum { ARV_NO_TIMEOUT_MS = -1 };

typedef struct {
    uint64_t end_seq;
    bool is_closed;
    bool posts;    /* a delivery must be requested by Python */
    bool is_idle;  /* before a sleep: it is to wait again */
    bool backstop; /* there was work after a sleep that timed out */
} arv_waited;

/* Wait until there is an entry from `taken_seq` on that needs Python; answer all others meanwhile.
 * See `Plane.wait`. Thread: worker. */
arv_waited arv_wait(arv_plane *plane, uint64_t taken_seq, arv_parker *parker, arv_signal *signal,
                    long long timeout_ms, bool stays);

#endif
