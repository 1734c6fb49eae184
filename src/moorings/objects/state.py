"""``ctx``: what an object may ask of the platform about itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from moorings.errors import ObjectReset
from moorings.objects.activation import Activation
from moorings.objects.identity import ObjectId

if TYPE_CHECKING:
    from moorings.objects.storage import Storage

T = TypeVar("T")


class DurableObjectState:
    """The ``ctx`` of an object (Cloudflare: DurableObjectState)."""

    __slots__ = ("_activation", "_open_storage", "services")

    def __init__(
        self,
        activation: Activation,
        services: dict[str, Any],
        open_storage: Callable[[Activation], Storage] | None = None,
    ) -> None:
        self._activation = activation
        self._open_storage = open_storage
        self.services = services

    @property
    def id(self) -> ObjectId:
        """The object's id; ``id.name`` is its name, where it was made from one."""
        return self._activation.id

    @property
    def storage(self) -> Storage:
        """The object's durable storage. Raises RuntimeError where the platform runs without a store."""
        storage: Storage | None = self.services.get("storage")
        if storage is None:
            if self._open_storage is None:
                raise RuntimeError("this platform has no store")
            storage = self.services["storage"] = self._open_storage(self._activation)
            self._activation.durable = storage
        return storage

    @property
    def container(self) -> Any:
        """The low-level handle of the object's container; None for an object that has no container."""
        return self.services.get("container")

    def block_concurrency_while(self, closure: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """Run ``closure`` while no other event of this object is delivered; the rest follow in order.

        The gate closes at the call; the result may be awaited or dropped (in a constructor, say). If the closure
        raises, or takes over 30 s (the platform's own waits not counted), the object is reset and those who wait get
        ObjectReset.
        Source: developers.cloudflare.com/durable-objects/api/state/#blockconcurrencywhile
        """
        return self._activation.block(closure)

    def wait_until(self, awaitable: Awaitable[Any]) -> None:
        """Keep the object in memory until ``awaitable`` is done. Errors are logged, they reach nobody."""
        self._activation.wait_until(awaitable)

    def abort(self, reason: str = "") -> NoReturn:
        """Drop the object's memory at once: what is under way fails with ObjectReset.

        Its container and storage stay.
        """
        error = ObjectReset(f"{self._activation.subject.label} was aborted{': ' + reason if reason else ''}")
        self._activation.reset(error)
        raise error
