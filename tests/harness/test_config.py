"""The configuration: what is refused and how it is said, and the label that names a run."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from harness.check import OWNED, check_parts
from harness.compose import composer
from harness.config import CONF, identity, run_dir
from harness.errors import ConfigError, nearest
from harness.sweep import plan


def one(*overrides):
    [cfg] = plan(list(overrides), sweep=False, config_dir=None)
    return cfg


def label(*overrides):
    return one(*overrides).label


def readable(*overrides):
    return label(*overrides).rpartition("-")[0]


# The label


def test_label_is_the_preset_and_the_overrides_in_one_fixed_form():
    assert readable() == readable("method=grpo") == "grpo"
    spelled = ["method/weighting=delta", "method.advantage.temperature=0.10", "method=lampo", "seed=3"]
    assert readable(*spelled) == "lampo+advantage.temperature-0.1+weighting-delta"
    assert label(*spelled) == label(*reversed(spelled))
    assert label(*spelled) == label(*spelled, "method.advantage.temperature=1e-1", "seed=4")
    assert readable("suite.horizon=4", "suite.horizon=2", "suite.domains=[math,code]") == (
        "grpo+suite.domains-math.code+suite.horizon-2"
    )
    assert readable("trainer.learning_rate=1", "trainer.allow_truncated_sampling=True") == (
        "grpo+trainer.allow_truncated_sampling-true+trainer.learning_rate-1"
    )


def test_what_turns_with_the_seed_has_one_label():
    turning = "policy.path='${turn:${seed},[micro,micro-1]}'"
    first, second = one(turning, "seed=0"), one(turning, "seed=1")
    assert (first.policy.path, second.policy.path) == ("micro", "micro-1")
    assert first.label == second.label
    assert identity(first)["policy"]["path"] == identity(second)["policy"]["path"] == "micro"


def test_label_leaves_out_where_and_when_a_run_is_kept():
    plain = label("method=rloo")
    for override in (
        "seed=7",
        "results_dir=/x",
        "n_jobs=1",
        "experiment_name=x",
        "trainer.checkpoint_every=3",
        "trainer.checkpoints_kept=0",
        "trainer.deltas_every=1",
    ):
        assert label("method=rloo", override) == plain, override
    assert label("method=rloo", "trainer.report_to=[trackio]") == plain
    assert label("method=rloo", "hydra.verbose=false") == plain


def test_label_ends_in_the_hash_of_all_that_a_run_computes():
    cfg = one("method=rloo", "trainer.learning_rate=1.0")
    text = json.dumps(identity(cfg), sort_keys=True)
    assert cfg.label.rpartition("-")[2] == sha256(text.encode()).hexdigest()[:8]
    assert set(identity(cfg)) == {"method", "suite", "policy", "trainer", "evaluation"}
    assert "checkpoint_every" not in identity(cfg)["trainer"]
    assert '"learning_rate": 1,' in text  # 1 and 1.0 are one number
    others = ("suite.level=2", "evaluation.seed=1", "policy.dtype=float64", "trainer.steps=99")
    assert len({label(other).rpartition("-")[2] for other in (*others, "method=grpo")}) == 5


def test_unsafe_or_long_overrides_become_a_hash():
    unsafe = label("policy.path='some/model name'")
    assert unsafe.startswith("grpo+policy.path-") and not set(unsafe) & set("/= '")
    assert unsafe != label("policy.path='some/other name'")
    keys = ("every", "curve_problems", "curve_samples", "test_samples")
    long = readable(*(f"evaluation.{key}=5" for key in keys), "suite.horizon=1", "method/weighting=delta")
    fitting = "grpo+weighting-delta+evaluation.curve_problems-5+evaluation.curve_samples-5+evaluation.every-5"
    assert len(fitting) <= 100 < len(f"{fitting}+evaluation.test_samples-5")
    assert long.startswith(f"{fitting}+") and len(long) == len(fitting) + 1 + 8
    assert long != readable(
        *(f"evaluation.{key}=5" for key in keys), "suite.horizon=2", "method/weighting=delta"
    )


def test_run_dir():
    cfg = one("results_dir=out", "experiment_name=exp", "seed=2", "method.advantage.scale=none")
    assert run_dir(cfg) == Path("out") / "exp" / cfg.label / "seed-2"
    assert "=" not in str(run_dir(cfg))


# Refusals

REFUSED = {
    "unknown choice": ("method=lampoo", "no method named lampoo. Did you mean lampo"),
    "unknown nested choice": (
        "method/advantage=pairwize",
        "no method/advantage named pairwize. Did you mean",
    ),
    "unknown experiment": ("experiment=demoo", "Did you mean demo"),
    "unknown group": ("method/advntage=pairwise", "Did you mean method/advantage?"),
    "unknown root key": ("methd=lampo", "Did you mean method?"),
    "unknown key": ("trainer.stepz=3", "no key trainer.stepz. Did you mean trainer.steps?"),
    "unknown key of a part": ("method=lampo method.advantage.temprature=1", "method.advantage.temperature"),
    "forgotten group": ("temperature=0.3", "trainer.temperature"),
    "added key": ("+trainer.stepz=3", "no key trainer.stepz. Did you mean trainer.steps?"),
    "added root key": ("+foo=3", "no key foo."),
    "no value": ("foo", "'foo' is not key=value"),
    "wrong type": ("trainer.steps=abc", "trainer.steps=abc: Value 'abc' of type 'str' could not"),
    "wrong type of a list": ("trainer.report_to=wandb", "trainer.report_to=wandb: "),
    "zero steps": ("trainer.steps=0", "trainer.steps=0 must be at least 1"),
    "group of one": ("trainer.completions_per_prompt=1", "a group of one has no baseline"),
    "greedy rollouts": ("trainer.temperature=0", "trainer.temperature=0.0 must be greater than 0"),
    "not a number": ("trainer.learning_rate=nan", "trainer.learning_rate=nan"),
    "infinite": ("trainer.max_grad_norm=inf", "trainer.max_grad_norm=inf"),
    "deltas": ("trainer.deltas_every=-1", "trainer.deltas_every=-1 must be at least 0"),
    "deltas that leave out the last": (
        "trainer.deltas_every=7", "trainer.deltas_every=7 does not divide the 120 updates of the run, 2 a step"
    ),
    "checkpoint": ("trainer.checkpoint_every=0", "trainer.checkpoint_every=0 must be at least 1"),
    "indivisible": (
        "trainer.prompts_per_step=3 trainer.completions_per_prompt=5",
        "is 15, which does not divide into updates_per_step=2",
    ),
    "one bad of a list": ("evaluation.temperatures=[1,0]", "evaluation.temperatures=0.0 must be greater"),
    "empty list": ("evaluation.temperatures=[]", "evaluation.temperatures is empty"),
    "negative seed": ("seed=-1", "seed=-1 must be at least 0"),
    "no workers": ("n_jobs=0", "n_jobs=0"),
    "tuned key": ("tuned=[trainer.learning_rte]", "no key trainer.learning_rte. Did you mean trainer.learning_rate"),
    "dot for slash": ("method.advantage=pairwise", "To choose a file: method/advantage=pairwise."),
    "truncated sampling": ("+trainer.extra.top_p=0.9", "trainer.allow_truncated_sampling=true"),
    "owned field": ("+trainer.extra.loss_type=grpo", "it follows from method/surrogate"),
    "field without plus": ("trainer.extra.weight_decay=1", "+trainer.extra.weight_decay=1"),
    "folder name": ("experiment_name=a/b", "experiment_name=a/b"),
    "label with =": ("label='a=b'", "label=a=b"),
    "no results_dir": ("results_dir=", "results_dir="),
    "interpolation": ("seed=${foo}", "Interpolation key 'foo' not found"),
    "several values": ("seed=0,1", "add -m"),
    "two experiments": ("-m experiment=demo,horizon", "cannot be swept"),
    "a seed twice": ("-m seed=0,1,0", "2 runs would write to"),
    "bad value in a sweep": ("-m method=grpo,lampoo", "no method named lampoo"),
}


@pytest.mark.parametrize("command, says", REFUSED.values(), ids=REFUSED)
def test_refused_in_a_sentence(command, says):
    overrides = [word for word in command.split() if word != "-m"]
    with pytest.raises(ConfigError) as refused:
        plan(overrides, sweep="-m" in command, config_dir=None)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_refusals_load_nothing_heavy():
    commands = [command for command, _ in REFUSED.values()]  # some of each kind
    script = (
        "import sys\nfrom harness.sweep import plan\nfrom harness.errors import ConfigError\n"
        f"for command in {commands[:2] + commands[4:6] + commands[11:15]!r}:\n"
        "    try: plan([w for w in command.split() if w != '-m'], '-m' in command, None)\n"
        "    except ConfigError: continue\n"
        "    sys.exit(command)\n"
        "sys.exit(sorted({'torch', 'numpy', 'transformers', 'trl', 'methods'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=CONF.parent)
    assert (done.returncode, done.stderr) == (1, "[]\n"), done.stderr


def test_truncated_sampling_when_asked_for_and_settings_that_truncate_nothing():
    vllm = "+trainer.extra.use_vllm=true"
    one(vllm, "+trainer.extra.top_p=0.9", "trainer.allow_truncated_sampling=true")
    one(vllm, "+trainer.extra.top_p=1.0", "+trainer.extra.top_k=0")


def test_extra_knows_the_fields_of_trl():
    from dataclasses import fields

    from trl import GRPOConfig

    assert set(OWNED) <= {spec.name for spec in fields(GRPOConfig)}
    one("+trainer.extra.weight_decay=0.1")
    with pytest.raises(ConfigError, match=r"trainer\.extra\.weight_decy.* Did you mean weight_decay\?"):
        one("+trainer.extra.weight_decy=0.1")


REFUSED_PARTS = {
    "value of an option": ("method=lampo method.advantage.temperature=-1", "method.advantage: "),
    "type of an option": (
        "method=lampo method.advantage.center=2",
        "method.advantage.center=2 must be of type bool",
    ),
    "added option": ("method=lampo +method.advantage.temprature=1", "Did you mean temperature?"),
    "sequence-level ratio with token weights": (
        "method=delta method/surrogate=ppo_clip method.surrogate.importance_sampling_level=sequence",
        "a sequence-level ratio sees only a completion's mean credit",
    ),
    "missing target": ("method.advantage._target_=methods.advantages.nowhere.X", "method.advantage: "),
    "horizon": ("suite.horizon=0", "horizon"),
    "type of the horizon": ("suite.horizon=two", "suite.horizon=two must be of type int"),
    "domain": ("suite.domains=[maths]", "math"),
}


@pytest.mark.parametrize("command, says", REFUSED_PARTS.values(), ids=REFUSED_PARTS)
def test_parts_are_checked_by_constructing_them(command, says):
    cfg = one(*command.split())
    with pytest.raises(ConfigError) as refused:
        check_parts(cfg, "suite")
        check_parts(cfg, "method")
    assert says in str(refused.value) and "\n" not in str(refused.value)


def test_every_preset_passes():
    cfgs = plan(["method=glob(*)"], sweep=True, config_dir=None)
    assert {"grpo", "rloo", "lampo", "delta", "lampo_delta", "oracle"} <= {cfg.method.name for cfg in cfgs}
    for cfg in cfgs:
        check_parts(cfg, "method")


# Files


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_experiments_open_with_their_command_and_compose(path):
    package, command = path.read_text().splitlines()[:2]
    assert package == "# @package _global_"
    assert command == f"# python -m harness -m experiment={path.stem}"
    cfgs = plan([f"experiment={path.stem}", "seed=0"], sweep=False, config_dir=None)  # hydra.mode sweeps
    assert len(cfgs) > 1
    for cfg in cfgs:
        assert cfg.experiment_name.startswith({"controls": "demo", "token_controls": "demo"}.get(path.stem, path.stem))
        assert cfg.method.surrogate == cfgs[0].method.surrogate, "one for all, whatever the preset chooses"


def test_the_experiment_decides_the_surrogate_and_the_command_line_beats_it():
    assert one("method=grpo").method.surrogate.loss_type == "grpo"
    cfgs = plan(["experiment=demo", "seed=0"], sweep=False, config_dir=None)
    assert [cfg.method.name for cfg in cfgs] == ["grpo", "lampo", "delta", "lampo_delta"]
    assert {cfg.method.surrogate.loss_type for cfg in cfgs} == {"dapo"}
    [cfg] = plan(["experiment=demo", "seed=3", "method=rloo", "method/surrogate=ppo_clip"], True, None)
    assert (cfg.method.name, cfg.seed, cfg.method.surrogate.loss_type) == ("rloo", 3, "grpo")


def test_misspelt_keys_and_wrong_types_in_a_users_file_are_refused(tmp_path):
    (tmp_path / "trainer").mkdir()
    (tmp_path / "experiment").mkdir()
    for file, text, says in (
        ("trainer/mine", "stepz: 3\n", "In trainer/mine.yaml there is no key trainer.stepz. Did you mean"),
        ("trainer/mine", "steps: three\n", "In trainer/mine.yaml, trainer.steps: Value 'three'"),
        ("experiment/mine", "# @package _global_\nevaluation: {evry: 3}\n", "Did you mean evaluation.every?"),
        ("experiment/mine", "# @package _global_\nsed: 3\n", "Did you mean seed "),
    ):
        (tmp_path / f"{file}.yaml").write_text(text)
        with pytest.raises(ConfigError) as refused:
            plan([file.replace("/", "=")], sweep=False, config_dir=str(tmp_path))
        assert says in str(refused.value)
    with pytest.raises(ConfigError, match="no folder"):
        plan([], sweep=False, config_dir=str(tmp_path / "nowhere"))


def test_missing_value_in_a_users_file_is_named(tmp_path):
    (tmp_path / "trainer").mkdir()
    values = yaml.safe_load((CONF / "trainer" / "default.yaml").read_text())
    del values["steps"]
    (tmp_path / "trainer" / "mine.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"trainer\.steps has no value"):
        plan(["trainer=mine"], sweep=False, config_dir=str(tmp_path))


def test_nearest():
    assert nearest("lampoo", ["grpo", "lampo", "delta"]) == "Did you mean lampo?"
    assert nearest("x", ["b", "a"]) == "Valid: a, b."
    assert nearest("temprature", ["trainer.temperature", "seed"]) == "Did you mean trainer.temperature?"


def test_composer_puts_back_what_it_found():
    from hydra.core.global_hydra import GlobalHydra

    with composer() as outer:
        mine = GlobalHydra.instance().hydra
        with pytest.raises(ConfigError), composer() as inner:
            inner(["method=lampoo"])
        assert GlobalHydra.instance().hydra is mine
        assert OmegaConf.is_dict(outer([]))


def test_a_preset_that_does_not_compose_is_named(tmp_path):
    (tmp_path / "method").mkdir()
    text = (CONF / "method" / "grpo.yaml").read_text().replace("  - _self_", "  - override nothing: x\n  - _self_")
    (tmp_path / "method" / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match="method=mine does not compose: In 'method/mine'.*method/nothing"):
        plan(["method=mine"], sweep=False, config_dir=str(tmp_path))


def test_a_preset_may_choose_its_control_and_the_command_line_has_the_last_word():
    assert one("method=delta_permuted").method.control._target_ == "methods.controls.permuted.Permuted"
    assert one("method=delta_permuted", "method/control=none").method.control._target_.endswith("Uniform")
    assert one("method=grpo", "method/control=inverted").method.control._target_.endswith("Inverted")
