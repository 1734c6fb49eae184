"""Containers that do what they are asked to, on Docker; the X-Class header chooses the class, X-Name the object."""

from moorings import Container, Response, WorkerEntrypoint


class Box(Container):
    image = "./container"
    default_port = 3000
    sleep_after = "5m"
    stop_grace = "5s"
    instance_type = {"memory": "64MiB"}
    sandbox = {"read_only": True, "tmpfs": {"/tmp": "8MiB"}, "processes": 300}

    async def on_exit(self, exit_code, reason):
        exits = await self.ctx.storage.get("exits") or []
        self.ctx.storage.put("exits", [*exits, [exit_code, reason]])

    async def exits(self):
        return await self.ctx.storage.get("exits") or []

    async def state(self):
        return (await self.get_state()).status


class Internal(Box):
    enable_internet = False


class Few(Box):
    max_instances = 4
    sleep_after = "1s"


class Dies(Box):
    entrypoint = ["python", "-c", "print('no luck today', flush=True); raise SystemExit(7)"]


class Sleeper(Box):
    sleep_after = "1s"


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        binding = getattr(self.env, request.headers.get("X-Class", "BOX"))
        stub = binding.get_by_name(request.headers.get("X-Name", "box"))
        if request.url.path == "/-/exits":
            return Response.json(await stub.exits())
        if request.url.path == "/-/state":
            return Response.json(await stub.state())
        if request.url.path == "/-/stop":
            await stub.stop()
            return Response("")
        return await stub.fetch(request)
