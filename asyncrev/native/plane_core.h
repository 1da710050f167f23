/* The plane's core: the ring's columns and cursors, and what is done with many rows in one call.
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

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ARV_DATA = 0 }; /* of the kinds of entries the only one that the core knows */

/* What is done with a chunk without Python. */
typedef enum {
    ARV_NO_KERNEL, /* nothing: it needs Python */
    ARV_REVERSE,   /* its bytes in reverse order */
    ARV_LINES,     /* whole lines, with each payload reversed */
    ARV_LEN32,     /* whole frames, with each payload reversed */
    ARV_LEN64,
} arv_kernel;

/* What the worker does for a row: the core's part of it. */
typedef struct {
    int kernel;           /* an arv_kernel; writer and reader: worker */
    uint64_t most_bytes;  /* of a frame's payload; written with `kernel` */
    _Atomic bool abandoned; /* nobody wants replies; writer: loop, reader: worker, which may see it late */
} arv_work;

/* What is counted of one owner of entries. Thread: loop. `Row` names each field. */
typedef struct {
    int64_t in_flight_entries;
    int64_t in_flight_bytes;
    int64_t partial_frame_bytes;
    int64_t read_bytes;
    int64_t reserved_bytes;
    int64_t frame_seq;
    int64_t received_bytes;
    int64_t replied_bytes;
    double look_at_s;
    int small_reads;
    int fd; /* while the plane serves it, else -1 */
    bool abandoned;
    bool waits_for_credit;
    bool waits_for_slot;
    bool is_framed;
    bool reads;
    bool sends;
    bool has_stop; /* arv_poll has met an exception: what arv_receive is to return for its event */
    int stop_error;
    long stop;
    arv_work *work; /* NULL: its entries need Python */
} arv_row;

/* What the worker has left for the loop in a row of the ring. */
typedef enum {
    ARV_OTHER, /* Python must look at it */
    ARV_REPLY, /* `reply`, which may be empty, and nothing else */
    ARV_SLOT,  /* the same; the reply is in the slot, and no object stands for it */
} arv_outcome;

/* What a processed entry of a framed row says, beside its reply. */
typedef struct {
    int64_t partial_frame_bytes;
    int64_t frame_seq;
    int64_t calls;
} arv_frames;

typedef struct {
    /* Set once. */
    size_t nentries;
    size_t nslots;
    size_t slot_bytes;
    size_t small_slot_bytes;
    size_t stride_bytes; /* from one small slot to the next */
    unsigned char *storage;

    /* Columns, by sequence number modulo nentries. Writers: the loop of the first four, the worker of
     * the others. */
    arv_row **rows; /* NULL: the owner is not a row */
    uint8_t *kinds;
    size_t *slot_of;
    size_t *sizes;
    uint8_t *outcomes; /* arv_outcome */
    bool *reported;    /* an `Entry` is attached: the next two count */
    size_t *done_bytes;
    arv_frames *frames;
    const unsigned char **replies;
    size_t *reply_bytes;

    /* Loop. The slot freed last is at the end. */
    size_t *free_small_slots;
    size_t nfree_small_slots;
    size_t *free_slots;
    size_t nfree_slots;
    uint64_t delivered_seq;
    uint64_t counted_seq; /* owners of entries below it are referred to; see plane_objects.h */

    /* Each on a cache line of its own. */
    _Alignas(64) _Atomic uint64_t published_seq; /* writer: loop */
    _Alignas(64) _Atomic uint64_t processed_seq; /* writer: worker */
    _Alignas(64) _Atomic uint64_t released_seq;  /* writer: loop */
    _Alignas(64) _Atomic bool input_closed;      /* writer: the thread that stops first */
    _Atomic bool output_closed;                  /* writers: worker, and the loop when it leaves */
} arv_ring;

/* Return a ring over `storage`, or NULL if there is no memory. The sizes are those of `Ring`. */
arv_ring *arv_ring_new(unsigned char *storage, size_t nentries, size_t nslots, size_t small_slot_bytes,
                       size_t slot_bytes, size_t stride_bytes);

void arv_ring_free(arv_ring *ring);

/* Where slot `number` begins in the storage. */
size_t arv_slot_off(const arv_ring *ring, size_t number);

/* The length of slot `number`. */
size_t arv_slot_length(const arv_ring *ring, size_t number);

/* Publish the first `nbytes` of the slot freed last, of the small ones or of the others. Thread: loop.
 * There is one, and a free entry. */
void arv_publish(arv_ring *ring, arv_row *row, uint8_t kind, bool small, size_t nbytes);

/* Free the slots of the oldest `nentries` processed entries, and empty their rows. Thread: loop. */
void arv_release(arv_ring *ring, size_t nentries);

/* Hand the oldest unprocessed entry back to the loop. Thread: worker. */
void arv_mark_processed(arv_ring *ring);

/* CLOCK_MONOTONIC in milliseconds. */
int64_t arv_now_ms(void);

/* -- wake-ups ---------------------------------------------------------------------------------- */

/* The worker's sleep. I5: the loop publishes, THEN looks at `parked`; the worker sets it, THEN looks
 * for work. */
typedef struct {
    _Atomic bool parked; /* writers: both */
    int fd;              /* an eventfd */
    int poll_fd;         /* an epoll with it, edge-triggered, so that nothing has to read it */
    _Atomic uint64_t unparks;
} arv_parker;

/* Return 0, or an errno. */
int arv_parker_open(arv_parker *parker);

void arv_parker_close(arv_parker *parker);

/* Wake the worker if it sleeps or is about to; return whether it had to be. Thread: any. */
bool arv_unpark(arv_parker *parker);

/* Announce a sleep. The caller looks for work afterwards, and calls arv_park or arv_parker_stay. */
void arv_parker_prepare(arv_parker *parker);

/* Do not sleep after all. */
void arv_parker_stay(arv_parker *parker);

/* Sleep until woken, for at most `timeout_ms`; return whether it timed out. Thread: worker. */
bool arv_park(arv_parker *parker, int timeout_ms);

/* Requests of deliveries. I6: the loop clears `awaited`, THEN reads the worker's cursor; the worker
 * moves its cursor, THEN sets it. */
typedef struct {
    _Atomic bool awaited;       /* whether a delivery will come without a request; writers: both */
    _Atomic int wake_fd;        /* an eventfd that the loop polls, or -1; writer: loop */
    _Atomic uint64_t requests;  /* writer: worker */
} arv_signal;

/* Whether a request must be posted; it counts as made then. Thread: worker. */
bool arv_must_request(arv_signal *signal);

/* Take back what arv_must_request has noted: nothing could be posted. */
void arv_not_requested(arv_signal *signal);

/* Note that a delivery begins. Thread: loop, before it reads the worker's cursor. */
void arv_signal_clear(arv_signal *signal);

/* Wake who polls the eventfd `fd`; false if its counter is full: that loop has been closed. */
bool arv_wake(int fd);

/* -- the plane --------------------------------------------------------------------------------- */

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
} arv_plane;

/* Serve `fd` for `row`; false if there is no memory. Thread: loop. */
bool arv_plane_open(arv_plane *plane, int fd, arv_row *row);

/* Serve `fd` no more; return its row, or NULL. Thread: loop. */
arv_row *arv_plane_close(arv_plane *plane, int fd);

/* The row of `fd`, or NULL. Thread: loop. */
arv_row *arv_plane_row(const arv_plane *plane, int fd);

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
    size_t nevents;    /* what was polled and is not handled */
    size_t first;
    bool releases;     /* entries up to delivered_seq are to be released by Python; then it goes on */
    bool is_behind;    /* there are results that have waited for a poll (I11) */
    bool has_worked;   /* signals may have come meanwhile, unseen, and timers may be due */
    int error;
} arv_poll_state;

/* Poll, and handle what is found, for as long as it is plain: receive, wake the worker, deliver,
 * release. Thread: loop. Returns when something is for Python: events of others, exceptions, entries
 * with objects, the timeout, a signal, or after so many turns. */
void arv_poll(arv_plane *plane, arv_poll_state *state);

/* -- worker ----------------------------------------------------------------------------------------- */

/* Answer entries from processed_seq on, to `end_seq` at most, until one needs Python. Thread: worker.
 * Return whether a delivery must be requested by Python: then it has stopped there. */
bool arv_answer(arv_ring *ring, uint64_t end_seq, arv_signal *signal);

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
