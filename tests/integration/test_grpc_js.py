"""gRPC's interoperability cases once more, with Node.js's client (@grpc/grpc-js); the cases are in interop.js."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.documents import ROOT
from tests.support.platform import Platform

FOLDER = ROOT / "tests" / "support" / "grpc_js"
CASES = re.findall(r"^  async (\w+)\(\) \{$", (FOLDER / "interop.js").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def problems(grpc_platform: Platform) -> dict[str, str | None]:
    """What went wrong in each case, or None."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("node and npm are missing; make test installs them")
    installed = subprocess.run(
        [ROOT / "tools" / "npm-ensure", FOLDER], stdout=subprocess.PIPE, text=True, check=True, timeout=100
    )
    host, port = grpc_platform.address
    run = subprocess.run(
        [node, FOLDER / "interop.js", f"{host}:{port}"],
        env={**os.environ, "NODE_PATH": str(Path(installed.stdout.strip()))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=100,
    )
    return {line["case"]: line["problem"] for line in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize("case", CASES)
def test_a_case_of_grpc_js_passes(case: str, problems: dict[str, str | None]) -> None:
    assert problems[case] is None, problems[case]


def test_every_case_ran(problems: dict[str, str | None]) -> None:
    assert list(problems) == CASES
    assert len(CASES) > 12
