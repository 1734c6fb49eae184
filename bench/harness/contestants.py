"""The programs that are compared: each on the proxy core, listening on 127.0.0.1, in front of the same program."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.harness.process import BenchError, Cores, Process, Usage, find, free_port

BENCH = Path(__file__).resolve().parent.parent
LISTENING = re.compile(r"^(?=.*listening).*(http://127\.0\.0\.1:\d+)", re.IGNORECASE | re.MULTILINE)

PLATFORM = "moorings"
REFERENCE = "nginx"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run happens: its cores, a folder of its own that is removed at the end, and the compiled upstream."""

    cores: Cores
    folder: Path
    upstream: Path


class Contestant:
    """A proxy that runs. `counts_children`: whether its children are part of it (nginx' worker), not what it runs."""

    def __init__(self, name: str, url: str, process: Process, *, counts_children: bool) -> None:
        self.name = name
        self.url = url
        self.process = process
        self._counts_children = counts_children

    def usage(self) -> Usage:
        return self.process.usage(children=self._counts_children)

    def stop(self) -> int:
        """Stop it; its exit code."""
        return self.process.stop()


class UpstreamProgram:
    """The upstream program in front of which nginx, haproxy and caddy stand (the platform starts its own)."""

    def __init__(self, site: Site) -> None:
        self.port = free_port()
        self.process = Process(
            "upstream",
            [str(site.upstream), str(self.port)],
            core=site.cores.load,
            log=site.folder / f"upstream-{self.port}.log",
        )
        self.process.wait_for_port(self.port)

    def stop(self) -> None:
        self.process.stop()


def start_proxy(site: Site, name: str, upstream_port: int, *, template: str | None = None) -> Contestant:
    """Start nginx, haproxy or caddy, with another ``template`` of its configuration where given. Raises BenchError."""
    port = free_port()
    folder = site.folder / f"{name}-{port}"
    folder.mkdir()
    commands = {
        "nginx": ("nginx.conf", ["-e", "stderr", "-p", str(folder), "-c"]),
        "haproxy": ("haproxy.cfg", ["-db", "-f"]),
        "caddy": ("Caddyfile", ["run", "--adapter", "caddyfile", "--config"]),
    }
    if name not in commands:
        raise BenchError(f"no such contestant: {name} (there are {', '.join((PLATFORM, *commands))})")
    usual, arguments = commands[name]
    template = template or usual
    values = {
        "@PORT@": str(port),
        "@UPSTREAM@": str(upstream_port),
        "@DIR@": str(folder),
        "@USER@": "user root;" if os.geteuid() == 0 else "",
    }
    text = (BENCH / "proxies" / template).read_text()
    for key, value in values.items():
        text = text.replace(key, value)
    config = folder / template
    config.write_text(text)
    process = Process(
        name,
        [find(name), *arguments, str(config)],
        core=site.cores.proxy,
        log=folder / "log",
        env={"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
    )
    try:
        process.wait_for_port(port)
    except BenchError:
        process.stop()
        raise
    return Contestant(name, f"http://127.0.0.1:{port}", process, counts_children=True)


def start_platform(site: Site, app: str = "session", *, data_dir: Path | None = None) -> Contestant:
    """Start `moorings serve` on a worker of bench/apps. Stopping it stops its containers. Raises BenchError."""
    data = data_dir or site.folder / f"moorings-{app}-{free_port()}"
    temporary = site.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    process = Process(
        PLATFORM,
        [
            *platform_command(),
            *("serve", str(BENCH / "apps" / f"{app}.py"), "--host", "127.0.0.1", "--port", "0"),
            *("--data-dir", str(data), "--runtime", "process", "--stop-containers"),
        ],
        core=site.cores.proxy,
        log=site.folder / f"{data.name}-{free_port()}.log",
        env={
            "BENCH_LOAD_CORE": str(site.cores.load),
            "BENCH_UPSTREAM": str(site.upstream),
            "TMPDIR": str(temporary),
        },
    )

    def announced() -> str | None:
        found = LISTENING.search(process.log.read_text(errors="replace"))
        return found.group(1) if found else None

    try:
        url = process.wait_for(announced, seconds=30.0)
    except BenchError:
        process.stop()
        raise
    return Contestant(PLATFORM, url, process, counts_children=False)


def platform_command() -> list[str]:
    """How to run the `moorings` of this interpreter's environment. Raises BenchError."""
    script = shutil.which("moorings", path=str(Path(sys.executable).parent))
    if script is None:
        raise BenchError(
            "there is no moorings beside this Python: run `make setup`, and the bench with .venv/bin/python"
        )
    return [script]
