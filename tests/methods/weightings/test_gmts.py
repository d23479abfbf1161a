"""GMTS: gradient magnitudes and the tokens kept for them, by hand."""

import math

import pytest
import torch

from methods import Credit, LiveBatch, MissingSignal
from methods.weightings.gmts import Gmts

nan = math.nan


def f64(rows):
    return torch.tensor(rows, dtype=torch.float64)


def micro_batch(ratio, entropies, mask=None, ref_ratio=None, **options):
    """From π_θ/π_old, entropies and π_ref/π_θ; log π_old is −2 everywhere."""
    ratio = f64(ratio)
    mask = torch.ones(ratio.shape).bool() if mask is None else torch.tensor(mask).bool()
    old = torch.full(ratio.shape, -2.0).double()
    now = old + ratio.log()
    reference = None if ref_ratio is None else now + f64(ref_ratio).log()
    ids = torch.zeros(ratio.shape).long()
    return LiveBatch(ids, mask, old, now, f64(entropies), reference, **options)


RATIO = [[1.0, 0.5, 1.0, 1.3], [1.0, 0.9, 0.7, 1.5]]
ENTROPY = [[1.0, 1.1, 1.0, 9.0], [0.5, 1.0, 9.0, 1.0]]
A = [[1.0, 1.0, 1.0, 1.0], [-2.0, -2.0, -2.0, -2.0]]
# ε = 0.2: clipped are 1.3 with A > 0 and 0.7 with A < 0, of the largest entropies
# |H·r·A|: 1, 0.55, 1, 0 and 1, 1.8, 0, 3


@pytest.mark.parametrize(
    ("share", "kept"),
    [
        (0.1, [[0, 0, 0, 0], [0, 0, 0, 1]]),  # ⌈0.8⌉ = 1
        (0.25, [[0, 0, 0, 0], [0, 1, 0, 1]]),  # 2
        (0.3, [[1, 0, 1, 0], [1, 1, 0, 1]]),  # ⌈2.4⌉ = 3, and what ties with the third
        (1.0, [[1, 1, 1, 0], [1, 1, 0, 1]]),  # all but the clipped, whose gradient is 0
    ],
)
def test_kept_tokens_by_hand(share, kept, close):
    result = Gmts(share=share).live(micro_batch(RATIO, ENTROPY), Credit(f64(A)))
    close(result.values, f64(A) * torch.tensor(kept))
    assert result.metrics == pytest.approx({"gmts_kept": torch.tensor(kept).double().mean().item()})


def test_the_default_keeps_a_fifth(close):
    assert Gmts() == Gmts(share=0.2)
    # ⌈0.2·8⌉ = 2
    close(
        Gmts().live(micro_batch(RATIO, ENTROPY), Credit(f64(A))).values,
        [[0.0, 0.0, 0.0, 0.0], [0.0, -2.0, 0.0, -2.0]],
    )


def test_tokens_without_credit_count_among_those_to_choose_from(close):
    # ⌈0.3·8⌉ = 3 tokens, of |H·r·A| = 1, 0.55, 1, 0 and four times 0
    credit = Credit(f64([A[0], [0.0] * 4]))
    result = Gmts(share=0.3).live(micro_batch(RATIO, ENTROPY), credit)
    close(result.values, [[1.0, 1.0, 1.0, 0.0], [0.0] * 4])


def test_clip_range_is_the_surrogates(close):
    # 1.3·9 = 11.7 and 0.7·9·2 = 12.6 count where the range holds them
    for low, high, expected in [
        (0.4, 0.4, [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, -2.0, 0.0]]),
        (0.2, 0.4, [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, -2.0]]),
        (0.4, 0.2, [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -2.0, -2.0]]),
    ]:
        now = micro_batch(RATIO, ENTROPY, epsilon=low, epsilon_high=high)
        close(Gmts().live(now, Credit(f64(A))).values, expected)


def test_the_kl_term_counts_by_hand(close):
    # β = 0.5: ω = r·A + 0.5·π_ref/π_θ − 0.5 = 1 − 0.25, 1 + 0.5, −1 + 0.5, −1 − 0.25; the clipped 2·(−1): 0 + 1
    now = micro_batch(
        [[1.0, 1.0, 1.0, 1.0, 0.5]],
        [[1.0, 1.0, 1.0, 1.0, 1.0]],
        ref_ratio=[[0.5, 2.0, 2.0, 0.5, 3.0]],
        beta=0.5,
    )
    credit = Credit(f64([[1.0, 1.0, -1.0, -1.0, -2.0]]))
    close(Gmts(share=0.4).live(now, credit).values, [[0.0, 1.0, 0.0, -1.0, 0.0]])
    close(Gmts(share=0.6).live(now, credit).values, [[0.0, 1.0, 0.0, -1.0, -2.0]])
    close(Gmts(share=0.8).live(now, credit).values, [[1.0, 1.0, 0.0, -1.0, -2.0]])


def test_a_kl_term_needs_its_reference():
    with pytest.raises(MissingSignal, match="ref_logps"):
        Gmts().live(micro_batch(RATIO, ENTROPY, beta=0.1), Credit(f64(A)))


def test_outside_the_mask_nothing_counts(close):
    entropies = [[1.0, 3.0, nan], [2.0, nan, nan]]
    now = micro_batch(
        [[1.0, 1.0, nan], [1.0, nan, nan]], entropies, [[1, 1, 0], [1, 0, 0]],
        ref_ratio=[[1.0, 1.0, nan], [1.0, nan, nan]], beta=0.1,
    )  # fmt: skip
    credit = Credit(f64([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    result = Gmts(share=0.5).live(now, credit)  # ⌈0.5·3⌉ = 2
    close(result.values, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert result.metrics["gmts_kept"] == pytest.approx(2 / 3)


def test_without_credit_or_tokens_nothing_is_kept():
    none = Gmts().live(micro_batch(RATIO, ENTROPY), Credit(torch.zeros(2, 4).double()))
    assert torch.equal(none.values, torch.zeros(2, 4).double()) and none.metrics["gmts_kept"] == 0.0
    empty = Gmts().live(micro_batch([[], []], [[], []]), Credit(torch.zeros(2, 0).double()))
    assert empty.values.shape == (2, 0) and empty.metrics["gmts_kept"] == 0.0


def test_the_frozen_stage_leaves_credit_as_it_is(batch_of):
    credit = Credit(torch.ones(2, 2).double())
    assert Gmts()(batch_of([1.0, 0.0], 2), credit) is credit


@pytest.mark.parametrize("share", [0.0, 1.1, nan])
def test_wrong_options_are_refused(share):
    with pytest.raises(ValueError, match=f"Gmts.share.*{share}"):
        Gmts(share=share)
