"""Tables: a column is read by its role, and what cannot be read is said with its place."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from hiermodels.datasets import read_table
from hiermodels.models.columns import numbers
from hiermodels.models.data import bind
from hiermodels.models.spec import Model
from hiermodels.studies.config import read_config

# columns that are numbers
# ------------------------------------------------------------------------------------------------


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


# CSV files
# ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    def write(text, name="d.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_labels_stay_as_written_and_numbers_are_numbers(written):
    path = written("id,y,w\n1,10.50,1\n01,11,2\n001,12,3\n2,1e1,4\n")
    frame = read_table(path, ["id"])
    assert (
        frame["id"].tolist() == ["1", "01", "001", "2"]
        and frame["y"].tolist() == [10.5, 11, 12, 10]
        and frame["w"].tolist() == [1, 2, 3, 4]
    )
    assert read_table(written("id,y\n1,1\n2,2\n"), ["id"])["id"].tolist() == [1, 2]  # as they would be in a DataFrame
    assert read_table(written("id,y\n1.0,1\n2.0,2\n"), ["id"])["id"].tolist() == ["1.0", "2.0"]
    assert read_table(written("id,y\n9007199254740993,1\n9007199254740992,2\n"), ["id"])["id"].nunique() == 2
    assert read_table(written("id,y\nTRUE,True\nFALSE,False\n"), ["id"]).to_dict("list") == {
        "id": ["TRUE", "FALSE"],
        "y": [True, False],
    }


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_separators_are_recognised(written, mark):
    rows = [["g", "y", "n"], ["a", "1.5", "3"], ["b", "2", "4"]]
    frame = read_table(written("\ufeff# a source\n" + "\r\n".join(mark.join(r) for r in rows) + "\r\n\r\n"))
    assert frame.to_dict("list") == {"g": ["a", "b"], "y": [1.5, 2], "n": [3, 4]}


def test_a_decimal_comma_is_one_where_another_mark_separates(written):
    assert read_table(written("g;y\n1,5;2,5\n2;1e1\n"), ["g"]).to_dict("list") == {"g": ["1,5", "2"], "y": [2.5, 10]}
    assert read_table(written('g,y\na,"2,5"\nb,1\n'))["y"].tolist() == [
        "2,5",
        "1",
    ]  # thousands, perhaps: said where it is a number
    assert read_table(written("sep=;\ng;y\na;1\n"))["y"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "y,g\n1,a\n2,b,c\n",
            "line 3: expected 2 fields as in the header, found 3; put double quotes around a text with a comma in it",
        ),
        (
            "y,g\n1,a,x\n2,b,x\n",
            r"line 2: expected 2 fields as in the header, found 3, and one more in every row; .*row.names = FALSE",
        ),
        ("# source\ny,g\n\n1,a\n2\n", "line 5: expected 2 fields as in the header, found 1; write every cell"),
        ('y,g\n1,"a\n2,b\n', "line 2: found a double quote that is never closed"),
        ('y,g\n1,"a"b\n', "line 2: found text behind a closing double quote"),
        ('y,g\n1,"two\nlines"\n2,b,c\n', "line 4: expected 2 fields"),
        ("y g\n1 a\n2 b\n", "expected a comma, a semicolon, a tab, a bar between fields, found blanks"),
        ("y,g,y\n1,a,2\n", "expected every column name once, found 'y' twice"),
        (
            "y,g\n1,NA\n",
            "line 2, column 'g': expected a group label, found 'NA', which is read as a missing value; .*say here",
        ),
        ("\n\n", "expected a header line"),
        ("y,g\n", "at least one row"),
        (b"y,g\n1,\xe9\n", r"found byte 0xe9; save it so \(line 2 may be Latin-1"),
        ("y,g\n1,a\n".encode("utf-16"), "found UTF-16 text; save it so"),
        ("y,g\n1," + 200_000 * "a", "line 2: "),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(written, text, found):
    path = written(text)
    with pytest.raises(ValueError, match=found) as caught:
        read_table(path, ["g"], way="here")
    assert str(path) in str(caught.value) and len(str(caught.value)) < 600 and "\n" not in str(caught.value)


def test_na_is_a_label_where_the_reader_is_told(written):
    path = written("y,country\n1,NA\n2,DE\n,FR\n")
    frame = read_table(path, ["country"], missing="")
    assert frame["country"].tolist() == ["NA", "DE", "FR"] and np.isnan(frame["y"][2])
    assert read_table(written("y,g\n-9,a\n1,b\n"), ["g"], missing=["-9"])["y"].isna().tolist() == [True, False]


def test_a_study_reads_its_file_by_role(written):
    path = written("id,y\n" + "".join(f"{g},{v}\n" for g in ("1", "01", "001", "NA") for v in (1, 2, 3)))
    study = {
        "mechanisms": {"formula": "y ~ 1 + (1 | id)", "design": {"file": str(path), "missing": ""}, "truth": {"Intercept": 0, "sd_id": 1, "sigma": 1}},
        "estimands": ["theta_id"], "methods": {"e": {"sampler": "exact"}}, "performance": ["bias"], "replications": 2,
        "failures": "complete-case", "seed": 1,
    }  # fmt: skip
    table = read_config(study).mechanisms.design["table"]
    assert list(dict.fromkeys(table["id"])) == ["1", "01", "001", "NA"] and table["y"][:3] == [1, 2, 3]
    study["mechanisms"]["design"] = str(path)
    with pytest.raises(
        ValueError, match=r"line 11, column 'id': .*found 'NA'.*design: \{file: .*d\.csv, missing: \"\"\}"
    ):
        read_config(study)
