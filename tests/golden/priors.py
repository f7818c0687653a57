"""Every prior of the menu: words, exponents, supports, densities, draws, NumPyro's law and the printed source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import hiermodels as hm
from tests.golden import doors
from tests.golden.cases import KNOBS

JOINT = ("bda3", "rgbp")
KINDS = ("real", "positive", "above_one", "unit")
MORE = (
    "beta(0.5, 0.5)", "beta(0, 2)", "exponential(3)", "fixed(-1.5)", "fixed(0)", "gamma(0.5, 2)", "gamma_rate(0.5, 3)", "half_cauchy(25)", "half_normal(0.1)",
    "half_normal_cv(0.4)", "half_t(1, 3)", "half_t(0.5, 2)", "inverse_gamma_variance(0.01, 0.01)", "lkj(1)", "lkj(0.5)", "log_normal(-2, 3)", "normal(-3, 0.2)",
    "power(2.5)", "power(-1)", "power(0)", "scaled_half_t(1, 0.5)", "scaled_normal(0, 10)", "student_t(1, -2, 0.7)", "uniform(-4, -1)", "uniform(0, 1)",
    "uniform(0, 1e300)", "normal(1e-9, 1e9)",
)  # fmt: skip
"""Numbers at the edges: exponents at one, mass at zero, large and small scales."""
WRONG = ("normal(0)", "normal(0, 0)", "half_normal(-1)", "gamma(1, 2, 3)", "half_t(0, 1)", "uniform(2, 1)", "beta(-1, 1)", "lkj(0)", "half_norml(1)", "flat",
         "flat(1)", "fixed(1e400)", "normal(a, b)", "normal(0, 1) + 1", "")  # fmt: skip
GRID = {
    "real": (-30.0, -2.0, -0.5, 0.0, 0.3, 1.0, 2.5, 40.0),
    "positive": (1e-6, 0.05, 0.2, 0.7, 1.0, 2.5, 9.0, 400.0),
    "above_one": (1.001, 1.2, 1.7, 2.5, 5.0, 12.0, 29.0, 300.0),
    "unit": (1e-6, 0.06, 0.2, 0.4, 0.5, 0.7, 0.95, 1 - 1e-6),
}
VARIANCES = (0.5, 1.5, 4.0, np.inf)
UNIT = 1.7
DRAWS = 32


def record(folder: Path) -> None:
    """Write ``priors.json`` and ``priors.npz``."""
    words: dict[str, Any] = {"menu": list(hm.priors.__all__)}
    numbers: dict[str, np.ndarray] = {}
    named = {text.split("(")[0] for text in (*KNOBS, *MORE)}
    later = [str(law(*law.example)) for name, law in hm.priors.MENU.items() if name not in named]
    with jax.enable_x64(True):
        for text in dict.fromkeys((*KNOBS, *MORE, *later)):
            words[text] = _words(text)
            numbers |= {f"{text} {what}": np.asarray(x) for what, x in _numbers(doors.parse(text), words[text]).items()}
    words["wrong"] = {text: _told(lambda text=text: doors.parse(text, "priors: sd_g")) for text in WRONG}
    words["signatures"] = {name: getattr(hm.priors, name).__doc__ for name in hm.priors.__all__}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "priors.json").write_text(json.dumps(words, indent=1))
    np.savez(folder / "priors.npz", **numbers)


def _told(call: Any) -> Any:
    """What is answered; a refusal in its words, where there is nothing to ask as ``nothing``."""
    try:
        return str(call())
    except ValueError as error:
        return f"refused: {error}"
    except (KeyError, IndexError):
        return "nothing"


def _words(text: str) -> dict[str, Any]:
    prior = doors.parse(text)
    found: dict[str, Any] = {"text": str(prior), "latex": prior.latex(), "args": list(prior.args), "name": prior.name}
    if prior.name in JOINT:
        return found
    if prior.name == "lkj":
        return found | {"printed": "\n".join(doors.printed_prior(prior, "correlation"))}
    found |= {
        "per x": prior.text(" / sd(x)"), "doubled": str(prior.times(2.0)), "unit": prior.unit, "of variances": prior.of_variances, "proper": prior.proper,
        "tail": prior.tail, "origin": prior.origin, "moment tail": prior.moment_tail(),
    }  # fmt: skip
    for kind in KINDS:
        found[f"support {kind}"] = list(prior.support(kind))
        found[f"printed {kind}"] = _told(lambda kind=kind: "\n".join(doors.printed_prior(prior, kind)))
    return found


def _numbers(prior: Any, words: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in KINDS if prior.name not in (*JOINT, "lkj") else ():
        found |= _densities(prior, kind, words)
    if prior.name == "lkj":
        factors = dist.LKJCholesky(3, 1.0).sample(jax.random.key(2, impl="threefry2x32"), (8,))
        found["log density"] = jnp.stack([doors.log_lkj(factor, prior.args[0]) for factor in factors])
    keys = jax.random.split(jax.random.key(5, impl="threefry2x32"), DRAWS)
    unit = jnp.asarray(UNIT) if prior.unit else None
    try:
        found["draws"] = jnp.stack([doors.drawn(prior, key, unit, 3 if prior.name == "lkj" else 1) for key in keys])
    except ValueError as error:
        words["draws"] = str(error)
    return found


def _densities(prior: Any, kind: str, words: dict[str, Any]) -> dict[str, Any]:
    """Log density and its derivative on a grid, with and without its context; NumPyro's log density inside the
    support.
    """
    context = jnp.asarray(VARIANCES) if prior.of_variances else jnp.asarray(UNIT) if prior.unit else None
    grid = jnp.asarray(GRID[kind])
    graded = [jax.value_and_grad(lambda x: prior.log_density(x, context))(x) for x in grid]
    found = {
        f"log density {kind}": jnp.stack([v for v, _ in graded]),
        f"slope {kind}": jnp.stack([g for _, g in graded]),
    }
    if context is not None:
        words["without context"] = _told(lambda: prior.log_density(grid))
    law = doors.numpyro_law(prior, kind) if prior.name != "fixed" else None
    words[f"numpyro {kind}"] = "none" if law is None else type(law).__name__
    if law is not None:
        (low, high), own = prior.support(kind), doors.ends(law)
        found[f"numpyro {kind}"] = law.log_prob(
            jnp.asarray([x for x in GRID[kind] if max(low, own[0]) < x < min(high, own[1])])
        )
    return found
