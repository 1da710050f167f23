/* What the files of `Ring` share: plane_ring.c, plane_ring_memory.c and plane_ring_entries.c. */
#ifndef ASYNCREV_PLANE_RING_H
#define ASYNCREV_PLANE_RING_H

#include "plane_objects.h"

static inline size_t at(const RingObject *ring, uint64_t seq) {
    return (size_t)(seq % ring->core->nentries);
}

static inline uint64_t published(const RingObject *ring) {
    return atomic_load_explicit(&ring->core->published_seq, memory_order_acquire);
}

static inline uint64_t processed(const RingObject *ring) {
    return atomic_load_explicit(&ring->core->processed_seq, memory_order_acquire);
}

static inline uint64_t released(const RingObject *ring) {
    return atomic_load_explicit(&ring->core->released_seq, memory_order_acquire);
}

/* The view of a slot in `views`, the loop's or the worker's: no thread slices a view of the other's
 * (I19). Borrowed. */
PyObject *ring_slot_view(RingObject *ring, PyObject **views, size_t number);

/* The reply that is in an entry's slot: a view of it, or bytes where its owner may have no views. */
PyObject *ring_slot_reply(State *state, RingObject *ring, size_t pos);

/* Of the type. */
PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
int ring_traverse(PyObject *self, visitproc visit, void *arg);
int ring_clear(PyObject *self);
void ring_dealloc(PyObject *self);

#endif
