/* `Parker` and `DeliverySignal`: see asyncrev/ring/wakeups.py. */
#include "plane_objects.h" /* first: it sets the feature macros */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* -- Parker -------------------------------------------------------------------------------------- */

static PyObject *parker_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Parker", names)) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    ParkerObject *parker = (ParkerObject *)allocate(type, 0);
    if (parker == NULL) {
        return NULL;
    }
    int error = arv_parker_open(&parker->core);
    if (error != 0) {
        Py_DECREF(parker);
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return (PyObject *)parker;
}

static void parker_dealloc(PyObject *self) {
    arv_parker_close(&((ParkerObject *)self)->core);
    free_object(self);
}

static PyObject *parker_unpark(PyObject *self, PyObject *unused) {
    (void)unused;
    ParkerObject *parker = (ParkerObject *)self;
    bool woken;
    /* The worker, on the same core maybe, begins while this thread is in the write. */
    Py_BEGIN_ALLOW_THREADS
    woken = arv_unpark(&parker->core);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(woken);
}

static PyObject *parker_park(PyObject *self, PyObject *args) {
    ParkerObject *parker = (ParkerObject *)self;
    PyObject *has_work;
    double timeout_s;
    if (!PyArg_ParseTuple(args, "Od:park", &has_work, &timeout_s)) {
        return NULL;
    }
    arv_parker_prepare(&parker->core);
    PyObject *answer = PyObject_CallObject(has_work, NULL);
    int is_true = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    if (is_true != 0) {
        arv_parker_stay(&parker->core);
        return is_true < 0 ? NULL : PyBool_FromLong(1);
    }
    bool timed_out;
    int timeout_ms = -1; /* none */
    if (!(timeout_s < 0)) {
        timeout_ms = timeout_s < 2147483.0 ? (int)(timeout_s * 1000.0 + 0.999) : 2147483647;
    }
    Py_BEGIN_ALLOW_THREADS
    timed_out = arv_park(&parker->core, timeout_ms);
    Py_END_ALLOW_THREADS
    answer = PyObject_CallObject(has_work, NULL);
    if (answer != NULL && timed_out && PyObject_IsTrue(answer) == 1) {
        parker->backstop_wakes++;
    }
    return answer;
}

static PyObject *parker_unparks(PyObject *self, void *closure) {
    (void)closure;
    return PyLong_FromUnsignedLongLong(atomic_load(&((ParkerObject *)self)->core.unparks));
}

static PyObject *parker_parked(PyObject *self, void *closure) {
    (void)closure;
    return PyBool_FromLong(atomic_load(&((ParkerObject *)self)->core.parked));
}

static PyMethodDef parker_methods[] = {
    {"unpark", parker_unpark, METH_NOARGS, NULL},
    {"park", parker_park, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef parker_getset[] = {
    {"parked", parker_parked, NULL, NULL, NULL},
    {"unparks", parker_unparks, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef parker_members[] = {
    {"backstop_wakes", T_ULONGLONG, offsetof(ParkerObject, backstop_wakes), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot parker_slots[] = {
    {Py_tp_new, parker_new},         {Py_tp_dealloc, parker_dealloc},
    {Py_tp_methods, parker_methods}, {Py_tp_getset, parker_getset},
    {Py_tp_members, parker_members}, {0, NULL},
};

PyType_Spec parker_spec = {
    .name = "asyncrev.native._plane.Parker",
    .basicsize = sizeof(ParkerObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = parker_slots,
};

/* -- DeliverySignal ------------------------------------------------------------------------------ */

static int signal_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((SignalObject *)self)->post);
    return 0;
}

static int signal_clear_object(PyObject *self) {
    Py_CLEAR(((SignalObject *)self)->post);
    return 0;
}

static void signal_dealloc(PyObject *self) {
    SignalObject *signal = (SignalObject *)self;
    PyObject_GC_UnTrack(self);
    signal_clear_object(self);
    if (signal->kept_fd >= 0) {
        close(signal->kept_fd);
    }
    free_object(self);
}

static PyObject *signal_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"post", NULL};
    PyObject *post;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:DeliverySignal", names, &post)) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    SignalObject *signal = (SignalObject *)allocate(type, 0);
    if (signal == NULL) {
        return NULL;
    }
    signal->post = Py_NewRef(post);
    atomic_store(&signal->core.wake_fd, -1);
    signal->kept_fd = -1;
    return (PyObject *)signal;
}

bool signal_post(SignalObject *signal) {
    int fd = atomic_load(&signal->core.wake_fd);
    bool woken = false;
    if (fd >= 0) {
        Py_BEGIN_ALLOW_THREADS
        woken = arv_wake(fd);
        Py_END_ALLOW_THREADS
    }
    if (woken) {
        return true;
    }
    PyObject *posted = PyObject_CallObject(signal->post, NULL);
    if (posted == NULL) {
        arv_not_requested(&signal->core);
        return false;
    }
    Py_DECREF(posted);
    return true;
}

bool signal_request(SignalObject *signal) {
    return !arv_must_request(&signal->core) || signal_post(signal);
}

static PyObject *signal_do_request(PyObject *self, PyObject *unused) {
    (void)unused;
    SignalObject *signal = (SignalObject *)self;
    if (!arv_must_request(&signal->core)) {
        return PyBool_FromLong(0);
    }
    return signal_post(signal) ? PyBool_FromLong(1) : NULL;
}

static PyObject *signal_do_clear(PyObject *self, PyObject *unused) {
    (void)unused;
    arv_signal_clear(&((SignalObject *)self)->core);
    return new_none();
}

static PyObject *signal_hold(PyObject *self, PyObject *unused) {
    (void)unused;
    atomic_store(&((SignalObject *)self)->core.awaited, true);
    return new_none();
}

static PyObject *signal_wake_by(PyObject *self, PyObject *number) {
    SignalObject *signal = (SignalObject *)self;
    long long fd;
    if (!is_integer(number, -1, 2147483647, "a descriptor", &fd)) {
        return NULL;
    }
    if (fd >= 0) {
        /* Our own, so that it cannot be another file's while the worker writes to it. That of another
         * loop takes its place at once: a late write wakes that one, in vain (I7). */
        int kept_fd = signal->kept_fd < 0 ? fcntl((int)fd, F_DUPFD_CLOEXEC, 0)
                                          : dup3((int)fd, signal->kept_fd, O_CLOEXEC);
        if (kept_fd < 0) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        signal->kept_fd = kept_fd;
    }
    atomic_store(&signal->core.wake_fd, fd < 0 ? -1 : signal->kept_fd);
    return new_none();
}

static PyObject *signal_awaited(PyObject *self, void *closure) {
    (void)closure;
    return PyBool_FromLong(atomic_load(&((SignalObject *)self)->core.awaited));
}

static PyObject *signal_requests(PyObject *self, void *closure) {
    (void)closure;
    return PyLong_FromUnsignedLongLong(atomic_load(&((SignalObject *)self)->core.requests));
}

static PyMethodDef signal_methods[] = {
    {"request", signal_do_request, METH_NOARGS, NULL},
    {"clear", signal_do_clear, METH_NOARGS, NULL},
    {"hold", signal_hold, METH_NOARGS, NULL},
    {"wake_by", signal_wake_by, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef signal_getset[] = {
    {"awaited", signal_awaited, NULL, NULL, NULL},
    {"requests", signal_requests, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot signal_slots[] = {
    {Py_tp_new, signal_new},           {Py_tp_dealloc, signal_dealloc},
    {Py_tp_traverse, signal_traverse}, {Py_tp_clear, signal_clear_object},
    {Py_tp_methods, signal_methods},   {Py_tp_getset, signal_getset},
    {0, NULL},
};

PyType_Spec signal_spec = {
    .name = "asyncrev.native._plane.DeliverySignal",
    .basicsize = sizeof(SignalObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = signal_slots,
};
