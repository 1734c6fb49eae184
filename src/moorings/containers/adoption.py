"""After a restart: what is still running is taken over, what ended meanwhile is told, what nobody claims is removed.

Deciding is pure (``plan``): the runtime says what it found, the store what was intended, and each token has one fate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from moorings.containers.controller import Controller
from moorings.containers.incarnation import Incarnation
from moorings.containers.lifecycle import UP, Move, Status
from moorings.containers.records import ContainerRecord, SpareRecord
from moorings.runtimes.base import Exit, ExitReason, Found, Running

LOST_CODE = 137
"""The exit code of a container whose supervisor went away with it: it can only have been killed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of each incarnation that the runtime or the store knows."""

    adopt: Sequence[tuple[ContainerRecord, Running]]
    unborn: Sequence[ContainerRecord]
    ended: Sequence[tuple[ContainerRecord, Running | None, Exit]]
    spares: Sequence[tuple[SpareRecord, Running]]
    orphans: Sequence[Running]
    lost_spares: Sequence[str]
    forget: Sequence[str]


def plan(
    found: Found,
    records: Sequence[ContainerRecord],
    classes: Collection[str],
    now: float,
    spares: Sequence[SpareRecord] = (),
) -> Plan:
    """Who is adopted, whose end is told, who is still a spare, and who belongs to nobody."""
    claims: Mapping[str, ContainerRecord] = {
        record.token: record for record in records if record.token is not None and record.class_name in classes
    }
    running = {one.token: one for one in found.running}
    ends = {one.token: (one, exit) for one, exit in found.ended}
    adopt: list[tuple[ContainerRecord, Running]] = []
    unborn: list[ContainerRecord] = []
    ended: list[tuple[ContainerRecord, Running | None, Exit]] = []
    for token, record in claims.items():
        if token in running:
            adopt.append((record, running[token]))
        elif token in ends:
            ended.append((record, *ends[token]))
        elif record.status is Status.STARTING:
            unborn.append(record)  # a supervisor that died would know the end of what it had spawned
        else:
            ended.append((record, None, Exit(LOST_CODE, ExitReason.PLATFORM, now)))
    adopted = {record.token for record, _ in adopt}
    kept = [
        (spare, running[spare.token])
        for spare in spares
        if spare.token in running and spare.token not in claims and spare.class_name in classes
    ]
    known = {spare.token for spare, _ in kept}
    return Plan(
        adopt=adopt,
        unborn=unborn,
        ended=ended,
        spares=kept,
        orphans=[one for token, one in running.items() if token not in adopted and token not in known],
        lost_spares=[spare.token for spare in spares if spare.token not in known],
        forget=[token for token in ends if token not in claims],
    )


def adopt(controller: Controller, record: ContainerRecord, running: Running) -> None:
    """Go on with a container that runs: its state, its activity clock and its kill deadline are what they were."""
    incarnation = _remember(controller, record, running)
    controller.slots.take()
    if record.status is Status.STARTING:
        controller.move(Move.SPAWNED)
    controller.pausing.adopted(incarnation)
    if controller.status is Status.STOPPING:
        incarnation.stopping = True
        controller.ending.resume(incarnation)
        return
    if not record.started:
        controller.starting.run_on_start(incarnation, None)
    if controller.status is not Status.PAUSED:
        controller.activity.arm()


def never_started(controller: Controller, record: ContainerRecord) -> None:
    """Record that an intent has come to nothing: its program never existed, so there is no end to tell."""
    controller.restore(record, None)
    controller.move(Move.START_FAILED)


def tell_end(controller: Controller, record: ContainerRecord, running: Running | None, exit: Exit) -> None:
    """Record that a container ended while nobody watched, and run its ``on_exit``."""
    incarnation = _remember(controller, record, running)
    controller.slots.take()
    incarnation.stopping = controller.status is Status.STOPPING
    if record.status is Status.STARTING:
        controller.move(Move.SPAWNED)
    controller.exited(incarnation.token, exit)


def _remember(controller: Controller, record: ContainerRecord, running: Running | None) -> Incarnation:
    incarnation = Incarnation(record.token)
    incarnation.running = running
    incarnation.started = record.started
    incarnation.was_ready = record.status in (Status.HEALTHY, Status.PAUSED)
    incarnation.kill_at = record.kill_at
    incarnation.spawned.set_result(True)
    if record.status not in UP:
        incarnation.signals_sent.update({1, 2, 9, 15})
    controller.restore(record, incarnation)
    return incarnation
