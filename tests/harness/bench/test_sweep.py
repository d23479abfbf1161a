import json
import subprocess
import sys

from harness.bench import sweep
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


def test_unknown_parts_are_refused(capsys):
    assert sweep.main(["parts=[serial]"]) == 2
    assert "none of parallel, sequential, stock, stock_parallel" in capsys.readouterr().err
