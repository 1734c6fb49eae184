"""What the demo proves: one function per row of its table, each on an example of its own.

A proof returns its figures in one line, and raises AssertionError with a sentence where it fails.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import psutil

from tests.support.frames import TEXT, Socket, close, frame
from tests.support.platform import Platform
from tests.support.raw import Connection, exchange, get, request
from tests.support.waiting import eventually

CROWD = 50
"""Clients that ask at once."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A row. ``changes``: replacements in the example's worker.py."""

    pattern: str
    promise: str
    example: str
    prove: Callable[[Platform], Awaitable[str]]
    changes: tuple[tuple[str, str], ...] = ()


async def ask(platform: Platform, target: str = "/", headers: Mapping[str, str] | None = None) -> Any:
    """GET a JSON document."""
    answer = await get(platform.address, target, headers or {})
    assert answer.status == 200, f"{target} was answered with {answer.status}: {answer.text()[:200]}"
    return answer.json()


async def crowd(platform: Platform, headers: Mapping[str, str] | None = None) -> list[Any]:
    """CROWD clients that ask at once."""
    return await asyncio.gather(*(ask(platform, "/", headers) for _ in range(CROWD)))


def processes(answers: list[Any]) -> list[int]:
    """The ids of the processes that answered, each once."""
    return list(dict.fromkeys(answer["process"] for answer in answers))


def starts(platform: Platform, label: str) -> int:
    """How many starts of a container the platform has logged."""
    return sum('"container starting"' in line and f'"{label}"' in line for line in platform.output.splitlines())


async def same_session(platform: Platform) -> str:
    """The requests of a session reach one process, which remembers them."""
    message = request("GET", "/", {"X-Session-ID": "alice"})
    answers, took = [], []
    with await Connection.open(platform.address) as connection:
        for _ in range(200):
            began = time.perf_counter()
            await connection.send(message)
            answers.append((await connection.receive()).json())
            took.append(time.perf_counter() - began)
    ids = processes(answers)
    assert len(ids) == 1, f"200 requests of a session reached {len(ids)} processes: {ids}"
    assert answers[-1]["visits"] == 200, f"the process counted {answers[-1]['visits']} of 200 visits"
    return f"200 requests → process {ids[0]}, which counted 200; {statistics.median(took) * 1000:.1f} ms each"


async def two_sessions(platform: Platform) -> str:
    """Two sessions have two processes."""
    bob = await ask(platform, headers={"X-Session-ID": "bob"})
    carol = await ask(platform, headers={"X-Session-ID": "carol"})
    assert bob["process"] != carol["process"], f"bob and carol share process {bob['process']}"
    assert bob["visits"] == carol["visits"] == 1, "a session saw the other's visits"
    return f"bob → process {bob['process']}, carol → process {carol['process']}"


async def one_start(platform: Platform) -> str:
    """Concurrent first requests of a name share one start."""
    began = time.perf_counter()
    answers = await crowd(platform, {"X-Session-ID": "dave"})
    took = time.perf_counter() - began
    ids, number = processes(answers), starts(platform, "SessionBackend/dave")
    assert len(ids) == 1, f"{CROWD} first requests reached {len(ids)} processes"
    assert number == 1, f"{CROWD} first requests made {number} starts"
    return f"{CROWD} at once → 1 start, process {ids[0]}, {CROWD} good answers in {took * 1000:.0f} ms"


async def sleeping(platform: Platform) -> str:
    """An idle container is stopped, and its next request starts it."""
    first = await ask(platform, headers={"X-Session-ID": "erin"})
    idle_since = time.perf_counter()
    await asyncio.to_thread(platform.wait_for_output, r'"container stopped".*SessionBackend/erin')
    slept = time.perf_counter() - idle_since
    assert not psutil.pid_exists(int(first["process"].rpartition(":")[2])), f"process {first['process']} is still there"
    began = time.perf_counter()
    woken = await ask(platform, headers={"X-Session-ID": "erin"})
    took = time.perf_counter() - began
    assert woken["process"] != first["process"], "the same process answered"
    return f"asleep {slept:.1f} s after its last request; woke in {took * 1000:.0f} ms as process {woken['process']}"


async def balanced(platform: Platform) -> str:
    """Requests spread over three containers."""
    answers = [await ask(platform) for _ in range(60)]
    shares = Counter(answer["process"] for answer in answers)
    assert len(shares) == 3, f"60 requests reached {len(shares)} processes, not 3"
    assert min(shares.values()) >= 5, f"a process got {min(shares.values())} of 60 requests"
    return f"60 requests → 3 processes: {' + '.join(str(number) for number in sorted(shares.values()))}"


async def singleton(platform: Platform) -> str:
    """Everybody reaches the one process."""
    answers = await crowd(platform)
    ids = processes(answers)
    tickets = sorted(answer["ticket"] for answer in answers)
    assert len(ids) == 1, f"{CROWD} clients reached {len(ids)} processes"
    assert tickets == list(range(1, CROWD + 1)), f"the tickets are {tickets}"
    return f"{CROWD} clients at once → process {ids[0]}, tickets 1 to {CROWD}, each once"


async def forwarded(platform: Platform) -> str:
    """The sockets of a session are forwarded to one container, and another session's to another."""

    async def enter(session: str) -> Socket:
        return await Socket.open(platform.address, headers=(("X-Session-ID", session),))

    async def heard(*room: Socket) -> list[str]:
        return [(await socket.frame()).payload.decode() for socket in room]

    with await enter("a") as anna, await enter("b") as bob:
        assert await heard(anna, bob) == ["1 here", "1 here"], "two sessions share a room"
        with await enter("a") as carl:
            assert await heard(anna, carl) == ["2 here", "2 here"], "the sockets of a session are not in one room"
            for number in range(100):
                await anna.send(frame(TEXT, f"{number}".encode()))
            for number in range(100):
                assert await heard(anna, carl) == [f"{number}"] * 2, f"message {number} was not heard in its turn"
        await bob.send(frame(TEXT, b"alone"))
        assert await heard(bob) == ["alone"], "a session heard another's messages"
    return "2 sockets of a session heard 100 messages in order, the other session's none"


async def told(platform: Platform) -> str:
    """A container stays awake while somebody is connected, and who is connected is told before it stops."""
    sockets = [await Socket.open(platform.address) for _ in range(3)]
    await asyncio.to_thread(platform.wait_for_output, "idle with 3")
    began = time.time()
    await get(platform.address, "/stop")
    for socket in sockets:
        with socket:
            last = await socket.frame()
            assert (last.close_code, last.payload[2:]) == (1001, b"Server shutting down"), f"a client was told {last}"
            await socket.send(close(1001))
            await socket.rest()
    await asyncio.to_thread(platform.wait_for_output, '"container stopped".*GracefulContainer/session')
    noted = (await ask(platform, "/state"))["shutdown_time"]
    assert noted is not None, "the time was not noted"
    assert began <= noted <= time.time(), f"the noted time is {noted}"
    return "awake while 3 were connected; each was told 1001, then it stopped"


async def renewed(platform: Platform) -> str:
    """Writes to storage keep a container awake that works without requests; afterwards it sleeps."""
    answer = await exchange(platform.address, request("POST", "/film", body=b"film.mov"), method="POST")
    assert answer.status == 200, f"the job was answered with {answer.status}: {answer.text()[:200]}"
    assert answer.json()["done"], "the job is not done"
    number = starts(platform, "LongRunningContainer/film")
    assert number == 1, f"the container was started {number} times"
    await asyncio.to_thread(platform.wait_for_output, '"container stopped".*LongRunningContainer/film')
    return "sleeps after 0.6 s; its job of 1.5 s was done by one process, then it slept"


async def safe_startup(platform: Platform) -> str:
    """Initialization runs once while requests wait for it."""
    answers = await crowd(platform)
    loads = {answer["loads"] for answer in answers}
    assert loads == {1}, f"the model was loaded {max(loads)} times"
    assert len(processes(answers)) == 1, f"there were {len(processes(answers))} processes"
    return f"{CROWD} at once → initialized once, {CROWD} good answers"


async def ports(platform: Platform) -> str:
    """The path of a request chooses its port, also when requests and gRPC calls interleave."""
    expected = {"/page": "pages: /page\n", "/metrics": "# HELP"}
    targets = list(itertools.islice(itertools.cycle(expected), 60))
    host, port = platform.address
    with grpc.insecure_channel(f"{host}:{port}") as shop:
        price = shop.unary_unary("/grpc.Shop/Price", request_serializer=str.encode, response_deserializer=bytes.decode)
        calls = [price.future("anchor") for _ in range(30)]
        answers = await asyncio.gather(*(get(platform.address, target) for target in targets))
        priced = [call.result(timeout=30) for call in calls]
    crossed = [
        target
        for target, answer in zip(targets, answers, strict=True)
        if not answer.text().startswith(expected[target])
    ]
    assert not crossed, f"{len(crossed)} of {len(targets)} requests reached another port: {crossed[:3]}"
    assert priced == ["90"] * 30, f"the calls were answered {sorted(set(priced))}"
    return f"{len(targets)} requests, {len(calls)} gRPC calls, interleaved → ports 8080, 8081, 9090; none crossed"


async def consumed(platform: Platform) -> str:
    """Jobs wait in a queue, and each is done by the container of its name."""
    began = time.perf_counter()
    names = ("alice", "bob", "carol")
    for number in range(30):
        job = json.dumps({"job_id": names[number % 3], "text": f"job {number}", "failures": int(number % 10 == 0)})
        answer = await exchange(platform.address, request("POST", "/", body=job.encode()), method="POST")
        assert answer.status == 202, f"a job was answered with {answer.status}"
    taken = time.perf_counter() - began

    async def done() -> list[Any]:
        found = [await ask(platform, f"/{name}") for name in names]
        return found if sum(len(each["results"]) for each in found) >= 30 else []

    found = await eventually(done, "every job is done", within=15.0)
    assert len(processes(found)) == 3, f"the jobs of 3 names reached {len(processes(found))} processes"
    results = [result for each in found for result in each["results"]]
    assert len(results) == len(set(results)) == 30, f"30 jobs have {len(results)} results"
    attempts = sum(sum(each["attempts"].values()) for each in found)
    return f"30 jobs taken in {taken * 1000:.0f} ms → 3 processes did each once, in {attempts} attempts"


async def workflow(platform: Platform) -> str:
    """Each instance starts a container and has its job processed, step by step."""
    began = time.perf_counter()
    for number in range(3):
        job = json.dumps({"job_id": f"job-{number}", "data": f"text {number}"})
        answer = await exchange(platform.address, request("POST", "/", body=job.encode()), method="POST")
        assert answer.status == 202, f"a job was answered with {answer.status}"

    async def done() -> list[Any]:
        found = [await ask(platform, f"/job-{number}") for number in range(3)]
        return found if all(each["status"] == "complete" for each in found) else []

    found = await eventually(done, "every instance is complete", within=15.0)
    took = time.perf_counter() - began
    assert [each["output"]["asked"] for each in found] == [1, 1, 1], "a job was processed twice"
    steps = sum(len(each["steps"]) for each in found)
    return f"3 instances, {steps} steps, each job processed once, a sleep of 2 s in each; {took:.1f} s in all"


LONG_JOB = (
    ('"5m"', '"600ms"\n    env_vars = {"SECONDS": "1.5"}'),
    ("keepalive_every = 60.0", "keepalive_every = 0.1"),
    ("look_every = 600.0", "look_every = 1.8"),
)
"""Its minutes are fractions of a second."""

GRACEFUL = (
    ('"30s"', '"300ms"'),
    ("return len(self.connections) > 0", "print('idle with', len(self.connections)); return len(self.connections) > 0"),
)
"""It is soon idle, and says so."""

PROOFS = (
    Proof("Session affinity", "same session, same process", "session_affinity", same_session),
    Proof("Session affinity", "two sessions, two processes", "session_affinity", two_sessions),
    Proof("Session affinity", "concurrent first requests, one start", "session_affinity", one_start),
    Proof("Scale to zero", "sleeps when idle, wakes on request", "session_affinity", sleeping, (('"30m"', '"1s"'),)),
    Proof("Load balancing", "requests spread over three", "load_balancing", balanced),
    Proof("Singleton", "one process for everybody", "singleton", singleton),
    Proof("WebSocket forwarding", "a session's sockets share a process", "websocket_room", forwarded),
    Proof("Graceful shutdown", "clients are told, then it stops", "graceful", told, GRACEFUL),
    Proof("Concurrent requests", "initialized once", "safe_startup", safe_startup),
    Proof("Activity renewal", "awake until its job is done", "long_job", renewed, LONG_JOB),
    Proof("Multiple ports", "the path chooses the port", "multi_port", ports),
    Proof("Workflow", "steps run once, in order", "processing_workflow", workflow),
    Proof("Queue consumer", "every job is done, failures retried", "queue_consumer", consumed),
)
