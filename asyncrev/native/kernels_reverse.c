/* Reversal for Python; see kernels_calls.h. */
#include "kernels_calls.h"

/* From this length on the GIL is released meanwhile: 16 KiB take about 1 us. To get it back, the
 * thread may have to wait for another one, which shorter work is not worth. */
enum { RELEASE_GIL_FROM_BYTES = 16 * 1024 };

PyObject *kernels_reverse(PyObject *module, PyObject *chunk) {
    (void)module;
    Py_buffer buffer;
    if (PyObject_GetBuffer(chunk, &buffer, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    size_t nbytes = (size_t)buffer.len;
    if (nbytes < RELEASE_GIL_FROM_BYTES) {
        arv_reverse(buffer.buf, nbytes);
    } else {
        Py_BEGIN_ALLOW_THREADS;
        arv_reverse(buffer.buf, nbytes);
        Py_END_ALLOW_THREADS;
    }
    PyBuffer_Release(&buffer);
    return new_none();
}

PyObject *kernels_reversed_bytes(PyObject *module, PyObject *chunk) {
    (void)module;
    Py_buffer buffer;
    if (PyObject_GetBuffer(chunk, &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *reply = PyBytes_FromStringAndSize(NULL, buffer.len);
    if (reply != NULL) {
        arv_reverse_copy((unsigned char *)PyBytes_AsString(reply), buffer.buf, (size_t)buffer.len);
    }
    PyBuffer_Release(&buffer);
    return reply;
}

PyObject *kernels_reverse_lines(PyObject *module, PyObject *lines) {
    (void)module;
    Py_buffer buffer;
    if (PyObject_GetBuffer(lines, &buffer, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    size_t nbytes = (size_t)buffer.len;
    if (nbytes < RELEASE_GIL_FROM_BYTES) {
        arv_reverse_lines(buffer.buf, nbytes);
    } else {
        Py_BEGIN_ALLOW_THREADS;
        arv_reverse_lines(buffer.buf, nbytes);
        Py_END_ALLOW_THREADS;
    }
    PyBuffer_Release(&buffer);
    return new_none();
}

/* Read the run that is item `number` of `runs`; any sequence of three numbers is one. */
static bool run_at(PyObject *runs, Py_ssize_t number, arv_run *run) {
    PyObject *item = PySequence_GetItem(runs, number);
    if (item == NULL) {
        return false;
    }
    size_t *fields[] = {&run->start_off, &run->payload_bytes, &run->frames};
    bool ok = true;
    for (Py_ssize_t field = 0; ok && field < 3; field++) {
        PyObject *value = PySequence_GetItem(item, field);
        ok = value != NULL && as_size(value, fields[field]);
        Py_XDECREF(value);
    }
    Py_DECREF(item);
    return ok;
}

/* Reverse up to RUNS runs from `first` on. All are checked before any byte is changed. */
static bool reverse_some_runs(Py_buffer *frames, PyObject *run_objects, Py_ssize_t first,
                              Py_ssize_t number, size_t prefix_bytes) {
    arv_run runs[RUNS];
    size_t nbytes = 0;
    for (Py_ssize_t i = 0; i < number; i++) {
        if (!run_at(run_objects, first + i, &runs[i])) {
            return false;
        }
        if (!arv_run_fits(&runs[i], prefix_bytes, (size_t)frames->len)) {
            PyErr_Format(PyExc_ValueError,
                         "run %zd, of %zu frames of %zu bytes at %zu, is not within the %zd bytes "
                         "of frames",
                         first + i, runs[i].frames, runs[i].payload_bytes, runs[i].start_off,
                         frames->len);
            return false;
        }
        nbytes += runs[i].frames * runs[i].payload_bytes;
    }
    PyThreadState *thread = nbytes < RELEASE_GIL_FROM_BYTES ? NULL : PyEval_SaveThread();
    for (Py_ssize_t i = 0; i < number; i++) {
        arv_reverse_run(frames->buf, &runs[i], prefix_bytes);
    }
    if (thread != NULL) {
        PyEval_RestoreThread(thread);
    }
    return true;
}

PyObject *kernels_reverse_runs(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    (void)module;
    size_t prefix_bytes;
    Py_buffer frames;
    if (!has_arguments("reverse_runs", nargs, 3) || !as_size(args[2], &prefix_bytes) ||
        PyObject_GetBuffer(args[0], &frames, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    bool ok = true;
    Py_ssize_t number = PySequence_Size(args[1]);
    for (Py_ssize_t first = 0; ok && first < number; first += RUNS) {
        Py_ssize_t some = number - first < RUNS ? number - first : RUNS;
        ok = reverse_some_runs(&frames, args[1], first, some, prefix_bytes);
    }
    PyBuffer_Release(&frames);
    if (!ok || number < 0) {
        return NULL;
    }
    return new_none();
}
