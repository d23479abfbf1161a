"""The presets without Hydra: targets exist, keys are fields, values are the code's defaults with a source."""

import importlib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import methods
from methods import Method
from methods.options import check_options

CONF = Path(methods.__file__).parents[1] / "conf" / "method"
PARTS = ("shaping", "advantage", "weighting", "surrogate")
PRESETS = sorted(file.stem for file in CONF.glob("*.yaml"))
NESTED = sorted(
    str(file.relative_to(CONF).with_suffix("")) for part in PARTS for file in (CONF / part).glob("*.yaml")
)

# preset: shaping, advantage, weighting, surrogate, and the options that make it what it is
EXPECTED = {
    "grpo": ("NoShaping", "GroupMean", "Uniform", "grpo", {"advantage.scale": "group"}),
    "dr_grpo": ("NoShaping", "GroupMean", "Uniform", "dr_grpo", {"advantage.scale": "none"}),
    "rloo": ("NoShaping", "LeaveOneOut", "Uniform", "grpo", {}),
    "dapo": ("NoShaping", "GroupMean", "Uniform", "dapo", {"surrogate.epsilon_high": 0.28}),
    "lampo": ("NoShaping", "Pairwise", "Uniform", "grpo", {"advantage.weight": "self"}),
    "lampo_winner": ("NoShaping", "Pairwise", "Uniform", "grpo", {"advantage.weight": "winner"}),
    "lampo_lambdarank": ("NoShaping", "Pairwise", "Uniform", "grpo", {"advantage.weight": "lambdarank"}),
    "lampo_constant": ("NoShaping", "Pairwise", "Uniform", "grpo", {"advantage.weight": "constant"}),
    "lampo_shuffled": ("NoShaping", "Pairwise", "Uniform", "grpo", {"advantage.weight": "shuffled"}),
    "lampo_rouge": ("RougeL", "Pairwise", "Uniform", "grpo", {"advantage.weight": "self"}),
    "delta": ("NoShaping", "GroupMean", "Delta", "dapo", {"surrogate.epsilon_high": 0.28}),
    "lampo_delta": ("NoShaping", "Pairwise", "Delta", "dapo", {"surrogate.epsilon_high": 0.28}),
    "oracle": ("NoShaping", "GroupMean", "Oracle", "grpo", {}),
}

# the defaults of the parts, by hand from their sources: a preset has them unless EXPECTED differs
PUBLISHED = {
    "GroupMean": {"scale": "group", "epsilon": 1e-4},
    "Pairwise": {"score": "mean", "temperature": 0.1, "pair_norm": "peers", "center": False},
    "Delta": {"refine": 1, "bounds": [0.8, 1.2], "normalise_over": "all", "proxy": "hidden"},
    "Surrogate": {"importance_sampling_level": "token", "epsilon": 0.2, "epsilon_high": 0.2, "delta": None},
}


def target(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def nested(part, name):
    """A nested file with the files it builds on, later ones winning, as Hydra's defaults list orders them."""
    own = yaml.safe_load((CONF / part / f"{name}.yaml").read_text())
    merged = {}
    for entry in own.pop("defaults", ["_self_"]):
        merged |= own if entry == "_self_" else nested(part, entry)
    return merged


def build(part, name):
    options = nested(part, name)
    return target(options.pop("_target_"))(**options)


def preset(name):
    own = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    *choices, last = own.pop("defaults")
    assert last == "_self_"
    chosen = {part: value for entry in choices for part, value in entry.items()}
    assert tuple(sorted(chosen)) == tuple(sorted(PARTS))
    assert own.pop("_target_") == "methods.method.Method" and set(own) == {"name"}
    return own["name"], chosen


def test_every_preset_is_expected_and_every_expected_one_is_there():
    assert set(PRESETS) == set(EXPECTED)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_the_method_it_names(name):
    own_name, chosen = preset(name)
    assert own_name == name
    method = Method(name=own_name, **{part: build(part, value) for part, value in chosen.items()})
    shaping, advantage, weighting, loss_type, options = EXPECTED[name]
    kinds = (method.shaping, method.advantage, method.weighting)
    assert tuple(type(part).__name__ for part in kinds) == (shaping, advantage, weighting)
    assert method.surrogate.loss_type == loss_type
    for field in PARTS:
        part = getattr(method, field)
        for key, value in PUBLISHED.get(type(part).__name__, {}).items():
            assert getattr(part, key) == options.get(f"{field}.{key}", value), f"{field}.{key}"
    if "advantage.weight" in options:
        assert method.advantage.weight == options["advantage.weight"]


@pytest.mark.parametrize("file", NESTED)
def test_keys_are_fields_and_plain_files_spell_out_every_default(file):
    part, _, name = file.partition("/")
    own, options = yaml.safe_load((CONF / f"{file}.yaml").read_text()), nested(part, name)
    part_class = target(options.pop("_target_"))
    names = {field.name for field in fields(part_class)}
    assert set(options) == names
    check_options(part_class(**options))
    if "defaults" not in own and part != "surrogate":
        for field in fields(part_class):
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert options[field.name] == default, (
                f"{file}: {field.name} differs from the default of the code"
            )


@pytest.mark.parametrize(
    "variant", [file for file in NESTED if "defaults" in (CONF / f"{file}.yaml").read_text()]
)
def test_a_variant_changes_something_and_keeps_the_rest(variant):
    part = variant.partition("/")[0]
    own = yaml.safe_load((CONF / f"{variant}.yaml").read_text())
    base = next(entry for entry in own.pop("defaults") if entry != "_self_")
    assert own and all(nested(part, base)[key] != value for key, value in own.items())


@pytest.mark.parametrize("file", NESTED)
def test_every_value_says_where_it_comes_from(file):
    for line in (CONF / f"{file}.yaml").read_text().splitlines():
        if ":" in line and not line.startswith(("#", "_target_", "defaults")):
            assert "  # " in line and line.split("  # ")[1].strip(), f"{file}: no source for `{line}`"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_opens_with_what_it_is(name):
    assert (CONF / f"{name}.yaml").read_text().startswith("# ")
