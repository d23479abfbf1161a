"""What must hold for every preset, whatever its formula: a new file in conf/method is tested without being named here.

A part that is an exception says so in its class, as text:

    degenerate   credit of groups whose rewards are equal, where it is not 0
    absolute     why adding a constant to every reward changes credit
    scope        "batch": statistics over the whole rollout batch

and is tested to be one.
"""

import copy
import random
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import get_object

from harness import load_method
from harness.config import CONF
from methods import RolloutBatch, Surrogate, draws
from methods.advantages.group_mean import GroupMean
from methods.advantages.zero import Zero
from methods.batch import SIGNALS
from tests.harness.fake_provider import LIMIT, Row, fake_batch, fake_live, micro_rows

PRESETS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
CONTROLS = sorted(path.stem for path in (CONF / "method" / "control").glob("*.yaml"))
PARTS = ("shaping", "advantage", "weighting")
G = 4
MIXED = [1, 0, 1, 0, 0, 0, 0, 1, 1, 0.5, 0, 0.25, 1, 1, 1, 1]  # two-sided, graded and one-sided groups
NAN = float("nan")


def is_live(name):
    """Whether the weighting of a preset acts at every step, from the files alone: nothing is composed to collect."""
    parts = yaml.safe_load((CONF / "method" / f"{name}.yaml").read_text())["defaults"]
    file = next(part["weighting"] for part in parts if "weighting" in part)
    while "_target_" not in (
        content := yaml.safe_load((CONF / "method" / "weighting" / f"{file}.yaml").read_text())
    ):
        file = content["defaults"][0]
    return hasattr(get_object(content["_target_"]), "live")


LIVE = [name for name in PRESETS if is_live(name)]
each_preset = pytest.mark.parametrize("name", PRESETS)
each_live = pytest.mark.parametrize("name", LIVE)


@cache
def loaded(name, *overrides):
    return load_method(name, overrides)


def fresh(name, **changes):
    """The method as at the start of training: some learn."""
    return replace(copy.deepcopy(loaded(name)), **changes)


def credit(name, batch, warm=True, **changes):
    """The credit map of a fresh method; of one that learns, when ``warm``, after it has seen the batch once."""
    method = fresh(name, **changes)
    if warm and method.state_dict():
        method.credit(batch)
    return method.credit(batch).values


def declared(name, attribute):
    """What the parts say under a name, `partial`s of functions unwrapped."""
    parts = (getattr(loaded(name), part) for part in PARTS)
    parts = (part.func if isinstance(part, partial) else part for part in parts)
    return [text for part in parts if (text := getattr(part, attribute, None))]


def mixed(seed=0, **changes):
    rows = micro_rows(MIXED, G, seed)
    for place, change in changes.items():
        rows[int(place.removeprefix("row"))] = replace(rows[int(place.removeprefix("row"))], **change)
    return rows


def close(actual, expected, tolerance=1e-9):
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * scale)


def same_rows(actual, expected):
    """Equal credit on the columns that both have, and none beyond."""
    width = min(actual.shape[1], expected.shape[1])
    close(actual[:, :width], expected[:, :width])
    assert (actual[:, width:] == 0).all() and (expected[:, width:] == 0).all()


# One rollout batch


@each_preset
def test_the_batch_of_these_tests_gets_credit(name):
    assert (credit(name, fake_batch(mixed(), G)) != 0).any() != isinstance(loaded(name).advantage, Zero)


@each_preset
def test_equal_rewards_give_no_credit_unless_a_part_says_what_they_give(name):
    three = [0.1, 0.1, 0.1, NAN]  # a mean that rounding moves off 0.1
    alike = [[level] * 16 for level in (0.0, 0.5, 1.0)] + [[0.0] * 4 + [1.0] * 4 + three + [0.5] * 4]
    maps = [credit(name, fake_batch(micro_rows(r, G), G), shaping=None) for r in alike]
    maps.append(credit(name, fake_batch(mixed(), G), shaping=None)[12:])  # beside groups that differ
    assert any((values != 0).any() for values in maps) == bool(declared(name, "degenerate"))


@each_preset
def test_a_constant_added_to_all_rewards_changes_nothing_unless_a_part_says_so(name):
    # multiples of 2^-10 are exact beside 2^20, so only careless arithmetic can tell the two batches apart
    small = [k * 2.0**-10 for k in (3, 0, 1, 2, 5, NAN, 0, 1, 0, 0, NAN, 1, 7, 6, 5, 4)]
    here = credit(name, fake_batch(micro_rows(small, G), G), shaping=None)
    there = credit(name, fake_batch(micro_rows([r + 2.0**20 for r in small], G), G), shaping=None)
    if declared(name, "absolute"):
        with pytest.raises(AssertionError):
            close(there, here)
    else:
        close(there, here, tolerance=1e-9 * here.abs().max().item())


@each_preset
def test_rows_of_a_group_permuted(name):
    rows = mixed(row5={"reward": NAN})
    order = [i for group in ([2, 0, 3, 1], [5, 7, 6, 4], [9, 8, 11, 10], [15, 14, 13, 12]) for i in group]
    close(credit(name, fake_batch([rows[i] for i in order], G)), credit(name, fake_batch(rows, G))[order])


@each_preset
def test_groups_permuted(name):
    """Before anything is learnt: what a part learns in steps depends on their order."""
    rows = mixed(row5={"reward": NAN})
    order = [*range(8, 12), *range(0, 4), *range(12, 16), *range(4, 8)]
    found = [credit(name, fake_batch(r, G), warm=False) for r in ([rows[i] for i in order], rows)]
    close(found[0], found[1][order])


@each_preset
def test_padding_and_what_stands_in_it(name):
    rows = mixed(row1={"hole": (3, 6)}, row6={"hole": (0, 2)}, row11={"reward": NAN})
    plain = fake_batch(rows, G)
    expected = credit(name, plain)
    assert (expected[~plain.mask] == 0).all()
    same_rows(credit(name, fake_batch(rows, G, padding=5)), expected)
    same_rows(credit(name, fake_batch(rows, G, padding=3, garbage=True)), expected)


@each_preset
def test_tokens_that_the_policy_did_not_write_might_as_well_not_be_there(name):
    if loaded(name).needs & {"score", "continuations", "input_gradients", "auxiliary"}:
        pytest.skip("what the policy answers depends on them")
    rows = mixed(row1={"hole": (3, 6)}, row6={"hole": (0, 2)}, row9={"hole": (1, 2)})
    holed = fake_batch(rows, G)
    places = [keep.nonzero()[:, 0].tolist() for keep in holed.mask]
    width = max(map(len, places))
    index = torch.tensor([place + [0] * (width - len(place)) for place in places])
    mask = torch.arange(width) < holed.lengths[:, None]

    def closed_up(values):
        wide = index if values.ndim == 2 else index[..., None].expand(*index.shape, values.shape[2])
        return values.gather(1, wide)

    signals = {key: getattr(holed, key) for key in SIGNALS}
    signals = {k: closed_up(v) if isinstance(v, torch.Tensor) else v for k, v in signals.items()}
    whole = RolloutBatch.from_tensors(closed_up(holed.completion_ids), mask, holed.rewards, G, **signals)
    close(closed_up(credit(name, holed)).where(mask, 0.0), credit(name, whole))


@each_preset
def test_groups_apart_unless_a_part_spans_the_batch(name):
    differ = False
    for seed in range(3):
        rows = mixed(seed, row5={"reward": NAN})
        whole = credit(name, fake_batch(rows, G))
        apart = [credit(name, fake_batch(rows[i : i + G], G)) for i in range(0, len(rows), G)]
        apart = torch.cat([torch.nn.functional.pad(v, (0, whole.shape[1] - v.shape[1])) for v in apart])
        if "batch" in declared(name, "scope"):
            differ |= not torch.allclose(apart, whole, atol=1e-6)
        else:
            close(apart, whole)
    assert differ == ("batch" in declared(name, "scope"))


@each_preset
def test_unscorable_rows_have_no_credit_and_no_vote(name):
    unscorable = {"row1": {"reward": NAN}, "row6": {"reward": NAN}}
    rows = mixed(**unscorable)
    expected = credit(name, fake_batch(rows, G))
    assert (expected[[1, 6]] == 0).all()
    other = {place: {**change, "policy": "another"} for place, change in unscorable.items()}
    close(credit(name, fake_batch(mixed(**other), G)), expected)


@each_preset
def test_a_term_that_failed_makes_the_row_unscorable_whatever_its_reward(name):
    found = []
    for reward in (0.0, 1.0):
        batch = fake_batch(mixed(row1={"reward": reward}), G)
        terms = {"graded": batch.rewards.clone()}
        terms["graded"][1] = NAN
        found.append(credit(name, replace(batch, reward_terms=terms, cache={})))
    assert (found[0][1] == 0).all()
    close(found[1], found[0])


@each_preset
def test_the_tokens_of_an_unscorable_row_have_no_say(name, monkeypatch):
    drawn = []
    generator = draws._generator
    monkeypatch.setattr(draws, "_generator", lambda *key: drawn.append(key) or generator(*key))
    expected = credit(name, fake_batch(mixed(row1={"reward": NAN}), G))
    if drawn:
        pytest.skip("its draws are keyed by all rows of a group")
    same_rows(credit(name, fake_batch(mixed(row1={"reward": NAN, "text": "9"}), G)), expected)


@each_preset
@pytest.mark.parametrize(
    "rewards",
    [[NAN] * 16, [NAN] * 15 + [1.0], [1.0, NAN, NAN, NAN] * 4, [NAN] * 8 + [1.0, 0.0] * 4],
    ids=["none", "one", "one a group", "half"],
)
def test_few_scorable_rows(name, rewards):
    values = credit(name, fake_batch(micro_rows(rewards, G), G))
    assert (values[torch.tensor(rewards).isnan()] == 0).all()


EDGES = {
    "single tokens": lambda row, i: replace(row, text=""),
    "two tokens": lambda row, i: replace(row, text=str(i % 10)),
    "certain": lambda row, i: replace(row, policy="certain"),
    "some certain": lambda row, i: replace(row, policy="certain" if i % 3 else ""),
    "same texts": lambda row, i: replace(row, text="5"),
    "some empty": lambda row, i: replace(row, hole=(0, LIMIT)) if i % 4 == 1 else row,
    "empty": lambda row, i: replace(row, hole=(0, LIMIT)),
    "no reference": lambda row, i: replace(row, reference=None),
    "all cut off": lambda row, i: replace(row, text=(row.text + str(i % 10) * LIMIT)[:LIMIT]),
}


@each_preset
@pytest.mark.parametrize("edge", EDGES)
def test_edges_give_numbers(name, edge):
    for rewards in (MIXED, [0.0] * 16, [1.0] * 16, [1.0, 1.0, 1.0, 0.0] * 4):
        rows = [EDGES[edge](row, i) for i, row in enumerate(micro_rows(rewards, G))]
        batch = fake_batch(rows, G, unjudged=True)
        try:
            values = credit(name, batch)
        except ValueError as error:
            assert edge == "no reference" and "references" in loaded(name).needs and edge in str(error)
            return
        assert values.isfinite().all() and (values[~batch.mask] == 0).all()


@each_preset
def test_groups_of_two_and_of_the_whole_batch(name):
    for size in (2, 16):
        assert credit(name, fake_batch(micro_rows(MIXED, size), size)).isfinite().all()


@each_preset
def test_the_same_again_without_global_randomness_and_with_inputs_untouched(name):
    rows = mixed(row1={"hole": (3, 6)}, row11={"reward": NAN})
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    batch = fake_batch(rows, G)
    first = fresh(name).credit(batch)
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    again = fresh(name).credit(fake_batch(rows, G))
    after = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.set_rng_state(states[0]), np.random.set_state(states[1]), random.setstate(states[2])
    assert repr(before) == repr(after) and torch.equal(before[0], after[0])
    assert torch.equal(first.values, again.values)
    assert repr(first.metrics) == repr(again.metrics)
    other = fake_batch(rows, G)
    for field in ("completion_ids", "mask", "rewards", *batch.cache):
        mine, untouched = getattr(batch, field), getattr(other, field)
        assert (
            mine == untouched
            if isinstance(mine, list)
            else torch.equal(mine.nan_to_num(9), untouched.nan_to_num(9))
        )


@each_preset
def test_metrics_are_finite_numbers(name):
    for rows in (mixed(), micro_rows([1.0] * 16, G), micro_rows([NAN] * 16, G)):
        metrics = fresh(name).credit(fake_batch(rows, G)).metrics
        assert metrics and all(type(value) is float and np.isfinite(value) for value in metrics.values())


class Watched:
    """A provider that writes down what it is asked for."""

    def __init__(self, provider, asked):
        self.provider, self.asked = provider, asked

    def __getattr__(self, work):
        self.asked.add(work)
        return getattr(self.provider, work)

    def signal(self, name):
        self.asked.add(name)
        return self.provider.signal(name)


@each_preset
def test_live_parts_are_found_from_their_files(name):
    assert loaded(name).is_live == (name in LIVE)


@each_preset
def test_what_is_read_is_what_is_declared(name):
    """The trainer keeps and prepares what `needs` names, and that costs."""
    asked = set()
    for rewards in (MIXED, [1.0, 0.8, 0.9, 0.7] * 4, [0.0, 0.1, 0.0, 0.2] * 4):
        batch = fake_batch(micro_rows(rewards, G), G)
        credit(name, replace(batch, provider=Watched(batch.provider, asked), cache={}))
    needs = loaded(name).needs
    assert asked <= needs if loaded(name).is_live else asked == needs


@each_preset
def test_matched_scale_is_the_group_mean_baselines(name):
    batch = fake_batch(mixed(row5={"reward": NAN}), G)
    method = fresh(name, scale="matched", surrogate=Surrogate())
    values, shaping = method.credit(batch).values, copy.deepcopy(loaded(name)).shaping
    goal = GroupMean()(batch if shaping is None else shaping(batch)).values
    if values.abs().max() > 0:
        close(values.square().sum().sqrt(), goal.square().sum().sqrt())


@each_preset
@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_keeps_the_credit_of_each_completion(name, control):
    rows = mixed(row1={"hole": (3, 6)}, row11={"reward": NAN})
    laid_on = loaded("grpo", f"control={control}").control
    plain, controlled = (
        fresh(name, surrogate=Surrogate(), control=c) for c in (None, copy.deepcopy(laid_on))
    )
    before, after = (method.credit(fake_batch(rows, G)).values for method in (plain, controlled))
    if plain.is_live:
        now = fake_live(fake_batch(rows, G), rows)
        before, after = plain.live(now, before).values, controlled.live(now, after).values
    close(after.sum(1), before.sum(1))


# Micro-batches


def live(name, rows, frozen, *, padding=0, garbage=False, reference=True):
    """Credit of a micro-batch of these rows."""
    surrogate, count = loaded(name).surrogate, len(rows)
    batch = fake_batch([*rows, rows[-1]], count + 1, padding=padding)  # a group, also around one row
    now = fake_live(
        batch, [*rows, rows[-1]], garbage=garbage, reference=reference,
        epsilon=surrogate.epsilon, epsilon_high=surrogate.epsilon_high, beta=0.04 * reference,
    )  # fmt: skip
    tensors = {key: value[:count] for key, value in vars(now).items() if isinstance(value, torch.Tensor)}
    width = batch.mask.shape[1]
    values = torch.nn.functional.pad(frozen, (0, max(0, width - frozen.shape[1])))[:, :width]
    return fresh(name).live(replace(now, **tensors), values).values


@each_live
def test_live_credit_of_permuted_and_padded_rows(name):
    rows = mixed(row1={"hole": (3, 6)}, row11={"reward": NAN})
    frozen = credit(name, fake_batch(rows, G))
    expected = live(name, rows, frozen)
    assert (expected[11] == 0).all()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    close(live(name, [rows[i] for i in order], frozen[order]), expected[order])
    same_rows(live(name, rows, frozen, padding=4, garbage=True), expected)
    torch.testing.assert_close(live(name, rows, frozen), expected, rtol=0, atol=0)


@each_live
@pytest.mark.parametrize("edge", EDGES)
def test_live_edges_give_numbers(name, edge):
    rows = [EDGES[edge](row, i) for i, row in enumerate(mixed())]
    frozen = credit(name, fake_batch(rows, G))
    for reference in (True, False) if "ref_logps" not in loaded(name).needs else (True,):
        assert live(name, rows, frozen, reference=reference).isfinite().all()
        assert live(name, rows[:1], frozen[:1], reference=reference).isfinite().all()


@each_preset
def test_ratio_of_the_surrogate(name):
    """1 where nothing moved, independent of padding and of the order of rows, with a finite gradient."""
    surrogate = loaded(name).surrogate
    mask = torch.tensor([[1, 1, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]).bool()
    moved = torch.sin(torch.arange(18.0, dtype=torch.float64)).reshape(3, 6).requires_grad_()
    ratio = surrogate.log_ratio(moved, mask)
    assert (surrogate.log_ratio(torch.zeros(3, 6), mask)[mask] == 0).all()
    close(
        surrogate.log_ratio(moved[[2, 0, 1]], mask[[2, 0, 1]])[mask[[2, 0, 1]]],
        ratio[[2, 0, 1]][mask[[2, 0, 1]]],
    )
    wider = surrogate.log_ratio(
        torch.nn.functional.pad(moved, (0, 3), value=7.0), torch.nn.functional.pad(mask, (0, 3))
    )
    close(wider[:, :6][mask], ratio[mask])
    garbage = surrogate.log_ratio(moved.where(mask, 50.0), mask)
    close(garbage[mask], ratio[mask])
    ratio[mask].sum().backward()
    assert moved.grad.isfinite().all() and moved.grad.abs().sum() > 0


# The fake policy itself


def test_the_fake_policy_answers_by_content():
    rows = [*micro_rows([1, 0, 1, 0], 4), Row("3+4?", "7", "7", 1.0), Row("3+4?", "7", "7", 1.0)]
    batch = fake_batch(rows, 6, padding=2, garbage=True)
    assert torch.equal(batch.logps[4].nan_to_num(0), batch.logps[5].nan_to_num(0))
    inside = batch.mask
    exact = batch.probs.gather(2, batch.completion_ids[..., None]).squeeze(2).log()
    close(batch.logps[inside], exact[inside])
    close(batch.sum_sq_probs[inside], batch.probs.square().sum(2)[inside])
    assert batch.logps[~inside].isnan().all() and (batch.decisive[~inside] == 7).all()
    assert [len(texts) for texts in batch.token_texts] == batch.lengths.tolist()
    assert torch.equal(batch.continuations([4, 5], [1, 1], 8)[0], batch.continuations([5], [1], 8)[0])
    own, other = batch.logps_given(batch.prompts), batch.logps_given(["x"] * 6)
    assert (own[inside] <= 0).all() and not torch.allclose(own[inside], other[inside])
    assert all(len(row.ids) <= LIMIT for row in rows) and rows[3].ids[-1] != 1
