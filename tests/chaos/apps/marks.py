"""Objects that store a mark and acknowledge it, in each of the ways in which something leaves an object."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

from moorings import Container, DurableObject, Request, Response, WorkerEntrypoint

CHUNKS = 3


class Box(Container):
    """Sees what it is asked."""

    entrypoint = [sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
    default_port = 3000


class Keeper(DurableObject):
    """Keeps marks."""

    def put(self, mark: str) -> str:
        """Answer as an RPC result."""
        self.ctx.storage.put(mark, mark)
        return mark

    def insert(self, mark: str) -> str:
        """The same, on the private database."""
        self.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS marks (mark TEXT)")
        self.ctx.storage.sql.exec("INSERT INTO marks VALUES (?)", mark)
        return mark

    def fail(self, mark: str) -> None:
        """Answer as an error."""
        self.ctx.storage.put(mark, mark)
        raise ValueError(mark)

    async def forward(self, mark: str) -> int:
        """Tell a container, by a request."""
        self.ctx.storage.put(mark, mark)
        response = await self.env.BOX.get_by_name("box").fetch(f"/?{mark}")
        return int(response.status)

    async def fetch(self, request: Request) -> Response:
        """Answer in a response's head, or in its chunks."""
        _, how, mark = request.url.path.split("/")
        if how == "chunks":
            return Response(self._chunks(mark))
        self.ctx.storage.put(mark, mark)
        return Response("", headers={"X-Mark": mark})

    async def _chunks(self, mark: str) -> AsyncIterator[bytes]:
        for number in range(CHUNKS):
            chunk = mark.replace("-end", f"-{number}-end")
            self.ctx.storage.put(chunk, chunk)
            yield chunk.encode()


class Default(WorkerEntrypoint):
    """``/HOW/MARK``, and ``/open`` starts the container."""

    async def fetch(self, request: Request) -> Response:
        if request.url.path == "/open":
            await self.env.BOX.get_by_name("box").start_and_wait_for_ports()
            return Response("open")
        _, how, mark = request.url.path.split("/")
        keeper = self.env.KEEPER.get_by_name(mark.split("-")[1])
        match how:
            case "rpc":
                return Response(await keeper.put(mark))
            case "sql":
                return Response(await keeper.insert(mark))
            case "forward":
                return Response(f"the container said {await keeper.forward(mark)}")
            case "error":
                try:
                    await keeper.fail(mark)
                except ValueError as error:
                    return Response(str(error))
        answer: Response = await keeper.fetch(request)
        return answer
