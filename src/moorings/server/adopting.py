"""Carries out what ``containers.adoption`` has planned, when the platform starts."""

from __future__ import annotations

from moorings.clock import Clock
from moorings.containers.adoption import adopt, never_started, plan, tell_end
from moorings.containers.controller import Controller
from moorings.containers.service import ContainerService
from moorings.objects.identity import ObjectId
from moorings.observer import Notice, Observer
from moorings.runtimes.base import Found, Running
from moorings.server.objects import Objects


async def adopt_all(
    found: Found, *, service: ContainerService, objects: Objects, clock: Clock, observer: Observer
) -> None:
    """Adopt what runs, tell the ends nobody was told, and remove what nobody claims.

    Raises StoreError where the records can't be read, RuntimeUnavailable where the runtime goes away meanwhile.
    """

    async def told_owner(owner: Controller, running: Running) -> None:
        """Of a spare that was taken, the runtime may not know yet, or not any more, whose it is."""
        subject = owner.subject
        if running.object_id != subject.object_id:
            await service.runtime.assign(running.token, subject.object_id, subject.name)

    def controller(class_name: str, object_id: bytes, name: str | None) -> Controller:
        activation = objects.namespaces[class_name].activate(ObjectId(object_id, name))
        assert isinstance(activation.hosted, Controller)
        return activation.hosted

    decided = plan(
        found,
        await service.records.unfinished(),
        objects.container_classes,
        clock.time(),
        await service.records.spares(),
    )
    for record, running in decided.adopt:
        owner = controller(record.class_name, record.object_id, record.name)
        await told_owner(owner, running)
        adopt(owner, record, running)
    for token in decided.lost_spares:
        service.records.no_spare(token)
    outdated = [running for spare, running in decided.spares if not objects.restore_spare(spare, running)]
    for running in outdated:
        service.records.no_spare(running.token)
        await service.runtime.kill(running.token)
        await service.runtime.forget(running.token)
    for record in decided.unborn:
        never_started(controller(record.class_name, record.object_id, record.name), record)
    for record, ended, exit in decided.ended:
        owner = controller(record.class_name, record.object_id, record.name)
        if ended is not None:
            await told_owner(owner, ended)
        tell_end(owner, record, ended, exit)
    told = {record.token for record, _, _ in decided.ended}
    for untold in await service.records.untold():
        if untold.class_name in objects.container_classes and untold.token not in told:
            owner = controller(untold.class_name, untold.object_id, untold.name)
            owner.tasks.spawn("on_exit", owner.tell_exit(untold.token, untold.code, untold.reason))
    for orphan in decided.orphans:
        observer.notify(Notice("info", f"removing a container that no object claims (pid {orphan.pid})"))
        await service.runtime.kill(orphan.token)
        await service.runtime.forget(orphan.token)
    for token in decided.forget:
        await service.runtime.forget(token)
    if decided.adopt or decided.ended:
        observer.notify(
            Notice(
                "info",
                f"adopted {len(decided.adopt)} running containers; {len(decided.ended)} had ended meanwhile",
            )
        )
