"""The one error tree.

Every error the platform raises has a stable ``code`` (what a program matches on) and the HTTP status a client sees
when the error reaches it. Errors of libraries and of the operating system are translated into this tree once, at the
edge where they occur; nothing above that edge catches foreign errors. Messages are sentences with the next step in
them.
"""

from __future__ import annotations

from typing import ClassVar


class MooringsError(Exception):
    """Base of everything the platform raises on purpose."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500


def known_as(error: BaseException) -> str:
    """The name of the class that users know an error by.

    What the platform makes of a documented class for its own use, a subclass without a code of its own, is known as
    that class.
    """
    for cls in type(error).__mro__:
        if not (issubclass(cls, MooringsError) and cls.__module__.startswith("moorings.")) or "code" in vars(cls):
            break
    return cls.__name__


# --- the user's code and configuration ------------------------------------------------------------------------------


class ConfigError(MooringsError):
    """A configuration value, class attribute or hook doesn't fit; the message names it and what was expected."""

    code = "config_error"


class WorkerError(MooringsError):
    """The user's worker or object raised, or returned something that is not a Response."""

    code = "worker_error"


# --- HTTP from the client -------------------------------------------------------------------------------------------


class BadRequest(MooringsError):
    """The request is malformed or ambiguous (RFC 9112); the connection is closed after the answer."""

    code = "bad_request"
    status = 400


class ContentTooLarge(MooringsError):
    """The request body is over the configured limit."""

    code = "content_too_large"
    status = 413


class HeaderFieldsTooLarge(MooringsError):
    """The request head is over its limit (64 KiB)."""

    code = "header_fields_too_large"
    status = 431


class RequestTimeout(MooringsError):
    """The client did not finish its request head or body in time."""

    code = "request_timeout"
    status = 408


class ExpectationFailed(MooringsError):
    """The request expects something other than ``100-continue`` (RFC 9110, 10.1.1)."""

    code = "expectation_failed"
    status = 417


class NotImplementedByServer(MooringsError):
    """The request uses something this server does not implement (a transfer coding, an upgrade)."""

    code = "not_implemented"
    status = 501


class ClientDisconnected(MooringsError):
    """The client went away; nobody is left to answer. Status 499 is for logs only: it never goes on the wire."""

    code = "client_disconnected"
    status = 499


class WebSocketClosed(MooringsError):
    """A WebSocket was used after its end.

    ``close_code`` and ``reason`` are those of the close frame that was received, 1006 where there was none
    (RFC 6455, 7.1.5).
    """

    code = "websocket_closed"

    def __init__(self, message: str, *, close_code: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.close_code = close_code
        self.reason = reason


class BodyUsed(MooringsError):
    """A body was read a second time; bodies are streamed and can be read once (Fetch standard)."""

    code = "body_used"


# --- containers -----------------------------------------------------------------------------------------------------


class UpstreamError(MooringsError):
    """The container refused or broke the connection, or answered with malformed HTTP."""

    code = "upstream_error"
    status = 502


class ConnectFailed(UpstreamError):
    """No connection to the container could be made, so nothing of the request was sent: it is safe to send it again."""


class UpstreamTimeout(UpstreamError, TimeoutError):
    """The other side did not answer within the time given for it."""

    code = "upstream_timeout"
    status = 504


class DeadlineExceeded(MooringsError, TimeoutError):
    """The deadline that the client gave its request (``grpc-timeout``) has passed."""

    code = "deadline_exceeded"
    status = 504


class NoInstanceAvailable(MooringsError):
    """No slot became free in time (``max_instances``), or the container was still stopping.

    ``retry_after`` is in whole seconds and becomes the Retry-After header (RFC 9110, 10.2.3).
    """

    code = "no_instance_available"
    status = 503

    def __init__(self, message: str, *, retry_after: int = 8) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PortNotReady(MooringsError):
    """A port did not accept a connection within its budget although the container runs."""

    code = "port_not_ready"
    status = 504


class ContainerFailedToStart(MooringsError):
    """The container could not be started, or ended before its ports were ready.

    ``exit_code`` is None where no process ever existed; ``output`` holds its last lines, oldest first.
    """

    code = "container_failed_to_start"
    status = 500

    def __init__(self, message: str, *, exit_code: int | None = None, output: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.output = output


class ImageGone(ContainerFailedToStart):
    """The image that a container was to be made from isn't there, though it was: it has to be had anew."""


class ContainerNotRunning(MooringsError):
    """A call that needs a running container found none."""

    code = "container_not_running"
    status = 503


class ExecTimeout(MooringsError, TimeoutError):
    """A command that was run in a container took longer than its ``timeout``, and was killed.

    ``stdout`` and ``stderr`` are what it had printed until then, where that was gathered.
    """

    code = "exec_timeout"
    status = 504
    stdout: bytes = b""
    stderr: bytes = b""


class ExecOutputTooLarge(MooringsError):
    """A command that was run in a container printed more than is gathered in memory, and was killed."""

    code = "exec_output_too_large"


class RuntimeUnavailable(MooringsError):
    """The runtime itself (supervisor, Docker Engine) cannot be reached; the message says what to do."""

    code = "runtime_unavailable"
    status = 503


# --- objects --------------------------------------------------------------------------------------------------------


class ObjectReset(MooringsError):
    """The object's memory was dropped while the call was waiting (abort, a failed block, a failed write, a reload)."""

    code = "object_reset"
    status = 500


class DeadlockError(MooringsError):
    """A call would wait for itself: the object's own stub was called inside its block_concurrency_while."""

    code = "deadlock"
    status = 500


class NotCallable(MooringsError, AttributeError):
    """The method asked for through a stub is a hook, private or missing."""

    code = "not_callable"


class NotFound(MooringsError):
    """What was asked for by its name or its path isn't there; the message says what is."""

    code = "not_found"
    status = 404


class Ambiguous(MooringsError):
    """A name means several things; the message lists them, each as it can be written."""

    code = "ambiguous"
    status = 409


# --- durable state --------------------------------------------------------------------------------------------------


class StoreError(MooringsError):
    """The durable store could not take a write or answer a read; nothing of the failed group was stored."""

    code = "store_error"
    status = 503


class StoreLocked(StoreError):
    """Another platform holds the data folder; the message says which process."""

    code = "store_locked"


class StoreConflict(StoreError):
    """A write found rows other than those it was based on: its owner is no longer the owner, or was not the first."""

    code = "store_conflict"
    status = 409


class SqlError(MooringsError):
    """A statement on an object's private database was refused or failed; the message is SQLite's, or names a limit."""

    code = "sql_error"


class Unauthorized(MooringsError):
    """The request doesn't carry the token that the listener wants (RFC 9110, 15.5.2)."""

    code = "unauthorized"
    status = 401


# --- queues ---------------------------------------------------------------------------------------------------------


class InvalidMessage(MooringsError, ValueError):
    """A message can't be sent as it was given: its delay, its content type, an empty batch."""

    code = "invalid_message"
    status = 400


class MessageTooLarge(InvalidMessage):
    """A message's body is over 128 KB."""

    code = "message_too_large"
    status = 413


class BatchTooLarge(InvalidMessage):
    """A batch has over 100 messages, or over 256 KB in all."""

    code = "batch_too_large"
    status = 413


class QueueNotFound(MooringsError):
    """No queue of that name exists; the message lists those that do."""

    code = "queue_not_found"
    status = 404


class QueueConflict(MooringsError):
    """The queue's consumer is of the other kind: messages that a worker gets can't be pulled as well."""

    code = "queue_conflict"
    status = 409


class LeaseLost(MooringsError):
    """A message was acknowledged after its delivery had failed or taken too long: it is delivered again."""

    code = "lease_lost"
    status = 409


class ConsumerTimeout(MooringsError):
    """A worker's ``queue`` took longer with a batch than it may; its messages are retried."""

    code = "consumer_timeout"
    status = 504


# --- workflows ------------------------------------------------------------------------------------------------------


class NonRetryableError(MooringsError):
    """Raised by a step's function: the step fails at once, however many retries it has left.

    Source: developers.cloudflare.com/workflows/build/workers-api/#nonretryableerror
    """

    code = "non_retryable"


class WorkflowError(MooringsError):
    """Base of what is wrong with a workflow, an instance of one or a step."""

    code = "workflow_error"


class WorkflowInstanceExists(WorkflowError):
    """``create`` was given the id of an instance that exists already."""

    code = "workflow_instance_exists"
    status = 409


class WorkflowInstanceNotFound(WorkflowError):
    """There is no instance of that id, or its retention has passed."""

    code = "workflow_instance_not_found"
    status = 404


class WorkflowStateError(WorkflowError):
    """The instance's status doesn't allow what was asked for (pausing one that has ended, say)."""

    code = "workflow_state"
    status = 409


class WorkflowCodeChanged(WorkflowError):
    """The code asks for other steps than the instance has recorded; put it back, then resume the instance."""

    code = "workflow_code_changed"


class StepNameUsed(WorkflowError):
    """A run used one step name twice; the name must tell the two apart."""

    code = "step_name_used"


class StepResultRefused(WorkflowError, TypeError):
    """A result can't be recorded: it is not JSON, or larger than 1 MiB."""

    code = "step_result_refused"


class StepTimeout(WorkflowError, TimeoutError):
    """One attempt of a step took longer than its ``timeout``."""

    code = "step_timeout"


class EventTimeout(WorkflowError, TimeoutError):
    """``wait_for_event`` saw no event of its type in time."""

    code = "workflow_event_timeout"


class StepFailed(WorkflowError):
    """A step failed with an error whose class can't be raised again; the message has its name and its message."""

    code = "step_failed"
