"""Models and designs made ready for the programs of `hiermodels.studies.calibrate.sbc`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from pydantic_core import PydanticCustomError

from hiermodels.inference import samplers
from hiermodels.inference.diagnostics import convergence
from hiermodels.inference.draws import Draws
from hiermodels.inference.samplers import Settings
from hiermodels.models.data import bind
from hiermodels.models.problem import Problem, as_jax
from hiermodels.models.spec import Model
from hiermodels.studies.calibrate.sbc import POINTS, Quantities, Ranks, lanes_for, log_likelihood, map_replicates, ranks
from hiermodels.studies.config.designs import read_design
from hiermodels.studies.config.deviating import canonical, check_deviation, read_deviations
from hiermodels.studies.config.errors import within
from hiermodels.studies.config.mechanisms import outcome_of
from hiermodels.studies.machine import cores
from hiermodels.studies.mechanisms import own
from hiermodels.studies.mechanisms.designs import design_frame
from hiermodels.studies.mechanisms.deviant import Deviation, any_rows, read_deviation
from hiermodels.studies.mechanisms.predictors import (
    Redrawn,
    declared_scales,
    draw,
    redesign,
    redrawn,
    without_reference,
)
from hiermodels.studies.mechanisms.rows import Rows, redesigned
from hiermodels.studies.mechanisms.simulate import Truth, simulate_given, simulator

__all__ = ["posterior_ranks", "prior_ranks", "settings_of"]

_TRUTHS = 4000
"""Draws of the prior whose deciles the data-averaged posterior is compared at."""

Found = tuple[Ranks, Quantities, str]


def settings_of(
    sampler: Any, marginalize: bool, centred: bool, draws: int, tune: int, chains: int, target_accept: float
) -> Settings:
    """Checked settings; a sampler of one's own has none."""
    name = sampler if isinstance(sampler, str) else Settings.sampler
    settings = Settings(name, marginalize, centred, draws, tune, chains, target_accept, accuracy="study")
    samplers.check_settings(settings)
    return settings


@dataclass(frozen=True)
class _Bound:
    """A model on a design: how to put an outcome into its data, how to draw from its posterior.

    Attributes
    ----------
    problem : Problem or OwnProblem
    draw : callable
        ``(key, data) -> Draws``.
    data : Any
        Arrays of the design, outcome blank.
    with_outcome : callable
        ``(data, y) -> data``.
    name : str
        Of the sampler, for the table.
    lanes : int
    independent : bool
        Draws are independent.
    """

    problem: Any
    draw: Callable[[Array, Any], Draws]
    data: Any
    with_outcome: Callable[[Any, Array], Any]
    name: str
    lanes: int
    independent: bool


def prior_ranks(
    model: Any,
    design: Any,
    settings: Settings,
    sampler: Any,
    replications: int,
    functions: Mapping[str, Callable[..., Any]],
    keep: Callable[[Any], Any] | None,
    deviation: Mapping[str, Any],
    seed: int,
    precision: str,
    workers: int | None,
) -> Found:
    """Ranks of truths from the prior; see `hiermodels.studies.calibrate.calibration.sbc`."""
    (frame, laws), double = _frame(design, seed), _double(precision)
    with jax.enable_x64(double):
        bound, simulate = _bind_prior(model, frame, laws, settings, sampler, deviation)
        quantities = _quantities(bound, functions, simulate)
        keys, prior_keys = _keys(seed, replications), _keys(seed, _TRUTHS, 1)

        def designs(keys: Array) -> tuple[Array, dict[str, np.ndarray]]:
            return keys, redesign(bound.problem, frame, draw(laws, keys))

        def truths(mapped: tuple[Array, dict[str, Array]], data: Any) -> Array:
            key, changes = mapped
            data = redesigned(data, changes)
            y, true = simulate(key, data)
            return quantities.of(true, bound.with_outcome(data, y))

        width = workers or cores()
        prior = map_replicates(truths, designs(prior_keys), bound.data, 64, width, double)
        points = jnp.asarray(_deciles(prior))

        def one(mapped: tuple[Array, dict[str, Array]], shared: tuple[Any, Array]) -> Ranks:
            (key, changes), (data, points) = mapped, shared
            data = redesigned(data, changes)
            truth_key, fit_key, tie_key = jax.random.split(key, 3)
            y, true = simulate(truth_key, data)
            data = bound.with_outcome(data, y)
            kept = jnp.ones((), bool) if keep is None else jnp.asarray(keep(data)).reshape(()).astype(bool)
            return ranks(
                quantities.of(true, data),
                bound.draw(fit_key, data),
                quantities,
                data,
                points,
                tie_key,
                bound.independent,
                kept,
            )

        rows = map_replicates(one, designs(keys), (bound.data, points), bound.lanes, width, double)
    return rows, quantities, bound.name


def posterior_ranks(
    model: Any,
    frame: pd.DataFrame,
    settings: Settings,
    sampler: Any,
    replications: int,
    functions: Mapping[str, Callable[..., Any]],
    seed: int,
    precision: str,
    workers: int | None,
) -> Found:
    """Ranks of truths from a posterior; see `hiermodels.studies.calibrate.calibration.posterior_sbc`."""
    if not isinstance(model, Model):
        raise ValueError(
            f"model: expected hm.Model, found {type(model).__name__}; a NumPyro function has prior SBC only"
        )
    double = _double(precision)
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(
            f"data: expected a DataFrame with the outcome, found {type(frame).__name__}; use hm.load_dataset(...)"
        )
    twice = pd.concat([frame, frame], ignore_index=True)
    with jax.enable_x64(double):
        observed = bind(model, frame)
        bound = _bound(bind(model, twice, outcome=False, scales=observed.scales), settings, sampler)
        first, rows, layout = as_jax(observed.data), len(frame), observed.layout
        values = _posterior_truths(observed, settings, sampler, replications, seed)
        quantities = _quantities(bound, functions, None, values)
        y0 = first.y[:rows]
        blank = jnp.zeros(bound.problem.layout.obs - 2 * rows)

        def one(mapped: tuple[Array, dict[str, Array]], shared: tuple[Any, Any, Array]) -> Ranks:
            (key, true), (design, data, points) = mapped, shared
            truth_key, fit_key, tie_key = jax.random.split(key, 3)
            again = simulate_given(layout, truth_key, design, true)[:rows]
            data = bound.with_outcome(data, jnp.concatenate([y0, again, blank]))
            kept = jnp.ones((), bool)
            return ranks(
                quantities.of(true, data),
                bound.draw(fit_key, data),
                quantities,
                data,
                points,
                tie_key,
                bound.independent,
                kept,
            )

        width = workers or cores()
        keys = _keys(seed, replications)
        blank_points = jnp.zeros((quantities.size, POINTS))
        truth = map_replicates(lambda v, s: quantities.of(v, s), values, bound.data, 64, width, double)
        points = jnp.asarray(_deciles(truth)) + 0 * blank_points
        found = map_replicates(one, (keys, values), (first, bound.data, points), bound.lanes, width, double)
    return found, quantities, bound.name


def _double(precision: str) -> bool:
    if precision not in ("float64", "float32"):
        raise ValueError(f"precision: expected float64 or float32, found {precision!r}; use one of them")
    return precision == "float64"


def _keys(seed: int, count: int, stream: int = 0) -> Array:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected a whole number from 0, found {seed!r}; e.g. seed=1")
    base = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), stream)
    return jax.vmap(lambda r: jax.random.fold_in(base, r))(jnp.arange(count, dtype=jnp.uint32))


def _deciles(values: np.ndarray) -> np.ndarray:
    return np.nanquantile(values, np.arange(1, POINTS + 1) / (POINTS + 1), axis=0).T


def _frame(design: Any, seed: int) -> tuple[pd.DataFrame, tuple[Redrawn, ...]]:
    """A design's rows, and its predictors that are redrawn with each dataset."""
    if isinstance(design, pd.DataFrame):
        return design, ()
    try:
        read = read_design(design)
        frame = design_frame(read, seed, 0)
        return frame, redrawn(read, frame)
    except PydanticCustomError as error:
        raise ValueError(f"design: {(error.context or {}).get('message', error.message())}") from None


def _bind_prior(
    model: Any,
    frame: pd.DataFrame,
    laws: tuple[Redrawn, ...],
    settings: Settings,
    sampler: Any,
    deviation: Mapping[str, Any],
) -> tuple[_Bound, Callable[[Array, Any], tuple[Any, dict[str, Array]]]]:
    """A model with proper priors on a design, and the simulator of its truths and datasets."""
    if callable(model) and not isinstance(model, Model):
        if deviation:
            raise ValueError(
                "deviation: expected hm.Model, found a NumPyro function; write the deviation into the function"
            )
        return _bind_own(model, frame, settings, sampler)
    if not isinstance(model, Model):
        raise ValueError(
            f"model: expected hm.Model or a NumPyro function, found {type(model).__name__}; write hm.Model(...)"
        )
    problem = without_reference(bind(model, frame, outcome=False, scales=declared_scales(model, frame, laws)), laws)
    priors = tuple((p.name, p.prior) for p in problem.layout.parameters)
    for name, law in priors:
        if not law.proper:
            raise ValueError(
                f"priors: {name}: {law} is improper, so no truth can be drawn from it; name a proper one, e.g. "
                f"half_normal(5)"
            )
    other = _read_deviation(deviation, problem)
    simulate = simulator(problem.layout, Truth(priors, (), (), at_means=True), other)
    bound = _bound(any_rows(problem) if other is not None and other.changes_rows else problem, settings, sampler)
    return bound, lambda key, data: simulate(key, data, {})


def _read_deviation(given: Mapping[str, Any], problem: Problem) -> Deviation | None:
    """A deviation as a config writes it, checked against the model."""
    try:
        with within("deviation"):
            checked = check_deviation(given)
        plain = canonical(checked, problem.model.family, [level.name for level in problem.layout.levels], {})
    except PydanticCustomError as error:
        context = error.context or {}
        raise ValueError(f"{'.'.join(map(str, context['at']))}: {context['message']}") from None
    return read_deviation(read_deviations(plain), problem, {})


def _bound(problem: Problem, settings: Settings, sampler: Any) -> _Bound:
    layout = problem.layout
    if callable(sampler):
        draw, name, lanes, independent = sampler, getattr(sampler, "__name__", "function"), lanes_for("", 0, 0), False
    else:
        draw, name, independent = samplers.sampler(layout, settings), sampler, samplers.of(settings).independent
        dim = samplers.dimension(layout, settings)
        width = layout.obs + sum(level.size * len(level.effects) for level in layout.levels)
        lanes = lanes_for(name, dim, width)

    def with_outcome(data: Any, y: Any) -> Any:
        return (y if isinstance(y, Rows) else Rows(y)).onto(layout, data)

    return _Bound(problem, draw, as_jax(problem.data), with_outcome, name, lanes, independent)


def _bind_own(
    function: Callable[..., Any], frame: pd.DataFrame, settings: Settings, sampler: Any
) -> tuple[_Bound, Callable[[Array, Any], tuple[Array, dict[str, Array]]]]:

    problem = own.bind_own(function, frame, outcome_of(function))
    layout = problem.layout
    simulate = own.own_simulator(layout, Truth((), (), ()))

    how, able = samplers.of(settings), samplers.those_that("functions")

    def drawn(key: Array, data: Any) -> Draws:
        found = how.draw(layout.model, key, data)
        values = {n: x.reshape(*x.shape[:2], -1) if layout.shapes[n] else x for n, x in found.values.items()}
        return replace(found, values=values)

    if isinstance(sampler, str) and sampler not in able:
        raise ValueError(
            f"sampler: expected {' or '.join(able)} for a NumPyro function, found {sampler!r}; declare hm.Model(...) "
            f"to choose"
        )
    draw = sampler if callable(sampler) else drawn
    name = getattr(sampler, "__name__", "function") if callable(sampler) else settings.sampler
    lanes = lanes_for(settings.sampler, layout.model.dim, layout.obs)
    data = layout.model.prepare(problem.data)
    return _Bound(problem, draw, data, layout.with_outcome, name, lanes, False), lambda key, data: simulate(
        key, data, {}
    )


def _quantities(
    bound: _Bound,
    functions: Mapping[str, Callable[..., Any]],
    simulate: Callable[[Array, Any], tuple[Array, dict[str, Array]]] | None,
    values: dict[str, Array] | None = None,
) -> Quantities:
    """Every variable that both truths and draws have, the log likelihood, and the user's own functions."""
    problem, key = bound.problem, jax.random.key(0)
    drawn = jax.eval_shape(bound.draw, key, bound.data)
    if not isinstance(drawn, Draws):
        raise ValueError(
            f"sampler: expected hiermodels.inference.draws.Draws, found {type(drawn).__name__}; return Draws(values, "
            f"{{}})"
        )
    true = jax.eval_shape(lambda: simulate(key, bound.data)[1] if simulate else jax.tree.map(lambda a: a[0], values))
    levels = {name: level.name for level in problem.layout.levels for name in problem.layout.effect_names(level)}
    fixed = {p.name for p in problem.layout.parameters if getattr(getattr(p, "prior", None), "name", "") == "fixed"}
    correlations = {p.name for p in problem.layout.parameters if getattr(p, "role", "") == "correlation"}
    labels: dict[str, tuple[str, ...]] = {}
    places: dict[str, np.ndarray] = {}
    for name, shape in ((n, s.shape[2:]) for n, s in drawn.values.items() if n in true and n not in fixed):
        if name in levels:
            place, words = problem.positions[levels[name]], tuple(problem.labels[levels[name]])
        elif name in correlations:
            rows, columns = np.tril_indices(shape[0], -1)
            place, words = rows * shape[1] + columns, tuple(f"{r}:{c}" for r, c in zip(rows, columns, strict=True))
            words = ("",) if len(words) == 1 else words
        else:
            size = int(np.prod(shape, dtype=int))
            place, words = np.arange(size), ("",) if size == 1 else tuple(map(str, range(size)))
        if tuple(true[name].shape) != tuple(shape):
            raise ValueError(
                f"sampler: {name}: expected draws of shape (chain, draw, *{tuple(true[name].shape)}), found (chain, "
                f"draw, *{tuple(shape)})"
            )
        labels[name], places[name] = words, place
    own = dict(functions)
    if isinstance(problem, Problem):
        own = {"log_likelihood": log_likelihood(problem.layout), **own}
    twice = [name for name in own if name in labels]
    if twice:
        raise ValueError(f"quantities: {twice[0]!r} is a variable of the model already; choose another name")
    labels |= {name: ("",) for name in own}
    if not labels:
        raise ValueError("sampler: expected draws of the model's variables, found none; name them as the model does")
    return Quantities(labels, places, own)


def _posterior_truths(
    problem: Problem, settings: Settings, sampler: Any, replications: int, seed: int
) -> dict[str, Array]:
    """Independent draws of every variable given the observed data, shape (replicate, *dims)."""
    key, data = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), 2), as_jax(problem.data)
    many = replace(settings, draws=max(settings.draws, -(-8 * replications // settings.chains)))
    independent = isinstance(sampler, str) and samplers.of(settings).independent
    if independent:
        many = replace(settings, draws=-(-replications // settings.chains))
    draw = sampler if callable(sampler) else samplers.sampler(problem.layout, many)
    values = jax.jit(draw)(key, data).values
    flat = {name: x.reshape(-1, *x.shape[2:]) for name, x in values.items()}
    total = len(next(iter(flat.values())))
    scalars = (
        jnp.stack([x for x in values.values() if x.ndim == 2], -1)
        if any(x.ndim == 2 for x in values.values())
        else None
    )
    ess = total if independent or scalars is None else float(jnp.nanmin(jnp.stack(convergence(scalars)[1:])))
    if min(ess, total) < replications:
        raise ValueError(
            f"draws: expected at least {replications} effective draws given the data, found {min(ess, total):.0f}; "
            f"take longer chains or fewer replications"
        )
    pick = np.linspace(0, total - 1, replications).round().astype(int)
    return {name: x[pick] for name, x in flat.items()}
