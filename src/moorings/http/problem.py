"""Errors as the client sees them: RFC 9457 problem details with a stable ``code``.

In debug mode (``dev``) they carry the traceback and the container's last output; otherwise never anything but the code,
the status and one safe sentence, because messages of errors may quote what only the operator should see.
"""

from __future__ import annotations

import traceback
from enum import Enum
from http import HTTPStatus
from typing import Any

import msgspec

from moorings.errors import ContainerFailedToStart, MooringsError, NoInstanceAvailable, known_as
from moorings.http.response import Response


class Debug(Enum):
    """Whether problem responses tell what went on inside."""

    ON = "on"
    OFF = "off"


_SENTENCES = {
    "bad_request": "The request is malformed.",
    "content_too_large": "The request body is too large.",
    "header_fields_too_large": "The request head is too large.",
    "request_timeout": "The request did not arrive in time.",
    "expectation_failed": "The expectation of the request can't be met.",
    "not_implemented": "The request uses something that is not implemented here.",
    "upstream_error": "The container broke the connection or answered with malformed HTTP.",
    "upstream_timeout": "The other side did not answer in time.",
    "deadline_exceeded": "The deadline of the call has passed.",
    "no_instance_available": "No instance is available at the moment; try again later.",
    "port_not_ready": "The container did not accept connections in time.",
    "container_failed_to_start": "The container failed to start.",
    "container_not_running": "The container is not running.",
    "runtime_unavailable": "Containers can't be run at the moment.",
    "store_error": "The durable store can't be used at the moment.",
    "invalid_message": "The message can't be sent.",
    "message_too_large": "The message is too large for a queue.",
    "batch_too_large": "There are too many messages, or too large ones, for one batch.",
    "worker_error": "The worker raised an error.",
}


def problem_response(error: BaseException, *, debug: Debug = Debug.OFF, **extra: Any) -> Response:
    """The response for an error that nobody caught. ``extra`` becomes further members of the problem."""
    code, status = (error.code, error.status) if isinstance(error, MooringsError) else ("worker_error", 500)
    wire_status = status if 400 <= status <= 599 and status != 499 else 500
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": _title(wire_status),
        "status": wire_status,
        "detail": sentence(error),
        "code": code,
    }
    if debug is Debug.ON:
        problem["detail"] = str(error) or type(error).__name__
        problem["error"] = known_as(error)
        problem["traceback"] = "".join(traceback.format_exception(error))
        if isinstance(error, ContainerFailedToStart):
            problem["exit_code"] = error.exit_code
            problem["output"] = list(error.output)
    problem.update(extra)
    response = Response(
        msgspec.json.encode(problem), status=wire_status, headers={"Content-Type": "application/problem+json"}
    )
    if isinstance(error, NoInstanceAvailable):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def sentence(error: BaseException) -> str:
    """The safe sentence that tells of an error."""
    code = error.code if isinstance(error, MooringsError) else "worker_error"
    return _SENTENCES.get(code, "The platform could not answer the request.")


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
