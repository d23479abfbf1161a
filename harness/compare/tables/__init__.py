"""The tables of a comparison, each as markdown, CSV and LaTeX: results (how good), running (what it took), evidence
(how sure), policies (for which base policies), table (the form they share).
"""

from harness.compare.tables.evidence import cells_table, factors_table, items_table, power_table, tuning_table
from harness.compare.tables.policies import policies_table
from harness.compare.tables.results import aggregate_table, base_table, budget_table, end_table, speed_table
from harness.compare.tables.running import cost_tables, differences_table, holes_table, hyperparameters_table
from harness.compare.tables.table import (
    NONE,
    Table,
    bracketed,
    difference,
    interval,
    markdown,
    percent,
    plain,
    tokens,
)

__all__ = [
    "NONE", "Table", "aggregate_table", "base_table", "bracketed", "budget_table", "cells_table", "cost_tables",
    "difference", "differences_table", "end_table", "factors_table", "holes_table", "hyperparameters_table",
    "interval", "items_table", "markdown", "percent", "plain", "policies_table", "power_table", "speed_table", "tokens",
    "tuning_table",
]  # fmt: skip
