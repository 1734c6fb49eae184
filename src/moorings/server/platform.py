"""The platform as a whole: loads the app, opens the runtime, serves, reloads, and stops in order.

Order of stopping: no new connections; requests in flight end (up to a deadline); containers are stopped where that
is wanted; objects are put away; the runtime is closed last. Nothing is left running that is not meant to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

from moorings.clock import Clock, SystemClock
from moorings.config.env_file import read_env_file
from moorings.containers import records
from moorings.containers.controller import Controller
from moorings.containers.lifecycle import DOWN
from moorings.containers.records import StoredRecords
from moorings.containers.service import Budgets, ContainerService
from moorings.containers.waiting import first_of
from moorings.errors import DeadlineExceeded, RuntimeUnavailable, StoreError
from moorings.http import Debug, HttpClient, HttpServer, Limits, Request, Response, grpc, problem_response
from moorings.objects import storage, timers
from moorings.objects.fetching import use_client
from moorings.objects.sql_files import SqlFiles
from moorings.observer import ErrorReported, Notice, Observer
from moorings.queues import tables as queue_tables
from moorings.queues.producer import Queue
from moorings.runtimes.base import OnClose
from moorings.server import garbage
from moorings.server.admin.listening import AdminServer
from moorings.server.admin.routes import AdminParts, all_routes
from moorings.server.adopting import adopt_all
from moorings.server.certificates import Certificates
from moorings.server.choosing import choose_all
from moorings.server.dev_trigger import DevTrigger
from moorings.server.grpc_calls import GrpcCalls
from moorings.server.images import AppImages
from moorings.server.limits import raise_open_files
from moorings.server.objects import Objects, StorageParts
from moorings.server.options import Mode, PlatformOptions
from moorings.server.queueing import Queueing
from moorings.server.runtimes import Runtimes
from moorings.server.watchdog import Watchdog
from moorings.server.workflows import Workflows
from moorings.store import DataFolder, SqliteStore
from moorings.worker import cron
from moorings.worker.cron import CronScheduler
from moorings.worker.host import WorkerHost
from moorings.worker.loader import Application, load_application
from moorings.workflows import records as workflow_records

MIGRATIONS = (
    *records.MIGRATIONS,
    *storage.MIGRATIONS,
    *timers.MIGRATIONS,
    *cron.MIGRATIONS,
    *queue_tables.MIGRATIONS,
    *workflow_records.MIGRATIONS,
)
"""The tables of all packages."""

DEV_STOP_GRACE = 10.0
"""Seconds between the stop signal and SIGKILL at most, in ``dev``."""

HOOKS_GRACE = 5.0
"""Seconds that the hooks of a container that has ended get to end while the platform stops."""

LEAVE = 2.0
"""Seconds that code which is cancelled while the platform stops gets to end; what takes longer is left over."""


def _began(controller: Controller) -> float:
    """When a container that runs or starts was started, in Unix seconds."""
    incarnation = controller.incarnation
    if incarnation is None or incarnation.running is None:
        return controller.last_change
    return incarnation.running.started_at


class Platform:
    """One running platform. Call ``start`` once, then ``reload`` any number of times, then ``stop`` once."""

    def __init__(self, options: PlatformOptions, *, observer: Observer, clock: Clock | None = None) -> None:
        self.options = options
        self.observer = observer
        self.clock = clock or SystemClock()
        self.app: Application | None = None
        self.url = ""
        self._folder: DataFolder | None = None
        self._store: SqliteStore | None = None
        self._files: SqlFiles | None = None
        self._runtime: Runtimes | None = None
        self._images: AppImages | None = None
        self._service: ContainerService | None = None
        self._objects: Objects | None = None
        self._worker: WorkerHost | None = None
        self._cron: CronScheduler | None = None
        self._workflows: Workflows | None = None
        self._queues: Queueing | None = None
        self._server: HttpServer | None = None
        self._certificates: Certificates | None = None
        self._calls: GrpcCalls | None = None
        self._admin: AdminServer | None = None
        self._client = HttpClient(clock=self.clock)
        self._watchdog: Watchdog | None = None
        self._hurry = asyncio.Event()
        self._hurried_at = 0.0
        self._left_over: list[str] = []
        self._warned: tuple[str, ...] = ()

    # --- starting -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the app, open the runtime and listen.

        Raises ConfigError, RuntimeUnavailable, and OSError where the port is taken.
        """
        raise_open_files(self.observer)
        app = self.app = load_application(self.options.file, self.options.config, data=self.options.data)
        variables = self._variables(app)
        self._warn([*app.warnings, *shadowed(app, variables)])
        self._certificates = Certificates(self.options, clock=self.clock, observer=self.observer)
        try:
            await self._open(app, variables)
        except BaseException:
            await self._close(OnClose.KEEP)
            raise

    async def _open(self, app: Application, variables: Mapping[str, Any]) -> None:
        debug = self.options.debug
        self._folder = DataFolder.open(self.options.data, started_at=self.clock.time())
        self._store = await SqliteStore.open(self._folder.path, migrations=MIGRATIONS, clock=self.clock)
        choices = choose_all(app.options, self.options.runtime)
        self._runtime = Runtimes(self.options.data, choices, clock=self.clock)
        self._images = AppImages(self._runtime.prepare, self.observer)
        self._service = ContainerService(
            app=app.name,
            runtime=self._runtime,
            clock=self.clock,
            observer=self.observer,
            records=StoredRecords(self._store, self._store_failed),
            budgets=Budgets(longest_stop_grace=DEV_STOP_GRACE if debug else None),
        )
        self._service.images = self._images
        found = await self._runtime.open(self._service)
        await self._have_images(app)
        self._files = SqlFiles(self.options.data / "sql")
        self._workflows = Workflows(self._store, clock=self.clock, observer=self.observer)
        self._queues = Queueing(self._store, clock=self.clock, observer=self.observer)
        self._objects = Objects(
            app,
            {**variables, **await self._queues.open(app), **self._workflows.bindings(app)},
            service=self._service,
            clock=self.clock,
            observer=self.observer,
            storage=StorageParts(self._store, self._files),
        )
        await adopt_all(found, service=self._service, objects=self._objects, clock=self.clock, observer=self.observer)
        use_client(self._client)
        self._worker = WorkerHost(app.worker, self._objects.env, self.observer)
        handler = DevTrigger(self._worker, self.clock).handle if debug else self._worker.handle
        self._calls = GrpcCalls(handler, clock=self.clock, report=self._report)
        self._server = HttpServer(
            self._calls.handle,
            on_error=self._error_response,
            limits=Limits(body=self.options.max_body or None),
            trusted_proxies=self.options.trusted_proxies,
            clock=self.clock,
            observer=self.observer,
        )
        self._watchdog = Watchdog(self.observer, app.file.parent)
        self._watchdog.start()
        assert self._certificates is not None
        tls = self._certificates.context
        host, port = await self._server.listen(self.options.host, self.options.port, ssl=tls)
        self._certificates.start()
        self.url = f"{self._certificates.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        self._cron = CronScheduler(
            store=self._store, clock=self.clock, observer=self.observer, run=self._worker.scheduled
        )
        await self._cron.use(app.settings.crons)
        if self._objects.timing is not None:
            await self._objects.timing.timers.start()
        await self._workflows.start(app, self._worker)
        await self._queues.listen(self.options)
        self._queues.start(self._worker)
        managed = (self._queues.managing, self._workflows.operations)
        routes = all_routes(AdminParts(app.name, self.url, self._service, self._objects, *managed))
        self._admin = AdminServer(self._folder.path, routes, clock=self.clock, observer=self.observer)
        await self._admin.open()
        self._objects.open_spares()
        garbage.settle()

    async def _have_images(self, app: Application) -> None:
        """``serve`` has every image there before it listens, ``dev`` meanwhile."""
        assert self._images is not None
        assert self._runtime is not None
        if self.options.debug:
            self._use_images(app)
            return
        self._images.use(app.name, app.options, self._runtime.choices)
        try:
            await self._images.prepare_all()
        except RuntimeUnavailable as error:  # requests have the image built, once the Engine is there
            self.observer.notify(Notice("error", str(error)))

    def _use_images(self, app: Application) -> None:
        """Choose anew where classes run, and have their images there, in the background."""
        assert self._images is not None
        assert self._runtime is not None
        self._runtime.choices = choose_all(app.options, self.options.runtime, before=self._runtime.choices)
        self._images.use(app.name, app.options, self._runtime.choices)
        self._images.prepare_in_background()

    def _store_failed(self, error: StoreError) -> None:
        self.observer.notify(ErrorReported("store", error))

    def _variables(self, app: Application) -> dict[str, Any]:
        variables: dict[str, Any] = dict(app.settings.variables)
        local = self.options.file.resolve().parent / ".dev.vars"
        if self.options.mode is Mode.DEV and local.is_file():
            variables |= read_env_file(local)
        if self.options.env_file is not None:
            variables |= read_env_file(self.options.env_file)
        return variables

    def _warn(self, warnings: Iterable[str]) -> None:
        """Tell warnings, but for those that were told with the version before."""
        known, self._warned = self._warned, tuple(warnings)
        for warning in self._warned:
            if warning not in known:
                self.observer.notify(Notice("warning", warning))

    def _error_response(self, request: Request | None, error: BaseException) -> Response:
        if getattr(error, "status", 500) >= 500 and not isinstance(error, DeadlineExceeded):
            where = "request" if request is None else f"{request.method} {request.url.path}"
            self.observer.notify(ErrorReported(where, error))
        answer = grpc.error_response if request is not None and grpc.is_call(request) else problem_response
        return answer(error, debug=Debug.ON if self.options.debug else Debug.OFF)

    def _report(self, where: str, error: BaseException) -> None:
        self.observer.notify(ErrorReported(where, error))

    # --- reloading ----------------------------------------------------------------------------------------------------

    async def reload(self) -> list[Controller]:
        """Load the app anew. Raises ConfigError and leaves the old version serving where the new one doesn't load.

        Objects lose their memory, containers keep running, but for those whose class's start options changed: these are
        stopped, and started with the next request. Returns their controllers.
        """
        assert self._objects is not None
        assert self._worker is not None
        app = load_application(self.options.file, self.options.config, data=self.options.data)
        variables = self._variables(app)
        queues = {} if self._queues is None else self._queues.bindings(app)
        workflows = {} if self._workflows is None else self._workflows.bindings(app)
        outdated = self._objects.reload(app, {**variables, **queues, **workflows})
        self.app = app
        self._warn([*app.warnings, *shadowed(app, variables)])
        self._use_images(app)
        self._worker.worker = app.worker
        self._worker.env = self._objects.env
        if self._cron is not None:
            await self._cron.use(app.settings.crons)
        if self._queues is not None:
            self._queues.use(app)
        if self._workflows is not None:
            self._workflows.reload(app)
        await asyncio.gather(*(controller.stop() for controller in outdated))
        return outdated

    async def restart(self, classes: Mapping[str, float]) -> list[Controller]:
        """Stop containers that run, to be started anew by their next request. Returns their controllers.

        ``classes`` has names of classes and Unix times: what was started after that is left running.
        """
        assert self._service is not None
        assert self._objects is not None
        running = [
            controller
            for controller in self._service.controllers()
            if controller.status not in DOWN and _began(controller) < classes.get(controller.subject.class_name, 0.0)
        ]
        if self._images is not None:
            self._images.outdated(classes)
            self._images.prepare_in_background()
        self._objects.replace_spares(classes)
        await asyncio.gather(*(controller.stop() for controller in running))
        return running

    @property
    def image_folders(self) -> set[Path]:
        """The folders of classes that run on Docker, from which their images are built."""
        return set() if self._images is None else self._images.folders

    @property
    def bindings(self) -> dict[str, str]:
        """What is bound in ``env``: names of bindings and their classes."""
        assert self._objects is not None
        bound = vars(self._objects.env).items()
        return {
            **{binding: namespace.class_name for binding, namespace in bound if hasattr(namespace, "class_name")},
            **{binding: f"queue {queue.name}" for binding, queue in bound if isinstance(queue, Queue)},
        }

    @property
    def variables(self) -> list[str]:
        """The names of the variables in ``env``."""
        assert self._objects is not None
        return [name for name in self._objects.env if name not in self.bindings]

    # --- stopping -----------------------------------------------------------------------------------------------------

    async def stop(self) -> tuple[str, ...]:
        """Stop in order. ``hurry`` may be called meanwhile.

        Returns what did not end although it was cancelled, each as a phrase: the event loop can't be closed in order
        then, so the process has to be ended.
        """
        stop_containers = self.options.mode is Mode.DEV or self.options.stop_containers
        if self._objects is not None:
            self._objects.hold_spares()
        if self._server is not None and self._service is not None:
            if not stop_containers:
                await asyncio.gather(self._drain(), self._end_upgraded())
            elif self.options.mode is Mode.DEV:
                await asyncio.gather(self._drain(), self._stop_containers())
            else:
                await self._drain()
                await self._stop_containers()
            await self._end_upgraded()  # those as well that were requests in flight
        await self._close(OnClose.KILL if stop_containers else OnClose.KEEP)
        return tuple(self._left_over)

    def hurry(self) -> None:
        """End now: requests in flight are cut off, containers are killed."""
        if not self._hurry.is_set():
            self._hurried_at = self.clock.monotonic()
        self._hurry.set()

    async def _drain(self) -> None:
        assert self._server is not None
        timeout = min(self.options.drain_timeout, DEV_STOP_GRACE) if self.options.debug else self.options.drain_timeout
        drain = asyncio.gather(
            self._server.drain(timeout),
            self._end_crons(grace=timeout),
            self._end_deliveries(grace=timeout),
            self._end_workflows(grace=timeout),
        )
        await self._ended_before_hurry(drain)

    async def _end_upgraded(self) -> None:
        """End WebSockets and other tunnels. Where containers are stopped, that is up to them first (``on_stop``)."""
        assert self._server is not None
        timeout = min(self.options.drain_timeout, DEV_STOP_GRACE) if self.options.debug else self.options.drain_timeout
        await self._ended_before_hurry(asyncio.gather(self._server.end_upgraded(timeout)))

    async def _end_crons(self, *, grace: float) -> None:
        if self._cron is not None:
            await self._cron.close(grace=grace)

    async def _end_deliveries(self, *, grace: float) -> None:
        if self._queues is not None:
            await self._ended_within(grace, asyncio.ensure_future(self._queues.drain(grace)))

    async def _end_workflows(self, *, grace: float) -> None:
        if self._workflows is not None:
            await self._workflows.close(grace=grace)

    async def _stop_containers(self) -> None:
        assert self._service is not None
        controllers = [controller for controller in self._service.controllers() if controller.status not in DOWN]
        stopping = asyncio.gather(*(self._stop_container(controller) for controller in controllers))
        if await self._ended_before_hurry(stopping):
            return
        killing = asyncio.gather(*(self._kill_container(controller) for controller in controllers))
        await self._ended_within(LEAVE, killing)

    async def _stop_container(self, controller: Controller) -> None:
        incarnation = controller.incarnation
        if incarnation is None:
            return
        await controller.stop()
        assert self._service is not None
        killed_in = max(0.0, (incarnation.kill_at or 0.0) - self.clock.time())
        await first_of(self.clock, [incarnation.exited], killed_in + self._service.budgets.end)
        if not incarnation.exited.done():  # its runtime is away; what is left is found by the next platform
            message = f"{controller.subject.label} has not ended although it was killed; it is left where it runs"
            self.observer.notify(Notice("warning", message))
            return
        if not await self._ended_within(HOOKS_GRACE, asyncio.ensure_future(controller.tasks.settle())):
            message = f"{controller.subject.label}: hooks still run {HOOKS_GRACE:g} s after the end of the container"
            self.observer.notify(Notice("warning", f"{message}; they are cancelled"))
            await self._ended_within(LEAVE, asyncio.ensure_future(controller.shutdown()))

    async def _kill_container(self, controller: Controller) -> None:
        """SIGKILL, and hooks are cancelled; the platform's next run tells ``on_exit`` what it was not told."""
        await controller.destroy()
        await controller.shutdown()

    async def _ended_before_hurry(self, work: asyncio.Future[Any]) -> bool:
        """Wait for ``work``; ``hurry`` cancels it. Returns whether it came to its end; raises what it raised."""
        hurry = asyncio.ensure_future(self._hurry.wait())
        await first_of(self.clock, [work, hurry])
        ended = work.done()
        if ended:
            hurry.cancel()
            work.result()
        else:
            work.cancel()
        await asyncio.gather(work, hurry, return_exceptions=True)
        return ended

    async def _ended_within(self, timeout: float, work: asyncio.Future[Any]) -> bool:
        """Wait for ``work``, then cancel it and go on. Returns whether it came to its end; raises what it raised."""
        if self._hurry.is_set():
            timeout = min(timeout, max(LEAVE / 10, self._hurried_at + LEAVE - self.clock.monotonic()))
        try:
            await first_of(self.clock, [work], timeout)
        finally:
            if not work.done():
                work.cancel()
                work.add_done_callback(_let_go)
        if not work.done():
            return False
        work.result()
        return True

    async def _leave(self, what: str, work: Coroutine[Any, Any, object]) -> None:
        """Do a step of the end that waits for the user's code, and go on without what doesn't end."""
        if not await self._ended_within(LEAVE, asyncio.ensure_future(work)):
            self._left_over.append(what)

    async def _close(self, containers: OnClose) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._certificates is not None:
            self._certificates.stop()
        if self._admin is not None:
            await self._leave("operations of the command line", self._admin.close())
        if self._server is not None:
            await self._leave("requests", self._server.close())
        if self._calls is not None:
            await self._leave("gRPC calls", self._calls.close())
        await self._leave("crons", self._end_crons(grace=0.0))
        await self._leave("workflows", self._end_workflows(grace=0.0))
        if self._workflows is not None:
            self._left_over += [f"code of {label}" for label in self._workflows.left_over()]
        if self._queues is not None:
            await self._leave("deliveries of queues", self._queues.close())
        if self._worker is not None:
            if not self._hurry.is_set():
                background = asyncio.ensure_future(self._worker.close(grace=HOOKS_GRACE))
                await self._ended_before_hurry(
                    asyncio.ensure_future(self._ended_within(HOOKS_GRACE + LEAVE, background))
                )
            await self._leave("background work of the worker (wait_until)", self._worker.close(grace=0.0))
        if self._objects is not None:
            if self._objects.timing is not None:
                await self._leave("alarms", self._objects.timing.timers.stop())
            await self._leave("objects", self._objects.shutdown())
            self._left_over += [f"code of {a.subject.label}" for a in self._objects.activations() if not a.idle]
        await self._client.close()
        if self._images is not None:
            await self._images.close()
        if self._runtime is not None:
            await self._runtime.close(containers)
        if self._files is not None:
            await self._files.close()
        if self._store is not None:
            await self._store.close()
        if self._folder is not None:
            self._folder.close()


def shadowed(app: Application, variables: Mapping[str, Any]) -> list[str]:
    """Warnings of variables that env doesn't have because a class or a queue has their name there."""
    owners = {name: f"the class {class_name}" for name, class_name in app.classes.items()}
    queues = app.settings.configuration.queues
    producers = () if queues is None else queues.producers or ()
    owners |= {producer.binding: f"the queue {producer.queue}" for producer in producers}
    return [
        f"the variable {name} isn't in env: {name} is that of {owner}; rename one of them"
        for name, owner in owners.items()
        if name in variables
    ]


def _let_go(work: asyncio.Future[Any]) -> None:
    """Take the outcome of what nobody waits for any more."""
    if not work.cancelled():
        work.exception()
