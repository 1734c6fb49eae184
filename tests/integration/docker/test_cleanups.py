"""What others remove from an Engine while nobody needs it: ``docker system prune`` takes the networks and images of
containers that sleep, and is no reason for a request to fail."""

from __future__ import annotations

from pathlib import Path

from moorings.runtimes.docker.runtime import DockerRuntime
from moorings.runtimes.fake import Exits, Prints
from tests.contract.runtime_labs import DockerLab, Events
from tests.integration.docker.boxes import Box
from tests.integration.docker.test_lives import app, moorings, tags
from tests.support.platform import Mode, Platform
from tests.support.waiting import eventually
from tools.engine import Engine


async def test_a_network_that_was_pruned_while_everything_slept_is_made_anew_by_the_next_start(
    lab: DockerLab, runtime: DockerRuntime, events: Events, engine: Engine
) -> None:
    first, second = lab.spec(Exits(0)), lab.spec(Prints("up"))
    await runtime.start(first)
    await events.exit_of(first.token)
    await runtime.forget(first.token)
    assert engine.ask("POST", "/networks/prune")["NetworksDeleted"]
    await runtime.start(second)
    await events.line(second.token, "up")
    assert len(lab.engine.containers(label=[f"dev.moorings.app={second.app}"])) == 1


async def test_an_image_that_was_removed_while_its_class_slept_is_built_anew_by_the_next_request(
    engine: Engine, tmp_path: Path
) -> None:
    with Platform(app(tmp_path), tmp_path / "platform", mode=Mode.SERVE, engine=engine) as platform:
        box = Box(platform, "one")
        await box.ask()
        [container] = platform.docker_containers()
        engine.ask("POST", f"/containers/{container['Id']}/kill")

        async def removed() -> bool:
            return not platform.docker_containers()

        await eventually(removed, "the container is removed")
        engine.ask("DELETE", f"/images/{container['Image']}?force=1")
        answers = [await box.get(), await box.get()]
        assert [answer.status for answer in answers] == [200, 200], answers[0].text()


async def test_pruning_an_apps_images_leaves_names_that_are_somebody_elses_and_what_was_made_from_them(
    engine: Engine, tmp_path: Path
) -> None:
    worker = app(tmp_path)
    with Platform(worker, tmp_path / "platform", mode=Mode.SERVE, engine=engine) as platform:
        await Box(platform, "one").ask()
        [container] = platform.docker_containers()
        engine.ask("POST", f"/images/{container['Image']}/tag?repo=mine&tag=kept")
        engine.ask("POST", f"/commit?container={container['Id']}&repo=mine&tag=committed")
    (tmp_path / "container" / "new").touch()
    try:
        shown = moorings(engine, "image", "prune", str(worker))
        assert tags(engine, tmp_path) == ["mine:committed", "mine:kept"], shown
        assert f"removed {container['Image']}" in shown
    finally:
        for name in ("mine:committed", "mine:kept"):
            engine.ask("DELETE", f"/images/{name}")
