import pandas as pd

from harness.bench import growth


def test_every_size_is_timed_and_drawn(tmp_path, monkeypatch, capsys):
    small = {"completions": ("G", (2, 4)), "max_tokens": ("T", (4, 8)), "hidden": ("parameters", (24, 48))}
    monkeypatch.setattr(growth, "VARIED", small)
    monkeypatch.setattr(growth, "USUAL", {"completions": 2, "max_tokens": 4, "hidden": 24})
    monkeypatch.setattr(growth, "PROMPTS", 2)
    assert growth.main(["rounds=1", "steps=1", f"out={tmp_path / 'new'}"]) == 0
    out = capsys.readouterr().out
    assert "exponent of G: stock_trl" in out and out.count("| max_tokens ") == 2
    frame = pd.read_csv(tmp_path / "new" / "growth.csv")
    assert len(frame) == 12 and (frame["seconds"] > 0).all()
    sizes = frame[frame["varied"] == "hidden"].groupby("value")["parameters"].first()
    assert sizes[48] > 2 * sizes[24]
