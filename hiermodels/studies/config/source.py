"""YAML to plain data with line numbers; nothing in a file can name code.

YAML 1.2 as ruamel.yaml scans it: ``1e-3`` is a number, ``no`` is text. The text is scanned to nodes and the
nodes are converted here, so that tags beyond the plain ones are refused, every place keeps its line, and
aliases that multiply ("bombs"), deep nesting and large files are refused early.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, DocumentStartEvent

from hiermodels.models.labels import label_text
from hiermodels.priors import Prior
from hiermodels.studies.config.errors import ConfigError, Path, shown

if TYPE_CHECKING:
    Node = Any

__all__ = ["plain", "read_yaml"]

MAX_BYTES = 300_000
MAX_DEPTH = 32
MAX_VALUES = 100_000
_DIGITS = 1_100
"""Digits of a whole number that may still be below 1.8e308, in any base."""

_PREFIX = "tag:yaml.org,2002:"
_TEXT = ("str", "timestamp", "value")


def read_yaml(source: bytes, file: str = "config") -> tuple[Any, dict[Path, int]]:
    """Plain data of a YAML text and the line of every place in it.

    Parameters
    ----------
    source : bytes
        The file as read; UTF-8.
    file : str
        Its name, for messages.

    Returns
    -------
    data : dict, list, str, int, float, bool or None
        Keys of mappings are text.
    lines : dict
        Path of keys and positions to line number, from 1.

    Raises
    ------
    ConfigError
        For what is empty, binary, too large, not YAML 1.2, or carries a tag.

    Examples
    --------
    >>> read_yaml(b"{a: 1e-3, b: [no, 2]}")[0]
    {'a': 0.001, 'b': ['no', 2]}
    """
    text = _decode(source, file)
    yaml = YAML(typ="safe", pure=True)
    try:
        _check_events(yaml, text, file)
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        message = f"expected YAML; found a mistake ({error.problem or error.context}); mend this line"
        raise ConfigError(message, file=file, line=line) from None
    except YAMLError as error:
        raise ConfigError(f"expected YAML; found a mistake ({error}); mend it", file=file) from None
    if root is None:
        raise _empty(file)
    lines: dict[Path, int] = {}
    return _Reader(file, lines).value(root, ()), lines


def _decode(source: bytes, file: str) -> str:
    if len(source) > MAX_BYTES:
        message = f"expected a config of at most {MAX_BYTES:,} bytes; found {len(source):,}; put data in a CSV file"
        raise ConfigError(message, file=file)
    if b"\0" in source:
        raise ConfigError("expected a YAML text; found a binary file; name the right file", file=file)
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source[: error.start].count(b"\n") + 1
        message = f"expected UTF-8 text; found byte {source[error.start]:#04x}; save the file as UTF-8"
        raise ConfigError(message, file=file, line=line) from None
    if not text.strip():
        raise _empty(file)
    return text


def _empty(file: str) -> ConfigError:
    return ConfigError(
        "expected a study; found an empty file; `hiermodels new FILE` writes one to start from", file=file
    )


def _check_events(yaml: YAML, text: str, file: str) -> None:
    """Refuse deep nesting and other YAML versions before anything recursive looks at the text."""
    depth = 0
    for event in yaml.parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, DocumentStartEvent) and event.version not in (None, (1, 2)):
            found = ".".join(map(str, event.version))
            raise ConfigError(f"expected YAML 1.2; found {found}; remove the %YAML line", file=file, line=line)
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            message = f"expected at most {MAX_DEPTH} levels of nesting; found more; a study needs six"
            raise ConfigError(message, file=file, line=line)


class _Reader:
    """Converts nodes, counting what aliases expand to."""

    def __init__(self, file: str, lines: dict[Path, int]) -> None:
        self.file, self.lines, self.count = file, lines, 0

    def fail(self, message: str, node: Node, path: Path) -> ConfigError:
        return ConfigError(message, file=self.file, path=path, line=node.start_mark.line + 1)

    def value(self, node: Node, path: Path) -> Any:
        self.count += 1
        if self.count > MAX_VALUES or len(path) > MAX_DEPTH:
            message = f"expected at most {MAX_VALUES:,} values; found aliases that multiply; write the values out"
            raise self.fail(message, node, path)
        self.lines.setdefault(path, node.start_mark.line + 1)
        if node.id != "scalar" and node.flow_style:
            self.refuse_torn_text(node, path)
        kind = node.tag.removeprefix(_PREFIX)
        if kind == "map" and node.id == "mapping":
            return dict(self.pairs(node, path))
        if kind == "seq" and node.id == "sequence":
            return [self.value(child, (*path, i)) for i, child in enumerate(node.value)]
        if node.id == "scalar":
            return self.scalar(node, kind, path)
        raise self.tagged(node, path)

    def refuse_torn_text(self, node: Node, path: Path) -> None:
        """``{a: normal(0, 1)}`` is torn at its comma by YAML: say that it needs quotes."""
        pairs = [entry if isinstance(entry, tuple) else (entry,) for entry in node.value]
        for i, pair in enumerate(pairs):
            last = pair[-1]
            if last.id != "scalar" or last.style or last.value.count("(") <= last.value.count(")"):
                continue
            rest = [str(p[0].value) for p in pairs[i + 1 :] if p[0].id == "scalar"]
            whole = ", ".join([last.value, *rest])
            whole = whole[: whole.find(")") + 1] or whole
            message = f"expected quotes around a text with a comma inside {{}} or []; found {shown(last.value)}"
            place = (*path, str(pair[0].value)) if len(pair) == 2 else (*path, i)
            raise self.fail(f'{message}; write "{whole}"', last, place)

    def pairs(self, node: Node, path: Path) -> Iterator[tuple[str, Any]]:
        seen = set()
        for key, child in node.value:
            if key.id != "scalar":
                raise self.fail("expected text as a key; found a list or mapping; write a plain key", key, path)
            if key.tag == _PREFIX + "merge":
                raise self.fail("expected a key; found << (merging is YAML 1.1); write the settings out", key, path)
            name = self.text(key, path)
            place = (*path, name)
            if name in seen:
                raise self.fail(f"expected every key once; found {name!r} twice; remove one of them", key, path)
            seen.add(name)
            self.lines[place] = key.start_mark.line + 1
            yield name, self.value(child, place)

    def text(self, node: Node, path: Path) -> str:
        """A text, with characters that JSON writes as two escapes put together."""
        try:
            return _joined(str(node.value))
        except UnicodeDecodeError:
            message = (
                "expected text; found half of a character (an escape such as \\ud83d without its other half); "
                "write the character itself"
            )
            raise self.fail(message, node, path) from None

    def scalar(self, node: Node, kind: str, path: Path) -> Any:
        text = node.value
        try:
            if kind in _TEXT:
                return self.text(node, path)
            if kind == "null":
                return None
            if kind == "bool":
                return {"true": True, "false": False}[text.lower()]
            if kind == "int":
                if len(text) > _DIGITS or (number := _whole(text)) is None:
                    raise self.fail(
                        f"expected a number below 1.8e308; found {shown(text)}; write a smaller one", node, path
                    )
                return number
            if kind == "float":
                return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ConfigError:
            raise
        except (KeyError, ValueError):
            found = f"{text[:40]!r} tagged !!{kind}"
            raise self.fail(f"expected a plain value; found {found}; remove the tag", node, path) from None
        raise self.tagged(node, path)

    def tagged(self, node: Node, path: Path) -> ConfigError:
        tag = node.tag.replace(_PREFIX, "!!")
        message = f"expected plain YAML; found the tag {shown(tag)}; remove it (a config cannot name code)"
        return self.fail(message, node, path)


def _joined(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


def _whole(text: str) -> int | None:
    """A whole number as YAML 1.2 writes it; None where no float holds it."""
    number = int(text.replace("_", ""), 0 if text.lstrip("+-")[:2].lower() in ("0x", "0o") else 10)
    return number if fits(number) else None


def fits(number: int) -> bool:
    """Whether a float holds a whole number, however roughly."""
    return abs(number) <= sys.float_info.max


def plain(value: Any, path: Path = ()) -> Any:
    """A Python mapping as the plain data that a file would give: keys as text, NumPy numbers as Python's.

    Data frames become mappings of column to list, priors their text; functions stay as they are.

    Raises
    ------
    ConfigError
        For values of other kinds and for nesting without end.

    Examples
    --------
    >>> import numpy as np
    >>> plain({"seed": np.int64(1), 2: (1, 2)})
    {'seed': 1, '2': [1, 2]}
    """
    if len(path) > MAX_DEPTH:
        raise ConfigError(f"expected at most {MAX_DEPTH} levels of nesting; found more; a study needs six")
    if isinstance(value, int) and not fits(value):
        raise ConfigError("expected a number below 1.8e308; found a larger one; write a smaller one", path=path)
    if value is None or type(value) in (bool, int, float):
        return value
    if type(value) is str:
        try:
            return _joined(value)
        except UnicodeDecodeError:
            raise ConfigError(
                "expected text; found half of a character; write the character itself", path=path
            ) from None
    if isinstance(value, float | int | str) and not hasattr(value, "dtype"):
        return next(kind(value) for kind in (float, int, str) if isinstance(value, kind))
    if isinstance(value, Mapping):
        return {label_text(k): plain(v, (*path, label_text(k))) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, (*path, i)) for i, v in enumerate(value)]
    if isinstance(value, Prior):
        return f"{value.name}({', '.join(map(repr, value.args))})"
    if hasattr(value, "columns") and hasattr(value, "to_dict"):
        return {"table": {str(c): value[c].tolist() for c in value.columns}}
    if hasattr(value, "tolist"):
        return plain(value.tolist(), path)
    if callable(value):
        return value
    message = f"expected text, numbers, lists and mappings; found {type(value).__name__}; write plain values"
    raise ConfigError(message, path=path)
