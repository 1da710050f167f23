/* `Work`: see asyncrev/ring/row.py. */
#include "plane_objects.h"

static int work_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((WorkObject *)self)->plain);
    Py_VISIT(((WorkObject *)self)->function);
    return 0;
}

static int work_clear(PyObject *self) {
    Py_CLEAR(((WorkObject *)self)->plain);
    Py_CLEAR(((WorkObject *)self)->function);
    return 0;
}

static void work_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    work_clear(self);
    free_object(self);
}

static PyObject *work_plain(PyObject *self, void *closure) {
    (void)closure;
    PyObject *plain = ((WorkObject *)self)->plain;
    return Py_NewRef(plain == NULL ? Py_None : plain);
}

/* Whoever sets it must name the kernel or the function again, if there is one: without that, the processor
 * does the work. */
static int work_set_plain(PyObject *self, PyObject *value, void *closure) {
    (void)closure;
    WorkObject *work = (WorkObject *)self;
    if (is_deleted(value)) {
        return -1;
    }
    work->core.kernel = ARV_NO_KERNEL;
    PyObject *old = work->plain;
    work->plain = value == Py_None ? NULL : Py_NewRef(value);
    Py_XDECREF(old);
    Py_CLEAR(work->function);
    return 0;
}

static PyObject *work_abandoned(PyObject *self, void *closure) {
    (void)closure;
    return PyBool_FromLong(atomic_load(&((WorkObject *)self)->core.abandoned));
}

static int work_set_abandoned(PyObject *self, PyObject *value, void *closure) {
    (void)closure;
    if (is_deleted(value)) {
        return -1;
    }
    int is_true = PyObject_IsTrue(value);
    if (is_true < 0) {
        return -1;
    }
    atomic_store(&((WorkObject *)self)->core.abandoned, is_true != 0);
    return 0;
}

static PyObject *work_kernel(PyObject *self, void *closure) {
    (void)closure;
    return PyLong_FromLong(((WorkObject *)self)->core.kernel);
}

static PyObject *work_kernel_frames(PyObject *self, void *closure) {
    (void)closure;
    return PyLong_FromUnsignedLongLong(atomic_load(&((WorkObject *)self)->core.kernel_frames));
}

static PyObject *work_use_kernel(PyObject *self, PyObject *args) {
    WorkObject *work = (WorkObject *)self;
    int kernel;
    unsigned long long most_bytes;
    if (!PyArg_ParseTuple(args, "iK:use_kernel", &kernel, &most_bytes)) {
        return NULL;
    }
    if (kernel < ARV_NO_KERNEL || kernel > ARV_LEN64) {
        PyErr_Format(PyExc_ValueError, "there is no kernel %d; they have the numbers 0 to %d", kernel,
                     ARV_LEN64);
        return NULL;
    }
    work->core.most_bytes = most_bytes;
    work->core.kernel = kernel;
    return new_none();
}

static PyObject *work_use_function(PyObject *self, PyObject *function) {
    set_reference(&((WorkObject *)self)->function, function);
    return new_none();
}

static PyMethodDef work_methods[] = {
    {"use_function", work_use_function, METH_O, NULL},
    {"use_kernel", work_use_kernel, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef work_getset[] = {
    {"plain", work_plain, work_set_plain, NULL, NULL},
    {"abandoned", work_abandoned, work_set_abandoned, NULL, NULL},
    {"kernel", work_kernel, NULL, NULL, NULL},
    {"kernel_frames", work_kernel_frames, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef work_members[] = {
    {"views_allowed", T_BOOL, offsetof(WorkObject, views_allowed), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot work_slots[] = {
    {Py_tp_dealloc, work_dealloc}, {Py_tp_traverse, work_traverse}, {Py_tp_clear, work_clear},
    {Py_tp_methods, work_methods}, {Py_tp_getset, work_getset},     {Py_tp_members, work_members},
    {0, NULL},
};

PyType_Spec work_spec = {
    .name = "asyncrev.native._plane.Work",
    .basicsize = sizeof(WorkObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = work_slots,
};
