"""A label is a value: matched by value, printed without ambiguity, the same in tables, files, predictions, studies and
imports.
"""

from __future__ import annotations

import itertools
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

import hiermodels as hm
from hiermodels.datasets import read_table
from hiermodels.datasets.roles import MISSING
from hiermodels.models.data import bind
from hiermodels.models.groupings import grouping
from hiermodels.models.labels import find_label, join, match_labels, visible
from hiermodels.reporting.report import write_report
from hiermodels.studies.run.export import export_datasets, import_estimates
from hiermodels.studies.store.csv_text import guarded, unguarded

LEVELS = {1: 50.5, 2: -50.5, 3: 20.5, 4: 0.5}
"""Means of groups whose posterior is all but on them."""


def fitted(g, formula="y ~ 1 + (1 | g)", **columns):
    frame = pd.DataFrame({"y": np.repeat(list(LEVELS.values()), 2) + np.tile([-0.5, 0.5], 4), "g": g, **columns})
    return hm.fit(hm.Model(formula), frame, sampler="exact", draws=200, progress=False), frame


def predicted(fit, frame, **how):
    return fit.predict(frame, **how)["predictions"]["y"].to_numpy().mean((0, 1))


# matching
# -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole():
    return fitted(np.repeat([1, 2, 3, 4], 2))[0]


@pytest.mark.parametrize("groups", ["existing", "new"])
@pytest.mark.parametrize(
    "cells",
    [
        [1, 2],
        [1.0, 2.0],
        ["1", "2"],
        ["1.0", "2.0"],
        np.array([1, 2], np.int8),
        np.array([1, 2], np.float32),
        pd.array([1, 2], dtype="Int64"),
        pd.array([1.0, 2.0], dtype="Float64"),
        pd.Categorical([1.0, 2.0], [2.0, 1.0, 9.0]),
        pd.Categorical(["1", "2"]),
        [Decimal(1), Decimal("2.0")],
        ["01", "02"],
    ],
)
def test_a_label_of_another_type_is_the_same_group(whole, cells, groups):
    assert predicted(whole, pd.DataFrame({"g": cells}), groups=groups) == pytest.approx([50.5, -50.5], abs=1)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1", "01"], r"'1' and '01' are both 1 \(a number\) of the data.*write it in one way"),
        (
            [1, "1"],
            r"expected labels of one kind, found 1 \(a number\) in row 0 and '1' in row 1; make them one with \.map\(str\)",
        ),
        (
            [1.0, True],
            r"expected labels of one kind, found 1 \(a number\) in row 0 and True \(true or false\) in row 1",
        ),
        ([1, None], r"row 1: expected a group label, found a missing value"),
        ([1, pd.NA], r"row 1: expected a group label, found a missing value"),
        ([1, np.nan], r"row 1: expected a group label, found a missing value"),
        ([1, [2]], r"row 1: expected a group label .*found a list, \[2\]"),
        ([1, {"a": 2}], r"row 1: expected a group label .*found a dict"),
        ([1, 1j], r"row 1: expected a group label .*found a complex"),
        (["1", ""], r"row 1: expected a group label, found an empty text"),
    ],
)
def test_what_is_no_label_is_said(whole, cells, message):
    frame = pd.DataFrame({"g": pd.Series(cells, dtype=object)})
    for groups in ("existing", "new"):
        with pytest.raises(ValueError, match=rf"new_data, column 'g'.*{message}") as caught:
            whole.predict(frame, groups=groups)
        assert len(str(caught.value)) < 600
    with pytest.raises(ValueError, match="column 'g'"):
        hm.fit(hm.Model("y ~ 1 + (1 | g)"), frame.assign(y=[1.0, 2.0]), progress=False) if message[
            :3
        ] != "'1'" else whole.predict(frame)


def test_text_that_is_not_whole_numbers_stays_apart_and_a_number_that_may_be_several_is_refused():
    fit, frame = fitted(np.repeat(["1", "01", "001", "2"], 2))
    assert predicted(fit, frame) == pytest.approx(np.repeat(list(LEVELS.values()), 2), abs=1)
    assert predicted(fit, pd.DataFrame({"g": [2.0]}), groups="new") == pytest.approx([0.5], abs=1)
    with pytest.raises(ValueError, match=r"1 \(a number\) may be any of '1', '01', '001' in the data; give text"):
        fit.predict(pd.DataFrame({"g": [1]}), groups="new")


def test_dates_and_truth_values_are_values():
    days = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"])
    fit, _ = fitted(np.repeat(days, 2))
    assert fit.problem.labels["g"] == ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"]
    for cells in (
        days[:2],
        [d.date() for d in days[:2]],
        ["2020-01-01", "2020-01-02 00:00:00"],
        days[:2].tz_localize("Europe/Paris"),
    ):
        assert predicted(fit, pd.DataFrame({"g": cells}), groups="new") == pytest.approx([50.5, -50.5], abs=1)
    code, found = grouping(pd.DataFrame({"g": [True, False, True]}), ("g",), "data")
    assert code.tolist() == [0, 1, 0] and found.labels == ["True", "False"]
    for cells in (["True", "False"], ["TRUE", "FALSE"], [1, 0], [np.True_, np.False_]):
        assert found.match(pd.DataFrame({"g": cells}), "new_data")[0].tolist() == [0, 1]


def test_order_is_category_order_else_first_appearance():
    cells = ["b", "a", "c", "a"]
    assert grouping(pd.DataFrame({"g": cells}), ("g",), "data")[1].labels == ["b", "a", "c"]
    assert grouping(pd.DataFrame({"g": pd.Categorical(cells, ["c", "b", "a"])}), ("g",), "data")[1].labels == [
        "c",
        "b",
        "a",
    ]
    with pytest.raises(ValueError, match=r"column 'g': category 'd' has no row; call \.cat\.remove_unused_categories"):
        grouping(pd.DataFrame({"g": pd.Categorical(cells, list("abcd"))}), ("g",), "data")


def test_a_column_is_a_number_here_and_a_label_there(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("y,Days\n" + "".join(f"{v},{d}\n" for d in ("00", "01", "02", "03", "04") for v in (1.5, 2.5, 3.0)))
    frame = read_table(path, ["Days"])
    problem = bind(hm.Model("y ~ Days + (1 | Days)"), frame)
    assert problem.labels["Days"] == ["00", "01", "02", "03", "04"] and problem.layout.columns == ("Intercept", "Days")
    assert np.ptp(problem.data.x[:15, 1] - np.repeat([0, 1, 2, 3, 4], 3)) < 1e-12


# labels of several columns
# ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paired():
    parts = {"s": np.repeat(["a:b", "a", "k", "m"], 2), "t": np.repeat(["c", "b:c", "c", "c"], 2)}
    return fitted(np.arange(8), "y ~ 1 + (1 | s:t)", **parts)


def test_labels_of_several_columns_are_tuples_and_print_apart(paired, tmp_path):
    fit, frame = paired
    printed = [r"a\:b:c", r"a:b\:c", "k:c", "m:c"]
    assert predicted(fit, None) == pytest.approx(predicted(fit, frame))
    assert predicted(fit, frame) == pytest.approx(np.repeat(list(LEVELS.values()), 2), abs=1)
    assert list(fit.summary("theta_s:t").index) == [f"theta_s:t[{label}]" for label in printed]
    assert list(fit.pooling().index) == printed == list(fit.ranks().index)
    assert list(fit.to_datatree()["posterior"]["s:t"].to_numpy()) == printed
    fit.save(tmp_path / "fit.nc")
    again = hm.load_fit(tmp_path / "fit.nc")
    assert predicted(again, frame) == pytest.approx(predicted(fit, frame)) and again.summary().equals(fit.summary())
    assert set(fit.refit(data=frame.iloc[::-1]).problem.labels["s:t"]) == set(printed)
    assert predicted(fit, pd.DataFrame({"s": ["z"], "t": ["c"]}), groups="new").shape == (1,)


def test_prints_are_distinct_harmless_and_read_back():
    parts = [
        "a",
        "b",
        ":",
        "\\",
        "a:",
        ":b",
        "\\:",
        "a\\",
        "\x1b[31m",
        "\\x1b[31m",
        "\n",
        "\\n",
        "x\\y",
        "\u202e",
        "é",
        " ",
        "\ud800",
    ]
    pairs = list(itertools.product(parts, parts))
    printed = [join(pair) for pair in pairs]
    assert len(set(printed)) == len(pairs) and len({visible(p) for p in parts}) == len(parts)
    assert not any(re.search("[\x00-\x1f\x7f-\x9f\u2028\u202a-\u202e\ud800-\udfff]", text) for text in printed)
    for i, (pair, text) in enumerate(zip(pairs, printed, strict=True)):
        assert find_label(text, printed) == i == find_label(pair, printed)


def test_labels_are_found_as_other_programs_write_them():
    assert find_label(1.0, ["2", "1"]) == 1 == find_label("1.0", ["2", "1"])
    assert find_label("1", ["01", "02"]) == 0 and find_label("1:2", ["01:1", "01:2"]) == 1
    assert find_label("1", ["01", "001"]) is None and find_label("x", ["y"]) is None
    assert find_label("TRUE", ["False", "True"]) == 1
    assert find_label("a:b:c", [r"a\:b:c", "k:c"]) == 0 and find_label("a:b:c", [r"a\:b:c", r"a:b\:c"]) is None
    assert match_labels({("a:b", "c"): 1, 2.0: 2, "x": 3}, [r"a\:b:c", "2"]) == ({r"a\:b:c": 1, "2": 2}, ["x"])


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "'=1", "''@", "'x", "x", "-1", "+1e3", "=", "-"])
def test_a_text_that_a_spreadsheet_would_run_is_guarded_and_reads_back(text):
    assert unguarded(guarded(text)) == text and (not re.match(r"[=+\-@]", guarded(text)) or float(text))


# studies, exports and imports
# ---------------------------------------------------------------------------------------------

ODD = ["01", "1", "NA", "=1+1", "a:b", "x\x1b[31my", "-7", 'é,"q"', "$a_1$ 50%"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    rows = [f'"{label.replace(chr(34), 2 * chr(34))}",{x}' for label in ODD for x in ("1.50", "2", "3")]
    (folder / "d.csv").write_text("id,x\n" + "\n".join(rows) + "\n", encoding="utf-8")
    truth = {"Intercept": 2, "x": 0.5, "theta_id": {label: float(i) for i, label in enumerate(ODD)}}
    config = {
        "mechanisms": {"formula": "y ~ 1 + x + (1 | id)", "design": {"file": str(folder / "d.csv"), "missing": ""}, "truth": truth,
                       "grid": {"sigma": [0.1 + 0.2]}},
        "estimands": ["theta_id"], "methods": {"p": {"sampler": "exact", "pooling": "none"}}, "performance": ["bias"], "replications": 4,
        "failures": "complete-case", "seed": 5,
    }  # fmt: skip
    return hm.run(config, folder / "run", progress=False)


def test_truths_and_estimates_of_a_study_are_by_label(study):
    first = study.estimates.groupby("group", sort=False)["true"].first()
    assert list(first.index) == [visible(label) for label in ODD] and first.tolist() == list(range(9))
    text = (study.path / "performance.csv").read_text(encoding="utf-8")
    assert "\x1b" not in text and not re.search(r"(^|,)=", text, re.MULTILINE) and ",'=1+1," in text


@pytest.mark.parametrize("reads_text", [True, False], ids=["text", "as pandas guesses"])
def test_what_is_exported_reads_back(study, tmp_path, reads_text):
    export_datasets(study, tmp_path / "data.csv")
    text = {"dtype": {"id": str}, "keep_default_na": False} if reads_text else {}
    data = pd.read_csv(tmp_path / "data.csv", **text)
    data["sigma"] *= 1 + 2e-15  # what another program's arithmetic leaves of a factor
    means = (
        (data["y"] - 0.5 * data["x"]).groupby([data["rep"], data["sigma"], data["id"]], sort=False, dropna=False).mean()
    )
    table = means.rename("estimate").reset_index().rename(columns={"id": "group"}).assign(estimand="theta_id")
    table.to_csv(tmp_path / "estimates.csv", index=False)
    import_estimates(study, tmp_path / "estimates.csv", "means", replace=True)
    bias = hm.load_run(study.path).performance.query("method == 'means' and measure == 'bias' and group != '[mean]'")
    assert (
        len(bias) == len(ODD) and bias["value"].abs().max() < 0.5
    )  # a mean of the wrong group is off by a whole number


def test_a_whole_number_that_may_be_two_labels_is_refused(study, tmp_path):
    row = {"rep": 0, "sigma": 0.3, "estimand": "theta_id", "estimate": 1.0}
    with pytest.raises(ValueError, match="unknown group '001' of 'theta_id'"):
        import_estimates(study, pd.DataFrame([{**row, "group": "001"}]), "two")


def test_words_of_tables_are_no_labels():
    config = {
        "mechanisms": {"formula": "y ~ 1 + (1 | g)", "design": {"table": {"g": ["[mean]"] * 2 + ["b"] * 2 + ["c"] * 2}}, "truth": {"Intercept": 0, "sd_g": 1, "sigma": 1}},
        "estimands": ["theta_g"], "methods": {"p": {"sampler": "exact"}}, "performance": ["bias"], "replications": 1, "failures": "complete-case", "seed": 1,
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"a group is called '\[mean\]', which stands for several groups"):
        hm.run(config, progress=False)
    for formula, design in (
        ("y ~ 1 + (1 | obs)", {"obs": 6}),
        ("y ~ 1 + obs", {"obs": 6, "predictors": {"obs": "half(obs)"}}),
        ("obs ~ 1", {"obs": 6}),
    ):
        config["mechanisms"] |= {"formula": formula, "design": design}
        with pytest.raises(ValueError, match=r"obs.*(word is taken|word of designs)"):
            hm.run(config, progress=False)


def test_labels_are_no_mathematics_in_figures():
    from hiermodels.reporting import plots

    labels = ["$a_1$ 50%", "x$b", "y$\\frac{c$", "\\alpha $g$"]
    fit, _ = fitted(np.repeat(labels, 2))
    for draw in (plots.plot_caterpillar, plots.plot_forest, plots.plot_prior_posterior):
        figure = draw(fit)
        figure.draw_without_rendering()
        assert not [t for t in figure.findobj(Text) if "$" in t.get_text() and t.get_parse_math()]


# properties
# ---------------------------------------------------------------------------------------------------------------

LETTERS = [
    *"ab1027.eE+-=@ :;,|/\\\"'`$%_#[](){}<>~^?!*&",
    "\t",
    "\n",
    "\x1b",
    "\x7f",
    "é",
    "ß",
    "東",
    "🙂",
    "\u202e",
    "\xa0",
    "N",
    "A",
]


def text_label(rng):
    return "".join(rng.choice(LETTERS, rng.integers(1, 6)))


def column(rng, count):
    """Distinct labels of one kind, and how each reads in tables of other types: type to cells."""
    kind = rng.integers(6)
    if kind == 0:
        whole = rng.choice(np.arange(-3, 40), count, replace=False).tolist()
        texts = [str(v) for v in whole]
        return whole, {
            "float": list(map(float, whole)),
            "text": texts,
            "decimal": list(map(Decimal, texts)),
            "float text": [f"{v}.0" for v in whole],
        }
    if kind == 1:
        values = (rng.choice(np.arange(1, 200), count, replace=False) / 8 + 1 / 16).tolist()
        return values, {"text": [str(v) for v in values], "float32": np.array(values, np.float32)}
    if kind == 2:
        days = [pd.Timestamp("2021-03-01") + pd.Timedelta(int(d), "D") for d in rng.choice(90, count, replace=False)]
        return days, {"text": [f"{d:%Y-%m-%d}" for d in days], "date": [d.date() for d in days]}
    if kind == 3:  # digits as text: a number in other tables where one label alone spells it
        texts = [str(v) for v in rng.choice(np.arange(100), count, replace=False)]
        return texts, {"int": list(map(int, texts)), "float": list(map(float, texts))}
    found: dict[str, None] = {}
    while len(found) < count:
        text = text_label(rng)
        if text not in MISSING:
            found[text] = None
    return list(found), {"category": pd.Categorical(list(found))}


def csv_field(rng, text, mark, always):
    needs = always or any(c in text for c in (mark, '"', "\n", "\r")) or text != text.strip()
    return '"' + text.replace('"', '""') + '"' if needs or rng.random() < 0.2 else text


def write_csv(rng, path, columns, numbers):
    """Plain text of a table: any separator, quoting, line end; numbers in any of their spellings."""
    mark = str(rng.choice([",", ";", "\t", "|"]))
    end = "\r\n" if rng.random() < 0.5 else "\n"
    always = bool(rng.random() < 0.3)
    comma = mark != "," and rng.random() < 0.5
    rows = [mark.join([*columns, *numbers])]
    for i in range(len(next(iter(columns.values())))):
        cells = [csv_field(rng, cells[i], mark, always) for cells in columns.values()]
        for values in numbers.values():
            text = str(rng.choice([repr(values[i]), f"{values[i]:.17g}", f"{values[i]:+.16e}", f" {values[i]!r}"]))
            cells.append(text.replace(".", ",") if comma else text)
        rows.append(mark.join(cells))
    start = "\ufeff" if rng.random() < 0.3 else ""
    start += "# where it is from\n" if rng.random() < 0.3 else ""
    path.write_bytes((start + end.join(rows) + (end if rng.random() < 0.7 else "")).encode())


def check_case(seed, path):
    rng = np.random.default_rng([20, seed])
    factors = ("g",) if rng.random() < 0.5 else ("g", "h")
    kinds = [column(rng, int(rng.integers(2, 6))) for _ in factors]
    rows = int(rng.integers(4, 25))
    codes = [np.concatenate([np.arange(len(cells)), rng.integers(0, len(cells), rows)]) for cells, _ in kinds]
    rows = max(map(len, codes))
    codes = [np.resize(code, rows)[rng.permutation(rows)] for code in codes]
    truth = {pair: i for i, pair in enumerate(dict.fromkeys(zip(*(c.tolist() for c in codes), strict=True)))}
    frame = pd.DataFrame(
        {f: pd.Series([cells[k] for k in code]) for f, code, (cells, _) in zip(factors, codes, kinds, strict=True)}
    )
    y = rng.normal(size=rows).tolist()
    code, found = grouping(frame, factors, "data")
    same = [truth[pair] for pair in zip(*(c.tolist() for c in codes), strict=True)]
    assert len(found.labels) == len(set(found.labels)) == len(truth)
    assert len(set(zip(code.tolist(), same, strict=True))) == len(truth)
    assert all(text.isprintable() or not re.search("[\x00-\x1f\x7f\u202e]", text) for text in found.labels)
    for f, c, (_, others) in zip(factors, codes, kinds, strict=True):
        for cells in others.values():  # the same labels in a table of other types
            other = frame.assign(**{f: pd.Series(cells).iloc[c].reset_index(drop=True)})
            place, printed = found.match(other, "new_data")
            assert place.tolist() == code.tolist() and printed == [found.labels[k] for k in code]
    assert [find_label(text, found.labels) for text in found.labels] == list(range(len(truth)))
    strange = found.match(frame.assign(g=f"{frame['g'].iloc[0]} and another"), "new_data")[0]
    assert (strange >= len(truth)).all()
    # written by another program, read by role
    texts = {f: [str(v) if not isinstance(v, pd.Timestamp) else f"{v:%Y-%m-%d}" for v in frame[f]] for f in factors}
    write_csv(rng, path, texts, {"y": y})
    table = read_table(path, factors)
    place, printed = found.match(table, "new_data")
    assert place.tolist() == code.tolist() and table["y"].tolist() == y
    assert (
        grouping(table, factors, "data")[1].match(frame, "new_data")[0].tolist()
        == grouping(table, factors, "data")[0].tolist()
    )
    wide = path.read_bytes().rstrip(b"\r\n").removeprefix("\ufeff".encode()) + (
        b"," * 4 + b";" * 4 + b"\t" * 4 + b"|" * 4
    )
    path.write_bytes(wide)
    with pytest.raises(ValueError, match=r"line \d+: (expected|found)"):
        read_table(path, factors)


@pytest.mark.parametrize("block", [0, *(pytest.param(b, marks=pytest.mark.slow) for b in range(1, 10))])
def test_labels_of_any_kind_are_told_apart_and_found_again(tmp_path, block):
    for seed in range(200 * block, 200 * (block + 1)):
        try:
            check_case(seed, tmp_path / "d.csv")
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


def check_fit(seed, folder):
    """Through fit, tables, DataTree, save, load and predict: four groups of two rows, whose means are known."""
    rng = np.random.default_rng([21, seed])
    cells, others = column(rng, 4)
    fit, _ = fitted(pd.Series(cells).iloc[np.repeat(np.arange(4), 2)].reset_index(drop=True))
    means = list(LEVELS.values())
    printed = fit.problem.labels["g"]
    assert fit.summary("theta_g")["median"].to_numpy() == pytest.approx(means, abs=2)
    assert list(fit.summary("theta_g").index) == [f"theta_g[{label}]" for label in printed]
    assert list(fit.pooling().index) == printed
    assert fit.to_datatree()["posterior"]["theta_g"].sel(g=printed[2]).mean() == pytest.approx(means[2], abs=2)
    fit.save(folder / "fit.nc")
    again = hm.load_fit(folder / "fit.nc")
    for other in (cells, *others.values()):
        assert predicted(again, pd.DataFrame({"g": pd.Series(other)}), groups="new") == pytest.approx(means, abs=2)


@pytest.mark.parametrize("count", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_labels_of_any_kind_through_fit_and_file(tmp_path, count):
    for seed in range(count):
        try:
            check_fit(seed, tmp_path)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


def check_study(seed, folder):
    """Through a study whose design is a file: truths, estimates, tables, datasets, imports and the report, each by
    label.
    """
    rng = np.random.default_rng([22, seed])
    cells, _ = column(rng, 4)
    texts = [f"{v:%Y-%m-%d}" if isinstance(v, pd.Timestamp) else str(v) for v in cells]
    rows = rng.permutation(np.repeat(np.arange(4), 3))
    write_csv(rng, folder / "d.csv", {"g": [texts[k] for k in rows]}, {"z": rng.normal(size=12).tolist()})
    means = list(LEVELS.values())
    config = {
        "mechanisms": {"formula": "y ~ 1 + (1 | g)", "design": {"file": str(folder / "d.csv"), "missing": ""},
                       "truth": {"Intercept": 0, "theta_g": dict(zip(texts, means, strict=True)), "sigma": 0.01}},
        "estimands": ["theta_g"], "methods": {"none": {"sampler": "exact", "pooling": "none"}}, "performance": ["bias", "cover"], "replications": 2, "seed": 5,
    }  # fmt: skip
    run = hm.run(config, folder / "run", progress=False)
    printed = [visible(texts[k]) for k in dict.fromkeys(rows.tolist())]
    right = dict(zip(printed, [means[k] for k in dict.fromkeys(rows.tolist())], strict=True))
    table = run.estimates[run.estimates["group"] != "[mean]"]
    assert list(table["group"].unique()) == printed
    assert table["true"].tolist() == [right[g] for g in table["group"]]
    assert table["estimate"].to_numpy() == pytest.approx(table["true"].to_numpy(dtype=float), abs=0.1)
    stored = pd.read_csv(run.path / "performance.csv", dtype={"group": str}, keep_default_na=False)
    assert {unguarded(g) for g in stored["group"]} >= set(printed)
    export_datasets(run, folder / "out.csv")
    data = pd.read_csv(folder / "out.csv", dtype={"g": str}, keep_default_na=False)
    outside = (
        data.groupby(["rep", "g"], sort=False)["y"]
        .mean()
        .rename("estimate")
        .reset_index()
        .rename(columns={"g": "group"})
    )
    outside.assign(estimand="theta_g").to_csv(folder / "means.csv", index=False)
    import_estimates(run, folder / "means.csv", "means")
    again = hm.load_run(run.path)
    bias = again.performance.query("measure == 'bias' and group != '[mean]'")
    assert set(bias["group"]) == set(printed) and bias["value"].abs().max() < 0.1
    assert bias.groupby("group")["value"].agg(np.ptp).max() == pytest.approx(0, abs=1e-9)  # least squares, twice
    page = write_report(again).read_text(encoding="utf-8")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202e]", page)


@pytest.mark.parametrize("count", [2, pytest.param(200, marks=pytest.mark.slow)])
def test_labels_of_any_kind_through_a_study_and_its_report(tmp_path, count):
    for seed in range(count):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            check_study(seed, folder)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


def test_numbers_that_are_objects_or_text_are_numbers_in_trees_and_files(tmp_path):
    fit, frame = fitted(np.repeat(list("abcd"), 2))
    texts = hm.fit(
        hm.Model("y ~ 1 + (1 | g)"), frame.assign(y=frame["y"].astype(str)), sampler="exact", draws=200, progress=False
    )
    assert texts.summary().equals(fit.summary())
    assert texts.to_datatree()["observed_data"]["y"].to_numpy().tolist() == frame["y"].tolist()
    texts.data.insert(0, "z", 0.0)
    texts.data.insert(0, "z", 0.0, allow_duplicates=True)
    with pytest.raises(ValueError, match="save: expected every column name once, found 'z' twice"):
        texts.save(tmp_path / "fit.nc")
