"""listen_sockets: TCP addresses as asked."""

import asyncio
import errno
import logging
import os
import re
import socket
from typing import Any

import pytest

from asyncrev.errors import LocalError, SettingsError
from asyncrev.server.listen_sockets import describe, inherited, open_tcp
from tests.support import DEADLINE_S, until


def has_ipv6() -> bool:
    """Return whether this machine can listen on ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


FAMILIES = {socket.AF_INET, socket.AF_INET6} if has_ipv6() else {socket.AF_INET}

on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


def resolve_to(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Let every name have these addresses, the first one twice."""

    async def getaddrinfo(host: str, port: int, **how: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in (hosts[0], *hosts)
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


@on_epoll
async def test_open_tcp_with_port_0_gives_all_addresses_the_same_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each address once; the sockets listen and do not block."""
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    sockets = await open_tcp("two.example", 0, 5)
    first, second = (sock.getsockname() for sock in sockets)
    assert (first[0], second[0]) == ("127.0.0.1", "127.0.0.2")
    assert first[1] == second[1] != 0
    for sock in sockets:
        assert not sock.getblocking()
        socket.create_connection(sock.getsockname()).close()
        sock.close()


@on_epoll
async def test_open_tcp_of_a_used_port_raises_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also the addresses that could be bound are closed."""
    with socket.create_server(("127.0.0.2", 0)) as other:
        resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
        with pytest.raises(OSError, match="in use"):
            await open_tcp("two.example", other.getsockname()[1], 5)


def other_families(
    monkeypatch: pytest.MonkeyPatch, *addresses: tuple[socket.AddressFamily, Any]
) -> None:
    """Let every name have these addresses."""

    async def getaddrinfo(host: str, port: int, **how: Any) -> list[Any]:
        return [
            (family, socket.SOCK_STREAM, 6, "", (where[0], port, *where[1:]))
            for family, where in addresses
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


# From TEST-NET-2, and the same for IPv6 (RFC 5737, RFC 3849): on no interface of any machine.
NOWHERE = (socket.AF_INET, ("198.51.100.7",))
NOWHERE_6 = (socket.AF_INET6, ("2001:db8::7", 0, 0))
HERE = (socket.AF_INET, ("127.0.0.1",))


@on_epoll
@pytest.mark.parametrize("order", [(NOWHERE_6, HERE), (HERE, NOWHERE_6), (NOWHERE, HERE)])
async def test_address_on_no_interface_is_left_out_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, order: Any
) -> None:
    """As ::1 of /etc/hosts on a machine without IPv6; the warning comes after the start."""
    other_families(monkeypatch, *order)
    (sock,) = await open_tcp("two.example", 0, 5)
    with sock:
        assert sock.getsockname()[0] == "127.0.0.1"
        assert not caplog.records
        await until(lambda: caplog.records, "it was said")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "Cannot assign requested address; the others are served" in caplog.text


@on_epoll
async def test_family_that_the_kernel_has_not_is_left_out_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """IPv6 switched off at boot (EAFNOSUPPORT); with all interfaces it is nobody's surprise."""
    other_families(monkeypatch, HERE, (socket.AF_INET6, ("::1", 0, 0)))
    create_server = socket.create_server

    def create(address: Any, *, family: int, **how: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return create_server(address, family=family, **how)

    monkeypatch.setattr(socket, "create_server", create)
    caplog.set_level(logging.DEBUG, "asyncrev")
    for host, level in (("two.example", "WARNING"), ("*", "DEBUG")):
        caplog.clear()
        (sock,) = await open_tcp(host, 0, 5)
        sock.close()
        await until(lambda: "not supported" in caplog.text, "it was said")
        (record,) = [record for record in caplog.records if record.name == "asyncrev"]
        assert record.levelname == level


@on_epoll
async def test_name_with_no_address_of_this_machine_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It names the first of them."""
    other_families(monkeypatch, NOWHERE, NOWHERE_6)
    with pytest.raises(OSError, match=r"cannot listen on 198\.51\.100\.7:\d+: Cannot assign") as e:
        await open_tcp("two.example", 0, 5)
    assert e.value.errno == errno.EADDRNOTAVAIL


@on_epoll
async def test_used_port_is_an_error_even_if_another_address_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half a server is not what was asked for."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        other_families(monkeypatch, (socket.AF_INET, ("127.0.0.2",)), HERE, NOWHERE)
        with pytest.raises(OSError, match=f"127.0.0.1:{port}: Address already in use"):
            await open_tcp("two.example", port, 5)


@on_epoll
async def test_free_port_that_is_taken_on_the_second_address_is_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first address's port was somebody else's on the second, a few times."""
    other_families(monkeypatch, HERE, (socket.AF_INET, ("127.0.0.2",)))
    create_server = socket.create_server
    taken = []

    def create(address: Any, **how: Any) -> socket.socket:
        if address[0] == "127.0.0.2" and len(taken) < 5:
            taken.append(address[1])
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return create_server(address, **how)

    monkeypatch.setattr(socket, "create_server", create)
    sockets = await open_tcp("two.example", 0, 5)
    ports = {sock.getsockname()[1] for sock in sockets}
    for sock in sockets:
        sock.close()
    assert len(taken) == 5
    assert len(ports) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("host", [None, "", "*"])
async def test_all_interfaces_are_both_families_with_one_port(host: str | None) -> None:
    """IPv6's socket takes no IPv4 connections, so the two do not get into each other's way."""
    sockets = await open_tcp(host, 0, 5)
    try:
        assert {sock.family for sock in sockets} == FAMILIES
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        for sock in sockets:
            loopback = "::1" if sock.family == socket.AF_INET6 else "127.0.0.1"
            with socket.create_connection((loopback, sock.getsockname()[1])):
                sock.setblocking(True)
                sock.settimeout(DEADLINE_S)
                accepted, address = sock.accept()
                accepted.close()
                assert address[0] == loopback
    finally:
        for sock in sockets:
            sock.close()


@on_epoll
async def test_name_that_has_no_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the name: the resolver's own words are without."""

    async def getaddrinfo(host: str, port: int, **how: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with monkeypatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        with pytest.raises(socket.gaierror, match=r"host 'nobody' has no address: Name or service"):
            await open_tcp("nobody", 0, 5)


@on_epoll
async def test_name_that_can_be_none_is_refused() -> None:
    """The codec's own error is no OSError, and has no host in it."""
    for host in ("a..b", "a" * 70 + ".example"):
        with pytest.raises(SettingsError, match="is no name"):
            await open_tcp(host, 0, 5)


@on_epoll
@pytest.mark.parametrize("port", [-1, 65536, 10**30])
async def test_port_out_of_range_is_refused(port: int) -> None:
    """It used to be an OverflowError, or another port."""
    with pytest.raises(SettingsError, match=f"port is {port}; it must lie between 0 and 65535"):
        await open_tcp("127.0.0.1", port, 5)


@on_epoll
async def test_open_tcp_of_a_number_needs_no_name() -> None:
    """The usual case."""
    (sock,) = await open_tcp("127.0.0.1", 0, 5)
    assert sock.getsockname()[1] > 0
    sock.close()


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        ("/run/socket", "unix:/run/socket"),
    ],
)
def test_describe_writes_addresses_as_people_do(address: Any, text: str) -> None:
    """IPv6 in brackets."""
    assert describe(address) == text


def test_descriptor_that_is_no_listening_socket_is_refused_with_what_it_is() -> None:
    """By its number and its name; it stays open."""
    reading, writing = os.pipe()
    with socket.socket() as unbound, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        for fd, what in (
            (
                reading,
                "cannot be listened on: Socket operation on non-socket (it is a pipe or FIFO",
            ),
            (unbound.fileno(), "is a socket that does not listen; pass a listening stream socket"),
            (datagrams.fileno(), "is a socket of the type SOCK_DGRAM"),
        ):
            with pytest.raises(LocalError, match=re.escape(f"descriptor {fd} ('web') {what}")):
                inherited(fd, "web")
            os.fstat(fd)
    os.close(reading)
    os.close(writing)


def test_descriptor_of_another_family_is_refused() -> None:
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
    except OSError:
        pytest.skip("there is no netlink here")
    with sock, pytest.raises(LocalError, match="is a socket of the family AF_NETLINK"):
        inherited(sock.fileno())


def test_address_of_the_abstract_namespace_is_described_as_systemd_writes_it() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0asyncrev-test/{os.getpid()}")
        assert describe(sock.getsockname()) == f"unix:@asyncrev-test/{os.getpid()}"
