"""The factorised normal tree against closed forms, dense multivariate normals and its own symmetries."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from hiermodels.datasets import load_dataset
from hiermodels.models import data as data_module
from hiermodels.models import hyper
from hiermodels.models.data import as_jax, bind
from hiermodels.models.factorise import factorise
from hiermodels.models.spec import Model


def conditional(model, frame, pooling="partial", wanted=()):
    """(log marginal likelihood, mean and variance of each wanted variable) with every scale fixed; real groups only."""
    problem = bind(model, frame, pooling)
    pair = factorise(problem.layout)
    assert pair.dim == 0
    stats = jax.jit(pair.prepare)(as_jax(problem.data))
    u = jnp.zeros(0)
    log_ml, found = jax.jit(lambda u, s: (pair.log_likelihood(u, s), pair.components(u, s, tuple(wanted))))(u, stats)
    moments = {}
    for name, c in found.items():
        level = next((v.name for v in problem.layout.levels if name in problem.layout.effect_names(v)), None)
        keep = problem.positions[level] if level else ...
        moments[name] = (np.asarray(c.a)[keep], np.asarray(c.b)[keep])
    return float(log_ml), moments


def near(found, expected, digits):
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.51 * 10.0**-digits)


# targets
# ----------------------------------------------------------------------------------------------------------------


class TestTargetA:
    """Three levels, unbalanced, variances known: 16, 9, 25."""

    wanted = ("Intercept", "theta_school", "theta_school:classroom", "new(school)", "new(school:classroom)")

    def run(self, intercept):
        priors = {"Intercept": intercept, "sd_school": 4.0, "sd_school:classroom": 3.0, "sigma": 5.0}
        model = Model("score ~ 1 + (1 | school/classroom)", priors=priors)
        return conditional(model, load_dataset("scores"), wanted=self.wanted)

    def test_flat(self):
        with jax.enable_x64(True):
            log_ml, m = self.run("flat()")
        near(log_ml, -57.391981, 6)
        near(m["Intercept"][0], 47.151773, 6)
        near(m["Intercept"][1] ** 0.5, 2.583692, 6)
        near(m["theta_school"][0], [45.471926, 49.482580, 46.486922, 47.165666], 6)
        near(m["theta_school"][1] ** 0.5, [2.633814, 2.351305, 3.181988, 2.740070], 6)
        means = [45.226887, 44.772050, 52.081309, 48.710893, 48.966616, 46.112943, 48.080038, 46.259108]
        sds = [2.435227, 2.752707, 3.099475, 2.148754, 2.664836, 2.582095, 2.787546, 2.787546]
        near(m["theta_school:classroom"][0], means, 6)
        near(m["theta_school:classroom"][1] ** 0.5, sds, 6)
        near((m["theta_school:classroom"][1][0] + 25) ** 0.5, 5.561504, 6)
        near((m["theta_school"][1][0] + 9 + 25) ** 0.5, 6.398201, 6)
        near((m["new(school:classroom)"][1] + 25) ** 0.5, 7.528311, 6)
        near(m["new(school)"][1] + 9, m["new(school:classroom)"][1], 10)

    def test_normal_prior(self):
        with jax.enable_x64(True):
            log_ml, m = self.run("normal(40, 10)")
        near(log_ml, -60.885551, 6)
        near(m["Intercept"][0], 46.704235, 6)
        near(m["Intercept"][1] ** 0.5, 2.501545, 6)

    def test_covariances_of_draws(self):
        with jax.enable_x64(True):
            model = Model(
                "score ~ 1 + (1 | school/classroom)",
                priors={"sd_school": 4.0, "sd_school:classroom": 3.0, "sigma": 5.0},
            )
            problem = bind(model, load_dataset("scores"))
            pair = factorise(problem.layout)
            stats = jax.jit(pair.prepare)(as_jax(problem.data))
            keys = jax.random.split(jax.random.key(3), 40_000)
            draws = jax.jit(jax.vmap(lambda k: pair.draw(k, jnp.zeros(0), stats)["theta_school:classroom"]))(keys)
        th = np.asarray(draws)[:, problem.positions["school:classroom"]]
        cov = np.cov(th.T)
        labels = problem.labels["school:classroom"]
        i11, i21, i22 = (labels.index(k) for k in ("s1:c1", "s2:c1", "s2:c2"))
        se = 4 * np.sqrt((3.1 * 2.2) ** 2 / 40_000)
        assert abs(cov[i21, i22] - 1.666054) < se
        assert abs(cov[i11, i21] - 0.271062) < 4 * np.sqrt((2.44 * 3.1) ** 2 / 40_000)


SCHOOLS = {
    5: (7.850983, 4.492096, [9.8659, 7.8808, 6.8856, 7.7053, 5.7635, 6.6779, 9.8808, 8.1482]),
    10: (8.126472, 5.519975, [14.2414, 8.0632, 5.0011, 7.6168, 3.0842, 4.9018, 13.0632, 9.0400]),
    20: (8.463862, 8.326577, [20.9670, 8.0928, 1.4737, 7.3400, 0.5937, 2.7334, 16.0928, 10.4175]),
    0: (7.685617, 4.071919, [7.685617] * 8),
}


@pytest.mark.parametrize("tau", SCHOOLS)
def test_eight_schools_fixed_tau(tau):
    model = Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": float(tau)})
    with jax.enable_x64(True):
        _, m = conditional(model, load_dataset("eight_schools"), wanted=("Intercept", "theta_school"))
    mean, sd, thetas = SCHOOLS[tau]
    near(m["Intercept"][0], mean, 6)
    near(m["Intercept"][1] ** 0.5, sd, 6)
    near(m["theta_school"][0], thetas, 4)
    if tau == 20:
        near(
            m["theta_school"][1] ** 0.5,
            [12.3687, 9.0980, 12.9095, 9.8305, 8.3262, 9.8305, 9.0980, 13.8885],
            4,
        )
    if tau == 0:
        near(m["theta_school"][1] ** 0.5, 4.071919, 6)


def test_eight_schools_fixed_tau_normal_prior():
    model = Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": 20.0, "Intercept": "normal(0, 5)"})
    with jax.enable_x64(True):
        _, m = conditional(model, load_dataset("eight_schools"), wanted=("Intercept", "theta_school"))
    near(m["Intercept"][0], 2.2431, 4)
    np.testing.assert_allclose(m["Intercept"][1] ** 0.5, (8.326577**-2 + 5**-2) ** -0.5, rtol=1e-6)
    near(m["theta_school"][0], [18.7275, 6.8486, -0.9539, 5.8952, -0.4539, 1.2887, 14.8486, 7.6337], 4)


@pytest.mark.parametrize(
    ("prior", "mean", "square"),
    [("flat()", 6.57548, 75.1638), ("flat_variance()", 11.4309, 193.29), ("half_cauchy(5)", 3.63387, 23.849),
     ("half_normal(5)", 3.31006, 17.217), ("uniform(0, 20)", 6.00244, 56.137)],
)  # fmt: skip
def test_eight_schools_unknown_tau(prior, mean, square):
    """The log density on the unconstrained scale integrates to the published moments of tau."""
    model = Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": prior})
    with jax.enable_x64(True):
        problem = bind(model, load_dataset("eight_schools"))
        pair = factorise(problem.layout)
        stats = jax.jit(pair.prepare)(as_jax(problem.data))
        grid = jnp.linspace(-14, 14, 8001)[:, None]
        log = np.asarray(jax.jit(jax.vmap(lambda u: pair.log_density(u, stats)))(grid))
        tau = np.asarray(jax.vmap(lambda u: pair.constrain(u)["sd_school"])(grid))
    w = np.exp(log - log.max())
    w /= w.sum()
    np.testing.assert_allclose([w @ tau, w @ tau**2], [mean, square], rtol=2e-4)


class TestSeventyFiveIndividuals:
    """Section 7's fixed data set: OLS, the unpooled sigma, and the hierarchical posterior by quadrature over three
    scales.
    """

    def test_unpooled_means_are_least_squares(self):
        with jax.enable_x64(True):
            model = Model("y ~ 1 + x + (1 + x | id)", priors={"sigma": 2.0})
            _, m = conditional(model, load_dataset("individuals"), "none", ("theta_id", "theta_id_x"))
        near(m["theta_id"][0][:3], [0.29534, 3.36600, 2.53637], 5)
        near(m["theta_id_x"][0][:3], [-1.81256, -3.11313, -4.97953], 5)

    def test_unpooled_sigma(self):
        with jax.enable_x64(True):
            problem = bind(
                Model("y ~ 1 + x + (1 + x | id)", priors={"sigma": "uniform(0, 10)"}),
                load_dataset("individuals"),
                "none",
            )
            pair = factorise(problem.layout)
            stats = jax.jit(pair.prepare)(as_jax(problem.data))
            grid = jnp.linspace(-4, 1, 4001)[:, None]
            log = np.asarray(jax.jit(jax.vmap(lambda u: pair.log_density(u, stats)))(grid))
            sigma = np.asarray(jax.vmap(lambda u: pair.constrain(u)["sigma"])(grid))
        w = np.exp(log - log.max()) / np.exp(log - log.max()).sum()
        near([w @ sigma**2, w @ sigma], [3.959517, 1.987614], 5)

    def test_hierarchical(self):
        scale = "uniform(0, 10)"
        priors = {
            "Intercept": "normal(0, 3)",
            "x": "normal(0, 3)",
            "sd_id": scale,
            "sd_id_x": scale,
            "sigma": scale,
        }
        with jax.enable_x64(True):
            problem = bind(Model("y ~ 1 + x + (1 + x || id)", priors=priors), load_dataset("individuals"))
            pair = factorise(problem.layout)
            stats = jax.jit(pair.prepare)(as_jax(problem.data))
            axes = [np.linspace(0.45, 2.1, 22), np.linspace(0.002, 1.7, 28), np.linspace(1.62, 2.5, 20)]
            nodes = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], -1)

            def at(node):
                u = hyper.unconstrain(pair.parameters, {"sd_id": node[0], "sd_id_x": node[1], "sigma": node[2]})
                c = pair.components(u, stats, ("Intercept", "x", "theta_id", "theta_id_x"))
                return pair.log_likelihood(u, stats), {k: v.a for k, v in c.items()}

            log, means = jax.tree.map(
                np.asarray, jax.jit(lambda n: jax.lax.map(at, n, batch_size=512))(jnp.asarray(nodes))
            )
        w = np.exp(log - log.max())
        ends = np.ones(28)
        ends[[0, -1]] = 0.5  # trapezoid where the density does not vanish
        w = (w.reshape(22, 28, 20) * ends[:, None]).ravel()
        w /= w.sum()
        np.testing.assert_allclose(w @ nodes, [1.1710, 0.6537, 2.0178], atol=2e-3)
        mean = {k: w @ np.asarray(v) for k, v in means.items()}
        np.testing.assert_allclose([mean["Intercept"], mean["x"]], [2.01650, -2.00769], atol=1e-3)
        np.testing.assert_allclose(mean["theta_id"][:3], [0.95317, 2.64564, 3.01231], atol=2e-3)
        np.testing.assert_allclose(mean["theta_id_x"][:3], [-1.98956, -2.20722, -2.41073], atol=2e-3)


# random designs against dense algebra
# -----------------------------------------------------------------------------------


@dataclass
class Case:
    """A random design, the scales in use, and what the formula says."""

    formula: str
    levels: dict[str, tuple[str, ...]]
    effects: dict[str, tuple[str, ...]]
    pooling: dict[str, str] = field(default_factory=dict)
    population: tuple[str, ...] = ("Intercept",)
    priors: dict[str, str] = field(default_factory=dict)
    known: bool = False
    weights: bool = False
    correlated: tuple[str, ...] = ()


CASES = {
    "one level": Case("y ~ 1", {}, {}),
    "one level, weights": Case("y ~ 1 + x", {}, {}, population=("Intercept", "x"), weights=True),
    "two levels": Case("y ~ 1 + (1 | a)", {"a": ("a",)}, {"a": ("Intercept",)}),
    "two levels, no intercept": Case("y ~ 0 + x + (1 | a)", {"a": ("a",)}, {"a": ("Intercept",)}, population=("x",)),
    "known variances, group predictor": Case(
        "y ~ 1 + za + (1 | a)", {"a": ("a",)}, {"a": ("Intercept",)}, population=("Intercept", "za"), known=True,
        priors={"za": "normal(1, 2)"},
    ),
    "known, separate": Case("y ~ 1 + (1 | a)", {"a": ("a",)}, {"a": ("Intercept",)}, {"a": "none"}, known=True),
    "three levels, predictors": Case(
        "y ~ 1 + x + za + (1 | a/b)", {"a": ("a",), "a:b": ("a", "b")}, {"a": ("Intercept",), "a:b": ("Intercept",)},
        population=("Intercept", "x", "za"), priors={"Intercept": "normal(2, 3)", "x": "flat()"},
    ),
    "three levels, coarse separate": Case(
        "y ~ 1 + x + (1 | a/b)", {"a": ("a",), "a:b": ("a", "b")}, {"a": ("Intercept",), "a:b": ("Intercept",)},
        {"a": "none"}, population=("Intercept", "x"),
    ),
    "three levels, both separate": Case(
        "y ~ 1 + x + (1 | a/b)", {"a": ("a",), "a:b": ("a", "b")}, {"a": ("Intercept",), "a:b": ("Intercept",)},
        {"a": "none", "a:b": "none"}, population=("Intercept", "x"),
    ),
    "three levels, mixed": Case(
        "y ~ 1 + (1 | a/b)", {"a": ("a",), "a:b": ("a", "b")}, {"a": ("Intercept",), "a:b": ("Intercept",)},
        {"a": "complete", "a:b": "none"},
    ),
    "three levels, fine complete": Case(
        "y ~ 1 + (1 | a/b)", {"a": ("a",), "a:b": ("a", "b")}, {"a": ("Intercept",), "a:b": ("Intercept",)},
        {"a:b": "complete"},
    ),
    "four levels, weights": Case(
        "y ~ 1 + (1 | a/b/c)", {"a": ("a",), "a:b": ("a", "b"), "a:b:c": ("a", "b", "c")},
        {"a": ("Intercept",), "a:b": ("Intercept",), "a:b:c": ("Intercept",)}, weights=True,
    ),
    "slopes, independent": Case(
        "y ~ 1 + x + (1 + x || a)", {"a": ("a",)}, {"a": ("Intercept", "x")}, population=("Intercept", "x"),
        priors={"x": "normal(0, 1)"},
    ),
    "slopes, correlated, two levels": Case(
        "y ~ 1 + x + (1 + x | a) + (1 | a:b)", {"a": ("a",), "a:b": ("a", "b")},
        {"a": ("Intercept", "x"), "a:b": ("Intercept",)}, population=("Intercept", "x"), correlated=("a",),
    ),
    "slopes at the fine level only": Case(
        "y ~ 1 + x + (1 | a) + (0 + x | a:b)", {"a": ("a",), "a:b": ("a", "b")}, {"a": ("Intercept",), "a:b": ("x",)},
        population=("Intercept", "x"),
    ),
    "slope without a population coefficient": Case(
        "y ~ 1 + (1 + x | a)", {"a": ("a",)}, {"a": ("Intercept", "x")}, correlated=("a",), known=True,
    ),
    "slopes, separate": Case(
        "y ~ 1 + x + (1 + x | a)", {"a": ("a",)}, {"a": ("Intercept", "x")}, {"a": "none"}, population=("Intercept", "x"),
    ),
    "coefficient kept in phi": Case(
        "y ~ 1 + x + (1 | a)", {"a": ("a",)}, {"a": ("Intercept",)}, population=("Intercept", "x"),
        priors={"Intercept": "student_t(4, 1, 2)"},
    ),
}  # fmt: skip


def random_frame(seed=0, groups=4, deep=False):
    """Unbalanced: 1 to 4 children a group, 2 to 5 rows a leaf; scrambled rows."""
    rng = np.random.default_rng(seed)
    rows = []
    for a in range(groups):
        za = rng.normal()
        for b in range(rng.integers(1, 5)):
            for c in range(rng.integers(1, 4) if deep else 1):
                rows += [(f"a{a}", f"b{b}", f"c{c}", za) for _ in range(rng.integers(2, 6))]
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "za"])
    n = len(frame)
    frame["x"] = rng.normal(size=n)
    frame["se"] = rng.uniform(0.5, 2, n)
    frame["w"] = rng.uniform(0.5, 3, n)
    frame["y"] = 3 + frame["za"] + rng.normal(size=n) * 2 + rng.normal(size=groups)[frame["a"].str[1:].astype(int)]
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


SCALES = {"a": 1.3, "a:b": 0.8, "a:b:c": 0.6}
SLOPE, SIGMA, CORRELATION = 0.7, 1.6, -0.4


def bound(case, frame):
    kw = {"known_se": "se"} if case.known else {"weights": "w"} if case.weights else {}
    priors = dict(case.priors)
    for g, effects in case.effects.items():
        for e in effects:
            priors["sd_" + g + ("" if e == "Intercept" else f"_{e}")] = "half_normal(3)"
    return bind(Model(case.formula, priors=priors, **kw), frame, case.pooling or "partial")


def phi_of(case, layout):
    values = {"sigma": SIGMA, "Intercept": 1.7}
    for g, scale in SCALES.items():
        values |= {f"sd_{g}": scale, f"sd_{g}_x": SLOPE}
        values[f"cor_{g}"] = np.linalg.cholesky([[1, CORRELATION], [CORRELATION, 1]])
    kept = factorise(layout).parameters
    return {p.name: jnp.asarray(values[p.name]) for p in kept}


class Dense:
    """The same model as one big regression: design matrix, prior means and precisions, rows' covariance."""

    def __init__(self, case, frame, phi):
        self.case, self.frame = case, frame
        y = frame["y"].to_numpy()
        column = {"Intercept": np.ones(len(y)), "x": frame["x"].to_numpy(), "za": frame["za"].to_numpy()}
        variance = frame["se"].to_numpy() ** 2 if case.known else np.full(len(y), SIGMA**2)
        variance = variance / frame["w"].to_numpy() if case.weights else variance
        words = {g: case.pooling.get(g, "partial") for g in case.levels}
        parts, names, means, covs = [], [], [], []

        def add(name, block, mean, cov):
            parts.append(block)
            names.extend(name)
            means.append(np.broadcast_to(mean, (block.shape[1],)))
            covs.append(cov)

        offset = np.zeros(len(y))
        self.constant = {}
        covered = {e for g in case.levels if words[g] == "none" for e in case.effects[g]}
        for c in case.population:
            text = case.priors.get(c, "flat()")
            if c in covered:
                continue
            if c in phi:
                offset = offset + float(phi[c]) * column[c]
                self.constant[c] = float(phi[c])
            elif text.startswith("normal"):
                m, s = (float(v) for v in text[7:-1].split(","))
                add([("pop", c)], column[c][:, None], m, np.array([[s**2]]))
            else:
                add([("pop", c)], column[c][:, None], 0.0, None)
        self.codes, self.labels = {}, {}
        for g, factors in case.levels.items():
            joined = frame[list(factors)].agg(":".join, axis=1)
            self.codes[g], self.labels[g] = pd.factorize(joined)
            indicator = np.eye(len(self.labels[g]))[self.codes[g]]
            effects = case.effects[g]
            finer_none = any(words[h] == "none" for h in case.levels if len(case.levels[h]) > len(factors))
            if words[g] == "complete" or (words[g] == "none" and finer_none):
                continue
            for j in range(len(self.labels[g])):
                block = np.column_stack([indicator[:, j] * column[e] for e in effects])
                sds = np.array([SCALES[g] if e == "Intercept" else SLOPE for e in effects])
                r = np.eye(len(effects))
                if g in case.correlated:
                    r[0, 1] = r[1, 0] = CORRELATION
                cov = None if words[g] == "none" else r * np.outer(sds, sds)
                add([(g, e, j) for e in effects], block, 0.0, cov)
        self.names, self.words, self.y, self.variance = names, words, y - offset, variance
        self.design = np.column_stack(parts) if parts else np.zeros((len(y), 0))
        self.mean = np.concatenate(means) if means else np.zeros(0)
        flat = [np.full(p.shape[1], c is None) for p, c in zip(parts, covs, strict=True)]
        self.flat = np.concatenate(flat)
        self.covs = [np.zeros((p.shape[1],) * 2) if c is None else c for p, c in zip(parts, covs, strict=True)]

    def log_ml(self):
        """scipy's multivariate normal of y with everything proper integrated out, times the flat directions'
        integral.
        """
        from scipy.linalg import block_diag

        cov = np.diag(self.variance) + self.design @ block_diag(*self.covs) @ self.design.T
        centre, f = self.design[:, ~self.flat] @ self.mean[~self.flat], self.design[:, self.flat]
        inverse = np.linalg.inv(cov)
        information = f.T @ inverse @ f
        best = centre + f @ np.linalg.solve(information, f.T @ inverse @ (self.y - centre)) if f.size else centre
        extra = 0.5 * f.shape[1] * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(information)[1]
        return multivariate_normal(best, cov).logpdf(self.y) + extra

    def posterior(self):
        from scipy.linalg import block_diag

        precision = block_diag(*[np.zeros_like(c) if not c.any() else np.linalg.inv(c) for c in self.covs])
        weighted = self.design.T / self.variance
        cov = np.linalg.inv(precision + weighted @ self.design)
        return cov @ (weighted @ self.y + precision @ self.mean), cov

    def functional(self, g, e, j):
        """theta_g_e[j] as weights on the regression's coefficients, and a constant."""
        t = np.zeros(len(self.names))
        finer = [h for h in self.case.levels if len(self.case.levels[h]) > len(self.case.levels[g])]
        unpooled = [h for h in finer if self.words[h] == "none"]
        if unpooled:
            below = finer[0]
            children = sorted({c for c, up in zip(self.codes[below], self.codes[g], strict=True) if up == j})
            parts = [self.functional(below, e, c) for c in children]
            return sum(p[0] for p in parts) / len(children), sum(p[1] for p in parts) / len(children)
        row = int(np.argmax(self.codes[g] == j))
        for n, name in enumerate(self.names):
            if name == ("pop", e):
                t[n] = 1
            elif name[0] != "pop" and name[1] == e and self.codes[name[0]][row] == name[2]:
                t[n] = 1 if len(self.case.levels[name[0]]) <= len(self.case.levels[g]) else 0
        return t, self.constant.get(e, 0.0)


def thetas(case):
    return [(g, e, "theta_" + g + ("" if e == "Intercept" else f"_{e}")) for g in case.levels for e in case.effects[g]]


@pytest.mark.slow_cases("slopes, correlated, two levels")
@pytest.mark.parametrize("name", CASES)
def test_against_dense_conditioning(name):
    case = CASES[name]
    frame = random_frame(len(name), deep="a:b:c" in case.levels)
    with jax.enable_x64(True):
        problem = bound(case, frame)
        pair = factorise(problem.layout)
        stats = jax.jit(pair.prepare)(as_jax(problem.data))
        phi = phi_of(case, problem.layout)
        u = hyper.unconstrain(pair.parameters, phi)
        dense = Dense(case, frame, phi)
        mean, cov = dense.posterior()
        wanted = [t[2] for t in thetas(case)] + [f"mean({t[2]})" for t in thetas(case)]
        wanted += [c for c in case.population if problem.layout.parameter(c) is not None]
        assert set(wanted) <= pair.available()
        both = jax.jit(lambda u, s: (pair.log_likelihood(u, s), pair.components(u, s, tuple(wanted))))
        log_ml, found = both(u, stats)
        assert float(log_ml) == pytest.approx(dense.log_ml(), rel=1e-10, abs=1e-8)
        for g, e, variable in thetas(case):
            where = problem.positions[g][[problem.labels[g].index(v) for v in dense.labels[g]]]
            rows = [dense.functional(g, e, j) for j in range(len(where))]
            t, constant = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
            np.testing.assert_allclose(found[variable].a[where], t @ mean + constant, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(
                found[variable].b[where], np.einsum("jk,kl,jl->j", t, cov, t), rtol=1e-8, atol=1e-10
            )
            average = found[f"mean({variable})"]
            np.testing.assert_allclose(average.a, (t @ mean + constant).mean(), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(average.b, t.mean(0) @ cov @ t.mean(0), rtol=1e-8, atol=1e-10)
        for c in case.population:
            if ("pop", c) in dense.names:
                n = dense.names.index(("pop", c))
                np.testing.assert_allclose([found[c].a, found[c].b], [mean[n], cov[n, n]], rtol=1e-8)
            elif c in found:
                assert found[c].kind == "point" and float(found[c].a) == pytest.approx(dense.constant[c])


@pytest.mark.parametrize(
    "name",
    [
        "three levels, both separate",
        "three levels, predictors",
        "slopes, correlated, two levels",
        "coefficient kept in phi",
    ],
)
def test_draws_have_the_dense_moments(name):
    case, count = CASES[name], 20_000
    frame = random_frame(len(name))
    with jax.enable_x64(True):
        problem = bound(case, frame)
        pair = factorise(problem.layout)
        stats = jax.jit(pair.prepare)(as_jax(problem.data))
        phi = phi_of(case, problem.layout)
        u = hyper.unconstrain(pair.parameters, phi)
        draws = jax.jit(jax.vmap(lambda k: pair.draw(k, u, stats)))(jax.random.split(jax.random.key(1), count))
    dense = Dense(case, frame, phi)
    mean, cov = dense.posterior()
    columns, rows, constants = [], [], []
    for g, e, variable in thetas(case):
        where = problem.positions[g][[problem.labels[g].index(v) for v in dense.labels[g]]]
        columns.append(np.asarray(draws[variable])[:, where])
        found = [dense.functional(g, e, j) for j in range(len(where))]
        rows += [f[0] for f in found]
        constants += [f[1] for f in found]
    for c in case.population:
        if ("pop", c) in dense.names:
            columns.append(np.asarray(draws[c])[:, None])
            rows.append(np.eye(len(dense.names))[dense.names.index(("pop", c))])
            constants.append(0.0)
    x, t = np.column_stack(columns), np.array(rows)
    expected, spread = t @ mean + np.array(constants), t @ cov @ t.T
    sd = np.sqrt(np.diag(spread))
    assert np.max(np.abs(x.mean(0) - expected) / sd) < 5 / np.sqrt(count)
    assert np.max(np.abs(np.cov(x.T) - spread) / np.outer(sd, sd)) < 5 * np.sqrt(2 / count)


# symmetries
# -------------------------------------------------------------------------------------------------------------


def summary(problem):
    """log likelihood at the test's scales, and moments of the finest values by label."""
    pair = factorise(problem.layout)
    stats = jax.jit(pair.prepare)(as_jax(problem.data))
    u = hyper.unconstrain(pair.parameters, phi_of(CASES["three levels, predictors"], problem.layout))
    wanted = ("theta_a:b", "theta_a", "mean(theta_a)", "x")
    value, c = jax.jit(lambda u, s: (pair.log_likelihood(u, s), pair.components(u, s, wanted)))(u, stats)
    by_label = {
        g: dict(zip(problem.labels[g], np.asarray(c[f"theta_{g}"].a)[problem.positions[g]], strict=True))
        for g in ("a", "a:b")
    }
    return float(value), by_label, float(c["mean(theta_a)"].b), float(c["x"].a)


def assert_same(one, two, rename=lambda label: label):
    assert one[0] == pytest.approx(two[0], rel=1e-12)
    assert one[2:] == pytest.approx(two[2:], rel=1e-10)
    for g in one[1]:
        assert {rename(k): v for k, v in one[1][g].items()} == pytest.approx(two[1][g], rel=1e-10)


@pytest.mark.slow
def test_padding_relabelling_and_row_order_change_nothing(monkeypatch):
    case, frame = CASES["three levels, predictors"], random_frame(5)
    with jax.enable_x64(True):
        reference = summary(bound(case, frame))
        assert_same(reference, summary(bound(case, frame.sample(frac=1, random_state=2))))
        other = frame.assign(a=frame["a"].str.replace("a", "z"), b=frame["b"].map(lambda b: f"k{9 - int(b[1:])}"))

        def rename(label):
            parts = label.replace("a", "z").split(":")
            return ":".join([parts[0]] + [f"k{9 - int(p[1:])}" for p in parts[1:]])

        assert_same(reference, summary(bound(case, other)), rename)
        monkeypatch.setattr(data_module, "_up_to_power_of_two", lambda n: 2 * n + 1)
        wide = bound(case, frame)
        assert wide.layout.levels[1].size > 2 * len(wide.labels["a:b"])
        assert_same(reference, summary(wide))


@pytest.mark.slow
def test_ragged_storage_equals_the_rectangle(monkeypatch):
    rng = np.random.default_rng(4)
    sizes = np.where(np.arange(30) == 7, 45, 1)
    owner = np.repeat(np.arange(30), sizes)
    classes = np.concatenate([np.arange(s) for s in sizes])
    frame = pd.DataFrame({"a": owner, "b": classes, "x": rng.normal(size=owner.size), "za": rng.normal(size=30)[owner]})
    frame = pd.concat([frame, frame]).assign(y=lambda d: rng.normal(size=len(d)) + d["za"]).astype({"a": str, "b": str})
    with jax.enable_x64(True):
        ragged = bound(CASES["three levels, predictors"], frame)
        monkeypatch.setattr(data_module, "_RAGGED", 10**9)
        rectangle = bound(CASES["three levels, predictors"], frame)
        assert ragged.layout.levels[1].width is None and rectangle.layout.levels[1].width is not None
        assert_same(summary(rectangle), summary(ragged))
        for problem in (ragged, rectangle):  # and the way down runs on both
            pair = factorise(problem.layout)
            stats = jax.jit(pair.prepare)(as_jax(problem.data))
            drawn = jax.jit(lambda s, pair=pair: pair.draw(jax.random.key(0), pair.start(s), s))(stats)
            assert np.isfinite(np.asarray(drawn["theta_a:b"])[problem.positions["a:b"]]).all()


def test_location_and_scale():
    """Adding 10 to y and doubling it moves every mean alike."""
    case, frame = CASES["two levels"], random_frame(9)
    moved = frame.assign(y=2 * frame["y"] + 10)
    with jax.enable_x64(True):
        found = []
        for table, factor in ((frame, 1.0), (moved, 2.0)):
            model = Model("y ~ 1 + (1 | a)", priors={"sd_a": factor, "sigma": 1.5 * factor})
            found.append(conditional(model, table, wanted=("theta_a", "Intercept")))
    assert case.formula == "y ~ 1 + (1 | a)"
    np.testing.assert_allclose(found[1][1]["theta_a"][0], 2 * found[0][1]["theta_a"][0] + 10, rtol=1e-10)
    np.testing.assert_allclose(found[1][1]["theta_a"][1], 4 * found[0][1]["theta_a"][1], rtol=1e-10)


@pytest.mark.slow
def test_start_is_inside_the_support_and_finite():
    frame = random_frame(6)
    with jax.enable_x64(True):
        for name in ("three levels, predictors", "slopes, correlated, two levels", "coefficient kept in phi"):
            problem = bound(CASES[name], frame)
            pair = factorise(problem.layout)
            stats = jax.jit(pair.prepare)(as_jax(problem.data))
            value, gradient = jax.jit(lambda s, pair=pair: jax.value_and_grad(pair.log_density)(pair.start(s), s))(
                stats
            )
            assert np.isfinite(float(value)) and np.isfinite(np.asarray(gradient)).all()
