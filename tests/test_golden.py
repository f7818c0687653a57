"""The comparison of golden recordings sees what differs, and says how much of it is rounding."""

from __future__ import annotations

import json

import numpy as np
import pytest
from golden import compare, messages


def folders(tmp_path, change):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        arrays, words = (
            {"x": np.array([1.0, -2.0, np.nan, np.inf]), "n": np.arange(3)},
            {"text": "N(0, 1)", "tail": -1.5, "two": ["a", "b"]},
        )
        if name == "b":
            arrays, words = change(arrays, words)
        np.savez(tmp_path / name / "case.npz", **arrays)
        (tmp_path / name / "case.json").write_text(json.dumps(words))
    return compare.files(tmp_path / "a", tmp_path / "b", "part")


@pytest.mark.parametrize(
    ("change", "differ", "says"),
    [
        (lambda x, w: (x, w), 0, "6 compared, 6 identical"),
        (lambda x, w: (x | {"x": x["x"] * (1 + 1e-13)}, w), 0, "5 identical, 1 within tolerance (largest 1e-13)"),
        (lambda x, w: (x | {"x": x["x"] * (1 + 1e-9)}, w), 1, "case: x: relative 1e-09 at "),
        (lambda x, w: (x | {"x": np.array([1.0, -2.0, 0.0, np.inf])}, w), 1, "relative inf at (2,)"),
        (lambda x, w: (x | {"n": np.arange(3) + 1}, w), 1, "case: n: 3 of 3 differ"),
        (lambda x, w: (x | {"x": x["x"][:2]}, w), 1, "case: x: float64 (4,), now float64 (2,)"),
        (lambda x, w: ({"x": x["x"]}, w), 1, "case.npz: n: lost"),
        (lambda x, w: (x, w | {"text": "N(0, 2)"}), 1, "case > text: +N(0, 2)"),
        (lambda x, w: (x, w | {"tail": 1.5}), 1, "case > tail: relative 2"),
        (lambda x, w: (x, w | {"two": ["a", "c"], "new": 1}), 2, "case: new: new"),
    ],
)
def test_a_difference_is_seen(tmp_path, capsys, change, differ, says):
    assert folders(tmp_path, change) == differ
    assert says in capsys.readouterr().out


def test_messages_are_compared_without_what_varies(tmp_path, capsys):
    assert (
        messages.steady(f"{tmp_path}/run.yaml, line 3: expected 0x7f00aa11bb")
        == "<folder>/run.yaml, line 3: expected <address>"
    )
    for name, text in (("a", "use one"), ("b", "take one")):
        (tmp_path / name).mkdir()
        lines = [{"type": "ValueError", "text": t, "test": name} for t in ("the same", text)]
        (tmp_path / name / "test_x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert messages.compare(tmp_path / "a", tmp_path / "b") == 2
    assert "lost: ValueError: use one [a]" in capsys.readouterr().out
