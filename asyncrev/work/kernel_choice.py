"""Which processors the native plane can do without."""

from asyncrev.frames.grammar import Grammar
from asyncrev.frames.lines import Lines
from asyncrev.frames.prefixed import Prefixed
from asyncrev.ring.row import Kernel
from asyncrev.work.reverse import reverses

__all__ = ["kernel_for"]

_BY_PREFIX_BYTES = {4: Kernel.LEN32, 8: Kernel.LEN64}


def kernel_for(processor: object, framing: Grammar | None = None) -> Kernel:
    """Return the kernel that answers as `processor` does, or NONE. Thread: any.

    A grammar of a class derived from ours may find other frames.
    """
    if not reverses(processor):
        return Kernel.NONE
    if framing is None:
        return Kernel.REVERSE
    if type(framing) is Lines:
        return Kernel.LINES
    if type(framing) is Prefixed:
        return _BY_PREFIX_BYTES[framing.prefix_bytes]
    return Kernel.NONE
