"""Runs that are trained on other domains than they are tested on, as a mix of suites may be."""

import json

import pandas as pd

from harness.compare.__main__ import main
from harness.compare.load import load


def test_domains_of_training_and_of_the_test_may_differ(tree):
    """As suite=paper_lampo: learning curve and validation on deepmath, end points on math and code."""
    for seed in range(5):
        for name, curve in (("grpo", (0.2, 0.3, 0.4)), ("lampo", (0.2, 0.4, 0.5))):
            path = tree.run(name, seed, curve=curve, end=curve[-1], validation=0.4) / "evals.jsonl"
            lines = [json.loads(text) for text in path.read_text().splitlines()]
            lines = [line for line in lines if line["split"] == "test" or line["domain"] != "code"]
            for line in lines:
                if line["split"] != "test" and line["domain"] == "math":
                    line["domain"] = "deepmath"
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tree.root / "out"
    assert main([f"runs={tree.root}", "baseline=grpo", f"out={out}"]) == 0
    assert load(tree.root).holes == []
    tidy = pd.read_csv(out / "comparison.csv").query("label.str.startswith('lampo')")
    metrics = tidy.groupby("domain")["metric"].agg(set)
    assert metrics["deepmath"] == {"aulc", "tokens_to_threshold_median"}
    assert metrics["math"] == metrics["code"] == {"end_point", "greedy", "gain_over_base"}
    assert metrics["all"] == metrics["deepmath"] | metrics["math"]
