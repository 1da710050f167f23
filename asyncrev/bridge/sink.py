"""Sink: who gets a lane's replies. A connection is one, a submission, or code of your own."""

from typing import Protocol

from asyncrev.processors import Reply

__all__ = ["Sink"]


class Sink(Protocol):
    """Who gets a lane's replies. Every method is called on the loop's thread."""

    def on_reply(self, reply: Reply) -> int | None:
        """Send or copy `reply` now: a view is valid until this returns.

        A tuple is one reply in pieces; it comes from framed lanes with `views_allowed` only.

        Returns:
            By how many bytes the unsent replies of a framed lane exceed what it may have unsent
            (`Limits.high_water_bytes`); the buffer pool counts them. None says nothing of it.
        """
        ...

    def on_end(self) -> None:
        """Everything that was published, the end of input included, has been answered."""
        ...

    def on_error(self, error: BaseException) -> None:
        """No further reply will come; those before were given to `on_reply`."""
        ...

    def on_credit(self) -> None:
        """Input may be published again, after `Bridge.publish` said that it may not."""
        ...

    def on_no_credit(self) -> None:
        """Input may not be published until `on_credit`: the plane, which receives, has seen it.

        Called only for a sink whose stream is served directly; others see it from `Bridge.publish`.
        """
        ...

    def on_sweep(self, now_s: float) -> None:
        """Look after deadlines; comes about once a second, but not before `Lane.look_at_s`."""
        ...
