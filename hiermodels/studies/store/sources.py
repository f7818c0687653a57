"""What a Python function of a study is, as digests: two runs of one study with another function between them are told
apart.

A function is its source, comments and layout apart; what it closes over; of its own module the functions, classes and
constants that it names, and what those name in turn; of another module of the user's that it names, the whole.
Libraries are told by their versions, not by their sources.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from hiermodels._digests import digest, of_array

__all__ = ["describe", "importable"]

_SHORT = 16
"""Digits of a digest that are kept."""
_PLAIN = (int, float, complex, str, bytes, bool, type(None))


def describe(function: Callable[..., Any]) -> dict[str, str]:
    """What a function is: its parts by name, each as a digest or, where it is a short constant, as it is written.

    Parameters
    ----------
    function : callable
        A function, method, ``functools.partial`` or callable object.

    Returns
    -------
    dict
        ``source``, ``code <version of Python>`` of what is loaded, ``closure.<name>``, and ``<name>`` of what the
        source names in its own module.

    Examples
    --------
    >>> def scaled(by):
    ...     return lambda key, data: by * data
    >>> one, two = describe(scaled(2)), describe(scaled(3))
    >>> [name for name in one if one[name] != two[name]], one["closure.by"], two["closure.by"]
    (['closure.by'], '2', '3')
    """
    found: dict[str, str] = {}
    for place, value in _bound(function):
        found[place] = _value(value)
    plain = _plain_function(function)
    if plain is None:
        return {"source": _cut(digest(_source(type(function)))), **found}
    found["source"] = _cut(digest(_source(plain)))
    found[f"code {sys.version_info.major}.{sys.version_info.minor}"] = _cut(digest(*_code(plain.__code__)))
    for name, cell in zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=True):
        try:
            found[f"closure.{name}"] = _value(cell.cell_contents)
        except ValueError:  # an empty cell
            found[f"closure.{name}"] = "nothing"
    return {**found, **_of_module(plain)}


def importable(function: Callable[..., Any]) -> bool:
    """Whether another process gets a function by its name, from a module of its own, and so perhaps another version of
    it.
    """
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    if found is None or found.__name__ == "__main__":
        return False
    for name in getattr(function, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is function


def _bound(function: Any) -> Iterator[tuple[str, Any]]:
    """Arguments and state that a callable carries."""
    while isinstance(function, functools.partial):
        yield from ((f"argument.{i}", value) for i, value in enumerate(function.args))
        yield from ((f"argument.{name}", value) for name, value in function.keywords.items())
        function = function.func
    if not isinstance(function, FunctionType):
        state = getattr(getattr(function, "__self__", function), "__dict__", {})
        yield from ((f"self.{name}", value) for name, value in state.items() if not isinstance(value, FunctionType))
    else:
        yield from ((f"default.{i}", value) for i, value in enumerate(function.__defaults__ or ()))
        yield from ((f"default.{name}", value) for name, value in (function.__kwdefaults__ or {}).items())


def _plain_function(function: Any) -> FunctionType | None:
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    return function if isinstance(function, FunctionType) else getattr(type(function).__call__, "__func__", None)


def _value(value: Any) -> str:
    """A constant as it is written, cut to its digest where it is long; of other objects their code or their type."""
    if isinstance(value, _PLAIN):
        text = repr(value)
        return text if len(text) <= 40 else _cut(digest(text))
    if isinstance(value, np.ndarray | np.generic):
        return _cut(of_array(np.asarray(value)))
    if isinstance(value, list | tuple):
        return _cut(digest(type(value).__name__, *map(_value, value)))
    if isinstance(value, Mapping):
        return _cut(digest(*(part for key, inner in value.items() for part in (repr(key), _value(inner)))))
    if isinstance(value, FunctionType | type):
        return _cut(digest(_source(value)))
    if hasattr(value, "tobytes") or hasattr(value, "__array__"):
        return _cut(of_array(np.asarray(value)))
    return value.__name__ if isinstance(value, ModuleType) else type(value).__name__


def _cut(text: str) -> str:
    return text[:_SHORT]


def _source(value: Any) -> str:
    """Source as the parser sees it; as it stands where it does not parse alone; of what has no source, its code."""
    try:
        text = textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):
        return "\n".join(map(str, _code(value.__code__))) if isinstance(value, FunctionType) else repr(type(value))
    try:
        return ast.dump(ast.parse(text))
    except SyntaxError:
        return text


def _code(code: CodeType) -> Iterator[bytes | str]:
    """What the interpreter is told to do, without places in files."""
    yield code.co_code
    yield from (*code.co_names, *code.co_varnames, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        else:
            yield repr(sorted(constant, key=repr) if isinstance(constant, frozenset) else constant)


# the module beside it
# ---------------------------------------------------------------------------------------------------


def _of_module(function: FunctionType) -> dict[str, str]:
    """Top-level statements of a function's module that it depends on, by the name that they bind."""
    statements = _statements(function.__module__)
    found: dict[str, str] = {}
    names = list(_names(_tree(function)))
    while names:
        name = names.pop()
        if name in found or name not in statements or name == function.__name__:
            continue
        elsewhere = _elsewhere(function.__globals__.get(name), function.__module__)
        found[name] = _cut(digest(*map(ast.dump, [*statements[name], *elsewhere])))
        for statement in statements[name]:
            names += _names(statement)
    return dict(sorted(found.items()))


def _elsewhere(value: Any, here: str) -> list[ast.stmt]:
    """The whole of another module of the user's that a name comes from."""
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return [] if not isinstance(module, str) or module == here else _body(module)


def _tree(function: FunctionType) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ast.Module([ast.Expr(ast.Name(name, ast.Load())) for name in function.__code__.co_names], [])


def _names(tree: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def _statements(module: str) -> dict[str, list[ast.stmt]]:
    """Statements of a user's own module, by each name that they bind; none of a library's."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in _body(module):
        for name in _binds(statement):
            found.setdefault(name, []).append(statement)
    return found


def _body(module: str) -> list[ast.stmt]:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not file.endswith(".py") or _of_library(Path(file)):
        return []
    try:
        return ast.parse(Path(file).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return []


def _binds(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    stored = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return stored | {node.name for node in ast.walk(statement) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _of_library(file: Path) -> bool:
    places = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    package = Path(__file__).resolve().parents[2]
    return any(file.resolve().is_relative_to(place) for place in (*places, package))
