"""nginx as a reverse proxy in front of a test's program: the yardstick that answers are compared with."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import free_port, program
from tests.support.raw import Address

_CONFIG = """\
daemon off;
user {user};
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size {max_body};
    upstream container {{ server {host}:{port}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{listen} default_server;
        location / {{
            proxy_pass http://container;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
        }}
    }}
}}
"""


def find_nginx() -> str:
    """The path of nginx. Without one: fails in CI, where it has to be there, and skips elsewhere."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is not None:
        return found
    reason = "nginx is missing; `apt-get install nginx-light` (or `make test`) installs it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def nginx_version(nginx: str) -> str:
    """Its version, ``1.22.1``."""
    said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    match = re.search(r"nginx/([0-9.]+)", said)
    assert match is not None, said
    return match[1]


@contextlib.contextmanager
def nginx_before(upstream: Address, folder: Path, *, max_body: int = 0) -> Iterator[Address]:
    """nginx in front of ``upstream`` until the block ends, with its files in ``folder``; yields its address.

    ``max_body`` bounds request bodies, in bytes; 0 sets no bound.
    """
    nginx = find_nginx()
    listen = free_port()
    user = "root" if os.geteuid() == 0 else "nobody"
    config = folder / "nginx.conf"
    host, port = upstream
    config.write_text(_CONFIG.format(folder=folder, host=host, port=port, listen=listen, user=user, max_body=max_body))
    command = [nginx, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    with program(command, listen, env={"PATH": os.environ["PATH"]}, log=folder / "nginx.out") as address:
        yield address
