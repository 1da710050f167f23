"""The ring, its plane and its wake-ups: the classes that ASYNCREV_PLANE has chosen.

`NAME` is "native" or "python". The classes are like those of `ring`, `plane` and `wakeups`; they go
together.
"""

from typing import TYPE_CHECKING

from asyncrev.native.choice import NAME, PLANE

__all__ = ["NAME", "DeliverySignal", "Parker", "Plane", "Ring"]

if TYPE_CHECKING or PLANE is None:
    from asyncrev.ring.plane import Plane
    from asyncrev.ring.ring import Ring
    from asyncrev.ring.wakeups import DeliverySignal, Parker
else:
    DeliverySignal, Parker = PLANE.DeliverySignal, PLANE.Parker
    Plane, Ring = PLANE.Plane, PLANE.Ring
