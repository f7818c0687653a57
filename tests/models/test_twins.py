"""Groups with the same design are computed once: the same posterior as group by group."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.models.data import as_jax, bind
from hiermodels.models.factorise import factorise

PRIORS = {"sd_school": "half_normal(5)", "sd_school:classroom": "half_normal(5)", "sigma": "half_normal(5)"}


def pupils(classrooms: list[int], students: int, seed: int = 0) -> pd.DataFrame:
    """Schools with so many classrooms each; students alternate between treatments."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"s{i}", f"c{j}", i % 2, k % 2) for i, n in enumerate(classrooms) for j in range(n) for k in range(students)
    ]
    frame = pd.DataFrame(rows, columns=["school", "classroom", "arm", "tutored"])
    frame["z"] = rng.normal(size=len(frame))
    frame["y"] = rng.normal(3.0, 2.0, len(frame)) + rng.normal(0, 2, len(classrooms))[pd.factorize(frame.school)[0]]
    return frame


BALANCED = pupils([4] * 6, 5)
UNEQUAL = pupils([2, 3, 2, 4, 4, 2], 5)
CASES = {
    "balanced": ("y ~ 1 + (1 | school/classroom)", BALANCED, "partial", (1, 1)),
    "two arms": ("y ~ 1 + arm + (1 | school/classroom)", BALANCED, "partial", (2, 2)),
    "students treated": ("y ~ 1 + tutored + (1 | school/classroom)", BALANCED, "partial", (1, 1)),
    "effects vary": ("y ~ 1 + tutored + (1 + tutored | school/classroom)", BALANCED, "partial", (1, 1)),
    "unequal schools": ("y ~ 1 + (1 | school/classroom)", UNEQUAL, "partial", (3, 1)),
    "schools unpooled": ("y ~ 1 + (1 | school/classroom)", BALANCED, {"school": "none"}, (1, 1)),
    "schools complete": ("y ~ 1 + (1 | school/classroom)", UNEQUAL, {"school": "complete"}, (3, 1)),
    "classes unpooled": ("y ~ 1 + (1 | school/classroom)", UNEQUAL, "none", (3, 1)),
    "two levels": ("y ~ 1 + (1 | school)", pupils([1] * 8, 3), "partial", (1,)),
}
SLOW = ("two arms", "effects vary")


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow if c in SLOW else []) for c in CASES])
def test_density_and_gradient_as_group_by_group(case: str) -> None:
    formula, frame, pooling, kinds = CASES[case]
    problem = bind(
        hm.Model(formula, priors={k: v for k, v in PRIORS.items() if k == "sigma" or k[3:] in formula}), frame, pooling
    )
    assert problem.layout.twins == kinds
    alone = factorise(replace(problem.layout, twins=()))
    together = factorise(problem.layout)
    with jax.enable_x64(True):
        data = as_jax(problem.data)
        stats, plain = together.prepare(data), alone.prepare(data)
        assert stats.twins is not None and plain.twins is None
        one, other = (jax.jit(jax.value_and_grad(m.log_density)) for m in (together, alone))
        for key in jax.random.split(jax.random.key(1), 5):
            u = jax.random.normal(key, (together.dim,))
            found, slope = one(u, stats)
            expected, expected_slope = other(u, plain)
            assert found == pytest.approx(float(expected), rel=1e-11)
            np.testing.assert_allclose(slope, expected_slope, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "formula, frame",
    [
        ("y ~ 1 + z + (1 | school/classroom)", BALANCED),
        ("y ~ 1 + (1 | school/classroom)", pupils([4] * 4, 5).iloc[:-1]),
        ("y ~ 1 + (1 | school)", pupils([1] * 3, 3)),
    ],
    ids=["a predictor of its own", "one student less in a mixed school", "few groups"],
)
def test_different_designs_are_computed_apart(formula: str, frame: pd.DataFrame) -> None:
    priors = {k: v for k, v in PRIORS.items() if k == "sigma" or k[3:] in formula}
    assert bind(hm.Model(formula, priors=priors), frame).layout.twins == ()


def test_known_standard_errors() -> None:
    frame = pd.DataFrame({"g": np.arange(12), "y": np.linspace(-3, 4, 12), "se": [1.0, 2.0] * 6})
    problem = bind(hm.Model("y ~ 1 + (1 | g)", known_se="se", priors={"sd_g": "half_normal(5)"}), frame)
    assert problem.layout.twins == (2,)
    model = factorise(problem.layout)
    with jax.enable_x64(True):
        stats = model.prepare(as_jax(problem.data))
        for tau in (0.0, 0.3, 4.0):
            variance = frame.se.to_numpy() ** 2 + tau**2
            w = 1 / variance
            mean = np.sum(w * frame.y) / w.sum()
            dense = -0.5 * np.sum(np.log(2 * np.pi * variance)) - 0.5 * np.sum(w * (frame.y - mean) ** 2)
            dense += 0.5 * np.log(2 * np.pi / w.sum())
            found = model.log_likelihood(jnp.log(jnp.array([max(tau, 1e-200)])), stats)
            assert found == pytest.approx(dense, rel=1e-10)
