"""Moorings: named, stateful, scale-to-zero containers, self-hosted and programmed in Python.

Everything a worker file needs is importable from here.
"""

from moorings.containers.container import Container
from moorings.containers.helpers import get_container, get_random, switch_port
from moorings.containers.lifecycle import State
from moorings.errors import (
    ContainerFailedToStart,
    ContainerNotRunning,
    DeadlockError,
    MooringsError,
    NoInstanceAvailable,
    ObjectReset,
    PortNotReady,
    UpstreamError,
)
from moorings.http import AbortSignal, Headers, Request, Response
from moorings.objects.durable_object import DurableObject
from moorings.objects.identity import ObjectId
from moorings.worker.entrypoint import WorkerEntrypoint

__all__ = [
    "AbortSignal",
    "Container",
    "ContainerFailedToStart",
    "ContainerNotRunning",
    "DeadlockError",
    "DurableObject",
    "Headers",
    "MooringsError",
    "NoInstanceAvailable",
    "ObjectId",
    "ObjectReset",
    "PortNotReady",
    "Request",
    "Response",
    "State",
    "UpstreamError",
    "WorkerEntrypoint",
    "get_container",
    "get_random",
    "switch_port",
]
