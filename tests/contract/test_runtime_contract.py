"""The promises of ``moorings.runtimes.base``, held against every implementation."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace

import pytest

from moorings.errors import ContainerFailedToStart, RuntimeUnavailable
from moorings.runtimes.base import Address, ContainerRuntime, ExitReason, Found, OnClose, Running
from moorings.runtimes.fake import Exits, Listens, Prints, Waits
from tests.contract.runtime_labs import Events, Lab, reopened
from tests.support.waiting import eventually


async def _dial(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(address.host, address.port)


async def _accepts(address: Address) -> bool:
    try:
        _, writer = await _dial(address)
    except OSError:  # refused, or no route to a container that has gone
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def _is_listening(running: Running, port: int) -> None:
    await eventually(lambda: _accepts(running.addresses[port]), f"port {port} accepts", within=20)


# --- start and exit ---------------------------------------------------------------------------------------------------


async def test_a_started_container_is_described_as_it_was_asked_for(lab: Lab, runtime: ContainerRuntime) -> None:
    spec = lab.spec(ports=(3000, 8081))
    running = await runtime.start(spec)
    assert (running.token, running.class_name) == (spec.token, spec.class_name)
    assert (running.object_id, running.name) == (spec.object_id, spec.name)
    assert list(running.addresses) == [3000, 8081]
    assert running.started_at > 0


@pytest.mark.parametrize("code", [0, 3, 255])
async def test_a_program_that_returns_is_reported_with_its_exit_code(
    lab: Lab, runtime: ContainerRuntime, events: Events, code: int
) -> None:
    running = await runtime.start(lab.spec(Exits(code)))
    exit = await events.exit_of(running.token)
    assert (exit.code, exit.reason) == (code, ExitReason.EXIT)
    assert exit.at >= running.started_at - 0.1


async def test_an_exit_is_reported_once(lab: Lab, runtime: ContainerRuntime, events: Events) -> None:
    spec = lab.spec(Prints("there"))
    await runtime.start(spec)
    await events.line(spec.token, "there")
    await asyncio.gather(*(runtime.kill(spec.token) for _ in range(5)))
    await events.exit_of(spec.token)
    await runtime.kill(spec.token)
    await runtime.signal(spec.token, signal.SIGTERM)
    later = lab.spec(Exits(0))
    await runtime.start(later)
    await events.exit_of(later.token)
    assert len(events.exits(spec.token)) == 1


async def test_nothing_of_a_container_is_reported_before_its_start_returned(
    lab: Lab, runtime: ContainerRuntime
) -> None:
    returned: set[str] = set()
    early: list[str] = []

    class Watching(Events):
        def _note(self, kind: str, token: str, value: object) -> None:
            if token not in returned:
                early.append(f"{kind} {token}")
            super()._note(kind, token, value)

    await runtime.close(OnClose.KEEP)
    watching = Watching()
    again = lab.runtime()
    await again.open(watching)
    for _ in range(4):
        spec = lab.spec(Prints("at once"), Exits(1))
        running = await again.start(spec)
        returned.add(running.token)
    for token in returned:
        await watching.exit_of(token)
    await again.close(OnClose.KEEP)
    assert early == []


async def test_a_program_that_does_not_exist_fails_to_start_and_leaves_nothing(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.impossible()
    with pytest.raises(ContainerFailedToStart, match="no-such-program"):
        await runtime.start(spec)
    await runtime.close(OnClose.KEEP)
    again, _, found = await reopened(lab)
    await again.close(OnClose.KEEP)
    assert (list(found.running), list(found.ended), events.log) == ([], [], [])


async def test_a_token_is_never_used_twice(lab: Lab, runtime: ContainerRuntime, events: Events) -> None:
    spec = lab.spec(Prints("first"))
    await runtime.start(spec)
    with pytest.raises(ContainerFailedToStart, match=spec.token):
        await runtime.start(spec)
    await events.line(spec.token, "first")
    assert events.exits(spec.token) == []


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_a_cancelled_start_leaves_nothing(
    lab: Lab, runtime: ContainerRuntime, events: Events, turns: int
) -> None:
    starting = asyncio.ensure_future(runtime.start(lab.spec(Prints("alive"))))
    for _ in range(turns):
        await asyncio.sleep(0)
    if not starting.cancel():
        return  # it was faster
    with pytest.raises(asyncio.CancelledError):
        await starting
    await runtime.close(OnClose.KEEP)
    again, _, found = await reopened(lab)
    await again.close(OnClose.KEEP)
    assert (list(found.running), list(found.ended), events.log) == ([], [], [])


async def test_many_containers_start_at_once_and_share_no_address(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    specs = [lab.spec(Prints("up"), ports=(3000, 3001)) for _ in range(8)]
    started = await asyncio.gather(*(runtime.start(spec) for spec in specs))
    assert [running.token for running in started] == [spec.token for spec in specs]
    assert len({address for running in started for address in running.addresses.values()}) == 16
    for spec in specs:
        await events.line(spec.token, "up")
        await runtime.kill(spec.token)
    for spec in specs:
        assert (await events.exit_of(spec.token)).reason is ExitReason.DESTROYED


# --- output -----------------------------------------------------------------------------------------------------------


async def test_all_output_is_reported_in_order_before_the_exit(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    lines = [f"line {number}" for number in range(100)]
    spec = lab.spec(*map(Prints, lines), Exits(0))
    await runtime.start(spec)
    await events.exit_of(spec.token)
    assert events.lines(spec.token) == lines
    assert events.log[-1].kind == "exited"


async def test_each_line_tells_its_stream(lab: Lab, runtime: ContainerRuntime, events: Events) -> None:
    spec = lab.spec(Prints("out"), Prints("err", "stderr"), Prints("", "stdout"), Prints("grün ✓", "stderr"), Exits(0))
    await runtime.start(spec)
    await events.exit_of(spec.token)
    assert events.lines(spec.token, "stdout") == ["out", ""]
    assert events.lines(spec.token, "stderr") == ["err", "grün ✓"]


async def test_tail_has_the_last_lines_oldest_first_until_the_incarnation_is_forgotten(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.spec(*(Prints(str(number)) for number in range(10)), Exits(1))
    await runtime.start(spec)
    await events.exit_of(spec.token)
    assert await runtime.tail(spec.token, 3) == ("7", "8", "9")
    assert await runtime.tail(spec.token, 0) == ()
    assert len(await runtime.tail(spec.token, 1000)) == 10
    await runtime.forget(spec.token)
    assert await runtime.tail(spec.token, 3) == ()


async def test_tail_of_an_unknown_token_is_empty(runtime: ContainerRuntime) -> None:
    assert await runtime.tail("nobody", 5) == ()


# --- signals ----------------------------------------------------------------------------------------------------------


async def test_a_signal_that_a_program_does_not_handle_ends_it(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.spec(Prints("up"))
    await runtime.start(spec)
    await events.line(spec.token, "up")
    await runtime.signal(spec.token, signal.SIGTERM)
    exit = await events.exit_of(spec.token)
    assert (exit.code, exit.reason) == (128 + signal.SIGTERM, ExitReason.SIGNAL)


async def test_a_program_can_end_on_a_signal_in_its_own_way(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.spec(Prints("up"), on_signal={signal.SIGTERM: [Prints("goodbye"), Exits(7)]})
    await runtime.start(spec)
    await events.line(spec.token, "up")
    await runtime.signal(spec.token, signal.SIGTERM)
    exit = await events.exit_of(spec.token)
    assert (exit.code, exit.reason) == (7, ExitReason.EXIT)
    assert events.lines(spec.token)[-1] == "goodbye"


async def test_kill_ends_even_a_program_that_ignores_signals(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.spec(Prints("up"), on_signal={signal.SIGTERM: []})
    await runtime.start(spec)
    await events.line(spec.token, "up")
    await runtime.signal(spec.token, signal.SIGTERM)
    await runtime.kill(spec.token)
    exit = await events.exit_of(spec.token)
    assert (exit.code, exit.reason) == (128 + signal.SIGKILL, ExitReason.DESTROYED)


async def test_a_sigkill_that_is_not_a_kill_is_a_signal(lab: Lab, runtime: ContainerRuntime, events: Events) -> None:
    spec = lab.spec()
    await runtime.start(spec)
    await runtime.signal(spec.token, signal.SIGKILL)
    exit = await events.exit_of(spec.token)
    assert (exit.code, exit.reason) == (128 + signal.SIGKILL, ExitReason.SIGNAL)


async def test_signals_to_nobody_do_nothing(runtime: ContainerRuntime, events: Events) -> None:
    await runtime.signal("nobody", signal.SIGTERM)
    await runtime.kill("nobody")
    await runtime.forget("nobody")
    assert events.log == []


# --- ports ------------------------------------------------------------------------------------------------------------


async def test_a_port_refuses_until_the_program_listens_and_then_carries_bytes(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.spec(Prints("up"), on_signal={signal.SIGUSR1: [Listens(3000)]}, ports=(3000,))
    running = await runtime.start(spec)
    await events.line(spec.token, "up")
    assert not await _accepts(running.addresses[3000])
    assert not await runtime.owns_listener(spec.token, 3000)
    await runtime.signal(spec.token, signal.SIGUSR1)
    await _is_listening(running, 3000)
    reader, writer = await _dial(running.addresses[3000])
    writer.write(b"ping")
    async with asyncio.timeout(20):
        assert await reader.readexactly(4) == b"ping"
    writer.close()
    await writer.wait_closed()


async def test_a_listener_belongs_to_its_container_only(lab: Lab, runtime: ContainerRuntime) -> None:
    one, other = lab.spec(Listens(3000), ports=(3000,)), lab.spec(Listens(3000), ports=(3000, 4000))
    running = await asyncio.gather(runtime.start(one), runtime.start(other))
    for each in running:
        await _is_listening(each, 3000)
        assert await runtime.owns_listener(each.token, 3000)
    assert not await runtime.owns_listener(other.token, 4000)
    assert not await runtime.owns_listener("nobody", 3000)


async def test_a_killed_container_accepts_no_more(lab: Lab, runtime: ContainerRuntime, events: Events) -> None:
    spec = lab.spec(Listens(3000), ports=(3000,))
    running = await runtime.start(spec)
    await _is_listening(running, 3000)
    await runtime.kill(spec.token)
    await events.exit_of(spec.token)
    assert not await _accepts(running.addresses[3000])


# --- open and close ---------------------------------------------------------------------------------------------------


async def test_an_empty_place_has_nothing_to_find(lab: Lab, runtime: ContainerRuntime) -> None:
    await runtime.close(OnClose.KEEP)
    again, _, found = await reopened(lab)
    await again.close(OnClose.KEEP)
    assert (list(found.running), list(found.ended)) == ([], [])


async def test_what_was_kept_is_found_by_the_next_runtime_and_reports_to_it(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.spec(
        Prints("up"), Listens(3000), ports=(3000,), on_signal={signal.SIGUSR1: [Prints("still here"), Exits(4)]}
    )
    running = await runtime.start(spec)
    nameless = await runtime.start(replace(lab.spec(), name=None))
    await events.line(spec.token, "up")
    await _is_listening(running, 3000)
    await runtime.close(OnClose.KEEP)
    before = len(events.log)

    again, later, found = await reopened(lab)
    assert list(found.running) == [running, nameless]
    assert list(found.ended) == []
    assert await again.owns_listener(spec.token, 3000)
    assert await again.tail(spec.token, 1) == ("up",)
    await again.signal(spec.token, signal.SIGUSR1)
    assert (await later.exit_of(spec.token)).code == 4
    assert later.lines(spec.token) == ["still here"]
    assert len(events.log) == before
    await again.close(OnClose.KILL)


async def test_what_ended_while_nobody_was_connected_is_found_with_its_exit(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.spec(Prints("up"), Waits(0.3), Prints("last words"), Exits(5), ports=(3000,))
    running = await runtime.start(spec)
    await runtime.close(OnClose.KEEP)

    async def found_ended() -> tuple[ContainerRuntime, Events, Found] | None:
        again, later, found = await reopened(lab)
        if found.ended:
            return again, later, found
        assert list(found.running) == [running]
        await again.close(OnClose.KEEP)
        return None

    reached = await eventually(found_ended, "the container has ended")
    assert reached is not None
    again, later, found = reached
    [(ended, exit)] = found.ended
    assert replace(ended, addresses=running.addresses, pid=running.pid) == running  # it has neither any more
    assert (exit.code, exit.reason) == (5, ExitReason.EXIT)
    assert await again.tail(spec.token, 10) == ("up", "last words")
    assert later.exits(spec.token) == []
    await again.forget(spec.token)
    await again.close(OnClose.KEEP)


async def test_an_end_is_found_again_until_it_is_forgotten(lab: Lab, runtime: ContainerRuntime, events: Events) -> None:
    spec = lab.spec(Exits(9))
    await runtime.start(spec)
    exit = await events.exit_of(spec.token)
    await runtime.close(OnClose.KEEP)
    again, _, found = await reopened(lab)
    assert [(ended.token, how) for ended, how in found.ended] == [(spec.token, exit)]
    await again.forget(spec.token)
    await again.close(OnClose.KEEP)
    last, _, found = await reopened(lab)
    await last.close(OnClose.KEEP)
    assert list(found.ended) == []


async def test_a_running_container_is_not_forgotten(lab: Lab, runtime: ContainerRuntime) -> None:
    running = await runtime.start(lab.spec())
    await runtime.forget(running.token)
    await runtime.close(OnClose.KEEP)
    again, _, found = await reopened(lab)
    await again.close(OnClose.KEEP)
    assert list(found.running) == [running]


async def test_closing_with_kill_leaves_nothing_and_reports_the_exits(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    listening = lab.spec(Listens(3000), ports=(3000,))
    stubborn = lab.spec(Prints("up"), on_signal={signal.SIGTERM: []})
    ended = lab.spec(Exits(1))
    running = await runtime.start(listening)
    await runtime.start(stubborn)
    await runtime.start(ended)
    await _is_listening(running, 3000)
    await events.line(stubborn.token, "up")
    await events.exit_of(ended.token)
    await runtime.close(OnClose.KILL)
    for spec in (listening, stubborn):
        [exit] = events.exits(spec.token)
        assert exit.reason is ExitReason.DESTROYED
    assert not await _accepts(running.addresses[3000])
    again, _, found = await reopened(lab)
    await again.close(OnClose.KEEP)
    assert (list(found.running), list(found.ended)) == ([], [])


async def test_close_is_idempotent_and_nothing_starts_after_it(lab: Lab, runtime: ContainerRuntime) -> None:
    await runtime.close(OnClose.KEEP)
    await runtime.close(OnClose.KEEP)
    await runtime.close(OnClose.KILL)
    with pytest.raises(RuntimeUnavailable):
        await runtime.start(lab.spec())


async def test_nothing_starts_before_open(lab: Lab) -> None:
    with pytest.raises(RuntimeUnavailable):
        await lab.runtime().start(lab.spec())


async def test_a_second_runtime_is_refused_while_one_is_connected(lab: Lab, runtime: ContainerRuntime) -> None:
    second = lab.runtime()
    with pytest.raises(RuntimeUnavailable, match="another"):
        await second.open(Events())
    await second.close(OnClose.KEEP)
    running = await runtime.start(lab.spec())
    assert running.token
