import subprocess
import sys

import pytest

from harness.compare.__main__ import main, parse
from harness.compare.load import UsageError


def test_a_table_is_printed_and_files_lie_in_the_runs_folder(tree, capsys):
    tree.sweep({"lampo": [0.02, 0.05, 0.0, 0.08, 0.05]})
    assert main([f"runs={tree.root}", "baseline=grpo"]) == 0
    out = capsys.readouterr().out
    assert "**lampo vs grpo**: end point **better**" in out and str(tree.root / "comparison.md") in out
    assert (tree.root / "comparison.csv").is_file() and (tree.root / "endpoint.svg").is_file()
    # what was written does not disturb the next reading
    assert main([f"runs={tree.root}"]) == 0


def test_out_threshold_and_factors(tree, tmp_path, capsys):
    tree.run("grpo", 0)
    tree.run("lampo", 0, config={"trainer.learning_rate": 0.1})
    options = ["threshold=0.45", "factors=[method.advantage,trainer.learning_rate]", "alpha=0.1"]
    assert main([f"runs={tree.root}", f"out={tmp_path / 'deep' / 'page'}", *options]) == 0
    out = capsys.readouterr().out
    assert "tokens to 45.0 %" in out and "not compared" not in out and "[90 %]" in out
    page = (tmp_path / "deep" / "page" / "comparison.md").read_text()
    assert "out=" not in page and "threshold=0.45" in page
    assert not (tree.root / "comparison.md").exists()


def test_holes_are_printed_and_the_table_still_appears(tree, capsys):
    tree.sweep({"lampo": [0.02, 0.05, 0.0, 0.08, 0.05]})
    path = tree.folder("lampo", 1) / "evals.jsonl"
    path.write_text(path.read_text()[:-9])
    assert main([f"runs={tree.root}"]) == 0
    captured = capsys.readouterr()
    assert "hole: lampo-bbbbbbbb seed 1: evals.jsonl line 30 is not JSON" in captured.err
    assert "HOLES: 1 run missing" in captured.out and "| lampo  | 4 |" in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=x"], "no option 'run': did you mean runs?"),
        (["runs=x", "treshold=0.5"], "did you mean threshold?"),
        (["results/demo"], "'results/demo' is not key=value"),
        (["baseline=grpo"], "which runs?"),
        (["runs=x", "alpha=2"], "alpha=2: expected"),
        (["runs=x", "threshold=70"], "threshold=70: expected an accuracy between 0 and 1"),
        (["runs=x", "threshold=high"], "cannot read"),
        (["runs=x", "threshold=[0.5"], "cannot read"),
        (["runs=results/nowhere"], "no folder results/nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_bad_baseline_and_factor(tree, capsys):
    tree.run("grpo", 0)
    assert main([f"runs={tree.root}", "baseline=gpro"]) == 2
    assert "did you mean grpo?" in capsys.readouterr().err
    assert main([f"runs={tree.root}", "factors=[trainer.learning_rte]"]) == 2
    assert "did you mean trainer.learning_rate" in capsys.readouterr().err


def test_help(capsys):
    assert main(["--help"]) == 0
    assert "threshold=ACCURACY" in capsys.readouterr().out
    assert main([]) == 2


def test_parse_defaults():
    options = parse(["runs=results/demo"])
    assert (options.baseline, options.out, options.threshold, options.alpha) == ("grpo", None, None, 0.05)
    with pytest.raises(UsageError):
        parse(["runs=[a,b]"])


def test_torch_is_never_imported():
    code = "import sys, harness.compare.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
