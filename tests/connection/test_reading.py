"""reading: a transport reads while there is no reason for a pause, and only then."""

import asyncio
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from asyncrev.connection import reading as module
from asyncrev.connection.reading import INPUT_ENDED, NO_CREDIT, PAUSE_REASONS, Reading

FLAGS = [flag for flag, _ in PAUSE_REASONS.values()]


class FakeTransport:
    """Knows whether it reads, and refuses to be paused or resumed without need."""

    def __init__(self, *, tls: bool = False) -> None:
        self.reads = True
        self.closing = False
        self.calls: list[str] = []
        self._tls = tls

    def get_extra_info(self, name: str) -> object:
        return object() if self._tls and name == "sslcontext" else None

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False
        self.calls.append("pause")

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True
        self.calls.append("resume")

    def is_closing(self) -> bool:
        return self.closing


class HoldingTransport(FakeTransport):
    """Has what aiofastnet's TLS transport has."""

    def _retry_ssl_read(self) -> None:
        self.calls.append("hand on")


def attached(transport: Any) -> Reading:
    """Return the Reading of a new connection over `transport`."""
    reading = Reading()
    reading.attach(transport)
    return reading


def test_reasons_are_single_flags_with_the_names_of_the_module() -> None:
    """So any of them can come and go without another."""
    assert all(getattr(module, name) == flag for name, (flag, _) in PAUSE_REASONS.items())
    assert [1 << bit for bit in range(len(FLAGS))] == FLAGS


steps = st.lists(st.tuples(st.sampled_from(["pause", "resume"]), st.sampled_from(FLAGS)))


@given(steps)
def test_transport_reads_while_the_model_has_no_reason(steps: list[tuple[str, int]]) -> None:
    """The model is a set; the transport is called only when it becomes empty, or filled."""
    transport = FakeTransport()
    reading = attached(transport)
    model: set[int] = set()
    for name, flag in steps:
        if name == "pause":
            reading.pause(flag)
            model.add(flag)
        else:
            reading.resume(flag)
            model.discard(flag)
        assert reading.pauses == sum(model)
        assert transport.reads is (not model)


holding_steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["pause", "resume"]), st.sampled_from(FLAGS)),
        st.tuples(st.just("iterate"), st.just(0)),
    )
)


def test_transport_that_holds_input_follows_the_model_an_iteration_later() -> None:
    """Input that it holds comes with each resume, never within one, and never while paused."""
    with asyncio.Runner() as runner:

        async def play(steps: list[tuple[str, int]]) -> None:
            transport = Lenient()
            reading = attached(transport)
            model: set[int] = set()
            for name, flag in [*steps, ("iterate", 0)]:
                before = len(transport.calls)
                if name == "iterate":
                    await asyncio.sleep(0)
                    assert transport.reads is (not model)
                elif name == "pause":
                    reading.pause(flag)
                    model.add(flag)
                    assert not transport.reads
                else:
                    reading.resume(flag)
                    model.discard(flag)
                    assert transport.calls[before:] == []
                assert reading.pauses == sum(model)
            assert transport.calls == ["resume", "hand on"] * (len(transport.calls) // 2)

        @given(holding_steps)
        def check(steps: list[tuple[str, int]]) -> None:
            runner.run(play(steps))

        check()


class Lenient(HoldingTransport):
    """May be paused twice, as when a pause comes before the resume was carried out."""

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True
        self.calls.append("resume")


def test_transport_that_closes_before_it_is_resumed_is_left_alone() -> None:
    """It hands on nothing any more."""

    async def main() -> list[str]:
        transport = HoldingTransport()
        reading = attached(transport)
        reading.pause(NO_CREDIT)
        reading.resume(NO_CREDIT)
        transport.closing = True
        await asyncio.sleep(0)
        return transport.calls

    assert asyncio.run(main()) == ["pause"]


@pytest.mark.parametrize(
    ("make", "calls"),
    [(FakeTransport, ["pause"]), (HoldingTransport, ["pause", "resume"])],
)
def test_only_a_transport_that_must_read_to_close_is_resumed_for_that(
    make: Callable[[], FakeTransport], calls: list[str]
) -> None:
    """The reason for the pause stays."""
    transport = make()
    reading = attached(transport)
    reading.pause(INPUT_ENDED)
    reading.resume_for_close()
    assert transport.calls == calls
    assert reading.pauses == INPUT_ENDED


@pytest.mark.parametrize("tls", [False, True])
def test_reading_knows_whether_its_transport_is_tls(tls: bool) -> None:
    """By what asyncio's transports say of themselves."""
    assert attached(FakeTransport(tls=tls)).is_tls is tls
