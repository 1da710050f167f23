"""A plan and a slot together say what a worker is told."""

from asyncrev.supervisor.plan import Plan


def test_setup_has_what_is_common_and_what_is_its_own() -> None:
    plan = Plan(3, {"values": [1], "balance": "kernel"}, 10, 5.0)
    assert plan.setup_of(1, 4, (7, 8)) == {
        "values": [1],
        "balance": "kernel",
        "generation": 3,
        "worker": "1",
        "index": 1,
        "workers": 4,
        "listen": [7, 8],
    }
    assert plan.setup == {"values": [1], "balance": "kernel"}
