import math

import pytest
import torch

from methods import Credit, MissingSignal
from methods.weightings.rlsd import Rlsd

# π(y_t|x) and π(y_t|x, r) of two completions of two tokens
OWN = [[0.5, 0.4], [0.5, 0.2]]
SHOWN = {0: [0.55, 0.1], 1: [0.25, 0.21]}


class Policy:
    def score(self, requests):
        assert [r.prompt for r in requests] == ["1+3?4?", "1+3?4?"]
        assert [r.target for r in requests] == [[0, 1], [2, 3]]
        return [torch.tensor(SHOWN[r.row], dtype=torch.float64).log() for r in requests]


@pytest.fixture
def example(batch_of):
    batch = batch_of(
        [1.0, 0.0],
        2,
        provider=Policy(),
        prompts=["1+3?"] * 2,
        references=["4"] * 2,
        logps=torch.tensor(OWN, dtype=torch.float64).log(),
    )
    return batch, Credit.broadcast(torch.tensor([1.0, -2.0]), batch.mask)


def test_by_hand_with_the_published_values(example, close):
    result = Rlsd(template="{prompt}{answer}?")(*example)
    # A > 0: w = .55/.5 = 1.1 and .1/.4 = .25 → .8;  A < 0: w = .5/.25 = 2 → 1.2 and .2/.21
    # (1 − λ) + λw with λ = ½: 1.05, 0.9, 1.1, ½ + ½·20/21
    close(result.values, [[1.05, 0.9], [-2.2, -2 * (0.5 + 10 / 21)]])
    mean = (1.05 + 0.9 + 1.1 + 0.5 + 10 / 21) / 4
    expected = {"rlsd_weight_mean": mean, "rlsd_clipped_share": 0.5, "rlsd_shown_rows": 1.0}
    assert result.metrics == pytest.approx(expected)


def test_by_hand_with_full_mix_and_a_wide_clip(example, close):
    # λ = 1, clip to [.1, 1.9]: 1.1, .25, 2 → 1.9, 20/21
    result = Rlsd(mix=1.0, clip=0.9)(*example)
    close(result.values, [[1.1, 0.25], [-3.8, -2 * 20 / 21]])
    assert result.metrics["rlsd_clipped_share"] == 0.25


def test_mix_zero_is_no_weighting(example):
    assert torch.equal(Rlsd(mix=0.0)(*example).values, example[1].values)


def test_no_evidence_overflows(batch_of, close):
    class Sure(Policy):
        def score(self, requests):
            return [torch.zeros(2) for _ in requests]

    batch = batch_of(
        [1.0, 0.0],
        2,
        provider=Sure(),
        prompts=["?"] * 2,
        references=["4"] * 2,
        logps=torch.full((2, 2), -1e4).double(),
    )
    # Δ = 1e4: e^Δ is infinite where A > 0 and 0 where A < 0; the clip holds
    result = Rlsd(mix=1.0, clip=1.0)(batch, Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask))
    close(result.values, [[2.0, 2.0], [0.0, 0.0]])


def test_the_default_is_the_published_setting():
    assert (Rlsd().mix, Rlsd().clip) == (0.5, 0.2)


def test_what_it_needs_is_named(batch_of):
    assert Rlsd().needs == {"prompts", "references", "score", "logps"}
    batch = batch_of([1.0, 0.0], 2, prompts=["?"] * 2, references=["4"] * 2)
    with pytest.raises(MissingSignal, match="score"):
        Rlsd()(batch, Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask))


def test_half_precision_signals_count_in_float64(example, batch_of, close):
    batch, credit = example
    low = batch_of(
        [1.0, 0.0],
        2,
        provider=Policy(),
        prompts=["1+3?"] * 2,
        references=["4"] * 2,
        logps=batch.logps.half(),
    )
    result = Rlsd()(low, credit)
    assert result.values.dtype == torch.float64 and math.isfinite(result.values.sum())
    close(result.values, Rlsd()(batch, credit).values, tolerance=1e-2)
