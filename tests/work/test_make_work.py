"""make_work: the work that a lane's settings ask for."""

import pytest

from asyncrev.frames.registry import as_framing
from asyncrev.ring.ring import DATA
from asyncrev.work.framed_work import FramedWork
from asyncrev.work.lane_work import LaneWork
from asyncrev.work.make_work import make_work
from asyncrev.work.raw_work import RawWork
from asyncrev.work.tls_parameters import TlsParameters
from asyncrev.work.tls_single_records import SingleRecordTlsWork
from tests.lane_bench import Recorder
from tests.tls_pair import Bench, server_context


@pytest.mark.parametrize("views_allowed", [False, True])
@pytest.mark.parametrize(("name", "kind"), [("raw", RawWork), ("line", FramedWork)])
def test_framing_decides_the_work(name: str, kind: type[LaneWork], views_allowed: bool) -> None:
    """Its window is as wide as asked for, and views are allowed as asked."""
    work = make_work(
        Recorder,
        views_allowed=views_allowed,
        framing=as_framing(name),
        max_frame_bytes=5,
        window_bytes=7,
    )
    assert type(work) is kind
    assert work.views_allowed is views_allowed
    assert work.window.limit_bytes == 7


@pytest.mark.parametrize("views_allowed", [False, True])
@pytest.mark.parametrize(("name", "kind"), [("raw", RawWork), ("line", FramedWork)])
def test_tls_is_around_the_work(name: str, kind: type[LaneWork], views_allowed: bool) -> None:
    """They have one window; ciphertext is bytes whatever a transport allows."""
    parameters = TlsParameters(server_context())
    work = make_work(
        Recorder,
        views_allowed=views_allowed,
        framing=as_framing(name),
        max_frame_bytes=5,
        window_bytes=7,
        tls=parameters,
    )
    assert type(work) is SingleRecordTlsWork
    assert not work.views_allowed
    assert type(work._inner) is kind
    assert work._inner.views_allowed is True
    assert work.window is work._inner.window
    assert work.window.limit_bytes == 7


def test_reply_that_is_a_view_of_its_input_is_encrypted_and_not_kept() -> None:
    """A raw processor may return its chunk, which lies in memory of the worker's."""
    bench = Bench(Recorder).shake_hands()
    entry = bench.do(DATA, bench.peer.write(b"abc"))
    assert type(entry.result) is bytes
    bench.tell()
    assert bench.peer.received == b"abc"
