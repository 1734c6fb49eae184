"""The end of a platform whose user's code doesn't want to end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.support.platform import Mode, Platform
from tests.support.raw import Connection, get, request
from tests.support.waiting import wait_until

WORKER = """
import asyncio
import os
import sys
from pathlib import Path
from moorings import Container, Response, WorkerEntrypoint

PROGRAM = '''
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''


class Box(Container):
    entrypoint = [sys.executable, "-c", PROGRAM]
    default_port = 3000
    HOOKS


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        if request.url.path == "/block":
            Path(request.url.query["mark"]).touch()
            while True:
                pass
        await self.env.BOX.get_by_name("alice").fetch(request)
        return Response("fetched")
"""
HANGS = """
    async def {name}(self, *_):
        print("{name} hangs", flush=True)
        await asyncio.sleep(1e6)
"""
CLINGS = """
    async def on_exit(self, *_):
        print("on_exit hangs", flush=True)
        while True:
            try:
                await asyncio.sleep(1e6)
            except BaseException:
                pass
"""


def served(folder: Path, hooks: str = "pass", mode: Mode = Mode.DEV) -> Platform:
    (folder / "worker.py").write_text(WORKER.replace("HOOKS", hooks))
    return Platform(folder / "worker.py", folder / "platform", mode=mode)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", ["on_stop", "on_exit"])
async def test_a_hook_that_hangs_is_cancelled_some_seconds_after_the_end(tmp_path: Path, name: str, mode: Mode) -> None:
    with served(tmp_path, HANGS.format(name=name), mode) as platform:
        await get(platform.address, "/")
        os.kill(platform.pid, signal.SIGTERM)
        await asyncio.to_thread(platform.wait_for_output, r"Box/alice: hooks still run 5 s after", within=20.0)
        assert await asyncio.to_thread(platform.wait_until_ended) == 0


async def test_on_start_that_hangs_does_not_keep_the_platform(tmp_path: Path) -> None:
    with (
        served(tmp_path, HANGS.format(name="on_start")) as platform,
        await Connection.open(platform.address) as connection,
    ):
        await connection.send(request("GET", "/"))
        await asyncio.to_thread(platform.wait_for_output, "on_start hangs")
        os.kill(platform.pid, signal.SIGTERM)
        assert await asyncio.to_thread(platform.wait_until_ended) == 0


async def test_a_second_signal_cancels_a_hook_that_hangs_at_once(tmp_path: Path) -> None:
    with served(tmp_path, HANGS.format(name="on_exit")) as platform:
        await get(platform.address, "/")
        os.kill(platform.pid, signal.SIGINT)
        await asyncio.to_thread(platform.wait_for_output, "on_exit hangs")
        os.kill(platform.pid, signal.SIGINT)
        assert await asyncio.to_thread(platform.wait_until_ended) == 0
        assert "hooks still run" not in platform.output


async def test_what_does_not_let_itself_be_cancelled_is_named_and_left(tmp_path: Path) -> None:
    platform = served(tmp_path, CLINGS)
    try:
        await get(platform.address, "/")
        os.kill(platform.pid, signal.SIGINT)
        await asyncio.to_thread(platform.wait_for_output, "on_exit hangs")
        os.kill(platform.pid, signal.SIGINT)
        assert await asyncio.to_thread(platform.wait_until_ended) == 130
        assert "code of Box/alice" in platform.output
        assert platform.containers() == []
    finally:
        platform.kill()


async def test_a_hangup_stops_the_platform_like_sigterm(tmp_path: Path) -> None:
    with served(tmp_path) as platform:
        await get(platform.address, "/")
        os.kill(platform.pid, signal.SIGHUP)
        assert await asyncio.to_thread(platform.wait_until_ended) == 0


async def test_two_signals_end_code_that_blocks_the_loop(tmp_path: Path) -> None:
    platform = served(tmp_path)
    try:
        with await Connection.open(platform.address) as connection:
            await connection.send(request("GET", f"/block?mark={tmp_path / 'blocks'}"))
            await asyncio.to_thread(wait_until, (tmp_path / "blocks").exists, "the handler blocks")
            os.kill(platform.pid, signal.SIGINT)
            os.kill(platform.pid, signal.SIGTERM)
            assert await asyncio.to_thread(platform.wait_until_ended) == 130
        assert "blocks the event loop" in platform.output
    finally:
        platform.kill()
