"""The platform's end of the connection to the supervisor: requests and their answers, and events pushed in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar, cast

import msgspec

from moorings.errors import RuntimeUnavailable
from moorings.runtimes.process.wire import Answer, FrameError, Frames, Request, ToPlatform, ToSupervisor, frame

_AnswerT = TypeVar("_AnswerT", bound=Answer)


class Client(asyncio.Protocol):
    """One connection. ``on_lost`` is called once, when it has ended other than by ``close``."""

    def __init__(self, *, on_event: Callable[[Answer], None], on_lost: Callable[[], None]) -> None:
        self._on_event = on_event
        self._on_lost = on_lost
        self._frames = Frames()
        self._decoder = msgspec.msgpack.Decoder(ToPlatform)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._count = 0
        self._transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection has ended."""

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: Request) -> asyncio.Future[Answer]:
        """Send a request now; the future has its answer. Raises RuntimeUnavailable."""
        if self._transport is None or self._transport.is_closing():
            raise RuntimeUnavailable("the supervisor is not connected")
        self._count += 1
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[self._count] = answered
        self._transport.write(frame(ToSupervisor(self._count, request)))
        return answered

    async def ask(self, request: Request, expected: type[_AnswerT]) -> _AnswerT:
        """Send a request and return its answer, which must be of one kind. Raises RuntimeUnavailable."""
        answer = await self.send(request)
        if not isinstance(answer, expected):
            raise RuntimeUnavailable(f"the supervisor answered {answer!r}")
        return answer

    def close(self) -> None:
        """End the connection. Idempotent; ``on_lost`` is not called."""
        self._on_lost = _nothing
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._frames.feed(data):
                self._received(self._decoder.decode(payload))
        except (FrameError, msgspec.MsgspecError):
            if self._transport is not None:
                self._transport.abort()

    def _received(self, message: ToPlatform) -> None:
        if message.id == 0:
            self._on_event(message.body)
            return
        answered = self._waiting.pop(message.id, None)
        if answered is not None and not answered.done():
            answered.set_result(message.body)

    def connection_lost(self, error: Exception | None) -> None:
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            if not answered.done():
                answered.set_exception(RuntimeUnavailable("the supervisor went away"))
                answered.exception()  # who no longer waits for it leaves no warning behind
        if not self.ended.done():
            self.ended.set_result(None)
        self._on_lost()


def _nothing() -> None:
    """The end is expected."""
