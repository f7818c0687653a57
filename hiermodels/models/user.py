"""A user's own NumPyro function, behind the interface of the library's models.

The function is called with keywords named as its parameters: a numeric column as an array, any other column
as integer codes, ``n_<column>`` as the number of its categories, and the outcome as None to simulate.

    def model(school, n_school, se, effect=None):
        mu = numpyro.sample("mu", dist.Normal(0, 20))
        tau = numpyro.sample("tau", dist.HalfNormal(10))
        with numpyro.plate("school", n_school):
            theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("effect", dist.Normal(theta[school], se), obs=effect)
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers

from hiermodels.models.columns import as_numbers
from hiermodels.models.groupings import read_labels
from hiermodels.models.labels import join
from hiermodels.models.sites import Site, find_sites, flat_log_density, to_flat

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UserModel", "user_model"]


@dataclass(frozen=True, eq=False)
class UserModel:
    """A NumPyro function that has met its data; the interface of `hiermodels.models.explicit.Explicit`.

    Attributes
    ----------
    function : callable
    outcome : str
        The parameter that takes the outcome.
    data : dict of str to ndarray
        Arrays by parameter; what programs are run on.
    counts : dict of str to int
        ``n_<column>`` parameters; static.
    labels : dict of str to list of str
        Categories of each column that is passed as codes, in the order of the codes.
    """

    function: Callable[..., Any]
    outcome: str
    data: dict[str, np.ndarray] = field(repr=False)
    counts: dict[str, int] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Where each latent site lives in the flat vector; found by one trace on shapes."""
        return find_sites(self.function, **self._keywords(self.data))

    @cached_property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Names of the plates around each latent and deterministic site, outermost first."""
        found: dict[str, tuple[str, ...]] = {}

        def run() -> None:
            _, trace = flat_log_density(self.function, self.sites, jnp.zeros(self.dim), **self._keywords(self.data))
            for name, site in trace.items():
                if _reported(site):
                    frames = sorted(site.get("cond_indep_stack") or (), key=lambda f: f.dim)
                    found[name] = tuple(f.name for f in frames)

        jax.eval_shape(run)
        return found

    @property
    def dim(self) -> int:
        """Length of the unconstrained vector."""
        return self.sites[-1].stop if self.sites else 0

    def _keywords(self, data: dict[str, Any], outcome: bool = True) -> dict[str, Any]:
        return {**data, **self.counts} if outcome else {**data, **self.counts, self.outcome: None}

    def prepare(self, data: dict[str, Any]) -> dict[str, Array]:
        """The data as arrays on the device."""
        return {
            k: jnp.asarray(v, jnp.result_type(float)) if np.asarray(v).dtype.kind == "f" else jnp.asarray(v)
            for k, v in data.items()
        }

    def log_density(self, u: Array, data: dict[str, Array]) -> Array:
        """Log joint density at u, Jacobian included."""
        return flat_log_density(self.function, self.sites, u, **self._keywords(data))[0]

    def start(self, data: dict[str, Array]) -> Array:
        """The middle of every support (zero, unconstrained); shape (dim,)."""
        return to_flat(self.function, self.sites, lambda name: None, **self._keywords(data))

    def constrain(self, u: Array) -> dict[str, Array]:
        """Value of every latent site at u."""
        values = self.draw(jax.random.key(0), u, self.prepare(self.data))
        return {site.name: values[site.name] for site in self.sites}

    def draw(self, key: Array, u: Array, data: dict[str, Array]) -> dict[str, Array]:
        """Every latent and deterministic site at u, by name; ``key`` is not needed."""
        trace = flat_log_density(self.function, self.sites, u, **self._keywords(data))[1]
        return {name: site["value"] for name, site in trace.items() if _reported(site)}

    def simulate(self, key: Array, data: dict[str, Array], values: dict[str, Array] | None = None) -> dict[str, Array]:
        """Run the function without an outcome: every site's value, latent sites as given or drawn from their
        priors.

        Parameters
        ----------
        key : Array
        data : dict of str to Array
            As `prepare` returns; the outcome in it is not read.
        values : dict of str to Array, optional
            Latent sites that are fixed.

        Returns
        -------
        dict of str to Array
            The simulated outcome is under its own site's name.
        """
        run = handlers.seed(handlers.substitute(self.function, data=values or {}), key)
        trace = handlers.trace(run).get_trace(**self._keywords(data, outcome=False))
        return {name: site["value"] for name, site in trace.items() if site["type"] in ("sample", "deterministic")}


def _reported(site: dict[str, Any]) -> bool:
    """A latent or deterministic site; factors, which are observed units, are not."""
    return site["type"] == "deterministic" or (site["type"] == "sample" and not site["is_observed"])


def user_model(function: Callable[..., Any], frame: pd.DataFrame, outcome: str) -> UserModel:
    """Meet the data: give each parameter of the function its column.

    Parameters
    ----------
    function : callable
        A NumPyro model function.
    frame : DataFrame
        One row an observation.
    outcome : str
        Column of the outcome; a parameter of the function.

    Raises
    ------
    ValueError
        For a parameter that is no column, no ``n_<column>`` and has no default (the nearest column is
        offered), a function that never takes the outcome, and missing or infinite values.

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist
    >>> from hiermodels.datasets import load_dataset
    >>> def model(se, effect=None):
    ...     mu = numpyro.sample("mu", dist.Normal(0, 20))
    ...     numpyro.sample("effect", dist.Normal(mu, se), obs=effect)
    >>> user_model(model, load_dataset("eight_schools"), "effect").dim
    1
    """
    name = getattr(function, "__name__", "model")
    parameters = inspect.signature(function).parameters
    if outcome not in frame.columns:
        raise ValueError(
            f"outcome: no column {outcome!r} in the data; {_nearest(outcome, list(map(str, frame.columns)))}"
        )
    if outcome not in parameters:
        raise ValueError(
            f"{name}: the outcome {outcome!r} is no parameter of the function ({', '.join(parameters)}), "
            f"so the model never sees it; "
            f"add {outcome}=None and pass it as obs={outcome}"
        )
    data: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    labels: dict[str, list[str]] = {}
    for key, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ValueError(
                f"{name}: parameter {parameter} cannot be filled from columns by name; "
                "name each column in the signature"
            )
        if key in frame.columns:
            data[key] = _column(frame, key, labels)
        elif key.startswith("n_") and key[2:] in frame.columns:
            counts[key] = int(frame[key[2:]].nunique())
        elif parameter.default is parameter.empty:
            known = [*map(str, frame.columns), *(f"n_{c}" for c in frame.columns)]
            raise ValueError(
                f"{name}: parameter {key!r} is no column of the data and has no default; {_nearest(key, known)}"
            )
    if outcome in labels:
        raise ValueError(
            f"outcome: column {outcome!r} holds {labels[outcome][0]!r}, expected numbers; convert the column"
        )
    return UserModel(function, outcome, data, counts, labels)


def _column(frame: pd.DataFrame, name: str, labels: dict[str, list[str]]) -> np.ndarray:
    import pandas as pd

    column = frame[name]
    if column.isna().any():
        row = int(np.argmax(column.isna().to_numpy()))
        raise ValueError(f"column {name!r}, row {row}: expected a value, found a missing one; drop or fill the row")
    if column.dtype == object and not any(isinstance(cell, str) for cell in column):
        values, bad = as_numbers(column)
        column = column if bad.any() else pd.Series(values)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
        values = column.to_numpy()
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.argmax(~np.isfinite(values)))
            raise ValueError(
                f"column {name!r}, row {row}: expected a finite number, found {values[row]:g}; drop or mend the row"
            )
        return values.astype(int) if values.dtype.kind == "b" else values
    codes, found = read_labels(frame, name, "data")
    labels[name] = [join([str(label)]) for label in found]
    return codes.astype(int)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return (
        f"did you mean {near[0]!r}?"
        if near
        else f"the columns are {', '.join(k for k in known if not k.startswith('n_'))}"
    )
