"""One name, one quantity: columns and groups out of the library's own names are right or refused, and no name compiles
anything.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.inference.datatree import tree_names
from hiermodels.models.canonical import canonical
from hiermodels.models.data import bind
from hiermodels.models.expressions import quoted

RNG = np.random.default_rng(1)
FRAME = pd.DataFrame(dict(v=np.linspace(0, 5, 24), g=np.repeat(list("abcd"), 6)))
FRAME["y"] = 10 + 3 * FRAME.v + np.repeat([0, 1.0, -1, 0.5], 6) + RNG.normal(0, 0.3, 24)
QUICK = {"sampler": "exact", "draws": 50, "progress": False}


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """What XLA compiles meanwhile, an entry each."""
    found: list[str] = []

    def note(event: str, seconds: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def renamed(**names: str) -> pd.DataFrame:
    return FRAME.rename(columns=names)


def test_columns_that_bear_the_models_own_names_are_refused_with_both_and_the_list():
    for column, other in (
        ("sigma", "the residual sd"),
        ("sd_g", "the sd between groups of g"),
        ("theta_g", "the values of the groups of g"),
    ):
        with pytest.raises(ValueError) as told:
            bind(hm.Model(f"y ~ {column} + (1 | g)"), renamed(v=column))
        assert f"{column!r} would share its name with {other}" in str(told.value)
        assert (
            "taken are Intercept, sd_g, theta_g, sigma, chain, draw" in str(told.value) and len(str(told.value)) < 600
        )
    with pytest.raises(ValueError, match="the column 'Intercept' would share its name with the constant"):
        bind(hm.Model("y ~ Intercept + (1 | g)"), renamed(v="Intercept"))
    for column in ("chain", "draw"):
        for formula, frame in (
            (f"y ~ {column} + (1 | g)", renamed(v=column)),
            (f"{column} ~ v + (1 | g)", renamed(y=column)),
        ):
            with pytest.raises(ValueError, match=f"{column!r} would share its name with the dimension of {column}s"):
                bind(hm.Model(formula), frame)


def test_sites_of_a_function_leave_the_dimensions_of_draws_alone():
    import numpyro
    import numpyro.distributions as dist

    def model(v: Any, y: Any = None) -> None:
        mean = numpyro.sample("draw", dist.Normal(0, 20))
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    with pytest.raises(ValueError, match="'draw' would share its name with the dimension of draws"):
        hm.fit(model, FRAME, progress=False)


def test_two_group_terms_that_would_share_a_name_are_refused():
    frame = FRAME.assign(a=FRAME.g, a_b=np.tile(list("xyz"), 8), b_c=FRAME.v**2, c=FRAME.v)
    with pytest.raises(ValueError, match="'sd_a_b_c'; rename the columns"):
        bind(hm.Model("y ~ (1 + b_c || a) + (1 + c || a_b)"), frame)


def test_names_that_this_model_does_not_make_are_free():
    """Names of other families, of the outcome, of columns that the formula does not use or uses in a role."""
    right = bind(hm.Model("y ~ v + (1 | g)"), FRAME).data.x
    for column in ("nu", "kappa_g", "mean_g", "shape", "cor_g", "icc_g", "obs", "effect", "rep", "true", "y_", "lp"):
        assert np.array_equal(bind(hm.Model(f"y ~ {column} + (1 | g)"), renamed(v=column)).data.x, right)
    known = bind(hm.Model("y ~ sigma + (1 | g)", known_se="sd_g"), renamed(v="sigma").assign(sd_g=0.3))
    assert known.layout.residual_sd is None and known.layout.find("coefficient", effect="sigma").name == "sigma"
    bind(hm.Model("sigma ~ v + (1 | g)", weights="theta_g"), renamed(y="sigma").assign(theta_g=1.0, sd_g="unused"))


# whatever names: refused with a sentence, or the numbers of plain names
# ---------------------------------------------------

NAMES = re.findall(
    r"\S+",
    "sigma Intercept sd_g theta_g cor_g nu shape kappa_g shape_g mean_g icc_g cv_g log_kappa sd_g_x theta_g_x draw "
    "chain obs obs_row row effect "
    "effect2 rep method estimand group true estimate median se lower upper rank status n n_try measure value mcse "
    "message y y_ lp theta eta_g coef_g "
    "chol_g rate_g padding_g prior_x new mean scalar quantity posterior index level_0 fit x x_ g g_group v truth "
    "outcome P C I log half table",
)
SHAPES = (
    "{y} ~ 1 + {x} + (1 | {g})",
    "{y} ~ {x} + {z} + (1 + {x} || {g})",
    "{y} ~ {x} + (1 + {x} | {g})",
    "{y} ~ 1 + (1 | {g}/{z})",
    "{y} ~ 0 + {x} + (1 | {g})",
)
FAMILIES = (
    {},
    {"known_se": "{w}"},
    {"weights": "{w}"},
    {"family": "poisson_log", "exposure": "{w}"},
    {"family": "student_t"},
)
PLAIN = {"y": "y", "x": "x1", "z": "x2", "g": "unit", "w": "role"}
BASE = pd.DataFrame(
    dict(y=RNG.poisson(3, 24), x1=FRAME.v, x2=np.tile([1.0, 2.0, 4.0], 8), unit=FRAME.g, role=RNG.uniform(0.5, 1, 24))
)


def _model(shape: str, family: dict[str, str], names: dict[str, str]) -> hm.Model:
    return hm.Model(shape.format(**names), **{key: text.format(**names) for key, text in family.items()})


def _bind_cases(count: int, seed: int) -> None:
    """A model under names out of the library's own is refused in a sentence that names one, or is the very same
    problem.
    """
    rng, refused = np.random.default_rng(seed), 0
    plain = {
        (i, j): bind(_model(s, f, PLAIN), BASE, priors=False)
        for i, s in enumerate(SHAPES)
        for j, f in enumerate(FAMILIES)
    }
    for _ in range(count):
        i, j = int(rng.integers(len(SHAPES))), int(rng.integers(len(FAMILIES)))
        shape, family, right = SHAPES[i], FAMILIES[j], plain[i, j]
        names = dict(zip(PLAIN, rng.permutation(NAMES)[: len(PLAIN)].tolist(), strict=True))
        try:
            found = bind(
                _model(shape, family, names), BASE.rename(columns={PLAIN[k]: v for k, v in names.items()}), priors=False
            )
        except ValueError as error:
            refused += 1
            assert len(str(error)) < 600 and any(repr(n) in str(error) for n in names.values()), error
            assert "would share its name with" in str(error), error
            continue
        assert canonical(found.layout).layout == canonical(right.layout).layout
        for mine, theirs in zip(jax.tree.leaves(found.data), jax.tree.leaves(right.data), strict=True):
            assert np.array_equal(mine, theirs)
        assert len(set(found.layout.quantities)) == len(right.layout.quantities)
        back = canonical(found.layout)
        assert [back.restore(back.name(name)) for name in found.layout.quantities] == list(found.layout.quantities)
    assert 0 < refused < count / 2


def test_any_names_bind_to_the_same_problem_or_are_refused():
    _bind_cases(200, seed=11)


@pytest.mark.slow
def test_any_names_bind_to_the_same_problem_or_are_refused_at_length():
    _bind_cases(2000, seed=12)


def _fit_cases(names_of: Iterable[tuple[str, str, str]], path: Path) -> None:
    """Fits under other names have the numbers of plain names in tables, predictions, DataTree and file."""
    frame = BASE.assign(y=FRAME.y)
    plain = hm.fit(hm.Model("y ~ 1 + x1 + (1 | unit)"), frame, **QUICK)
    table, mean = plain.summary().to_numpy(), plain.predict(frame).predictions["y"].to_numpy()
    for y, x, g in names_of:
        here = frame.rename(columns={"y": y, "x1": x, "unit": g})
        try:
            fit = hm.fit(hm.Model(f"{quoted(y)} ~ 1 + {quoted(x)} + (1 | {quoted(g)})"), here, **QUICK)
        except ValueError as error:
            assert "would share its name with" in str(error)
            continue
        assert np.array_equal(fit.summary().to_numpy(), table) and fit.summary().index.is_unique
        names = tree_names(["Intercept", x, f"sd_{g}", "sigma", f"theta_{g}"])
        new = fit.predict(here).predictions[tree_names([y])[y]]
        assert np.array_equal(new.to_numpy(), mean) and new.dims[:2] == ("chain", "draw")
        posterior = fit.to_datatree().posterior
        assert sorted(posterior.data_vars) == sorted(names.values())
        theta = posterior[names[f"theta_{g}"]]
        assert theta.shape == (4, 50, 4) and len(set(theta.dims)) == 3
        assert np.array_equal(posterior[names[x]].to_numpy(), plain.draws.values["x1"])
        fit.save(path / "fit.nc")
        again = hm.load_fit(path / "fit.nc")
        assert again.summary().equals(fit.summary()) and again.model == fit.model


def test_any_names_fit_alike_and_compile_nothing(tmp_path):
    """The second fit under other names of columns, groups and labels compiles nothing."""
    _fit_cases([("score", "age", "school")], tmp_path)
    with compilations() as count:
        _fit_cases(
            [("obs", "nu", "chain"), ("sigma", "effect", "draw"), ("rep", "kappa_g", "obs"), ("a b", "a/b", "c/d")],
            tmp_path,
        )
        relabelled = BASE.assign(y=FRAME.y, unit=np.repeat(["p", "q", "r", "s"], 6)).rename(columns={"unit": "ward"})
        hm.fit(hm.Model("y ~ 1 + x1 + (1 | ward)"), relabelled, **QUICK).summary()
    assert count == []


CHAINS = {
    "counts in a tree": ("{y} ~ 1 + (1 | {g}/{z})", {"family": "binomial", "trials": "{w}"}, {}),
    "correlated slopes": ("{y} ~ {x} + (1 + {x} | {g})", {}, {"sampler": "gibbs"}),
    "centred where it is better": ("{y} ~ {x} + (1 | {g}) + (1 | {z})", {"family": "student_t"}, {"centred": "auto"}),
    "known errors": ("{y} ~ 1 + (1 | {g})", {"known_se": "{w}"}, {"sampler": "metropolis"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CHAINS)
def test_chains_under_other_names_are_the_same_chains_and_compile_nothing(case):
    shape, family, settings = CHAINS[case]
    frame = BASE.assign(y=np.minimum(BASE.y, 5), role=np.full(24, 6.0), x2=np.tile(["p", "q", "r"], 8))
    settings = {"draws": 50, "tune": 50, "chains": 2, "progress": False, **settings}
    plain = hm.fit(_model(shape, family, PLAIN), frame, **settings)
    names = {"y": "kappa_q", "x": "nu_", "z": "draw", "g": "sd", "w": "chain"}
    with compilations() as count:
        other = hm.fit(
            _model(shape, family, names), frame.rename(columns={PLAIN[k]: v for k, v in names.items()}), **settings
        )
        assert count == []
    for mine, theirs in zip(plain.draws.values.values(), other.draws.values.values(), strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.slow
def test_any_names_fit_alike_at_length(tmp_path):
    rng = np.random.default_rng(13)
    _fit_cases([tuple(rng.permutation(NAMES)[:3].tolist()) for _ in range(200)], tmp_path)


# studies
# ------------------------------------------------------------------------------------------------------------------


def _study(x: str, g: str, y: str = "y", **changes: Any) -> dict[str, Any]:
    """Clusters in two arms; complete pooling, whose estimates are those of least squares."""
    mechanisms = dict(formula=f"{y} ~ 1 + {x} + (1 | {g})", design={g: 6, "obs": 4, "predictors": {x: f"half({g})"}})
    mechanisms["truth"] = {"Intercept": 0, x: -3, f"sd_{g}": 1, "sigma": 1}
    study = dict(
        mechanisms=mechanisms,
        estimands=[x, "sigma", f"theta_{g}", f"new({g})"],
        methods=dict(c=dict(pooling="complete", sampler="exact")),
    )
    return {
        **study,
        "performance": ["power", "cover", "bias"],
        "replications": 6,
        "failures": "complete-case",
        "seed": 1,
        **changes,
    }


def _study_cases(names_of: Iterable[tuple[str, str, str]], path: Path, report: bool) -> None:
    from hiermodels.studies.run.export import datasets, import_estimates

    for i, (y, x, g) in enumerate(names_of):
        folder = path / str(i)
        try:
            run = hm.run(_study(x, g, y), folder, progress=False)
        except ValueError as error:
            assert re.search(
                r"would share its name with|a column of the tables|one quantity of a name|is taken|name other than",
                str(error),
            ), error
            continue
        table = run.estimates
        assert (table[table.estimand == x]["true"] == -3).all() and set(table.estimand) == {
            x,
            "sigma",
            f"theta_{g}",
            f"new({g})",
        }
        outside = []
        for data in datasets(run):
            for rep, rows in data.groupby("rep"):
                least = np.linalg.lstsq(np.column_stack([np.ones(len(rows)), rows[x]]), rows[y], rcond=None)[0]
                own = table[(table.rep == rep) & (table.estimand == x)]["estimate"].item()
                assert own == pytest.approx(least[1], abs=1e-6)
                outside.append({"rep": rep, "estimand": x, "estimate": least[1]})
        import_estimates(folder, pd.DataFrame(outside), "lm")
        bias = hm.load_run(folder).performance.query(f"estimand == {x!r} and measure == 'bias'")["value"]
        assert bias.to_numpy() == pytest.approx(np.repeat(bias.iloc[0], len(bias)), abs=1e-6)
        if report:
            hm.load_run(folder).report()


def test_studies_under_any_names_have_the_numbers_of_least_squares(tmp_path):
    _study_cases([("y", "treat", "clinic")], tmp_path / "plain", report=False)
    with compilations() as count:
        _study_cases([("obs_row", "sd_age", "draw"), ("nu", "mean_ses", "group")], tmp_path / "other", report=False)
    assert count == []


@pytest.mark.slow
def test_every_program_of_a_study_is_shared_by_other_names(tmp_path):
    def run(x: str, g: str, label: str) -> pd.DataFrame:
        methods = {
            "nuts": {"sampler": "nuts", "draws": 50, "tune": 50, "chains": 2},
            "direct": {"estimator": "satterthwaite"},
            "exact": {"sampler": "exact"},
        }
        study = _study(x, g, methods=methods, estimands=[x, f"sd_{g}", f"mean(theta_{g})", {"p": f"P({x} > 0)"}])
        study["mechanisms"] |= {"deviation": {"effects": "student_t(3)"}, "grid": {f"sd_{g}": [0.5, 2]}}
        return hm.run(study, tmp_path / label, progress=False).estimates

    run("treat", "clinic", "one")
    with compilations() as count:
        assert len(run("mean_age", "chain", "two"))
    assert count == []


@pytest.mark.slow
def test_studies_under_any_names_at_length(tmp_path):
    rng = np.random.default_rng(14)
    _study_cases([tuple(rng.permutation(NAMES)[:3].tolist()) for _ in range(200)], tmp_path, report=True)


def test_what_a_parameter_is_follows_from_its_role(tmp_path):
    """Predictors that are called as other quantities are: truths, priors, point estimates and the edge of the space."""
    from hiermodels.studies.config import read_config

    for x in ("sd_age", "mean_ses", "nu_x", "kappa_g2", "sigma2", "shape_", "cor_x", "theta_a", "icc_x"):
        priors = {x: "normal(0, 5)"}
        study = read_config(
            _study(x, "g", methods={"p": {"priors": priors}}, estimands=[x, "sd_g", "sigma", "theta_g"])
        )
        assert [e.point for e in study.estimands] == ["mean", "median", "median", "mean"]
        assert study.cells()[0].truth[x] == -3
    for truth, told in (
        ({"sd_g": -1}, "sd_g: expected 0 or more; found -1"),
        (
            {"sd_g": "normal(3, 1)"},
            r"sd_g: expected a law of positive numbers; found normal\(3, 1\); use e.g. half_normal",
        ),
        ({"sd_g": "uniform(-1, 1)"}, "sd_g: expected a law of positive numbers"),
        ({"icc_g": 1.0}, "icc_g: expected a number from 0 to below 1"),
    ):
        with pytest.raises(ValueError, match=told):
            changed = _study("x", "g")
            changed["mechanisms"]["truth"] = {"Intercept": 0, "x": 1, "sigma": 1, **truth}
            read_config(changed)
    with pytest.raises(
        ValueError, match="formula: the coefficient of column 'sigma' would share its name with the residual sd"
    ):
        read_config(_study("sigma", "g", estimands=["Intercept"]))
    with pytest.raises(ValueError, match="'icc_g', the coefficient of column 'icc_g' and a word of the group's spread"):
        read_config(_study("icc_g", "g"))


@pytest.mark.parametrize(
    ("family", "rate", "ends"),
    [
        ("binomial", 150_000, "a probability from 0 to 1"),
        ("binomial", -3, "a probability from 0 to 1"),
        ("poisson", -5, "a rate of at least 0"),
    ],
)
def test_true_rates_lie_in_their_support(family, rate, ends, tmp_path):
    role = "trials" if family == "binomial" else "exposure"
    mechanisms = dict(
        formula="r ~ 1 + (1 | b)",
        family=family,
        truth={"theta_b": "rate"},
        design=dict(table=dict(b=list("ABC"), n=[10] * 3, rate=[0.2, 0.1, rate])),
    )
    study = dict(
        mechanisms=mechanisms | {role: "n"},
        estimands=["theta_b"],
        methods=dict(p=dict(sampler="exact")),
        performance=["bias"],
    )
    with pytest.raises(ValueError, match=f"theta_b: C: expected {ends}, found {rate}"):
        hm.run({**study, "replications": 1, "failures": "complete-case", "seed": 1}, tmp_path / "run", progress=False)
