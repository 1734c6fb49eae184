"""Long runs that must not grow anything: `python -m bench.soak` ends with an error where a bound is not met.

One file per run, each with a `CASE` as in bench/cases; here the verdicts decide.
"""
