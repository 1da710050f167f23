/* What all objects of the plane use; see plane_objects.h. */
#include "plane_objects.h"

void free_object(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

State *state_of(PyObject *object) { return PyType_GetModuleState(Py_TYPE(object)); }

State *state_above(PyObject *object) {
    for (PyTypeObject *type = Py_TYPE(object); type != NULL; type = PyType_GetSlot(type, Py_tp_base)) {
        if (!(PyType_GetFlags(type) & Py_TPFLAGS_HEAPTYPE)) {
            break; /* PyType_GetSlot is for heap types only, before 3.10 */
        }
        PyObject *module = PyType_GetModule(type);
        if (module != NULL && PyModule_GetDef(module) == &plane_module) {
            return PyType_GetModuleState(type);
        }
        PyErr_Clear();
    }
    PyErr_SetString(PyExc_TypeError, "the object is not of a type of this module");
    return NULL;
}

bool is_integer(PyObject *value, long long least, long long most, const char *name,
                long long *number) {
    *number = PyLong_AsLongLong(value);
    if (*number == -1 && PyErr_Occurred()) {
        return false;
    }
    if (*number < least || *number > most) {
        PyErr_Format(PyExc_ValueError, "%s is %R; it must be from %lld to %lld", name, value, least,
                     most);
        return false;
    }
    return true;
}

bool is_deleted(PyObject *value) {
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "the attribute cannot be deleted");
    }
    return value == NULL;
}
