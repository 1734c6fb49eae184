"""A class that keeps warm spares, and ways to look at them."""

from __future__ import annotations

from typing import Any

from moorings.containers.container import Container
from moorings.observer import Notice
from moorings.runtimes.fake import Listens, Script, Waits
from tests.unit.containers.support import Harness

LOG: list[str] = []


class Backend(Container):
    entrypoint = ("server",)
    default_port = 3000
    sleep_after = "60s"
    max_instances = 4
    warm_spares = 2
    env_vars = {"MODE": "fast"}

    def on_start(self) -> Any:
        LOG.append(f"on_start {self.ctx.id.name}")

    def on_exit(self, exit_code: int, reason: str) -> None:
        LOG.append(f"on_exit {self.ctx.id.name} {exit_code} {reason}")


SCRIPT = Script([Waits(2), Listens(3000)])


async def warmed(h: Harness) -> list[str]:
    """Let the pool fill. Returns the tokens of the spares."""
    for _ in range(40):
        await h.clock.advance(0.5)
    assert h.pool.ready == h.pool.options.warm_spares
    return h.machine.running


def owners(h: Harness) -> dict[str, list[str]]:
    """Who has which token, by what is stored: spares under their own name."""
    found: dict[str, list[str]] = {}
    for record in h.records.rows.values():
        if record.token is not None:
            found.setdefault(record.token, []).append(record.name or "")
    for token in h.records.spare_rows:
        found.setdefault(token, []).append("(spare)")
    return found


def warnings(h: Harness) -> list[str]:
    return [event.message for event in h.recorder.events if isinstance(event, Notice) and event.level == "warning"]
