"""Every number that the models of the lectures must give, from the table: a test a function and route, all its numbers
at once.

The table says how each number is known; `hiermodels.targets.table.allowed` how close is close enough: 1e-6 or the
printed digits for closed forms, a unit in the last digit or 2e-4 for quadrature, four standard errors where either side
is Monte Carlo. Chains and studies have fixed seeds; with others, each of about 800 such comparisons would fail by
chance once in 16,000.
"""

from __future__ import annotations

import csv
import importlib
import inspect
from pathlib import Path

import pytest

import hiermodels as hm
from hiermodels.targets import table
from hiermodels.targets.table import Check, allowed, checks, read_targets
from hiermodels.verify import SECTIONS, compare


def _parameters() -> list:
    marked = [(c, [pytest.mark.slow] if c.slow else []) for c in checks()]
    return [
        pytest.param(c, marks=marks, id=f"{c.targets[0].section}-{c.how}{'-' if c.route else ''}{c.route}")
        for c, marks in marked
    ]


@pytest.mark.slow_cases(
    "1-normal.fitted-closed_form",
    "1-normal.fitted-exact",
    "10-propriety.integrals",
    "2-baseball.at_066-exact",
    "2-baseball.at_binomial-exact",
    "2-baseball.flat_sd-exact",
    "4-eight_schools.flat_sd-exact",
    "4-eight_schools.flat_sd_predictions-exact",
    "4-eight_schools.half_cauchy_5-exact",
    "4-eight_schools.half_cauchy_5_normal_mean-exact",
    "4-eight_schools.order_flat",
    "4-eight_schools.point_estimates",
    "4-eight_schools.replicates_flat",
    "4-eight_schools.tau_0-exact",
    "4-eight_schools.uniform_0_20-exact",
    "5-rats.hyperparameters-exact",
    "6-scores.balanced-exact",
    "6-scores.fixed_variances_predictions-draws",
    "6-scores.half_normal-exact",
    "7-individuals.data",
    "7-individuals.hierarchical-exact",
    "7-individuals.unpooled-exact",
    "8-counts.pumps-exact",
    "8-counts.ten_counties-exact",
    "9-exchangeability.prior_correlation-exact",
    "9-exchangeability.relabelled",
)
@pytest.mark.parametrize("check", _parameters())
def test_target(check: Check, record_property):
    rows = compare(check)
    record_property("targets", len(rows))
    wrong = [
        f"{r['system']}: {r['quantity']}: target {r['target']}, ours {r['ours']:.8g} (mcse {r['mcse']:.2g}), "
        f"{r['difference']:.2f} of what is allowed"
        for r in rows
        if not r["ok"]
    ]
    assert not wrong, "\n".join([rows[0]["note"], *wrong])


# the table itself
# --------------------------------------------------------------------------------------------------------


def test_every_section_has_targets():
    assert {t.section for t in read_targets()} == set(SECTIONS) == set(range(1, 11))


def test_rows_are_different():
    keys = [(t.system, t.quantity, t.text, t.how, route) for t in read_targets() for route in t.routes or ("",)]
    assert len(keys) == len(set(keys))


def test_what_computes_is_on_its_modules_menu():
    for how in {t.how for t in read_targets()}:
        module, name = how.split(".")
        found = importlib.import_module(f"hiermodels.targets.{module}")
        assert name in found.__all__, how
        wants = bool(inspect.signature(getattr(found, name)).parameters.get("route"))
        assert all(bool(t.routes) == wants for t in read_targets() if t.how == how), how


def test_nothing_on_a_menu_is_unused():
    used = {t.how for t in read_targets()}
    modules = sorted({how.split(".")[0] for how in used})
    offered = {f"{m}.{n}" for m in modules for n in importlib.import_module(f"hiermodels.targets.{m}").__all__}
    assert offered == used


def test_a_tolerance_of_its_own_is_rare_and_never_wider_than_four_errors_without_reason():
    own = [t for t in read_targets() if t.tolerance is not None]
    assert {t.system for t in own} <= {
        "baseball, sigma = 0.066",
        "baseball, the lecture's own table",
        "individuals, hierarchical",
        "2000 simulated datasets of individuals",
        "relabelled groups",
    }


def test_allowed():
    def target(text: str, tag: str, **more) -> table.Target:
        return table.Target(1, "s", "q", text, tag, more.pop("se", 0.0), more.pop("tolerance", None), "m.f", (), False)

    assert allowed(target("7.685617", "C")) == pytest.approx(7.685617e-6)
    assert allowed(target("6", "C")) == pytest.approx(0.5)
    assert allowed(target("6.57548", "Q")) == pytest.approx(2e-4 * 6.57548)
    assert allowed(target(".2427", "Q")) == pytest.approx(1e-4)
    assert allowed(target(".2427", "Q"), mcse=0.003) == pytest.approx(0.012 + 5e-5)
    assert allowed(target(".482", "R", se=0.001), mcse=0.002) == pytest.approx(4 * 5e-6**0.5 + 5e-4)
    assert allowed(target("95.2", "Q", tolerance=0.3)) == 0.3
    assert target("1.5e-3", "Q").unit == pytest.approx(1e-4)


def test_a_wrong_number_is_found(monkeypatch):
    module = importlib.import_module("hiermodels.targets.normal")
    right = module.law()
    check = next(c for c in checks(1) if c.how == "normal.law")
    monkeypatch.setattr(module, "law", lambda: right | {"centre": right["centre"] + 2e-5})
    wrong = [row["quantity"] for row in compare(check) if not row["ok"]]
    assert wrong == ["centre"]
    monkeypatch.setattr(module, "law", lambda: 1 / 0)
    rows = compare(check)
    assert not any(row["ok"] for row in rows) and all("ZeroDivisionError" in row["note"] for row in rows)


# the data of the table against the library's datasets
# --------------------------------------------------------------------


@pytest.mark.slow
def test_verify_one_section():
    found = hm.verify(section=9)
    assert found["ok"].all() and set(found["section"]) == {9}
    with pytest.raises(ValueError, match="section: expected one of 1, 2"):
        hm.verify(section=11)


@pytest.mark.slow
def test_the_file_is_plain(tmp_path):
    path = Path(table.__file__).parent / "targets.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(read_targets())
    assert all(row["tag"] in "CQRSM" and row["value"] for row in rows)
    assert all(float(row["se"]) > 0 for row in rows if row["se"])
    assert all(row["se"] or row["tolerance"] or row["tag"] in "CQ" or float(row["value"]) in (0, 1) for row in rows)
