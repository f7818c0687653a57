"""The entry point: a command's end as an exit code, and what is wrong as one line."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
import warnings
from pathlib import Path

import cyclopts

from hiermodels._messages import shortened
from hiermodels.cli._app import app

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; turns errors into one line and an exit code."""
    _open_closed()
    code = _code(arguments)
    if any(thread.name.startswith("hiermodels-chunk") for thread in threading.enumerate()):
        os._exit(code)  # a stopped run does not wait for the chunks it gave up
    sys.exit(code)


def _open_closed() -> None:
    """Give standard streams that were closed a place to go, so that no other file takes their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                if os.open(os.devnull, os.O_RDWR) == number:
                    setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def _code(arguments: list[str] | None) -> int:
    with warnings.catch_warnings():
        said: set[str] = set()
        warnings.showwarning = lambda message, *_, **__: _warned(str(message), said)
        code = _run(arguments)
    return _flushed(code)


def _run(arguments: list[str] | None) -> int:
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        return _bad(_misused(error))
    except ValueError as error:
        return _bad(_of_programs(error) if _from_jax(error) else str(error))
    except RuntimeError as error:
        if not _from_jax(error):
            raise
        return _bad(_of_programs(error))
    except BrokenPipeError:
        return 0  # whoever read standard output went away
    except OSError as error:
        if error.strerror is None:
            raise
        place = error.filename or "standard output, or a connection"
        return _bad(f"{place}: {error.strerror}; check the path, its permissions and the space left")
    except KeyboardInterrupt as stopped:
        _say(str(stopped) or "stopped")
        return int(getattr(stopped, "code", 130))
    return 0


def _flushed(code: int) -> int:
    """The exit code once everything is printed; a reader that went away is none of our business, a full disk is."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout and isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                code = _bad(
                    f"standard output: cannot be written ({error.strerror}); what is in files is whole: make room"
                )
    return code


def _warned(message: str, said: set[str]) -> None:
    """One line for each thing that is warned of."""
    if message not in said:
        said.add(message)
        _say(f"warning: {message}")


def _from_jax(error: Exception) -> bool:
    """Whether JAX raised it, of a program that it could not load or call."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and ("jax" in Path(frames[-1].filename).parts or type(error).__module__.startswith("jax"))


def _of_programs(error: Exception) -> str:
    """What to do about a compiled program that is not what its file's name says."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", "")
    found = (str(error).splitlines() or [type(error).__name__])[0][:150]
    todo = (
        f"the folder of compiled programs, {folder}, may be damaged: remove it, and type the command again"
        if folder
        else "report it"
    )
    return f"a compiled program failed ({found}); {todo}"


def _misused(error: cyclopts.CycloptsError) -> str:
    """A mistake in the command itself, in one line."""
    command = " ".join(["hiermodels", *(error.command_chain or ())])
    text = " ".join(str(error).split()).removesuffix(".")
    text = text.removeprefix(f'Command "{command.partition(" ")[2]}" ')
    if isinstance(error, cyclopts.UnusedCliTokensError):
        text = f"expected no further argument, found {' '.join(error.unused_tokens or ())!r}"
    return f"{command}: {text}; see {command} --help"


def _bad(message: str) -> int:
    from hiermodels.models.columns import harmless

    _say("error: " + "\n".join(map(harmless, shortened(message).splitlines())))
    return 2


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
