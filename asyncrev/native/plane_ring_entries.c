/* `Ring`: the objects that stand for entries, and how the worker hands these back. */
#include "plane_ring.h"

/* -- views --------------------------------------------------------------------------------------- */

PyObject *ring_slot_view(RingObject *ring, PyObject **views, size_t number) {
    if (views[number] == NULL) {
        size_t off = arv_slot_off(ring->core, number);
        PyObject *whole = PyMemoryView_FromObject(ring->storage);
        if (whole == NULL) {
            return NULL;
        }
        views[number] = PySequence_GetSlice(
            whole, (Py_ssize_t)off, (Py_ssize_t)(off + arv_slot_length(ring->core, number)));
        Py_DECREF(whole);
    }
    return views[number];
}

PyObject *ring_chunk(RingObject *ring, size_t pos) {
    PyObject *view = ring_slot_view(ring, ring->work_views, ring->core->slot_of[pos]);
    return view == NULL ? NULL : PySequence_GetSlice(view, 0, (Py_ssize_t)ring->core->sizes[pos]);
}

/* -- entries ------------------------------------------------------------------------------------- */

PyObject *ring_slot_reply(State *state, RingObject *ring, size_t pos) {
    PyObject *work = row_object(ring->core->rows[pos])->work;
    if (PyObject_TypeCheck(work, state->work_type) && !((WorkObject *)work)->views_allowed) {
        return PyBytes_FromStringAndSize((const char *)ring->core->replies[pos],
                                         (Py_ssize_t)ring->core->reply_bytes[pos]);
    }
    PyObject *view = ring_slot_view(ring, ring->loop_views, ring->core->slot_of[pos]);
    return view == NULL ? NULL
                        : PySequence_GetSlice(view, 0, (Py_ssize_t)ring->core->reply_bytes[pos]);
}

EntryObject *ring_entry(State *state, RingObject *ring, size_t pos) {
    if (ring->reports[pos] != NULL) {
        return ring->reports[pos];
    }
    PyObject *view = ring_slot_view(ring, ring->work_views, ring->core->slot_of[pos]);
    if (view == NULL) {
        return NULL;
    }
    if (ring->entries[pos] == NULL) {
        ring->entries[pos] =
            (EntryObject *)PyObject_CallFunctionObjArgs((PyObject *)state->entry_type, view, NULL);
        if (ring->entries[pos] == NULL) {
            return NULL;
        }
    }
    EntryObject *entry = ring->entries[pos];
    set_reference(&entry->view, view);
    set_reference(&entry->owner, ring_owner(ring, pos));
    set_reference(&entry->kind, state->kinds[ring->core->kinds[pos]]);
    if (ring->core->outcomes[pos] == ARV_SLOT) { /* a kernel's, which left no object */
        PyObject *reply = ring_slot_reply(state, ring, pos);
        if (reply == NULL) {
            return NULL;
        }
        set_reference(&entry->result, reply);
        Py_DECREF(reply);
    } else {
        set_reference(&entry->result, ring->results[pos]);
    }
    entry->nbytes = (long long)ring->core->sizes[pos];
    /* What another lane left there, which had this row before. */
    entry->calls = entry->surplus_bytes = 0;
    entry->ended = 0;
    ring->reports[pos] = (EntryObject *)Py_NewRef((PyObject *)entry);
    return entry;
}

/* Take the memory of a result, bytes or a view; false if it is neither. */
static bool take_reply(RingObject *ring, size_t pos, PyObject *result) {
    const unsigned char *reply = NULL;
    Py_ssize_t nbytes = 0;
    if (result == NULL || result == Py_None) {
        /* No reply. */
    } else if (PyBytes_CheckExact(result)) {
        reply = (const unsigned char *)PyBytes_AsString(result);
        nbytes = PyBytes_Size(result);
    } else if (PyMemoryView_Check(result)) {
        if (PyObject_GetBuffer(result, &ring->held[pos], PyBUF_SIMPLE) < 0) {
            PyErr_Clear(); /* released, or not contiguous: Python says so where it is sent */
            ring->held[pos].obj = NULL;
            return false;
        }
        reply = ring->held[pos].buf;
        nbytes = ring->held[pos].len;
    } else {
        return false;
    }
    ring->core->replies[pos] = reply;
    ring->core->reply_bytes[pos] = (size_t)nbytes;
    return true;
}

void ring_hand_back(State *state, RingObject *ring, size_t pos) {
    arv_ring *core = ring->core;
    EntryObject *report = ring->reports[pos];
    PyObject *result = ring->results[pos];
    bool is_plain = core->kinds[pos] == ARV_DATA;
    core->reported[pos] = report != NULL;
    if (report != NULL) {
        result = report->result;
        is_plain = (report->error == NULL || report->error == Py_None) &&
                   report->kind == state->kinds[ARV_DATA] && report->surplus_bytes == 0 &&
                   report->nbytes >= 0;
        core->done_bytes[pos] = (size_t)report->nbytes;
        core->frames[pos] =
            (arv_frames){report->partial_frame_bytes, report->frame_seq, report->calls};
    }
    core->outcomes[pos] = is_plain && take_reply(ring, pos, result) ? ARV_REPLY : ARV_OTHER;
    if (core->outcomes[pos] == ARV_REPLY) {
        /* The core has its memory: it must live until the release, whoever changes the `Entry`. */
        set_reference(&ring->results[pos], result);
    }
    arv_mark_processed(core);
}
