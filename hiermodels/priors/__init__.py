"""Priors: one small record each, one text form in Python, YAML and the shell.

A prior is written ``half_normal(5)`` everywhere: ``hm.priors.half_normal(5)`` builds the same record that
``parse("half_normal(5)")`` reads. Text is parsed as one menu name and numeric literals; nothing is ever
evaluated. A density is for the standard deviation unless the name says variance.

Which one?

- group standard deviations: ``half_normal``, ``half_t``, ``half_cauchy``, ``exponential`` (proper); ``scaled_half_t``,
  in units of the residual sd; ``flat`` (on the sd), ``flat_variance`` (on the variance), ``reference`` and
  ``jeffreys2`` (known variances), ``power`` (improper; the number of groups must be large enough, and the library
  checks it);
- population coefficients: ``flat``, ``normal``, ``student_t``; ``scaled_normal``, in units of the residual sd;
- beta and gamma populations: ``beta`` / ``uniform`` for a mean in (0, 1), ``log_normal`` / ``gamma`` for a mean rate,
  ``gamma`` / ``exponential`` / ``half_normal`` / ``half_normal_cv`` / ``power`` for ``kappa`` and ``shape``,
  ``gamma_rate`` for a mean rate whose population's rate parameter has the gamma law, or the joint rules ``bda3`` and
  ``rgbp``;
- correlations: ``lkj``; anything known: ``fixed``.

The menu: a prior is a class in a file of its own under ``laws/`` and one line here.
"""

from __future__ import annotations

from hiermodels.priors.law import Prior
from hiermodels.priors.laws.bda3 import BDA3 as bda3
from hiermodels.priors.laws.beta import Beta as beta
from hiermodels.priors.laws.exponential import Exponential as exponential
from hiermodels.priors.laws.fixed import Fixed as fixed
from hiermodels.priors.laws.flat import Flat as flat
from hiermodels.priors.laws.flat_variance import FlatVariance as flat_variance
from hiermodels.priors.laws.gamma import Gamma as gamma
from hiermodels.priors.laws.gamma_rate import GammaRate as gamma_rate
from hiermodels.priors.laws.half_cauchy import HalfCauchy as half_cauchy
from hiermodels.priors.laws.half_logistic import HalfLogistic as half_logistic
from hiermodels.priors.laws.half_normal import HalfNormal as half_normal
from hiermodels.priors.laws.half_normal_cv import HalfNormalCV as half_normal_cv
from hiermodels.priors.laws.half_t import HalfT as half_t
from hiermodels.priors.laws.inverse_gamma_variance import InverseGammaVariance as inverse_gamma_variance
from hiermodels.priors.laws.jeffreys2 import Jeffreys2 as jeffreys2
from hiermodels.priors.laws.lkj import LKJ as lkj
from hiermodels.priors.laws.log_normal import LogNormal as log_normal
from hiermodels.priors.laws.log_student_t import LogStudentT as log_student_t
from hiermodels.priors.laws.normal import Normal as normal
from hiermodels.priors.laws.power import Power as power
from hiermodels.priors.laws.reference import Reference as reference
from hiermodels.priors.laws.rgbp import RGBP as rgbp
from hiermodels.priors.laws.scaled_half_t import ScaledHalfT as scaled_half_t
from hiermodels.priors.laws.scaled_normal import ScaledNormal as scaled_normal
from hiermodels.priors.laws.student_t import StudentT as student_t
from hiermodels.priors.laws.uniform import Uniform as uniform
from hiermodels.priors.text import read

MENU: dict[str, type[Prior]] = {
    law.name: law
    for law in list(vars().values())
    if isinstance(law, type) and issubclass(law, Prior) and law is not Prior
}
"""Every prior by its name."""

__all__ = sorted(MENU)


def parse(text: str | Prior | float, where: str = "prior") -> Prior:
    """Read the text form of a prior.

    Parameters
    ----------
    text : str, Prior or number
        ``"half_normal(5)"``; a record is returned as it is; a bare number means ``fixed(number)``.
    where : str
        Named in the error message.

    Raises
    ------
    ValueError
        For an unknown name (the nearest right one is offered), wrong numbers, or anything that is not one call
        with numeric literals.

    Examples
    --------
    >>> parse("normal(0, 20)").args
    (0.0, 20.0)
    """
    if isinstance(text, Prior):
        return text
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return fixed(text)
    return read(text, where, MENU)
