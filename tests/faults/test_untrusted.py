"""What lies in results/ is read as data: nothing in it can run code, and the page shows what it says as text."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.compare.__main__ import main as compare
from harness.compare.load import load
from harness.compare.read import RecordError, read_config
from harness.config import refuse_other, run_dir
from harness.errors import ConfigError, RunFailed
from harness.plaindata import NotYaml, load_yaml
from harness.run import run
from tests.faults.conftest import ROOT, compose
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
    assert (run_dir(cfg) / "STATUS").read_text() == "done\n" and not (tmp_path / "executed").exists()


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
