"""Where the process runtime keeps its files inside the data folder.

``supervisor/`` has the lock, the socket and the supervisor's own log; ``run/<token>/`` the record and the private
folders of one incarnation; ``logs/<class>/<name or id>/`` what an object's containers printed, over all its
incarnations. Every folder is 0700. Paths are plain strings: the supervisor has no use for pathlib's memory.
"""

from __future__ import annotations

import os

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_LONGEST = 120


class Layout:
    """The names inside one data folder. ``data`` must be absolute."""

    __slots__ = ("data", "lock", "log", "logs", "run", "socket", "supervisor", "trash")

    def __init__(self, data: str) -> None:
        self.data = data
        self.supervisor = os.path.join(data, "supervisor")
        self.lock = os.path.join(self.supervisor, "lock")
        self.socket = os.path.join(self.supervisor, "socket")
        self.log = os.path.join(self.supervisor, "log")
        self.run = os.path.join(data, "run")
        self.trash = os.path.join(self.run, ".trash")
        self.logs = os.path.join(data, "logs")

    def make(self) -> None:
        """Create the folders. Raises OSError."""
        for folder in (self.data, self.supervisor, self.run, self.trash, self.logs):
            os.makedirs(folder, mode=0o700, exist_ok=True)

    def incarnation(self, token: str) -> str:
        """The folder of one incarnation."""
        return os.path.join(self.run, token if is_plain(token) else _digest(token))

    def object_logs(self, class_name: str, object_id: str, name: str | None) -> str:
        """The folder of one object's logs."""
        return os.path.join(self.logs, quoted(class_name, object_id), object_folder(object_id, name))

    def spare_logs(self, class_name: str, token: str) -> str:
        """The folder of the logs of a container that belongs to no object yet."""
        name = token if is_plain(token) else _digest(token)
        return os.path.join(self.logs, quoted(class_name, token), f".spare-{name}")


def _digest(token: str) -> str:
    import hashlib  # OpenSSL would be a third of the supervisor's memory, for tokens that nobody makes

    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def is_plain(text: str) -> bool:
    """Whether a text can be a file's name as it is."""
    data = text.encode("utf-8", "surrogatepass")
    return 0 < len(data) <= _LONGEST and not text.startswith(".") and _PLAIN.issuperset(data)


def object_folder(object_id: str, name: str | None) -> str:
    """A folder name for an object: readable where its name allows, and never the same for two objects of one class."""
    if name is None:
        return object_id
    if len(name) == 64 and is_plain(name):  # could be another object's id
        return f"{name}~{object_id[:12]}"
    return quoted(name, object_id)


def quoted(name: str, object_id: str) -> str:
    """``name`` with all but letters, digits, ``.``, ``_`` and ``-`` as %XX; a long one is cut and gets the id."""
    data = name.encode("utf-8", "surrogatepass")
    text = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in data)
    if text.startswith("."):
        text = "%2E" + text[1:]
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 24]}~{object_id[:12]}"


def socket_address(path: str, folder: int) -> str:
    """An address of a socket that fits sun_path (108 bytes with its end, unix(7)).

    ``folder`` is an open descriptor of its folder.
    A long path goes through /proc/self/fd, so it works on Linux only; elsewhere the path is returned as it is.
    """
    if len(os.fsencode(path)) < 100 or not os.path.isdir("/proc/self/fd"):
        return path
    return f"/proc/self/fd/{folder}/{os.path.basename(path)}"
