"""What may be sent, and what a send promises."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorings import MessageSendRequest
from moorings.errors import BatchTooLarge, InvalidMessage, MessageTooLarge, StoreError
from moorings.queues.bodies import ContentType, decode, encode
from moorings.queues.settings import QueueSettings
from tests.unit.queues.support import Bench, bench, consuming, settings_of


class Kind(Enum):
    X = "x"


numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path, settings_of({}, ["jobs"])) as running:
        yield running


@given(json_values)
def test_a_json_body_is_read_as_it_was_sent(body: Any) -> None:
    assert decode(encode(body, ContentType.JSON), ContentType.JSON) == body


def test_subclasses_of_json_values_are_sent_as_what_they_are_besides() -> None:
    class Colour(StrEnum):
        RED = "red"

    class Name(str):
        __slots__ = ()

    class Meters(float):
        __slots__ = ()

    body = {"counts": Counter("aab"), "colour": Colour.RED, "name": Name("alice"), "far": [Meters(1.5)]}
    expected = {"counts": {"a": 2, "b": 1}, "colour": "red", "name": "alice", "far": [1.5]}
    assert decode(encode(body, ContentType.JSON), ContentType.JSON) == body == expected


async def test_texts_and_bytes_are_read_as_they_were_sent(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_batch_size=1)) as here:
        await here.jobs.send("tea", content_type="text")
        await here.jobs.send(b"\x00\xff", content_type="bytes")
        await here.jobs.send(("a", 1))
        await here.quiet()
        assert here.batches == [["tea"], [b"\x00\xff"], [["a", 1]]]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"job": {"when": [1, datetime(2026, 5, 4, tzinfo=UTC)]}}, r"body\.job\.when\[1\] is a datetime"),
        ({"raw": b"x"}, r'body\.raw is a bytes, .* content_type="bytes"'),
        ([math.nan], r"body\[0\] is nan"),
        ({"a": {1: 2}}, r"body\.a has the key 1"),
        ({"s": {1, 2}}, r"body\.s is a set"),
        ([Kind.X], r"body\[0\] is a Kind"),
        ("\ud800", "surrogate"),
    ],
)
async def test_what_is_no_json_value_is_a_type_error_that_names_its_path(
    here: Bench, body: Any, complaint: str
) -> None:
    with pytest.raises(TypeError, match=complaint):
        await here.jobs.send(body)
    assert await here.left() == 0


async def test_a_body_that_contains_itself_is_a_type_error(here: Bench) -> None:
    body: list[Any] = []
    body.append(body)
    with pytest.raises(TypeError, match="contains itself"):
        await here.jobs.send(body)


async def test_a_body_is_nested_as_deep_as_any_reader_can_read(here: Bench) -> None:
    def nested(levels: int) -> Any:
        return json.loads("[" * levels + "]" * levels)

    with pytest.raises(TypeError, match="the body is nested over 200 levels deep"):
        await here.jobs.send(nested(201))
    await here.send(nested(200))
    assert [message.body for message in await here.managing.peek("jobs")] == [nested(200)]


@pytest.mark.parametrize(("body", "kind"), [(1, "text"), ("x", "bytes"), (None, "text")])
async def test_a_body_must_be_what_its_content_type_says(here: Bench, body: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f'content_type "{kind}" takes'):
        await here.jobs.send(body, content_type=kind)


@pytest.mark.parametrize("kind", ["v8", "xml", None])
async def test_other_content_types_are_refused(here: Bench, kind: Any) -> None:
    with pytest.raises(InvalidMessage, match="content_type"):
        await here.jobs.send("x", content_type=kind)


async def test_a_message_has_128_kb_at_most(here: Bench) -> None:
    await here.jobs.send(b"x" * 128_000, content_type="bytes")
    with pytest.raises(MessageTooLarge, match="128,001 bytes"):
        await here.jobs.send(b"x" * 128_001, content_type="bytes")
    assert (MessageTooLarge.code, MessageTooLarge.status) == ("message_too_large", 413)
    assert await here.left() == 1


async def test_a_batch_has_100_messages_and_256_kb_at_most_and_is_sent_whole_or_not_at_all(here: Bench) -> None:
    await here.jobs.send_batch([{"body": number} for number in range(100)])
    with pytest.raises(BatchTooLarge, match="100 messages"):
        await here.jobs.send_batch([{"body": number} for number in range(101)])
    body = "x" * 100_000
    with pytest.raises(BatchTooLarge, match=r"messages\[2\] have 300,"):
        await here.jobs.send_batch([{"body": body}] * 3)
    with pytest.raises(TypeError, match=r"messages\[1\]\.body is a set"):
        await here.jobs.send_batch([{"body": 1}, {"body": {1}}])
    with pytest.raises(InvalidMessage, match="no message"):
        await here.jobs.send_batch([])
    assert await here.left() == 100


@pytest.mark.parametrize("message", ["x", {"content_type": "json"}, {"body": 1, "delay": 5}])
async def test_a_message_of_a_batch_that_is_none_says_what_is_wanted(here: Bench, message: Any) -> None:
    with pytest.raises(TypeError, match=r"messages\[0\]"):
        await here.jobs.send_batch([message])


@pytest.mark.parametrize("delay", [-1, 43_201, pytest.param(10**400, id="10**400"), math.inf, math.nan, "5", True])
async def test_a_delay_is_from_0_to_12_hours(here: Bench, delay: Any) -> None:
    for send in (here.jobs.send(1, delay_seconds=delay), here.jobs.send_batch([{"body": 1}], delay_seconds=delay)):
        with pytest.raises(InvalidMessage, match="delay_seconds"):
            await send
    await here.jobs.send(1, delay_seconds=43_200)


async def test_the_delay_of_a_message_wins_over_that_of_its_batch_and_that_over_the_queues(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_batch_size=1)) as here:
        queue = here.producer("jobs", delivery_delay=30)
        await queue.send("queue")
        await queue.send("at once", delay_seconds=0)
        await queue.send_batch([MessageSendRequest("message", delay_seconds=10), {"body": "batch"}], delay_seconds=20)
        await here.quiet()
        assert here.batches == [["at once"]]
        for expected in ("message", "batch", "queue"):
            await here.advance(10.1)
            assert here.batches[-1] == [expected]


async def test_a_send_returns_when_the_message_is_durable(here: Bench) -> None:
    sending = asyncio.ensure_future(here.jobs.send(1))
    await asyncio.sleep(0)
    assert not sending.done()
    assert await here.left() == 0
    await sending
    assert await here.left() == 1


async def test_a_send_that_cannot_be_stored_fails(tmp_path: Path) -> None:
    async with bench(tmp_path, QueueSettings()) as here:
        queue = here.jobs
        await here.store.close()
        with pytest.raises(StoreError):
            await queue.send(1)
