"""What strace saw: which acknowledgement left the process before the sync that covers its write.

Every write has a mark of its own, which is found in the bytes of the log's pages and in the bytes of the answer: the
order of a mark's write, of the sync that begins after it, and of the first bytes on TCP that carry it, is all there is
to check.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CALLS = "fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg"
SLOW_DISK = "inject=fdatasync:delay_enter=20000"  # microseconds: whoever does not wait for the disk is ahead of it
COMMAND = ("strace", "-D", "-f", "-yy", "-tt", "-s", "8192", "-e", f"trace={CALLS}", "-e", SLOW_DISK)
"""The traced program is the direct child; the tracer stands beside it, and ends after it."""

_CALL = re.compile(r"^(\d+) +[\d:.]+ (?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_DESCRIPTOR = re.compile(r"^(\d+)<(.*?)>[,)\s]", re.DOTALL)
_SUCCEEDED = re.compile(r"= 0(?: \(DELAYED\))?\s*$")
_MARK = re.compile(r"mark-[0-9a-z-]+-end")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call; ``began`` and ``ended`` are positions in the trace. ``target`` is what its descriptor is."""

    name: str
    target: str
    text: str
    began: int
    ended: int


def calls(trace: str) -> Iterator[Call]:
    """The calls that ended, in that order."""
    unfinished: dict[str, tuple[int, str, str]] = {}
    for position, line in enumerate(trace.splitlines()):
        found = _CALL.match(line)
        if found is None:
            continue
        thread, resumed, begun, rest = found.groups()
        if begun is not None:
            if rest.endswith(_UNFINISHED):
                unfinished[thread] = (position, begun, rest[: -len(_UNFINISHED)] + " ")
                continue
            began, name, text = position, begun, rest
        elif thread in unfinished:
            began, name, text = unfinished.pop(thread)
            assert name == resumed, line
            text += rest
        else:
            continue
        descriptor = _DESCRIPTOR.match(text)
        yield Call(name, descriptor[2] if descriptor else "", text, began, position)


@dataclass(frozen=True, slots=True)
class Findings:
    """The marks that were written and acknowledged, and those of them that were acknowledged too early."""

    marks: frozenset[str]
    early: frozenset[str]


def check(trace: str) -> Findings:
    """Follow every mark that reached a client."""
    written: dict[str, tuple[str, int]] = {}  # mark -> the log, and when its first write ended
    covered: dict[str, int] = {}  # mark -> when the sync had ended
    sent: dict[str, int] = {}  # mark -> when the first bytes with it began to leave
    waiting: dict[str, set[str]] = {}
    for call in calls(trace):
        if call.name == "pwrite64" and call.target.endswith("-wal"):
            for mark in _MARK.findall(call.text):
                if mark not in written:
                    written[mark] = (call.target, call.ended)
                    waiting.setdefault(call.target, set()).add(mark)
        elif call.name in ("fdatasync", "fsync") and _SUCCEEDED.search(call.text):
            for mark in list(waiting.get(call.target, ())):
                if call.began > written[mark][1]:
                    covered[mark] = call.ended
                    waiting[call.target].discard(mark)
        elif call.target.startswith("TCP"):
            for mark in _MARK.findall(call.text):
                sent.setdefault(mark, call.began)
    early = {mark for mark, at in sent.items() if covered.get(mark, at) >= at}
    return Findings(frozenset(sent), frozenset(early))


def why_not() -> str:
    """Why nothing can be traced here; empty where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed (`make test` installs it)"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"tracing is not permitted here: {tried.stderr.strip()[:200]}" if tried.returncode else ""


def read(path: Path) -> Findings:
    """Check a trace in a file."""
    return check(path.read_text(errors="replace"))
