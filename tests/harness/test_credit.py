"""`python -m harness.credit`: rollouts of another trainer in, credit out."""

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from harness.bench.synthetic import Policy, rollouts
from harness.config import CONF
from harness.credit import main, read_rollouts, write
from harness.errors import ConfigError
from harness.imported import COLUMNS, SIGNAL_COLUMNS, SIGNAL_OF
from harness.load import load_method
from methods import Credit, RolloutBatch
from methods.batch import SIGNALS

PRESETS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))

# Two groups, one of three and one of two, their lines apart; line 4 is blank.
RAGGED = [
    {"group": "a", "completion_ids": [5, 6], "reward": 1},
    {"group": 7, "completion_ids": [8], "reward": 0.5},
    {"group": "a", "completion_ids": [5], "reward": 0},
    None,
    {"group": 7, "completion_ids": [], "reward": 0},
    {"group": "a", "completion_ids": [9, 9, 9], "reward": 0},
]


@pytest.fixture
def file(tmp_path):
    """Write lines as JSON, None as a blank line, text as it is; returns the path."""

    def make(lines, name="rollouts.jsonl"):
        path = tmp_path / name
        texts = [x if isinstance(x, str) else "" if x is None else json.dumps(x) for x in lines]
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
        return path

    return make


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder: `command(path, "method=lampo") -> (exit code, stdout, stderr)`."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def written(path="credit.jsonl"):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_groups_that_lie_apart_and_differ_in_size(file, command):
    code, out, err = command(file(RAGGED), "method=grpo", "method.advantage.scale=none")
    assert (code, err) == (0, "")
    # group a: rewards 1, 0, 0, mean 1/3; group 7: 1/2, 0, mean 1/4
    assert written() == [
        {"group": "a", "row": 1, "credit": pytest.approx([2 / 3, 2 / 3])},
        {"group": 7, "row": 2, "credit": [0.25]},
        {"group": "a", "row": 3, "credit": pytest.approx([-1 / 3])},
        {"group": 7, "row": 5, "credit": []},
        {"group": "a", "row": 6, "credit": pytest.approx([-1 / 3] * 3)},
    ]
    assert "5 completions, 2 groups of 2 to 3, 7 tokens" in out and "method grpo" in out
    # 2·(2/3)² + 4·(1/3)² + (1/4)² = 1.395833 over 7 tokens
    assert metrics(out)["credit_rms"] == pytest.approx(math.sqrt(1.3958333 / 7), rel=1e-5)
    assert metrics(out)["unscorable"] == 0, "the row that fills up group 7 is no line of the file"
    assert metrics(out)["zero_variance_share"] == 0


def metrics(out):
    return {name: float(value) for name, value in re.findall(r"\| (\w+) +\| +([-\d.e+]+) \|", out)}


def test_the_batch_that_is_read(file):
    lines = [
        {
            **line,
            "reward_terms": {"right": line["reward"]},
            "decisive": [1] * len(line["completion_ids"]),
            "prompt": f"of {line['group']}",
            "reference": "y",
            "token_texts": ["t"] * len(line["completion_ids"]),
        }
        for line in RAGGED
        if line
    ]
    batch, places = read_rollouts(file(lines))
    assert [tuple(place) for place in places] == [
        ("a", 1, 0, 2), (7, 2, 3, 1), ("a", 3, 1, 1), (7, 4, 4, 0), ("a", 5, 2, 3)
    ]  # fmt: skip
    assert batch.group_size == 3
    assert batch.completion_ids.tolist() == [[5, 6, 0], [5, 0, 0], [9, 9, 9], [8, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert batch.mask.sum(1).tolist() == [2, 1, 3, 1, 0, 0] and batch.mask[0].tolist() == [True, True, False]
    for rewards in (batch.rewards, batch.reward_terms["right"]):
        assert rewards[:5].tolist() == [1, 0, 0, 0.5, 0] and rewards[5].isnan()
    assert batch.decisive.dtype == torch.int64 and batch.decisive.sum() == 7
    assert batch.prompts == ["of a", "of a", "of a", "of 7", "of 7", ""]
    assert batch.references == ["y"] * 5 + [None]
    assert batch.token_texts == [["t"] * n for n in (2, 1, 3, 1, 0, 0)]


def test_every_kind_of_column(file):
    first = {
        "group": 0, "completion_ids": [4, 5], "mask": [1, 0], "reward": None, "reward_terms": {"x": None},
        "logps": [-0.5, None], "entropies": [1, 0.25], "sum_sq_probs": [0.5, 1], "ref_logps": [-1, 1e-7],
        "decisive": [-1, None], "hidden": [[1, 2.5, 3], [4, 5, 6]], "probs": [[0.5, 0.5], [1, 0]],
        "prompt": "wie groß?", "completion": "4\u20285", "reference": None, "token_texts": ["4", ""],
    }  # fmt: skip
    assert first.keys() == COLUMNS.keys(), "a new column belongs in this test"
    second = {
        **first, "completion_ids": [6], "mask": [1], "reward": 2, "reward_terms": {"x": 2}, "reference": "y",
        **{name: first[name][1:] for name in ("entropies", "sum_sq_probs", "hidden", "probs", "token_texts")},
        "logps": [-3], "ref_logps": [0], "decisive": [0],
    }  # fmt: skip
    batch, _ = read_rollouts(file([first, second]))
    assert batch.mask.tolist() == [[True, False], [True, False]]
    assert batch.rewards.isnan().tolist() == [True, False] and batch.reward_terms["x"][1] == 2
    assert batch.logps.tolist() == [[-0.5, 0], [-3, 0]] and batch.logps.dtype == torch.float64
    assert batch.entropies.tolist() == [[1, 0.25], [0.25, 0]]
    assert batch.sum_sq_probs.tolist() == [[0.5, 1], [1, 0]]
    assert batch.ref_logps.tolist() == [[-1, 1e-7], [0, 0]]
    assert batch.decisive.tolist() == [[-1, 0], [0, 0]]
    assert batch.hidden.tolist() == [[[1, 2.5, 3], [4, 5, 6]], [[4, 5, 6], [0, 0, 0]]]
    assert batch.hidden.dtype == torch.float32
    assert batch.probs.tolist() == [[[0.5, 0.5], [1, 0]], [[1, 0], [0, 0]]]
    assert batch.prompts == ["wie groß?"] * 2 and batch.completions == ["4\u20285"] * 2
    assert batch.references == [None, "y"] and batch.token_texts == [["4"], [""]], "of the mask"


def test_a_null_reward_or_term_casts_no_vote_and_is_counted(file, command):
    lines = [
        {"group": 1, "completion_ids": [4], "reward": 1, "reward_terms": {"x": 1}},
        {"group": 1, "completion_ids": [5], "reward": 0, "reward_terms": {"x": 0}},
        {"group": 1, "completion_ids": [6], "reward": None, "reward_terms": {"x": 0}},
        {"group": 1, "completion_ids": [7], "reward": 0, "reward_terms": {"x": None}},
        {"group": 2, "completion_ids": [8], "reward": 1, "reward_terms": {"x": 1}},
        {"group": 2, "completion_ids": [9], "reward": 0, "reward_terms": {"x": 1}},
    ]
    code, out, _ = command(file(lines), "method=grpo", "method.advantage.scale=none", "out=own.jsonl")
    assert code == 0 and metrics(out)["unscorable"] == 2, "of eight rows in the batch two stand for no line"
    assert [line["credit"] for line in written("own.jsonl")] == [[0.5], [-0.5], [0], [0], [0.5], [-0.5]]


def test_no_credit_where_the_mask_is_0(file, command):
    lines = [
        {"group": 1, "completion_ids": [4, 5, 6], "mask": [1, 0, 1], "reward": 1},
        {"group": 1, "completion_ids": [4], "mask": [1], "reward": 0},
    ]
    assert command(file(lines), "method=grpo", "method.advantage.scale=none")[0] == 0
    assert [line["credit"] for line in written()] == [[0.5, 0, 0.5], [-0.5]]


def test_the_help_s_example(file, command, capsys):
    assert main(["--help"]) == 0
    help = capsys.readouterr().out
    given = re.findall(r'^    (\{"group".*"reward".*\})$', help, re.MULTILINE)
    shown = json.loads(re.search(r'^    (\{"group".*"credit".*\})$', help, re.MULTILINE).group(1))
    assert command(file(given), "method=lampo")[0] == 0
    # s = -0.8/2 and -2.2/3, Δ/τ = 3.33333, σ = 0.96555
    assert written()[0] == {**shown, "credit": pytest.approx(shown["credit"], abs=5e-5)}
    assert shown["credit"][0] == pytest.approx(1 / (1 + math.exp(-(2.2 / 3 - 0.4) / 0.1)), abs=5e-5)
    assert all(f"\n    {column} " in help for column in COLUMNS)
    assert main([]) == 2


def test_every_signal_has_a_column_that_is_described():
    assert SIGNAL_COLUMNS.keys() == SIGNAL_OF.keys()
    assert sorted(SIGNAL_OF.values()) == sorted(SIGNALS)


def test_it_runs_as_a_module(file, tmp_path):
    path = file(RAGGED)
    command = [sys.executable, "-m", "harness.credit", str(path), f"out={tmp_path / 'out.jsonl'}"]
    done = subprocess.run(command, cwd=CONF.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(written(tmp_path / "out.jsonl")) == 5 and "written: " in done.stdout


def test_overrides_are_those_of_the_runner(file, command):
    lines = [{**line, "logps": [-1.0] * len(line["completion_ids"])} for line in RAGGED if line]
    path = file(lines)
    for overrides in (
        ["method=lampo", "method.advantage.weight=constant"],
        ["method=grpo", "method/advantage=pairwise_constant"],
        ["method/advantage=pairwise", "++method.advantage.weight=constant"],
    ):
        assert command(path, *overrides)[0] == 0
        assert written()[1]["credit"] == [0.25], "half of 1/2 − 0"


def test_a_method_of_ones_own(file, command, tmp_path, monkeypatch):
    (tmp_path / "own_live.py").write_text(
        "from methods.weightings.uniform import Uniform\n"
        "class Live(Uniform):\n"
        "    def live(self, now, credit):\n"
        "        return credit\n"
    )
    conf = tmp_path / "my_conf" / "method" / "weighting"
    conf.mkdir(parents=True)
    (conf / "live.yaml").write_text("_target_: own_live.Live\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = file(RAGGED)
    own = ["--config-dir", tmp_path / "my_conf", "method/weighting=live"]
    code, out, _ = command(path, *own, "method.dynamic_sampling=2")
    assert code == 0
    assert "frozen credit" in out and "fresh prompts" in out
    code, out, _ = command(path)
    assert code == 0 and "frozen credit" not in out and "fresh prompts" not in out
    (conf / "delta.yaml").write_text("_target_: own_live.Live\n")
    code, _, err = command(path, *own)
    assert code == 0 and "rename it" in err, "a file that a built-in one hides"


LINE = {"group": 1, "completion_ids": [4, 5], "reward": 1}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"group": 1', r":2: no JSON \(.*\): write every object whole on its line\.$"),
        ("[1, 2]", r":2: expected an object {…}, got \[1, 2\]"),
        ('{"group": 1, "group": 2}', ":2: group: it stands twice"),
        ({**LINE, "rewards": 1}, r":2: rewards: no such column\. Did you mean reward"),
        ({**LINE, "logprobs": [-1, -1]}, r":2: logprobs: no such column\. Did you mean .*logps"),
        ({"group": 1, "completion_ids": [4]}, ":2: reward: every line needs it: number; null if"),
        ({**LINE, "logps": [-1, -1]}, ":2: logps: this line has logps, line 1 does not: give every line"),
        ({**LINE, "group": 1.5}, ":2: group: expected a string or an integer, got 1.5"),
        ({**LINE, "group": True}, ":2: group: expected"),
        ({**LINE, "completion_ids": "4 5"}, ":2: completion_ids: expected a list with an entry"),
        ({**LINE, "completion_ids": [4, 5.0]}, r":2: completion_ids\[1\]: expected an integer, got 5.0"),
        ({**LINE, "completion_ids": [4, True]}, r":2: completion_ids\[1\]: expected an integer, got True"),
        ({**LINE, "completion_ids": [4, -100]}, r":2: completion_ids\[1\]: -100: a token id is at least 0"),
        ({**LINE, "completion_ids": [2**70]}, r":2: completion_ids\[0\]: 1180591620717411303424 is too large"),
        ({**LINE, "reward": "1"}, ":2: reward: expected a finite number, or null if .*, got '1'"),
        ({**LINE, "reward": math.nan}, ":2: reward: expected a finite number, or null if .*, got nan"),
        ({**LINE, "reward": -math.inf}, ":2: reward: .*got -inf"),
        ({**LINE, "reward": True}, ":2: reward: .*got True"),
        ('{"group": 1, "completion_ids": [], "reward": 1e999}', ":2: reward: .*got inf"),
        (f'{{"group": 1, "completion_ids": [], "reward": 1{"0" * 400}}}', ":2: reward: 10.*0 is too large"),
    ],
)  # fmt: skip
def test_a_line_that_is_refused(file, line, says):
    path = file([LINE, line])
    with pytest.raises(ConfigError, match=re.escape(str(path)) + says):
        read_rollouts(path)


SIGNALLED = {**LINE, "mask": [1, 0], "logps": [-1, -2], "hidden": [[1, 2], [3, 4]], "reward_terms": {"x": 1},
             "token_texts": ["a", "b"], "prompt": "p", "reference": None, "decisive": [0, 1],
             "sum_sq_probs": [0.5, 0.5], "entropies": [0, 1]}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mask": [1]}, ":2: mask: 1 entries for 2 completion_ids: give one for every token"),
        ({"mask": [1, 2]}, r":2: mask\[1\]: 2: it is 0 or 1"),
        ({"logps": [-1, -1, -1]}, ":2: logps: 3 entries for 2 completion_ids"),
        ({"logps": [None, -1]}, r":2: logps\[0\]: expected a finite number, got None"),
        ({"mask": [0, 0], "logps": [None, "x"]}, r":2: logps\[1\]: expected a finite number, got 'x'"),
        ({"logps": [-1, math.nan]}, r":2: logps\[1\]: expected a finite number, got nan"),
        ({"logps": [-1, -math.inf]}, r":2: logps\[1\]: expected a finite number, got -inf"),
        ({"logps": [0.9, 0.8]}, r":2: logps\[0\]: 0.9: a log-probability is at most 0"),
        ({"entropies": [0, -1]}, r":2: entropies\[1\]: -1: an entropy is at least 0"),
        ({"sum_sq_probs": [0, 1.5]}, r":2: sum_sq_probs\[1\]: 1.5: it lies between 0 and 1"),
        ({"decisive": [0, 2]}, r":2: decisive\[1\]: 2: it is -1, 0 or 1"),
        ({"decisive": [0, 0.5]}, r":2: decisive\[1\]: expected an integer, got 0.5"),
        ({"hidden": [[1, 2]]}, ":2: hidden: 1 entries for 2 completion_ids"),
        ({"hidden": [1, 2]}, r":2: hidden\[0\]: expected a list of numbers, got 1"),
        ({"hidden": [[1, 2], [3]]}, r":2: hidden\[1\]: 1 numbers, but 2 before \(line 1\)"),
        ({"hidden": [[1, 2], [3, "x"]]}, r":2: hidden\[1\]\[1\]: expected a finite number, got 'x'"),
        ({"hidden": [[1, 2], [3, 1e300]]}, r":2: hidden\[1\]\[1\]: expected a finite number, got 1e\+300"),
        ({"reward_terms": {"y": 1}}, ":2: reward_terms: line 1 has x, this line does not"),
        ({"reward_terms": 1}, ":2: reward_terms: expected .*, got 1"),
        ({"reward_terms": {"x": "1"}}, r":2: reward_terms\.x: expected a finite number, or null"),
        ({"token_texts": ["a"]}, ":2: token_texts: 1 entries for 2 completion_ids"),
        ({"token_texts": ["a", None]}, r":2: token_texts\[1\]: expected a text, got None"),
        ({"prompt": None}, ":2: prompt: expected a text, got None"),
        ({"reference": 3}, ":2: reference: expected a text, got 3"),
    ],
)
def test_a_signal_that_is_refused(file, change, says):
    read_rollouts(file([SIGNALLED, SIGNALLED]))
    path = file([SIGNALLED, {**SIGNALLED, **change}])
    with pytest.raises(ConfigError, match=re.escape(str(path)) + says):
        read_rollouts(path)


def test_files_that_are_refused(file, tmp_path):
    for lines, says in (
        ([], "is empty"),
        ([LINE, LINE, {**LINE, "group": "1"}], ":3: group: '1' has only this completion"),
        ([{**LINE, "completion_ids": []}] * 2, "completion_ids: no line has a token"),
        ([SIGNALLED, LINE], ":2: decisive: line 1 has decisive, this line does not"),
    ):
        with pytest.raises(ConfigError, match=says):
            read_rollouts(file(lines))
    with pytest.raises(ConfigError, match=r"none\.jsonl: No such file.*name a file of JSON lines"):
        read_rollouts(tmp_path / "none.jsonl")
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(b'{"group": "\xe9"}\n')
    with pytest.raises(ConfigError, match="latin.jsonl:1: byte 11 is not UTF-8"):
        read_rollouts(latin)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["method=lampoo"], "There is no method named lampoo. Did you mean lampo"),
        (["method.advantage.scle=none"], "Did you mean method.advantage.scale"),
        (["method=lampo", "method.advantage.temperature=-1"], "method.advantage: "),
        (["method=grpo,lampo"], "method=grpo,lampo stands for several methods"),
        (["weighting=delta"], "weighting=delta is not read here. Did you mean method/weighting"),
        (["seed=3"], "seed=3 is not read here. Valid: method, method/advantage"),
        (["trainer.steps=3"], "trainer.steps=3 is not read here."),
        (["methods=lampo"], "methods=lampo is not read here. Did you mean method"),
        (["lampo"], "'lampo' is not key=value"),
        (["--config-dir", "nowhere"], "no folder nowhere"),
        (["out=nowhere/credit.jsonl"], "out=nowhere/credit.jsonl: name a file in a folder that exists"),
        (["out="], "name a file"),
        (["out=../rollouts.jsonl"], "out=../rollouts.jsonl would replace the rollouts"),
        (["method=delta"], "method 'delta', weighting Delta needs what .*rollouts.jsonl does not have: add to "
                           r"every line logps \(.*\), hidden \(.*\)"),
        (["method/shaping=rouge_l"], r"shaping RougeL needs .* add to every line completion \(.*, reference \("),
    ],
)  # fmt: skip
def test_a_command_that_is_refused(file, command, tmp_path, arguments, says):
    path = file(RAGGED)
    before = path.read_bytes()
    code, out, err = command(path, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("harness.credit: ") and err.count("\n") == 1 and re.search(says, err)
    assert path.read_bytes() == before and not list((tmp_path / "here").iterdir())


def test_a_method_that_needs_the_policy_says_so(file, command, tmp_path, monkeypatch):
    (tmp_path / "own_work.py").write_text(
        "class Work:\n"
        "    needs = frozenset({'continuations', 'token_texts'})\n"
        "    def __call__(self, batch):\n"
        "        batch.token_texts\n"
    )
    conf = tmp_path / "conf" / "method" / "advantage"
    conf.mkdir(parents=True)
    (conf / "work.yaml").write_text("_target_: own_work.Work\n")
    monkeypatch.syspath_prepend(tmp_path)
    code, _, err = command(file(RAGGED), "--config-dir", tmp_path / "conf", "method/advantage=work")
    assert code == 2 and err.count("\n") == 1
    assert "advantage Work needs the policy itself (continuations)" in err


def test_texts_and_hidden_states_reach_the_method(file, command):
    torch.manual_seed(0)
    hidden = torch.randn(4, 2, 3)
    lines = [
        {"group": k // 2, "completion_ids": [k, 5], "reward": k % 2, "logps": [-1.0, -0.5 * k],
         "hidden": hidden[k].tolist(), "completion": "a b" if k else "c", "reference": "a b"}
        for k in range(4)
    ]  # fmt: skip
    batch = RolloutBatch.from_tensors(
        [[k, 5] for k in range(4)], torch.ones(4, 2), [0, 1, 0, 1], 2, hidden=hidden,
        logps=torch.tensor([[-1.0, -0.5 * k] for k in range(4)], dtype=torch.float64),
    )  # fmt: skip
    path = file(lines)
    assert command(path, "method=delta")[0] == 0
    expected = load_method("delta").credit(batch).values
    assert [line["credit"] for line in written()] == expected.tolist()
    assert command(path, "method=dr_grpo", "method/shaping=rouge_l", "method.shaping.weight=0.5")[0] == 0
    # rewards 0 + 0.5·0, 1 + 0.5·1 | 0.5, 1.5
    assert [line["credit"][0] for line in written()] == [-0.75, 0.75, -0.5, 0.5]


def test_only_columns_that_are_not_there_are_asked_for(file, command):
    lines = [{"group": 1, "completion_ids": [4], "reward": r, "logps": [-1.0]} for r in (0, 1)]
    _, _, err = command(file(lines), "method=delta")
    assert "add to every line hidden (" in err and "logps" not in err


def test_no_negative_zero_is_written(file, tmp_path):
    _, places = read_rollouts(file([LINE, LINE]))
    write(tmp_path / "out.jsonl", Credit(torch.full((2, 2), -0.0, dtype=torch.float64)), places)
    assert (tmp_path / "out.jsonl").read_text().splitlines()[
        1
    ] == '{"group": 1, "row": 2, "credit": [0.0, 0.0]}'


def test_what_was_written_before_stays_until_the_new_file_is_whole(file, monkeypatch, tmp_path):
    batch, places = read_rollouts(file(RAGGED))
    credit = load_method("grpo").credit(batch)
    out = tmp_path / "out.jsonl"
    out.write_text("old\n")
    with pytest.raises(IndexError):
        write(out, credit, [places[0], places[0]._replace(row=99)])
    assert out.read_text() == "old\n"
    write(out, credit, places)
    assert len(written(out)) == 5 and not (tmp_path / "out.jsonl.part").exists()


def padded(batch, needs, size):
    """The batch with groups filled up to `size` rows, as `read_rollouts` fills them, and where its rows stand."""
    groups = len(batch.rewards) // batch.group_size
    at = [size * (k // batch.group_size) + k % batch.group_size for k in range(len(batch.rewards))]

    def laid_out(x, empty):
        if isinstance(x, list):
            whole = [empty] * (groups * size)
            for row, value in zip(at, x, strict=True):
                whole[row] = value
            return whole
        whole = torch.full((groups * size, *x.shape[1:]), empty, dtype=x.dtype)
        whole[at] = x
        return whole

    empty = {"references": None, "token_texts": []}
    signals = {
        name: laid_out(x, empty.get(name, "") if isinstance(x, list) else 0)
        for name, x in batch.cache.items()
    }
    ids, mask = laid_out(batch.completion_ids, 0), laid_out(batch.mask, False)
    prompts = laid_out(batch.provider.prompts, "")
    return RolloutBatch.from_tensors(
        ids, mask, laid_out(batch.rewards, math.nan), size,
        reward_terms={name: laid_out(x, math.nan) for name, x in batch.reward_terms.items()},
        provider=Policy(ids, mask, prompts, needs), **signals,
    ), at  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_rows_that_fill_up_a_group_change_nothing(preset):
    method, other = load_method(preset), load_method(preset)
    batch = rollouts(24, 12, 4, 6, method.needs)
    filled, at = padded(batch, method.needs, 6)
    credit, of_filled = method.credit(batch), other.credit(filled)
    np.testing.assert_allclose(of_filled.values[at], credit.values, rtol=1e-9, atol=1e-12)
    assert of_filled.metrics["unscorable"] == credit.metrics["unscorable"] + 12
    for name, value in credit.metrics.items():
        if name != "unscorable":
            assert of_filled.metrics[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
