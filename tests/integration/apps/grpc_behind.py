"""A gRPC server as one container, and containers that fail in every way: metadata says which a call goes to."""

from pathlib import Path

from moorings import Container, Request, Response, WorkerEntrypoint

PROGRAMS = Path(__file__).parents[2] / "support" / "programs"
SERVER = ["python", str(PROGRAMS / "grpc_interop.py"), "{port}"]


class Interop(Container):
    entrypoint = SERVER
    default_port = 8080
    h2c_ports = [8080]


class NeverListens(Container):
    entrypoint = ["sleep", "60"]
    default_port = 8080


class DiesAtStart(Container):
    entrypoint = ["false"]
    default_port = 8080


class SpeaksHttp1(Container):
    entrypoint = ["python", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
    default_port = 8080


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        case = request.headers.get("x-case", "interop")
        if case == "raises":
            raise RuntimeError("this never leaves the platform: §")
        if case == "reads":
            await request.bytes()
        binding = {
            "never-listens": self.env.NEVER_LISTENS,
            "dies": self.env.DIES_AT_START,
            "http1": self.env.SPEAKS_HTTP1,
        }
        response: Response = await binding.get(case, self.env.INTEROP).get_by_name("one").fetch(request)
        return response
