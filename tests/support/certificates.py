"""Self-signed certificates for localhost, as openssl makes them."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    @property
    def options(self) -> list[str]:
        """As the command line takes them."""
        return ["--tls-cert", str(self.certificate), "--tls-key", str(self.key)]

    @property
    def der(self) -> bytes:
        """The certificate as a client gets to see it."""
        return ssl.PEM_cert_to_DER_cert(self.certificate.read_text())

    def client(self, *alpn: str) -> ssl.SSLContext:
        """What a client needs that trusts this certificate alone, and offers these protocols."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def replace(self, other: Pair) -> None:
        """Put another pair in the place of this one."""
        other.certificate.replace(self.certificate)
        other.key.replace(self.key)


def make_pair(folder: Path, name: str = "tls") -> Pair:
    """A new pair of its own key, for localhost and 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [*command, "-keyout", str(pair.key), "-out", str(pair.certificate)], check=True, capture_output=True, timeout=30
    )
    return pair
