"""Routes to one posterior for tests: compiled samplers of a problem, and references that share nothing with the
library.

The references are dense NumPy and SciPy: `normal_quadrature` lays Gauss-Legendre nodes over all scales of a normal
hierarchy and conditions the whole covariance matrix at each, `count_quadrature` integrates a beta-binomial or
gamma-Poisson population over its two hyperparameters, `importance` samples any log density with a multivariate t.
"""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from hiermodels.inference.samplers import Settings, estimator
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.data import as_jax


class Route:
    """One sampler of one layout, compiled once, run on any outcome."""

    def __init__(self, problem, names, **settings):
        self.problem, self.names = problem, names
        levels = problem.layout.levels
        self.level = {n: next((v for v in levels if n in problem.layout.effect_names(v)), None) for n in names}
        self.size = sum(v.size if v else 1 for v in self.level.values())
        targets = tuple(Target(n) for n in names)
        self.run = jax.jit(estimator(problem.layout, Settings(**settings), targets, Interval()))

    def __call__(self, y, seed=0):
        """Estimates by variable, real groups in label order: ``estimate se lower median upper ess_bulk ess_tail
        status``.
        """
        with jax.enable_x64(True):
            data = as_jax(self.problem.with_outcome(np.asarray(y, float)))
            found = self.run(jax.random.key(seed), data, jnp.full(self.size, jnp.nan))
        out, start = {}, 0
        for name in self.names:
            level = self.level[name]
            take = start + (self.problem.positions[level.name] if level else np.zeros(1, int))
            start += level.size if level else 1
            fields = ("estimate", "se", "lower", "median", "upper", "ess_bulk", "ess_tail", "status")
            out[name] = {k: np.asarray(getattr(found, k))[take] for k in fields}
        return out


def half_line(count, scale):
    """Nodes and log weights on (0, infinity): x / (1 - x) times a scale, Gauss-Legendre in x."""
    x, w = np.polynomial.legendre.leggauss(count)
    x, w = 0.5 * (x + 1), 0.5 * w
    return scale * x / (1 - x), np.log(w) + math.log(scale) - 2 * np.log1p(-x)


def interval(low, high, count):
    x, w = np.polynomial.legendre.leggauss(count)
    return low + (high - low) * 0.5 * (x + 1), np.log(0.5 * w * (high - low))


def normal_quadrature(frame, y, scales, terms, *, population=("Intercept",), se=None, normal=(), count=32):
    """Posterior means and sds of a normal hierarchy by brute force.

    Parameters
    ----------
    frame : DataFrame
    y : ndarray, shape (row,)
    scales : dict
        Parameter to (log prior density, typical size); a correlation is keyed ``cor_...`` with size None.
    terms : list of (label, factors, columns)
        A grouping: names of sds are ``sd_<label>`` and ``sd_<label>_<column>``, correlated iff ``cor_<label>`` is in
        ``scales``.
    population : tuple of str
        Columns with a population coefficient; flat unless in ``normal``, a dict of column to (mean, sd).
    count : int or dict
        Nodes an axis, or by parameter.
    se : str, optional
        Column of known standard errors; else ``sigma`` is in ``scales``.

    Returns
    -------
    dict of str to (mean, sd)
        Scalars of every parameter; for group values an array of means and None.
    """
    column = {"Intercept": np.ones(len(y))} | {
        c: frame[c].to_numpy(float) for _, _, cs in terms for c in cs if c != "Intercept"
    }
    column |= {c: frame[c].to_numpy(float) for c in population if c != "Intercept"}
    normal = dict(normal)
    x = np.column_stack([column[c] for c in population])
    counts = count if isinstance(count, dict) else dict.fromkeys(scales, count)
    axes = [
        interval(-1, 1, counts[n]) if size is None else half_line(counts[n], size) for n, (_, size) in scales.items()
    ]
    nodes = np.array(list(itertools.product(*(a[0] for a in axes))))
    log_w = np.array([sum(w) for w in itertools.product(*(a[1] for a in axes))])
    names = list(scales)
    log_w = log_w + sum(prior(nodes[:, i]) for i, (prior, _) in enumerate(scales.values()))
    shift = np.zeros(len(y)) + sum(normal[c][0] * column[c] for c in population if c in normal)
    flat = [i for i, c in enumerate(population) if c not in normal]
    codes = {label: frame[list(factors)].astype(str).agg(":".join, axis=1).to_numpy() for label, factors, _ in terms}
    labels = {label: list(dict.fromkeys(c)) for label, c in codes.items()}
    log_p = np.empty(len(nodes))
    wanted = sum(len(labels[label]) * len(columns) for label, _, columns in terms) + len(population)
    means, squares = np.empty((len(nodes), wanted)), np.empty((len(nodes), len(population)))
    block = max(1, 4_000_000 // len(y) ** 2)
    for start in range(0, len(nodes), block):
        part = nodes[start : start + block]
        phi = {n: part[:, i] for i, n in enumerate(names)}
        cov = np.zeros((len(part), len(y), len(y)))
        cov += np.diag(frame[se].to_numpy() ** 2) if se else phi["sigma"][:, None, None] ** 2 * np.eye(len(y))
        for c in population:
            if c in normal:
                cov += normal[c][1] ** 2 * np.outer(column[c], column[c])
        crosses = []  # (node, target, row): covariance of each group's deviation with the rows
        own = {}
        for label, _, columns in terms:
            same = (codes[label][:, None] == codes[label][None]).astype(float)
            sds = {c: phi["sd_" + label + ("" if c == "Intercept" else f"_{c}")] for c in columns}
            rho = phi.get(f"cor_{label}")
            for a, b in itertools.product(columns, columns):
                if a != b and rho is None:
                    continue
                weight = sds[a] * sds[b] * (1.0 if a == b else rho)
                cov += weight[:, None, None] * same * np.outer(column[a], column[b])
            member = np.array([[code == g for code in codes[label]] for g in labels[label]], float)
            for a in columns:
                cross = 0
                for b in columns:
                    if a == b or rho is not None:
                        weight = sds[a] * sds[b] * (1.0 if a == b else rho)
                        cross = cross + weight[:, None, None] * member * column[b]
                own[label, a] = cross
            crosses += [own[label, a] for a in columns]
        factor = np.linalg.cholesky(cov)
        white = np.linalg.solve(
            factor, np.broadcast_to(np.column_stack([x[:, flat], y - shift]), (len(part), len(y), len(flat) + 1))
        )
        a, b = white[..., :-1], white[..., -1]
        information = np.einsum("bni,bnj->bij", a, a)
        beta = (
            np.linalg.solve(information, np.einsum("bni,bn->bi", a, b)[..., None])[..., 0]
            if flat
            else np.zeros((len(part), 0))
        )
        rest = b - np.einsum("bni,bi->bn", a, beta)
        log_p[start : start + block] = (
            -np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
            - 0.5 * np.linalg.slogdet(information)[1]
            - 0.5 * (rest**2).sum(1)
        )
        residual = np.linalg.solve(factor.transpose(0, 2, 1), rest[..., None])[..., 0]
        whole, spread = np.zeros((len(part), len(population))), np.zeros((len(part), len(population)))
        inverse = np.linalg.inv(information) if flat else information
        for n, i in enumerate(flat):
            whole[:, i], spread[:, i] = beta[:, n], inverse[:, n, n]
        for i, c in enumerate(population):
            if c in normal:
                m, s = normal[c]
                whole[:, i] = m + s**2 * residual @ column[c]
                q = s**2 * np.linalg.solve(factor, np.broadcast_to(column[c][:, None], (len(part), len(y), 1)))[..., 0]
                spread[:, i] = s**2 - (q**2).sum(1)
                if flat:
                    g = np.einsum("bni,bn->bi", a, q)
                    spread[:, i] += np.einsum("bi,bij,bj->b", g, inverse, g)
        squares[start : start + block] = spread
        means[start : start + block] = np.concatenate(
            [whole] + [np.einsum("bgn,bn->bg", c, residual) for c in crosses], 1
        )
    log_p = log_p + log_w
    weight = np.exp(log_p - log_p.max())
    weight /= weight.sum()
    found = {}
    for i, n in enumerate(names):
        mean = weight @ nodes[:, i]
        found[n] = (mean, math.sqrt(weight @ (nodes[:, i] - mean) ** 2))
    average = weight @ means
    for i, c in enumerate(population):
        found[c] = (average[i], math.sqrt(weight @ (squares[:, i] + (means[:, i] - average[i]) ** 2)))
    place, total = len(population), {}
    for label, factors, columns in terms:
        for c in columns:
            deviation = dict(zip(labels[label], average[place : place + len(labels[label])], strict=True))
            place += len(labels[label])
            total[label, c] = deviation
            parents = [(p, f) for p, f, cs in terms if set(f) < set(factors) and c in cs]
            values = []
            for g in labels[label]:
                row = int(np.argmax(codes[label] == g))
                above = sum(total[p, c][codes[p][row]] for p, _ in parents)
                values.append(deviation[g] + above + (found[c][0] if c in population else 0.0))
            found["theta_" + label + ("" if c == "Intercept" else f"_{c}")] = (np.array(values), None)
    return found


def count_quadrature(y, size, family, log_prior, scale, count=240):
    """Means and sds of a population's mean and concentration, and of every group's rate; log prior of (mean,
    concentration).
    """
    y, size = np.asarray(y, float), np.asarray(size, float)
    m, log_wm = interval(0, 1, count) if family == "binomial" else half_line(count, scale[0])
    c, log_wc = half_line(count, scale[1])
    mm, cc = (g.ravel() for g in np.meshgrid(m, c, indexing="ij"))
    log_p = (log_wm[:, None] + log_wc[None]).ravel() + log_prior(mm, cc)
    theta, square = np.empty((len(y), len(mm))), np.empty((len(y), len(mm)))
    for j in range(len(y)):
        if family == "binomial":
            a, b = cc * mm + y[j], cc * (1 - mm) + size[j] - y[j]
            log_p += special.betaln(a, b) - special.betaln(cc * mm, cc * (1 - mm))
            theta[j], square[j] = a / (a + b), a * (a + 1) / ((a + b) * (a + b + 1))
        else:
            a, b = cc + y[j], cc / mm + size[j]
            log_p += special.gammaln(a) - special.gammaln(cc) + cc * np.log(cc / mm / b) - y[j] * np.log(b)
            theta[j], square[j] = a / b, a * (a + 1) / b**2
    w = np.exp(log_p - log_p.max())
    w /= w.sum()

    def moments(x, x2):
        mean = w @ x
        return mean, math.sqrt(max(w @ x2 - mean**2, 0.0))

    each = [moments(t, s) for t, s in zip(theta, square, strict=True)]
    return {
        "mean": moments(mm, mm**2),
        "concentration": moments(cc, cc**2),
        "theta": tuple(np.array(v) for v in zip(*each, strict=True)),
    }


def importance(log_density, start, scale, draws=100_000, rounds=10, seed=0, df=5):
    """Draws and normalised weights of a multivariate t adapted to the target; ``log_density`` is (n, dim) -> (n,)."""
    rng = np.random.default_rng(seed)
    dim = len(start)
    centre, factor = np.array(start, float), np.diag(scale)
    for step in range(rounds):
        last = step == rounds - 1
        n = draws if last else draws // 4
        z = rng.standard_normal((n, dim)) / np.sqrt(rng.chisquare(df, (n, 1)) / df)
        x = centre + z @ factor.T
        log_w = log_density(x) + (df + dim) / 2 * np.log1p((z**2).sum(1) / df)
        log_w = np.where(np.isfinite(log_w), log_w, -np.inf)
        if last:
            w = np.exp(log_w - log_w.max())
            return x, w / w.sum()
        soft = np.exp(np.minimum(log_w, np.quantile(log_w, 0.995)) - log_w.max())
        soft /= soft.sum()
        centre = soft @ x
        factor = np.linalg.cholesky((x - centre).T @ (soft[:, None] * (x - centre)) + 1e-9 * np.eye(dim)) * 1.1
