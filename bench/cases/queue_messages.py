"""Queues: messages a second from the send, durable, to the acknowledgement, durable."""

import json

from bench.harness.case import Bench, Case
from bench.harness.contestants import PLATFORM
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.plain_http import Connection

MESSAGES = {10: 16_000, 100: 48_000}
"""How many messages a round has, by the size of the batches."""

BOUND = 10_000.0
AIM = 30_000.0


def run(bench: Bench) -> Result:
    rows, verdicts = [], []
    with bench.contestants([PLATFORM], app="queues/worker") as [contestant], Connection(contestant.url) as connection:
        for size, messages in MESSAGES.items():
            answers = []
            for number in range(bench.effort.rounds):
                bench.progress(f"batches of {size}, round {number + 1} of {bench.effort.rounds}")
                answers.append(json.loads(connection.good(f"/run?batch={size}&messages={messages}").body))
            rate = Figure.of([answer["rate"] for answer in answers], "/s")
            figures = {
                "messages/s": rate,
                "sends/s": Figure.of([answer["sends"] for answer in answers], "/s"),
                "p50": Figure.of([answer["p50"] * 1000 for answer in answers], "ms"),
                "p99": Figure.of([answer["p99"] * 1000 for answer in answers], "ms"),
            }
            rows.append(Row(f"batches of {size}", figures))
            verdicts.append(Verdict(f"batches of {size}", rate.median, "/s", Direction.AT_LEAST, bound=BOUND, aim=AIM))
    return Result(tuple(rows), tuple(verdicts))


CASE = Case(title="queue messages, durable send to durable ack, SQLite with fsync", run=run)
