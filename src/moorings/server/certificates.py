"""The platform's certificate: loaded at the start, and again whenever its files have changed.

The files are looked at every ``LOOK_EVERY`` seconds. A change is taken up once it has looked the same twice in a row,
as a certificate and its key are seldom replaced in one step; what doesn't load is told once, and the pair before is
kept.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from moorings.clock import Clock, TimerHandle
from moorings.errors import ConfigError
from moorings.http.tls import ServerTls
from moorings.observer import Notice, Observer
from moorings.server.options import PlatformOptions

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the files."""

_Look = tuple[tuple[int, int, int] | None, ...]


class Certificates:
    """A pair of files under watch, if the options name one. ``start``, then ``stop``."""

    def __init__(self, options: PlatformOptions, *, clock: Clock, observer: Observer) -> None:
        """Load them. Raises ConfigError where that can't be done."""
        self._tls: ServerTls | None = None
        self._clock = clock
        self._observer = observer
        self._timer: TimerHandle | None = None
        self._used: _Look = ()
        self._seen: _Look = ()
        if options.tls_cert is not None and options.tls_key is not None:
            self._used = self._seen = _look(options.tls_cert, options.tls_key)
            self._tls = ServerTls(options.tls_cert, options.tls_key)
        elif options.tls_cert is not None:
            raise ConfigError("--tls-cert needs --tls-key, the file with the certificate's private key")
        elif options.tls_key is not None:
            raise ConfigError("--tls-key needs --tls-cert, the file with the certificate and its chain")

    @property
    def context(self) -> ssl.SSLContext | None:
        """What to listen with; None without TLS."""
        return None if self._tls is None else self._tls.context

    @property
    def scheme(self) -> str:
        """That of the platform's URL."""
        return "http" if self._tls is None else "https"

    def start(self) -> None:
        """Watch from now on."""
        if self._tls is not None:
            self._timer = self._clock.call_later(LOOK_EVERY, self._check, self._tls)

    def stop(self) -> None:
        """Watch no longer. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self, tls: ServerTls) -> None:
        self._timer = self._clock.call_later(LOOK_EVERY, self._check, tls)
        before, self._seen = self._seen, _look(tls.certificate, tls.key)
        if self._seen == self._used or self._seen != before:
            return
        self._used = self._seen
        try:
            tls.reload()
        except ConfigError as error:
            text = f"{error}; new connections get the certificate that was loaded before, until the files are right"
            self._observer.notify(Notice("error", text))
        else:
            self._observer.notify(Notice("info", f"the TLS certificate {tls.certificate} was loaded anew"))


def _look(*files: Path) -> _Look:
    """What tells that a file has changed; None where it can't be seen."""
    return tuple(_look_at(file) for file in files)


def _look_at(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
