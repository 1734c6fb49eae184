"""Queues of a real platform: from workers and objects to the worker, and over HTTP to whoever pulls."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moorings.cli.admin_client import AdminClient
from tests.support.platform import Mode, Platform
from tests.support.raw import Address, Answer, exchange, get, request
from tests.support.waiting import eventually

APP = Path(__file__).parent / "apps" / "queues"
TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The app, with messages to pull at a port of its own."""
    with Platform(
        APP / "worker.py",
        tmp_path_factory.mktemp("queues"),
        options=["--admin-listen", "127.0.0.1:0"],
        env={"MOORINGS_ADMIN_TOKEN": TOKEN},
    ) as served:
        yield served


async def post(address: Address, target: str, value: Any, headers: dict[str, str] | None = None) -> Answer:
    return await exchange(
        address, request("POST", target, headers or {}, body=json.dumps(value).encode()), method="POST"
    )


async def send(platform: Platform, binding: str, body: Any) -> None:
    answer = await post(platform.address, f"/{binding}", body)
    assert answer.status == 200, answer.text()


async def consumed(platform: Platform, *messages: list[Any]) -> None:
    """Wait until these have been: queue, body, attempt."""

    async def all_of_them() -> bool:
        found = (await get(platform.address, "/")).json()
        return all(message in found for message in messages)

    await eventually(all_of_them, f"{messages} are consumed")


async def test_messages_of_workers_and_objects_come_to_the_worker(platform: Platform) -> None:
    await send(platform, "JOBS", {"job": 1})
    assert (await post(platform.address, "/count", None)).json() == 1
    await consumed(platform, ["jobs", {"job": 1}, 1], ["jobs", {"count": 1}, 1])


# --- pulling ----------------------------------------------------------------------------------------------------------


def pull_address(platform: Platform) -> Address:
    found = platform.wait_for_output(r"pulled from queues at http://([0-9.]+):([0-9]+)")
    return found[1], int(found[2])


async def ask(platform: Platform, target: str, value: Any, token: str = f"Bearer {TOKEN}") -> tuple[int, Any]:
    answer = await post(pull_address(platform), target, value, {"Authorization": token})
    return answer.status, answer.json()


async def emptied(platform: Platform) -> None:
    """What other tests have left in the queue goes away."""
    await asyncio.to_thread(AdminClient(platform.data).call, "/queues/purge", {"queue": "outbox"})


async def test_messages_are_pulled_and_acknowledged_with_cloudflares_json(platform: Platform) -> None:
    await emptied(platform)
    await send(platform, "OUTBOX", {"to": "alice"})
    await send(platform, "OUTBOX", {"to": "bob"})
    path = "/client/v4/accounts/any/queues/outbox/messages"
    status, pulled = await ask(platform, f"{path}/pull", {"batch_size": 10, "visibility_timeout_ms": 60_000})
    assert status == 200
    assert (pulled["success"], pulled["errors"], pulled["messages"]) == (True, [], [])
    assert pulled["result"]["message_backlog_count"] == 2
    alice, bob = pulled["result"]["messages"]
    assert json.loads(base64.b64decode(alice["body"])) == {"to": "alice"}
    assert (alice["attempts"], alice["metadata"]) == (1, {"CF-Content-Type": "json"})
    assert len(alice["id"]) == 32
    assert alice["timestamp_ms"] > 1_600_000_000_000

    answer = {"acks": [{"lease_id": alice["lease_id"]}], "retries": [{"lease_id": bob["lease_id"]}, {"lease_id": "no"}]}
    status, answered = await ask(platform, f"{path}/ack", answer)
    assert status == 200
    assert answered["result"]["ackCount"] == answered["result"]["retryCount"] == 1
    assert len(answered["result"]["warnings"]) == 1

    status, again = await ask(platform, "/queues/outbox/messages/pull", {})
    [bob] = again["result"]["messages"]
    assert bob["attempts"] == 2
    await ask(platform, f"{path}/ack", {"retries": [{"lease_id": bob["lease_id"], "delay_seconds": 60}]})
    status, dead = await ask(platform, "/queues/returned/messages/pull", {})
    assert [message["id"] for message in dead["result"]["messages"]] == [bob["id"]]


async def test_nothing_is_pulled_without_the_token(platform: Platform) -> None:
    await emptied(platform)
    await send(platform, "OUTBOX", 1)
    for token in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"):
        status, refused = await ask(platform, "/queues/outbox/messages/pull", {}, token)
        assert status == 401, token
        assert (refused["success"], refused["result"], refused["errors"][0]["code"]) == (False, None, "unauthorized")
    status, pulled = await ask(platform, "/queues/outbox/messages/pull", {})
    assert [message["attempts"] for message in pulled["result"]["messages"]] == [1]


@pytest.mark.parametrize(
    ("target", "value", "status", "code"),
    [
        ("/queues/nowhere/messages/pull", {}, 404, "queue_not_found"),
        ("/queues/jobs/messages/pull", {}, 409, "queue_conflict"),
        ("/queues/outbox/messages/pull", {"batch_size": 101}, 400, "invalid_message"),
        ("/queues/outbox/messages/pull", {"batch_size": "x"}, 400, "bad_request"),
        ("/queues/outbox/messages/pull", {"visibility_timeout_ms": 0}, 400, "invalid_message"),
        ("/queues/outbox/messages/ack", {"acks": ["x"]}, 400, "bad_request"),
        ("/queues/outbox/messages/peek", {}, 404, "not_found"),
    ],
)
async def test_what_cannot_be_done_says_so_in_the_envelope(
    platform: Platform, target: str, value: Any, status: int, code: str
) -> None:
    found, answer = await ask(platform, target, value)
    assert (found, answer["success"], answer["errors"][0]["code"]) == (status, False, code)


# --- the platform's end, and its reload -------------------------------------------------------------------------------


async def test_a_batch_under_way_ends_before_the_platform_does(tmp_path: Path) -> None:
    written = tmp_path / "written"
    with Platform(APP / "worker.py", tmp_path / "platform") as platform:
        await send(platform, "SLOW", {"file": str(written)})
        await asyncio.to_thread(platform.wait_for_output, "a slow batch begins")
        await asyncio.to_thread(platform.stop)
    assert written.read_text() == "attempt 1\n"
    with Platform(APP / "worker.py", tmp_path / "platform") as again:
        await asyncio.to_thread(again.stop)
        assert "a slow batch begins" not in again.output


async def test_a_new_configuration_takes_effect_while_dev_runs(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    shutil.copytree(APP, folder, ignore=shutil.ignore_patterns("__pycache__"))
    config = folder / "moorings.toml"
    text = config.read_text()
    config.write_text(text.replace('queue = "jobs"\nmax_batch_timeout = 0.1', 'queue = "jobs"\nmax_batch_timeout = 60'))
    with Platform(folder / "worker.py", tmp_path / "platform", mode=Mode.DEV) as platform:
        await send(platform, "JOBS", "waits for a batch to be filled")
        config.write_text(text)
        await consumed(platform, ["jobs", "waits for a batch to be filled", 1])
