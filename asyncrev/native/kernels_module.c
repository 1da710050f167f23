/* `asyncrev.native._kernels`: kernels_core.c for Python. `asyncrev.native.kernels` describes it.
 *
 * A buffer is bytes-like, contiguous, with one byte per element; it is held during the call only.
 * There is no state, neither of the process nor of the module, so calls need no lock, and the module
 * can be used by any interpreter of a process, with the GIL and without one.
 *
 * Two builds: with the limited API (PEP 384) one file is for CPython 3.11 and all later versions that
 * have a GIL. Free-threaded CPython has no limited API before 3.15, so it gets a file of its own,
 * which declares that it needs no GIL (PEP 703).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "kernels_core.h"
#include "none.h"

/* From this length on the GIL is released meanwhile: 16 KiB take about 1 us. To get it back, the
 * thread may have to wait for another one, which shorter work is not worth. */
enum { RELEASE_GIL_FROM_BYTES = 16 * 1024 };

enum { RUNS = 128, SPANS = 64 }; /* on the stack, found before objects are made of them */

/* -- arguments --------------------------------------------------------------------------------- */

static bool has_arguments(const char *name, Py_ssize_t given, Py_ssize_t wanted) {
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, and %zd were given", name, wanted,
                     given);
        return false;
    }
    return true;
}

static bool as_size(PyObject *number, size_t *size) {
    Py_ssize_t value = PyLong_AsSsize_t(number);
    if (value == -1 && PyErr_Occurred()) {
        return false;
    }
    if (value < 0) {
        PyErr_Format(PyExc_ValueError, "a length is %zd; it must be at least 0", value);
        return false;
    }
    *size = (size_t)value;
    return true;
}

/* A limit may be any number from 0 on; none that is larger than 64 bits differs from their largest. */
static bool as_limit(PyObject *number, uint64_t *limit) {
    unsigned long long value = PyLong_AsUnsignedLongLong(number);
    if (value == (unsigned long long)-1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return false;
        }
        PyErr_Clear();
        PyObject *zero = PyLong_FromLong(0);
        int negative = zero == NULL ? -1 : PyObject_RichCompareBool(number, zero, Py_LT);
        Py_XDECREF(zero);
        if (negative != 0) {
            if (negative > 0) {
                PyErr_Format(PyExc_ValueError, "a limit is %R; it must be at least 0", number);
            }
            return false;
        }
    }
    *limit = value;
    return true;
}

static bool as_prefix_bytes(PyObject *number, size_t *prefix_bytes) {
    if (!as_size(number, prefix_bytes)) {
        return false;
    }
    if (*prefix_bytes != 4 && *prefix_bytes != 8) {
        PyErr_Format(PyExc_ValueError, "prefix_bytes is %R; it must be 4 or 8", number);
        return false;
    }
    return true;
}

/* -- reversal ---------------------------------------------------------------------------------- */

static PyObject *reverse(PyObject *module, PyObject *chunk) {
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

static PyObject *reversed_bytes(PyObject *module, PyObject *chunk) {
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

static PyObject *reverse_lines(PyObject *module, PyObject *lines) {
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

static PyObject *reverse_runs(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
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

static PyObject *scan_prefixed(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
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

static PyObject *scan_lines(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
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

static PyObject *rest_prefixed(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
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

static PyObject *rest_line(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
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

static PyObject *line_spans(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
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

static PyObject *count_lines(PyObject *module, PyObject *data) {
    (void)module;
    Py_buffer buffer;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    size_t number = arv_count_lines(buffer.buf, (size_t)buffer.len);
    PyBuffer_Release(&buffer);
    return PyLong_FromSize_t(number);
}

/* -- the module -------------------------------------------------------------------------------- */

/* The cast by way of a function without arguments is what CPython's headers do for METH_FASTCALL. */
#define FAST(function) ((PyCFunction)(void (*)(void))(function)), METH_FASTCALL

static PyMethodDef methods[] = {
    {"reverse", reverse, METH_O,
     "reverse(chunk, /)\n--\n\nReverse the bytes of a writable buffer in place."},
    {"reversed_bytes", reversed_bytes, METH_O,
     "reversed_bytes(chunk, /)\n--\n\nReturn the bytes of a buffer in reverse order."},
    {"reverse_runs", FAST(reverse_runs),
     "reverse_runs(frames, runs, prefix_bytes, /)\n--\n\nReverse the payloads of runs in place."},
    {"reverse_lines", reverse_lines, METH_O,
     "reverse_lines(lines, /)\n--\n\nReverse the payload of each whole line in place."},
    {"scan_prefixed", FAST(scan_prefixed),
     "scan_prefixed(data, prefix_bytes, max_frame_bytes, most_runs, run_type, /)\n--\n\n"
     "Return (consumed_bytes, runs, length that is too long or None, stopped)."},
    {"scan_lines", FAST(scan_lines),
     "scan_lines(data, max_frame_bytes, most_steps, /)\n--\n\n"
     "Return (consumed_bytes, length that is too long or None, whether it is whole, stopped)."},
    {"rest_prefixed", FAST(rest_prefixed),
     "rest_prefixed(held, chunk, prefix_bytes, max_frame_bytes, /)\n--\n\n"
     "Return (taken_bytes, whole, length that is too long or None, False)."},
    {"rest_line", FAST(rest_line),
     "rest_line(held, chunk, max_frame_bytes, /)\n--\n\n"
     "Return (taken_bytes, whole, length that is too long or None, whether it is whole)."},
    {"line_spans", FAST(line_spans),
     "line_spans(data, off, /)\n--\n\n"
     "Return (start, payload end, end) of the first whole lines from an offset on, at most 64."},
    {"count_lines", count_lines, METH_O,
     "count_lines(data, /)\n--\n\nReturn how many newlines there are."},
    {NULL, NULL, 0, NULL},
};

/* What `asyncrev.native.kernels` expects. */
enum { INTERFACE = 1 };

static int add_constants(PyObject *module) {
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static const char doc[] = "Reversal of bytes and scans for frames, in C; see `asyncrev.native`.";

#ifdef Py_LIMITED_API
/* CPython 3.12 and later know this slot (PEP 684); 3.11 refuses one that it does not know. So the
 * one file has both definitions. The numbers are those of Python 3.12's moduleobject.h. */
enum { MULTIPLE_INTERPRETERS = 3, PY_3_12 = 0x030c0000 };
static PyModuleDef_Slot slots_of_3_11[] = {{Py_mod_exec, add_constants}, {0, NULL}};
static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, add_constants},
    {MULTIPLE_INTERPRETERS, (void *)2}, /* Py_MOD_PER_INTERPRETER_GIL_SUPPORTED */
    {0, NULL},
};
static struct PyModuleDef for_3_11 = {
    PyModuleDef_HEAD_INIT, "_kernels", doc, 0, methods, slots_of_3_11, NULL, NULL, NULL,
};
#else
static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, add_constants},
#ifdef Py_mod_multiple_interpreters /* 3.12 */
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil /* 3.13 */
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};
#endif

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels", doc, 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels(void) {
#ifdef Py_LIMITED_API
    if (Py_Version < PY_3_12) {
        return PyModuleDef_Init(&for_3_11);
    }
#endif
    return PyModuleDef_Init(&definition);
}
