"""The tutorial, done word for word: its files are written, its commands run, its output compared.

Numbers are compared as numbers: process ids and milliseconds differ from one machine to the next.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sysconfig
from pathlib import Path

from tests.support.documents import DOCS, Block, blocks
from tests.support.platform import Mode, Platform
from tests.support.raw import exchange, request

TUTORIAL = DOCS / "tutorial" / "first-container.md"
PORT = "8787"


def any_number(line: str) -> str:
    """A pattern for a line of output, in which the numbers of milliseconds may differ."""
    return "^" + re.sub(r"[0-9]+(?=\\ ms)", "[0-9]+", re.escape(line.rstrip())) + r"\s*$"


async def curl(platform: Platform, command: str) -> str:
    """What curl would print: -d and -H are understood."""
    words = shlex.split(command)[1:]
    method, headers, body = "GET", {}, None
    while words[0].startswith("-"):
        option, value = words.pop(0), words.pop(0)
        if option == "-d":
            method, body = "POST", value.encode()
        else:
            assert option == "-H", command
            name, _, content = value.partition(": ")
            headers[name] = content
    [url] = words
    target = url.removeprefix(f"http://127.0.0.1:{PORT}")
    answer = await exchange(platform.address, request(method, target, headers, body), method=method)
    return answer.text()


def parts(block: Block) -> list[tuple[str, list[str]]]:
    """The commands of a block, each with the lines it is said to print; '' for lines without a command."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            if not found:
                found.append(("", []))
            found[-1][1].append(line)
    return found


def substitute(command: str, folder: Path) -> None:
    """``sed -i 's/old/new/' file``."""
    program, flag, script, name = shlex.split(command)
    assert (program, flag) == ("sed", "-i"), command
    _, old, new, _ = script.split("/")
    text = (folder / name).read_text()
    assert old in text, command
    (folder / name).write_text(text.replace(old, new))


async def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "tutorial"
    steps = blocks(TUTORIAL)
    for block in steps:
        if block.language == "python":
            path = folder / block.note
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    consoles = [block for block in steps if block.language == "console"]
    assert parts(consoles[0])[0][0] == "moorings dev"
    with Platform(folder / "worker.py", tmp_path / "platform", mode=Mode.DEV) as platform:
        for block in consoles:
            for command, printed in parts(block):
                if command.startswith("curl "):
                    assert (await curl(platform, command)).rstrip() == "\n".join(printed).rstrip(), command
                elif command.startswith("sed "):
                    substitute(command, folder)
                else:
                    if any(line.startswith("stopping ") for line in printed):
                        interrupt(platform)
                    for line in printed:
                        platform.wait_for_output(any_number(line).replace(PORT, str(platform.address[1])))


def interrupt(platform: Platform) -> None:
    """Ctrl-C."""
    os.kill(platform.pid, signal.SIGINT)


def test_the_tutorials_command_is_installed() -> None:
    assert (Path(sysconfig.get_path("scripts")) / "moorings").exists()
