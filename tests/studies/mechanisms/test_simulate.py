"""Mechanisms: designs, truths, and the laws that datasets are drawn from."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from hiermodels.models.data import as_jax
from hiermodels.models.spec import Model
from hiermodels.studies.mechanisms.designs import design_frame
from hiermodels.studies.mechanisms.simulate import (
    bind_design,
    data_key,
    method_key,
    read_truth,
    simulator,
)

R = 20_000


def drawn(formula: str, frame: pd.DataFrame, truth: dict, replicates: int = R, **roles: str):
    problem = bind_design(Model(formula, **roles), frame)
    static, values = read_truth(truth, problem)
    with jax.enable_x64(True):
        run = jax.jit(jax.vmap(simulator(problem.layout, static), in_axes=(0, None, None)))
        keys = data_key(1, 7, jnp.arange(replicates))
        y, true = run(keys, as_jax(problem.data), {k: jnp.asarray(v) for k, v in values.items()})
        return problem, np.asarray(y), {k: np.asarray(v) for k, v in true.items()}


def test_nested_design_counts_and_labels():
    frame = design_frame({"school": 3, "classroom": 2, "obs": 4, "predictors": {"treated": "half(school)"}}, 1, 2)
    assert len(frame) == 24
    assert frame.groupby(["school", "classroom"]).size().tolist() == [4] * 6
    assert set(frame["school"]) == {"s1", "s2", "s3"}
    assert frame.groupby("school")["treated"].nunique().tolist() == [1, 1, 1]
    assert sorted(frame.groupby("school")["treated"].first()) == [0, 0, 1]


def test_unbalanced_design_is_a_function_of_seed_and_cell():
    design = {"school": 5, "obs": "integers(2, 9)"}
    same, again, other = (design_frame(design, 1, cell) for cell in (3, 3, 4))
    assert same.equals(again)
    assert not same.equals(other)
    assert same.groupby("school").size().between(2, 9).all()


def test_keys_do_not_depend_on_what_else_is_run():
    with jax.enable_x64(True):
        few = jax.random.key_data(data_key(5, 9, jnp.arange(3)))
        many = jax.random.key_data(data_key(5, 9, jnp.arange(100)))
        other = jax.random.key_data(method_key(5, 9, "partial", jnp.arange(3)))
    assert (few == many[:3]).all()
    assert not (few == other).any(1).all()


def test_three_level_moments_are_those_of_the_model():
    frame = design_frame({"school": 4, "classroom": 3, "obs": 2}, 1, 1)
    truth = {"Intercept": 50.0, "sd_school": 4.0, "sd_school:classroom": 3.0, "sigma": 8.0}
    _, y, true = drawn("score ~ 1 + (1 | school/classroom)", frame, truth)
    covariance = np.cov(y.T)
    school, room = frame["school"].to_numpy(), (frame["school"] + frame["classroom"]).to_numpy()
    expected = 16.0 * (school[:, None] == school) + 9.0 * (room[:, None] == room) + 64.0 * np.eye(len(frame))
    # a sample covariance of R draws has standard error below sqrt(2 / R) times the variance, 89
    assert np.abs(covariance - expected).max() < 5 * 89 * np.sqrt(2 / R)
    assert np.abs(y.mean(0) - 50).max() < 5 * np.sqrt(89 / R)
    assert np.allclose(true["mean(theta_school)"], true["theta_school"].mean(1))
    assert true["new(school:classroom)"].std() == pytest.approx(5.0, rel=0.03)


def test_slopes_are_correlated_as_asked():
    frame = design_frame({"id": 2, "obs": 3, "predictors": {"x": "normal(0, 1)"}}, 1, 1)
    truth = {"Intercept": 0.0, "x": -2.0, "sd_id": 1.0, "sd_id_x": 2.0, "cor_id": 0.6, "sigma": 1.0}
    _, _, true = drawn("y ~ 1 + x + (1 + x | id)", frame, truth)
    a, b = true["theta_id"][:, 0], true["theta_id_x"][:, 0]
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(0.6, abs=0.03)
    assert (b.mean(), b.std()) == (pytest.approx(-2, abs=0.08), pytest.approx(2, rel=0.03))


def test_fixed_thetas_stay_and_need_nothing_above_them():
    frame = pd.DataFrame({"school": ["B", "A"], "se": [1.0, 2.0]})
    problem, y, true = drawn("y ~ 1 + (1 | school)", frame, {"theta_school": {"A": 7.0, "B": 3.0}}, known_se="se")
    assert problem.labels["school"] == ["B", "A"]
    assert (true["theta_school"] == [3.0, 7.0]).all()
    assert y.mean(0) == pytest.approx([3, 7], abs=5 * 2 / np.sqrt(R))
    assert y.std(0) == pytest.approx([1, 2], rel=0.03)
    assert np.isnan(true["Intercept"]).all()


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"Intercept": 1.0, "sd_scool": 1.0}, "did you mean 'sd_school'"),
        ({"Intercept": 1.0}, "sd_school is missing"),
        ({"Intercept": 1.0, "sd_school": -1.0}, "of at least 0, found -1"),
        ({"Intercept": "flat()", "sd_school": 1.0}, "cannot be drawn from"),
        ({"theta_school": {"A": 1.0}}, "no value for 'B'"),
        ({"theta_school": {"A": 1.0, "B": 2.0, "C": 1.0}}, "unknown school 'C'"),
    ],
)
def test_truths_that_cannot_be_simulated_are_refused(truth, message):
    problem = bind_design(
        Model("y ~ 1 + (1 | school)", known_se="se"), pd.DataFrame({"school": ["B", "A"], "se": [1.0, 2.0]})
    )
    with pytest.raises(ValueError, match="truth") as error:
        read_truth(truth, problem)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "mean", "sd"),
    [
        ("normal(1, 2)", 1, 2),
        ("half_normal(2)", 2 * np.sqrt(2 / np.pi), 2 * np.sqrt(1 - 2 / np.pi)),
        ("uniform(1, 3)", 2, 1 / np.sqrt(3)),
        ("exponential(0.5)", 2, 2),
        ("gamma(4, 2)", 2, 1),
        ("beta(2, 2)", 0.5, np.sqrt(1 / 20)),
        ("student_t(8, 1, 2)", 1, 2 * np.sqrt(8 / 6)),
    ],
)
def test_laws_are_drawn_with_their_moments(text, mean, sd):
    from hiermodels.priors import parse

    with jax.enable_x64(True):
        x = np.asarray(jax.vmap(lambda k: parse(text).sample(k))(jax.random.split(jax.random.key(3), R)))
    assert x.mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(R))
    assert x.std() == pytest.approx(sd, rel=0.05)
