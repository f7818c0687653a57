"""Messages of a config: one line that says where, what was expected, what was found and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from hiermodels._messages import shortened

__all__ = ["ConfigError", "nearest", "problem", "shown", "within"]

Path = tuple[str | int, ...]


class ConfigError(ValueError):
    """A config that cannot be used, in one line.

    Parameters
    ----------
    message : str
        What was expected, what was found, what to do next.
    file : str
        The file, or ``config`` for a mapping.
    path : tuple of str and int
        Keys down to the place, e.g. ``("methods", "partial", "sampler")``.
    line : int, optional
        Line in the file, from 1.

    Attributes
    ----------
    file, path, line, message
        As above; ``path`` as text, e.g. ``methods.partial.sampler``.

    Examples
    --------
    >>> str(ConfigError("expected a number; found 'x'", file="a.yaml", path=("truth", "mu"), line=3))
    "a.yaml:3: truth.mu: expected a number; found 'x'"
    """

    def __init__(self, message: str, *, file: str = "config", path: Path = (), line: int | None = None) -> None:
        self.file, self.line = file, line
        self.path = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path).removeprefix(".")
        self.message = shortened(" ".join(message.split()))
        place = f"{file}:{line}" if line else file
        super().__init__(": ".join(part for part in (place, self.path, self.message) if part))


def problem(message: str, at: Path = ()) -> PydanticCustomError:
    """An error for a pydantic validator to raise; ``at`` is the way from there down to the place.

    Examples
    --------
    >>> problem("expected {x}", at=("a",)).context["at"]
    ('a',)
    """
    return PydanticCustomError("problem", "{message}", {"message": message, "at": at})


@contextmanager
def within(*at: str | int) -> Iterator[None]:
    """Put these keys before the place of any `problem` raised inside.

    Examples
    --------
    >>> try:
    ...     with within("truth", "mu"):
    ...         raise problem("expected a number")
    ... except PydanticCustomError as error:
    ...     error.context["at"]
    ('truth', 'mu')
    """
    try:
        yield
    except PydanticCustomError as error:
        context = error.context or {}
        raise problem(context["message"], (*at, *context["at"])) from None


def from_pydantic(error: ValidationError, file: str, lines: Mapping[Path, int]) -> ConfigError:
    """The first problem of a validation as a `ConfigError` with its line."""
    first = error.errors(include_url=False)[0]
    context = first.get("ctx", {})
    path = (*first["loc"], *context.get("at", ()))
    message = context.get("message") or f"{first['msg']}; found {shown(first['input'])}; mend this value"
    return ConfigError(message, file=file, path=path, line=line_of(path, lines))


def line_of(path: Path, lines: Mapping[Path, int]) -> int | None:
    """Line of a place, or of the nearest place above it that the file has."""
    return next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), None)


def nearest(word: str, words: Iterable[str], otherwise: str = "use") -> str:
    """What to do next about an unknown word: the nearest right one, or all of them.

    Examples
    --------
    >>> nearest("nutz", ["nuts", "exact"])
    "did you mean 'nuts'?"
    >>> nearest("gibbs", ["nuts", "exact"])
    'use one of nuts, exact'
    """
    words = list(words)
    by_case = {w.lower(): w for w in words}
    near = difflib.get_close_matches(str(word).lower(), by_case, 1, 0.6)
    if near:
        return f"did you mean {by_case[near[0]]!r}?"
    if not words:
        return "there is none to name"
    return f"{otherwise} one of {', '.join(words[:24])}{', ...' if len(words) > 24 else ''}"


def shown(value: Any) -> str:
    """A value as it stands in a message: its ``repr``, cut.

    Examples
    --------
    >>> shown({"a": 1}), shown(None), shown("x" * 100)[-4:]
    ('a mapping', 'nothing', "...'")
    """
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and len(value) > 60:
        return repr(value[:57])[:-1] + "...'"
    return repr(value)[:80]
