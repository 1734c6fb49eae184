"""``moorings init``: an app to start with, which runs as it is. It overwrites nothing."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Final

import click

WORKER: Final = '''\
"""A container per name: /alice and /bob are two programs, each with a memory of its own."""

from moorings import Container, Response, WorkerEntrypoint


class Backend(Container):
    image = "./container"  # built from its Dockerfile where Docker answers
    entrypoint = ["python", "server.py"]  # without Docker, a local process in that folder
    default_port = 3000
    sleep_after = "10m"


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        name = request.url.path.split("/")[1]
        if not name:
            return Response("Which one? Try /alice\\n", status=404)
        return await self.env.BACKEND.get_by_name(name).fetch(request)
'''

SERVER: Final = '''\
"""Any program that listens on the port in $PORT will do. This one counts its visitors."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

visits = count(1)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"Visit {next(visits)} to process {os.getpid()}\\n".encode())


ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
'''

DOCKERFILE: Final = """\
FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1
WORKDIR /app
COPY server.py .
CMD ["python", "server.py"]
"""

FILES: Final = {"worker.py": WORKER, "container/server.py": SERVER, "container/Dockerfile": DOCKERFILE}


@click.command(short_help="Write an app to start with.")
@click.argument("folder", required=False, metavar="[FOLDER]", default=".", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write an app to start with into FOLDER, which is made where it is missing; the current folder unless given.

    That is worker.py, with a class and a worker; container/server.py, the program; and container/Dockerfile, its image.
    It runs as it is, with Docker or without. Where one of the three is there already, nothing is written.

    \b
    Example:
      moorings init hello
      moorings dev hello
      curl http://127.0.0.1:8787/alice
    """
    paths = {folder / name: content for name, content in FILES.items()}
    if there := [str(path) for path in paths if os.path.lexists(path)]:
        raise click.ClickException(f"{', '.join(there)}: there already, so nothing was written; name another folder")
    for path, content in paths.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x") as file:
                file.write(content)
        except OSError as error:
            raise click.ClickException(f"{path}: can't be written ({error.strerror})") from None
        click.echo(f"wrote {path}")
    worker = shlex.quote(str(folder / "worker.py"))
    click.echo(
        f"\nNow run it, and then in a second terminal:\n  moorings dev {worker}\n  curl http://127.0.0.1:8787/alice"
    )
