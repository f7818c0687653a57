"""Estimates without draws: what they hold, and how their functions are called on plain arrays."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.inference.student import student_quantile

__all__ = ["PointEstimates", "data_names", "on_arrays", "setting_names"]

_NOT_NEGATIVE = ("successes", "trials", "size", "within")


class PointEstimates(eqx.Module):
    """What an estimator without draws says about one dataset.

    A field is None where the method has no such quantity, and NaN where it has none for this dataset. Intervals are
    ``value -+ t se`` with the quantile of Student's t at ``<name>_df`` degrees of freedom, of the normal where there is
    no such field.

    Attributes
    ----------
    theta, theta_se : Array, shape (group,)
        Values of the groups.
    shrinkage : Array, shape (group,)
        B: theta is ``centre + (1 - B) (y - centre)``, or what its function says instead.
    centre : Array
        What theta is pulled to, where a group without data has no theta: there it stands for it in the average over
        groups.
    average_se : Array
        Standard error of the average of theta over groups.
    mean, mean_se, mean_df : Array
        Population mean; in a cluster design the value of a cluster whose predictor is 0.
    sd : Array
        Standard deviation between groups, tau.
    new_se, new_df : Array
        Of the prediction of a new group, whose point estimate is ``mean``.
    effect, effect_se, effect_df : Array
        Effect of a cluster-level predictor, a unit of it.
    sigma : Array
        Standard deviation within groups.
    """

    theta: Any = None
    theta_se: Any = None
    shrinkage: Any = None
    centre: Any = None
    average_se: Any = None
    mean: Any = None
    mean_se: Any = None
    mean_df: Any = None
    sd: Any = None
    new_se: Any = None
    new_df: Any = None
    effect: Any = None
    effect_se: Any = None
    effect_df: Any = None
    sigma: Any = None

    def __repr__(self) -> str:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if any(isinstance(value, jax.core.Tracer) for value in given.values()):
            return f"PointEstimates({', '.join(given)})"
        wide = max(map(len, given), default=0)
        texts = {name: np.array2string(np.asarray(value), precision=6, threshold=20) for name, value in given.items()}
        indent = " " * (wide + 2)
        return "\n".join(f"{name:{wide}}  " + text.replace("\n", f"\n{indent}") for name, text in texts.items())

    def interval(self, name: str = "theta", level: float = 0.95) -> tuple[Any, Any]:
        """Lower and upper end of the equal-tailed interval.

        Parameters
        ----------
        name : str
            ``theta``, ``mean``, ``new`` (prediction interval) or ``effect``.
        level : float

        Raises
        ------
        ValueError
            If the method has no standard error of it.

        Examples
        --------
        >>> from hiermodels.inference.frequentist import hksj
        >>> lower, upper = hksj([28, 8, -3, 7], [15.0**2, 10**2, 16**2, 11**2]).interval("mean")
        >>> round(float(lower), 2), round(float(upper), 2)
        (-7.31, 26.14)
        """
        se = getattr(self, f"{name}_se", None)
        if se is None:
            having = [n for n in ("theta", "mean", "new", "effect") if getattr(self, f"{n}_se", None) is not None]
            raise ValueError(
                f"interval: expected one of {', '.join(having) or 'nothing: no standard errors'}, found {name!r}; "
                f"choose one"
            )
        half = student_quantile_of(self, name, 0.5 + level / 2) * se
        value = getattr(self, "mean" if name == "new" else name)
        return value - half, value + half


def student_quantile_of(found: PointEstimates, name: str, p: float) -> Any:
    """Quantile by which a standard error is multiplied; NumPy numbers for NumPy fields."""
    df = getattr(found, f"{name}_df", None)
    df = jnp.inf if df is None else df
    if isinstance(df, float | np.ndarray | np.number):
        with jax.enable_x64(True):
            return np.asarray(student_quantile(p, jnp.asarray(df, float)))
    return student_quantile(p, df)


def data_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the arrays that an estimator takes, in order.

    Examples
    --------
    >>> from hiermodels.inference.estimators import compromise
    >>> data_names(compromise), list(setting_names(compromise))
    (('y', 'variance'), ['weight'])
    """
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY)


def setting_names(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Settings of an estimator: its parameters that can only be given by name."""
    parameters = inspect.signature(function, eval_str=True).parameters
    return {name: p for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def on_arrays(function: Callable[..., PointEstimates]) -> Callable[..., PointEstimates]:
    """Let a pure JAX function of equally long arrays be called on lists and NumPy arrays too.

    Traced arguments pass through. Anything else is checked, computed in double precision and given back as NumPy
    arrays.

    Raises
    ------
    ValueError
        Called on plain arrays: for shapes that differ, numbers that are not finite, variances or counts that cannot be.
    """
    names = data_names(function)

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> PointEstimates:
        given = inspect.signature(function).bind(*args, **keywords).arguments
        arrays = [given.pop(name) for name in names]
        if any(isinstance(a, jax.core.Tracer) for a in arrays):
            first = jnp.asarray(arrays[0])
            return function(first, *(jnp.broadcast_to(a, first.shape) for a in arrays[1:]), **given)
        checked = _checked(dict(zip(names, arrays, strict=True)))
        with jax.enable_x64(True):
            found = _compiled(function, tuple(sorted(given.items())))(*checked)
        return jax.tree.map(np.asarray, found)

    return call


@functools.lru_cache(maxsize=128)
def _compiled(function: Callable[..., Any], settings: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    return jax.jit(functools.partial(function, **dict(settings)))


def _checked(arrays: dict[str, Any]) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for name, values in arrays.items():
        try:
            array = np.asarray(values, dtype=float)
        except (TypeError, ValueError):
            raise ValueError(f"{name}: expected numbers, found {values!r}; convert them") from None
        first = found[0] if found else array
        if first.ndim != 1 or array.shape not in ((), first.shape):
            wanted = f"one number or {len(first)} of them" if first.ndim == 1 else "a list of numbers, one a group"
            raise ValueError(f"{name}: expected {wanted}, found shape {array.shape}; give one entry a group")
        array = np.array(np.broadcast_to(array, first.shape))
        bad = np.isnan(array) | (np.isinf(array) & (name != "variance"))
        bad |= (array < 0) & (name in _NOT_NEGATIVE) | (array <= 0) & (name == "variance")
        if bad.any():
            i = int(np.argmax(bad))
            wanted = (
                "a positive number"
                if name == "variance"
                else f"a finite number{' of at least 0' * (name in _NOT_NEGATIVE)}"
            )
            raise ValueError(
                f"{name}: expected {wanted}, found {array[i]:g} at place {i} (from 0); mend or drop that group"
            )
        found.append(array)
    if len(found[0]) < 2:
        raise ValueError(
            f"{next(iter(arrays))}: expected at least 2 groups, found {len(found[0])}; nothing can be pooled"
        )
    if "successes" in arrays and (found[0] > found[1]).any():
        i = int(np.argmax(found[0] > found[1]))
        raise ValueError(
            f"successes: expected at most the trials, found {found[0][i]:g} of {found[1][i]:g} at place {i}; mend them"
        )
    return found


def masked(y: Array, variance: Array) -> tuple[Array, Array, Array]:
    """Outcomes (0 where there are none), precisions (0 where there are none) and the number of groups with data."""
    there = jnp.isfinite(variance)
    return jnp.where(there, y, 0.0), jnp.where(there, 1 / variance, 0.0), jnp.sum(there).astype(variance.dtype)
