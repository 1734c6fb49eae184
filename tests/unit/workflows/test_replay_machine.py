"""Random workflows, cut off after every single unit that they store, against a plain model of what they give.

Each program runs once for each place at which the power can fail, and is begun again after that; the second life is
cut off as well, somewhere. What is compared: the result, the attempts that were charged, which functions ran in which
life, and when waits end.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from moorings.clock import ManualClock
from moorings.workflows.binding import WorkflowInstance
from moorings.workflows.entrypoint import WorkflowEntrypoint
from moorings.workflows.operations import InstanceStatus, StepStatus
from tests.unit.workflows.lab import ENDED, Lab

ROUNDS = 200
TICK = 700.0


@dataclass(frozen=True)
class Work:
    """A step whose first ``failures`` attempts raise; ``turns`` of the loop pass in it."""

    failures: int
    limit: int
    delay: float
    turns: int

    @property
    def attempts(self) -> int:
        return min(self.failures, self.limit) + 1


@dataclass(frozen=True)
class Nap:
    seconds: float


@dataclass(frozen=True)
class Wait:
    """For an event, sent before the step asks for it or after."""

    early: bool


@dataclass(frozen=True)
class Parts:
    """Some programs, one after the other or at the same time."""

    parts: tuple[Any, ...]
    parallel: bool


Program = Work | Nap | Wait | Parts

leaves = st.one_of(
    st.builds(
        Work, st.integers(0, 3), st.integers(0, 2), st.sampled_from([0.0, 0.5, 5.0, 100.0]), st.sampled_from([0, 0, 2])
    ),
    st.builds(Nap, st.sampled_from([0.0, 0.5, 60.0, 3600.0])),
    st.builds(Wait, st.booleans()),
)
programs = st.recursive(
    leaves,
    lambda inner: st.builds(Parts, st.lists(inner, min_size=1, max_size=3).map(tuple), st.booleans()),
    max_leaves=4,
)


def named(program: Program, path: str = "s") -> dict[str, Work | Nap | Wait]:
    """The steps of a program by name."""
    if not isinstance(program, Parts):
        return {path: program}
    return {
        name: leaf
        for number, part in enumerate(program.parts)
        for name, leaf in named(part, f"{path}.{number}").items()
    }


def expected(program: Program, path: str = "s") -> Any:
    """The model: what a program gives, however often it is cut off."""
    match program:
        case Parts(parts):
            return [expected(part, f"{path}.{number}") for number, part in enumerate(parts)]
        case Work(failures, limit):
            return f"{path} after {failures}" if failures <= limit else f"{path} failed {limit + 1}"
        case Nap():
            return None
        case Wait():
            return {"for": path}


class Trial:
    """One program in one instance, through as many lives as it takes."""

    def __init__(self, lab: Lab, program: Program) -> None:
        self.lab = lab
        self.program = program
        self.steps = named(program)
        self.calls: Counter[str] = Counter()
        self.sent: set[str] = set()
        trial = self

        class Flow(WorkflowEntrypoint):
            async def run(self, event: Any, step: Any) -> Any:
                return await trial.play(step, trial.program, "s")

        self.flow = Flow

    async def play(self, step: Any, program: Program, path: str) -> Any:
        match program:
            case Parts(parts, parallel):
                plays = (self.play(step, part, f"{path}.{number}") for number, part in enumerate(parts))
                return list(await asyncio.gather(*plays)) if parallel else [await play for play in plays]
            case Nap(seconds):
                return await step.sleep(path, seconds)
            case Wait():
                return (await step.wait_for_event(path, type=path, timeout="300 days")).payload
            case Work(failures, limit, delay, turns):

                async def work(ctx: Any) -> str:
                    self.calls[path] += 1
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    if ctx.attempt <= failures:
                        raise ValueError(f"{path} failed {ctx.attempt}")
                    return f"{path} after {ctx.attempt - 1}"

                config = {"retries": {"limit": limit, "delay": delay, "backoff": "constant"}}
                try:
                    return await step.do(path, config, work)
                except ValueError as error:
                    return str(error)

    async def settled(self) -> None:
        """Let everything happen that doesn't wait for time to pass."""
        while True:
            before = self.lab.store.commits
            await ManualClock.settle()
            await self.lab.store.flush()
            if self.lab.store.commits == before:
                return

    async def send(self, instance: WorkflowInstance, kinds: set[str]) -> None:
        """Send events; one whose sender the power's failure leaves without an answer is sent again in the next life."""
        for kind in sorted(kinds - self.sent):
            sending = asyncio.ensure_future(instance.send_event(kind, {"for": kind}))
            await self.settled()
            if not sending.done():
                sending.cancel()
                await asyncio.wait((sending,))
                return
            await sending
            self.sent.add(kind)

    async def live(self, instance: WorkflowInstance) -> InstanceStatus | None:
        """Go on until the instance has ended, or the power has failed."""
        for _ in range(ROUNDS):
            await self.settled()
            if self.lab.power.left is not None and self.lab.power.left <= 0:
                return None
            status = await instance.status()
            if status.status in ENDED and not self.lab.engine.live:
                return status
            waiting = {step.name for step in status.steps if step.kind == "wait_for_event" and step.state == "waiting"}
            await self.send(instance, waiting)
            await self.lab.after(TICK)
        raise AssertionError(f"{await instance.status()} after {ROUNDS * TICK} s")

    async def rows(self, instance: WorkflowInstance) -> dict[str, StepStatus]:
        return {step.name: step for step in (await instance.status()).steps}

    async def run(self, name: str, cuts: tuple[int, ...]) -> bool:
        """Whether the power failed at all, cut after these numbers of units of the first lives."""
        await self.lab.start(self.flow)
        instance = await self.lab.of(self.flow).create(name)
        early = {step for step, leaf in self.steps.items() if isinstance(leaf, Wait) and leaf.early}
        self.lab.power.left = cuts[0] if cuts else None
        await self.send(instance, early)
        failed = False
        known: dict[str, StepStatus] = {}
        for life in range(len(cuts) + 1):
            if life:
                await self.lab.start(self.flow)
                self.lab.power.left = cuts[life] if life < len(cuts) else None
                instance = await self.lab.of(self.flow).get(name)
                await self.send(instance, early)
            ended = await self.live(instance)
            await self.settled()
            known = self.judge(known, await self.rows(instance), cut=ended is None)
            await self.lab.crash()
            if ended is not None:
                assert (ended.status, ended.error, ended.output) == ("complete", None, expected(self.program))
                assert {step: row.attempts for step, row in known.items() if row.kind == "do"} == {
                    step: leaf.attempts for step, leaf in self.steps.items() if isinstance(leaf, Work)
                }
                assert set(known) == set(self.steps)
                return failed
            failed = True
        raise AssertionError("the last life is not cut off")

    def judge(self, before: dict[str, StepStatus], now: dict[str, StepStatus], *, cut: bool) -> dict[str, StepStatus]:
        """Compare what one life did with what is stored after it."""
        for name, leaf in self.steps.items():
            old, new = before.get(name), now.get(name)
            if isinstance(leaf, Work):
                charged = (0 if new is None else new.attempts) - (0 if old is None else old.attempts)
                unrecorded = self.calls[name] - charged
                assert unrecorded in ((0, 1) if cut else (0,)), f"{name}: {self.calls[name]} calls, {charged} charged"
                assert new is None or new.attempts <= leaf.limit + 1
            elif old is not None and new is not None:
                assert new.due == old.due, f"{name} waits anew"
            if old is not None and old.state in ("complete", "failed"):
                assert new == old, f"{name} was recorded, and is another now"
                assert not self.calls[name], f"{name} was recorded, and ran again"
        self.calls.clear()
        return now


async def cut_everywhere(folder: Path, program: Program, second: int) -> None:
    lab = await Lab.open(folder)
    try:
        trial = Trial(lab, program)
        assert not await trial.run("whole", ())
        cut = 0
        while True:
            trial.sent.clear()
            if not await trial.run(f"cut-{cut}", (cut, (cut + second) % 7 + 1)):
                break
            cut += 1
        assert cut > 1  # its steps, and its end
    finally:
        await lab.close()


SOUND = Work(0, 0, 0.0, 0)
BRANCH_THAT_JUST_ENDED = Parts(
    (Parts((SOUND, Parts((Nap(0.0),), True), SOUND), False), Work(3, 1, 100.0, 2)), parallel=True
)  # fmt: skip


@example(program=BRANCH_THAT_JUST_ENDED, second=0)
@example(program=Wait(early=True), second=0)  # the event comes while the instance leaves memory
@given(program=programs, second=st.integers(0, 6))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_replay_gives_what_the_model_gives_wherever_the_power_failed(program: Program, second: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="moorings-replay-"))
    try:
        asyncio.run(cut_everywhere(folder, program, second))
    finally:
        shutil.rmtree(folder)
