"""Large bodies: what a forwarded byte costs, and that back-pressure doesn't."""

from bench.harness.case import Case
from bench.harness.load import Load
from bench.harness.throughput import MIB, compare

CASE = Case(
    title="1 MiB bodies, 16 connections",
    run=lambda bench: compare(bench, Load(path="/big", connections=16), length=MIB, bound=0.9, aim=1.0, as_bytes=True),
)
