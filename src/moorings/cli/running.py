"""Runs one platform from start to exit code: signals, reloading, and mistakes told in one sentence.

The first SIGINT, SIGTERM or SIGHUP stops gracefully, the second at once. Exit codes: 0 after a graceful stop, 1 where
the platform could not run (usage errors, 2, are click's), 130 where the user's code did not let it end in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast

import uvloop

from moorings.cli.reporting.reporter import Census, Reporter
from moorings.cli.reporting.writer import Writer
from moorings.clock import SystemClock
from moorings.errors import MooringsError
from moorings.observer import Notice, Observers
from moorings.server.options import Mode, PlatformOptions
from moorings.server.platform import Platform
from moorings.worker.loader import NotLoaded

if TYPE_CHECKING:
    from moorings.cli.reloading import Reloader


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

BLOCKED_FOR = 2.0
"""Seconds after a second signal within which the event loop has to hear of it; the process is ended otherwise."""

FORCED = 130
"""The exit code of a process that ends without having put everything away."""


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
        self._signals = 0
        self._deadline: threading.Timer | None = None

    async def until_stopped(self) -> None:
        """Start, serve until a signal comes, stop. Raises what ``Platform.start`` raises."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
                signal.signal(number, lambda *_: self._heard(loop))
        try:
            await self._serve()
        finally:
            # All is done: a signal that comes while the interpreter ends must not spoil the exit code.
            for number in _SIGNALS:
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
            left_over = await self._platform.stop()
            if left_over:
                self._end_without(left_over)
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

    def _end_without(self, left_over: Sequence[str]) -> NoReturn:
        """End the process: closing the loop would wait for code that doesn't let itself be cancelled."""
        message = f"ended without waiting for what doesn't let itself be cancelled: {', '.join(left_over)}"
        self._reporter.notify(Notice("error", message))
        self._reporter.stopped(len(self._census))
        self._reporter.close()
        os._exit(FORCED)

    def _heard(self, loop: asyncio.AbstractEventLoop) -> None:
        """A signal, wherever the loop's thread is just now: the user's code may hold it up for good."""
        self._signals += 1
        if self._signals > 1 and self._deadline is None:
            self._deadline = threading.Timer(BLOCKED_FOR, _end_blocked)
            self._deadline.daemon = True
            self._deadline.start()
        loop.call_soon_threadsafe(self._on_signal)

    def _on_signal(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._stop.is_set():
            self._reporter.hurrying()
            self._platform.hurry()
            return
        containers_too = self._options.mode is Mode.DEV or self._options.stop_containers
        self._reporter.stopping(len(self._census), containers_too)
        self._stop.set()


def _end_blocked() -> None:
    told = b"Error: code that blocks the event loop was ended; containers that ran are taken over by the next start\n"
    with contextlib.suppress(OSError):
        os.write(2, told)
    os._exit(FORCED)


def sentence(error: MooringsError | OSError, options: PlatformOptions) -> str:
    """What went wrong, with the next step."""
    if isinstance(error, NotLoaded) and error.__cause__ is not None:
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
