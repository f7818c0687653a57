"""Kenward and Roger's F test: a covariance of the coefficients that counts the variances' own error, and its degrees of
freedom.

The variance of y is linear in the covariance parameters, V = sum_r g_r G_r. With C = (X'V^-1X)^-1, P_r = -X'V^-1 G_r
V^-1 X and Q_rs = X'V^-1 G_r V^-1 G_s V^-1 X, W twice the inverse of the parameters' expected information,

    C_A = C + 2 C [sum_rs W_rs (Q_rs - P_r C P_s)] C

replaces C, and F = scale * (Lb)' (L C_A L')^-1 (Lb) / q is compared with F(q, m); scale and m match its first two
moments. Kenward & Roger (1997), Biometrics 53, 983-997; notation of Halekoh & Hojsgaard (2014), Journal of Statistical
Software 59(9). Everything is computed from cross products of the groups' effects, never of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data

__all__ = ["MOST_EFFECTS", "KenwardRoger"]

MOST_EFFECTS = 6000
"""Effects of groups beyond which the dense matrices would not fit."""


@dataclass(frozen=True)
class KenwardRoger:
    """The adjusted covariance at estimates of the variances.

    Attributes
    ----------
    layout : Layout
    data : Data
        NumPy arrays.
    covariances : tuple of ndarray, each (effect, effect)
        Of each level's effects.
    variance : float
        sigma squared.
    coefficients : ndarray
    """

    layout: Layout
    data: Data
    covariances: tuple[np.ndarray, ...]
    variance: float
    coefficients: np.ndarray

    @cached_property
    def _parts(self) -> tuple[np.ndarray, list[np.ndarray], np.ndarray, np.ndarray]:
        """C, the P_r, the Q_rs and W."""
        weight, levels = self.data.weight, self.layout.levels
        x = self.data.x[:, list(self.layout.population)]
        sizes = [level.size * len(level.effects) for level in levels]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        a, zx = np.zeros((starts[-1], starts[-1])), np.zeros((starts[-1], x.shape[1]))
        columns = [
            (starts[i] + self.data.group[i] * len(level.effects) + k, self.data.x[:, e])
            for i, level in enumerate(levels)
            for k, e in enumerate(level.effects)
        ]
        for place, values in columns:
            np.add.at(zx, place, (weight * values)[:, None] * x)
            for other, others in columns:
                np.add.at(a, (place, other), weight * values * others)
        xx, s2 = x.T @ (weight[:, None] * x), self.variance
        inner = np.eye(starts[-1])
        blocks = np.zeros_like(a)
        for i, level in enumerate(levels):
            part = slice(starts[i], starts[i + 1])
            blocks[part, part] = np.kron(np.eye(level.size), self.covariances[i] / s2)
        b = np.linalg.solve(inner + blocks @ a, blocks)  # V^-1 = (W - W Z B Z'W) / s2
        zvz, zvx = (a - a @ b @ a) / s2, (zx - a @ b @ zx) / s2
        xvx = (xx - zx.T @ b @ zx) / s2
        # with G_0 = W^-1 in the middle: once (V^-1 G_0 V^-1) and twice (V^-1 G_0 V^-1 G_0 V^-1)
        ba = b @ a
        once = _within(a, zx, xx, b, 2 * np.eye(len(ba)) - ba, s2**2)
        twice = _within(a, zx, xx, b, 3 * np.eye(len(ba)) - 3 * ba + ba @ ba, s2**3)
        rows = float(np.sum(weight > 0))
        masks = self._masks(starts)
        c = np.linalg.inv(xvx)
        count = len(masks) + 1
        p = [-zvx.T @ _times(m, zvx) for m in masks] + [-once[2]]
        q = np.zeros((count, count, *c.shape))
        trace = np.zeros((count, count))
        moved = [_times(m, zvz) for m in masks]
        for r, first in enumerate(masks):
            left = _times(first, zvx).T
            for s, second in enumerate(masks):
                q[r, s] = left @ zvz @ _times(second, zvx)
                trace[r, s] = np.sum(moved[r] * moved[s].T)
            q[r, -1] = left @ once[1]
            q[-1, r] = q[r, -1].T
            trace[r, -1] = trace[-1, r] = np.trace(_times(first, once[0]))
        q[-1, -1] = twice[2]
        trace[-1, -1] = (rows - 2 * np.trace(ba) + np.sum(ba * ba.T)) / s2**2
        information = np.array(
            [
                [trace[r, s] - 2 * np.sum(c * q[r, s].T) + np.sum((c @ p[r]) * (c @ p[s]).T) for s in range(count)]
                for r in range(count)
            ]
        )
        scale = 1 / np.sqrt(np.maximum(np.diag(information), 1e-300))
        w = (
            2
            * np.linalg.pinv(information * np.outer(scale, scale), rcond=1e-10, hermitian=True)
            * np.outer(scale, scale)
        )
        return c, p, q, w

    def _masks(self, starts: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
        """Derivatives of each level's covariance: (first effect, groups, matrix), a variance or a covariance each."""
        found = []
        for i, level in enumerate(self.layout.levels):
            for block in level.blocks:
                for j, k in enumerate(block):
                    for m in block[: j + 1]:
                        e = np.zeros((len(level.effects), len(level.effects)))
                        e[k, m] = e[m, k] = 1
                        found.append((int(starts[i]), level.size, e))
        return found

    @cached_property
    def covariance(self) -> np.ndarray:
        """C_A."""
        c, p, q, w = self._parts
        count = len(p)
        middle = sum(w[r, s] * (q[r, s] - p[r] @ c @ p[s]) for r in range(count) for s in range(count))
        found = c + 2 * c @ middle @ c
        return (found + found.T) / 2

    def test(self, rows: np.ndarray) -> tuple[float, float, float]:
        """F, and degrees of freedom of numerator and denominator, of L b = 0."""
        c, p, _, w = self._parts
        count = len(rows)
        theta = rows.T @ np.linalg.solve(rows @ c @ rows.T, rows)
        u = [theta @ c @ one @ c for one in p]
        a1 = sum(w[r, s] * np.trace(u[r]) * np.trace(u[s]) for r in range(len(p)) for s in range(len(p)))
        a2 = sum(w[r, s] * np.sum(u[r] * u[s].T) for r in range(len(p)) for s in range(len(p)))
        b = (a1 + 6 * a2) / (2 * count)
        g = ((count + 1) * a1 - (count + 4) * a2) / ((count + 2) * a2)
        below = 3 * count + 2 * (1 - g)
        v0, v1, v2 = 1 + g / below * b, 1 - (count - g) / below * b, 1 - (count + 2 - g) / below * b
        v0 = 0.0 if abs(v0) < 1e-10 else v0
        mean = 1 - a2 / count
        ratio = 1.0 if abs(mean) < 1e-14 and abs(v1) < 1e-14 else mean / v1
        rho = ratio**2 * v0 / v2 / count
        denominator = 4 + (count + 2) / (count * rho - 1)
        scale = 1.0 if abs(denominator - 2) < 1e-2 else denominator * mean / (denominator - 2)
        effect = rows @ self.coefficients
        wald = effect @ np.linalg.solve(rows @ self.covariance @ rows.T, effect) / count
        return float(scale * wald), float(count), float(denominator)


def _within(
    a: np.ndarray, zx: np.ndarray, xx: np.ndarray, b: np.ndarray, series: np.ndarray, power: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z'MZ, Z'MX and X'MX of M = (W - W Z (series B) Z'W) / power."""
    middle = series @ b
    return (a - a @ middle @ a) / power, (zx - a @ middle @ zx) / power, (xx - zx.T @ middle @ zx) / power


def _times(mask: tuple[int, int, np.ndarray], values: np.ndarray) -> np.ndarray:
    """Z-sized derivative matrix times values: block diagonal in the groups of one level, 0 elsewhere."""
    start, groups, e = mask
    part = slice(start, start + groups * len(e))
    found = np.zeros_like(values)
    found[part] = np.einsum("ij,gjk->gik", e, values[part].reshape(groups, len(e), -1)).reshape(-1, values.shape[1])
    return found
