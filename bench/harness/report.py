"""The report: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.harness.case import Effort
from bench.harness.figures import Figure, Result, Verdict
from bench.harness.process import Cores, find

# Below this much spread a column's noise isn't worth a reader's time.
WORTH_SHOWING = 0.05


def number(value: float) -> str:
    """With about three digits, and thousands separated; counts as they are."""
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cell(figure: Figure) -> str:
    """A median with its spread, as `1,234 ±6%`: the samples lie within a band that wide."""
    text = number(figure.median)
    if len(figure.samples) > 1 and figure.spread >= WORTH_SHOWING:
        text += f" ±{figure.spread / 2:.0%}"
    return text


def table(result: Result) -> str:
    """The rows as text in columns."""
    columns: dict[str, str] = {}
    for row in result.rows:
        for name, figure in row.figures.items():
            columns.setdefault(name, name if figure.unit in {name, "x"} or "/" in name else f"{name} {figure.unit}")
    lines = [["", *columns.values()]]
    for row in result.rows:
        cells = [cell(row.figures[name]) if name in row.figures else "" for name in columns]
        lines.append([row.name, *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    text = []
    for line, note in zip(lines, ["", *(row.note for row in result.rows)], strict=True):
        padded = [
            line[0].ljust(widths[0]),
            *(part.rjust(width) for part, width in zip(line[1:], widths[1:], strict=True)),
        ]
        text.append("  ".join([*padded, note]).rstrip())
    return "\n".join(text)


def sentence(verdict: Verdict) -> str:
    """A verdict in words."""
    unit = f" {verdict.unit}" if verdict.unit not in {"", "x"} else ""
    text = f"{verdict.what}: {number(verdict.value)}{unit}, wanted {verdict.direction} {number(verdict.bound)}{unit}"
    text += ": met" if verdict.met else ": NOT MET"
    if verdict.aim is not None:
        text += f" (aim {number(verdict.aim)}{unit}{', reached' if verdict.reached_aim else ''})"
    return text


def render(title: str, result: Result) -> str:
    """A case's part of the report."""
    lines = [f"## {title}", "", table(result), "", *map(sentence, result.verdicts), *result.remarks]
    return "\n".join(lines).rstrip() + "\n"


def show_progress(text: str) -> None:
    """On a terminal only: a line that the next one overwrites."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def machine(cores: Cores, effort: Effort) -> dict[str, object]:
    """What a reader has to know to compare two reports."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": output(["git", "describe", "--always", "--dirty"]),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "proxy_core": cores.proxy,
        "load_core": cores.load,
        "kernel": platform.release(),
        "python": f"{platform.python_version()} of {Path(sys.executable).resolve()}",
        "load_average": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("nginx", "haproxy", "caddy", "wrk")},
        "rounds": effort.rounds,
        "seconds": effort.seconds,
        "samples": effort.samples,
    }


def version(program: str) -> str:
    """The line in which a program says its version."""
    lines = output([find(program), "version" if program == "caddy" else "-v"]).splitlines()
    return lines[0] if lines else ""


def output(command: list[str]) -> str:
    """What a command printed, or nothing where it can't be run."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write_json(folder: Path, facts: Mapping[str, object], results: Iterable[tuple[str, str, Result]]) -> Path:
    """Write the report as `folder`/TIME.json and `folder`/latest.json; the first one's path."""
    cases = {
        name: {
            "title": title,
            **asdict(result),
            "verdicts": [{**asdict(verdict), "met": verdict.met} for verdict in result.verdicts],
        }
        for name, title, result in results
    }
    text = json.dumps({"machine": facts, "cases": cases}, indent=1, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    for target in (path, folder / "latest.json"):
        target.write_text(text)
    return path
