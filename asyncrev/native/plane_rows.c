/* `Work`, `Row` and `Entry`: see asyncrev/ring/row.py and asyncrev/ring/entry.py. */
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

static bool is_deleted(PyObject *value) {
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "the attribute cannot be deleted");
    }
    return value == NULL;
}

/* -- Work ---------------------------------------------------------------------------------------- */

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

/* -- Row ----------------------------------------------------------------------------------------- */

static int row_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((RowObject *)self)->work);
    return 0;
}

/* The worker may still read its work: that goes with the row. */
static int row_clear(PyObject *self) {
    RowObject *row = (RowObject *)self;
    row->core.work = NULL;
    Py_CLEAR(row->work);
    return 0;
}

static void row_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    row_clear(self);
    free_object(self);
}

static PyObject *row_work(PyObject *self, void *closure) {
    (void)closure;
    PyObject *work = ((RowObject *)self)->work;
    return Py_NewRef(work == NULL ? Py_None : work);
}

static int row_set_work(PyObject *self, PyObject *value, void *closure) {
    (void)closure;
    RowObject *row = (RowObject *)self;
    State *state = state_above(self);
    if (state == NULL || is_deleted(value)) {
        return -1;
    }
    PyObject *old = row->work;
    row->work = Py_NewRef(value);
    row->core.work =
        PyObject_TypeCheck(value, state->work_type) ? &((WorkObject *)value)->core : NULL;
    Py_XDECREF(old);
    return 0;
}

enum { FIRST_READ_BYTES = 16 * 1024 };

/* So that a row which nobody initializes has no descriptor 0. */
static PyObject *row_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args;
    (void)kwargs;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *self = allocate(type, 0);
    if (self != NULL) {
        ((RowObject *)self)->core.fd = -1;
    }
    return self;
}

static int row_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"work", "is_framed", NULL};
    RowObject *row = (RowObject *)self;
    PyObject *work;
    int is_framed = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$p:Row", names, &work, &is_framed)) {
        return -1;
    }
    row->core.small_reads = 2;
    row->core.read_bytes = FIRST_READ_BYTES;
    row->core.is_framed = is_framed != 0;
    return row_set_work(self, work, NULL);
}

#define COUNT(name) {#name, T_LONGLONG, offsetof(RowObject, core.name), 0, NULL}
#define FLAG(name) {#name, T_BOOL, offsetof(RowObject, core.name), 0, NULL}
static PyMemberDef row_members[] = {
    COUNT(in_flight_entries),
    COUNT(in_flight_bytes),
    COUNT(partial_frame_bytes),
    COUNT(read_bytes),
    COUNT(reserved_bytes),
    COUNT(frame_seq),
    COUNT(received_bytes),
    COUNT(replied_bytes),
    {"look_at_s", T_DOUBLE, offsetof(RowObject, core.look_at_s), 0, NULL},
    {"small_reads", T_INT, offsetof(RowObject, core.small_reads), 0, NULL},
    FLAG(abandoned),
    FLAG(waits_for_credit),
    FLAG(waits_for_slot),
    FLAG(is_framed),
    FLAG(reads),
    FLAG(sends),
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef row_getset[] = {
    {"work", row_work, row_set_work, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot row_slots[] = {
    {Py_tp_new, row_new},           {Py_tp_init, row_init},         {Py_tp_dealloc, row_dealloc},
    {Py_tp_traverse, row_traverse}, {Py_tp_clear, row_clear},       {Py_tp_members, row_members},
    {Py_tp_getset, row_getset},     {0, NULL},
};

PyType_Spec row_spec = {
    .name = "asyncrev.native._plane.Row",
    .basicsize = sizeof(RowObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = row_slots,
};

/* -- Entry --------------------------------------------------------------------------------------- */

static int entry_traverse(PyObject *self, visitproc visit, void *arg) {
    EntryObject *entry = (EntryObject *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(entry->view);
    Py_VISIT(entry->owner);
    Py_VISIT(entry->kind);
    Py_VISIT(entry->result);
    Py_VISIT(entry->error);
    return 0;
}

static int entry_clear(PyObject *self) {
    EntryObject *entry = (EntryObject *)self;
    Py_CLEAR(entry->view);
    Py_CLEAR(entry->owner);
    Py_CLEAR(entry->kind);
    Py_CLEAR(entry->result);
    Py_CLEAR(entry->error);
    return 0;
}

static void entry_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    entry_clear(self);
    free_object(self);
}

static int entry_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"view", NULL};
    EntryObject *entry = (EntryObject *)self;
    State *state = state_of(self);
    PyObject *view;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Entry", names, &view)) {
        return -1;
    }
    set_reference(&entry->view, view);
    set_reference(&entry->kind, state->kinds[ARV_DATA]);
    return 0;
}

#define OBJECT(name) {#name, T_OBJECT, offsetof(EntryObject, name), 0, NULL}
#define NUMBER(name) {#name, T_LONGLONG, offsetof(EntryObject, name), 0, NULL}
static PyMemberDef entry_members[] = {
    OBJECT(view),
    OBJECT(owner),
    OBJECT(kind),
    OBJECT(result),
    OBJECT(error),
    NUMBER(nbytes),
    NUMBER(partial_frame_bytes),
    NUMBER(frame_seq),
    NUMBER(calls),
    NUMBER(surplus_bytes),
    {"ended", T_BOOL, offsetof(EntryObject, ended), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot entry_slots[] = {
    {Py_tp_init, entry_init},         {Py_tp_dealloc, entry_dealloc}, {Py_tp_traverse, entry_traverse},
    {Py_tp_clear, entry_clear},       {Py_tp_members, entry_members}, {0, NULL},
};

PyType_Spec entry_spec = {
    .name = "asyncrev.native._plane.Entry",
    .basicsize = sizeof(EntryObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = entry_slots,
};
