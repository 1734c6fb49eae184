"""Addresses as users write them: ``127.0.0.1:8788``, ``[::1]:8788``, ``localhost:0``."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\s]+)):([0-9]{1,5})")


def host_and_port(text: str) -> tuple[str, int]:
    """The host and the port. Raises ValueError where one is missing, or the port is over 65535."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match[3]) > 65535:
        raise ValueError(f"{text!r} is no address with a port")
    return match[1] or match[2], int(match[3])
