"""Routes of the admin API, each made of one operation.

An operation is a function from parsed parameters to a JSON value, or to a stream of them. A request is a POST whose
body is the parameters as a JSON object (none: ``{}``). A streaming operation's answer has one JSON value a line, as it
comes, and the lines of the request's body after the first are its input; its last line is ``{"error": problem}`` where
it failed on the way. Errors are problem details (RFC 9457) with the error's own message: whoever may open the socket
may know.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from moorings.errors import BadRequest, ClientDisconnected, ContentTooLarge, MooringsError, NotFound
from moorings.http import Request, Response, problem_response
from moorings.observer import ErrorReported, Observer

P = TypeVar("P")

_LONGEST_LINE = 16 * 1024 * 1024
_JSON_LINES = {"Content-Type": "application/x-ndjson"}


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For operations that take none."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[P]):
    """``run(params)`` returns what is answered: anything that msgspec encodes as JSON.

    ``params`` is a msgspec Struct (or a dataclass); what doesn't fit it is refused with 400 and says why. ``path`` is
    such as ``/queues/list``.
    """

    path: str
    params: type[P]
    run: Callable[[P], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Streaming(Generic[P]):
    """``run(params, input)`` returns what streams the answer, one JSON value after the other.

    What can be refused is refused before it returns, with a status. What it returns is closed when the caller goes, so
    a generator's ``finally`` is the place to clean up; whatever needs that is made in the generator. ``input`` has the
    caller's further lines.
    """

    path: str
    params: type[P]
    run: Callable[[P, AsyncIterator[Any]], Awaitable[AsyncGenerator[object, None]]]


Route = Operation[Any] | Streaming[Any]


class Router:
    """Answers requests by their route."""

    def __init__(self, routes: Iterable[Route], observer: Observer) -> None:
        self._routes = {route.path: route for route in routes}
        self._observer = observer

    async def handle(self, request: Request) -> Response:
        """The answer to a request. Raises what the operation raises."""
        route = self._routes.get(request.url.path)
        if route is None:
            raise NotFound(f"this platform has no operation {request.url.path}; is it an older release?")
        if request.method != "POST":
            raise BadRequest(f"operations are asked for with POST, not {request.method}")
        lines = _lines(request)
        first = await anext(lines, {}) if isinstance(route, Streaming) else await _whole(request)
        try:
            params = msgspec.convert(first, route.params)
        except msgspec.ValidationError as error:
            raise BadRequest(f"{route.path}: {error}") from None
        if isinstance(route, Operation):
            return Response(
                msgspec.json.encode(await route.run(params)) + b"\n", headers={"Content-Type": "application/json"}
            )
        stream = await route.run(params, lines)
        if request.signal.aborted:
            await stream.aclose()
            raise ClientDisconnected("the caller went away")
        return Response(self._encoded(stream), headers=_JSON_LINES)

    async def _encoded(self, stream: AsyncGenerator[object, None]) -> AsyncIterator[bytes]:
        try:
            async for value in stream:
                yield msgspec.json.encode(value) + b"\n"
        except ClientDisconnected:
            return
        except Exception as error:  # noqa: BLE001  # the last line tells it
            problem = problem_of(self.error_response(None, error))
            yield msgspec.json.encode({"error": problem}) + b"\n"
        finally:
            await stream.aclose()

    def error_response(self, request: Request | None, error: BaseException) -> Response:
        """The answer that tells of an error; a fault of the platform's own is reported as well."""
        if not isinstance(error, MooringsError):
            where = "the admin API" if request is None else f"the admin API, {request.url.path}"
            self._observer.notify(ErrorReported(where, error))
        return problem_response(error, detail=str(error) or type(error).__name__)


def problem_of(response: Response) -> object:
    """The problem that ``problem_response`` has put into a response."""
    body = response._take()
    assert isinstance(body, bytes)
    return msgspec.Raw(body)


async def _whole(request: Request) -> object:
    body = await request.bytes()
    return _decoded(body) if body.strip() else {}


async def _lines(request: Request) -> AsyncIterator[Any]:
    """The JSON values of a request's body, a line each."""
    rest = bytearray()
    async for chunk in request.body or _nothing():
        scanned = len(rest)
        rest += chunk
        while (end := rest.find(b"\n", scanned)) >= 0:
            line = bytes(rest[:end])
            del rest[: end + 1]
            scanned = 0
            if line.strip():
                yield _decoded(line)
        if len(rest) > _LONGEST_LINE:
            raise ContentTooLarge(f"a line is over {_LONGEST_LINE} bytes")
    if rest.strip():
        yield _decoded(bytes(rest))


async def _nothing() -> AsyncIterator[bytes]:
    for _ in ():
        yield b""


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"this is not JSON: {error}") from None
