"""Which work a lane has: for raw chunks or for frames, over TLS or not."""

from asyncrev.connection_info import ConnectionInfo
from asyncrev.frames.grammar import Grammar
from asyncrev.processors import ProcessorFactory
from asyncrev.work.framed_work import FramedWork
from asyncrev.work.lane_work import LaneWork
from asyncrev.work.pending_work import PendingWork, request_work
from asyncrev.work.raw_work import RawWork
from asyncrev.work.reply_window import UNBOUNDED_BYTES
from asyncrev.work.request_frames import Collector
from asyncrev.work.start_tls_work import StartTlsWork
from asyncrev.work.tls_parameters import TlsParameters
from asyncrev.work.tls_single_records import SingleRecordTlsWork
from asyncrev.work.tls_work import TlsWork

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
    info: ConnectionInfo | None = None,
    may_start_tls: bool = False,
    collector: Collector | None = None,
) -> LaneWork:
    """Return the work of a lane: a `FramedWork` with `framing`, else a `RawWork`. Thread: any.

    With `tls` it is in a `TlsWork`, which encrypts replies at once, so they may be views.
    `info`: who the peer is, if there is one. With `may_start_tls` the processor may ask for TLS.
    With `collector` it is a `PendingWork`, whose requests that gets; then TLS cannot be asked for.
    """
    inner_info = info
    if tls is not None:
        views_allowed, inner_info = True, None  # it is told when the handshake is complete
    inner: LaneWork
    if collector is not None:
        finder = request_work(
            collector,
            framing,
            max_frame_bytes=max_frame_bytes,
            info=inner_info,
            wrap=getattr(factory, "wrap", None),
        )
        inner = PendingWork(
            factory,
            finder,
            collector,
            framing,
            max_reply_bytes=max_reply_bytes,
            window_bytes=window_bytes,
            info=inner_info,
        )
        return inner if tls is None else TlsWork(inner, tls, info)
    if framing is None:
        inner = RawWork(
            factory,
            views_allowed=views_allowed,
            max_reply_bytes=max_reply_bytes,
            window_bytes=window_bytes,
            info=inner_info,
        )
    else:
        inner = FramedWork(
            factory,
            framing,
            views_allowed=views_allowed,
            max_frame_bytes=max_frame_bytes,
            max_reply_bytes=max_reply_bytes,
            window_bytes=window_bytes,
            info=inner_info,
        )
    if tls is not None:
        return SingleRecordTlsWork(inner, tls, info)
    return StartTlsWork(inner) if may_start_tls else inner
