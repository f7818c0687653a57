"""The command ``hiermodels verify``, and the page that shows the sources' numbers beside ours."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd
import pytest

import hiermodels.verify  # noqa: F401
from hiermodels.cli import main
from hiermodels.targets import normal
from hiermodels.targets.table import checks, read_targets

PAGE = Path(__file__).parents[2] / "docs" / "what_the_sources_print.md"


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["verify", *arguments])
    shown = capsys.readouterr()
    return int(stopped.value.code or 0), shown.out, shown.err


def test_a_section_is_printed_with_its_verdict(capsys):
    code, out, err = run(capsys, "--section", "3")
    assert code == 0
    for word in ("quantity", "target", "ours", "difference", "-3.316563", "averages, s = 0.066^2", "all agree"):
        assert word in out
    assert "section 3: arcsine scale, from hits" in err  # progress
    count = sum(len(c.targets) for c in checks(3, slow=False))
    assert f"{count} comparisons" in out


@pytest.fixture
def only_the_law(monkeypatch):
    """One function, without a sampler."""
    module = sys.modules["hiermodels.verify"]
    monkeypatch.setattr(module, "checks", lambda section, slow: [c for c in checks(1) if c.how == "normal.law"])


def test_what_disagrees_ends_with_code_one(capsys, monkeypatch, only_the_law):
    right = normal.law()
    monkeypatch.setattr(normal, "law", lambda: right | {"count": 6.4})
    code, out, _ = run(capsys, "--quiet")
    assert code == 1
    assert "1 disagree" in out and "count" in out and "9.846552" not in out


def test_what_fails_says_why(capsys, monkeypatch, only_the_law):
    monkeypatch.setattr(normal, "law", lambda: int("seven"))
    code, out, _ = run(capsys, "--quiet")
    assert code == 1 and "ValueError: invalid literal" in out


def test_an_unknown_section_is_bad_input(capsys):
    code, _, err = run(capsys, "--section", "12")
    assert code == 2 and "section: expected one of 1, 2, 3" in err


# the page
# ----------------------------------------------------------------------------------------------------------------


def rows_of_page() -> pd.DataFrame:
    found = []
    for line in PAGE.read_text().splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if line.startswith("|") and cells[-1].startswith("`"):
            assert len(cells) == 4, line
            found.append((cells[0], cells[1], cells[2], cells[3].strip("`")))
    return pd.DataFrame(found, columns=["source", "ours", "why", "name"])


def test_every_number_of_ours_on_the_page_is_the_tables():
    rows = rows_of_page()
    assert len(rows) > 60
    targets = {(f"{t.system}: {t.quantity}", t.text) for t in read_targets()}
    stale = [(name, ours) for name, ours in zip(rows["name"], rows["ours"], strict=True) if (name, ours) not in targets]
    assert not stale


def test_no_other_decimal_on_the_page_is_ours():
    """Prose and reasons quote what the sources print, and nothing that could go stale."""
    rows = rows_of_page()
    allowed = set(re.findall(r"\d*\.\d+", " ".join([*rows["source"], *rows["name"]]))) | {
        t.text for t in read_targets()
    }
    prose = "\n".join(line for line in PAGE.read_text().splitlines() if not line.startswith("|")) + "\n".join(
        rows["why"]
    )
    assert set(re.findall(r"(?<![\w/])\d*\.\d+", prose)) <= allowed | {"0.5", "0.001"}


def test_the_page_covers_every_source():
    text = PAGE.read_text()
    for printed in (
        ".075",
        ".022",
        "16 of 18",
        ".378",
        ".81",
        "7.685617",
        "6.4633808",
        "0.6^2",
        "2.4",
        "14.3",
        ".223",
        "1.4",
        "80 percent",
    ):
        assert printed in text
    for part in ("normal hierarchies", "beta-binomial", "eight schools", "varying intercepts and slopes"):
        assert re.search(rf"## .*{part}", text)
