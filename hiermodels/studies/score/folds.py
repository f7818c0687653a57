"""Numbers that are folded over replicates, such as sums: at once, or in passes where replicates arrive window by
window.

Whatever a measure needs of all replicates together it asks for as a fold, and reads the value where it needs it. Of
replicates in memory the value is there at once. Where they arrive window by window, it is there after the pass in which
it was asked for: to read it before raises `Pending`, and the measure is called again with every window of the next
pass, until it has all values that it reads. What it computes replicate by replicate is never kept. Windows do not
depend on how estimates are stored, so neither do sums.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "APPEND",
    "AT_ONCE",
    "AtOnce",
    "Fold",
    "Folds",
    "InPasses",
    "Join",
    "Pending",
    "Programs",
    "at_once",
    "in_passes",
]


class Pending(Exception):
    """A value was read that the end of this pass will give."""


class Join(Protocol):
    """How a fold is made: of the replicates of a window (``reduce``), and of two windows; NumPy's ufuncs are such."""

    def reduce(self, array: Any, axis: int) -> Any:
        """Of a window."""

    def __call__(self, one: Any, other: Any) -> Any:
        """Of two."""


class _Append:
    """Everything, one window after the other."""

    @staticmethod
    def reduce(array: Any, axis: int) -> Any:
        return array

    def __call__(self, one: Any, other: Any) -> Any:
        return np.concatenate([one, other])


APPEND: Join = _Append()


class Fold(Protocol):
    """A number, or one a group, of all replicates."""

    @property
    def value(self) -> Any:
        """The value, or `Pending`."""
        ...


class _Known(NamedTuple):
    """A fold of which the value is there."""

    value: Any


class _Unknown:
    """A fold that is being made."""

    @property
    def value(self) -> Any:
        raise Pending


class Folds(Protocol):
    """Makes folds."""

    def fold(self, join: Any, part: Callable[[], NDArray[Any]]) -> Fold:
        """The fold of an array whose first axis is the replicates of this window."""
        ...


class AtOnce:
    """Folds of replicates that are all in one window."""

    def fold(self, join: Any, part: Callable[[], NDArray[Any]]) -> Fold:
        """The fold, known."""
        return _Known(join.reduce(part(), axis=0))


AT_ONCE = AtOnce()


@dataclass
class _Memory:
    """Folds of one program in the order in which it asks for them: those that are known, and those of this pass so
    far.
    """

    known: list[Any] = field(default_factory=list)
    making: list[tuple[Any, Any]] = field(default_factory=list)
    place: int = 0

    def end(self) -> None:
        """Know what this pass has made."""
        self.known += [value for _, value in self.making]
        self.making.clear()


class InPasses:
    """Folds of programs that are run side by side, window by window; `now` names the one that runs."""

    def __init__(self) -> None:
        self.programs: dict[Hashable, _Memory] = {}

    def now(self, program: Hashable) -> _Memory:
        """Begin a run of a program on a window."""
        self.current = self.programs.setdefault(program, _Memory())
        self.current.place = 0
        return self.current

    def fold(self, join: Any, part: Callable[[], NDArray[Any]]) -> Fold:
        """The fold, known if an earlier pass has made it; the window's part is added to it otherwise."""
        memory, place = self.current, self.current.place
        memory.place += 1
        if place < len(memory.known):
            return _Known(memory.known[place])
        part_of_window, place = join.reduce(part(), axis=0), place - len(memory.known)
        if place == len(memory.making):
            memory.making.append((join, part_of_window))
        else:
            memory.making[place] = (join, join(memory.making[place][1], part_of_window))
        return _Unknown()


type Programs[Key, Window, Found] = dict[Key, Callable[[Window], Found]]


def at_once[Key: Hashable, Window, Found](
    window: Window, programs: Programs[Key, Window, Found], more: Callable[[Key, Found], Programs[Key, Window, Found]]
) -> None:
    """`in_passes` for the one window that there is, with folds that are known `AT_ONCE`."""
    waiting = dict(programs)
    while waiting:
        key = next(iter(waiting))
        waiting |= more(key, waiting.pop(key)(window))


def in_passes[Key: Hashable, Window, Found](
    windows: Callable[[], Iterable[Window]],
    folds: InPasses,
    programs: Programs[Key, Window, Found],
    more: Callable[[Key, Found], Programs[Key, Window, Found]],
) -> None:
    """Run programs on every window, again and again, until all of them have come to their ends.

    Parameters
    ----------
    windows : callable
        The windows, in the same order whenever it is called.
    folds : InPasses
        What programs ask for folds.
    programs : dict
        What a program asks for may depend on nothing but folds and what other programs have returned.
    more : callable
        Takes a program's name and what it returned; gives further programs.
    """
    waiting = dict(programs)
    while waiting:
        window = None
        for window in windows():
            for key, program in waiting.items():
                folds.now(key)
                with contextlib.suppress(Pending):
                    program(window)
        assert window is not None
        for key in waiting:
            folds.now(key).end()
        added: Programs[Key, Window, Found] = {}
        for key, program in list(waiting.items()):  # the last window is as good as any
            memory = folds.now(key)
            with contextlib.suppress(Pending):
                added |= more(key, program(window))
                del waiting[key], folds.programs[key]
            memory.making.clear()
        waiting |= added
