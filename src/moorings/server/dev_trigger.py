"""In ``dev``, crons can be tried without waiting for them.

``/cdn-cgi/handler/scheduled?cron=*+*+*+*+*&time=UNIX_SECONDS`` calls the worker's ``scheduled`` once, as
Cloudflare's own development server does. Source:
developers.cloudflare.com/workers/configuration/cron-triggers/#test-cron-triggers-locally
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from moorings.clock import Clock
from moorings.http import Request, Response
from moorings.worker.cron import ScheduledController
from moorings.worker.host import WorkerHost

PATH = b"/cdn-cgi/handler/scheduled"

Handler = Callable[[Request], Awaitable[Response]]


class DevTrigger:
    """Answers the trigger's path, and hands every other request to the worker."""

    def __init__(self, host: WorkerHost, clock: Clock) -> None:
        self._host = host
        self._clock = clock

    async def handle(self, request: Request) -> Response:
        """Answer a request. Raises what the worker raises, also in ``scheduled``."""
        if not request.target.startswith(PATH) or request.url.raw_path.encode() != PATH:
            return await self._host.handle(request)
        query = request.url.query
        try:
            seconds = float(query.get("time", self._clock.time()))
            scheduled_time = datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            return Response("time is in Unix seconds\n", status=400)
        await self._host.scheduled(ScheduledController(query.get("cron", "* * * * *"), scheduled_time))
        return Response("ok\n")
