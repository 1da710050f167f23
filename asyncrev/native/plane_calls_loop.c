/* `Plane`: what the loop calls. */
#include "plane_calls.h" /* first: it sets the feature macros */

#include <errno.h>

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

PyObject *plane_receive(PyObject *self, PyObject *args) {
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

PyObject *plane_deliver(PyObject *self, PyObject *number) {
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

PyObject *plane_poll(PyObject *self, PyObject *args) {
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
        arv_times *times = arv_plane_times(&plane->core);
        if (times != NULL) {
            arv_note_released(times, plane->core.ring);
        }
    }
    if (polled.error != 0) {
        errno = polled.error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return events_left(&polled);
}
