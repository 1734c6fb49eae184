"""The folder of an image that has the bench's upstream program and next to nothing to start with it."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.harness.case import Bench

_DOCKERFILE = 'FROM python:3.11-slim\nCOPY upstream /upstream\nCMD ["/upstream", "3000"]\n'


def upstream_image(bench: Bench, name: str) -> Path:
    """A folder to build from, called ``name``, beside the compiled program."""
    folder = bench.compiled("upstream").parent / name
    folder.mkdir(exist_ok=True)
    shutil.copy(bench.site.upstream, folder / "upstream")
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    return folder
