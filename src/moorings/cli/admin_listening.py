"""``--admin-listen`` and its token: an address for programs that pull messages, which never goes without a token."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

TOKEN_VARIABLE: Final = "MOORINGS_ADMIN_TOKEN"


class HostPort(click.ParamType[tuple[str, int]]):
    """An address and a port."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """The address and the port. Fails as a usage error."""
        from moorings.config.addresses import host_and_port

        try:
            return value if isinstance(value, tuple) else host_and_port(value)
        except ValueError:
            self.fail(f"{value!r} is no address with a port; write 127.0.0.1:8788.", param, ctx)


def admin_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with ``admin_token`` in place of its file. Raises ClickException where it is missing."""
    rest = dict(options)
    file: Path | None = rest.pop("admin_token_file", None)
    if rest.get("admin_listen") is None:
        return rest
    try:
        token = os.environ.get(TOKEN_VARIABLE, "") if file is None else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"--admin-token-file {file} can't be read: {error}") from None
    if not token.strip():
        where = f"in the variable {TOKEN_VARIABLE}" if file is None else f"in the file {file}"
        raise click.ClickException(
            f"--admin-listen needs a token, and there is none {where}: whoever has it may take messages out of queues. "
            "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > admin-token, and give "
            "--admin-token-file admin-token"
        )
    return {**rest, "admin_token": token.strip()}
