"""Compares finished runs: `python -m harness.compare runs=results/demo baseline=grpo` reads results/ and
nothing else.

filters (which folders and runs), read (one run), samples (its completions), load (all runs -> frames and
holes), fairness and select (what may be compared), statistics, aggregates, items and power (pure functions),
scores and budgets (frames -> numbers), interaction (the 2x2), tables, plots and html (numbers -> what is
read), report (the pages), __main__ (the command). simulate and calibrate ask how often the verdict is wrong.
Imports point from right to left; nothing imports torch.
"""
