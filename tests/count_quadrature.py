"""Posteriors of one grouping of counts by quadrature of their own: NumPy and SciPy's distribution functions, nothing of
the library.

    y_j ~ Binomial(n_j, theta_j), theta_j ~ Beta(kappa m, kappa (1 - m)), m uniform
    y_j ~ Poisson(x_j theta_j), theta_j ~ Gamma(a, a / m), m with density 1 / m

and 1 / sqrt(kappa), 1 / sqrt(a) half normal with scale 2. The plane of logit m (log m) and r = log(1 + s / .03), s = 1
/ sqrt(kappa), is cut into equal steps, the first one stretched by a sinh: both marginal densities are smooth there.
"""

import numpy as np
from scipy import interpolate, special


def rising(a, count):
    """log Gamma(a + count) - log Gamma(a)."""
    with np.errstate(all="ignore"):
        value = special.gammaln(a + count) - special.gammaln(a)
        limit = count * np.log(a) + count * (count - 1) / (2 * a)
    return np.where(a > 1e6, limit, value)


class CountPosterior:
    """Nodes ``m`` and ``kappa`` (the shape, for Poisson counts) with weights ``w``."""

    def __init__(self, family, y, size, across=140, along=90):
        self.binomial, self.y, self.size = family == "binomial", np.asarray(y, float), np.asarray(size, float)
        rest = (self.size - self.y).sum() + 0.5 if self.binomial else self.size.sum()
        middle, last = np.log((self.y.sum() + 0.5) / rest), np.log1p(14 / 0.03)
        r = np.linspace(0, last, along + 1)[1:] - 0.5 * last / along
        s, slope = 0.03 * np.expm1(r), np.log(0.03) + r
        low, high = -9.0, 9.0
        for count, drop in ((300, 36), (300, 30), (across, 26)):
            t = np.linspace(low, high, count)
            u = middle + 0.15 * np.sinh(t)
            log_p = self._log_density(u[:, None], s) + np.log(np.cosh(t))[:, None] + slope
            log_p -= log_p.max()
            seen = np.flatnonzero(log_p.max(1) > -drop)
            low, high = t[max(seen[0] - 1, 0)], t[min(seen[-1] + 1, count - 1)]
        p = np.exp(log_p)
        p /= p.sum()
        self.marginals = {"mean": (u, t, p.sum(1)), "concentration": (s, r, p.sum(0))}
        keep = p > 1e-10 * p.max()
        self.w = p[keep] / p[keep].sum()
        u, kappa = np.broadcast_to(u[:, None], p.shape)[keep], np.broadcast_to(s, p.shape)[keep] ** -2.0
        if self.binomial:
            self.a = kappa[:, None] * special.expit(u)[:, None] + self.y
            self.b = kappa[:, None] * special.expit(-u)[:, None] + self.size - self.y
        else:
            self.a, self.b = kappa[:, None] + self.y, (kappa * np.exp(-u))[:, None] + self.size

    def _log_density(self, u, s):
        kappa = s**-2.0
        log_p = -(s**2) / 8
        if self.binomial:
            m, rest = special.expit(u), special.expit(-u)
            log_p = log_p + special.log_expit(u) + special.log_expit(-u)
            for y, n in zip(self.y, self.size, strict=True):
                log_p = log_p + rising(kappa * m, y) + rising(kappa * rest, n - y) - rising(kappa, n)
        else:
            for y, x in zip(self.y, self.size, strict=True):
                rate = x * np.exp(u)
                log_p = (
                    log_p
                    + rising(kappa, y)
                    + y * (np.log(rate) - np.log(kappa + rate))
                    - kappa * np.log1p(rate / kappa)
                )
        return log_p

    def cdf(self, x):
        """Distribution functions of the groups at x, (k, group)."""
        x, found = np.asarray(x, float), np.empty(np.shape(x))
        for k, j in np.ndindex(x.shape):
            a, b, at = self.a[:, j], self.b[:, j], max(x[k, j], 0.0)
            found[k, j] = self.w @ (
                special.betainc(a, b, min(at, 1.0)) if self.binomial else special.gammainc(a, b * at)
            )
        return found

    def moments(self):
        """Means and sds of the groups."""
        mean = self.a / (self.a + self.b) if self.binomial else self.a / self.b
        variance = mean * (1 - mean) / (self.a + self.b + 1) if self.binomial else mean / self.b
        centre = self.w @ mean
        return centre, np.sqrt(self.w @ (variance + (mean - centre) ** 2))

    def mean_sd(self):
        """Standard deviation of the population's mean."""
        u, _, weight = self.marginals["mean"]
        value = special.expit(u) if self.binomial else np.exp(u)
        return np.sqrt(weight @ (value - weight @ value) ** 2)

    def hyper_cdf(self, which, x):
        """Distribution function of ``mean`` or ``concentration`` at x, (k,)."""
        at, place, weight = self.marginals[which]
        half = 0.5 * (place[1] - place[0])
        first, last = place[0] - half, place[-1] + half
        cumulative = interpolate.CubicSpline(place, weight).antiderivative()
        x = np.asarray(x, float)
        with np.errstate(divide="ignore"):
            value = x**-0.5 if which == "concentration" else np.log(x) - (np.log1p(-x) if self.binomial else 0.0)
        if which == "concentration":
            coordinate = np.log1p(value / 0.03)
        else:
            coordinate = np.arcsinh((value - (at[0] - 0.15 * np.sinh(place[0]))) / 0.15)
        below = (cumulative(np.clip(coordinate, first, last)) - cumulative(first)) / (
            cumulative(last) - cumulative(first)
        )
        return 1 - below if which == "concentration" else below


def datasets(family, groups, count, seed, ordinary=False):
    """Random small datasets (y, size, theta): zeros, all-successes, few and many trials, populations of every
    spread.
    """
    rng, found = np.random.default_rng([seed, groups]), []
    while len(found) < count:
        if ordinary:
            n, p, kappa = np.full(groups, 20), rng.uniform(0.05, 0.3), 10 ** rng.uniform(0.3, 2.5)
        else:
            n = np.full(groups, rng.choice([3, 10, 20])) if rng.uniform() < 0.3 else rng.integers(1, 30, groups)
            p, kappa = rng.choice([0.02, 0.1, 0.3, 0.5, 0.8, 0.97]), 10 ** rng.uniform(-0.5, 3)
        theta = rng.beta(kappa * p, kappa * (1 - p), groups)
        y, extreme = rng.binomial(n, theta), rng.uniform()
        if family == "poisson":
            size = n if ordinary else n / rng.choice([1, 10])
            y = rng.poisson(3 * size * theta)
            if (y > 0).sum() < 2:
                continue  # a posterior that runs off to infinity with one event at most
            found.append((y.astype(float), size.astype(float), 3 * theta))
            continue
        if not ordinary and extreme < 0.14:
            y = 0 * n if extreme < 0.08 else n
        found.append((y.astype(float), n.astype(float), theta))
    return found
