"""Whether a runtime's folder is still the one whose containers it knows of, or a copy.

A copy (``cp -a``, a restored backup) has all that the original has: identities, tokens, process ids. Whoever went by
those would adopt or kill containers of the original, which may be in use. So a folder says where it is, and is a copy
where that is neither its path nor its inode: a folder that was moved keeps the latter, one that was restored in its
old place the former. On another machine it is always a copy.

The supervisor imports this: os only.
"""

from __future__ import annotations

import os

_NAME = "place"
_MACHINE_ID = "/etc/machine-id"


def is_copy(folder: str) -> bool:
    """Whether the folder was ``settle``d elsewhere, and not here since. Raises OSError."""
    try:
        with open(os.path.join(folder, _NAME), "rb") as file:
            then = file.read().split(b"\n", 2)
    except FileNotFoundError:
        return False
    now = _place(folder)
    if len(then) != len(now):
        return False
    elsewhere = then[0] != now[0] and bool(then[0]) and bool(now[0])
    return elsewhere or (then[1] != now[1] and then[2] != now[2])


def settle(folder: str) -> None:
    """Say that the folder is here now, whatever it was. Raises OSError."""
    said = b"\n".join(_place(folder))
    path = os.path.join(folder, _NAME)
    try:
        with open(path, "rb") as file:
            if file.read() == said:
                return
    except FileNotFoundError:
        pass
    fresh = f"{path}.new"
    with open(fresh, "wb") as file:
        file.write(said)
    os.replace(fresh, path)


def _place(folder: str) -> list[bytes]:
    """The machine, the inode and the path of a folder."""
    try:
        with open(_MACHINE_ID, "rb") as file:
            machine = file.read().strip()
    except OSError:
        machine = b""
    return [machine, b"%d" % os.stat(folder).st_ino, os.fsencode(os.path.realpath(folder))]
