"""Where the admin socket of a data folder is.

The platform and the command line both need it, and it must be quick to import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from moorings.runtimes.process.paths import socket_address

SOCKET_NAME: Final = "admin.sock"


def socket_path(data: Path) -> Path:
    """The socket's file in a data folder."""
    return data / SOCKET_NAME


@contextmanager
def reachable(data: Path) -> Iterator[str]:
    """The socket's address, however long the folder's path is (sun_path holds 108 bytes, unix(7)).

    Holds while the context is open. Raises OSError where the folder can't be opened.
    """
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield socket_address(str(socket_path(data)), folder)
    finally:
        os.close(folder)
