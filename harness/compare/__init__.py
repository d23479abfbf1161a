"""Compares finished runs: `python -m harness.compare runs=results/demo baseline=grpo` reads results/ and
nothing else.

read (one run), load (all runs -> frames and holes), fairness (what may be compared), statistics (pure
functions), scores (frames -> numbers), tables (numbers -> markdown), plots, report (the page), __main__ (the
command). Imports point from right to left; nothing imports torch.
"""
