"""Where the Engine is: DOCKER_HOST, the Docker context in use, or a socket at one of the usual places."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOCKETS = (
    "/var/run/docker.sock",
    "~/.docker/run/docker.sock",
    "~/.docker/desktop/docker.sock",
    "$XDG_RUNTIME_DIR/docker.sock",
    "$XDG_RUNTIME_DIR/podman/podman.sock",
    "/run/podman/podman.sock",
)
"""Where an Engine's socket usually is, the first that exists wins."""


def locate(env: Mapping[str, str]) -> str:
    """The Engine's address as DOCKER_HOST has it; that of the first usual socket where nothing is found."""
    if host := env.get("DOCKER_HOST"):
        return host
    home = Path(env.get("HOME", "/root"))
    if host := _of_context(env.get("DOCKER_CONTEXT"), home / ".docker"):
        return host
    for place in SOCKETS:
        path = place.replace("~", str(home)).replace("$XDG_RUNTIME_DIR", env.get("XDG_RUNTIME_DIR") or "/run")
        try:
            if stat.S_ISSOCK(os.stat(path).st_mode):
                return f"unix://{path}"
        except OSError:
            continue
    return f"unix://{SOCKETS[0]}"


def _of_context(name: str | None, folder: Path) -> str | None:
    """The address that a Docker context names (``docker context use``)."""
    try:
        if name is None:
            name = json.loads((folder / "config.json").read_bytes()).get("currentContext")
        if not name or name == "default":
            return None
        meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
        host = json.loads(meta.read_bytes())["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return str(host)


def tls(env: Mapping[str, str]) -> ssl.SSLContext | None:
    """The certificates for a remote Engine (DOCKER_TLS_VERIFY, DOCKER_CERT_PATH). Raises OSError."""
    if not env.get("DOCKER_TLS_VERIFY"):
        return None
    folder = Path(env.get("DOCKER_CERT_PATH") or Path(env.get("HOME", "/root"), ".docker"))
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(str(folder / "cert.pem"), str(folder / "key.pem"))
    return context


def unreachable(host: str, why: object) -> str:
    """What is wrong where nothing answers at ``host``, and what to do."""
    shown = f"Docker can't be reached at {host}"
    path = host.removeprefix("unix://")
    if host.startswith("unix://"):
        kind = _kind(path)
        if kind == "missing":
            return (
                f"{shown}: there is no such socket. Start Docker (sudo systemctl start docker), install it, or say "
                "where it is with DOCKER_HOST"
            )
        if kind == "refused":
            return (
                f"{shown}: permission denied. Add your user to the group docker (sudo usermod -aG docker $USER, then "
                "log in again), or use rootless Docker or Podman"
            )
    return f"{shown}: {_short(why)}. Is Docker running? sudo systemctl start docker"


def stuck(host: str) -> str:
    """What is wrong where something accepts connections at ``host`` and answers nothing, and what to do."""
    return (
        f"Docker can't be reached at {host}: it accepts connections and doesn't answer, so it is stuck or very busy. "
        "Look at its log (journalctl -u docker), or restart it (sudo systemctl restart docker), then moorings doctor"
    )


def _kind(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "refused"
    if not stat.S_ISSOCK(mode):
        return "missing"
    return "there" if os.access(path, os.R_OK | os.W_OK) else "refused"


def _short(why: Any) -> str:
    text = str(why).strip().splitlines()
    return (text[0] if text else type(why).__name__).rstrip(".")
