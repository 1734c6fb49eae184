"""Host ports and whose listeners are behind them."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from moorings.runtimes.base import Address
from moorings.runtimes.process import ProcessRuntime, listeners, ports
from tests.contract.runtime_labs import Events, ProcessLab
from tests.unit.runtimes.support import python

_LISTEN = """
import os, signal, socket, sys
listening = socket.socket({family})
if {family} == socket.AF_INET6:
    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, {reuse})
listening.bind(({host!r}, int(os.environ["PORT"])))
listening.listen()
{then}
print("listening", flush=True)
signal.pause()
"""


def _listen(host: str = "127.0.0.1", *, then: str = "", reuse: int = 0) -> str:
    family = "socket.AF_INET6" if ":" in host else "socket.AF_INET"
    return _LISTEN.format(family=family, host=host, then=then, reuse=reuse)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"])
async def test_a_listener_is_the_containers_on_whatever_address(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events, host: str
) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    spec = python(lab, _listen(host), ports=(3000,))
    await runtime.start(spec)
    await events.line(spec.token, "listening")
    assert await runtime.owns_listener(spec.token, 3000)


@pytest.mark.parametrize(
    "then",
    [
        "if os.fork(): listening.close(); signal.pause()",
        "if os.fork(): listening.close(); signal.pause()\nos.setsid()",
        "if os.fork(): listening.close(); signal.pause()\nos.setsid()\nif os.fork(): os._exit(0)",
    ],
)
async def test_a_listener_of_a_child_is_the_containers(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events, then: str
) -> None:
    spec = python(lab, _listen(then=then), ports=(3000,))
    await runtime.start(spec)
    await events.line(spec.token, "listening")
    assert await runtime.owns_listener(spec.token, 3000)


def _foreign(address: Address, host: str, *, reuse: int = 0) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse)
    listening.bind((host, address.port))
    listening.listen()
    return listening


async def test_somebody_elses_listener_is_not_the_containers(lab: ProcessLab, runtime: ProcessRuntime) -> None:
    spec = lab.command("sleep", "1000", ports=(3000,))
    running = await runtime.start(spec)
    with _foreign(running.addresses[3000], "127.0.0.1"):
        assert not await runtime.owns_listener(spec.token, 3000)


async def test_the_listener_that_the_kernel_would_choose_counts(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    spec = python(lab, _listen("0.0.0.0", reuse=1), ports=(3000,))
    running = await runtime.start(spec)
    await events.line(spec.token, "listening")
    assert await runtime.owns_listener(spec.token, 3000)
    with _foreign(running.addresses[3000], "127.0.0.1", reuse=1):
        assert not await runtime.owns_listener(spec.token, 3000)


async def test_ports_are_outside_the_ephemeral_range_and_not_given_twice() -> None:
    low, high = ports.ephemeral_range()
    pool = ports.Ports()
    taken = [pool.take() for _ in range(200)]
    assert len(set(taken)) == 200
    assert all(ports.LOWEST <= port < 65536 and not low <= port <= high for port in taken)


async def test_a_port_that_is_in_use_on_any_address_is_not_given() -> None:
    pool = ports.Ports((10_004, 65_535))  # leaves 10000 to 10003
    first = pool.take()
    pool.give_back([first])
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", first))
        busy.listen()
        assert first not in {pool.take() for _ in range(3)}
        with pytest.raises(ports.NoPortFree):
            pool.take()
    assert pool.take() == first


async def test_there_are_ports_although_every_port_is_ephemeral() -> None:
    assert 20_000 <= ports.Ports((1024, 65_535)).take() < 30_000


async def test_ports_are_free_again_when_their_container_has_ended(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    one = python(lab, _listen(), ports=(3000, 3001))
    running = await runtime.start(one)
    await events.line(one.token, "listening")
    await runtime.kill(one.token)
    await events.exit_of(one.token)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", running.addresses[3000].port)


@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"), (socket.AF_INET6, "::1")],
)
async def test_netlink_and_the_tables_of_proc_agree(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        listening.listen()
        port = listening.getsockname()[1]
        table = "/proc/net/tcp" if family == socket.AF_INET else "/proc/net/tcp6"
        expected = [(socket.inet_pton(family, host), os.fstat(listening.fileno()).st_ino)]
        assert list(listeners._read_table(table, port)) == expected
        try:
            asked = list(listeners._ask_kernel(family, port))
        except OSError:
            pytest.skip("no sock_diag here")
        assert asked == expected
        mine = {f"socket:[{expected[0][1]}]"}
        assert listeners.listeners(port) == (set() if host == "::1" else mine)
    assert listeners.listeners(port) == set()
