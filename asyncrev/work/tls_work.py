"""The worker's part of a lane over TLS: the outermost layer, around frames and processor.

A record is decrypted, its data is given to the lane's own work, and the reply is encrypted, before
the next record is looked at: OpenSSL cannot encrypt once a bad record has come, so replies that
were owed before it would be lost.

  I22  what a connection holds of TLS is bounded: a record of input, a record of output, OpenSSL's
       own state; ciphertext is decrypted only while the inner work defers nothing
  I23  in one batch of the worker a lane costs at most SHARE_RECORDS records, and all lanes
       together SHARE_HANDSHAKES steps of handshakes; what would cost more is deferred
"""

import dataclasses
import ssl

from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import TlsTruncated
from asyncrev.processors import speaks_first
from asyncrev.ring.ring import DATA, EOF, RESUME, Entry, Kind
from asyncrev.work.block_pool import Pool
from asyncrev.work.client_hello import ClientHello
from asyncrev.work.lane_work import (
    UNBOUNDED_CALLS,
    UNBOUNDED_SHARE,
    InputEnd,
    LaneWork,
    Share,
)
from asyncrev.work.tls_faults import fault_of, handshake_failed
from asyncrev.work.tls_parameters import TlsParameters
from asyncrev.work.tls_session import TlsSession

__all__ = ["TlsWork"]

# A fatal alert in a record of its own (RFC 8446, 6.2).
_UNRECOGNIZED_NAME = bytes([21, 3, 3, 0, 2, 2, 112])


class TlsWork(LaneWork):
    """Gives the data of TLS records to another lane's work. Thread: worker.

    Attributes:
        is_established: whether the handshake is complete. Writer: worker; reader: loop, behind an
            entry that came back.
    """

    __slots__ = (
        "_frame_seq",
        "_has_input",
        "_hello",
        "_inner",
        "_inner_ended",
        "_parameters",
        "_partial_frame_bytes",
        "_records_left",
        "_session",
        "_share",
        "_stream_ended",
        "_uncredited_bytes",
        "is_established",
    )

    def __init__(
        self, inner: LaneWork, parameters: TlsParameters, info: ConnectionInfo | None = None
    ) -> None:
        """Prepare TLS around `inner`, the work of no other lane. Thread: any.

        A client begins the handshake at its first entry, which is a RESUME. `info`: who the peer
        is; `inner` gets it with what the handshake adds.
        """
        super().__init__(inner.factory, views_allowed=False, info=info)
        self.window = inner.window
        self._inner = inner
        self._parameters = parameters
        self._session: TlsSession | None = None
        # Until the handshake is complete.
        self._hello = ClientHello() if parameters.server_side and info is not None else None
        self._partial_frame_bytes = 0  # of the inner work, as of its last entry; as the next
        self._frame_seq = 0
        self._share = UNBOUNDED_SHARE  # the last one in which this lane was worked on
        self._records_left = UNBOUNDED_CALLS  # of that share
        self._has_input = False  # whether the peer has begun its handshake
        self._stream_ended = False  # whether an EOF entry has come
        self._inner_ended = False  # whether its processor's `eof` was called
        self._uncredited_bytes = 0  # of input, not yet reported as processed
        self.is_established = False
        self.data_bytes: int = 0

    @property
    def uses_tls(self) -> bool:
        """See `LaneWork.uses_tls`."""
        return True

    @property
    def frames(self) -> int | None:
        """See `LaneWork.frames`."""
        return self._inner.frames

    @property
    def comes_later(self) -> bool:
        """See `LaneWork.comes_later`."""
        return self._inner.comes_later

    @property
    def is_handshaking(self) -> bool:
        """See `LaneWork.is_handshaking`."""
        return not self.is_established

    def take_over(self) -> bytes:
        """Go on with a lane that was plain; return what this side begins the handshake with.

        What its work has deferred is ciphertext from now on. Once, before the first entry.
        """
        deferred, self._inner.deferred = self._inner.deferred, None
        if deferred is not None:
            self._uncredited_bytes = deferred.nbytes
            self._stream_ended, deferred.ends = deferred.ends, False
            self.deferred = deferred if deferred.nbytes else None
        self._inner.introduce_again(None)
        output: list[bytes] = []
        self._open().take_output(output)
        return b"".join(output)

    def close_processor(self) -> None:
        """See `LaneWork.close_processor`; what TLS holds goes, too."""
        self._session = None
        self.deferred = None
        self._inner.close_processor()

    def _do(self, entry: Entry, storage: object, pool: Pool, share: Share) -> None:
        self._use(share)
        entry.ended = False
        entry.calls = 0
        output: list[bytes] = []
        try:
            self._work(self._session or self._open(), entry, pool, output)
        except ssl.SSLError as error:
            self._break(entry, fault_of(error, is_established=self.is_established))
        self._leave(entry, output)

    def _use(self, share: Share) -> None:
        if share is not self._share:
            self._share = share
            self._records_left = share.most_records

    def _leave(self, entry: Entry, output: list[bytes]) -> None:
        """Leave in `entry` what there is to send, and what it says of the lane."""
        session = self._session
        if session is not None:
            if self.broken:
                session.shut_down()
                self._session = None
            session.take_output(output)
        entry.result = None if not output else output[0] if len(output) == 1 else tuple(output)
        entry.partial_frame_bytes, entry.frame_seq = self._partial_frame_bytes, self._frame_seq
        entry.nbytes = self._credit()
        if entry.kind is DATA and self._inner.comes_later:
            entry.kind = RESUME  # the loop has to look at each entry of such a lane

    def fail(self, entry: Entry, error: BaseException) -> None:
        """See `LaneWork.fail`."""
        super().fail(entry, error)
        self._session = None

    def _open(self) -> TlsSession:
        parameters = self._parameters
        session = self._session = TlsSession(
            parameters.context,
            server_side=parameters.server_side,
            server_hostname=parameters.server_hostname,
        )
        if not parameters.server_side:
            session.handshake()
        return session

    def _work(
        self,
        session: TlsSession,
        entry: Entry,
        pool: Pool,
        output: list[bytes],
    ) -> None:
        """Do what `entry` asks for, as far as share and window allow, oldest input first."""
        chunk = entry.view[: entry.nbytes] if entry.kind is DATA else entry.view[:0]
        self._uncredited_bytes += len(chunk)
        if entry.kind is EOF:
            self._stream_ended = True
            if self.input_end is InputEnd.DEADLINE:
                self.deferred = self._inner.deferred = None
        if self._inner.may_go_on:
            self._give(session, RESUME, 0, entry, pool, output)
        deferred, used_bytes = self.deferred, 0
        while deferred is not None:
            used_bytes = self._decrypt(session, deferred.head(), entry, pool, output)
            if not used_bytes:
                break
            self._consume(deferred, used_bytes)
            deferred = self.deferred
        used_bytes = 0
        if self.deferred is None and not self.broken:
            used_bytes = self._decrypt(session, chunk, entry, pool, output)
        if session.input_ended or self.broken:
            self.deferred = None
        elif used_bytes < len(chunk):
            self._defer(entry, chunk[used_bytes:])
        if not self.broken and (session.input_ended or self._stream_ended):
            self._end(session, entry, pool, output)

    def _decrypt(
        self,
        session: TlsSession,
        chunk: memoryview,
        entry: Entry,
        pool: Pool,
        output: list[bytes],
    ) -> int:
        """Work on the records at the front of `chunk`; return how many bytes were used."""
        share, takes_step = self._share, not session.is_established
        if takes_step and len(chunk):
            if share.handshakes_left <= 0:
                return 0
            self._has_input = True
        off, inner, view = 0, self._inner, share.scratch.view
        while (
            off < len(chunk)
            and self._records_left > 0
            and not (session.input_ended or self.broken)
            and inner.deferred is None
            and inner.has_room
            and not inner.window.is_full()
        ):
            before_off, off = off, session.feed(chunk, off)
            if self._hello is not None:
                self._hello.see(chunk[before_off:off])
            if not session.has_record:
                continue
            self._records_left -= 1
            entry.calls += 1
            if session.is_established:
                nbytes = session.read(view)
                if nbytes:
                    self.data_bytes += nbytes
                    self._give(session, DATA, nbytes, entry, pool, output)
            else:
                share.handshakes_left -= takes_step  # one for all records of a flight
                takes_step = False
                if not self._may_shake_hands(entry, output):
                    break
                if session.handshake():
                    self._end_handshake(session, entry, pool, output)
        return off

    def _may_shake_hands(self, entry: Entry, output: list[bytes]) -> bool:
        """Return whether OpenSSL may see what the client says; else the handshake has failed."""
        has_callback = self._parameters.context.sni_callback is not None
        if self._hello is None or self._hello.is_ascii or not has_callback:
            return True
        output.append(_UNRECOGNIZED_NAME)
        text = "the host name that the peer asks for is not ASCII"
        self._break(entry, handshake_failed(text))
        return False

    def _end_handshake(
        self, session: TlsSession, entry: Entry, pool: Pool, output: list[bytes]
    ) -> None:
        """Note who the peer is; let the processor speak, if it speaks first."""
        self.is_established = True
        hello, self._hello = self._hello, None
        if self.info is None:
            return
        name = self._parameters.server_hostname if hello is None else hello.server_name
        self.info = dataclasses.replace(self.info, tls=session.info(name))
        self._inner.introduce_again(self.info)
        if self._inner.processor is not None or speaks_first(self.factory):
            self._give(session, RESUME, 0, entry, pool, output)

    def _give(
        self,
        session: TlsSession,
        kind: Kind,
        nbytes: int,
        entry: Entry,
        pool: Pool,
        output: list[bytes],
    ) -> None:
        """Have the inner work do `kind` with `nbytes` of the scratch; encrypt its reply."""
        scratch = self._share.scratch
        inner = scratch.entry
        inner.kind, inner.nbytes = kind, nbytes
        inner.calls = inner.surplus_bytes = 0
        pool.steps[0] += 1
        self._inner.do(inner, scratch.storage, pool, self._share)
        self._inner_ended = kind is not DATA and inner.ended
        self._encrypt(session, inner, entry, output)

    def _encrypt(
        self, session: TlsSession, inner: Entry, entry: Entry, output: list[bytes]
    ) -> None:
        """Encrypt the reply that the inner work has left in `inner`; note what else is there."""
        result, inner.result = inner.result, None
        entry.calls += inner.calls
        entry.surplus_bytes += inner.surplus_bytes
        self._partial_frame_bytes, self._frame_seq = inner.partial_frame_bytes, inner.frame_seq
        if type(result) is tuple:
            for piece in result:
                session.write(piece, output)
        elif result is not None:
            session.write(result, output)  # type: ignore[arg-type]
        if inner.error is not None:
            # Never in a local of a frame that calls the inner work: the traceback leads there.
            self._break(entry, inner.error)
            inner.error = None

    def _end(self, session: TlsSession, entry: Entry, pool: Pool, output: list[bytes]) -> None:
        """End the lane if nothing of its input is left; else have the loop come back for it."""
        if entry.kind is DATA:
            entry.kind = EOF  # the loop does not know that the input has ended
        if self.deferred is not None or self._inner.holds_input:
            return
        truncated = self.input_end is InputEnd.PEER and not session.input_ended
        late = self.input_end is InputEnd.DEADLINE and self._stream_ended
        if late or not (truncated or session.is_established):
            entry.ended = True
        elif not truncated:
            if not self._inner_ended:  # it may have waited for the window
                self._give(session, EOF, 0, entry, pool, output)
            entry.ended = self._inner_ended and not self.broken
        elif session.is_established:
            self._break(entry, TlsTruncated("the peer ended its stream without TLS's close_notify"))
        elif self._parameters.server_side and not self._has_input:
            entry.ended = True  # a health check: it sent nothing
        else:
            self._break(entry, handshake_failed("the peer ended its stream within it"))
        if entry.ended:
            self.broken = True  # what comes now is dropped

    def _break(self, entry: Entry, error: BaseException) -> None:
        self.broken = True
        self.deferred = None
        self._partial_frame_bytes = 0
        entry.error = error

    def _credit(self) -> int:
        """Return how much input is processed now, and was not before."""
        held_bytes = 0
        if self.deferred is not None:
            held_bytes = self.deferred.nbytes
        if self._inner.deferred is not None and not self.broken:
            held_bytes += self._inner.deferred.nbytes
        # Data that is held may belong to a record whose beginning was credited before.
        held_bytes = min(held_bytes, self._uncredited_bytes)
        credit_bytes = self._uncredited_bytes - held_bytes
        self._uncredited_bytes = held_bytes
        return credit_bytes
