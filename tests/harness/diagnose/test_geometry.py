"""The command, on short runs of the embedded policy."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from harness.compose import composer
from harness.config import run_dir
from harness.diagnose.endpoints import _weighted, move
from harness.diagnose.geometry import cosines, geometry, main, parse
from harness.diagnose.kept import directions, read
from harness.errors import ConfigError
from harness.run import run

SMALL = (
    "trainer.steps=3", "trainer.prompts_per_step=6", "trainer.completions_per_prompt=4", "trainer.deltas_every=1",
    "suite.horizon=1", "evaluation.every=3", "evaluation.curve_problems=2", "evaluation.curve_samples=2",
    "evaluation.validation_problems=2", "evaluation.test_problems=4", "evaluation.test_samples=2",
    "evaluation.temperatures=[1.0]", "experiment_name=geometry",
)  # fmt: skip


def trained(where, *overrides):
    with composer() as compose:
        cfg = compose([*SMALL, f"results_dir={where}", *overrides])
    label = cfg.label
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    cfg.label = label
    run(cfg)
    return run_dir(cfg)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    where = tmp_path_factory.mktemp("runs")
    return [trained(where, "method=grpo"), trained(where, "method=oracle")]


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    assert main([f"run=[{','.join(map(str, runs))}]", "window=0.5", "nulls=3", f"out={out}"]) == 0
    return out


def rows(folder):
    """The whole trajectory (n, P) of a run, tensors in the order of their names."""
    files = sorted((folder / "deltas").iterdir())
    return np.stack([
        np.concatenate([own[name].double().numpy().ravel() for name in sorted(own)]) for own in map(load_file, files)
    ])  # fmt: skip


def test_shapes_are_those_of_the_trajectory_as_a_whole(runs, written):
    table = pd.read_csv(written / "geometry.csv").set_index(["run", "tensor", "measure"])
    for folder, name in zip(runs, ("grpo", "oracle"), strict=True):
        (label,) = {run for run, *_ in table.index if run.startswith(name)}
        whole = rows(folder)
        assert whole.shape[0] == 6 and table.loc[(label, "all", "ev1"), "size"] == whole.shape[1]
        sigma = np.linalg.svd(whole, compute_uv=False)
        for k in range(5):
            assert table.loc[(label, "all", f"ev{k + 1}"), "value"] == pytest.approx(
                sigma[k] ** 2 / (sigma**2).sum(), rel=1e-3
            )
        first = np.linalg.svd(whole[:3], compute_uv=False)
        assert table.loc[(label, "all", "window_ev1"), "value"] == pytest.approx(
            first[0] ** 2 / (first**2).sum(), rel=1e-3
        )
        names = set(table.loc[label].index.get_level_values("tensor"))
        assert names == {"all", *read(folder).shapes} and len(names) == 36


def test_every_simulation_of_a_null_is_another(written):
    table = pd.read_csv(written / "geometry.csv").set_index("measure").loc["ev1"]
    for null in ("walk", "adam"):
        assert (table[f"{null}_low"] < table[f"{null}_high"]).all()


def test_the_cosine_of_two_runs_is_that_of_their_first_directions(runs, written):
    found = pd.read_csv(written / "cosines.csv").set_index("tensor")
    v = []
    for folder in runs:
        whole = rows(folder)
        first = np.linalg.svd(whole, full_matrices=False)[2][0]
        v.append(first * np.sign(whole[-1] @ first))
    assert found.loc["all", "cosine"] == pytest.approx(v[0] @ v[1], abs=1e-3)
    assert found.loc["all", "chance"] == pytest.approx(1.96 / len(v[0]) ** 0.5, rel=1e-3)


def test_the_trained_and_the_base_policy_score_as_in_the_records(runs, written):
    found = pd.read_csv(written / "evaluation.csv")
    for folder, name in zip(runs, ("grpo", "oracle"), strict=True):
        evals = [json.loads(text) for text in (folder / "evals.jsonl").read_text().splitlines()]
        for step, point in ((0, "base"), (3, "trained, update 6")):
            for domain in ("all", "math", "code", "science"):
                (known,) = {
                    e["avg"] for e in evals
                    if (e["step"], e["split"], e["mode"], e["domain"]) == (step, "test", "sampled", domain)
                }  # fmt: skip
                own = found[found["run"].str.startswith(name) & (found["point"] == point)]
                assert own.set_index("domain").loc[domain, "accuracy"] == pytest.approx(known, abs=1e-3)
    last = found[found["point"] == "trained, update 6"]
    assert (last[["difference", "diff_low", "diff_high"]] == 0).all(axis=None)
    assert len(found) == 2 * 6 * 4


def test_points_are_what_their_names_say(runs):
    own = geometry(read(runs[0]), "grpo", 0.5)
    whole = rows(runs[0])

    def place(weights):
        changes = own.run.combined(weights)
        return np.concatenate([changes[name].numpy().ravel() for name in sorted(changes)])

    points = {name: place(weights) for name, weights in own.points(9).items()}
    assert list(points) == [
        "base", "window's end, update 3", "its rank 1", "extrapolated to update 9", "rank 1 of the whole run",
        "trained, update 6",
    ]  # fmt: skip
    assert not points["base"].any()
    assert np.array_equal(points["window's end, update 3"], whole[2])
    assert np.array_equal(points["trained, update 6"], whole[5])
    start = 0
    for name, size in own.run.sizes.items():  # each tensor by itself
        part = slice(start, start := start + size)
        left, sigma, right = np.linalg.svd(whole[:3, part], full_matrices=False)
        c = sigma[0] * left[:, 0]
        slope, intercept = np.polyfit([1, 2, 3], c, 1)
        scale = np.abs(whole[:, part]).max()
        assert points["its rank 1"][part] == pytest.approx(c[2] * right[0], abs=1e-6 * scale), name
        reached = (9 * slope + intercept) * right[0]
        assert points["extrapolated to update 9"][part] == pytest.approx(reached, abs=1e-5 * scale), name
        left, sigma, right = np.linalg.svd(whole[:, part], full_matrices=False)
        best = sigma[0] * left[5, 0] * right[0]
        assert points["rank 1 of the whole run"][part] == pytest.approx(best, abs=1e-6 * scale), name


def test_tensors_read_in_pieces_are_the_same(runs, monkeypatch):
    whole = read(runs[0])
    grams = whole.grams()
    weights = {name: np.arange(6.0) for name in whole.shapes}
    combined, dots = whole.combined(weights), directions([whole, whole], [weights, weights])
    monkeypatch.setattr("harness.diagnose.kept.ELEMENTS", 6 * 96 * 10)
    assert len(list(whole.blocks("model.embed_tokens.weight"))) == 5  # 44 rows, 10 at a time
    again = whole.grams(), whole.combined(weights), directions([whole, whole], [weights, weights])
    for name in whole.shapes:
        assert again[0][name] == pytest.approx(grams[name])
        assert again[1][name].shape == whole.shapes[name] and torch.allclose(again[1][name], combined[name])
        assert again[2][name] == pytest.approx(dots[name])


def test_the_page_and_its_files(written):
    names = {path.name for path in written.iterdir()}
    assert names == {
        "geometry.md", "geometry.csv", "cosines.csv", "evaluation.csv",
        *(f"{stem}.{end}" for stem in ("explained", "coefficients") for end in ("png", "svg", "csv")),
    }  # fmt: skip
    page = (written / "geometry.md").read_text()
    for part in ("Gaussian random walk", "AdamW on noise", "both nulls in", "window=0.5", "minus trained", "`grpo"):
        assert part in page, part
    assert "out=" not in page


def test_one_run_without_nulls_and_evaluation_claims_nothing(runs, capsys):
    assert main([f"run={runs[0]}", "nulls=0", "evaluate=false", "window=0.5"]) == 0
    text = (runs[0] / "geometry" / "geometry.md").read_text()
    assert "Without nulls none of this says that training is low-rank" in text
    assert not (runs[0] / "geometry" / "evaluation.csv").exists()
    assert not (runs[0] / "geometry" / "cosines.csv").exists()


# Refusals


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs=x"], "no option runs. Did you mean run?"),
        (["window=0.5"], "give a run's folder"),
        (["run=[]"], "give a run's folder"),
        (["run=nowhere/*"], "no such folder"),
        (["run=[x,x]"], "name each folder once"),
        (["run=x", "window=1"], "window=1.0: expected a share"),
        (["run=x", "nulls=-1"], "nulls=-1"),
        (["run=x", "nulls=a"], "cannot read"),
        (["run=x", "split=train"], "split=train"),
        (["run=x", "extrapolate=0"], "extrapolate=0"),
    ],
)
def test_options_are_refused_in_a_sentence(arguments, said):
    with pytest.raises(ConfigError) as error:
        parse(arguments)
    assert said in str(error.value)


def refused(capsys, *arguments):
    capsys.readouterr()
    assert main(list(arguments)) == 2
    return capsys.readouterr().err


def test_a_folder_that_is_no_run_and_a_run_without_changes_are_refused(runs, tmp_path, capsys):
    assert "is no run" in refused(capsys, f"run={tmp_path}")
    config = (runs[0] / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(config.replace("deltas_every: 1", "deltas_every: 0"))
    (tmp_path / "env.json").write_text((runs[0] / "env.json").read_text())
    assert "train it with trainer.deltas_every=1" in refused(capsys, f"run={tmp_path}")
    (tmp_path / "config.yaml").write_text(config)
    assert "keeps 0 of the 6 changes" in refused(capsys, f"run={tmp_path}")
    assert main([]) == 2
    assert main(["--help"]) == 0


def test_a_window_without_a_line_is_refused(runs, capsys):
    assert "is 1, a line takes at least 3" in refused(capsys, f"run={runs[0]}")


def test_runs_from_other_weights_are_not_compared(runs, tmp_path, capsys):
    other = tmp_path / "seed-0"
    (other / "deltas").mkdir(parents=True)
    for name in ("config.yaml", "env.json"):
        (other / name).write_text((runs[1] / name).read_text())
    for path in (runs[1] / "deltas").iterdir():
        save_file(load_file(path), other / "deltas" / path.name, metadata={"base": "0" * 16})
    assert "begin from other weights" in refused(capsys, f"run=[{runs[0]},{other}]", "window=0.5")
    assert "put the old ones back" in refused(capsys, f"run={other}", "window=0.5")
    first = next((other / "deltas").iterdir())
    save_file(load_file(first), first, metadata={"base": "1" * 16})
    assert "train it anew" in refused(capsys, f"run={other}", "window=0.5")


# Parts


def test_the_mean_over_domains_weights_domains_alike():
    values, domains = np.array([1.0, 0, 0, 1, np.nan]), np.array(["a", "b", "b", "b", "b"])
    assert _weighted(values, domains, "all").mean() == pytest.approx((1 + 1 / 3) / 2)
    assert _weighted(values, domains, "b").tolist() == [0, 0, 1]


def test_parameters_are_moved_and_put_back():
    base, own = {"x": torch.tensor([1.0, 2])}, {"x": torch.nn.Parameter(torch.zeros(2))}
    move(own, base, {"x": torch.tensor([0.5, -1], dtype=torch.float64)})
    assert own["x"].tolist() == [1.5, 1]
    move(own, base, None)
    assert own["x"].tolist() == [1, 2]


def test_a_run_is_its_own_twin(runs):
    own = geometry(read(runs[0]), "a", 0.5)
    assert cosines([own, own])["cosine"].to_numpy() == pytest.approx(1)
