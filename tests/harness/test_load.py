"""`load_method`, as a notebook, a thread or a running job uses it."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import harness
from harness import load_method
from harness.errors import ConfigError
from methods import Method, RolloutBatch
from methods.weightings.delta import Delta
from methods.weightings.uniform import Uniform


def test_a_preset_with_overrides_relative_to_the_method():
    plain = load_method("lampo")
    assert isinstance(plain, Method)
    assert (plain.name, plain.advantage.temperature, type(plain.weighting)) == ("lampo", 0.1, Uniform)
    changes = ["advantage.temperature=0.5", "weighting=delta", "surrogate=dapo", "name=mine"]
    other = load_method("lampo", changes)
    assert (other.name, other.advantage.temperature, type(other.weighting)) == ("mine", 0.5, Delta)
    assert other.surrogate.epsilon_high == 0.28
    assert load_method("lampo", ["advantage=pairwise_winner"]).advantage.weight == "winner"


def test_credit_of_a_loaded_method():
    # rewards 1, 0: mean 1/2; without scale the advantages are ±1/2, on every token of the mask
    batch = RolloutBatch.from_tensors([[5, 6], [7, 8]], [[True, True], [True, False]], [1.0, 0.0], 2)
    credit = load_method("grpo", ["advantage.scale=none"]).credit(batch)
    assert credit.values.tolist() == [[0.5, 0.5], [-0.5, 0.0]]


@pytest.mark.parametrize(
    "name, overrides, says",
    [
        ("lampoo", [], "Did you mean lampo"),
        ("lampo", ["advantage=pairwize"], "Did you mean pairwise"),
        ("lampo", ["advantage.temprature=1"], "Did you mean method.advantage.temperature"),
        ("lampo", ["advntage=pairwise"], "Did you mean method/advantage?"),
        ("lampo", ["advantage.temperature=-1"], "method.advantage: "),
        ("lampo", ["+advantage.temprature=1"], "Did you mean temperature?"),
        ("lampo", ["advantage"], "not key=value"),
    ],
)
def test_what_does_not_exist_is_refused(name, overrides, says):
    with pytest.raises(ConfigError) as refused:
        load_method(name, overrides)
    assert says in str(refused.value)


def test_inside_another_hydra_application(tmp_path):
    (tmp_path / "app.yaml").write_text("mine: 1\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert load_method("grpo").name == "grpo"
        with pytest.raises(ConfigError):
            load_method("grppo")
        assert compose("app").mine == 1
    assert not GlobalHydra.instance().is_initialized()


def test_in_threads(tmp_path):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "own.yaml").write_text("defaults: [lampo, _self_]\nname: own\n")
    with ThreadPoolExecutor(4) as pool:
        loaded = pool.map(load_method, ["own", "rloo"] * 4, [()] * 8, [tmp_path, None] * 4)
    assert [method.name for method in loaded] == ["own", "rloo"] * 4
    assert not GlobalHydra.instance().is_initialized()


def test_a_method_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "own_advantage.py").write_text(
        "from methods import Credit\n"
        "def half(batch, share):\n"
        "    return Credit.broadcast(share * batch.rewards, batch.mask)\n"
    )
    conf = tmp_path / "my_conf" / "method"
    (conf / "advantage").mkdir(parents=True)
    half = "_target_: own_advantage.half\n_partial_: true\nshare: 0.5\n"
    (conf / "advantage" / "half.yaml").write_text(half)
    (conf / "own.yaml").write_text("defaults: [grpo, override advantage: half, _self_]\nname: own\n")
    monkeypatch.syspath_prepend(tmp_path)
    batch = RolloutBatch.from_tensors([[5], [7]], [[True], [True]], [1.0, 0.0], 2)
    method = load_method("own", config_dir=conf.parent)
    assert method.credit(batch).values.tolist() == [[0.5], [0.0]]
    with pytest.raises(ConfigError, match="Did you mean share"):
        load_method("own", ["+advantage.shar=1"], config_dir=conf.parent)
    with pytest.raises(ConfigError, match="no method named own"):
        load_method("own")


def test_importing_harness_is_light():
    script = "import sys, harness; sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    root = Path(harness.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", script], cwd=root).returncode == 0
    assert "load_method" in dir(harness)
    with pytest.raises(AttributeError, match="nothing"):
        harness.nothing  # noqa: B018
