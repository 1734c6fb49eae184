"""All operations of the admin API, from the parts of one platform."""

from __future__ import annotations

from dataclasses import dataclass

from moorings.containers.service import ContainerService
from moorings.queues.managing import Managing
from moorings.server.admin import about, containers, queues, workflows
from moorings.server.admin.router import Route
from moorings.server.objects import Objects
from moorings.workflows.operations import Operations


@dataclass(frozen=True, slots=True)
class AdminParts:
    """What the operations work on. ``url`` is the platform's own."""

    app: str
    url: str
    service: ContainerService
    objects: Objects
    queues: Managing
    workflows: Operations


def all_routes(parts: AdminParts) -> list[Route]:
    """Every route; a path may be there once."""
    return [
        *about.routes(parts.app, parts.url),
        *containers.routes(parts.service, parts.objects),
        *queues.routes(parts.queues),
        *workflows.routes(parts.workflows),
    ]
