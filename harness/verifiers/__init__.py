"""Verifiers: functions from an answer's text to right, wrong, or cannot be judged."""
