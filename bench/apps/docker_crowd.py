"""Containers of which there may be forty, spares included; the path is a name, or a name and ``/hold``.

What is held answers with a head at once and with the rest of it never: it keeps its container busy.
"""

from moorings import Container, Request, Response, WorkerEntrypoint

PROGRAM = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.flush()
        if self.path.endswith("/hold"):
            self.connection.recv(1)
        else:
            self.wfile.write(b"x")
    def log_message(self, *_): pass

ThreadingHTTPServer(("0.0.0.0", 3000), Handler).serve_forever()
"""


class Crowd(Container):
    image = "python:3.11-slim"
    entrypoint = ["python", "-c", PROGRAM]
    default_port = 3000
    sleep_after = "1s"
    stop_grace = "2s"
    max_instances = 40
    warm_spares = 3


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        return await self.env.CROWD.get_by_name(request.url.parts[1]).fetch(request)
