"""Request, Response and Headers as a worker uses them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec
import pytest
from yarl import URL

from moorings.errors import BodyUsed, ContainerFailedToStart, NoInstanceAvailable
from moorings.http import AbortSignal, Debug, Headers, Request, Response, problem_response
from moorings.http.headers import RawFields

WIRE = RawFields(b"\r\nHost: a\r\nX-One:  1 \r\nx-two: \xe4\r\nX-ONE: 2\r\n\r\n")


async def parts() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


def test_headers_from_the_wire_are_looked_up_without_a_mapping() -> None:
    headers = Headers.from_wire(WIRE, frozen=True)
    assert (headers.get("x-one"), headers["X-Two"], headers.get("x"), headers.get("x", "d")) == ("1", "ä", None, "d")
    assert ("HOST" in headers, "one" in headers, 3 in headers) == (True, False, False)
    assert headers._map is None


@pytest.mark.parametrize("headers", [Headers.from_wire(WIRE, frozen=True), Headers([("X-One", "1")])])
async def test_names_of_headers_are_plain_strings_that_json_takes(headers: Headers) -> None:
    assert "x-one" in headers
    headers.getall("x-one")  # makes the mapping
    names = [*headers.keys(), *headers, *dict(headers.items())]
    assert {type(name) for name in names} == {str}
    assert await Response.json(headers.items()).json() == [list(pair) for pair in headers.items()]


def test_headers_from_the_wire_iterate_in_order_with_their_names_as_sent() -> None:
    headers = Headers.from_wire(WIRE, frozen=True)
    assert headers.items() == [("Host", "a"), ("X-One", "1"), ("x-two", "ä"), ("X-ONE", "2")]
    assert headers.getall("x-one") == ["1", "2"]
    assert (len(headers), list(headers), headers.values()) == (
        4,
        ["Host", "X-One", "x-two", "X-ONE"],
        ["a", "1", "ä", "2"],
    )


CHANGES: dict[str, Callable[[Headers], object]] = {
    "set": lambda headers: headers.__setitem__("A", "b"),
    "delete": lambda headers: headers.__delitem__("Host"),
    "add": lambda headers: headers.add("A", "b"),
    "update": lambda headers: headers.update({"A": "b"}),
    "extend": lambda headers: headers.extend({"A": "b"}),
    "setdefault": lambda headers: headers.setdefault("A", "b"),
    "pop": lambda headers: headers.pop("Host"),
    "popall": lambda headers: headers.popall("Host"),
    "clear": lambda headers: headers.clear(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_frozen_headers_refuse_every_change(change: str) -> None:
    with pytest.raises(TypeError, match="copy"):
        CHANGES[change](Headers.from_wire(WIRE, frozen=True))


def test_headers_know_whether_they_were_changed() -> None:
    headers = Headers.from_wire(WIRE, frozen=False)
    assert headers.items()
    before = headers.changed
    headers["X-One"] = "3"
    assert (before, headers.changed) == (False, True)
    assert headers.getall("x-one") == ["3"]


def test_getone_gives_the_first_value_and_raises_without_one() -> None:
    headers = Headers.from_wire(WIRE, frozen=False)
    assert headers.getone("x-ONE") == headers["X-One"] == "1"
    with pytest.raises(KeyError):
        headers.getone("X-None")


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nb", "a\0b", "a\x7f", "€"])
def test_values_that_would_split_a_message_are_refused_when_set(value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        Headers({"A": value})
    with pytest.raises(ValueError, match="header"):
        Response(headers={"A": value})


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "ä", "a\0"])
def test_names_that_are_no_tokens_are_refused_when_set(name: str) -> None:
    with pytest.raises(ValueError, match="header name"):
        Headers({name: "b"})


def test_values_that_are_no_text_are_refused() -> None:
    with pytest.raises(TypeError, match="str"):
        Headers({"A": 1})  # type: ignore[arg-type]  # what the test is about


async def test_bodies_are_read_once() -> None:
    for message in (Response("text"), Response(parts()), Request("http://a/", method="POST", body=b"text")):
        before = message.body_used
        assert await message.bytes() in (b"text", b"onetwo")
        assert (before, message.body_used) == (False, True)
        with pytest.raises(BodyUsed):
            await message.text()


async def test_body_iterates_and_counts_as_used_from_the_first_step() -> None:
    response = Response(parts())
    body, before = response.body, response.body_used
    assert body is not None
    assert [chunk async for chunk in body] == [b"one", b"two"]
    assert (before, response.body_used) == (False, True)
    assert Response().body is None
    assert [chunk async for chunk in Response("x").body or parts()] == [b"x"]


async def test_text_is_utf_8_and_json_is_decoded() -> None:
    assert await Response("grüße").text() == "grüße"
    assert await Response(b"\xff").text() == "�"
    assert await Response('{"a": [1, null]}').json() == {"a": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        await Response("nonsense").json()


@dataclass
class Point:
    """A dataclass."""

    x: int


class Struct(msgspec.Struct):
    """A struct."""

    y: int


async def test_response_json_takes_dataclasses_and_structs() -> None:
    response = Response.json({"a": Point(1), "b": Struct(2)}, status=201, headers={"X": "y"})
    assert (response.status, response.headers["content-type"], response.headers["x"]) == (201, "application/json", "y")
    assert await response.json() == {"a": {"x": 1}, "b": {"y": 2}}
    assert Response.json(1, headers={"Content-Type": "application/x"}).headers.getall("content-type") == [
        "application/x"
    ]


def test_response_redirect_and_status_are_checked() -> None:
    response = Response.redirect(URL("/there"), 303)
    assert (response.status, response.headers["location"], response.ok) == (303, "/there", False)
    for status in (199, 600, 101):
        with pytest.raises(ValueError, match="status"):
            Response(status=status)
    with pytest.raises(ValueError, match="redirect"):
        Response.redirect("/", 200)
    with pytest.raises(ValueError, match="body"):
        Response("x", status=204)
    with pytest.raises(TypeError):
        Response("x", status="200")  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(TypeError, match="dict"):
        Response({"a": 1})  # type: ignore[arg-type]  # what the test is about


def test_content_type_follows_from_the_body() -> None:
    assert Response("x").headers.get("content-type") == "text/plain;charset=UTF-8"
    assert Response(b"x").headers.get("content-type") is None
    assert Request("http://a/", method="POST", json=1).headers.get("content-type") == "application/json"


async def test_copied_request_takes_over_the_body() -> None:
    first = Request("http://a/b?c", method="post", body="text", headers={"X": "y"})
    first.container_port = 81
    second = Request(first, headers={"Z": "1"})
    assert (second.method, str(second.url), second.container_port) == ("POST", "http://a/b?c", 81)
    assert (second.headers.get("x"), second.headers["z"]) == (None, "1")
    assert (first.body_used, await second.text()) == (True, "text")
    third = Request(second, body="new", method="PUT")
    assert (third.method, await third.text()) == ("PUT", "new")
    with pytest.raises(BodyUsed):
        Request(second)


def test_request_arguments_are_checked() -> None:
    with pytest.raises(TypeError, match="either"):
        Request("http://a/", body="x", json=1)
    for method in ("", "A B", "CONNECT", "a\r\n"):
        with pytest.raises(ValueError, match="method"):
            Request("http://a/", method=method)


async def test_signal_fires_once_and_listeners_can_be_taken_off() -> None:
    signal = AbortSignal()
    calls: list[int] = []
    signal.add_listener(lambda: calls.append(1))
    signal.add_listener(lambda: calls.append(2))()
    signal.fire()
    signal.fire()
    await signal.wait()
    signal.add_listener(lambda: calls.append(3))
    assert (signal.aborted, calls) == (True, [1, 3])


async def test_problems_tell_no_secrets_unless_debugging() -> None:
    error = ContainerFailedToStart("it died", exit_code=3, output=("a", "b"))
    safe = await problem_response(error).json()
    assert set(safe) == {"type", "title", "status", "detail", "code"}
    assert (safe["code"], "died" in json.dumps(safe)) == ("container_failed_to_start", False)
    told = await problem_response(error, debug=Debug.ON).json()
    assert (told["detail"], told["exit_code"], told["output"]) == ("it died", 3, ["a", "b"])
    assert "ContainerFailedToStart" in told["traceback"]


async def test_problems_of_workers_and_of_missing_instances() -> None:
    response = problem_response(KeyError("secret"))
    assert (response.status, (await response.json())["detail"]) == (500, "The worker raised an error.")
    assert response.headers["content-type"] == "application/problem+json"
    assert problem_response(NoInstanceAvailable("full", retry_after=3)).headers["retry-after"] == "3"
