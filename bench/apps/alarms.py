"""Objects that wait for their alarm; says how many have fired."""

from moorings import DurableObject, Request, Response, WorkerEntrypoint

fired: list[str] = []


class Sleeper(DurableObject):
    def alarm(self) -> None:
        fired.append(str(self.ctx.id))


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        return Response(str(len(fired)))
