import numpy as np
import pytest
import torch

from harness.diagnose.gradient import (
    MEASURES,
    gradient_fidelity,
    gradients,
    leave_one_out,
    measures,
    products,
)
from harness.diagnose.step import step_gains
from harness.rollouts import Key, RolloutEngine
from tests.harness.conftest import make_policy


def table(by_name, true, fresh, name):
    """value, low, high by measure, over batches, as many of REINFORCE's leaving with each."""
    units = np.arange(len(true))
    found = gradient_fidelity(by_name, true, fresh, units, units)[name]
    own = found.frame(name).set_index("measure")
    return own["value"], own["low"], own["high"]


def test_measures_by_hand():
    # two batches: g = (1, 0), (1, 2); g* = (1, 0), (1, 0); REINFORCE (2, 0), (2, 0)
    g = [torch.tensor([1.0, 0.0]), torch.tensor([1.0, 2.0])]
    true, fresh = [torch.tensor([1.0, 0.0])] * 2, [torch.tensor([2.0, 0.0])] * 2
    own = measures(products(g, g), products(g, true), products(true, true), products(g, fresh), products(fresh, fresh))
    found = dict(zip(MEASURES, own, strict=True))
    # |E g|² from the pair of batches: 1; with g*: 1; mean |g_b|² = (1 + 5)/2, so noise 2
    assert found["cosine_true"] == pytest.approx(1) and found["cosine_reinforce"] == pytest.approx(1)
    assert found["snr"] == pytest.approx(1 / 2)
    # the plain cosine of (1, 0) with the other batch's g* is 1, of (1, 2) it is 1/√5
    assert found["cosine_one_batch"] == pytest.approx((1 + 1 / np.sqrt(5)) / 2)


def test_a_direction_is_found_in_noise():
    rng = np.random.default_rng(0)
    size, batches = 50, 40
    direction, other = rng.normal(size=(2, size))
    other -= other @ direction / (direction @ direction) * direction

    def noisy(mean):
        return [torch.from_numpy(mean + rng.normal(size=size) * 3) for _ in range(batches)]

    by_name = {"same": noisy(2 * direction), "other": noisy(other)}
    true, fresh = noisy(direction), noisy(direction)
    for measure in ("cosine_true", "cosine_reinforce"):
        value, low, high = table(by_name, true, fresh, "same")
        assert low[measure] < 1 < high[measure] and high[measure] - low[measure] < 0.6
        value, low, high = table(by_name, true, fresh, "other")
        assert low[measure] < 0 < high[measure]
    value, low, high = table(by_name, true, fresh, "same")
    exact = 4 * direction @ direction / (9 * size)
    assert low["snr"] < exact < high["snr"] and value["cosine_one_batch"] < value["cosine_true"]


def test_a_unit_leaves_with_its_own_and_its_fresh_batches():
    rng = np.random.default_rng(0)
    own, true, fresh = ([torch.from_numpy(rng.normal(size=5) + 2) for _ in range(n)] for n in (4, 4, 6))
    units, fresh_units = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2, 2, 2])
    found = gradient_fidelity({"g": own}, true, fresh, units, fresh_units)["g"]
    for unit, left in enumerate(found.left):
        some, more = np.flatnonzero(units != unit), np.flatnonzero(fresh_units != unit)
        g, t, f = [own[i] for i in some], [true[i] for i in some], [fresh[i] for i in more]
        expected = measures(products(g, g), products(g, t), products(t, t), products(g, f), products(f, f))
        assert left == pytest.approx(expected)


def test_no_gradient_has_no_direction():
    zero, some = [torch.zeros(3)] * 3, list(torch.eye(3) + 1)
    value, _, _ = table({"zero": zero}, some, some, "zero")
    assert np.isnan(value["cosine_true"]) and np.isnan(value["snr"]) and value["cosine_one_batch"] == 0


def test_a_direction_that_hangs_on_one_batch_is_none():
    # E g squared from pairs: ((1, 0)·(1, 0) + 2·(1, 0)·(-0.4, 1)) / 3 > 0, but without the first batch it is negative
    g = [torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]), torch.tensor([-0.4, 1.0])]
    some = list(torch.eye(2)[[0, 0, 1]] + 1)
    value, low, _ = table({"g": g}, some, some, "g")
    assert np.isnan(value["cosine_true"]) and np.isnan(low["cosine_true"]) and np.isfinite(value["cosine_one_batch"])


def test_leave_one_out_by_hand():
    assert leave_one_out(np.array([1.0, 0.0, 0.0, np.nan])) == pytest.approx([1.0, -0.5, -0.5, 0.0])
    assert leave_one_out(np.array([1.0, np.nan])).tolist() == [0.0, 0.0]


@pytest.fixture(scope="module")
def sampled():
    policy = make_policy(dtype=torch.float64)
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=0)
    prompts = policy.encode(["1+2?", "7*8-3?"]) * 2
    rollouts = engine.generate(prompts, [Key("p", k, 0) for k in range(4)], max_tokens=8)
    return policy, prompts, rollouts


def test_gradients_against_finite_differences(sampled):
    policy, prompts, rollouts = sampled
    credit = [np.linspace(-1, 1, len(ids)) for ids in rollouts.ids()]
    flat = gradients(policy.model, prompts, rollouts, {"c": credit, "none": [0 * own for own in credit]}, 1.0)
    assert not flat["none"].any()

    def objective():
        total = 0.0
        with torch.no_grad():
            for prompt, ids, own in zip(prompts, rollouts.ids(), credit, strict=True):
                logits = policy.model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].double()
                logps = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).squeeze(1)
                total += float(torch.from_numpy(own) @ logps) / len(prompts)
        return total

    parameters = [p for p in policy.model.parameters() if p.requires_grad]
    # wide steps: inside the model some numbers are float32
    parts = flat["c"].split([p.numel() for p in parameters])
    for place in (0, len(parameters) // 2, -1):
        at = int(parts[place].abs().argmax())
        entry, kept = parameters[place].data.view(-1), float(parameters[place].data.view(-1)[at])
        entry[at] = kept + 1e-3
        above = objective()
        entry[at] = kept - 1e-3
        below = objective()
        entry[at] = kept
        assert float(parts[place][at]) == pytest.approx((above - below) / 2e-3, rel=5e-3)


def test_a_step_along_rewarded_tokens_gains_and_against_them_loses(sampled):
    from omegaconf import OmegaConf

    from harness.suites import Problem, Verdict

    policy, _, _ = sampled
    problems = [Problem(f"{a}+{b}?", "math") for a in range(4) for b in range(4)]

    class Sevens:
        """A suite that wants a 7 first."""

        def judge(self, problems, completions):
            return [Verdict(float(text.startswith("7")), text.startswith("7"), text) for text in completions]

    cfg = OmegaConf.create({"seed": 0, "trainer": {"max_completion_tokens": 4, "temperature": 1.0}})
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=0)
    prompts = policy.encode([p.prompt for p in problems for _ in range(8)])
    rollouts = engine.generate(prompts, [Key("p", k, 0) for k in range(len(prompts))], max_tokens=4)
    seven = policy.tokenizer("7")["input_ids"][0]
    credit = [np.array([float(ids[0] == seven), *[0.0] * (len(ids) - 1)]) for ids in rollouts.ids()]
    up = gradients(policy.model, prompts, rollouts, {"up": credit}, 1.0)["up"]
    before = policy.hash
    steps = {"up": up, "down": -up, "none": 0 * up}
    gains = step_gains(cfg, policy, Sevens(), problems, steps, 0.5)
    assert gains["up"].shape == (16,) and not gains["none"].any()
    assert gains["up"].mean() > 2 * gains["up"].std() / 4 and gains["down"].mean() < 0
    assert policy.hash == before
