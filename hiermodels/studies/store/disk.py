"""Files that are whole or not there, and folders that processes do not fight over.

Every file is written under a temporary name of its own, flushed to disk, and renamed: whatever stands under its own
name is complete, also on file systems that many machines share. Temporary names end in
``.tmp-<host>-<process>-<token>``; the token is drawn anew for each, and the file must not be there yet.

A run folder carries the file ``.hiermodels``, which is made before anything else in it: a folder that has neither it
nor a manifest, and is not empty, is somebody else's and is left alone. Nothing is written through a link inside a run
folder.

A folder is held by one process, or by the shards of one study together. Locks are the operating system's (``flock``),
so that a process that dies in whatever way lets go of them: ``.lock`` for the whole folder, which shards take for
moments only, and ``.lock-<shard>`` for as long as a shard computes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shlex
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

__all__ = ["MARKER", "Hold", "locked", "quoted", "read_json", "remove", "whole", "write_bytes", "write_json"]

MARKER = ".hiermodels"
"""Name of the file by which a run folder is known."""
_HOST = re.sub(r"\W", "_", socket.gethostname())[:40] or "host"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_TEMPORARY = re.compile(r"\.tmp-(?P<host>\w+)-(?P<pid>\d+)-[0-9a-f]{8}$")
_PATIENCE = 60.0
"""Seconds that a shard waits for the folder's lock, which other shards hold for moments."""
_LOCKLESS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
"""What file systems without locks answer; files are whole there all the same."""


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A new, empty file to fill, which takes its name when the block ends, and is gone if that fails.

    Parameters
    ----------
    path : pathlib.Path
        Its name; folders above it are made.

    Yields
    ------
    pathlib.Path
        What to write to: in the same folder, under a name that nobody can know before.

    Raises
    ------
    ValueError
        It cannot be written, or its folder is a link inside a run folder.
    """
    _refuse_links(path)
    temporary = path.with_name(f"{path.name}.tmp-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(temporary, _NEW, 0o666))
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: temporary name, flush to disk, rename.

    Parameters
    ----------
    path : pathlib.Path
        Its name; folders above it are made.
    data : bytes
        Its content.

    Raises
    ------
    ValueError
        As `whole`.
    """
    with whole(path) as temporary:
        temporary.write_bytes(data)


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises
    ------
    ValueError
        It cannot be removed, or its folder is a link inside a run folder.
    """
    _refuse_links(path)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None


def _refuse_links(path: Path) -> None:
    """Refuse a file whose folder is a link inside a run folder; what leads to the run folder itself may be one."""
    links: list[Path] = []
    for folder in path.parents:
        if any((folder / name).is_file() for name in (MARKER, "manifest.json")):
            if links:
                raise _is_link(links[-1])
            if not folder.is_symlink():
                return
        if folder.is_symlink():
            links.append(folder)


def _is_link(path: Path) -> ValueError:
    return ValueError(
        f"{path}: a link inside a run folder, through which nothing is written; remove it, or choose another folder "
        f"with --out"
    )


def _sync_folder(folder: Path) -> None:
    """Flush a rename to disk where the system lets folders be flushed."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):
                os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def quoted(path: str | Path) -> str:
    """A path as one word of a shell command, which takes it neither for a name nor for an option.

    Examples
    --------
    >>> quoted("runs/a"), quoted("runs/a b"), quoted("a"), quoted("-x")
    ('runs/a', "'runs/a b'", './a', './-x')
    """
    text = str(path)
    return shlex.quote(text if "/" in text.lstrip("-") or "\\" in text else f"./{text}")


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises
    ------
    ValueError
        It cannot be read; the message names it.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        found = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise ValueError(
            f"{path}: expected the JSON that a run wrote, found something else ({found}); put it back, or remove it"
        ) from None


def unwritable(path: Path, error: OSError) -> ValueError:
    """What to say of a place that cannot be written."""
    reason = (
        "a folder stands there: move it away"
        if isinstance(error, IsADirectoryError)
        else error.strerror or type(error).__name__
    )
    return ValueError(f"{path}: cannot be written ({reason}); choose a folder of yours with --out, or make room")


class Hold:
    """A run folder that this process holds, alone or beside other shards of its study; made by `locked`.

    Attributes
    ----------
    folder : pathlib.Path
    shard : str
        Part of file names that belongs to this shard; empty where the folder is held alone.
    """

    def __init__(self, folder: Path, shard: str) -> None:
        self.folder, self.shard = folder, shard

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else enters this block for this folder, nor comes to hold it, at the same time.

        Raises
        ------
        ValueError
            Another process holds the folder alone.
        """
        if not self.shard:
            yield
            return
        with _lock(self.folder, ".lock", _PATIENCE):
            yield

    @contextlib.contextmanager
    def summarising(self) -> Iterator[bool]:
        """Whether it falls to this process to summarise: False while another one does."""
        if not self.shard:
            yield True
            return
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(_lock(self.folder, ".lock-summary"))
            except ValueError:
                yield False
            else:
                yield True


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str], shard: str = "") -> Iterator[Hold]:
    """Hold a run folder, made and marked if need be and cleared of dead processes' temporary files.

    The operating system drops the locks when the process ends, in whatever way.

    Parameters
    ----------
    folder : str or path
        Run folder.
    shard : str
        Hold it beside other shards, under this name; by default alone.

    Yields
    ------
    Hold

    Raises
    ------
    ValueError
        The folder cannot be written, is neither empty nor a run's, or a live process is in the way.
    """
    folder = Path(folder)
    _claim(folder)
    with contextlib.ExitStack() as stack:
        if shard:
            with _lock(folder, ".lock", _PATIENCE):
                stack.enter_context(_lock(folder, f".lock-{shard}"))
        else:
            stack.enter_context(_lock(folder, ".lock"))
            for other in sorted(folder.glob(".lock-*")):
                with _lock(folder, other.name):
                    pass
                other.unlink(missing_ok=True)
        _clear(folder, everything=not shard)
        yield Hold(folder, shard)


def _claim(folder: Path) -> None:
    """Make a folder, and mark it as a run's; refuse one that holds what is not ours."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [name for name in os.listdir(folder) if not _TEMPORARY.search(name)]
        if MARKER in names:
            return
        if names and "manifest.json" not in names:
            found = ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise ValueError(
                f"{folder}: expected an empty folder or a run's, found {found}; nothing was written: choose another "
                f"with --out"
            )
        with contextlib.suppress(FileExistsError):
            os.close(os.open(folder / MARKER, _NEW, 0o666))
    except OSError as error:
        raise unwritable(folder, error) from None


@contextlib.contextmanager
def _lock(folder: Path, name: str, patience: float = 0.0) -> Iterator[None]:
    """Hold one lock file; who does is written beside it, for messages."""
    lock, holder = filelock.FileLock(folder / name), folder / name.replace(".lock", ".holder")
    for path in (folder / name, holder):
        if path.is_symlink():
            raise _is_link(path)
    try:
        lock.acquire(timeout=patience)
    except filelock.Timeout:
        what = "is at work here" if name == ".lock" else f"is at work here ({name.removeprefix('.lock-')})"
        raise ValueError(
            f"{folder}: {_who(holder)} {what}; wait until it ends, stop it, or choose another folder with --out"
        ) from None
    except OSError as error:
        if error.errno not in _LOCKLESS:
            raise unwritable(folder, error) from None
    try:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
            with os.fdopen(os.open(holder, _NEW, 0o666), "w") as file:
                json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    try:
        found = json.loads(holder.read_bytes())
        return f"process {found['pid']} on {found['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _clear(folder: Path, *, everything: bool) -> None:
    """Remove temporary files: all of them, or those whose process is known to be dead."""
    for leftover in folder.rglob("*.tmp-*"):
        found = _TEMPORARY.search(leftover.name)
        if found and (everything or _dead(leftover, found)):
            leftover.unlink(missing_ok=True)


def _dead(file: Path, found: re.Match[str]) -> bool:
    if found["host"] == _HOST and os.name == "posix":
        try:
            os.kill(int(found["pid"]), 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False
    with contextlib.suppress(OSError):
        return time.time() - file.stat().st_mtime > 86_400  # another machine's: a chunk is not written for a day
    return False
