"""``Container.logs``: what its arguments mean to the runtime."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from moorings.clock import Clock
from moorings.config.durations import seconds
from moorings.objects.values import register_record
from moorings.runtimes.base import Follow, LogLine, LogSource, Stats

if TYPE_CHECKING:
    from moorings.containers.controller import Controller

register_record(LogLine)
register_record(Stats)


def read_logs(
    controller: Controller,
    *,
    follow: bool = False,
    tail: int | None = None,
    since: str | float | timedelta | datetime | None = None,
) -> AsyncGenerator[LogLine, None]:
    """The lines of a container's last incarnation. Raises TypeError and ValueError for arguments that don't fit."""
    if tail is not None and (type(tail) is not int or tail < 0):
        raise ValueError(f"tail is a number of lines, not {tail!r:.80}")
    moment = None if since is None else unix_time(since, controller.service.clock)
    return _lines(controller, Follow.FOLLOW if follow else Follow.NO, tail, moment)


async def _lines(
    controller: Controller, follow: Follow, tail: int | None, since: float | None
) -> AsyncGenerator[LogLine, None]:
    subject, incarnation = controller.subject, controller.incarnation
    token = None if incarnation is None or incarnation.running is None else incarnation.token
    source = LogSource(subject.class_name, subject.object_id, subject.name, token)
    lines = controller.service.runtime.logs(source, follow=follow, tail=tail, since=since)
    async with aclosing(cast("AsyncGenerator[LogLine, None]", lines)):
        async for line in lines:
            yield line


def unix_time(value: str | float | timedelta | datetime, clock: Clock) -> float:
    """A moment, or how long ago it was. Raises TypeError and ValueError."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, str | timedelta):
        return clock.time() - seconds(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"since is a datetime, Unix seconds or how long ago, such as '5m', not {value!r:.80}")
    return float(value)
