"""`python -m bench.soak [CASE ...]`: run long ones, print what they found; exit code 1 where a bound is not met."""

from __future__ import annotations

import argparse
import os
import signal
import sys

import bench.soak
from bench.harness.case import SOAK, Bench, load_cases
from bench.harness.process import BenchError
from bench.harness.report import render, sentence, show_progress


def main() -> int:
    cases = load_cases(bench.soak)
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(cases)}")
    names = parser.parse_args().cases or list(cases)
    if unknown := [name for name in names if name not in cases]:
        parser.error(f"no such case: {', '.join(unknown)} (there are {', '.join(cases)})")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is stopped
    failures: list[str] = []
    for name in names:
        with Bench(SOAK, progress=show_progress) as place:
            os.sched_setaffinity(0, {place.site.cores.proxy, place.site.cores.load})
            try:
                result = cases[name].run(place)
            except BenchError as error:
                failures.append(f"{name}: {error}")
                continue
            finally:
                show_progress("")
        print(render(cases[name].title, result), flush=True)
        failures += [f"{name}: {sentence(verdict)}" for verdict in result.verdicts if not verdict.met]
    for failure in failures:
        print(f"soak: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"soak: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
