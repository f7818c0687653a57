"""How datasets are analysed: the ``methods`` of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, model_validator

from hiermodels.inference import samplers
from hiermodels.inference.settings import Settings
from hiermodels.models.spec import Model
from hiermodels.studies.config.errors import problem, shown
from hiermodels.studies.config.fields import (
    Column,
    FamilyName,
    Flag,
    FormulaText,
    Pooling,
    Priors,
    Sampler,
    Share,
    whole,
    words,
)
from hiermodels.studies.config.mechanisms import Declared, named
from hiermodels.studies.config.rivals import HOST_KEYS, MODEL_KEYS, rival

__all__ = ["Method", "plain_method"]


class Method(Declared):
    """A way of estimating: what `hiermodels.fit` is called with on every dataset.

    Attributes
    ----------
    formula, family, known_se, trials, exposure, weights
        The model; what a method does not name, it takes from ``mechanisms``.
    priors : dict of str to str
    pooling : str or dict of str to str
    sampler : str
    marginalize, centred, draws, tune, chains, target_accept
        As in `hiermodels.fit`.
    accuracy : str
        Of ``exact``: ``study`` (probabilities within .01, quantiles within .05 posterior sd or .01 of probability, no
        bias above .001 of probability) or ``fit`` (within .002, and .01 posterior sd or .001; slower).
    function : callable or None
        A method written in Python, ``(key, data) -> Estimates``; never from a file.
    estimator : str or None
        An estimator without draws instead, of `hiermodels.inference.estimators` or `hiermodels.inference.frequentist`;
        all settings above but the model's are refused beside it.
    settings : dict
        Its settings, which a config writes beside it: ``{estimator: compromise, weight: 0.5}``.
    host : bool
        The function runs outside compiled code, ``(seed, DataFrame) -> mapping``: see
        `hiermodels.studies.methods.host`.
    estimands : tuple of str or None
        Of a host function: the names of the estimands it gives, by default all.
    timeout : float or None
        Of a host function: seconds after which a dataset has no estimate and the process is ended; by default none.
    """

    pooling: Pooling = Field("partial", description="complete, none or partial; or group term to such a word")
    sampler: Sampler = Field("nuts", description="how the posterior is computed")
    accuracy: words("study", "fit") = Field("study", description=("of sampler exact: study, or fit (exacter, slower)"))  # type: ignore[valid-type]
    priors: Priors = Field({}, description="parameter to prior, e.g. sd_school: half_normal(5)")
    marginalize: Flag = Field(True, description="integrate group effects out where that is possible")
    centred: Flag = Field(False, description="centred parameterisation of what stays explicit")
    draws: whole(4) = Field(1000, description="kept draws a chain")  # type: ignore[valid-type]
    tune: whole(0) = Field(1000, description="warm-up draws a chain")  # type: ignore[valid-type]
    chains: whole(1) = Field(4, description="chains")  # type: ignore[valid-type]
    target_accept: Share = Field(0.8, description="target acceptance of NUTS")
    formula: FormulaText = Field(None, description="overrides the mechanism's formula")
    family: FamilyName = Field("normal", description="overrides the mechanism's family")
    known_se: Column = Field(None, description="column of known standard errors")
    trials: Column = Field(None, description="column of binomial trials")
    exposure: Column = Field(None, description="column of Poisson exposures")
    weights: Column = Field(None, description="column of weights")
    function: Annotated[Any, WithJsonSchema({})] = Field(None, description="only from Python")
    estimator: str | None = Field(None, description="an estimator without draws")
    settings: dict[str, Any] = Field({}, description="its settings")
    host: Flag = Field(False, description="the function runs outside compiled code")
    estimands: tuple[str, ...] | None = Field(None, description="what a host function gives")
    timeout: float | None = Field(None, description="seconds that a host function may take a dataset")

    @model_validator(mode="before")
    @classmethod
    def _callable(cls, data: Any) -> Any:
        if callable(data):
            return {"function": data}
        if isinstance(data, Mapping):
            if "settings" in data:
                raise problem("unknown key 'settings'; write an estimator's settings beside it", ("settings",))
            for key in ("estimands", "timeout"):
                if data.get(key) is not None and "host" not in data:
                    raise problem(f"expected no {key} but of a host function; found some; add host: true", (key,))
            if data.get("accuracy") is not None and data.get("sampler", Settings.sampler) not in (
                able := samplers.those_that("accuracy")
            ):
                those = " or ".join(able)
                raise problem(
                    f"expected no accuracy but of sampler: {those}; found some; write sampler: {those} or remove it",
                    ("accuracy",),
                )
        if isinstance(data, Mapping) and data.get("function") is not None and not callable(data["function"]):
            found = shown(data["function"])
            raise problem(
                f"expected a Python function, which a file cannot hold; found {found}; pass functions from Python: "
                f"functions={{<method>: f}}",
                ("function",),
            )
        return rival(data) if isinstance(data, Mapping) and ("estimator" in data or "host" in data) else data

    @property
    def kind(self) -> str:
        """``posterior``, ``estimator``, ``host``, or ``function`` for a method in Python that is compiled."""
        if self.estimator is not None:
            return "estimator"
        return "host" if self.host else "posterior" if self.function is None else "function"

    @property
    def declares(self) -> bool:
        """Whether it fits a model of its own that is declared, or a NumPyro function: its parameters can be
        estimands.
        """
        return self.kind in ("posterior", "estimator")

    def model(self) -> Model:
        """The model that the method fits, as `hiermodels.Model`."""
        return replace(self.declaration(), priors=self.priors)

    def fit_settings(self) -> dict[str, Any]:
        """Arguments of `hiermodels.fit` beside model and data."""
        names = ("pooling", "sampler", "accuracy", "marginalize", "centred", "draws", "tune", "chains", "target_accept")
        return {name: getattr(self, name) for name in names}


def plain_method(method: Method) -> dict[str, Any]:
    """A method as a config would write it, keys of other kinds of methods left out."""
    out = named(dict(method))
    settings = out.pop("settings")
    if out["accuracy"] == "study":  # the default, which older folders do not know
        del out["accuracy"]
    if method.kind == "estimator":
        return {**{k: out[k] for k in (*MODEL_KEYS, "estimator")}, **settings}
    if method.kind == "host":
        return {k: out[k] for k in (*MODEL_KEYS, *HOST_KEYS) if out[k] is not None or k in MODEL_KEYS}
    return {
        k: v
        for k, v in out.items()
        if k not in ("estimator", "host", "estimands", "timeout") and (k != "function" or v is not None)
    }
