"""The worker's part of lanes whose replies come later: it finds requests, and gives replies out.

The processor itself is on the loop or in an executor (`bridge.pending`). Between a request and its
reply the lane holds nothing of the ring: the input was copied out of its slot. Input for which the
lane has no room is deferred, as input beyond a share is.
"""

from collections.abc import Callable
from typing import Any

from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import ProcessorError
from asyncrev.frames.grammar import Grammar
from asyncrev.processors import Processor, ProcessorFactory, check_reply
from asyncrev.ring.ring import DATA, RESUME, Entry
from asyncrev.work.block_pool import Pool
from asyncrev.work.framed_work import FramedWork
from asyncrev.work.framer import Framer
from asyncrev.work.lane_work import LaneWork, Share
from asyncrev.work.raw_work import RawWork
from asyncrev.work.reply_window import ReplyWindow
from asyncrev.work.request_frames import Collector, FrameRequests
from asyncrev.work.requests import Request, RequestKind, Requests

__all__ = ["PendingWork", "request_work"]


class _RoomWindow(ReplyWindow):
    """Stops the work that finds requests while there is no room for one. Thread: worker."""

    __slots__ = ("_requests",)

    def __init__(self, requests: Requests) -> None:
        super().__init__()
        self._requests = requests

    def is_full(self) -> bool:
        return not self._requests.room()


class _RequestFrames(FramedWork):
    """Finds frames, and hands them to a collector. Thread: worker."""

    __slots__ = ("_requests",)

    def __init__(
        self,
        factory: ProcessorFactory,
        framing: Grammar,
        requests: Requests,
        *,
        max_frame_bytes: int,
        info: ConnectionInfo | None,
    ) -> None:
        super().__init__(
            factory, framing, views_allowed=False, max_frame_bytes=max_frame_bytes, info=info
        )
        self._requests = requests

    def _make_processor(self, pool: Pool) -> object:
        collector: Any = self.factory()  # or taps around one
        max_frame_bytes = self._max_frame_bytes
        answers = self._answers = FrameRequests(
            self._framing, collector, self._requests, max_frame_bytes=max_frame_bytes
        )
        return Framer(
            self._framing,
            collector,
            pool,
            max_frame_bytes=max_frame_bytes,
            views_allowed=False,
            answers=answers,
        )


def request_work(
    collector: Collector,
    framing: Grammar | None,
    *,
    max_frame_bytes: int,
    info: ConnectionInfo | None,
    wrap: Callable[[Any], Any] | None = None,
) -> LaneWork:
    """Return what finds requests in a lane's input, and answers nothing itself. Thread: any.

    `wrap`: see `LaterFactory`.
    """

    def factory() -> Processor:
        made: Processor = collector if wrap is None else wrap(lambda: collector)
        return made

    work: LaneWork
    if framing is None:
        work = RawWork(factory, views_allowed=False, info=info)
    else:
        work = _RequestFrames(
            factory, framing, collector.requests, max_frame_bytes=max_frame_bytes, info=info
        )
    work.window = _RoomWindow(collector.requests)
    return work


class PendingWork(LaneWork):
    """Has another work find the requests; gives the replies out, in order. Thread: worker.

    Attributes:
        requests: what is on its way to the processor and back; its fields name their writers.
    """

    __slots__ = (
        "_all_made",
        "_failure",
        "_finder",
        "_frame_seq",
        "_grammar",
        "_held_bytes",
        "_is_ready",
        "_separator",
        "requests",
    )

    def __init__(
        self,
        factory: ProcessorFactory,
        finder: LaneWork,
        collector: Collector,
        grammar: Grammar | None,
        *,
        max_reply_bytes: int,
        window_bytes: int,
        info: ConnectionInfo | None,
    ) -> None:
        """Prepare it around `finder`, of `request_work` for `collector`. Thread: any.

        `factory` says what the processor is; see `LaterFactory`.
        """
        super().__init__(
            factory,
            views_allowed=True,
            max_reply_bytes=max_reply_bytes,
            window_bytes=window_bytes,
            info=info,
        )
        self.requests = collector.requests
        self._finder = finder
        self._grammar = grammar
        self._failure: BaseException | None = None  # ends the lane, behind all earlier replies
        self._separator = b""  # goes before what the processor says last
        self._all_made = False  # whether the end of input has come, and all requests are made
        self._is_ready = False  # whether the finder knows its peer
        self._held_bytes = self._frame_seq = 0  # of the frame that it has a part of

    @property
    def frames(self) -> int | None:
        """See `LaneWork.frames`; counted when they are found."""
        return self._finder.frames

    @property
    def comes_later(self) -> bool:
        """See `LaneWork.comes_later`."""
        return True

    @property
    def holds_input(self) -> bool:
        """See `LaneWork.holds_input`."""
        return self.deferred is not None or self.requests.pending > 0

    @property
    def has_room(self) -> bool:
        """See `LaneWork.has_room`."""
        return self.requests.room() > 0

    @property
    def may_go_on(self) -> bool:
        """See `LaneWork.may_go_on`."""
        return self.deferred is not None or bool(self.requests.returned)

    def close_processor(self) -> None:
        """See `LaneWork.close_processor`; the processor itself is closed where it is called."""
        self.deferred = None
        self._finder.close_processor()

    def introduce_again(self, info: ConnectionInfo | None) -> None:
        """See `LaneWork.introduce_again`."""
        super().introduce_again(info)
        self._finder.introduce_again(info)
        self._is_ready = False

    def _do(self, entry: Entry, storage: object, pool: Pool, share: Share) -> None:
        kind = entry.kind
        entry.ended = False
        given, error = self._give_out(entry)
        if error is not None:
            entry.result = given or None
            self.fail(entry, error)
            given = bytes(entry.result or b"")  # with what a refused peer is told
        if self.broken or self._all_made or self._failure is not None:
            self._held_bytes = 0
        elif kind is RESUME and self.deferred is None and self._is_ready:  # it brought replies
            entry.calls, entry.frame_seq = 0, self._frame_seq
        else:
            self._find_requests(entry, storage, pool, share)
            self._is_ready = True
            self._frame_seq = entry.frame_seq
            self._held_bytes = 0 if self._grammar is None else entry.partial_frame_bytes
        entry.result = given or None
        if not (self.broken or self.requests.pending):
            if self._failure is not None:
                failure, self._failure = self._failure, None
                self.fail(entry, failure)
            else:
                entry.ended = self._all_made
        # What is held of the lane, for its reservation in the pool (`Budget`).
        entry.partial_frame_bytes = (
            0 if self.broken else self._held_bytes + self.requests.pending_bytes
        )
        if kind is DATA:
            entry.kind = RESUME  # the loop has to look at each entry of such a lane

    def _find_requests(self, entry: Entry, storage: object, pool: Pool, share: Share) -> None:
        finder = self._finder
        input_bytes = entry.nbytes + (0 if self.deferred is None else self.deferred.nbytes)
        finder.input_end = self.input_end
        finder.deferred = self.deferred  # the work around this may have dropped it
        room = Share(share.scratch, min(share.most_calls, self.requests.room()))
        finder.do(entry, storage, pool, room)
        finder.plain = None  # each chunk has to look for room
        self.deferred = finder.deferred
        if entry.error is not None:
            self._failure, entry.error = entry.error, None
            self.deferred = None
            entry.nbytes = input_bytes  # nothing of it is kept
        elif entry.ended:
            self._all_made = True
            entry.ended = False

    def _give_out(self, entry: Entry) -> tuple[bytes, BaseException | None]:
        """Return the replies that are here, in order, as far as the window allows.

        And the error that came in the place of the next one, if one did.
        """
        if not self.requests.returned:
            return b"", None
        replies, window, requests = bytearray(), self.window, self.requests
        error: BaseException | None = None
        while not window.is_full() and (request := requests.next_returned()) is not None:
            before_bytes = len(replies)
            error = request.error
            if error is None:
                try:
                    self._encode(replies, request)
                except ProcessorError as wrong:
                    error = wrong
            surplus_bytes = len(replies) - before_bytes - request.nbytes
            if surplus_bytes > 0:
                self._note_surplus(entry, surplus_bytes)
            if error is not None:
                break
        return bytes(replies), error

    def _encode(self, replies: bytearray, request: Request) -> None:
        """Append the reply to `request` as it goes to the peer.

        Raises:
            ProcessorError: it is too long, or no frame can have it; then nothing was appended.
        """
        reply, grammar = request.reply, self._grammar
        if reply is None:
            return
        check_reply(len(reply), request.nbytes, self.max_reply_bytes)
        if grammar is None:
            replies += reply
        elif request.separator is not None:
            if grammar.forbidden_byte is not None and grammar.forbidden_byte in reply:
                raise grammar.forbidden(reply)
            replies += reply
            self._separator = request.separator
        elif request.kind is RequestKind.FRAME:
            grammar.encode_into(replies, reply, request.tail)
        else:
            replies += self._separator + grammar.encode(reply)

    def _framed(self, said: bytes) -> bytes:
        return said if self._grammar is None else self._grammar.encode(said)
