"""gRPC's interoperability cases, with grpcio as the client and as the container's server, through the platform.

Source: github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.support.platform import Platform
from tests.support.programs.grpc_interop import SERVICE, Message, decode, encode
from tests.support.waiting import wait_until

LARGE = ({"response_size": 314_159}, bytes(271_828))
EMPTY: Message = ({}, b"")
SIZES = [31_415, 9, 2_653, 58_979]
UPLOADS = [27_182, 8, 1_828, 45_904]


class Client:
    """The service's methods, on one channel."""

    def __init__(self, channel: Any) -> None:
        codec = {"request_serializer": encode, "response_deserializer": decode}
        path = f"/{SERVICE}/"
        self.channel = channel
        self.empty = channel.unary_unary(path + "EmptyCall", **codec)
        self.unary = channel.unary_unary(path + "UnaryCall", **codec)
        self.seen = channel.unary_unary(path + "Seen", **codec)
        self.upload = channel.stream_unary(path + "StreamingInputCall", **codec)
        self.download = channel.unary_stream(path + "StreamingOutputCall", **codec)
        self.duplex = channel.stream_stream(path + "FullDuplexCall", **codec)
        self.missing = channel.unary_unary(path + "UnimplementedCall", **codec)
        self.nobody = channel.unary_unary("/interop.UnimplementedService/UnimplementedCall", **codec)


@pytest.fixture
def client(grpc_platform: Platform) -> Iterator[Client]:
    host, port = grpc_platform.address
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        yield Client(channel)


class Requests:
    """A stream of requests that a test feeds."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.put = self._queue.put

    def end(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._queue.get, None)


def failure(call: Callable[[], object]) -> Any:
    """The error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value


def test_empty_unary(client: Client) -> None:
    assert client.empty(EMPTY) == EMPTY


def test_large_unary(client: Client) -> None:
    meta, payload = client.unary(LARGE)
    assert (meta["got"], payload) == (271_828, bytes(314_159))


def test_client_streaming(client: Client) -> None:
    answer, _ = client.upload(iter([({}, bytes(size)) for size in UPLOADS]))
    assert answer == {"aggregated_payload_size": sum(UPLOADS)}


def test_server_streaming(client: Client) -> None:
    assert [len(payload) for _, payload in client.download(({"sizes": SIZES}, b""))] == SIZES


def test_ping_pong(client: Client) -> None:
    requests = Requests()
    answers = client.duplex(iter(requests), timeout=20)
    for size, upload in zip(SIZES, UPLOADS, strict=True):
        requests.put(({"sizes": [size]}, bytes(upload)))
        meta, payload = next(answers)
        assert (meta["got"], len(payload)) == (upload, size)
    requests.end()
    assert list(answers) == []
    assert answers.code() == grpc.StatusCode.OK


def test_empty_stream(client: Client) -> None:
    assert list(client.duplex(iter(()))) == []


def test_cancel_after_begin(client: Client) -> None:
    before = client.seen(EMPTY)[0]
    requests = Requests()
    call = client.upload.future(iter(requests))
    wait_until(lambda: client.seen(EMPTY)[0]["started"] > before["started"], "the call has begun")
    call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED
    wait_until(lambda: client.seen(EMPTY)[0]["ended"] > before["ended"], "the server has heard of it")
    requests.end()


def test_cancel_after_first_response(client: Client) -> None:
    before = client.seen(EMPTY)[0]
    requests = Requests()
    requests.put(({"sizes": [31_415]}, bytes(27_182)))
    call = client.duplex(iter(requests))
    assert len(next(call)[1]) == 31_415
    call.cancel()
    assert failure(lambda: next(call)).code() == grpc.StatusCode.CANCELLED
    wait_until(lambda: client.seen(EMPTY)[0]["ended"] > before["ended"], "the server has heard of it")
    requests.end()


def test_timeout_on_sleeping_server(client: Client) -> None:
    before = client.seen(EMPTY)[0]
    requests = Requests()
    requests.put(({"sleep": 30}, bytes(27_182)))
    call = client.duplex(iter(requests), timeout=0.2)
    assert failure(lambda: next(call)).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: client.seen(EMPTY)[0]["ended"] > before["ended"], "the server has heard of it")
    requests.end()


def test_status_code_and_message(client: Client) -> None:
    asked: Message = ({"status": [2, "test status message"]}, b"")
    error = failure(lambda: client.unary(asked))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "test status message")
    error = failure(lambda: list(client.duplex(iter([asked]))))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "test status message")


def test_special_status_message(client: Client) -> None:
    message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n 100 %"
    error = failure(lambda: client.unary(({"status": [2, message]}, b"")))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, message)


def test_unimplemented_method(client: Client) -> None:
    assert failure(lambda: client.missing(EMPTY)).code() == grpc.StatusCode.UNIMPLEMENTED


def test_unimplemented_service(client: Client) -> None:
    assert failure(lambda: client.nobody(EMPTY)).code() == grpc.StatusCode.UNIMPLEMENTED


METADATA = (
    ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
    ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab\x00\x0a"),
)


def test_custom_metadata_of_a_unary_call(client: Client) -> None:
    (meta, payload), call = client.unary.with_call(LARGE, metadata=METADATA)
    assert (meta["got"], len(payload)) == (271_828, 314_159)
    assert dict(call.initial_metadata())[METADATA[0][0]] == METADATA[0][1]
    assert dict(call.trailing_metadata())[METADATA[1][0]] == METADATA[1][1]


def test_custom_metadata_of_a_stream(client: Client) -> None:
    call = client.duplex(iter([({"sizes": [314_159]}, bytes(271_828))]), metadata=METADATA)
    assert [len(payload) for _, payload in call] == [314_159]
    assert dict(call.initial_metadata())[METADATA[0][0]] == METADATA[0][1]
    assert dict(call.trailing_metadata())[METADATA[1][0]] == METADATA[1][1]


def test_the_container_hears_on_whose_behalf_it_is_called(client: Client) -> None:
    meta, _ = client.unary(EMPTY)
    metadata = dict(meta["metadata"])
    assert metadata["x-forwarded-for"] == "127.0.0.1"
    assert metadata["x-forwarded-proto"] == "http"


def test_many_calls_at_once_share_what_there_is(client: Client) -> None:
    calls = [client.unary.future(({"response_size": number}, bytes(number))) for number in range(300)]
    assert [(meta["got"], len(payload)) for meta, payload in (call.result(timeout=60) for call in calls)] == [
        (number, number) for number in range(300)
    ]


# --- what the platform itself answers


def of_case(case: str) -> tuple[tuple[str, str], ...]:
    return (("x-case", case),)


def test_a_container_that_cannot_start_is_unavailable(client: Client) -> None:
    error = failure(lambda: client.empty(EMPTY, metadata=of_case("dies")))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "The container failed to start.")


def test_a_deadline_that_passes_while_the_container_starts_is_told(client: Client) -> None:
    error = failure(lambda: client.empty(EMPTY, timeout=0.3, metadata=of_case("never-listens")))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_container_that_speaks_http_1_is_unavailable(client: Client) -> None:
    error = failure(lambda: client.empty(EMPTY, metadata=of_case("http1")))
    assert error.code() == grpc.StatusCode.UNAVAILABLE


def test_a_worker_that_raises_is_an_unknown_error_that_tells_nothing(client: Client) -> None:
    error = failure(lambda: client.empty(EMPTY, metadata=of_case("raises")))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "The worker raised an error.")


def test_a_container_that_dies_ends_its_calls_as_unavailable_and_the_next_one_starts_it(client: Client) -> None:
    before = client.seen(EMPTY)[0]["pid"]
    error = failure(lambda: client.unary(({"die": True}, b"")))
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert client.seen(EMPTY, wait_for_ready=True)[0]["pid"] != before


def test_a_container_that_dies_in_the_middle_of_a_stream_ends_it_as_unavailable(client: Client) -> None:
    call = client.download(({"sizes": [10], "die": True}, b""))
    assert len(next(call)[1]) == 10
    assert failure(lambda: next(call)).code() == grpc.StatusCode.UNAVAILABLE
