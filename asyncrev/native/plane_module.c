/* `asyncrev.native._plane`: the ring, its plane and its wake-ups; see plane_objects.h. */
#include "plane_objects.h"

#define INTERFACE 3 /* asyncrev.native.plane.INTERFACE: changes with what Python sees */

static PyObject *import_name(const char *module_name, const char *name) {
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *object = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    Py_XDECREF(module);
    return object;
}

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return (PyTypeObject *)type;
}

static int execute(PyObject *module) {
    static const char *const kind_names[KINDS] = {"DATA", "EOF", "RESUME", "CLOSE"};
    State *state = PyModule_GetState(module);
    for (int kind = 0; kind < KINDS; kind++) {
        state->kinds[kind] = import_name("asyncrev.ring.entry", kind_names[kind]);
        if (state->kinds[kind] == NULL) {
            return -1;
        }
    }
    if ((state->local_error = import_name("asyncrev.errors", "LocalError")) == NULL ||
        (state->as_reply = import_name("asyncrev.processors", "as_reply")) == NULL ||
        (state->allocate = import_name("asyncrev.ring.storage", "allocate")) == NULL ||
        (state->name_process = PyUnicode_InternFromString("process")) == NULL ||
        (state->name_do = PyUnicode_InternFromString("do")) == NULL ||
        (state->name_answer = PyUnicode_InternFromString("answer")) == NULL ||
        (state->name_fail = PyUnicode_InternFromString("fail")) == NULL ||
        (state->work_type = add_type(module, &work_spec)) == NULL ||
        (state->row_type = add_type(module, &row_spec)) == NULL ||
        (state->entry_type = add_type(module, &entry_spec)) == NULL ||
        (state->parker_type = add_type(module, &parker_spec)) == NULL ||
        (state->signal_type = add_type(module, &signal_spec)) == NULL ||
        (state->ring_type = add_type(module, &ring_spec)) == NULL ||
        (state->plane_type = add_type(module, &plane_spec)) == NULL) {
        return -1;
    }
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    State *state = PyModule_GetState(module);
    for (int kind = 0; kind < KINDS; kind++) {
        Py_VISIT(state->kinds[kind]);
    }
    Py_VISIT(state->work_type);
    Py_VISIT(state->row_type);
    Py_VISIT(state->entry_type);
    Py_VISIT(state->parker_type);
    Py_VISIT(state->signal_type);
    Py_VISIT(state->ring_type);
    Py_VISIT(state->plane_type);
    Py_VISIT(state->local_error);
    Py_VISIT(state->as_reply);
    Py_VISIT(state->allocate);
    return 0;
}

static int clear(PyObject *module) {
    State *state = PyModule_GetState(module);
    for (int kind = 0; kind < KINDS; kind++) {
        Py_CLEAR(state->kinds[kind]);
    }
    Py_CLEAR(state->work_type);
    Py_CLEAR(state->row_type);
    Py_CLEAR(state->entry_type);
    Py_CLEAR(state->parker_type);
    Py_CLEAR(state->signal_type);
    Py_CLEAR(state->ring_type);
    Py_CLEAR(state->plane_type);
    Py_CLEAR(state->local_error);
    Py_CLEAR(state->as_reply);
    Py_CLEAR(state->allocate);
    Py_CLEAR(state->name_process);
    Py_CLEAR(state->name_do);
    Py_CLEAR(state->name_answer);
    Py_CLEAR(state->name_fail);
    return 0;
}

static void release(void *module) { clear(module); }

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

struct PyModuleDef plane_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "asyncrev.native._plane",
    .m_size = sizeof(State),
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC PyInit__plane(void) { return PyModuleDef_Init(&plane_module); }
