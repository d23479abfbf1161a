"""Surrogates as settings for TRL, and the ratio and credit of those that change them, by hand."""

import math
from dataclasses import fields
from inspect import signature

import pytest
import torch

from methods.surrogates import Cispo, GrpoLambda, Sapo, Surrogate

nan, inf = math.nan, math.inf
TOKEN = {"importance_sampling_level": "token"}


@pytest.mark.parametrize(
    ("surrogate", "args"),
    [
        (
            Surrogate(loss_type="dapo", epsilon_high=0.28, delta=10.0),
            {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28, "delta": 10.0, **TOKEN},
        ),
        (
            Surrogate(importance_sampling_level="sequence", epsilon=3e-4, epsilon_high=4e-4),
            {
                "loss_type": "grpo",
                "importance_sampling_level": "sequence",
                "epsilon": 3e-4,
                "epsilon_high": 4e-4,
                "delta": None,
            },
        ),
        (
            Cispo(cap=4.0),
            {"loss_type": "cispo", "epsilon": 1.0, "epsilon_high": 4.0, "delta": None, **TOKEN},
        ),
        (
            Sapo(tau_neg=2.0),
            {
                "loss_type": "sapo",
                "epsilon": 1.0,
                "epsilon_high": inf,
                "delta": None,
                "sapo_temperature_pos": 1.0,
                "sapo_temperature_neg": 2.0,
                **TOKEN,
            },
        ),
        (
            GrpoLambda(loss_type="dapo", epsilon=0.1, epsilon_high=0.3, delta=2.0, decay=0.5),
            {"loss_type": "dapo", "epsilon": 0.1, "epsilon_high": 0.3, "delta": 2.0, **TOKEN},
        ),
    ],
    ids=["dapo", "gspo", "cispo", "sapo", "grpo_lambda"],
)
def test_trainer_args(surrogate, args):
    assert surrogate.trainer_args() == args
    assert isinstance(surrogate, Surrogate)
    assert surrogate.changes_ratio == isinstance(surrogate, GrpoLambda)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Surrogate, {"loss_type", "importance_sampling_level", "epsilon", "epsilon_high", "delta"}),
        (Cispo, {"cap"}),
        (Sapo, {"tau_pos", "tau_neg"}),
        (GrpoLambda, {"loss_type", "epsilon", "epsilon_high", "delta", "trace", "decay", "floor"}),
    ],
)
def test_options_are_those_that_the_objective_reads(kind, options):
    assert {field.name for field in fields(kind)} == set(signature(kind).parameters) == options


def test_defaults_are_the_published_settings():
    assert Surrogate() == Surrogate("grpo", "token", 0.2, 0.2, None)
    assert (Cispo().cap, Sapo().tau_pos, Sapo().tau_neg) == (5.0, 1.0, 1.05)
    assert (GrpoLambda().trace, GrpoLambda().decay, GrpoLambda().floor) == ("recent", 0.99, -0.1)


@pytest.mark.parametrize("surrogate", [Surrogate(), Cispo(), Sapo()])
def test_the_others_leave_ratio_and_credit_alone(surrogate):
    log_ratio, credit = torch.randn(2, 3), torch.randn(2, 3).double()
    assert surrogate.log_ratio(log_ratio, torch.ones(2, 3).bool()) is log_ratio
    assert surrogate.bounded(credit) is credit


LOG_RATIO = [[0.1, -0.2, 0.4, 0.8], [1.0, nan, 2.0, inf]]
MASK = [[1, 1, 1, 1], [1, 0, 1, 0]]


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        # row 1: 0.1; -0.2 + 0.05; 0.4 - 0.1 + 0.025; 0.8 + 0.2 - 0.05 + 0.0125
        # row 2: 1; outside; 2 + ¼·1, two columns apart; outside
        ("recent", [[0.1, -0.15, 0.325, 0.9625], [1.0, 0.0, 2.25, 0.0]]),
        # weights of tokens 0 … t: 1 | 1 1 | 1 ½ 1 | 1 ½ ½ 1
        # row 1: 0.1; 0.1 - 0.2; 0.1 - 0.1 + 0.4; 0.1 - 0.1 + 0.2 + 0.8          row 2: 1; outside; 1 + 2
        ("both", [[0.1, -0.1, 0.4, 1.0], [1.0, 0.0, 3.0, 0.0]]),
    ],
)
def test_traced_log_ratio_by_hand(trace, expected, close):
    log_ratio = torch.tensor(LOG_RATIO, dtype=torch.float64)
    close(GrpoLambda(trace=trace, decay=0.5).log_ratio(log_ratio, torch.tensor(MASK).bool()), expected)


@pytest.mark.parametrize("trace", ["recent", "both"])
def test_gradient_reaches_earlier_tokens_and_none_outside_the_mask(trace, close):
    x = torch.tensor(LOG_RATIO, dtype=torch.float64).requires_grad_()
    mask = torch.tensor(MASK).bool()
    GrpoLambda(trace=trace, decay=0.5).log_ratio(x, mask).sum().backward()
    # a token's weights in the places t ≥ its own, summed over those inside the mask
    recent = [[1.875, 1.75, 1.5, 1.0], [1.25, 0.0, 1.0, 0.0]]
    both = [[4.0, 2.0, 1.5, 1.0], [2.0, 0.0, 1.0, 0.0]]
    close(x.grad, recent if trace == "recent" else both)


def test_with_decay_0_recent_is_the_plain_ratio(close):
    log_ratio, mask = torch.tensor(LOG_RATIO, dtype=torch.float64), torch.tensor(MASK).bool()
    traced = GrpoLambda(decay=0.0).log_ratio(log_ratio, mask)
    close(traced, [[0.1, -0.2, 0.4, 0.8], [1.0, 0.0, 2.0, 0.0]])


@pytest.mark.parametrize("trace", ["recent", "both"])
def test_the_unmoved_policy_has_ratio_1(trace):
    unmoved = GrpoLambda(trace=trace).log_ratio(torch.zeros(2, 7), torch.ones(2, 7).bool())
    assert torch.equal(unmoved, torch.zeros(2, 7))


@pytest.mark.parametrize("trace", ["recent", "both"])
def test_padding_columns_change_nothing(trace, close):
    surrogate, x = GrpoLambda(trace=trace), torch.randn(2, 5).double()
    wide = torch.cat([x, torch.full((2, 4), nan).double()], dim=1)
    mask = (torch.arange(9) < 5).expand(2, 9)
    close(surrogate.log_ratio(wide, mask)[:, :5], surrogate.log_ratio(x, mask[:, :5]))


def test_bounded_credit_by_hand(close):
    credit = torch.tensor([[-3.0, -0.1, -0.05], [0.0, 0.5, 3.0]], dtype=torch.float64)
    close(GrpoLambda().bounded(credit), [[-0.1, -0.1, -0.05], [0.0, 0.5, 3.0]])
    close(GrpoLambda(floor=-1.0).bounded(credit), [[-1.0, -0.1, -0.05], [0.0, 0.5, 3.0]])
    close(GrpoLambda(floor=0.0).bounded(credit), [[0.0, 0.0, 0.0], [0.0, 0.5, 3.0]])
    assert torch.equal(GrpoLambda(floor=-inf).bounded(credit), credit)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Surrogate, {"loss_type": "dapoo"}, "loss_type.*'dapoo'.*did you mean 'dapo'"),
        (Surrogate, {"loss_type": "cispo"}, "Surrogate.loss_type.*'cispo'"),
        (Surrogate, {"importance_sampling_level": "tokens"}, "importance_sampling_level.*token, sequence"),
        (Surrogate, {"epsilon": 0.0}, "Surrogate.epsilon .*0.0"),
        (Surrogate, {"epsilon": 1.5}, "Surrogate.epsilon .*1.5"),
        (Surrogate, {"epsilon": "0.2"}, "epsilon.*float"),
        (Surrogate, {"epsilon_high": -0.1}, "epsilon_high.*-0.1"),
        (Surrogate, {"epsilon_high": nan}, "epsilon_high.*nan"),
        (Surrogate, {"delta": 1.1}, "Surrogate.delta.*1.2.*1.1"),
        (Surrogate, {"loss_type": "dapo", "importance_sampling_level": "sequence"}, "sequence.*grpo.*dapo"),
        (Cispo, {"cap": 0.2}, "Cispo.cap.*0.2"),
        (Cispo, {"cap": nan}, "Cispo.cap.*nan"),
        (Sapo, {"tau_pos": 0.0}, "Sapo.tau_pos.*0.0"),
        (Sapo, {"tau_neg": nan}, "Sapo.*tau_neg.*nan"),
        (GrpoLambda, {"trace": "recents"}, "GrpoLambda.trace.*did you mean 'recent'"),
        (GrpoLambda, {"decay": 1.01}, "GrpoLambda.decay.*1.01"),
        (GrpoLambda, {"decay": -0.1}, "GrpoLambda.decay.*-0.1"),
        (GrpoLambda, {"floor": 0.1}, "GrpoLambda.floor.*0.1"),
        (GrpoLambda, {"epsilon": 0.0}, "GrpoLambda.epsilon .*0.0"),
        (GrpoLambda, {"loss_type": "sapo"}, "GrpoLambda.loss_type.*'sapo'"),
    ],
)
def test_values_without_a_meaning_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)
