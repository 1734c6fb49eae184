"""Containers that misbehave once they are asked to, each in a class with limits that are to hold it; and a calm one."""

from moorings import Container, Request, Response, WorkerEntrypoint

PROGRAM = """
import os, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def bomb():
    while True:
        try: os.fork()
        except OSError: pass

def hog():
    kept = []
    while True: kept.append(bytearray(10_000_000))

def fill():
    while True:
        try:
            with open("/tmp/full", "ab") as file: file.write(bytes(1_000_000))
        except OSError: pass

def chatter():
    line = b"x" * 99 + b"\\n"
    while True: os.write(1, line * 100)

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/go":
            threading.Thread(target=globals()[sys.argv[1]], daemon=True).start()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass

ThreadingHTTPServer(("0.0.0.0", 3000), Handler).serve_forever()
"""


class Calm(Container):
    image = "python:3.11-slim"
    entrypoint = ["python", "-c", PROGRAM, "calm"]
    default_port = 3000
    stop_grace = "2s"
    instance_type = {"vcpu": 0.5, "memory": "64MiB"}
    sandbox = {"processes": 64, "read_only": True, "tmpfs": {"/tmp": "16MiB"}}

    async def on_exit(self, exit_code: int, reason: str) -> None:
        self.ctx.storage.put("reason", reason)

    async def reason(self) -> str:
        """Why it ended last."""
        return str(await self.ctx.storage.get("reason") or "")


class Bomb(Calm):
    entrypoint = ["python", "-c", PROGRAM, "bomb"]
    instance_type = {"vcpu": 0.5, "memory": "1GiB"}  # so that it meets the limit of processes first


class Hog(Calm):
    entrypoint = ["python", "-c", PROGRAM, "hog"]


class Filler(Calm):
    entrypoint = ["python", "-c", PROGRAM, "fill"]


class Chatter(Calm):
    entrypoint = ["python", "-c", PROGRAM, "chatter"]


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        stub = getattr(self.env, request.headers["X-Class"]).get_by_name("one")
        match request.url.path:
            case "/reason":
                return Response(await stub.reason())
            case "/destroy":
                await stub.destroy()
                return Response("")
        return await stub.fetch(request)
