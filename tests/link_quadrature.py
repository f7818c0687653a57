"""An own quadrature of models with one grouping of intercepts under outcomes that are not normal: plain sums over
plain grids, NumPy alone.
"""

from __future__ import annotations

import numpy as np
from scipy import special, stats
from scipy.interpolate import CubicSpline

Z = np.linspace(-7.5, 7.5, 361)


def log_rows(family, y, size, eta, shape=None):
    """Log density of counts at linear predictors; broadcasts."""
    if family in ("binomial_logit", "bernoulli_logit"):
        constant = special.gammaln(size + 1) - special.gammaln(y + 1) - special.gammaln(size - y + 1)
        return constant + y * eta - size * np.logaddexp(0.0, eta)
    if family == "poisson_log":
        return y * (np.log(size) + eta) - size * np.exp(eta) - special.gammaln(y + 1)
    return stats.nbinom.logpmf(y, shape, shape / (shape + size * np.exp(eta)))


def log_groups(family, y, size, base, group, sd, shape=None, z=Z):
    """Log of the integrand of each group at deviations sd z, (group, z), the law of z included."""
    rows = log_rows(family, y[:, None], size[:, None], base[:, None] + sd * z, shape)
    found = np.zeros((group.max() + 1, len(z)))
    np.add.at(found, group, rows)
    return found + stats.norm.logpdf(z)


def log_likelihood(family, y, size, base, group, sd, shape=None):
    """Log density of all rows with their groups integrated out."""
    z = np.linspace(-13.0, 13.0, 20_001)
    return float(
        np.sum(special.logsumexp(log_groups(family, y, size, base, group, sd, shape, z), axis=1) + np.log(z[1] - z[0]))
    )


class Posterior:
    """Posterior of an intercept and a group sd on a grid, under normal and half-normal priors; each group one row of
    counts.

    Sums of an even function of the sd over equal steps from zero, half weight at zero, converge as those over a whole
    line.
    """

    def __init__(self, family, y, size, prior=(2.0, 1.0), span=(-10.0, 10.0), widest=5.5, points=(161, 56)):
        self.b, self.s = np.linspace(*span, points[0]), np.linspace(0.0, widest, points[1])
        log_weight = stats.norm.logpdf(self.b, 0, prior[0])[:, None] + stats.norm.logpdf(self.s, 0, prior[1])
        eta = self.b[:, None, None] + self.s[:, None] * Z  # (b, s, z)
        law = stats.norm.pdf(Z)
        self.terms = []
        for a, n in zip(y, size, strict=True):
            rows = log_rows(family, a, n, eta)
            top = rows.max(-1, keepdims=True)
            terms = np.exp(rows - top) * law
            total = terms.sum(-1)
            self.terms.append(terms / total[..., None])
            log_weight = log_weight + np.log(total) + top[..., 0]
        weight = np.exp(log_weight - log_weight.max())
        weight[:, 0] *= 0.5
        self.weight = weight / weight.sum()

    def moments(self, values):
        """Mean and sd of a function of (b, s), (b, s)."""
        mean = float(np.sum(self.weight * values))
        return mean, float(np.sqrt(np.sum(self.weight * (values - mean) ** 2)))

    def intercept(self):
        return self.moments(np.broadcast_to(self.b[:, None], self.weight.shape))

    def sd(self):
        return self.moments(np.broadcast_to(self.s, self.weight.shape))

    def theta(self, j):
        one, two = self.terms[j] @ Z, self.terms[j] @ Z**2
        b = self.b[:, None]
        mean = float(np.sum(self.weight * (b + self.s * one)))
        square = float(np.sum(self.weight * (b**2 + 2 * b * self.s * one + self.s**2 * two)))
        return mean, float(np.sqrt(square - mean**2))

    def below(self, j, value):
        """Probability that group j's value lies below a number."""
        here = self.terms[j]
        cumulated = np.cumsum(here, -1) - 0.5 * here - np.gradient(here, axis=-1) / 12  # Euler and Maclaurin
        with np.errstate(divide="ignore"):
            at = np.clip((value - self.b)[:, None] / self.s, Z[0], Z[-1] - 1e-9)
        place = (at - Z[0]) / (Z[1] - Z[0])
        i = place.astype(int)
        f0, f1, d0, d1 = (
            np.take_along_axis(x, (i + k)[..., None], -1)[..., 0] for x in (cumulated, here) for k in (0, 1)
        )
        s = place - i
        found = f0 + s * (d0 + s * (3 * (f1 - f0) - 2 * d0 - d1 + s * (d0 + d1 - 2 * (f1 - f0))))
        found[:, 0] = np.clip(
            (value - self.b) / (self.b[1] - self.b[0]) + 0.5, 0.0, 1.0
        )  # of a group that is its population
        return float(np.sum(self.weight * found))

    def below_sd(self, value):
        """Probability that the sd lies below a number."""
        density = self.weight.sum(0)
        density[0] *= 2
        return float(CubicSpline(self.s, density / (self.s[1] - self.s[0])).antiderivative()(value))

    def below_intercept(self, value):
        density = self.weight.sum(1) / (self.b[1] - self.b[0])
        return float(CubicSpline(self.b, density).antiderivative()(value))
