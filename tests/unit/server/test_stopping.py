"""The platform's stop, in this process: what happens to connections."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from moorings.observer import Recorder
from moorings.server.options import Mode, PlatformOptions
from moorings.server.platform import Platform
from tests.unit.http.wire import PATIENCE, until

WORKER = """
import asyncio
from moorings import WorkerEntrypoint

ASKED, GO = [], asyncio.Event()

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        ASKED.append(request)
        if request.url.path == "/later":
            await GO.wait()
        return request.accept_websocket().response
"""


async def test_a_handshake_in_flight_while_the_platform_stops_is_answered_and_its_client_is_told(
    tmp_path: Path,
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    options = PlatformOptions(worker, Mode.SERVE, port=0, runtime="process", data_dir=tmp_path / "data")
    platform = Platform(options, observer=Recorder())
    await platform.start()
    stopping: asyncio.Future[tuple[str, ...]] | None = None
    try:
        url = platform.url.replace("http", "ws", 1)
        assert platform.app is not None
        module = platform.app.worker.fetch.__globals__
        async with connect(f"{url}/now") as first:
            later = asyncio.ensure_future(connect(f"{url}/later").__aenter__())
            await until(lambda: len(module["ASKED"]) == 2)
            stopping = asyncio.ensure_future(platform.stop())
            with pytest.raises(ConnectionClosed):
                await first.recv()
            assert first.close_code == 1001
            module["GO"].set()
            second = await asyncio.wait_for(later, PATIENCE)
            with pytest.raises(ConnectionClosed):
                await second.recv()
            assert second.close_code == 1001
    finally:
        await asyncio.wait_for(platform.stop() if stopping is None else stopping, PATIENCE)
