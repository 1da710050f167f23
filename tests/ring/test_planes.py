"""planes: which classes are used."""

from asyncrev.native import choice
from asyncrev.ring import plane, planes, ring, wakeups


def test_classes_are_those_of_the_plane_that_was_chosen() -> None:
    """They go together."""
    chosen = (planes.Ring, planes.Plane, planes.Parker, planes.DeliverySignal)
    if choice.PLANE is None:
        assert chosen == (ring.Ring, plane.Plane, wakeups.Parker, wakeups.DeliverySignal)
    else:
        native = choice.PLANE
        assert chosen == (native.Ring, native.Plane, native.Parker, native.DeliverySignal)
