/* Scans for frames, for Python; see kernels_calls.h. */
#include "kernels_calls.h"

enum { SPANS = 64 }; /* on the stack, like RUNS: found before objects are made of them */

/* -- scans ------------------------------------------------------------------------------------- */

/* A number, or None if there is none. */
static PyObject *number_or_none(bool there_is_one, uint64_t number) {
    if (!there_is_one) {
        return new_none();
    }
    return PyLong_FromUnsignedLongLong(number);
}

/* Return a tuple of `number` items, which it takes over; NULL if one is NULL. */
static PyObject *tuple_of(Py_ssize_t number, PyObject *const *items) {
    PyObject *tuple = PyTuple_New(number);
    bool ok = tuple != NULL;
    for (Py_ssize_t i = 0; i < number; i++) {
        ok = ok && items[i] != NULL;
    }
    for (Py_ssize_t i = 0; i < number; i++) {
        if (ok) {
            PyTuple_SetItem(tuple, i, items[i]);
        } else {
            Py_XDECREF(items[i]);
        }
    }
    if (!ok) {
        Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *tuple_of_sizes(size_t one, size_t two, size_t three) {
    PyObject *items[] = {PyLong_FromSize_t(one), PyLong_FromSize_t(two), PyLong_FromSize_t(three)};
    return tuple_of(3, items);
}

/* Append what `tuple.__new__(run_type, (start_off, payload_bytes, frames))` returns. That is what a
 * named tuple's own `__new__`, which is written in Python, does. */
static bool append_run(PyObject *list, PyTypeObject *run_type, newfunc new_tuple,
                       const arv_run *run, size_t base_off) {
    PyObject *fields = tuple_of_sizes(base_off + run->start_off, run->payload_bytes, run->frames);
    PyObject *args = fields == NULL ? NULL : tuple_of(1, &fields);
    PyObject *object = args == NULL ? NULL : new_tuple(run_type, args, NULL);
    Py_XDECREF(args);
    bool ok = object != NULL && PyList_Append(list, object) == 0;
    Py_XDECREF(object);
    return ok;
}

/* Scan all of `data`, RUNS runs at a time; append them to `list`. */
static bool scan_runs(const Py_buffer *data, size_t prefix_bytes, uint64_t max_frame_bytes,
                      size_t most_runs, PyTypeObject *run_type, PyObject *list, arv_scan *total) {
    newfunc new_tuple = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    const unsigned char *bytes = data->buf;
    *total = (arv_scan){.end = data->len > 0 ? ARV_STOPPED : ARV_PARTIAL};
    while (total->end == ARV_STOPPED && most_runs > 0) {
        arv_run runs[RUNS];
        size_t some = most_runs < RUNS ? most_runs : RUNS;
        size_t base_off = total->consumed_bytes;
        *total = arv_scan_prefixed(bytes + base_off, (size_t)data->len - base_off, prefix_bytes,
                                   max_frame_bytes, runs, some);
        total->consumed_bytes += base_off;
        most_runs -= total->runs;
        for (size_t i = 0; i < total->runs; i++) {
            if (!append_run(list, run_type, new_tuple, &runs[i], base_off)) {
                return false;
            }
        }
    }
    return true;
}

PyObject *kernels_scan_prefixed(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    (void)module;
    size_t prefix_bytes, most_runs;
    uint64_t max_frame_bytes;
    Py_buffer data;
    if (!has_arguments("scan_prefixed", nargs, 5) || !as_prefix_bytes(args[1], &prefix_bytes) ||
        !as_limit(args[2], &max_frame_bytes) || !as_size(args[3], &most_runs)) {
        return NULL;
    }
    if (!PyType_Check(args[4]) || !PyType_IsSubtype((PyTypeObject *)args[4], &PyTuple_Type)) {
        PyErr_Format(PyExc_TypeError, "run_type is %R; it must be a class of tuples", args[4]);
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    arv_scan scan;
    PyObject *list = PyList_New(0);
    bool ok = list != NULL && scan_runs(&data, prefix_bytes, max_frame_bytes, most_runs,
                                        (PyTypeObject *)args[4], list, &scan);
    PyBuffer_Release(&data);
    if (!ok) {
        Py_XDECREF(list);
        return NULL;
    }
    PyObject *items[] = {
        PyLong_FromSize_t(scan.consumed_bytes),
        list,
        number_or_none(scan.end == ARV_TOO_LONG, scan.wrong_bytes),
        PyBool_FromLong(scan.end == ARV_STOPPED),
    };
    return tuple_of(4, items);
}

PyObject *kernels_scan_lines(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    (void)module;
    size_t most_steps;
    uint64_t max_frame_bytes;
    Py_buffer data;
    if (!has_arguments("scan_lines", nargs, 3) || !as_limit(args[1], &max_frame_bytes) ||
        !as_size(args[2], &most_steps) || PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    arv_scan scan = arv_scan_lines(data.buf, (size_t)data.len, max_frame_bytes, most_steps);
    PyBuffer_Release(&data);
    PyObject *items[] = {
        PyLong_FromSize_t(scan.consumed_bytes),
        number_or_none(scan.end == ARV_TOO_LONG, scan.wrong_bytes),
        PyBool_FromLong(scan.wrong_is_whole),
        PyBool_FromLong(scan.end == ARV_STOPPED),
    };
    return tuple_of(4, items);
}

/* -- partial frames ---------------------------------------------------------------------------- */

/* Fill in what must be known of `held`, and get the buffer of `chunk`. */
static bool get_partial_and_chunk(PyObject *const *args, arv_partial *partial, Py_buffer *chunk) {
    Py_buffer held;
    if (PyObject_GetBuffer(args[0], &held, PyBUF_SIMPLE) < 0) {
        return false;
    }
    *partial = (arv_partial){0};
    arv_partial_add(partial, held.buf, (size_t)held.len);
    PyBuffer_Release(&held);
    return PyObject_GetBuffer(args[1], chunk, PyBUF_SIMPLE) == 0;
}

static PyObject *rest_as_tuple(const arv_rest *rest) {
    PyObject *items[] = {
        PyLong_FromSize_t(rest->taken_bytes),
        PyBool_FromLong(rest->is_whole),
        number_or_none(rest->is_too_long, rest->wrong_bytes),
        PyBool_FromLong(rest->wrong_is_whole),
    };
    return tuple_of(4, items);
}

PyObject *kernels_rest_prefixed(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    (void)module;
    size_t prefix_bytes;
    uint64_t max_frame_bytes;
    arv_partial partial;
    Py_buffer chunk;
    if (!has_arguments("rest_prefixed", nargs, 4) || !as_prefix_bytes(args[2], &prefix_bytes) ||
        !as_limit(args[3], &max_frame_bytes) || !get_partial_and_chunk(args, &partial, &chunk)) {
        return NULL;
    }
    arv_rest rest =
        arv_rest_prefixed(&partial, chunk.buf, (size_t)chunk.len, prefix_bytes, max_frame_bytes);
    PyBuffer_Release(&chunk);
    return rest_as_tuple(&rest);
}

PyObject *kernels_rest_line(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    (void)module;
    uint64_t max_frame_bytes;
    arv_partial partial;
    Py_buffer chunk;
    if (!has_arguments("rest_line", nargs, 3) || !as_limit(args[2], &max_frame_bytes) ||
        !get_partial_and_chunk(args, &partial, &chunk)) {
        return NULL;
    }
    arv_rest rest = arv_rest_line(&partial, chunk.buf, (size_t)chunk.len, max_frame_bytes);
    PyBuffer_Release(&chunk);
    return rest_as_tuple(&rest);
}

/* -- lines ------------------------------------------------------------------------------------- */

PyObject *kernels_line_spans(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    (void)module;
    size_t off;
    Py_buffer data;
    if (!has_arguments("line_spans", nargs, 2) || !as_size(args[1], &off) ||
        PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    arv_span spans[SPANS];
    size_t number = arv_line_spans(data.buf, (size_t)data.len, off, spans, SPANS);
    PyBuffer_Release(&data);
    PyObject *list = PyList_New((Py_ssize_t)number);
    for (size_t i = 0; list != NULL && i < number; i++) {
        PyObject *span =
            tuple_of_sizes(spans[i].start_off, spans[i].payload_end_off, spans[i].end_off);
        if (span == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SetItem(list, (Py_ssize_t)i, span);
        }
    }
    return list;
}

PyObject *kernels_count_lines(PyObject *module, PyObject *data) {
    (void)module;
    Py_buffer buffer;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    size_t number = arv_count_lines(buffer.buf, (size_t)buffer.len);
    PyBuffer_Release(&buffer);
    return PyLong_FromSize_t(number);
}
