"""A container program for tests: an HTTP/1.1 server on every port it is given, which records all that reaches it.

It listens on PORT and on each PORT_n (in a Docker container for everybody), and knows of each request which declared
port it came by. Its record, which ``/journal`` tells, has an entry for everything that was read, complete or not: a
test can see that nothing reached it.
Nothing sleeps for a fixed time: where a moment has to last, it lasts until ``/release?name=...`` is asked for.

Environment: STARTS_FILE gets one line ``pid`` per start; GATE_FILE, if given, must exist before the program listens.
On SIGTERM it ends at once, or, with WAIT_FOR_CLIENTS, when all connections are closed, as threads of gunicorn do.
Standard library only: it is a program that any user could have put behind the platform.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LINE_LIMIT = 1 << 20
CONTAINER = os.environ.get("HOSTNAME")  # Docker sets it, to the container's id
WHO = CONTAINER or str(os.getpid())


class Malformed(Exception):
    """What arrived is not a request."""


class Request:
    def __init__(
        self, number: int, port: str, reader: asyncio.StreamReader, first: Sequence[str], headers: list[list[str]]
    ) -> None:
        self.port = port
        self.reader = reader
        self.method, self.target, self.version = first
        self.headers = headers
        parts = urlsplit(self.target)
        self.path = unquote(parts.path)
        self.query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.entry: dict[str, Any] = {
            "target": self.target,
            "method": self.method,
            "complete": False,
            "connection": number,
            "body": 0,
        }
        self.trailers: list[list[str]] = []
        self.finished = False

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    async def body(self) -> AsyncIterator[bytes]:
        """The body's pieces; once they end, the request is complete."""
        if self.finished:
            return
        if (self.header("transfer-encoding") or "").lower() == "chunked":
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                async for piece in self._exactly(size):
                    yield piece
                if await self.reader.readexactly(2) != b"\r\n":
                    raise Malformed("chunk without end")
            while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
                name, _, value = line.decode("latin-1").partition(":")
                self.trailers.append([name, value.strip()])
        else:
            async for piece in self._exactly(int(self.header("content-length") or 0)):
                yield piece
        self.finished = self.entry["complete"] = True

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        while size:
            piece = await self.reader.read(min(size, 65536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(piece)
            self.entry["body"] += len(piece)
            yield piece

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.body()])


class Server:
    def __init__(self) -> None:
        self.journal: list[dict[str, Any]] = []
        self.connections = 0
        self.open = 0
        self.all_closed = asyncio.Event()
        self.served = 0
        self.holding: dict[str, asyncio.Event] = {}
        self.holders: dict[str, int] = {}

    # --- connections ------------------------------------------------------------------------------------------------

    async def connected(self, port: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.all_closed.clear()
        number = self.connections
        try:
            while await self.exchange(number, port, reader, writer):
                pass
        except (Malformed, ValueError, asyncio.LimitOverrunError) as error:
            self.journal.append({"malformed": str(error), "connection": number})
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.open -= 1
            if not self.open:
                self.all_closed.set()

    async def exchange(
        self, number: int, port: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Serve one request; whether the connection may carry another."""
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as cut:
            if cut.partial:
                self.journal.append({"partial": cut.partial.decode("latin-1"), "connection": number})
            return False
        request = self.parse(number, port, reader, raw.decode("latin-1"))
        self.journal.append(request.entry)
        print(f"{request.method} {request.target}", flush=True)
        keep = request.version == "HTTP/1.1" and "close" not in (request.header("connection") or "").lower()
        route = getattr(self, "do_" + request.path.strip("/").split("/")[0].replace("-", "_"), None)
        try:
            await (route or self.do_headers)(request, writer)
            if not request.finished:
                await request.read()
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            request.entry["aborted"] = type(error).__name__
            return False
        self.served += 1
        await writer.drain()
        return keep and not writer.is_closing()

    @staticmethod
    def parse(number: int, port: str, reader: asyncio.StreamReader, head: str) -> Request:
        first, *lines = head[:-4].split("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise Malformed(head)
        headers = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip():
                raise Malformed(head)
            headers.append([name, value.strip(" \t")])
        return Request(number, port, reader, parts, headers)

    # --- answers ----------------------------------------------------------------------------------------------------

    @staticmethod
    def answer(request: Request, writer: asyncio.StreamWriter, body: bytes = b"", headers: Sequence[str] = ()) -> None:
        lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", f"X-Pid: {os.getpid()}", *headers]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        writer.write(head if request.method == "HEAD" else head + body)

    def tell(self, request: Request, writer: asyncio.StreamWriter, value: object) -> None:
        self.answer(request, writer, json.dumps(value).encode(), headers=["Content-Type: application/json"])

    async def hold(self, name: str, reader: asyncio.StreamReader | None = None) -> None:
        """Wait until ``/release?name=`` comes. With ``reader``: raises ConnectionError once the peer goes meanwhile."""
        released = self.holding.setdefault(name, asyncio.Event())
        self.holders[name] = self.holders.get(name, 0) + 1
        try:
            while not released.is_set():
                if reader is not None and (reader.at_eof() or reader.exception() is not None):
                    raise ConnectionResetError("the peer went away")
                try:
                    await asyncio.wait_for(released.wait(), 0.01)
                except TimeoutError:
                    continue
        finally:
            self.holders[name] -= 1

    # --- who and what -----------------------------------------------------------------------------------------------

    async def do_pid(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await request.read()
        self.answer(request, writer, WHO.encode())

    async def do_identity(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await request.read()
        self.tell(request, writer, {"pid": os.getpid(), "port": request.port, "target": request.target})

    async def do_env(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.tell(request, writer, dict(os.environ))

    async def do_headers(self, request: Request, writer: asyncio.StreamWriter) -> None:
        body = await request.read()
        seen = {
            "method": request.method,
            "target": request.target,
            "version": request.version,
            "headers": request.headers,
            "body": body.decode("latin-1"),
            "trailers": request.trailers,
            "port": request.port,
            "pid": os.getpid(),
        }
        self.tell(request, writer, seen)

    async def do_journal(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """All that was recorded since the last call, this request included."""
        await request.read()
        self.tell(request, writer, {"entries": self.journal, "pid": os.getpid(), "connections": self.connections})
        self.journal = []

    async def do_peek(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """The record so far; the request itself is not kept in it."""
        self.journal.remove(request.entry)
        held = {name: count for name, count in self.holders.items() if count}
        self.tell(request, writer, {"entries": self.journal, "held": held, "served": self.served})

    # --- bodies -----------------------------------------------------------------------------------------------------

    async def do_echo(self, request: Request, writer: asyncio.StreamWriter) -> None:
        body = await request.read()
        kind = request.header("content-type") or "application/octet-stream"
        self.answer(request, writer, body, headers=[f"Content-Type: {kind}"])

    async def do_upload(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Length and SHA-256 of the body; with ``?hold=name`` nothing of it is read before the release."""
        if "hold" in request.query:
            await self.hold(request.query["hold"])
        digest = hashlib.sha256()
        async for piece in request.body():
            digest.update(piece)
        self.tell(request, writer, {"length": request.entry["body"], "sha256": digest.hexdigest()})

    async def do_big(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """``?size=n`` bytes with Content-Length, as fast as they are taken."""
        size = int(request.query["size"])
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        block = bytes(range(256)) * 256
        while size > 0:
            writer.write(block[:size])
            size -= len(block)
            await writer.drain()

    async def do_stream(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """``?chunks=n`` chunks of ``?size=m`` bytes; with ``?hold=name`` all but the first wait for the release."""
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Chunks\r\n\r\n")
        chunks, size = int(request.query.get("chunks", 3)), int(request.query.get("size", 10))
        for number in range(chunks):
            if number == 1 and "hold" in request.query:
                await writer.drain()
                await self.hold(request.query["hold"], request.reader)
            writer.write(b"%x\r\n%s\r\n" % (size, bytes([97 + number % 26]) * size))
            await writer.drain()
        writer.write(b"0\r\nX-Chunks: %d\r\n\r\n" % chunks)

    async def do_endless(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """A chunked body that never ends: until the peer goes away."""
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
            await writer.drain()

    # --- moments that last ------------------------------------------------------------------------------------------

    async def do_hold(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """No byte of an answer before ``/release?name=``; the peer going away meanwhile is recorded."""
        await request.read()
        await self.hold(request.query["name"], request.reader)
        self.answer(request, writer, b"released")

    async def do_release(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.holding.setdefault(request.query["name"], asyncio.Event()).set()
        self.answer(request, writer)

    # --- endings ----------------------------------------------------------------------------------------------------

    async def do_half(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Part of a body, then ``?then=``: close, reset, hold (until released), kill (SIGKILL, once released)."""
        if request.query.get("framing") == "chunked":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst")
        await writer.drain()
        then = request.query["then"]
        if then == "kill":
            await self.hold("half")
            os.kill(os.getpid(), signal.SIGKILL)
        elif then == "hold":
            await self.hold("half", request.reader)
        elif then == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async def do_die(self, request: Request, writer: asyncio.StreamWriter) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def do_exit(self, request: Request, writer: asyncio.StreamWriter) -> None:
        print("leaving as asked", file=sys.stderr, flush=True)
        os._exit(int(request.query.get("code", 0)))


def before_listening() -> None:
    """Leave a trace of the start, and wait for the gate."""
    if starts := os.environ.get("STARTS_FILE"):
        with open(starts, "a") as file:
            file.write(f"{os.getpid()}\n")
    if gate := os.environ.get("GATE_FILE"):
        while not os.path.exists(gate):
            time.sleep(0.005)


async def main() -> None:
    server = Server()
    ports = {name.removeprefix("PORT_"): int(port) for name, port in os.environ.items() if name.startswith("PORT_")}
    main_port = int(os.environ["PORT"])
    if main_port not in ports.values():
        ports["main"] = main_port
    listening = []
    host = "127.0.0.1" if CONTAINER is None else "0.0.0.0"
    for declared, port in ports.items():
        connected = functools.partial(server.connected, declared)
        listening.append(await asyncio.start_server(connected, host, port, limit=LINE_LIMIT, backlog=1024))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("listening", json.dumps(ports), flush=True)
    await stop.wait()
    print("stopping", flush=True)
    for listener in listening:
        listener.close()
    if "WAIT_FOR_CLIENTS" in os.environ and server.open:
        await server.all_closed.wait()
    os._exit(0)


if __name__ == "__main__":
    before_listening()
    asyncio.run(main())
