"""Fit one model to one table: `fit` gives a `Fit` with draws, a summary, predictions, pictures, a file."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hiermodels.inference import advice, describe, samplers
from hiermodels.inference.compiled import draw, draw_user
from hiermodels.inference.draws import Draws
from hiermodels.models.data import Problem, as_jax, bind
from hiermodels.models.spec import Model
from hiermodels.models.user import UserModel, user_model

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Fit", "FitSettings", "fit", "load_fit"]


@dataclass(frozen=True)
class FitSettings:
    """How a fit was made: ``fit(model, data, **dataclasses.asdict(settings))`` repeats it.

    Attributes
    ----------
    pooling, sampler, marginalize, centred, draws, tune, chains, target_accept, seed, precision, step_size
        As in `fit`.
    """

    pooling: str | Mapping[str, str] = "partial"
    sampler: str = "nuts"
    marginalize: bool = True
    centred: bool | str = False
    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    target_accept: float = 0.8
    seed: int = 0
    precision: str = "float64"
    step_size: float | None = None

    def sampling(self) -> samplers.Settings:
        """What the sampler is built from.

        Raises
        ------
        ValueError
            Argument, what was expected, what was found, what to do.
        """
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise ValueError(f"seed: expected a whole number >= 0, found {self.seed!r}; e.g. seed=1")
        if self.precision not in ("float64", "float32"):
            near = difflib.get_close_matches(str(self.precision), ("float64", "float32"), 1)
            hint = f"did you mean {near[0]!r}?" if near else "use one of them"
            raise ValueError(f"precision: expected 'float64' or 'float32', found {self.precision!r}; {hint}")
        names = {f.name for f in dataclasses.fields(samplers.Settings)}
        settings = samplers.Settings(**{k: v for k, v in vars(self).items() if k in names})
        samplers.check_settings(settings)
        if settings.sampler in samplers.INDEPENDENT and settings.chains < 2:
            raise ValueError(
                f"chains: expected at least 2 for sampler={settings.sampler!r} (summaries compare them), found 1; "
                "use chains=4"
            )
        return settings


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
        ``nuts``; ``exact``: independent draws, where the hyperparameters are few; ``closed_form``: independent draws, where
        the posterior has a closed form; ``gibbs`` and ``metropolis``, to compare with.
    marginalize : bool
        Integrate group values out where the model allows it; False moves on every parameter, as ``gibbs`` and
        ``metropolis`` always do.
    centred : bool or "auto"
        Parameterisation of group values that stay explicit: themselves, or standardised deviations from what they scatter around.
        ``auto`` chooses term by term from the data and says so in ``print(fit)``.
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
    settings = FitSettings(
        pooling, sampler, marginalize, centred, draws, tune, chains, target_accept, seed, precision, step_size
    )
    sampling = settings.sampling()
    if not isinstance(progress, bool):
        raise ValueError(f"progress: expected True or False, found {progress!r}; give one of them")
    if not isinstance(model, Model) and not callable(model):
        raise ValueError(
            f"model: expected hm.Model or a NumPyro function, found {type(model).__name__}; "
            f"write hm.Model(...)"
        )
    frame, heavy = _frame(data), False
    with jax.enable_x64(precision == "float64"):
        key = jax.random.key(seed, impl="threefry2x32")
        problem: Problem | UserModel
        if isinstance(model, Model):
            problem = bind(model, frame, pooling)
            samplers.check_data(problem.layout, problem.data, sampling)
            sampling = samplers.chosen(problem.layout, problem.data, sampling)
            raw, seconds = draw(problem.layout, sampling, key, as_jax(problem.data), progress)
            heavy = bool(np.any(raw.stats.pop("heavy_weights", False)))
            if heavy:  # the exact engine distrusts its own quadrature here
                sampling = replace(sampling, sampler="nuts")
                raw, more = draw(problem.layout, sampling, key, as_jax(problem.data), progress)
                seconds = {name: seconds[name] + more[name] for name in seconds}
            found = Draws(describe.real_groups(raw.values, problem), raw.stats)
        else:
            problem = _meet(model, frame, settings)
            found, seconds = draw_user(problem, sampling, key, progress)
        named = describe.axes(found.values, problem)
    diagnostics = describe.convergence_table(found.values, named)
    status, warnings = advice.judge(found, diagnostics, problem, sampling)
    if heavy:
        warnings = (_FELL_BACK, *warnings)
    return Fit(model, frame, settings, found, diagnostics, status, warnings, seconds, problem)


_FELL_BACK = "exact: its estimate of its own error was too large for this posterior, so these draws are from NUTS instead"


def _meet(function: Callable[..., Any], frame: pd.DataFrame, settings: FitSettings) -> UserModel:
    """A NumPyro function with its data; its outcome is the column whose parameter is None by default."""
    for name, value in (("pooling", "partial"), ("sampler", "nuts")):
        if getattr(settings, name) != value:
            raise ValueError(
                f"{name}: expected {value!r} for a NumPyro function, found {getattr(settings, name)!r}; "
                f"declare hm.Model(...) to choose"
            )
    parameters = inspect.signature(function).parameters
    free = [name for name, p in parameters.items() if p.default is None and name in frame.columns]
    if len(free) != 1:
        raise ValueError(
            f"model: expected one parameter with default None that is a column, the outcome, found "
            f"{', '.join(free) or 'none'} among ({', '.join(parameters)}); write e.g. def model(x, y=None)"
        )
    return user_model(function, frame, free[0])


def _frame(data: Any) -> pd.DataFrame:
    import pandas as pd

    if isinstance(data, str):
        raise ValueError(
            f"data: expected a pandas DataFrame, found text; "
            f"use hm.load_dataset({data!r}) or pd.read_csv({data!r})"
        )
    if not isinstance(data, pd.DataFrame):
        raise ValueError(
            f"data: expected a pandas DataFrame, found {type(data).__name__}; use pd.DataFrame(...)"
        )
    return data.copy()


@dataclass(frozen=True, repr=False, eq=False)
class Fit:
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
    """

    model: Any
    data: pd.DataFrame
    settings: FitSettings
    draws: Draws
    diagnostics: pd.DataFrame
    status: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    problem: Problem | UserModel

    @property
    def _declared(self) -> Problem | None:
        """The problem of a declared model; None for a NumPyro function."""
        return self.problem if isinstance(self.problem, Problem) else None

    def summary(self, var_names: str | Sequence[str] | None = None, prob: float = 0.95) -> pd.DataFrame:
        """Mean, sd, median, equal-tailed interval and diagnostics, a row a scalar.

        Parameters
        ----------
        var_names : str or sequence of str, optional
            Variables to show; all by default.
        prob : float
            Probability of the interval.

        Returns
        -------
        DataFrame
            Columns ``mean sd median eti95_lb eti95_ub ess_bulk ess_tail r_hat mcse_mean mcse_sd``, in ArviZ's
            names; NaN for a moment that does not exist (``warnings`` has the reason).

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> result.summary("sd_school").columns[:5].tolist()
        ['mean', 'sd', 'median', 'eti95_lb', 'eti95_ub']
        """
        import pandas as pd

        if isinstance(prob, bool) or not isinstance(prob, (int, float)) or not 0 < prob < 1:
            raise ValueError(f"prob: expected a number between 0 and 1, found {prob!r}; e.g. prob=0.95")
        values = {name: self.draws.values[name] for name in self._chosen(var_names)}
        missing = self._declared.missing_moments if self._declared else {}
        named = describe.axes(values, self.problem)
        moments = describe.moments_table(values, named, prob, missing)
        table = pd.concat([moments, self.diagnostics.loc[moments.index]], axis=1)
        table.loc[table["mean"].isna(), "mcse_mean"] = np.nan
        table.loc[table["sd"].isna(), ["mcse_mean", "mcse_sd"]] = np.nan
        return table

    def _chosen(self, var_names: str | Sequence[str] | None) -> list[str]:
        if var_names is None:
            return list(self.draws.values)
        names = [var_names] if isinstance(var_names, str) else list(var_names)
        for name in names:
            if name not in self.draws.values:
                near = difflib.get_close_matches(str(name), self.draws.values, 1)
                hint = (
                    f"did you mean {near[0]!r}?"
                    if near
                    else f"the variables are {', '.join(self.draws.values)}"
                )
                raise ValueError(f"var_names: no variable {name!r}; {hint}")
        return names

    def to_datatree(self) -> xr.DataTree:
        """Posterior, sample statistics, log likelihood and data with labels, for ArviZ.

        Returns
        -------
        DataTree
            Groups as `hiermodels.inference.datatree` lists them.
        """
        from hiermodels.inference import datatree

        return datatree.to_datatree(self.draws, self.problem, self.data)

    def predict(
        self,
        new_data: pd.DataFrame | None = None,
        groups: str = "existing",
        kind: str = "mean",
        seed: int = 0,
    ) -> xr.DataTree:
        """Predict rows: of groups in the data, of groups not in it, or of their average.

        Parameters
        ----------
        new_data : DataFrame, optional
            Rows to predict, with the columns of the formula's right side; by default the fitted ones.
        groups : str
            ``existing``: every label is in the data. ``new``: groups that are not in the data are drawn from
            the population, a new class in a known school from that school; rows that share a label share a
            group, without the column each row has a group of its own. ``average``: over the groups in the
            data, each combination of labels counted once.
        kind : str
            ``mean``: the mean of a row's outcome (binomial: the probability; Poisson: the rate). ``outcome``:
            one observation, which needs the columns of its standard error, weight, trials or exposure.
        seed : int
            Same seed, same predictions.

        Returns
        -------
        DataTree
            ``predictions`` with the outcome's name, dimensions (chain, draw, obs), and
            ``predictions_constant_data``.

        Examples
        --------
        >>> import hiermodels as hm, pandas as pd
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> new = result.predict(pd.DataFrame({"school": ["I"], "se": [15.0]}), groups="new", kind="outcome")
        >>> new.predictions["effect"].dims
        ('chain', 'draw', 'obs')
        """
        from hiermodels.inference.datatree import predictions_tree
        from hiermodels.inference.predict import predict

        if self._declared is None:
            raise ValueError(
                "predict: expected a fit of hm.Model, found one of a function; use numpyro.infer.Predictive"
            )
        values = predict(
            self.draws.values, self._declared, self.data, new_data, groups=groups, kind=kind, seed=seed
        )
        return predictions_tree(values, self._declared, self.data if new_data is None else new_data)

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
                f"level: expected {names[-1]}, the finest grouping of counts, found {level!r}: coarser ones "
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

    def _point(self, name: str) -> np.ndarray:
        """Posterior mean, or the median where that does not exist."""
        missing = self._declared.missing_moments if self._declared else {}
        point = np.median if missing.get(name) == "mean" else np.mean
        return point(self.draws.values[name], axis=(0, 1))

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

        return display.latex(self.model, self._declared.layout) if self._declared else ""

    def code(self) -> str:
        """The model with the priors in use, as source of a NumPyro function; see `hiermodels.Model.code`."""
        from hiermodels.models.code import text

        if self._declared is None:
            raise ValueError("code: expected a fit of hm.Model, found one of a function, whose source is its own")
        return text(self.model, self._declared.layout)

    def __repr__(self) -> str:
        what = self.model.formula if self._declared else getattr(self.model, "__name__", "function")
        x = next(iter(self.draws.values.values()))
        made = f"sampler={self.settings.sampler!r}, chains={x.shape[0]}, draws={x.shape[1]}"
        return f"Fit({what!r}, {made}, status={self.status!r})"

    def __str__(self) -> str:
        from hiermodels.models import display

        head = display.text(self.model, self._declared.layout) if self._declared else repr(self)
        names = [n for n, x in self.draws.values.items() if x.ndim == 2 or n.startswith("cor_")] or list(
            self.draws.values
        )
        table = self.summary(names)
        twice = table.index.str.startswith("cor_") & (table.duplicated() | (table["sd"] == 0))
        table = table[~twice].drop(columns=["mcse_mean", "mcse_sd"])
        shown = table.round({"ess_bulk": 0, "ess_tail": 0, "r_hat": 3}).to_string(
            float_format="{:.4g}".format
        )
        words = [] if self._declared is None else samplers.parameterisation(self._declared, self.settings.sampling())
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

    return _saved.load(Path(path))
