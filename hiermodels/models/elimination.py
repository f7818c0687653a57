"""Rank-one steps by which deviations leave the messages of a tree of normal groups, and come back
(`hiermodels.models.gaussian`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.models.tree import Tree

__all__ = ["LOG_2PI", "Affine", "Pass", "Step", "absorb", "inverse", "root_of"]

LOG_2PI = math.log(2 * math.pi)


class Step(NamedTuple):
    """One eliminated direction of one level: what the way down needs."""

    r: Array
    proper: float
    q: Array
    lr: Array
    m: Array


class Pass(NamedTuple):
    """Result of the upward pass: root message, and the steps of each level in the order taken."""

    precision: Array
    shift: Array
    constant: Array
    steps: list[list[Step]]


def absorb(precision: Array, shift: Array, r: Array, proper: float) -> tuple[Array, Array, Array, Step]:
    """Integrate one direction out of every group's message."""
    lr = jnp.sum(precision * r[None, :, None], 1)
    q = proper + jnp.sum(r[:, None] * lr, 0)
    m = jnp.sum(r[:, None] * shift, 0)
    if proper:
        gain = 0.5 * m**2 / q - 0.5 * jnp.log(q)
    else:  # flat: an empty group adds nothing
        informed = q > 0
        q = jnp.where(informed, q, 1.0)
        gain = jnp.where(informed, 0.5 * m**2 / q - 0.5 * jnp.log(q) + 0.5 * LOG_2PI, 0.0)
    step = Step(r, proper, q, lr, m)
    if precision.shape[0] == 1:  # no cancellation in the scalar case
        return precision * (proper / q), shift * (proper / q), gain, step
    return precision - lr[:, None] * lr[None] / q, shift - lr * (m / q), gain, step


class Affine(NamedTuple):
    """Coefficients of a level's groups given phi, as ``slope b_root + constant + noise``.

    Attributes
    ----------
    slope : Array, shape (column, root, group)
    constant : Array, shape (column, group)
    noise : Array, shape (column, column, group)
        Covariance.
    """

    slope: Array
    constant: Array
    noise: Array

    def spread_down(self, tree: Tree, start: int, stop: int) -> Affine:
        """Each group of level ``stop`` with what its ancestor at level ``start`` has."""
        return Affine(*(tree.spread_down(x, start, stop) for x in self))

    def release(self, step: Step) -> Affine:
        """Give a direction back: b_parent + r z with z | b_parent ~ N((m - lr'b) / q, 1 / q)."""
        r, g = step.r[:, None], step.lr / step.q
        slope = self.slope - r[:, None] * jnp.sum(g[:, None] * self.slope, 0)[None]
        constant = self.constant + r * (step.m / step.q - jnp.sum(g * self.constant, 0))
        gn = jnp.sum(g[:, None] * self.noise, 0)
        gng = jnp.sum(g * gn, 0)
        outer = r[:, None] * r[None]
        return Affine(
            slope, constant, self.noise - r[:, None] * gn[None] - gn[:, None] * r[None] + outer * (gng + 1 / step.q)
        )

    def turned(self, matrix: Array) -> Affine:
        """Of the coefficients ``matrix b``."""
        noise = jnp.einsum("ij,jlg,kl->ikg", matrix, self.noise, matrix)
        return Affine(jnp.tensordot(matrix, self.slope, 1), jnp.tensordot(matrix, self.constant, 1), noise)

    def mean_of_children(self, tree: Tree, i: int) -> Affine:
        """Of the unweighted mean of the groups of level i, independent but for the root, in each of their parents."""
        slope, constant, noise = (tree.mean_of_children(x, i) for x in self)
        return Affine(slope, constant, noise / jnp.maximum(tree.children(i), 1.0))

    def moments(self, mean: Array, covariance: Array) -> tuple[Array, Array]:
        """Mean and variance of every coefficient, (column, group) each, from the root's mean and covariance."""
        spread = jnp.einsum("krg,rs,ksg->kg", self.slope, covariance, self.slope)
        centre = jnp.einsum("krg,r->kg", self.slope, mean) + self.constant
        return centre, spread + jnp.moveaxis(jnp.diagonal(self.noise), -1, 0)


def inverse(matrix: Array) -> tuple[Array, Array]:
    """Inverse and log determinant of a small positive definite matrix."""
    if matrix.shape[0] == 1:
        return 1 / matrix, jnp.log(matrix[0, 0])
    if matrix.shape[0] == 2:
        determinant = matrix[0, 0] * matrix[1, 1] - matrix[0, 1] ** 2
        adjugate = jnp.array([[1.0, 0.0], [0.0, 1.0]]) * jnp.trace(matrix) - matrix
        return adjugate / determinant, jnp.log(determinant)
    factor = jnp.linalg.cholesky(matrix)
    half = jax.scipy.linalg.solve_triangular(factor, jnp.eye(matrix.shape[0]), lower=True)
    return half.T @ half, 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))


def root_of(covariance: Array) -> Array:
    """Lower Cholesky factor of a small covariance matrix."""
    return jnp.sqrt(covariance) if covariance.shape[0] == 1 else jnp.linalg.cholesky(covariance)
