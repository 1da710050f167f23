/* `Plane`: what the worker calls. */
#include "plane_calls.h"

typedef enum { FAILED, ANSWERED, DECLINED } answered;

/* Have Python answer a plain chunk. FAILED: with an exception that ends its lane. DECLINED: nothing was done, and
 * `do` is to be asked. */
static answered answer_plain(State *state, RingObject *ring, size_t pos, WorkObject *work) {
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
    bool declined = result == Py_NotImplemented && PyObject_HasAttrString(processor, "may_decline");
    Py_DECREF(processor);
    Py_XDECREF(chunk);
    if (declined) {
        Py_DECREF(result);
        return DECLINED;
    }
    if (result != NULL && PyMemoryView_Check(result)) {
        PyObject *arguments = Py_BuildValue("(NO)", result, ring->storage);
        PyObject *allowed = arguments == NULL ? NULL : Py_BuildValue(
            "{s:O}", "views_allowed", work->views_allowed ? Py_True : Py_False);
        result = allowed == NULL ? NULL : PyObject_Call(state->as_reply, arguments, allowed);
        Py_XDECREF(arguments);
        Py_XDECREF(allowed);
    }
    if (result == NULL) {
        return FAILED;
    }
    bool is_plain = PyBytes_CheckExact(result) || PyMemoryView_Check(result);
    Py_ssize_t nbytes = is_plain ? PyObject_Size(result) : 0;
    if (nbytes < 0) {
        Py_DECREF(result);
        return FAILED;
    }
    if (is_plain && (size_t)nbytes <= core->sizes[pos]) {
        set_reference(&ring->results[pos], result);
        Py_DECREF(result);
        return ANSWERED;
    }
    if (result == Py_None) {
        Py_DECREF(result);
        return ANSWERED;
    }
    EntryObject *entry = ring_entry(state, ring, pos);
    PyObject *done = entry == NULL ? NULL
                                   : PyObject_CallMethodObjArgs((PyObject *)work, state->name_answer,
                                                                entry, result, ring->storage, NULL);
    Py_DECREF(result);
    Py_XDECREF(done);
    return done != NULL ? ANSWERED : FAILED;
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
    answered plainly = DECLINED;
    if (plain != NULL && plain->plain != NULL && ring->core->kinds[pos] == ARV_DATA &&
        ring->reports[pos] == NULL && !atomic_load(&plain->core.abandoned)) {
        plainly = answer_plain(state, ring, pos, plain);
    }
    if (plainly != DECLINED) {
        done = plainly == ANSWERED || fail(state, ring, pos, work);
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

PyObject *plane_answer(PyObject *self, PyObject *args) {
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
    arv_times *times = arv_plane_times(&plane->core);
    uint64_t worked_ns = times == NULL ? 0 : arv_now_ns();
    while (seq < end_seq) {
        size_t pos = (size_t)(seq % ring->core->nentries);
        const arv_row *row = ring->core->rows[pos];
        bool posts = false;
        if (row != NULL && row->work != NULL && row->work->kernel != ARV_NO_KERNEL) {
            Py_BEGIN_ALLOW_THREADS
            posts = arv_answer(&plane->core, end_seq, &signal->core);
            Py_END_ALLOW_THREADS
            if (posts && !signal_post(signal)) {
                return NULL;
            }
            uint64_t before = seq;
            seq = atomic_load(&ring->core->processed_seq);
            if (seq != before) {
                worked_ns = times == NULL ? 0 : arv_now_ns();
                continue;
            }
        }
        if (!answer_one(state, ring, pos, pool, share) || !signal_request(signal)) {
            return NULL;
        }
        if (times != NULL) {
            arv_note_processed(times, &worked_ns, 1);
        }
        seq++;
    }
    return new_none();
}

PyObject *plane_wait(PyObject *self, PyObject *args) {
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
