"""TLS in fewer steps for a chunk that is one record of data, as requests and replies mostly are.

What comes of an entry is what `TlsWork` makes of it. The steps that are left out have nothing to do
for such a chunk: no record is split, none is behind another, and there is one reply to encrypt.
"""

import ssl

from asyncrev.connection_info import ConnectionInfo
from asyncrev.ring.ring import DATA, Entry
from asyncrev.work.block_pool import Pool
from asyncrev.work.lane_work import UNBOUNDED_SHARE, LaneWork, Share
from asyncrev.work.tls_faults import fault_of
from asyncrev.work.tls_parameters import TlsParameters
from asyncrev.work.tls_session import APPLICATION_DATA, HEADER_BYTES, MOST_RECORD_BYTES, TlsSession
from asyncrev.work.tls_work import TlsWork

__all__ = ["SingleRecordTlsWork"]


class SingleRecordTlsWork(TlsWork):
    """Takes the short way where there is one. Thread: worker.

    Attributes:
        is_plain: whether a chunk that is one record of data may take it: the handshake is complete,
            no input is held, and the window is open.
    """

    __slots__ = ("is_plain",)

    def __init__(
        self, inner: LaneWork, parameters: TlsParameters, info: ConnectionInfo | None = None
    ) -> None:
        """See `TlsWork`. Thread: any."""
        super().__init__(inner, parameters, info)
        self.is_plain = False

    def do(self, entry: Entry, storage: object, pool: Pool, share: Share = UNBOUNDED_SHARE) -> None:
        """See `LaneWork.do`."""
        view, nbytes = entry.view, entry.nbytes
        if (
            self.is_plain
            and entry.kind is DATA
            and HEADER_BYTES < nbytes <= MOST_RECORD_BYTES
            and nbytes == HEADER_BYTES + (view[3] << 8 | view[4])
            and view[0] == APPLICATION_DATA
            and not self.abandoned
            and (share is not self._share or self._records_left > 0)
        ):
            try:
                self._do_record(entry, pool, share)
            except BaseException as error:
                self.fail(entry, error)
        else:
            super().do(entry, storage, pool, share)

    def fail(self, entry: Entry, error: BaseException) -> None:
        """See `LaneWork.fail`."""
        super().fail(entry, error)
        self.is_plain = False

    def _do_record(self, entry: Entry, pool: Pool, share: Share) -> None:
        """Do with a chunk that is one record of data what `_do` does, in fewer steps.

        The lane is plain: its handshake is complete, it holds no input, and its window is open.
        """
        self._use(share)
        self._records_left -= 1
        entry.ended = False
        entry.calls = 1
        session: TlsSession = self._session  # type: ignore[assignment]
        work, scratch = self._inner, share.scratch
        inner = scratch.entry
        output: list[bytes] = []
        try:
            data_bytes = session.read_record(entry.view[: entry.nbytes], scratch.view)
            if data_bytes:
                self.data_bytes += data_bytes
                inner.kind, inner.nbytes = DATA, data_bytes
                inner.calls = inner.surplus_bytes = 0
                work.do(inner, scratch.storage, pool, share)
                result = inner.result
                if (
                    type(result) is bytes
                    and result
                    and work.plain is not None
                    and not inner.surplus_bytes
                ):
                    inner.result = None
                    entry.calls += inner.calls
                    # Of a framed lane: it is plain only while no part of a frame is kept.
                    entry.partial_frame_bytes = self._partial_frame_bytes = 0
                    entry.frame_seq = self._frame_seq
                    entry.result = session.encrypt(result)
                    return  # nearly always
                self._encrypt(session, inner, entry, output)
            elif session.input_ended:
                self._end(session, entry, pool, output)
        except ssl.SSLError as error:
            self._break(entry, fault_of(error, is_established=True))
        if self.broken or work.deferred is not None or entry.surplus_bytes:
            self._uncredited_bytes = entry.nbytes
            self._leave(entry, output)
            return
        session.take_output(output)
        entry.result = None if not output else output[0] if len(output) == 1 else tuple(output)
        entry.partial_frame_bytes, entry.frame_seq = self._partial_frame_bytes, self._frame_seq

    def _leave(self, entry: Entry, output: list[bytes]) -> None:
        super()._leave(entry, output)
        session = self._session
        self.is_plain = (
            session is not None
            and session.is_established
            and session.is_between_records
            and not (self.broken or self._stream_ended or session.input_ended)
            and self.deferred is None
            and self._inner.deferred is None
            and not self.window.is_full()
        )
