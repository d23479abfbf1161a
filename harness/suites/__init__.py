"""Problem sets: what is asked, and how an answer is verified."""

from harness.suites.listed import ListSuite
from harness.suites.problem import Problem, Suite, Verdict

__all__ = ["ListSuite", "Problem", "Suite", "Verdict"]
