/* One message against the next, on many sockets: the steady state of `asyncrev bench`.
 *
 * asyncrev/bench/hot.py is the reference. All state is in the caller's rows; see kernels_calls.h.
 */
#define _GNU_SOURCE
#include "kernels_calls.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* A row: which message is in flight, when it was sent, how many were answered. */
enum { AT, SENT_NS, ANSWERED, ROW };

/* Why a socket is left to the caller; as in asyncrev/bench/hot_native.py. */
enum { EVENT, DATA, NOT_READ, NOT_SENT };

typedef struct {
    int64_t *rows;
    Py_ssize_t nrows;
    const char *requests, *replies; /* `variants` of each */
    Py_ssize_t request_bytes, reply_bytes, variants;
    long long woken_ns, unit_ns;
    PyObject *notes;  /* a list */
    PyObject *others; /* a list */
    char *reply;      /* one byte longer than a reply, so that more than one is seen */
    Py_ssize_t done, sent_bytes;
} exchange;

static int64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Append, and give the reference up; `item` may be NULL. */
static bool append(PyObject *list, PyObject *item) {
    bool ok = item != NULL && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return ok;
}

static bool leave(exchange *x, long fd, long mask, int why, Py_ssize_t number) {
    return append(x->others, Py_BuildValue("(llinO)", fd, mask, why, number, Py_None));
}

static bool leave_data(exchange *x, long fd, long mask, Py_ssize_t nbytes) {
    return append(x->others, Py_BuildValue("(lliny#)", fd, mask, DATA, (Py_ssize_t)0, x->reply, nbytes));
}

/* Read a reply, and send the next message if it is the right one. Returns false if Python raised. */
static bool serve(exchange *x, long fd, long mask) {
    int64_t *row = fd >= 0 && fd < x->nrows ? x->rows + fd * ROW : NULL;
    if (row == NULL || row[AT] < 0 || row[AT] >= x->variants) {
        return leave(x, fd, mask, EVENT, 0);
    }
    ssize_t received;
    do {
        received = recv((int)fd, x->reply, (size_t)x->reply_bytes + 1, MSG_DONTWAIT);
    } while (received < 0 && errno == EINTR);
    if (received < 0) {
        return leave(x, fd, mask, NOT_READ, errno);
    }
    const char *wanted = x->replies + row[AT] * x->reply_bytes;
    if (received != x->reply_bytes || memcmp(x->reply, wanted, (size_t)received) != 0) {
        return leave_data(x, fd, mask, received);
    }
    if (!append(x->notes, PyLong_FromLongLong((x->woken_ns - row[SENT_NS]) / x->unit_ns))) {
        return false;
    }
    x->done++;
    row[ANSWERED]++;
    row[AT] = row[AT] + 1 == x->variants ? 0 : row[AT] + 1;
    row[SENT_NS] = monotonic_ns();
    const char *request = x->requests + row[AT] * x->request_bytes;
    ssize_t sent;
    do {
        sent = send((int)fd, request, (size_t)x->request_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        return leave(x, fd, mask, NOT_SENT, -errno);
    }
    x->sent_bytes += sent;
    return sent == x->request_bytes || leave(x, fd, mask, NOT_SENT, sent);
}

/* Read the numbers of an event. Not by PyArg_ParseTuple: that takes longer than all the rest here. */
static bool read_event(PyObject *event, long *fd, long *mask) {
    if (!PyTuple_Check(event) || PyTuple_Size(event) != 2) {
        PyErr_Format(PyExc_TypeError, "an event is %R; it must be a descriptor and a mask", event);
        return false;
    }
    *fd = PyLong_AsLong(PyTuple_GetItem(event, 0));
    *mask = PyLong_AsLong(PyTuple_GetItem(event, 1));
    return PyErr_Occurred() == NULL;
}

static bool serve_all(exchange *x, PyObject *events) {
    Py_ssize_t number = PyList_Size(events);
    for (Py_ssize_t i = 0; i < number; i++) {
        PyObject *event = PyList_GetItem(events, i); /* borrowed: nothing here changes the list */
        long fd, mask;
        if (event == NULL || !read_event(event, &fd, &mask) || !serve(x, fd, mask)) {
            return false;
        }
    }
    return number >= 0;
}

/* Check that each buffer has what the numbers say. */
static bool fits(const exchange *x, const Py_buffer *rows, const Py_buffer *requests,
                 const Py_buffer *replies) {
    if (rows->len % (ROW * (Py_ssize_t)sizeof(int64_t)) != 0 || (uintptr_t)rows->buf % sizeof(int64_t) != 0) {
        PyErr_SetString(PyExc_ValueError, "rows must be three aligned 64-bit numbers each");
        return false;
    }
    if (x->variants < 1 || x->request_bytes < 1 || x->reply_bytes < 1 || x->unit_ns < 1 ||
        requests->len / x->variants != x->request_bytes || requests->len % x->variants != 0 ||
        replies->len / x->variants != x->reply_bytes || replies->len % x->variants != 0) {
        PyErr_Format(PyExc_ValueError,
                     "%zd messages of %zd bytes and replies of %zd do not make %zd and %zd bytes",
                     x->variants, x->request_bytes, x->reply_bytes, requests->len, replies->len);
        return false;
    }
    return true;
}

/* exchange(events, rows, requests, replies, variants, woken_ns, unit_ns, notes, /) */
PyObject *kernels_exchange(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *events;
    Py_buffer rows, requests, replies;
    exchange x = {.done = 0};
    if (!PyArg_ParseTuple(args, "O!w*y*y*nLLO!:exchange", &PyList_Type, &events, &rows, &requests,
                          &replies, &x.variants, &x.woken_ns, &x.unit_ns, &PyList_Type, &x.notes)) {
        return NULL;
    }
    x.rows = rows.buf;
    x.nrows = rows.len / (ROW * (Py_ssize_t)sizeof(int64_t));
    x.requests = requests.buf;
    x.replies = replies.buf;
    x.request_bytes = x.variants > 0 ? requests.len / x.variants : 0;
    x.reply_bytes = x.variants > 0 ? replies.len / x.variants : 0;
    PyObject *answer = NULL;
    if (fits(&x, &rows, &requests, &replies)) {
        x.reply = PyMem_Malloc((size_t)x.reply_bytes + 1);
        x.others = PyList_New(0);
        if (x.reply == NULL) {
            PyErr_NoMemory();
        } else if (x.others != NULL && serve_all(&x, events)) {
            answer = Py_BuildValue("(nnO)", x.done, x.sent_bytes, x.others);
        }
        Py_XDECREF(x.others);
        PyMem_Free(x.reply);
    }
    PyBuffer_Release(&rows);
    PyBuffer_Release(&requests);
    PyBuffer_Release(&replies);
    return answer;
}
