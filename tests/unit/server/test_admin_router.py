"""Routes of the admin API: parameters, answers, streams and errors."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
import pytest

from moorings.errors import BadRequest, MooringsError, NotFound, StoreError
from moorings.http import Request
from moorings.observer import ErrorReported, Observer
from moorings.server.admin.router import NoParameters, Operation, Router, Streaming


class Sum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    a: int
    b: int = 1


class Recorded:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def notify(self, event: object) -> None:
        self.events.append(event)


async def add(params: Sum) -> dict[str, int]:
    return {"sum": params.a + params.b}


async def fail(params: NoParameters) -> None:
    raise StoreError("the disk is full")


async def echo(params: Sum, lines: AsyncIterator[Any]) -> AsyncGenerator[object, None]:
    if params.a < 0:
        raise BadRequest("a is negative")

    async def answer() -> AsyncGenerator[object, None]:
        yield {"a": params.a}
        async for line in lines:
            if line == "fail":
                raise StoreError("no more")
            if line == "bug":
                raise KeyError("bug")
            yield line

    return answer()


ROUTES = (Operation("/add", Sum, add), Operation("/fail", NoParameters, fail), Streaming("/echo", Sum, echo))


def router(observer: Observer | None = None) -> Router:
    return Router(ROUTES, observer or Recorded())


def post(path: str, body: str | bytes = b"") -> Request:
    return Request(f"http://moorings{path}", method="POST", body=body)


async def test_an_operation_gets_parsed_parameters_and_answers_with_json() -> None:
    response = await router().handle(post("/add", '{"a": 2, "b": 3}'))
    assert await response.json() == {"sum": 5}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "a"),
        ("{}", "`a`"),
        ('{"a": "2"}', "int"),
        ('{"a": 2, "c": 3}', "`c`"),
        ("{", "not JSON"),
        ("[1]", "object"),
    ],
)
async def test_parameters_that_do_not_fit_are_refused_with_the_reason(body: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        await router().handle(post("/add", body))


async def test_an_unknown_path_is_not_found() -> None:
    with pytest.raises(NotFound, match="/nothing"):
        await router().handle(post("/nothing"))


async def test_only_post_is_taken() -> None:
    with pytest.raises(BadRequest, match="GET"):
        await router().handle(Request("http://moorings/add"))


async def test_a_streaming_operation_answers_line_by_line_and_reads_the_further_lines() -> None:
    response = await router().handle(post("/echo", '{"a": 1}\n"x"\n\n{"y": 2}'))
    lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert lines == [{"a": 1}, "x", {"y": 2}]


async def test_a_stream_that_is_refused_has_no_answer_but_the_error() -> None:
    with pytest.raises(BadRequest, match="negative"):
        await router().handle(post("/echo", '{"a": -1}'))


async def test_a_stream_that_fails_on_the_way_ends_with_the_problem() -> None:
    response = await router().handle(post("/echo", '{"a": 1}\n"fail"\n'))
    last = json.loads((await response.text()).splitlines()[-1])
    assert last["error"]["code"] == "store_error"
    assert last["error"]["detail"] == "no more"


async def test_a_fault_of_the_platform_in_a_stream_is_reported_as_well() -> None:
    observer = Recorded()
    response = await router(observer).handle(post("/echo", '{"a": 1}\n"bug"\n'))
    assert "error" in json.loads((await response.text()).splitlines()[-1])
    [event] = observer.events
    assert isinstance(event, ErrorReported)


async def test_errors_are_told_with_their_own_message() -> None:
    with pytest.raises(MooringsError) as caught:
        await router().handle(post("/fail"))
    response = router().error_response(None, caught.value)
    assert response.status == 503
    assert (await response.json())["detail"] == "the disk is full"
