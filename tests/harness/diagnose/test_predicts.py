import numpy as np
import pandas as pd
import pytest

from harness.diagnose.predicts import correlations, main
from harness.errors import ConfigError


def tables(values, speeds):
    measured = [(f"m{i}", "x", value) for i, value in enumerate(values)]
    fidelity = pd.DataFrame(measured, columns=["method", "measure", "value"])
    rows = [(f"m{i}-1234abcd", "all", "aulc", speed) for i, speed in enumerate(speeds)]
    rows += [("m0-1234abcd", "math", "aulc", 9.0), ("m0-1234abcd", "all", "end_point", 9.0)]
    return fidelity, pd.DataFrame(rows, columns=["label", "domain", "metric", "mean"])


def test_by_hand():
    # ranks 1 2 3 4 5 against 2 1 4 3 5: ρ = 1 - 6·4/(5·24) = 0.8
    (own,) = correlations(*tables([1, 2, 3, 4, 5], [0.2, 0.1, 0.4, 0.3, 0.5])).itertuples()
    assert own.n == 5 and own.rho == pytest.approx(0.8)
    half = 1.959964 * 1.06 / np.sqrt(2)
    assert own.low == pytest.approx(np.tanh(np.arctanh(0.8) - half))
    # of 120 orders ρ >= 0.8 in 8 (Σd² <= 4: the identity, 4 swaps of neighbours, 3 pairs of them), <= -0.8 in as many
    assert own.p == pytest.approx(16 / 120)


def test_methods_that_one_side_lacks_are_left_out_and_too_few_say_nothing():
    fidelity, comparison = tables([1, 2, 3, np.nan], [0.1, 0.2, 0.3, 0.4])
    (own,) = correlations(fidelity, comparison).itertuples()
    assert own.n == 3 and np.isnan(own.rho)


def test_one_method_at_two_settings_is_refused():
    fidelity, comparison = tables([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4])
    (own,) = correlations(fidelity, pd.concat([comparison, comparison])).itertuples()
    assert own.n == 4  # the same runs twice
    other = comparison.assign(mean=[0.1, 0.25, 0.3, 0.4, 9.0, 9.0])
    with pytest.raises(ConfigError, match="^m1 stands there with different numbers"):
        correlations(fidelity, pd.concat([comparison, other]))


def test_the_command(tmp_path, capsys):
    fidelity, comparison = tables([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4])
    fidelity.to_csv(tmp_path / "fidelity.csv")
    comparison.to_csv(tmp_path / "comparison.csv")
    assert main([f"diagnosis={tmp_path}", f"comparison={tmp_path}"]) == 0
    assert "| x | 4 | +1.00 |" in capsys.readouterr().out
    (tmp_path / "b").mkdir()
    tables([1], [0.5])[1].replace("m0-1234abcd", "m9-1234abcd").to_csv(tmp_path / "b" / "comparison.csv")
    assert main([f"diagnosis={tmp_path}", f"comparison=[{tmp_path},{tmp_path / 'b'}]"]) == 0
    assert "| x | 4 | +1.00 |" in capsys.readouterr().out
    assert main([f"diagnosis={tmp_path}"]) == 2 and main([]) == 2
    assert main([f"diagnosis={tmp_path / 'a'}", f"comparison={tmp_path}"]) == 2
    assert "no " in capsys.readouterr().err
