"""TLS and HTTP/2 as clients in the field speak them: curl, nghttp, grpcio and websockets, to programs in containers."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from websockets.asyncio.client import connect

from tests.integration.conftest import APPS
from tests.support.certificates import Pair, make_pair
from tests.support.cli import moorings
from tests.support.http2 import CANCEL, END_HEADERS, END_STREAM, GET, HEADERS, RST_STREAM, block, connected, frame
from tests.support.platform import Platform
from tests.support.programs.grpc_interop import SERVICE, decode, encode
from tests.support.raw import get
from tests.support.waiting import eventually, wait_until

APP = APPS / "secure.py"
SIZE = 3_000_000


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def secure(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform with TLS."""
    with Platform(APP, tmp_path_factory.mktemp("secure") / "platform", options=pair.options) as platform:
        yield platform


@pytest.fixture(scope="module")
def clear(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform without."""
    with Platform(APP, tmp_path_factory.mktemp("clear") / "platform") as platform:
        yield platform


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, (done.args, done.stderr.decode())
    return done.stdout.decode()


def curl(*arguments: str) -> tuple[str, str]:
    """The body, and the version of HTTP that was spoken."""
    body, _, version = run("curl", "-sS", "--noproxy", "*", "-w", "\n%{http_version}", *arguments).rpartition("\n")
    return body, version


def url(platform: Platform, path: str, scheme: str = "https") -> str:
    return f"{scheme}://localhost:{platform.address[1]}{path}"


def forwarded(body: str) -> list[str]:
    """What a container was told of the scheme that the client used."""
    return [value for name, value in json.loads(body)["headers"] if name.lower() == "x-forwarded-proto"]


@pytest.mark.parametrize(("option", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
def test_curl_chooses_the_version_by_alpn_and_the_container_hears_of_https(
    option: str, version: str, secure: Platform, pair: Pair
) -> None:
    trust = ("--cacert", str(pair.certificate), option)
    body, spoken = curl(*trust, "-d", "some=body", url(secure, "/headers"))
    assert spoken == version
    assert forwarded(body) == ["https"]
    assert json.loads(body)["body"] == "some=body"
    assert curl(*trust, url(secure, "/-/url"))[0] == url(secure, "/-/url")


@pytest.mark.parametrize("option", ["--http2", "--http1.1"])
def test_large_bodies_pass_both_ways_over_tls(option: str, secure: Platform, pair: Pair, tmp_path: Path) -> None:
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(bytes(range(256)) * (SIZE // 256))
    trust = ("--cacert", str(pair.certificate), option)
    curl(*trust, "--data-binary", f"@{sent}", "-o", str(got), url(secure, "/echo"))
    assert got.read_bytes() == sent.read_bytes()


def test_curl_with_prior_knowledge_needs_no_tls(clear: Platform) -> None:
    body, version = curl("--http2-prior-knowledge", "-d", "some=body", url(clear, "/headers", "http"))
    assert (forwarded(body), json.loads(body)["body"], version) == (["http"], "some=body", "2")


def test_nghttp_gets_many_streams_of_one_connection_whole(clear: Platform, secure: Platform) -> None:
    for target in (url(clear, "/big?size=100000", "http"), url(secure, "/big?size=100000")):
        output = run("nghttp", "--no-verify-peer", "-nsm", "20", target)
        rows = [line.split() for line in output.splitlines() if "/big" in line]
        assert [row[-3:-1] for row in rows] == [["200", "97K"]] * 20, output


def test_grpc_calls_pass_over_tls(secure: Platform, pair: Pair) -> None:
    credentials = grpc.ssl_channel_credentials(pair.certificate.read_bytes())
    with grpc.secure_channel(f"localhost:{secure.address[1]}", credentials) as channel:
        path, codec = f"/{SERVICE}/", {"request_serializer": encode, "response_deserializer": decode}
        meta, payload = channel.unary_unary(path + "UnaryCall", **codec)(
            ({"response_size": 31_415}, b"123"), timeout=20
        )
        assert (meta["got"], len(payload)) == (3, 31_415)
        echo = channel.stream_stream(path + "FullDuplexCall", **codec)
        answers = echo(iter([({"sizes": [9]}, b"1"), ({"sizes": [8]}, b"2")]), timeout=20)
        assert [len(payload) for _, payload in answers] == [9, 8]


async def test_websockets_pass_over_tls(secure: Platform, pair: Pair) -> None:
    address = f"wss://localhost:{secure.address[1]}/"
    async with connect(address, ssl=pair.client("http/1.1"), proxy=None, compression=None) as websocket:
        for message in ("hello", bytes(100_000)):
            await websocket.send(message)
            assert await websocket.recv() == message
    assert websocket.close_code == 1000


async def test_a_client_that_leaves_a_websocket_over_tls_is_nothing_to_warn_of(secure: Platform, pair: Pair) -> None:
    address = f"wss://localhost:{secure.address[1]}/"
    for _ in range(2):  # the second one's answer comes after the end of the first one
        websocket = await connect(address, ssl=pair.client("http/1.1"), proxy=None)
        await websocket.send("hello")
        assert await websocket.recv() == "hello"
        websocket.transport.close()
        await websocket.wait_closed()
    assert "eof_received" not in secure.output


async def test_an_open_stream_keeps_its_container_awake_and_its_end_lets_it_sleep(clear: Platform) -> None:
    async def status(name: str) -> str:
        return str((await get(clear.address, "/-/state", {"X-Doze": name})).json()["status"])

    async def asleep(name: str) -> bool:
        return await status(name) in ("stopped", "stopped_with_code")

    async with connected(clear.address[1]) as client:
        fields = block((*GET[:2], (b":path", b"/stream?hold=on"), GET[3], (b"x-doze", b"held")))
        await client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, fields))
        assert (await client.head()).status == 200
        for name in ("first", "second"):  # each of them sleeps after the time that this one would sleep after
            assert (await get(clear.address, "/pid", {"X-Doze": name})).status == 200
            await eventually(functools.partial(asleep, name), "the other container sleeps")
            assert await status("held") == "healthy"
        await client.send(frame(RST_STREAM, 0, 1, CANCEL.to_bytes(4, "big")))
        await eventually(functools.partial(asleep, "held"), "the container sleeps")


def test_a_certificate_that_is_replaced_is_served(secure: Platform, pair: Pair, tmp_path: Path) -> None:
    before = pair.der
    pair.replace(make_pair(tmp_path))
    assert pair.der != before

    def served() -> bool:
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(secure.address)) == pair.der

    wait_until(served, "the new certificate is served", within=20.0)
    assert re.search(r"https://127\.0\.0\.1:\d+", secure.output)


def test_a_client_that_speaks_no_tls_or_only_begins_to_hurts_nobody(secure: Platform, pair: Pair) -> None:
    with contextlib.closing(socket.create_connection(secure.address)) as silent:
        silent.sendall(b"\x16\x03\x01")
        failed = subprocess.run(
            ["curl", "-sS", "--noproxy", "*", url(secure, "/pid", "http")], capture_output=True, timeout=30, check=False
        )
        assert failed.returncode != 0
        assert curl("--cacert", str(pair.certificate), url(secure, "/pid"))[1] == "2"
    assert "Traceback" not in secure.output


def test_a_certificate_that_cannot_be_used_is_told_in_one_sentence(pair: Pair, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    common = ["serve", str(APP), "--port", "0", "--data-dir", str(tmp_path / "data")]
    failed = moorings(*common, "--tls-cert", missing, "--tls-key", str(pair.key))
    assert failed.returncode == 1
    assert failed.stderr == f"Error: the TLS certificate {missing} can't be read: No such file or directory\n"
