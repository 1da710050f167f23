/* The calls of `asyncrev.native._kernels`, and how they read their arguments.
 *
 * A buffer is bytes-like, contiguous, with one byte per element; it is held during the call only.
 */
#ifndef ASYNCREV_KERNELS_CALLS_H
#define ASYNCREV_KERNELS_CALLS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "kernels_core.h"
#include "none.h"

enum { RUNS = 128 }; /* on the stack */

/* In kernels_reverse.c. */
PyObject *kernels_reverse(PyObject *module, PyObject *chunk);
PyObject *kernels_reversed_bytes(PyObject *module, PyObject *chunk);
PyObject *kernels_reverse_lines(PyObject *module, PyObject *lines);
PyObject *kernels_reverse_runs(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

/* In kernels_scans.c. */
PyObject *kernels_scan_prefixed(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *kernels_scan_lines(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *kernels_rest_prefixed(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *kernels_rest_line(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *kernels_line_spans(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *kernels_count_lines(PyObject *module, PyObject *data);

/* In kernels_exchange.c. */
PyObject *kernels_exchange(PyObject *module, PyObject *args);

/* -- arguments --------------------------------------------------------------------------------- */

static inline bool has_arguments(const char *name, Py_ssize_t given, Py_ssize_t wanted) {
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, and %zd were given", name, wanted,
                     given);
        return false;
    }
    return true;
}

static inline bool as_size(PyObject *number, size_t *size) {
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
static inline bool as_limit(PyObject *number, uint64_t *limit) {
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

static inline bool as_prefix_bytes(PyObject *number, size_t *prefix_bytes) {
    if (!as_size(number, prefix_bytes)) {
        return false;
    }
    if (*prefix_bytes != 4 && *prefix_bytes != 8) {
        PyErr_Format(PyExc_ValueError, "prefix_bytes is %R; it must be 4 or 8", number);
        return false;
    }
    return true;
}

#endif
