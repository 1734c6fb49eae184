"""httpbin under gunicorn, a program that knows nothing of the platform, as one container."""

from moorings import Container, Request, Response, WorkerEntrypoint


class HttpBin(Container):
    entrypoint = ["gunicorn", "-w", "1", "--threads", "8", "-b", "127.0.0.1:{port}", "httpbin:app"]
    default_port = 8000
    env_vars = {"PYTHONHASHSEED": "0"}  # the order of methods in Allow


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        response: Response = await self.env.HTTP_BIN.get_by_name("httpbin").fetch(request)
        return response
