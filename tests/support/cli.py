"""The command line, run to its end."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "moorings")


def moorings(*arguments: str, cwd: Path | None = None, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run it and return what it printed and its exit code."""
    done = subprocess.run([PROGRAM, *arguments], cwd=cwd, capture_output=True, input=stdin, timeout=60, check=False)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
