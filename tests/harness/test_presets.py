"""The files of conf/method against the classes they name: keys are fields, values the defaults, presets complete."""

import dataclasses
from collections import Counter
from functools import cache

import pytest
import yaml
from hydra.utils import get_object
from omegaconf import OmegaConf

from harness import load_method
from harness.check import PARTS
from harness.compose import composer
from harness.config import CONF
from methods import Method
from methods.options import check_options
from methods.weightings.uniform import Uniform

FOLDER = CONF / "method"
PRESETS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
NESTED = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.yaml"))

# The presets that stand for a paper's or a control's core, read from their sources by hand; values of all the
# others are checked in test_fidelity.py. Preset: shaping, advantage, weighting, loss type, telling options
CORE = {
    "grpo": ("NoShaping", "GroupMean", "Uniform", "grpo", {"advantage.scale": "group"}),
    "dr_grpo": ("NoShaping", "GroupMean", "Uniform", "dr_grpo", {"advantage.scale": "none"}),
    "rloo": ("NoShaping", "LeaveOneOut", "Uniform", "grpo", {}),
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
# what their parts have unless CORE says otherwise
USUAL = {
    "GroupMean": {"scale": "group", "epsilon": 1e-4},
    "Pairwise": {"score": "mean", "temperature": 0.1, "pair_norm": "peers", "center": False},
    "Delta": {"refine": 1, "bounds": [0.8, 1.2], "normalise_over": "all", "proxy": "hidden"},
    "Surrogate": {"importance_sampling_level": "token", "epsilon": 0.2, "epsilon_high": 0.2, "delta": None},
}


@cache
def root():
    """The configuration of a run, which values of parts may refer to."""
    with composer() as compose:
        return compose([])


def content(file):
    return yaml.safe_load((FOLDER / f"{file}.yaml").read_text())


def base(file):
    """The file a variant builds on, or None."""
    others = [entry for entry in content(file).get("defaults", []) if entry != "_self_"]
    return f"{file.partition('/')[0]}/{others[0]}" if others else None


def merged(file):
    """A file with the one it builds on, later values winning, as Hydra's defaults list orders them."""
    own = {key: value for key, value in content(file).items() if key != "defaults"}
    return (merged(base(file)) if base(file) else {}) | own


def built(file):
    """The class of a part and what it makes of the file's values, references to the run's resolved."""
    whole = OmegaConf.merge({key: root()[key] for key in root() if key != "hydra"}, {"part": merged(file)})
    options = OmegaConf.to_container(whole.part, resolve=True)
    part_class = get_object(options.pop("_target_"))
    return part_class, part_class(**options)


def plain(value):
    return list(value) if isinstance(value, tuple) else value


def initial(part_class):
    return [field for field in dataclasses.fields(part_class) if field.init]


@pytest.mark.parametrize("name", sorted(CORE))
def test_a_core_preset_is_the_method_it_names(name):
    method = load_method(name)
    shaping, advantage, weighting, loss_type, telling = CORE[name]
    kinds = (method.shaping, method.advantage, method.weighting)
    assert tuple(type(part).__name__ for part in kinds) == (shaping, advantage, weighting)
    assert method.surrogate.loss_type == loss_type
    assert isinstance(method.control, Uniform) and (method.scale, method.dynamic_sampling) == ("own", 0)
    for part in PARTS:
        usual = USUAL.get(type(getattr(method, part)).__name__, {})
        options = {
            key.partition(".")[2]: value for key, value in telling.items() if key.startswith(f"{part}.")
        }
        for key, value in (usual | options).items():
            assert getattr(getattr(method, part), key) == value, f"{part}.{key}"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_chooses_four_parts_and_has_its_files_name(name):
    text = (FOLDER / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    own = yaml.safe_load(text)
    *choices, last = own.pop("defaults")
    assert last == "_self_"
    chosen = sorted(part for choice in choices for part in choice)
    assert chosen in (sorted(PARTS), sorted((*PARTS, "override control")))
    assert own.pop("_target_") == "methods.method.Method" and own.pop("name") == name
    # a body that sets values of a part would break the choice of another file for it
    settings = {field.name for field in dataclasses.fields(Method)} - {*PARTS, "control", "name"}
    assert set(own) <= settings


@pytest.mark.parametrize("file", NESTED)
def test_keys_are_fields_and_values_are_valid(file):
    assert (FOLDER / f"{file}.yaml").read_text().startswith("# ")
    part_class, part = built(file)
    assert set(merged(file)) - {"_target_"} == {field.name for field in initial(part_class)}
    check_options(part)


@pytest.mark.parametrize("file", [file for file in NESTED if base(file) is None])
def test_a_plain_file_spells_out_every_default(file):
    part_class, part = built(file)
    sharing = Counter(content(other).get("_target_") for other in NESTED)[content(file)["_target_"]]
    for field in initial(part_class):
        if field.default is dataclasses.MISSING:
            value = content(file)[field.name]
            assert str(value).startswith("${"), f"{field.name} has no default, so it follows from the run"
        elif sharing == 1:  # a class of several files has no one default
            assert plain(getattr(part, field.name)) == plain(field.default), field.name


@pytest.mark.parametrize("file", [file for file in NESTED if base(file)])
def test_a_variant_changes_something_and_keeps_the_rest(file):
    own = {key: value for key, value in content(file).items() if key != "defaults"}
    assert any(merged(base(file))[key] != value for key, value in own.items())
    assert content(file)["defaults"][-1] == "_self_"
