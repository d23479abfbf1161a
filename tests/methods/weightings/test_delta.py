"""DelTA: four credited tokens in the plane by hand, then the two forms of the margin, and the limits."""

import math

import pytest
import torch

from methods import Credit, MissingSignal
from methods.weightings.delta import Delta

nan = math.nan

# Positive side: v = (1, 0) with A = 1 and v = (0, 2) with A = 3; negative: (-1, 0) and (0, 0), both A = -1.
# Each is (1 - p)·h. Then three tokens with A = 0 and one outside the mask.
P = [[0.5, 0.75], [0.2, 1.0], [0.5, 0.5], [0.5, nan]]
HIDDEN = [
    [[2.0, 0.0], [0.0, 8.0]],
    [[-1.25, 0.0], [5.0, 5.0]],
    [[9.0, 9.0], [-9.0, 9.0]],
    [[1.0, 1.0], [nan, nan]],
]
CREDIT = [[1.0, 3.0], [-1.0, -1.0], [0.0, 0.0], [0.0, 0.0]]
MASK = [[1, 1], [1, 1], [1, 1], [1, 0]]


def σ(x):
    return 1.0 / (1.0 + math.exp(-x))


# μ₊ = ((1,0) + 3·(0,2)) / 4 = (1/4, 3/2), μ₋ = (-1/2, 0)
# m = 2v·(3/4, 3/2) + 1/4 - (1/16 + 9/4) = 1.5 v_x + 3 v_y - 2.0625
#   m⁺: -0.5625, 3.9375 → γ₊ = 2.25        m⁻: 3.5625, 2.0625 → γ₋ = 0.75
ALPHA_0 = [σ(-0.25), σ(1.75), σ(4.75), σ(2.75)]


def margins(alpha):
    """The margins m⁺, m⁺, m⁻, m⁻ of the four tokens about the centroids of weights |A|α, as plain numbers."""
    a, b, c, d = alpha
    x, y = a / (a + 3 * b), 6 * b / (a + 3 * b)  # μ₊
    z = -c / (c + d)  # μ₋ = (z, 0)
    offset = z * z - x * x - y * y
    return 2 * (x - z) + offset, 4 * y + offset, -(-2 * (x - z) + offset), -offset


def alpha_after(refine):
    if refine == 0:
        return ALPHA_0
    m = margins(ALPHA_0)  # μ after one update, γ still from before it
    if refine == 1:
        return [σ(m[0] / 2.25), σ(m[1] / 2.25), σ(m[2] / 0.75), σ(m[3] / 0.75)]
    # a side of two tokens has population standard deviation |difference| / 2
    γ = [abs(m[0] - m[1]) / 2] * 2 + [abs(m[2] - m[3]) / 2] * 2
    alpha_1 = [σ(m_t / γ_t) for m_t, γ_t in zip(m, γ, strict=True)]
    return [σ(m_t / γ_t) for m_t, γ_t in zip(margins(alpha_1), γ, strict=True)]


@pytest.fixture
def example(batch_of):
    hidden, p = torch.tensor(HIDDEN, dtype=torch.float64), torch.tensor(P, dtype=torch.float64)
    batch = batch_of([1.0, 0.0, 1.0, 1.0], 2, mask=MASK, hidden=hidden, logps=p.log())
    return batch, Credit(torch.tensor(CREDIT, dtype=torch.float64))


def test_initial_margins_of_the_hand_example(close):
    close(margins([1.0] * 4), [-0.5625, 3.9375, 3.5625, 2.0625])


@pytest.mark.parametrize("refine", [0, 1, 2])
@pytest.mark.parametrize("normalise_over", ["all", "active"])
def test_weights_by_hand(example, close, refine, normalise_over):
    lam = [0.8 + 0.4 * a for a in alpha_after(refine)]
    scale = {"all": 7 / (sum(lam) + 3 * 0.8), "active": 4 / sum(lam)}[normalise_over]
    w = [x * scale for x in lam]
    result = Delta(refine=refine, normalise_over=normalise_over)(*example)
    close(result.values, [[w[0], 3 * w[1]], [-w[2], -w[3]], [0.0, 0.0], [0.0, 0.0]])
    close(result.metrics["weight_mass"], (w[0] + 3 * w[1] + w[2] + w[3]) / 6)
    assert result.metrics["one_sided"] == 0.0


def test_the_default_is_the_published_setting(example):
    assert torch.equal(Delta()(*example).values, Delta(1, (0.8, 1.2), "all", "hidden")(*example).values)


def test_bounds_by_hand(example, close):
    lam = [0.5 + 1.0 * a for a in ALPHA_0]
    w = [x * 4 / sum(lam) for x in lam]
    result = Delta(refine=0, bounds=[0.5, 1.5], normalise_over="active")(*example)
    close(result.values[:2], [[w[0], 3 * w[1]], [-w[2], -w[3]]])
    assert torch.equal(Delta(bounds=(1.0, 1.0))(*example).values, example[1].values)


@pytest.mark.parametrize("refine", [0, 1, 3])
def test_margin_is_a_difference_of_squared_distances(batch_of, close, refine):
    """The same weights by explicit distances to explicit centroids, vectors formed one by one."""
    torch.manual_seed(0)
    hidden, logps = torch.randn(6, 5, 4).double(), -torch.rand(6, 5).double()
    batch = batch_of([1.0, 0.0, 0.5, 1.0, 0.0, 0.0], 3, length=5, hidden=hidden, logps=logps)
    A = torch.tensor([1.0, -1.5, 0.5, 2.0, -1.0, -1.0]).double()
    v, weight = (1 - logps.exp())[..., None] * hidden, A.abs()[:, None].expand(6, 5)
    up, down = A > 0, A < 0
    for k in range(refine + 1):
        mu_up = (weight[up, :, None] * v[up]).sum((0, 1)) / weight[up].sum()
        mu_down = (weight[down, :, None] * v[down]).sum((0, 1)) / weight[down].sum()
        m = (v - mu_down).square().sum(-1) - (v - mu_up).square().sum(-1)
        if k < max(refine, 1):
            gamma_up, gamma_down = m[up].var(correction=0).sqrt(), (-m[down]).var(correction=0).sqrt()
        alpha = torch.where(up[:, None], torch.sigmoid(m / gamma_up), torch.sigmoid(-m / gamma_down))
        weight = A.abs()[:, None] * alpha
    lam = 0.8 + 0.4 * alpha
    expected = lam * lam.numel() / lam.sum() * A[:, None]
    close(Delta(refine=refine)(batch, Credit.broadcast(A, batch.mask)).values, expected, tolerance=1e-10)


@pytest.mark.parametrize("sign", [1.0, -1.0, 0.0])
def test_one_side_empty_gives_weights_of_one(batch_of, sign):
    batch = batch_of([1.0, 0.0], 2, hidden=torch.randn(2, 2, 3), logps=torch.full((2, 2), -1.0))
    credit = Credit(torch.tensor([[2.0, 1.0], [0.0, 0.0]]).double() * sign)
    result = Delta()(batch, credit)
    assert torch.equal(result.values, credit.values)
    assert result.metrics == {"weight_mass": 1.0, "weight_sd": 0.0, "one_sided": 1.0}


def test_identical_vectors_on_a_side_have_the_floor_as_variance(batch_of, close):
    # both sides are one vector, (1, 0) and (0, 0): m± = 1, Var = 0, γ = sqrt(1e-8): α = σ(1e4) = 1
    hidden = torch.tensor([[[2.0, 0.0]], [[0.0, 0.0]]]).double()
    batch = batch_of(
        [1.0, 0.0], 2, length=1, hidden=hidden, logps=torch.full((2, 1), math.log(0.5), dtype=torch.float64)
    )
    result = Delta()(batch, Credit(torch.tensor([[1.0], [-1.0]]).double()))
    close(result.values, [[1.0], [-1.0]])
    # the floor itself: a margin of 2e-4 is two γ
    r = math.sqrt(2e-4)
    batch = batch_of([1.0, 0.0], 2, length=1, hidden=hidden * r, logps=batch.logps)
    mixed = batch_of(
        [1.0, 0.0, 1.0, 1.0], 2, length=1, hidden=(hidden * r).repeat(2, 1, 1), logps=batch.logps.repeat(2, 1)
    )
    lam = 0.8 + 0.4 * σ(2.0)
    scale = 4 / (2 * lam + 2 * 0.8)
    result = Delta(refine=0)(mixed, Credit(torch.tensor([[1.0], [-1.0], [0.0], [0.0]]).double()))
    close(result.values, [[lam * scale], [-lam * scale], [0.0], [0.0]])


def test_step_grows_when_most_tokens_carry_no_credit(batch_of):
    torch.manual_seed(0)
    batch = batch_of([1.0, 0.0] * 20, 2, hidden=torch.randn(40, 2, 3), logps=-torch.rand(40, 2))
    values = torch.zeros(40, 2, dtype=torch.float64)
    values[0], values[1] = 1.0, -1.0
    metrics = Delta()(batch, Credit(values)).metrics
    assert 1.1 < metrics["weight_mass"] <= 1.5
    assert Delta(normalise_over="active")(batch, Credit(values)).metrics["weight_mass"] == pytest.approx(
        1.0, abs=0.1
    )


def test_unscorable_rows_do_not_count_in_the_normaliser(example, batch_of, close):
    batch, credit = example
    dropped = batch_of(
        [1.0, 0.0, 1.0, 1.0, nan, nan],
        2,
        mask=MASK + [[1, 1], [1, 1]],
        hidden=torch.cat([batch.hidden, torch.full((2, 2, 2), 7.0).double()]),
        logps=torch.cat([batch.logps, torch.full((2, 2), -1.0).double()]),
    )
    padded = Credit(torch.cat([credit.values, torch.zeros(2, 2).double()]))
    close(Delta()(dropped, padded).values[:4], Delta()(batch, credit).values)


def test_sure_tokens_have_no_vector_of_their_own(batch_of):
    # p = 1 everywhere: every v is 0, every margin 0, α = 1/2, equal weights
    batch = batch_of([1.0, 0.0], 2, hidden=torch.randn(2, 2, 3), logps=torch.zeros(2, 2))
    credit = Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask)
    assert torch.allclose(Delta()(batch, credit).values, credit.values)


def test_sum_of_weights_is_the_number_of_tokens(batch_of, close):
    torch.manual_seed(0)
    batch = batch_of([1.0, 0.0, 1.0, 0.0], 2, length=7, hidden=torch.randn(4, 7, 3), logps=-torch.rand(4, 7))
    credit = Credit.broadcast(torch.tensor([1.0, -1.0, 1.0, -1.0]), batch.mask)
    close(Delta()(batch, credit).values.abs().sum(), 28.0)


def test_does_not_depend_on_the_length_of_the_vectors(batch_of, close):
    torch.manual_seed(0)
    hidden, logps = torch.randn(4, 7, 3).double(), -torch.rand(4, 7).double()
    credit = Credit.broadcast(torch.tensor([1.0, -1.0, 0.5, -0.5]), torch.ones(4, 7).bool())
    both = [
        Delta(refine=2)(batch_of([1.0, 0.0, 1.0, 0.0], 2, length=7, hidden=h, logps=logps), credit).values
        for h in (hidden, 100 * hidden)
    ]
    close(both[0], both[1], tolerance=1e-9)


def test_half_precision_signals_count_in_float64(example, batch_of, close):
    batch, credit = example
    low = batch_of([1.0, 0.0, 1.0, 1.0], 2, mask=MASK, hidden=batch.hidden.half(), logps=batch.logps.float())
    result = Delta()(low, credit)
    assert result.values.dtype == torch.float64
    close(result.values, Delta()(batch, credit).values, tolerance=1e-6)


def test_head_proxy_is_the_full_gradient_of_the_head(batch_of, close):
    """`head` on (probs, hidden) equals `hidden` on the flattened (e_y - p)hᵀ, formed here in full."""
    torch.manual_seed(0)
    hidden, probs = torch.randn(4, 3, 2).double(), torch.randn(4, 3, 5).double().softmax(-1)
    ids = torch.randint(5, (4, 3))
    gradient = (torch.nn.functional.one_hot(ids, 5) - probs)[..., :, None] * hidden[..., None, :]
    sampled = probs.gather(2, ids[..., None])[..., 0]
    credit = Credit.broadcast(torch.tensor([1.0, -1.0, 0.5, -2.0]).double(), torch.ones(4, 3).bool())

    def batch(**signals):
        made = batch_of([1.0, 0.0, 1.0, 0.0], 2, length=3, **signals)
        object.__setattr__(made, "completion_ids", ids)
        return made

    head = Delta(refine=2, proxy="head")(batch(hidden=hidden, probs=probs), credit)
    # with p = 0 the hidden proxy's vector is `hidden` itself
    explicit = Delta(refine=2)(batch(hidden=gradient.flatten(2), logps=torch.full((4, 3), -1e9)), credit)
    close(head.values, explicit.values, tolerance=1e-10)
    simple = Delta(refine=2)(batch(hidden=hidden, logps=sampled.log()), credit)
    assert (head.values - simple.values).abs().max() > 1e-3


def test_signals_it_needs_are_named(batch_of, example):
    assert Delta().needs == {"hidden", "logps"} and Delta(proxy="head").needs == {"hidden", "probs"}
    with pytest.raises(MissingSignal, match="probs"):
        Delta(proxy="head")(*example)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refine": -1}, "refine"),
        ({"refine": 1.5}, "refine.*int"),
        ({"refine": True}, "refine.*int"),
        ({"bounds": (1.2, 0.8)}, "bounds"),
        ({"bounds": (-0.1, 0.8)}, "bounds"),
        ({"bounds": (0.0, 0.0)}, "bounds"),
        ({"bounds": (0.8,)}, "bounds"),
        ({"normalise_over": "everything"}, "Delta.normalise_over.*all, active"),
        ({"proxy": "heads"}, "Delta.proxy.*did you mean 'head'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Delta(**options)
