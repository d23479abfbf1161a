import dataclasses

import pytest

from harness.compare.fairness import (
    FACTORS,
    base_disagreements,
    base_policy,
    check_factors,
    differing,
    listed,
    notes,
    refusal,
)
from harness.compare.load import UsageError, load

GRPO, LAMPO = "grpo-aaaaaaaa", "lampo-bbbbbbbb"


def differences(tree, factors=FACTORS):
    return differing(load(tree.root), LAMPO, GRPO, factors)


def test_methods_may_differ_in_their_parts_and_names(tree):
    tree.run("grpo", 0)
    tree.run(
        "lampo",
        0,
        config={
            "method.shaping.alpha": 0.1, "method.weighting._target_": "x",
            "results_dir": "elsewhere", "n_jobs": 1, "experiment_name": "other",
            "trainer.report_to": ["trackio"],
            "trainer.checkpoint_every": 5, "trainer.checkpoints_kept": 0, "trainer.deltas_every": 1,
            "tuned": ["trainer.learning_rate"], "evaluation.shown_problems": 9,
        },
    )  # fmt: skip
    assert differences(tree) == {}


@pytest.mark.parametrize(
    "key", ["trainer.learning_rate", "method.surrogate.epsilon", "suite.horizon", "method.advantages"]
)
def test_anything_else_that_differs_is_found(tree, key):
    tree.run("grpo", 0)
    tree.run("lampo", 0, config={key: 7})
    found = differences(tree)
    assert list(found) == [key] and found[key][0] == "7"
    assert refusal(found) == f"not compared: differs in {key}"


def test_without_a_shared_seed_nothing_is_compared(tree):
    tree.run("grpo", 0)
    tree.run("lampo", 1)
    assert differences(tree) == {"every seed": ("1", "0")}


def test_step_sizes_that_differ_are_told_unless_tuned(tree):
    for method, scale in {"grpo": 0.9, "lampo": 0.2}.items():
        folder = tree.run(method, 0)
        path = folder / "metrics.jsonl"
        path.write_text(path.read_text().replace('"advantage_rms": 0.9', f'"advantage_rms": {scale}'))
    assert any("STEP SIZES DIFFER" in note and "0.2 for lampo" in note for note in notes(load(tree.root)))


def test_one_differing_seed_is_enough(tree):
    for seed in range(2):
        tree.run("grpo", seed)
        tree.run("lampo", seed, config={"trainer.learning_rate": 1e-4 * (1 + seed)})
    assert differences(tree) == {"trainer.learning_rate": ("0.0002", "0.0001")}


def test_what_varies_with_the_seed_alone_is_no_difference(tree):
    for seed in range(2):
        for method in ("grpo", "lampo"):
            tree.run(method, seed, config={"policy.path": f"base-{seed}"}, env={"policy_hash": f"w{seed}"})
    assert differences(tree) == {}


def test_declared_factors_are_allowed(tree):
    tree.run("grpo", 0)
    tree.run("lampo", 0, config={"method.surrogate.epsilon": 0.3})
    assert list(differences(tree, ("method.advantage", "method.surrogate"))) == []
    assert list(differences(tree, ("method.surrogate",))) == ["method.advantage._target_"]


def test_other_problems_and_other_base_policies_are_found(tree):
    tree.run("grpo", 0)
    tree.run("lampo", 0, problems_hash="p1", env={"policy_hash": "w1"})
    assert list(differences(tree)) == [
        "policy_hash", "problems_hash of split curve", "problems_hash of split test",
        "problems_hash of split validation",
    ]  # fmt: skip


def test_refusal_stays_short():
    assert refusal({}) == ""
    assert refusal(dict.fromkeys("abcde")) == "not compared: differs in a, b, c and 2 more"


def test_misspelt_factor(tree):
    tree.run()
    check_factors(load(tree.root), ["method.advantage", "trainer.learning_rate"])
    with pytest.raises(UsageError, match="did you mean method.advantage"):
        check_factors(load(tree.root), ["method.advantge"])


def test_base_policy_is_counted_once(tree):
    for seed in range(3):
        tree.run("grpo", seed)
    tree.run("lampo", 0, env={"policy_hash": "w1"}, base={"sampled": 0.5})
    base = base_policy(load(tree.root), GRPO).set_index(["domain", "mode"])
    # policy w0 says 0.4 three times, w1 says 0.5 once: mean over policies 0.45
    assert base.loc[("all", "sampled"), "accuracy"] == pytest.approx(0.45)
    assert base.loc[("all", "sampled"), "policies"] == 2
    assert base.loc[("math", "best"), "accuracy"] == pytest.approx(0.65)
    assert base.loc[("all", "best"), "temperature"] == "0.3"


def test_base_policy_of_other_problems_does_not_count(tree):
    tree.run("grpo", 0)
    tree.run("lampo", 0, problems_hash="p1", base={"sampled": 0.9})
    base = base_policy(load(tree.root), GRPO).set_index(["domain", "mode"])
    assert base.loc[("all", "sampled"), "accuracy"] == pytest.approx(0.4)


def test_a_run_without_policy_hash_still_has_a_base(tree):
    tree.run("grpo", 0, env={"policy_hash": None})
    assert len(base_policy(load(tree.root), GRPO)) == 9


def test_disagreeing_base_numbers_are_loud(tree):
    tree.run("grpo", 0)
    tree.run("lampo", 0, base={"greedy": 0.52})
    records = load(tree.root)
    found = base_disagreements(records)
    assert len(found) == 3 and "all, greedy: 0.5000 at T=0 (grpo-aaaaaaaa seed 0)" in found[0]
    assert sum(note.startswith("BASE NUMBERS DISAGREE") for note in notes(records)) == 3


def test_notes(tree):
    tree.run("grpo", 0)
    text = " ".join(notes(load(tree.root)))
    assert "All seeds start from one base policy" in text and "same sampling noise" in text
    assert "VERIFIER" not in text and "UNSCORABLE" not in text and "MIXED" not in text
    tree.run(
        "lampo",
        0,
        errors=2,
        unscorable=3,
        env={"policy_hash": "w1", "common_random_numbers": False},
    )
    text = " ".join(notes(load(tree.root)))
    assert "2 base policies" in text and "Not every run had common random numbers" in text
    assert "VERIFIER ERRORS: lampo: 40 " in text  # 10 evaluations x 2 domains x 2, `all` not counted again
    assert "UNSCORABLE: lampo: 60 " in text  # 20 steps x 3


def test_mixed_packages_are_told(tree):
    old = {"torch": "2.12.0", "trl": "1.16.0", "numpy": "1"}
    for seed in range(2):
        tree.run("grpo", seed, env={"versions": {"torch": "2.13.0", "trl": "1.16.0", "numpy": "2"}})
    tree.run("lampo", 0, env={"versions": old})
    (found,) = [note for note in notes(load(tree.root)) if "MIXED" in note]
    assert found == "MIXED PACKAGES: most runs had torch 2.13.0, but 2.12.0 in lampo seed 0."


def test_a_resumed_run_counts_with_every_release_it_had(tree):
    new, old = {"versions": {"torch": "2.13.0"}}, {"versions": {"torch": "2.12.0"}}
    tree.run("grpo", 0, env=new | {"resumed": [old, new]})
    assert "2.12.0 in grpo seed 0" in " ".join(notes(load(tree.root)))


def test_tuned_keys_are_no_difference(tree):
    tree.run("grpo", 0)
    tree.run("lampo", 0, config={"trainer.learning_rate": 0.5, "trainer.learning_rate_decay": 1})
    tuned = dataclasses.replace(load(tree.root), tuned=("trainer.learning_rate",))
    assert list(differing(tuned, LAMPO, GRPO, FACTORS)) == ["trainer.learning_rate_decay"]


def test_names_in_a_sentence():
    assert listed(["b", "a", "b"]) == "b, a"
    assert listed(list("abcdefg"), shown=2) == "a, b and 5 more"
