"""Hooks that never return hold up nobody for longer than their budget."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moorings.containers.container import Container
from moorings.errors import PortNotReady
from moorings.runtimes.fake import Listens, Script
from tests.unit.containers.support import harness


class Hanging(Container):
    entrypoint = ("server",)
    default_port = 3000
    sleep_after = "1h"

    async def on_start(self) -> Any:
        await asyncio.Event().wait()


async def test_requests_wait_for_on_start_no_longer_than_for_a_port() -> None:
    async with harness(Hanging, Script([Listens(3000)])) as h:
        waiting = asyncio.ensure_future(h.stub().start_and_wait_for_ports())
        await h.clock.advance(19)
        assert not waiting.done()
        await h.clock.advance(2)
        with pytest.raises(PortNotReady, match="on_start was not over after 20 s"):
            await waiting
