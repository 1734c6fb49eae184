"""The functions that Cloudflare's containers package offers beside the class."""

from __future__ import annotations

from typing import Any

from moorings.http import Request
from moorings.objects.namespace import Namespace


def get_container(binding: Namespace, name: str = "singleton") -> Any:
    """The stub of a binding's container of that name."""
    return binding.get_by_name(name)


def get_random(binding: Namespace, instances: int = 3) -> Any:
    """The stub of one of ``instances`` interchangeable containers, the less loaded of two drawn at random."""
    return binding.get_random(instances)


def switch_port(request: Request, port: int) -> Request:
    """Choose the container's port for a request that is about to be forwarded; returns the same request.

    Raises TypeError or ValueError where it can't be a port.
    """
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"a port is an int, not {type(port).__name__}")
    if not 1 <= port <= 65535:
        raise ValueError(f"a port is from 1 to 65535, not {port}")
    request.container_port = port
    return request
