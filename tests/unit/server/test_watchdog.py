"""A handler that blocks the event loop is told, with its stack."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from moorings.observer import Notice, Recorder
from moorings.server.watchdog import BLOCKED_AFTER, Watchdog


def block_until(seen: threading.Event) -> None:
    """What a handler must not do: keep the loop's thread, here until the watchdog has seen it."""
    assert seen.wait(20), "the watchdog has seen nothing"


async def blocked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Notice]:
    loop = asyncio.get_running_loop()
    seen = threading.Event()
    tell = loop.call_soon_threadsafe

    def told(*args: Any, **options: Any) -> Any:
        seen.set()
        return tell(*args, **options)

    monkeypatch.setattr(loop, "call_soon_threadsafe", told)
    recorder = Recorder()
    watchdog = Watchdog(recorder, folder)
    watchdog.start()
    try:
        began = time.monotonic()
        block_until(seen)
        assert time.monotonic() - began >= BLOCKED_AFTER
        await asyncio.sleep(0)
    finally:
        watchdog.stop()
    return [event for event in recorder.events if isinstance(event, Notice)]


async def test_a_handler_that_blocks_the_loop_is_logged_once_with_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    (notice,) = await blocked(Path(__file__).parent, monkeypatch)
    assert notice.level == "warning"
    assert "blocks the event loop" in notice.message
    assert notice.detail is not None
    assert "in block_until" in notice.detail


async def test_stopping_twice_is_stopping_once() -> None:
    watchdog = Watchdog(Recorder(), Path("/"))
    watchdog.start()
    watchdog.stop()
    watchdog.stop()
