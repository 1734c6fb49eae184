"""The same with the headers that a browser sends, no two requests in a row alike: a head costs by its fields."""

from bench.harness.case import Case
from bench.harness.load import Load, RequestHeaders
from bench.harness.throughput import compare

CASE = Case(
    title="warm request with 12 browser-like headers, 200-byte body, 64 connections",
    run=lambda bench: compare(bench, Load(headers=RequestHeaders.BROWSER), length=200, bound=0.4, aim=1.0),
)
