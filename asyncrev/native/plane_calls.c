/* `Plane`: its life, its descriptors and its type. See asyncrev/ring/plane.py. */
#include "plane_calls.h" /* first: it sets the feature macros */

#include <stdlib.h>

/* -- life ---------------------------------------------------------------------------------------- */

static int plane_traverse(PyObject *self, visitproc visit, void *arg) {
    PlaneObject *plane = (PlaneObject *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(plane->ring);
    Py_VISIT(plane->polled);
    for (size_t fd = 0; fd < plane->core.nrows; fd++) {
        if (plane->core.rows[fd] != NULL) {
            Py_VISIT(row_object(plane->core.rows[fd]));
        }
    }
    return 0;
}

static int plane_clear(PyObject *self) {
    PlaneObject *plane = (PlaneObject *)self;
    for (size_t fd = 0; fd < plane->core.nrows; fd++) {
        arv_row *row = arv_plane_close(&plane->core, (int)fd);
        if (row != NULL) {
            Py_DECREF(row_object(row));
        }
    }
    Py_CLEAR(plane->polled);
    return 0;
}

static void plane_dealloc(PyObject *self) {
    PlaneObject *plane = (PlaneObject *)self;
    PyObject_GC_UnTrack(self);
    plane_clear(self);
    Py_CLEAR(plane->ring);
    free(plane->core.rows);
    arv_times_free(arv_plane_times(&plane->core));
    PyMem_Free(plane->events);
    free_object(self);
}

static PyObject *plane_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ring", "most_entries", "most_bytes", "little_bytes", NULL};
    PyObject *ring;
    long long most_entries, most_bytes, little_bytes = 0;
    State *state = PyType_GetModuleState(type);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OLL|L:Plane", names, &ring, &most_entries,
                                     &most_bytes, &little_bytes)) {
        return NULL;
    }
    if (Py_TYPE(ring) != state->ring_type) {
        return PyErr_Format(PyExc_TypeError, "a plane needs a Ring of its own module, not %R", ring);
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PlaneObject *plane = (PlaneObject *)allocate(type, 0);
    if (plane == NULL) {
        return NULL;
    }
    plane->ring = (RingObject *)Py_NewRef(ring);
    plane->core.ring = plane->ring->core;
    plane->core.most_entries = most_entries;
    plane->core.most_bytes = most_bytes;
    plane->core.little_bytes = little_bytes;
    plane->events = PyMem_Calloc(ARV_MOST_EVENTS, sizeof *plane->events);
    if (plane->events == NULL) {
        Py_DECREF(plane);
        return PyErr_NoMemory();
    }
    return (PyObject *)plane;
}

/* -- descriptors --------------------------------------------------------------------------------- */

static PyObject *plane_open(PyObject *self, PyObject *args) {
    PlaneObject *plane = (PlaneObject *)self;
    int fd;
    PyObject *row, *recv_into, *send; /* the last two are for the plane in Python */
    if (!PyArg_ParseTuple(args, "iO!OO:open", &fd, state_of(self)->row_type, &row, &recv_into, &send)) {
        return NULL;
    }
    if (fd < 0) {
        return PyErr_Format(PyExc_ValueError, "a descriptor is %d; it must be at least 0", fd);
    }
    Py_INCREF(row);
    arv_row *before = arv_plane_close(&plane->core, fd);
    bool done = arv_plane_open(&plane->core, fd, &((RowObject *)row)->core);
    if (!done) {
        Py_DECREF(row);
    }
    if (before != NULL) {
        Py_DECREF(row_object(before));
    }
    return done ? new_none() : PyErr_NoMemory();
}

static PyObject *plane_close(PyObject *self, PyObject *number) {
    long long fd;
    if (!is_integer(number, -1, 2147483647, "a descriptor", &fd)) {
        return NULL;
    }
    arv_row *row = arv_plane_close(&((PlaneObject *)self)->core, (int)fd);
    if (row == NULL) {
        return new_none();
    }
    return (PyObject *)row_object(row); /* the table's reference */
}

static PyObject *plane_row(PyObject *self, PyObject *number) {
    long long fd;
    if (!is_integer(number, -1, 2147483647, "a descriptor", &fd)) {
        return NULL;
    }
    arv_row *row = arv_plane_row(&((PlaneObject *)self)->core, (int)fd);
    return Py_NewRef(row == NULL ? Py_None : (PyObject *)row_object(row));
}

/* -- durations ----------------------------------------------------------------------------------- */

static PyObject *plane_measure(PyObject *self, PyObject *ignored) {
    (void)ignored;
    arv_plane *core = &((PlaneObject *)self)->core;
    if (arv_plane_times(core) == NULL) {
        arv_times *times = arv_times_new(core->ring);
        if (times == NULL) {
            return PyErr_NoMemory();
        }
        atomic_store_explicit(&core->times, times, memory_order_release);
    }
    return new_none();
}

static PyObject *plane_note_awake(PyObject *self, PyObject *ignored) {
    (void)ignored;
    arv_times *times = arv_plane_times(&((PlaneObject *)self)->core);
    if (times != NULL) {
        arv_note_awake(times);
    }
    return new_none();
}

static PyObject *plane_note_poll(PyObject *self, PyObject *ignored) {
    (void)ignored;
    arv_times *times = arv_plane_times(&((PlaneObject *)self)->core);
    if (times != NULL) {
        arv_note_poll(times);
    }
    return new_none();
}

static PyObject *plane_note_published(PyObject *self, PyObject *ignored) {
    (void)ignored;
    arv_plane *core = &((PlaneObject *)self)->core;
    arv_times *times = arv_plane_times(core);
    if (times != NULL) {
        arv_note_published(times, core->ring);
    }
    return new_none();
}

static PyObject *plane_note_released(PyObject *self, PyObject *ignored) {
    (void)ignored;
    arv_plane *core = &((PlaneObject *)self)->core;
    arv_times *times = arv_plane_times(core);
    if (times != NULL) {
        arv_note_released(times, core->ring);
    }
    return new_none();
}

/* A pair of the counts by bucket and the sum; new. */
static PyObject *counts_of(arv_histogram *histogram) {
    PyObject *counts = PyList_New(ARV_BUCKETS);
    for (Py_ssize_t bucket = 0; counts != NULL && bucket < ARV_BUCKETS; bucket++) {
        PyObject *count = PyLong_FromUnsignedLongLong(
            atomic_load_explicit(&histogram->counts[bucket], memory_order_relaxed));
        if (count == NULL || PyList_SetItem(counts, bucket, count) < 0) {
            Py_CLEAR(counts);
        }
    }
    return counts == NULL ? NULL
                          : Py_BuildValue("NK", counts,
                                          (unsigned long long)atomic_load_explicit(
                                              &histogram->sum_ns, memory_order_relaxed));
}

static PyObject *plane_durations(PyObject *self, PyObject *ignored) {
    (void)ignored;
    arv_times *times = arv_plane_times(&((PlaneObject *)self)->core);
    if (times == NULL) {
        return new_none();
    }
    arv_histogram *histograms[] = {&times->loop_turn, &times->processing, &times->reply};
    PyObject *all = PyTuple_New(3);
    for (Py_ssize_t index = 0; all != NULL && index < 3; index++) {
        PyObject *one = counts_of(histograms[index]);
        if (one == NULL || PyTuple_SetItem(all, index, one) < 0) {
            Py_CLEAR(all);
        }
    }
    return all;
}

/* -- the type ------------------------------------------------------------------------------------ */

static PyObject *plane_count(PyObject *self, void *which) {
    arv_plane *core = &((PlaneObject *)self)->core;
    switch (*(const char *)which) {
    case 'b':
        return PyLong_FromUnsignedLongLong(atomic_load(&core->batches));
    case 'l':
        return PyLong_FromUnsignedLongLong(atomic_load(&core->largest_batch));
    case 'd':
        return PyLong_FromUnsignedLongLong(core->deliveries);
    case 'h':
        return PyLong_FromUnsignedLongLong(core->entries_in_use_high);
    default:
        return PyLong_FromSize_t(core->served);
    }
}

static PyMethodDef plane_methods[] = {
    {"open", plane_open, METH_VARARGS, NULL},       {"close", plane_close, METH_O, NULL},
    {"row", plane_row, METH_O, NULL},               {"receive", plane_receive, METH_VARARGS, NULL},
    {"deliver", plane_deliver, METH_O, NULL},       {"answer", plane_answer, METH_VARARGS, NULL},
    {"wait", plane_wait, METH_VARARGS, NULL},       {"poll", plane_poll, METH_VARARGS, NULL},
    {"measure", plane_measure, METH_NOARGS, NULL},  {"durations", plane_durations, METH_NOARGS, NULL},
    {"note_awake", plane_note_awake, METH_NOARGS, NULL},
    {"note_poll", plane_note_poll, METH_NOARGS, NULL},
    {"note_published", plane_note_published, METH_NOARGS, NULL},
    {"note_released", plane_note_released, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef plane_getset[] = {
    {"batches", plane_count, NULL, NULL, "b"},
    {"largest_batch", plane_count, NULL, NULL, "l"},
    {"served", plane_count, NULL, NULL, "s"},
    {"deliveries", plane_count, NULL, NULL, "d"},
    {"entries_in_use_high", plane_count, NULL, NULL, "h"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef plane_members[] = {
    {"is_closed", T_BOOL, offsetof(PlaneObject, core.is_closed), 0, NULL},
    {"framed_reads", T_BOOL, offsetof(PlaneObject, core.framed_reads), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot plane_slots[] = {
    {Py_tp_new, plane_new},         {Py_tp_dealloc, plane_dealloc}, {Py_tp_traverse, plane_traverse},
    {Py_tp_clear, plane_clear},     {Py_tp_methods, plane_methods}, {Py_tp_getset, plane_getset},
    {Py_tp_members, plane_members}, {0, NULL},
};

PyType_Spec plane_spec = {
    .name = "asyncrev.native._plane.Plane",
    .basicsize = sizeof(PlaneObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = plane_slots,
};
