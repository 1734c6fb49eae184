"""Where the demo's platforms run: a temporary folder, real processes, and nothing of either left afterwards."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from types import TracebackType

from tests.support.platform import Mode, Platform
from tests.support.processes import describe, processes_of
from tests.support.waiting import wait_until
from tools.demo.proofs import Proof

EXAMPLES = Path(__file__).parents[2] / "examples"


class Stage:
    """Starts a platform per example, once. A context manager: leaving it kills what still runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._platforms: dict[str, Platform] = {}
        self._failed: set[str] = set()

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for platform in self._platforms.values():
            platform.kill()

    def platform(self, proof: Proof) -> Platform:
        """The platform that serves the proof's example, with its changes; started where it isn't. Blocks."""
        key = f"{proof.example}-changed" if proof.changes else proof.example
        assert key not in self._failed, f"the platform of {proof.example} did not start"
        if key not in self._platforms:
            self._failed.add(key)
            folder = self._folder / key
            shutil.copytree(EXAMPLES / proof.example, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
            worker = folder / "worker.py"
            text = worker.read_text()
            for old, new in proof.changes:
                assert old in text, f"{old} is not in {proof.example}/worker.py"
                text = text.replace(old, new)
            worker.write_text(text)
            self._platforms[key] = Platform(worker, self._folder / f"{key}-platform", mode=Mode.SERVE)
            self._failed.discard(key)
        return self._platforms[key]

    async def clear(self) -> str:
        """Stop all platforms as an operator would. Raises AssertionError where one ends badly or leaves anything."""
        assert self._platforms, "no platform has started"
        running = sum(len(platform.containers()) for platform in self._platforms.values())
        await asyncio.gather(*(asyncio.to_thread(platform.stop) for platform in self._platforms.values()))
        await asyncio.to_thread(wait_until, lambda: not processes_of(self._folder), "no process is left")
        assert not processes_of(self._folder), f"left behind: {describe(processes_of(self._folder))}"
        return f"{len(self._platforms)} platforms and {running} processes ended; no process, socket or file is left"
