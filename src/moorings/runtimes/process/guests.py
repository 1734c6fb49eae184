"""Programs that are run inside a container from outside (exec), as the supervisor sees them.

A *guest* is a child of the supervisor in a session of its own, with the container's folder and environment, and the
descriptors that its caller has sent: what it reads and writes never passes through here. It belongs to the connection
that asked for it and to the container: it is killed when either ends.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from typing import NoReturn

from moorings.runtimes.process import spawn, wire
from moorings.runtimes.process.connection import Connection
from moorings.runtimes.process.container import Container
from moorings.runtimes.process.reaper import Reaper


class Guests:
    """All guests. ``files`` is the soft limit of open files for each."""

    __slots__ = ("_files", "_pids", "_reaper")

    def __init__(self, reaper: Reaper, *, files: int) -> None:
        self._reaper = reaper
        self._files = files
        self._pids: dict[Connection, int] = {}

    def run(self, connection: Connection, request: wire.Exec, container: Container) -> wire.Answer:
        """Start a program; the connection is the program's from now on."""
        descriptors = connection.take_descriptors()
        try:
            if len(descriptors) != (1 if request.is_terminal else 3):
                return wire.Refused("the descriptors of the program did not arrive")
            program = _Program(request, container, descriptors, self._files)
            pid = program.start()
        except spawn.StartFailed as error:
            return wire.Refused(str(error))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._pids[connection] = pid
        self._reaper.watch_guest(pid, container, lambda code: self._ended(connection, request.token, code))
        return wire.Spawned(pid)

    def kill(self, connection: Connection) -> None:
        """Kill a connection's program and what descends from it; nothing happens where it has ended."""
        pid = self._pids.get(connection)
        if pid is not None:
            self._reaper.kill_guest(pid)

    def closed(self, connection: Connection) -> None:
        """A connection has ended: so does its program."""
        self.kill(connection)
        self._pids.pop(connection, None)

    def _ended(self, connection: Connection, token: str, code: int) -> None:
        if self._pids.pop(connection, None) is not None:
            connection.exited(wire.Exited(token, wire.Ending(code, "exit", time.time())))


class _Program:
    """One program that is about to run: checked first, then forked.

    A fork and not posix_spawn, which can neither change the user nor take a controlling terminal. The supervisor is
    one small thread, so the fork is cheap and the child may run Python until its exec.
    """

    __slots__ = ("_command", "_descriptors", "_directory", "_env", "_file", "_files", "_is_terminal", "_user")

    def __init__(self, request: wire.Exec, container: Container, descriptors: list[int], files: int) -> None:
        """Raises StartFailed."""
        if not request.command or not request.command[0]:
            raise spawn.StartFailed("the command is empty; it must name a program, such as ['ls', '-l']")
        if any(b"\0" in argument for argument in request.command):
            raise spawn.StartFailed("an argument of the command contains a NUL character")
        spawn.check_environment(request.env, "env")
        folder, env = container.surroundings
        self._command = request.command
        self._descriptors = descriptors
        self._directory = spawn.check_folder(os.path.join(folder, request.directory))
        self._env = {**env, **request.env}
        self._file = spawn.find_program(request.command[0], self._directory, self._env.get(b"PATH", b""))
        self._files = files
        self._is_terminal = request.is_terminal
        self._user = None if request.user is None else _identity(request.user)

    def start(self) -> int:
        """Its pid, once it runs. Raises StartFailed."""
        failed, failing = os.pipe()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                self._become(failing)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(failing)
        why = b""
        while part := os.read(failed, 4096):  # ends with the exec, which closes the other end
            why += part
        os.close(failed)
        if why:
            os.waitpid(pid, 0)
            raise spawn.StartFailed(why.decode("utf-8", "replace"))
        return pid

    def _become(self, failing: int) -> NoReturn:
        """In the child: run the program, or tell why not."""
        what = "it can't be prepared"
        try:
            signal.set_wakeup_fd(-1)
            for signum in spawn.IGNORED_BY_PYTHON:
                signal.signal(signum, signal.SIG_DFL)
            if self._is_terminal:
                os.login_tty(self._descriptors[0])
            else:
                os.setsid()
                for number, descriptor in enumerate(self._descriptors):
                    os.dup2(descriptor, number)
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(self._files, hard), hard))
            if self._user is not None:
                what = "the user can't be changed (the platform has to run as root for that)"
                name, uid, gid = self._user
                if self._is_terminal:
                    os.fchown(0, uid, -1)
                os.initgroups(name, gid)
                os.setgid(gid)
                os.setuid(uid)
            what = f"the folder {spawn.shown(self._directory)} can't be entered"
            os.chdir(self._directory)
            what = f"{spawn.shown(self._file)} can't be run"
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.execve(self._file, self._command, self._env)
        except OSError as error:
            os.write(failing, f"{what}: {error.strerror}".encode("utf-8", "surrogatepass"))
        except BaseException as error:  # noqa: BLE001  # nothing may return into the supervisor's loop
            os.write(failing, f"{what}: {error!r}".encode("utf-8", "surrogatepass"))
        finally:
            os._exit(127)


def _identity(user: str) -> tuple[str, int, int] | None:
    """Name, uid and gid of ``user`` or ``user:group``, names or numbers; None for who we are. Raises StartFailed."""
    import grp  # rarely needed, and the supervisor stays small
    import pwd

    name, _, group = user.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        name, uid, gid = entry.pw_name, entry.pw_uid, entry.pw_gid
    except (KeyError, OverflowError):
        if not name.isdecimal() or int(name) > 2**31:
            raise spawn.StartFailed(f"there is no user {name!r} on this machine") from None
        uid = gid = int(name)
    if group:
        try:
            gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise spawn.StartFailed(f"there is no group {group!r} on this machine") from None
    return None if (uid, gid) == (os.geteuid(), os.getegid()) else (name, uid, gid)
