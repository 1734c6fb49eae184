"""The platform's certificate: what is refused, and what becomes of files that change. Handshakes are in memory."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from moorings.clock import ManualClock
from moorings.errors import ConfigError
from moorings.observer import Notice, Recorder
from moorings.server.certificates import LOOK_EVERY, Certificates
from moorings.server.options import Mode, PlatformOptions
from tests.support.certificates import Pair, make_pair


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path)


def certificates(cert: Path | None, key: Path | None) -> tuple[Certificates, ManualClock, Recorder]:
    clock, observer = ManualClock(), Recorder()
    options = PlatformOptions(Path("worker.py"), Mode.SERVE, tls_cert=cert, tls_key=key)
    return Certificates(options, clock=clock, observer=observer), clock, observer


def notices(observer: Recorder) -> list[tuple[str, str]]:
    return [(event.level, event.message) for event in observer.events if isinstance(event, Notice)]


def shown(used: Certificates, *alpn: str) -> tuple[bytes | None, str | None]:
    """The certificate and the protocol that a new connection gets."""
    assert used.context is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(alpn or ("h2", "http/1.1"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server)
    server = used.context.wrap_bio(to_server, to_client, server_side=True)
    left = [client, server]
    while left:
        for side in list(left):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            left.remove(side)
    return client.getpeercert(binary_form=True), client.selected_alpn_protocol()


def refusal(cert: Path | None, key: Path | None) -> str:
    with pytest.raises(ConfigError) as raised:
        certificates(cert, key)
    return str(raised.value)


def test_a_client_that_offers_both_gets_http2_and_one_that_does_not_http1(pair: Pair) -> None:
    used, _, _ = certificates(pair.certificate, pair.key)
    assert shown(used) == (pair.der, "h2")
    assert shown(used, "http/1.1") == (pair.der, "http/1.1")


async def test_without_options_there_is_no_tls() -> None:
    used, _, _ = certificates(None, None)
    used.start()
    used.stop()
    assert (used.context, used.scheme) == (None, "http")


def test_what_is_not_a_pair_is_refused_with_the_reason(pair: Pair, tmp_path: Path) -> None:
    other = make_pair(tmp_path, "other")
    nothing = tmp_path / "nothing.pem"
    text = tmp_path / "text.pem"
    text.write_text("not PEM")
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", str(pair.key), "-aes256", "-passout", "pass:word", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    assert "--tls-cert needs --tls-key" in refusal(pair.certificate, None)
    assert "--tls-key needs --tls-cert" in refusal(None, pair.key)
    assert f"certificate {nothing} can't be read: No such file" in refusal(nothing, pair.key)
    assert f"key {nothing} can't be read: No such file" in refusal(pair.certificate, nothing)
    assert "is not that of the certificate" in refusal(pair.certificate, other.key)
    assert f"certificate {text} has no PEM certificate" in refusal(text, pair.key)
    assert f"key {text} has no PEM private key" in refusal(pair.certificate, text)
    assert "has a password" in refusal(pair.certificate, locked)


async def test_files_that_change_are_loaded_anew(pair: Pair, tmp_path: Path) -> None:
    used, clock, observer = certificates(pair.certificate, pair.key)
    used.start()
    before = pair.der
    await clock.advance(5 * LOOK_EVERY)
    assert notices(observer) == []
    pair.replace(make_pair(tmp_path, "next"))
    assert shown(used)[0] == before
    await clock.advance(2 * LOOK_EVERY)
    assert shown(used) == (pair.der, "h2")
    assert pair.der != before
    assert [level for level, _ in notices(observer)] == ["info"]
    used.stop()


async def test_a_pair_that_does_not_load_is_told_once_and_the_one_before_is_kept(pair: Pair, tmp_path: Path) -> None:
    used, clock, observer = certificates(pair.certificate, pair.key)
    used.start()
    before = pair.der
    following = make_pair(tmp_path, "next")
    following.certificate.replace(pair.certificate)
    await clock.advance(10 * LOOK_EVERY)
    ((level, message),) = notices(observer)
    assert level == "error"
    assert "is not that of the certificate" in message
    assert "loaded before" in message
    assert shown(used)[0] == before
    following.key.replace(pair.key)
    await clock.advance(2 * LOOK_EVERY)
    assert shown(used)[0] == pair.der
    pair.key.unlink()
    await clock.advance(10 * LOOK_EVERY)
    assert [level for level, _ in notices(observer)] == ["error", "info", "error"]
    assert shown(used)[0] == pair.der
    used.stop()
