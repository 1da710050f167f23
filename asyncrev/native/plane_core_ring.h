/* The ring: columns by sequence number, slots, and three cursors that only grow.
 *
 * `asyncrev.ring.ring` is the reference, and explains I1 to I3. Threads: see plane_core.h. What is done
 * for each entry is inline.
 */
#ifndef ASYNCREV_PLANE_CORE_RING_H
#define ASYNCREV_PLANE_CORE_RING_H

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
    _Atomic uint64_t kernel_frames; /* answered by a kernel so far; writer: worker; readers: any */
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
static inline size_t arv_slot_off(const arv_ring *ring, size_t number) {
    if (number < ring->nentries) {
        return number * ring->stride_bytes;
    }
    return ring->nentries * ring->stride_bytes + (number - ring->nentries) * ring->slot_bytes;
}

/* The length of slot `number`. */
static inline size_t arv_slot_length(const arv_ring *ring, size_t number) {
    return number < ring->nentries ? ring->small_slot_bytes : ring->slot_bytes;
}

/* Publish the first `nbytes` of the slot freed last, of the small ones or of the others. Thread: loop.
 * There is one, and a free entry. */
static inline void arv_publish(arv_ring *ring, arv_row *row, uint8_t kind, bool small, size_t nbytes) {
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

/* Free the slots of the oldest `nentries` processed entries, and empty their rows. Thread: loop. */
void arv_release(arv_ring *ring, size_t nentries);

/* Hand the oldest unprocessed entry back to the loop. Thread: worker. */
static inline void arv_mark_processed(arv_ring *ring) {
    uint64_t seq = atomic_load_explicit(&ring->processed_seq, memory_order_relaxed);
    /* ORDER: after the entry's result and error, which this store publishes (I2, I3). */
    atomic_store_explicit(&ring->processed_seq, seq + 1, memory_order_release);
}

#endif
