"""taps: tee, stop word and stop frame, and the processor behind them."""

import logging
import os
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.command.output_file import OutputFile
from asyncrev.command.taps import StopFrame, StopWord, Tee, with_frame_taps, with_taps
from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import ProcessorError, SettingsError
from asyncrev.frames.lines import Lines
from asyncrev.frames.prefixed import Prefixed
from asyncrev.processors import make_processor, speaks_first, tell_connected
from asyncrev.work.reverse import Reverse
from tests import strategies


def view(data: bytes) -> memoryview:
    """Return a chunk as a processor gets it."""
    return memoryview(bytearray(data))


def unwritten(name: str) -> OutputFile:
    """Return a file for a test that replaces `os.write`."""
    return OutputFile(os.open(os.devnull, os.O_WRONLY), name)


# -- Tee -----------------------------------------------------------------------------------------


def test_tee_writes_everything_in_order(tmp_path: Any) -> None:
    """The file is the chunks, one after the other."""
    path = tmp_path / "tee"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    tee = Tee(OutputFile(fd, "file"))
    for data in (b"one", b"", b"two"):
        tee(view(data))
    os.close(fd)
    assert path.read_bytes() == b"onetwo"
    assert tee.written_bytes == 6


def test_tee_goes_on_after_a_partial_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe takes what it has room for, for every such room."""
    for most in range(1, 8):
        written = bytearray()

        def write(fd: int, data: memoryview, most: int = most, to: bytearray = written) -> int:
            to.extend(data[:most])
            return min(most, len(data))

        monkeypatch.setattr(os, "write", write)
        file = unwritten("pipe")
        tee = Tee(file)
        tee(view(b"abcdefg"))
        tee(view(b"hij"))
        monkeypatch.undo()
        file.close()
        assert written == b"abcdefghij"
        assert tee.written_bytes == 10


def test_tee_into_a_slow_pipe_waits_for_its_reader() -> None:
    """More than the pipe holds: the worker waits, and nothing is lost."""
    reader, writer = os.pipe()
    data = bytes(range(256)) * 1024
    tee = Tee(OutputFile(writer, "pipe"))
    thread = threading.Thread(target=tee, args=(view(data),))
    thread.start()
    got = b""
    while len(got) < len(data):
        got += os.read(reader, 50_000)
    thread.join()
    os.close(reader)
    os.close(writer)
    assert got == data


def test_tee_that_fails_is_given_up_with_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The line says how much was written, the part before the failure included."""
    calls = []

    def write(fd: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return min(4, len(data))

    monkeypatch.setattr(os, "write", write)
    tee = Tee(unwritten("disk"))
    with caplog.at_level(logging.ERROR, "asyncrev"):
        tee(view(b"abcd"))
        tee(view(b"efghij"))
        tee(view(b"never"))
    assert calls == [4, 6, 2]
    assert tee.written_bytes == 8
    (record,) = caplog.records
    assert "tee to disk stopped after 8 bytes" in record.getMessage()
    assert "No space left" in record.getMessage()


def test_tee_goes_on_in_the_file_that_was_reopened(tmp_path: Any) -> None:
    """As logrotate does it: the old file under its new name has what came before."""
    path = tmp_path / "tee"
    file = OutputFile.open(str(path))
    tee = Tee(file)
    tee(view(b"before"))
    path.rename(tmp_path / "tee.1")
    tee(view(b", still"))
    file.reopen()
    tee(view(b"after"))
    file.close()
    assert (tmp_path / "tee.1").read_bytes() == b"before, still"
    assert path.read_bytes() == b"after"


def test_tee_that_was_given_up_goes_on_once_it_is_reopened(tmp_path: Any) -> None:
    """Somebody has made room on the disk."""
    path = tmp_path / "tee"
    file = OutputFile(os.open("/dev/full", os.O_WRONLY), str(path))
    tee = Tee(file)
    tee(view(b"lost"))
    tee(view(b"lost, too"))
    assert not path.exists()
    file.reopen()
    tee(view(b"kept"))
    file.close()
    assert path.read_bytes() == b"kept"


# -- StopWord ------------------------------------------------------------------------------------


def found_in(word: bytes, pieces: list[bytes]) -> int:
    """Return how often `on_word` was called."""
    calls: list[int] = []
    tap = StopWord(word, lambda: calls.append(1))
    for piece in pieces:
        tap(view(piece))
    return len(calls)


@pytest.mark.parametrize("word", [b"e", b"ex", b"exit", b"aab"])
def test_stop_word_is_found_at_every_split(word: bytes) -> None:
    """Whole, byte by byte, and split once at every point."""
    data = b"aa" + word + b"zz"
    assert found_in(word, [data]) == 1
    assert found_in(word, [data[n : n + 1] for n in range(len(data))]) == 1
    for at in range(len(data) + 1):
        assert found_in(word, [data[:at], data[at:]]) == 1


def test_stop_word_is_told_once() -> None:
    """However often it comes."""
    assert found_in(b"exit", [b"exitexit", b"exit", b"ex", b"it"]) == 1


def test_stop_word_of_another_connection_does_not_count() -> None:
    """Half of it here and half of it there is not the word."""
    calls: list[int] = []
    first, second = (StopWord(b"exit", lambda: calls.append(1)) for _ in range(2))
    first(view(b"ex"))
    second(view(b"it"))
    assert not calls


def test_stop_word_that_is_empty_is_refused() -> None:
    """It would stop the server at the first byte."""
    with pytest.raises(SettingsError, match="at least one byte"):
        StopWord(b"", lambda: None)


@given(
    word=st.binary(min_size=1, max_size=5).map(lambda b: bytes(x % 2 for x in b)),
    data=st.binary(max_size=40).map(lambda b: bytes(x % 2 for x in b)),
    lengths=strategies.chunkings(7),
)
def test_stop_word_agrees_with_a_plain_search(word: bytes, data: bytes, lengths: list[int]) -> None:
    """Oracle: `in` on the whole, for words that overlap themselves, however it was split."""
    assert found_in(word, strategies.split(data, lengths)) == (word in data)


# -- with_taps -----------------------------------------------------------------------------------


def test_taps_see_the_bytes_before_the_processor_changes_them() -> None:
    """In the order given; the reply is the processor's."""
    seen: list[tuple[str, bytes]] = []
    factory = with_taps(
        Reverse,
        [
            lambda: lambda c: seen.append(("a", bytes(c))),
            lambda: lambda c: seen.append(("b", bytes(c))),
        ],
    )
    processor = make_processor(factory)
    data = bytes(range(256)) * 40  # long enough to be reversed in place
    reply = processor.process(view(data))
    assert reply is not None
    assert bytes(reply) == data[::-1]
    assert seen == [("a", data), ("b", data)]
    assert processor.eof() is None
    processor.close()  # type: ignore[attr-defined]  # one that has no hook


def test_taps_are_made_one_for_each_processor() -> None:
    """A stop word's memory belongs to one connection."""
    made: list[int] = []
    factory = with_taps(Reverse, [lambda: made.append(1) or (lambda chunk: None)])
    make_processor(factory)
    make_processor(factory)
    assert len(made) == 2


def test_close_and_eof_reach_the_processor_behind_the_taps() -> None:
    """Its hook is not lost behind them."""
    calls: list[str] = []

    class Closes(Reverse):
        def eof(self) -> bytes:  # type: ignore[override]
            return b"bye"

        def close(self) -> None:
            calls.append("close")

    processor = make_processor(with_taps(Closes, [lambda: lambda chunk: None]))
    assert processor.eof() == b"bye"
    processor.close()  # type: ignore[attr-defined]
    assert calls == ["close"]


def test_no_taps_leave_the_factory_as_it_is() -> None:
    """Nobody pays for what nobody asked for."""
    assert with_taps(Reverse, []) is Reverse


def test_taps_do_not_hide_that_a_factory_makes_no_processors() -> None:
    """The message is the same as without taps, and comes as early."""
    with pytest.raises(ProcessorError, match="an object of type object"):
        make_processor(with_taps(object, [lambda: lambda chunk: None]))  # type: ignore[arg-type]


# -- StopFrame -----------------------------------------------------------------------------------

STOPS = {"len32": Prefixed("len32", 4), "len64": Prefixed("len64", 8)}
LINE = Lines()


def prefixed(name: str, payloads: list[bytes]) -> tuple[memoryview, list[Any]]:
    """Return whole frames as a chunk, and their runs."""
    framing = STOPS[name]
    frames = view(b"".join(map(framing.encode, payloads)))
    scan = framing.scan(frames, 1000)
    assert scan.consumed_bytes == len(frames)
    return frames, scan.runs


@pytest.mark.parametrize(
    ("payload", "found"),
    [(b"exit", True), (b"exit ", False), (b"xexit", False), (b"exi", False), (b"", False)],
)
def test_stop_frame_is_a_frame_equal_to_the_word(payload: bytes, found: bool) -> None:
    """Not one that has the word in it."""
    calls: list[int] = []
    StopFrame(b"exit", lambda: calls.append(1), LINE)(view(payload))
    assert bool(calls) is found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (b"exit\n", True),
        (b"exit\r\n", True),
        (b"a\nexit\nb\n", True),
        (b"a\r\nexit\r\n", True),
        (b"a\n\nb exit\n", False),
        (b"exit \nexits\n", False),
        (b"exit\r\r\n", False),
        (b"ex\nit\n", False),
        (b"ex\r\nit\r\n", False),
        (b"\n", False),
    ],
)
def test_stop_frame_among_lines_is_a_line_without_its_end(lines: bytes, found: bool) -> None:
    """Told at most once for a chunk, wherever in it the line stands."""
    calls: list[int] = []
    StopFrame(b"exit", lambda: calls.append(1), LINE).see_frames(view(lines), [])
    assert len(calls) == found


def test_stop_frame_with_a_return_at_its_end_is_not_found_in_a_line_end() -> None:
    """The "\\r" before "\\n" is no part of the line, so one that ends in it has two."""
    calls: list[int] = []
    stop = StopFrame(b"exit\r", lambda: calls.append(1), LINE)
    stop.see_frames(view(b"exit\r\n"), [])
    stop.see_frames(view(b"exit\n"), [])
    assert not calls
    stop.see_frames(view(b"exit\r\r\n"), [])
    assert len(calls) == 1


def test_stop_frame_that_is_empty_is_an_empty_frame() -> None:
    """An empty line is one; what follows the last line's end is none."""
    calls: list[int] = []
    lines = StopFrame(b"", lambda: calls.append(1), LINE)
    prefixes = StopFrame(b"", lambda: calls.append(1), STOPS["len32"])
    lines.see_frames(view(b"a\nb\r\n"), [])
    prefixes.see_frames(*prefixed("len32", [b"a", b"bc"]))
    assert not calls
    lines.see_frames(view(b"a\n\n"), [])
    lines.see_frames(view(b"\r\n"), [])
    prefixes.see_frames(*prefixed("len32", [b"a", b""]))
    lines(view(b""))
    assert len(calls) == 4


@given(
    word=st.sampled_from([b"", b"a", b"ab", b"aa", b"\r"]),
    payloads=st.lists(st.binary(max_size=3).map(lambda b: bytes(b"ab\r"[x % 3] for x in b))),
    crlf=st.booleans(),
)
def test_stop_frame_agrees_with_a_plain_search(
    word: bytes, payloads: list[bytes], crlf: bool
) -> None:
    """Oracle: `in` on the list of frames, for both kinds of framing and for one by one."""
    calls: list[str] = []
    for payload in payloads:
        StopFrame(word, lambda: calls.append("one"), LINE)(view(payload))
    assert calls.count("one") == payloads.count(word)
    for name, framing in STOPS.items():
        stop = StopFrame(word, lambda name=name: calls.append(name), framing)
        stop.see_frames(*prefixed(name, payloads))
        assert calls.count(name) == (word in payloads)
    if crlf or b"\r" not in b"".join(payloads):
        end = b"\r\n" if crlf else b"\n"
        lines = view(b"".join(payload + end for payload in payloads))
        StopFrame(word, lambda: calls.append("line"), LINE).see_frames(lines, [])
        assert calls.count("line") == (word in payloads)


# -- with_frame_taps -----------------------------------------------------------------------------


class OneByOne:
    """A processor of frames without hooks."""

    def process(self, payload: memoryview) -> bytes:
        """Answer in capitals."""
        return bytes(payload).upper()

    def eof(self) -> bytes:
        """Answer with a last word."""
        return b"bye"


def test_frame_taps_that_are_none_leave_the_factory_as_it_is() -> None:
    """Nobody pays for what nobody asked for."""
    assert with_frame_taps(Reverse, [], None) is Reverse


def test_frame_taps_see_chunks_as_they_came() -> None:
    """All of them, in the order given; a tee's file has the prefixes, too."""
    seen: list[tuple[str, bytes]] = []
    taps = [
        lambda chunk: seen.append(("a", bytes(chunk))),
        lambda chunk: seen.append(("b", bytes(chunk))),
    ]
    processor: Any = make_processor(with_frame_taps(Reverse, taps, None))
    processor.see_chunk(view(b"\0\0\0\2a"))
    assert seen == [("a", b"\0\0\0\2a"), ("b", b"\0\0\0\2a")]
    assert processor.see_frames is None
    # The hooks are those of the processor itself, and so is what it promises.
    assert processor.keeps_line_ends
    assert processor.process_lines(view(b"ab\ncd\r\n")) == b"ba\ndc\r\n"
    assert bytes(processor.process(view(b"abc"))) == b"cba"
    assert len(seen) == 2


def test_frame_taps_stop_sees_frames_before_the_processor_changes_them() -> None:
    """One by one, and many at once; the replies are the processor's."""
    calls: list[int] = []
    stop = StopFrame(b"exit", lambda: calls.append(1), STOPS["len64"])
    processor: Any = make_processor(with_frame_taps(Reverse, [], stop))
    processor.see_chunk(view(b"no chunk tap"))
    assert bytes(processor.process(view(b"exit"))) == b"tixe"
    assert bytes(processor.process(view(b"tixe"))) == b"exit"
    assert len(calls) == 1
    frames, runs = prefixed("len64", [b"exit"])
    processor.see_frames(frames, runs)
    assert bytes(processor.process_prefixed(frames, runs, 8))[8:] == b"tixe"
    assert len(calls) == 2
    assert processor.eof() is None
    processor.close()  # one that has no hook


def test_frame_taps_do_not_lend_hooks_to_a_processor_that_has_none() -> None:
    """A framer looks for them, and gives such a processor its frames one by one."""
    stop = StopFrame(b"exit", lambda: None, LINE)
    for given_stop in (None, stop):
        taps = [lambda chunk: None]
        processor: Any = make_processor(with_frame_taps(OneByOne, taps, given_stop))
        assert not hasattr(processor, "process_lines")
        assert not hasattr(processor, "process_prefixed")
        assert processor.process(view(b"abc")) == b"ABC"
        assert processor.eof() == b"bye"


def test_close_reaches_the_processor_behind_the_frame_taps() -> None:
    """Its hook is not lost behind them."""
    calls: list[str] = []

    class Closes(OneByOne):
        def close(self) -> None:
            calls.append("close")

    processor: Any = make_processor(with_frame_taps(Closes, [lambda chunk: None], None))
    processor.close()
    assert calls == ["close"]


def test_frame_taps_do_not_hide_that_a_factory_makes_no_processors() -> None:
    """The message is the same as without taps."""
    with pytest.raises(ProcessorError, match="an object of type object"):
        make_processor(with_frame_taps(object, [lambda chunk: None], None))  # type: ignore[arg-type]


class Introduced(Reverse):
    """Keeps who its peer is."""

    may_start_tls = True

    def connected(self, info: ConnectionInfo) -> bytes:
        """Answer with the peer's port."""
        return b"%d" % info.peer_address[1]  # type: ignore[index]


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("processor", [Introduced, Reverse])
def test_taps_tell_the_processor_behind_them_who_the_peer_is(frames: bool, processor: Any) -> None:
    """And the factory says what its processors do, like the one that it wraps."""
    if frames:
        factory = with_frame_taps(processor, [bytes], None)
    else:
        factory = with_taps(processor, [lambda: bytes])
    told = tell_connected(make_processor(factory), ConnectionInfo(peer_address=("127.0.0.1", 7)))
    assert told == (b"7" if processor is Introduced else None)
    assert speaks_first(factory) is (processor is Introduced)
    assert getattr(factory, "may_start_tls", None) is (processor is Introduced)
