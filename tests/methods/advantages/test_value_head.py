import math

import pytest
import torch

from methods.advantages import token_blocks
from methods.advantages.token_blocks import runs
from methods.advantages.value_head import ValueHead

nan = math.nan

# features 3 and 1: mean 2, root mean square of h − 2 is 1, so x = ±1
HIDDEN = torch.tensor([[[3.0]], [[1.0]]])
PLACES = [(0, 0, 1), (1, 0, 1)]


def begun(hidden=HIDDEN, places=PLACES, learning_rate=0.25):
    head = ValueHead(learning_rate)
    head.begin(hidden, places)
    return head


def column(*values):
    return torch.tensor(values).double()[:, None]


def test_starts_with_the_scale_of_the_first_tokens_and_value_0(close):
    # h = (0, 0), (6, 8), (3, 4) and one outside: mean (3, 4), squared distances 25, 25, 0, ρ² = 50/3
    hidden = torch.tensor([[[0.0, 0.0], [nan, nan]], [[6.0, 8.0], [3.0, 4.0]]])
    head = begun(hidden, [(0, 0, 1), (1, 0, 2)])
    close(head.mean, [3.0, 4.0])
    close(head.radius, math.sqrt(50 / 3))
    assert head.values(hidden, [(0, 0, 1), (1, 0, 2)]).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_scale_stays_that_of_the_first_batch(close):
    head = begun()
    head.begin(HIDDEN * 100, PLACES)
    close(head.mean, [2.0])
    close(head.radius, 1.0)


@pytest.mark.parametrize("value", [5.0, 0.1, 1e6, 0.0])
def test_equal_features_have_scale_1(value):
    assert begun(torch.full((2, 1, 3), value)).radius == 1.0


def test_first_step_by_hand(close):
    # V = 0, G = 1 and 0: ∂/∂w = (−1·1 + 0·(−1))/2 = −1/2, ∂/∂b = −1/2; Adam's first step is lr·g/(|g| + 1e-8)
    head = begun()
    head.step(HIDDEN, PLACES, column(1.0, 0.0), column(0.0, 0.0), clip=0.0)
    move = 0.25 * 0.5 / (0.5 + 1e-8)
    close(head.theta, [move, move])
    close(head.values(HIDDEN, PLACES), [[2 * move], [0.0]])  # w·x + b at x = 1 and −1


def test_second_step_by_hand(close):
    # after the first V = 1/2 and 0 (to 1e-8), errors −1/2 and 0, ∂/∂w = ∂/∂b = −1/4
    # m = −0.9·0.05 − 0.025 = −0.07, of 1 − 0.81 = 0.19; v = 0.999·0.00025 + 0.0000625, of 1 − 0.999²
    head = begun()
    for _ in range(2):
        head.step(HIDDEN, PLACES, column(1.0, 0.0), column(0.0, 0.0), clip=0.0)
    m, v = -0.07 / 0.19, (0.999 * 0.00025 + 0.0000625) / (1 - 0.999**2)
    close(head.theta, [0.25 + 0.25 * -m / math.sqrt(v)] * 2, tolerance=1e-6)


def test_a_feature_without_error_does_not_move(close):
    # x = ±1, both errors −1: ∂/∂w = 0, ∂/∂b = −1
    head = begun()
    head.step(HIDDEN, PLACES, column(1.0, 1.0), column(0.0, 0.0), clip=0.0)
    close(head.theta, [0.0, 0.25], tolerance=1e-8)


@pytest.mark.parametrize(
    ("old", "goal", "moves"),
    [
        # V = 0. V_old = 0.5 and clip 0.2: V_clip = 0.3. G = −1: (0 + 1)² = 1 < 1.3² = 1.69, no gradient
        (0.5, -1.0, False),
        (0.5, 1.0, True),  # (0 − 1)² = 1 > 0.7²: V has left on the wrong side and is pulled back
        (0.1, -1.0, True),  # inside the range the two terms are the same
        (-0.5, 1.0, False),  # V_clip = −0.3: 1 < 1.3²
        (-0.5, -1.0, True),
    ],
)
def test_clipped_value_loss_by_hand(close, old, goal, moves):
    head = begun()
    head.step(HIDDEN, PLACES, column(goal, goal), column(old, old), clip=0.2)
    close(head.theta, [0.0, math.copysign(0.25, goal) if moves else 0.0], tolerance=1e-7)


def test_only_the_tokens_at_the_places_count(close):
    head = begun()
    head.step(HIDDEN, PLACES[:1], column(1.0, nan), column(0.0, nan), clip=0.2)
    close(head.theta, [0.25, 0.25], tolerance=1e-7)


def random_case(seed=0):
    torch.manual_seed(seed)
    hidden = torch.randn(6, 7, 5)
    mask = torch.rand(6, 7) < 0.7
    returns, old = torch.randn(6, 7).double(), 0.1 * torch.randn(6, 7).double()
    return hidden, mask, returns, old


def fitted(hidden, places, returns, old, steps=5):
    head = ValueHead(0.01)
    head.begin(hidden, places)
    for _ in range(steps):
        head.step(hidden, places, returns, old, clip=0.2)
    return head


def test_gradient_is_that_of_the_loss(close):
    """θ after five steps equals torch's own Adam on the loss written out."""
    hidden, mask, returns, old = random_case()
    head = fitted(hidden, runs(mask), returns, old)
    h = hidden[mask].double()
    x = (h - h.mean(0)) / (h - h.mean(0)).square().sum(1).mean().sqrt()
    theta = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=0.01)
    for _ in range(5):
        v = x @ theta[:-1] + theta[-1]
        clipped = v.clamp(old[mask] - 0.2, old[mask] + 0.2)
        loss = 0.5 * torch.maximum((v - returns[mask]).square(), (clipped - returns[mask]).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    close(head.theta, theta.detach(), tolerance=1e-9)


def test_blocks_change_nothing(close, monkeypatch):
    hidden, mask, returns, old = random_case()
    whole = fitted(hidden, runs(mask), returns, old)
    monkeypatch.setattr(token_blocks, "BLOCK", 11)  # two tokens of five features
    parts = fitted(hidden, runs(mask), returns, old)
    close(parts.theta, whole.theta, tolerance=1e-10)
    close(parts.values(hidden, runs(mask)), whole.values(hidden, runs(mask)), tolerance=1e-10)


def test_scale_and_offset_of_the_features_do_not_matter(close):
    hidden, mask, returns, old = random_case()
    near = fitted(hidden.double(), runs(mask), returns, old).values(hidden.double(), runs(mask))
    far = hidden.double() * 1000 + 300
    close(fitted(far, runs(mask), returns, old).values(far, runs(mask)), near, tolerance=1e-9)


def test_half_precision_counts_in_float64(close):
    hidden, mask, returns, old = random_case()
    low = hidden.half()
    exact = fitted(low.double(), runs(mask), returns, old).theta
    close(fitted(low, runs(mask), returns, old).theta, exact)


def test_state_is_a_copy_and_goes_on_where_it_was():
    hidden, mask, returns, old = random_case()
    head = fitted(hidden, runs(mask), returns, old)
    state = head.state_dict()
    before = head.theta.clone()
    other = ValueHead(0.01)
    other.load_state_dict(state)
    for one in (head, other):
        one.step(hidden, runs(mask), returns, old, clip=0.2)
    assert torch.equal(head.theta, other.theta) and not torch.equal(head.theta, before)
    assert torch.equal(state["theta"], before)


def test_an_empty_state_begins_anew():
    assert ValueHead(0.1).state_dict() == {}
    head = begun()
    head.load_state_dict({})
    assert head.theta is None and head.optimizer is None and head.radius == 1.0
