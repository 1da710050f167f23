"""The native kernels: equal to the Python code, and strict about their arguments.

The tests in tests/frames and tests/work run with whatever ASYNCREV_PLANE chose. Here both
implementations get the same bytes.
"""

import array
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev.errors import FrameTooLarge
from asyncrev.frames.grammar import UNBOUNDED_STEPS, Grammar, Run, Scan
from asyncrev.frames.lines import Lines
from asyncrev.native.kernels import INTERFACE, Kernels, as_kernels
from asyncrev.work.framer import Framer
from tests import strategies
from tests.framed import Bench
from tests.planes import NATIVE, NATIVE_KERNELS, PYTHON, NativeReverse, PythonReverse, needs_kernels
from tests.readers import NO_LIMIT, read, scanned, wrapped

pytestmark = needs_kernels

KERNELS: Any = NATIVE_KERNELS
NAMES = sorted(PYTHON)
framings = pytest.mark.parametrize("name", NAMES)

# Bytes in which frames of all three grammars are likely, whole and broken, and runs of them.
_small_prefix = st.integers(0, 9).flatmap(
    lambda n: st.sampled_from([n.to_bytes(4, "big"), n.to_bytes(8, "big")])
)
_edge_prefix = st.sampled_from(
    [n.to_bytes(8, "big") for n in (2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)]
)
_frame = st.builds(
    lambda n, prefix_bytes, times: (n.to_bytes(prefix_bytes, "big") + b"\n" * n) * times,
    st.integers(0, 9),
    st.sampled_from([4, 8]),
    st.sampled_from([1, 2, 9, 40, 150]),
)
_line = st.builds(
    lambda n, end, times: (b"x" * n + end) * times,
    st.integers(0, 9),
    st.sampled_from([b"\n", b"\r\n", b"\r", b"\r\r\n", b""]),
    st.sampled_from([1, 2, 70]),
)
_parts = st.one_of(_small_prefix, _edge_prefix, _frame, _line, st.binary(max_size=9))
streams = st.lists(_parts, max_size=8).map(b"".join)
limits = st.sampled_from([0, 1, 2, 3, 8, 9, 10, 300, 2**31, 2**63, 2**64 - 1, 2**64, 2**70])


def told(scan: Scan) -> tuple[object, ...]:
    """Return a scan as what can be compared; an error by its type and words."""
    error = None if scan.error is None else (type(scan.error), str(scan.error))
    return scan.consumed_bytes, scan.runs, error, scan.stopped


def missing(framing: Grammar, held: bytes, chunk: bytes, most: int) -> object:
    """Return what `missing` says, or the error that it raises."""
    try:
        return framing.missing(memoryview(held), memoryview(chunk), most)
    except FrameTooLarge as error:
        return type(error), str(error)


@framings
@given(data=streams, most=limits)
def test_scan_is_that_of_the_reference(name: str, data: bytes, most: int) -> None:
    """Length, runs, error, its words; and all numbers have the types that they should."""
    scan = NATIVE[name].scan(memoryview(data), most)
    assert told(scan) == told(PYTHON[name].scan(memoryview(data), most))
    assert all(type(run) is Run and type(run.frames) is int for run in scan.runs)
    assert (type(scan), type(scan.consumed_bytes), type(scan.stopped)) == (Scan, int, bool)


@framings
@given(data=streams, most=limits)
def test_scan_is_that_of_one_who_reads_byte_after_byte(name: str, data: bytes, most: int) -> None:
    """Both could be wrong in the same way."""
    assert scanned(NATIVE[name], data, most) == read(NATIVE[name], data, most)


@framings
@given(data=streams, most=limits, steps=st.integers(1, 5))
def test_scan_in_few_steps_ends_where_one_scan_does(
    name: str, data: bytes, most: int, steps: int
) -> None:
    """Each finds something, or says that there is no more; no run is split."""
    view, off, runs = memoryview(data), 0, []
    while True:
        scan = NATIVE[name].scan(view[off:], most, steps)
        assert len(scan.runs) <= steps
        runs += [run._replace(start_off=off + run.start_off) for run in scan.runs]
        off += scan.consumed_bytes
        if not scan.stopped:
            break
        assert scan.consumed_bytes
    scan = scan._replace(consumed_bytes=off, runs=runs)
    assert told(scan) == told(PYTHON[name].scan(view, most))


@given(data=streams, most=limits, steps=st.integers(0, 5))
def test_scan_of_lines_stops_where_that_of_the_reference_does(
    data: bytes, most: int, steps: int
) -> None:
    """Its steps are the same."""
    view = memoryview(data)
    assert told(NATIVE["line"].scan(view, most, steps)) == told(
        PYTHON["line"].scan(view, most, steps)
    )


@framings
@given(data=streams)
def test_spans_are_those_of_the_reference(name: str, data: bytes) -> None:
    """Of lines: 64 at a time."""
    scan = PYTHON[name].scan(memoryview(data), NO_LIMIT)
    whole = memoryview(data[: scan.consumed_bytes])
    spans = list(NATIVE[name].spans(whole, scan.runs))
    assert spans == list(PYTHON[name].spans(whole, scan.runs))
    assert all(type(span) is tuple for span in spans)


def test_spans_do_not_change_when_payloads_that_were_given_out_do() -> None:
    """A reply in place may have other bytes, as long as it is as long."""
    data = memoryview(bytearray(b"ab\n" * 200))
    expected = [(off, off + 2, off + 3) for off in range(0, 600, 3)]
    found = []
    for start, end, next_off in NATIVE["line"].spans(data, []):
        data[start:end] = b"\n\n"
        found.append((start, end, next_off))
    assert found == expected


@framings
@given(data=streams, cut=st.integers(1, 40), most=limits)
def test_missing_is_that_of_the_reference_at_every_cut(
    name: str, data: bytes, cut: int, most: int
) -> None:
    """Whatever is held; the words of the error, too."""
    for held_bytes in range(1, min(cut, len(data) - 1) + 1):
        held, chunk = data[:held_bytes], data[held_bytes:]
        scan = PYTHON[name].scan(memoryview(held), most)
        if scan.consumed_bytes or scan.error:
            break  # that is no partial frame
        expected = missing(PYTHON[name], held, chunk, most)
        assert missing(NATIVE[name], held, chunk, most) == expected


# Whole framers: the same chunks, in every segmentation, with the same replies and the same error.


def fed(name: str, native: bool, chunks: list[bytes], most: int) -> tuple[object, ...]:
    """Return what a framer with `Reverse` answers, and how it ends."""
    reverse: Callable[[], Any] = NativeReverse if native else PythonReverse
    bench = Bench(name, reverse(), max_frame_bytes=most, views_allowed=True)
    bench.framer._grammar = bench.framer._answers._grammar = (NATIVE if native else PYTHON)[name]
    assert isinstance(bench.framer, Framer)
    for chunk in chunks:
        if bench.error is not None:
            break
        bench.feed(chunk)
    partial_frame_bytes = bench.framer.partial_frame_bytes
    replies = bench.end()
    return replies, type(bench.error), str(bench.error), partial_frame_bytes


@framings
@settings(max_examples=60)
@given(
    data=streams, lengths=strategies.chunkings(30), most=st.sampled_from([1, 2, 9, 10, 300, 1000])
)
def test_framers_answer_alike_in_any_segmentation(
    name: str, data: bytes, lengths: list[int], most: int
) -> None:
    """Bytes, order, errors, and what is left."""
    chunks = list(strategies.split(data, lengths))
    assert fed(name, True, chunks, most) == fed(name, False, chunks, most)


@framings
def test_framers_answer_alike_at_every_cut(name: str) -> None:
    """All cuts of frames of both line ends, of runs, and of one that is too long at the end."""
    good = b"ab\r\n\nc\r\r\n" if name == "line" else wrapped(PYTHON[name], [2, 2, 0, 3])
    bad = b"0123456789!" if name == "line" else wrapped(PYTHON[name], [11])
    for data in (good, good + bad, good[:-1]):
        for first in range(len(data) + 1):
            for second in range(first, len(data) + 1):
                chunks = [data[:first], data[first:second], data[second:]]
                chunks = [chunk for chunk in chunks if chunk]
                assert fed(name, True, chunks, 9) == fed(name, False, chunks, 9)


# Reversal.


@given(st.binary(max_size=200), st.integers(0, 9), st.integers(0, 9))
def test_reverse_touches_nothing_around(data: bytes, before: int, after: int) -> None:
    """The view may start anywhere, aligned or not."""
    memory = bytearray(b"<" * before + data + b">" * after)
    KERNELS.reverse(memoryview(memory)[before : before + len(data)])
    assert memory == b"<" * before + data[::-1] + b">" * after


@pytest.mark.parametrize("nbytes", [*range(70), 4095, 4096, 16383, 16384, 16385, 65537, 300_001])
def test_reverse_at_every_edge(nbytes: int) -> None:
    """In place and as new bytes, with the GIL and without."""
    data = os.urandom(nbytes)
    memory = bytearray(data)
    assert KERNELS.reverse(memoryview(memory)) is None
    assert memory == data[::-1]
    assert KERNELS.reversed_bytes(memoryview(data)) == data[::-1]


@given(streams, st.integers(1, 400))
def test_lines_are_reversed_as_by_the_reference(data: bytes, times: int) -> None:
    """Whole lines; from 16 KiB on without the GIL."""
    whole = (data[: data.rfind(b"\n") + 1]) * times
    memory, expected = bytearray(whole), bytearray(whole)
    reply = NativeReverse().process_lines(memoryview(memory))
    assert reply == bytes(PythonReverse().process_lines(memoryview(expected)))


def test_rest_behind_the_last_line_stays() -> None:
    """It has no end that could be kept."""
    memory = bytearray(b"ab\nrest")
    KERNELS.reverse_lines(memory)
    assert memory == b"ba\nrest"


@pytest.mark.parametrize("name", ["len32", "len64"])
@settings(max_examples=60)
@given(
    groups=st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from([1, 2, 3, 4, 70, 129, 900])), max_size=5
    )
)
def test_runs_are_reversed_as_by_the_reference(name: str, groups: list[tuple[int, int]]) -> None:
    """Each payload by itself; prefixes stay."""
    framing: Any = PYTHON[name]
    data = wrapped(framing, [nbytes for nbytes, frames in groups for _ in range(frames)])
    runs = framing.scan(memoryview(data), NO_LIMIT).runs
    memory, expected = bytearray(data), bytearray(data)
    view = memoryview(memory)
    prefix_bytes = framing.prefix_bytes
    assert NativeReverse().process_prefixed(view, runs, prefix_bytes) is view
    PythonReverse().process_prefixed(memoryview(expected), runs, prefix_bytes)
    assert memory == expected


@pytest.mark.parametrize("frames", [127, 128, 129, 256, 257, 400])
def test_more_runs_than_are_taken_at_once(frames: int) -> None:
    """Found and reversed, 128 at a time."""
    framing: Any = NATIVE["len32"]
    data = wrapped(framing, [2 + number % 2 for number in range(frames)])
    runs = framing.scan(memoryview(data), NO_LIMIT).runs
    assert len(runs) == frames
    assert runs == PYTHON["len32"].scan(memoryview(data), NO_LIMIT).runs
    memory, expected = bytearray(data), bytearray(data)
    NativeReverse().process_prefixed(memoryview(memory), runs, 4)
    PythonReverse().process_prefixed(memoryview(expected), runs, 4)
    assert memory == expected


def test_numpy_is_never_imported() -> None:
    """Neither by `Reverse` nor by what it does."""
    code = (
        "import sys\n"
        "from asyncrev import Reverse\n"
        "reverse = Reverse()\n"
        "reverse.process(memoryview(bytearray(100_000)))\n"
        "reverse.process_lines(memoryview(bytearray(b'a' * 99_999 + b'\\n')))\n"
        "frames = memoryview(bytearray(b'\\0\\0\\0\\2ab' * 9000))\n"
        "reverse.process_prefixed(frames, [(4, 2, 9000)], 4)\n"
        "print('numpy' in sys.modules)\n"
    )
    environment = os.environ | {"ASYNCREV_PLANE": "native"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


# Arguments.

CHUNK = memoryview(bytearray(b"\0\0\0\2ab\0\0\0\2cd"))
STRIDED = memoryview(bytearray(8))[::2]


@pytest.mark.parametrize(
    ("name", "args", "error", "words"),
    [
        ("reverse", (b"read-only",), BufferError, "not writable"),
        ("reverse", ("text",), TypeError, "bytes-like"),
        ("reverse", (STRIDED,), BufferError, "contiguous"),
        ("reversed_bytes", (STRIDED,), BufferError, "contiguous"),
        ("reversed_bytes", (1,), TypeError, "bytes-like"),
        ("reverse_lines", (b"a\n",), BufferError, "not writable"),
        ("reverse_runs", (CHUNK, []), TypeError, "takes 3 arguments, and 2 were given"),
        ("reverse_runs", (bytes(9), [], 4), BufferError, "not writable"),
        ("reverse_runs", (CHUNK, 7, 4), TypeError, "has no len"),
        ("reverse_runs", (CHUNK, [7], 4), TypeError, "not support indexing|not a sequence"),
        ("reverse_runs", (CHUNK, [(4, 2)], 4), IndexError, "out of range"),
        ("reverse_runs", (CHUNK, [(4, "2", 1)], 4), TypeError, "int"),
        ("reverse_runs", (CHUNK, [(-1, 2, 1)], 4), ValueError, "a length is -1; it must be"),
        ("reverse_runs", (CHUNK, [(4, 2, 1)], -4), ValueError, "a length is -4; it must be"),
        ("reverse_runs", (CHUNK, [(4, 2, 2), (4, 2, 3)], 4), ValueError, "run 1, of 3 frames of 2"),
        ("reverse_runs", (CHUNK, [(4, 2, 0)], 4), ValueError, "run 0, of 0 frames"),
        ("reverse_runs", (CHUNK, [(13, 0, 1)], 4), ValueError, "at 13, is not within the 12"),
        ("reverse_runs", (CHUNK, [(4, 9, 1)], 4), ValueError, "not within"),
        ("reverse_runs", (CHUNK, [(4, 2, sys.maxsize)], 4), ValueError, "not within"),
        ("reverse_runs", (CHUNK, [(4, 8, 2)], sys.maxsize), ValueError, "not within"),
        ("reverse_runs", (CHUNK, [(4, 0, sys.maxsize)], 0), ValueError, "not within"),
        ("scan_prefixed", (CHUNK, 4, 9, 9), TypeError, "takes 5 arguments, and 4 were given"),
        ("scan_prefixed", (CHUNK, 5, 9, 9, Run), ValueError, "prefix_bytes is 5; it must be 4 or"),
        ("scan_prefixed", (CHUNK, 4, -1, 9, Run), ValueError, "a limit is -1; it must be at least"),
        ("scan_prefixed", (CHUNK, 4, 9, -1, Run), ValueError, "a length is -1"),
        ("scan_prefixed", (CHUNK, 4, 9, 2**64, Run), OverflowError, "too large"),
        ("scan_prefixed", (CHUNK, 4, 9, 9, list), TypeError, "must be a class of tuples"),
        ("scan_prefixed", (CHUNK, 4, 9, 9, 1), TypeError, "must be a class of tuples"),
        ("scan_prefixed", ("text", 4, 9, 9, Run), TypeError, "bytes-like"),
        ("scan_lines", (CHUNK, 9), TypeError, "takes 3 arguments, and 2 were given"),
        ("scan_lines", (CHUNK, "9", 9), TypeError, "int"),
        ("scan_lines", (CHUNK, -(2**80), 9), ValueError, "a limit is -1208925819614629174706176"),
        ("scan_lines", (STRIDED, 9, 9), BufferError, "contiguous"),
        ("rest_prefixed", (CHUNK, CHUNK, 4), TypeError, "takes 4 arguments, and 3 were given"),
        ("rest_prefixed", (CHUNK, CHUNK, 16, 9), ValueError, "prefix_bytes is 16; it must be"),
        ("rest_prefixed", (1, CHUNK, 4, 9), TypeError, "bytes-like"),
        ("rest_prefixed", (CHUNK, 1, 4, 9), TypeError, "bytes-like"),
        ("rest_line", (CHUNK, CHUNK), TypeError, "takes 3 arguments, and 2 were given"),
        ("line_spans", (CHUNK,), TypeError, "takes 2 arguments, and 1 were given"),
        ("line_spans", (CHUNK, -1), ValueError, "a length is -1"),
        ("count_lines", (1,), TypeError, "bytes-like"),
    ],
)
def test_wrong_arguments_are_refused(
    name: str, args: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    """Before any byte is changed; the actual value and the allowed one are told."""
    before = bytes(CHUNK)
    with pytest.raises(error, match=words):
        getattr(KERNELS, name)(*args)
    assert before == CHUNK


def test_empty_buffers_are_taken() -> None:
    """Whatever address they have."""
    for empty in (b"", bytearray(), memoryview(b"")):
        assert KERNELS.scan_prefixed(empty, 4, 9, 9, Run) == (0, [], None, False)
        assert KERNELS.scan_lines(empty, 0, 9) == (0, None, False, False)
        assert KERNELS.line_spans(empty, 0) == []
        assert KERNELS.line_spans(empty, 99) == []
        assert KERNELS.rest_line(b"a", empty, 9) == (0, False, None, False)
        assert KERNELS.rest_prefixed(b"a", empty, 4, 9) == (0, False, None, False)
        assert KERNELS.count_lines(empty) == 0
        assert KERNELS.reversed_bytes(empty) == b""
    KERNELS.reverse(bytearray())
    KERNELS.reverse_lines(bytearray())
    KERNELS.reverse_runs(bytearray(), [], 4)


@given(data=st.binary(max_size=300), more=st.sampled_from([0, 254, 255, 256, 257, 511, 3000]))
def test_newlines_are_counted(data: bytes, more: int) -> None:
    """Also more than 255 in a row, which one byte cannot count."""
    for text in (data, data + b"\n" * more, data * 9 + b"\n" * more + data):
        assert KERNELS.count_lines(text) == text.count(b"\n")


def test_no_buffer_is_kept() -> None:
    """A bytearray with a buffer that is exported cannot be resized."""
    memory = bytearray(b"\0\0\0\1a\n")
    KERNELS.reverse(memory)
    KERNELS.reverse_lines(memory)
    KERNELS.reverse_runs(memory, [(4, 1, 1)], 4)
    KERNELS.scan_prefixed(memory, 4, 0, UNBOUNDED_STEPS, Run)
    KERNELS.scan_lines(memory, 0, UNBOUNDED_STEPS)
    KERNELS.rest_line(memory, memory, 0)
    KERNELS.rest_prefixed(memory, memory, 4, 0)
    KERNELS.line_spans(memory, 0)
    for args in ((memory, [(99, 1, 1)], 4), (memory, [()], 4)):
        with pytest.raises((ValueError, IndexError)):
            KERNELS.reverse_runs(*args)
    memory.append(0)
    assert len(memory) == 7


def test_gil_is_released_for_long_work() -> None:
    """Another thread gets it meanwhile, where nothing else would give it away."""
    interval_s = sys.getswitchinterval()
    chunk = bytearray(1024 * 1024)
    runs = [(0, len(chunk), 1)]
    calls = [
        lambda: KERNELS.reverse(chunk),
        lambda: KERNELS.reverse_lines(chunk),
        lambda: KERNELS.reverse_runs(chunk, runs, 4),
    ]
    for call in calls:
        gate, seen = threading.Lock(), threading.Event()
        gate.acquire()

        def other(gate: Any = gate, seen: threading.Event = seen) -> None:
            gate.acquire()
            seen.set()

        thread = threading.Thread(target=other)
        thread.start()
        sys.setswitchinterval(1000)  # no thread has to give it away because it had it for long
        try:
            gate.release()
            for _ in range(10_000):
                call()
                if was_seen := seen.is_set():
                    break
        finally:
            sys.setswitchinterval(interval_s)
            thread.join()
        assert was_seen


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": bytearray(25)}, "rows must be"),
        ({"rows": memoryview(bytearray(32))[4:28]}, "rows must be"),
        ({"requests": b"123"}, "do not make 3 and 2 bytes"),
        ({"replies": b"123"}, "do not make 2 and 3 bytes"),
        ({"requests": b"", "replies": b""}, "do not make 0 and 0 bytes"),
        ({"variants": 0}, "0 messages"),
        ({"variants": -1}, "-1 messages"),
        ({"unit_ns": 0}, "do not make"),
    ],
)
def test_exchange_checks_that_lengths_fit(change: dict[str, object], words: str) -> None:
    """Nothing is read or written then."""
    arguments = exchange_arguments() | change
    with pytest.raises(ValueError, match=words):
        KERNELS.exchange(*arguments.values())


@pytest.mark.parametrize(
    "change",
    [
        {"events": ()},
        {"events": [(1, 1, 1)]},
        {"events": [[1, 1]]},
        {"events": [("1", 1)]},
        {"rows": bytes(24)},
        {"notes": ()},
        {"variants": "2"},
    ],
)
def test_exchange_refuses_arguments_of_another_kind(change: dict[str, object]) -> None:
    arguments = exchange_arguments() | change
    with pytest.raises((TypeError, BufferError)):
        KERNELS.exchange(*arguments.values())


@pytest.mark.parametrize("fd", [-1, 0, 7, 1 << 30])
@pytest.mark.parametrize("at", [-1, 2, -(1 << 62), 1 << 62])
def test_exchange_leaves_a_descriptor_without_a_message_to_its_caller(fd: int, at: int) -> None:
    """One that has no row, or whose message is none of the cycle."""
    rows = array.array("q", [at, 0, 0])
    arguments = exchange_arguments() | {"events": [(fd, 5)], "rows": rows}
    assert KERNELS.exchange(*arguments.values()) == (0, 0, [(fd, 5, 0, 0, None)])
    assert rows.tolist() == [at, 0, 0]


def test_exchange_leaves_an_error_of_the_descriptor_to_its_caller() -> None:
    """With its number."""
    read_end, write_end = os.pipe()
    try:
        rows = array.array("q", [0, 0, 0] * (read_end + 1))
        arguments = exchange_arguments() | {"events": [(read_end, 1)], "rows": rows}
        answer = KERNELS.exchange(*arguments.values())
        assert answer == (0, 0, [(read_end, 1, 2, errno.ENOTSOCK, None)])
    finally:
        os.close(read_end)
        os.close(write_end)


def exchange_arguments() -> dict[str, object]:
    """Return arguments of a call that does nothing."""
    return {
        "events": [],
        "rows": array.array("q", [-1, 0, 0]),
        "requests": b"12",
        "replies": b"12",
        "variants": 2,
        "woken_ns": 0,
        "unit_ns": 100,
        "notes": [],
    }


def test_extension_of_other_sources_is_refused() -> None:
    """Its functions might have other arguments."""
    assert as_kernels(KERNELS) is KERNELS

    class Other:
        INTERFACE = INTERFACE + 1

    for module in (Other, object()):
        with pytest.raises(ImportError, match=r"its interface is .*; install asyncrev again"):
            as_kernels(module)


def test_interface_has_every_function_of_the_extension() -> None:
    """And no other; each has a docstring and a signature."""
    functions = {name for name in vars(KERNELS) if not name.startswith("__")} - {"INTERFACE"}
    assert functions == {name for name in vars(Kernels) if not name.startswith("_")}
    for name in functions:
        function = getattr(KERNELS, name)
        assert function.__doc__
        assert function.__text_signature__.endswith("/)")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 has no GIL per interpreter")
def test_interpreter_with_a_gil_of_its_own_imports_the_extension() -> None:
    """It says that it has no state; one that does not say so is refused (PEP 684)."""
    interpreters = pytest.importorskip(
        "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    )
    isolated = ("isolated",) if sys.version_info >= (3, 13) else ()
    interpreter = interpreters.create(*isolated)
    path = os.path.dirname(KERNELS.__file__)
    code = (
        f"import sys; sys.path.insert(0, {path!r})\n"
        "import _kernels\n"
        "assert _kernels.reversed_bytes(b'abc') == b'cba'\n"
    )
    try:
        failed = interpreters.run_string(interpreter, code)
        assert failed is None, failed
    finally:
        interpreters.destroy(interpreter)


def test_lines_of_both_planes_are_lines() -> None:
    """What this file compares is what it says."""
    for name in NAMES:
        assert NATIVE[name]._kernels is KERNELS
        assert PYTHON[name]._kernels is None
    assert isinstance(NATIVE["line"], Lines)
