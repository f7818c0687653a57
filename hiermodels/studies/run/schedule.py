"""What a study consists of, chunk by chunk, and which machine computes which; never all of it in memory.

A study is cells x methods, its *combinations*, each cut into chunks of replicates. A shard I/N has of combination c the
chunks i with ``(start(c) + i) mod N = I``, where the starts are spread over the shards by multiples of the golden ratio
(Knuth, The Art of Computer Programming 3, section 6.4). So every chunk belongs to one shard, shards differ by few
chunks of each method, and more replications, or cells at the end of the grid, move no chunk to another shard.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiermodels.inference.samplers import Settings, those_that
from hiermodels.studies.store import results
from hiermodels.studies.store.disk import quoted
from hiermodels.studies.store.identity import Makers

__all__ = ["WHOLE", "Combination", "Schedule", "Shard", "Task", "ranges", "read_shard", "say_missing", "shard_of_array"]

_GOLDEN = 2_654_435_769
"""2^32 over the golden ratio."""


@dataclass(frozen=True)
class Shard:
    """The part of a study that one process computes.

    Attributes
    ----------
    index : int
        From 0.
    count : int
        Parts in all.

    Examples
    --------
    >>> everything = Shard()
    >>> [everything.has(c, i) for c in (0, 7) for i in (0, 1)]
    [True, True, True, True]
    >>> [sum(Shard(k, 3).has(5, i) for i in range(9)) for k in range(3)]
    [3, 3, 3]
    """

    index: int = 0
    count: int = 1

    def has(self, combination: int, chunk: int) -> bool:
        """Whether this shard computes a chunk of a combination, both numbered from 0."""
        start = ((combination * _GOLDEN) % 2**32) * self.count >> 32
        return (start + chunk) % self.count == self.index

    @property
    def name(self) -> str:
        """Part of file names that no other shard has; empty where the whole is one process's."""
        width = len(str(self.count))
        return "" if self.count == 1 else f"{self.index:0{width}d}-of-{self.count}"

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Shard()
"""The one shard of a study that is not divided."""


def read_shard(text: str) -> Shard:
    """A shard from ``I/N``; I may be counted from 0 or from 1, as ``0/N`` and ``N/N`` are the same shard.

    Raises
    ------
    ValueError
        For anything but two whole numbers with 0 <= I <= N.

    Examples
    --------
    >>> read_shard("3/20"), read_shard("20/20")
    (Shard(index=3, count=20), Shard(index=0, count=20))
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    index, count = map(int, found.groups()) if found else (0, 0)
    if count < 1 or index > count:
        raise ValueError(
            f"--shard {text!r}: expected I/N with I from 0 to N-1, or from 1 to N; write e.g. --shard 3/20"
        )
    return Shard(index % count, count)


def shard_of_array(environment: Mapping[str, str] | None = None) -> Shard | None:
    """The shard of a task of a Slurm job array, from its environment; None outside of one.

    Raises
    ------
    ValueError
        For an array with gaps, such as a resubmission of some tasks, whose numbers do not say which shards they were.

    Examples
    --------
    >>> shard_of_array({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "20"})
    Shard(index=7, count=20)
    """
    found = os.environ if environment is None else environment
    if "SLURM_ARRAY_TASK_ID" not in found or "SLURM_ARRAY_TASK_COUNT" not in found:
        return None

    def number(name: str, default: int = 0) -> int:
        text = found.get(f"SLURM_ARRAY_TASK_{name}", str(default))
        if not re.fullmatch(r"\d{1,9}", text.strip()):
            raise ValueError(
                f"SLURM_ARRAY_TASK_{name}: expected a whole number, found {text[:40]!r}; write --shard I/N, or unset it"
            )
        return int(text)

    index, count = number("ID"), number("COUNT")
    least, most = number("MIN"), number("MAX", count - 1)
    step = number("STEP", 1) or 1
    if count == 1 and "SLURM_ARRAY_TASK_MIN" not in found:
        return WHOLE
    if most - least != (count - 1) * step:
        raise ValueError(
            f"--shard: this job array of {count} tasks from {least} to {most} has gaps, so its numbers name no shards; "
            f"write --shard $SLURM_ARRAY_TASK_ID/N with the N of the first submission"
        )
    return Shard((index - least) // step % count, count)


@dataclass(frozen=True)
class Task:
    """One chunk: a cell's hash, a method, a number, how many of its replicates count, and what its file says of who
    made it.
    """

    cell: str
    method: str
    index: int
    fits: int
    maker: str | None = None


@dataclass(frozen=True)
class Combination:
    """A cell and a method, with the datasets in one step and the replicates in one file.

    ``limit`` is the number of replicates at which the cell ends before the study does; ``place`` orders first chunks;
    ``maker`` is what its files say of who made them.
    """

    cell: str
    method: str
    lanes: int
    chunk: int
    limit: int | None = None
    sampler: str | None = None
    first: bool = True
    maker: str | None = None

    def chunks(self, replications: int) -> int:
        """Chunks that hold this many replicates."""
        return -(-self._most(replications) // self.chunk)

    def task(self, index: int, replications: int) -> Task:
        """One of its chunks."""
        return Task(
            self.cell, self.method, index, min(self.chunk, self._most(replications) - index * self.chunk), self.maker
        )

    def _most(self, replications: int) -> int:
        return replications if self.limit is None else min(replications, self.limit)


@dataclass(frozen=True)
class Schedule:
    """The chunks of a study that a shard computes.

    Attributes
    ----------
    combinations : tuple of Combination
        Cells slowest.
    replications : int
    shard : Shard
    """

    combinations: tuple[Combination, ...]
    replications: int
    shard: Shard = WHOLE

    @classmethod
    def of(cls, manifest: Mapping[str, Any], shard: Shard = WHOLE) -> Schedule:
        """The chunks of a run, as its manifest has them."""
        makers = Makers(manifest)
        combinations = [
            Combination(
                cell["hash"],
                method,
                lanes=_size(manifest["lanes"], cell["hash"], method),
                chunk=_size(manifest["chunk"], cell["hash"], method),
                limit=manifest.get("stopped", {}).get(cell["hash"]),
                sampler=_sampler(settings),
                first=i == 0,
                maker=makers.of(cell["hash"], method),
            )
            for i, cell in enumerate(manifest["cells"])
            for method, settings in manifest["config"]["methods"].items()
        ]
        return cls(tuple(combinations), manifest["config"]["replications"], shard)

    def tasks(self) -> Iterator[Task]:
        """Every chunk, the first ones of all cells and methods before the second ones; the longest compilation begins
        first.
        """
        longest = max((c.chunks(self.replications) for c in self.combinations), default=0)
        for index in range(longest):
            numbered = list(enumerate(self.combinations))
            for number, combination in numbered if index else sorted(numbered, key=lambda one: _place(one[1])):
                if index < combination.chunks(self.replications) and self.shard.has(number, index):
                    yield combination.task(index, self.replications)

    def todo(self, folder: Path) -> Iterator[Task]:
        """Chunks that are not stored, or cannot be read back (those files are removed)."""
        for task in self.tasks():
            if not results.chunk_is_whole(folder, task.cell, task.method, task.index, task.maker):
                yield task

    def missing(self, folder: Path) -> Iterator[tuple[Combination, list[int]]]:
        """Combinations that lack chunks in a folder, and which; files are not opened."""
        for number, combination in enumerate(self.combinations):
            have = results.stored_chunks(folder, combination.cell, combination.method)
            wanted = (i for i in range(combination.chunks(self.replications)) if self.shard.has(number, i))
            if lacking := [i for i in wanted if i not in have]:
                yield combination, lacking

    def sizes(self) -> Callable[[Task], tuple[int, int]]:
        """Task to its lanes and chunk."""
        known = {(c.cell, c.method): (c.lanes, c.chunk) for c in self.combinations}
        return lambda task: known[task.cell, task.method]

    def count(self) -> int:
        """Number of chunks."""
        totals = (c.chunks(self.replications) for c in self.combinations)
        if self.shard.count == 1:
            return sum(totals)
        return sum(self.shard.has(number, i) for number, total in enumerate(totals) for i in range(total))


def _sampler(method: Mapping[str, Any]) -> str | None:
    """Name of a method's sampler; None where it has none."""
    return None if method.get("estimator") or method.get("host") else method.get("sampler", Settings.sampler)


def _place(combination: Combination) -> int:
    """What takes longest to compile begins, in one cell; other methods use the time, other cells find the program
    there.
    """
    if combination.sampler not in those_that("slow_to_compile"):
        return 1
    return 0 if combination.first else 2


def _size(sizes: Any, cell: str, method: str) -> int:
    return int(sizes[cell][method] if isinstance(sizes, Mapping) else sizes)


def ranges(numbers: Sequence[int]) -> str:
    """Whole numbers in ascending order, runs of them joined.

    Examples
    --------
    >>> ranges([0, 3, 7, 8, 9])
    '0, 3, 7-9'
    """
    parts: list[list[int]] = []
    for n in numbers:
        if parts and n == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], n]
        else:
            parts.append([n])
    return ", ".join("-".join(map(str, part)) for part in parts)


def say_missing(manifest: Mapping[str, Any], folder: Path, most: int = 8) -> str:
    """What a run folder lacks, by cell, method, chunk and replicate, and the command that makes it; empty if
    nothing.
    """
    schedule, lines, lacking = Schedule.of(manifest), [], 0
    names = {
        c["hash"]: ", ".join(f"{k}={_shown(v)}" for k, v in c.get("factors", {}).items()) for c in manifest["cells"]
    }
    for c, indices in schedule.missing(folder):
        lacking += len(indices)
        reps = ranges([r for i in indices for r in range(i * c.chunk, min((i + 1) * c.chunk, schedule.replications))])
        place = names[c.cell] or "the only cell"
        lines.append(f"{place}; {c.method}: chunks {ranges(indices)} (replicates {reps})")
    if not lacking:
        return ""
    more = [f"and {len(lines) - most} more of this kind"] if len(lines) > most else []
    head = (
        f"{folder}: {lacking} of {schedule.count()} chunks are missing; `hiermodels run {quoted(folder)}` makes them:"
    )
    return "\n  ".join([head, *lines[:most], *more])


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
