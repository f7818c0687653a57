"""One statement of a model: each group value is said once, and every interpreter says it."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.models import code, display
from hiermodels.models.data import as_jax, bind
from hiermodels.models.explicit import Explicit
from hiermodels.models.simulator import simulate
from hiermodels.models.statements import Averaged, Inherited, Rates, Scattered, Shared, statements

RNG = np.random.default_rng(5)
SCHOOL = np.repeat([f"s{i}" for i in range(4)], 6)
FRAME = pd.DataFrame(
    {
        "school": SCHOOL,
        "room": [f"{s}{i % 3}" for i, s in enumerate(SCHOOL)],
        "x": RNG.normal(size=24),
        "n": 9,
        "hours": 2.0,
    }
)
FRAME["y"], FRAME["k"], FRAME["c"] = RNG.normal(size=24), RNG.integers(1, 8, size=24), RNG.integers(1, 8, size=24)
NORMAL, BINOMIAL, POISSON = {}, {"family": "binomial", "trials": "n"}, {"family": "poisson", "exposure": "hours"}
CASES = [
    ("y ~ 1 + x + (1 + x | school)", NORMAL, "partial", "Scattered"),
    ("y ~ 1 + x + (1 + x | school)", NORMAL, "none", "Free"),
    ("y ~ 1 + (1 | school/room)", NORMAL, "partial", "Scattered Scattered"),
    ("y ~ 1 + (1 | school/room)", NORMAL, {"school": "complete", "school:room": "none"}, "Free Averaged"),
    ("y ~ 1 + (1 | school/room)", NORMAL, {"school": "partial", "school:room": "complete"}, "Scattered Shared"),
    ("y ~ 1 + (1 | school) + (1 | room)", NORMAL, "partial", "Scattered Scattered"),
    ("k ~ 1 + x + (1 | school)", {"family": "binomial_logit", "trials": "n"}, "partial", "Scattered"),
    ("k ~ 1 + (1 | school)", BINOMIAL, "partial", "Rates"),
    ("k ~ 1 + (1 | school)", BINOMIAL, "complete", "Rates Inherited"),
    (
        "k ~ 1 + (1 | school/room)",
        BINOMIAL,
        {"school": "partial", "school:room": "complete"},
        "Rates Inherited Inherited",
    ),
    ("c ~ 1 + (1 | school/room)", POISSON, "partial", "Scattered Scattered Rates"),
    ("c ~ 1 + (1 | school/room)", POISSON, {"school": "complete", "school:room": "partial"}, "Shared Rates"),
    ("c ~ 1 + (1 | school/room)", POISSON, "none", "Rates Averaged"),
]


@pytest.mark.parametrize(("formula", "how", "pooling", "kinds"), CASES)
def test_every_interpreter_says_every_statement(formula, how, pooling, kinds):
    model = hm.Model(formula, **how)
    problem = bind(model, FRAME, pooling)
    layout, said = problem.layout, statements(problem.layout)
    assert [type(s).__name__ for s in said] == kinds.split()
    names = [name for level in layout.levels for name in layout.effect_names(level)]
    own = [name for s in said if not isinstance(s, Inherited) for name in s.names]
    assert len(own) == len(set(own))
    assert set(names) <= {name for s in said for name in s.names}
    with jax.enable_x64(True):
        data = as_jax(problem.data)
        shown = jax.eval_shape(lambda: Explicit(layout).draw(jax.random.key(0), jnp.zeros(Explicit(layout).dim), data))
    assert set(names) <= set(shown)
    source, words = code.text(model, layout, problem.scales), display.text(model, layout, problem.scales)
    assert all(f'"{name}"' in source for name in names)
    assert all(
        name in words.replace("(", " ").replace(",", " ").replace("_j", " ").replace("[i]", " ").split()
        or f"{name}_j" in words
        for name in names
    )


@pytest.mark.parametrize(
    "case", [c for c in CASES if c[2] == "partial"], ids=lambda c: c[0] + str(c[1].get("family", ""))
)
def test_simulated_values_scatter_as_the_printed_law_says(case):
    formula, how, _, _ = case
    problem = bind(hm.Model(formula, **how), FRAME, priors=False)
    layout = problem.layout
    known = {p.name: jnp.asarray({"unit": 0.3, "positive": 1.5}.get(p.kind, 0.25)) for p in layout.parameters}
    with jax.enable_x64(True):
        _, true = jax.jit(jax.vmap(lambda key: simulate(layout, key, as_jax(problem.data), known)))(
            jax.random.split(jax.random.key(2), 2000)
        )
    for s in statements(layout):
        if isinstance(s, Scattered):
            for column, name in zip(s.columns, s.names, strict=True):
                value = np.asarray(true[name])
                sd, above = (
                    float(known[f"sd_{s.names[0][6:]}" if column == s.columns[0] else f"sd_{name[6:]}"]),
                    layout.levels[s.level].parent,
                )
                if above >= 0 and any(
                    isinstance(t, Scattered) and t.level == above and column in t.columns for t in statements(layout)
                ):
                    parent = np.asarray(true[name.replace(layout.levels[s.level].name, layout.levels[above].name)])
                    value = value - parent[:, np.asarray(problem.data.parent[s.level])]
                else:
                    value = value - float(known[column])
                assert value.std() == pytest.approx(sd, rel=0.05)
        assert isinstance(s, (Scattered, Rates, Shared, Averaged, Inherited))
        assert np.isfinite(np.concatenate([np.asarray(true[n]).ravel() for n in s.names])).all()
