/* `asyncrev.native._kernels`: kernels_core.h for Python. `asyncrev.native.kernels` describes it.
 *
 * There is no state, neither of the process nor of the module, so calls need no lock, and the module
 * can be used by any interpreter of a process, with the GIL and without one.
 *
 * Two builds: with the limited API (PEP 384) one file is for CPython 3.11 and all later versions that
 * have a GIL. Free-threaded CPython has no limited API before 3.15, so it gets a file of its own,
 * which declares that it needs no GIL (PEP 703).
 */
#include "kernels_calls.h"

/* The cast by way of a function without arguments is what CPython's headers do for METH_FASTCALL. */
#define FAST(function) ((PyCFunction)(void (*)(void))(function)), METH_FASTCALL

static PyMethodDef methods[] = {
    {"reverse", kernels_reverse, METH_O,
     "reverse(chunk, /)\n--\n\nReverse the bytes of a writable buffer in place."},
    {"reversed_bytes", kernels_reversed_bytes, METH_O,
     "reversed_bytes(chunk, /)\n--\n\nReturn the bytes of a buffer in reverse order."},
    {"reverse_runs", FAST(kernels_reverse_runs),
     "reverse_runs(frames, runs, prefix_bytes, /)\n--\n\nReverse the payloads of runs in place."},
    {"reverse_lines", kernels_reverse_lines, METH_O,
     "reverse_lines(lines, /)\n--\n\nReverse the payload of each whole line in place."},
    {"scan_prefixed", FAST(kernels_scan_prefixed),
     "scan_prefixed(data, prefix_bytes, max_frame_bytes, most_runs, run_type, /)\n--\n\n"
     "Return (consumed_bytes, runs, length that is too long or None, stopped)."},
    {"scan_lines", FAST(kernels_scan_lines),
     "scan_lines(data, max_frame_bytes, most_steps, /)\n--\n\n"
     "Return (consumed_bytes, length that is too long or None, whether it is whole, stopped)."},
    {"rest_prefixed", FAST(kernels_rest_prefixed),
     "rest_prefixed(held, chunk, prefix_bytes, max_frame_bytes, /)\n--\n\n"
     "Return (taken_bytes, whole, length that is too long or None, False)."},
    {"rest_line", FAST(kernels_rest_line),
     "rest_line(held, chunk, max_frame_bytes, /)\n--\n\n"
     "Return (taken_bytes, whole, length that is too long or None, whether it is whole)."},
    {"line_spans", FAST(kernels_line_spans),
     "line_spans(data, off, /)\n--\n\n"
     "Return (start, payload end, end) of the first whole lines from an offset on, at most 64."},
    {"count_lines", kernels_count_lines, METH_O,
     "count_lines(data, /)\n--\n\nReturn how many newlines there are."},
    {"exchange", kernels_exchange, METH_VARARGS,
     "exchange(events, rows, requests, replies, variants, woken_ns, unit_ns, notes, /)\n--\n\n"
     "Return (answered messages, sent bytes, what is left to the caller)."},
    {NULL, NULL, 0, NULL},
};

/* What `asyncrev.native.kernels` expects. */
enum { INTERFACE = 2 };

static int add_constants(PyObject *module) {
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static const char doc[] = "Reversal of bytes, scans for frames, and a load's data path, in C; see `asyncrev.native`.";

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
