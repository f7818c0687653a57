"""Predictors: numbers are numbers in every row, labels keep their order, and what is neither gets a sentence."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.models.data import bind
from hiermodels.models.formula import parse_terms
from hiermodels.models.predictors import columns

ROWS = 18
RNG = np.random.default_rng(2)
FRAME = pd.DataFrame({"y": RNG.normal(size=ROWS), "g": np.repeat(list("abcdef"), 3), "v": RNG.normal(size=ROWS)})
ARMS = ["placebo", "dose2", "dose10"] * 6


def bound(cells, formula="y ~ x + (1 | g)", **model):
    return bind(hm.Model(formula, **model), FRAME.assign(x=cells))


NUMBERS = [1.5, -2.0, 7.0] * 6


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param([Decimal(str(v)) for v in NUMBERS], id="decimals"),
        pytest.param([Fraction(v) for v in NUMBERS], id="fractions"),
        pytest.param(pd.Series(NUMBERS, dtype=object), id="objects"),
        pytest.param(pd.Series([1.5, np.int8(-2), np.float32(7)] * 6, dtype=object), id="mixed numbers"),
        pytest.param(pd.array(NUMBERS, dtype="Float64"), id="nullable"),
        pytest.param([str(v) for v in NUMBERS], id="text of numbers"),
        pytest.param(pd.arrays.SparseArray(NUMBERS), id="sparse"),
    ],
)
def test_numbers_are_numbers_however_they_are_stored(cells):
    problem = bound(cells)
    assert problem.layout.columns == ("Intercept", "x") and problem.warnings == ()
    np.testing.assert_array_equal(problem.data.x[:ROWS, 1], NUMBERS)


@pytest.mark.parametrize(
    "cells",
    [[True, False] * 9, pd.array([True, False] * 9, dtype="boolean"), pd.Series([True, False] * 9, dtype=object)],
)
def test_truth_values_are_one_and_zero(cells):
    problem = bound(cells)
    assert problem.layout.columns == ("Intercept", "x")
    np.testing.assert_array_equal(problem.data.x[:ROWS, 1], [1, 0] * 9)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            [*map(str, range(17)), "oops"],
            r"column 'x', row 17: expected a number \(as in 17 of 18 rows\), found 'oops'; mend that cell .* C\(x\)",
        ),
        (
            [1.0, "a", 2.0] * 6,
            r"row 1: expected a number \(as in 12 of 18 rows\), found 'a'; .*\.map\(str\) and write C\(x\)",
        ),
        (["1,5", "2,5", "3,5"] * 6, r"row 0: .*found '1,5'; write a decimal point: 1\.5"),
        (["5%", "10%", "15%"] * 6, r"found '5%'; write the number alone: 5"),
        (["2020-01-02", "2021-05-03", "2022-03-01"] * 6, r"found '2020-01-02'; write dates as numbers, .* C\(x\)"),
        (["02/01/2020", "3/5/2021", "1.3.2022"] * 6, r"found '02/01/2020'; write dates as numbers"),
        (
            pd.date_range("2020", periods=ROWS),
            r"row 0: expected a number, found 2020-01-01 00:00:00; write dates and times as numbers",
        ),
        (pd.to_timedelta(np.arange(ROWS), "D"), r"found 0 days 00:00:00; write dates and times as numbers"),
        (pd.period_range("2020", periods=ROWS, freq="M"), r"found 2020-01; write dates and times as numbers"),
        ([datetime.date(2020, 1, 1 + i) for i in range(ROWS)], r"found 2020-01-01; write dates and times as numbers"),
        ([[1, 2]] * ROWS, r"found \[1, 2\]; a predictor is a number or a text in every row, not a list"),
        ([{"a": 1}] * ROWS, r"found \{'a': 1\}; .*not a dict"),
        (np.arange(ROWS) * 1j, r"found 0j; .*not a complex number"),
        ([b"a", b"b", b"c"] * 6, r"found b'a'; .*not a bytes"),
        ([1.0, True, "a"] * 6, r"row 1: .*found True; .*not a truth value"),
        ([*range(17), np.inf], r"column 'x', row 17: expected a finite number, found inf; drop or mend the row"),
        ([10**400] * ROWS, r"row 0: expected a finite number, found inf"),
        (
            pd.array([1, None, 3] * 6, dtype="Int64"),
            r"row 1: expected a value, found a missing one; drop or fill the row",
        ),
        (["a", None, "b"] * 6, r"row 1: expected a value, found a missing one"),
        (["a"] * ROWS, r"'x' is 'a' in every row, so it has nothing to compare; drop it"),
    ],
)
def test_what_is_no_predictor_gets_a_sentence(cells, message):
    with pytest.raises(ValueError, match=message) as found:
        bound(cells)
    assert len(str(found.value)) < 600 and not re.search("pandas|numpy|dtype|formulae", str(found.value))


def test_ways_out_work():
    assert bound([*map(str, range(6)), *map(str, range(6)), *"abcabc"], "y ~ C(x)", priors={"sigma": "half_normal(1)"})
    mixed = pd.Series([1.0, "a", 2.0] * 6, dtype=object)
    assert bound(mixed.map(str), "y ~ C(x) + (1 | g)").layout.columns == ("Intercept", "C(x)[2.0]", "C(x)[a]")
    dates = pd.Series(pd.date_range("2020", periods=ROWS))
    assert bound((dates - dates.min()).dt.days).layout.columns == ("Intercept", "x")
    assert bound(["2020-01-02", "2021-05-03"] * 9, "y ~ C(x) + (1 | g)").layout.columns == (
        "Intercept",
        "C(x)[2021-05-03]",
    )


def test_categories_keep_their_order():
    """The first category is the reference, as in R, patsy and formulaic."""
    problem = bound(pd.Categorical(ARMS, ["placebo", "dose2", "dose10"]))
    assert problem.layout.columns == ("Intercept", "x[dose2]", "x[dose10]") and problem.warnings == ()
    np.testing.assert_array_equal(problem.data.x[:3], [[1, 0, 0], [1, 1, 0], [1, 0, 1]])
    whole = bound(pd.Categorical(ARMS, ["placebo", "dose2", "dose10"]), "y ~ 0 + x + (1 | g)")
    assert whole.layout.columns[:3] == ("x[placebo]", "x[dose2]", "x[dose10]")
    assert bound(pd.Categorical([3, 1, 2] * 6, [3, 1, 2], ordered=True)).layout.columns == ("Intercept", "x[1]", "x[2]")


@pytest.mark.parametrize(("first", "reference"), [("placebo", "placebo"), ("none", "placebo")])
def test_an_unused_category_is_said_and_keeps_the_others_in_order(first, reference):
    order = [first, *(c for c in ("placebo", "none", "dose2", "dose10") if c != first)]
    problem = bound(pd.Categorical(ARMS, order))
    assert problem.layout.columns == ("Intercept", "x[dose2]", "x[dose10]")
    assert problem.warnings == (
        f"x: no row has category 'none', so it has no coefficient; the reference is {reference!r}",
    )


def test_text_is_in_alphabetical_order_and_that_is_said():
    problem = bound(ARMS)
    assert problem.layout.columns == ("Intercept", "x[dose2]", "x[placebo]")
    assert problem.warnings == (
        "x: text in alphabetical order, so 'dose10' is the reference; C(x, 'placebo') sets another",
    )
    assert bound(ARMS, "y ~ C(x, 'placebo') + (1 | g)").warnings == ()


@pytest.mark.parametrize(
    "written",
    ["C(x, 'placebo')", 'C(x, "placebo")', "C( x,Treatment('placebo') )", "C(x, Treatment(reference='placebo'))"],
)
def test_a_reference_is_set_in_the_formula(written):
    problem = bound(ARMS, f"y ~ {written} + (1 | g)")
    assert problem.layout.columns == ("Intercept", "C(x, 'placebo')[dose10]", "C(x, 'placebo')[dose2]")
    ordered = bound(pd.Categorical(ARMS, ["dose2", "placebo", "dose10"]), f"y ~ {written} + (1 | g)")
    assert ordered.layout.columns == ("Intercept", "C(x, 'placebo')[dose2]", "C(x, 'placebo')[dose10]")


@pytest.mark.parametrize("cells", [[1, 2, 10] * 6, [1.0, 2.0, 10.0] * 6, ["1", "2", "10"] * 6])
def test_labels_that_are_numbers_are_in_order_of_size(cells):
    assert bound(cells, "y ~ C(x) + (1 | g)").layout.columns == ("Intercept", "C(x)[2]", "C(x)[10]")
    assert bound(cells, "y ~ C(x, 2) + (1 | g)").layout.columns == ("Intercept", "C(x, '2')[1]", "C(x, '2')[10]")


def test_an_unknown_reference_names_the_labels():
    with pytest.raises(
        ValueError, match=r"C\(x, 'plac'\): expected a label of the data as reference \(dose10, dose2, placebo\)"
    ):
        bound(ARMS, "y ~ C(x, 'plac') + (1 | g)")


def test_the_same_model_whatever_the_reference():
    """Fitted values do not depend on the reference; the slope of an arm against placebo does not on how it is
    written.
    """
    table = FRAME.assign(x=pd.Categorical(ARMS, ["placebo", "dose2", "dose10"]), t=ARMS)
    first = columns(parse_terms("x"), table, "")[1]
    second = columns(parse_terms("C(t, 'dose2')"), table, "")[1]
    third = columns(parse_terms("C(t, 'placebo')"), table, "")
    for other in (second, third[1]):
        assert np.linalg.matrix_rank(np.hstack([first, other])) == 3
    np.testing.assert_array_equal(first[:, 2], third[1][:, third[0].index("C(t, 'placebo')[dose10]")])


@pytest.mark.parametrize(
    ("fitted", "new"),
    [
        ([1, 2, 3] * 6, [3.0, 1.0]),
        ([1.0, 2.0, 3.0] * 6, [3, 1]),
        (["1", "2", "3"] * 6, [3, 1]),
        ([1, 2, 3] * 6, ["3", "1"]),
    ],
)
def test_labels_of_new_rows_are_compared_by_value(fitted, new):
    terms = parse_terms("C(x)")
    got = columns(terms, pd.DataFrame({"x": new}), "", like=pd.DataFrame({"x": fitted}))
    assert got[0] == ["Intercept", "C(x)[2]", "C(x)[3]"]
    np.testing.assert_array_equal(got[1], [[1, 0, 1], [1, 0, 0]])


def test_new_rows_with_other_categories_are_refused():
    like = FRAME.assign(x=pd.Categorical(ARMS, ["placebo", "dose2", "dose10"]))
    new = pd.DataFrame({"x": ["dose2", "dose3"]})
    with pytest.raises(
        ValueError,
        match=r"new_data, column 'x', row 1: expected one of the categories of the data \(placebo, dose2, dose10\), found 'dose3'",
    ):
        columns(parse_terms("x"), new, "", like=like, where="new_data, ")
    with pytest.raises(ValueError, match=r"new_data, column 'v', row 0: expected a number, found 'high'"):
        columns(parse_terms("v"), pd.DataFrame({"v": ["high"]}), "", like=FRAME, where="new_data, ")


@pytest.mark.slow
def test_predictions_follow_the_fitted_coding():
    table = FRAME.assign(
        x=pd.Categorical(ARMS, ["placebo", "dose2", "dose10"]),
        y=np.where(np.array(ARMS) == "placebo", 0.0, 5.0) + 0.1 * FRAME.y,
    )
    fit = hm.fit(
        hm.Model("y ~ x + standardise(v)"),
        table,
        pooling="complete",
        sampler="exact",
        progress=False,
        draws=200,
        seed=1,
    )
    new = pd.DataFrame({"x": ["dose10", "placebo"], "v": [table.v[2], table.v[0]]})
    means = fit.predict(new).predictions["y"].values.mean((0, 1))
    np.testing.assert_allclose(means, [5, 0], atol=0.3)


def test_outcomes_and_roles_take_numbers_in_objects():
    table = FRAME.assign(y=[Decimal(f"{v:.3f}") for v in FRAME.y], s=pd.Series([Fraction(1, 2)] * ROWS, dtype=object))
    problem = bind(hm.Model("y ~ 1 + (1 | g)", known_se="s"), table)
    np.testing.assert_allclose(problem.data.y[:ROWS], FRAME.y, atol=1e-3)
    np.testing.assert_allclose(problem.data.weight[:ROWS], 4)


def test_too_many_labels_are_told_to_vary_by_group():
    table = pd.DataFrame({"y": np.arange(2500.0), "id": [f"i{i}" for i in range(2500)]})
    with pytest.raises(ValueError, match=r"'id' takes the design beyond 2000 columns; let it vary by group"):
        bind(hm.Model("y ~ id"), table)
