"""Whether a run folder is what its manifest says, and may be continued with this configuration.

A manifest carries the digest of its own content, and each chunk what made it: a hash of everything that determines the
chunk's numbers, so that files of one study are not taken for those of another.

What determines results (mechanisms, methods, estimands, interval, seed, precision, and the lanes and chunks that the
files were made with) must be what it was. `aim`, `performance`, the summary of failures and how long a host function
may take are free: a run that hangs is stopped, given a `timeout` and gone on with. More replications, cells or methods
extend a run, if that is asked for. Everything else is refused, with the differences.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hiermodels.studies.store.disk import quoted

__all__ = [
    "FORMAT",
    "IDENTITY",
    "STREAMS",
    "Makers",
    "check_current",
    "check_identity",
    "check_sizes",
    "differences",
    "identity_of",
    "plain",
    "timeless",
    "verified",
    "with_nesting",
]

IDENTITY = ("mechanisms", "methods", "estimands", "interval", "seed", "precision")
"""Keys of a resolved configuration that determine results."""

STREAMS = 2
"""Number of the streams of random numbers: the same study and seed give the same datasets under the same number; one
more whenever
that changes."""
FORMAT = 2
"""Number of the format of a run folder; files made before 2 carry no digests."""

FREE = frozenset({"aim", "performance", "decisions", "stop"})
ABSENT = "(absent)"
RETRY = "retry-with-escalation"


def plain(value: Any) -> Any:
    """`value` as JSON would give it back: tuples as lists, keys as text.

    Raises
    ------
    ValueError
        If it holds something that JSON cannot, such as an array.
    """
    try:
        return json.loads(json.dumps(value))
    except TypeError as error:
        raise ValueError(f"resolved configuration: {error}; expected numbers, text, lists and mappings") from None


def identity_of(resolved: Mapping[str, Any]) -> str:
    """Hash of what determines the results of a study, whatever the order of its keys but for the levels of a design.

    Parameters
    ----------
    resolved : mapping
        Resolved configuration.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> identity_of({"seed": 1, "aim": "x"}) == identity_of({"aim": "y", "seed": 1})
    True
    """
    part = {key: plain(resolved[key]) for key in IDENTITY if key in resolved}
    part["mechanisms"] = with_nesting(part.get("mechanisms"))
    return hashlib.blake2b(json.dumps(part, sort_keys=True).encode(), digest_size=16).hexdigest()


def with_nesting(mechanisms: Any) -> Any:
    """Mechanisms whose levels are a list, since their order is the nesting; no other order of keys has a meaning."""
    design = mechanisms.get("design") if isinstance(mechanisms, Mapping) else None
    if not isinstance(design, Mapping) or "table" in design:
        return mechanisms
    sizes = {name: size for name, size in design.items() if name not in ("obs", "predictors")}
    rest = {name: value for name, value in design.items() if name not in sizes}
    return {**mechanisms, "design": {**rest, "levels": [[name, size] for name, size in sizes.items()]}}


class Makers:
    """What made the chunks of a run: a hash a cell and method, of all that determines the numbers in their files.

    Neither the number of replications nor other cells and methods enter it, so that a chunk stays what it is when a
    study grows or is joined to another part; nor does any time.

    Parameters
    ----------
    manifest : mapping
        A run's.
    """

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self._manifest, self._functions = manifest, _sources(manifest.get("functions") or {})
        config = manifest["config"]
        self._methods: dict[str, str] = {}
        common = {key: config.get(key) for key in IDENTITY if key != "methods"}
        common["mechanisms"] = with_nesting(_without(config.get("mechanisms"), "grid"))
        common["retry"] = config.get("failures") == RETRY
        common["function"] = self._functions.get("mechanisms.formula")
        self._common = (
            self._hash([common, manifest.get("format"), manifest.get("streams")]) if verified(manifest) else None
        )

    def of(self, cell: str, method: str) -> str | None:
        """What makes the chunks of a cell and a method; None in a folder made before digests."""
        if self._common is None:
            return None
        if method not in self._methods:
            settings = _without(self._manifest["config"]["methods"].get(method, "imported"), "timeout")
            code = {key: self._functions.get(f"methods.{method}.{key}") for key in ("formula", "function")}
            self._methods[method] = self._hash([self._common, method, settings, code])
        sizes = [_size(self._manifest.get(key), cell, method) for key in ("lanes", "chunk")]
        return self._hash([self._methods[method], cell, sizes])

    @staticmethod
    def _hash(value: Any) -> str:
        text = json.dumps(_numbers(value), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _sources(functions: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """What is known of functions whatever the version of Python."""
    return {place: {k: v for k, v in parts.items() if not k.startswith("code ")} for place, parts in functions.items()}


def _size(sizes: Any, cell: str, method: str) -> Any:
    return sizes.get(cell, {}).get(method) if isinstance(sizes, Mapping) else sizes


def _numbers(value: Any) -> Any:
    """Plain data in which 8 and 8.0 are the same, as they are where two studies are compared."""
    if isinstance(value, Mapping):
        return {str(key): _numbers(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and float(value) == value else value


def verified(manifest: Mapping[str, Any]) -> bool:
    """Whether the files of a run carry digests."""
    return manifest.get("format", 1) >= 2


def check_current(manifest: Mapping[str, Any], folder: Path) -> None:
    """Refuse to compute anything for a folder that was made before digests, or with other random streams.

    Raises
    ------
    ValueError
        With the command that starts anew.
    """
    found = [
        f"{word} {manifest.get(key, 1)}, where this version has {now}"
        for key, word, now in (("format", "files of format", FORMAT), ("streams", "random streams", STREAMS))
        if manifest.get(key, 1) != now
    ]
    if found:
        raise ValueError(
            f"{folder}: made by another version ({'; '.join(found)}), which gives other datasets; it can be read and "
            f"reported, "
            f"not gone on with: start anew with `{anew(folder)}`"
        )


def anew(folder: Path) -> str:
    """The command that runs a folder's study in another one."""
    return f"hiermodels run {quoted(folder / 'config.yaml')} --out {quoted(folder.parent / f'{folder.name}-again')}"


def differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ, as (dotted key, old, new).

    As deep as both are mappings, or lists of one length.

    Examples
    --------
    >>> list(differences({"a": {"b": 1}, "c": [1, 2]}, {"a": {"b": 2}, "c": [1, 3]}))
    [('a.b', 1, 2), ('c[1]', 2, 3)]
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            inner = f"{key}.{name}" if key else str(name)
            yield from differences(old.get(name, ABSENT), new.get(name, ABSENT), inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{key}[{place}]")
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield key, old, new


def check_identity(
    old_manifest: Mapping[str, Any],
    resolved: Mapping[str, Any],
    extend: bool = False,
    *,
    cells: Sequence[Mapping[str, Any]] | None = None,
    functions: Mapping[str, Any] | None = None,
    where: str = "the run folder",
) -> list[str]:
    """Let a run be continued with this configuration, or say what differs.

    Parameters
    ----------
    old_manifest : mapping
        The folder's manifest, with ``config`` and ``cells``.
    resolved : mapping
        Resolved configuration of what is to be run.
    extend : bool
        Whether more replications, cells or methods are wanted.
    cells : sequence of mapping, optional
        Its cells, each with ``hash`` and ``factors``; by default ``resolved["cells"]``. Where either side has
        none, the grids are compared as written.
    functions : mapping, optional
        What is known of its Python functions, by place, as `hiermodels.studies.store.sources.describe` gives it.
    where : str
        How to name the folder in messages.

    Returns
    -------
    list of str
        What is added, as lines ``key: old -> new``; empty if the study is the same.

    Raises
    ------
    ValueError
        Something that determines results differs, or something is added without `extend`; the message has a
        line for each.

    Examples
    --------
    >>> old = {"config": {"seed": 1, "replications": 100}}
    >>> check_identity(old, {"seed": 1, "replications": 250}, extend=True)
    ['replications: 100 -> 250']
    """
    before, now = plain(old_manifest["config"]), plain(resolved)
    old_cells = plain(old_manifest.get("cells") or before.get("cells"))
    new_cells = plain(cells if cells is not None else now.get("cells"))
    refused: list[str] = []
    added: list[str] = []
    if old_cells and new_cells:
        for config in (before, now):
            config["mechanisms"] = _without(config.get("mechanisms"), "grid")
        _compare_named(_by_hash(old_cells), _by_hash(new_cells), "cells", refused, added)
    for config in (before, now):
        config.pop("cells", None)
        config["mechanisms"] = with_nesting(config.get("mechanisms"))
    _compare_named(timeless(before.pop("methods", {})), timeless(now.pop("methods", {})), "methods", refused, added)
    more = before.get("replications"), now.get("replications")
    if None not in more and more[0] != more[1]:
        (added if more[0] < more[1] else refused).append(line("replications", *more))
        now["replications"] = more[0]
    refused += [line(*found) for found in differences(before, now) if not _harmless(*found)]
    refused += edited(old_manifest.get("functions") or {}, functions or {})
    if refused:
        raise ValueError(
            f"{where} holds another study; take another folder with --out, or undo what differs:\n  " + listed(refused)
        )
    if added and not extend:
        raise ValueError(
            f"{where} holds a smaller study; type the command with --extend to add to it:\n  " + listed(added)
        )
    return added


def check_sizes(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "the run folder") -> None:
    """Refuse to go on with other lanes or chunks than the files were made with: ``auto`` differs between devices.

    Parameters
    ----------
    old, new : mapping
        Manifests.
    where : str
        How to name the folder in messages.

    Raises
    ------
    ValueError
        With a line for each cell and method that both have and that differ.
    """
    found = []
    for key in ("lanes", "chunk"):
        before, now = plain(old.get(key)), plain(new.get(key))
        if not (isinstance(before, dict) and isinstance(now, dict)):
            continue
        for cell in before.keys() & now.keys():
            both = {m: (before[cell][m], now[cell][m]) for m in before[cell] if m in now[cell]}
            found += [line(f"{key}.{cell}.{m}", *pair) for m, pair in both.items() if pair[0] != pair[1]]
    if found:
        raise ValueError(
            f"{where} was made with other lanes or chunks, as by another version or kind of device; take another "
            f"folder with "
            "--out, or the device and versions that its manifest names:\n  " + listed(sorted(found))
        )


def edited(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Python functions that both sides have and that are not the same, a line each part of them that both have and
    that differs.
    """
    return [
        f"{place}: edited since: {line(part, old[place][part], new[place][part])}"
        for place in old
        for part in (old[place] if place in new else ())
        if part in new[place] and new[place][part] != old[place][part]
    ]


def _harmless(key: str, old: Any, new: Any) -> bool:
    """Differences that leave every estimate as it is."""
    top = key.partition(".")[0].partition("[")[0]
    if top == "failures":
        return RETRY not in (old, new)
    return top in FREE or (top in ("lanes", "chunk") and "auto" in (old, new))


def timeless(methods: Any) -> Any:
    """Methods without how long they may take."""
    return {name: _without(method, "timeout") for name, method in methods.items()}


def _compare_named(old: Any, new: Any, key: str, refused: list[str], added: list[str]) -> None:
    """Compare two mappings of which the new one may have more entries; their order is free."""
    for name, value in old.items():
        refused += [line(*found) for found in differences(value, new.get(name, ABSENT), f"{key}.{name}")]
    added += [line(f"{key}.{name}", ABSENT, value) for name, value in new.items() if name not in old]


def _by_hash(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Cells under a name that shows their factors (and their hash, which must be the same)."""
    return {_cell_name(cell): cell["hash"] for cell in cells}


def _cell_name(cell: Mapping[str, Any]) -> str:
    factors = cell.get("factors") or {}
    return "[" + " ".join(f"{name}={value}" for name, value in sorted(factors.items())) + "]"


def _without(mapping: Any, key: str) -> Any:
    return {name: value for name, value in mapping.items() if name != key} if isinstance(mapping, dict) else mapping


def listed(found: Sequence[str], most: int = 3) -> str:
    """Differences below one another, the first few of many."""
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return "\n  ".join([*found[:most], *more])


def line(key: str, old: Any, new: Any) -> str:
    """A difference in one line."""
    return f"{key}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 70 else text[:67] + "..."
