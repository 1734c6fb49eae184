"""Runs one platform from start to exit code: signals, reloading, and mistakes told in one sentence.

The first SIGINT or SIGTERM stops gracefully, the second at once. Exit codes: 0 after a graceful stop, 1 where the
platform could not run (usage errors, 2, are click's).
"""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TextIO, cast

import uvloop

from moorings.cli.reporting.reporter import Census, Reporter
from moorings.cli.reporting.writer import Writer
from moorings.clock import SystemClock
from moorings.errors import ConfigError, MooringsError
from moorings.observer import Observers
from moorings.server.options import Mode, PlatformOptions
from moorings.server.platform import Platform

if TYPE_CHECKING:
    from moorings.cli.reloading import Reloader


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(options: PlatformOptions) -> int:
    """Run a platform until it is told to stop. Returns the exit code."""
    stdout = cast(TextIO, sys.stdout)
    reconfigure = getattr(stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    reporter, capture = make_reporter(options, Writer(stdout))
    try:
        with capture, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Run(options, reporter).until_stopped())
    except (MooringsError, OSError) as error:
        reporter.close()
        print(f"Error: {sentence(error, options)}", file=sys.stderr)
        return 1
    finally:
        reporter.close()
    return 0


def make_reporter(options: PlatformOptions, writer: Writer) -> tuple[Reporter, AbstractContextManager[None]]:
    """For people in ``dev``, for log collectors in ``serve``; and what captures the worker's own output meanwhile."""
    if options.mode is Mode.SERVE:
        from moorings.cli.reporting.capture import captured
        from moorings.cli.reporting.json_lines import JsonReporter

        log = JsonReporter(writer, SystemClock())
        return log, captured(log)
    from moorings.cli.reporting.human import HumanReporter
    from moorings.cli.reporting.screen import make_screen

    return HumanReporter(writer, make_screen(writer)), nullcontext()


class _Run:
    """One run of a platform."""

    def __init__(self, options: PlatformOptions, reporter: Reporter) -> None:
        self._options = options
        self._reporter = reporter
        self._census = Census()
        self._platform = Platform(options, observer=Observers((self._census, reporter)))
        self._stop = asyncio.Event()

    async def until_stopped(self) -> None:
        """Start, serve until a signal comes, stop. Raises what ``Platform.start`` raises."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._on_signal))
        try:
            await self._serve()
        finally:
            for (
                number
            ) in _SIGNALS:  # all is done: one that comes while the interpreter ends must not spoil the exit code
                signal.signal(number, signal.SIG_IGN)

    async def _serve(self) -> None:
        reloader = self._reloader() if self._options.mode is Mode.DEV else None
        if not await self._unless_stopped(self._platform.start()):
            self._reporter.stopped(0)
            return
        assert self._platform.app is not None
        self._reporter.bound(self._platform.app, self._platform.bindings, self._platform.variables)
        self._reporter.listening(self._platform.url, self._platform.app)
        try:
            if reloader is not None:
                await self._unless_stopped(reloader.work())
            await self._stop.wait()
        finally:
            await self._platform.stop()
        self._reporter.stopped(len(self._census))

    def _reloader(self) -> Reloader:
        from moorings.cli.reloading import Reloader

        reloader = Reloader(self._platform, self._reporter)
        reloader.before_start()
        return reloader

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do ``work`` to its end, unless a signal comes before. Returns whether it came to its end."""
        doing = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({doing, stop}, return_when=asyncio.FIRST_COMPLETED)
            finished = doing.done()
        finally:
            doing.cancel()
            stop.cancel()
            await asyncio.gather(doing, stop, return_exceptions=True)
        if finished:
            doing.result()
        return finished

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._reporter.hurrying()
            self._platform.hurry()
            return
        containers_too = self._options.mode is Mode.DEV or self._options.stop_containers
        self._reporter.stopping(len(self._census), containers_too)
        self._stop.set()


def sentence(error: MooringsError | OSError, options: PlatformOptions) -> str:
    """What went wrong, with the next step."""
    if isinstance(error, ConfigError) and error.__cause__ is not None:
        from moorings.cli.reporting.tracebacks import users_traceback

        return f"{options.file} could not be loaded:\n{users_traceback(error.__cause__)}"
    if not isinstance(error, OSError) or isinstance(error, MooringsError):
        return str(error)
    where = f"port {options.port} on {options.host}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken; stop what listens there, or choose another port: --port {options.port + 1}"
    if error.errno == errno.EACCES and error.filename is None:
        return f"{where} needs privileges; choose a port from 1024 on, such as --port 8787"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{options.host} is no address of this machine; --host 127.0.0.1 and --host 0.0.0.0 always are"
    return f"{error.filename or where}: {error.strerror or error}"
