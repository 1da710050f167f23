/* `Row` and `Entry`: see asyncrev/ring/row.py and asyncrev/ring/entry.py. */
#include "plane_objects.h"

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
