"""TLS for the server: a context that speaks HTTP/2 and HTTP/1.1, and goes by whatever pair of files was loaded last.

A connection gets its certificate at the handshake: the context that listens asks for the one loaded last by a callback
on the ClientHello. So a new pair is used at once and as a whole, connections that are open keep theirs, and a pair that
doesn't load changes nothing.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from moorings.errors import ConfigError

ALPN: Final = ("h2", "http/1.1")
"""What is offered, the preferred first (RFC 7301; RFC 9113, 3.2)."""

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: those that RFC 9113, appendix A leaves


class ServerTls:
    """A certificate and its key, from PEM files: the certificate's file has its chain as well."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load them. Raises ConfigError where that can't be done."""
        self.certificate = certificate
        self.key = key
        self._current = _context(certificate, key)
        self.context = _context(certificate, key)
        """The context to listen with."""
        self.context.sni_callback = self._choose  # called without a server name as well

    def reload(self) -> None:
        """Use the files as they are now for new connections. Raises ConfigError, and goes on with the pair before."""
        self._current = _context(self.certificate, self.key)

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9113, 9.2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(ALPN)
    for file, what in ((certificate, "certificate"), (key, "key")):
        try:
            with file.open("rb"):
                pass
        except OSError as error:
            raise ConfigError(f"the TLS {what} {file} can't be read: {error.strerror or error}") from None
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Encrypted:
        step = f"write it without, as by: openssl pkey -in {key} -out plain.key"
        raise ConfigError(f"the TLS key {key} has a password, which nobody is there to give; {step}") from None
    except OSError as error:
        raise ConfigError(_why_not(certificate, key, error)) from None
    return context


class _Encrypted(Exception):  # a signal between two functions
    pass


def _no_password() -> str:
    raise _Encrypted


def _why_not(certificate: Path, key: Path, error: OSError) -> str:
    """What is wrong with a pair that doesn't load, in words."""
    reason = getattr(error, "reason", None) or str(error)
    if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return f"the TLS key {key} is not that of the certificate {certificate}: give the two that were made together"
    if b"-----BEGIN CERTIFICATE-----" not in certificate.read_bytes():
        return f"the TLS certificate {certificate} has no PEM certificate (-----BEGIN CERTIFICATE-----)"
    if b"PRIVATE KEY-----" not in key.read_bytes():
        return f"the TLS key {key} has no PEM private key (-----BEGIN PRIVATE KEY-----)"
    return f"the TLS certificate {certificate} and its key {key} can't be used: {reason.replace('_', ' ').lower()}"
