"""Tables and configs as people paste them: read as what they mean, or refused in words; never read as something
else.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from clear_words import EXACT, FITS, PACKAGE, in_time, refused
from pastes import YAML, table_pastes

import hiermodels as hm
from hiermodels.datasets import read_table
from hiermodels.models.data import bind
from hiermodels.studies.config import read_config
from hiermodels.studies.run.runner import bind_all
from hiermodels.studies.store.identity import identity_of

COLUMNS = {
    "eight_schools": (["effect", "se"], ["school"]),
    "scores": (["score"], ["school", "classroom"]),
    "pumps": (["failures", "hours"], ["pump"]),
    "rats": (["tumors", "rats"], ["experiment"]),
    "counties": (["deaths", "exposure"], ["state"]),
}


def content(problem) -> dict:
    """What a table means: numbers of each row in order, and its labels."""
    data = problem.data
    return {name: np.asarray(getattr(data, name)) for name in ("y", "weight", "size", "group")} | {
        f"label {k}": list(v) for k, v in problem.labels.items()
    }


def the_same(one: dict, other: dict, labels: bool = True) -> bool:
    """Equal numbers in equal rows; and equal groups by equal names, unless ``labels`` is False (it was said that they
    look alike).
    """
    if not labels:
        return bool(np.array_equal(one["y"], other["y"]) and np.array_equal(one["size"], other["size"]))
    return all(one[k] == other[k] if isinstance(one[k], list) else np.array_equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_tables_as_people_paste_them(tmp_path, step):
    wrong, count, path = [], 0, tmp_path / "table.csv"
    for name, (numbers, labels) in COLUMNS.items():
        text = (Path(PACKAGE) / "datasets" / f"{name}.csv").read_text()
        formula, options = FITS[name]
        model = hm.Model(formula, **options)
        groups = {c for g in model.parsed.groups for c in g.factors}
        right = content(bind(model, read_table(Path(PACKAGE) / "datasets" / f"{name}.csv", groups)))
        for what, verdict, pasted, apart in itertools.islice(table_pastes(text, numbers, labels), 0, None, step):
            path.write_bytes(pasted if isinstance(pasted, bytes) else pasted.encode())
            count += 1
            try:
                with in_time():
                    table = read_table(path, groups)
                    problem = bind(model, table)
                    found = content(problem)
            except Exception as error:
                if not refused(error) or verdict == "same":
                    wrong.append(f"{name}, {what} ({verdict}): {type(error).__name__}: {str(error)[:300]}")
                continue
            told = any("look alike" in word for word in problem.warnings) or (
                verdict == "told" and what.startswith(("blanks", "a form feed"))
            )
            if verdict == "refused" or (verdict in ("same", "told") and not the_same(found, right, labels=not told)):
                wrong.append(
                    f"{name}, {what} ({verdict}): read as {[f'{v}' for k, v in found.items() if k in ('y', 'size')]}"[
                        :300
                    ]
                )
            if apart is not None and str(table[apart[1]].iloc[apart[0]]) != apart[2]:
                wrong.append(f"{name}, {what}: {table[apart[1]].iloc[apart[0]]!r} for {apart[2]!r}")
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong)
    assert count > 1000 / step


def test_configs_as_people_paste_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, wrong, path = EXACT.decode(), [], tmp_path / "study.yaml"
    path.write_text(text)
    right = identity_of(read_config(path).model_dump(exclude={"aim"}))
    for what, (verdict, write) in YAML.items():
        pasted = write(text)
        assert pasted != text or what == "JSON", what
        path.write_bytes(pasted if isinstance(pasted, bytes) else pasted.encode())
        try:
            with in_time():
                study = read_config(path)
                bind_all(study)
        except Exception as error:
            if not refused(error) or verdict == "same":
                wrong.append(f"{what} ({verdict}): {type(error).__name__}: {str(error)[:300]}")
            continue
        if verdict == "refused" or identity_of(study.model_dump(exclude={"aim"})) != right:
            wrong.append(f"{what} ({verdict}): read as another study")
    assert not wrong, "\n".join(wrong)


BAD = {
    "counts": [
        -1,
        0.5,
        -0.5,
        1e-9,
        np.nan,
        np.inf,
        None,
        pd.NA,
        "many",
        "",
        1j,
        [1],
        {"a": 1},
        datetime.date(2020, 1, 1),
        pd.Timestamp("2020"),
        pd.Timedelta(1),
        np.datetime64("2020"),
        b"1",
        10**400,
        decimal.Decimal("NaN"),
        fractions.Fraction(1, 3),
        (1,),
        range(2),
        object,
        print,
    ],
    "positive": [
        0,
        -1,
        -0.0,
        -1e-300,
        np.nan,
        np.inf,
        -np.inf,
        None,
        pd.NA,
        pd.NaT,
        "wide",
        "",
        1j,
        [1],
        (1,),
        {"a": 1},
        datetime.datetime(2020, 1, 1),
        pd.Timedelta(1),
        b"1",
        10**400,
        decimal.Decimal("Infinity"),
        decimal.Decimal("-1"),
        fractions.Fraction(-1, 3),
        set(),
        object(),
    ],
    "outcome": [
        np.nan,
        np.inf,
        -np.inf,
        None,
        pd.NA,
        pd.NaT,
        "high",
        "",
        "1,5",
        "5%",
        1j,
        [1],
        np.array([1, 2]),
        {"a": 1},
        datetime.date(2020, 1, 1),
        pd.Timestamp("2020", tz="UTC"),
        pd.Period("2020"),
        pd.Interval(0, 1),
        b"1",
        10**400,
        decimal.Decimal("sNaN"),
        frozenset(),
        object(),
        ...,
    ],
    "label": [
        np.nan,
        None,
        pd.NA,
        pd.NaT,
        [1],
        {"a": 1},
        {1},
        np.array([1, 2]),
        1j,
        float("inf"),
        bytearray(b"a"),
        lambda: 1,
    ],
}
ROLES = [
    ("k ~ 1 + (1 | g)", "poisson", {}, "k", "counts"),
    ("k ~ 1 + (1 | g)", "binomial", {"trials": "n"}, "k", "counts"),
    ("k ~ 1 + (1 | g)", "negative_binomial", {}, "k", "counts"),
    ("k ~ 1 + (1 | g)", "binomial", {"trials": "n"}, "n", "counts"),
    ("y ~ 1 + (1 | g)", "normal", {"known_se": "w"}, "w", "positive"),
    ("y ~ 1 + (1 | g)", "normal", {"weights": "w"}, "w", "positive"),
    ("k ~ 1 + (1 | g)", "poisson", {"exposure": "w"}, "w", "positive"),
    ("k ~ 1 + (1 | g)", "poisson_log", {"exposure": "w"}, "w", "positive"),
    ("y ~ 1 + (1 | g)", "student_t", {"known_se": "w"}, "w", "positive"),
    ("y ~ 1 + (1 | g)", "normal", {}, "y", "outcome"),
    ("y ~ 1 + x + (1 | g)", "normal", {}, "x", "outcome"),
    ("y ~ 1 + (1 + x | g)", "normal", {}, "x", "outcome"),
    ("y ~ 1 + log(w) + (1 | g)", "normal", {}, "w", "positive"),
    ("b ~ 1 + (1 | g)", "bernoulli_logit", {}, "b", "outcome"),
    ("y ~ 1 + (1 | g)", "normal", {}, "g", "label"),
    ("y ~ 1 + (1 | g/h)", "normal", {}, "h", "label"),
]


def ordinary() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "y": rng.normal(size=24),
            "x": rng.normal(size=24),
            "k": rng.integers(1, 5, 24),
            "n": rng.integers(6, 9, 24),
            "b": rng.integers(0, 2, 24),
        }
        | {"w": rng.uniform(1, 2, 24), "g": list("abcd") * 6, "h": list("pq") * 12}
    )


def with_cell(frame: pd.DataFrame, column: str, row: int, value) -> pd.DataFrame:
    cells = list(frame[column].astype(object))
    cells[row] = value
    return frame.assign(**{column: pd.Series(cells, dtype=object, index=frame.index)})


def test_one_impossible_cell_of_each_role():
    wrong, count = [], 0
    for formula, family, roles, column, kind in ROLES:
        for value in BAD[kind]:
            for row in (0, 17):
                count += 1
                try:
                    bind(hm.Model(formula, family, **roles), with_cell(ordinary(), column, row, value))
                except Exception as error:
                    if refused(error) and (
                        f"row {row}" in str(error) or kind == "label" or "trials" in str(error) or "kind" in str(error)
                    ):
                        continue
                    wrong.append(
                        f"{formula} {family} {roles}, {column} = {value!r}: {type(error).__name__}: {str(error)[:200]}"
                    )
                else:
                    wrong.append(f"{formula} {family} {roles}, {column} = {value!r}: accepted")
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong)
    assert count > 500


KINDS = {
    "floats": lambda c: c.astype(float),
    "text": lambda c: c.astype(str),
    "objects": lambda c: c.astype(object),
    "nullable": lambda c: c.convert_dtypes(),
    "decimals": lambda c: pd.Series([decimal.Decimal(str(v)) for v in c], dtype=object),
    "fractions": lambda c: pd.Series([fractions.Fraction(float(v)) for v in c], dtype=object),
    "numpy scalars": lambda c: pd.Series([np.float64(v) for v in c], dtype=object),
    "categories of numbers": lambda c: pd.Series(pd.Categorical(c)),
    "ordered categories of numbers": lambda c: pd.Series(pd.Categorical(c, ordered=True)),
    "Arrow": lambda c: c.convert_dtypes(dtype_backend="pyarrow"),
    "sparse": lambda c: c.astype(pd.SparseDtype(c.dtype)),
    "wide floats": lambda c: c.astype(np.longdouble),
    "text with blanks": lambda c: " " + c.astype(str) + " ",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_stored_in_another_way_means_the_same(kind):
    frame = ordinary()
    for formula, family, roles, column, role in ROLES:
        if role == "label":
            continue
        right = content(bind(hm.Model(formula, family, **roles), frame))
        x = np.asarray(bind(hm.Model(formula, family, **roles), frame).data.x)
        try:
            other = bind(
                hm.Model(formula, family, **roles),
                frame.assign(
                    **{
                        column: KINDS[kind](frame[column]).to_numpy()
                        if kind == "floats"
                        else KINDS[kind](frame[column])
                    }
                ),
            )
        except Exception as error:
            assert refused(error), (formula, column, error)
            continue
        assert the_same(content(other), right), (formula, family, column)
        if column == "x":
            assert np.array_equal(np.asarray(other.data.x), x) or "categories" in kind, (formula, kind)


def test_frames_of_odd_shapes():
    frame, model = ordinary(), hm.Model("y ~ 1 + x + (1 | g)")
    right = content(bind(model, frame))
    same = {
        "an index of labels": frame.set_index(pd.Index(list("abcdefghijklmnopqrstuvwx"))),
        "an index with repeats": frame.set_index(pd.Index([0] * 24)),
        "an index of dates": frame.set_index(pd.date_range("2020", periods=24)),
        "an index of two levels": frame.set_index(["h", "b"], drop=False),
        "another order of columns": frame[frame.columns[::-1]],
        "columns of categories": frame.set_axis(pd.CategoricalIndex(frame.columns), axis=1),
        "more columns": pd.concat([frame, pd.DataFrame(0, frame.index, [f"c{i}" for i in range(300)])], axis=1),
        "a column of lists": frame.assign(more=[[1]] * 24),
        "a column without name": frame.assign(**{"": 1}),
    }
    for what, table in same.items():
        assert the_same(content(bind(model, table)), right), what
    bad = {
        "no rows": frame[:0],
        "no columns": frame[[]],
        "columns of two levels": pd.concat([frame], axis=1, keys=["a"]),
        "columns of numbers": frame.set_axis(range(frame.shape[1]), axis=1),
        "a series": frame["y"],
        "a dict": frame.to_dict("list"),
        "an array": frame.to_numpy(),
        "records": frame.to_records(),
        "groups as index": frame.set_index("g"),
        "a path": "eight_schools",
        "nothing": None,
        "transposed": frame.T,
        "a column twice": pd.concat([frame, frame[["x"]]], axis=1),
        "a group twice": pd.concat([frame, frame[["g"]]], axis=1),
    }
    for what, table in bad.items():
        with pytest.raises(ValueError) as caught:
            hm.fit(model, table, sampler="exact", progress=False)
        assert (10 < len(str(caught.value)) < 600 and "expected" in str(caught.value)) or "no column" in str(
            caught.value
        ), (what, caught.value)
