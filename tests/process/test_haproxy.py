"""Several servers behind HAProxy, with the configuration file that is shipped, and a verified load.

Only its ports and its runtime socket are replaced, and the time between checks in most tests.
Each test skips itself where there is no HAProxy.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("h11")
pytest.importorskip("prometheus_client")

from tests.haproxy import NEEDS_HAPROXY, SHIPPED, Balancer, balancing
from tests.process.members import Member, differences, member
from tests.support import DEADLINE_S, ask, flipped, log_lines, wait_until
from tests.verified_load import VerifiedLoad

pytestmark = [pytest.mark.process, NEEDS_HAPROXY]

NAMES = ("one", "two", "three")
LASTING = 12
VISITING = 3


@contextlib.contextmanager
def cluster(
    directory: Path, *args: str, names: tuple[str, ...] = NAMES, fast: bool = True
) -> Iterator[tuple[Balancer, list[Member]]]:
    """Run HAProxy in front of servers; `fast`: it checks them more often than the file says."""
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(member(directory, name, *args)) for name in names]
        targets = [each.target for each in members]
        replaced = {"inter": "100ms"} if fast else {}
        yield stack.enter_context(balancing(SHIPPED, targets, directory, **replaced)), members


def load_of(proxy: Balancer) -> VerifiedLoad:
    return VerifiedLoad(proxy.address, lasting=LASTING, visiting=VISITING)


def end_all(*members: Member) -> None:
    """End servers: none of them aborted anything, and each replied to all that it received."""
    for each in members:
        code, stderr = each.server.terminate()
        assert code == 0, stderr
        assert '"aborted":{}' in log_lines(stderr)[-1]


def ends(load: VerifiedLoad) -> set[str]:
    return {conversation.end for conversation in load.conversations}


def test_shipped_file_is_valid_without_a_warning() -> None:
    """As it is, with its own addresses."""
    command = ["haproxy", "-c", "-f", str(SHIPPED)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert (run.returncode, run.stdout + run.stderr) == (0, "Configuration file is valid\n")


def test_connections_are_spread_by_their_number_and_each_byte_is_accounted_for(
    tmp_path: Path,
) -> None:
    """Each server's account of each client, known by its own address, is that of the client."""
    with cluster(tmp_path) as (proxy, members):
        with load_of(proxy) as load:
            load.go_on()
            lasting = {each.own for each in load.conversations if each.kind == "lasting"}
            shares = [len(each.peers() & lasting) for each in members]
        end_all(*members)
    assert sum(shares) == LASTING
    # leastconn counts the visitors, too, who come and go.
    assert max(shares) - min(shares) <= VISITING, shares
    assert ends(load) == {"finished"}
    assert differences(load, members) == []
    assert sum(ended.replied_bytes for each in members for ended in each.ended()) == (
        load.verified_bytes
    )


def test_server_that_is_back_gets_new_connections_until_the_numbers_are_even(
    tmp_path: Path,
) -> None:
    """As with `leastconn`, but not with `roundrobin`."""
    with contextlib.ExitStack() as stack:
        proxy, (stays, goes) = stack.enter_context(cluster(tmp_path, names=NAMES[:2]))

        def connect(number: int, *shares: int) -> None:
            for _ in range(number):
                sock = stack.enter_context(proxy.connect())
                assert ask(sock, b"hello") == flipped(b"hello")
            wait_until(
                lambda: (len(stays.peers()), len(goes.peers())) == shares,
                f"they have {shares} connections",
            )

        proxy.command("set server rev/two state maint")
        connect(4, 4, 0)
        proxy.command("set server rev/two state ready")
        proxy.wait_for("two", "UP")
        connect(4, 4, 4)
        connect(2, 5, 5)


def test_server_that_is_killed_takes_its_own_connections_with_it_and_no_others(
    tmp_path: Path,
) -> None:
    """Its clients are cut, and go elsewhere at once; who comes anew notices nothing.

    A server that is back on its port gets connections again.
    """
    with contextlib.ExitStack() as stack:
        proxy, (lost, *others) = stack.enter_context(cluster(tmp_path))
        with load_of(proxy) as load:
            load.go_on()
            lasting = [each for each in load.conversations if each.kind == "lasting"]
            of_lost, with_others = lost.peers(), set().union(*(each.peers() for each in others))
            spared = [each for each in lasting if each.own in with_others]
            its_own = [each for each in lasting if each.own in of_lost]
            lost.server.signal(signal.SIGKILL)
            load.go_on()  # before HAProxy knows, and
            proxy.wait_for(lost.name, "DOWN")
            load.go_on()  # after it
            ports = {"port": lost.server.port, "admin_port": lost.admin[1]}
            again = stack.enter_context(member(tmp_path, "again", **ports))
            proxy.wait_for(lost.name, "UP")
            wait_until(again.peers, "the server that is back has a connection")
            load.go_on()
        end_all(*others, again)
    assert its_own
    assert len(spared) == LASTING - len(its_own)
    assert {each.end for each in spared} == {"finished"}
    # Clients of the server that was lost, a visitor each at most beside the lasting ones.
    broken = load.ended("closed", "cut", "refused")
    assert set(its_own) <= set(broken)
    assert len(broken) <= len(its_own) + VISITING
    assert ends(load) <= {"finished", "closed", "cut", "refused"}
    assert load.unconnected == []
    assert differences(load, [*others, again]) == []


@pytest.mark.slow
def test_server_that_is_stopped_is_left_before_it_drains_and_nothing_is_refused(
    tmp_path: Path,
) -> None:
    """SIGTERM to one after the other, with checks as often as the shipped file has them."""
    with cluster(tmp_path, "--drain-delay-s", "5", names=NAMES[:2], fast=False) as (proxy, members):
        stopped, other = members
        with load_of(proxy) as load:
            load.go_on()
            stopped.server.signal(signal.SIGTERM)
            wait_until(lambda: not stopped.ready(), "it is not ready")
            assert not stopped.server.refuses()
            proxy.wait_for(stopped.name, "DOWN")
            assert not stopped.server.refuses(), "it drained before HAProxy had left it"
            # Visitors that were there have gone, and those who lasted are still served.
            visits = load.ended("finished", kind="visiting")
            wait_until(
                lambda: len(load.ended("finished", kind="visiting")) >= len(visits) + VISITING,
                "all visitors of that time have gone",
            )
            lasting = {each.own for each in load.conversations if each.kind == "lasting"}
            wait_until(lambda: stopped.peers() <= lasting, "it has lasting connections alone")
            assert ends(load) <= {"finished", ""}
            code = stopped.server.wait()
            load.go_on()
            assert code == 0
        end_all(other)
    # Only connections that were there at the end of the delay were closed: each behind a whole
    # reply, and each of them was one that lasts.
    assert {each.end for each in load.conversations if each.kind == "visiting"} == {"finished"}
    closed = load.ended("closed")
    assert 0 < len(closed) <= LASTING
    assert ends(load) == {"finished", "closed"}
    assert load.unconnected == []
    assert differences(load, members) == []
    assert sum(ended.replied_bytes for each in members for ended in each.ended()) == (
        load.verified_bytes
    )


# -- servers of several workers ------------------------------------------------------------------


def workers_of(one: Member) -> list[int]:
    """Return the process ids of a server's workers."""
    pid = one.server.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in children.split()]


def end_supervised(*members: Member) -> None:
    """End servers of several workers, each of which has answered everything."""
    for each in members:
        code, stderr = each.server.terminate()
        assert code == 0, stderr


def test_worker_that_is_killed_costs_its_own_connections_and_the_server_stays_up(
    tmp_path: Path,
) -> None:
    """HAProxy sees nothing of it: the other worker serves, and a new one comes."""
    with cluster(tmp_path, "--workers", "2", names=NAMES[:2]) as (proxy, members):
        first, _ = members
        before = workers_of(first)
        with load_of(proxy) as load:
            load.go_on()
            os.kill(before[0], signal.SIGKILL)
            load.go_on()
            assert first.ready()
            wait_until(lambda: len(workers_of(first)) == 2, "there are two again")
            load.go_on()
        end_supervised(*members)
    broken = load.ended("closed", "cut", "refused")
    assert 0 < len(broken) <= LASTING // 2 + VISITING
    assert ends(load) <= {"finished", "closed", "cut", "refused"}
    assert load.unconnected == []
    assert differences(load, members) == []


def test_rolling_reload_behind_haproxy_loses_nothing(tmp_path: Path) -> None:
    """Of both servers, one after the other: streams end behind whole replies, as in a drain."""
    with cluster(tmp_path, "--workers", "2", names=NAMES[:2]) as (proxy, members):
        with load_of(proxy) as load:
            load.go_on()
            for each in members:
                before = workers_of(each)
                each.server.signal(signal.SIGHUP)
                wait_until(
                    lambda each=each, before=before: (  # type: ignore[misc]
                        len(workers_of(each)) == 2 and not {*before} & {*workers_of(each)}
                    ),
                    "both workers are new",
                )
                load.go_on()
                assert each.ready()
        end_supervised(*members)
    assert load.ended("closed")  # those that lasted
    assert ends(load) <= {"finished", "closed"}
    assert load.unconnected == []
    assert differences(load, members) == []
    assert sum(ended.replied_bytes for each in members for ended in each.ended()) == (
        load.verified_bytes
    )
