"""The table beside the corpus: what Moorings and nginx answer to each message.

``python -m tests.integration.malformed.table`` writes it anew, with nginx installed; the tests compare what they see
with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.integration.malformed.bodies import MAX_BODY
from tests.integration.malformed.case import Case
from tests.integration.malformed.corpus import MALFORMED
from tests.integration.malformed.observe import reached
from tests.support.nginx import find_nginx, nginx_before, nginx_version
from tests.support.platform import Platform
from tests.support.processes import free_port, program
from tests.support.raw import Address, Answer, Connection, Truncated

PROGRAM = Path(__file__).parents[2] / "support" / "programs" / "many_routes.py"
WORKER = Path(__file__).parents[1] / "apps" / "one_container.py"
OPTIONS = ("--max-body", str(MAX_BODY))
TABLE = Path(__file__).with_name("answers.md")

_INTRODUCTION = """\
# What becomes of malformed requests

Each message of `corpus.py`, sent in one piece to Moorings and to nginx {version}, in front of the same program, with
request bodies limited to 1 MiB. A cell has the status of the answer, and "reached n" where n requests, complete or not,
reached the program. Moorings closes the connection after each of them. Written by
`python -m tests.integration.malformed.table`.

| message | what is wrong | Moorings | nginx {version} |
|---|---|---|---|
"""


async def cell(address: Address, case: Case) -> str:
    """What ``address`` makes of ``case``: ``400``, ``200, reached 1``, ``no answer`` ..."""
    await reached(address)
    answer: Answer | None = None
    with await Connection.open(address, timeout=1.0) as connection:
        await connection.offer(case.data)
        with contextlib.suppress(Truncated, TimeoutError):
            answer = await connection.receive()
    seen = len(await reached(address))
    status = str(answer.status) if answer is not None else "no answer"
    return f"{status}, reached {seen}" if seen else status


@contextlib.contextmanager
def nginx_and_program(folder: Path) -> Iterator[Address]:
    """nginx in front of the recording program."""
    port = free_port()
    env = {"PATH": os.environ["PATH"], "PORT": str(port)}
    with (
        program([sys.executable, str(PROGRAM)], port, env=env, log=folder / "program.out") as upstream,
        nginx_before(upstream, folder, max_body=MAX_BODY) as address,
    ):
        yield address


def read() -> tuple[str, dict[str, tuple[str, str]]]:
    """nginx's version, and by name of the message the cells of Moorings and of nginx."""
    rows = [line.strip("|").split("|") for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    header, *lines = [[cell.strip() for cell in row] for row in rows]
    return header[3].removeprefix("nginx "), {name: (ours, theirs) for name, _, ours, theirs in lines}


def write(version: str, cells: dict[str, tuple[str, str]]) -> None:
    """Write the table, in the corpus's order."""
    lines = [f"| {case.name} | {case.why} | {cells[case.name][0]} | {cells[case.name][1]} |" for case in MALFORMED]
    TABLE.write_text(_INTRODUCTION.format(version=version) + "\n".join(lines) + "\n")


async def _cells(address: Address) -> dict[str, str]:
    return {case.name: await cell(address, case) for case in MALFORMED}


def main() -> None:
    """Ask both, and write the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with nginx_and_program(folder) as address:
            theirs = asyncio.run(_cells(address))
        with Platform(WORKER, folder / "platform", options=OPTIONS) as platform:
            ours = asyncio.run(_cells(platform.address))
    write(nginx_version(find_nginx()), {name: (ours[name], theirs[name]) for name in theirs})


if __name__ == "__main__":
    main()
