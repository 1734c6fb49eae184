"""One object in memory: the user's instance, its gate, and every task that belongs to it.

Invariants: at most one activation per id exists in a namespace. Its handlers are its own tasks: a caller that is
cancelled stops waiting and nothing else. A *reset* drops the user's instance and fails what is under way; the
activation itself, and the container it hosts, stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from moorings.clock import Clock
from moorings.errors import DeadlockError, ObjectReset, StoreError, WorkerError
from moorings.http import Request, Response
from moorings.objects.escapes import ORDINARY, contained
from moorings.objects.event import Event, EventKind, current_event
from moorings.objects.gate import Block, InputGate, gated
from moorings.objects.identity import ObjectId
from moorings.objects.outgoing import send_body
from moorings.observer import ErrorReported, Observer, Subject

if TYPE_CHECKING:
    from moorings.objects.state import DurableObjectState

T = TypeVar("T")

SHUTDOWN_GRACE = 2.0
"""Seconds that cancelled events have to end before an object is put away without them."""


class Hosted(Protocol):
    """What an activation keeps alive beside the user's instance (a container); injected by the layer above."""

    @property
    def active(self) -> bool:
        """Whether it must be kept in memory."""

    @property
    def in_flight(self) -> int:
        """How many requests are in flight, those of ``begin_request`` among them."""

    def begin_request(self) -> None:
        """A request is being handled by the user's code."""

    def end_request(self) -> None:
        """It isn't any more."""


class Durable(Protocol):
    """The object's writes that are not on disk yet; the output gate waits for them."""

    def pending(self) -> Awaitable[None] | None:
        """Something to await until all writes made so far are durable; None where they are."""

    def reset(self) -> None:
        """Forget what memory holds beyond the disk."""

    def close(self) -> None:
        """Close the files that are open for the object; it may be used again."""


class Activation:
    """The single live instance of one object."""

    __slots__ = (
        "_factory",
        "_observer",
        "_running",
        "alive",
        "clock",
        "durable",
        "env",
        "gate",
        "generation",
        "hosted",
        "id",
        "idle_since",
        "instance",
        "requests",
        "state",
        "subject",
    )

    def __init__(
        self,
        object_id: ObjectId,
        subject: Subject,
        *,
        factory: Callable[[Activation], Any],
        clock: Clock,
        observer: Observer,
    ) -> None:
        self.id = object_id
        self.alive = True
        self.env: Any = None
        self.subject = subject
        self.clock = clock
        self.gate = InputGate()
        self.hosted: Hosted | None = None
        self.durable: Durable | None = None
        self.state: DurableObjectState | None = None
        self.instance: Any = None
        self.requests = 0
        self.idle_since = clock.monotonic()
        self._factory = factory
        self.generation = 0
        self._observer = observer
        self._running: dict[asyncio.Task[Any], tuple[Event, asyncio.Future[Any] | None]] = {}

    # --- delivering events --------------------------------------------------------------------------------------

    async def deliver(self, label: str, invoke: Callable[[Any], Any], *, counted: bool = False) -> Any:
        """Run ``invoke(instance)`` as an event of this object; return what it gives, awaited where it is awaitable.

        A ``counted`` event is a request in flight until its handler ends, whoever has gone away by then. The caller
        may be cancelled; the handler goes on. Raises what the handler raised, DeadlockError where the call comes out
        of this object's own block, and ObjectReset where the object's memory was dropped meanwhile.
        """
        parent = current_event.get()
        block = self.gate.block
        if block is not None and parent is not None and parent.descends_from(block.event):
            raise DeadlockError(
                f"{label}: called on {self.subject.label} from inside its own block_concurrency_while, which "
                "holds back all its events until it ends; call self.method() directly instead of through the stub"
            )
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        event = Event(self, EventKind.HANDLER, label, parent)
        task = self._spawn(event, self._handle(event, invoke, answer), answer)
        if counted:
            self.begin_request()
            task.add_done_callback(self._request_ended)
        return await answer

    async def fetch(self, request: Request) -> Response:
        """Deliver a request to the user's ``fetch``. Raises WorkerError where it returns no Response."""
        if request.upgrade is not None:
            request.gate_messages(self)
        response = await self.deliver("fetch", lambda instance: instance.fetch(request), counted=True)
        if not isinstance(response, Response):
            raise WorkerError(
                f"{self.subject.class_name}.fetch returned {type(response).__name__}; it must return a Response"
            )
        send_body(self, response, request)
        return response

    def runs(self, event: Event) -> bool:
        """Whether an event of this object is still under way."""
        return any(running is event for running, _ in self._running.values())

    def run_hook(self, label: str, invoke: Callable[[Any], Any]) -> asyncio.Task[Any]:
        """Run ``invoke(instance)`` at once, past the gates. The caller owns the outcome: it must await the task."""
        event = Event(self, EventKind.HOOK, label, current_event.get())

        async def hook() -> Any:
            try:
                result = invoke(self.instantiated())
                return await result if isinstance(result, Awaitable) else result
            except ORDINARY:
                raise
            except BaseException as error:
                raise contained(error, f"{label} of {self.subject.label}") from error

        return self._spawn(event, hook(), None)

    async def _handle(self, event: Event, invoke: Callable[[Any], Any], answer: asyncio.Future[Any]) -> None:
        try:
            instance = self.instantiated()
            if not self.gate.free:
                await self.gate.enter(event)
                instance = self.instantiated()
            try:
                result = invoke(instance)
                if asyncio.iscoroutine(result):
                    result = await gated(self.gate, event, result)
                elif isinstance(result, Awaitable):
                    result = await result
            finally:
                await self.written()
        except asyncio.CancelledError:
            if not answer.done():
                answer.set_exception(ObjectReset(f"{event.label} was cancelled: {self.subject.label} went away"))
        except BaseException as error:  # noqa: BLE001  # the caller gets it, or the observer where the caller is gone
            failure = contained(error, f"{event.label} of {self.subject.label}")
            if answer.done():
                self.report(event.label, failure)
            else:
                answer.set_exception(failure)
        else:
            if not answer.done():
                answer.set_result(result)

    async def written(self) -> None:
        """The output gate: wait until every write that the object has made so far is durable."""
        if self.durable is not None:
            pending = self.durable.pending()
            if pending is not None:
                await pending

    def pending_writes(self) -> Awaitable[None] | None:
        """What to await until every write that the object has made so far is durable; None where they are."""
        return None if self.durable is None else self.durable.pending()

    async def admitted(self) -> None:
        """Hold the current event while another one's ``block_concurrency_while`` runs."""
        event = current_event.get()
        if event is not None and event.activation is self and self.gate.holds(event):
            await self.gate.enter(event)

    def instantiated(self) -> Any:
        """The user's instance, made now if there is none. Raises what its constructor raises."""
        if self.instance is None:
            event = Event(self, EventKind.CONSTRUCTOR, "__init__", current_event.get())
            context = copy_context()
            context.run(current_event.set, event)
            try:
                self.instance = context.run(self._factory, self)
            except ORDINARY:
                raise
            except BaseException as error:
                raise contained(error, f"the constructor of {self.subject.label}") from error
        return self.instance

    def _spawn(
        self,
        event: Event,
        coroutine: Coroutine[Any, Any, T],
        answer: asyncio.Future[Any] | None,
    ) -> asyncio.Task[T]:
        context = copy_context()
        context.run(current_event.set, event)
        task = asyncio.get_running_loop().create_task(coroutine, context=context)
        self._running[task] = (event, answer)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.pop(task, None)
        if not self._running:
            self.idle_since = self.clock.monotonic()

    def begin_request(self) -> None:
        """A request is in flight: its handler runs, or its answer is on its way."""
        self.requests += 1
        if self.hosted is not None:
            self.hosted.begin_request()

    def end_request(self) -> None:
        """It isn't any more."""
        self.requests -= 1
        self.idle_since = self.clock.monotonic()
        if self.hosted is not None:
            self.hosted.end_request()

    def _request_ended(self, task: asyncio.Task[Any]) -> None:
        self.end_request()

    # --- what handlers may ask for --------------------------------------------------------------------------------

    def block(self, closure: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """``ctx.block_concurrency_while``: see DurableObjectState."""
        event = current_event.get()
        if event is None or event.activation is not self:
            raise RuntimeError("block_concurrency_while belongs to the object's own handlers and constructor")
        held = self.gate.block
        if held is not None and held.event is event:
            return _begun(closure)
        inner = Event(self, EventKind.HANDLER, "block_concurrency_while", event, event.request)
        block = Block(inner, self.clock)
        immediately = held is None
        begun: Awaitable[T] | None = None
        if immediately:
            self.gate.close(block)
            context = copy_context()
            context.run(current_event.set, inner)
            try:
                begun = context.run(_begun, closure)
            except BaseException as error:
                self.reset(_reset_because(self.subject, error), spare=event)
                raise
        task = self._spawn(inner, self._block(event, block, closure, begun), None)
        task.add_done_callback(_retrieve)
        if asyncio.iscoroutine(begun):
            task.add_done_callback(lambda _: begun.close())  # where the task was cancelled before it began
        return asyncio.shield(task)

    async def _block(
        self, event: Event, block: Block, closure: Callable[[], Awaitable[T]], begun: Awaitable[T] | None
    ) -> T:
        if begun is None:
            await self.gate.enter(block.event)
            self.gate.close(block)
        generation = self.generation
        late: ObjectReset | None = None

        def on_timeout() -> None:
            nonlocal late
            late = ObjectReset(
                f"block_concurrency_while of {self.subject.label} took over 30 seconds; the object was reset"
            )
            self.reset(late)

        block.start(on_timeout)
        try:
            result = await (_begun(closure) if begun is None else begun)
        except BaseException as error:
            block.end()
            if late is not None:
                raise late from None
            if generation != self.generation or not self.alive:
                if isinstance(error, ORDINARY):
                    raise
                raise contained(error, f"block_concurrency_while of {self.subject.label}") from error
            reset = _reset_because(self.subject, error)
            self.reset(reset, spare=event)
            if isinstance(error, asyncio.CancelledError):
                raise reset from error  # the handler itself was not cancelled
            if isinstance(error, ORDINARY):
                raise
            raise contained(error, f"block_concurrency_while of {self.subject.label}") from error
        if late is not None:
            raise late
        self.gate.open(block)
        return result

    def wait_until(self, awaitable: Awaitable[Any]) -> None:
        """Keep the object in memory until ``awaitable`` is done; what it raises is reported."""
        event = Event(self, EventKind.HANDLER, "wait_until", current_event.get())

        async def background() -> None:
            try:
                if self.gate.holds(event):
                    await self.gate.enter(event)
                if asyncio.iscoroutine(awaitable):
                    await gated(self.gate, event, awaitable)
                else:
                    await awaitable
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001  # nobody else is left to receive it
                self.report("wait_until", contained(error, f"wait_until of {self.subject.label}"))

        self._spawn(event, background(), None)

    # --- losing memory --------------------------------------------------------------------------------------------

    def storage_failed(self, error: StoreError) -> None:
        """A write of the object could not be stored: go back to what is stored, and tell everybody who is under way."""
        self.report("storage", error)
        self.reset(error)

    def reset(self, error: ObjectReset | StoreError, *, spare: Event | None = None) -> None:
        """Drop the user's instance: waiting and running events fail with ``error``; hooks and ``spare`` run on."""
        self.generation += 1
        current = asyncio.current_task()
        self.instance = None
        if self.durable is not None:
            self.durable.reset()
        self.gate.fail(error)
        for task, (event, answer) in list(self._running.items()):
            if event.kind is EventKind.HOOK or event is spare or task is current:
                continue
            if answer is not None and not answer.done():
                answer.set_exception(error)
            task.cancel()

    @property
    def idle(self) -> bool:
        """Whether nothing at all goes on here, so that the memory can be given back."""
        return (
            not self._running
            and not self.requests
            and self.gate.block is None
            and (self.hosted is None or not self.hosted.active)
            and (self.durable is None or self.durable.pending() is None)
        )

    @property
    def load(self) -> int:
        """Requests in flight, for balancing."""
        return self.requests if self.hosted is None else self.hosted.in_flight

    def learn_name(self, name: str) -> None:
        """The object was first found by its id and now by its name."""
        if self.id.name is None:
            self.id = ObjectId(self.id.raw, name)
            self.subject = Subject(self.subject.class_name, self.subject.object_id, name)

    def put_away(self) -> None:
        """Let go of the user's instance and of what is open on its behalf."""
        self.instance = None
        if self.durable is not None:
            self.durable.close()

    async def shutdown(self, *, grace: float = SHUTDOWN_GRACE) -> None:
        """Cancel what still runs and wait for it, ``grace`` seconds at most; what is left is reported by its labels."""
        self.alive = False
        running = list(self._running)
        for task in running:
            task.cancel()
        self.gate.fail(ObjectReset(f"{self.subject.label} was put away"))
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        timer = self.clock.call_later(grace, end)
        asyncio.gather(*running, return_exceptions=True).add_done_callback(end)
        try:
            await over
        finally:
            timer.cancel()
        left = sorted({self._running[task][0].label for task in running if task in self._running and not task.done()})
        if left:
            why = f"{', '.join(left)} of {self.subject.label} went on {grace:g} seconds after it was cancelled"
            self.report("shutdown", WorkerError(why))

    def report(self, where: str, error: BaseException) -> None:
        """Hand an error that nobody else can receive to the observer."""
        self._observer.notify(ErrorReported(where, error, self.subject))


def _reset_because(subject: Subject, error: BaseException) -> ObjectReset:
    if isinstance(error, ObjectReset):
        return error
    reset = ObjectReset(f"block_concurrency_while of {subject.label} failed: {type(error).__name__}: {error}")
    reset.__cause__ = error
    return reset


def _begun(closure: Callable[[], Awaitable[T]]) -> Awaitable[T]:
    """What a block's closure gives to await. Raises TypeError where that is nothing to await."""
    awaitable = closure()
    if not isinstance(awaitable, Awaitable):
        raise TypeError(
            f"block_concurrency_while takes an async function of no arguments; {closure!r:.80} returned "
            f"{type(awaitable).__name__}, which cannot be awaited"
        )
    return awaitable


def _retrieve(task: asyncio.Task[Any]) -> None:
    """A block whose awaitable was dropped has told its failure to the object's waiters already."""
    if not task.cancelled():
        task.exception()
