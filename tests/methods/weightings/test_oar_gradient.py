import math

import pytest
import torch

from methods import Credit, MissingSignal
from methods.weightings.oar_gradient import OarGradient, bi_level

nan = math.nan

# Row 0 answers twice, `11` and `7` with its end token: four answer tokens. The other seven reason.
TEXTS = ["3", "+", "8", "=", "1", "1", ";", "7", "=", "7", "<eos>"]
ANSWER = [0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1]
SCORES = [4.0, 0.0, 1.0, 2.0, 9.0, 9.0, 0.0, 3.0, 1.0, 9.0, 9.0]  # log1p(|g|/4)
# s = [1, 0, ¼, ½, 0, ¾, ¼]; sorted 0, 0, ¼, ¼, ½, ¾, 1
# q at a quarter: half way between the second and the third, ⅛: two tokens lie below
# w: 1 + (s − ⅛)/(⅞) above, the floor .1 below
W = [2.0, 0.1, 1 + 1 / 7, 1 + 3 / 7, 0.1, 1 + 5 / 7, 1 + 1 / 7]


def gradients(scores, answers):
    """⟨e, ∂Σ log π/∂e⟩ with those scores, signs alternating."""
    return [(-1) ** k * answers * math.expm1(score) for k, score in enumerate(scores)]


class Policy:
    def __init__(self, found):
        self.found, self.targets = torch.tensor(found, dtype=torch.float64), None

    def input_gradients(self, targets):
        self.targets = targets
        return self.found


@pytest.fixture
def example(batch_of):
    width = len(TEXTS) + 1
    mask = [[1] * len(TEXTS) + [0], [1] * 3 + [0] * (width - 3)]
    policy = Policy([[*gradients(SCORES, 4), nan], [5.0] * width])
    batch = batch_of([1.0, 0.0], 2, mask=mask, token_texts=[TEXTS, ["3", "+", "8"]], provider=policy)
    return batch, Credit.broadcast(torch.tensor([2.0, -3.0]), batch.mask)


def spread(w, rest=1.0):
    """Weights of row 0: ``w`` for the tokens that reason, in order, ``rest`` for the answers."""
    w = iter(w)
    return [rest if answer else next(w) for answer in ANSWER]


def test_by_hand_with_the_published_values(example, close):
    batch, credit = example
    result = OarGradient()(batch, credit)
    total = sum(W)
    expected = [2 * x for x in spread([w * 7 / total for w in W])] + [0.0]
    # row 1 has no answer: as it was
    close(result.values, [expected, [-3.0] * 3 + [0.0] * 9])
    assert batch.provider.targets.tolist() == [[bool(a) for a in ANSWER] + [False], [False] * 12]
    assert result.metrics["oar_reshaped_rows"] == 0.5
    sd = torch.tensor([w * 7 / total for w in W]).std(correction=0).item()
    assert result.metrics["oar_weight_sd"] == pytest.approx(sd)


def test_by_hand_with_other_levels(example, close):
    # q at three quarters: half way between ½ and ¾, 5/8. Below: max(s/q, .2): .2, .4, .8, .2, .4
    # above with β = ½: 1 + ½·(3/8)/(3/8), 1 + ½·(1/8)/(3/8)
    w = [1.5, 0.2, 0.4, 0.8, 0.2, 1 + 1 / 6, 0.4]
    total = sum(w)
    result = OarGradient(threshold=0.75, boost=0.5, floor=0.2)(*example)
    close(result.values[0, :-1], [2 * x for x in spread([x * 7 / total for x in w])])


def test_the_mass_of_the_advantage_stays(example, close):
    batch, credit = example
    for threshold in (0.0, 0.25, 0.5, 1.0):
        close(OarGradient(threshold=threshold)(batch, credit).values.sum(1), [22.0, -9.0])


@pytest.mark.parametrize(
    ("scores", "threshold", "weights"),
    [
        ([2.0, 2.0, 2.0], 0.25, [1.0, 1.0, 1.0]),  # nothing to tell apart
        ([5.0], 0.25, [1.0]),
        ([0.0, 1.0, 1.0], 0.9, [0.1, 1.0, 1.0]),  # q = 1: nothing above it
        ([0.0, 1.0], 0.0, [1.0, 2.0]),  # q = 0: nothing below it
        ([0.0, 1.0], 1.0, [0.1, 1.0]),
        ([1.0, 3.0], 0.5, [0.1, 2.0]),  # s = 0, 1; q = ½
    ],
)
def test_levels_before_the_mass_is_restored(close, scores, threshold, weights):
    x = torch.tensor(scores).double()
    mass = len(weights) / sum(weights)
    close(bi_level(x, threshold, boost=1.0, floor=0.1), [w * mass for w in weights])


def one_row(batch_of, texts, found, options, mask=None):
    count = len(mask) if mask else len(texts)
    policy = Policy([found, [0.0] * count])
    mask = [mask or [1] * count, [0] * count]
    batch = batch_of([1.0, 0.0], 2, mask=mask, token_texts=[texts, []], provider=policy)
    result = OarGradient(**options)(batch, Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask))
    return batch.provider.targets[0].int().tolist(), result.values[0]


def test_only_the_last_separator_counts_without_until(batch_of):
    targets, _ = one_row(batch_of, ["1", "=", "2", "=", "3"], [1.0] * 5, {"separator": "=", "until": ""})
    assert targets == [0, 0, 0, 0, 1]


def test_a_separator_may_span_tokens_and_a_token_may_hold_more(batch_of, close):
    texts = ["so", " </", "think", "> 4", "2", ""]
    # `> 4` holds the answer's beginning and belongs to it; a token without text does not
    found = [math.expm1(1.0) * 2, 0.0, 0.0, 7.0, 7.0, 7.0]
    targets, values = one_row(batch_of, texts, found, {"separator": "</think>", "until": ""})
    assert targets == [0, 0, 0, 1, 1, 0]
    # three tokens reason, s = 1, 0, 0, q = 0: w = 2, 1, 1; what comes after the answer keeps its credit
    close(values, [1.5, 0.75, 0.75, 1.0, 1.0, 1.0])


def test_tokens_of_others_have_no_text_here(batch_of, close):
    # t1 is a tool's: texts are those of the three places in the mask
    found = [math.expm1(1.0), 9.0, 0.0, 5.0]
    targets, values = one_row(
        batch_of, ["a", "=", "4"], found, {"separator": "=", "until": ""}, mask=[1, 0, 1, 1]
    )
    assert targets == [0, 0, 0, 1]
    # s = 1, 0; q = ¼: w = 2, .1
    close(values, [2 * 2 / 2.1, 0.0, 0.1 * 2 / 2.1, 1.0])


def test_texts_that_do_not_fit_the_mask_are_refused(batch_of):
    with pytest.raises(ValueError, match="token_texts, row 0: 3 texts for 2 tokens"):
        one_row(batch_of, ["a", "=", "4"], [0.0] * 3, {}, mask=[1, 1, 0])


@pytest.mark.parametrize("texts", [["=4", "2"], ["4", "2"], ["4", "="]])
def test_without_reasoning_or_answer_there_is_no_pass(batch_of, texts):
    policy = Policy([[nan, nan], [nan, nan]])
    batch = batch_of([1.0, 0.0], 2, token_texts=[texts, texts], provider=policy)
    credit = Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask)
    result = OarGradient()(batch, credit)
    assert torch.equal(result.values, credit.values) and policy.targets is None
    assert result.metrics == {"oar_reshaped_rows": 0.0, "oar_weight_sd": 0.0}


def test_rows_without_credit_are_not_asked_about(example):
    batch, credit = example
    none = Credit(torch.zeros_like(credit.values))
    result = OarGradient()(batch, none)
    assert result.values.abs().sum() == 0
    assert batch.provider.targets is None  # without any target there is no pass
    assert result.metrics == {"oar_reshaped_rows": 0.0, "oar_weight_sd": 0.0}


def test_completions_do_not_see_each_other(batch_of, close):
    texts = [["a", "=", "4"], ["b", "c", "=", "4", "2"]] * 2
    mask = [[1, 1, 1, 0, 0], [1] * 5] * 2
    found = [
        [math.expm1(1.0), 0.0, 3.0, nan, nan],
        [2 * math.expm1(x) for x in (1.0, 0.0, 0.5, 4.0, 4.0)],
    ] * 2
    batch = batch_of([1.0, 0.0, 1.0, 1.0], 2, mask=mask, token_texts=texts, provider=Policy(found))
    result = OarGradient()(batch, Credit.broadcast(torch.tensor([1.0, -1.0, 0.0, 0.0]), batch.mask))
    # row 0: s = 1, 0, q = ¼: 2, .1;  row 1: s = 1, 0, ½, q = ¼: 2, .1, 1 + ¼/¾
    first, second = [2.0, 0.1], [2.0, 0.1, 4 / 3]
    close(result.values[0], [*(w * 2 / sum(first) for w in first), 1.0, 0.0, 0.0])
    close(result.values[1], [*(-w * 3 / sum(second) for w in second), -1.0, -1.0])
    assert result.values[2:].abs().sum() == 0 and not batch.provider.targets[2:].any()
    assert result.metrics["oar_reshaped_rows"] == 1.0


def test_credit_that_differs_between_tokens_is_multiplied(example, close):
    batch, credit = example
    values = credit.values.clone()
    values[0, 0], values[0, 1] = 5.0, -5.0
    result = OarGradient()(batch, Credit(values))
    total = sum(W)
    close(result.values[0, :2], [5 * W[0] * 7 / total, -5 * W[1] * 7 / total])


def test_the_default_is_the_published_setting():
    method = OarGradient()
    assert (method.threshold, method.boost, method.floor) == (0.25, 1.0, 0.1)


def test_what_it_needs_is_named(batch_of):
    assert OarGradient().needs == {"token_texts", "input_gradients"}
    batch = batch_of([1.0, 0.0], 2, token_texts=[["=", "1"]] * 2)
    with pytest.raises(MissingSignal, match="input_gradients"):
        OarGradient()(batch, Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ""}, "separator"),
        ({"threshold": -0.1}, "threshold"),
        ({"threshold": 1.1}, "threshold"),
        ({"boost": -1.0}, "boost"),
        ({"boost": math.inf}, "boost"),
        ({"floor": -0.1}, "floor"),
        ({"floor": 1.1}, "floor"),
        ({"until": None}, "until.*str"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"OarGradient.{message}"):
        OarGradient(**options)
