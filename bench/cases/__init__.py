"""One file per case. Each has a `CASE: bench.harness.case.Case`; its name is the file's."""
