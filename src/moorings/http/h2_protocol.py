"""ServerProtocol: the h2 library's connection, set up for a server that many clients' streams depend on.

h2 ends the whole connection for several errors that RFC 9113 calls stream errors; here they end their stream only, so
that one client behind a gateway can't take down the others. It also believes that a connection is over as soon as
either side has said GOAWAY, where the RFC has streams in progress finish; so GOAWAY is kept from its states.

Fields are not checked by h2 but in ``h2_fields``, for the same reason. Frames that do nothing are paid for
(``h2_floods``).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, StreamReset
from h2.exceptions import (
    DenialOfServiceError,
    FrameDataMissingError,
    InvalidBodyLengthError,
    ProtocolError,
    StreamClosedError,
)
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from hpack.exceptions import HPACKError
from hyperframe.exceptions import InvalidDataError
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from moorings.http.h2_floods import Allowance
from moorings.http.hpack_memo import RepeatingDecoder, RepeatingEncoder
from moorings.http.limits import Limits

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STREAM_WINDOW: Final = 128 * 1024  # bytes of a request body that a client may send before they have been taken
CONNECTION_WINDOW: Final = 4 * 1024 * 1024  # the same of all streams together; given back as bytes arrive
_UNBOUNDED = 2**31 - 1

# What frames cost that may do nothing (Allowance tokens); what they earn where they do is in H2ServerConnection.
_COSTS: Final[dict[type[Frame], float]] = {
    PingFrame: 1,
    PriorityFrame: 1,
    RstStreamFrame: 1,
    SettingsFrame: 10,
    WindowUpdateFrame: 1,
}
_LEAST_DATA = 5  # bytes; DATA frames with less cost, unless they end their stream: a gRPC message has as many at least


class _Frames(FrameBuffer):
    """Frames off the wire. The first one must be the client's SETTINGS (RFC 9113, 3.4)."""

    def __init__(self) -> None:
        super().__init__(server=True)
        self._begun = False

    def __next__(self) -> Frame:
        try:
            frame = super().__next__()
        except ProtocolError as error:
            if isinstance(error.__cause__, InvalidDataError) and str(error.__cause__).startswith("SETTINGS ack"):
                raise FrameDataMissingError(str(error)) from error  # of code FRAME_SIZE_ERROR (RFC 9113, 6.5)
            raise
        if not self._begun:
            self._begun = True
            if type(frame) is not SettingsFrame or "ACK" in frame.flags:
                raise ProtocolError("the preface has no SETTINGS frame")
        return frame


class CompressionError(ProtocolError):
    """A field block can't be decoded (RFC 9113, 4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class ServerProtocol(H2Connection):
    """One connection's frames and stream states. ``frames`` pays for frames that do nothing."""

    MAX_CLOSED_STREAMS = 1024

    def __init__(self, limits: Limits, frames: Allowance) -> None:
        super().__init__(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._frames = frames
        self.incoming_buffer = _Frames()
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.streams,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.head,
            },
        )
        self.encoder = RepeatingEncoder()
        self.decoder = RepeatingDecoder()
        # A head over the limit is answered with 431; only beyond twice its size the connection ends.
        self.decoder.max_header_list_size = 2 * limits.head

    def start(self) -> None:
        """Prepare the server's half of the connection preface."""
        self.initiate_connection()
        # More streams than were offered are refused one by one (RFC 9113, 5.1.2), which h2 would not do.
        self.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = _UNBOUNDED
        self.local_settings.acknowledge()
        self.increment_flow_control_window(CONNECTION_WINDOW - 65535)

    @property
    def in_field_block(self) -> bool:
        """Whether a field block has begun and isn't complete."""
        return bool(self.incoming_buffer._headers_buffer)

    def go_away(self, last_stream: int, code: ErrorCodes = ErrorCodes.NO_ERROR, reason: str = "") -> None:
        """Prepare a GOAWAY after which streams in progress go on."""
        frame = GoAwayFrame(0, last_stream_id=last_stream, error_code=code, additional_data=reason.encode())
        self._data_to_send += frame.serialize()

    def end_stream_with(self, stream_id: int, code: ErrorCodes) -> None:
        """Reset a stream. Events are told when all that arrived has been taken in, so it may be over already."""
        with suppress(StreamClosedError):
            self.reset_stream(stream_id, code)

    def open_window(self, stream_id: int, size: int) -> None:
        """Let the client send more of a stream, if it still can."""
        with suppress(StreamClosedError):
            self.increment_flow_control_window(size, stream_id)

    def _receive_frame(self, frame: Frame) -> list[Event]:
        kind = type(frame)
        if isinstance(frame, DataFrame):
            if len(frame.data) < _LEAST_DATA and "END_STREAM" not in frame.flags:
                self._pay(1)
        elif kind is not HeadersFrame:
            self._pay(_COSTS.get(kind, 1))
            if kind is GoAwayFrame:
                return [ConnectionTerminated()]
        try:
            return super()._receive_frame(frame)
        except InvalidBodyLengthError:
            return self._stream_error(frame)
        except ProtocolError as error:
            if isinstance(error, DenialOfServiceError):
                raise
            if isinstance(error.__cause__, HPACKError):
                raise CompressionError(str(error)) from error
            if kind is HeadersFrame and type(error) is ProtocolError and frame.stream_id in self.streams:
                return self._stream_error(frame)
            raise

    def _pay(self, tokens: float) -> None:
        if not self._frames.spend(tokens):
            raise DenialOfServiceError("too many frames that do nothing")

    def _stream_error(self, frame: Frame) -> list[Event]:
        """A message is malformed (RFC 9113, 8.1.1): its stream ends, and no other."""
        self.reset_stream(frame.stream_id, ErrorCodes.PROTOCOL_ERROR)
        if isinstance(frame, DataFrame) and frame.flow_controlled_length:  # no event tells of it
            self.increment_flow_control_window(frame.flow_controlled_length)
        return [StreamReset(stream_id=frame.stream_id, error_code=ErrorCodes.PROTOCOL_ERROR, remote_reset=False)]
