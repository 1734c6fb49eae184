"""A gRPC server for the cases of gRPC's interoperability tests, made with grpcio.

Messages are a JSON object, a NUL and a payload, so that clients of any language make them by hand. Fields are named
after those of the interop description: ``response_size``, ``sizes``, ``status`` ([code, message]), ``sleep``.

Source: github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

SERVICE = "interop.TestService"
Message = tuple[dict[str, Any], bytes]


def encode(message: Message) -> bytes:
    return json.dumps(message[0]).encode() + b"\0" + message[1]


def decode(data: bytes) -> Message:
    meta, _, payload = data.partition(b"\0")
    return json.loads(meta), payload


class Calls:
    """How many streaming calls have begun, and how many are over, in whatever way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.started = 0
        self.ended = 0

    def begin(self, context: Any) -> None:
        with self._lock:
            self.started += 1
        context.add_callback(self._ended)

    def _ended(self) -> None:
        with self._lock:
            self.ended += 1


def mirrored_metadata(context: Any) -> None:
    """Echo the metadata of the custom_metadata case: one key as initial, one as trailing metadata."""
    given = dict(context.invocation_metadata())
    initial = given.get("x-grpc-test-echo-initial")
    if initial is not None:
        context.send_initial_metadata((("x-grpc-test-echo-initial", initial),))
    trailing = given.get("x-grpc-test-echo-trailing-bin")
    if trailing is not None:
        context.set_trailing_metadata((("x-grpc-test-echo-trailing-bin", trailing),))


def fail_if_asked(meta: dict[str, Any], context: Any) -> None:
    if "status" in meta:
        code, message = meta["status"]
        codes = {code.value[0]: code for code in grpc.StatusCode}
        context.abort(codes[code], message)


class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    def __init__(self) -> None:
        self.calls = Calls()

    def service(self, details: Any) -> Any:
        name = details.method.removeprefix(f"/{SERVICE}/")
        codec = {"request_deserializer": decode, "response_serializer": encode}
        unary = {"EmptyCall": self.empty, "UnaryCall": self.unary, "Seen": self.seen}
        if name in unary:
            return grpc.unary_unary_rpc_method_handler(unary[name], **codec)
        if name == "StreamingInputCall":
            return grpc.stream_unary_rpc_method_handler(self.streaming_input, **codec)
        if name == "StreamingOutputCall":
            return grpc.unary_stream_rpc_method_handler(self.streaming_output, **codec)
        if name == "FullDuplexCall":
            return grpc.stream_stream_rpc_method_handler(self.full_duplex, **codec)
        return None

    def empty(self, request: Message, context: Any) -> Message:
        return {}, b""

    def seen(self, request: Message, context: Any) -> Message:
        return {"started": self.calls.started, "ended": self.calls.ended, "pid": os.getpid()}, b""

    def unary(self, request: Message, context: Any) -> Message:
        meta, payload = request
        mirrored_metadata(context)
        fail_if_asked(meta, context)
        if meta.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        got = {
            "got": len(payload),
            "metadata": [[k, v] for k, v in context.invocation_metadata() if isinstance(v, str)],
        }
        return got, bytes(meta.get("response_size", 0))

    def streaming_input(self, requests: Iterator[Message], context: Any) -> Message:
        self.calls.begin(context)
        total = sum(len(payload) for _, payload in requests)
        return {"aggregated_payload_size": total}, b""

    def streaming_output(self, request: Message, context: Any) -> Iterator[Message]:
        self.calls.begin(context)
        yield from self._outputs(request, context)

    def full_duplex(self, requests: Iterator[Message], context: Any) -> Iterator[Message]:
        self.calls.begin(context)
        mirrored_metadata(context)
        for request in requests:
            yield from self._outputs(request, context)

    def _outputs(self, request: Message, context: Any) -> Iterator[Message]:
        meta, payload = request
        fail_if_asked(meta, context)
        if meta.get("sleep"):
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait(meta["sleep"])
        for size in meta.get("sizes", []):
            yield {"got": len(payload)}, bytes(size)
        if meta.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)


def start(port: int) -> tuple[Any, int]:
    """A server that listens; port 0 chooses one."""
    server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Handlers(),))
    chosen = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, chosen


if __name__ == "__main__":
    running, _ = start(int(sys.argv[1] if len(sys.argv) > 1 else os.environ["PORT"]))
    signal.signal(signal.SIGTERM, lambda *_: running.stop(2))
    running.wait_for_termination()
