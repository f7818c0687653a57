"""Posteriors of one normal grouping with an unknown residual sd by quadrature of their own, nothing of the library.

    y_ij ~ N(theta_i, sigma^2), theta_i ~ N(mu, tau^2), mu ~ N(0, 10^2), tau and sigma half normal with scale 5

mu is integrated out by hand; the plane of r = log(1 + tau / c) and log sigma is cut into equal steps, on which both
marginal densities are smooth.
"""

import numpy as np
from scipy import interpolate, special

SCALE, CENTRE_SD = 5.0, 10.0


class NormalPosterior:
    """Nodes ``tau`` and ``sigma`` with weights ``w``; given a node mu and every theta are normal."""

    def __init__(self, y, group, along=140, across=60):
        self.n = np.bincount(group).astype(float)
        self.mean = np.bincount(group, y) / self.n
        self.rows, self.within = len(y), float(((y - self.mean[group]) ** 2).sum())
        self.unit = 0.05 * np.sqrt(self.within / max(self.rows - len(self.n), 1))
        place = np.log(20 * self.unit)
        ends = np.array([0.0, np.log1p(8 * SCALE / self.unit), place - 6, place + 6])
        for counts, drop in (((150, 150), 34), ((150, 150), 28), ((along, across), 24)):
            steps = (ends[1] - ends[0]) / counts[0], (ends[3] - ends[2]) / counts[1]
            r = ends[0] + steps[0] * (np.arange(counts[0]) + 0.5)
            t = ends[2] + steps[1] * (np.arange(counts[1]) + 0.5)
            log_p = self._log_density(self.unit * np.expm1(r)[:, None], np.exp(t)) + r[:, None] + t
            log_p -= log_p.max()
            for k, most in enumerate((log_p.max(1), log_p.max(0))):
                seen, edge = np.flatnonzero(most > -drop), ends[2 * k]
                ends[2 * k] = edge + steps[k] * max(seen[0] - 1, 0)
                ends[2 * k + 1] = edge + steps[k] * min(seen[-1] + 2, counts[k])
        p = np.exp(log_p) / np.exp(log_p).sum()
        self.marginals = {"sd": (r, p.sum(1)), "sigma": (t, p.sum(0))}
        keep = p > 1e-10 * p.max()
        self.w = p[keep] / p[keep].sum()
        tau, sigma = (np.broadcast_to(x, p.shape)[keep][:, None] for x in (self.unit * np.expm1(r)[:, None], np.exp(t)))
        total = tau**2 + sigma**2 / self.n
        precision = (1 / total).sum(1, keepdims=True) + CENTRE_SD**-2
        centre, kept = (self.mean / total).sum(1, keepdims=True) / precision, tau**2 / total
        place = kept * self.mean + (1 - kept) * centre
        variance = kept * sigma**2 / self.n + (1 - kept) ** 2 / precision
        self.place, self.sd = np.hstack([centre, place]), np.sqrt(np.hstack([1 / precision, variance]))

    def _log_density(self, tau, sigma):
        log_p = (
            -0.5 * (tau**2 + sigma**2) / SCALE**2
            - (self.rows - len(self.n)) * np.log(sigma)
            - 0.5 * self.within / sigma**2
        )
        precision, shift = CENTRE_SD**-2, 0.0
        for n, mean in zip(self.n, self.mean, strict=True):
            total = tau**2 + sigma**2 / n
            log_p = log_p - 0.5 * np.log(total) - 0.5 * mean**2 / total
            precision, shift = precision + 1 / total, shift + mean / total
        return log_p - 0.5 * np.log(precision) + 0.5 * shift**2 / precision

    def cdf(self, x):
        """Distribution functions of mu and of each theta at x, (k, 1 + group)."""
        return np.array([self.w @ special.ndtr((row - self.place) / self.sd) for row in np.asarray(x, float)])

    def moments(self):
        """Means and sds of mu and of each theta."""
        centre = self.w @ self.place
        return centre, np.sqrt(self.w @ (self.sd**2 + (self.place - centre) ** 2))

    def hyper_sd(self, which):
        """Standard deviation of ``sd`` or ``sigma``."""
        place, weight = self.marginals[which]
        value = self.unit * np.expm1(place) if which == "sd" else np.exp(place)
        return np.sqrt(weight @ (value - weight @ value) ** 2)

    def hyper_cdf(self, which, x):
        """Distribution function of ``sd`` or ``sigma`` at x, (k,)."""
        place, weight = self.marginals[which]
        half = 0.5 * (place[1] - place[0])
        first, last = place[0] - half, place[-1] + half
        cumulative = interpolate.CubicSpline(place, weight).antiderivative()
        at = np.log1p(np.asarray(x, float) / self.unit) if which == "sd" else np.log(np.asarray(x, float))
        return (cumulative(np.clip(at, first, last)) - cumulative(first)) / (cumulative(last) - cumulative(first))


def datasets(sizes, count, seed):
    """Random outcomes of groups with these sizes, (dataset, row), and the group of each row: spreads between none and
    large.
    """
    rng, group = np.random.default_rng([seed, len(sizes)]), np.repeat(np.arange(len(sizes)), sizes)
    sigma = np.exp(rng.uniform(np.log(0.3), np.log(4), count))[:, None]
    tau = sigma * rng.choice([0.0, 0.1, 0.5, 1.0, 3.0], (count, 1))
    theta = rng.normal(0, 5, (count, 1)) + tau * rng.standard_normal((count, len(sizes)))
    return theta[:, group] + sigma * rng.standard_normal((count, len(group))), group
