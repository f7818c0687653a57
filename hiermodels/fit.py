"""Fit one model to one table: `fit` gives a `Fit` with draws, a summary, predictions, pictures, a file."""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hiermodels._fit_checks import Checks
from hiermodels._fit_pooling import PoolingViews
from hiermodels._fit_settings import FitSettings, as_frame, meet_function
from hiermodels._forks import refuse_fork
from hiermodels.inference import advice, describe, samplers
from hiermodels.inference.compiled import draw, draw_user
from hiermodels.models import checks
from hiermodels.models.data import bind
from hiermodels.models.merging import refitted_model
from hiermodels.models.problem import Problem, as_jax
from hiermodels.models.scales import Scales
from hiermodels.models.spec import Model
from hiermodels.models.user import UserModel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Fit", "FitSettings", "fit", "load_fit"]


def fit(
    model: Model | Callable[..., Any],
    data: pd.DataFrame,
    *,
    pooling: str | Mapping[str, str] = "partial",
    sampler: str = "nuts",
    marginalize: bool = True,
    centred: bool | str = False,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    target_accept: float = 0.8,
    seed: int = 0,
    precision: str = "float64",
    progress: bool = True,
    step_size: float | None = None,
) -> Fit:
    """Fit a model to a table, on whatever device JAX finds.

    Parameters
    ----------
    model : Model or callable
        A declaration, or a NumPyro function of one's own: it is called with keywords named as its parameters,
        a numeric column as an array, any other as integer codes, ``n_<column>`` as the number of its codes.
    data : DataFrame
        One row an observation.
    pooling : str or mapping
        ``complete``, ``none`` or ``partial``; or group term to word, e.g. ``{"school": "none"}``.
    sampler : str
        ``nuts``; ``exact``: independent draws, where the hyperparameters are few; ``closed_form``: independent draws,
        where the posterior has a closed form; others to compare with: see `hiermodels.inference.samplers`.
    marginalize : bool
        Integrate group values out where the model allows it; False moves on every parameter, as ``gibbs`` and
        ``metropolis`` always do.
    centred : bool or "auto"
        Parameterisation of group values that stay explicit: themselves, or standardised deviations from what they
        scatter around. ``auto`` chooses term by term from the data and says so in ``print(fit)``.
    draws, tune, chains : int
        Kept draws and warm-up draws of each chain; number of chains.
    target_accept : float
        Acceptance rate that the step size is tuned to.
    seed : int
        Same seed, same draws.
    precision : str
        ``float64`` or ``float32``.
    progress : bool
        Say on standard error what takes more than a moment.
    step_size : float, optional
        Of ``metropolis``: sd of the step of every parameter on its own scale; tuned during warm-up by default.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        Argument, column or row: what was expected, what was found, what to do.

    Examples
    --------
    >>> import hiermodels as hm
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
    >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
    >>> result.status, result.draws.values["theta_school"].shape
    ('ok', (4, 1000, 8))
    """
    refuse_fork("fit")
    settings = FitSettings(
        pooling, sampler, marginalize, centred, draws, tune, chains, target_accept, seed, precision, step_size
    )
    return _fitted(model, data, settings, progress)


def _fitted(
    model: Model | Callable[..., Any],
    data: pd.DataFrame,
    settings: FitSettings,
    progress: bool,
    scales: Scales | None = None,
) -> Fit:
    """`fit`, with the centres and scales of another fit where they are given."""
    sampling = settings.sampling()
    if not isinstance(progress, bool):
        raise ValueError(f"progress: expected True or False, found {progress!r}; give one of them")
    if not isinstance(model, Model) and not callable(model):
        raise ValueError(
            f"model: expected hm.Model or a NumPyro function, found {type(model).__name__}; write hm.Model(...)"
        )
    frame, remark = as_frame(data), ""
    with jax.enable_x64(settings.precision == "float64"):
        key = jax.random.key(settings.seed, impl="threefry2x32")
        problem: Problem | UserModel
        if isinstance(model, Model):
            problem = bind(model, frame, settings.pooling, scales=scales)
            frame = checks.with_numbers(model, frame)
            samplers.of(sampling).check(problem.layout, problem.data)
            sampling = samplers.chosen(problem.layout, problem.data, sampling)
            raw, seconds = draw(problem.layout, sampling, key, as_jax(problem.data), progress)
            for retry in samplers.of(sampling).distrusted():
                if not np.any(raw.stats.pop("heavy_weights", False)):  # else the sampler distrusts its own answer
                    break
                if progress:
                    print(f"{settings.sampler}: {retry.words}", file=sys.stderr)
                sampling, remark = retry.settings, retry.remark
                raw, more = draw(problem.layout, sampling, key, as_jax(problem.data), progress)
                seconds = {name: seconds[name] + more[name] for name in seconds}
            found = replace(raw, values=describe.real_groups(raw.values, problem))
        else:
            problem = meet_function(model, frame, settings)
            found, seconds = draw_user(problem, sampling, key, progress)
        named = describe.axes(found.values, problem)
    diagnostics = describe.convergence_table(found.values, named)
    status, warnings = advice.judge(found, diagnostics, problem, sampling)
    if remark:
        warnings = (remark, *warnings)
    return Fit(model, frame, settings, found, diagnostics, status, warnings, seconds, problem)


@dataclass(frozen=True, repr=False, eq=False)
class Fit(PoolingViews, Checks):
    """A posterior: draws with their labels, and what can be said with them.

    Attributes
    ----------
    model : Model or callable
    data : DataFrame
        The table that was fitted.
    settings : FitSettings
    draws : Draws
        NumPy arrays by variable, (chain, draw, *dims); groups in the order of ``problem.labels``.
    diagnostics : DataFrame
        ``ess_bulk ess_tail r_hat mcse_mean mcse_sd``, a row a scalar (``theta_school[A]``).
    status : str
        The worst of ``ok heavy_weights low_ess rhat divergent nonfinite``.
    warnings : tuple of str
        Sentences: what is doubtful and what to do about it.
    seconds : dict
        ``compile`` (0 where the program was there already) and ``sample``.
    problem : Problem or UserModel
        The model bound to the data: the layout with the priors in use, labels.

    Notes
    -----
    Which method? Tables: `summary`, `fitted`, `residuals`, `pooling`, `heterogeneity`, `ranks`, `compare_pooling`.
    Trust: `diagnose`, `check`, `loo`, `leave_one_group_out`. New rows: `predict`. Again: `refit`. Elsewhere:
    `to_datatree`, `save`, `code`, `latex`.
    """

    def refit(self, priors: Mapping[str, Any] | None = None, data: pd.DataFrame | None = None, **settings: Any) -> Fit:
        """Fit again with other priors, other data, other settings; everything else stays.

        Parameters
        ----------
        priors : mapping of str to prior, optional
            Merged over the model's own.
        data : DataFrame, optional
            Other rows, with the same columns. Centres and scales of the first predictors, and what default priors took
            from the first known errors, weights and exposures, stay what they were, so that two fits differ in their
            data alone, and data of the same shape run the program that is already compiled.
        **settings
            Of `fit`: ``pooling``, ``sampler``, ``draws``, ``seed``, ... and ``progress``.

        Returns
        -------
        Fit

        Raises
        ------
        ValueError
            For a setting that `fit` has not, and as `fit`.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> print(result.refit(priors={"sd_school": "half_normal(5)"}).model.prior["sd_school"])
        half_normal(5)
        """
        progress = settings.pop("progress", False)
        known = [f.name for f in dataclasses.fields(FitSettings)]
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"the settings are {', '.join(known)}"
                raise ValueError(f"refit: no setting {name!r}; {hint}")
        model = self.model
        if self._declared is not None:
            model = refitted_model(model, priors)
        elif priors is not None:
            raise ValueError("priors: a NumPyro function holds its own; change it there")
        chosen = {name: getattr(self.settings, name) for name in known} | settings
        kept = None if self._declared is None else self._declared.scales
        return _fitted(model, self.data if data is None else data, FitSettings(**chosen), progress, kept)

    def plot_shrinkage(self, level: str | None = None, *, ax: Axes | None = None) -> Figure:
        """Raw and partially pooled estimate of each group, joined by arrows.

        Parameters
        ----------
        level : str, optional
            Grouping, e.g. ``school``; by default the finest.
        ax : Axes, optional
            The caller's axes.

        Returns
        -------
        Figure
        """
        from hiermodels.inference.raw import raw_estimates
        from hiermodels.reporting import plots

        problem = self._declared
        if problem is None or not problem.layout.levels:
            raise ValueError(
                "plot_shrinkage: expected a fit of hm.Model with a group term, found none; add (1 | group)"
            )
        names = [lv.name for lv in problem.layout.levels]
        if level is not None and level not in names:
            raise ValueError(
                f"level: expected one of {', '.join(names)}, found {level!r}; name a grouping of the model"
            )
        level = level or names[-1]
        if not problem.layout.normal_groups and level != names[-1]:
            raise ValueError(
                f"level: expected {names[-1]}, the finest grouping of rates, found {level!r}: coarser ones "
                f"have no estimate of their own; plot {names[-1]}"
            )
        name, values = f"theta_{level}", self.draws.values
        self._chosen(name)
        normal = problem.layout.normal_groups
        centre = next((p for p in ("Intercept" if normal else "", f"mean_{level}") if p in values), None)
        return plots.plot_shrinkage_arrays(
            raw_estimates(values, problem, level),
            self._point(name),
            problem.labels[level],
            centre=None if centre is None else float(self._point(centre)),
            xlabel=name,
            title=f"From no pooling to {problem.pooling[level]} pooling",
            ax=ax,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fit to a netCDF file that `load_fit` and ArviZ read.

        Raises
        ------
        ValueError
            For a path that cannot be written, and for a fit of a NumPyro function, which a file cannot hold.
        """
        from hiermodels import _saved

        _saved.save(self, Path(path))

    def latex(self) -> str:
        """The model with the priors in use, as LaTeX."""
        from hiermodels.models import display

        return display.latex(self.model, self._declared.layout, self._declared.scales) if self._declared else ""

    def code(self) -> str:
        """The model with the priors in use, as source of a NumPyro function; see `hiermodels.Model.code`."""
        from hiermodels.models.code import text

        if self._declared is None:
            raise ValueError("code: expected a fit of hm.Model, found one of a function, whose source is its own")
        return text(self.model, self._declared.layout, self._declared.scales)

    def __repr__(self) -> str:
        what = self.model.formula if self._declared else getattr(self.model, "__name__", "function")
        x = next(iter(self.draws.values.values()))
        made = f"sampler={self.settings.sampler!r}, chains={x.shape[0]}, draws={x.shape[1]}"
        return f"Fit({what!r}, {made}, status={self.status!r})"

    def __str__(self) -> str:
        from hiermodels.models import display

        head = display.text(self.model, self._declared.layout, self._declared.scales) if self._declared else repr(self)
        correlations = (
            [p.name for p in self._declared.layout.parameters if p.role == "correlation"] if self._declared else []
        )
        names = [n for n, x in self.draws.values.items() if x.ndim == 2 or n in correlations] or list(self.draws.values)
        table = self.summary(names)
        of = np.repeat([n in correlations for n in names], [self.draws.values[n][0, 0].size for n in names])
        twice = of & (table.duplicated() | (table["sd"] == 0))
        table = table[~twice].drop(columns=["mcse_mean", "mcse_sd"])
        shown = table.round({"ess_bulk": 0, "ess_tail": 0, "r_hat": 3}).to_string(float_format="{:.4g}".format)
        words = samplers.of(self.settings.sampling()).words(self._declared, self.draws) if self._declared else []
        return "\n".join([head, *words, "", shown, "", f"status: {self.status}", *(f"- {w}" for w in self.warnings)])


def load_fit(path: str | os.PathLike[str]) -> Fit:
    """Read a fit that `Fit.save` wrote; draws, diagnostics and data are what they were.

    Parameters
    ----------
    path : path
        A netCDF file.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        For a file that is missing or holds something else.
    """
    from hiermodels import _saved

    return Fit(**_saved.load(Path(path)))
