/* `Ring`: its methods and attributes. See asyncrev/ring/ring.py. */
#include "plane_ring.h"

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
    return Py_XNewRef(ring_slot_view(ring, ring->loop_views, number));
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
        return ring_slot_reply(state_of(self), ring, pos);
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
