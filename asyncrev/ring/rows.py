"""What is kept of an owner of entries: the classes that ASYNCREV_PLANE has chosen.

Both are like those of `row`: with the native plane its structures, otherwise those themselves.
"""

from typing import TYPE_CHECKING

from asyncrev.native.choice import PLANE

__all__ = ["Row", "Work"]

if TYPE_CHECKING or PLANE is None:
    from asyncrev.ring.row import Row, Work
else:
    Row, Work = PLANE.Row, PLANE.Work
