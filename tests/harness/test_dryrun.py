import pytest

from harness.compose import composer
from harness.dryrun import cost, dry_run
from harness.errors import ConfigError
from harness.sweep import plan


def composed(*overrides):
    with composer() as compose:
        return compose(list(overrides))


SMALL = (
    "policy=qwen3_4b", "suite=gsm8k", "trainer.steps=10", "trainer.prompts_per_step=4",
    "trainer.completions_per_prompt=8", "trainer.max_completion_tokens=1000", "evaluation.every=5",
    "evaluation.curve_problems=3",
    "evaluation.validation_problems=2", "evaluation.test_problems=10", "evaluation.curve_samples=2",
    "evaluation.test_samples=5", "evaluation.temperatures=[1.0]",
)  # fmt: skip


def test_tokens_and_hours_by_hand():
    found = cost(composed(*SMALL))
    # 320 completions of 500 tokens to prompts of 200
    assert (found.sampled, found.trained, found.scored) == (160_000, 224_000, 0)
    # curve at steps 0, 5, 10: 3·3·2; validation 2·2, before and after; test 10 problems: 3 times 5
    # samples and twice one greedy
    assert found.evaluated == (18 + 2 * 4 + 10 * 17) * 500
    # 6·4.022e9·224,000 at 33 % of 989 TFLOP/s, and 2·4.022e9·(160,000 + 98,000) at 5 %
    assert found.hours() == pytest.approx((5.4055680e15 / 3.2637e14 + 2.0753520e15 / 4.945e13) / 3600, rel=1e-6)
    assert cost(composed(*SMALL, "policy=micro")).hours() is None


def test_what_costs_a_pass_is_counted():
    more = cost(composed(*SMALL, "trainer.beta=0.1", "+trainer.extra.use_vllm=true"))
    assert more.scored == 2 * 224_000
    assert cost(composed(*SMALL, "evaluation.max_tokens=100")).evaluated == 196 * 50


def test_a_published_test_set_counts_at_its_size_and_a_mix_at_its_suites():
    one = cost(composed(*SMALL, "suite=aime24", "evaluation.test_problems=400"))
    mix = cost(
        composed(*SMALL, "suite=mix", "+suite@suite.train.gsm8k=gsm8k", "+suite@suite.test.aime24=aime24",
                 "+suite@suite.test.math500=math500", "evaluation.test_problems=400")
    )  # fmt: skip
    assert one.evaluated == (18 + 2 * 4 + 30 * 17) * 500
    assert mix.evaluated == (18 + 2 * 4 + (30 + 400) * 17) * 500


@pytest.mark.parametrize(
    ("experiment", "runs"), [("lampo_paper", 3 * 7 * 5), ("delta_paper", 6 * 5), ("demo", 4 * 5), ("smollm2", 2)]
)
def test_experiments_compose_and_tell_their_plan_without_loading_anything(experiment, runs, monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: pytest.fail("loaded a data set"))
    monkeypatch.setattr(
        "transformers.AutoModelForCausalLM.from_pretrained", lambda *_, **__: pytest.fail("loaded a policy")
    )
    text = dry_run(plan([f"experiment={experiment}", "trainer.dry_run=true"], False, None))
    assert text.startswith(f"{runs} runs on ")
    assert "Nothing was loaded or run" in text and "H100" in text


def test_a_policy_that_fits_no_gpu_is_pointed_out():
    text = dry_run([composed(*SMALL, "policy=qwen3_8b_base")])
    assert "take 131 GB, activations not counted: more than the 80 GB of one GPU, so set policy.lora" in text
    assert "more than" not in dry_run([composed(*SMALL)])
    text = dry_run([composed(*SMALL, "trainer.beta=0.1", "+trainer.extra.use_vllm=true")])
    assert "Adam's moments, reference policy, vLLM's share take 104 GB" in text  # 20·4.022 + 24
    assert "policy.lora" not in dry_run([composed(*SMALL, "policy=qwen3_8b_base", "policy.lora={r: 8}")])


def test_the_size_of_kept_changes_of_the_weights_is_told():
    text = dry_run([composed(*SMALL, "trainer.deltas_every=5")] * 3)  # 4 of 20 updates, 4 bytes · 4.022e9 each
    assert "- qwen3_4b: trainer.deltas_every=5 keeps 4 files of 16.1 GB in each of 3 runs, 193 GB in all" in text
    text = dry_run([composed(*SMALL, "trainer.deltas_every=5", "policy=micro")])
    assert "- micro: trainer.deltas_every=5 keeps 4 files of 4 bytes a trained parameter in each of 1 runs" in text
    assert "deltas_every" not in dry_run([composed(*SMALL)])


def test_a_key_that_trl_lacks_is_refused(monkeypatch):
    monkeypatch.setattr("harness.run.trainer_settings", lambda cfg: {"lerning_rate": 1})
    with pytest.raises(ConfigError, match="lerning_rate is no field of trl.GRPOConfig. Did you mean learning_rate"):
        dry_run([composed(*SMALL)])


def test_a_value_that_trl_refuses_is_refused():
    with pytest.raises(ConfigError, match="trl.GRPOConfig refuses these settings: .*"):
        dry_run([composed(*SMALL, "+trainer.extra.lr_scheduler_type=sideways")])


def test_hours_of_a_policy_of_unknown_size_are_not_called_zero():
    text = dry_run([composed(*SMALL, "policy=micro")])
    assert "without micro, of unknown size" in text
