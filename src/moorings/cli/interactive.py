"""The terminal of ``moorings exec``: raw while a program in a container has it, and as it was afterwards."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moorings.cli.admin_client import Exchange

_CHUNK = 16 * 1024


def size() -> dict[str, int]:
    """The size of the terminal that this runs on; 24 by 80 where it has none."""
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(descriptor)
            if rows and columns:
                return {"rows": rows, "columns": columns}
    return {"rows": 24, "columns": 80}


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Hand every key on as it is, Ctrl-C among them, until the context ends, also by a signal."""
    descriptor = sys.stdin.fileno()
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    with contextlib.ExitStack() as stack:
        for signum in (signal.SIGTERM, signal.SIGHUP):
            stack.callback(signal.signal, signum, signal.signal(signum, _end))
        try:
            tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed ahead is kept
            yield
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _end(signum: int, frame: FrameType | None) -> None:
    sys.exit(128 + signum)


@contextlib.contextmanager
def resizing(exchange: Exchange) -> Iterator[None]:
    """Send each new size of the terminal."""

    def resized(signum: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):  # the program has ended
            exchange.send({"terminal": size()})

    before = signal.signal(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def feed(exchange: Exchange) -> None:
    """Send standard input on, to its end, in a thread of its own that ends with the process."""
    threading.Thread(target=_feed, args=(exchange,), name="stdin", daemon=True).start()


def _feed(exchange: Exchange) -> None:
    with contextlib.suppress(OSError):  # the program has ended, and nobody reads any more
        while data := os.read(0, _CHUNK):
            exchange.send({"data": base64.b64encode(data).decode()})
        exchange.send_end()
