"""Benchmarks of the harness itself: `python -m harness.bench step`, `credit`, `horizon`."""
