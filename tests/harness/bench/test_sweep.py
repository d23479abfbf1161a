import json
import re
import subprocess
import sys

from harness.bench import sweep
from harness.compose import composer
from harness.load import load_method
from tests.harness.test_data_parallel import ROOT


def test_a_stock_script_runs_and_says_what_it_found():
    sizes = ["--steps", "1", "--every", "1", "--curve", "1", "--validation", "1", "--test", "1", "--threads", "1"]
    ended = subprocess.run(
        [sys.executable, str(sweep.SCRIPT), "sapo", "0", *sizes], cwd=ROOT, capture_output=True, text=True, timeout=250,
        check=True,
    )  # fmt: skip
    found = json.loads(ended.stdout.splitlines()[-1])
    assert list(found["curve"]) == ["0", "1"] and 0 <= found["test"] <= 1 and found["seconds"] > 0


def test_scripts_and_presets_have_the_same_settings():
    namespace = {}
    text = sweep.SCRIPT.read_text()
    exec(text[text.index("METHODS = {") : text.index("PROMPTS, GROUP")], namespace)  # the table alone
    assert tuple(namespace["METHODS"]) == sweep.METHODS
    for name, given in namespace["METHODS"].items():
        own = load_method(name, []).surrogate.trainer_args()
        shared = {key: value for key, value in given.items() if key != "scale_rewards"}
        assert {key: own[key] for key in shared} == shared


def test_scripts_and_the_configuration_have_the_same_batch():
    text = sweep.SCRIPT.read_text()
    namespace = {}
    exec(re.search(r"^PROMPTS, GROUP, UPDATES, TOKENS = .*$", text, re.MULTILINE)[0], namespace)
    with composer() as compose:
        t = compose([]).trainer
    batch = [namespace[name] for name in ("PROMPTS", "GROUP", "UPDATES", "TOKENS")]
    assert batch == [t.prompts_per_step, t.completions_per_prompt, t.updates_per_step, t.max_completion_tokens]
    assert float(re.search(r"learning_rate=([\d.e-]+)", text)[1]) == t.learning_rate
    assert t.temperature == 1.0 and t.beta == 0.0


def test_every_part_is_run_and_told(monkeypatch, capsys):
    """Commands and scripts themselves are run by other tests."""
    commands = []

    def ended(command, threads):
        commands.append((command, threads))
        return subprocess.CompletedProcess(command, 0, stdout='{"seconds": 0.5}')

    monkeypatch.setattr(sweep, "_run", ended)
    assert sweep.main(["rounds=2", "seeds=1", "workers=2"]) == 0
    out = capsys.readouterr().out
    assert all(f"| {part} " in out for part in sweep.PARTS) and out.count(", own work |") == 2
    scripts = [(c, threads) for c, threads in commands if str(sweep.SCRIPT) in c]
    assert len(scripts) == 2 * 2 * 4 and sorted(threads for _, threads in scripts) == [1] * 8 + [2] * 8
    sweeps = [" ".join(c) for c, _ in commands if "harness" in c]
    assert len(sweeps) == 2 * 3
    for workers, threads in ((2, 1), (1, 1), (1, 2)):
        assert sum(f"n_jobs={workers} trainer.threads={threads}" in c for c in sweeps) == 2


def test_unknown_parts_are_refused(capsys):
    assert sweep.main(["parts=[serial]"]) == 2
    assert "none of parallel, sequential, sequential_threads, stock, stock_parallel" in capsys.readouterr().err
