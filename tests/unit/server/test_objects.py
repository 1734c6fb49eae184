"""Taking new versions of an app while containers of the old one run."""

from __future__ import annotations

from dataclasses import replace

from moorings import Container
from moorings.runtimes.fake import Script
from tests.unit.containers.support import Harness, harness


class Box(Container):
    entrypoint = ("program",)
    default_port = 3000


async def test_a_class_put_back_while_its_container_runs_outdates_the_container() -> None:
    async with harness(Box, Script()) as h:
        await h.run(h.controller().start())
        there = Harness.application(Box)
        gone = replace(there, objects={}, options={})
        assert h.objects.reload(gone, {}) == [h.controller()]
        assert h.objects.reload(there, {}) == [h.controller()]
        assert h.objects.reload(there, {}) == []
        assert h.objects.env["BOX"] is h.namespace
