"""Upload: a request's body on its way into a stream, as fast as its windows let it.

What was sent is kept, up to ``REPLAY`` bytes, until the answer's head has come: a server that refuses the stream has
done nothing with it (RFC 9113, 8.7), and the request can be sent again. At most the chunk in hand waits here; the
body's source is stopped meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from moorings.http.body import BodyStream
from moorings.http.client_connection import Exchange, RequestBody
from moorings.http.headers import Headers
from moorings.http.owned_tasks import OwnedTasks
from moorings.http.trailers import following

if TYPE_CHECKING:
    from moorings.http.h2_client.stream import H2Stream

REPLAY = 64 * 1024
TURN = 64 * 1024  # bytes that one stream sends before others get their turn


class Upload:
    """The body of one exchange; a Sink for bodies from other connections. ``length`` is the declared one, or < 0."""

    __slots__ = (
        "_attaching",
        "_begun",
        "_body",
        "_ended",
        "_exchange",
        "_left",
        "_pending",
        "_pump",
        "_replay",
        "_replay_size",
        "_stream",
        "_trailers",
        "_uploads",
        "_waiter",
        "sent",
    )

    def __init__(self, body: RequestBody, length: int, exchange: Exchange, uploads: OwnedTasks) -> None:
        self._body = body
        self._exchange = exchange
        self._uploads = uploads
        self._left = length  # bytes that the declared length leaves
        self._pending: deque[bytes] = deque()
        self._ended = False
        self._trailers: Headers | None = None
        self._replay: list[bytes] | None = []
        self._replay_size = 0
        self.sent = False  # to its end
        self._stream: H2Stream | None = None
        self._begun = False
        self._attaching = False
        self._pump: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def replayable(self) -> bool:
        """Whether all that was sent can be sent once more."""
        return self._replay is not None

    def begin(self, stream: H2Stream) -> None:
        """Send into this stream from now on, from the body's beginning."""
        self._stream = stream
        self.sent = False
        if self._replay:
            self._pending.extendleft(reversed(self._replay))
            self._replay, self._replay_size = [], 0
        if not self._begun:
            self._begun = True
            self._attaching = True
            body = self._body
            if isinstance(body, bytes):
                self._pending.append(body)
                self._ended = True
            elif isinstance(body, BodyStream):
                body.attach(self)
            elif body is not None:
                self._pump = self._uploads.spawn(self._send(body), name="moorings-upload")
            self._attaching = False
        self.flow()

    def pause(self) -> None:
        """The stream is over; another may follow."""
        self._stream = None

    def head_seen(self) -> None:
        """The server has answered: nothing is sent twice any more."""
        self._replay = None

    def stop(self) -> None:
        """Send no more. Idempotent."""
        self._stream = None
        self._replay = None
        self._pending.clear()
        body, self._body = self._body, None
        if isinstance(body, BodyStream) and self._begun and not self._ended:
            body.detach()
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()

    def flow(self, limit: int = 1 << 62) -> bool:
        """Send what the windows allow, about ``limit`` bytes at most. Returns whether anything was sent."""
        stream, pending = self._stream, self._pending
        if stream is None or self._attaching or self.sent:
            return False
        sent = 0
        while pending and sent < limit:
            chunk = pending[0]
            room = stream.room() if chunk else 0
            if room <= 0 and chunk:
                break
            if len(chunk) > room:
                pending[0] = chunk[room:]
                chunk = chunk[:room]
            else:
                pending.popleft()
            sent += len(chunk)
            self._remember(chunk)
            last = self._ended and not pending and not self._trailers
            if chunk or last:
                stream.send_data(chunk, last=last)
            self.sent = last
        if self._ended and not pending and not self.sent:
            self.sent = True
            stream.send_end(self._trailers)
        self._press()
        return sent > 0

    def _remember(self, chunk: bytes) -> None:
        if self._replay is None:
            return
        self._replay_size += len(chunk)
        if self._replay_size > REPLAY:
            self._replay = None
        else:
            self._replay.append(chunk)

    def _press(self) -> None:
        """Stop or start what the body comes from."""
        body, stream = self._body, self._stream
        waits = bool(self._pending)
        if isinstance(body, BodyStream) and not self._ended:
            if waits:
                body.pause()
            else:
                body.resume()
        elif not waits and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if stream is not None:
            stream.connection.blocked(self, waits)

    async def _send(self, body: AsyncIterator[bytes]) -> None:
        """Send a body made in Python; it is cancelled when the exchange ends."""
        try:
            async for chunk in body:
                if chunk:
                    self.body_chunk(chunk)
                while self._pending:
                    waiter = self._waiter = asyncio.get_running_loop().create_future()
                    await waiter
        except Exception as error:  # noqa: BLE001  # whatever the body raises ends the exchange
            self.body_error(error)
            return
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        self.body_end(following(body))

    # --- Sink

    def body_chunk(self, chunk: bytes) -> None:
        if self._body is None:
            return
        if self._left >= 0:
            self._left -= len(chunk)
            if self._left < 0:
                self.body_error(ValueError("the body is longer than its Content-Length"))
                return
        self._pending.append(chunk)
        if not self._attaching:
            self.flow()

    def body_end(self, trailers: Headers | None) -> None:
        if self._body is None:
            return
        if self._left > 0:
            self.body_error(ValueError("the body is shorter than its Content-Length"))
            return
        self._ended = True
        self._trailers = trailers
        if not self._attaching:
            self.flow()

    def body_error(self, error: BaseException) -> None:
        self._body = None
        self._pump = None
        self._exchange.abort(error)
