"""Delivers one queue's messages to the worker, in batches.

A delivery's way: ``Window.take`` puts messages in flight; one more attempt of each is counted, durably, and only then
the worker's handler is called; what it said, or its end, decides about each message (``batch.settle``). So a message
is never delivered more than ``max_retries`` + 1 times, whatever happens: an attempt that was cut off by the platform's
death counts, and where it was the last one, the message goes to the dead-letter queue at the next start.

The lease of a message in flight is the consumer's memory. The platform's death ends it, and so does the handler's time
(``ConsumerSettings.lease``); the message is then ready again.

Invariants: batches begin in the order of their messages. At most ``Concurrency.limit`` of them are under way. A queue
in which nothing is ready has no task and, unless a message is delayed, no timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from moorings.clock import Clock, TimerHandle
from moorings.errors import ConsumerTimeout, LeaseLost, StoreError, WorkerError
from moorings.objects.pending import NOTHING
from moorings.objects.tasks import Tasks
from moorings.observer import ErrorReported, Observer
from moorings.queues.batch import MessageBatch, Outcome, settle
from moorings.queues.coalescing import Acknowledgements, Refused
from moorings.queues.concurrency import Concurrency
from moorings.queues.message import StoredMessage
from moorings.queues.settings import ConsumerSettings
from moorings.queues.window import Window

if TYPE_CHECKING:
    from moorings.queues.stored_queue import StoredQueue
    from moorings.store import Commit

RECOVERY: Final = 2.0
"""Seconds before a queue whose writes have failed is read anew."""

READ: Final = 100
"""Messages that are read at a time: bodies may be large."""

_LONGEST_WAIT: Final = 60.0  # seconds; wall time may jump, the clock that timers go by doesn't
_SHORTEST_WAIT: Final = 0.001  # seconds; wall time and the timers' clock differ by fractions of it


@dataclass(slots=True, eq=False)
class _Delivery:
    """One batch under way."""

    consumer: PushConsumer
    messages: list[StoredMessage]
    generation: int
    batch: MessageBatch = field(init=False)
    timer: TimerHandle | None = None
    task: asyncio.Task[None] | None = None
    over: bool = False
    failed: bool = False

    @property
    def held(self) -> bool:
        """Whether what it says still counts."""
        return not self.over and self.generation == self.consumer.generation

    def acknowledge(self, messages: Sequence[StoredMessage]) -> Awaitable[None]:
        """See ``moorings.queues.batch.Delivery``."""
        if self.held:
            return self.consumer.acknowledgements.add([each.seq for each in messages])
        if self.over and not self.failed:
            return NOTHING  # the handler's return has said so already
        return Refused(LeaseLost("the delivery has failed or taken too long, so its messages are delivered again"))

    def take_back(self, message: StoredMessage) -> None:
        """See ``moorings.queues.batch.Delivery``."""
        if self.held:
            self.consumer.take_back(message)


class PushConsumer:
    """The deliveries of one queue. ``start`` it, change its ``settings`` by ``use``, ``halt`` it, ``close`` it."""

    def __init__(
        self,
        queue: StoredQueue,
        settings: ConsumerSettings,
        *,
        clock: Clock,
        observer: Observer,
        deliver: Callable[[MessageBatch], Awaitable[None]],
        bury: Callable[[StoredQueue, Sequence[StoredMessage], ConsumerSettings], object],
        retention: float,
    ) -> None:
        """``deliver(batch)`` calls the worker's handler; ``bury`` takes messages that were retried in vain."""
        self._queue = queue
        self._clock = clock
        self._observer = observer
        self._deliver = deliver
        self._bury = bury
        self._closing = False
        self._tasks = Tasks(lambda where, error: observer.notify(ErrorReported(where, error)))
        self._batch_timer: TimerHandle | None = None
        self._due_timer: TimerHandle | None = None
        self._due_armed: float | None = None
        self._recovery: TimerHandle | None = None
        self._waiting_since: float | None = None
        self._looking = False
        self._look_again = False
        self._running = 0
        self._concurrency = Concurrency(settings.max_concurrency)
        self._halted = True
        self.settings = settings
        self.retention = retention
        self.window = Window()
        self.generation = 0
        self.acknowledgements = Acknowledgements(queue)

    # --- its life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to deliver."""
        self._halted = False
        if self._queue.listener is not self:
            self.window.forget()  # others may have taken what was ready
            self._queue.listener = self
        self._look()

    def use(self, settings: ConsumerSettings, retention: float) -> None:
        """Go by other settings from the next batch on."""
        self.settings = settings
        self._concurrency.use(settings.max_concurrency)
        self.retention = retention
        if self._batch_timer is not None:
            self._batch_timer.cancel()
            self._batch_timer = None
        self.dispatch()

    def halt(self) -> None:
        """Begin no more deliveries; those under way go on."""
        self._halted = True
        for timer in (self._batch_timer, self._due_timer, self._recovery):
            if timer is not None:
                timer.cancel()
        self._batch_timer = self._due_timer = self._due_armed = self._recovery = None

    def retire(self) -> None:
        """Begin no more deliveries, and leave what is not under way to others, until ``start``."""
        self.halt()
        self.window.forget()
        if self._queue.listener is self:
            self._queue.listener = None

    async def settled(self) -> None:
        """Wait until no delivery is under way. After ``halt``."""
        await self._tasks.settle()

    async def close(self) -> None:
        """Cancel deliveries; their messages are delivered again. After ``halt``."""
        self._closing = True
        await self._tasks.close()
        self.acknowledgements.flush()
        if self._queue.listener is self:
            self._queue.listener = None

    @property
    def running(self) -> int:
        """Batches under way."""
        return self._running

    # --- what the queue tells -----------------------------------------------------------------------------------------

    def arrived(self, messages: Sequence[StoredMessage]) -> None:
        """See ``moorings.queues.stored_queue.Listener``."""
        now = self._clock.time()
        if any(each.due > now for each in messages):
            self.window.keep_behind(now)
        self.window.arrived(messages)
        self.dispatch()

    def lost(self) -> None:
        """See ``moorings.queues.stored_queue.Listener``: forget what is in memory, and read it anew in a while."""
        self.generation += 1
        self.window = Window()
        self.acknowledgements = Acknowledgements(self._queue)
        if self._recovery is None and not self._halted:
            self._recovery = self._clock.call_later(RECOVERY, self._recover)

    def _recover(self) -> None:
        self._recovery = None
        self._look()

    def purged(self, through: int) -> None:
        """All messages up to that one are gone."""
        self.window.purge(through)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _arm(self, due: float) -> None:
        """Look into the store then (Unix seconds)."""
        if self._halted or (self._due_armed is not None and self._due_armed <= due):
            return
        if self._due_timer is not None:
            self._due_timer.cancel()
        self._due_armed = due
        wait = max(_SHORTEST_WAIT, min(_LONGEST_WAIT, due - self._clock.time()))
        self._due_timer = self._clock.call_later(wait, self._woken)

    def _woken(self) -> None:
        self._due_timer = self._due_armed = None
        self._look()

    def _look(self) -> None:
        """Fill the window from the store."""
        if self._halted or self._recovery is not None:
            return
        if self._looking:
            self._look_again = True
            return
        self._looking = True
        self._spawn("reading", self._fill())

    async def _fill(self) -> None:
        try:
            self._look_again = True
            while self._look_again:
                self._look_again = False
                await self._read(self.window)
                self._look_again = self._look_again or self._more_to_read()
        except StoreError as error:
            self._observer.notify(ErrorReported(f"queue {self._queue.name}", error))
            self._arm(self._clock.time() + RECOVERY)
        finally:
            self._looking = False
        self.dispatch()

    def _more_to_read(self) -> bool:
        """Whether there is room for what the store has, and it may be delivered now."""
        window = self.window
        due = window.next_due is not None and window.next_due <= self._clock.time()
        return window.hungry and (window.more or due)

    async def _read(self, window: Window) -> None:
        """One look: first what was delayed and is due, then what comes next."""
        if room := min(window.room, READ):
            now = self._clock.time()
            window.read_due(await self._queue.due(window.due_position, now, room), leaving=self._queue.leaving)
            window.next_due = None
            window.learn_next_due(await self._queue.next_due(window.due_position))
        if window.more and (room := min(window.room, READ)):
            window.begin_read()
            found = await self._queue.fresh(window.position, room)
            window.read_fresh(found, asked=room, leaving=self._queue.leaving)

    # --- delivering ---------------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Begin the batches that can begin, and arm the timers for the others."""
        if self._halted or self._queue.paused or self._recovery is not None:
            return
        window, settings = self.window, self.settings
        now = self._clock.monotonic()
        while (ready := len(window)) and self._running < self._concurrency.limit:
            full = ready >= settings.max_batch_size or not window.room
            if not full and (wait := self._time_to_fill(now)) > _SHORTEST_WAIT:
                if self._batch_timer is None:
                    self._batch_timer = self._clock.call_later(wait, self._batch_timed_out)
                break
            self._waiting_since = None
            if self._batch_timer is not None:
                self._batch_timer.cancel()
                self._batch_timer = None
            self._begin(window.take(settings.max_batch_size))
        if ready and self._waiting_since is None:
            self._waiting_since = now
        if window.hungry:
            if window.more:
                self._look()
            elif window.next_due is not None:
                self._arm(window.next_due)

    def _time_to_fill(self, now: float) -> float:
        """Seconds that a batch which isn't full may still wait for more."""
        if self._waiting_since is None:
            self._waiting_since = now
        return self._waiting_since + self.settings.max_batch_timeout - now

    def _batch_timed_out(self) -> None:
        self._batch_timer = None
        self.dispatch()

    def _begin(self, taken: list[StoredMessage]) -> None:
        """Deliver messages, but for those that are too old or were delivered often enough."""
        oldest = self._clock.time() - self.retention
        expired = [message for message in taken if message.sent_at <= oldest]
        spent = [each for each in taken if each.attempts > self.settings.max_retries and each.sent_at > oldest]
        messages = [each for each in taken if each.attempts <= self.settings.max_retries and each.sent_at > oldest]
        try:
            if expired:
                self._queue.delete([message.seq for message in expired])
                self.window.ended(message.seq for message in expired)
            if spent:
                self._bury(self._queue, spent, self.settings)
                self.window.ended(message.seq for message in spent)
            if messages:
                charged = self._queue.charge([message.seq for message in messages])
                self._running += 1
                delivery = _Delivery(self, messages, self.generation)
                delivery.task = self._spawn(f"queue {self._queue.name}", self._run(delivery, charged))
        except StoreError:  # the store is closed: nothing can be delivered any more
            self.halt()

    async def _run(self, delivery: _Delivery, charged: Commit) -> None:
        try:
            await charged
        except StoreError:  # told by the queue, which is read anew
            self._end(delivery, None)
            return
        for message in delivery.messages:
            message.attempts += 1
        delivery.batch = MessageBatch(self._queue.name, delivery.messages, delivery)
        delivery.timer = self._clock.call_later(self.settings.lease, self._expire, delivery)
        error: BaseException | None = None
        try:
            await self._deliver(delivery.batch)
        except Exception as raised:  # noqa: BLE001 - whatever the handler raises, its messages are retried
            error = raised
        except asyncio.CancelledError as cancelled:
            task = delivery.task
            if task is None or delivery.over or self._closing:  # its time is over; or the platform's: they come again
                if not delivery.over:
                    delivery.over = delivery.failed = True
                    self._running -= 1
                raise
            while task.uncancel():
                pass
            error = WorkerError("the worker's queue() let out a cancellation that nobody had asked for")
            error.__cause__ = cancelled
        finally:
            delivery.timer.cancel()
        self._finish(delivery, error)

    def _expire(self, delivery: _Delivery) -> None:
        """The handler has had its time: its messages are retried, and it is cancelled."""
        took = f"{self.settings.lease:g} s"
        message = f"the worker's queue() took over {took} with a batch of {len(delivery.messages)}; they are retried"
        self._finish(delivery, ConsumerTimeout(message))
        if delivery.task is not None:
            delivery.task.cancel()

    def _finish(self, delivery: _Delivery, error: BaseException | None) -> None:
        """The handler has ended, or its time has."""
        if delivery.over:
            return
        if error is None:
            self._concurrency.ended_well(full_batch_waits=len(self.window) >= self.settings.max_batch_size)
        else:
            self._concurrency.failed()
            self._observer.notify(ErrorReported(f"queue {self._queue.name}", error))
        self._end(delivery, Outcome.RETURNED if error is None else Outcome.RAISED)

    def _end(self, delivery: _Delivery, outcome: Outcome | None) -> None:
        held = delivery.held
        delivery.over = True
        delivery.failed = outcome is not Outcome.RETURNED or not held
        self._running -= 1
        if held and outcome is not None:
            try:
                self._settle(delivery, outcome)
            except StoreError as error:  # the store is closed: what was delivered comes again
                self._observer.notify(ErrorReported(f"queue {self._queue.name}", error))
        self.dispatch()

    def _settle(self, delivery: _Delivery, outcome: Outcome) -> None:
        window, settings = self.window, self.settings
        settled = settle(delivery.batch, outcome, max_retries=settings.max_retries, retry_delay=settings.retry_delay)
        if settled.unsaid:
            self._queue.delete([message.seq for message in settled.unsaid])
        later: dict[float, list[StoredMessage]] = {}
        again: list[StoredMessage] = []
        for message, delay in settled.retried:
            if delay:
                later.setdefault(delay, []).append(message)
            else:
                again.append(message)
        window.ended(message.seq for message in delivery.messages)
        if exhausted := [message for message in settled.exhausted if not window.purged(message.seq)]:
            self._bury(self._queue, exhausted, settings)
        for delay, messages in later.items():
            self._queue.postpone(messages, until=self._clock.time() + delay)
        for message in again:
            window.retried(message)

    def take_back(self, message: StoredMessage) -> None:
        """A message that was acknowledged with its batch is to be retried."""
        self.acknowledgements.flush()
        if not self.window.purged(message.seq):
            self._queue.restore(message)

    def _spawn(self, what: str, work: Any) -> asyncio.Task[None]:
        """Run ``work`` as nobody's event: deliveries belong to the queue, whoever's message began them."""
        return Context().run(partial(self._tasks.spawn, what, work))
