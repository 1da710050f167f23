/* `Ring`: its memory, and what it refers to. See plane_objects.h for the rules. */
#include "plane_ring.h"

/* -- owners -------------------------------------------------------------------------------------- */

void ring_count_owners(RingObject *ring) {
    arv_ring *core = ring->core;
    uint64_t first_seq = released(ring), end_seq = published(ring);
    if (core->counted_seq < first_seq) {
        core->counted_seq = first_seq;
    }
    for (; core->counted_seq < end_seq; core->counted_seq++) {
        Py_INCREF(ring_owner(ring, at(ring, core->counted_seq)));
    }
}

static void release_held(RingObject *ring, size_t pos) {
    if (ring->held[pos].obj != NULL) {
        PyBuffer_Release(&ring->held[pos]);
    }
}

static void drop_entry(RingObject *ring, size_t pos) {
    arv_row *row = ring->core->rows[pos];
    ring->core->rows[pos] = NULL;
    PyObject *owner = row != NULL ? (PyObject *)row_object(row) : ring->owners[pos];
    ring->owners[pos] = NULL;
    PyObject *result = ring->results[pos];
    ring->results[pos] = NULL;
    release_held(ring, pos);
    EntryObject *report = ring->reports[pos];
    ring->reports[pos] = NULL;
    Py_XDECREF(owner);
    Py_XDECREF(result);
    if (report != NULL) {
        Py_CLEAR(report->owner);
        Py_CLEAR(report->result);
        Py_CLEAR(report->error);
        Py_DECREF(report);
    }
}

void ring_drop(RingObject *ring, size_t nentries) {
    uint64_t first_seq = released(ring);
    ring_count_owners(ring);
    for (uint64_t seq = first_seq; seq < first_seq + nentries; seq++) {
        drop_entry(ring, at(ring, seq));
    }
    arv_release(ring->core, nentries);
}

/* -- life ---------------------------------------------------------------------------------------- */

int ring_traverse(PyObject *self, visitproc visit, void *arg) {
    RingObject *ring = (RingObject *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(ring->storage);
    if (ring->core == NULL || ring->work_views == NULL) {
        return 0;
    }
    size_t nentries = ring->core->nentries;
    for (uint64_t seq = released(ring); seq < ring->core->counted_seq; seq++) {
        size_t pos = at(ring, seq);
        if (ring->core->rows[pos] != NULL || ring->owners[pos] != NULL) {
            Py_VISIT(ring_owner(ring, pos));
        }
    }
    for (size_t pos = 0; pos < nentries; pos++) {
        Py_VISIT(ring->results[pos]);
        /* Not what is held: a view that the collector clears while it is exported crashes CPython. As
         * it is, the view looks referred to from outside, and goes when this ring is cleared. */
        Py_VISIT(ring->reports[pos]);
        Py_VISIT(ring->entries[pos]);
    }
    for (size_t number = 0; number < nentries + ring->core->nslots; number++) {
        Py_VISIT(ring->loop_views[number]);
        Py_VISIT(ring->work_views[number]);
    }
    return 0;
}

int ring_clear(PyObject *self) {
    RingObject *ring = (RingObject *)self;
    if (ring->core == NULL || ring->work_views == NULL) {
        return 0;
    }
    uint64_t first_seq = released(ring), end_seq = ring->core->counted_seq;
    ring->core->counted_seq = first_seq < end_seq ? first_seq : end_seq;
    for (uint64_t seq = first_seq; seq < end_seq; seq++) {
        drop_entry(ring, at(ring, seq));
    }
    for (size_t pos = 0; pos < ring->core->nentries; pos++) {
        release_held(ring, pos);
        Py_CLEAR(ring->results[pos]);
        Py_CLEAR(ring->reports[pos]);
        Py_CLEAR(ring->entries[pos]);
    }
    for (size_t number = 0; number < ring->core->nentries + ring->core->nslots; number++) {
        Py_CLEAR(ring->loop_views[number]);
        Py_CLEAR(ring->work_views[number]);
    }
    return 0;
}

void ring_dealloc(PyObject *self) {
    RingObject *ring = (RingObject *)self;
    PyObject_GC_UnTrack(self);
    ring_clear(self);
    if (ring->core != NULL) {
        PyMem_Free(ring->owners);
        PyMem_Free(ring->results);
        PyMem_Free(ring->held);
        PyMem_Free(ring->reports);
        PyMem_Free(ring->entries);
        PyMem_Free(ring->loop_views);
        PyMem_Free(ring->work_views);
        arv_ring_free(ring->core);
    }
    if (ring->memory.obj != NULL) {
        PyBuffer_Release(&ring->memory);
    }
    Py_CLEAR(ring->storage);
    free_object(self);
}

static bool allocate_objects(RingObject *ring, size_t nentries, size_t nslots) {
    size_t nviews = nentries + nslots;
    ring->owners = PyMem_Calloc(nentries, sizeof *ring->owners);
    ring->results = PyMem_Calloc(nentries, sizeof *ring->results);
    ring->held = PyMem_Calloc(nentries, sizeof *ring->held);
    ring->reports = PyMem_Calloc(nentries, sizeof *ring->reports);
    ring->entries = PyMem_Calloc(nentries, sizeof *ring->entries);
    ring->loop_views = PyMem_Calloc(nviews, sizeof *ring->loop_views);
    ring->work_views = PyMem_Calloc(nviews, sizeof *ring->work_views);
    return ring->owners != NULL && ring->results != NULL && ring->held != NULL &&
           ring->reports != NULL && ring->entries != NULL && ring->loop_views != NULL &&
           ring->work_views != NULL;
}

/* The sizes that asyncrev.ring.storage.allocate has chosen, as in `Storage`. */
typedef struct {
    Py_ssize_t slots, slot_bytes, entries, small_slot_bytes, stride_bytes;
} Sizes;

/* By division, because a product might be larger than any number here. */
static bool fits(const Sizes *sizes, Py_ssize_t nbytes) {
    return sizes->slots >= 1 && sizes->entries >= sizes->slots && sizes->small_slot_bytes >= 1 &&
           sizes->slot_bytes >= sizes->small_slot_bytes &&
           sizes->stride_bytes >= sizes->small_slot_bytes &&
           sizes->stride_bytes <= nbytes / sizes->entries &&
           sizes->slot_bytes <= (nbytes - sizes->entries * sizes->stride_bytes) / sizes->slots;
}

/* The memory is Python's: a processor may keep a view of it for longer than the ring lives. */
PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    State *state = PyType_GetModuleState(type);
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *storage = PyObject_Call(state->allocate, args, kwargs);
    PyObject *memory;
    Sizes sizes;
    if (storage == NULL) {
        return NULL;
    }
    RingObject *ring = NULL;
    if (PyArg_ParseTuple(storage, "Onnnnn", &memory, &sizes.slots, &sizes.slot_bytes, &sizes.entries,
                         &sizes.small_slot_bytes, &sizes.stride_bytes)) {
        ring = (RingObject *)allocate(type, 0);
    }
    if (ring == NULL || PyObject_GetBuffer(memory, &ring->memory, PyBUF_WRITABLE) < 0) {
        Py_DECREF(storage);
        Py_XDECREF((PyObject *)ring);
        return NULL;
    }
    ring->storage = Py_NewRef(memory);
    Py_DECREF(storage);
    if (!fits(&sizes, ring->memory.len)) {
        Py_DECREF(ring);
        return PyErr_Format(PyExc_ValueError, "the slots do not fit into the storage");
    }
    ring->core = arv_ring_new(ring->memory.buf, (size_t)sizes.entries, (size_t)sizes.slots,
                              (size_t)sizes.small_slot_bytes, (size_t)sizes.slot_bytes,
                              (size_t)sizes.stride_bytes);
    if (ring->core == NULL ||
        !allocate_objects(ring, (size_t)sizes.entries, (size_t)sizes.slots)) {
        Py_DECREF(ring);
        return PyErr_NoMemory();
    }
    return (PyObject *)ring;
}
