"""The worker between the server and the objects: one instance a request, and background work that outlasts it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from moorings import Request, Response, WorkerEntrypoint
from moorings.clock import ManualClock
from moorings.errors import WorkerError
from moorings.observer import ErrorReported, Recorder
from moorings.worker.cron import ScheduledController
from moorings.worker.env import Env
from moorings.worker.host import WorkerHost


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        self.ctx.wait_until(self.env.background(request.url.path))
        return Response("answered")


def host(background: Any, recorder: Recorder | None = None) -> WorkerHost:
    return WorkerHost(Default, Env({"background": background}), recorder or Recorder())


async def test_background_work_goes_on_after_the_response() -> None:
    done: list[str] = []
    release = asyncio.Event()

    async def background(path: str) -> None:
        await release.wait()
        done.append(path)

    worker = host(background)
    response = await worker.handle(Request("http://container/a"))
    assert await response.text() == "answered"
    assert done == []
    release.set()
    await worker.close(grace=10)
    assert done == ["/a"]


async def test_what_background_work_raises_is_reported() -> None:
    async def background(path: str) -> None:
        raise LookupError(path)

    recorder = Recorder()
    await host(background, recorder).handle(Request("http://container/a"))
    await ManualClock.settle()
    assert [str(event.error) for event in recorder.events if isinstance(event, ErrorReported)] == ["/a"]


async def test_background_work_that_does_not_end_is_cut_off_after_the_grace() -> None:
    ended: list[str] = []

    async def background(path: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(path)

    worker = host(background)
    await worker.handle(Request("http://container/a"))
    await ManualClock.settle()
    await worker.close(grace=0.0)
    assert ended == ["/a"]


async def test_a_worker_that_returns_no_response_is_told_so() -> None:
    class Forgetful(WorkerEntrypoint):
        async def fetch(self, request: Request) -> Response:
            return None  # type: ignore[return-value]  # the user's mistake

    worker = WorkerHost(Forgetful, Env({}), Recorder())
    with pytest.raises(WorkerError, match="is a return missing"):
        await worker.handle(Request("http://container/"))


class Leaving(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        raise SystemExit("bye")

    async def scheduled(self, controller: ScheduledController) -> None:
        raise KeyboardInterrupt


async def test_a_worker_that_calls_sys_exit_fails_its_request_and_nothing_else() -> None:
    worker = WorkerHost(Leaving, Env({}), Recorder())
    with pytest.raises(WorkerError, match=r"Leaving\.fetch called sys\.exit\('bye'\)"):
        await worker.handle(Request("http://container/"))
    with pytest.raises(WorkerError, match=r"Leaving\.scheduled raised KeyboardInterrupt"):
        await worker.scheduled(ScheduledController("* * * * *", datetime(2026, 1, 1, tzinfo=UTC)))


async def test_sys_exit_in_background_work_is_reported() -> None:
    async def background(path: str) -> None:
        raise SystemExit

    recorder = Recorder()
    await host(background, recorder).handle(Request("http://container/a"))
    await ManualClock.settle()
    [reported] = [event.error for event in recorder.events if isinstance(event, ErrorReported)]
    assert isinstance(reported, WorkerError)
