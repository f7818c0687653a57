"""How long a message may get: what a user typed is shown, not all of it."""

from __future__ import annotations

import re

__all__ = ["shortened"]

_WORD = 100
_WHOLE = 590


def shortened(text: str) -> str:
    """A message with very long words cut, and what is longer than about 600 characters without its middle; lists keep
    their lines.

    Examples
    --------
    >>> shortened("found " + "9" * 200 + "; write 1")[-30:]
    '999999999999999999...; write 1'
    >>> len(shortened("a word " * 1000)) < 600
    True
    """
    text = re.sub(rf"([^\s/]{{60}})[^\s/]{{{_WORD - 60},}}?([\"')\];:,.]*(?=[\s/]|$))", r"\1...\2", text)
    if "\n" in text or len(text) <= _WHOLE:
        return text
    return f"{text[: _WHOLE - 205].rstrip()} ... {text[-200:].lstrip()}"
