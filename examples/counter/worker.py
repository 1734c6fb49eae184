"""A counter per name, in durable storage, with its history in a private SQL database. No container needed."""

from typing import Any

from moorings import DurableObject, Response, WorkerEntrypoint


class Counter(DurableObject):
    async def increment(self, by: int = 1) -> int:
        value = (await self.ctx.storage.get("value", 0)) + by
        self.ctx.storage.put("value", value)
        sql = self.ctx.storage.sql
        sql.exec("CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, step INTEGER, value INTEGER)")
        sql.exec("INSERT INTO history (step, value) VALUES (?, ?)", by, value)
        return value  # leaves only when both writes are on the disk

    async def history(self, last: int = 10) -> list[dict[str, Any]]:
        if await self.ctx.storage.get("value") is None:
            return []
        rows = self.ctx.storage.sql.exec("SELECT step, value FROM history ORDER BY id DESC LIMIT ?", last)
        return [dict(row) for row in rows]

    async def reset(self) -> None:
        self.ctx.storage.delete_all()


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        name = request.url.path.strip("/") or "default"
        counter = self.env.COUNTER.get_by_name(name)
        if request.method == "POST":
            return Response.json({"value": await counter.increment(int(request.url.query.get("by", "1")))})
        if request.method == "DELETE":
            await counter.reset()
            return Response(status=204)
        return Response.json({"history": await counter.history()})
