/* The objects of `asyncrev.native._plane`: each a part of the core, and what Python keeps beside it.
 *
 * Rules for all of them:
 * - A pointer to an object is written only by a thread that has the GIL, which the garbage collector
 *   holds, too: the core never writes one.
 * - The core's columns have a row's structure, not its object. While an entry is in the ring, the ring
 *   has a reference to its owner; those to what the core publishes are taken when the GIL is back,
 *   and `counted_seq` says how far. Until then the plane's table keeps the row. An entry that the core
 *   has published and released meanwhile needs none.
 */
#ifndef ASYNCREV_PLANE_OBJECTS_H
#define ASYNCREV_PLANE_OBJECTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "none.h"
#include "plane_core.h"

typedef struct {
    PyObject_HEAD
    arv_work core;
    PyObject *plain;    /* or NULL */
    PyObject *function; /* or NULL: does what `plain` does, with bytes */
    char views_allowed;
} WorkObject;

typedef struct {
    PyObject_HEAD
    arv_row core;
    PyObject *work;
} RowObject;

typedef struct {
    PyObject_HEAD
    PyObject *view;
    PyObject *owner;
    PyObject *kind;
    PyObject *result;
    PyObject *error;
    long long nbytes;
    long long partial_frame_bytes;
    long long frame_seq;
    long long calls;
    long long surplus_bytes;
    char ended;
} EntryObject;

typedef struct {
    PyObject_HEAD
    arv_parker core;
    unsigned long long backstop_wakes;
} ParkerObject;

typedef struct {
    PyObject_HEAD
    arv_signal core;
    PyObject *post;
    int kept_fd; /* closed with the object: the worker may write to it until then */
} SignalObject;

typedef struct {
    PyObject_HEAD
    arv_ring *core;
    PyObject *storage;
    Py_buffer memory;
    PyObject **owners;    /* of entries whose owner is not a row */
    PyObject **results;
    Py_buffer *held;       /* of a result that is a view: its `obj` is NULL otherwise */
    EntryObject **reports; /* attached */
    EntryObject **entries; /* made for a row, at its first use */
    PyObject **loop_views; /* by slot, made at the first use */
    PyObject **work_views;
} RingObject;

typedef struct {
    PyObject_HEAD
    arv_plane core;
    RingObject *ring;
    PyObject *polled; /* the list that `events` was made from */
    arv_event *events;
    size_t nevents;
} PlaneObject;

/* The module's state: its types, and what it uses of asyncrev. */
enum { KINDS = 4 };
typedef struct {
    PyTypeObject *work_type;
    PyTypeObject *row_type;
    PyTypeObject *entry_type;
    PyTypeObject *parker_type;
    PyTypeObject *signal_type;
    PyTypeObject *ring_type;
    PyTypeObject *plane_type;
    PyObject *kinds[KINDS]; /* members of Kind; ARV_DATA is the first */
    PyObject *local_error;
    PyObject *as_reply;
    PyObject *allocate;
    PyObject *name_process; /* interned */
    PyObject *name_do;
    PyObject *name_answer;
    PyObject *name_fail;
} State;

State *state_of(PyObject *object); /* of an object of a type that cannot be derived from */

/* The state, found from an object whose type may be derived from one of ours; NULL: an exception. */
State *state_above(PyObject *object);

extern PyType_Spec work_spec;
extern PyType_Spec row_spec;
extern PyType_Spec entry_spec;
extern PyType_Spec parker_spec;
extern PyType_Spec signal_spec;
extern PyType_Spec ring_spec;
extern PyType_Spec plane_spec;
extern struct PyModuleDef plane_module;

static inline RowObject *row_object(arv_row *row) {
    return (RowObject *)((char *)row - offsetof(RowObject, core));
}

/* Refer to `object`, or to nothing, in the place of what `place` has referred to. */
static inline void set_reference(PyObject **place, PyObject *object) {
    PyObject *before = *place;
    Py_XINCREF(object);
    *place = object;
    Py_XDECREF(before);
}

/* -- ring, for the plane ------------------------------------------------------------------------- */

/* Borrowed. */
static inline PyObject *ring_owner(RingObject *ring, size_t pos) {
    arv_row *row = ring->core->rows[pos];
    if (row != NULL) {
        return (PyObject *)row_object(row);
    }
    PyObject *owner = ring->owners[pos];
    return owner == NULL ? Py_None : owner;
}

/* The entry of a row of the ring, attached; borrowed, or NULL. */
EntryObject *ring_entry(State *state, RingObject *ring, size_t pos);

/* The worker's view of the first `nbytes` of the chunk in a row of the ring; new. */
PyObject *ring_chunk(RingObject *ring, size_t pos);

/* Leave in the columns what the loop has to know of a row of the ring, and hand it back. */
void ring_hand_back(State *state, RingObject *ring, size_t pos);

/* Refer to the owners of what the core has published. */
void ring_count_owners(RingObject *ring);

/* Release entries, and drop their objects; they are processed. */
void ring_drop(RingObject *ring, size_t nentries);

/* Post a request that arv_must_request has noted; false with an exception. */
bool signal_post(SignalObject *signal);

/* Request a delivery if none will come; false with an exception. */
bool signal_request(SignalObject *signal);

/* Free an object of one of our types. */
void free_object(PyObject *self);

/* Whether `value` is one from `least` to `most`, which `number` gets then; false with an exception. */
bool is_integer(PyObject *value, long long least, long long most, const char *name, long long *number);

/* Whether a setter was called without a value; true with an exception. */
bool is_deleted(PyObject *value);

#endif
