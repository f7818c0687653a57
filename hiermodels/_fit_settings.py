"""What a fit is asked for: its settings, checked; its table; a NumPyro function with its data."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hiermodels.inference import samplers
from hiermodels.models.columns import kind_of
from hiermodels.models.names import DIMENSIONS
from hiermodels.models.user import UserModel, user_model

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FitSettings", "as_frame", "meet_function"]


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
            raise ValueError(f"seed: expected a whole number >= 0, found {repr(self.seed)[:40]}; e.g. seed=1")
        if self.precision not in ("float64", "float32"):
            near = difflib.get_close_matches(str(self.precision), ("float64", "float32"), 1)
            hint = f"did you mean {near[0]!r}?" if near else "use one of them"
            raise ValueError(f"precision: expected 'float64' or 'float32', found {self.precision!r}; {hint}")
        names = {f.name for f in dataclasses.fields(samplers.Settings)}
        settings = samplers.Settings(**{k: v for k, v in vars(self).items() if k in names})
        samplers.check_settings(settings)
        if samplers.of(settings).independent and settings.chains < 2:
            raise ValueError(
                f"chains: expected at least 2 for sampler={settings.sampler!r} (summaries compare them), found 1; "
                "use chains=4"
            )
        return settings


def meet_function(function: Callable[..., Any], frame: pd.DataFrame, settings: FitSettings) -> UserModel:
    """A NumPyro function with its data; its outcome is the column whose parameter is None by default."""
    for name, words in (("pooling", ["partial"]), ("sampler", samplers.those_that("functions"))):
        if getattr(settings, name) not in words:
            raise ValueError(
                f"{name}: expected {' or '.join(map(repr, words))} for a NumPyro function, found "
                f"{getattr(settings, name)!r}; "
                f"declare hm.Model(...) to choose"
            )
    parameters = inspect.signature(function).parameters
    free = [name for name, p in parameters.items() if p.default is None and name in frame.columns]
    if len(free) != 1:
        raise ValueError(
            f"model: expected one parameter with default None that is a column, the outcome, found "
            f"{', '.join(free) or 'none'} among ({', '.join(parameters)}); write e.g. def model(x, y=None)"
        )
    model = user_model(function, frame, free[0])
    taken = next((name for name in (model.outcome, *model.dims) if name in DIMENSIONS), None)
    if taken is not None:
        raise ValueError(
            f"model: the site or column {taken!r} would share its name with the dimension of {taken}s in tables of "
            f"draws; rename it"
        )
    return model


def as_frame(data: Any) -> pd.DataFrame:
    """A copy of the table; anything else is refused.

    Raises
    ------
    ValueError
        What was found instead, and how to make a table of it.
    """
    import pandas as pd

    if isinstance(data, str):
        raise ValueError(
            f"data: expected a DataFrame, found text; use hm.load_dataset({data!r}) or pd.read_csv({data!r})"
        )
    if not isinstance(data, pd.DataFrame):
        raise ValueError(
            f"data: expected a DataFrame, found {kind_of(data) if data is not None else 'nothing'}; use "
            f"pd.DataFrame(...)"
        )
    return data.copy()
