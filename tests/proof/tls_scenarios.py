"""What is explored of TLS: real lanes over TLS on a real bridge, with OpenSSL as their peer.

Ciphertext differs in each run, its lengths do not, and what runs depends on nothing else. The
worker's share is few records of a lane in a batch (`SmallShare`), so what comes behind is deferred
and resumed.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

from asyncrev import Bridge, Limits
from asyncrev.errors import TlsError, TlsTruncated
from asyncrev.ring.ring import Entry
from asyncrev.work.lane_work import InputEnd
from asyncrev.work.start_tls_work import StartTlsWork
from asyncrev.work.tls_parameters import StartTls, TlsParameters
from asyncrev.work.tls_work import TlsWork
from tests import tls_pair
from tests.lane_bench import joined
from tests.proof.scenarios import Peer, Turner, judge, nothing_is_left, on_loop, read_slowly
from tests.proof.scheduler import Run
from tests.proof.stepped import Scenario, SteppedLoop
from tests.proof.stepped_work import SmallShare, SteppedWindow

__all__ = ["RECORD_BYTES", "tls"]

RECORD_BYTES = 24  # of two bytes, and of an alert, in TLS 1.3
REQUEST, GRANTED = b"S!", b"ok"
BAD_RECORD = tls_pair.record(tls_pair.APPLICATION_DATA, bytes(40))


class TlsTurner(Turner):
    """A `Turner` whose input may end early: with a drain, behind what was published."""

    def __init__(self, peer: "TlsPeer", chunks: list[bytes]) -> None:
        super().__init__(peer.run, chunks)
        self.peer = peer

    def eof(self) -> bytes:
        """Answer the end, before which all chunks must have come that were promised."""
        left = len(list(self.chunks))
        if left != len(self.peer.wanted) - 1 - self.peer.promised:
            self.run.forbid("EARLY_END", f"the end came {left} chunks before the last")
        return b"."


class Doubler(TlsTurner):
    """One whose replies have the length of their chunks twice."""

    def process(self, chunk: memoryview) -> bytes:  # type: ignore[override]
        """Answer a chunk, which must be the next one."""
        return bytes(super().process(chunk)) * 2


class Upgrader(TlsTurner):
    """One that begins TLS when it is asked to, and gets nothing else before (I24)."""

    is_plain = True

    def process(self, chunk: memoryview) -> Any:
        """Answer a chunk, which must be the next one."""
        if not self.is_plain:
            return super().process(chunk)
        self.is_plain = False
        if bytes(chunk) != REQUEST:
            self.run.forbid("REORDERED", f"{bytes(chunk)!r} came without TLS")
        return StartTls(self.peer.parameters.context, GRANTED)


class TlsPeer(Peer):
    """One connection over TLS, and its client: what the worker says is decrypted by OpenSSL.

    Attributes:
        promised: how many of the chunks must be answered when the input ends.
    """

    def __init__(
        self,
        run: Run,
        bridge: Bridge,
        number: int,
        nchunks: int,
        framed: bool,
        ends: str,
        version: str,
        client: bool,
        doubles: bool,
        upgrades: str,
    ) -> None:
        own, other = tls_pair.server_context(version), tls_pair.client_context(version)
        if client:
            own, other = other, own
        self.parameters = TlsParameters(own, "localhost" if client else None)
        self.doubles = doubles
        self.upgrades = upgrades
        tls = None if upgrades else self.parameters
        super().__init__(run, bridge, number, nchunks, framed, tls)
        self.ends = ends
        self.framed = framed
        self.promised = len(self.wanted) - 1
        self.reply_bytes = 2
        if doubles:
            self.wanted[:-1] = [reply * 2 for reply in self.wanted[:-1]]
            self.reply_bytes = 4
            # That of both layers; one reply fills it.
            work = self.lane.work
            assert isinstance(work, TlsWork)
            work.window = work._inner.window = SteppedWindow(1, most_surplus_bytes=2)
        self.client = tls_pair.Peer(other)  # or the server of a lane that is one
        self.is_client = client
        self.wire = b""  # to be published
        self.published_bytes = 0
        self.record_ends: list[int] = []  # of data, in the whole stream
        self.said = self.closed = self.input_ended = self.is_ours = self.is_late = False
        self.plain = b""  # what came before TLS began

    def factory(self) -> Callable[[], Turner]:
        """Return what makes the processor for the payloads."""
        kind = Doubler if self.doubles else Upgrader if self.upgrades else TlsTurner

        def make() -> Turner:
            return kind(self, self.payloads)

        make.may_start_tls = bool(self.upgrades)  # type: ignore[attr-defined]
        return make

    @property
    def work(self) -> TlsWork | None:
        """The layer; None before TLS has begun."""
        work = self.lane.work
        return work._tls if isinstance(work, StartTlsWork) else work  # type: ignore[return-value]

    @property
    def is_established(self) -> bool:
        """Whether the worker's handshake is complete; looked at when all is over."""
        return self.work is not None and self.work.is_established

    def shake_hands(self) -> None:
        """Do it at once, before the worker knows the lane; then more of the rest is explored."""
        wire = self.client.take()
        while wire:
            entry = Entry(memoryview(bytearray(wire)))
            entry.nbytes = len(wire)
            self.lane.work.do(entry, None, self.bridge.parts.pool)
            wire = self.client.take(joined(entry))

    async def talk(self, piece_bytes: int) -> None:
        """Send all, `piece_bytes` at a time, and wait for the end, or for an error."""
        admission = self.bridge.parts.admission
        if self.is_client:
            admission.publish_start(self.lane)
        if self.upgrades:
            self.wire = REQUEST
        if self.upgrades != "and waits":
            self._say(self.client.take())
        while not self.end:
            if self.input_ended or not (self.has_credit and (self.wire or self.closed)):
                self.changed.clear()
                await self.changed.wait()
            elif not self.wire:
                self.end_input(InputEnd.PEER)
            else:
                view = admission.claim(self.lane)
                most_bytes = piece_bytes
                if self.upgrades and not self.published_bytes:
                    most_bytes = len(REQUEST)  # what a processor of chunks upgrades by
                nbytes = min(len(view), most_bytes, len(self.wire))
                view[:nbytes], self.wire = self.wire[:nbytes], self.wire[nbytes:]
                self.published_bytes += nbytes
                self.has_credit = admission.publish(self.lane, nbytes)
                await asyncio.sleep(0)

    def end_input(self, reason: InputEnd) -> None:
        """Let nothing more come, if this is the first reason for it."""
        if self.input_ended or self.end or self.lane.sink is None:
            return
        self.input_ended = True
        self.is_ours = reason is not InputEnd.PEER
        self.is_late = reason is InputEnd.DEADLINE
        if reason is not InputEnd.PEER:
            whole = sum(end <= self.published_bytes for end in self.record_ends)
            self.promised = whole if self.said else 0
        self.bridge.parts.admission.publish_eof(self.lane, reason)

    def on_reply(self, reply: object) -> None:
        """Read it slowly, and have the client decrypt and answer it."""
        self._alive("on_reply")
        pieces = reply if isinstance(reply, tuple) else (reply,)
        wire = b"".join([read_slowly(self.run, piece) for piece in pieces])  # type: ignore[arg-type]
        if self.upgrades and len(self.plain) < len(GRANTED):
            self.plain += wire
            wire = b""
            if self.plain == GRANTED and self.upgrades == "and waits":
                self._say(self.client.take())
        answer = self.client.take(wire) if wire else b""
        if self.client.error is not None and "ALERT" not in str(self.client.error):
            self.run.forbid("REORDERED", f"the client cannot read it: {self.client.error}")
        data = self.client.received
        self.got = (
            data.splitlines(keepends=True)
            if self.framed
            else [
                data[off : off + self.reply_bytes] for off in range(0, len(data), self.reply_bytes)
            ]
        )
        self._say(answer)

    def set_stalled(self, is_stalled: bool) -> None:
        """Tell the bridge whether the replies are taken, as a connection that is open does."""
        if self.lane.sink is not None:
            self.bridge.set_stalled(self.lane, is_stalled)

    def _say(self, answer: bytes) -> None:
        """Have an answer of TLS published, and once the handshake is done all the rest, too."""
        self.wire += answer
        if self.client.is_established and not self.said:
            self.said = True
            for chunk in self.chunks:
                self.wire += self.client.write(chunk)
                self.record_ends.append(self.published_bytes + len(self.wire))
        waits = self.ends == "close_notify after replies" and len(self.got) < len(self.chunks)
        if self.said and not (self.closed or waits):
            self.closed = True
            if self.ends.startswith("close_notify"):
                self.wire += self.client.close()
            elif self.ends == "bad record":
                self.wire += BAD_RECORD
        self.changed.set()

    def on_end(self) -> None:
        """Give the lane up, as a connection does: more may be on its way behind close_notify."""
        self._alive("on_end")
        self.end = "end"
        self.close()

    def check(self) -> None:
        """Look at what came, and at what the client knows of the end."""
        whole = self.end in ("end", *_ERRORS) and not self.is_late  # else what waits is dropped
        judge(self.run, self.got, self._owed(), whole=whole)
        if self.upgrades and self.plain not in (GRANTED, GRANTED[: len(self.plain)], b"."):
            self.run.forbid("LOST", f"{self.plain!r} came before TLS")
        established = self.is_established
        if self.end in ("end", "TlsTruncated") and established is not self.client.ended:
            self.run.forbid("LOST", f"close_notify after {self.end}: {self.client.ended}")
        if self.is_ours and self.end != "end":
            self.run.forbid("LOST", f"an end that is not the peer's came to {self.end}")
        if (self.end == "TlsError") is not (self.client.error is not None):
            self.run.forbid("LOST", f"the alert after {self.end}: {self.client.error}")
        if self.end in ("end", *_ERRORS) and self.lane.in_flight_bytes:
            self.run.forbid("LOST", f"credit of {self.lane.in_flight_bytes} bytes")

    def check_let_go(self) -> None:
        """After the close nothing of the lane may be left with the worker."""
        inner, tls = self.lane.work, self.work
        if isinstance(inner, (StartTlsWork, TlsWork)):
            inner = inner._inner
        is_held = tls is not None and (tls._session is not None or tls.deferred is not None)
        if is_held or inner.deferred is not None or inner.processor is not None:
            self.run.forbid("LOST", "the worker keeps something of a lane that was closed")

    def _owed(self) -> list[bytes]:
        """Return the replies that are due, by how the input ended."""
        if self.end in _ERRORS:
            return self.wanted[:-1]
        if self.end != "end" or self.is_late:
            return self.wanted
        if not self.is_established:
            return []
        return [*self.wanted[: self.promised], self.wanted[-1]]


_ERRORS = (TlsTruncated.__name__, TlsError.__name__)


def tls(
    chunks: tuple[int, ...],
    *,
    limits: Limits,
    hooked: bool,
    ends: str = "close_notify",
    meanwhile: str = "",
    framed: bool = False,
    piece_bytes: int = RECORD_BYTES,
    handshake: bool = False,
    version: str = "1.3",
    client: bool = False,
    doubles: bool = False,
    share_records: int = 1,
    upgrades: str = "",
) -> Scenario:
    """A real bridge, and a connection over TLS for each of `chunks`, which is how many it sends.

    `ends`: how the client does: "close_notify", or "close_notify after replies" that it waits for,
    and FIN; "FIN" alone; a "bad record".
    `meanwhile`, at every moment, of the first connection: "drain", "deadline", "close", or "stall",
    in which the peer takes no replies for a while, or the end of that, for it was "stalled"; or
    "stop" of the bridge.
    `piece_bytes`: how much is received at a time. `handshake`: whether that is explored, too.
    `version`: of TLS. `client`: whether the lane is the client, and its peer the server.
    `doubles`: whether replies are longer than what they answer, and one fills the window.
    `share_records`: how many records of a lane the worker decrypts in a batch.
    `upgrades`: the connection is plain at first; the client asks for TLS "and waits" until it is
    granted, or "at once" goes on with its hello.
    """

    async def main(run: Run, loop: SteppedLoop) -> Hashable:
        SmallShare.records = share_records
        one = Bridge(limits)
        one.start()
        peers = [
            TlsPeer(run, one, n, nchunks, framed, ends, version, client, doubles, upgrades)
            for n, nchunks in enumerate(chunks)
        ]
        for peer in peers:
            if not handshake:
                peer.shake_hands()
        reasons = {"drain": InputEnd.DRAIN, "deadline": InputEnd.DEADLINE}
        if meanwhile in reasons:
            run.spawn(
                "user",
                lambda: loop.call_soon_threadsafe(peers[0].end_input, reasons[meanwhile]),
            )
        elif meanwhile == "close":
            run.spawn("user", lambda: loop.call_soon_threadsafe(peers[0].close))
        elif meanwhile.startswith("stall"):
            peers[0].set_stalled(meanwhile == "stalled")

            def stall() -> None:
                for is_stalled in (True, False)[meanwhile == "stalled" :]:
                    loop.call_soon_threadsafe(peers[0].set_stalled, is_stalled)

            run.spawn("user", stall)
        elif meanwhile == "stop":
            run.spawn("user", lambda: one.stop(1))
        await asyncio.gather(*(peer.talk(piece_bytes) for peer in peers))
        for peer in peers:
            peer.close()
        await one.close()
        for peer in peers:
            peer.check()
            if meanwhile != "stop":
                peer.check_let_go()
        nothing_is_left(run, one)
        return tuple((peer.end, len(peer.got)) for peer in peers)

    return on_loop(main, hooked=hooked)
