"""ClientProtocol: the h2 library's connection, set up for a client whose exchanges must not depend on each other.

h2 ends the whole connection for answers that RFC 9113 calls malformed (8.1.1); here such an answer ends its stream, and
no other. It also believes that a connection is over as soon as either side has said GOAWAY, where the RFC has streams
in progress finish (6.8); so GOAWAY is kept from its states.

Invariant: what h2 has counted against the connection's window comes back, also where no event tells of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.exceptions import InvalidBodyLengthError, ProtocolError
from h2.settings import SettingCodes, Settings
from h2.stream import StreamClosedBy, StreamState
from hpack.exceptions import HPACKError
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from moorings.http.hpack_memo import RepeatingDecoder, RepeatingEncoder

STREAM_WINDOW: Final = 65_535
CONNECTION_WINDOW: Final = 1 << 24
_MAX_FRAME: Final = 65_536
MAX_HEAD: Final = 64 * 1024
"""Bytes of an answer's header list, as SETTINGS_MAX_HEADER_LIST_SIZE counts them (RFC 9113, 6.5.2)."""

_CONFIG = H2Configuration(
    client_side=True,
    header_encoding=None,
    validate_inbound_headers=False,  # ``heads`` does
    normalize_inbound_headers=False,
    normalize_outbound_headers=False,
    validate_outbound_headers=False,  # they come from a head that was checked
)


@dataclass(kw_only=True)
class AnswerMalformed(Event):
    """The server broke the rules on one stream, which has been reset."""

    stream_id: int
    reason: str


class ClientProtocol(H2Connection):
    """One connection's frames and stream states. Lengths of bodies are ``H2Stream``'s business."""

    def __init__(self) -> None:
        super().__init__(_CONFIG)
        self.encoder = RepeatingEncoder()
        self.decoder = RepeatingDecoder()
        # A head over the limit fails its own exchange; only beyond four times its size the connection ends.
        self.decoder.max_header_list_size = 4 * MAX_HEAD
        self.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_FRAME_SIZE: _MAX_FRAME,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
            },
        )
        self.max_inbound_frame_size = _MAX_FRAME

    def start(self) -> None:
        """Prepare the client's connection preface."""
        self.initiate_connection()
        self.increment_flow_control_window(CONNECTION_WINDOW)

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]

    def _receive_frame(self, frame: Frame) -> list[Event]:
        kind = type(frame)
        if kind is not HeadersFrame and kind is not DataFrame:
            return super()._receive_frame(frame)
        try:
            events = super()._receive_frame(frame)
        except ProtocolError as error:
            malformed = type(error) is ProtocolError or isinstance(error, InvalidBodyLengthError)
            if not malformed or isinstance(error.__cause__, HPACKError) or frame.stream_id not in self.streams:
                raise
            return self._malformed(frame, error)
        if kind is HeadersFrame:
            stream = self.streams.get(frame.stream_id)
            if stream is not None:  # h2 would hold a 304 to the length of the body that it hasn't
                stream._expected_content_length = None
        return events

    def _malformed(self, frame: Frame, error: ProtocolError) -> list[Event]:
        states = self.streams[frame.stream_id].state_machine
        states.state = StreamState.CLOSED  # h2's ``reset_stream`` would refuse to, if its states took offence already
        states.stream_closed_by = StreamClosedBy.SEND_RST_STREAM
        self._prepare_for_sending([RstStreamFrame(frame.stream_id, error_code=ErrorCodes.PROTOCOL_ERROR)])
        if isinstance(frame, DataFrame) and frame.flow_controlled_length:
            self.increment_flow_control_window(frame.flow_controlled_length)
        return [AnswerMalformed(stream_id=frame.stream_id, reason=str(error))]
