"""Two classes of containers that print on both streams, for the commands that look into them."""

import sys
from typing import Any

from moorings import Container, Request, Response, WorkerEntrypoint

SERVER = """
import http.server, os, sys
print("listening as", os.environ["MOORINGS_NAME"])
print("on standard error", file=sys.stderr)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        print("got", self.path)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Box(Container):
    entrypoint = [sys.executable, "-u", "-I", "-S", "-c", SERVER]
    default_port = 3000
    env_vars = {"COLOUR": "blue"}


class Crate(Box):
    pass


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        _, class_name, name = request.url.path.split("/", 2)
        namespace: Any = self.env.BOX if class_name == "Box" else self.env.CRATE
        response: Response = await namespace.get_by_name(name).fetch(request)
        return response
