"""A private dockerd: own data, own sockets, own containerd, own network namespace.

So it meets neither another of its kind nor an Engine that the machine has. Its processes die with the thread that
started it (PR_SET_PDEATHSIG), and what an earlier one left behind because its owner was killed is removed by the next.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tools.engine.base_image import NAME, base_image
from tools.engine.netns import NetworkNamespace

_PREFIX = "moorings-engine-"
_PR_SET_PDEATHSIG = 1
_CMD = 'CMD ["python3"]'
_libc = ctypes.CDLL(None, use_errno=True)


class EngineNotPossible(Exception):
    """No private Engine can be started here; the message says why."""


class Engine:
    """One dockerd with the base image in it; a context manager.

    ``host`` is its DOCKER_HOST. Container addresses can be dialled inside ``network()`` only.
    """

    def __init__(self) -> None:
        program = shutil.which("dockerd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if program is None:
            raise EngineNotPossible("there is no dockerd; apt-get install docker.io")
        if os.geteuid() != 0:
            raise EngineNotPossible("a private dockerd takes root")
        try:
            self._namespace = NetworkNamespace()
        except OSError as error:
            raise EngineNotPossible(f"no network namespace can be made here: {error}") from None
        _remove_abandoned()
        self._program = program
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        (self.folder / "owner").write_text(str(os.getpid()))
        (self.folder / "daemon.json").write_text("{}")
        self.socket = self.folder / "docker.sock"
        self.host = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
            self._import_base_image()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id of dockerd."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What dockerd has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def network(self) -> contextlib.AbstractContextManager[None]:
        """The calling thread is in dockerd's network namespace meanwhile."""
        return self._namespace.inside()

    def start(self, *options: str) -> None:
        """Start dockerd and wait until it answers."""
        command = [self._program, "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"]
        command += ["--config-file", f"{self.folder}/daemon.json", "--pidfile", f"{self.folder}/pid", "-H", self.host]
        command += ["--log-level", "warn", "--shutdown-timeout", "3", *options]
        search = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        with self.network(), (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": search},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        deadline = time.monotonic() + 30
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise EngineNotPossible(f"dockerd does not start; its log ends with:\n{self.log[-3000:]}")
            time.sleep(0.02)

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """Stop dockerd and wait for its end; idempotent."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signum)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        if signum == signal.SIGKILL:
            _kill(self.folder / "exec" / "containerd" / "containerd.pid")

    def answers(self) -> bool:
        """Whether dockerd answers requests."""
        try:
            return str(self.ask("GET", "/_ping")) == "OK"
        except OSError:
            return False

    def ask(self, method: str, path: str, body: Any = None, *, content: str = "application/json") -> Any:
        """One request to the Engine API; its answer, decoded. Raises OSError, and RuntimeError with its message."""
        connection = _UnixConnection(str(self.socket))
        try:
            data = json.dumps(body) if content == "application/json" and body is not None else body
            connection.request(method, path, data, {"Host": "docker", "Content-Type": content})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
            kind = answer.headers.get("Content-Type", "")
            whole = kind.startswith("application/json") and text and text.count(b"\n") <= 1
            return json.loads(text) if whole else text.decode()
        finally:
            connection.close()

    def containers(self, **filters: list[str]) -> list[dict[str, Any]]:
        """All containers, those that have ended included."""
        found: list[dict[str, Any]] = self.ask("GET", f"/containers/json?all=1&filters={quote(json.dumps(filters))}")
        return found

    def events(self, what: str, **filters: str) -> list[dict[str, Any]]:
        """What happened to containers, oldest first: of all events, the Engine remembers the last 256."""
        chosen = quote(json.dumps({"event": [what], **{kind: [value] for kind, value in filters.items()}}))
        told = self.ask("GET", f"/events?since=0&until={time.time():.9f}&filters={chosen}")
        return [told] if isinstance(told, dict) else [json.loads(line) for line in told.splitlines()]

    def inventory(self) -> dict[str, set[str]]:
        """What there is of everything that an Engine keeps, to compare it with later."""
        images = self.ask("GET", "/images/json?all=1")
        return {
            "containers": {one["Id"] for one in self.containers()},
            "networks": {one["Name"] for one in self.ask("GET", "/networks")},
            "images": {one["Id"] for one in images},
            "volumes": {one["Name"] for one in self.ask("GET", "/volumes")["Volumes"] or ()},
        }

    def remove_containers(self) -> None:
        """Kill and remove every container."""
        for one in self.containers():
            with contextlib.suppress(RuntimeError):
                self.ask("DELETE", f"/containers/{one['Id']}?force=1&v=1")

    def close(self) -> None:
        """Remove everything; idempotent."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError):
                self.remove_containers()
        self.stop()
        if self.folder.exists():
            _remove(self.folder)
            self._namespace.close()

    def _import_base_image(self) -> None:
        repository, tag = NAME.split(":")
        changes = f"&changes={quote('ENV PATH=/usr/local/bin:/usr/bin:/bin')}&changes={quote(_CMD)}"
        with base_image().open("rb") as content:
            path = f"/images/create?fromSrc=-&repo={repository}&tag={tag}{changes}"
            self.ask("POST", path, content, content="application/x-tar")


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@contextlib.contextmanager
def private_engine() -> Iterator[Engine]:
    """An Engine that is there until the block ends, with the calling thread in its network."""
    with Engine() as engine, engine.network():
        yield engine


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill(pidfile: Path) -> None:
    """SIGKILL for the process of a pidfile; returns when it is gone."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pidfile.read_text())
        os.kill(pid, signal.SIGKILL)
        while Path("/proc", str(pid)).exists():
            time.sleep(0.01)


def _remove_abandoned() -> None:
    """Remove what Engines left whose owners are gone."""
    for folder in Path("/tmp").glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            if not Path("/proc", (folder / "owner").read_text()).exists() and not _is_alive(folder / "pid"):
                _remove(folder)


def _is_alive(pidfile: Path) -> bool:
    try:
        return Path("/proc", pidfile.read_text().strip()).exists()
    except OSError:
        return False


def _remove(folder: Path) -> None:
    """Unmount what is mounted below a folder, and remove it."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below: Sequence[str] = [path for path in mounts if path.startswith(f"{folder}/")]
    for path in sorted(below, key=len, reverse=True):
        _libc.umount2(os.fsencode(path), 2)
    shutil.rmtree(folder, ignore_errors=True)
