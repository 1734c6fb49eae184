"""``moorings serve``: its log, and what clients are not told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.platform import Platform
from tests.support.raw import Connection, Truncated, get, request

WORKER = """
import asyncio
import logging
import sys
from pathlib import Path
from moorings import Container, Response, WorkerEntrypoint


class Box(Container):
    entrypoint = [sys.executable, "-c", "print('no configuration'); raise SystemExit(7)"]
    default_port = 3000


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        if request.url.path == "/fail":
            raise KeyError("a secret")
        if request.url.path == "/variables":
            return Response.json({name: self.env[name] for name in self.env if name.startswith("VAR_")})
        if request.url.path == "/talk":
            print("first\\nthird")
            print("second", file=sys.stderr)
            logger = logging.getLogger("shop")
            logger.warning("%d of %d", 3, 4)
            logger.debug("not for production")
            try:
                1 / 0
            except ZeroDivisionError:
                logger.exception("no luck")
            print("without an end", end="")
            print()
            return Response("talked")
        if request.url.path == "/wait":
            while not Path(request.url.query["for"]).exists():
                await asyncio.sleep(0.01)
            return Response("done")
        return await self.env.BOX.get_by_name("alice").fetch(request)
"""


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A worker that fails in two ways."""
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / ".dev.vars").write_text("VAR_OF_DEV=never here\n")
    (tmp_path / "secrets.env").write_text("# secrets\nexport VAR_TOKEN='a b'\n")
    options = ["--env-file", str(tmp_path / "secrets.env")]
    with Platform(tmp_path / "worker.py", tmp_path / "platform", options=options) as served:
        yield served


def log(platform: Platform) -> list[dict[str, Any]]:
    """Every line of the log."""
    return [json.loads(line) for line in platform.output.splitlines()]


async def test_the_log_is_json_and_says_where_it_listens(platform: Platform) -> None:
    [line] = [line for line in log(platform) if line["message"] == "listening"]
    assert line["url"] == f"http://127.0.0.1:{platform.address[1]}"
    assert line["level"] == "info"
    assert line["time"].endswith("Z")


async def test_the_log_names_bindings_and_variables_but_no_values(platform: Platform) -> None:
    [line] = [line for line in log(platform) if line["message"] == "bound"]
    assert line["bindings"] == {"BOX": "Box"}
    assert line["variables"] == ["VAR_TOKEN"]
    assert "a b" not in platform.output


async def test_what_the_worker_prints_and_logs_is_json_as_well(platform: Platform) -> None:
    await get(platform.address, "/talk")
    await asyncio.to_thread(platform.wait_for_output, "without an end")
    lines = log(platform)
    assert ("worker output", "stdout", "first") in [(x["message"], x.get("stream"), x.get("line")) for x in lines]
    assert ("worker output", "stderr", "second") in [(x["message"], x.get("stream"), x.get("line")) for x in lines]
    [warned] = [line for line in lines if line["message"] == "3 of 4"]
    assert (warned["level"], warned["logger"]) == ("warning", "shop")
    [failed] = [line for line in lines if line["message"] == "no luck"]
    assert "ZeroDivisionError" in failed["traceback"]


async def test_clients_are_told_a_code_and_nothing_else(platform: Platform) -> None:
    failed = await get(platform.address, "/fail")
    broken = await get(platform.address, "/")
    assert (failed.status, failed.json()["code"]) == (500, "worker_error")
    assert (broken.status, broken.json()["code"]) == (500, "container_failed_to_start")
    for answer in (failed, broken):
        assert answer.header("Content-Type") == "application/problem+json"
        assert set(answer.json()) == {"type", "title", "status", "detail", "code"}
        assert "secret" not in answer.text()
        assert "no configuration" not in answer.text()


async def test_the_log_has_what_clients_are_not_told(platform: Platform) -> None:
    await get(platform.address, "/fail")
    await get(platform.address, "/")
    await asyncio.to_thread(platform.wait_for_output, r'"message":"GET /: .*container_failed_to_start')
    lines = log(platform)
    [failed] = [line for line in lines if line["message"].startswith("GET /fail")]
    assert "a secret" in failed["traceback"]
    assert failed["code"] == "worker_error"
    [printed] = [line for line in lines if line["message"] == "container output"]
    assert (printed["container"], printed["line"]) == ("Box/alice", "no configuration")
    [ended] = [line for line in lines if line.get("state") == "stopped_with_code"]
    assert (ended["level"], ended["exit_code"]) == ("warning", 7)


async def test_variables_come_from_the_env_file_and_not_from_dev_vars(platform: Platform) -> None:
    assert (await get(platform.address, "/variables")).json() == {"VAR_TOKEN": "a b"}


async def test_requests_in_flight_are_finished_and_new_connections_refused(platform: Platform, tmp_path: Path) -> None:
    with await Connection.open(platform.address) as connection:
        await connection.send(request("GET", f"/wait?for={tmp_path / 'go'}"))
        await get(platform.address, "/variables")
        os.kill(platform.pid, signal.SIGTERM)
        await asyncio.to_thread(platform.wait_for_output, '"finishing requests in flight')
        await refused(platform)
        (tmp_path / "go").touch()
        assert (await connection.receive()).text() == "done"
    await asyncio.to_thread(platform.wait_for_output, '"message":"stopped"')


async def test_a_second_signal_cuts_off_what_is_in_flight(platform: Platform, tmp_path: Path) -> None:
    with await Connection.open(platform.address) as connection:
        await connection.send(request("GET", f"/wait?for={tmp_path / 'never'}"))
        await get(platform.address, "/variables")
        os.kill(platform.pid, signal.SIGTERM)
        await refused(platform)
        os.kill(platform.pid, signal.SIGTERM)
        with pytest.raises(Truncated):
            await connection.receive()
    await asyncio.to_thread(platform.wait_for_output, '"message":"stopped"')


async def refused(platform: Platform) -> None:
    """Wait until the platform takes no new connections."""
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            with contextlib.suppress(ConnectionResetError):  # it was in the queue of a listener that closed
                (await Connection.open(platform.address)).close()
