/* The calls of `Plane`, which plane_calls.c makes a type of. See asyncrev/ring/plane.py. */
#ifndef ASYNCREV_PLANE_CALLS_H
#define ASYNCREV_PLANE_CALLS_H

#include "plane_objects.h"

/* Thread: loop. In plane_calls_loop.c. */
PyObject *plane_receive(PyObject *self, PyObject *args);
PyObject *plane_deliver(PyObject *self, PyObject *number);
PyObject *plane_poll(PyObject *self, PyObject *args);

/* Thread: worker. In plane_calls_worker.c. */
PyObject *plane_answer(PyObject *self, PyObject *args);
PyObject *plane_wait(PyObject *self, PyObject *args);

#endif
