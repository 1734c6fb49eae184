"""What may be done with instances from outside: create, look at, pause, resume, terminate, restart, send an event.

Each takes effect durably before it returns. One that meets an instance in memory speaks with its run first; a run that
is on its way out is waited for, so an operation sees an instance that is either running or a row.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from moorings.errors import (
    StoreConflict,
    WorkflowCodeChanged,
    WorkflowError,
    WorkflowInstanceExists,
    WorkflowInstanceNotFound,
    WorkflowStateError,
)
from moorings.objects.values import register_record
from moorings.store import Commit
from moorings.workflows import failures, records
from moorings.workflows.attempts import encode_result
from moorings.workflows.definitions import Definition
from moorings.workflows.durations import event_type_of
from moorings.workflows.engine import Engine, Live
from moorings.workflows.failures import WorkflowFailure
from moorings.workflows.journal import Entry, entry_of
from moorings.workflows.lifecycle import ENDED, TABLE, Move, StepKind, StepState, WorkflowStatus
from moorings.workflows.records import EventRow, InstanceRow
from moorings.workflows.run import Leaving

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
_CUT_OFF: Final = 2.0
_ELSEWHERE: Final = "store it elsewhere and pass on where it is"

LARGEST_BATCH: Final = 100
"""Instances that ``create_batch`` takes at a time."""


@register_record
@dataclass(frozen=True, slots=True)
class StepStatus:
    """A step of an instance. ``kind``: do, sleep or wait_for_event; ``state``: running, waiting, retrying, complete or
    failed. ``attempts`` were charged, ``cut_off`` ended with the platform. ``due`` is the time of the next attempt, the
    end of a sleep or the timeout of an event; times are aware datetimes in UTC. ``output`` is the recorded result.
    """

    name: str
    kind: str
    state: str
    attempts: int
    cut_off: int
    started: datetime
    ended: datetime | None
    due: datetime | None
    output: Any
    error: WorkflowFailure | None


@register_record
@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """What ``await instance.status()`` gives. ``status`` is one of ``WorkflowStatus``'s texts.

    Source: developers.cloudflare.com/workflows/build/workers-api/#instancestatus
    """

    status: str
    output: Any
    error: WorkflowFailure | None
    steps: list[StepStatus]


@dataclass(frozen=True, slots=True)
class Listed:
    """An instance in a list."""

    workflow: str
    id: str
    status: str
    created: datetime


def check_id(instance_id: object) -> str:
    """An instance's id. Raises TypeError or ValueError."""
    if type(instance_id) is not str:
        raise TypeError(f"an instance's id is a text, not {instance_id!r:.80}")
    if _ID.fullmatch(instance_id) is None:
        raise ValueError(
            "an instance's id has 1 to 100 letters, digits, '-' and '_', and begins with no '-', "
            f"not {instance_id!r:.120}"
        )
    return instance_id


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance to create: ``params`` as JSON, ``retention`` in seconds or None for the workflow's."""

    id: str
    params: str
    retention: float | None = None


def new_instance(instance_id: str | None, params: Any, retention: float | None = None) -> NewInstance:
    """Check what an instance is created with. Raises TypeError or ValueError."""
    chosen = str(uuid.uuid4()) if instance_id is None else check_id(instance_id)
    return NewInstance(chosen, encode_result(params, f"the params of {chosen}", advice=_ELSEWHERE), retention)


class Operations:
    """The operations of an engine. Workflows are given by name; errors are those of ``moorings.errors``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --- creating and finding -----------------------------------------------------------------------------------------

    async def create(self, workflow: str, new: NewInstance) -> None:
        """Create an instance. Raises WorkflowInstanceExists where it exists."""
        if not await self.create_all(workflow, [new]):
            raise WorkflowInstanceExists(
                f"{workflow} has an instance {new.id!r} already; choose another id, or restart that one"
            )

    async def create_all(self, workflow: str, instances: Sequence[NewInstance]) -> list[str]:
        """Create those instances that don't exist yet; returns their ids.

        It is carried out whole, also where the caller goes away meanwhile: what is durable has to be begun.
        """
        creating = self._engine.tasks.spawn("create", self._create_all(workflow, instances), shared=True)
        return await asyncio.shield(creating)

    async def _create_all(self, workflow: str, instances: Sequence[NewInstance]) -> list[str]:
        engine = self._engine
        definition = self._definition(workflow)
        now = engine.clock.time()
        group = engine.store.group(f"new instances of {workflow}")
        rows: list[tuple[InstanceRow, bool]] = []
        seen: set[str] = set()
        for new in instances:
            if new.id in seen or await engine.store.read(records.KEYS_OF_IDS, (workflow, new.id)):
                continue
            seen.add(new.id)
            key, begins = engine.new_key(), engine.has_place(definition)
            status, wake = (WorkflowStatus.RUNNING, None) if begins else (WorkflowStatus.QUEUED, now)
            if begins:
                engine.reserve(definition)
            row = InstanceRow(
                key, workflow, new.id, status, wake, 1, new.params, None, None, now, None, new.retention
            )  # fmt: skip
            rows.append((row, begins))
            commit = group.write(records.CREATE, (key, workflow, new.id, status, wake, new.params, now, new.retention))
        if not rows:
            return []
        try:
            await commit
        except BaseException:
            for _, begins in rows:
                if begins:
                    engine.release(definition)
            raise
        created = []
        for row, begins in rows:
            found = await engine.store.read(records.KEYS_OF_IDS, (workflow, row.id))
            mine = found == [(row.key,)]
            if mine:
                created.append(row.id)
            if begins and mine:
                engine.begin(row, definition)
            elif begins:
                engine.release(definition)
            elif mine:
                engine.wake_at(now)
        return created

    def _definition(self, workflow: str) -> Definition:
        """A workflow of the app. Raises WorkflowError, which names those there are."""
        definition = self._engine.definitions.get(workflow)
        if definition is None:
            known = ", ".join(sorted(self._engine.definitions)) or "none"
            raise WorkflowError(f"the app has no workflow {workflow!r}; its workflows are: {known}")
        return definition

    async def find(self, workflow: str, instance_id: str) -> InstanceRow:
        """An instance as it is stored.

        Raises WorkflowInstanceNotFound; WorkflowError where there is no such workflow either.
        """
        rows = await self._engine.store.read(records.BY_ID, (workflow, instance_id))
        if not rows:
            self._definition(workflow)
            raise WorkflowInstanceNotFound(f"{workflow} has no instance {instance_id!r}")
        return records.instance_of(rows[0])

    async def status(self, workflow: str, instance_id: str) -> InstanceStatus:
        """How an instance is. Raises WorkflowInstanceNotFound."""
        row = await self.find(workflow, instance_id)
        steps = await self._engine.store.read(records.STEPS, (row.key,))
        live = self._engine.live.get(row.key)
        status = row.status
        if live is not None and status == WorkflowStatus.RUNNING and live.run.held:
            status = WorkflowStatus.WAITING
        return InstanceStatus(
            status=str(status),
            output=None if row.output is None else json.loads(row.output),
            error=None if row.error is None else failures.shown(row.error),
            steps=[step_status(entry_of(step)) for step in steps],
        )

    async def listed(self, workflow: str, status: str, limit: int) -> list[Listed]:
        """The latest instances, of one workflow and status where these aren't empty. Raises ValueError."""
        if status and status not in tuple(WorkflowStatus):
            raise ValueError(f"there is no status {status!r:.40}; those there are: {', '.join(WorkflowStatus)}")
        rows = await self._engine.store.read(records.LATEST, (workflow, workflow, status, status, limit))
        found = map(records.instance_of, rows)
        return [Listed(row.workflow, row.id, row.status, _utc(row.created)) for row in found]

    # --- moving -------------------------------------------------------------------------------------------------------

    async def pause(self, workflow: str, instance_id: str) -> None:
        """Let the steps that run end and be recorded, and begin no others. Pausing what is paused changes nothing."""
        row, live = await self._settled(workflow, instance_id)
        if row.status in (WorkflowStatus.PAUSED, WorkflowStatus.WAITING_FOR_PAUSE):
            return
        self._allowed(row, Move.PAUSE)
        if live is None:
            await self._take(row, row.fence, WorkflowStatus.PAUSED)
            return
        commit = live.group.write(
            records.MOVE, (WorkflowStatus.WAITING_FOR_PAUSE, None, row.key, live.fence), expect=1
        )  # fmt: skip
        live.run.pause(Leaving.PAUSED)
        await commit

    async def resume(self, workflow: str, instance_id: str) -> None:
        """Go on where the instance was paused, or where its code had changed. Raises WorkflowStateError otherwise.

        Resuming what isn't paused and hasn't ended changes nothing.
        """
        row, live = await self._settled(workflow, instance_id)
        if row.status in (WorkflowStatus.QUEUED, WorkflowStatus.RUNNING, WorkflowStatus.WAITING):
            return
        changed = row.error is not None and failures.code_of(row.error) == WorkflowCodeChanged.code
        if row.status == WorkflowStatus.ERRORED and not changed:
            raise WorkflowStateError(
                f"{workflow}/{row.id} has failed, so it can't be resumed; restart it to begin anew"
            )  # fmt: skip
        self._allowed(row, Move.RESUME)
        if live is not None:
            live.run.go_on()
            await live.group.write(records.MOVE, (WorkflowStatus.RUNNING, None, row.key, live.fence), expect=1)
            return
        now = self._engine.clock.time()
        await self._take(row, row.fence, WorkflowStatus.QUEUED, wake=now)
        self._engine.wake_at(now)

    async def terminate(self, workflow: str, instance_id: str) -> None:
        """Cut the instance off for good; code that runs is cancelled. Raises WorkflowStateError where it has ended."""
        row, live = await self._settled(workflow, instance_id, leaving=True)
        self._allowed(row, Move.TERMINATE)
        now = self._engine.clock.time()
        definition = self._engine.definitions.get(workflow)
        kept = (
            row.retention
            if row.retention is not None
            else (30 * 86_400.0 if definition is None else definition.retention)
        )
        if live is not None:
            live.run.leave(Leaving.TAKEN)
        fence = row.fence if live is None else live.fence
        await self._take(row, fence, WorkflowStatus.TERMINATED, ended=now, expires=now + kept)
        if live is not None:
            await asyncio.wait({live.over}, timeout=_CUT_OFF)

    async def restart(self, workflow: str, instance_id: str) -> None:
        """Begin anew with the same params, whatever the instance is doing; what it has recorded is deleted."""
        row, live = await self._settled(workflow, instance_id)
        if live is not None:
            live.run.leave(Leaving.TAKEN)
            await asyncio.shield(live.over)
        now = self._engine.clock.time()
        group = self._engine.store.group(f"restart of {workflow}/{row.id}")
        fence = row.fence if live is None else live.fence
        commit = group.write(records.RESTART, (now, row.key, fence), expect=1)
        for statement in records.FORGET[:2]:
            group.write(statement, (row.key,))
        await self._done(commit, row)
        self._engine.wake_at(now)

    async def send_event(self, workflow: str, instance_id: str, event_type: str, payload: Any) -> None:
        """Send an event, kept until a step takes it. Raises WorkflowStateError where the instance has ended."""
        event_type_of(event_type, "send_event")
        encoded = encode_result(payload, "the payload of the event", advice=_ELSEWHERE)
        row = await self.find(workflow, instance_id)
        if row.status in ENDED:
            raise WorkflowStateError(f"{workflow}/{row.id} has ended ({row.status}): nobody is left to take an event")
        engine = self._engine
        now = engine.clock.time()
        event = EventRow(engine.new_key(), event_type, encoded, now)
        group = engine.store.group(f"event for {workflow}/{row.id}")
        commit = group.write(
            records.SEND, (row.key, event.number, event.type, event.payload, event.sent, row.key), expect=1
        )
        group.write(records.WAKE_FOR, (now, row.key, event_type))

        def stored(commit: Commit) -> None:
            if commit.error is not None:
                return
            live = engine.live.get(row.key)
            if live is None:
                engine.wake_at(now)
            else:
                live.run.receive(event)

        commit.add_done_callback(stored)  # also where the sender has gone meanwhile
        try:
            await commit
        except StoreConflict:
            raise WorkflowStateError(f"{workflow}/{row.id} has ended: nobody is left to take an event") from None

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _settled(
        self, workflow: str, instance_id: str, *, leaving: bool = False
    ) -> tuple[InstanceRow, Live | None]:
        """An instance, and its run where it has one that goes on; ``leaving``: also one that is on its way out."""
        while True:
            row = await self.find(workflow, instance_id)
            live = self._engine.live.get(row.key)
            if live is None or leaving or not live.run.unwinding:
                return row, live
            await asyncio.shield(live.over)

    def _allowed(self, row: InstanceRow, move: Move) -> None:
        if (WorkflowStatus(row.status), move) not in TABLE:
            raise WorkflowStateError(
                f"{row.workflow}/{row.id} is {row.status}, so there is nothing to {move}"
                + ("; restart it to begin anew" if row.status in ENDED else "")
            )

    async def _take(
        self,
        row: InstanceRow,
        fence: int,
        status: WorkflowStatus,
        *,
        wake: float | None = None,
        ended: float | None = None,
        expires: float | None = None,
    ) -> None:
        group = self._engine.store.group(f"workflow {row.workflow}/{row.id}")
        await self._done(group.write(records.TAKE, (status, wake, None, ended, expires, row.key, fence), expect=1), row)

    async def _done(self, commit: Any, row: InstanceRow) -> None:
        try:
            await commit
        except StoreConflict as error:
            raise WorkflowStateError(f"{row.workflow}/{row.id} has moved on meanwhile; try it again") from error


def step_status(entry: Entry) -> StepStatus:
    """A step as it is told to whoever asks."""
    output: Any = None if entry.output is None else json.loads(entry.output)
    if entry.kind is StepKind.WAIT_FOR_EVENT and entry.state is StepState.COMPLETE:
        output = output["payload"]
    return StepStatus(
        name=entry.name,
        kind=str(entry.kind),
        state=str(entry.state),
        attempts=entry.attempts,
        cut_off=entry.cut_off,
        started=_utc(entry.began),
        ended=None if entry.ended is None else _utc(entry.ended),
        due=None if entry.due is None else _utc(entry.due),
        output=output,
        error=None if entry.error is None else failures.shown(entry.error),
    )


def _utc(when: float) -> datetime:
    return datetime.fromtimestamp(when, UTC)
