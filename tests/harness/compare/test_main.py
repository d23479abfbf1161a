import errno
import subprocess
import sys

import pandas as pd
import pytest

from harness.compare.__main__ import main, parse
from harness.compare.load import UsageError
from harness.compare.tables import Table
from tests.harness.compare.conftest import Tree
from tests.harness.compare.test_load import cut_to_step


def test_a_table_is_printed_and_files_lie_in_the_runs_folder(tree, capsys):
    tree.sweep({"lampo": [0.02, 0.05, 0.0, 0.08, 0.05]})
    assert main([f"runs={tree.root}", "baseline=grpo"]) == 0
    out = capsys.readouterr().out
    assert "**lampo vs grpo**: end point **better**" in out and str(tree.root / "comparison.html") in out
    assert (tree.root / "comparison.csv").is_file() and any(tree.root.rglob("endpoint.svg"))
    # what was written does not disturb the next reading
    assert main([f"runs={tree.root}"]) == 0


def test_out_threshold_and_factors(tree, tmp_path, capsys):
    tree.run("grpo", 0)
    tree.run("lampo", 0, config={"trainer.learning_rate": 0.1})
    options = ["threshold=0.45", "factors=[method.advantage,trainer.learning_rate]", "alpha=0.1"]
    assert main([f"runs={tree.root}", f"out={tmp_path / 'deep' / 'page'}", *options]) == 0
    out = capsys.readouterr().out
    assert "|        45.0 |" in out and "not compared" not in out and "[90 %]" in out
    page = (tmp_path / "deep" / "page" / "comparison.md").read_text()
    assert "out=" not in page and "threshold=0.45" in page
    assert not (tree.root / "comparison.md").exists()


def test_a_page_that_cannot_be_written_leaves_the_older_one(tree, capsys, monkeypatch):
    """Also a kill in the midst of it: everything is written beside before anything is replaced."""
    tree.sweep({"lampo": [0.02, 0.05]})
    assert main([f"runs={tree.root}"]) == 0
    before = written(tree.root)
    tree.run("delta")
    page = f"runs={tree.root}"
    for error, code in ((OSError(errno.ENOSPC, "No space left on device"), 2), (KeyboardInterrupt(), None)):
        with monkeypatch.context() as patch:
            patch.setattr(Table, "write", raising(error))
            if code is None:
                with pytest.raises(KeyboardInterrupt):
                    main([page])
            else:
                assert main([page]) == code
                assert "harness.compare: [Errno 28] No space left on device" in capsys.readouterr().err
        assert written(tree.root) == before
    assert main([page]) == 0
    assert {*written(tree.root)} == {*before} and written(tree.root) != before


def raising(error):
    def raising(*_):
        raise error

    return raising


def written(root):
    """What lies there beside the runs."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.parent.parent.parent != root}


def test_holes_are_printed_and_the_table_still_appears(tree, capsys):
    tree.sweep({"lampo": [0.02, 0.05, 0.0, 0.08, 0.05]})
    path = tree.folder("lampo", 1) / "evals.jsonl"
    path.write_text(path.read_text()[:-9])
    assert main([f"runs={tree.root}"]) == 0
    captured = capsys.readouterr()
    assert "hole: lampo-bbbbbbbb seed 1: evals.jsonl line 30 is not JSON" in captured.err
    assert "HOLES: 1 run missing" in captured.out and "| lampo  | all    | 4 |" in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=x"], "no option 'run': did you mean runs"),
        (["runs=x", "treshold=0.5"], "did you mean threshold?"),
        (["results/demo"], "'results/demo' is not key=value"),
        (["baseline=grpo"], "which runs?"),
        (["runs=x", "alpha=2"], "alpha=2: expected"),
        (["runs=x", "threshold=70"], "threshold=70: expected an accuracy between 0 and 1"),
        (["runs=x", "threshold=high"], "cannot read"),
        (["runs=x", "threshold=[0.5"], "cannot read"),
        (["runs=results/nowhere"], "no folder results/nowhere"),
        (["runs=results/nowhere-*"], "no folder with runs matches results/nowhere-*"),
        (["runs=[a,b]"], "2 folders of runs: say where to write, such as out="),
        (["runs=[]"], "runs=[] names no folder"),
        (["runs=[1]"], "expected a folder or a list of folders"),
        (["runs={a: b}"], "expected a folder or a list of folders"),
        (["runs=x", "allow=[cod]"], "allow: no kind 'cod': did you mean code?"),
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
    assert (options.runs, options.where, options.allow, options.tuned) == (["results/demo"], [], [], [])
    options = parse(
        ["runs=[a,b*]", "where=[suite.horizon=4,method.name!=grpo|lampo]", "tuned=[trainer.steps]"]
    )
    assert options.runs == ["a", "b*"] and options.tuned == ["trainer.steps"]
    assert options.where == ["suite.horizon=4", "method.name!=grpo|lampo"]
    with pytest.raises(UsageError):
        parse(["runs=a", "alpha=[1]"])


def test_several_folders_filtered(tree, tmp_path, capsys):
    tree.sweep({"lampo": [0.02, 0.05, 0.0, 0.08, 0.05]})
    controls = Tree(tree.root.parent / "controls")
    for seed in range(5):
        controls.run("oracle", seed, env={"commit": "c1"} if seed == 4 else {})
    out = tmp_path / "page"
    runs = f"runs=[{tree.root},{tree.root.parent}/contr*]"
    assert main([runs, f"out={out}", "where=[method.name!=lampo]"]) == 0
    page = (out / "comparison.md").read_text()
    assert page.startswith("# demo, controls: every method against grpo")
    assert "5 runs left out by where=[method.name!=lampo]." in page
    error = capsys.readouterr().err
    assert "hole: oracle-dddddddd seed 4: excluded: other code" in error and "allow=[code]" in error
    assert main([runs, f"out={out}", "allow=[code]"]) == 0
    text = capsys.readouterr()
    assert "MIXED CODE VERSIONS by allow=[code]: oracle seed 4" in text.out and text.err == ""


def test_an_incomplete_run_is_drawn_but_has_no_end_point(tree, capsys):
    tree.sweep({"lampo": [0.02, 0.05, 0.0, 0.08, 0.05]})
    folder = tree.folder("lampo", 4)
    (folder / "STATUS").write_text("running")
    for seed in range(2):  # not one finished run
        cut_to_step(tree.run("delta", seed, status="running"), 10)
    cut_to_step(folder, 10)
    assert main([f"runs={tree.root}", "allow=[incomplete]"]) == 0
    out = capsys.readouterr().out
    assert "| lampo  | all    | 4 |" in out and "INCOMPLETE RUNS by allow=[incomplete]" in out
    drawn = pd.concat(map(pd.read_csv, sorted(tree.root.rglob("learning_curves*.csv")))).drop_duplicates()
    own = drawn[
        (drawn["label"] == "lampo-bbbbbbbb") & (drawn["domain"] == "all") & (drawn["axis"] == "steps")
    ]
    assert own[own["seed"] == "4"]["x"].tolist() == [0, 10]
    numbers = pd.read_csv(tree.root / "comparison.csv").set_index(["label", "domain", "metric"])
    assert numbers.loc[("lampo-bbbbbbbb", "all", "end_point"), "n"] == 4
    assert numbers.loc[("lampo-bbbbbbbb", "all", "aulc"), "n"] == 4
    unfinished = numbers.loc[("delta-cccccccc", "all", "end_point")]
    assert unfinished["n"] == 0 and unfinished["verdict"] == "not resolved (n<5)"


def test_torch_is_never_imported():
    code = "import sys, harness.compare.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
