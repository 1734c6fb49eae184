"""The base class of users' objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from moorings.http import Request, Response

if TYPE_CHECKING:
    from moorings.objects.state import DurableObjectState

F = TypeVar("F", bound=Callable[..., Any])

HOOKS = frozenset({"on_start", "on_stop", "on_exit", "on_error", "on_activity_expired", "alarm"})
"""Methods that the platform calls and that no stub may."""


def inline(method: F) -> F:
    """Mark a platform method that needs no task: it runs no user code and may be cancelled with its caller."""
    method.__moorings_inline__ = True  # type: ignore[attr-defined]  # a marker on the function itself
    return method


def streaming(method: F) -> F:
    """Mark a platform method that returns a ``Stream``: it runs no user code, and passes no gate."""
    method.__moorings_streaming__ = True  # type: ignore[attr-defined]  # a marker on the function itself
    return method


def is_streaming(method: object) -> bool:
    """Whether ``streaming`` marked a method (an override in a user's class is not marked)."""
    return getattr(method, "__moorings_streaming__", False) is True


def is_inline(method: object) -> bool:
    """Whether ``inline`` marked a method (an override in a user's class is not marked)."""
    return getattr(method, "__moorings_inline__", False) is True


class DurableObject:
    """A named object with one live instance, and durable storage of its own.

    Subclass it, and call it through ``env.NAME.get_by_name(name)``: every public method is an RPC call, ``fetch``
    answers requests. Source: developers.cloudflare.com/durable-objects/api/base/
    """

    def __init__(self, ctx: DurableObjectState, env: Any) -> None:
        self.ctx = ctx
        self.env = env

    async def fetch(self, request: Request) -> Response:
        """Answer a request that was sent through a stub. Raises NotImplementedError unless a subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no fetch(self, request)")
