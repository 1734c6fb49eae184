"""Moorings: named, stateful, scale-to-zero containers, self-hosted and programmed in Python.

Everything a worker file needs is importable from here. Names are loaded on first use: the supervisor of the process
runtime lives in this package too, and must stay small.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moorings.containers.container import Container
    from moorings.containers.executing import ExecEvent, ExecResult
    from moorings.containers.helpers import get_container, get_random, switch_port
    from moorings.containers.lifecycle import State
    from moorings.errors import (
        ContainerFailedToStart,
        ContainerNotRunning,
        DeadlockError,
        ExecOutputTooLarge,
        ExecTimeout,
        MooringsError,
        NoInstanceAvailable,
        NonRetryableError,
        ObjectReset,
        PortNotReady,
        UpstreamError,
        WebSocketClosed,
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
    "Container",
    "ContainerFailedToStart",
    "ContainerNotRunning",
    "DeadlockError",
    "DurableObject",
    "ExecEvent",
    "ExecOutputTooLarge",
    "ExecResult",
    "ExecTimeout",
    "ForwardedWebSocket",
    "Headers",
    "InstanceStatus",
    "LogLine",
    "Message",
    "MessageBatch",
    "MessageSendRequest",
    "MooringsError",
    "NoInstanceAvailable",
    "NonRetryableError",
    "ObjectId",
    "ObjectReset",
    "PortNotReady",
    "Queue",
    "Redirects",
    "Request",
    "Response",
    "ScheduledController",
    "State",
    "Stats",
    "Terminal",
    "UpstreamError",
    "WebSocket",
    "WebSocketClosed",
    "WorkerEntrypoint",
    "WorkflowEntrypoint",
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
    "moorings.errors": (
        "ContainerFailedToStart",
        "ContainerNotRunning",
        "DeadlockError",
        "ExecOutputTooLarge",
        "ExecTimeout",
        "MooringsError",
        "NoInstanceAvailable",
        "NonRetryableError",
        "ObjectReset",
        "PortNotReady",
        "UpstreamError",
        "WebSocketClosed",
    ),
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


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'moorings' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
