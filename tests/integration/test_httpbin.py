"""What httpbin answers through the platform is what it answers directly, to the byte.

Each exchange is sent once to a gunicorn of its own and once through the platform. The proxy's headers are not cut out
of what httpbin echoes: the direct request carries those that the platform has to add, so they are compared as well.
"""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.conftest import APPS, NGINX_IS_FRONT
from tests.integration.httpbin_exchanges import EXCHANGES, HOST, Exchange
from tests.support.nginx import nginx_before
from tests.support.platform import Platform
from tests.support.processes import free_port, program
from tests.support.raw import Address, Answer, exchange

# What a proxy adds to a request; sent along on the direct way. ``origin`` in httpbin's answers is X-Forwarded-For.
ADDED_BY_THE_PROXY = (
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Host", HOST),
)

# Headers that concern one connection only (RFC 9110, 7.6.1): each hop has its own.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What may differ between two answers to the same request: in ``where``, the text that ``pattern`` finds."""

    target: str
    where: str
    pattern: str
    reason: str


ANYTHING = ""
NORMALISED: tuple[Normalisation, ...] = (
    Normalisation(ANYTHING, "date", ".*", "the second in which httpbin answered"),
    Normalisation("/uuid", "body", "[0-9a-f-]{36}", "random"),
    Normalisation("/cache", "last-modified", ".*", "the second in which httpbin answered"),
    Normalisation("/cache", "etag", ".*", "random"),
    Normalisation("/digest-auth", "www-authenticate", '(?<=nonce=")[0-9a-f]+', "random"),
    Normalisation("/digest-auth", "www-authenticate", '(?<=opaque=")[0-9a-f]+', "random"),
)
if NGINX_IS_FRONT:
    NORMALISED += (Normalisation(ANYTHING, "server", ".*", "nginx puts its own"),)


@dataclass(frozen=True, slots=True)
class Ways:
    """The two ways to httpbin."""

    direct: Address
    platform: Address


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    folder = tmp_path_factory.mktemp("httpbin")
    port = free_port()
    scripts = sysconfig.get_path("scripts")
    command = [str(Path(scripts) / "gunicorn"), "-w", "1", "--threads", "8", "-b", f"127.0.0.1:{port}", "httpbin:app"]
    env = {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PYTHONHASHSEED": "0"}
    with program(command, port, env=env, log=folder / "direct.out") as direct:
        if NGINX_IS_FRONT:
            with nginx_before(direct, folder) as address:
                yield Ways(direct, address)
        else:
            with Platform(APPS / "httpbin_behind.py", folder / "platform") as platform:
                yield Ways(direct, platform.address)


def normalised(sent: Exchange, answer: Answer) -> tuple[list[tuple[str, str]], bytes]:
    """The end-to-end headers, sorted by name (the order of same-named ones kept), and the body, after NORMALISED."""
    rules = [rule for rule in NORMALISED if sent.target.startswith(rule.target)]
    headers = []
    for name, value in answer.headers:
        if name.lower() in HOP_BY_HOP:
            continue
        for rule in rules:
            if rule.where == name.lower():
                value = re.sub(rule.pattern, "*", value)
        headers.append((name, value))
    body = answer.body
    for rule in rules:
        if rule.where == "body":
            body = re.sub(rule.pattern.encode(), b"*", body)
    return sorted(headers, key=lambda header: header[0].lower()), body


def test_at_least_forty_endpoints_are_compared() -> None:
    assert len({(sent.method, sent.target.split("?")[0]) for sent in EXCHANGES}) >= 40
    assert len({sent.name for sent in EXCHANGES}) == len(EXCHANGES)


@pytest.mark.parametrize("sent", EXCHANGES, ids=lambda sent: sent.name)
async def test_httpbin_answers_the_same_through_the_platform(ways: Ways, sent: Exchange) -> None:
    direct = await exchange(ways.direct, sent.to_bytes(ADDED_BY_THE_PROXY), method=sent.method)
    assert direct.status == sent.status, direct
    through = await exchange(ways.platform, sent.to_bytes(), method=sent.method)
    assert through.status == direct.status, through
    assert normalised(sent, through) == normalised(sent, direct)
    assert through.head.reason == direct.head.reason
