"""A request on a warm container, routed by a header: what most requests are."""

from bench.harness.case import Case
from bench.harness.load import Load
from bench.harness.throughput import compare

CASE = Case(
    title="warm request, 200-byte body, 64 connections",
    run=lambda bench: compare(bench, Load(), length=200, bound=0.5, aim=1.0),
)
