"""``Container``: the class that users subclass."""

from __future__ import annotations

import signal as signals
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from yarl import URL

from moorings.containers.executing import ExecEvent, ExecResult, Input, exec_events, exec_result, exec_spec
from moorings.containers.lifecycle import State
from moorings.containers.options import optional_duration, set_overridden
from moorings.containers.reading import read_logs
from moorings.containers.traffic import send
from moorings.errors import WorkerError
from moorings.http import UNSET, Request, Response
from moorings.objects import schedules
from moorings.objects.durable_object import DurableObject, inline, streaming
from moorings.objects.event import current_event
from moorings.objects.requests import request_for
from moorings.objects.schedules import Schedule
from moorings.objects.streams import Stream
from moorings.observer import ErrorReported
from moorings.runtimes.base import LogLine, Stats, Terminal

if TYPE_CHECKING:
    from moorings.containers.connections import Connections
    from moorings.containers.controller import Controller
    from moorings.objects.state import DurableObjectState


class Container(DurableObject):
    """A named container: one live instance per name, started on its first request, put to sleep when idle.

    Set the attributes in a subclass; override ``fetch`` or the hooks where the defaults don't do. Hooks may be
    ``def`` or ``async def``. Source: developers.cloudflare.com/containers/container-package/
    """

    default_port: int | None = None
    """Where ``fetch`` sends requests."""

    required_ports: Sequence[int] = ()
    """Ports that must accept before the container counts as ready; ``default_port`` alone where empty."""

    sleep_after: str | float | timedelta = "10m"
    """Idle time after which ``on_activity_expired`` decides: seconds, a timedelta, or "30s", "5m", "1h"."""

    sleep_action: str = "stop"
    """What happens to it then: "stop", or "pause" to freeze it with its memory until the next request."""

    env_vars: Mapping[str, str] = {}
    """Environment variables of the program."""

    entrypoint: Sequence[str] | None = None
    """What to run. ``{port}`` and ``{port:8081}`` stand for the ports given by the process runtime."""

    image: str | None = None
    """A folder with a Dockerfile, beside the worker file, or an image reference.

    The process runtime runs ``entrypoint`` in that folder.
    """

    enable_internet: bool = True
    """Whether the container may reach outside (image runtimes)."""

    ping_endpoint: str | None = None
    """A path that must give an HTTP answer before the container counts as ready."""

    h2c_ports: Sequence[int] = ()
    """Ports that speak HTTP/2 without TLS."""

    labels: Mapping[str, str] = {}
    """Labels that image runtimes attach to the container."""

    image_vars: Mapping[str, str] = {}
    """Arguments (``ARG``) of the image's build."""

    instance_type: str | Mapping[str, Any] | None = None
    """The size of the container: "lite", "basic", "standard-1" to "standard-4", or a table with vcpu, memory, disk."""

    sandbox: Mapping[str, Any] = {}
    """What the container may do: some of read_only, tmpfs, capabilities, processes, network (image runtimes)."""

    max_instances: int = 100
    """How many containers of this class may run at once; further requests wait ``instance_get_timeout`` for a place."""

    warm_spares: int = 0
    """How many containers to keep started that belong to no name yet; the first request to a name takes one."""

    stop_grace: str | float | timedelta = "15m"
    """Time between the stop signal and SIGKILL."""

    instance_get_timeout: str | float | timedelta = "8s"
    """How long a request waits for a place (``max_instances``), or for a container that is stopping to end."""

    port_ready_timeout: str | float | timedelta = "20s"
    """How long the ports of a program that runs may take to accept."""

    _controller: Controller

    def __new__(cls, ctx: DurableObjectState, env: Any) -> Container:
        self = super().__new__(cls)
        self._controller = ctx.services["controller"]
        set_overridden(self, self._controller.options)
        return self

    # --- requests ---------------------------------------------------------------------------------------------------

    @inline
    async def fetch(self, request: Request) -> Response:
        """Forward a request to the container, starting it and waiting for its port where need be.

        The port is the one that ``switch_port`` chose for this request, else ``default_port``, else the first of
        ``required_ports``. Raises NoInstanceAvailable (503), PortNotReady (504), ContainerFailedToStart (500),
        UpstreamError (502), RuntimeUnavailable (503), TypeError for what is no Request.
        """
        if not isinstance(request, Request):
            raise TypeError(f"fetch takes a Request, not {type(request).__name__}; container_fetch takes URLs as well")
        return await send(self._controller, request)

    @inline
    async def container_fetch(
        self,
        request: Request | str | URL,
        port: int | None = None,
        *,
        method: str | None = None,
        headers: Any = None,
        body: Any = None,
        json: Any = UNSET,
    ) -> Response:
        """Like ``fetch``, for a Request or a URL, and to any declared port.

        ``method``, ``headers``, ``body`` and ``json`` are those of ``Request`` and replace a given Request's own.
        Raises WorkerError for a request that asks for an upgrade (a WebSocket): that is what ``fetch`` is for.
        """
        made = request_for(request, method=method, headers=headers, body=body, json=json)
        if made.upgrade is not None:
            raise WorkerError(
                f"container_fetch can't forward an upgrade ({made.upgrade}): use fetch(request), which hands the "
                "client's connection on"
            )
        return await send(self._controller, made, port)

    def switch_port(self, port: int) -> None:
        """Send this request, and no other, to another declared port: call it in ``fetch`` before ``super().fetch``.

        Raises ConfigError for a port the class doesn't declare, RuntimeError outside of a request.
        """
        self._controller.check_declared(port)
        event = current_event.get()
        if event is None or event.activation is not self._controller.activation:
            raise RuntimeError("switch_port holds for one request: call it inside fetch()")
        event.request.port = port

    @property
    def connections(self) -> Connections:
        """The WebSockets that are forwarded to this container: the live set. Iterating goes over a snapshot."""
        return self._controller.connections

    # --- life cycle -------------------------------------------------------------------------------------------------

    @inline
    async def start(self) -> None:
        """Start the container if it isn't running; returns when its program exists (its ports may not accept yet).

        All callers share one start and its outcome. Raises NoInstanceAvailable, ContainerFailedToStart,
        ContainerNotRunning (stopped meanwhile), RuntimeUnavailable.
        """
        await self._controller.start()

    @inline
    async def start_and_wait_for_ports(
        self,
        ports: int | Iterable[int] | None = None,
        *,
        instance_get_timeout: str | float | timedelta | None = None,
        port_ready_timeout: str | float | timedelta | None = None,
    ) -> None:
        """Start the container if it isn't running, and wait until every port accepts.

        ``ports`` defaults to ``required_ports``, else ``default_port``; the timeouts (seconds, a timedelta, "30s") hold
        for this call, in place of the class's. All callers share one start and its outcome. Raises NoInstanceAvailable
        without a place (``instance_get_timeout``), PortNotReady (``port_ready_timeout``), ContainerFailedToStart, the
        other errors of ``start``, and ConfigError for a port that the class doesn't declare.
        Source: developers.cloudflare.com/containers/container-package/ (``cancellationOptions``)
        """
        controller = self._controller
        if ports is None:
            if controller.warm:
                return
            awaited = None
        else:
            awaited = (ports,) if isinstance(ports, int) else tuple(ports)
        await controller.ready(
            awaited,
            instance_timeout=optional_duration("instance_get_timeout", instance_get_timeout),
            port_timeout=optional_duration("port_ready_timeout", port_ready_timeout),
        )

    @inline
    async def wait_for_port(self, port: int, *, port_ready_timeout: str | float | timedelta | None = None) -> None:
        """Wait until one port accepts, starting the container if need be. Raises what start_and_wait_for_ports does."""
        timeout = optional_duration("port_ready_timeout", port_ready_timeout)
        await self._controller.ready((port,), port_timeout=timeout)

    @inline
    async def stop(self, signal: int | str = signals.SIGTERM) -> None:
        """Stop gracefully; returns once the signal is sent. Idempotent.

        ``on_stop`` runs before the signal, SIGKILL follows ``stop_grace`` after it. ``signal`` is a number or a name
        such as "SIGTERM"; raises TypeError or ValueError for what is no signal.
        """
        await self._controller.stop(signal)

    @inline
    async def destroy(self) -> None:
        """SIGKILL at once; returns when the container has ended."""
        await self._controller.destroy()

    @inline
    async def get_state(self) -> State:
        """What the container is doing, since when, and the exit code of its last end."""
        await self._controller.books.recall()
        return self._controller.state()

    @inline
    def renew_activity_timeout(self) -> None:
        """Start the ``sleep_after`` period anew."""
        self._controller.activity.renew()

    # --- inside -----------------------------------------------------------------------------------------------------

    @inline
    async def exec(
        self,
        cmd: str | Sequence[str],
        *,
        stdin: Input | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        tty: bool | Terminal = False,
        timeout: str | float | timedelta | None = None,
    ) -> ExecResult:
        """Run a program inside the container, starting that if need be, and return its exit code and what it printed.

        ``cmd`` is a list (the program and its arguments) or a text for ``sh -c``. It runs in the container's folder, or
        in ``cwd``, with the container's environment and ``env`` on top, as ``user`` where the runtime can. ``stdin`` is
        what it reads; ``tty`` gives it a terminal. Cancelling this kills it, and so does ``timeout`` (seconds, a
        timedelta, "30s"), with ExecTimeout. Raises ExecOutputTooLarge over 16 MiB of output: see ``exec_stream``.
        """
        spec = exec_spec(cmd, env=env, cwd=cwd, user=user, tty=tty)
        return await exec_result(exec_events(self._controller, spec, stdin, timeout))

    @streaming
    def exec_stream(
        self,
        cmd: str | Sequence[str],
        *,
        stdin: Input | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        tty: bool | Terminal = False,
        timeout: str | float | timedelta | None = None,
    ) -> Stream[ExecEvent]:
        """Run a program as ``exec`` does, and give what it prints as it comes; the last event has its exit code.

        Closing the stream (``aclose``, or leaving ``async with``) kills the program.
        """
        spec = exec_spec(cmd, env=env, cwd=cwd, user=user, tty=tty)
        return Stream(exec_events(self._controller, spec, stdin, timeout))

    @streaming
    def logs(
        self,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: str | float | timedelta | datetime | None = None,
    ) -> Stream[LogLine]:
        """The lines that the container has printed since its last start, oldest first; also after its end.

        ``tail`` is how many lines at most, the last ones; ``since`` a datetime, Unix seconds, or how long ago (a
        timedelta, "5m"). With ``follow`` it goes on with what is printed, until the container ends.
        """
        return Stream(read_logs(self._controller, follow=follow, tail=tail, since=since))

    @inline
    async def stats(self) -> Stats:
        """What the running container uses: CPU time, memory, network, processes. Raises ContainerNotRunning."""
        return await self._controller.stats()

    # --- later ------------------------------------------------------------------------------------------------------

    def schedule(
        self, when: float | timedelta | datetime, callback: str | Callable[..., Any], payload: Any = None
    ) -> Awaitable[Schedule]:
        """Call a method of this object later, also after a restart; at least once, retried as alarms are.

        ``when`` is in seconds from now, a timedelta, or a datetime. ``callback`` is the method or its name; it is given
        the payload, of any type that RPC copies, if it takes an argument. Takes effect at the call.
        Raises TypeError and ValueError for what can't be scheduled.
        """
        return schedules.add(self.ctx.storage, self._controller.service.clock, self, when, callback, payload)

    async def list_schedules(self) -> list[Schedule]:
        """The calls that are still to be made, the earliest first."""
        return await schedules.pending(self.ctx.storage)

    def cancel_schedule(self, schedule_id: str) -> Awaitable[None]:
        """Take a scheduled call back; nothing happens where it was made already. Takes effect at the call."""
        return schedules.cancel(self.ctx.storage, schedule_id)

    # --- hooks ------------------------------------------------------------------------------------------------------

    def on_start(self) -> Any:
        """The container has started; runs once per start, before the waiting requests are forwarded."""

    def on_stop(self) -> Any:
        """The container is about to get its stop signal; connections are still open. Takes at most 5 s."""

    def on_exit(self, exit_code: int, reason: str) -> Any:
        """The container has ended, in whatever way. ``reason``: exit, signal, oom, destroyed or platform."""

    def on_error(self, error: BaseException) -> Any:
        """The container could not be started, or a hook raised. Reports the error unless overridden."""
        self._controller.service.observer.notify(ErrorReported("container", error, self._controller.subject))

    def on_activity_expired(self) -> Any:
        """The container has been idle for ``sleep_after``. A true result keeps it for another period; else it stops."""
        return False
