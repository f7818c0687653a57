"""What groups can follow and coefficients cannot: propriety, moments and what the data tell apart, against dense
matrices and integrals.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, linalg

import hiermodels as hm
from hiermodels.models.data import bind
from hiermodels.models.formula import parse_formula
from hiermodels.models.propriety import _flat
from hiermodels.models.ranks import Spans
from hiermodels.models.told_apart import untold
from hiermodels.quantities import sd_name

RNG = np.random.default_rng(1)
G = np.repeat(list("abcd"), 25)
WITHIN = pd.DataFrame({f"x{i}": RNG.normal(size=100) for i in range(1, 8)}).assign(g=G)
WITHIN["y"] = RNG.normal(size=4).repeat(25) + RNG.normal(size=100)
SITES = pd.DataFrame({"site": ["A"] * 6 + ["B"] * 6, "treated": [0.0] * 6 + [1.0] * 6})
SITES["y"] = 5 + 2 * SITES.treated + np.random.default_rng(3).normal(0, 1, 12)


def problem_of(formula, frame, pooling="partial", **priors):
    return bind(hm.Model(formula, priors={k.replace("__", ":"): v for k, v in priors.items()}), frame, pooling)


# the rule against dense matrices
# ------------------------------------------------------------------------------------------


def design(seed: int) -> tuple[str, pd.DataFrame]:
    """A small design: groups nested or crossed, predictors of rows, of groups, or both; slopes."""
    rng = np.random.default_rng([3, seed])
    groups, each = int(rng.integers(2, 6)), int(rng.integers(1, 5))
    frame = pd.DataFrame({"g": np.repeat(np.arange(groups), each)})
    frame["h"] = rng.integers(0, int(rng.integers(1, 4)), len(frame)) if rng.random() < 0.5 else frame["g"] // 2
    frame["row"], frame["w"] = rng.normal(size=len(frame)), rng.normal(size=groups)[frame["g"]]
    frame["v"], frame["y"] = rng.integers(0, 2, len(frame)).astype(float), rng.normal(size=len(frame))
    terms = [t for t in ("row", "w", "v", "row:v") if rng.random() < 0.4]
    grouping = rng.choice(
        [
            "(1 | g)",
            "(1 + v || g)",
            "(0 + row | g)",
            "(1 | g) + (1 | h)",
            "(1 + row | g) + (1 | h)",
            "(1 | h) + (0 + w || g)",
        ]
    )
    return " + ".join(["y ~ 1", *terms, grouping]), frame


def dense(problem) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """X and each scale's Z, from the formula's own columns."""
    layout, data = problem.layout, problem.data
    n = int(np.sum(data.weight > 0))
    found = {}
    for i, level in enumerate(layout.levels):
        for e in level.effects:
            found[sd_name(level.name, layout.columns[e])] = (
                data.group[i][:n, None] == np.unique(data.group[i][:n])
            ) * data.x[:n, [e]]
    return data.x[:n, list(layout.population)], {**found, "sigma": np.eye(n)}


def bound(seed: int):
    formula, frame = design(seed)
    sds = [sd_name(g.name, effect) for g in parse_formula(formula).groups for effect in g.effects.names]
    model = hm.Model(formula, priors=dict.fromkeys([*sds, "sigma"], "half_cauchy(1)"))
    try:
        return bind(model, frame)
    except ValueError as error:
        assert any(word in str(error) for word in ("linearly dependent", "improper", "zero in every row", "nearly")), (
            formula,
            error,
        )
        return None


def restricted(x: np.ndarray, v: np.ndarray) -> float:
    """log |V| + log |X'V^-1 X|, by long floats' stand-in: eigenvalues of what X leaves free."""
    free = linalg.null_space(x.T) if x.shape[1] else np.eye(len(v))
    return float(np.sum(np.log(np.linalg.eigvalsh(free.T @ v @ free))))


def check_design(seed: int) -> bool:
    problem = bound(seed)
    if problem is None:
        return False
    spans = Spans(problem.layout, problem.data, _flat(problem.layout))
    x, z = dense(problem)
    names = [s.name for s in spans.scales]
    for size in (1, 2, 3):
        for some in itertools.combinations(range(len(names)), size):

            def covariance(t, some=some):
                return sum((t if i in some else 1.0) ** 2 * z[n] @ z[n].T for i, n in enumerate(names)) + (
                    0 if "sigma" in names else np.eye(len(x))
                )

            if len(x) > np.linalg.matrix_rank(x):
                fall = (restricted(x, covariance(1e4)) - restricted(x, covariance(1e3))) / (2 * np.log(10))
            else:
                fall = 0.0
            assert spans.fall(frozenset(some), np.inf) == pytest.approx(fall, abs=0.05), (seed, some)
            growth = []
            for t in (1e3, 1e4):
                left = np.linalg.solve(covariance(t), x)
                growth.append(np.diag(np.linalg.inv(x.T @ left)))
            unsteady = np.log10(growth[1] / growth[0]) > 1
            got = [
                spans.unsteady(frozenset(some), spans.coefficient(frozenset(some), c))
                for c in problem.layout.population
            ]
            assert got == list(unsteady), (seed, some)
    return True


def test_falls_of_likelihoods_and_growth_of_variances_on_sixty_designs():
    assert sum(check_design(seed) for seed in range(60)) > 30


def check_told(seed: int) -> bool:
    """Contrasts' covariances as vectors: what is a combination of the others is not told apart."""
    problem = bound(seed)
    if problem is None:
        return False
    x, z = dense(problem)
    layout = problem.layout
    free = linalg.null_space(x.T)
    matrices = {n: free.T @ m @ m.T @ free for n, m in z.items()}
    for level in layout.levels:
        for block in level.blocks:
            for a, b in itertools.combinations(
                [sd_name(level.name, layout.columns[level.effects[k]]) for k in block], 2
            ):
                matrices[a, b] = free.T @ (z[a] @ z[b].T + z[b] @ z[a].T) @ free
    vectors = {
        n: m.ravel() / max(np.linalg.norm(m), 1e-300) if np.linalg.norm(m) > 1e-9 else None for n, m in matrices.items()
    }
    there = {n: v for n, v in vectors.items() if v is not None}
    alone = {n for n in z if vectors[n] is None}
    together = set()
    for name in there:
        others = [v for n, v in there.items() if n != name]
        if name in z and np.linalg.matrix_rank(np.array(others), tol=1e-8) == np.linalg.matrix_rank(
            np.array([*others, there[name]]), tol=1e-8
        ):
            together.add(name)
    found = untold(layout, problem.data)
    assert {s.name for s in found.alone} == alone, seed
    assert {s.name for some in found.together for s in some} == together, seed
    return True


def test_what_sixty_designs_tell_apart():
    assert sum(check_told(seed) for seed in range(60)) > 30


# the rule against integrals
# -----------------------------------------------------------------------------------------------


def likelihood(sd: np.ndarray, frame: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Restricted likelihood of the group sd, sigma 1, up to a factor."""
    x = np.column_stack([np.ones(len(frame)), frame[names]])
    z = pd.get_dummies(frame["g"]).to_numpy(float)
    free = linalg.null_space(x.T)
    values, vectors = np.linalg.eigh(free.T @ z @ z.T @ free)
    squares = (vectors.T @ free.T @ frame["y"].to_numpy()) ** 2
    v = 1 + sd[:, None] ** 2 * np.maximum(values, 0)
    return np.exp(-0.5 * np.log(v).sum(1) - 0.5 * (squares / v).sum(1) + 0.5 * squares.sum())


@pytest.mark.parametrize(
    ("names", "prior", "power"),
    [(["x1", "x2"], "flat()", 0), (["x1", "x2", "x3", "x4", "x5"], "flat()", 0), (["x1", "w"], "flat()", 0), (["x1", "x2"], "flat_variance()", 1),
     (["w"], "flat_variance()", 1)],
)  # fmt: skip
def test_moments_are_what_the_integrals_do(names, prior, power):
    """Per factor of 100 in the cut-off a moment that does not exist grows by as much as before, or more."""
    frame = WITHIN.assign(w=WITHIN.g.map({"a": 0.0, "b": 1.0, "c": 5.0, "d": 2.0}))
    formula = f"y ~ {' + '.join(names)} + (1 | g)"
    log_s = np.linspace(-6, np.log(1.001e10), 6001)
    density = likelihood(np.exp(log_s), frame, names)

    def exists(order):
        below = integrate.cumulative_trapezoid(density * np.exp(log_s * (power + order + 1)), log_s)
        steps = np.diff([below[np.searchsorted(log_s, np.log(cut)) - 1] for cut in (1e4, 1e6, 1e8, 1e10)])
        return bool((steps[1:] < 0.5 * steps[:-1]).all())

    if not exists(0):
        with pytest.raises(
            ValueError,
            match=r"sd_g: .* gives an improper posterior with 4 g groups, 2 of which the coefficients follow",
        ):
            problem_of(formula, frame, sd_g=prior, sigma="fixed(1)")
        return
    lost = problem_of(formula, frame, sd_g=prior, sigma="fixed(1)").missing_moments
    wanted = None if exists(2) else "sd" if exists(1) else "mean"
    assert lost.get("sd_g") == lost.get("Intercept") == wanted
    assert lost.get("w") == (wanted if "w" in names else None) and "x1" not in lost


@pytest.mark.slow
def test_predictors_that_vary_within_groups_take_nothing_from_them():
    """Four groups of 25 and four predictors of rows: every mean and sd exists; the integral over both sds says
    which.
    """
    names = ["x1", "x2", "x3", "x4"]
    fit = hm.fit(hm.Model(f"y ~ {' + '.join(names)} + (1 | g)"), WITHIN, sampler="exact", progress=False, draws=4000)
    table = fit.summary()
    x = np.column_stack([np.ones(100), WITHIN[names]])
    z = pd.get_dummies(WITHIN["g"]).to_numpy(float)
    ratio = np.exp(np.linspace(-5, 6, 300))  # sd_g / sigma
    y, weight, mean, variance = WITHIN["y"].to_numpy(), [], [], []
    for r in ratio:
        inverse = np.linalg.inv(np.eye(100) + r**2 * z @ z.T)
        information = x.T @ inverse @ x
        b = np.linalg.solve(information, x.T @ inverse @ y)
        left = (y - x @ b) @ inverse @ (y - x @ b)
        half = 0.5 * np.linalg.slogdet(inverse)[1] - 0.5 * np.linalg.slogdet(information)[1]
        # sigma has 1 / sigma, so 95 degrees of freedom remain; r is half t with 3 and scale 2.5; measure dr = r dlog r
        weight.append(half - 47.5 * np.log(left) - 2 * np.log1p((r / 2.5) ** 2 / 3) + np.log(r))
        mean.append(b)
        variance.append(np.diag(np.linalg.inv(information)) * left / 93)
    weight = np.exp(np.array(weight) - max(weight))
    weight /= weight.sum()
    centre = weight @ np.array(mean)
    sd = np.sqrt(weight @ (np.array(variance) + (np.array(mean) - centre) ** 2))
    np.testing.assert_allclose(table.loc[["Intercept", *names], "mean"].to_numpy(float), centre, atol=0.03 * sd.max())
    np.testing.assert_allclose(table.loc[["Intercept", *names], "sd"].to_numpy(float), sd, rtol=0.03)
    assert sd[0] == pytest.approx(1.2, abs=0.15) and sd[1] == pytest.approx(0.127, abs=0.002)


@pytest.mark.parametrize("predictors", range(1, 8))
def test_no_moment_is_lost_to_predictors_of_rows(predictors):
    names = " + ".join(f"x{i}" for i in range(1, predictors + 1))
    assert problem_of(f"y ~ {names} + (1 | g)", WITHIN).missing_moments == {}


# what only the prior decides
# ----------------------------------------------------------------------------------------------


def words(formula, frame, **priors):
    return problem_of(formula, frame, **priors).warnings


def test_sites_that_the_treatment_follows():
    said = words("y ~ treated + (1 | site)", SITES)
    assert len(said) == 1 and said[0].startswith(
        "sd_site: the population's coefficients can follow each of the 2 site groups"
    )
    assert words("y ~ 1 + (1 | site)", SITES) == ()
    more = pd.concat([SITES, SITES.assign(site=["C"] * 6 + ["D"] * 6)])
    assert words("y ~ treated + (1 | site)", more) == ()
    assert "follow each of the 4" in words("y ~ treated * s + (1 | site)", more.assign(s=(more.site > "B") * 1.0))[0]


def test_siblings_are_two_names_of_one_partition():
    frame = WITHIN.assign(id=np.repeat(np.arange(20), 5), name=np.repeat([f"n{i}" for i in range(20)], 5))
    assert words("y ~ 1 + (1 | id) + (1 | name)", frame) == (
        "sd_id and sd_name cannot be told apart (id and name make the same groups); their priors decide",
    )
    assert "sd_id and sd_id:name cannot be told apart" in words("y ~ 1 + (1 | id/name)", frame)[0]
    swapped = frame.assign(name=["n1", *frame["name"][1:]])
    assert words("y ~ 1 + (1 | id) + (1 | name)", swapped) == ()


def test_one_row_for_each_group():
    frame = WITHIN.assign(row=np.arange(100))
    named = {"sd_row": "half_normal(1)", "sigma": "half_normal(1)"}
    assert words("y ~ 1 + (1 | row)", frame, **named) == (
        "sigma and sd_row cannot be told apart (one row for each row); their priors decide",
    )
    with pytest.raises(ValueError, match="only a default prior would tell it from the spread of groups"):
        problem_of("y ~ 1 + (1 | row)", frame)
    assert "sigma and sd_row" in words("y ~ 1 + (1 | g) + (1 | row)", frame, **named)[0]


def pairs(x) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"g": np.repeat(np.arange(40), 2), "x": np.tile(x, 40)})
    frame["y"] = (
        rng.normal(size=40).repeat(2) + 0.8 * rng.normal(size=40).repeat(2) * frame.x + 0.5 * rng.normal(size=80)
    )
    return frame


def test_three_moments_identify_three_variances():
    """Two rows for each group, at 0 and 1: variances s2 + a and s2 + a + b, covariance a."""
    assert problem_of("y ~ x + (1 + x || g)", pairs([0.0, 1.0])).warnings == ()
    with pytest.raises(ValueError, match="no repeated observations"):  # four variances and covariances
        problem_of("y ~ x + (1 + x | g)", pairs([0.0, 1.0]))
    with pytest.raises(
        ValueError, match="no repeated observations"
    ):  # at -1 and 1 both effects add the same to each row's variance
        problem_of("y ~ x + (1 + x || g)", pairs([-1.0, 1.0]))


@pytest.mark.slow
def test_three_variances_are_near_what_three_moments_say():
    frame = pairs([0.0, 1.0])
    fit = hm.fit(hm.Model("y ~ x + (1 + x || g)"), frame, sampler="exact", progress=False, draws=200)
    assert fit.status == "ok" and fit.warnings == ()
    wide = frame["y"].to_numpy().reshape(40, 2)
    moments = np.cov(wide.T)
    table = fit.summary()
    assert table.loc["sd_g", "median"] == pytest.approx(np.sqrt(moments[0, 1]), rel=0.15)
    assert table.loc["sigma", "median"] == pytest.approx(np.sqrt(moments[0, 0] - moments[0, 1]), rel=0.25)


def test_counts_whose_predictors_follow_every_group():
    frame = pd.DataFrame({"g": list("aabb"), "x": [0.0, 0, 1, 1], "y": [3, 4, 5, 6], "n": 9})
    model = hm.Model("y ~ x + (1 | g)", "binomial", trials="n")
    assert "g: the predictors can follow each of the 2 groups" in bind(model, frame).warnings[0]
    assert bind(hm.Model("y ~ 1 + (1 | g)", "binomial", trials="n"), frame).warnings == ()


def test_links_are_warned_as_well():
    frame = SITES.assign(y=np.arange(12) % 2)
    assert (
        "sd_site: the population's coefficients can follow"
        in bind(hm.Model("y ~ treated + (1 | site)", "bernoulli_logit"), frame).warnings[0]
    )


def test_units_and_origins_change_no_rank():
    frame = WITHIN.assign(t=1.7e9 + 3600 * np.arange(100.0), small=WITHIN.x1 * 1e-9)
    for formula in ("y ~ t + small + (1 | g)", "y ~ t + (1 + t | g)"):
        problem = problem_of(formula, frame)
        assert problem.missing_moments == {} and problem.warnings == ()
    assert problem_of("y ~ t + x2 + (1 | g)", frame, sd_g="flat()").missing_moments == {
        "sd_g": "sd",
        "Intercept": "sd",
        "new(g)": "sd",
    }
