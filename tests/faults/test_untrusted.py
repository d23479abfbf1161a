"""What lies in results/ is read as data: nothing in it can run code, and the page shows what it says as text."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from harness.compare.__main__ import main as compare
from harness.compare.load import load
from harness.compare.read import RecordError, read_config
from harness.config import refuse_other, run_dir
from harness.diagnose.geometry import main as geometry
from harness.diagnose.kept import named_by_conf, refuse_calls
from harness.errors import ConfigError, RunFailed
from harness.plaindata import NotYaml, load_yaml
from harness.run import run
from tests.faults.conftest import ROOT, compose, numbers
from tests.harness.compare.conftest import Tree
from tests.harness.compare.test_browser import CHROMIUM


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "executed")


def test_the_bomb_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


def armed(file: Path, target: Path) -> None:
    """Write a pickle that runs code, in torch's container and as the bare pickle that older versions read."""
    import torch

    torch.save({"state": Bomb(target), "param_groups": []}, file)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(
    "name",
    ["optimizer.pt", "scheduler.pt", "rng_state.pth", "credit.pt", "pytorch_model.bin", "adapter_model.bin"],
)
def test_no_pickle_of_a_checkpoint_is_run(small, stopped, tmp_path, name, bare):
    cfg = compose([*small, "method=ppo"], tmp_path / "results")
    folder = stopped(cfg) / "checkpoint" / "checkpoint-2"
    target = tmp_path / "executed"
    if bare:
        (folder / name).write_bytes(pickle.dumps(Bomb(target)))
    else:
        armed(folder / name, target)
    if name.endswith(".bin"):
        (folder / "model.safetensors").unlink()
    with pytest.raises(RunFailed, match="cannot be taken up"):
        run(cfg)
    assert not target.exists()


def test_the_trainers_arguments_are_a_pickle_that_nobody_reads(small, stopped, tmp_path):
    cfg = compose(small, tmp_path / "results")
    folder = stopped(cfg) / "checkpoint" / "checkpoint-2"
    armed(folder / "training_args.bin", tmp_path / "executed")
    run(cfg)
    run(compose(small, tmp_path / "whole" / "results"))
    assert numbers(tmp_path) == numbers(tmp_path / "whole") and not (tmp_path / "executed").exists()


def test_every_file_of_a_run_is_text_or_weights_or_a_known_pickle(small, stopped, tmp_path):
    folder = stopped(compose([*small, "method=ppo"], tmp_path / "results"))
    kinds = {path.name: path.suffix for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}
    pickles = {
        name for name, kind in kinds.items() if kind not in (".json", ".jsonl", ".yaml", ".safetensors", "")
    }
    assert pickles == {"optimizer.pt", "scheduler.pt", "rng_state.pth", "credit.pt", "training_args.bin"}


ATTACKS = [
    "!!python/object/apply:os.system ['touch executed']",
    "label: !!python/object/new:os.system [touch executed]",
    "method: {_target_: os.system, command: touch executed}",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_a_configuration_in_results_calls_nothing(small, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    cfg = compose(small, tmp_path / "results")
    run_dir(cfg).mkdir(parents=True)
    (run_dir(cfg) / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match="damaged|another configuration"):
        refuse_other(cfg)
    with pytest.raises(RecordError):
        read_config(run_dir(cfg))
    assert not Path("executed").exists()


def test_a_whole_configuration_is_read_as_plain_values(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = compose(small, tmp_path / "results")
    cfg.method._target_ = EXECUTED
    run_dir(cfg).mkdir(parents=True)
    OmegaConf.save(cfg, run_dir(cfg) / "config.yaml", resolve=True)
    assert read_config(run_dir(cfg))["method._target_"] == EXECUTED
    refuse_other(cfg)
    assert not Path("executed").exists()


EXECUTED = "tests.faults.suites.executed"
EASY = "trust=[tests.harness.conftest.EasySuite]"
ROWS = {
    "_target_": "harness.suites.benchmark.Benchmark", "name": "x",
    "schema": {"_target_": "harness.suites.schemas.gsm8k", "_partial_": True},
    "verifier": {"_target_": "harness.verifiers.math.MathVerifier"},
    "test": {
        "_target_": "harness.suites.source.Source", "hub": "openai/gsm8k", "split": "test", "revision": "main",
        "package": f"numpy:{EXECUTED}",
    },
}  # fmt: skip
CALLS = {
    "policy": lambda tree: tree["policy"].update(_target_=EXECUTED),
    "suite": lambda tree: tree["suite"].update(_target_=EXECUTED),
    "argument": lambda tree: tree["suite"].update(horizon={"_target_": EXECUTED}),
    "argument in a list": lambda tree: tree["policy"].update(template_options={"x": [{"_target_": EXECUTED}]}),
    "elsewhere": lambda tree: tree.update(tuned={"_target_": EXECUTED}, suite="${tuned}"),
    "made when it is resolved": lambda tree: tree["suite"].update(horizon=f"${{oc.create:{{_target_: {EXECUTED}}}}}"),
    "rows of a package": lambda tree: tree.update(suite=ROWS),
}


@pytest.fixture(scope="module")
def with_deltas(small, tmp_path_factory):
    cfg = compose([*small, "trainer.deltas_every=1"], tmp_path_factory.mktemp("deltas") / "results")
    run(cfg)
    return run_dir(cfg)


@pytest.mark.parametrize("call", CALLS)
def test_the_geometry_of_a_run_calls_only_what_conf_or_the_command_names(with_deltas, tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(with_deltas, tmp_path / "seed-0")
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    CALLS[call](tree)
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    code = None
    try:
        code = geometry([f"run={folder}", "window=0.5", "nulls=0", EASY])
    finally:
        assert not Path("executed").exists()
    assert code == 2


@pytest.mark.parametrize(("key", "value"), [("sandbox", "unsafe"), ("hub", "somebody/else"), ("_target_", "os.remove")])
def test_what_a_run_may_name_is_what_conf_does(key, value):
    node = {"verifier": [{"x": {key: value}}]}
    with pytest.raises(ConfigError, match=f"config.yaml says {key}: '{value}', which conf/ does not"):
        refuse_calls(node, Path("seed-0"), named_by_conf())
    refuse_calls(node, Path("seed-0"), {*named_by_conf(), value})
    assert {"harness.policy.load_policy", "harness.suites.micro.MicroSuite", "openai/gsm8k"} <= named_by_conf()


def test_the_geometry_of_a_suite_of_ones_own_takes_its_name(with_deltas, tmp_path, capsys):
    command = [f"run={with_deltas}", "window=0.5", "nulls=0", f"out={tmp_path / 'out'}"]
    assert geometry(command) == 2
    assert "add 'trust=[tests.harness.conftest.EasySuite]'" in capsys.readouterr().err
    assert geometry([*command, EASY]) == 0


@pytest.mark.parametrize("text", ["[" * 100_000, "a: &a [*a]", "policy: &a {x: *a}\nsuite: {}\ntrainer: {}", "a: ["])
def test_the_geometry_of_a_damaged_configuration_is_refused(with_deltas, tmp_path, capsys, text):
    folder = shutil.copytree(with_deltas, tmp_path / "seed-0")
    (folder / "config.yaml").write_text(text)
    assert geometry([f"run={folder}"]) == 2
    assert "config.yaml is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 50_000, "- " * 100_000, "? " * 100_000, "a: " + "[" * 999]
)
def test_a_configuration_that_would_overflow_the_parsers_stack(text):
    """In a process of its own: what it guards against ends the process."""
    code = "import sys\nfrom harness.plaindata import NotYaml, load_yaml\n"
    code += "try: load_yaml(sys.stdin.read())\nexcept NotYaml: print('refused')"
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


def test_what_the_harness_writes_itself_is_not_refused(small, tmp_path):
    deep = {"a": [1, {"b": ["-" * 200, "[{" * 100]}], "c": "x " * 60}
    assert load_yaml(yaml.safe_dump(deep)) == deep
    with pytest.raises(NotYaml) as caught:
        load_yaml("a: 1\nb: [1\n")
    assert caught.value.line == 3


SCRIPT = "</script><script>document.title='run'</script>"
SCRIPT += "<img src=x onerror=\"document.title='run'\"><svg/onload=alert(1)>"


@pytest.fixture
def poisoned(tmp_path):
    """Records of which every text is an attack: completions, prompts, answers, tokens, commands, causes."""
    tree = Tree(tmp_path / "results" / "demo")
    tree.sweep({"lampo": [0.02, 0.05, 0.01]})
    tree.run("delta", 0, status=f"failed: {SCRIPT}")
    for folder in tree.root.glob("*/seed-*"):
        env = json.loads((folder / "env.json").read_text())
        (folder / "env.json").write_text(json.dumps(env | {"command": SCRIPT, "commit": SCRIPT}))
        for name, fields in {
            "samples": ("text", "answer"), "problems": ("prompt", "reference"), "credit": ("tokens",)
        }.items():  # fmt: skip
            path = folder / f"{name}.jsonl"
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            for line in lines:
                for field in fields:
                    line[field] = [SCRIPT] * len(line[field]) if isinstance(line[field], list) else SCRIPT
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tree.root


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian: apt-get install chromium)")
def test_the_page_shows_an_attack_and_does_not_run_it(poisoned):
    from playwright.sync_api import sync_playwright

    assert compare([f"runs={poisoned}", "baseline=grpo"]) == 0
    assert [hole.why for hole in load(poisoned).holes if hole.seed == 0] == [f"failed: {SCRIPT}"]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        asked, dialogs = [], []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        tab.goto((poisoned / "comparison.html").as_uri())
        for choice in range(tab.locator("#set option").count()):
            tab.locator("#set").select_option(index=choice)
            assert "onerror=" in tab.locator("#shown").inner_text()
        assert tab.title() != "run" and dialogs == []
        assert tab.locator("[onerror], [onload]").count() == 0
        assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
        browser.close()
