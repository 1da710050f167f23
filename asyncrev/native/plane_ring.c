/* `Ring`: see asyncrev/ring/ring.py. */
#include "plane_objects.h"

static size_t at(const RingObject *ring, uint64_t seq) { return (size_t)(seq % ring->core->nentries); }

static uint64_t published(const RingObject *ring) {
    return atomic_load_explicit(&ring->core->published_seq, memory_order_acquire);
}

static uint64_t processed(const RingObject *ring) {
    return atomic_load_explicit(&ring->core->processed_seq, memory_order_acquire);
}

static uint64_t released(const RingObject *ring) {
    return atomic_load_explicit(&ring->core->released_seq, memory_order_acquire);
}

/* -- life ---------------------------------------------------------------------------------------- */

PyObject *ring_owner(RingObject *ring, size_t pos) {
    arv_row *row = ring->core->rows[pos];
    if (row != NULL) {
        return (PyObject *)row_object(row);
    }
    PyObject *owner = ring->owners[pos];
    return owner == NULL ? Py_None : owner;
}

static int ring_traverse(PyObject *self, visitproc visit, void *arg) {
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

static int ring_clear(PyObject *self) {
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

static void ring_dealloc(PyObject *self) {
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
static PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
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

/* -- views --------------------------------------------------------------------------------------- */

/* The view of a slot in `views`, the loop's or the worker's: no thread slices a view of the other's
 * (I19). Borrowed. */
static PyObject *slot_view(RingObject *ring, PyObject **views, size_t number) {
    if (views[number] == NULL) {
        size_t off = arv_slot_off(ring->core, number);
        PyObject *whole = PyMemoryView_FromObject(ring->storage);
        if (whole == NULL) {
            return NULL;
        }
        views[number] = PySequence_GetSlice(
            whole, (Py_ssize_t)off, (Py_ssize_t)(off + arv_slot_length(ring->core, number)));
        Py_DECREF(whole);
    }
    return views[number];
}

PyObject *ring_chunk(RingObject *ring, size_t pos) {
    PyObject *view = slot_view(ring, ring->work_views, ring->core->slot_of[pos]);
    return view == NULL ? NULL : PySequence_GetSlice(view, 0, (Py_ssize_t)ring->core->sizes[pos]);
}

/* -- entries ------------------------------------------------------------------------------------- */

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

void ring_drop(RingObject *ring, size_t nentries) {
    uint64_t first_seq = released(ring);
    ring_count_owners(ring);
    for (uint64_t seq = first_seq; seq < first_seq + nentries; seq++) {
        drop_entry(ring, at(ring, seq));
    }
    arv_release(ring->core, nentries);
}

/* The reply that is in an entry's slot: a view of it, or bytes where its owner may have no views. */
static PyObject *slot_reply(State *state, RingObject *ring, size_t pos) {
    PyObject *work = row_object(ring->core->rows[pos])->work;
    if (PyObject_TypeCheck(work, state->work_type) && !((WorkObject *)work)->views_allowed) {
        return PyBytes_FromStringAndSize((const char *)ring->core->replies[pos],
                                         (Py_ssize_t)ring->core->reply_bytes[pos]);
    }
    PyObject *view = slot_view(ring, ring->loop_views, ring->core->slot_of[pos]);
    return view == NULL ? NULL
                        : PySequence_GetSlice(view, 0, (Py_ssize_t)ring->core->reply_bytes[pos]);
}

EntryObject *ring_entry(State *state, RingObject *ring, size_t pos) {
    if (ring->reports[pos] != NULL) {
        return ring->reports[pos];
    }
    PyObject *view = slot_view(ring, ring->work_views, ring->core->slot_of[pos]);
    if (view == NULL) {
        return NULL;
    }
    if (ring->entries[pos] == NULL) {
        ring->entries[pos] =
            (EntryObject *)PyObject_CallFunctionObjArgs((PyObject *)state->entry_type, view, NULL);
        if (ring->entries[pos] == NULL) {
            return NULL;
        }
    }
    EntryObject *entry = ring->entries[pos];
    set_reference(&entry->view, view);
    set_reference(&entry->owner, ring_owner(ring, pos));
    set_reference(&entry->kind, state->kinds[ring->core->kinds[pos]]);
    if (ring->core->outcomes[pos] == ARV_SLOT) { /* a kernel's, which left no object */
        PyObject *reply = slot_reply(state, ring, pos);
        if (reply == NULL) {
            return NULL;
        }
        set_reference(&entry->result, reply);
        Py_DECREF(reply);
    } else {
        set_reference(&entry->result, ring->results[pos]);
    }
    entry->nbytes = (long long)ring->core->sizes[pos];
    /* What another lane left there, which had this row before. */
    entry->calls = entry->surplus_bytes = 0;
    entry->ended = 0;
    ring->reports[pos] = (EntryObject *)Py_NewRef((PyObject *)entry);
    return entry;
}

/* Take the memory of a result, bytes or a view; false if it is neither. */
static bool take_reply(RingObject *ring, size_t pos, PyObject *result) {
    const unsigned char *reply = NULL;
    Py_ssize_t nbytes = 0;
    if (result == NULL || result == Py_None) {
        /* No reply. */
    } else if (PyBytes_CheckExact(result)) {
        reply = (const unsigned char *)PyBytes_AsString(result);
        nbytes = PyBytes_Size(result);
    } else if (PyMemoryView_Check(result)) {
        if (PyObject_GetBuffer(result, &ring->held[pos], PyBUF_SIMPLE) < 0) {
            PyErr_Clear(); /* released, or not contiguous: Python says so where it is sent */
            ring->held[pos].obj = NULL;
            return false;
        }
        reply = ring->held[pos].buf;
        nbytes = ring->held[pos].len;
    } else {
        return false;
    }
    ring->core->replies[pos] = reply;
    ring->core->reply_bytes[pos] = (size_t)nbytes;
    return true;
}

void ring_hand_back(State *state, RingObject *ring, size_t pos) {
    arv_ring *core = ring->core;
    EntryObject *report = ring->reports[pos];
    PyObject *result = ring->results[pos];
    bool is_plain = core->kinds[pos] == ARV_DATA;
    core->reported[pos] = report != NULL;
    if (report != NULL) {
        result = report->result;
        is_plain = (report->error == NULL || report->error == Py_None) &&
                   report->kind == state->kinds[ARV_DATA] && report->surplus_bytes == 0 &&
                   report->nbytes >= 0;
        core->done_bytes[pos] = (size_t)report->nbytes;
        core->frames[pos] =
            (arv_frames){report->partial_frame_bytes, report->frame_seq, report->calls};
    }
    core->outcomes[pos] = is_plain && take_reply(ring, pos, result) ? ARV_REPLY : ARV_OTHER;
    if (core->outcomes[pos] == ARV_REPLY) {
        /* The core has its memory: it must live until the release, whoever changes the `Entry`. */
        set_reference(&ring->results[pos], result);
    }
    arv_mark_processed(core);
}

/* -- methods ------------------------------------------------------------------------------------- */

/* Return the place of an entry from `first_seq` on that is published, or raise. */
static bool place(RingObject *ring, PyObject *number, size_t *pos) {
    unsigned long long seq = PyLong_AsUnsignedLongLong(number);
    if (seq == (unsigned long long)-1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_Format(PyExc_IndexError, "there is no entry %R", number);
        }
        return false;
    }
    if (seq < released(ring) || seq >= published(ring)) {
        PyErr_Format(PyExc_IndexError, "there is no entry %llu; those from %llu to %llu are in the ring",
                     seq, (unsigned long long)released(ring), (unsigned long long)published(ring));
        return false;
    }
    *pos = at(ring, seq);
    return true;
}

static bool is_full(const RingObject *ring) {
    return published(ring) - released(ring) >= ring->core->nentries;
}

static PyObject *ring_try_claim(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"small", NULL};
    RingObject *ring = (RingObject *)self;
    int small = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$p:try_claim", names, &small)) {
        return NULL;
    }
    arv_ring *core = ring->core;
    size_t nfree = small ? core->nfree_small_slots : core->nfree_slots;
    if (nfree == 0 || is_full(ring) || atomic_load(&core->input_closed)) {
        return new_none();
    }
    size_t number = (small ? core->free_small_slots : core->free_slots)[nfree - 1];
    return Py_XNewRef(slot_view(ring, ring->loop_views, number));
}

static PyObject *ring_publish(PyObject *self, PyObject *args) {
    RingObject *ring = (RingObject *)self;
    State *state = state_of(self);
    arv_ring *core = ring->core;
    PyObject *owner, *kind, *slot;
    Py_ssize_t nbytes;
    if (!PyArg_ParseTuple(args, "OOOn:publish", &owner, &kind, &slot, &nbytes)) {
        return NULL;
    }
    Py_ssize_t slot_bytes = PyObject_Size(slot);
    if (slot_bytes < 0) {
        return NULL;
    }
    if (nbytes < 0 || nbytes > slot_bytes) {
        return PyErr_Format(state->local_error, "publish of %zd bytes; the slot has %zd", nbytes,
                            slot_bytes);
    }
    if (is_full(ring)) {
        return PyErr_Format(state->local_error, "publish on a full ring: all %zu entries are in use",
                            core->nentries);
    }
    bool small = core->nfree_small_slots > 0 &&
                 slot == ring->loop_views[core->free_small_slots[core->nfree_small_slots - 1]];
    if (!small && (core->nfree_slots == 0 ||
                   slot != ring->loop_views[core->free_slots[core->nfree_slots - 1]])) {
        return PyErr_Format(state->local_error,
                            "publish of memory that is not the slot that was claimed last");
    }
    uint8_t number = 0;
    while (number < KINDS && kind != state->kinds[number]) {
        number++;
    }
    if (number == KINDS) {
        return PyErr_Format(PyExc_TypeError, "%R is not a kind of entries", kind);
    }
    bool is_row = PyObject_TypeCheck(owner, state->row_type);
    Py_INCREF(owner);
    if (!is_row) {
        ring->owners[at(ring, published(ring))] = owner;
    }
    ring_count_owners(ring);
    core->counted_seq++;
    arv_publish(core, is_row ? &((RowObject *)owner)->core : NULL, number, small, (size_t)nbytes);
    return new_none();
}

static PyObject *ring_view(PyObject *self, PyObject *number) {
    size_t pos;
    return place((RingObject *)self, number, &pos) ? ring_chunk((RingObject *)self, pos) : NULL;
}

static PyObject *ring_get_owner(PyObject *self, PyObject *number) {
    size_t pos;
    return place((RingObject *)self, number, &pos) ? Py_NewRef(ring_owner((RingObject *)self, pos))
                                                   : NULL;
}

static PyObject *ring_get_entry(PyObject *self, PyObject *number) {
    size_t pos;
    if (!place((RingObject *)self, number, &pos)) {
        return NULL;
    }
    return Py_XNewRef((PyObject *)ring_entry(state_of(self), (RingObject *)self, pos));
}

static PyObject *ring_result(PyObject *self, PyObject *number) {
    RingObject *ring = (RingObject *)self;
    size_t pos;
    if (!place(ring, number, &pos)) {
        return NULL;
    }
    if (ring->core->outcomes[pos] == ARV_SLOT) {
        return slot_reply(state_of(self), ring, pos);
    }
    PyObject *result = ring->reports[pos] == NULL ? ring->results[pos] : ring->reports[pos]->result;
    return Py_NewRef(result == NULL ? Py_None : result);
}

static PyObject *ring_returned(PyObject *self, PyObject *number) {
    RingObject *ring = (RingObject *)self;
    size_t pos;
    if (!place(ring, number, &pos)) {
        return NULL;
    }
    EntryObject *report = ring->reports[pos];
    if (report != NULL) {
        return Py_BuildValue("OOLO", ring_owner(ring, pos), report->kind, report->nbytes, report);
    }
    return Py_BuildValue("OOnO", ring_owner(ring, pos),
                         state_of(self)->kinds[ring->core->kinds[pos]],
                         (Py_ssize_t)ring->core->sizes[pos], Py_None);
}

static PyObject *ring_mark_processed(PyObject *self, PyObject *args) {
    RingObject *ring = (RingObject *)self;
    State *state = state_of(self);
    PyObject *result = Py_None;
    if (!PyArg_ParseTuple(args, "|O:mark_processed", &result)) {
        return NULL;
    }
    uint64_t seq = processed(ring);
    if (seq >= published(ring)) {
        return PyErr_Format(state->local_error, "nothing to process: all %llu published entries are done",
                            (unsigned long long)seq);
    }
    size_t pos = at(ring, seq);
    if (result != Py_None) {
        set_reference(&ring->results[pos], result);
    }
    ring_hand_back(state, ring, pos);
    return new_none();
}

static PyObject *ring_release(PyObject *self, PyObject *count) {
    RingObject *ring = (RingObject *)self;
    Py_ssize_t nentries = PyLong_AsSsize_t(count);
    if (nentries == -1 && PyErr_Occurred()) {
        return NULL;
    }
    uint64_t seq = released(ring);
    uint64_t ready = processed(ring) - seq;
    if (nentries < 0 || (uint64_t)nentries > ready) {
        return PyErr_Format(state_of(self)->local_error, "release of %zd entries; %llu are processed",
                            nentries, (unsigned long long)ready);
    }
    ring_drop(ring, (size_t)nentries);
    return new_none();
}

static PyObject *ring_close_input(PyObject *self, PyObject *unused) {
    (void)unused;
    atomic_store(&((RingObject *)self)->core->input_closed, true);
    return new_none();
}

static PyObject *ring_close_output(PyObject *self, PyObject *unused) {
    (void)unused;
    atomic_store(&((RingObject *)self)->core->output_closed, true);
    return new_none();
}

static PyMethodDef ring_methods[] = {
    {"try_claim", (PyCFunction)(void (*)(void))ring_try_claim, METH_VARARGS | METH_KEYWORDS, NULL},
    {"publish", ring_publish, METH_VARARGS, NULL},
    {"view", ring_view, METH_O, NULL},
    {"owner", ring_get_owner, METH_O, NULL},
    {"entry", ring_get_entry, METH_O, NULL},
    {"result", ring_result, METH_O, NULL},
    {"returned", ring_returned, METH_O, NULL},
    {"mark_processed", ring_mark_processed, METH_VARARGS, NULL},
    {"release", ring_release, METH_O, NULL},
    {"close_input", ring_close_input, METH_NOARGS, NULL},
    {"close_output", ring_close_output, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* -- attributes ---------------------------------------------------------------------------------- */

static PyObject *seq_of(PyObject *self, void *which) {
    const arv_ring *core = ((RingObject *)self)->core;
    uint64_t seq = core->delivered_seq;
    switch (*(const char *)which) {
    case 'p':
        seq = published((RingObject *)self);
        break;
    case 'w':
        seq = processed((RingObject *)self);
        break;
    case 'r':
        seq = released((RingObject *)self);
        break;
    }
    return PyLong_FromUnsignedLongLong(seq);
}

static PyObject *flag_of(PyObject *self, void *which) {
    const arv_ring *core = ((RingObject *)self)->core;
    return PyBool_FromLong(*(const char *)which == 'i' ? atomic_load(&core->input_closed)
                                                       : atomic_load(&core->output_closed));
}

static PyObject *size_of(PyObject *self, void *which) {
    const arv_ring *core = ((RingObject *)self)->core;
    size_t size = core->nentries;
    switch (*(const char *)which) {
    case 's':
        size = core->nslots;
        break;
    case 'b':
        size = core->slot_bytes;
        break;
    case 'm':
        size = core->small_slot_bytes;
        break;
    case 'f':
        size = core->nentries - (size_t)(published((RingObject *)self) - released((RingObject *)self));
        break;
    }
    return PyLong_FromSize_t(size);
}

static PyObject *numbers(const size_t *from, size_t count) {
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t index = 0; list != NULL && index < count; index++) {
        PyObject *number = PyLong_FromSize_t(from[index]);
        if (number == NULL || PyList_SetItem(list, (Py_ssize_t)index, number) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* New lists, for tests. */
static PyObject *slots_of(PyObject *self, void *which) {
    const arv_ring *core = ((RingObject *)self)->core;
    switch (*(const char *)which) {
    case 's':
        return numbers(core->free_small_slots, core->nfree_small_slots);
    case 'b':
        return numbers(core->free_slots, core->nfree_slots);
    default:
        return numbers(core->slot_of, core->nentries);
    }
}

static PyGetSetDef ring_getset[] = {
    {"published_seq", seq_of, NULL, NULL, "p"},
    {"processed_seq", seq_of, NULL, NULL, "w"},
    {"released_seq", seq_of, NULL, NULL, "r"},
    {"delivered_seq", seq_of, NULL, NULL, "d"},
    {"input_closed", flag_of, NULL, NULL, "i"},
    {"output_closed", flag_of, NULL, NULL, "o"},
    {"nentries", size_of, NULL, NULL, "n"},
    {"slots", size_of, NULL, NULL, "s"},
    {"slot_bytes", size_of, NULL, NULL, "b"},
    {"small_slot_bytes", size_of, NULL, NULL, "m"},
    {"free_entries", size_of, NULL, NULL, "f"},
    {"free_small_slots", slots_of, NULL, NULL, "s"},
    {"free_slots", slots_of, NULL, NULL, "b"},
    {"slot_of", slots_of, NULL, NULL, "n"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef ring_members[] = {
    {"storage", T_OBJECT, offsetof(RingObject, storage), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot ring_slots[] = {
    {Py_tp_new, ring_new},         {Py_tp_dealloc, ring_dealloc}, {Py_tp_traverse, ring_traverse},
    {Py_tp_clear, ring_clear},     {Py_tp_methods, ring_methods}, {Py_tp_getset, ring_getset},
    {Py_tp_members, ring_members}, {0, NULL},
};

PyType_Spec ring_spec = {
    .name = "asyncrev.native._plane.Ring",
    .basicsize = sizeof(RingObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = ring_slots,
};
