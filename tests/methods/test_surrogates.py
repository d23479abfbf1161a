import pytest

from methods.surrogates import Surrogate


def test_trainer_args_are_the_fields():
    assert Surrogate(loss_type="dapo", epsilon_high=0.28).trainer_args() == {
        "loss_type": "dapo",
        "importance_sampling_level": "token",
        "epsilon": 0.2,
        "epsilon_high": 0.28,
        "delta": None,
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss_type": "dapoo"}, "loss_type.*'dapoo'.*did you mean 'dapo'"),
        ({"importance_sampling_level": "tokens"}, "importance_sampling_level.*token, sequence"),
        ({"epsilon": 0.0}, "epsilon .*0.0"),
        ({"epsilon": 1.5}, "epsilon .*1.5"),
        ({"epsilon_high": -0.1}, "epsilon_high.*-0.1"),
        ({"epsilon_high": float("nan")}, "epsilon_high.*nan"),
        ({"delta": 1.1}, "delta.*1.2.*1.1"),
        ({"loss_type": "cispo"}, "cispo.*epsilon_high.*caps the ratio"),
        ({"loss_type": "cispo", "epsilon_high": 5.0, "delta": 9.0}, "cispo.*delta"),
        ({"loss_type": "dapo", "importance_sampling_level": "sequence"}, "sequence.*loss_type.*grpo"),
    ],
)
def test_values_without_a_meaning_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Surrogate(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
        {"loss_type": "cispo", "epsilon_high": 5.0},
        {"delta": 4.0},
    ],
)
def test_published_settings_pass(fields):
    Surrogate(**fields)
