"""A user's own NumPyro function in a study, as mechanism or as model of a method.

Where it meets a design it is given the shape of a `Problem`: each of its sites with an axis is a level of its own whose
groups are the labels of the site's plates, each scalar site is a parameter. All else in a study goes on as it does for
a formula.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers

from hiermodels import priors
from hiermodels.inference.describe import axes
from hiermodels.models.labels import join, label_text, match_labels
from hiermodels.models.streams import stream
from hiermodels.models.user import UserModel, user_model
from hiermodels.studies.mechanisms.simulate import Truth

if TYPE_CHECKING:
    import pandas as pd


__all__ = [
    "OwnLayout",
    "OwnProblem",
    "bind_own",
    "means",
    "own_regime",
    "own_simulator",
    "own_truth",
]


class OwnLevel(NamedTuple):
    """A site with an axis: its name, and how many entries it has."""

    name: str
    size: int


@dataclass(frozen=True)
class OwnLayout:
    """What programs of a NumPyro function depend on; equal for the same function and shapes, whatever the data.

    Attributes
    ----------
    key : tuple
        Function, outcome, counts, and each argument's name, shape and type.
    obs : int
        Rows.
    model : UserModel
    shapes : dict of str to tuple of int
        Each latent and deterministic site's.
    """

    key: tuple[Any, ...]
    obs: int
    model: UserModel = field(compare=False, repr=False)
    shapes: dict[str, tuple[int, ...]] = field(compare=False, repr=False)

    @property
    def levels(self) -> tuple[OwnLevel, ...]:
        """Sites with an axis."""
        return tuple(OwnLevel(name, math.prod(shape)) for name, shape in self.shapes.items() if shape)

    @property
    def parameters(self) -> tuple[OwnLevel, ...]:
        """Scalar sites."""
        return tuple(OwnLevel(name, 1) for name, shape in self.shapes.items() if not shape)

    def effect_names(self, level: OwnLevel) -> tuple[str, ...]:
        """A level is one site."""
        return (level.name,)

    def available(self) -> set[str]:
        """Names of sites, and ``mean(...)`` of those with an axis."""
        return {*self.shapes, *(f"mean({level.name})" for level in self.levels)}

    def with_outcome(self, data: dict[str, Array], y: Array) -> dict[str, Array]:
        """The arguments with this outcome; whole numbers where the function draws whole numbers."""
        return {**data, self.model.outcome: y.astype(data[self.model.outcome].dtype)}


@dataclass(frozen=True)
class OwnProblem:
    """A NumPyro function on a design, as `hiermodels.models.data.Problem` is a declared model on one.

    Attributes
    ----------
    layout : OwnLayout
    data : dict of str to ndarray
        Arguments of the function; the outcome is a placeholder.
    labels : dict of str to list of str
        Site to the labels of its entries, row by row (``A:0`` for two axes).
    positions : dict of str to ndarray
        Site to the place of each label: nothing is padded.
    missing_moments : dict
        Empty: nothing is known about it.
    """

    layout: OwnLayout
    data: dict[str, np.ndarray]
    labels: dict[str, list[str]]
    positions: dict[str, np.ndarray]
    missing_moments: dict[str, str]


def bind_own(function: Callable[..., Any], frame: pd.DataFrame, outcome: str) -> OwnProblem:
    """Let a NumPyro function meet a design whose outcome is still to be simulated.

    Raises
    ------
    ValueError
        As `hiermodels.models.user.user_model`; for a model that has no latent site.
    """
    whole = _draws_whole_numbers(function, frame, outcome)
    model = user_model(function, frame.assign(**{outcome: 0 if whole else 0.0}), outcome)
    if not model.sites:
        raise ValueError(
            "formula: the function samples nothing, so there is nothing to estimate; add numpyro.sample sites"
        )

    def sites() -> dict[str, Array]:
        return model.draw(jax.random.key(0), jnp.zeros(model.dim), model.prepare(model.data))

    shapes = {name: tuple(x.shape) for name, x in jax.eval_shape(sites).items()}
    named = axes({name: np.empty((1, 1, *shape)) for name, shape in shapes.items()}, model)
    labels = {
        name: _joined([list(map(str, words)) for _, words in named[name]]) for name, shape in shapes.items() if shape
    }
    arguments = tuple((k, np.shape(v), np.asarray(v).dtype.str) for k, v in model.data.items())
    layout = OwnLayout((function, outcome, tuple(model.counts.items()), arguments), len(frame), model, shapes)
    return OwnProblem(layout, model.data, labels, {name: np.arange(len(words)) for name, words in labels.items()}, {})


def _joined(labels: list[list[str]]) -> list[str]:
    return [join(words) for words in itertools.product(*labels)]


def _draws_whole_numbers(function: Callable[..., Any], frame: pd.DataFrame, outcome: str) -> bool:
    """Whether the outcome is discrete: its site is the one that is observed once there is an outcome."""
    model = user_model(function, frame.assign(**{outcome: 0}), outcome)
    found: list[bool] = []

    def run() -> None:
        keywords = {**model.prepare(model.data), **model.counts}
        trace = handlers.trace(handlers.substitute(handlers.seed(function, 0), substitute_fn=_middle)).get_trace(
            **keywords
        )
        found.extend(
            bool(site["fn"].support.is_discrete)
            for site in trace.values()
            if site["type"] == "sample" and site["is_observed"] and np.shape(site["value"]) == (len(frame),)
        )

    jax.eval_shape(run)
    return any(found)


def _middle(message: dict[str, Any]) -> Array | None:
    """Some value of a latent site's shape, so that improper priors need not be drawn from."""
    if message["type"] != "sample" or message["is_observed"] or message["value"] is not None:
        return None
    return jnp.ones(message["fn"].shape(message["kwargs"].get("sample_shape", ())))


def means(layout: OwnLayout, values: Mapping[str, Array], lead: int) -> dict[str, Array]:
    """Sites flattened after ``lead`` axes, and the average of each that has an axis."""
    found: dict[str, Array] = {}
    for name, shape in layout.shapes.items():
        value = values[name]
        found[name] = value.reshape(*value.shape[:lead], -1) if shape else value
        if shape:
            found[f"mean({name})"] = found[name].mean(-1)
    return found


# a mechanism
# -----------------------------------------------------------------------------------------------------------


def own_truth(truth: Mapping[str, Any], problem: OwnProblem) -> tuple[Truth, dict[str, np.ndarray]]:
    """Sort a cell's truth into laws and values of latent sites; sites that are not named come from their own priors.

    A number or a law stands for every entry of a site with an axis (a law is drawn entry by entry).

    Returns
    -------
    Truth
    values : dict
        Array of the site's shape for each site that is given.

    Raises
    ------
    ValueError
        For a name that is no latent site, labels that do not fit, or a function that does not simulate its outcome.
    """
    layout = problem.layout
    latent = {site.name for site in layout.model.sites}
    laws, values = [], {}
    for name, value in truth.items():
        if name not in latent:
            near = difflib.get_close_matches(name, latent, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"its latent sites are {', '.join(sorted(latent))}"
            raise ValueError(f"truth: {name!r} is no latent site of the function; {hint}")
        if isinstance(value, str):
            laws.append((name, priors.parse(value, f"truth: {name}")))
        elif isinstance(value, Mapping):
            values[name] = _by_label(name, value, problem)
        else:
            values[name] = np.full(layout.shapes[name], float(value))
    found = Truth(tuple(laws), (), tuple(values))
    _check_simulates(problem, found, values)
    return found, values


def _by_label(name: str, value: Mapping[str, Any], problem: OwnProblem) -> np.ndarray:
    labels = problem.labels.get(name, [])
    given, strange = match_labels(value, labels)
    odd = [x for x in labels if x not in given] + strange
    if odd or not labels:
        wanted = ", ".join(labels[:10]) or "nothing: it is a scalar, so give one number"
        raise ValueError(
            f"truth: {name}: expected a number for each of {wanted}; found "
            f"{', '.join(map(label_text, list(value)[:10]))}; mend the labels"
        )
    return np.array([float(given[x]) for x in labels]).reshape(problem.layout.shapes[name])


def _check_simulates(problem: OwnProblem, truth: Truth, values: dict[str, np.ndarray]) -> None:
    layout = problem.layout
    try:
        y, _ = jax.eval_shape(
            own_simulator(layout, truth), jax.random.key(0), layout.model.prepare(problem.data), values
        )
    except NotImplementedError:
        raise ValueError(
            "truth: a site's prior cannot be drawn from; name that site here, or give it a proper prior"
        ) from None
    if y.shape != (layout.obs,):
        raise ValueError(
            f"formula: expected one outcome a row, shape ({layout.obs},), found {y.shape}; mend the outcome's site"
        )


def own_simulator(layout: OwnLayout, truth: Truth) -> Callable[..., tuple[Array, dict[str, Array]]]:
    """One dataset of a NumPyro function.

    Returns
    -------
    callable
        ``simulate(key, design, values) -> (y, true)``: the outcome, shape (obs,), and the true value of every latent
        and deterministic site, with ``mean(...)`` of those with an axis.
    """

    def simulate(
        key: Array, design: dict[str, Array], values: dict[str, Array], words: Mapping[str, Array] | None = None
    ) -> tuple[Array, dict[str, Array]]:
        law_key, value_key = jax.random.split(key)
        known = dict(values)
        for name, law in truth.laws:
            shape = layout.shapes[name]
            keys = jax.random.split(stream(law_key, name), math.prod(shape))
            known[name] = jax.vmap(law.sample)(keys).reshape(shape)
        found = layout.model.simulate(value_key, design, known)
        y = found[_outcome_site(layout, found)]
        return y.astype(jnp.result_type(float)), means(layout, found, 0)

    return simulate


def _outcome_site(layout: OwnLayout, found: Mapping[str, Array]) -> str:
    """The site that is drawn only where there is no outcome."""
    free = [name for name, x in found.items() if name not in layout.shapes and x.size]
    outcome = layout.model.outcome
    if outcome in free:
        return outcome
    if len(free) != 1:
        raise ValueError(
            f"formula: expected one site observed as {outcome!r}, found {', '.join(free) or 'none'}; "
            f"write numpyro.sample({outcome!r}, ..., obs={outcome})"
        )
    return free[0]


def own_regime(problem: OwnProblem, truth: Truth) -> str:
    """Truth regime: ``fixed`` where every latent site is a number, ``population`` where every scalar one is, else
    ``prior``.
    """
    free = [site.name for site in problem.layout.model.sites if site.name not in truth.thetas]
    if not free:
        return "fixed"
    laws = {name for name, _ in truth.laws}
    return "population" if all(problem.layout.shapes[n] and n not in laws for n in free) else "prior"
