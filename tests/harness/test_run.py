import json
import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from trl import GRPOTrainer

import harness.curve
from harness.compose import composer
from harness.config import run_dir
from harness.curve import LearningCurve
from harness.errors import ConfigError, RunFailed
from harness.judge import decisive_tokens
from harness.policy import load_policy
from harness.records import origins
from harness.run import run
from harness.suites import Verdict
from harness.trainer import CreditGRPOTrainer
from tests.harness.conftest import EasySuite, make_policy

OF_THE_MACHINE = ("seconds", "train_seconds", "started", "memory_mb")


@pytest.fixture(scope="module")
def policy_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy")
    policy = make_policy(context=256)
    policy.model.save_pretrained(path)
    policy.tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def configured(tmp_path, policy_path):
    """Compose a small run of four steps, as the command line would."""

    def compose(*overrides, results="results"):
        with composer() as composed:
            cfg = composed(
                [
                    f"results_dir={tmp_path / results}", f"policy.path={policy_path}", "suite.horizon=1",
                    "trainer.steps=4", "trainer.prompts_per_step=6", "trainer.completions_per_prompt=4",
                    "trainer.max_completion_tokens=12", "trainer.checkpoint_every=2", "trainer.learning_rate=0.01",
                    "suite._target_=tests.harness.conftest.EasySuite",
                    "evaluation.every=2", "evaluation.curve_problems=2",
                    "evaluation.curve_samples=2", "evaluation.validation_problems=2", "evaluation.test_problems=2",
                    "evaluation.test_samples=2", "evaluation.temperatures=[0.5,1.0]", *overrides,
                ]
            )  # fmt: skip
            label = cfg.label
            OmegaConf.set_struct(cfg, False)
            del cfg["hydra"]
            cfg.label = label
        return cfg

    return compose


def lines(directory, name):
    """Records without what may differ between two runs of the same thing: durations and memory."""
    found = [json.loads(line) for line in (directory / f"{name}.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith(OF_THE_MACHINE)} for line in found]


def all_lines(directory):
    names = ("metrics", "evals", "samples", "credit", "problems")
    return {name: lines(directory, name) for name in names}


def test_a_run_leaves_complete_records(configured):
    cfg = configured("method=lampo_delta")
    run(cfg)
    directory = run_dir(cfg)
    assert (directory / "STATUS").read_text() == "done\n"
    metrics = lines(directory, "metrics")
    assert min(line["grad_norm"] for line in metrics) > 0
    assert [line["step"] for line in metrics] == [1, 2, 3, 4]
    assert {
        "reward", "loss", "grad_norm", "entropy", "clip_share", "length_mean", "truncated_share", "zero_variance_share",
        "advantage_rms", "unscorable", "tokens", "lampo_delta/pair_weight_sd",
    } <= metrics[0].keys()  # fmt: skip
    assert metrics[-1]["tokens"] > metrics[0]["tokens"] > 0
    memory = [json.loads(text)["memory_mb"] for text in (directory / "metrics.jsonl").read_text().splitlines()]
    assert memory == sorted(memory) and memory[0] > 100  # the highest so far; torch alone takes more
    evals = lines(directory, "evals")
    where = [(e["step"], e["split"], e["mode"], e["temperature"]) for e in evals if e["domain"] == "all"]
    best = where[4][3]
    assert where == [
        (0, "validation", "sampled", 0.5), (0, "validation", "sampled", 1.0), (0, "test", "sampled", 1.0),
        (0, "test", "greedy", 0.0), (0, "test", "best", best), (0, "curve", "sampled", 1.0),
        (2, "curve", "sampled", 1.0), (4, "curve", "sampled", 1.0),
        (4, "validation", "sampled", 1.0), (4, "test", "sampled", 1.0), (4, "test", "greedy", 0.0),
    ]  # fmt: skip
    assert [e["domain"] for e in evals[:4]] == ["all", "math", "code", "science"]
    samples = lines(directory, "samples")
    assert Counter(line["mode"] for line in samples) == {"sampled": 3 * 2 * 2, "greedy": 3 * 2}
    problems = {line["problem"]: line for line in lines(directory, "problems")}
    assert len(problems) == len(lines(directory, "problems"))
    assert {line["problem"] for line in samples} == {p for p, line in problems.items() if line["split"] == "test"}
    env = json.loads((directory / "env.json").read_text())
    assert env["common_random_numbers"] is True
    assert env["versions"]["trl"].startswith("1.16")
    assert {"harness.run", "methods.advantages.pairwise"} <= env["code"].keys()


def test_the_credit_of_some_problems_is_kept_at_the_first_and_the_last_step(configured):
    directories = []
    for method in ("grpo", "lampo_delta"):
        cfg = configured(f"method={method}", "evaluation.shown_problems=3")
        run(cfg)
        directories.append(run_dir(cfg))
    grpo, other = (lines(directory, "credit") for directory in directories)
    assert [line["step"] for line in grpo] == [1] * 3 * 4 + [4] * 3 * 4
    assert [line["sample"] for line in grpo[:8]] == [0, 1, 2, 3] * 2
    for a, b in zip(grpo[:12], other[:12], strict=True):  # one policy, one noise
        assert (a["problem"], a["tokens"], a["reward"]) == (b["problem"], b["tokens"], b["reward"])
    assert any(a["credit"] != b["credit"] for a, b in zip(grpo, other, strict=False))
    for line in grpo:
        assert len(line["tokens"]) == len(line["credit"]) > 0
        assert len(set(line["credit"])) == 1  # a group mean is broadcast
        assert line["correct"] == (line["reward"] > 0.3)  # EasySuite's rule
    for start in range(0, 24, 4):  # (R - mean) / sd, so that signs follow the rewards of the group
        group = grpo[start : start + 4]
        mean = sum(line["reward"] for line in group) / 4
        assert all((line["credit"][0] > 0) == (line["reward"] > mean) for line in group)
    known = {p["problem"] for p in lines(directories[0], "problems") if p["split"] == "train"}
    assert known == {line["problem"] for line in grpo}


def test_a_finished_run_is_not_run_again(configured, monkeypatch):
    cfg = configured()
    run(cfg)
    before = {path: path.stat().st_mtime_ns for path in run_dir(cfg).rglob("*")}
    monkeypatch.setattr("harness.run._run", lambda *_: pytest.fail("ran again"))
    run(cfg)
    assert {path: path.stat().st_mtime_ns for path in run_dir(cfg).rglob("*")} == before


def interrupt_at(monkeypatch, update):
    """Raise KeyboardInterrupt in the middle of an update, as Ctrl-C or a kill would end it."""
    step = CreditGRPOTrainer.training_step
    monkeypatch.setattr(
        CreditGRPOTrainer,
        "training_step",
        lambda self, *a, **k: (
            (_ for _ in ()).throw(KeyboardInterrupt)
            if self.state.global_step == update
            else step(self, *a, **k)
        ),
    )


LORA = "+policy.lora={r: 2, target_modules: all-linear}"


# besides a method without memory: one with a critic, a second model, fresh prompts, credit at every update; several
# passes an update; a policy with adapters
@pytest.mark.parametrize(
    ("overrides", "update"),
    [(["method=delta"], update) for update in (1, 4, 5, 7)]
    + [([f"method={name}"], 5) for name in ("ppo", "prime", "dapo", "fipo", "vine_ppo")]
    + [(["trainer.rows_per_pass=4"], 5), ([LORA, "trainer.learning_rate=0.05"], 5)],
    ids=str,
)
def test_an_interrupted_run_ends_with_the_numbers_of_an_uninterrupted_one(
    configured, monkeypatch, overrides, update
):
    whole, cut = (configured(*overrides, results=name) for name in ("whole", "cut"))
    run(whole)
    assert len({line["reward"] for line in lines(run_dir(whole), "metrics")}) > 1  # there is something to lose
    with monkeypatch.context() as patch:
        interrupt_at(patch, update)
        with pytest.raises(KeyboardInterrupt):
            run(cut)
    assert (run_dir(cut) / "STATUS").read_text() == "running\n"
    run(cut)
    assert all_lines(run_dir(cut)) == all_lines(run_dir(whole))


def kept_changes(directory):
    found = {path.name: path.read_bytes() for path in sorted((directory / "deltas").iterdir())}
    assert not any(name.endswith(".new") for name in found)
    return found


@pytest.mark.parametrize("overrides", [[], [LORA, "trainer.learning_rate=0.05"]], ids=str)
def test_an_interrupted_run_keeps_the_same_changes_of_the_weights(configured, monkeypatch, overrides, capsys):
    whole, cut = (configured("trainer.deltas_every=2", *overrides, results=name) for name in ("whole", "cut"))
    run(whole)
    kept = kept_changes(run_dir(whole))
    assert list(kept) == [f"{update:06d}.safetensors" for update in (2, 4, 6, 8)]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 7)  # the checkpoint is that of update 4
        with pytest.raises(KeyboardInterrupt):
            run(cut)
    folder = run_dir(cut) / "deltas"
    assert kept_changes(run_dir(cut)).keys() == {"000002.safetensors", "000004.safetensors", "000006.safetensors"}
    (folder / "000006.safetensors").write_bytes(b"of another future")
    (folder / "000009.safetensors.new").write_bytes(b"a write cut off")
    capsys.readouterr()
    run(cut)
    assert kept_changes(run_dir(cut)) == kept
    told = r"deltas_every=2 keeps 4 changes of the weights of [\d.]+ MB, [\d.]+ MB in all, in .*deltas"
    assert re.search(told, capsys.readouterr().out)


def test_a_kept_change_leads_from_the_base_policy_to_the_checkpoint(configured, policy_path):
    cfg = configured("trainer.deltas_every=4", "trainer.steps=2")
    run(cfg)
    (path,) = (run_dir(cfg) / "deltas").iterdir()
    delta = load_file(path)
    base = load_policy("random", str(policy_path)).model
    trained = load_policy("random", str(run_dir(cfg) / "checkpoint" / "checkpoint-4")).model
    assert delta.keys() == dict(base.named_parameters()).keys()  # a tied head is no tensor of its own
    end = dict(trained.named_parameters())
    for name, parameter in base.named_parameters():
        assert delta[name].dtype == torch.float32 and delta[name].any()
        assert torch.equal(delta[name], end[name].detach() - parameter.detach())


def test_changes_asked_for_halfway_are_refused(configured, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            run(configured())
    with pytest.raises(RunFailed, match="keeps no change of the weights at update 2: .*trainer.deltas_every=0"):
        run(configured("trainer.deltas_every=2"))
    cfg = configured("trainer.deltas_every=0")
    run(cfg)
    assert not (run_dir(cfg) / "deltas").exists()


def test_dynamic_sampling_draws_on_problems_that_no_step_has_of_its_own(configured, monkeypatch):
    seen = {}
    create = CreditGRPOTrainer.__init__

    def keep(self, *arguments, **named):
        seen.update(named)
        create(self, *arguments, **named)

    monkeypatch.setattr(CreditGRPOTrainer, "__init__", keep)
    run(configured("method=dapo", "method.dynamic_sampling=3", "trainer.steps=2"))
    first = [row["problem"] for row in seen["train_dataset"]]
    assert first == list(range(2 * 6))
    spare = [seen["reserve"](step, turn) for step in (0, 1) for turn in (1, 2, 3)]
    assert all(len(rows) == 6 * 4 for rows in spare)  # six prompts, four completions each
    assert all(row == rows[i // 4 * 4] for rows in spare for i, row in enumerate(rows))
    assert [row["problem"] for rows in spare for row in rows[::4]] == list(range(12, 12 + 2 * 3 * 6))


@pytest.mark.parametrize("evaluation", ["sampled", "greedy"])
def test_an_interruption_at_the_end_repeats_only_the_last_evaluation(configured, monkeypatch, evaluation):
    whole, cut = configured(results="whole"), configured(results="cut")
    run(whole)
    evaluate = LearningCurve.evaluate

    def interrupted(self, step, split, mode, temperature):
        if (step, split, mode) == (4, "test", evaluation):
            raise KeyboardInterrupt
        return evaluate(self, step, split, mode, temperature)

    with monkeypatch.context() as patch:
        patch.setattr(LearningCurve, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(cut)
    with monkeypatch.context() as patch:
        patch.setattr(CreditGRPOTrainer, "train", lambda *_, **__: pytest.fail("trained again"))
        run(cut)
    assert all_lines(run_dir(cut)) == all_lines(run_dir(whole))


def test_methods_see_the_same_problems_noise_and_mini_batches(configured, monkeypatch):
    seen = {}
    credit = CreditGRPOTrainer._generate_and_score_completions
    loss = CreditGRPOTrainer._compute_loss
    for name in ("grpo", "lampo_delta", "dr_grpo"):
        first = seen[name] = {}

        def keep(self, inputs, first=first):
            output = credit(self, inputs)
            first.setdefault("problems", [row["prompt"] for row in inputs])
            first.setdefault("completions", output["completion_ids"].tolist())
            return output

        def keep_batch(self, model, inputs, first=first):
            first.setdefault("mini-batch", inputs["completion_ids"].tolist())
            return loss(self, model, inputs)

        monkeypatch.setattr(CreditGRPOTrainer, "_generate_and_score_completions", keep)
        monkeypatch.setattr(CreditGRPOTrainer, "_compute_loss", keep_batch)
        run(configured(f"method={name}", "trainer.steps=1", results=name))
    assert seen["grpo"] == seen["lampo_delta"] == seen["dr_grpo"]


def test_a_failing_method_marks_its_run_and_names_the_cause(configured, monkeypatch):
    cfg = configured()
    monkeypatch.setattr("methods.Method.credit", lambda *_: 1 / 0)
    with pytest.raises(RunFailed, match=r"grpo.* seed 0: ZeroDivisionError: division by zero"):
        run(cfg)
    assert (run_dir(cfg) / "STATUS").read_text() == "failed: ZeroDivisionError: division by zero\n"
    assert "1 / 0" in (run_dir(cfg) / "traceback.txt").read_text()


def test_a_part_that_raises_or_exits_is_named_in_the_status(configured, monkeypatch):
    def exits(self, batch):
        raise SystemExit(3)

    monkeypatch.setattr("methods.advantages.group_mean.GroupMean.__call__", lambda self, batch: {}["foo"])
    cfg = configured()
    with pytest.raises(RunFailed):
        run(cfg)
    status = (run_dir(cfg) / "STATUS").read_text()
    assert status == "failed: KeyError: 'foo' (in method 'grpo', advantage GroupMean)\n"
    monkeypatch.setattr("methods.advantages.group_mean.GroupMean.__call__", exits)
    with pytest.raises(RunFailed):
        run(cfg)
    assert (run_dir(cfg) / "STATUS").read_text() == "failed: SystemExit: 3\n"


def test_a_failed_run_is_taken_up_again(configured, monkeypatch):
    cfg = configured()
    with monkeypatch.context() as patch:
        patch.setattr("methods.Method.credit", lambda *_: 1 / 0)
        with pytest.raises(RunFailed):
            run(cfg)
    run(cfg)
    assert (run_dir(cfg) / "STATUS").read_text() == "done\n"
    assert not (run_dir(cfg) / "traceback.txt").exists()


def test_a_prompt_longer_than_the_context_fails_by_name(configured):
    with pytest.raises(RunFailed, match="exceed the policy's context of 256"):
        run(configured("trainer.max_completion_tokens=250"))


def test_a_run_of_another_configuration_is_left_alone(configured):
    first = configured("label=mine")
    run(first)
    other = configured("label=mine", "trainer.steps=2")
    with pytest.raises(ConfigError, match="differs in trainer.steps"):
        run(other)
    assert (run_dir(first) / "STATUS").read_text() == "done\n"


def test_a_policy_that_cannot_be_loaded_says_so_in_its_status(configured):
    cfg = configured("policy.path=nowhere/at/all")
    with pytest.raises(RunFailed, match="nowhere/at/all"):
        run(cfg)
    assert "nowhere/at/all" in (run_dir(cfg) / "STATUS").read_text()


def test_a_verifier_that_raises_has_failed_and_its_rows_get_no_credit(configured, monkeypatch):
    verify = EasySuite.verify
    monkeypatch.setattr(
        EasySuite, "verify", lambda s, p, text: 1 / 0 if len(text) % 13 == 1 else verify(s, p, text)
    )
    monkeypatch.setattr("harness.evaluation.MAX_ERROR_SHARE", 1.0)
    cfg = configured("trainer.steps=1")
    run(cfg)
    (metrics,) = lines(run_dir(cfg), "metrics")
    assert 0 < metrics["unscorable"] < 24


def test_verifier_errors_fail_the_run_when_they_are_many(configured, monkeypatch):
    monkeypatch.setattr(
        "tests.harness.conftest.EasySuite.verify", lambda *_: Verdict.failure("out of memory")
    )
    with pytest.raises(
        RunFailed, match=r"TooManyVerifierErrors: the verifier failed on 12 of 12.*out of memory"
    ):
        run(configured())


def test_decisive_characters_fall_on_the_tokens_that_hold_them():
    # tokens of 1, 3 and 2 characters, then the end-of-sequence token of none
    verdict = Verdict(1.0, True, None, decisive=((0, +1), (2, -1), (5, +1), (6, -1)))
    assert decisive_tokens([1, 3, 2, 0], verdict) == [+1, -1, +1, -1]
    assert decisive_tokens([1, 3, 2], Verdict(0.0, False, None, decisive=((6, -1),))) == [0, 0, -1]  # cut off


@pytest.mark.parametrize("method", ["grpo", "delta", "dr_grpo"])
def test_passes_of_fewer_rows_change_the_memory_and_not_the_numbers(configured, method):
    found = []
    for rows in ("null", "3"):
        cfg = configured(f"method={method}", f"trainer.rows_per_pass={rows}", "trainer.steps=2", results=rows)
        run(cfg)
        found.append(lines(run_dir(cfg), "metrics"))
    for whole, parts in zip(*found, strict=True):
        for key in ("reward", "tokens", "grad_norm", "loss", "advantage_rms"):
            assert parts[key] == pytest.approx(whole[key], rel=1e-3, abs=1e-6), key
        assert parts["entropy"] == pytest.approx(whole["entropy"], rel=0.05)  # TRL's: a mean of the passes' means


def test_a_method_that_copies_the_policy_refuses_adapters_with_what_to_do(configured):
    cfg = configured("method=prime", LORA)
    with pytest.raises(RunFailed, match="set policy.lora=null"):
        run(cfg)


@pytest.mark.parametrize("temperatures", ["[1.0]", "[0.7]"])
def test_the_best_temperature_is_sampled_once_where_it_is_the_usual_one(configured, monkeypatch, temperatures):
    asked = []

    def counted(*arguments, temperature, **named):
        asked.append(temperature)
        return sample_problems(*arguments, temperature=temperature, **named)

    sample_problems = harness.curve.sample_problems
    monkeypatch.setattr(harness.curve, "sample_problems", counted)
    cfg = configured(f"evaluation.temperatures={temperatures}", "trainer.steps=1")
    run(cfg)
    base = [line for line in lines(run_dir(cfg), "evals") if line["step"] == 0 and line["split"] == "test"]
    scores = [{k: v for k, v in line.items() if k != "mode"} for line in base if line["mode"] != "greedy"]
    once = temperatures == "[1.0]"
    assert len(asked) == 9 - once and len(scores) == 2 * (len(cfg.suite.domains) + 1)
    assert (scores[: len(scores) // 2] == scores[len(scores) // 2 :]) == once


def test_in_bfloat16_the_first_update_begins_at_ratio_one(configured, monkeypatch):
    """Two updates a batch, of which the first begins with the weights that have sampled it."""
    differences = []
    compute = GRPOTrainer._compute_loss

    def compare(self, model, inputs):
        if self.state.global_step % 2 == 0:
            ids, mask = (
                torch.cat([inputs[f"prompt_{kind}"], inputs[f"completion_{kind}"]], dim=1) for kind in ("ids", "mask")
            )
            with torch.no_grad(), self.accelerator.autocast():
                new, *_ = self._get_per_token_logps_and_entropies(model, ids, mask, inputs["completion_ids"].shape[1])
            inside = inputs["completion_mask"].bool()
            differences.append((new - inputs["old_per_token_logps"])[inside].abs().max().item())
        return compute(self, model, inputs)

    monkeypatch.setattr(GRPOTrainer, "_compute_loss", compare)
    cfg = configured("+policy.autocast=true", "method=delta", "trainer.updates_per_step=2")
    run(cfg)
    directory = run_dir(cfg)
    assert json.loads((directory / "env.json").read_text())["autocast"] == "bfloat16"
    assert len(differences) == 4 and max(differences) < 1e-3  # the engine's log-probs would be off by up to 0.06


def test_a_run_is_not_taken_up_on_other_rows_or_in_another_precision(configured, monkeypatch):
    cfg = configured()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            run(cfg)
    path = run_dir(cfg) / "env.json"
    began = json.loads(path.read_text())
    for key, other in (("rows", {"suite": {"test": {"sha256": "0"}}}), ("autocast", "bfloat16")):
        path.write_text(json.dumps(began | {key: other}))
        with pytest.raises(RunFailed, match=f"the run began with {key} .*put the old back, or delete"):
            run(cfg)


def test_origins_are_the_rows_of_every_part():
    facts = {"train": {"a": {"rows": {"train": {"hub": "x"}}, "left_out": {"y": 3}}}, "left_out": {}, "rows": {"z": 1}}
    assert origins(facts) == {"train.a": {"train": {"hub": "x"}}, "suite": {"z": 1}}


def test_causes_of_verifier_errors_and_what_was_asked_are_kept(configured, monkeypatch):
    verify, evaluation = EasySuite.verify, EasySuite.evaluation
    monkeypatch.setattr(
        EasySuite, "verify", lambda s, p, text: 1 / 0 if len(text) % 13 == 1 else verify(s, p, text)
    )
    monkeypatch.setattr(
        EasySuite,
        "evaluation",
        lambda s, *a: [replace(p, record={"order": [1, 0]}) for p in evaluation(s, *a)],
    )
    monkeypatch.setattr("harness.evaluation.MAX_ERROR_SHARE", 1.0)
    cfg = configured("trainer.steps=1")
    run(cfg)
    (metrics,) = lines(run_dir(cfg), "metrics")
    assert metrics["verifier_errors"].keys() == {"ZeroDivisionError: division by zero"}
    samples = lines(run_dir(cfg), "samples")
    assert all(s["order"] == [1, 0] for s in samples)
    assert all(("error" in s) == (s["correct"] is None) for s in samples)
