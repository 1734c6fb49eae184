"""H2Exchange: an exchange on a stream, with what a gRPC call asks for beyond HTTP.

A call has a deadline, and its failure is a status: where the head of the answer has gone out, a call that breaks off
ends with trailers that say why, which no client takes for success. Other exchanges are aborted, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

from moorings.clock import Clock, TimerHandle
from moorings.errors import ClientDisconnected, DeadlineExceeded
from moorings.http.client_connection import Exchange
from moorings.http.grpc import status_trailers
from moorings.http.h2_client.upload import Upload
from moorings.http.signal import AbortSignal


class H2Exchange(Exchange):
    """One request and its answer; ``upload`` is the request's body, once there is one."""

    __slots__ = ("_grpc", "_timer", "upload")

    def __init__(
        self, on_end: Callable[[], object] | None, signal: AbortSignal, *, head_request: bool, grpc: bool
    ) -> None:
        super().__init__(on_end, signal, head_request=head_request)
        self._grpc = grpc
        self._timer: TimerHandle | None = None
        self.upload: Upload | None = None

    def expire_at(self, deadline: float, clock: Clock) -> None:
        """Break it off when ``clock.monotonic()`` has come to ``deadline``."""
        self._timer = clock.call_later(deadline - clock.monotonic(), self._expired)

    def _expired(self) -> None:
        self._timer = None
        self.abort(DeadlineExceeded("the deadline of the call has passed"))

    def end(self) -> None:
        """See Exchange."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        upload, self.upload = self.upload, None
        if upload is not None:
            upload.stop()
        super().end()

    def fail(self, error: BaseException) -> None:
        """See Exchange."""
        stream = self.stream
        if self._grpc and self.future is None and stream is not None and not isinstance(error, ClientDisconnected):
            self.connection = self.stream = None
            stream.finish(status_trailers(error))
        super().fail(error)
