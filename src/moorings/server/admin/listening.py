"""The admin socket: a Unix socket in the data folder that its owner alone can open.

The data folder's lock is held while it is listened on, so a socket file that is there before belongs to a platform that
was killed, and is replaced. It is removed at the end.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from moorings.clock import Clock
from moorings.http import HttpServer, Limits
from moorings.observer import Notice, Observer
from moorings.server.admin.address import reachable, socket_path
from moorings.server.admin.router import Route, Router

_FOREVER: Final = 365 * 24 * 3600.0
_LIMITS: Final = Limits(body_timeout=_FOREVER)  # an interactive exec may be silent for as long as it likes


class AdminServer:
    """Serves the admin API of one platform."""

    def __init__(self, data: Path, routes: Iterable[Route], *, clock: Clock, observer: Observer) -> None:
        self._data = data
        self._observer = observer
        router = Router(routes, observer)
        self._server = HttpServer(
            router.handle, on_error=router.error_response, limits=_LIMITS, clock=clock, observer=observer
        )
        self._is_open = False

    async def open(self) -> None:
        """Listen. A socket that can't be made is told as a warning: the platform can serve without."""
        try:
            listening = _listen(self._data)
        except OSError as error:
            why = f"the admin socket {socket_path(self._data)} can't be made ({error.strerror or error})"
            step = "moorings ps and the like won't find this platform; a shorter or local --data-dir may help"
            self._observer.notify(Notice("warning", f"{why}: {step}"))
            return
        self._is_open = True
        await self._server.listen_on(listening)

    async def close(self) -> None:
        """Break off what is under way, and remove the socket. Idempotent."""
        await self._server.close()
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(FileNotFoundError):
                socket_path(self._data).unlink()


def _listen(data: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        socket_path(data).unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with reachable(data) as address:
            listening.bind(address)
            os.chmod(address, 0o600)  # nobody can connect before it listens
        listening.setblocking(False)
        listening.listen(64)
    except BaseException:
        listening.close()
        raise
    return listening
