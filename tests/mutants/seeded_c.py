"""Seeded bugs in the C code, as those in `seeded`. `make mutants` builds each into an extension.

Those of the core are found by its fuzz target, which the sanitizers watch, or by the tests of the
extension, which they do not.
"""

from tests.mutants.seeded import Bug
from tests.mutants.seeded_plane import PLANE_BUGS

__all__ = ["C_BUGS"]

_FUZZ = "tests/native/test_core.py::test_core_finds_in_made_up_bytes_what_slow_readers_find"
_KERNELS = "tests/native/test_kernels.py::"


def _core(name: str, part: str, old: str, new: str, test: str = _FUZZ) -> Bug:
    module, dot, suffix = f"native.kernels_core_{part}".rpartition(".")
    return Bug(name, module, old, new, (test,), dot + suffix)


def _module(name: str, part: str, old: str, new: str, test: str) -> Bug:
    module, dot, suffix = f"native.kernels_{part}".rpartition(".")
    return Bug(name, module, old, new, (_KERNELS + test,), dot + suffix)


def _exchange(name: str, old: str, new: str) -> Bug:
    return Bug(name, "native.kernels_exchange", old, new, ("tests/bench/test_hot.py",), ".c")


C_BUGS = (
    _core(
        "C: a length is added to before it is compared",
        "scans.c",
        "announced_bytes > nbytes - off - prefix_bytes",
        "off + prefix_bytes + announced_bytes > nbytes",
    ),
    _core(
        "C: a frame of the longest length is too long",
        "scans.c",
        "if (announced_bytes > max_frame_bytes) {\n            scan.end",
        "if (announced_bytes >= max_frame_bytes) {\n            scan.end",
    ),
    _core(
        "C: a run goes on behind the memory",
        "scans.c",
        "nbytes - off >= stride && same_prefix",
        "nbytes - off > 0 && same_prefix",
    ),
    _core(
        "C: four bytes of a prefix of eight are compared",
        "scans.c",
        "prefix_bytes == 4 ? load_32(one) == load_32(other)",
        "prefix_bytes <= 8 ? load_32(one) == load_32(other)",
    ),
    _core(
        "C: one run more than there is space for",
        "scans.c",
        "if (scan.runs == most_runs) {",
        "if (scan.runs > most_runs) {",
    ),
    _core(
        "C: a run that does not fit fits after an overflow",
        "reverse.c",
        "run->frames - 1 <= left / stride",
        "(run->frames - 1) * stride <= left",
    ),
    _core(
        "C: a line end of two bytes is half reversed",
        "reverse.c",
        "newline[-1] == CR) {\n            payload_bytes--;",
        "newline[-1] == CR) {\n            payload_bytes -= 0;",
    ),
    _core(
        "C: the byte before an empty line is looked at",
        "reverse.c",
        "if (payload_bytes > 0 && newline[-1] == CR) {",
        "if (newline[-1] == CR) {",
    ),
    _core(
        "C: the scan of lines looks one byte too far",
        "scans.c",
        "while (nbytes - off > max_frame_bytes) {",
        "while (nbytes - off >= max_frame_bytes) {",
    ),
    _core(
        "C: a carriage return counts in the longest line",
        "scans.c",
        "payload_bytes -= data[end_off - 1] == CR;",
        "payload_bytes -= 0;",
    ),
    _core(
        "C: one span more than there is space for",
        "scans.c",
        "while (number < most && off < nbytes) {",
        "while (number <= most && off < nbytes) {",
    ),
    _core(
        "C: between nine and fifteen bytes the middle is left",
        "reverse.c",
        "if (nbytes >= 8) {\n        uint64_t",
        "if (nbytes == 8) {\n        uint64_t",
    ),
    _core(
        "C: a copy in reverse begins before its source",
        "reverse.c",
        "while (nbytes >= 8) {\n        nbytes -= 8;",
        "while (nbytes >= 7) {\n        nbytes -= 8;",
    ),
    _core(
        "C: the second piece of a prefix replaces the first",
        "scans.c",
        "memcpy(partial->first + partial->held_bytes, data,",
        "memcpy(partial->first, data,",
    ),
    _core(
        "C: the first byte of a chunk is taken for its last",
        "scans.c",
        "partial->last = data[nbytes - 1];",
        "partial->last = data[0];",
    ),
    _core(
        "C: the rest of a prefix is counted as payload",
        "scans.c",
        "if (wanted_bytes <= nbytes - prefix_rest_bytes) {",
        "if (wanted_bytes <= nbytes) {",
    ),
    _core(
        "C: newlines are counted in a byte that overflows",
        "scans.c",
        "nbytes < 255 ? nbytes : 255",
        "nbytes < 256 ? nbytes : 256",
        _KERNELS + "test_newlines_are_counted",
    ),
    _module(
        "C: runs of a later part lie where they would be in the first",
        "scans.c",
        "tuple_of_sizes(base_off + run->start_off,",
        "tuple_of_sizes(run->start_off + 0 * base_off,",
        "test_more_runs_than_are_taken_at_once",
    ),
    _module(
        "C: runs are not checked",
        "reverse.c",
        "if (!arv_run_fits(&runs[i], prefix_bytes, (size_t)frames->len)) {",
        "if (prefix_bytes == (size_t)frames->len) {",
        "test_wrong_arguments_are_refused",
    ),
    _module(
        "C: a buffer is kept after an error",
        "reverse.c",
        "PyBuffer_Release(&frames);\n    if (!ok",
        "if (ok) {\n        PyBuffer_Release(&frames);\n    }\n    if (!ok",
        "test_no_buffer_is_kept",
    ),
    _module(
        "C: what is read-only is written",
        "reverse.c",
        "PyObject_GetBuffer(chunk, &buffer, PyBUF_WRITABLE)",
        "PyObject_GetBuffer(chunk, &buffer, PyBUF_SIMPLE)",
        "test_wrong_arguments_are_refused",
    ),
    _module(
        "C: a limit of more than 64 bits is an error",
        "calls.h",
        "if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {",
        "if (PyErr_Occurred()) {",
        "test_scan_is_that_of_the_reference",
    ),
    _module(
        "C: the GIL is kept",
        "reverse.c",
        "RELEASE_GIL_FROM_BYTES = 16 * 1024",
        "RELEASE_GIL_FROM_BYTES = 1024 * 1024 * 1024",
        "test_gil_is_released_for_long_work",
    ),
    _module(
        "C: a scan that stopped says that it ended",
        "scans.c",
        "PyBool_FromLong(scan.end == ARV_STOPPED),\n    };\n    return tuple_of(4, items);\n}\n\n"
        "PyObject *kernels_scan_lines",
        "PyBool_FromLong(0),\n    };\n    return tuple_of(4, items);\n}\n\n"
        "PyObject *kernels_scan_lines",
        "test_scan_in_few_steps_ends_where_one_scan_does",
    ),
    _exchange(
        "C: a reply that is longer than it should be is taken",
        "received != x->reply_bytes || memcmp(x->reply, wanted, (size_t)received) != 0",
        "received < x->reply_bytes || memcmp(x->reply, wanted, (size_t)x->reply_bytes) != 0",
    ),
    _exchange(
        "C: what the kernel did not take of a message is forgotten",
        "return sent == x->request_bytes || leave(x, fd, mask, NOT_SENT, sent);",
        "return true;",
    ),
    _exchange(
        "C: the message after the last one is none",
        "row[AT] + 1 == x->variants ? 0 : row[AT] + 1",
        "row[AT] + 1",
    ),
    _exchange(
        "C: a latency counts from the poll before",
        "row[SENT_NS] = monotonic_ns();",
        "row[SENT_NS] = monotonic_ns() > 0 ? x->woken_ns : 0;",
    ),
    *PLANE_BUGS,
)
