"""Renderers of a model's lines: symbols as plain text and as LaTeX."""

from __future__ import annotations

from typing import ClassVar

from hiermodels.families.link import Link
from hiermodels.families.own import Own
from hiermodels.models.layout import Parameter
from hiermodels.quantities import sd_name, theta_name

__all__ = ["Latex", "Plain"]


class Plain:
    """Renders symbols as plain text."""

    times: ClassVar[str] = " * "
    gap: ClassVar[str] = ""
    exp: ClassVar[str] = "exp"

    def column(self, name: str) -> str:
        return f"{name}_i"

    def column_of_group(self, name: str) -> str:
        return f"{name}_j"

    def indexed(self, symbol: str) -> str:
        return f"{symbol}[j]"

    def coefficient(self, name: str) -> str:
        return name

    def theta(self, level: str, column: str, index: str) -> str:
        return theta_name(level, column) + index

    def parameter(self, stem: str, level: str, column: str = "Intercept") -> str:
        return sd_name(level, column) if stem == "sd" else f"{stem}_{level}"

    def own(self, parameter: Own) -> str:
        return parameter.name

    def square(self, symbol: str) -> str:
        return f"{symbol}^2"

    def ratio(self, a: str, b: str) -> str:
        return f"{a} / {b}"

    def law(self, name: str, *args: str) -> str:
        return f"{name}({', '.join(args)})"

    def inverse(self, link: Link, eta: str) -> str:
        return self.law(link.plain, eta)

    def product(self, a: str, b: str) -> str:
        return f"{a} {b}"

    def vector(self, parts: list[str], index: str = "") -> str:
        return f"({', '.join(parts)}){index}"

    def words(self, sentence: str) -> str:
        return sentence

    def prior(self, parameter: Parameter, rule: str) -> str:
        return parameter.prior.text(rule)


class Latex(Plain):
    """Renders symbols as LaTeX."""

    times: ClassVar[str] = "\\, "
    gap: ClassVar[str] = "\\quad "
    exp: ClassVar[str] = "\\exp"

    def _roman(self, name: str) -> str:
        escaped = name.replace("_", "\\_")
        return escaped if len(escaped) == 1 else f"\\mathrm{{{escaped}}}"

    def column(self, name: str) -> str:
        return f"{self._roman(name)}_{{i}}"

    def column_of_group(self, name: str) -> str:
        return f"{self._roman(name)}_{{j}}"

    def coefficient(self, name: str) -> str:
        return f"\\beta_{{\\mathrm{{{name.replace('_', chr(92) + '_')}}}}}"

    def _label(self, level: str, column: str) -> str:
        inner = "\\mathrm{" + level.replace("_", "\\_") + "}"
        return "{" + (inner if column == "Intercept" else f"{inner},{self._roman(column)}") + "}"

    def theta(self, level: str, column: str, index: str) -> str:
        index = index.strip("_")
        return f"\\theta^{self._label(level, column)}" + (f"_{{{index}}}" if index else "")

    def parameter(self, stem: str, level: str, column: str = "Intercept") -> str:
        symbol = {"sd": "\\tau", "cor": "R", "mean": "m", "kappa": "\\kappa", "shape": "a"}[stem]
        return f"{symbol}_{self._label(level, column)}"

    def own(self, parameter: Own) -> str:
        return parameter.latex or self._roman(parameter.name)

    def square(self, symbol: str) -> str:
        return f"{{{symbol}}}^{{2}}" if "^" in symbol else f"{symbol}^{{2}}"

    def law(self, name: str, *args: str) -> str:
        head = name if name.startswith("\\") else f"\\mathrm{{{name}}}"
        return f"{head}\\left({',\\, '.join(args)}\\right)"

    def inverse(self, link: Link, eta: str) -> str:
        return self.law(link.latex, eta)

    def vector(self, parts: list[str], index: str = "") -> str:
        return f"({',\\, '.join(parts)})" + (f"_{{{index.strip('_')}}}" if index else "")

    def words(self, sentence: str) -> str:
        return f"\\text{{{sentence.replace('_', chr(92) + '_')}}}"

    def prior(self, parameter: Parameter, rule: str) -> str:
        unit = self.parameter("shape", parameter.owner) if parameter.prior.unit == "concentration" else "\\sigma"
        return parameter.prior.latex(self.words(rule.strip()) if rule else "", unit)
