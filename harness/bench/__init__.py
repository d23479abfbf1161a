"""Benchmarks of the harness: `python -m harness.bench` and `step`, `credit`, `horizon`, `verify` or `references`."""
