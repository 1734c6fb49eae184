"""What happens to instances from outside of their code: other code, few places, time, operators."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from moorings.errors import (
    WorkflowCodeChanged,
    WorkflowInstanceNotFound,
    WorkflowStateError,
)
from moorings.workflows.engine import SWEEP
from moorings.workflows.entrypoint import WorkflowEntrypoint
from moorings.workflows.step import WorkflowStep
from tests.support.waiting import eventually
from tests.unit.workflows.lab import Lab


async def reaches(seen: list[str], count: int) -> None:
    """Wait until a list has that many entries, and no more."""
    await eventually(lambda: asyncio.sleep(0, len(seen) >= count), f"{count} of {seen}")
    assert len(seen) == count


# --- code that changes under an instance ------------------------------------------------------------------------------


def version(first: str, done: list[str]) -> type[WorkflowEntrypoint]:
    """A workflow whose first step has this name."""

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> list[str]:
            def work(name: str) -> str:
                done.append(name)
                return name

            given = await step.do(first, functools.partial(work, first))
            await step.sleep("nap", "1 hour")
            return [given, await step.do("last", functools.partial(work, "last"))]

    return Flow


async def test_changed_code_fails_with_both_sets_does_nothing_and_goes_on_when_it_is_put_back(lab: Lab) -> None:
    done: list[str] = []
    before, changed = version("fetch", done), version("download", done)
    await lab.start(before)
    instance = await lab.of(before).create("i")
    await lab.reaches(instance, "waiting")
    await lab.crash()
    await lab.start(changed)
    await lab.after(3601)
    instance = await lab.of(changed).get("i")
    ended = await lab.ends(instance)
    assert ended.status == "errored"
    assert ended.error is not None
    assert ended.error.name == WorkflowCodeChanged.__name__
    assert "recorded the steps 'fetch' (do), 'nap' (sleep)" in ended.error.message
    assert "asks for 'download' (do)" in ended.error.message
    assert "put the code back and resume" in ended.error.message
    assert done == ["fetch"]
    await lab.crash()
    await lab.start(before)
    instance = await lab.of(before).get("i")
    await instance.resume()
    assert (await lab.ends(instance)).output == ["fetch", "last"]
    assert done == ["fetch", "last"]


async def test_a_step_of_another_kind_is_changed_code(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        asleep = True

        async def run(self, event: Any, step: Any) -> None:
            await (step.sleep("pause", "1 hour") if self.asleep else step.do("pause", lambda: None))

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    await lab.reaches(instance, "waiting")
    Flow.asleep = False
    await lab.after(3601)
    ended = await lab.ends(instance)
    assert ended.error is not None
    assert "recorded the steps 'pause' (sleep)" in ended.error.message
    assert "asks for 'pause' (do)" in ended.error.message
    Flow.asleep = True
    await instance.resume()
    assert (await lab.ends(instance)).status == "complete"


async def test_an_instance_that_failed_by_itself_is_not_resumed(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            raise ValueError("no")

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    assert (await lab.ends(instance)).status == "errored"
    with pytest.raises(WorkflowStateError, match="can't be resumed; restart it"):
        await instance.resume()


@pytest.mark.parametrize("first", ["do", "sleep"])
async def test_a_branch_that_was_cancelled_after_a_step_is_asked_for_in_each_replay(lab: Lab, first: str) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            branch = asyncio.ensure_future(step.wait_for_event("word", type="word"))
            await (step.do("first", lambda: 1) if first == "do" else step.sleep("first", 5))
            branch.cancel()
            await step.sleep("nap", "1 hour")
            return "rested"

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await lab.reaches(instance, "waiting")
    await lab.after(10)
    await lab.reaches(instance, "waiting")
    await instance.send_event("word")  # wakes it; its branch is there to take it
    await lab.after(3601)
    ended = await lab.ends(instance)
    assert (ended.error, ended.output) == (None, "rested")
    assert {step.name: step.state for step in ended.steps}["word"] == "complete"


async def test_steps_may_come_in_another_order_than_they_were_recorded_in(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        names = ("a", "b")

        async def run(self, event: Any, step: Any) -> list[str]:
            found = [await step.do(name, lambda name=name: name) for name in self.names]
            await step.sleep("nap", "1 hour")
            return found

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    await lab.reaches(instance, "waiting")
    Flow.names = ("b", "a")
    await lab.after(3601)
    assert (await lab.ends(instance)).output == ["b", "a"]


async def test_an_instance_that_waits_for_another_type_of_event_now_is_woken_by_that(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        awaited = "go"

        async def run(self, event: Any, step: Any) -> Any:
            return (await step.wait_for_event("word", type=self.awaited)).payload

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await lab.reaches(instance, "waiting")
    Flow.awaited = "approved"
    await instance.send_event("go", "of the code before")  # wakes it, and nobody takes it

    async def recorded() -> bool:
        return [(Flow.awaited,)] == await lab.store.read("SELECT event_type FROM workflows_steps")

    await eventually(recorded, "what the new code waits for is recorded")
    await lab.reaches(instance, "waiting")
    stored = lab.store.commits
    await lab.clock.settle()
    assert lab.store.commits == stored  # it stays where it is
    await instance.send_event("approved", "of this code")
    assert (await lab.ends(instance)).output == "of this code"


async def test_a_step_inside_of_another_steps_function_fails_that_at_once_and_says_why(lab: Lab) -> None:
    begun: list[int] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            async def outer(ctx: Any) -> Any:
                begun.append(ctx.attempt)
                return await step.do("inner", lambda: 1)

            await step.do("outer", outer)

    await lab.start(Flow)
    ended = await lab.ends(await lab.of(Flow).create())
    assert ended.error is not None
    assert ended.error.name == "NonRetryableError"
    assert "'inner' is begun inside of another step's function; begin it in run()" in ended.error.message
    assert begun == [1]
    assert [step.name for step in ended.steps] == ["outer"]


# --- places -----------------------------------------------------------------------------------------------------------


async def test_max_concurrency_queues_the_rest_and_lets_them_run_in_order(lab: Lab) -> None:
    begun: list[str] = []
    gates = {f"i{number}": asyncio.Event() for number in range(5)}

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            async def work() -> None:
                begun.append(event.instance_id)
                await gates[event.instance_id].wait()

            await step.do("work", work)

    await lab.start(Flow, max_concurrency=2)
    instances = [await lab.of(Flow).create(name) for name in gates]
    await eventually(lambda: asyncio.sleep(0, len(begun) == 2), "two run")
    assert [await lab.status(each) for each in instances] == ["running"] * 2 + ["queued"] * 3
    for number, each in enumerate(instances):
        gates[each.id].set()
        await lab.ends(each)
        await reaches(begun, min(5, number + 3))
    assert begun == list(gates)


async def test_an_instance_that_waits_takes_no_place(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            await step.sleep("nap", "1 hour")

    await lab.start(Flow, max_concurrency=1)
    instances = [await lab.of(Flow).create() for _ in range(3)]
    for each in instances:
        await lab.reaches(each, "waiting")
    await lab.after(3601)
    assert [(await lab.ends(each)).status for each in instances] == ["complete"] * 3


# --- time -------------------------------------------------------------------------------------------------------------


async def test_an_attempt_that_takes_longer_than_its_timeout_is_cancelled_charged_and_repeated(lab: Lab) -> None:
    seen: list[str] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            async def hang() -> None:
                seen.append("begun")
                try:
                    await asyncio.Event().wait()
                finally:
                    seen.append("cancelled")

            await step.do("hang", {"timeout": "1 minute", "retries": {"limit": 1, "delay": 0}}, hang)

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    for count in (1, 3):
        await reaches(seen, count)
        await lab.after(59)
        assert len(seen) == count
        await lab.after(1)
    ended = await lab.ends(instance)
    assert seen == ["begun", "cancelled"] * 2
    assert ended.error is not None
    assert (ended.error.name, ended.steps[0].attempts) == ("StepTimeout", 2)
    assert "'hang' took longer than its timeout of 60 s" in ended.error.message


async def test_code_goes_on_after_a_timeout_that_it_catches(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            try:
                await step.do("hang", {"timeout": 5, "retries": {"limit": 0}}, asyncio.Event().wait)
            except TimeoutError:
                return str(await step.do("instead", lambda: "instead"))
            return "?"

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await lab.reaches(instance, "running")
    await lab.after(5)
    assert (await lab.ends(instance)).output == "instead"


@pytest.mark.parametrize("parked", [True, False], ids=["in the store", "in memory"])
async def test_a_sleep_ends_within_a_minute_after_wall_time_has_jumped_over_its_end(lab: Lab, parked: bool) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            held = None if parked else asyncio.ensure_future(asyncio.Event().wait())
            await step.sleep("nap", "8 hours")
            if held is not None:
                held.cancel()
            return "woken"

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await lab.reaches(instance, "waiting" if parked else "running", "waiting")
    lab.clock.jump(8 * 3600)  # the machine was suspended
    await lab.after(60)
    assert (await lab.ends(instance)).output == "woken"


async def test_an_ended_instance_is_forgotten_after_its_retention_and_its_id_is_free(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            await step.do("work", lambda: None)
            return "over"

    await lab.start(Flow, retention="2 days")
    short = await lab.of(Flow).create("short", retention="1 hour")
    usual = await lab.of(Flow).create("usual")
    for each in (short, usual):
        await lab.ends(each)
    await lab.after(3600 + SWEEP)
    await lab.store.flush()
    with pytest.raises(WorkflowInstanceNotFound):
        await short.status()
    assert await lab.status(usual) == "complete"
    await lab.after(2 * 86_400)
    await lab.store.flush()
    with pytest.raises(WorkflowInstanceNotFound):
        await lab.of(Flow).get("usual")
    for table in ("instances", "steps", "events"):
        assert await lab.store.read(f"SELECT count(*) FROM workflows_{table}") == [(0,)]
    assert (await lab.ends(await lab.of(Flow).create("short"))).output == "over"


async def test_events_keep_their_order_across_a_restart_after_which_the_clock_was_set_back(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> list[Any]:
            await step.wait_for_event("go", type="go")
            return [(await step.wait_for_event(name, type="news")).payload for name in ("first", "second")]

    await lab.start(Flow)
    await lab.after(1000)
    instance = await lab.of(Flow).create("i")
    await lab.reaches(instance, "waiting")
    await instance.send_event("news", 1)
    await lab.crash()
    lab.clock.jump(-500)
    await lab.start(Flow)
    instance = await lab.of(Flow).get("i")
    await instance.send_event("news", 2)
    await instance.send_event("go")
    assert (await lab.ends(instance)).output == [1, 2]


async def test_an_event_whose_sender_has_gone_meanwhile_wakes_the_instance(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            return str((await step.wait_for_event("go", type="go")).payload)

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await lab.reaches(instance, "waiting")
    sending = asyncio.ensure_future(instance.send_event("go", "gone"))
    await asyncio.sleep(0)  # it waits for the disk
    sending.cancel()
    await asyncio.wait((sending,))
    assert sending.cancelled()
    assert (await lab.ends(instance)).output == "gone"


# --- operators --------------------------------------------------------------------------------------------------------


async def test_terminate_cancels_the_running_step_and_nothing_of_it_is_recorded(lab: Lab) -> None:
    begun = asyncio.Event()
    seen: list[str] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            async def work() -> str:
                begun.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    seen.append("cut off")
                return "?"

            try:
                await step.do("work", work)
            finally:
                seen.append("unwound")
                await step.do("late", lambda: seen.append("late"))

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    await begun.wait()
    await instance.terminate()
    assert seen == ["cut off", "unwound"]
    assert not lab.engine.live
    ended = await instance.status()
    assert [(step.name, step.state, step.attempts) for step in ended.steps] == [("work", "running", 0)]
    assert (ended.status, ended.output, ended.error) == ("terminated", None, None)
    with pytest.raises(WorkflowStateError, match="terminated"):
        await instance.terminate()
    await lab.crash()
    await lab.start(Flow)
    await lab.after(86_400)
    assert await lab.status(await lab.of(Flow).get("i")) == "terminated"


async def test_restart_begins_anew_with_the_same_params_whatever_the_instance_does(lab: Lab) -> None:
    runs: list[Any] = []
    go = asyncio.Event()

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> int:
            async def work() -> int:
                runs.append(event.payload)
                if len(runs) == 1:
                    await asyncio.Event().wait()
                return len(runs)

            number = await step.do("work", work)
            await step.wait_for_event("go", type="go")
            go.set()
            return int(number)

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i", {"a": 1})
    await eventually(lambda: asyncio.sleep(0, len(runs) == 1), "the step runs")
    await instance.restart()  # while a step runs
    await lab.reaches(instance, "waiting")
    await instance.restart()  # while it waits
    await eventually(lambda: asyncio.sleep(0, len(runs) == 3), "it began anew")
    await lab.reaches(instance, "waiting")
    await instance.send_event("go")
    assert (await lab.ends(instance)).output == 3
    await instance.restart()  # when it has ended; the event that was taken isn't there any more
    again = await lab.reaches(instance, "waiting")
    assert (again.output, [step.name for step in again.steps]) == (None, ["work", "go"])
    await instance.send_event("go")
    assert (await lab.ends(instance)).output == 4
    assert runs == [{"a": 1}] * 4


# --- the decorator ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrent", [False, True])
async def test_a_decorated_step_gets_the_results_of_those_its_parameters_name_each_run_once(
    lab: Lab, concurrent: bool
) -> None:
    ran: list[str] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: WorkflowStep) -> Any:
            @step.do()
            async def base() -> int:
                ran.append("base")
                return 2

            @step.do("doubled", {"retries": {"limit": 0}})
            async def double(base: int) -> int:
                ran.append("double")
                return base * 2

            @step.do()
            def triple(base: int) -> int:
                ran.append("triple")
                return base * 3

            @step.do("sum", concurrent=concurrent)
            async def total(double: int, triple: int, plus: int, ctx: Any = None) -> list[int]:
                ran.append("total")
                return [double + triple + plus, ctx.attempt]

            result = await total(plus=1)
            await step.sleep("nap", "1 hour")
            return result

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    await lab.reaches(instance, "waiting")
    await lab.crash()
    await lab.start(Flow)
    await lab.after(3601)
    ended = await lab.ends(await lab.of(Flow).get("i"))
    assert ended.output == [11, 1]
    assert sorted(step.name for step in ended.steps) == ["base", "doubled", "nap", "sum", "triple"]
    assert sorted(ran) == ["base", "double", "total", "triple"]


async def test_a_decorated_steps_failure_is_that_of_those_that_depend_on_it(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: WorkflowStep) -> None:
            @step.do("base", {"retries": {"limit": 0}})
            async def base() -> None:
                raise ValueError("no base")

            @step.do()
            async def above(base: None) -> None:
                raise AssertionError("it has nothing to stand on")

            await above()

    await lab.start(Flow)
    ended = await lab.ends(await lab.of(Flow).create())
    assert ended.error is not None
    assert (ended.error.name, ended.error.message) == ("ValueError", "no base")
    assert [(step.name, step.state) for step in ended.steps] == [("base", "failed")]
