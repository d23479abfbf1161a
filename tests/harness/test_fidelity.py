"""docs/methods.md and the comments it is made from: up to date, complete, and right about what was published."""

import re
import shutil

import pytest
import yaml

from harness.config import CONF
from harness.errors import ConfigError
from harness.fidelity import COST, FOLDER, PAGE, SECTIONS, WORK, main, page
from harness.sources import GrammarError, read_part, read_preset
from methods.batch import SIGNALS
from methods.work import Worker

DOCUMENT = CONF.parent / PAGE
PRESETS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
NESTED = sorted(
    str(path.relative_to(FOLDER).with_suffix(""))
    for path in FOLDER.glob("*/*.yaml")
    if path.parent.name != "control"
)

# What the papers and their authors' code have, typed by hand from them, not from conf/. An option that is not named
# is open there. Of a variant only what differs from its base.
PUBLISHED = {
    # arXiv:2402.03300, 4.1.2: rewards less their mean over their standard deviation; what guards the division is open
    "advantage/group_mean": {"scale": "group"},
    "advantage/group_mean_unscaled": {"scale": "none"},  # arXiv:2503.20783
    "advantage/leave_one_out": {},  # arXiv:2402.14740
    # arXiv:2501.03262 and OpenRLHF: masked mean and variance, clamp(min=1e-8).rsqrt()
    "advantage/batch_whitened": {"baseline": "none", "over": "tokens", "epsilon": 1e-8},
    "advantage/batch_whitened_group": {"baseline": "group"},
    # arXiv:2602.07078, verl: compute_optimal_token_baseline_advantage(handle_zero_tail=True, epsilon=1e-8)
    "advantage/optimal_token_baseline": {"epsilon": 1e-8, "handle_zero_tail": True},
    # arXiv:2605.21235: the weight alone is known, second-hand; score, temperature, norm and centring are open
    "advantage/pairwise": {"weight": "self"},
    "advantage/pairwise_winner": {},
    # arXiv:1707.06347: γ 0.99, λ 0.95, Adam 3e-4; OpenAI baselines ppo2: 4 epochs of 4 mini-batches, values clipped
    "advantage/gae": {
        "lam": 0.95, "gamma": 0.99, "whiten": True, "epochs": 4, "minibatches": 4, "learning_rate": 3e-4,
        "value_clip": 0.2,
    },
    # arXiv:2410.01679: K = 9; GSM8K's configuration alone bounds the steps; advantages whitened as in its PPO
    "advantage/vine": {"rollouts": 9, "separator": "\n", "max_steps": 0, "whiten": True},
    # arXiv:2502.01456: β 0.05, reward model Adam 1e-6; code: reward_dpo_coef=5, reward_gt_coef=5, grad_clip=10,
    # batch_norm by the largest sum + 1e-6, masked_whiten, update=after in the main script
    "advantage/implicit_prm": {
        "beta": 0.05, "update": "after", "learning_rate": 1e-6, "grad_clip": 10, "process_coef": 5,
        "outcome_coef": 5, "norm": "batch", "norm_floor": 1e-6, "whiten": True, "correct_reward": 1, "pass_rows": 8,
    },
    # arXiv:2508.04349, second-hand: α = (1.0, 0.1), each side standardised by itself
    "advantage/gtpo": {"reward_weight": 1.0, "entropy_weight": 0.1, "normalise": "side"},
    "shaping/rouge_l": {},  # arXiv:2605.21235: λ_sem, text and gate are open
    # arXiv:2503.14476, 4.1: expected length 16384, a cache of 4096 on top; penalty factor 1.0 in its script
    "shaping/overlong": {"max_tokens": 20480, "cache_share": 0.2, "penalty_factor": 1.0},
    "shaping/random": {"probability": 0.5},  # arXiv:2506.10947: γ = 0.5
    # arXiv:2506.18254: R = .9·max(0, …) + .1·format, the answer between its tags
    "shaping/rlpr": {"separator": "<answer>", "until": "</answer>", "format_weight": 0.1},
    # arXiv:2605.21467, the authors' verl fork: K = 1, λ from 0.8 to 1.2, normalised over all valid tokens
    "weighting/delta": {"refine": 1, "bounds": [0.8, 1.2], "normalise_over": "all", "proxy": "hidden"},
    # arXiv:2506.01939: top 20 % of the entropies; the code averages over what it kept
    "weighting/forking_tokens": {"share": 0.2, "denominator": "kept"},
    # arXiv:2505.16826, the authors' code: F + IG over 2, both tf ratios at weight 1, 2σ(·) − 1, scores above 0, no eos
    "weighting/ktae": {
        "fisher": 1, "gain": 1, "frequency": 1, "scale": 1, "correct_above": 0, "skip_end": True,
    },
    # arXiv:2603.19835, 7B: τ 32, c 10, f in [0.8, 1.2], threshold 3 where A < 0; 32B: f in [1, 1.2], threshold 10
    "weighting/fipo": {"half_life": 32, "cap": 10, "bounds": [0.8, 1.2], "safety": 3, "safety_floor": 0.8},
    "weighting/fipo_32b": {"bounds": [1.0, 1.2], "safety": 10},
    # arXiv:2606.19236, the authors' code: top 10 % get 1.1 (variant C2: 0.9 below), while entropy is under 0.3
    "weighting/stare": {"top": 0.1, "weight_pos": 1.1, "weight_neg": 1.0, "target_entropy": 0.3},
    "weighting/stare_c2": {"weight_neg": 0.9},
    "weighting/gmts": {"share": 0.2},  # arXiv:2608.30632, second-hand
    # arXiv:2605.19436: λ from 0.5 to 0 in 25 steps, ε_w 0.5; a rollout under one half is rejected
    "weighting/cepo": {"template": "{prompt} {answer}", "mix": 0.5, "clip": 0.5, "rejected_below": 0.5},
    "weighting/rlsd": {"mix": 0.5, "clip": 0.2},  # arXiv:2604.03128: λ from 0.5 to 0 in 50 steps, ε_w 0.2
    # arXiv:2601.07408, README of the authors' code: threshold 0.25, beta 1.0, weights of at least 0.1
    "weighting/oar_gradient": {"threshold": 0.25, "boost": 1.0, "floor": 0.1},
    # arXiv:2604.23318, second-hand: spans of 100 tokens, one every 25, all of their tokens, rewards 0 and 1
    "weighting/shear": {"span": 100, "stride": 25, "points": 100, "normalise": "group", "correct_above": 0},
    "weighting/shear_short": {},
    # arXiv:2402.03300, eq. 3: mean over tokens, then over completions; its ε is not given
    "surrogate/ppo_clip": {"loss_type": "grpo", "importance_sampling_level": "token", "delta": None},
    "surrogate/ppo_token_mean": {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.2},  # arXiv:1707.06347: ε 0.2
    # arXiv:2503.20783 keeps PPO's clip and divides by a constant
    "surrogate/dr_grpo": {
        "loss_type": "dr_grpo", "importance_sampling_level": "token", "epsilon": 0.2, "epsilon_high": 0.2,
        "delta": None,
    },
    # arXiv:2503.14476: ε 0.2 and 0.28, mean over tokens
    "surrogate/dapo": {
        "loss_type": "dapo", "importance_sampling_level": "token", "epsilon": 0.2, "epsilon_high": 0.28,
        "delta": None,
    },
    "surrogate/dapo_dual_clip": {"delta": 10},  # clip_ratio_c=10.0 in the scripts of arXiv:2603.19835 and 2606.19236
    # arXiv:2507.18071, 5.1: 3e-4 and 4e-4
    "surrogate/gspo": {
        "loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4,
        "delta": None,
    },
    "surrogate/gspo_small": {},
    "surrogate/cispo": {},  # arXiv:2506.13585 tunes the cap and does not give it; 5 is arXiv:2510.13786's
    "surrogate/sapo": {"tau_pos": 1.0, "tau_neg": 1.05},  # arXiv:2511.20347
    # arXiv:2510.00194, second-hand: γ 1 and λ about 0.99, advantages of at least -0.1
    "surrogate/grpo_lambda": {"decay": 0.99, "floor": -0.1},
}  # fmt: skip


def published(file):
    """The paper's values of a part that do not stand as open."""
    part = read_part(FOLDER, *file.split("/"))
    return {option.name: yaml_value(option.paper) for option in part.options if option.paper != "open"}


def yaml_value(text):
    value = yaml.safe_load(text)
    try:
        return float(value) if isinstance(value, str) else value  # 1e-4 is a text to YAML 1.1
    except ValueError:
        return value


def base(file):
    defaults = yaml.safe_load((FOLDER / f"{file}.yaml").read_text()).get("defaults", [])
    return next((f"{file.partition('/')[0]}/{entry}" for entry in defaults if entry != "_self_"), None)


def expected(file):
    return (expected(base(file)) if base(file) else {}) | PUBLISHED[file]


@pytest.mark.parametrize("file", NESTED)
def test_what_stands_as_the_papers_value_is_what_was_published(file):
    if read_part(FOLDER, *file.split("/")).grade == "ours" and file not in PUBLISHED:
        assert published(file).items() <= (expected(base(file)).items() if base(file) else {}.items())
        return
    assert file in PUBLISHED, f"type what its paper has into PUBLISHED, from the paper: {file}"
    assert published(file) == expected(file)


def test_published_names_no_file_that_is_gone():
    assert set(PUBLISHED) <= set(NESTED)


# The page


@pytest.fixture(scope="module")
def text():
    return page()


def test_the_page_is_up_to_date(text):
    assert DOCUMENT.exists() and DOCUMENT.read_text() == text, "stale: run python -m harness.fidelity"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_stands_on_the_page(text, name):
    assert text.count(f"\n### {name}\n") == 1
    [row] = [line for line in text.splitlines() if line.startswith(f"| [{name}](#{name}) |")]
    assert "](https://arxiv.org/abs/" in row or "| ours |" in row
    section = text.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    for group, part in read_preset(FOLDER, name).parts.items():
        assert f"../conf/method/{group}/{part}.yaml" in section or f"{group} {part}" in section
    head = (FOLDER / f"{name}.yaml").read_text()
    for key, shown in (("left out", "Left out"), ("deviation", "Deviation")):
        assert section.count(f"- **{shown}**: ") == len(re.findall(f"^# {key}: ", head, flags=re.MULTILINE))


def test_presets_stand_where_their_files_put_them(text):
    key = {title.partition(":")[0]: section for section, title in SECTIONS.items()}
    found = {}
    for line in text.partition("## Overview")[2].partition("\n## ")[0].splitlines():
        if line.startswith("| **"):
            section = key[line.split("**")[1]]
        elif line.startswith("| ["):
            found[line.partition("[")[2].partition("]")[0]] = section
    assert list(dict.fromkeys(found.values())) == list(SECTIONS) and next(iter(found)) == "grpo"
    for section, names in {
        "baselines": ("grpo", "dr_grpo", "rloo"),
        "pairwise": ("lampo", "lampo_delta"),
        "frozen": ("delta", "forking_tokens"),
        "live": ("fipo", "stare"),
        "work": ("vine_ppo", "ppo", "prime", "oar_gradient"),
        "rewards": ("rlpr", "random_reward"),
        "surrogates": ("dapo", "gspo"),
        "second-hand": ("gmts", "shear", "grpo_lambda"),
        "controls": ("oracle", "lampo_constant", "lampo_shuffled", "delta_permuted"),
    }.items():
        assert {found[name] for name in names} == {section}, (section, names)


def test_tables_have_as_many_cells_in_every_row(text):
    width = None
    for line in text.splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert width in (None, cells), line
        width = cells


def test_nothing_is_read_as_markup_by_accident(text):
    for line in text.splitlines():
        outside = re.sub(r"`` .+? ``|`[^`]*`", "", line)
        assert not re.search(r"(?<!\\)[<$]", outside), line
        assert outside.count("[") - outside.count("\\[") == outside.count("](") or "\\[" in outside, line


def test_the_cost_of_everything_a_part_may_ask_for_is_told():
    work = {name for name in vars(Worker) if not name.startswith("_")}
    assert set(WORK) == work and set(COST) == set(SIGNALS) | work


def test_the_command(tmp_path, capsys, text, monkeypatch):
    monkeypatch.setattr("harness.fidelity.page", lambda: text)
    out = tmp_path / "docs" / "page.md"
    assert main([f"out={out}", "check=true"]) == 1
    assert main([f"out={out}"]) == 0 and out.read_text() == text
    assert main([f"out={out}", "check=true"]) == 0
    out.write_text(text.replace("grpo", "grop"))
    assert main([f"out={out}", "check=true"]) == 1 and "stale" in capsys.readouterr().out
    assert main(["ouf=x"]) == 2 and "Did you mean out?" in capsys.readouterr().err
    assert main(["check=yes"]) == 2


# The grammar

HEAD = "# A weight, arXiv:2501.00001\n# equation: w = |x|; eq. 1\n# source: paper, its text\n_target_: a.B\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weighting").mkdir()
    (tmp_path / "config.yaml").write_text("defaults: []")
    return tmp_path


def planted(folder, text):
    (folder / "weighting" / "own.yaml").write_text(text)
    return read_part(folder, "weighting", "own")


def test_a_part_as_it_should_be(folder):
    part = planted(folder, HEAD.replace("_target_", "# left out: the rest,\n# which is long\n_target_") + (
        "share: 0.20  # 0 < share < 1; paper: 2e-1 (eq. 7; code)\n"
        "cap: 3  # paper: null; ours: a long reason,\n"
        "        # told in two lines\n"
        "bounds: [0.8, 1.2]  # (low, high); see text; paper: [0.8, 1.2]\n"
        "text: '; paper'  # any; paper: open; ours: as it is\n"
        "run: ${trainer.steps}  # paper: 5; ours: as long as the run\n"
    ))  # fmt: skip
    assert (part.what, part.papers, part.grade, part.read) == (
        "A weight, arXiv:2501.00001", ("2501.00001",), "paper", "its text",
    )  # fmt: skip
    assert (part.equation, part.left_out) == ("w = |x|; eq. 1", ("the rest, which is long",))
    share, cap, bounds, text, run = part.options
    assert (share.ours, share.paper, share.where, share.allowed) == (
        "0.20",
        "2e-1",
        "eq. 7; code",
        "0 < share < 1",
    )
    assert (cap.status, cap.reason) == ("deviates", "a long reason, told in two lines")
    assert bounds.status == share.status == "as published" and bounds.allowed == "(low, high); see text"
    assert (text.status, text.reason) == ("open", "as it is")
    assert (run.ours, run.paper, run.status) == ("${trainer.steps}", "5", "deviates")


def test_a_variant_has_from_its_base_what_it_does_not_say(folder):
    planted(folder, HEAD + "a: 1  # paper: 1\nb: x  # paper: x\n")
    variant = folder / "weighting" / "variant.yaml"
    variant.write_text("# Another\ndefaults: [own, _self_]\na: 2  # paper: 1; ours: scaled\n")
    part = read_part(folder, "weighting", "variant")
    assert (part.what, part.papers, part.equation, part.grade) == (
        "Another", ("2501.00001",), "w = |x|; eq. 1", "paper",
    )  # fmt: skip
    assert part.target == "a.B" and [(o.name, o.ours, o.status) for o in part.options] == [
        ("a", "2", "deviates"),
        ("b", "x", "as published"),
    ]
    head = "# Another, arXiv:2501.00002\n# equation: w = 1\n# source: code, all\n# deviation: y\n"
    variant.write_text(head + "defaults: [own, _self_]\na: 2  # paper: 1; ours: scaled\n")
    part = read_part(folder, "weighting", "variant")
    assert (part.papers, part.equation, part.grade, part.read) == (("2501.00002",), "w = 1", "code", "all")
    assert part.deviations == ("y",)


REFUSED = {
    "another value without a reason": ("x: 0.3  # paper: 0.2\n", ":5: x is 0.3, the paper has 0.2: say why"),
    "open without a reason": ("x: 0.3  # > 0; paper: open\n", ":5: x is 0.3, the paper leaves it open: say why"),
    "the paper's value with a reason": ("x: 0.2  # paper: 0.20; ours: better\n", "nothing to explain"),
    "true is not 1": ("x: true  # paper: 1\n", "say why"),
    "no paper": ("x: 0.2  # > 0\n", ":5: expected `<allowed>; paper: <value or open>"),
    "a reason alone": ("x: 0.2  # > 0; ours: so\n", ":5: expected `<allowed>; paper: <value or open>"),
    "comma for semicolon": ("x: 0.2  # paper: open, ours: so\n", ":5: expected"),
    "no comment": ("x: 0.2\n", ":5: expected `option: value  # "),
    "a detail outside parentheses": ("x: 0.2  # paper: 0.3 in its code; ours: so\n", "is no number"),
    "several lines": ("y: 1  # paper: 1\nx:\n  - 1\n", ":6: expected"),
    "another spelling": ("'x' : 0.2  # paper: 0.2\n", "x is not written as `option: value  # …` on one line"),
    "a comment between": ("x: 1  # paper: 1\n# y: 2  # paper: 2\n", ":6: comments stand at the top"),
}  # fmt: skip


@pytest.mark.parametrize("lines, says", REFUSED.values(), ids=REFUSED)
def test_options_refused(folder, lines, says):
    planted(folder, HEAD + "x: 0.2  # paper: 0.2\n")
    with pytest.raises(GrammarError) as refused:
        planted(folder, HEAD + lines)
    assert f"{folder / 'weighting' / 'own.yaml'}" in str(refused.value) and says in str(refused.value)
    assert isinstance(refused.value, ConfigError)


HEADS = {
    "no equation": ("# equation: w = |x|; eq. 1\n", "", ":1: `# equation: …` and `# source: …`"),
    "no source": ("# source: paper, its text\n", "", ":1: `# equation: …` and `# source: …`"),
    "grade": ("source: paper,", "source: rumour,", "expected `<code | paper | second-hand | ours>"),
    "nothing read": ("source: paper, its text", "source: paper", "<what was read>"),
    "no paper": (", arXiv:2501.00001", "", ":1: names no arXiv:<id>"),
    "misspelt": ("# source: ", "# sourse: ", ":3: `# sourse:`: did you mean `# source:`?"),
    "capital": ("_target_", "# Left out: all\n_target_", ":4: `# Left out:`: did you mean `# left out:`?"),
    "twice": ("_target_", "# source: code, too\n_target_", ":4: a second `# source:`"),
    "empty": ("_target_", "# deviation:\n_target_", ":4: `# deviation:` says nothing"),
    "no head": ("# A weight, arXiv:2501.00001\n", "", ":1: "),
    "no target": ("_target_: a.B\n", "", "no _target_"),
}


@pytest.mark.parametrize("old, new, says", HEADS.values(), ids=HEADS)
def test_heads_refused(folder, old, new, says):
    assert old in HEAD
    with pytest.raises(GrammarError) as refused:
        planted(folder, HEAD.replace(old, new) + "x: 0.2  # paper: 0.2\n")
    assert says in str(refused.value)


def test_a_planted_value_is_refused_wherever_it_stands(tmp_path):
    shutil.copytree(CONF, tmp_path / "conf")
    own = tmp_path / "conf" / "method" / "weighting" / "delta.yaml"
    assert "refine: 1 " in own.read_text()
    own.write_text(own.read_text().replace("refine: 1 ", "refine: 2 "))
    with pytest.raises(GrammarError, match=r"delta\.yaml:\d+: refine is 2, the paper has 1"):
        page(tmp_path / "conf" / "method")


def test_presets_refused(folder):
    parts = "defaults: [advantage: a, weighting: b, shaping: c, surrogate: d, _self_]\n"
    good = f"# A, arXiv:2501.00001: what it is\n# More\n# deviation: x\n{parts}_target_: m\nname: own\n"
    path = folder / "own.yaml"
    path.write_text(good.replace("{", ""))
    preset = read_preset(folder, "own")
    assert (preset.title, preset.what, preset.papers) == ("A", "what it is", ("2501.00001",))
    assert (preset.notes, preset.deviations, preset.parts["shaping"]) == (("More",), ("x",), "c")
    for old, new, says in (
        ("# A, arXiv:2501.00001: what it is", "# What it is", ":1: expected `# <Name>, arXiv:<id>: "),
        ("# More", "# source: paper, x", "belongs to the file of a part"),
        (", surrogate: d", "", "its defaults choose"),
        ("name: own", "name: own\nrounds: 2", ":7: expected `option: value"),
    ):
        path.write_text(good.replace(old, new))
        with pytest.raises(GrammarError, match=re.escape(says)):
            read_preset(folder, "own")
