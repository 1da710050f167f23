"""Seeded bugs in the C code of the plane, as those in `seeded_c`.

Those of the core are found by its stress program: data races by ThreadSanitizer, stores that come
too late by a build that delays each, all others by what the program checks. Those of the extension
are found by its own tests.
"""

from tests.mutants.seeded import Bug

__all__ = ["PLANE_BUGS"]

_STRESS = "tests/native/test_plane_core.py::test_two_threads_"
_RACE = _STRESS + "have_no_data_race"
_LATE = _STRESS + "lose_nothing_though_stores_are_late"
_MODULE = "tests/native/test_plane_module.py::test_"


def _core(name: str, part: str, old: str, new: str, test: str = _LATE) -> Bug:
    module, dot, suffix = f"native.plane_core_{part}".rpartition(".")
    return Bug(f"C plane: {name}", module, old, new, (test,), dot + suffix)


def _module(name: str, part: str, old: str, new: str, test: str) -> Bug:
    return Bug(f"C plane: {name}", f"native.plane_{part}", old, new, (_MODULE + test,), ".c")


_FENCE = "    atomic_thread_fence(memory_order_seq_cst);\n"

PLANE_BUGS = (
    # -- the order of stores and loads
    _core(
        "what is published is not released",
        "ring.h",
        "ring->published_seq, seq + 1, memory_order_release",
        "ring->published_seq, seq + 1, memory_order_relaxed",
        _RACE,
    ),
    _core(
        "what is answered by a kernel is not released",
        "worker.c",
        "ring->processed_seq, ++seq, memory_order_release",
        "ring->processed_seq, ++seq, memory_order_relaxed",
        _RACE,
    ),
    _core(
        "what is answered by Python is not released",
        "ring.h",
        "ring->processed_seq, seq + 1, memory_order_release",
        "ring->processed_seq, seq + 1, memory_order_relaxed",
        _RACE,
    ),
    _core(
        "what is published is not acquired",
        "worker.c",
        "waited.end_seq = atomic_load(&ring->published_seq);",
        "waited.end_seq = atomic_load_explicit(&ring->published_seq, memory_order_relaxed);",
        _RACE,
    ),
    _core(
        "an answer is handed back, then written down",
        "worker.c",
        "        ring->outcomes[pos] = ARV_SLOT;\n"
        "        /* ORDER: after the slot and the row, which this store publishes (I2, I3). */\n"
        "        atomic_store_explicit(&ring->processed_seq, ++seq, memory_order_release);\n",
        "        atomic_store_explicit(&ring->processed_seq, ++seq, memory_order_release);\n"
        "        ring->outcomes[pos] = ARV_SLOT;\n",
        _RACE,
    ),
    _core(
        "no fence before the look whether the worker sleeps",
        "wakeups.c",
        f"{_FENCE}    if (!atomic_load_explicit(&parker",
        "    if (!atomic_load_explicit(&parker",
    ),
    _core(
        "no fence before the look whether the loop awaits",
        "wakeups.c",
        f"{_FENCE}    if (atomic_load_explicit(&signal",
        "    if (atomic_load_explicit(&signal",
    ),
    _core(
        "no fence after the worker says that it sleeps",
        "wakeups.c",
        f"    /* ORDER: before the caller looks for work (I5). */\n{_FENCE}",
        "",
    ),
    _core(
        "no fence after the loop says that it delivers",
        "wakeups.c",
        f"    /* ORDER: before the worker's cursor is read (I6). */\n{_FENCE}",
        "",
    ),
    _core(
        "the worker looks for work, then says that it sleeps",
        "worker.c",
        "        arv_parker_prepare(parker);\n"
        "        if (atomic_load(&ring->published_seq) != taken_seq || "
        "atomic_load(&ring->input_closed)) {",
        "        bool has_work =\n"
        "            atomic_load(&ring->published_seq) != taken_seq || "
        "atomic_load(&ring->input_closed);\n"
        "        arv_parker_prepare(parker);\n"
        "        if (has_work) {",
    ),
    _core(
        "the cursor is read before the flag",
        "worker.c",
        "        waited.is_closed = atomic_load(&ring->input_closed);\n"
        "        waited.end_seq = atomic_load(&ring->published_seq);\n",
        "        waited.end_seq = atomic_load(&ring->published_seq);\n"
        "        waited.is_closed = atomic_load(&ring->input_closed);\n",
    ),
    _core(
        "few bytes are not told at the end of a batch",
        "worker.c",
        "return unlooked_bytes > 0 && request(signal);",
        "return false;",
    ),
    # -- slots, rows and descriptors
    _core(
        "one entry more than there is",
        "receive.c",
        "ring->nentries;\n    for (size_t index = start",
        "ring->nentries + 1;\n    for (size_t index = start",
    ),
    _core(
        "a slot is given back before its reply is sent",
        "deliver.c",
        "        size_t reply_bytes = ring->reply_bytes[pos];\n",
        "        size_t reply_bytes = ring->reply_bytes[pos];\n"
        "        ring->free_slots[ring->nfree_slots++] = ring->slot_of[pos];\n",
    ),
    _core(
        "a large slot stays free when it is used",
        "ring.h",
        "ring->free_slots[--ring->nfree_slots];",
        "ring->free_slots[ring->nfree_slots - 1];",
    ),
    _core(
        "a small slot is freed over another",
        "ring.c",
        "ring->free_small_slots[ring->nfree_small_slots++] = number;",
        "ring->free_small_slots[ring->nfree_small_slots++] = number;\n"
        "            ring->free_small_slots[0] = number;",
    ),
    _core(
        "a row that is not served has its descriptor still",
        "receive.c",
        "        row->reads = row->sends = row->has_stop = false;\n        row->fd = -1;\n",
        "",
    ),
    _core(
        "a descriptor that is closed has its row still",
        "receive.c",
        "        plane->rows[fd] = NULL;\n        plane->served--;\n",
        "        plane->served--;\n",
    ),
    # -- quotas and accounts
    _core(
        "a quota of entries is exceeded by one",
        "receive.c",
        "row->in_flight_entries >= plane->most_entries",
        "row->in_flight_entries > plane->most_entries",
    ),
    _core(
        "a quota of bytes is exceeded by one",
        "receive.c",
        "row->in_flight_bytes >= plane->most_bytes)",
        "row->in_flight_bytes > plane->most_bytes)",
    ),
    _core(
        "credit comes back too late",
        "deliver.c",
        "row->in_flight_bytes <= plane->most_bytes / 2) {\n            return ARV_STOP_CREDIT",
        "row->in_flight_bytes < plane->most_bytes / 2) {\n            return ARV_STOP_CREDIT",
    ),
    _core(
        "a reservation is not looked at",
        "deliver.c",
        "row->reserved_bytes != 0 || row->waits_for_slot ||\n            partial",
        "row->waits_for_slot ||\n            partial",
    ),
    _core(
        "deferred input gets no turn",
        "deliver.c",
        "if (reported && entries_left == 0 && bytes_left != 0) {",
        "if (reported && entries_left > 0 && bytes_left != 0) {",
    ),
    _core(
        "a read stays long for a while though its frames are small",
        "deliver.c",
        "if (calls > SHARE_CALLS / 2) {",
        "if (calls > SHARE_CALLS) {",
    ),
    # -- system calls and replies
    _core(
        "the rest of a short write is lost",
        "deliver.c",
        "            if ((size_t)sent_bytes < reply_bytes) {\n"
        "                return sent_bytes;\n"
        "            }\n",
        "",
    ),
    _core(
        "nothing to read is taken for the end",
        "receive.c",
        "continue; /* epoll is level",
        "return (arv_received){index, 0, 0}; /* epoll is level",
    ),
    _core(
        "an interrupted read is an error",
        "receive.c",
        " || error == EINTR) {",
        ") {",
    ),
    _core(
        "the reply of one entry is sent for another",
        "deliver.c",
        "send_to(row->fd, ring->replies[pos], reply_bytes)",
        "send_to(row->fd, ring->replies[(pos + 1) % ring->nentries], reply_bytes)",
        _RACE,
    ),
    _core(
        "an end of input is answered by a kernel",
        "worker.c",
        "ring->kinds[pos] != ARV_DATA || ring->reported",
        "ring->reported",
    ),
    _core(
        "the worker does not see that a row is abandoned",
        "worker.c",
        "            atomic_load_explicit(&work->abandoned, memory_order_relaxed) ||\n",
        "",
    ),
    _core(
        "the loop sends for a row that is abandoned",
        "deliver.c",
        "!row->sends || row->abandoned || ",
        "!row->sends || ",
    ),
    _core(
        "half of a chunk is reversed before the other half is looked at",
        "worker.c",
        "for (int pass = 0; pass < 2; pass++) {",
        "for (int pass = 1; pass < 2; pass++) {",
    ),
    # -- many turns in one call
    _core(
        "the worker is not woken between two turns",
        "poll.c",
        "            arv_unpark(state->parker); /* ORDER: after the cursor (I5). */\n",
        "",
    ),
    _core(
        "what is answered is not acquired between two turns",
        "poll.c",
        "        uint64_t processed_seq = "
        "atomic_load_explicit(&ring->processed_seq, memory_order_acquire);\n",
        "        uint64_t processed_seq = "
        "atomic_load_explicit(&ring->processed_seq, memory_order_relaxed);\n",
        _RACE,
    ),
    _core(
        "what has an object is released without it",
        "poll.c",
        " && ring->outcomes[seq % ring->nentries] == ARV_SLOT;",
        ";",
    ),
    _core(
        "an exception of a delivery is forgotten",
        "deliver.c",
        "        plane->has_stop = false;\n        return plane->stop;\n",
        "        plane->has_stop = false;\n",
    ),
    # -- what Python adds
    _module(
        "the owners of what was received are not counted",
        "calls_loop",
        "    ring_count_owners(plane->ring);\n    if (received.stop == ARV_STOP_END) {",
        "    if (received.stop == ARV_STOP_END) {",
        "owner_is_referred_to_while_its_entry_is_in_the_ring",
    ),
    _module(
        "the owner of what was published is not counted",
        "ring",
        "    Py_INCREF(owner);\n    if (!is_row) {",
        "    if (!is_row) {",
        "owner_is_referred_to_while_its_entry_is_in_the_ring",
    ),
    _module(
        "a row that is served again is counted twice",
        "calls",
        "    if (before != NULL) {\n        Py_DECREF(row_object(before));\n    }\n",
        "    (void)before;\n",
        "plane_refers_to_a_row_while_it_serves_it",
    ),
    _module(
        "a released entry keeps its owner",
        "ring_memory",
        "        Py_CLEAR(report->owner);\n",
        "",
        "released_entry_keeps_nothing_alive",
    ),
    _module(
        "the collector does not see owners in the ring",
        "ring_memory",
        "            Py_VISIT(ring_owner(ring, pos));\n",
        "",
        "cycle_through_a_ring_is_collected",
    ),
    _module(
        "the memory of a reply is given up before it is sent",
        "ring_entries",
        "        reply = ring->held[pos].buf;\n        nbytes = ring->held[pos].len;\n",
        "        reply = ring->held[pos].buf;\n"
        "        nbytes = ring->held[pos].len;\n"
        "        PyBuffer_Release(&ring->held[pos]);\n",
        "memory_of_a_reply_stays_until_it_is_released",
    ),
    _module(
        "a reply in the slot is a view for everybody",
        "ring_entries",
        "!((WorkObject *)work)->views_allowed) {",
        "((WorkObject *)work)->views_allowed > 1) {",
        "reply_in_the_slot_is_a_view_only_where_views_are_allowed",
    ),
    _module(
        "a longer reply goes like any other",
        "calls_worker",
        "if (is_plain && (size_t)nbytes <= core->sizes[pos]) {",
        "if (is_plain && (size_t)nbytes <= core->sizes[pos] + 1) {",
        "longer_reply_is_told_to_the_work",
    ),
    _module(
        "an entry has the surplus of the one before",
        "ring_entries",
        "    entry->calls = entry->surplus_bytes = 0;\n",
        "    entry->calls = 0;\n",
        "entry_has_nothing_of_the_one_before",
    ),
    _module(
        "the kernel of the processor before is used",
        "work",
        "    work->core.kernel = ARV_NO_KERNEL;\n",
        "",
        "kernel_ends_with_another_processor",
    ),
    _module(
        "what the core could not post is not posted",
        "calls_worker",
        "            if (posts && !signal_post(signal)) {",
        "            if (posts && signal == NULL) {",
        "answers_without_python_request_one_delivery",
    ),
    _module(
        "a request that failed counts as made",
        "wakeups",
        "        arv_not_requested(&signal->core);\n",
        "",
        "delivery_that_could_not_be_posted_counts_as_not_requested",
    ),
    _module(
        "the worker writes to the loop's own descriptor",
        "wakeups",
        "fd < 0 ? -1 : signal->kept_fd);",
        "(int)fd);",
        "request_never_writes_to_a_descriptor_that_was_used_again",
    ),
    _module(
        "the worker looks before it says that it sleeps, in Python",
        "wakeups",
        "    arv_parker_prepare(&parker->core);\n"
        "    PyObject *answer = PyObject_CallObject(has_work, NULL);\n",
        "    PyObject *answer = PyObject_CallObject(has_work, NULL);\n"
        "    arv_parker_prepare(&parker->core);\n",
        "worker_says_that_it_sleeps_before_it_looks",
    ),
    _module(
        "the backstop hides a wake-up that was lost",
        "calls_worker",
        "        parker->backstop_wakes += waited.backstop;\n",
        "",
        "sleep_that_times_out_beside_work_is_counted",
    ),
    _module(
        "an entry behind the last is in the ring",
        "ring",
        "seq >= published(ring)) {\n        PyErr_Format(PyExc_IndexError",
        "seq > published(ring)) {\n        PyErr_Format(PyExc_IndexError",
        "sequence_numbers_out_of_the_ring_are_refused",
    ),
    _module(
        "what is not processed is delivered",
        "calls_loop",
        "    if (end_seq > most_seq) {",
        "    if (end_seq > most_seq + 1) {",
        "sequence_numbers_out_of_the_ring_are_refused",
    ),
    _module(
        "the events of an earlier poll are used",
        "calls_loop",
        "if (start > 0 && polled == plane->polled) {",
        "if (polled == plane->polled && start >= 0) {",
        "events_are_read_again_at_each_first_call",
    ),
)
