"""Reaching the supervisor of a data folder: connect to the one that runs, or start one and connect."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable

from moorings.clock import Clock
from moorings.errors import RuntimeUnavailable
from moorings.runtimes.process import wire
from moorings.runtimes.process.client import Client
from moorings.runtimes.process.paths import Layout, socket_address

_LOCKED = 75  # the exit code of a supervisor that found another one's lock
_BUDGET = 10.0  # seconds until a supervisor must have answered
_LOG_SIZE = 1024 * 1024


async def reach(
    layout: Layout, hello: wire.Hello, clock: Clock, *, linger: float, make_client: Callable[[], Client]
) -> tuple[Client, wire.Welcome]:
    """A client that was welcomed by the folder's supervisor, which is started if need be. Raises RuntimeUnavailable."""
    try:
        layout.make()
    except OSError as error:
        raise RuntimeUnavailable(f"the data folder {layout.data} can't be used: {error.strerror}") from error
    deadline = clock.monotonic() + _BUDGET
    pause = 0.005
    while True:
        client = await _connect(layout, make_client)
        if client is not None:
            try:
                welcome = await _greet(client, hello)
            except BaseException:
                client.close()
                raise
            if welcome is not None:
                return client, welcome
            client.close()
        elif await asyncio.to_thread(_launch, layout, linger):
            continue
        # A supervisor is on its way out (its lock is held, its socket gone), or not yet listening.
        if clock.monotonic() > deadline:
            raise RuntimeUnavailable(f"the supervisor of {layout.data} does not answer; see {layout.log}")
        await clock.sleep(pause)
        pause = min(pause * 2, 0.2)


async def _connect(layout: Layout, make_client: Callable[[], Client]) -> Client | None:
    try:
        folder = os.open(layout.supervisor, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RuntimeUnavailable(f"{layout.supervisor} can't be opened: {error.strerror}") from error
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        connected.connect(socket_address(layout.socket, folder))
        _, client = await asyncio.get_running_loop().create_unix_connection(make_client, sock=connected)
    except (FileNotFoundError, ConnectionError, BlockingIOError):
        connected.close()
        return None
    except OSError as error:
        connected.close()
        raise RuntimeUnavailable(f"the supervisor's socket {layout.socket} can't be used: {error}") from error
    except BaseException:
        connected.close()
        raise
    finally:
        os.close(folder)
    return client


async def _greet(client: Client, hello: wire.Hello) -> wire.Welcome | None:
    """None where the supervisor left without a word. Raises RuntimeUnavailable where it refuses."""
    try:
        async with asyncio.timeout(_BUDGET):
            answer = await client.send(hello)
    except TimeoutError:
        raise RuntimeUnavailable("the supervisor does not answer; is it stopped?") from None
    except RuntimeUnavailable:
        return None
    if isinstance(answer, wire.Refused):
        raise RuntimeUnavailable(answer.message)
    if not isinstance(answer, wire.Welcome):
        raise RuntimeUnavailable(f"the supervisor answered {answer!r}")
    return answer


def _launch(layout: Layout, linger: float) -> bool:
    """Start a supervisor and wait until it listens; False where another has the lock. Raises RuntimeUnavailable."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    if os.path.exists(layout.log) and os.path.getsize(layout.log) > _LOG_SIZE:
        flags |= os.O_TRUNC
    log = os.open(layout.log, flags, 0o600)
    command = [sys.executable, "-P", "-m", "moorings.runtimes.process.supervisor"]
    command += ["--dir", layout.data, "--linger", str(linger)]
    env = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        # what the platform finds, it finds
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path),
    }
    try:
        started = subprocess.run(
            command,
            cwd="/",
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            timeout=_BUDGET,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnavailable(f"the supervisor can't be started: {error}") from error
    finally:
        os.close(log)
    if started.returncode not in (0, _LOCKED):
        said = started.stdout.decode("utf-8", "replace").strip() or f"see {layout.log}"
        raise RuntimeUnavailable(f"the supervisor can't be started (exit code {started.returncode}): {said}")
    return started.returncode == 0
