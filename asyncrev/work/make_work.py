"""Which work a lane has: for raw chunks or for frames, over TLS or not."""

from asyncrev.frames.grammar import Grammar
from asyncrev.processors import ProcessorFactory
from asyncrev.work.framed_work import FramedWork
from asyncrev.work.lane_work import LaneWork
from asyncrev.work.raw_work import RawWork
from asyncrev.work.reply_window import UNBOUNDED_BYTES
from asyncrev.work.tls_work import TlsParameters, TlsWork

__all__ = ["make_work"]


def make_work(
    factory: ProcessorFactory,
    *,
    views_allowed: bool,
    framing: Grammar | None = None,
    max_frame_bytes: int = 0,
    max_reply_bytes: int = 0,
    window_bytes: int = UNBOUNDED_BYTES,
    tls: TlsParameters | None = None,
) -> LaneWork:
    """Return the work of a lane: a `FramedWork` with `framing`, else a `RawWork`. Thread: any.

    With `tls` it is in a `TlsWork`, which encrypts replies at once, so they may be views.
    """
    if tls is not None:
        views_allowed = True
    inner: LaneWork
    if framing is None:
        inner = RawWork(
            factory,
            views_allowed=views_allowed,
            max_reply_bytes=max_reply_bytes,
            window_bytes=window_bytes,
        )
    else:
        inner = FramedWork(
            factory,
            framing,
            views_allowed=views_allowed,
            max_frame_bytes=max_frame_bytes,
            max_reply_bytes=max_reply_bytes,
            window_bytes=window_bytes,
        )
    return inner if tls is None else TlsWork(inner, tls)
