"""The worker's part of a lane that may change to TLS: plain until its processor asks for it.

I24  what the peer sent behind the message that began TLS goes to TLS, and never to the processor
"""

from asyncrev.ring.ring import DATA, Entry
from asyncrev.work.block_pool import Pool
from asyncrev.work.lane_work import UNBOUNDED_SHARE, LaneWork, Share
from asyncrev.work.tls_parameters import StartTls
from asyncrev.work.tls_single_records import SingleRecordTlsWork

__all__ = ["StartTlsWork"]


class StartTlsWork(LaneWork):
    """Gives entries to another lane's work, and from an upgrade on to a `TlsWork` around that.

    Thread: worker. The lane's work stays this object, so the loop's thread needs no new one.
    """

    __slots__ = ("_inner", "_tls")

    def __init__(self, inner: LaneWork) -> None:
        """Prepare `inner`, the work of no other lane. Thread: any."""
        super().__init__(inner.factory, views_allowed=False, info=inner.info)
        self.window = inner.window
        inner.may_start_tls = True
        self._inner = inner
        # Writer: worker; readers: worker, the loop behind an entry that came back.
        self._tls: SingleRecordTlsWork | None = None

    @property
    def uses_tls(self) -> bool:
        """See `LaneWork.uses_tls`."""
        return self._tls is not None

    @property
    def frames(self) -> int | None:
        """See `LaneWork.frames`."""
        return self._inner.frames

    @property
    def is_handshaking(self) -> bool:
        """See `LaneWork.is_handshaking`."""
        return self._tls is not None and self._tls.is_handshaking

    def do(self, entry: Entry, storage: object, pool: Pool, share: Share = UNBOUNDED_SHARE) -> None:
        """See `LaneWork.do`."""
        work = self._inner if self._tls is None else self._tls
        work.abandoned = self.abandoned
        work.input_end = self.input_end
        work.do(entry, storage, pool, share)
        if self._tls is not None:
            self.info, self.data_bytes = self._tls.info, self._tls.data_bytes
        elif (start := self._inner.start_tls) is not None:
            self._inner.start_tls = None
            has_ended = entry.kind is not DATA and entry.ended
            if entry.error is None and not has_ended:
                self._upgrade(entry, start)

    def close_processor(self) -> None:
        """See `LaneWork.close_processor`."""
        (self._tls or self._inner).close_processor()

    def _do(self, entry: Entry, storage: object, pool: Pool, share: Share) -> None:
        raise AssertionError("do() gives every entry to another work")

    def _upgrade(self, entry: Entry, start: StartTls) -> None:
        """Speak TLS from what follows the message that `start` has answered."""
        try:
            tls = SingleRecordTlsWork(self._inner, start.parameters, self.info)
            begun = tls.take_over()
        except BaseException as error:
            self._inner.broken = True
            entry.error = error
            return
        if begun:
            reply = entry.result
            pieces = reply if isinstance(reply, tuple) else (reply or b"",)
            entry.result = b"".join((*pieces, begun))
        self.data_bytes = 0
        self._tls = tls
