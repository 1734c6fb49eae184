"""Spares when the platform dies, and when it comes back with another version of the class."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moorings.runtimes.base import OnClose
from tests.unit.containers.support import harness
from tests.unit.containers.warm import LOG, SCRIPT, Backend, owners, warmed


@pytest.fixture(autouse=True)
def empty_log() -> None:
    LOG.clear()


async def test_spares_are_found_again_after_the_platform_died() -> None:
    async with harness(Backend, SCRIPT) as h:
        tokens = await warmed(h)
        new = await h.restarted()
        await new.clock.advance(1)
        assert (new.machine.running, new.pool.ready, len(new.machine.started)) == (tokens, 2, 2)
        assert new.controller("a").slots.used == 2
        await new.stub("alice").start_and_wait_for_ports()
        assert owners(new) == {tokens[0]: ["alice"], tokens[1]: ["(spare)"]}
        await new.close()


async def test_a_claim_that_was_stored_holds_although_the_platform_died_before_the_hand_over() -> None:
    class Hanging(Backend):
        def on_start(self) -> Any:
            LOG.append("on_start")
            return asyncio.Event().wait() if len(LOG) == 1 else None

    async with harness(Hanging, SCRIPT) as h:
        first, second = await warmed(h)
        request = asyncio.ensure_future(h.stub("alice").start_and_wait_for_ports())
        await h.settle()
        container = h.machine.find(first)
        assert container is not None
        await h.runtime.assign(first, "", None)  # as if the platform had died before it was told
        new = await h.restarted()
        await asyncio.gather(request, return_exceptions=True)
        await new.run(new.stub("alice").start_and_wait_for_ports())
        assert LOG == ["on_start", "on_start"]
        assert owners(new)[first] == ["alice"]
        assert new.machine.assigned[-1][::2] == (first, "alice")
        assert {first, second} <= set(new.machine.running)
        await new.close()


async def test_a_claim_that_was_not_stored_leaves_a_spare() -> None:
    async with harness(Backend, SCRIPT) as h:
        tokens = await warmed(h)
        rows, spares = dict(h.records.rows), dict(h.records.spare_rows)
        await h.stub("alice").start_and_wait_for_ports()
        h.records.rows, h.records.spare_rows = rows, spares
        new = await h.restarted()
        await new.clock.advance(1)
        assert (new.machine.running, new.pool.ready) == (tokens, 2)
        assert owners(new) == {token: ["(spare)"] for token in tokens}
        assert (await new.stub("alice").get_state()).status == "stopped"
        await new.close()


async def test_a_spare_whose_row_was_not_stored_is_removed() -> None:
    async with harness(Backend, SCRIPT) as h:
        tokens = await warmed(h)
        h.records.spare_rows.clear()
        new = await h.restarted()
        await new.settle()
        assert not set(tokens) & set(new.machine.running)
        await warmed(new)
        await new.close()


async def test_spares_that_ended_while_the_platform_was_away_are_forgotten_and_replaced() -> None:
    async with harness(Backend, SCRIPT) as h:
        first, second = await warmed(h)
        await h.runtime.close(OnClose.KEEP)
        h.machine.end(first, 1)
        new = await h.restarted()
        await warmed(new)
        assert first not in owners(new)
        assert new.machine.find(first) is None
        assert (second in new.machine.running, LOG) == (True, [])
        await new.close()


@pytest.mark.parametrize(
    "changes", [{"env_vars": {"MODE": "new"}}, {"entrypoint": ("other",)}, {"warm_spares": 0}, {"warm_spares": 1}]
)
@pytest.mark.parametrize("how", ["reload", "restart"])
async def test_spares_that_the_new_version_does_not_want_are_replaced(how: str, changes: dict[str, Any]) -> None:
    changed = type("Backend", (Backend,), changes)
    async with harness(Backend, SCRIPT) as h:
        old = await warmed(h)
        if how == "reload":
            h.objects.reload(h.application(changed), {})
            new = h
        else:
            new = await h.restarted(changed)
        await warmed(new)
        kept = set(old) & set(new.machine.running)
        if "warm_spares" in changes:
            assert (len(kept), len(new.machine.running)) == (changes["warm_spares"],) * 2
        else:
            assert (len(kept), len(new.machine.running)) == (0, 2)
        assert set(owners(new)) == set(new.machine.running)
        assert new.controller("a").slots.used == len(new.machine.running)
        if how == "restart":
            await new.close()
