"""The platform as its users run it: a subprocess of the command line, with a data folder of its own.

``stop`` is the half of each test that nobody writes: the platform must end with 0 and leave nothing behind, no child,
no container, no supervisor, no temporary file, no socket.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.support.processes import describe, processes_of
from tests.support.raw import Address
from tests.support.waiting import wait_until
from tools.engine import Engine

_READY = r"(?i)listening.*https?://([0-9.]+):([0-9]+)|https?://([0-9.]+):([0-9]+).*listening"


class Mode(Enum):
    """Which command runs the worker file."""

    DEV = "dev"
    SERVE = "serve"


class Platform:
    """``moorings dev|serve WORKER`` until ``stop``. A context manager: leaving it without an error asserts a clean end.

    ``folder`` is created; the platform's data folder and its TMPDIR are in it. ``env`` is added to its environment.
    With ``engine``, containers are Docker's, and the caller is inside that Engine's network.
    After ``crash``, another Platform on the same folder takes over. ``launcher`` stands for the ``moorings`` command.
    """

    def __init__(
        self,
        worker: Path,
        folder: Path,
        *,
        mode: Mode = Mode.SERVE,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        engine: Engine | None = None,
        launcher: Sequence[str] = (str(Path(sysconfig.get_path("scripts")) / "moorings"),),
    ) -> None:
        self.folder = folder
        self.engine = engine
        self.data = folder / "data"
        self.temporary = folder / "tmp"
        self._lines: list[str] = []
        self._arrived = threading.Condition()
        self._ended = False
        self.temporary.mkdir(parents=True, exist_ok=True)
        command = [*launcher, mode.value, str(worker)]
        command += ["--host", "127.0.0.1", "--port", "0", "--data-dir", str(self.data)]
        command += ["--runtime", "process" if engine is None else "docker"]
        command += ["--stop-containers"] if mode is Mode.SERVE else []
        environ = {
            **os.environ,
            **({} if engine is None else {"DOCKER_HOST": engine.host}),
            "TMPDIR": str(self.temporary),
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        self._process = subprocess.Popen(
            [*command, *options],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="platform output", daemon=True)
        self._reader.start()
        try:
            self.address: Address = self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Platform:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has printed."""
        with self._arrived:
            return "\n".join(self._lines)

    def wait_for_output(self, pattern: str, *, within: float = 10.0) -> re.Match[str]:
        """The first line of its output, past or to come, in which ``pattern`` is found."""
        with self._arrived:
            seen = 0
            while True:
                for line in self._lines[seen:]:
                    if match := re.search(pattern, line):
                        return match
                seen = len(self._lines)
                came = not self._ended and self._arrived.wait_for(functools.partial(self._more_than, seen), within)
                assert came, f"no {pattern!r} within {within} s in the platform's output:\n" + "\n".join(self._lines)

    def containers(self) -> list[psutil.Process]:
        """Every process that carries its data folder, except the platform itself: containers and the supervisor."""
        return [process for process in processes_of(self.data) if process.pid != self.pid]

    def docker_containers(self) -> list[dict[str, Any]]:
        """What its Engine shows of its containers, those that have ended included."""
        identity = self.data / "docker" / "installation"
        if self.engine is None or not identity.exists():
            return []
        return self.engine.containers(label=[f"dev.moorings.installation={identity.read_text()}"])

    def kill_containers(self) -> None:
        """SIGKILL for the program of every container, behind the platform's back."""
        if self.engine is None:
            for process in self.containers():
                if process.pid != self.pid and not any("moorings" in part for part in process.cmdline()[:4]):
                    process.kill()
        for container in self.docker_containers():
            assert self.engine is not None
            self.engine.ask("POST", f"/containers/{container['Id']}/kill")

    def stop(self, *, within: float = 30.0) -> None:
        """SIGTERM; asserts that it ends with 0 and that nothing is left."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the platform did not stop within {within} s:\n{self.output}") from None
        try:
            assert code == 0, f"the platform ended with {code}:\n{self.output}"
            self._assert_nothing_is_left()
        finally:
            self.kill()

    def crash(self) -> None:
        """SIGKILL for the platform alone, as a crash: its supervisor and its containers stay; idempotent."""
        self._process.kill()
        self.wait_until_ended()

    def wait_until_ended(self, *, within: float = 30.0) -> int:
        """Wait until it has ended by itself; returns its exit code (-9 where SIGKILL ended it)."""
        code = self._process.wait(within)
        self._reader.join(5)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()
        return code

    def kill(self) -> None:
        """SIGKILL for the platform and everything that carries its data folder; idempotent."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for process in self.containers():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.engine is not None and self.engine.answers():
            for container in self.docker_containers():
                with contextlib.suppress(RuntimeError):
                    self.engine.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        self.wait_until_ended()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _more_than(self, seen: int) -> bool:
        return self._ended or len(self._lines) > seen

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._arrived:
                self._lines.append(line.decode(errors="replace").rstrip("\n"))
                self._arrived.notify_all()
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def _wait_until_ready(self) -> Address:
        ready = self.wait_for_output(_READY, within=20.0)
        host, port = [group for group in ready.groups() if group is not None]
        return host, int(port)

    def _assert_nothing_is_left(self) -> None:
        try:
            wait_until(lambda: not processes_of(self.folder), "no process is left", within=5.0)
        except AssertionError:
            raise AssertionError(f"processes are left:\n{describe(processes_of(self.folder))}") from None
        assert not self.docker_containers(), f"containers are left: {self.docker_containers()}"
        self._reader.join(5)
        assert not self._reader.is_alive(), "somebody still holds the platform's output open"
        files = sorted(str(path) for path in self.temporary.rglob("*"))
        assert not files, f"temporary files are left: {files}"
        sockets = [str(path) for path in self.data.rglob("*") if path.is_socket()]
        assert not sockets, f"sockets are left: {sockets}"
