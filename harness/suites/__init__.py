"""Problem sets: what is asked, and how an answer is verified."""

from harness.suites.problem import Problem, Suite, Verdict

__all__ = ["Problem", "Suite", "Verdict"]
