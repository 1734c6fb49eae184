"""Operations on containers: which there are, and what can be done to one."""

from __future__ import annotations

import msgspec

from moorings.containers.controller import Controller
from moorings.containers.service import ContainerService
from moorings.server.admin.router import Operation, Route
from moorings.server.objects import Objects


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``/containers/list``."""


class Listed(msgspec.Struct, frozen=True):
    """A container as ``moorings ps`` shows it. Times are in Unix seconds."""

    class_name: str
    name: str | None
    object_id: str
    state: str
    last_change: float


def routes(service: ContainerService, objects: Objects) -> list[Route]:
    """``/containers/...``."""

    async def listed(params: Listing) -> list[Listed]:
        return [_shown(controller) for controller in service.controllers()]

    return [Operation("/containers/list", Listing, listed)]


def _shown(controller: Controller) -> Listed:
    subject = controller.subject
    return Listed(subject.class_name, subject.name, subject.object_id, str(controller.status), controller.last_change)
