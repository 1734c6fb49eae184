"""What journals of steps are known to get wrong, one section each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moorings.errors import StepNameUsed
from moorings.observer import ErrorReported
from moorings.workflows import records
from moorings.workflows.engine import BATCH
from moorings.workflows.entrypoint import WorkflowEntrypoint
from moorings.workflows.operations import new_instance
from tests.support.waiting import eventually
from tests.unit.workflows.lab import Lab

# --- 1. one bad statement rolled back its whole batch -----------------------------------------------------------------


async def test_an_instance_whose_write_fails_takes_no_step_of_another_with_it(lab: Lab) -> None:
    begun: list[str] = []
    go = asyncio.Event()

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            async def wait() -> str:
                begun.append(event.instance_id)
                await go.wait()
                return "done"

            await step.do("wait", wait)

    await lab.start(Flow)
    sound, robbed = [await lab.of(Flow).create(name) for name in ("sound", "robbed")]
    await eventually(lambda: asyncio.sleep(0, len(begun) == 2), "both steps run")
    await lab.store.flush()
    row = await lab.operations.find("Flow", "robbed")
    await lab.store.group("thief").write("UPDATE workflows_instances SET fence = 77 WHERE id_key = ?", (row.key,))
    go.set()  # both record their step in one turn; one of them is no longer the owner
    assert (await lab.ends(sound)).status == "complete"
    assert (await robbed.status()).steps[0].state == "running"


# --- 2. parking while a branch goes on, and users' finally blocks -----------------------------------------------------


async def test_a_branch_that_runs_is_not_orphaned_while_another_sleeps(lab: Lab) -> None:
    go = asyncio.Event()
    seen: list[str] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> tuple[Any, ...]:
            async def work() -> str:
                await go.wait()
                seen.append("worked")
                return "worked"

            async def branch() -> Any:
                try:
                    return await step.do("work", work)
                finally:
                    seen.append("finally")

            return await asyncio.gather(branch(), step.sleep("nap", "1 hour"))

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await lab.after(500)
    assert (await instance.status()).status == "running"
    assert seen == []
    go.set()
    await lab.reaches(instance, "waiting")
    assert seen == ["worked", "finally"]
    await lab.after(3101)
    assert (await lab.ends(instance)).output == ["worked", None]


@pytest.mark.parametrize("form", ["gather", "task group", "wait", "as completed", "task", "lock"])
async def test_a_run_leaves_memory_when_all_of_its_branches_wait(lab: Lab, form: str) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            if form == "lock":
                lock = asyncio.Lock()

                async def in_turn(number: int) -> None:
                    async with lock:
                        await step.sleep(f"nap {number}", "1 hour")

                await asyncio.gather(*map(in_turn, range(3)))
                return "rested"
            naps = [step.sleep(f"nap {number}", "1 hour") for number in range(3)]
            if form == "gather":
                await asyncio.gather(*naps)
            elif form == "task group":
                async with asyncio.TaskGroup() as group:
                    for nap in naps:
                        group.create_task(nap)
            elif form == "wait":
                await asyncio.wait([asyncio.ensure_future(nap) for nap in naps])
            elif form == "as completed":
                for each in asyncio.as_completed(naps):
                    await each
            else:
                for task in [asyncio.ensure_future(nap) for nap in naps]:
                    await task
            return "rested"

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    for _ in range(3 if form == "lock" else 1):
        await lab.reaches(instance, "waiting")
        assert not lab.engine.live
        await lab.after(3601)
    assert (await lab.ends(instance)).output == "rested"


async def test_a_branch_that_waits_for_something_else_keeps_the_run_in_memory(lab: Lab) -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> Any:
            async def foreign() -> str:
                return await answer

            background = asyncio.ensure_future(foreign())  # nobody awaits it yet
            await step.sleep("nap", "1 hour")
            return await background

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await lab.after(1800)
    assert len(lab.engine.live) == 1
    answer.set_result("it came")
    await lab.after(1801)
    assert (await lab.ends(instance)).output == "it came"


async def test_what_finally_blocks_ask_for_while_parking_does_not_happen(lab: Lab) -> None:
    happened: list[str] = []
    refused: list[str] = []

    class Other(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            happened.append("created")

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            async def asking(what: str, call: Any) -> None:
                try:
                    await call()
                except asyncio.CancelledError:
                    refused.append(what)
                    raise

            try:
                await step.sleep("nap", "1 hour")
            except Exception:
                happened.append("except Exception")
                raise
            finally:
                unwound = lab.clock.time() < 1_000_000_000.0 + 3600
                for what, call in {
                    "do": lambda: step.do("late", lambda: happened.append("did")),
                    "sleep": lambda: step.sleep("late nap", 1),
                    "event": lambda: step.wait_for_event("late event", type="x"),
                    "create": lambda: self.env.create(),
                }.items():
                    if unwound:
                        try:
                            await asking(what, call)
                        except asyncio.CancelledError:
                            continue
            return "woken"

    await lab.start(Flow, Other)
    lab.env = lab.of(Other)
    instance = await lab.of(Flow).create()
    await lab.reaches(instance, "waiting")
    assert refused == ["do", "sleep", "event", "create"]
    assert happened == []
    await lab.after(3601)
    assert (await lab.ends(instance)).output == "woken"
    assert [step.name for step in (await instance.status()).steps] == ["nap"]


# --- 3. two live steps of one name ------------------------------------------------------------------------------------


async def test_a_second_use_of_a_name_is_an_error_that_suggests_the_item(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            for item in ("a", "b"):
                await step.do("resize", lambda item=item: item)

    await lab.start(Flow)
    ended = await lab.ends(await lab.of(Flow).create())
    assert ended.error is not None
    assert ended.error.name == StepNameUsed.__name__
    assert "'resize' is used a second time" in ended.error.message
    assert 'step.do(f"resize {item}", ...)' in ended.error.message


async def test_a_name_is_used_once_among_live_branches_and_kinds_too(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> list[Any]:
            results = await asyncio.gather(
                step.do("one", lambda: 1), step.sleep("one", 0), step.do("one", lambda: 2), return_exceptions=True
            )
            return [type(result).__name__ for result in results]

    await lab.start(Flow)
    assert (await lab.ends(await lab.of(Flow).create())).output == ["int", "StepNameUsed", "StepNameUsed"]


# --- 4. the attempt count and the time of the next retry survive ------------------------------------------------------


async def test_attempts_and_the_time_of_the_next_one_survive_a_crash(lab: Lab) -> None:
    attempts: list[float] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            def fail() -> None:
                attempts.append(lab.clock.time() - 1_000_000_000.0)
                raise ValueError("no")

            config = {"retries": {"limit": 2, "delay": "10 minutes", "backoff": "linear"}}
            await step.do("fail", config, fail)

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    await lab.reaches(instance, "waiting")
    await lab.crash()
    await lab.after(300)
    await lab.start(Flow)
    instance = await lab.of(Flow).get("i")
    await lab.after(299)
    assert attempts == [0.0]
    assert (await instance.status()).steps[0].attempts == 1
    await lab.after(1)
    await eventually(lambda: asyncio.sleep(0, len(attempts) == 2), "the second attempt")
    await lab.reaches(instance, "waiting")
    await lab.crash()
    await lab.start(Flow)
    await lab.after(1200)
    ended = await lab.ends(await lab.of(Flow).get("i"))
    assert attempts == [0.0, 600.0, 1800.0]
    assert ended.steps[0].attempts == 3
    assert ended.error is not None
    assert (ended.error.name, ended.error.message) == ("ValueError", "no")


async def test_an_attempt_that_a_crash_cut_off_is_recorded_and_not_charged(lab: Lab) -> None:
    begun = asyncio.Event()
    go = asyncio.Event()
    runs: list[str] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            async def work() -> None:
                runs.append("begun")
                begun.set()
                await go.wait()
                raise ValueError("no")

            await step.do("work", {"retries": {"limit": 0}}, work)

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    for cut_off in range(3):
        await begun.wait()
        await lab.store.flush()
        (step,) = (await instance.status()).steps
        assert (step.state, step.attempts, step.cut_off) == ("running", 0, cut_off)
        begun.clear()
        await lab.crash()
        await lab.start(Flow)
        instance = await lab.of(Flow).get("i")
    await begun.wait()
    go.set()
    (step,) = (await lab.ends(instance)).steps
    assert (step.state, step.attempts, step.cut_off) == ("failed", 1, 3)
    assert len(runs) == 4


# --- 5. a fencing token on every write --------------------------------------------------------------------------------


async def test_a_run_whose_instance_has_another_owner_writes_nothing_more(lab: Lab) -> None:
    begun = asyncio.Event()
    go = asyncio.Event()
    after: list[str] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            async def work() -> str:
                begun.set()
                await go.wait()
                return "the old owner's"

            await step.do("work", work)
            after.append("went on")
            return "over"

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    await begun.wait()
    row = await lab.operations.find("Flow", "i")
    await lab.store.group("another node").write(records.CLAIM, (row.key, row.fence), expect=1)
    go.set()
    await eventually(lambda: asyncio.sleep(0, not lab.engine.live), "the old owner has let go")
    assert after == []
    now = await lab.operations.find("Flow", "i")
    assert (now.fence, now.status, now.output) == (row.fence + 1, "running", None)
    assert (await instance.status()).steps[0].output is None
    errors = [event for event in lab.observer.events if isinstance(event, ErrorReported)]
    assert [type(event.error).__name__ for event in errors] == ["StoreConflict"]


# --- 6. pause lets the running step finish ----------------------------------------------------------------------------


async def test_pause_lets_the_running_step_end_and_records_it_then_stands_still(lab: Lab) -> None:
    begun = asyncio.Event()
    go = asyncio.Event()
    seen: list[str] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            async def first() -> str:
                begun.set()
                await go.wait()
                seen.append("first")
                return "first"

            await step.do("first", first)
            await step.do("second", lambda: seen.append("second"))
            return "over"

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    await begun.wait()
    await instance.pause()
    assert (await instance.status()).status == "waiting_for_pause"
    go.set()
    paused = await lab.reaches(instance, "paused")
    assert [(step.name, step.state) for step in paused.steps] == [("first", "complete")]
    assert seen == ["first"]
    await lab.crash()
    await lab.start(Flow)
    instance = await lab.of(Flow).get("i")
    assert (await instance.status()).status == "paused"
    await instance.resume()
    assert (await lab.ends(instance)).output == "over"
    assert seen == ["first", "second"]


async def test_paused_and_terminated_are_different_states(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            await step.sleep("nap", "1 hour")

    await lab.start(Flow)
    paused, terminated = [await lab.of(Flow).create(name) for name in ("paused", "terminated")]
    for instance in (paused, terminated):
        await lab.reaches(instance, "waiting")
    await paused.pause()
    await terminated.terminate()
    await lab.after(7200)
    assert (await lab.status(paused), await lab.status(terminated)) == ("paused", "terminated")
    await paused.resume()
    assert (await lab.ends(paused)).status == "complete"


# --- 7. a class that is unknown at recovery ---------------------------------------------------------------------------


async def test_instances_of_a_class_that_is_gone_stay_queued_until_it_is_back(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            await step.wait_for_event("go", type="go")
            return "over"

    class Kept(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            return None

    await lab.start(Flow)
    begun = await lab.of(Flow).create("i")
    await lab.reaches(begun, "waiting")
    await begun.send_event("go", None)
    await lab.crash()
    await lab.start(Kept)
    await lab.after(3600)
    assert (await lab.operations.status("Flow", "i")).status in ("queued", "waiting")
    await lab.start(Flow)
    assert (await lab.ends(await lab.of(Flow).get("i"))).output == "over"


# --- 8. the row that says "started" is awaited by nobody --------------------------------------------------------------


async def test_a_step_is_seen_running_and_its_function_did_not_wait_for_that(lab: Lab) -> None:
    commits: list[int] = []
    begun = asyncio.Event()
    go = asyncio.Event()

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            before = lab.store.commits

            async def work() -> None:
                commits.append(lab.store.commits - before)
                begun.set()
                await go.wait()

            await step.do("work", work)

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await begun.wait()
    assert commits == [0]
    await lab.store.flush()
    assert [(step.name, step.state) for step in (await instance.status()).steps] == [("work", "running")]
    go.set()
    await lab.ends(instance)


# --- 9. limits, a bounded look for what is due, early events ----------------------------------------------------------


async def test_a_result_over_1_mib_fails_its_step_with_the_size_in_the_error(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            await step.do("fits", lambda: "x" * ((1 << 20) - 2))
            await step.do("big", lambda: "x" * (1 << 20))

    await lab.start(Flow)
    ended = await lab.ends(await lab.of(Flow).create())
    assert [(step.name, step.state, step.attempts) for step in ended.steps] == [
        ("fits", "complete", 1),
        ("big", "failed", 1),
    ]
    assert ended.error is not None
    assert "1,048,578 bytes as JSON, and 1 MiB is the limit" in ended.error.message


async def test_what_is_due_is_read_in_bounded_pieces_and_in_order(lab: Lab) -> None:
    order: list[int] = []
    count = BATCH + 50

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            await step.sleep("nap", 3600 + event.payload)
            order.append(event.payload)

    await lab.start(Flow)
    await lab.operations.create_all("Flow", [new_instance(f"i{number}", number) for number in range(count)])
    await eventually(lambda: asyncio.sleep(0, not lab.engine.live), "all sleep")
    largest: list[int] = []
    read = lab.store.read

    async def watched(sql: str, args: Any = ()) -> Any:
        rows = await read(sql, args)
        largest.append(len(rows))
        return rows

    lab.power.read = watched  # type: ignore[method-assign]
    await lab.after(3600 + count)
    await eventually(lambda: asyncio.sleep(0, len(order) == count), "all have woken")
    assert order == sorted(order)
    assert max(largest) <= 2 * BATCH + 1


async def test_an_event_that_comes_before_anybody_waits_for_it_is_kept_also_across_a_crash(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> list[Any]:
            await step.sleep("nap", "1 hour")
            return [(await step.wait_for_event(name, type="news")).payload for name in ("first", "second")]

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    await instance.send_event("news", 1)
    await lab.reaches(instance, "waiting")
    await instance.send_event("news", {"two": 2})
    await instance.send_event("other", 3)
    await lab.crash()
    await lab.start(Flow)
    await lab.after(3601)
    assert (await lab.ends(await lab.of(Flow).get("i"))).output == [1, {"two": 2}]
