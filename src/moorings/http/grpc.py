"""gRPC over HTTP/2, as far as a platform between client and server must know it.

Which requests are calls, when a call's deadline is, and how an error of the platform is told: as a status in an answer
that consists of its head only ("Trailers-Only"), with HTTP status 200, because clients look at nothing else.

Source: github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, statuscodes.md, http-grpc-status-mapping.md.
"""

from __future__ import annotations

import re
from enum import IntEnum

from moorings.errors import MooringsError
from moorings.http.headers import Headers
from moorings.http.problem import Debug, sentence
from moorings.http.request import Request
from moorings.http.response import Response

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class Status(IntEnum):
    """The status codes that the platform gives."""

    CANCELLED = 1
    UNKNOWN = 2
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


STATUS_OF_CODE = {
    "bad_request": Status.INTERNAL,
    "client_disconnected": Status.CANCELLED,
    "content_too_large": Status.RESOURCE_EXHAUSTED,
    "header_fields_too_large": Status.RESOURCE_EXHAUSTED,
    "request_timeout": Status.DEADLINE_EXCEEDED,
    "deadline_exceeded": Status.DEADLINE_EXCEEDED,
    "not_implemented": Status.UNIMPLEMENTED,
    "upstream_error": Status.UNAVAILABLE,
    "upstream_timeout": Status.DEADLINE_EXCEEDED,
    "no_instance_available": Status.UNAVAILABLE,
    "port_not_ready": Status.UNAVAILABLE,
    "container_failed_to_start": Status.UNAVAILABLE,
    "container_not_running": Status.UNAVAILABLE,
    "runtime_unavailable": Status.UNAVAILABLE,
    "store_error": Status.UNAVAILABLE,
    "object_reset": Status.UNAVAILABLE,
    "worker_error": Status.UNKNOWN,
}
"""What becomes of an error's ``code``; INTERNAL for others of the platform, UNKNOWN for what user code raised."""

_STATUS_OF_RESET = {
    3: Status.INTERNAL,  # FLOW_CONTROL_ERROR
    7: Status.UNAVAILABLE,  # REFUSED_STREAM
    8: Status.CANCELLED,
    11: Status.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    12: Status.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}
"""What becomes of the code of an RST_STREAM; INTERNAL for others."""


def is_call(request: Request) -> bool:
    """Whether a request is a gRPC call: its media type is application/grpc, or that with +proto, +json..."""
    fields = request.fields
    content_type = request.headers.get("content-type") if fields is None else fields.first("content-type")
    return content_type is not None and is_grpc_type(content_type)


def is_grpc_type(content_type: str) -> bool:
    """Whether this media type is gRPC's own (gRPC-Web is plain HTTP)."""
    return content_type.startswith("application/grpc") and content_type[16:17] in ("", "+", ";", " ")


def timeout_of(request: Request) -> float | None:
    """The seconds that the client gives a call; None where it gives no bound, or what can't be read as one."""
    value = request.headers.get("grpc-timeout")
    match = None if value is None else _TIMEOUT.fullmatch(value)
    return None if match is None else int(match[1]) * _SECONDS[match[2]]


def status_of(error: BaseException) -> Status:
    """The status that tells of an error."""
    reset = getattr(error, "http2_code", None)
    if reset is not None:
        return _STATUS_OF_RESET.get(reset, Status.INTERNAL)
    if isinstance(error, MooringsError):
        return STATUS_OF_CODE.get(error.code, Status.INTERNAL)
    return Status.UNKNOWN


def status_trailers(error: BaseException, *, debug: Debug = Debug.OFF) -> Headers:
    """What ends a call that has failed. The message tells what went on inside in debug mode only."""
    message = sentence(error)
    if debug is Debug.ON:
        message = f"{message} {type(error).__name__}: {error}"
    return Headers({"grpc-status": str(int(status_of(error))), "grpc-message": percent_encoded(message)})


def error_response(
    error: BaseException, *, content_type: str = "application/grpc", debug: Debug = Debug.OFF
) -> Response:
    """The answer to a call for an error that nobody caught."""
    response = Response(headers={"Content-Type": content_type})
    response.headers.extend(status_trailers(error, debug=debug))
    return response


def percent_encoded(message: str) -> str:
    """A status message as it is sent: printable ASCII but %, the rest of its UTF-8 percent-encoded."""
    return "".join(
        chr(byte) if 32 <= byte <= 126 and byte != 37 else f"%{byte:02X}"
        for byte in message.encode("utf-8", "backslashreplace")
    )
