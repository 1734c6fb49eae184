"""What ``moorings queue`` and ``--admin-listen`` say before any platform is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from moorings.cli.commands import moorings

WORKER = "from moorings import WorkerEntrypoint\nclass Default(WorkerEntrypoint): pass\n"


def test_the_help_teaches() -> None:
    text = CliRunner().invoke(moorings, ["queue", "--help"]).output
    for command in ("ls", "send", "peek", "pause", "resume", "purge", "retry-dlq"):
        assert f"  {command} " in text
        assert "--json" in CliRunner().invoke(moorings, ["queue", command, "--help"]).output


@pytest.mark.parametrize("file", [None, "empty", "missing"])
def test_pulling_needs_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str | None) -> None:
    monkeypatch.delenv("MOORINGS_ADMIN_TOKEN", raising=False)
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "empty").write_text("\n")
    arguments = ["serve", str(tmp_path / "worker.py"), "--admin-listen", "127.0.0.1:0"]
    done = CliRunner().invoke(
        moorings, [*arguments, *([] if file is None else ["--admin-token-file", str(tmp_path / file)])]
    )
    assert done.exit_code == 1
    assert ("can't be read" if file == "missing" else "--admin-listen needs a token") in done.output


@pytest.mark.parametrize("address", ["8788", "localhost", "localhost:70000", ":8788", "::1:80"])
def test_an_address_to_pull_at_has_a_host_and_a_port(tmp_path: Path, address: str) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    done = CliRunner().invoke(moorings, ["serve", str(tmp_path / "worker.py"), "--admin-listen", address])
    assert done.exit_code == 2
    assert "127.0.0.1:8788" in done.output
