"""``env.NAME`` of a workflow, and the instances that it gives.

Effects of an object leave when its writes before them are durable, and so do these: a call from inside an object waits
for them first. Code of a workflow that is being unwound gets nothing done here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from moorings.config.durations import seconds
from moorings.objects.event import caller_written
from moorings.objects.running import refuse_unwinding
from moorings.workflows.operations import LARGEST_BATCH, InstanceStatus, Operations, check_id, new_instance


async def _may_leave() -> None:
    refuse_unwinding()
    await caller_written()


class WorkflowInstance:
    """One instance of a workflow: a handle, without I/O to make.

    Every method raises WorkflowInstanceNotFound where there is no such instance (any more), and StoreError.
    Source: developers.cloudflare.com/workflows/build/workers-api/#workflowinstance
    """

    __slots__ = ("_id", "_name", "_operations")

    def __init__(self, operations: Operations, name: str, instance_id: str) -> None:
        self._operations = operations
        self._name = name
        self._id = instance_id

    @property
    def id(self) -> str:
        """The instance's id."""
        return self._id

    def __repr__(self) -> str:
        return f"<instance {self._id} of the workflow {self._name}>"

    async def status(self) -> InstanceStatus:
        """Its status, with output, error and steps."""
        refuse_unwinding()
        return await self._operations.status(self._name, self._id)

    async def pause(self) -> None:
        """Let running steps end and be recorded, then stand still until ``resume``.

        Raises WorkflowStateError where it has ended.
        """
        await _may_leave()
        await self._operations.pause(self._name, self._id)

    async def resume(self) -> None:
        """Go on after ``pause``, or after its code had changed and was put back.

        Raises WorkflowStateError where it has ended.
        """
        await _may_leave()
        await self._operations.resume(self._name, self._id)

    async def terminate(self) -> None:
        """Cut it off for good. Raises WorkflowStateError where it has ended."""
        await _may_leave()
        await self._operations.terminate(self._name, self._id)

    async def restart(self) -> None:
        """Begin anew with the same params; what it had recorded is deleted."""
        await _may_leave()
        await self._operations.restart(self._name, self._id)

    async def send_event(self, type: str | Mapping[str, Any], payload: Any = None) -> None:
        """Send an event for a ``step.wait_for_event`` of that type; it is kept until one comes.

        Also as Cloudflare has it: ``send_event({"type": ..., "payload": ...})``. Raises WorkflowStateError where the
        instance has ended, TypeError or ValueError for a type or a payload that doesn't fit.
        """
        if isinstance(type, Mapping):
            event_type, payload = _fields(type, ("type", "payload"), "send_event")
        else:
            event_type = type
        await _may_leave()
        await self._operations.send_event(self._name, self._id, event_type, payload)


class Workflow:
    """The instances of one workflow.

    Source: developers.cloudflare.com/workflows/build/workers-api/#workflow
    """

    __slots__ = ("_operations", "class_name", "name")

    def __init__(self, operations: Operations, name: str, class_name: str) -> None:
        self._operations = operations
        self.name = name
        self.class_name = class_name

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"

    async def create(
        self,
        id: str | Mapping[str, Any] | None = None,
        params: Any = None,
        *,
        retention: str | float | timedelta | None = None,
    ) -> WorkflowInstance:
        """Create an instance and let it run; it is durable when this returns.

        ``id``: 1 to 100 letters, digits, ``-`` and ``_``; a random one unless given. ``params`` (JSON, at most 1 MiB)
        are ``event.payload``. ``retention``: how long it is kept after its end. Also as Cloudflare has it:
        ``create({"id": ..., "params": ...})``. Raises WorkflowInstanceExists, TypeError or ValueError.
        """
        if isinstance(id, Mapping):
            chosen, params, given = _fields(id, ("id", "params", "retention"), "create")
            retention = given if retention is None else retention
        else:
            chosen = id
        new = new_instance(chosen, params, None if retention is None else seconds(retention))
        await _may_leave()
        await self._operations.create(self.name, new)
        return WorkflowInstance(self._operations, self.name, new.id)

    async def create_batch(self, batch: Iterable[Mapping[str, Any]]) -> list[WorkflowInstance]:
        """Create up to 100 instances at once, each given as ``{"id": ..., "params": ...}``.

        Those whose id exists are skipped. Returns the instances that were created.
        """
        new = []
        for each in batch:
            instance_id, params, retention = _fields(each, ("id", "params", "retention"), "create_batch")
            new.append(new_instance(instance_id, params, None if retention is None else seconds(retention)))
        if len(new) > LARGEST_BATCH:
            raise ValueError(f"create_batch takes {LARGEST_BATCH} instances at a time, not {len(new)}")
        await _may_leave()
        created = await self._operations.create_all(self.name, new)
        return [WorkflowInstance(self._operations, self.name, instance_id) for instance_id in created]

    async def get(self, id: str) -> WorkflowInstance:
        """The instance of that id. Raises WorkflowInstanceNotFound."""
        refuse_unwinding()
        row = await self._operations.find(self.name, check_id(id))
        return WorkflowInstance(self._operations, self.name, row.id)


def _fields(given: Mapping[str, Any], names: tuple[str, ...], what: str) -> tuple[Any, ...]:
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} takes dicts with {', '.join(names)}, not {given!r:.80}")
    for name in given:
        if name not in names:
            raise ValueError(f"{what}: there is no {name!r:.40}, but {', '.join(names)}")
    return tuple(given.get(name) for name in names)
