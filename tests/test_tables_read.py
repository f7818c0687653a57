"""Tables: a column is read by its role, and what cannot be read is said with its place."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from hiermodels.models.columns import numbers
from hiermodels.models.data import bind
from hiermodels.models.spec import Model

# columns that are numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param(["10.1", "2", "-3e2"], id="text"),
        pytest.param([10.1, 2, -300.0], id="objects"),
        pytest.param([Decimal("10.1"), np.int8(2), "-300"], id="mixed"),
        pytest.param(pd.array([10.1, 2, -300], dtype="Float64"), id="nullable"),
        pytest.param(pd.Categorical([10.1, 2, -300]), id="category"),
    ],
)
def test_cells_that_mean_a_number_are_one(cells):
    column = pd.Series(cells) if hasattr(cells, "dtype") else pd.Series(cells, dtype=object)
    assert numbers(pd.DataFrame({"y": column}), "y", "outcome").tolist() == [10.1, 2, -300]


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["1", "ten", "3"], r"row 1: expected numbers \(outcome\), found 'ten'; .*mend that cell or drop the row"),
        (["1", "2,5", "3"], r"row 1: .*found '2,5'; write a decimal point: 2\.5"),
        ([1.0, 2 + 1j, 3.0], r"row 1: .*found \(2\+1j\)"),
        ([1.0, [2], {"a": 1}], r"row 1: .*found \[2\] \(2 of 3 rows are no numbers\)"),
        ([1.0, True, 3.0], r"row 1: .*found True"),
        ([1.0, pd.Timestamp("2020-01-02"), 3.0], r"row 1: .*found 2020-01-02"),
        (["1", "\x1b[31mred", "3"], r"row 1: .*found '\\x1b\[31mred'"),
        ([1, 10**400, 3], r"row 1: expected a finite outcome, found inf"),
        ([1.0, None, 3.0], r"row 1: expected a finite outcome, found nan"),
    ],
)
def test_a_cell_that_is_no_number_is_named(cells, found):
    frame = pd.DataFrame({"y": pd.Series(cells, dtype=object)})
    with pytest.raises(ValueError, match=found):
        bind(Model("y ~ 1"), frame)


def test_a_column_that_stands_twice_is_refused_where_it_is_used():
    frame = pd.DataFrame([[1.0, 2.0, "a", 0.0], [2.0, 3.0, "b", 0.0], [3.0, 1.0, "a", 1.0], [4.0, 2.0, "b", 1.0]])
    frame.columns = ["y", "z", "g", "z"]
    bind(Model("y ~ 1 + (1 | g)"), frame)  # the columns z are not used
    for formula in ("z ~ 1 + (1 | g)", "y ~ 1 + z + (1 | g)", "y ~ 1 + (1 | z)"):
        with pytest.raises(ValueError, match="expected one column 'z' in the data, found 2"):
            bind(Model(formula), frame)
