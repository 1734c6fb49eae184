"""``WorkflowEntrypoint``: the class whose ``run`` is a workflow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from moorings.workflows.step import WorkflowStep


@dataclass(frozen=True, slots=True)
class WorkflowEvent:
    """What an instance was created with. ``event["payload"]`` works as well, as in Cloudflare's Python.

    ``timestamp`` is when it was created, an aware datetime in UTC. ``payload`` is a copy of ``params`` for each replay:
    what ``run`` changes in it is gone after the next.
    """

    payload: Any
    timestamp: datetime
    instance_id: str
    workflow_name: str

    def __getitem__(self, name: str) -> Any:
        if name not in self.__slots__:
            raise KeyError(name)
        return getattr(self, name)


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """What ``step.wait_for_event`` gives: an event that ``send_event`` sent, at ``timestamp`` (UTC)."""

    payload: Any
    type: str
    timestamp: datetime


class WorkflowEntrypoint:
    """A workflow. ``run`` may be left and begun again at any time; what its steps gave is kept.

    ``self.env`` holds the bindings. ``max_concurrency`` bounds the instances that run at the same time: others are
    queued, and those that wait don't count. ``retention`` is how long an instance that has ended can be looked at:
    seconds, a timedelta or a text. Both may be set in the configuration as well, which wins.
    Source: developers.cloudflare.com/workflows/build/workers-api/#workflowentrypoint
    """

    max_concurrency: ClassVar[int] = 10_000
    retention: ClassVar[Any] = "30 days"

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        self.env = env

    async def run(self, event: WorkflowEvent, step: WorkflowStep) -> Any:
        """The workflow. Its result, which must be JSON, is the instance's output; what it raises, its error."""
        raise NotImplementedError(f"{type(self).__name__} has no run(self, event, step)")
