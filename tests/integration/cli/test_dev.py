"""``moorings dev`` while somebody develops: reloads, restarts, errors and Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.platform import Mode, Platform
from tests.support.raw import get

WORKER = """
from moorings import Container, Response, WorkerEntrypoint


class Box(Container):
    image = "./box"
    entrypoint = ["python", "server.py"]
    default_port = 3000
    stop_grace = "1h"


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        if request.url.path == "/fail":
            raise KeyError("the handler's fault")
        if request.url.path == "/secret":
            return Response(self.env.SECRET)
        if request.url.path == "/version":
            return Response("one")
        return await self.env.BOX.get_by_name("alice").fetch(request)
"""
SERVER = """
import os, signal
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())

print("a box is open", flush=True)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

Edit = Callable[[str, str, str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A worker's folder."""
    (tmp_path / "app" / "box").mkdir(parents=True)
    (tmp_path / "app" / "worker.py").write_text(WORKER)
    (tmp_path / "app" / "box" / "server.py").write_text(SERVER)
    (tmp_path / "app" / ".dev.vars").write_text("SECRET=first\n")
    return tmp_path / "app"


@pytest.fixture
def platform(folder: Path, tmp_path: Path) -> Iterator[Platform]:
    """It, served."""
    with Platform(folder / "worker.py", tmp_path / "platform", mode=Mode.DEV) as served:
        yield served


@pytest.fixture
def edit(folder: Path) -> Edit:
    """``edit(file, old, new)``."""

    def edit(name: str, old: str, new: str) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return edit


async def fetch(platform: Platform, target: str = "/") -> str:
    answer = await get(platform.address, target)
    assert answer.status == 200, answer.text()
    return answer.text()


async def until(platform: Platform, pattern: str) -> None:
    await asyncio.to_thread(platform.wait_for_output, pattern)


async def test_states_and_output_are_shown_with_the_containers_name(platform: Platform) -> None:
    await fetch(platform)
    await until(platform, r"^Box/alice \| a box is open$")
    await until(platform, r"^Box/alice healthy after [0-9]+ ms$")


async def test_a_changed_worker_is_served_and_its_containers_keep_running(platform: Platform, edit: Edit) -> None:
    process = await fetch(platform)
    edit("worker.py", '"one"', '"two"')
    await until(platform, r"^reloaded worker.py in [0-9]+ ms$")
    assert await fetch(platform, "/version") == "two"
    assert await fetch(platform) == process


async def test_changed_start_options_restart_the_container_and_say_why(platform: Platform, edit: Edit) -> None:
    process = await fetch(platform)
    edit("worker.py", "default_port = 3000", "default_port = 3001")
    await until(platform, r"reloaded worker.py in [0-9]+ ms; restarted: Box/alice \(ports changed\)")
    assert await fetch(platform) != process


async def test_a_changed_program_restarts_its_containers(platform: Platform, edit: Edit) -> None:
    process = await fetch(platform)
    edit("box/server.py", "a box is open", "a new box is open")
    await until(platform, r"reloaded box/server.py .*restarted: Box/alice \(box/server.py changed\)")
    assert await fetch(platform) != process
    await until(platform, r"^Box/alice \| a new box is open$")


async def test_a_worker_that_does_not_load_leaves_the_old_version_serving(platform: Platform, edit: Edit) -> None:
    edit("worker.py", 'Response("one")', "Response($)")
    await until(platform, r"worker.py does not load, the old version keeps serving")
    await until(platform, r"SyntaxError")
    assert await fetch(platform, "/version") == "one"
    edit("worker.py", "Response($)", 'Response("two")')
    await until(platform, r"^reloaded worker.py")
    assert await fetch(platform, "/version") == "two"


async def test_changed_variables_reach_env(platform: Platform, edit: Edit) -> None:
    assert await fetch(platform, "/secret") == "first"
    edit(".dev.vars", "first", "second")
    await until(platform, r"^reloaded .dev.vars")
    assert await fetch(platform, "/secret") == "second"


async def test_a_variable_that_a_class_shadows_is_told(platform: Platform, edit: Edit) -> None:
    edit(".dev.vars", "SECRET", "BOX=x\nSECRET")
    await until(platform, r"the variable BOX isn't in env: BOX is that of the class Box")


async def test_an_error_is_shown_with_the_users_frames_and_told_to_the_client(platform: Platform) -> None:
    answer = await get(platform.address, "/fail")
    assert answer.status == 500
    assert "the handler's fault" in answer.json()["traceback"]
    await until(platform, r"^error in GET /fail")
    await until(platform, r"raise KeyError")
    assert "server_connection.py" not in platform.output


async def test_ctrl_c_says_what_it_does_and_ends_with_zero(platform: Platform) -> None:
    await fetch(platform)
    os.kill(platform.pid, signal.SIGINT)
    await until(platform, r"^stopping 1 container; Ctrl-C again to kill them at once$")
    await until(platform, r"^Box/alice stopped$")
    await until(platform, r"^stopped$")


async def test_a_second_ctrl_c_kills_a_container_that_does_not_listen(platform: Platform, edit: Edit) -> None:
    edit("box/server.py", "print(", "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(")
    await until(platform, r"^reloaded box/server.py")
    process = int(await fetch(platform))
    os.kill(platform.pid, signal.SIGINT)
    await until(platform, r"^Box/alice stopping$")
    os.kill(platform.pid, signal.SIGINT)
    await until(platform, r"^killing what is left$")
    await until(platform, r"^stopped$")
    assert not psutil.pid_exists(process)
