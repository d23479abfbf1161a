"""Diagnosis: token credit measured by itself, on the rollouts of a frozen policy, against Monte-Carlo values."""
