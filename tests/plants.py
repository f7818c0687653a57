"""Errors planted one by one in every interpreter of every prior, family, population and link, and whether the contract
tests catch them.

    python -m tests.plants              # all; prints a table: planted, caught
    python -m tests.plants half_normal  # those whose name contains a word

An interpreter is a method of a class of the menus; its planted version returns what the right one returns, changed a
little (`CHANGES`). The class is replaced while the contract tests of its name run; a plant that no test notices is a
hole in the contracts. Exit code 1 where there is one.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from hiermodels import families, priors
from hiermodels.families.component import Component

HERE = Path(__file__).parent
TESTS = {
    "priors": HERE / "priors" / "test_prior_contracts.py",
    "families": HERE / "families" / "test_family_contracts.py",
}


def _scaled(law: Any) -> Any:
    """A law moved a little: a point for another point, a scale for another scale."""
    if isinstance(law, dist.BinomialProbs | dist.BinomialLogits):
        return dist.Binomial(law.total_count, logits=law.logits + 0.1)
    if isinstance(law, dist.Poisson):
        return dist.Poisson(law.rate * 1.1)
    if isinstance(law, dist.NegativeBinomial2):
        return dist.NegativeBinomial2(law.mean * 1.1, law.concentration)
    if isinstance(law, dist.Beta):
        return dist.Beta(law.concentration1 * 1.1, law.concentration0)
    if isinstance(law, dist.Uniform):
        return dist.Uniform(law.low, law.high + 0.1)
    if isinstance(law, dist.LKJCholesky):
        return dist.LKJCholesky(law.dimension, law.concentration * 1.1)
    return dist.TransformedDistribution(law, dist.transforms.AffineTransform(0.0, 1.1, domain=law.support))


def _changed(value: Any) -> Any:
    """What a planted interpreter returns in place of this value; the value itself where nothing can be planted."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value + 1 if math.isfinite(value) else 0.0
    if isinstance(value, str):
        if "(" not in value:
            return f"{value} + 0.1"
        return (
            value.replace("(", "(0.1 + ", 1)
            if value.startswith(("dist.", "jnp.", "jax.", "-", "("))
            else value.replace("(", "[", 1)
        )
    if isinstance(value, dist.Distribution):
        return _scaled(value)
    if isinstance(value, Component):
        return Component(value.kind, value.a * 1.1, value.b)
    if hasattr(value, "dist") and hasattr(value, "kwds"):  # a frozen law of SciPy
        return type(value)(
            value.dist,
            *[a * 1.1 if k == len(value.args) - 1 else a for k, a in enumerate(value.args)],
            **{k: v * 1.1 for k, v in value.kwds.items()},
        )
    if isinstance(value, dict):
        return {k: _changed(v) for k, v in value.items()}
    if isinstance(value, list):
        return value[1:] if value and not isinstance(value[0], str) else [_changed(value[0]), *value[1:]]
    if isinstance(value, tuple):
        if value[1] == math.inf:
            return (value[0], 1.0)
        head = _changed(value[0])
        return (
            (head, *value[1:])
            if head is not value[0]
            else (value[0], (lambda x: value[1](x) * 1.1) if callable(value[1]) else value[1])
        )
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return ~value if value.dtype == bool else value * 1.1 + 0.01
    return value


def _planted(method: Any) -> Any:
    if isinstance(method, property):
        return property(lambda self: _changed(method.fget(self)))
    return lambda self, *args, **kwargs: _changed(method(self, *args, **kwargs))


SKIPPED = {
    "wants", "latex", "misfit", "support", "cut", "text", "instead", "own_parameters", "kernel", "groups", "precision", "typical",
    "refused", "proper_on", "split", "padding", "shrinking", "default_log_concentration", "default_mean", "concentration_of", "empirical", "slope",
}  # fmt: skip
"""Words, defaults and starts, which other tests hold; helpers that only others call."""


def interpreters(law: type) -> Iterator[str]:
    """Methods of a class that say something about its law, its own and those of its bases below the root."""
    root = law.__mro__[-2]
    for name, member in inspect.getmembers(law):
        public = (
            not name.startswith("_")
            and name not in SKIPPED
            and (isinstance(member, property) or inspect.isfunction(member))
        )
        if public and any(name in vars(base) for base in law.__mro__[:-2] if base is not root):
            yield name


def caught(folder: str, word: str, law: type, name: str) -> bool:
    """Whether a contract test fails while one interpreter of a class is planted."""
    holder = next(base for base in law.__mro__ if name in vars(base))
    right = vars(holder)[name]
    setattr(holder, name, _planted(right))
    try:
        for module in [m for m in sys.modules if m.endswith("_contracts")]:
            del sys.modules[module]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = pytest.main(
                [str(TESTS[folder]), "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", "-n", "0", "-k", word]
            )
    finally:
        setattr(holder, name, right)
    return code == pytest.ExitCode.TESTS_FAILED


def subjects() -> Iterator[tuple[str, str, type]]:
    """Folder of the contracts, word that names the tests, class."""
    for name, law in priors.MENU.items():
        yield "priors", name, law
    for name, family in families.MENU.items():
        for noun in (family, family.population, family.link):
            if not getattr(noun, "normal", False):
                yield "families", name, type(noun)


def main(wanted: str = "") -> int:
    """Print the table; the number of plants that nothing caught."""
    table: dict[str, list[int]] = {}
    holes: list[str] = []
    report: Callable[..., None] = lambda *text: print(*text, flush=True)  # noqa: E731
    plants: dict[tuple[type, str], list[tuple[str, str, type]]] = {}  # those that share a method share its tests
    for folder, word, law in subjects():
        if wanted in word or wanted in law.__name__:
            for name in interpreters(law):
                holder = next(base for base in law.__mro__ if name in vars(base))
                plants.setdefault((holder, name), []).append((folder, word, law))
    for (holder, name), where in plants.items():
        found = caught(where[0][0], " or ".join(dict.fromkeys(word for _, word, _ in where)), where[0][2], name)
        row = table.setdefault(name, [0, 0])
        row[0] += 1
        row[1] += found
        if not found:
            holes.append(f"{holder.__name__}.{name}")
            report(f"not caught: {holder.__name__}.{name}")
    report(f"{'interpreter':24s} planted caught")
    for name, (planted, found) in sorted(table.items()):
        report(f"{name:24s} {planted:7d} {found:6d}")
    report(f"{'all':24s} {sum(r[0] for r in table.values()):7d} {sum(r[1] for r in table.values()):6d}")
    return len(holes)


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:2]), 1))
