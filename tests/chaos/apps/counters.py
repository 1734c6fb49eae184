"""Counters that are read, then written: through RPC and HTTP, on keys and on a private database."""

from __future__ import annotations

from typing import Any

from moorings import DurableObject, Request, Response, WorkerEntrypoint


class Counter(DurableObject):
    """Counts in two keys, which are written in one turn, and in a table of its own."""

    async def add(self) -> int:
        """One more; the new count."""
        count: int = await self.ctx.storage.get("count", 0) + 1
        self.ctx.storage.put("count", count)
        self.ctx.storage.put({"twin": count, f"log:{count:08}": count})
        return count

    def add_row(self) -> int:
        """One more row; how many there are."""
        sql = self.ctx.storage.sql
        sql.exec("CREATE TABLE IF NOT EXISTS hits (n INTEGER PRIMARY KEY, twin INTEGER)")
        count: int = sql.exec("SELECT count(*) AS n FROM hits").one()["n"] + 1
        sql.exec("INSERT INTO hits VALUES (?, ?)", count, count)
        return count

    async def fetch(self, request: Request) -> Response:
        return Response.json(await self.add())

    async def look(self) -> dict[str, Any]:
        """All that is stored."""
        storage = self.ctx.storage
        storage.sql.exec("CREATE TABLE IF NOT EXISTS hits (n INTEGER PRIMARY KEY, twin INTEGER)")
        rows = [list(row) for row in storage.sql.exec("SELECT n, twin FROM hits ORDER BY n").raw()]
        return {
            "count": await storage.get("count", 0),
            "twin": await storage.get("twin", 0),
            "log": list((await storage.list(prefix="log:")).values()),
            "rows": rows,
        }


class Default(WorkerEntrypoint):
    """``/rpc/NAME``, ``/http/NAME`` and ``/sql/NAME`` count; ``/look/NAME`` shows."""

    async def fetch(self, request: Request) -> Response:
        _, how, name = request.url.path.split("/")
        counter = self.env.COUNTER.get_by_name(name)
        match how:
            case "http":
                answer: Response = await counter.fetch(request)
                return answer
            case "rpc":
                return Response.json(await counter.add())
            case "sql":
                return Response.json(await counter.add_row())
        return Response.json(await counter.look())
