"""Operations on workflows: what ``moorings workflow`` asks for."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from moorings.server.admin.router import Operation, Route
from moorings.workflows.operations import InstanceStatus, Listed, Operations, check_id, new_instance


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``/workflows/list``; empty texts mean all."""

    workflow: str = ""
    status: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50


class Creating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``/workflows/create``."""

    workflow: str
    params: Any = None
    id: str | None = None


class Chosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which instance."""

    workflow: str
    id: str


class Sending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``/workflows/send-event``."""

    workflow: str
    id: str
    type: str
    payload: Any = None


def routes(operations: Operations) -> list[Route]:
    """``/workflows/...``."""

    async def listed(params: Listing) -> list[Listed]:
        return await operations.listed(params.workflow, params.status, params.limit)

    async def describe(params: Chosen) -> InstanceStatus:
        return await operations.status(params.workflow, params.id)

    async def create(params: Creating) -> dict[str, str]:
        new = new_instance(None if params.id is None else check_id(params.id), params.params)
        await operations.create(params.workflow, new)
        return {"id": new.id}

    async def send(params: Sending) -> dict[str, str]:
        await operations.send_event(params.workflow, params.id, params.type, params.payload)
        return {"id": params.id}

    def moving(name: str) -> Route:
        async def move(params: Chosen) -> InstanceStatus:
            await getattr(operations, name)(params.workflow, params.id)
            return await operations.status(params.workflow, params.id)

        return Operation(f"/workflows/{name}", Chosen, move)

    return [
        Operation("/workflows/list", Listing, listed),
        Operation("/workflows/describe", Chosen, describe),
        Operation("/workflows/create", Creating, create),
        Operation("/workflows/send-event", Sending, send),
        *[moving(name) for name in ("pause", "resume", "terminate", "restart")],
    ]
