"""Configs: every shipped one reads, mistakes are one line with their place, hashes never move."""

import hashlib
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hiermodels
from hiermodels import priors
from hiermodels.datasets import load_dataset
from hiermodels.studies.config import (
    ConfigError,
    Study,
    cell_hash,
    config_names,
    config_path,
    data_key_material,
    design_levels,
    method_key_material,
    read_config,
    read_estimand,
    read_law,
    regime,
    to_schema,
    write_schema,
)
from hiermodels.studies.plan.template import template

STUDY = """\
mechanisms:
  formula: effect ~ 1 + (1 | school)
  known_se: se
  design: eight_schools
  truth: {Intercept: 8, sd_school: 10}
  grid: {sd_school: [0, 5, 10, 20]}
estimands: [Intercept, sd_school, theta_school]
methods:
  none: {pooling: none, sampler: exact}
  partial: {pooling: partial, priors: {sd_school: half_normal(5)}}
performance: [bias, mse, cover]
replications: 250
failures: complete-case
seed: 1
"""


def study(tmp_path, *changes, name="mine.yaml"):
    """The study above with texts replaced, written and read."""
    text = STUDY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / name
    path.write_text(text)
    return read_config(path)


@pytest.mark.parametrize("name", config_names())
def test_every_shipped_config_reads_and_resolves_back(name):
    s = read_config(name)
    assert s.name == name and s.source == config_path(name).read_bytes()
    assert s.source.startswith(b"#"), "a header says what the config answers"
    again = Study.from_resolved(json.loads(json.dumps(s.resolved())))
    assert again.resolved() == s.resolved() and again.cells() == s.cells()
    assert list(again.methods) == list(s.methods)
    from_python = read_config(s.resolved())
    assert from_python.resolved() == s.resolved()


def test_the_configs_that_the_readme_promises():
    promised = {"eight_schools", "eight_schools_fixed", "school_classroom_student", "baseball", "quick"}
    assert promised <= set(config_names())


def test_eight_schools_is_the_pinned_form():
    s = read_config("eight_schools")
    assert [c.truth for c in s.cells()] == [{"Intercept": 8.0, "sd_school": t} for t in (0.0, 5.0, 10.0, 20.0)]
    assert {regime(c) for c in s.cells()} == {"population"}
    assert (s.replications, s.seed, s.failures, s.interval.level, s.interval.kind) == (
        250, 1, "complete-case", 0.95, "equal_tailed",
    )  # fmt: skip
    assert s.performance == ("bias", "empse", "mse", "cover", "ciwidth")
    partial = s.methods["partial"]
    assert (partial.pooling, partial.sampler, partial.draws, partial.chains) == ("partial", "nuts", 1000, 4)
    assert partial.model().prior["sd_school"] == priors.reference() and partial.known_se == "se"
    assert s.factors == {"sd_school": "float64"} and s.precision == "float64" and s.lanes == s.chunk == "auto"


def test_fixed_truths_by_label_and_by_column():
    (cell,) = read_config("eight_schools_fixed").cells()
    effects = load_dataset("eight_schools").set_index("school").effect
    assert cell.truth["theta_school"] == pytest.approx((0.9 * effects).to_dict())
    assert regime(cell) == "fixed"
    (cell,) = read_config("baseball").cells()
    batters = load_dataset("baseball").set_index("player")
    assert cell.truth["theta_player"] == (batters.rem_hits / batters.rem_at_bats).to_dict()
    assert regime(cell) == "fixed" and cell.table().shape == (18, 8)


def test_regimes(tmp_path):
    drawn = study(tmp_path, ("Intercept: 8", "Intercept: 'normal(0, 20)'"))
    assert {regime(c) for c in drawn.cells()} == {"prior"}
    by_cell = study(tmp_path, ("[0, 5, 10, 20]", "[5, half_normal(5)]"))
    assert [regime(c) for c in by_cell.cells()] == ["population", "prior"]
    assert by_cell.factors == {"sd_school": "string"}
    assert [c.factors["sd_school"] for c in by_cell.cells()] == ["5", "half_normal(5)"]
    heavy = study(tmp_path, ("sd_school: 10}", "theta_school: 'student_t(3, 8, 10)'}"))
    assert {regime(c) for c in heavy.cells()} == {"population"}
    nested = dict(formula="y ~ 1 + (1 | a/b)", design={"a": 2, "b": 2}, truth={"theta_a": 3, "sd_a:b": 1, "sigma": 1})
    data = {
        **read_config("quick").resolved(),
        "mechanisms": nested,
        "estimands": ["theta_a:b"],
        "methods": {"p": {}},
    }
    assert regime(read_config(data).cells()[0]) == "population"
    nested["truth"] = {"theta_a:b": 3, "sigma": 1}
    assert regime(read_config(data).cells()[0]) == "fixed"


def test_hashes_are_pinned_and_depend_on_their_row_alone(tmp_path):
    cells = study(tmp_path).cells()
    assert cells[0].hash == "dab74d6fd7105cbd"
    assert cells[2].hash == cell_hash({"sd_school": 10}) == cell_hash({"sd_school": 10.0}) == "1a9a15bdbcf713e6"
    assert cell_hash({"sd_school": -0.0}) == cells[0].hash
    digest = hashlib.blake2b(b'[["a",1.0],["b","x"]]', digest_size=8).hexdigest()
    assert cell_hash({"b": "x", "a": 1}) == digest
    more = study(tmp_path, ("[0, 5, 10, 20]", "[20, half_normal(5), 0, 10, 40]")).cells()
    assert {c.hash for c in more} >= {cells[i].hash for i in (0, 2, 3)}
    assert len({c.hash for c in more}) == 5


def test_key_material_is_pinned():
    cell = read_config("eight_schools").cells()[0]
    assert data_key_material(cell) == 0xDAB74D6F
    expected = int.from_bytes(hashlib.blake2b(b"partial", digest_size=8).digest()[:4], "big")
    assert method_key_material("partial") == expected != method_key_material("none")


def test_grids(tmp_path):
    crossed = study(tmp_path, ("grid: {sd_school: [0, 5, 10, 20]}", "grid: {Intercept: [0, 8], sd_school: [5, 10]}"))
    assert [tuple(c.factors.values()) for c in crossed.cells()] == [(0, 5), (0, 10), (8, 5), (8, 10)]
    rows = study(
        tmp_path,
        (
            "grid: {sd_school: [0, 5, 10, 20]}",
            "grid: [{Intercept: 1, sd_school: 2}, {sd_school: 4, Intercept: 3}]",
        ),
    )
    assert [c.truth for c in rows.cells()] == [
        {"Intercept": 1, "sd_school": 2},
        {"Intercept": 3, "sd_school": 4},
    ]
    none = study(tmp_path, ("  grid: {sd_school: [0, 5, 10, 20]}\n", ""))
    assert [c.factors for c in none.cells()] == [{}] and none.factors == {}


def test_grid_changes_the_design():
    s = read_config("school_classroom_student")
    assert [c.design["obs"] for c in s.cells()] == [10, "integers(5, 15)"]
    assert design_levels(s.cells()[0].design) == {"school": 20, "classroom": 4}
    data = s.resolved()
    data["mechanisms"]["grid"] = {"school": [5, 10], "sd_school": [0, 4]}
    cells = read_config(data).cells()
    assert [(c.design["school"], c.truth["sd_school"]) for c in cells] == [(5, 0), (5, 4), (10, 0), (10, 4)]
    assert all("school" not in c.truth for c in cells) and list(cells[0].design) == [
        "school",
        "classroom",
        "obs",
        "predictors",
    ]


def test_estimands():
    texts = [
        "Intercept",
        "sd_school",
        "theta_school:classroom",
        "mean(theta_school)",
        "new(school)",
        "P(treated > 0)",
    ]
    read = [read_estimand(t) for t in texts]
    assert [e.kind for e in read] == ["value", "value", "value", "mean", "new", "probability"]
    assert all(e.point is None for e in read)  # what they are is known with the formula
    assert [e.text for e in read] == [e.name for e in read] == texts
    harm = read_estimand({"harm": "P(theta_school< -1e-3)"})
    assert (harm.name, harm.variable, harm.direction, harm.threshold) == ("harm", "theta_school", "<", -0.001)
    assert read_estimand({"harm": harm.text}) == harm
    assert read_estimand({"mu": "Intercept", "point": "median"}).point == "median"


def test_laws_of_predictors():
    assert read_law("half( school )", levels=["school"]) == ("half", ("school",))
    assert read_law("normal(0, 2.5)") == ("normal", (0.0, 2.5))
    assert read_law("bernoulli(.3)") == ("bernoulli", (0.3,))
    assert read_law("integers(5, 15)") == ("integers", (5, 15))
    assert read_law(3) == ("constant", (3,))


def test_numbers_and_words_are_yaml_1_2(tmp_path):
    s = study(
        tmp_path,
        ("Intercept: 8", "Intercept: 1e-3"),
        ("  none:", "  no:"),
        ("replications: 250", "replications: 1e3"),
    )
    assert s.cells()[0].truth["Intercept"] == 0.001
    assert list(s.methods) == ["no", "partial"] and s.replications == 1000


def test_anchors_and_quotes_are_read(tmp_path):
    s = study(
        tmp_path,
        (
            "none: {pooling: none, sampler: exact}",
            "none: &a {pooling: none, 'sampler': \"exact\"}\n  same: *a",
        ),
    )
    assert s.methods["same"] == s.methods["none"]


def test_overrides_replace_and_are_named(tmp_path):
    s = read_config("quick", replications=3, seed=7, precision=None)
    assert (s.replications, s.seed, s.precision) == (3, 7, "float64")
    assert read_config(s, lanes=4).lanes == 4 and read_config(s).source == s.source
    with pytest.raises(ConfigError, match="unknown argument 'replication'; did you mean 'replications'"):
        read_config("quick", replication=3)
    with pytest.raises(ConfigError, match=r"quick\.yaml: replications: expected a whole number of at least 1; found 0"):
        read_config("quick", replications=0)


def test_methods_inherit_and_override_the_model():
    data = read_config("quick").resolved()
    data["methods"] = {
        "a": {},
        "b": {"known_se": None, "formula": "effect ~ 1"},
        "c": {"pooling": {"school": "none"}},
    }
    data["estimands"] = ["Intercept", "sigma"]
    s = read_config(data)
    assert (s.methods["a"].known_se, s.methods["b"].known_se) == ("se", None)
    assert s.methods["a"].formula == s.mechanisms.formula and s.methods["b"].formula == "effect ~ 1"
    assert s.methods["c"].fit_settings()["pooling"] == {"school": "none"}
    again = Study.from_resolved(s.resolved())
    assert again.methods == s.methods


def test_another_family_leaves_the_roles_it_does_not_use():
    data = {
        "mechanisms": {
            "formula": "hits ~ 1 + (1 | player)", "family": "binomial", "trials": "at_bats", "design": "baseball",
            "truth": {"mean_player": 0.27, "kappa_player": 150},
        },
        "estimands": ["mean_player", {"best": "theta_player"}],
        "methods": {"beta": {"priors": {"player": "bda3()"}}, "normal": {"family": "normal", "priors": {"sd_player": "half_normal(9)"}}},
        "performance": ["bias"], "replications": 1, "failures": "complete-case", "seed": 0,
    }  # fmt: skip
    s = read_config(data)
    assert (s.methods["beta"].trials, s.methods["normal"].trials) == ("at_bats", None)


def test_python_values_frames_and_functions():
    def mine(key, data):
        raise NotImplementedError

    frame = pd.DataFrame({"school": ["x", "y", "z"], "se": np.array([1.0, 2.0, 3.0])})
    data = read_config("quick").resolved()
    data["mechanisms"] |= {
        "design": frame,
        "truth": {"Intercept": np.float64(1.5), "sd_school": priors.half_normal(1 / 3)},
    }
    data["mechanisms"]["grid"] = {}
    data["methods"] = {"mine": mine, "partial": {"priors": {"sd_school": priors.half_normal(1 / 3)}}}
    s = read_config(data)
    assert s.cells()[0].table().equals(frame)
    assert s.methods["partial"].model().prior["sd_school"] == priors.half_normal(1 / 3)
    assert s.methods["mine"].function is mine and s.functions() == {"methods.mine.function": mine}
    resolved = json.loads(json.dumps(s.resolved()))
    assert resolved["methods"]["mine"]["function"].endswith("mine")
    assert Study.from_resolved(resolved, functions=s.functions()).methods["mine"].function is mine
    with pytest.raises(ConfigError, match="pass functions from Python"):
        Study.from_resolved(resolved)
    assert b"half_normal" in s.source and read_config(s, seed=2).methods["mine"].function is mine


def test_a_mapping_keeps_a_source_that_reads_back(tmp_path):
    s = read_config(read_config("quick").resolved())
    path = tmp_path / "again.yaml"
    path.write_bytes(s.source)
    assert read_config(path).resolved() == s.resolved()


def test_files_of_a_design_are_kept_in_the_resolved_study(tmp_path):
    table = load_dataset("eight_schools")
    table.to_csv(tmp_path / "mine.csv", index=False)
    table.to_csv(tmp_path / "other.csv", index=False)
    s = study(tmp_path, ("design: eight_schools", "design: mine.csv"))
    assert s.mechanisms.design["file"] == "mine.csv"
    other = study(tmp_path, ("design: eight_schools", "design: ./other.csv"))
    assert other.mechanisms.design["table"] == s.mechanisms.design["table"]
    (tmp_path / "mine.csv").unlink()
    again = Study.from_resolved(s.resolved())
    pd.testing.assert_frame_equal(again.cells()[0].table(), table)


def test_a_study_is_frozen_and_pickles():
    s = read_config("quick")
    with pytest.raises(Exception, match="frozen"):
        s.seed = 2
    again = pickle.loads(pickle.dumps(s))
    assert again.resolved() == s.resolved() and again.cells() == s.cells() and again.source == s.source


# ------------------------------------------------------------------------------------------------ mistakes

# fmt: off
MISTAKES = {
    "unknown key": (("seed: 1", "seeds: 1"), r"mine.yaml:14: seeds: unknown key 'seeds'; did you mean 'seed'\?"),
    "unknown key below": (("known_se: se", "know_se: se"), r":3: mechanisms\.know_se: unknown key .*'known_se'\?"),
    "unknown setting": (("sampler: exact", "smpler: exact"), r":9: methods\.none\.smpler: .*did you mean 'sampler'\?"),
    "missing key": (("seed: 1\n", ""), r"expected the key 'seed'; found nothing; add e\.g\. `seed: 1`"),
    "missing formula": (("  formula: effect ~ 1 + (1 | school)\n", ""), r":1: mechanisms: expected the key 'formula'"),
    "missing truth": (("Intercept: 8, ", ""), r":5: mechanisms.truth: expected a true value of 'Intercept'; found none"),
    "wrong type": (("replications: 250", "replications: many"), r":12: replications: expected a whole number .*'many'"),
    "zero replications": (("replications: 250", "replications: 0"), r":12: replications: .*at least 1; found 0"),
    "half a replication": (("replications: 250", "replications: 2.5"), r":12: replications: .*found 2\.5"),
    "true as a number": (("seed: 1", "seed: true"), r":14: seed: expected a whole number from 0 .*found true"),
    "unknown measure": (("bias, mse", "bias, msee"), r"performance\[1\]: unknown measure 'msee'; did you mean 'mse'\?"),
    "measure twice": (("bias, mse", "bias, bias"), r"performance\[1\]: expected every measure once"),
    "unknown sampler": (("sampler: exact", "sampler: exat"), r":9: methods\.none\.sampler: .*did you mean 'exact'\?"),
    "unknown failures": (("complete-case", "complete-cases"), r"failures: .*did you mean 'complete-case'\?"),
    "unknown prior": (("half_normal(5)", "half_norml(5)"), r":10: methods\.partial\.priors\.sd_school: unknown prior .*half_normal\?"),
    "prior without numbers": (("half_normal(5)", "half_normal()"), r"priors\.sd_school: expected half_normal\(scale\)"),
    "prior as code": (("half_normal(5)", "'__import__(\"os\")'"), r"priors\.sd_school: unknown prior '__import__'"),
    "prior of nothing": (("{sd_school: half", "{sd_scool: half"), r"priors\.sd_scool: unknown parameter .*'sd_school'\?"),
    "prior of sigma": (("{sd_school: half", "{sigma: half"), r"priors\.sigma: unknown parameter 'sigma'"),
    "negative draws": (("pooling: partial,", "draws: -5,"), r"methods\.partial\.draws: .*at least 4; found -5"),
    "target accept": (("pooling: partial,", "target_accept: 2,"), r"partial\.target_accept: expected a number between 0 and 1"),
    "flag as word": (("pooling: partial,", "centred: yes,"), r"partial\.centred: expected true or false; found 'yes'"),
    "pooling": (("pooling: partial,", "pooling: partal,"), r"partial\.pooling: .*found 'partal'; did you mean 'partial'\?"),
    "pooling of a term": (("pooling: partial,", "pooling: {scool: none},"), r"pooling\.scool: unknown group term .*'school'\?"),
    "pooling word": (("pooling: partial,", "pooling: {school: nn},"), r"pooling\.school: expected one of complete, none"),
    "prior list": (("{sd_school: half_normal(5)}", "[1]"), r"partial\.priors: expected parameter: prior; found a list"),
    "method without settings": (("{pooling: none, sampler: exact}", ""), r"methods\.none: expected a mapping .*found nothing"),
    "no methods": ((STUDY[STUDY.index("methods:"):STUDY.index("perf")], "methods: {}\n"), r":8: methods: .*found none"),
    "method name": (("  none:", "  ../x:"), r"expected letters, digits and .*found '\.\./x'"),
    "method function": (("{pooling: none, sampler: exact}", "{function: 'os:system'}"), r"methods\.none\.function: .*from Python"),
    "method outcome": (("pooling: partial,", "formula: se ~ 1,"), r"partial\.formula: expected the outcome that is simulated; found 'se'"),
    "formula as code": (("1 + (1 |", "1 + os.system('x') + (1 |"), r":2: mechanisms\.formula: .*"),
    "formula function": (("1 + (1 |", "1 + eval(se) + (1 |"), r":2: mechanisms\.formula: .*'eval' is not allowed"),
    "formula without a tilde": (("effect ~ 1", "effect 1"), r":2: mechanisms\.formula: .*expected one ~"),
    "formula column": (("| school)", "| scool)"), r":2: mechanisms\.formula: no column 'scool' .*'school'\?"),
    "column": (("known_se: se", "known_se: sd"), r":3: mechanisms\.known_se: no column 'sd' in the design; use one of school, effect, se"),
    "role of another family": (("known_se: se", "trials: se"), r":3: mechanisms\.trials: family normal does not use it"),
    "family": (("known_se: se", "family: norml"), r":3: mechanisms\.family: unknown family 'norml'; did you mean 'normal'\?"),
    "dataset": (("eight_schools", "eight_school"), r":4: mechanisms\.design: .*'eight_school'; did you mean 'eight_schools'\?"),
    "design file": (("eight_schools", "./nowhere.csv"), r":4: mechanisms\.design: .*nowhere\.csv: no such file"),
    "design of nothing": (("eight_schools", "{predictors: {x: 'normal(0, 1)'}}"), r"mechanisms\.design: .*found no level"),
    "level size": (("eight_schools", "{school: 0}"), r"mechanisms\.design\.school: .*at least 1.*found 0"),
    "obs": (("eight_schools", "{school: 4, obs: 'normal(0, 1)'}"), r"design\.obs: .*found 'normal\(0, 1\)'"),
    "level law": (("eight_schools", "{school: 'normal(1, 1)'}"), r"design\.school: .*found 'normal\(1, 1\)'"),
    "obs of none": (("eight_schools", "{school: 4, obs: 'integers(0, 3)'}"), r"design\.obs: .*at least 1"),
    "predictor": (("eight_schools", "{school: 4, predictors: {x: half(scool)}}"), r"predictors\.x: .*'scool'; did you mean 'school'"),
    "predictor named as a level": (("eight_schools", "{school: 4, predictors: {school: 1}}"), r"predictors\.school: .*rename"),
    "predictors as a list": (("eight_schools", "{school: 4, predictors: [x]}"), r"design\.predictors: .*found a list"),
    "predictor arguments": (("eight_schools", "{school: 4, predictors: {x: 'normal(1)'}}"), r"predictors\.x: expected normal\(0, 1\); .*2 arg"),
    "predictor words": (("eight_schools", "{school: 4, predictors: {x: 'normal(a, b)'}}"), r"predictors\.x: .*with numbers"),
    "predictor law": (("eight_schools", "{school: 4, predictors: {x: 'norml(0, 1)'}}"), r"predictors\.x: .*'normal'\?"),
    "predictor numbers": (("eight_schools", "{school: 4, predictors: {x: 'bernoulli(3)'}}"), r"predictors\.x: expected a share"),
    "huge design": (("eight_schools", "{school: 1e6, obs: 1e6}"), r"design: expected at most 100,000,000 units"),
    "negative sd": (("[0, 5, 10, 20]", "[0, -5]"), r":6: mechanisms\.grid\.sd_school\[1\]: expected 0 or more; found -5"),
    "wrong correlation": (("Intercept: 8", "cor_school: 2"), r"truth\.cor_school: unknown parameter .cor_school. for"),
    "theta value": (("sd_school: 10}", "theta_school: {A: high}}"), r"truth\.theta_school\.A: expected a number; found 'high'"),
    "truth that is no law": (("Intercept: 8", "Intercept: norml(3)"), r"truth\.Intercept: unknown prior 'norml'; did you mean normal\?"),
    "factor named as a column": (("grid: {sd_school: [0, 5, 10, 20]}", "grid: {rep: [1, 2]}"), r"grid\.rep\[0\]: .*a column of the tables"),
    "factor of a list": (("[0, 5, 10, 20]", "[[0], 5]"), r"grid\.sd_school\[0\]: expected a number or text; found a list"),
    "grid row": (("grid: {sd_school: [0, 5, 10, 20]}", "grid: [5]"), r"mechanisms\.grid\[0\]: expected a mapping of factor to value"),
    "infinite truth": (("Intercept: 8", "Intercept: .inf"), r":5: mechanisms\.truth\.Intercept: expected a finite number"),
    "improper truth": (("Intercept: 8", "Intercept: flat()"), r"truth\.Intercept: .*found flat\(\), improper"),
    "truth as text": (("Intercept: 8", "Intercept: eight"), r"truth\.Intercept: expected a number or a distribution"),
    "unknown truth": (("Intercept: 8", "Intercept: 8, tau: 1"), r"truth\.tau: unknown parameter 'tau'"),
    "theta label": (("sd_school: 10}", "theta_school: {A: 1, J: 2}}"), r"truth\.theta_school\.J: unknown group 'J'"),
    "theta missing": (("sd_school: 10}", "theta_school: {A: 1}}"), r"truth\.theta_school: .*found none for 'B'"),
    "theta column": (("sd_school: 10}", "theta_school: efect}"), r"truth\.theta_school: no column 'efect' .*'effect'\?"),
    "theta text column": (("sd_school: 10}", "theta_school: school}"), r"truth\.theta_school: expected a column of numbers"),
    "unknown factor": (("grid: {sd_school:", "grid: {sd_scool:"), r":6: mechanisms\.grid\.sd_scool\[0\]: unknown factor .*'sd_school'\?"),
    "grid of a number": (("[0, 5, 10, 20]", "5"), r":6: mechanisms\.grid\.sd_school: expected a list of values; found 5"),
    "grid twice": (("[0, 5, 10, 20]", "[5, 5.0]"), r"mechanisms\.grid\.sd_school\[1\]: expected every cell once"),
    "grid rows": (("grid: {sd_school: [0, 5, 10, 20]}", "grid: [{sd_school: 1}, {Intercept: 1}]"), r"grid\[1\]: expected the same factors"),
    "grid word": (("grid: {sd_school: [0, 5, 10, 20]}", "grid: all"), r"mechanisms\.grid: expected .*found 'all'"),
    "huge grid": (("[0, 5, 10, 20]", (f"[{'1,' * 400}2], Intercept: "
                                     f"[{'1,' * 400}2]")), r"mechanisms\.grid: expected at most 100,000 cells"),
    "estimand": (("[Intercept, sd", "[Intercpt, sd"), r":7: estimands\[0\]: unknown estimand 'Intercpt'; did you mean 'Intercept'\?"),
    "estimand form": (("[Intercept, sd", "[max(theta_school), sd"), r"estimands\[0\]: expected a variable .*found 'max"),
    "estimand of two": (("[Intercept, sd", "[P(Intercept > sd_school), sd"), r"estimands\[0\]: .*one < or > and a number"),
    "estimand as a list": (("[Intercept, sd", "[[a], sd"), r"estimands\[0\]: expected .*found a list"),
    "estimand of nothing": (("[Intercept, sd", "[{a: }, sd"), r"estimands\[0\]\.a: expected .*found nothing"),
    "no estimands": (("[Intercept, sd_school, theta_school]", "[]"), r":7: estimands: expected a list such as"),
    "no measures": (("[bias, mse, cover]", "bias"), r":11: performance: expected a list such as .*found 'bias'"),
    "column as a number": (("known_se: se", "known_se: 3"), r":3: mechanisms\.known_se: expected text; found 3"),
    "truth as a list": (("{Intercept: 8, sd_school: 10}", "[8]"), r":5: mechanisms\.truth: expected name: value; found a list"),
    "estimand twice": (("[Intercept, sd", "[sd_school, sd"), r"estimands\[1\]: expected every estimand once"),
    "mean of a scalar": (("[Intercept, sd", "[mean(Intercept), sd"), r"estimands\[0\]: expected mean\(\) of group values"),
    "new of a variable": (("[Intercept, sd", "[new(theta_school), sd"), r"estimands\[0\]: expected new\(\) of a group term"),
    "point": (("[Intercept, sd", "[{a: Intercept, point: mode}, sd"), r"estimands\[0\]\.point: expected mean or median; found 'mode'"),
    "interval": (("seed: 1", "seed: 1\ninterval: 95"), r":15: interval: expected a number between 0 and 1; found 95"),
    "interval level": (("seed: 1", "seed: 1\ninterval: {level: 95}"), r":15: interval\.level: .*found 95"),
    "interval key": (("seed: 1", "seed: 1\ninterval: {prob: 95}"), r":15: interval\.prob: unknown key 'prob'"),
    "interval kind": (("seed: 1", "seed: 1\ninterval: {kind: hpd}"), r":15: interval\.kind: .*did you mean 'hdi'\?"),
    "chunk": (("seed: 1", "seed: 1\nlanes: 4\nchunk: 10"), r":16: chunk: expected a multiple of lanes \(4\); found 10"),
    "lanes": (("seed: 1", "seed: 1\nlanes: all"), r":15: lanes: expected auto or a whole number"),
    "precision": (("seed: 1", "seed: 1\nprecision: float46"), r"precision: .*did you mean 'float64'\?"),
    "key twice": (("seed: 1", "seed: 1\nseed: 2"), r":15: expected every key once; found 'seed' twice"),
    "comma in braces": (("Intercept: 8", "Intercept: normal(0, 20)"), r':5: mechanisms\.truth\.Intercept: .*write "normal\(0, 20\)"'),
    "comma in brackets": (("[0, 5, 10, 20]", "[0, student_t(3, 0, 1), 5]"), r':6: .*sd_school\[1\]: .*write "student_t\(3, 0, 1\)"'),
    "tag": (("seed: 1", "seed: !!python/object/apply:os.system ['echo X']"), r":14: seed: .*the tag '!!python/object/apply:os\.system'"),
    "local tag": (("seed: 1", "seed: !mine 1"), r":14: seed: expected plain YAML; found the tag '!mine'"),
    "binary tag": (("seed: 1", "seed: !!binary aGk="), r":14: seed: expected plain YAML; found the tag '!!binary'"),
    "merge": (("seed: 1", "<<: {seed: 1}"), r":14: .*found << \(merging is YAML 1\.1\)"),
    "other YAML": (("mechanisms:\n  f", "%YAML 1.1\n---\nmechanisms:\n  f"), r":\d+: expected YAML 1\.2; found 1\.1"),
    "not YAML": (("seed: 1", "seed: [1"), r":\d+: expected YAML; found a mistake"),
    "tab": (("  formula", "\tformula"), r":2: expected YAML"),
    "two documents": (("seed: 1", "seed: 1\n---\na: 1"), r"expected YAML; found a mistake"),
    "list as a key": (("seed: 1", "? [a]\n: 1"), r":14: expected text as a key"),
    "bomb": (
        ("seed: 1", "seed: " + "".join((f"\n  a{i}: &a{i} "
                                       f"[{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]") for i in range(9))),
        r"seed\.a\d.*: expected at most 100,000 values; found aliases that multiply",
    ),
    "endless": (("seed: 1", "seed: &a [*a]"), r":14: .*aliases that multiply"),
    "deep": (("seed: 1", "seed: " + "[" * 5000 + "]" * 5000), r":14: expected at most 32 levels of nesting"),
}
# fmt: on


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line_that_names_the_place(tmp_path, name):
    change, message = MISTAKES[name]
    with pytest.raises(ConfigError) as caught:
        study(tmp_path, change)
    text = str(caught.value)
    assert re.search(message, text), text
    assert text.startswith(str(tmp_path / "mine.yaml")) and "\n" not in text and len(text) < 500
    assert caught.value.__cause__ is None and isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file; `hiermodels new FILE`"),
        (b"# only a comment\n", "found an empty file"),
        (b"\x7fELF\x00\x01", "found a binary file"),
        (b"aim: caf\xe9\n", r":1: expected UTF-8 text; found byte 0xe9"),
        (b"- a\n- b\n", "expected a mapping with keys aim, mechanisms"),
        (b"just text", "expected a mapping .*found 'just text'"),
        (b"a: " + b"x" * 300_001, "expected a config of at most 300,000 bytes"),
        (b"a: 1\n" * 3, "found 'a' twice"),
    ],
)
def test_files_that_are_no_configs(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_names_and_paths(tmp_path):
    with pytest.raises(ConfigError, match=r"'eight_school': no config of this name; did you mean 'eight_schools'"):
        read_config("eight_school")
    with pytest.raises(ConfigError, match=r"no such file; did you mean '.*mine\.yaml'"):
        (tmp_path / "mine.yaml").write_text(STUDY)
        read_config(tmp_path / "mien.yaml")
    with pytest.raises(ConfigError, match="no such file; paths start from"):
        read_config("no/such/folder.yaml")
    with pytest.raises(ConfigError, match="found a folder"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "school,se\nA,1\nB,-3\n",
            r"mechanisms\.known_se: expected positive numbers in column 'se' of d\.csv; found -3 in row 1",
        ),
        ("school,se\nA,1\nB,\n", r"known_se: .*found nan in row 1"),
        ("school,se\nA,1\nB,x\n", r"known_se: .*found 'x' in row 1"),
        (
            "school,se\nA,1\n,2\n",
            r"formula: expected a label in column 'school' of d\.csv; found nothing in row 1",
        ),
        ("scool,se\nA,1\n", r"formula: no column 'school' in the design; did you mean 'scool'"),
        ("", r"design: .*found an empty file"),
        ("a\0b", r"design: .*found a NUL byte"),
    ],
)
def test_tables_of_a_design(tmp_path, table, message):
    (tmp_path / "d.csv").write_text(table)
    with pytest.raises(ConfigError, match=message):
        study(tmp_path, ("eight_schools", "d.csv"))


def test_a_theta_column_has_one_value_a_group(tmp_path):
    (tmp_path / "d.csv").write_text("school,se,true\nA,1,5\nA,1,6\nB,1,7\n")
    with pytest.raises(ConfigError, match="expected one value a group in 'true'; found several in 'A'"):
        study(
            tmp_path,
            ("eight_schools", "d.csv"),
            ("sd_school: 10}", "theta_school: true}"),
            ("  grid: {sd_school: [0, 5, 10, 20]}\n", ""),
            ("theta_school: true}", "theta_school: 'true'}"),
        )


def test_values_from_python_that_cannot_be_read():
    with pytest.raises(ConfigError, match="config: a: expected text, numbers, lists and mappings; found object"):
        read_config({"a": object()})
    deep = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ConfigError, match="levels of nesting"):
        read_config({"a": deep})
    data = read_config("quick").resolved()
    data["mechanisms"]["design"] = {"table": {"school": ["A", "B"], "se": [1]}}
    with pytest.raises(ConfigError, match=r"design\.table\.se: expected lists of equal length; found 1 in 'se'"):
        read_config(data)


def test_huge_numbers_of_replications_are_allowed(tmp_path):
    assert study(tmp_path, ("replications: 250", "replications: 1_000_000_000")).replications == 10**9


# -------------------------------------------------------------------------------------- template and schema


@pytest.mark.parametrize(
    ("formula", "data"),
    [
        (None, None),
        ("score ~ 1 + (1 | school)", None),
        ("score ~ 1 + treated + x + (1 + x | school/classroom)", None),
        ("y ~ 1 + x", None),
        (None, "eight_schools"),
        (None, "scores"),
        (None, "pumps"),
        ("avg ~ 1 + (1 | player)", "baseball"),
        ("y ~ 1 + x + (1 + x | id)", "individuals"),
        ("score ~ 1 + (1 | school/classroom)", "scores"),
    ],
)
def test_templates_are_valid_and_fit_the_data(tmp_path, formula, data):
    path = tmp_path / "new.yaml"
    path.write_text(template(formula, data))
    s = read_config(path)
    assert formula is None or s.mechanisms.formula == formula
    assert data is None or s.mechanisms.design == data
    assert sum(line.lstrip().startswith("#") for line in path.read_text().splitlines()) > 10
    if formula and "treated" in formula:
        assert s.mechanisms.design["predictors"]["treated"] == "half(school)" and "none" not in s.methods


def test_template_of_ones_own_file(tmp_path):
    table = load_dataset("eight_schools").rename(columns={"se": "std_err", "school": "place"})
    table.to_csv(tmp_path / "my data.csv", index=False)
    path = tmp_path / "new.yaml"
    path.write_text(template(None, tmp_path / "my data.csv"))
    s = read_config(path)
    assert s.mechanisms.formula == "effect ~ 1 + (1 | place)" and s.mechanisms.known_se == "std_err"
    with pytest.raises(ValueError, match="no column 'school' in the data"):
        template("effect ~ 1 + (1 | school)", tmp_path / "my data.csv")
    with pytest.raises(ValueError, match="expected one ~"):
        template("effect")
    pd.DataFrame({"a": ["x"]}).to_csv(tmp_path / "words.csv", index=False)
    with pytest.raises(ValueError, match="expected columns of groups and of outcomes"):
        template(None, tmp_path / "words.csv")


def test_the_shipped_schema_is_the_generated_one(tmp_path):
    shipped = Path(hiermodels.__file__).parent / "studies" / "schema.json"
    write_schema(tmp_path / "schema.json")
    message = "regenerate it: python -c 'from hiermodels.studies.config import write_schema; write_schema()'"
    assert shipped.read_text() == (tmp_path / "schema.json").read_text(), message


def test_the_schema_knows_every_key_of_every_config():
    schema = to_schema()
    method = schema["$defs"]["Method"]["properties"]
    assert set(schema["properties"]) == {*read_config("quick").resolved(), "decisions", "stop"}
    assert schema["additionalProperties"] is schema["$defs"]["Method"]["additionalProperties"] is False
    for name in config_names():
        for written in read_config(name).resolved()["methods"].values():
            kind = "Estimator" if "estimator" in written else "Host" if "host" in written else "Method"
            assert set(written) - {"function"} <= set(schema["$defs"][kind]["properties"])
    assert schema["properties"]["failures"]["enum"][0] == "complete-case"
    assert schema["properties"]["replications"]["minimum"] == 1
    assert "function" not in method


def places(value, path=()):
    """Every place in plain data."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def put(value, path, new):
    """A copy of plain data with one place replaced."""
    if not path:
        return new
    if isinstance(value, dict):
        return {k: put(v, path[1:], new) if k == path[0] else v for k, v in value.items()}
    return [put(v, path[1:], new) if i == path[0] else v for i, v in enumerate(value)]


ODD = (None, True, -1, 0.5, float("nan"), "", "odd", "normal(0, 1)", [[]], {}, {"odd": None})


@pytest.mark.slow_cases("eight_schools_fixed")
@pytest.mark.parametrize("name", ["eight_schools_fixed", "school_classroom_student"])
def test_any_odd_value_anywhere_is_read_or_is_a_config_error(name):
    """Whatever stands at whatever place: a study or one line, never another exception."""
    data = read_config(name).resolved()
    data["methods"] = {"partial": data["methods"]["partial"]}
    refused = 0
    for path in places(data):
        for odd in ODD:
            try:
                read_config(put(data, path, odd) if path else {"odd": odd})
            except ConfigError as error:
                refused += 1
                assert "\n" not in str(error)
    assert refused > 300


def test_nested_counts_have_concentrations_that_vary_by_group():
    data = read_config("quick").resolved()
    data["mechanisms"] = {
        "formula": "y ~ 1 + (1 | s/c)",
        "family": "binomial",
        "trials": "n",
        "design": {"s": 5, "c": 4, "predictors": {"n": 20}},
        "truth": {"Intercept": -1, "sd_s": 0.5, "log_kappa": 3, "sd_s_log_kappa": 0.2},
    }
    data["estimands"] = ["log_kappa", "theta_s"]
    data["methods"] = {"p": {"priors": {"log_kappa": "normal(3, 1)", "sd_s_log_kappa": "half_normal(1)"}}}
    assert read_config(data).cells()[0].truth["sd_s_log_kappa"] == 0.2
    data["mechanisms"]["truth"]["log_shape"] = 1
    with pytest.raises(ConfigError, match=r"truth\.log_shape: unknown parameter .*; did you mean 'log_kappa'"):
        read_config(data)
