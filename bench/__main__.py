"""`python -m bench [CASE ...]`: run cases, print the report, write it as JSON. Its figures never make it fail.

The exit code is 1 only where something could not be measured.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace

import bench.cases
from bench.harness.case import FULL, QUICK, Bench, Case, Effort, Takes, load_cases
from bench.harness.contestants import BENCH
from bench.harness.figures import Result
from bench.harness.process import BenchError
from bench.harness.report import machine, render, show_progress, write_json


def parse(cases: dict[str, Case]) -> tuple[list[str], Effort]:
    """What the command line asks for: the cases, and the effort."""
    names = list(cases)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="short rounds beside nginx alone: a minute in all")
    parser.add_argument("--rounds", type=int, help="rounds per contestant")
    parser.add_argument("--seconds", type=int, help="length of a round")
    parser.add_argument("--samples", type=int, help="samples of what is measured one by one")
    parser.add_argument("--contestants", metavar="NAME,...", help="of nginx, haproxy, caddy, moorings")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.cases if name not in names]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)} (there are {', '.join(names)})")
    effort = QUICK if arguments.quick else FULL
    for field in ("rounds", "seconds", "samples"):
        value = getattr(arguments, field)
        if value is not None:
            if value < 1:
                parser.error(f"--{field} {value}: at least 1")
            effort = replace(effort, **{field: value})
    if arguments.contestants:
        effort = replace(effort, contestants=tuple(arguments.contestants.split(",")))
    if arguments.quick:
        names = [name for name in names if cases[name].takes is Takes.SECONDS]
    return arguments.cases or names, effort


def main() -> int:
    cases = load_cases(bench.cases)
    names, effort = parse(cases)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that contestants are stopped
    results: list[tuple[str, str, Result]] = []
    failed = False
    with Bench(effort, progress=show_progress) as place:
        cores = place.site.cores
        os.sched_setaffinity(0, {cores.load})
        facts = machine(cores, effort)
        print(f"# {facts['cpu']}, Linux {facts['kernel']}, Python {facts['python']}")
        print(f"# load average {facts['load_average']:.2f}")
        print(f"# contestants on core {cores.proxy}, load and programs on core {cores.load};", end=" ")
        print(f"medians of {effort.rounds} interleaved rounds of {effort.seconds} s\n", flush=True)
        if cores.proxy == cores.load:
            print("# only one core: the load takes its time from what is measured\n")
        for name in names:
            case = cases[name]
            os.sched_setaffinity(0, {cores.load})  # a case may have taken more
            try:
                result = case.run(place)
            except BenchError as error:
                show_progress("")
                print(f"## {case.title}\n\nnot measured: {error}\n", flush=True)
                failed = True
                continue
            show_progress("")
            print(render(case.title, result), flush=True)
            results.append((name, case.title, result))
    path = write_json(BENCH / "out", facts, results)
    print(f"JSON: {os.path.relpath(path)}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
