"""Moorings: named, stateful, scale-to-zero containers, self-hosted and programmed in Python.

Everything a worker file needs is importable from here, every documented error included. Names are loaded on first use:
the supervisor of the process runtime lives in this package too, and must stay small.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moorings.containers.container import Container
    from moorings.containers.executing import ExecEvent, ExecResult
    from moorings.containers.helpers import get_container, get_random, switch_port
    from moorings.containers.lifecycle import State
    from moorings.errors import (
        Ambiguous,
        BadRequest,
        BatchTooLarge,
        BodyUsed,
        ClientDisconnected,
        ConfigError,
        ConsumerTimeout,
        ContainerFailedToStart,
        ContainerNotRunning,
        ContentTooLarge,
        DeadlineExceeded,
        DeadlockError,
        EventTimeout,
        ExecOutputTooLarge,
        ExecTimeout,
        ExpectationFailed,
        HeaderFieldsTooLarge,
        InvalidMessage,
        LeaseLost,
        MessageTooLarge,
        MooringsError,
        NoInstanceAvailable,
        NonRetryableError,
        NotCallable,
        NotFound,
        NotImplementedByServer,
        ObjectReset,
        PortNotReady,
        QueueConflict,
        QueueNotFound,
        RequestTimeout,
        RuntimeUnavailable,
        SqlError,
        StepFailed,
        StepNameUsed,
        StepResultRefused,
        StepTimeout,
        StoreConflict,
        StoreError,
        StoreLocked,
        Unauthorized,
        UpstreamError,
        UpstreamTimeout,
        WebSocketClosed,
        WorkerError,
        WorkflowCodeChanged,
        WorkflowError,
        WorkflowInstanceExists,
        WorkflowInstanceNotFound,
        WorkflowStateError,
    )
    from moorings.http import AbortSignal, Headers, Redirects, Request, Response
    from moorings.http.websocket import WebSocket
    from moorings.objects.durable_object import DurableObject
    from moorings.objects.fetching import fetch
    from moorings.objects.identity import ObjectId
    from moorings.proxy import ForwardedWebSocket
    from moorings.queues.batch import Message, MessageBatch
    from moorings.queues.producer import MessageSendRequest, Queue
    from moorings.runtimes.base import LogLine, Stats, Terminal
    from moorings.worker.cron import ScheduledController
    from moorings.worker.entrypoint import WorkerEntrypoint
    from moorings.workflows.entrypoint import WorkflowEntrypoint
    from moorings.workflows.lifecycle import WorkflowStatus
    from moorings.workflows.operations import InstanceStatus

__all__ = [
    "AbortSignal",
    "Ambiguous",
    "BadRequest",
    "BatchTooLarge",
    "BodyUsed",
    "ClientDisconnected",
    "ConfigError",
    "ConsumerTimeout",
    "Container",
    "ContainerFailedToStart",
    "ContainerNotRunning",
    "ContentTooLarge",
    "DeadlineExceeded",
    "DeadlockError",
    "DurableObject",
    "EventTimeout",
    "ExecEvent",
    "ExecOutputTooLarge",
    "ExecResult",
    "ExecTimeout",
    "ExpectationFailed",
    "ForwardedWebSocket",
    "HeaderFieldsTooLarge",
    "Headers",
    "InstanceStatus",
    "InvalidMessage",
    "LeaseLost",
    "LogLine",
    "Message",
    "MessageBatch",
    "MessageSendRequest",
    "MessageTooLarge",
    "MooringsError",
    "NoInstanceAvailable",
    "NonRetryableError",
    "NotCallable",
    "NotFound",
    "NotImplementedByServer",
    "ObjectId",
    "ObjectReset",
    "PortNotReady",
    "Queue",
    "QueueConflict",
    "QueueNotFound",
    "Redirects",
    "Request",
    "RequestTimeout",
    "Response",
    "RuntimeUnavailable",
    "ScheduledController",
    "SqlError",
    "State",
    "Stats",
    "StepFailed",
    "StepNameUsed",
    "StepResultRefused",
    "StepTimeout",
    "StoreConflict",
    "StoreError",
    "StoreLocked",
    "Terminal",
    "Unauthorized",
    "UpstreamError",
    "UpstreamTimeout",
    "WebSocket",
    "WebSocketClosed",
    "WorkerEntrypoint",
    "WorkerError",
    "WorkflowCodeChanged",
    "WorkflowEntrypoint",
    "WorkflowError",
    "WorkflowInstanceExists",
    "WorkflowInstanceNotFound",
    "WorkflowStateError",
    "WorkflowStatus",
    "fetch",
    "get_container",
    "get_random",
    "switch_port",
]

_HOMES = {
    "moorings.containers.container": ("Container",),
    "moorings.containers.executing": ("ExecEvent", "ExecResult"),
    "moorings.containers.helpers": ("get_container", "get_random", "switch_port"),
    "moorings.containers.lifecycle": ("State",),
    "moorings.http": ("AbortSignal", "Headers", "Redirects", "Request", "Response"),
    "moorings.http.websocket": ("WebSocket",),
    "moorings.objects.durable_object": ("DurableObject",),
    "moorings.objects.fetching": ("fetch",),
    "moorings.objects.identity": ("ObjectId",),
    "moorings.proxy": ("ForwardedWebSocket",),
    "moorings.queues.batch": ("Message", "MessageBatch"),
    "moorings.queues.producer": ("MessageSendRequest", "Queue"),
    "moorings.runtimes.base": ("LogLine", "Stats", "Terminal"),
    "moorings.worker.cron": ("ScheduledController",),
    "moorings.worker.entrypoint": ("WorkerEntrypoint",),
    "moorings.workflows.entrypoint": ("WorkflowEntrypoint",),
    "moorings.workflows.lifecycle": ("WorkflowStatus",),
    "moorings.workflows.operations": ("InstanceStatus",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
"""Where the names of ``__all__`` come from; those that aren't here are errors."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'moorings' has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "moorings.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
