"""What the supervisor does: answers one platform, holds the containers, and leaves when it has neither."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

from moorings.runtimes import place
from moorings.runtimes.process import listeners, ports, proc, spawn, wire
from moorings.runtimes.process.connection import Connection
from moorings.runtimes.process.container import Container
from moorings.runtimes.process.freezer import Freezer
from moorings.runtimes.process.guests import Guests
from moorings.runtimes.process.leftovers import kill_leftovers
from moorings.runtimes.process.loop import READ, Loop, Timer
from moorings.runtimes.process.output import LogSettings
from moorings.runtimes.process.paths import Layout
from moorings.runtimes.process.reaper import Reaper
from moorings.runtimes.process.records import Record, Records
from moorings.runtimes.process.trash import Trash

_LOOK_AFTER_FOLDER = 2.0  # seconds between two looks whether the data folder still exists, without a platform
_CLOSING = 10.0  # seconds at most from a shutdown to the exit
_TERM_GRACE = 10.0  # seconds from the supervisor's own SIGTERM to the SIGKILL of its containers


class Service:
    """The supervisor, listening."""

    def __init__(self, layout: Layout, listener: socket.socket, loop: Loop, *, linger: float, files: int) -> None:
        self._layout = layout
        self._listener = listener
        self._loop = loop
        self._linger = linger
        self._files = files  # soft limit of open files for containers
        self._settings = LogSettings()
        self._containers: dict[str, Container] = {}
        self._records = Records(layout)
        self._reaper = Reaper(loop, find=self._containers.get, finished=self._finished)
        self._freezer = Freezer(self._reaper, loop)
        self._guests = Guests(self._reaper, files=files)
        self._ports = ports.Ports()
        self._boot = proc.boot_id()
        self._platform: Connection | None = None
        self._idle: Timer | None = None
        self._trash = Trash(self._reaper, emptied=self._consider_leaving, say=say)
        self._is_terminating = False
        self._closing: Callable[[], None] | None = None
        self._handlers: dict[type, Callable[..., wire.Answer | None]] = {
            wire.Start: self._start,
            wire.Signal: self._signal,
            wire.Kill: self._kill,
            wire.Assign: self._assign,
            wire.Pause: self._pause,
            wire.Unpause: self._unpause,
            wire.Discard: self._discard,
            wire.Owns: self._owns,
            wire.Tail: self._tail,
            wire.Forget: self._forget,
            wire.Usage: self._usage,
            wire.Shutdown: self._shutdown,
        }

    def run(self) -> None:
        """Serve until there is nothing to hold and nobody to serve."""
        self._loop.on_signal(signal.SIGCHLD, self._reaper.reap)
        self._loop.on_signal(signal.SIGTERM, self._terminated)
        for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            self._loop.on_signal(signum, _ignore)  # a handler, not SIG_IGN, which containers would inherit
        self._adopt_records()
        self._loop.add(self._listener.fileno(), READ, self._accept)
        self._loop.call_later(_LOOK_AFTER_FOLDER, self._look_after_folder)
        self._consider_leaving()
        self._loop.run()

    # --- the platform -------------------------------------------------------------------------------------------------

    def _accept(self, events: int) -> None:
        try:
            connected, _ = self._listener.accept()
        except OSError:
            return
        Connection(connected, self._loop, on_request=self._requested, on_closed=self._disconnected)

    def _disconnected(self, connection: Connection) -> None:
        self._guests.closed(connection)
        if connection is self._platform:
            self._platform = None
            self._consider_leaving()

    def _requested(self, connection: Connection, request: wire.ToSupervisor) -> None:
        body = request.body
        if isinstance(body, wire.Hello):
            connection.answer(request.id, self._hello(connection, body))
            return
        if connection is not self._platform:
            connection.answer(request.id, self._guest(connection, body))
            return
        handler = self._handlers.get(type(body))
        answer = wire.Refused(f"not on this connection: {body}") if handler is None else handler(body, request.id)
        if answer is not None:
            connection.answer(request.id, answer)

    def _guest(self, connection: Connection, request: wire.Request) -> wire.Answer:
        """A connection of its own that runs a program in a container, or ends it."""
        if isinstance(request, wire.Exec):
            container = self._containers.get(request.token)
            if container is None or container.ending is not None:
                return wire.Absent()
            return self._guests.run(connection, request, container)
        if isinstance(request, wire.Kill):
            self._guests.kill(connection)
            return wire.Done()
        return wire.Refused("the first request must be hello, or run a program")

    def _hello(self, connection: Connection, hello: wire.Hello) -> wire.Answer:
        if hello.version != wire.VERSION:
            return wire.Refused(
                f"the supervisor (process {os.getpid()}) is of another release of Moorings and holds "
                f"{len(self._containers)} containers; stop them with that release, or kill process {os.getpid()}"
            )
        if self._closing is not None:
            return wire.Refused("the supervisor is shutting down")
        if self._platform is not None and self._platform is not connection:
            self._platform.catch_up()
        if self._platform is not None and self._platform is not connection:
            return wire.Refused(
                f"another platform (process {self._platform.pid}) is connected to the supervisor of this folder"
            )
        connection.pid = hello.pid
        self._platform = connection
        self._settings.size = hello.log_bytes
        self._settings.files = hello.log_files
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        known = self._containers.values()
        return wire.Welcome(
            wire.VERSION,
            os.getpid(),
            proc.start_ticks(os.getpid()),
            [container.incarnation for container in known if not container.has_ended],
            [
                wire.Ended(container.incarnation, container.ending)
                for container in known
                if container.has_ended and container.ending is not None
            ],
        )

    def _held(self) -> list[Container]:
        """Those whose exit is still to be told."""
        return [*self._reaper.mains.values(), *self._reaper.leaving.values()]

    def _shown(self, token: str, stream: str, lines: list[bytes], skipped: int) -> None:
        if self._platform is not None and not self._containers[token].is_discarded:
            self._platform.output(token, stream, lines, skipped)

    # --- requests -----------------------------------------------------------------------------------------------------

    def _start(self, request: wire.Start, number: int) -> wire.Answer | None:
        try:
            container = self._spawn(request)
        except spawn.StartFailed as error:
            return wire.Refused(str(error))
        except ports.NoPortFree:
            return wire.Refused("no host port is free for it")
        except OSError as error:
            return wire.Refused(f"it can't be prepared in {self._layout.run}: {error.strerror}")
        assert self._platform is not None
        self._record(container)  # before the answer: what was answered is found again, in the log as well
        container.note(f"started as process {container.incarnation.pid}, token {request.token}")
        return wire.Started(container.incarnation)

    def _spawn(self, request: wire.Start) -> Container:
        token = request.token
        if self._is_terminating or self._closing is not None:
            raise spawn.StartFailed("the supervisor is shutting down")
        if token in self._containers:
            raise spawn.StartFailed(f"the token {token} was used before")
        spawn.check(request)
        given: dict[int, int] = {}
        descriptors: list[int] = []
        has_folder = False
        try:
            for declared in request.ports:
                given[declared] = self._ports.take()
            arguments = spawn.fill(request.entrypoint, given)
            has_folder = True
            home, tmp = self._records.make(token)
            env = spawn.environment(request, given, home, tmp)
            file = spawn.find_program(arguments[0], request.directory, env[b"PATH"])
            descriptors += os.pipe()
            descriptors += os.pipe()
            out, out_child, err, err_child = descriptors
            started_at = time.time()
            pid = spawn.spawn(file, arguments, env, request.directory, out_child, err_child, self._files)
        except BaseException:
            self._ports.give_back(given.values())
            for descriptor in descriptors:
                os.close(descriptor)
            if has_folder:
                self._trash.add(self._records.remove(token))
            raise
        os.close(out_child)
        os.close(err_child)
        incarnation = wire.Incarnation(
            token, request.class_name, request.object_id, request.name, given, started_at, pid, proc.start_ticks(pid)
        )
        container = self._hold(incarnation)
        container.surroundings = (request.directory, env)
        container.attach(out, err, self._loop)
        self._reaper.watch(container)
        return container

    def _hold(self, incarnation: wire.Incarnation) -> Container:
        container = Container(incarnation, self._log_folder(incarnation), self._settings, shown=self._shown)
        self._containers[incarnation.token] = container
        return container

    def _log_folder(self, incarnation: wire.Incarnation) -> str:
        if not incarnation.object_id:
            return self._layout.spare_logs(incarnation.class_name, incarnation.token)
        return self._layout.object_logs(incarnation.class_name, incarnation.object_id, incarnation.name)

    def _assign(self, request: wire.Assign, number: int) -> wire.Answer:
        container = self._containers.get(request.token)
        if container is not None and not container.incarnation.object_id:
            incarnation = container.incarnation
            incarnation.object_id, incarnation.name = request.object_id, request.name
            container.log = container.log.moved(self._log_folder(incarnation))
            self._record(container)
        return wire.Done()

    def _signal(self, request: wire.Signal, number: int) -> wire.Answer:
        container = self._containers.get(request.token)
        if container is not None:
            self._reaper.signal(container, request.signum)
        return wire.Done()

    def _kill(self, request: wire.Kill, number: int) -> wire.Answer:
        container = self._containers.get(request.token)
        if container is not None:
            self._reaper.kill(container)
        return wire.Done()

    def _pause(self, request: wire.Pause, number: int) -> wire.Answer | None:
        container = self._containers.get(request.token)
        if container is None or container.ending is not None:
            return wire.Done()
        self._freezer.freeze(container, lambda: self._reply(number, wire.Done()))
        return None

    def _unpause(self, request: wire.Unpause, number: int) -> wire.Answer:
        container = self._containers.get(request.token)
        if container is not None and container.ending is None:
            self._freezer.thaw(container)
        return wire.Done()

    def _discard(self, request: wire.Discard, number: int) -> wire.Answer | None:
        container = self._containers.get(request.token)
        if container is None:
            return wire.Done()
        if not container.has_ended:
            container.is_discarded = True
            container.on_finished = lambda: self._reply(number, wire.Done())
            self._reaper.kill(container)
            return None
        self._drop(container)
        return wire.Done()

    def _owns(self, request: wire.Owns, number: int) -> wire.Answer:
        container = self._containers.get(request.token)
        if container is None or container.has_ended:
            return wire.Truth(False)
        host_port = container.incarnation.ports.get(request.port)
        if host_port is None:
            return wire.Truth(False)
        if not os.path.exists("/proc/net/tcp"):
            return wire.Truth(True)
        sockets = listeners.listeners(host_port)
        if not sockets:
            return wire.Truth(False)
        if listeners.holds(container.incarnation.pid, sockets):
            return wire.Truth(True)
        seen = [listeners.holds(pid, sockets) for pid in self._reaper.processes(container)]
        return wire.Truth(True in seen or None in seen)

    def _tail(self, request: wire.Tail, number: int) -> wire.Answer:
        container = self._containers.get(request.token)
        return wire.Lines(container.tail.last(request.lines) if container is not None else [])

    def _usage(self, request: wire.Usage, number: int) -> wire.Answer:
        container = self._containers.get(request.token)
        if container is None or container.ending is not None:
            return wire.Absent()
        return wire.Used(*proc.usage(self._reaper.processes(container)))

    def _forget(self, request: wire.Forget, number: int) -> wire.Answer:
        container = self._containers.get(request.token)
        if container is not None and container.has_ended:
            self._drop(container)
        return wire.Done()

    def _shutdown(self, request: wire.Shutdown, number: int) -> wire.Answer | None:
        self._close(lambda: self._reply(number, wire.Done()))
        return None

    def _reply(self, number: int, answer: wire.Answer) -> None:
        if self._platform is not None:
            self._platform.answer(number, answer)

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _finished(self, container: Container) -> None:
        assert container.ending is not None
        container.has_ended = True
        container.close()
        incarnation = container.incarnation
        incarnation.paused = False
        self._ports.give_back(incarnation.ports.values())
        self._trash.add(self._records.empty(incarnation.token))
        container.note(f"process {incarnation.pid} ended with {container.ending.code} ({container.ending.reason})")
        if container.is_discarded:
            self._drop(container)
        else:
            self._record(container)
            if self._platform is not None:
                self._platform.exited(wire.Exited(incarnation.token, container.ending))
        container.on_finished()
        self._consider_leaving()

    def _record(self, container: Container) -> None:
        lines = container.tail.last(50) if container.ending is not None else []
        try:
            self._records.write(Record(self._boot, container.incarnation, container.ending, lines))
        except OSError as error:
            say(f"the record of {container.incarnation.token} can't be written: {error.strerror}")

    def _drop(self, container: Container) -> None:
        del self._containers[container.incarnation.token]
        if not container.incarnation.object_id:
            container.log.remove()
        self._trash.add(self._records.remove(container.incarnation.token))

    def _adopt_records(self) -> None:
        """Kill what an earlier supervisor left running, and keep what it knew about ends.

        What runs still may be the original's where the folder is a copy: it is left alone.
        """
        mains: dict[int, int] = {}
        folders: set[str] = set()
        restored: list[Record] = []
        for folder, record in self._records.all():
            if record is None or record.ending is None:
                folders.add(folder)
            if record is None:
                continue
            restored.append(record)
            if record.ending is None and record.boot == self._boot:
                mains[record.incarnation.pid] = record.incarnation.ticks
        is_copy = self._is_copy()
        if folders and is_copy:
            say(f"the folder is a copy: {len(folders)} containers are left to the original")
        elif folders:
            killed = kill_leftovers(mains, is_ours=lambda token: self._layout.incarnation(token) in folders)
            say(f"{len(folders)} containers of an earlier supervisor: {killed} processes killed")
        for record in restored:
            container = self._hold(record.incarnation)
            container.has_ended = True
            container.tail.add(record.tail)
            container.ending = record.ending or wire.Ending(137, "platform", time.time())
            self._trash.add(self._records.empty(record.incarnation.token))
            if record.ending is None:
                self._record(container)
        known = {self._layout.incarnation(token) for token in self._containers}
        self._trash.add([self._records.discard(folder) for folder in folders - known])
        self._trash.add([os.path.join(self._layout.trash, name) for name in os.listdir(self._layout.trash)])
        try:
            place.settle(self._layout.data)
        except OSError as error:
            say(f"{self._layout.data} can't be written to: {error.strerror}")

    def _is_copy(self) -> bool:
        try:
            return place.is_copy(self._layout.data)
        except OSError as error:
            say(f"whether {self._layout.data} is a copy can't be told: {error.strerror}")
            return False

    # --- going away ---------------------------------------------------------------------------------------------------

    def _consider_leaving(self) -> None:
        if self._closing is not None:
            self._finish_closing()
        elif self._is_terminating and not self._held():
            self._stop_serving()
        elif self._platform is None and not self._held() and self._idle is None:
            self._idle = self._loop.call_later(self._linger, self._linger_over)

    def _linger_over(self) -> None:
        self._idle = None
        if self._platform is None and not self._held():
            self._stop_serving()

    def _terminated(self) -> None:
        """SIGTERM: the machine shuts down. Containers get the signal too, and some time."""
        say("SIGTERM: ending all containers")
        for container in self._held():
            self._reaper.signal(container, signal.SIGTERM)
            self._freezer.thaw(container)
        self._loop.call_later(_TERM_GRACE, lambda: self._kill_all("platform"))
        self._is_terminating = True
        self._stop_listening()
        self._consider_leaving()

    def _kill_all(self, reason: str) -> None:
        for container in self._held():
            self._reaper.kill(container, reason)

    def _close(self, done: Callable[[], None]) -> None:
        self._closing = done
        self._kill_all("destroyed")
        self._loop.call_later(_CLOSING, self._closing_took_too_long)
        self._finish_closing()

    def _finish_closing(self) -> None:
        if self._held() or self._closing is None:
            return
        for container in list(self._containers.values()):
            self._drop(container)
        self._reaper.kill_everything()
        if self._trash.is_busy:
            return  # comes back when that is done
        if self._reaper.has_strays():
            self._loop.call_later(0.002, self._finish_closing)
            return
        self._closed()

    def _closing_took_too_long(self) -> None:
        say("something could not be killed or deleted; leaving it")
        self._closed()

    def _closed(self) -> None:
        done, self._closing = self._closing, None
        if done is not None:
            self._stop_listening()
            done()
            self._stop_serving()

    def _look_after_folder(self) -> None:
        """Whoever deletes the data folder wants nothing of it to stay; nobody could ever connect again."""
        if self._platform is None and not os.path.exists(self._layout.socket):
            say("the socket has gone: ending all containers")
            self._close(_nothing)
        self._loop.call_later(_LOOK_AFTER_FOLDER, self._look_after_folder)

    def _stop_serving(self) -> None:
        self._stop_listening()
        self._reaper.kill_everything()
        if self._platform is not None:
            self._platform.flush_and_close()
        self._loop.stop()

    def _stop_listening(self) -> None:
        if self._listener.fileno() < 0:
            return
        self._loop.remove(self._listener.fileno())
        self._listener.close()
        try:
            os.unlink(self._layout.socket)
        except FileNotFoundError:
            return


def say(text: str) -> None:
    """One line in the supervisor's own log."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    os.write(2, f"{moment} {text}\n".encode("utf-8", "replace"))


def _ignore() -> None:
    """The supervisor ends by its own rules."""


def _nothing() -> None:
    """Nobody waits."""
