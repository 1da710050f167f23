/* `Plane`: see asyncrev/ring/plane.py. */
#include "plane_objects.h" /* first: it sets the feature macros */

#include <errno.h>
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

/* -- loop ---------------------------------------------------------------------------------------- */

/* Make `events` of a list of pairs, unless they were made of it before. */
static bool take_events(PlaneObject *plane, PyObject *polled, Py_ssize_t start) {
    if (start > 0 && polled == plane->polled) {
        return true; /* it goes on behind an exception: nobody changes the list meanwhile */
    }
    Py_ssize_t nevents = PyList_Size(polled);
    if (nevents < 0) {
        return false;
    }
    if (nevents > ARV_MOST_EVENTS) {
        PyErr_Format(PyExc_ValueError, "there are %zd events; a poll reports at most %d", nevents,
                     ARV_MOST_EVENTS);
        return false;
    }
    for (Py_ssize_t index = 0; index < nevents; index++) {
        PyObject *pair = PyList_GetItem(polled, index);
        long long fd, events;
        if (pair == NULL || !PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
            PyErr_Format(PyExc_TypeError, "an event is %R; it must be a tuple of two numbers", pair);
            return false;
        }
        PyObject *number = PyTuple_GetItem(pair, 0), *mask = PyTuple_GetItem(pair, 1);
        if (!is_integer(number, -1, 2147483647, "a descriptor", &fd) ||
            !is_integer(mask, 0, 4294967295, "a mask of events", &events)) {
            return false;
        }
        plane->events[index] = (arv_event){(int)fd, (uint32_t)events};
    }
    plane->nevents = (size_t)nevents;
    set_reference(&plane->polled, polled);
    return true;
}

/* The OSError of an errno; new. */
static PyObject *os_error(int number) {
    PyObject *type, *value, *traceback;
    errno = number;
    PyErr_SetFromErrno(PyExc_OSError);
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static PyObject *plane_receive(PyObject *self, PyObject *args) {
    PlaneObject *plane = (PlaneObject *)self;
    PyObject *polled;
    Py_ssize_t start;
    if (!PyArg_ParseTuple(args, "O!n:receive", &PyList_Type, &polled, &start)) {
        return NULL;
    }
    if (start < 0 || !take_events(plane, polled, start)) {
        return start < 0 ? PyErr_Format(PyExc_ValueError, "start is %zd", start) : NULL;
    }
    arv_received received;
    Py_BEGIN_ALLOW_THREADS
    received = arv_receive(&plane->core, plane->events, plane->nevents, (size_t)start);
    Py_END_ALLOW_THREADS
    ring_count_owners(plane->ring);
    if (received.stop == ARV_STOP_END) {
        Py_CLEAR(plane->polled);
    }
    if (received.stop == ARV_STOP_ERROR) {
        return Py_BuildValue("nN", (Py_ssize_t)received.index, os_error(received.error));
    }
    return Py_BuildValue("nl", (Py_ssize_t)received.index, received.stop);
}

static PyObject *plane_deliver(PyObject *self, PyObject *number) {
    PlaneObject *plane = (PlaneObject *)self;
    unsigned long long end_seq = PyLong_AsUnsignedLongLong(number);
    if (end_seq == (unsigned long long)-1 && PyErr_Occurred()) {
        return PyErr_ExceptionMatches(PyExc_OverflowError)
                   ? PyErr_Format(PyExc_ValueError, "deliver up to %R; that cannot be", number)
                   : NULL;
    }
    uint64_t most_seq = atomic_load(&plane->core.ring->processed_seq);
    if (end_seq > most_seq) {
        return PyErr_Format(PyExc_ValueError, "deliver up to %llu; %llu are processed", end_seq,
                            (unsigned long long)most_seq);
    }
    long long outcome;
    Py_BEGIN_ALLOW_THREADS
    outcome = arv_deliver(&plane->core, end_seq);
    Py_END_ALLOW_THREADS
    return PyLong_FromLongLong(outcome);
}

/* The events that are not handled, as epoll's own objects have them; new. */
static PyObject *events_left(const arv_poll_state *state) {
    PyObject *events = PyList_New((Py_ssize_t)(state->nevents - state->first));
    for (size_t index = state->first; events != NULL && index < state->nevents; index++) {
        const arv_event *event = &state->events[index];
        PyObject *pair = Py_BuildValue("iI", event->fd, event->events);
        if (pair == NULL || PyList_SetItem(events, (Py_ssize_t)(index - state->first), pair) < 0) {
            Py_CLEAR(events);
        }
    }
    return events;
}

static PyObject *plane_poll(PyObject *self, PyObject *args) {
    PlaneObject *plane = (PlaneObject *)self;
    State *state = state_of(self);
    PyObject *parker, *signal;
    double timeout_s;
    arv_poll_state polled = {.turns_left = ARV_MOST_TURNS};
    if (!PyArg_ParseTuple(args, "O!O!iid:poll", state->parker_type, &parker, state->signal_type,
                          &signal, &polled.epoll_fd, &polled.wake_fd, &timeout_s)) {
        return NULL;
    }
    polled.parker = &((ParkerObject *)parker)->core;
    polled.signal = &((SignalObject *)signal)->core;
    polled.until_ms =
        timeout_s < 0 ? -1 : arv_now_ms() + (int64_t)((timeout_s < 1e9 ? timeout_s : 1e9) * 1000 + 0.5);
    for (;;) {
        Py_BEGIN_ALLOW_THREADS
        arv_poll(&plane->core, &polled);
        Py_END_ALLOW_THREADS
        ring_count_owners(plane->ring);
        if (!polled.releases) {
            break;
        }
        ring_drop(plane->ring, (size_t)(plane->core.ring->delivered_seq -
                                        atomic_load(&plane->core.ring->released_seq)));
    }
    if (polled.error != 0) {
        errno = polled.error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return events_left(&polled);
}

/* -- worker -------------------------------------------------------------------------------------- */

/* Have Python answer a plain chunk; false with an exception that ends its lane. */
static bool answer_plain(State *state, RingObject *ring, size_t pos, WorkObject *work) {
    arv_ring *core = ring->core;
    /* Either may be dropped meanwhile. */
    PyObject *processor = Py_NewRef(work->function == NULL ? work->plain : work->function);
    PyObject *chunk, *result = NULL;
    if (work->function != NULL) {
        chunk = PyBytes_FromStringAndSize(
            (const char *)core->storage + arv_slot_off(core, core->slot_of[pos]),
            (Py_ssize_t)core->sizes[pos]);
        result = chunk == NULL ? NULL : PyObject_CallFunctionObjArgs(processor, chunk, NULL);
    } else {
        chunk = ring_chunk(ring, pos);
        result = chunk == NULL
                     ? NULL
                     : PyObject_CallMethodObjArgs(processor, state->name_process, chunk, NULL);
    }
    Py_DECREF(processor);
    Py_XDECREF(chunk);
    if (result != NULL && PyMemoryView_Check(result)) {
        PyObject *arguments = Py_BuildValue("(NO)", result, ring->storage);
        PyObject *allowed = arguments == NULL ? NULL : Py_BuildValue(
            "{s:O}", "views_allowed", work->views_allowed ? Py_True : Py_False);
        result = allowed == NULL ? NULL : PyObject_Call(state->as_reply, arguments, allowed);
        Py_XDECREF(arguments);
        Py_XDECREF(allowed);
    }
    if (result == NULL) {
        return false;
    }
    bool is_plain = PyBytes_CheckExact(result) || PyMemoryView_Check(result);
    Py_ssize_t nbytes = is_plain ? PyObject_Size(result) : 0;
    if (nbytes < 0) {
        Py_DECREF(result);
        return false;
    }
    if (is_plain && (size_t)nbytes <= core->sizes[pos]) {
        set_reference(&ring->results[pos], result);
        Py_DECREF(result);
        return true;
    }
    if (result == Py_None) {
        Py_DECREF(result);
        return true;
    }
    EntryObject *entry = ring_entry(state, ring, pos);
    PyObject *done = entry == NULL ? NULL
                                   : PyObject_CallMethodObjArgs((PyObject *)work, state->name_answer,
                                                                entry, result, ring->storage, NULL);
    Py_DECREF(result);
    Py_XDECREF(done);
    return done != NULL;
}

/* Tell the work of an entry what has been raised for it; false with an exception of its own. */
static bool fail(State *state, RingObject *ring, size_t pos, PyObject *work) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    EntryObject *entry = ring_entry(state, ring, pos);
    PyObject *done = entry == NULL ? NULL
                                   : PyObject_CallMethodObjArgs(work, state->name_fail, entry, error,
                                                                NULL);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    Py_XDECREF(done);
    return done != NULL;
}

/* Have Python do what one entry asks for, and hand it back. */
static bool answer_one(State *state, RingObject *ring, size_t pos, PyObject *pool, PyObject *share) {
    PyObject *owner = ring_owner(ring, pos);
    PyObject *work = PyObject_TypeCheck(owner, state->row_type)
                         ? Py_XNewRef(((RowObject *)owner)->work)
                         : PyObject_GetAttrString(owner, "work");
    if (work == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_AttributeError, "the row has no work: it was not initialized");
        }
        return false;
    }
    WorkObject *plain = PyObject_TypeCheck(work, state->work_type) ? (WorkObject *)work : NULL;
    bool done;
    if (plain != NULL && plain->plain != NULL && ring->core->kinds[pos] == ARV_DATA &&
        ring->reports[pos] == NULL && !atomic_load(&plain->core.abandoned)) {
        done = answer_plain(state, ring, pos, plain) || fail(state, ring, pos, work);
    } else {
        EntryObject *entry = ring_entry(state, ring, pos);
        PyObject *said = entry == NULL ? NULL
                                       : PyObject_CallMethodObjArgs(work, state->name_do, entry,
                                                                    ring->storage, pool, share, NULL);
        done = said != NULL;
        Py_XDECREF(said);
    }
    Py_DECREF(work);
    if (done) {
        ring_hand_back(state, ring, pos);
    }
    return done;
}

static bool is_signal(State *state, PyObject *object) {
    if (Py_TYPE(object) != state->signal_type) {
        PyErr_Format(PyExc_TypeError, "%R is not a DeliverySignal of this module", object);
        return false;
    }
    return true;
}

static PyObject *plane_answer(PyObject *self, PyObject *args) {
    PlaneObject *plane = (PlaneObject *)self;
    RingObject *ring = plane->ring;
    State *state = state_of(self);
    unsigned long long end_seq;
    PyObject *signal_object, *pool, *share;
    if (!PyArg_ParseTuple(args, "KOOO:answer", &end_seq, &signal_object, &pool, &share) ||
        !is_signal(state, signal_object)) {
        return NULL;
    }
    SignalObject *signal = (SignalObject *)signal_object;
    if (end_seq > atomic_load(&ring->core->published_seq)) {
        return PyErr_Format(PyExc_ValueError, "answer up to %llu; that is not published", end_seq);
    }
    uint64_t seq = atomic_load(&ring->core->processed_seq);
    while (seq < end_seq) {
        size_t pos = (size_t)(seq % ring->core->nentries);
        const arv_row *row = ring->core->rows[pos];
        bool posts = false;
        if (row != NULL && row->work != NULL && row->work->kernel != ARV_NO_KERNEL) {
            Py_BEGIN_ALLOW_THREADS
            posts = arv_answer(ring->core, end_seq, &signal->core);
            Py_END_ALLOW_THREADS
            if (posts && !signal_post(signal)) {
                return NULL;
            }
            uint64_t before = seq;
            seq = atomic_load(&ring->core->processed_seq);
            if (seq != before) {
                continue;
            }
        }
        if (!answer_one(state, ring, pos, pool, share) || !signal_request(signal)) {
            return NULL;
        }
        seq++;
    }
    return new_none();
}

static PyObject *plane_wait(PyObject *self, PyObject *args) {
    PlaneObject *plane = (PlaneObject *)self;
    State *state = state_of(self);
    unsigned long long taken_seq;
    PyObject *parker_object, *signal_object;
    double timeout_s; /* below 0: none */
    int stays;
    if (!PyArg_ParseTuple(args, "KOOdp:wait", &taken_seq, &parker_object, &signal_object, &timeout_s,
                          &stays) ||
        !is_signal(state, signal_object)) {
        return NULL;
    }
    if (Py_TYPE(parker_object) != state->parker_type) {
        return PyErr_Format(PyExc_TypeError, "%R is not a Parker of this module", parker_object);
    }
    ParkerObject *parker = (ParkerObject *)parker_object;
    SignalObject *signal = (SignalObject *)signal_object;
    int64_t timeout_ms = ARV_NO_TIMEOUT_MS, until_ms = 0;
    if (!(timeout_s < 0)) {
        timeout_ms = timeout_s < 1e6 ? (int64_t)(timeout_s * 1000 + 0.999) : 1000000000;
        until_ms = arv_now_ms() + timeout_ms + 1; /* a part of a millisecond has passed */
    }
    arv_waited waited;
    do {
        Py_BEGIN_ALLOW_THREADS
        waited = arv_wait(&plane->core, taken_seq, &parker->core, &signal->core, timeout_ms, stays);
        Py_END_ALLOW_THREADS
        parker->backstop_wakes += waited.backstop;
        if (waited.posts && !signal_post(signal)) {
            return NULL;
        }
        uint64_t processed_seq = atomic_load(&plane->core.ring->processed_seq);
        taken_seq = processed_seq > taken_seq ? processed_seq : taken_seq;
        if (timeout_ms > 0) { /* a second wait keeps to the deadline of the first */
            int64_t left_ms = until_ms - arv_now_ms();
            timeout_ms = left_ms > 0 ? left_ms : 0;
        }
    } while (waited.posts && (waited.is_idle || (taken_seq == waited.end_seq && stays)));
    return Py_BuildValue("KO", (unsigned long long)waited.end_seq,
                         waited.is_closed ? Py_True : Py_False);
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
