"""The tree of groups: NumPy and JAX agree, sums and spreads are adjoint, means are those of a table."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.models.data import as_jax, bind
from hiermodels.models.tree import tree_of

RNG = np.random.default_rng(3)


def rows(rooms: list[int]) -> pd.DataFrame:
    """Schools with so many rooms, one to three pupils in each."""
    found = [
        (f"s{s}", f"s{s}r{r}", f"d{s // 2}")
        for s, n in enumerate(rooms)
        for r in range(n)
        for _ in range(1 + (s + r) % 3)
    ]
    frame = pd.DataFrame(found, columns=["school", "room", "district"])
    return frame.assign(y=RNG.normal(size=len(frame)))


SHAPES = {"rectangle": [2, 2, 2, 2], "padded": [2, 3, 2, 4], "ragged": [1, 1, 1, 1, 90, 1, 1]}


@pytest.fixture(params=SHAPES, scope="module")
def problem(request):
    return bind(hm.Model("y ~ 1 + (1 | district/school/room)"), rows(SHAPES[request.param]))


def test_numpy_and_jax_say_the_same(problem):
    with jax.enable_x64(True):
        host, device = tree_of(problem.layout, problem.data), tree_of(problem.layout, as_jax(problem.data))
        for i, level in enumerate(problem.layout.levels):
            x, y = RNG.normal(size=(3, level.size)), RNG.normal(size=(2, problem.layout.obs))
            np.testing.assert_allclose(device.sum_up(jnp.asarray(x), i), host.sum_up(x, i))
            np.testing.assert_allclose(device.mean_of_children(jnp.asarray(x), i), host.mean_of_children(x, i))
            np.testing.assert_allclose(device.sum_rows(jnp.asarray(y), i), host.sum_rows(y, i))
            np.testing.assert_array_equal(device.at_rows(jnp.asarray(x), i), host.at_rows(x, i))
            for j in range(-1, i):
                above = RNG.normal(size=(3, problem.layout.levels[j].size if j >= 0 else 1))
                np.testing.assert_array_equal(
                    device.spread_down(jnp.asarray(above), j, i), host.spread_down(above, j, i)
                )
                np.testing.assert_array_equal(device.owner(i, j), host.owner(i, j))


def test_sums_and_spreads_are_adjoint(problem):
    tree = tree_of(problem.layout, problem.data)
    for i in range(len(tree.levels)):
        for j in range(-1, i):
            x, y = RNG.normal(size=tree.levels[i].size), RNG.normal(size=tree.levels[j].size if j >= 0 else 1)
            assert tree.sum_up(x, i, j) @ y == pytest.approx(x @ tree.spread_down(y, j, i))
        x, y = RNG.normal(size=tree.levels[i].size), RNG.normal(size=problem.layout.obs)
        assert tree.at_rows(x, i) @ y == pytest.approx(x @ tree.sum_rows(y, i))


def test_a_coefficient_is_inherited_from_the_nearest_level_that_has_one(problem):
    tree = tree_of(problem.layout, problem.data)
    districts, schools = (RNG.normal(size=level.size) for level in tree.levels[:2])
    values = {(0, "Intercept"): districts, (1, "Intercept"): schools, (0, "x"): districts, (2, "x"): schools}
    root = np.full(1, 7.0)
    np.testing.assert_array_equal(tree.inherited(values, 2, "Intercept", root), schools[tree.owner(2)])
    np.testing.assert_array_equal(tree.inherited(values, 2, "x", root), districts[tree.owner(2, 0)])
    np.testing.assert_array_equal(tree.inherited(values, 0, "x", root), np.full(tree.levels[0].size, 7.0))


def test_the_tree_of_real_groups_is_that_of_the_table(problem):
    frame = rows(
        SHAPES[
            "ragged"
            if problem.layout.levels[2].width is None
            else "padded"
            if problem.layout.levels[2].size > 8
            else "rectangle"
        ]
    )
    tree, labels = problem.tree, [problem.labels[level.name] for level in problem.layout.levels]
    table = frame.groupby("room").first()
    above = dict(zip(table.index, table["school"], strict=True))
    own = [next(room for room in above if label.endswith(room)) for label in labels[2]]
    schools = [label.split(":")[-1] for label in labels[1]]
    assert [schools[k] for k in tree.owner(2)] == [above[room] for room in own]
    value = dict(zip(own, np.arange(len(own), dtype=float), strict=True))
    means = pd.Series(value).groupby(pd.Series(above)).mean()
    np.testing.assert_allclose(tree.mean_of_children(np.arange(len(own), dtype=float), 2), [means[s] for s in schools])
    counts = frame["room"].value_counts()
    np.testing.assert_allclose(tree.sum_rows((np.asarray(problem.data.weight) > 0), 2), [counts[room] for room in own])


def test_crossed_levels_are_trees_side_by_side():
    frame = pd.DataFrame({"a": ["p", "p", "q", "q"], "b": ["u", "v", "u", "v"], "y": [1.0, 2.0, 3.0, 5.0]})
    tree = bind(hm.Model("y ~ 1 + (1 | a) + (1 | b)"), frame).tree
    np.testing.assert_array_equal(tree.sum_rows(frame["y"].to_numpy(), 0), [3.0, 8.0])
    np.testing.assert_array_equal(tree.sum_rows(frame["y"].to_numpy(), 1), [4.0, 7.0])
    np.testing.assert_array_equal(tree.sum_up(np.array([1.0, 2.0]), 1), [3.0])


def test_means_of_children_leave_padding_out(problem):
    tree = tree_of(problem.layout, problem.data)
    for i in range(1, len(tree.levels)):
        real, owner = np.asarray(tree.real[i]), tree.owner(i)
        x = np.where(real, RNG.normal(size=real.shape), 1e6)
        parents = [k for k in range(tree.levels[i - 1].size) if (real & (owner == k)).any()]
        expected = [x[real & (owner == k)].mean() for k in parents]
        np.testing.assert_allclose(tree.mean_of_children(x, i)[parents], expected)
