"""Work on small chunks in the loop, for processors that allow it. Thread: loop."""

from asyncrev.errors import PeerRefused, ProcessorError
from asyncrev.processors import (
    Processor,
    as_reply,
    check_reply,
    make_processor,
    tell_connected,
)
from asyncrev.work.lane_work import LaneWork

__all__ = ["InlineWork", "checked"]


class InlineWork:
    """A second processor of a raw lane, which the loop calls. All methods: the loop's thread."""

    __slots__ = ("_max_reply_bytes", "_processor", "_views_allowed")

    def __init__(self, work: LaneWork) -> None:
        """Make the processor, and tell it who the peer is. Raises what that raises.

        Raises:
            ProcessorError: it answers that, so the worker's processor would, too.
        """
        self._processor: Processor = make_processor(work.factory)
        if work.info is not None and tell_connected(self._processor, work.info) is not None:
            raise ProcessorError(
                "connected() of a processor that may run inline returned a reply, which its peer "
                "would get twice; return None, or leave may_run_inline out"
            )
        self._views_allowed = work.views_allowed
        self._max_reply_bytes = work.max_reply_bytes

    def answer(self, chunk: memoryview, storage: object) -> bytes | memoryview | None:
        """Return the reply to `chunk` at once; nothing of the lane may be in flight.

        A view in the reply is of `storage`, and valid until the slot of `chunk` is claimed again.
        Raises what the processor raises.
        """
        result = self._processor.process(chunk)
        if type(result) is not bytes:
            result = as_reply(result, storage, views_allowed=self._views_allowed)
        if result is not None and len(result) > chunk.nbytes:
            check_reply(len(result), chunk.nbytes, self._max_reply_bytes)
        return result


def checked(error: BaseException, max_reply_bytes: int) -> BaseException:
    """Return `error`, which a processor raised; of a refusal whose reply is none, what is wrong."""
    if isinstance(error, PeerRefused):
        try:
            reply = as_reply(error.reply, None, views_allowed=False)
            check_reply(len(reply or b""), 0, max_reply_bytes)
        except BaseException as wrong:
            return wrong
    return error
